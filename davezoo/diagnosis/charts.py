"""Bar charts as plain numbers, which the page draws as SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEIGHT = 150.0  # units of the drawing area, as all lengths here
_BAR_WIDTH = 30.0
_GAP = 16.0
_LABEL_WIDTH = 62.0


@dataclass(frozen=True)
class Bar:
    """One bar of a chart.

    Args:
        x: left edge.
        y: upper edge, downward.
        width: width.
        height: height.
        kind: CSS class, which gives the colour.
        title: what it says when it is pointed at.
        value: number written above it; empty for none.
    """

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str
    value: str = ""


@dataclass(frozen=True)
class Chart:
    """A bar chart.

    Args:
        title: what it shows.
        width: width of the drawing area.
        height: height of the drawing area.
        bars: the bars.
        labels: place and text of the labels below.
        ticks: height and text of the ticks at the left.
        reference: height of the dashed line, or None.
        reference_text: what the dashed line says when it is pointed at.
    """

    title: str
    width: float
    height: float
    bars: list[Bar]
    labels: list[tuple[float, str]]
    ticks: list[tuple[float, str]]
    reference: float | None = None
    reference_text: str = ""


def draw_groups(
    title: str,
    groups: Sequence[str],
    series: Sequence[tuple[str, str, Sequence[float]]],
    reference: tuple[str, float] | None = None,
    highest: float = 0.0,
) -> Chart:
    """Draw shares, one cluster of bars a group.

    Args:
        title: what is shown.
        groups: label of each cluster.
        series: name, CSS class and shares (0 to 1, one a group) of each bar of a cluster.
        reference: name and share of a line across all clusters.
        highest: a share that must have room, so that several charts can have one scale.
    """
    line = 0.0 if reference is None else reference[1]
    highest = max(highest, line, *(share for _, _, shares in series for share in shares))
    top = max(0.2, math.ceil(highest * 5 - 1e-9) / 5)
    step = max(len(series) * _BAR_WIDTH + _GAP, _LABEL_WIDTH)
    margin = (step - len(series) * _BAR_WIDTH) / 2
    bars = [
        Bar(
            x=round(margin + place * step + index * _BAR_WIDTH, 1),
            y=round(_HEIGHT * (1 - share / top), 1),
            width=_BAR_WIDTH - 2,
            height=round(_HEIGHT * share / top, 1),
            kind=kind,
            title=f"{group}: {name} {100 * share:.1f} %",
            value=f"{100 * share:.0f}",
        )
        for index, (name, kind, shares) in enumerate(series)
        for place, (group, share) in enumerate(zip(groups, shares, strict=True))
    ]
    return Chart(
        title=title,
        width=len(groups) * step,
        height=_HEIGHT,
        bars=bars,
        labels=[((place + 0.5) * step, group) for place, group in enumerate(groups)],
        ticks=[((1 - part) * _HEIGHT, f"{100 * part * top:.0f}") for part in (0.0, 0.5, 1.0)],
        reference=None if reference is None else _HEIGHT * (1 - line / top),
        reference_text="" if reference is None else f"{reference[0]} {100 * line:.1f} %",
    )


def draw_stacks(
    title: str, groups: Sequence[str], kinds: Sequence[tuple[str, str]], counts: np.ndarray
) -> Chart:
    """Draw how the parts of each group share it, one stack of full height a group.

    Args:
        title: what is shown.
        groups: label of each of G stacks.
        kinds: name and CSS class of each of P parts, lowest first.
        counts: what is counted, (G, P); a group of nothing stays empty.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    floors = np.cumsum(shares, axis=1) - shares
    step = _BAR_WIDTH + _GAP / 2
    bars = [
        Bar(
            x=round(_GAP / 4 + place * step, 1),
            y=round(_HEIGHT * (1 - floors[place, part] - shares[place, part]), 1),
            width=_BAR_WIDTH,
            height=round(_HEIGHT * shares[place, part], 1),
            kind=kind,
            title=f"{group}: {name} {100 * shares[place, part]:.1f} %, {counts[place, part]:,}",
        )
        for place, group in enumerate(groups)
        for part, (name, kind) in enumerate(kinds)
        if counts[place, part]
    ]
    return Chart(
        title=title,
        width=len(groups) * step,
        height=_HEIGHT,
        bars=bars,
        labels=[((place + 0.5) * step, group) for place, group in enumerate(groups)],
        ticks=[((1 - part) * _HEIGHT, f"{100 * part:.0f}") for part in (0.0, 0.5, 1.0)],
    )


def draw_histogram(
    title: str, kind: str, edges: Sequence[float], counts: Sequence[int], unit: str
) -> Chart:
    """Draw a histogram of signed values, symmetrical around zero.

    Args:
        title: what is shown.
        kind: CSS class of the bars.
        edges: edges of the bins, ascending, (B + 1,).
        counts: how many values lie in each bin, (B,); beyond the outer edges in the outer bins.
        unit: unit of the edges.
    """
    top = max(*counts, 1)
    width = _BAR_WIDTH / 2
    last = len(counts) - 1
    bars = []
    for place, count in enumerate(counts):
        low = "" if place == 0 else f"from {edges[place]:+.2f} "
        high = "" if place == last else f"to {edges[place + 1]:+.2f} "
        bars.append(
            Bar(
                x=place * width,
                y=round(_HEIGHT * (1 - count / top), 1),
                width=width - 1,
                height=round(_HEIGHT * count / top, 1),
                kind=kind,
                title=f"{low}{high}{unit}: {count:,}",
            )
        )
    full = len(counts) * width
    middle = full / 2
    return Chart(
        title=title,
        width=full,
        height=_HEIGHT,
        bars=bars,
        labels=[
            (width, f"{edges[0]:+.1f}"),
            (middle, f"0 {unit}"),
            (full - width, f"{edges[-1]:+.1f}"),
        ],
        ticks=[(_HEIGHT, "0"), (0.0, f"{top:,}")],
    )
