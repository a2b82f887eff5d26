"""Paired bootstrap over videos: how far a difference in mAP depends on the videos of the test set.

A resample draws as many videos as there are, with replacement, and scores both files of detections
on it (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13). Videos are
matched one by one, so that a detection is a true positive in every resample or in none, and scores
are ordered once: a resample only counts anew, each video as often as it was drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from davezoo.errors import InputError
from davezoo.evaluation.average_precision import EventArrays, rank_detections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class BootstrapError(InputError):
    """Nothing can be said from resamples; the message says what to change."""


@dataclass(frozen=True)
class Interval:
    """What resamples say of one difference.

    Args:
        low: lower end of the confidence interval.
        high: upper end.
        other_sign: share of resamples in which the difference is 0 or has the other sign; 1 where
            it is 0 without resampling.
        p_value: two-sided, from the same interval.
    """

    low: float
    high: float
    other_sign: float
    p_value: float


class ResampledMap:
    r"""Mean average precision of one file of detections on any resample of the videos.

    With the detections of a class in the order of their scores and a video drawn $m_v$ times, the
    precision at a true positive is $\sum m_v$ over the true positives up to there divided by
    $\sum m_v$ over all detections up to there. All copies of a detection stand together, so that
    only the last of them counts for the highest precision at this or a later rank. Detections of
    equal score, also those of one video, keep the order that they have without resampling.

    Args:
        events: annotated events, at least one; videos are indices below `num_videos`.
        detections: detections with scores, in the order of listing; those in videos from
            `num_videos` on are in no resample's choice and count once in each.
        tiou_thresholds: T thresholds, ascending.
        num_videos: V videos that are drawn from.
    """

    def __init__(
        self,
        events: EventArrays,
        detections: EventArrays,
        tiou_thresholds: Sequence[float],
        num_videos: int,
    ) -> None:
        ranking = rank_detections(events, detections, tiou_thresholds)
        self._shape = len(tiou_thresholds), len(ranking.classes)
        self._event_videos = events.videos
        self._event_classes = np.searchsorted(ranking.classes, events.labels)
        self._videos = ranking.videos
        self._rows, self._curves = ranking.rows, ranking.curves
        self._first_rows = ranking.rows - ranking.ranks  # the first detection of the class
        self._first_hits = np.searchsorted(ranking.curves, ranking.curves)
        num_outside = max(0, int(ranking.videos.max(initial=-1)) + 1 - num_videos)
        self._outside = np.ones(num_outside)

    def __call__(self, multiplicity: NDArray[np.int64]) -> NDArray[np.float64]:
        """Score a resample.

        Args:
            multiplicity: how often each video was drawn, (V,).

        Returns:
            Mean average precision at each threshold over the classes that occur in the resample,
            (T,); NaN where none does.
        """
        num_thresholds, num_classes = self._shape
        weights = np.concatenate([multiplicity, self._outside])
        num_events = np.bincount(
            self._event_classes, weights[self._event_videos], minlength=num_classes
        )
        occurs = num_events > 0
        if not occurs.any():
            return np.full(num_thresholds, np.nan)
        weight = weights[self._videos]
        before = np.concatenate([[0.0], np.cumsum(weight)])
        ranked = before[self._rows + 1] - before[self._first_rows]
        hit = weight[self._rows]
        hits_before = np.concatenate([[0.0], np.cumsum(hit)])
        found = hits_before[1:] - hits_before[self._first_hits]
        # Where nothing was drawn yet, 0 of 0 detections are true; such a hit weighs nothing itself.
        precision = found / np.maximum(ranked, 1)
        # The running maximum from the back must not reach into the curve before: every curve stands
        # one above the next, which no precision exceeds.
        lifted = np.maximum.accumulate((precision - self._curves)[::-1])[::-1]
        best = lifted + self._curves
        total = np.bincount(self._curves, hit * best, minlength=num_thresholds * num_classes)
        values = total.reshape(num_thresholds, num_classes)[:, occurs] / num_events[occurs]
        return np.asarray(values.mean(axis=1))


def resample_differences(
    first: ResampledMap, second: ResampledMap, num_videos: int, num_resamples: int, seed: int
) -> NDArray[np.float64]:
    """Score two files of detections on the same resamples of the videos.

    Args:
        first: one file.
        second: the other, on the same events.
        num_videos: videos that are drawn from, and drawn.
        num_resamples: R resamples.
        seed: seed of the draw; the first resamples are the same whatever R is.

    Returns:
        First minus second at each threshold, (R, T); NaN in a resample without any event.
    """
    generator = np.random.default_rng(seed)
    differences = []
    for _ in tqdm(range(num_resamples), "Resampling", disable=None):
        drawn = generator.integers(num_videos, size=num_videos)
        multiplicity = np.bincount(drawn, minlength=num_videos)
        differences.append(first(multiplicity) - second(multiplicity))
    return np.stack(differences)


def percentile_interval(
    resampled: NDArray[np.float64], difference: float, confidence: float
) -> Interval:
    """Summarise the differences of resamples.

    The interval reaches from the k-th smallest to the k-th largest of R differences, with
    `k = (R + 1) (1 - confidence) / 2`; between two of them it is interpolated. The p-value is that
    of the same interval: the lowest `1 - confidence` at which it reaches 0, and so never below
    `2 / (R + 1)`. It is as approximate as the interval itself, which is first-order accurate.

    Args:
        resampled: difference in each resample, (R,).
        difference: the one without resampling.
        confidence: share of intervals that are to hold the true difference, within (0, 1).

    Raises:
        BootstrapError: if R is too small for the confidence.

    Reference:
        Efron and Tibshirani, "An Introduction to the Bootstrap", 1993: the percentile interval in
        chapter 13, the significance level that an interval implies in section 15.4.

    Example:
        >>> percentile_interval(np.arange(-1.0, 98.0), 48.0, 0.9).p_value  # 2 of 99 are not above 0
        0.06
    """
    check_confidence(len(resampled), confidence)
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail], method="weibull").tolist()
    not_above, not_below = int((resampled <= 0).sum()), int((resampled >= 0).sum())
    beyond = not_above if difference > 0 else not_below if difference < 0 else len(resampled)
    p_value = 2 * (min(not_above, not_below) + 1) / (len(resampled) + 1)
    return Interval(low, high, beyond / len(resampled), min(1.0, p_value))


def check_confidence(num_resamples: int, confidence: float) -> None:
    """Refuse a confidence that is none, or that needs more resamples.

    Args:
        num_resamples: resamples with an event.
        confidence: share of intervals that are to hold the true difference.

    Raises:
        BootstrapError: if no resample would lie beyond an end of the interval.
    """
    if not 0 < confidence < 1:
        raise BootstrapError(
            f"Expected `confidence` to be between 0 and 1, got {confidence}; write 0.95 for 95%."
        )
    least = 2 / (1 - confidence) - 1
    if num_resamples < least - 1e-6:
        raise BootstrapError(
            f"Expected at least {int(np.ceil(least - 1e-6))} resamples with events for confidence "
            f"{confidence:g}, got {num_resamples}; raise `resamples` or lower `confidence`."
        )
