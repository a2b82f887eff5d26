"""Which classes are taken for which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from davezoo.diagnosis.error_types import WRONG_LABEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from davezoo.diagnosis.matches import Matches
    from davezoo.diagnosis.overlaps import Overlaps


@dataclass(frozen=True)
class Confusion:
    """Events of one class detected as another.

    Args:
        event_label: name of the class of the events.
        detected_label: name of the class of the detections.
        num_detections: strong detections that are wrong so.
        share: their share of the strong detections of `detected_label`.
    """

    event_label: str
    detected_label: str
    num_detections: int
    share: float


def find_confusions(
    matches: Matches,
    overlaps: Overlaps,
    outcomes: NDArray[np.int8],
    threshold: int,
    class_names: Sequence[str],
) -> list[Confusion]:
    """Count the strong detections with a wrong label by the two classes, most frequent first.

    An event may be detected rightly and, by another detection, as another class; both count. Of
    several events of other classes the one with the highest tIoU is the confused one.

    Args:
        matches: the true positives; see also `Matches.is_strong`.
        overlaps: overlaps of its detections with its events.
        outcomes: index into `OUTCOMES` of each detection at each threshold, (T, N).
        threshold: index of the threshold.
        class_names: name of each class index of events and detections.
    """
    strong = np.bincount(matches.detections.labels[matches.is_strong], minlength=len(class_names))
    wrong = np.flatnonzero(matches.is_strong & (outcomes[threshold] == WRONG_LABEL))
    labels = np.stack(
        [matches.events.labels[overlaps.other_event[wrong]], matches.detections.labels[wrong]],
        axis=1,
    )
    pairs, counts = np.unique(labels, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [
        Confusion(class_names[event], class_names[detected], count, count / int(strong[detected]))
        for (event, detected), count in zip(
            pairs[order].tolist(), counts[order].tolist(), strict=True
        )
    ]
