"""The HTML report: what it says, and that nothing from files becomes markup."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from davezoo.evaluation.report import ReportFigure, write_report
from davezoo.evaluation.viewer import ScoredDetections, find_media
from tests.evaluation.report_pages import (
    HOSTILE,
    Page,
    make_annotations,
    make_files,
    make_result,
    make_table,
    write,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_report_says_what_was_scored(tmp_path: Path) -> None:
    words = Page(write(tmp_path / "r.html", ["dog", "cat", "bell"], "LoCo on UnAV-100")).words
    assert "LoCo on UnAV-100" in words
    assert "average mAP 43.21 %" in words
    assert "unav100 v1 split test" in words
    assert "videos expected 4 scored 3 missing 1" in words
    assert "1 of 4 videos have no detections" in words
    assert "count as missed. video 3" in words
    assert (
        "3 detections were dropped: their classes have no annotated events. unheard of: 3" in words
    )
    assert "tIoU 0.1 0.3 0.9 Avg mAP, % 61.24 40.00 20.00 43.21" in words
    assert "annotated events 4 classes with events 3 detections 1,234" in words
    assert "events removed as near duplicates 2" in words
    assert "too short" not in words


def test_report_lists_classes_by_average_precision(tmp_path: Path) -> None:
    words = Page(write(tmp_path / "r.html", ["dog", "cat", "bell", "drum"])).words
    rows = [
        "cat 1,001 80.00 90.0 80.0 70.0",
        "dog 1,000 10.00 20.0 10.0 0.0",
        "bell 1,002 3.33 10.0 0.0 0.0",
        "drum 1,003 0.00 0.0 0.0 0.0",
    ]
    assert " ".join(rows) in words


def test_notes_stand_at_the_top(tmp_path: Path) -> None:
    notes = ["Features are simulated.", "2 videos were skipped <b>"]
    words = Page(write(tmp_path / "r.html", ["dog"], notes=notes)).words
    assert all(words.index(note) < words.index("average mAP") for note in notes)


def test_report_is_one_file_without_network(tmp_path: Path) -> None:
    page = write(tmp_path / "new" / "r.html", ["dog", "cat"])
    assert not re.findall(r"(?:https?:)?//[a-z]", page.replace("// ", ""))
    parsed = Page(page)
    assert not {"link", "img", "iframe", "object"} & set(parsed.tags)
    assert not {"src", "href"} & {name for name, _ in parsed.attributes}
    assert "default-src 'none'" in page


def test_report_of_the_same_input_is_the_same(tmp_path: Path) -> None:
    assert write(tmp_path / "a.html", ["dog"]) == write(tmp_path / "b.html", ["dog"])


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_stays_text(tmp_path: Path, hostile: str) -> None:
    plain = Page(write(tmp_path / "plain.html", ["dog", "cat"], notes=["note"]))
    page = Page(write(tmp_path / "r.html", [hostile, "cat"], title=hostile, notes=[hostile]))
    assert page.tags == plain.tags
    assert [name for name, _ in page.attributes] == [name for name, _ in plain.attributes]
    assert page.data["labels"] == [hostile, "cat"]
    assert page.words.count(" ".join(hostile.split())) == 4  # head, heading, note, class table


def test_hostile_ids_stay_text(tmp_path: Path) -> None:
    annotations = make_annotations(["dog"], num_videos=1)
    annotations.videos.index = pd.Index([HOSTILE[2]], name="video")
    annotations.events["video"] = HOSTILE[2]
    result = replace(
        make_result(annotations, [HOSTILE[2]]), unknown_labels={HOSTILE[1]: 1}, split=HOSTILE[0]
    )
    files = [ScoredDetections(HOSTILE[1], make_table({}), result)]
    write_report(tmp_path / "r.html", files, annotations, "Run")
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert page.tags.count("script") == 2
    assert "img" not in page.tags
    assert page.data["videos"] == [HOSTILE[2]]
    assert all(text in page.words for text in HOSTILE[:3])


def test_lone_surrogates_do_not_stop_the_report(tmp_path: Path) -> None:
    assert "dog" in write(tmp_path / "r.html", ["dog\ud800"])


def test_absent_media_files_are_counted(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    page = write(tmp_path / "r.html", ["dog"], media=find_media(tmp_path / "media"))
    assert "No video of this page has a media file in" in Page(page).words
    (tmp_path / "media" / "video 2.mp4").touch()
    page = write(tmp_path / "r.html", ["dog"], media=find_media(tmp_path / "media"))
    assert "3 of 4 videos have no media file in" in Page(page).words
    assert Page(page).data["media"] == [None, None, "media/video%202.mp4", None]


def test_six_files_have_lines_and_bars_of_their_own(tmp_path: Path) -> None:
    annotations = make_annotations(["dog"])
    (file,) = make_files(annotations, make_table({}))
    files = [replace(file, name=f"file {index}") for index in range(6)]
    write_report(tmp_path / "r.html", files, annotations, "Run")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    for index in range(6):
        assert page.count(f'<g class="file-{index}">') == 1
        assert page.count(f'"bar file-{index}"') == 1
    styles = re.findall(r"\.file-\d \{ (--color[^}]*)\}", page)
    assert len(set(styles)) == 6
    colors = re.findall(r"--file-\d: (#\w+)", page)
    assert len(set(colors)) == len(colors) == 12  # in light and in dark


def test_figures_are_shown_as_images(tmp_path: Path) -> None:
    figure = ReportFigure("Errors", "By <kind>.", b"<svg onload='alert(1)'/>")
    page = Page(write(tmp_path / "r.html", ["dog"], figures=[figure]))
    assert "Diagnosis Errors By <kind>." in page.words
    assert ("alt", "Errors") in page.attributes
    sources = [value for name, value in page.attributes if name == "src"]
    assert sources == ["data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9J2FsZXJ0KDEpJy8+"]


def test_blocked_videos_are_said_not_to_be_listed(tmp_path: Path) -> None:
    annotations = make_annotations(["dog"])
    (file,) = make_files(annotations, make_table({}))
    files = [replace(file, result=replace(file.result, num_blocked_videos=1))]
    write_report(tmp_path / "r.html", files, annotations, "Run", blocked=["video 1"])
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "Blocked and excluded videos are not listed." in page.words
    assert page.data["videos"] == ["video 0", "video 2", "video 3"]


def test_an_interrupted_report_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = write(tmp_path / "r.html", ["dog"])

    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "r.html", ["cat"])
    assert (tmp_path / "r.html").read_text(encoding="utf-8") == old
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]


def test_report_imports_no_torch() -> None:
    code = (
        "import sys, davezoo.evaluation.report, davezoo.evaluation.plots;"
        "sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
