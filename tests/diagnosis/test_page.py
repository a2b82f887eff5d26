"""The page of a diagnosis: nothing from files becomes markup, and nothing is loaded or run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from davezoo.diagnosis.diagnose import diagnose_detections
from davezoo.diagnosis.page import write_page
from tests.evaluation.report_pages import HOSTILE, Page, make_annotations, make_table
from tests.evaluation.test_report_in_browser import CHROMIUM, run_in_browser

if TYPE_CHECKING:
    from pathlib import Path

SECTIONS = ("errors", "durations", "sensitivity", "boundaries", "confusions", "modalities")


def write(path: Path, names: list[str], title: str = "Run", found: bool = True) -> str:
    """Diagnose detections of which each but the first has the wrong class, and return the page."""
    annotations = make_annotations(names)
    ids = annotations.videos.index
    rows = {
        video: [(2.0, 6.0, names[0], 0.9), (2.0, 4.5, names[-1], 0.5)] if found else []
        for video in ids
    }
    table = make_table(rows)
    diagnosis = diagnose_detections(annotations, table, audio=table, visual=make_table({}))
    write_page(path, diagnosis, title, [names[0]])
    return path.read_text(encoding="utf-8")


def check(page: Page) -> None:
    """Everything is there, and hostile labels are text."""
    assert not {"script", "img", "link", "iframe"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "href"]
    for hostile in HOSTILE:
        assert " ".join(hostile.split()) in page.words
    ids = [value for name, value in page.attributes if name == "id"]
    assert ids == [f"{section}-heading" for section in SECTIONS]


def test_hostile_labels_stay_text(tmp_path: Path) -> None:
    check(Page(write(tmp_path / "d.html", HOSTILE, HOSTILE[0])))
    assert [path.name for path in tmp_path.iterdir()] == ["d.html"]


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the path")
def test_hostile_labels_stay_text_in_a_browser(tmp_path: Path) -> None:
    page = Page(run_in_browser(write(tmp_path / "d.html", HOSTILE, HOSTILE[0]), tmp_path))
    check(page)
    assert page.tags.count("svg") == 5  # ranks, costs, durations, characteristics, boundaries


def test_no_script_may_run_and_nothing_may_load(tmp_path: Path) -> None:
    page = write(tmp_path / "d.html", ["dog", "cat"])
    assert "default-src 'none'; style-src 'unsafe-inline'" in page
    names = ("http-equiv", 'xmlns="http://www.w3.org/2000/svg"')
    assert "http" not in page.replace(names[0], "").replace(names[1], "")


def test_a_page_about_nothing_found(tmp_path: Path) -> None:
    words = Page(write(tmp_path / "deep" / "d.html", ["dog"], found=False)).words
    assert "No detection found an event." in words
    assert "No strong detection has the times of an event of another class." in words


def test_surrogates_are_replaced(tmp_path: Path) -> None:
    assert "dog ? bark" in write(tmp_path / "d.html", ["dog \ud800 bark", "cat"])
