"""The annotated events that a protocol scores, and what it leaves out of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from davezoo.errors import InputError
from davezoo.evaluation.average_precision import EventArrays

if TYPE_CHECKING:
    from collections.abc import Collection

    import pandas as pd

    from davezoo.annotations import Annotations
    from davezoo.evaluation.protocols import Protocol


class GroundTruthError(InputError):
    """There is nothing to score against; the message says why and what to do."""


@dataclass(frozen=True)
class GroundTruth:
    """Events of the split after the rules of a protocol.

    Args:
        split: subsets of the videos, as spelt in the annotations.
        video_ids: videos that are scored, in the order of the annotations.
        blocked_ids: videos that were left out because the given list names them.
        excluded_ids: videos that were left out because the protocol names them.
        class_names: name of each class index.
        events: the events as NumPy arrays, videos as indices into `video_ids`.
        num_near_duplicates: events removed because an earlier one is nearly the same.
        num_short_events: events removed because they are too short.
    """

    split: str
    video_ids: list[str]
    blocked_ids: frozenset[str]
    excluded_ids: frozenset[str]
    class_names: list[str]
    events: EventArrays
    num_near_duplicates: int
    num_short_events: int


def select_ground_truth(
    annotations: Annotations, protocol: Protocol, blocked: Collection[str] = ()
) -> GroundTruth:
    """Apply the rules of a protocol to the annotations of a split.

    Args:
        annotations: videos and events of one split.
        protocol: which events to remove.
        blocked: ids of videos to leave out with their events and detections.

    Raises:
        ProtocolError: if the list of blocked videos does not go with the protocol.
        GroundTruthError: if no event is left.
    """
    protocol.check_blocked(blocked)
    excluded_ids = frozenset(protocol.excluded_videos).intersection(annotations.videos.index)
    blocked_ids = frozenset(blocked).intersection(annotations.videos.index) - excluded_ids
    left_out = blocked_ids | excluded_ids
    video_ids = [video for video in annotations.videos.index if video not in left_out]
    events = annotations.events[~annotations.events["video"].isin(left_out)]
    near_duplicate, short = uncounted_events(
        events, protocol.near_duplicate_tolerance, protocol.min_event_duration
    )
    kept = events[~near_duplicate & ~short]
    if kept.empty:
        raise GroundTruthError(
            f"Expected the annotations to have at least one event to score with protocol "
            f"{protocol.name!r}, got {len(annotations.videos)} videos, {len(left_out)} of them "
            f"blocked or excluded, and {len(annotations.events)} events; choose a split with "
            "events."
        )
    index_of = {video: index for index, video in enumerate(video_ids)}
    arrays = EventArrays(
        videos=np.array([index_of[video] for video in kept["video"]], dtype=np.int64),
        # Copied, because torch warns of the read-only views that pandas hands out.
        labels=np.array(kept["label"], dtype=np.int64),
        segments=np.array(kept[["start", "end"]], dtype=np.float64),
    )
    return GroundTruth(
        split=", ".join(dict.fromkeys(annotations.videos["subset"])),
        video_ids=video_ids,
        blocked_ids=blocked_ids,
        excluded_ids=excluded_ids,
        class_names=annotations.class_names,
        events=arrays,
        num_near_duplicates=int(near_duplicate.sum()),
        num_short_events=int(short.sum()),
    )


def uncounted_events(
    events: pd.DataFrame, near_duplicate_tolerance: float | None, min_duration: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Mark the events that a protocol does not count.

    Args:
        events: events of annotations.
        near_duplicate_tolerance: seconds; see `Protocol`.
        min_duration: seconds; see `Protocol.min_event_duration`.

    Returns:
        The near duplicates and those of the other events that are too short, both (N,).
    """
    near_duplicate = _near_duplicates(events, near_duplicate_tolerance)
    return near_duplicate, ~near_duplicate & _too_short(events, min_duration)


def _too_short(events: pd.DataFrame, min_duration: float | None) -> np.ndarray:
    """Mark the events that a protocol finds too short, (N,)."""
    duration = (events["end"] - events["start"]).to_numpy()
    if min_duration is None:
        return np.zeros(len(events), dtype=bool)
    return duration <= 0 if min_duration == 0 else duration < min_duration


def _near_duplicates(events: pd.DataFrame, tolerance: float | None) -> np.ndarray:
    """Mark events of which an earlier, kept one of the video and class has nearly the same times.

    Chains do not collapse: of 0, 0.8 and 1.6 ms at 1 ms the first and the third stay. Only events
    with a close start in their video and class, very few in real data, are compared one by one.
    """
    removed = np.zeros(len(events), dtype=bool)
    if tolerance is None:
        return removed
    table = events.reset_index(drop=True).sort_values(["video", "label", "start"], kind="stable")
    gap = table.groupby(["video", "label"], sort=False)["start"].diff().to_numpy()
    close = gap <= tolerance
    suspects = table[close | np.append(close[1:], False)].sort_index()
    for _, group in suspects.groupby(["video", "label"], sort=False):
        kept: list[np.ndarray] = []
        for row, segment in zip(group.index, group[["start", "end"]].to_numpy(), strict=True):
            removed[row] = any((np.abs(segment - other) <= tolerance).all() for other in kept)
            if not removed[row]:
                kept.append(segment)
    return removed
