r"""What is wrong with each false positive, and what each kind of mistake costs.

After Alwassel et al., "Diagnosing Error in Temporal Action Detectors" (DETAD), ECCV 2018.
With a detection's best tIoU with an event of its class, `own`, its best with an event of another
class, `other`, and the threshold $\alpha$, the first that fits:

- true positive: matched to an event by the evaluator;
- double detection: own >= $\alpha$, and a better-scored detection has the event;
- wrong label: other >= $\alpha$;
- localization: own >= 0.1;
- confusion (label and times are wrong): other >= 0.1;
- background: overlaps nothing by 0.1.

DETAD looks at nothing but the event of the highest tIoU. Events of several classes overlap in dense
audio-visual videos, so that here an event of the detection's own class goes first among those on
the same side of $\alpha$: an inexact "dog bark" under an exact "man speaking" is called inexact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from davezoo.diagnosis.matches import Matches
    from davezoo.diagnosis.overlaps import Overlaps

OUTCOMES = (
    "true positive",
    "double detection",
    "wrong label",
    "localization",
    "confusion",
    "background",
)
WRONG_LABEL = OUTCOMES.index("wrong label")
MIN_TIOU = 0.1
NUM_RANKS = 10


@dataclass(frozen=True)
class ErrorTypes:
    """What became of the detections, and what the mistakes cost.

    Args:
        tiou: the threshold that `counts` are about.
        counts: detections of each outcome, in the order of `OUTCOMES`, among those ranked up to 1G,
            from there to 2G, ... of their class, which has G events, (10, 6).
        num_beyond: detections of a rank beyond 10G, which are not counted.
        avg_map: average mAP over the thresholds of the protocol.
        gains: average mAP gained when all false positives of a type are taken away at each
            threshold, by name of the type.
    """

    tiou: float
    counts: NDArray[np.int64]
    num_beyond: int
    avg_map: float
    gains: dict[str, float]

    @property
    def ranked_gains(self) -> list[tuple[str, float]]:
        """Name and gain of each type, the dearest first."""
        return sorted(self.gains.items(), key=lambda entry: -entry[1])


def classify_detections(matches: Matches, overlaps: Overlaps) -> NDArray[np.int8]:
    """Return the outcome of each detection at each threshold.

    Args:
        matches: the true positives.
        overlaps: overlaps of the detections of `matches` with its events.

    Returns:
        Index into `OUTCOMES`, (T, N).
    """
    tiou = np.array(matches.tiou_thresholds)[:, None]
    floor = np.minimum(tiou, MIN_TIOU)
    shape = matches.found.shape
    conditions = [
        matches.found >= 0,
        overlaps.own >= tiou,
        overlaps.other >= tiou,
        overlaps.own >= floor,
        overlaps.other >= floor,
    ]
    outcomes = np.full(shape, len(OUTCOMES) - 1, dtype=np.int8)
    for outcome, condition in reversed(list(enumerate(conditions))):
        outcomes[condition] = outcome
    return outcomes


def analyze_errors(matches: Matches, outcomes: NDArray[np.int8], threshold: int) -> ErrorTypes:
    """Count outcomes by rank and measure what each type of false positive costs.

    A mistake is repaired by taking the detection away, as in DETAD. No repair changes which
    detections are true positives. DETAD reports gains of average-mAP_N; these are of average mAP,
    to stand beside the score.

    Args:
        matches: the true positives.
        outcomes: index into `OUTCOMES` of each detection at each threshold, (T, N).
        threshold: index of the threshold whose outcomes are counted.
    """
    rank_bin = matches.rank // matches.num_events[matches.detection_class]
    counted = rank_bin < NUM_RANKS
    place = rank_bin[counted] * len(OUTCOMES) + outcomes[threshold, counted]
    counts = np.bincount(place, minlength=NUM_RANKS * len(OUTCOMES))
    avg_map = float(matches.mean_average_precision().mean())
    return ErrorTypes(
        tiou=matches.tiou_thresholds[threshold],
        counts=counts.reshape(NUM_RANKS, len(OUTCOMES)),
        num_beyond=int((~counted).sum()),
        avg_map=avg_map,
        gains={
            name: float(matches.mean_average_precision(outcomes == outcome).mean()) - avg_map
            for outcome, name in enumerate(OUTCOMES)
            if outcome > 0
        },
    )
