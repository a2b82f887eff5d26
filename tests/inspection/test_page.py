"""The HTML page: what it holds, and that what comes from files stays text."""

from __future__ import annotations

from pathlib import Path

import pytest

from davezoo.inspection.collect import collect
from davezoo.inspection.page import write_page
from tests.evaluation.report_pages import HOSTILE, Page
from tests.inspection.sets import USUAL, inspect_events, open_data


def test_hostile_labels_stay_text(tmp_path: Path) -> None:
    events = [(f'<b>{label}"', 1.0, 9.0, label) for label in range(len(HOSTILE))]
    write_page(tmp_path / "page.html", inspect_events(tmp_path, events, HOSTILE))
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert not {"script", "img", "b"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    titles = [value for name, value in page.attributes if name == "title"]
    assert set(HOSTILE) <= set(titles)
    for name in HOSTILE:
        assert " ".join(name.split()) in page.words


def test_nothing_is_fetched_and_no_script_may_run(tmp_path: Path) -> None:
    write_page(tmp_path / "new/page.html", inspect_events(tmp_path, [("a", 1, 9, 0)]))
    text = (tmp_path / "new/page.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "http" not in text.replace("http-equiv", "")
    assert not [name for name, _ in page.attributes if name in ("src", "href")]
    policy = next(value for name, value in page.attributes if value.startswith("default-src"))
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline';")


def test_everything_is_shown(root: Path, tmp_path: Path) -> None:
    inspection = collect(open_data(root), USUAL, check_pack=True)
    write_page(tmp_path / "page.html", inspection)
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert inspection.proposal is not None
    assert inspection.proposal.options in page.words
    for words in ("The features are simulated.", "Splits", "Events of each class", "usable"):
        assert words in page.words
    assert page.tags.count("svg") in (6, 7)  # with the proposed levels, where they differ
    values = [value for _, value in page.attributes]
    assert not [value for value in values if "nan" in value.lower().split()]


def test_every_missing_and_damaged_video_is_named(root: Path, tmp_path: Path) -> None:
    missing, damaged = sorted((root / "av_features").glob("*_flow.npy"))[:2]
    missing.unlink()
    damaged.write_bytes(b"")
    write_page(tmp_path / "page.html", collect(open_data(root), USUAL, check_pack=True))
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert page.tags.count("details") == 2
    listed = [text for text in page.text if text.startswith(damaged.name.removesuffix("_flow.npy"))]
    assert any(str(damaged) in text for text in listed)
    assert f"no {missing.name}" in page.words


@pytest.mark.parametrize("events", [[], [("a", 3.0, 3.0, 0)]])
def test_a_data_set_without_lengths_has_a_page(
    tmp_path: Path, events: list[tuple[str, float, float, int]]
) -> None:
    write_page(tmp_path / "page.html", inspect_events(tmp_path, events))
    words = Page((tmp_path / "page.html").read_text(encoding="utf-8")).words
    assert "None: no training video or event has a known length." in words
