"""Counts, lengths and overlaps, against slow references."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davezoo.inspection.statistics import Overlap, find_overlap, quantiles
from tests.inspection.sets import make_split

times = st.integers(0, 12)
event_rows = st.lists(
    st.tuples(st.sampled_from("abc"), times, times, st.integers(0, 2)).map(
        lambda row: (row[0], min(row[1:3]), max(row[1:3]), row[3])
    ),
    max_size=12,
)


def slow_overlap(rows: list[tuple[str, int, int, int]]) -> Overlap:
    """Compare every event with every other."""
    other = same = most = 0
    videos = set()
    for index, (video, start, end, label) in enumerate(rows):
        sharing = [
            row
            for place, row in enumerate(rows)
            if place != index and row[0] == video and min(end, row[2]) > max(start, row[1])
        ]
        other += any(row[3] != label for row in sharing)
        same += any(row[3] == label for row in sharing)
        most = max(most, len(sharing))
        videos |= {video} if sharing else set()
    return Overlap(other, same, len(videos), most)


def as_table(rows: list[tuple[str, int, int, int]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["video", "start", "end", "label"])
    return table.astype({"start": float, "end": float, "label": np.int64})


@given(event_rows)
def test_overlap_is_that_of_all_pairs(rows: list[tuple[str, int, int, int]]) -> None:
    without_instants = [row for row in rows if row[2] > row[1]]
    assert find_overlap(as_table(rows)) == slow_overlap(without_instants)


def test_times_that_differ_by_rounding_in_a_large_offset_stay_apart() -> None:
    rows = [(f"v{index}", 0.0, 1.0, 0) for index in range(1000)]
    rows += [(f"v{index}", math.nextafter(1.0, 0), 2.0, 0) for index in range(1000)]
    table = pd.DataFrame(rows, columns=["video", "start", "end", "label"])
    assert find_overlap(table).num_videos == 1000


def test_counts_and_lengths() -> None:
    split = make_split(
        {"a": 10.0, "b": 3600.0, "c": math.nan},
        [("a", 1, 3, 0), ("b", 0, 8, 0), ("a", 2, 2, 0)],
        names=("dog", "cat", "bell"),
        hop=2.0,
        first=1.0,
    )
    assert (split.num_videos, split.num_events, split.num_unknown_lengths) == (3, 3, 1)
    assert split.hours == pytest.approx(3610 / 3600)
    assert split.class_counts.tolist() == [3, 0, 0]
    assert split.absent_classes == ["cat", "bell"]
    assert split.events_per_video.tolist() == [2, 1, 0]
    assert split.num_videos_without_events == 1
    assert split.video_steps.tolist() == [5, 1800]
    assert split.event_seconds.tolist() == [2, 8, 0]
    assert split.event_steps.tolist() == [1, 4, 0]
    assert split.event_segments.tolist() == [[0, 1], [-0.5, 3.5], [0.5, 0.5]]
    assert split.video_steps_of_events.tolist() == [5, 1800, 5]


def test_a_split_without_events() -> None:
    split = make_split({"a": 10.0}, [])
    assert split.class_counts.tolist() == [0, 0]
    assert split.overlap == Overlap(0, 0, 0, 0)
    assert split.event_segments.shape == (0, 2)


def test_quantiles() -> None:
    assert quantiles(np.arange(101.0)) == [5, 50, 95, 100]
    assert all(math.isnan(value) for value in quantiles(np.array([math.nan])))
