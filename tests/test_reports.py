"""`davezoo report`: what it adds to the page of tests/evaluation/test_report.py."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from davezoo.annotations import write_annotations
from davezoo.evaluation.predictions import write_predictions
from davezoo.evaluation.protocols import PROTOCOLS
from davezoo.reports import report
from tests.evaluation.report_pages import Page, make_annotations, make_table

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Annotations of `dog` and `cat`, and detections of two runs."""
    write_annotations(make_annotations(["dog", "cat"]), tmp_path / "a.json")
    rows = {f"video {i}": [(2.0, 6.0, "dog", 0.9), (1.0, 4.0, "cat", 0.5)] for i in range(4)}
    paths = [tmp_path / "ours.json", tmp_path / "base.json"]
    write_predictions(paths[0], make_table(rows))
    write_predictions(paths[1], make_table({}))
    return paths


def test_the_page_holds_the_diagnosis_of_the_first_file(files: list[Path], tmp_path: Path) -> None:
    report(files, tmp_path / "a.json", output=tmp_path / "r.html")
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert page.tags.count("figure") == page.tags.count("img") == 6
    assert "Diagnosis of ours" in page.words
    assert "Most often (1) \u201ccat\u201d is detected as \u201cdog\u201d." in page.words
    sources = [value for name, value in page.attributes if name == "src"]
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)


def test_what_files_of_one_name_say_of_themselves_can_be_told_apart(tmp_path: Path) -> None:
    write_annotations(make_annotations(["dog"]), tmp_path / "a.json")
    table = make_table({"video 0": [(2.0, 6.0, "dog", 0.9)]})
    paths = [tmp_path / run / "detections.json" for run in ("ours", "base")]
    for path in paths:
        write_predictions(path, replace(table, version=f"<{path.parent.name}>"))
    report(paths, tmp_path / "a.json", output=tmp_path / "r.html")
    words = Page((tmp_path / "r.html").read_text(encoding="utf-8")).words
    assert "The detections file ours says of itself: <ours>." in words
    assert "The detections file base says of itself: <base>." in words


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_has_a_diagnosis(files: list[Path], tmp_path: Path, protocol: str) -> None:
    blocked = None
    if PROTOCOLS[protocol].blocked_list:
        blocked = tmp_path / "blocked.json"
        blocked.write_text('["video 3"]')
    places = {"output": tmp_path / "r.html", "blocked": blocked}
    report(files[:1], tmp_path / "a.json", protocol, split="test", **places)
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert page.tags.count("img") == 6


def test_the_command_waits_for_no_torch_and_no_matplotlib() -> None:
    code = (
        "import sys, davezoo.reports;"
        "print({'torch', 'matplotlib', 'jinja2'} & set(sys.modules) or 'none')"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "none"
