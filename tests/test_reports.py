"""`davezoo report`, from files to the page, which tests/evaluation/test_report.py tests itself."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from davezoo.annotations import write_annotations
from davezoo.evaluation.predictions import PredictionError, write_predictions
from davezoo.evaluation.protocols import PROTOCOLS
from davezoo.reports import ReportError, report
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


def test_tool_scores_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotations = make_annotations(["dog", "cat"])
    write_annotations(annotations, tmp_path / "a.json")
    table = make_table({"video 0": [(2.0, 6.0, "dog", 0.9)], "video 1": [(2.0, 6.0, "cat", 0.9)]})
    write_predictions(tmp_path / "p.json", replace(table, version="trial <1>"))
    report(tmp_path / "p.json", tmp_path / "a.json", output=tmp_path / "r.html", max_videos=2)
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "average mAP 50.00 %" in page.words  # of two events a class, one is found
    assert "says of itself: trial <1>." in page.words
    assert [video["quality"] for video in page.videos.values()] == [[1.0], [0.0]]
    printed = capsys.readouterr().out
    assert "50.00" in printed
    assert f"wrote {tmp_path / 'r.html'}" in printed


def write_files(folder: Path, *stems: str) -> list[Path]:
    """Write annotations of 4 videos and, as each file, the detections of one more of them."""
    annotations = make_annotations(["dog", "cat"])
    write_annotations(annotations, folder / "a.json")
    paths = []
    for count, stem in enumerate(stems, start=1):
        names = ["dog", "cat"] * 2
        rows = {f"video {v}": [(2.0, 6.0, names[v], 0.9)] for v in range(count)}
        paths.append(folder / f"{stem}.json")
        write_predictions(paths[-1], make_table(rows))
    return paths


def test_several_files_stand_beside_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, base = write_files(tmp_path, "ours", "x/base")
    report([ours, base], tmp_path / "a.json", output=tmp_path / "r.html")
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "average mAP, ours 25.00 % average mAP, base 50.00 %" in page.words
    assert "base: 2 of 4 videos have no detections" in page.words
    assert "dog 2 50.00 50.00" in page.words
    assert "cat 2 0.00 50.00" in page.words
    assert [file["name"] for file in page.data["files"]] == ["ours", "base"]
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if line in ("ours", "base")] == ["ours", "base"]


@pytest.mark.parametrize(
    ("stems", "expected"),
    [
        (["a/seed_0/detections", "a/seed_1/detections"], ["seed_0", "seed_1"]),
        (["a/seed_0/detections", "b/seed_0/detections"], ["a", "b"]),
        (["a/x/d", "b/x/d", "a/y/d"], ["a/x", "b/x", "a/y"]),
        (["d", "x/d"], None),
    ],
)
def test_files_of_one_name_are_told_apart_by_their_folders(
    tmp_path: Path, stems: list[str], expected: list[str] | None
) -> None:
    files = write_files(tmp_path, *stems)
    report(files, tmp_path / "a.json", output=tmp_path / "r.html")
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    names = [file["name"] for file in page.data["files"]]
    assert names == (expected or [tmp_path.name, "x"])


@pytest.mark.parametrize("names", [["one"], ["same", "same"]])
def test_names_must_fit_the_files(tmp_path: Path, names: list[str]) -> None:
    files = write_files(tmp_path, "ours", "base")
    with pytest.raises(ReportError, match=r"different `names` as files of detections, 2, got"):
        report(files, tmp_path / "a.json", names=names, output=tmp_path / "r.html")


def test_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="one file or more, got none"):
        report([], tmp_path / "a.json", output=tmp_path / "r.html")


def test_detections_of_another_split_are_refused(tmp_path: Path) -> None:
    (ours,) = write_files(tmp_path, "ours")
    write_predictions(tmp_path / "other.json", make_table({"elsewhere": [(0.0, 1.0, "dog", 1.0)]}))
    with pytest.raises(
        PredictionError, match=r"other\.json .* split 'test', got 1 videos, none of"
    ):
        report([ours, tmp_path / "other.json"], tmp_path / "a.json", output=tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_page_agrees_with_evaluator_on_official_detections(tmp_path: Path, shared: Path) -> None:
    folder = shared / "official_tiny" / "unav"
    report(
        folder / "official_detections.json",
        folder / "dataset_tiny" / "annotations" / "unav100_annotations.json",
        output=tmp_path / "r.html",
    )
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    results = json.loads((folder / "official_results.json").read_text())["checkpoint_run"]
    official = results["test_ema_batch1_exact"]["map"]
    printed = " ".join(f"{100 * value:.2f}" for value in [*official, np.mean(official)])
    assert f"mAP, % {printed}" in page.words
    assert len(page.data["videos"]) == 20
