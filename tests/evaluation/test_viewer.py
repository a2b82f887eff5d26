"""What the viewer of a report is given: videos, events, detections, media files, sliders."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davezoo.annotations import Annotations
from davezoo.evaluation.viewer import (
    ViewerError,
    choose_videos,
    find_media,
    score_slider,
    video_quality,
    viewer_data,
)
from tests.evaluation.report_pages import (
    Page,
    make_annotations,
    make_files,
    make_table,
    unpack,
    write,
    write_table,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_data_hold_events_and_detections(tmp_path: Path) -> None:
    videos = Page(write(tmp_path / "r.html", ["dog", "cat"])).videos
    assert list(videos) == ["video 0", "video 1", "video 2", "video 3"]
    assert videos["video 1"] == {
        "duration": 10.0,
        "quality": [1.0],
        "events": [[2.0, 6.0, 1.0]],
        "detections": [[[2.0, 6.0, 1.0, 0.9], [1.0, 8.0, 0.0, 0.5], [0.0, 1.0, 1.0, 0.1]]],
    }
    assert videos["video 3"]["detections"] == [[]]


def test_files_stand_beside_each_other() -> None:
    annotations = make_annotations(["dog"], num_videos=2)
    ours = make_table({"video 1": [(2.0, 6.0, "dog", 0.9)]})
    base = make_table({"video 0": [(2.0, 4.0, 0, 0.5)], "video 1": [(0.0, 1.0, "new", 0.1)]})
    data = viewer_data(annotations, make_files(annotations, ours, base))
    assert data["labels"] == ["dog", "new"]
    assert [file["name"] for file in data["files"]] == ["ours", "base"]
    assert [file["quality"] for file in data["files"]] == [[0.0, 1.0], [0.5, 0.0]]
    assert unpack(data["files"][0]) == [[], [[2.0, 6.0, 0.0, 0.9]]]
    assert unpack(data["files"][1]) == [[[2.0, 4.0, 0.0, 0.5]], [[0.0, 1.0, 1.0, 0.1]]]


def test_only_names_that_occur_travel() -> None:
    annotations = make_annotations(["a", "b", "c", "d"], num_videos=2)
    annotations.events["label"] = [3, 1]
    table = make_table({"video 1": [(2.0, 6.0, "c", 0.9), (2.0, 6.0, 3, 0.8)]})
    data = viewer_data(annotations, make_files(annotations, table))
    assert data["labels"] == ["b", "c", "d"]
    assert data["scored"] == [0, 2]
    assert [[row[2] for row in rows] for rows in unpack(data["events"])] == [[2.0], [0.0]]
    assert [row[2] for row in unpack(data["files"][0])[1]] == [1.0, 2.0]


def test_labels_that_only_detections_have_are_shown(tmp_path: Path) -> None:
    rows = [(0.0, 1.0, "unheard of", 0.8), (0.0, 1.0, 0, 0.7), (0.0, 1.0, 9, 0.6)]
    page = write_table(tmp_path / "r.html", make_annotations(["dog"]), {"video 0": rows})
    assert page.data["labels"] == ["dog", "unheard of", "(unknown class 9)"]
    (drawn,) = page.videos["video 0"]["detections"]
    assert [row[2] for row in drawn] == [1.0, 0.0, 2.0]  # 0 is the index of "dog"


def test_equal_scores_come_last_listed_first_as_the_evaluators_have_it() -> None:
    annotations = make_annotations(["dog"], num_videos=1)
    rows = [(float(start), 9.0, "dog", score) for start, score in enumerate([0.5, 0.7, 0.5, 0.7])]
    data = viewer_data(annotations, make_files(annotations, make_table({"video 0": rows})))
    assert [row[0] for row in unpack(data["files"][0])[0]] == [3.0, 1.0, 2.0, 0.0]


def test_videos_without_events_are_listed_without_a_quality(tmp_path: Path) -> None:
    annotations = make_annotations(["dog"])
    annotations = Annotations(annotations.videos, annotations.events.iloc[:1], ["dog"])
    rows = {"video 2": [(0.0, 1.0, "dog", 1.0)], "not annotated": [(0.0, 1.0, "dog", 1.0)]}
    page = write_table(tmp_path / "r.html", annotations, rows)
    assert [video["quality"] for video in page.videos.values()] == [[0.0], [None], [None], [None]]
    assert [len(video["detections"][0]) for video in page.videos.values()] == [0, 0, 1, 0]


def test_blocked_and_excluded_videos_are_not_listed() -> None:
    annotations = make_annotations(["dog"])
    rows = {video: [(2.0, 6.0, "dog", 0.9)] for video in annotations.videos.index}
    (file,) = make_files(annotations, make_table(rows))
    rules = file.result.protocol["rules"] | {"excluded_videos": ["video 1", "elsewhere"]}
    result = replace(file.result, protocol=file.result.protocol | {"rules": rules})
    data = viewer_data(annotations, [replace(file, result=result)], blocked=["video 2", "absent"])
    assert data["videos"] == ["video 0", "video 3"]
    assert data["num_videos"] == 2
    assert [len(rows) for rows in unpack(data["files"][0])] == [1, 1]


def test_events_that_the_protocol_does_not_count_are_not_drawn() -> None:
    annotations = make_annotations(["dog"], num_videos=2)
    again = annotations.events.assign(start=2.0005)  # within 1 ms, as the protocol has it
    events = pd.concat([annotations.events, again], ignore_index=True)
    annotations = Annotations(annotations.videos, events, ["dog"])
    data = viewer_data(annotations, make_files(annotations, make_table({})))
    assert unpack(data["events"]) == [[[2.0, 6.0, 0.0]], [[2.0, 6.0, 0.0]]]


def test_unknown_durations_are_null(tmp_path: Path) -> None:
    annotations = make_annotations(["dog"], num_videos=1)
    annotations.videos["duration"] = np.nan
    assert write_table(tmp_path / "r.html", annotations, {}).data["durations"] == [None]


def test_negative_number_of_videos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ViewerError, match="`max_videos` to be 0 or more, got -1"):
        write(tmp_path / "r.html", ["dog"], max_videos=-1)


@pytest.mark.parametrize("max_videos", [0, 1, 3, 9, None])
def test_number_of_videos(tmp_path: Path, max_videos: int | None) -> None:
    page = Page(write(tmp_path / "r.html", ["dog"], max_videos=max_videos))
    count = 4 if max_videos is None else min(max_videos, 4)
    assert len(page.videos) == count
    assert f"{count} of 4 videos" in page.words
    assert ("at equal steps" in page.words) == (max_videos is not None)


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


@given(
    scores=st.lists(st.floats(1e-4, 1), min_size=1, max_size=200, unique=True),
    num_events=st.integers(0, 250),
    scale=st.sampled_from([1.0, 0.01, 40.0]),
)
def test_slider_opens_where_as_many_detections_as_events_show(
    scores: list[float], num_events: int, scale: float
) -> None:
    values = np.array(scores) * scale
    slider = score_slider(values, num_events)
    assert slider["low"] <= values.min()
    assert values.max() <= slider["high"] + 1e-12
    assert slider["low"] <= slider["start"] <= slider["high"]
    assert (slider["high"] - slider["low"]) / slider["step"] >= 99
    shown = int((values >= slider["start"]).sum())
    if 0 < num_events <= len(values):
        wanted = np.sort(values)[-num_events]
        within_a_step = (values >= wanted - slider["step"] - 1e-12).sum()
        assert num_events <= shown <= within_a_step
    else:
        assert shown == len(values)


def test_slider_of_a_barely_trained_model_reaches_its_scores() -> None:
    slider = score_slider(np.linspace(0.001, 0.0185, 1000), 100)
    assert slider == {"low": 0.0, "high": 0.02, "start": 0.0167, "step": 0.0001, "digits": 4}


def test_slider_of_no_detections() -> None:
    slider = {"low": 0.0, "high": 1.0, "start": 0.0, "step": 0.01, "digits": 2}
    assert score_slider(np.zeros(0), 3) == slider


@pytest.mark.parametrize("score", [1e-300, 1e300])
def test_slider_of_absurd_scores_has_digits_that_a_browser_can_print(score: float) -> None:
    assert 0 <= score_slider(np.array([score]), 1)["digits"] <= 20


def test_absurd_times_stay_finite() -> None:
    annotations = make_annotations(["dog"], num_videos=1)
    table = make_table({"video 0": [(-1e300, 1e300, "dog", 1e300)]})
    data = viewer_data(annotations, make_files(annotations, table))
    assert np.isfinite(unpack(data["files"][0])[0]).all()


def test_classes_are_scored_that_have_events_in_any_video() -> None:
    annotations = make_annotations(["dog", "cat", "bell"], num_videos=2)
    files = make_files(annotations, make_table({"video 0": [(2.0, 6.0, "dog", 0.9)]}))
    assert viewer_data(annotations, files, max_videos=1)["scored"] == [0, 1]


def test_media_files_are_those_named_after_videos(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.wav", "b.WEBM", "c.txt", "../d.mp4"):
        (tmp_path / "media").mkdir(exist_ok=True)
        (tmp_path / "media" / name).touch()
    (tmp_path / "media" / "e.mp4").mkdir()
    found = find_media(tmp_path / "media")
    assert dict(found.file_of) == {"a": "a.mp4", "b": "b.WEBM"}
    assert found.url("a", tmp_path) == "media/a.mp4"
    assert found.url("b", tmp_path / "pages") == "../media/b.WEBM"
    for video in ("c", "e", "../d", str(tmp_path / "d"), "media/a", ""):
        assert found.url(video, tmp_path) is None


def test_media_addresses_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "javascript:a #?%b.mp4").touch()
    address = find_media(tmp_path).url("javascript:a #?%b", tmp_path)
    assert address == "javascript%3Aa%20%23%3F%25b.mp4"


def test_absent_media_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ViewerError, match=r"`media` to be a folder .* got .*nowhere, which"):
        find_media(tmp_path / "nowhere")
