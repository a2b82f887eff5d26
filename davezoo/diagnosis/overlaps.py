"""What overlaps what: detections with the events of their video, and events with each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from davezoo.evaluation.average_precision import EventArrays, positions_in_runs, temporal_iou

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_PAIRS_AT_ONCE = 2_000_000  # some 200 MB of arrays; EPIC-Kitchens-100 has ten times as many


@dataclass(frozen=True)
class Overlaps:
    """The best overlaps of N detections with M events.

    Args:
        own: highest tIoU of each detection with an event of its class, (N,); 0 without one.
        other: highest tIoU with an event of another class, (N,); 0 without one.
        other_event: that event; -1 where `other` is 0, (N,).
        of_event: highest tIoU of each event with a detection of its class, (M,); 0 without one.
    """

    own: NDArray[np.float64]
    other: NDArray[np.float64]
    other_event: NDArray[np.int64]
    of_event: NDArray[np.float64]


def find_overlaps(events: EventArrays, detections: EventArrays) -> Overlaps:
    """Find the events that each detection overlaps most, whatever has its score.

    Args:
        events: annotated events; of equal tIoU the first one is taken.
        detections: detections.
    """
    own, other = np.zeros(len(detections)), np.zeros(len(detections))
    other_event = np.full(len(detections), -1, dtype=np.int64)
    of_event = np.zeros(len(events))
    for row, event in _pairs_within_videos(detections.videos, events.videos):
        tiou = temporal_iou(detections.segments[row], events.segments[event])
        is_own = detections.labels[row] == events.labels[event]
        np.maximum.at(own, row[is_own], tiou[is_own])
        np.maximum.at(of_event, event[is_own], tiou[is_own])
        np.maximum.at(other, row[~is_own], tiou[~is_own])
        # Backwards, because of several values for one place the last one stays.
        best = np.flatnonzero(~is_own & (tiou > 0) & (tiou == other[row]))[::-1]
        other_event[row[best]] = event[best]
    return Overlaps(own, other, other_event, of_event)


def count_concurrent(events: EventArrays) -> NDArray[np.int64]:
    """Count the other events, of any class, that share some time with each event, (M,)."""
    count = np.zeros(len(events), dtype=np.int64)
    for row, other in _pairs_within_videos(events.videos, events.videos):
        start = np.maximum(events.segments[row, 0], events.segments[other, 0])
        end = np.minimum(events.segments[row, 1], events.segments[other, 1])
        count += np.bincount(row[(start < end) & (row != other)], minlength=len(count))
    return count


def _pairs_within_videos(
    videos: NDArray[np.int64], other_videos: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield all pairs of rows of the same video, as many at once as memory bears.

    Returns:
        Index into `videos`, ascending, and into `other_videos`, ascending within the first; all
        pairs of one row of `videos` come together.
    """
    order = np.argsort(other_videos, kind="stable")
    first = np.searchsorted(other_videos[order], videos, side="left")
    counts = np.searchsorted(other_videos[order], videos, side="right") - first
    chunk = np.cumsum(counts) // _PAIRS_AT_ONCE
    for number in np.unique(chunk):
        rows = np.flatnonzero(chunk == number)
        row = np.repeat(rows, counts[rows])
        yield row, order[first[row] + positions_in_runs(row)]
