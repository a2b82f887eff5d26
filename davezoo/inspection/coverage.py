"""What training sees of the events: points of the pyramid and crops of limited length.

Imports neither torch nor lightning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from davezoo.inspection.statistics import FloatArray, IntArray, SplitStatistics

Ranges = list[tuple[float, float]]

OPEN_END = 10_000  # steps: how the published codes write that a range has no end


@dataclass(frozen=True)
class Level:
    """One level of the pyramid.

    Args:
        stride: grid steps from a point to the next.
        low: least distance to an event's farther end that the level answers for, in grid steps.
        high: greatest such distance.
        events: events with at least one point on this level; an event may have some on several.
        points: positive points of the level over all events.
    """

    stride: int
    low: float
    high: float
    events: int
    points: int

    def describe_range(self, seconds_per_step: float = 1.0) -> str:
        """Return the range in words, in steps or in seconds; none ends beyond `OPEN_END`."""
        low, high = (f"{bound * seconds_per_step:.3g}" for bound in (self.low, self.high))
        return f"{low} or more" if self.high >= OPEN_END else f"{low} to {high}"


@dataclass(frozen=True)
class LevelCoverage:
    """How the events of a split fall on the levels, videos at full length.

    Args:
        levels: finest first.
        num_events: events whose place on the grid is known.
        shorter_than_step: events shorter than one step of the grid.
        outside_ranges: events for which no level answers, wherever its points lie.
        without_points: events that no point of any level answers for, so that nothing is learnt
            from them; an event between two points is one as well.
    """

    levels: list[Level]
    num_events: int
    shorter_than_step: int
    outside_ranges: int
    without_points: int


@dataclass(frozen=True)
class CropCoverage:
    """What crops of `max_length` steps leave of a split's events.

    Args:
        max_length: steps of the longest crop.
        num_videos: videos of known length.
        longer_videos: videos that are cropped because they are longer.
        num_events: events in videos of known length.
        longer_events: events in cropped videos that are longer than the crop.
        lost_events: events of which no crop holds the part that it must hold to keep them.
        mean_lost_share: how much of all events lies outside a crop drawn at random, on average.
    """

    max_length: int
    num_videos: int
    longer_videos: int
    num_events: int
    longer_events: int
    lost_events: int
    mean_lost_share: float


def cover_levels(split: SplitStatistics, ranges: Ranges) -> LevelCoverage:
    """Find which level of a pyramid answers for which events.

    Args:
        split: the split.
        ranges: least and greatest distance of each level in grid steps; strides double.
    """
    segments, num_steps = split.event_segments, split.video_steps_of_events
    known = np.isfinite(segments).all(axis=1) & np.isfinite(num_steps)
    segments, num_steps = segments[known], num_steps[known]
    points = count_points(segments, num_steps, ranges)
    length = segments[:, 1] - segments[:, 0]
    bounds = np.array(ranges, dtype=np.float64).reshape(-1, 2)
    # The farther end is at least half the event away from a point in it, and at most all of it.
    met = (bounds[:, 1] >= length[:, None] / 2) & (bounds[:, 0] <= length[:, None])
    return LevelCoverage(
        levels=[
            Level(2**index, low, high, int((column > 0).sum()), int(column.sum()))
            for index, ((low, high), column) in enumerate(zip(ranges, points.T, strict=True))
        ],
        num_events=len(segments),
        shorter_than_step=int((length < 1).sum()),
        outside_ranges=int((~met.any(axis=1)).sum()),
        without_points=int((points.sum(axis=1) == 0).sum()),
    )


def count_points(
    segments: FloatArray, num_steps: FloatArray, ranges: Sequence[tuple[float, float]]
) -> IntArray:
    """Count the points of each level that answer for each event, as training assigns them.

    A point `t` of an event with the middle `c` and the length `d` is `d / 2 + |t - c|` from its
    farther end; the points at such distances lie in one interval on either side of the middle.

    Args:
        segments: events in grid steps, (N, 2).
        num_steps: length of each event's video in grid steps, (N,).
        ranges: least and greatest distance of each of L levels; strides are 1, 2, 4, ...

    Returns:
        Counts, (N, L). Two events of one class on the same point count both.

    Reference:
        `davezoo.ops.points.assign`.
    """
    middle, half = segments.mean(axis=1), (segments[:, 1] - segments[:, 0]) / 2
    counts = np.zeros((len(segments), len(ranges)), dtype=np.int64)
    for level, (low, high) in enumerate(ranges):
        stride = 2**level
        nearest = np.maximum(low - half, 0.0)
        farthest = high - half
        # Strictly within the event and in the video: counted in strides, both ends inclusive.
        first = np.maximum(np.floor(segments[:, 0] / stride) + 1, 0)
        last = np.minimum(np.ceil(segments[:, 1] / stride), np.ceil(num_steps / stride)) - 1
        right_from = np.maximum(np.ceil((middle + nearest) / stride), first)
        right_to = np.minimum(np.floor((middle + farthest) / stride), last)
        left_from = np.maximum(np.ceil((middle - farthest) / stride), first)
        left_to = np.minimum(np.floor((middle - nearest) / stride), last)
        left_to = np.minimum(left_to, right_from - 1)  # a point at the very middle counts once
        count = np.maximum(right_to - right_from + 1, 0) + np.maximum(left_to - left_from + 1, 0)
        counts[:, level] = np.where(farthest >= 0, count, 0)
    return counts


def cover_crops(split: SplitStatistics, max_length: int, min_kept_fraction: float) -> CropCoverage:
    """Find what training crops leave of the events.

    Args:
        split: the split.
        max_length: steps of the longest crop.
        min_kept_fraction: least part of an event that must lie in a crop for the event to stay.
    """
    segments, num_steps = split.event_segments, split.video_steps_of_events
    known = np.isfinite(segments).all(axis=1) & np.isfinite(num_steps)
    segments, num_steps = segments[known], num_steps[known]
    kept = share_of_crops(segments, num_steps, max_length, min_kept_fraction)
    longer = (segments[:, 1] - segments[:, 0] > max_length) & (num_steps > max_length)
    return CropCoverage(
        max_length=max_length,
        num_videos=len(split.video_steps),
        longer_videos=int((split.video_steps > max_length).sum()),
        num_events=len(kept),
        longer_events=int(longer.sum()),
        lost_events=int((kept == 0).sum()),
        mean_lost_share=float(1 - kept.mean()) if len(kept) else 0.0,
    )


def share_of_crops(
    segments: FloatArray, num_steps: FloatArray, max_length: int, min_kept_fraction: float
) -> FloatArray:
    """Return which share of all crops keeps each event.

    Crops of `max_length` steps start at every whole step alike; shorter videos are taken whole
    here. The training loader draws anew where a crop keeps no event at all, which is not counted.

    Args:
        segments: events in grid steps, (N, 2).
        num_steps: length of each event's video, (N,).
        max_length: steps of a crop.
        min_kept_fraction: least part of an event that must lie in a crop for the event to stay.
    """
    start, end = segments.T
    needed = min_kept_fraction * (end - start)
    num_starts = np.maximum(num_steps - max_length, 0) + 1
    first = np.maximum(np.ceil(start + needed - max_length), 0)
    last = np.minimum(np.floor(end - needed), num_starts - 1)
    count = np.where(needed <= max_length, np.maximum(last - first + 1, 0), 0)
    share: FloatArray = np.where(num_steps > max_length, count / num_starts, 1.0)
    return share
