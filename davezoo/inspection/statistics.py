"""Counts, lengths and overlaps of the videos and events of one split.

Imports neither torch nor lightning. Times are told twice: in seconds, and in steps of the feature
grid, which is what a network sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from davezoo.annotations import Annotations

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

QUANTILES = (0.05, 0.5, 0.95, 1.0)


@dataclass(frozen=True)
class SplitStatistics:
    """One split.

    Args:
        name: name of the subset.
        stages: what it is used for, of `fit`, `validate`, `test` and `predict`.
        annotations: its videos and events.
        timing: one row a video, index `video`: `seconds` and `steps` of the video, `hop` (seconds
            from a step to the next), `first` (second at which step 0 is centred); NaN where the
            length of a video is unknown.
    """

    name: str
    stages: Sequence[str]
    annotations: Annotations
    timing: pd.DataFrame

    @property
    def num_videos(self) -> int:
        """Videos."""
        return len(self.annotations.videos)

    @property
    def num_events(self) -> int:
        """Events."""
        return len(self.annotations.events)

    @property
    def hours(self) -> float:
        """Length of all videos together, without those whose length is unknown."""
        return float(self.timing["seconds"].sum() / 3600)

    @property
    def num_unknown_lengths(self) -> int:
        """Videos whose length neither annotations nor features tell."""
        return int(self.timing["seconds"].isna().sum())

    @cached_property
    def class_counts(self) -> IntArray:
        """Events of each class, (K,)."""
        labels = self.annotations.events["label"].to_numpy(np.int64)
        return np.bincount(labels, minlength=len(self.annotations.class_names))

    @property
    def num_classes(self) -> int:
        """Classes with events in this split."""
        return int((self.class_counts > 0).sum())

    @property
    def absent_classes(self) -> list[str]:
        """Classes without any event in this split."""
        names = self.annotations.class_names
        return [names[label] for label in np.flatnonzero(self.class_counts == 0)]

    @cached_property
    def events_per_video(self) -> IntArray:
        """Events of each video, in the order of the videos."""
        owner = self.annotations.videos.index.get_indexer(pd.Index(self._owner))
        return np.bincount(owner, minlength=self.num_videos)

    @property
    def num_videos_without_events(self) -> int:
        """Videos in which nothing is annotated."""
        return int((self.events_per_video == 0).sum())

    @property
    def video_seconds(self) -> FloatArray:
        """Known lengths of videos in seconds."""
        return self.timing["seconds"].dropna().to_numpy(np.float64)

    @property
    def video_steps(self) -> FloatArray:
        """Known lengths of videos in grid steps."""
        return self.timing["steps"].dropna().to_numpy(np.float64)

    @property
    def event_seconds(self) -> FloatArray:
        """Length of each event in seconds."""
        events = self.annotations.events
        seconds: FloatArray = (events["end"] - events["start"]).to_numpy(np.float64)
        return seconds

    @property
    def event_steps(self) -> FloatArray:
        """Length of each event in grid steps; NaN where the grid of its video is unknown."""
        hop: FloatArray = self._timing_of_events["hop"].to_numpy(np.float64)
        return self.event_seconds / hop

    @property
    def event_segments(self) -> FloatArray:
        """Start and end of each event in grid steps, (N, 2), as training sees them."""
        timing = self._timing_of_events[["first", "hop"]].to_numpy(np.float64)
        segments = self.annotations.events[["start", "end"]].to_numpy(np.float64)
        steps: FloatArray = (segments - timing[:, :1]) / timing[:, 1:]
        return steps

    @property
    def video_steps_of_events(self) -> FloatArray:
        """Length of each event's video in grid steps, (N,)."""
        return self._timing_of_events["steps"].to_numpy(np.float64)

    @cached_property
    def overlap(self) -> Overlap:
        """Which events share their time with others."""
        return find_overlap(self.annotations.events)

    @property
    def _owner(self) -> pd.Series[Any]:
        return self.annotations.events["video"]

    @cached_property
    def _timing_of_events(self) -> pd.DataFrame:
        return self.timing.reindex(self._owner)


@dataclass(frozen=True)
class Overlap:
    """Events that share some time with another event of their video.

    Zero-length events share none. Events that only touch do not overlap.

    Args:
        other_class: events that overlap one of another class.
        same_class: events that overlap one of their own class.
        num_videos: videos with overlapping events.
        most: most events that one event overlaps.
    """

    other_class: int
    same_class: int
    num_videos: int
    most: int


def find_overlap(events: pd.DataFrame) -> Overlap:
    """Find the events that overlap others of their video.

    Args:
        events: a table with `video`, `start`, `end` (seconds) and `label`.

    Example:
        >>> events = pd.DataFrame(
        ...     {"video": ["a"] * 3, "start": [0, 1, 2], "end": [2, 3, 4], "label": [0, 0, 1]}
        ... )
        >>> find_overlap(events)
        Overlap(other_class=2, same_class=2, num_videos=1, most=2)
    """
    events = events[events["end"] > events["start"]]
    video, _ = pd.factorize(events["video"])
    label = events["label"].to_numpy(np.int64)
    class_in_video = video * (label.max(initial=0) + 1) + label
    start, end = (events[name].to_numpy(np.float64) for name in ("start", "end"))
    overlapping = _count_overlapping(video, start, end)
    same_class = _count_overlapping(class_in_video, start, end)
    return Overlap(
        other_class=int((overlapping > same_class).sum()),
        same_class=int((same_class > 0).sum()),
        num_videos=len(np.unique(video[overlapping > 0])),
        most=int(overlapping.max(initial=0)),
    )


def _count_overlapping(group: IntArray, start: FloatArray, end: FloatArray) -> IntArray:
    """Return how many other events of its group each event overlaps; none has length zero.

    Those are the events that start before its end, without those that end by its start and without
    itself: two look-ups in sorted lists. Ranks in place of times, so that numbers of groups and
    times go into one integer without any rounding.
    """
    _, ranks = np.unique(np.concatenate([start, end]), return_inverse=True)
    span = len(ranks) + 1
    starts, ends = group * span + ranks[: len(start)], group * span + ranks[len(start) :]
    begun = np.searchsorted(np.sort(starts), ends, side="left")
    ended = np.searchsorted(np.sort(ends), starts, side="right")
    return np.asarray(begun - ended - 1, dtype=np.int64)


def quantiles(values: FloatArray) -> list[float]:
    """Return `QUANTILES` of what is known of some values; NaN where nothing is."""
    known = values[np.isfinite(values)]
    if not len(known):
        return [float("nan")] * len(QUANTILES)
    return [float(value) for value in np.quantile(known, QUANTILES)]
