"""Detections matched to events at every threshold, and the scores that follow for parts of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from davezoo.evaluation.average_precision import (
    EventArrays,
    positions_in_runs,
    rank_detections,
    sum_best_precision,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Matches:
    """Which detection found which event, for M events, N detections, K classes, T thresholds.

    Args:
        tiou_thresholds: the thresholds, ascending.
        events: annotated events, (M,).
        detections: detections of classes with events; by class, then by score, highest first, (N,).
        num_events: events of each class that has any, (K,).
        event_class: class of each event as an index into `num_events`, (M,).
        detection_class: class of each detection, likewise, (N,).
        rank: rank of each detection among those of its class, from 0, (N,).
        found: event that each detection found at each threshold, -1 for none, (T, N).
    """

    tiou_thresholds: tuple[float, ...]
    events: EventArrays
    detections: EventArrays
    num_events: NDArray[np.int64]
    event_class: NDArray[np.int64]
    detection_class: NDArray[np.int64]
    rank: NDArray[np.int64]
    found: NDArray[np.int64]

    @property
    def is_strong(self) -> NDArray[np.bool_]:
        """Whether a detection is among the G best-scored ones of its class with G events, (N,).

        As many detections as events: no score threshold is needed, and models whose scores mean
        different things can be compared.
        """
        return self.rank < self.num_events[self.detection_class]

    def is_found(self, threshold: int) -> NDArray[np.bool_]:
        """Say whether a strong detection finds each event at a threshold (its index), (M,)."""
        found = self.found[threshold, self.is_strong]
        is_found = np.zeros(len(self.events), dtype=bool)
        is_found[found[found >= 0]] = True
        return is_found

    def mean_average_precision(
        self,
        ignored: NDArray[np.bool_] | None = None,
        chosen: NDArray[np.bool_] | None = None,
        normal_count: float | None = None,
    ) -> NDArray[np.float64]:
        r"""Compute the mAP for some of the events, or without some of the false positives.

        With `c` true positives and `F` false positives up to a rank and `G` events, precision is
        `c / (c + F)`, or, with a normal count `N`, `R N / (R N + F)` for the recall `R = c / G`.
        Detections that found an event that is not chosen count as nothing.

        Args:
            ignored: false positives that are taken away, (T, N); none by default.
            chosen: events that count, (M,), at least one; all by default. The mean is over the
                classes that have such events.
            normal_count: events that each class is taken to have. It keeps precision from rising
                with the number of events, so that groups of different sizes can be compared.

        Returns:
            mAP at each threshold, (T,).

        Reference:
            Alwassel et al., "Diagnosing Error in Temporal Action Detectors", ECCV 2018
            (average-mAP_N, after Hoiem et al., "Diagnosing Error in Object Detectors", ECCV 2012).
        """
        is_false = self.found < 0
        is_true = ~is_false if chosen is None else ~is_false & chosen[self.found]
        if ignored is not None:
            is_false &= ~ignored
        num_false: NDArray[np.int64] = np.cumsum(is_false, axis=1)
        start = np.arange(len(self.rank)) - self.rank  # of the class of each detection
        num_false = num_false - np.pad(num_false, ((0, 0), (1, 0)))[:, start]

        kept = slice(None) if chosen is None else chosen
        num_chosen = np.bincount(self.event_class[kept], minlength=len(self.num_events))
        threshold, row = np.nonzero(is_true)
        class_of = self.detection_class[row]
        curve = threshold * len(num_chosen) + class_of
        count = (positions_in_runs(curve) + 1).astype(np.float64)
        if normal_count is not None:
            count *= normal_count / num_chosen[class_of]
        precision = count / (count + num_false[threshold, row])
        shape = len(self.tiou_thresholds), len(num_chosen)
        areas = sum_best_precision(precision, curve, shape[0] * shape[1]).reshape(shape)
        present = num_chosen > 0
        means: NDArray[np.float64] = (areas[:, present] / num_chosen[present]).mean(axis=1)
        return means


def match(
    events: EventArrays, detections: EventArrays, tiou_thresholds: Sequence[float]
) -> Matches:
    """Match detections to events by the rules of `evaluation.average_precision`.

    Args:
        events: annotated events, at least one.
        detections: detections with scores, in the order in which they are listed; those of a class
            without annotated events are left out.
        tiou_thresholds: T thresholds, ascending.
    """
    ranking = rank_detections(events, detections, tiou_thresholds)
    ranked = detections[ranking.order]
    num_classes = len(ranking.classes)
    event_class, detection_class = (
        np.searchsorted(ranking.classes, np.asarray(labels, dtype=np.int64))
        for labels in (events.labels, ranked.labels)
    )
    found = np.full((len(tiou_thresholds), len(ranked)), -1, dtype=np.int64)
    found[ranking.curves // num_classes, ranking.rows] = ranking.events
    return Matches(
        tiou_thresholds=tuple(tiou_thresholds),
        events=events,
        detections=ranked,
        num_events=ranking.num_events,
        event_class=event_class,
        detection_class=detection_class,
        rank=positions_in_runs(detection_class),
        found=found,
    )
