"""The HTML report: what it says, and that nothing from files becomes markup."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davezoo.annotations import Annotations, write_annotations
from davezoo.evaluation.predictions import write_predictions
from davezoo.evaluation.report import (
    ReportError,
    choose_videos,
    report,
    video_quality,
    write_report,
)
from tests.evaluation.report_pages import (
    HOSTILE,
    Page,
    make_annotations,
    make_result,
    make_table,
    write,
    write_table,
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
    write_report(tmp_path / "r.html", result, annotations, make_table({}), "Run")
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert page.tags.count("script") == 2
    assert "img" not in page.tags
    assert page.data["videos"][0]["video"] == HOSTILE[2]
    assert all(text in page.words for text in HOSTILE[:3])


def test_lone_surrogates_do_not_stop_the_report(tmp_path: Path) -> None:
    assert "dog" in write(tmp_path / "r.html", ["dog\ud800"])


def test_page_data_hold_events_and_detections(tmp_path: Path) -> None:
    data = Page(write(tmp_path / "r.html", ["dog", "cat"])).data
    by_id = {video["video"]: video for video in data["videos"]}
    assert by_id["video 1"] == {
        "video": "video 1",
        "duration": 10.0,
        "quality": 1.0,
        "events": [[2.0, 6.0, 1.0]],
        "detections": [[2.0, 6.0, 1.0, 0.9], [1.0, 8.0, 0.0, 0.5], [0.0, 1.0, 1.0, 0.1]],
    }
    assert by_id["video 3"]["detections"] == []


def test_labels_that_only_detections_have_are_shown(tmp_path: Path) -> None:
    rows = [(0.0, 1.0, "unheard of", 0.8), (0.0, 1.0, 0, 0.7), (0.0, 1.0, 9, 0.6)]
    page = write_table(tmp_path / "r.html", make_annotations(["dog"]), {"video 0": rows})
    assert page.data["labels"] == ["dog", "unheard of", "(unknown class 9)"]
    drawn = next(video for video in page.data["videos"] if video["video"] == "video 0")
    assert [row[2] for row in drawn["detections"]] == [1.0, 0.0, 2.0]  # 0 is the index of "dog"


def test_videos_without_events_are_counted_and_not_drawn(tmp_path: Path) -> None:
    annotations = make_annotations(["dog"])
    annotations = Annotations(annotations.videos, annotations.events.iloc[:1], ["dog"])
    page = write_table(
        tmp_path / "r.html", annotations, {"not annotated": [(0.0, 1.0, "dog", 1.0)]}
    )
    assert [video["video"] for video in page.data["videos"]] == ["video 0"]
    assert "3 videos without annotated events were not considered" in page.words


def test_unknown_durations_are_null(tmp_path: Path) -> None:
    annotations = make_annotations(["dog"], num_videos=1)
    annotations.videos["duration"] = np.nan
    assert write_table(tmp_path / "r.html", annotations, {}).data["videos"][0]["duration"] is None


def test_negative_number_of_videos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="`max_videos` to be 0 or more, got -1"):
        write(tmp_path / "r.html", ["dog"], max_videos=-1)


@pytest.mark.parametrize("max_videos", [0, 1, 3, 9])
def test_number_of_videos(tmp_path: Path, max_videos: int) -> None:
    page = Page(write(tmp_path / "r.html", ["dog"], max_videos=max_videos))
    count = min(max_videos, 4)
    assert len(page.data["videos"]) == count
    assert f"{count} of 4 videos, chosen" in page.words


def slow_quality(events: list[tuple[float, ...]], detections: list[tuple[float, ...]]) -> float:
    """Compute the quality by its definition, one pair at a time."""
    total = 0.0
    for start, end, label in events:
        best = 0.0
        for d_start, d_end, d_label, _ in detections[: len(events)]:
            overlap = max(0.0, min(end, d_end) - max(start, d_start))
            union = (end - start) + (d_end - d_start) - overlap
            if label == d_label and union > 0:
                best = max(best, overlap / union)
            elif label == d_label and start == d_start:  # two equal points
                best = 1.0
        total += best
    return total / len(events)


segments = st.tuples(st.integers(0, 12), st.integers(0, 12)).map(sorted)
events_strategy = st.lists(
    st.tuples(segments, st.integers(0, 2)).map(lambda e: (*e[0], e[1])), min_size=1, max_size=6
)
detections_strategy = st.lists(
    st.tuples(segments, st.integers(0, 2), st.floats(0, 1)).map(lambda d: (*d[0], d[1], d[2])),
    max_size=10,
)


@given(events=events_strategy, detections=detections_strategy)
def test_quality_equals_its_definition(events: Any, detections: Any) -> None:
    table = np.array(detections, dtype=float).reshape(-1, 4)
    quality = video_quality(np.array(events, dtype=float), table)
    assert quality == pytest.approx(slow_quality(events, detections), abs=1e-12)


@given(
    quality=st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=40),
    max_videos=st.integers(0, 50),
)
def test_chosen_videos_are_distinct_ordered_and_reach_both_ends(
    quality: dict[str, float], max_videos: int
) -> None:
    chosen = choose_videos(quality, max_videos)
    assert len(chosen) == len(set(chosen)) == min(max_videos, len(quality))
    values = [quality[video] for video in chosen]
    assert values == sorted(values, reverse=True)
    assert chosen == choose_videos(dict(reversed(quality.items())), max_videos)
    if len(chosen) > 1:
        assert values[0] == max(quality.values())
        assert values[-1] == min(quality.values())


def test_tool_scores_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotations = make_annotations(["dog", "cat"])
    write_annotations(annotations, tmp_path / "a.json")
    table = make_table({"video 0": [(2.0, 6.0, "dog", 0.9)], "video 1": [(2.0, 6.0, "cat", 0.9)]})
    write_predictions(tmp_path / "p.json", replace(table, version="trial <1>"))
    report(tmp_path / "p.json", tmp_path / "a.json", output=tmp_path / "r.html", max_videos=2)
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "average mAP 50.00 %" in page.words  # of two events a class, one is found
    assert "says of itself: trial <1>." in page.words
    assert [video["quality"] for video in page.data["videos"]] == [1.0, 0.0]
    printed = capsys.readouterr().out
    assert "50.00" in printed
    assert f"wrote {tmp_path / 'r.html'}" in printed


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


def test_report_imports_no_torch() -> None:
    code = (
        "import sys, davezoo.evaluation.report, davezoo.evaluation.plots;"
        "sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
