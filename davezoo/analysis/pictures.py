"""Pictures of an analysis, drawn by matplotlib without a window or global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


def draw_curve(x: Sequence[float], y: Sequence[float], x_label: str, y_label: str) -> Figure:
    """Draw one curve.

    Args:
        x: horizontal places.
        y: values.
        x_label: what the horizontal axis shows, with its unit.
        y_label: what the vertical axis shows.
    """
    figure, (axes,) = _figure(1)
    axes.plot(x, y)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    return figure


def draw_matrix(matrix: NDArray[np.float64], seconds_per_step: float, title: str) -> Figure:
    """Draw a matrix of cosines, audio steps by visual steps.

    Args:
        matrix: cosines, (T, T).
        seconds_per_step: seconds from one step to the next.
        title: heading; taken literally.
    """
    figure, (axes,) = _figure(1, height=4.6)
    end = len(matrix) * seconds_per_step
    image = axes.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu_r", extent=(0, end, end, 0))
    figure.colorbar(image, label="cosine")
    axes.set_xlabel("visual, s")
    axes.set_ylabel("audio, s")
    axes.set_title(title, fontsize=9, parse_math=False)
    return figure


def draw_levels(
    curves: Mapping[str, Sequence[NDArray[np.float64]]],
    level_seconds: Sequence[float],
    y_label: str,
    title: str,
) -> Figure:
    """Draw curves over time, a panel a modality and a line a level.

    Args:
        curves: by modality a list over levels of values, (T_l,) each.
        level_seconds: seconds from one value of a level to the next.
        y_label: what the vertical axes show.
        title: heading; taken literally.
    """
    figure, panels = _figure(len(curves))
    for axes, (modality, levels) in zip(panels, curves.items(), strict=True):
        for level, (values, seconds) in enumerate(zip(levels, level_seconds, strict=True)):
            centres = (np.arange(len(values)) + 0.5) * seconds
            axes.plot(centres, values, label=f"level {level + 1}", marker=".", markersize=3)
        axes.set_ylabel(f"{modality}: {y_label}")
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    panels[-1].set_xlabel("seconds")
    panels[0].set_title(title, fontsize=9, parse_math=False)
    return figure


def _figure(num_panels: int, height: float = 2.8) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, height * num_panels), dpi=120, layout="constrained")
    grid = figure.subplots(num_panels, squeeze=False)
    return figure, list(grid[:, 0])
