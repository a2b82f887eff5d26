"""Events that a model finds or loses through each modality.

Three runs of one model are compared, with both modalities, audio alone and visual alone. An event
is found by a run when a strong detection of that run finds it (see `Matches.is_strong`), so that
the scores of the three need not mean the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from davezoo.diagnosis.matches import Matches

# What each run alone finds: nothing, audio, visual, both.
FOUND_BY = ("neither alone", "audio alone", "visual alone", "each alone")


@dataclass(frozen=True)
class ModalityCounts:
    """Events by the modalities that suffice to find them.

    Args:
        label: name of the class, or `all`.
        num_found: events that the audio-visual run finds, by `FOUND_BY`, (4,). The first are gained
            by joining the modalities, the second and third need one of them.
        num_lost: events that the audio-visual run does not find, likewise, (4,). The first are out
            of reach, the others are lost by joining.
    """

    label: str
    num_found: list[int]
    num_lost: list[int]

    @property
    def num_events(self) -> int:
        """All annotated events."""
        return sum(self.num_found) + sum(self.num_lost)

    @property
    def num_gained(self) -> int:
        """Events that only both modalities together find."""
        return self.num_found[0]

    @property
    def num_lost_by_joining(self) -> int:
        """Events that a modality alone finds and both together do not."""
        return sum(self.num_lost[1:])


def compare_modalities(
    both: Matches, audio: Matches, visual: Matches, threshold: int, class_names: Sequence[str]
) -> list[ModalityCounts]:
    """Count the events by which of three runs finds them.

    Args:
        both: true positives of the audio-visual run.
        audio: those of the run with audio alone, for the same events.
        visual: those of the run with video alone, for the same events.
        threshold: index of the threshold.
        class_names: name of each class index.

    Returns:
        Counts over all classes, then of each class with events, by number of events, most first.
    """
    found_by = audio.is_found(threshold) + 2 * visual.is_found(threshold)
    place = found_by + len(FOUND_BY) * ~both.is_found(threshold)
    labels = both.events.labels
    shape = len(class_names), 2 * len(FOUND_BY)
    table = np.bincount(labels * shape[1] + place, minlength=shape[0] * shape[1]).reshape(shape)
    order = np.argsort(-table.sum(axis=1), kind="stable")
    named = [("all", table.sum(axis=0))]
    named += [(class_names[label], table[label]) for label in order if table[label].any()]
    return [_to_counts(label, row) for label, row in named]


def _to_counts(label: str, row: NDArray[np.int64]) -> ModalityCounts:
    found, lost = np.split(row, 2)
    return ModalityCounts(label, found.tolist(), lost.tolist())
