"""Pictures of an analysis, drawn by matplotlib without a window or global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


def draw_coherence(
    seconds: Sequence[float], mean_cosine: Sequence[float], num_pairs: Sequence[float]
) -> Figure:
    """Draw how alike audio and visual steps are by their distance in time.

    Args:
        seconds: distances.
        mean_cosine: mean over the pairs of steps at each distance.
        num_pairs: how many these are: at the far end few, of the longest videos alone.
    """
    figure, (axes, below) = _figure(2, height=2.0)
    axes.plot(seconds, mean_cosine)
    axes.set_ylabel("mean cosine")
    below.plot(seconds, num_pairs)
    below.set_yscale("log")
    below.set_ylabel("pairs of steps")
    below.set_xlabel("distance, s")
    return figure


def draw_matrix(matrix: NDArray[np.float64], seconds_per_step: float, title: str) -> Figure:
    """Draw a matrix of cosines, audio steps by visual steps.

    Args:
        matrix: cosines, (T, T); of more than 1,000 steps only some are drawn, evenly spaced.
        seconds_per_step: seconds from one step to the next.
        title: heading; taken literally.
    """
    figure, (axes,) = _figure(1, height=4.6)
    end = len(matrix) * seconds_per_step
    drawn = slice(None, None, -(-len(matrix) // 1000))
    image = axes.imshow(
        matrix[drawn, drawn], vmin=-1, vmax=1, cmap="RdBu_r", extent=(0, end, end, 0)
    )
    figure.colorbar(image, label="cosine")
    axes.set_xlabel("visual, s")
    axes.set_ylabel("audio, s")
    axes.set_title(title, fontsize=9, parse_math=False)
    return figure


def draw_levels(
    curves: Mapping[str, Sequence[Sequence[float]]],
    seconds: Sequence[Sequence[float]],
    events: Sequence[tuple[float, float]],
    title: str,
) -> Figure:
    """Draw curves over time, a panel a name and a line a level, over the annotated events in grey.

    Args:
        curves: by name a list over levels of values.
        seconds: where the values of each level lie.
        events: starts and ends in seconds.
        title: heading; taken literally.
    """
    figure, panels = _figure(len(curves))
    for axes, (name, levels) in zip(panels, curves.items(), strict=True):
        for start, end in events:
            axes.axvspan(start, end, color="black", alpha=0.1, linewidth=0)
        for level, (values, places) in enumerate(zip(levels, seconds, strict=True), 1):
            axes.plot(places, values, label=f"level {level}", marker=".", markersize=3)
        axes.set_ylabel(name)
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    panels[-1].set_xlabel("seconds; grey: annotated events")
    panels[0].set_title(title, fontsize=9, parse_math=False)
    return figure


def _figure(num_panels: int, height: float = 2.8) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, height * num_panels), dpi=120, layout="constrained")
    grid = figure.subplots(num_panels, squeeze=False)
    return figure, list(grid[:, 0])
