"""Groups of events by what they are like, and how well each group is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from davezoo.diagnosis.overlaps import count_concurrent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from davezoo.diagnosis.matches import Matches
    from davezoo.diagnosis.overlaps import Overlaps
    from davezoo.evaluation.average_precision import EventArrays

_CCNET_TIOU = 0.5


@dataclass(frozen=True)
class Grouping:
    """Events divided by one characteristic.

    Args:
        name: what divides them, with its unit.
        groups: name of each group.
        group_of: index of the group of each event, (M,).
    """

    name: str
    groups: tuple[str, ...]
    group_of: NDArray[np.int64]


@dataclass(frozen=True)
class GroupScore:
    """How well one group of events is found.

    Args:
        group: name of the group.
        num_events: events in it.
        avg_map_n: average mAP_N of it: mean over the protocol's thresholds and the classes with
            events in the group, each taken to have the mean number of events of a class.
        found_share: share of its events that a strong detection finds; see `Matches.is_strong`.
    """

    group: str
    num_events: int
    avg_map_n: float
    found_share: float


@dataclass(frozen=True)
class Sensitivity:
    """How much the score depends on one characteristic; groups without events are left out.

    Args:
        name: the characteristic.
        avg_map_n: average mAP_N of all events.
        scores: one entry a group that has events.
    """

    name: str
    avg_map_n: float
    scores: list[GroupScore]


@dataclass(frozen=True)
class DurationShare:
    """Correctly localized events of one range of durations, two ways.

    Args:
        group: range of durations, seconds.
        num_events: events in it.
        localized_share: share of them that any detection of their class meets with tIoU > 0.5,
            whatever its score (CCNet's definition).
        found_share: share of them that a strong detection finds; see `Matches.is_strong`.
    """

    group: str
    num_events: int
    localized_share: float
    found_share: float


def group_events(events: EventArrays, video_durations: NDArray[np.float64]) -> list[Grouping]:
    """Divide events by duration, coverage, number and concurrency.

    Durations are in the ranges of CCNet (Zhou et al., AAAI 2025, Fig. 3) and beyond; events of zero
    length are in the first. Coverage (share of the video that an event fills) and the number of
    events of its class in its video are in those of DETAD for ActivityNet (Alwassel et al., ECCV
    2018, Sec. 2; an event longer than its video fills all of it). The number of all events of the
    video and that of other events that share time with an event are ours.

    Args:
        events: annotated events, (M,).
        video_durations: seconds of each video that `events.videos` index, NaN where unknown.
    """
    duration = events.segments[:, 1] - events.segments[:, 0]
    coverage = np.full(len(events), np.nan)
    video_duration = video_durations[events.videos]
    known = video_duration > 0
    coverage[known] = duration[known] / video_duration[known]
    own_class = np.stack([events.videos, events.labels], axis=1)
    return [
        group_durations(events),
        _divide(
            "coverage of the video, %",
            100 * coverage,
            (20, 40, 60, 80),
            ("0 to 20", "20 to 40", "40 to 60", "60 to 80", "over 80"),
        ),
        _divide(
            "events of its class in the video",
            _count_equal(own_class),
            (1, 4, 8),
            ("1", "2 to 4", "5 to 8", "9 or more"),
        ),
        _divide(
            "events in the video",
            _count_equal(events.videos[:, None]),
            (1, 4, 8),
            ("1", "2 to 4", "5 to 8", "9 or more"),
        ),
        _divide(
            "other events at the same time",
            count_concurrent(events).astype(np.float64),
            (0, 1, 2),
            ("0", "1", "2", "3 or more"),
        ),
    ]


def group_durations(events: EventArrays) -> Grouping:
    """Divide events by their duration in the ranges of CCNet's Fig. 3, and beyond."""
    return _divide(
        "duration, s",
        events.segments[:, 1] - events.segments[:, 0],
        (5, 20, 60),
        ("(0, 5]", "(5, 20]", "(20, 60]", "over 60"),
    )


def measure_sensitivity(matches: Matches, grouping: Grouping, threshold: int) -> Sensitivity:
    """Score each group of events by itself.

    Events of other groups and the detections that found them count as nothing; all false positives
    count in every group, as in DETAD.

    Args:
        matches: true positives at all thresholds of the protocol.
        grouping: groups of its events.
        threshold: index of the threshold at which events are found.

    Reference:
        Alwassel et al., ECCV 2018.
    """
    normal_count = float(matches.num_events.mean())
    is_found = matches.is_found(threshold)
    scores = []
    for group, name in enumerate(grouping.groups):
        chosen = grouping.group_of == group
        if chosen.any():
            value = matches.mean_average_precision(chosen=chosen, normal_count=normal_count)
            scores.append(
                GroupScore(
                    name, int(chosen.sum()), float(value.mean()), float(is_found[chosen].mean())
                )
            )
    whole = matches.mean_average_precision(normal_count=normal_count)
    return Sensitivity(grouping.name, float(whole.mean()), scores)


def share_by_duration(matches: Matches, overlaps: Overlaps, threshold: int) -> list[DurationShare]:
    """Return the share of correctly localized events by duration, as CCNet's Fig. 3 shows it.

    The paper calls the share precision, and correct an event that a prediction of its class meets
    with a tIoU above 0.5. It does not say which predictions are asked. Taking all of them, one
    finds nearly every event if only enough are kept; the second share takes as many of a class as
    it has events.

    Args:
        matches: true positives.
        overlaps: overlaps of all detections with the events.
        threshold: index of the threshold at which events are found.

    Reference:
        Zhou et al., "Dense Audio-Visual Event Localization Under Cross-Modal Consistency and
        Multi-Temporal Granularity Collaboration", AAAI 2025, Fig. 3.
    """
    grouping = group_durations(matches.events)
    is_localized, is_found = overlaps.of_event > _CCNET_TIOU, matches.is_found(threshold)
    shares = []
    for group, name in enumerate(grouping.groups):
        chosen = grouping.group_of == group
        if chosen.any():
            shares.append(
                DurationShare(
                    name,
                    int(chosen.sum()),
                    float(is_localized[chosen].mean()),
                    float(is_found[chosen].mean()),
                )
            )
    return shares


def _divide(
    name: str, values: NDArray[np.float64], highest: tuple[float, ...], groups: tuple[str, ...]
) -> Grouping:
    """Group values by the highest one of each group but the last; NaN is a group of its own."""
    group_of = np.searchsorted(highest, values, side="left")
    group_of[np.isnan(values)] = len(groups)
    return Grouping(name, (*groups, "unknown"), group_of)


def _count_equal(rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return for each row how many rows equal it, (M,)."""
    _, group, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    return counts[group.reshape(-1)].astype(np.float64)
