"""Where the boundaries of the true positives lie beside those of their events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from davezoo.diagnosis.characteristics import group_durations

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from davezoo.diagnosis.matches import Matches

_NUM_BINS = 21  # odd: the middle one holds the errors around zero
_BOUNDARIES = ("onset", "offset")


@dataclass(frozen=True)
class BoundaryError:
    """Signed errors of one boundary in one range of durations; positive: detected too late.

    Args:
        boundary: `onset` or `offset`.
        group: range of the events' durations, seconds, or `all`.
        num_detections: true positives, one an event.
        mean: mean error, seconds.
        median: median error, seconds.
        low: a tenth of the errors lie below, seconds.
        high: a tenth of the errors lie above, seconds.
    """

    boundary: str
    group: str
    num_detections: int
    mean: float
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class BoundaryErrors:
    """Signed errors of the boundaries of all true positives at one threshold.

    Args:
        tiou: the threshold.
        summary: one entry a boundary and range of durations with events; empty where nothing was
            found.
        edges: edges of the bins of `histograms`, seconds, (22,); empty where nothing was found.
        histograms: number of errors in each bin, by boundary; errors beyond the outer edges are
            counted in the outer bins.
    """

    tiou: float
    summary: list[BoundaryError]
    edges: list[float]
    histograms: dict[str, list[int]]


def measure_boundaries(matches: Matches, threshold: int) -> BoundaryErrors:
    """Compare the times of each true positive, of whatever score, with those of its event.

    Args:
        matches: the true positives.
        threshold: index of the threshold.

    Returns:
        Detected minus annotated time, in seconds.
    """
    tiou = matches.tiou_thresholds[threshold]
    found = matches.found[threshold]
    row = np.flatnonzero(found >= 0)
    event = found[row]
    if not len(row):
        return BoundaryErrors(tiou, [], [], {})
    errors = matches.detections.segments[row] - matches.events.segments[event]
    grouping = group_durations(matches.events)
    group_of = grouping.group_of[event]
    groups = {"all": np.ones(len(row), dtype=bool)}
    groups |= {name: group_of == index for index, name in enumerate(grouping.groups)}
    summary = [
        _summarize(boundary, name, errors[chosen, side])
        for side, boundary in enumerate(_BOUNDARIES)
        for name, chosen in groups.items()
        if chosen.any()
    ]
    reach = max(float(np.quantile(np.abs(errors), 0.95)), 1e-3)
    edges = np.linspace(-reach, reach, _NUM_BINS + 1)
    inside = np.clip(errors, -reach, reach)
    return BoundaryErrors(
        tiou=tiou,
        summary=summary,
        edges=edges.tolist(),
        histograms={
            boundary: np.histogram(inside[:, side], edges)[0].tolist()
            for side, boundary in enumerate(_BOUNDARIES)
        },
    )


def _summarize(boundary: str, group: str, errors: NDArray[np.float64]) -> BoundaryError:
    low, median, high = np.quantile(errors, [0.1, 0.5, 0.9]).tolist()
    return BoundaryError(boundary, group, len(errors), float(errors.mean()), median, low, high)
