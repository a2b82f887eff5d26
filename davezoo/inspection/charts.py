"""Pictures of an inspection as numbers: where bars, lines and ticks lie in a drawing area.

The page draws them as SVG in the colours of the reader's light or dark theme. Texts from files are
in the titles of bars only, which the page escapes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from davezoo.inspection.coverage import LevelCoverage
    from davezoo.inspection.statistics import FloatArray, IntArray

WIDTH, HEIGHT = 520, 190  # units of the drawing area; a page shows about one pixel each
_NUM_BINS = 40
_MOST_TICKS = 8
_SHORTEST = 1e-6  # seconds or steps; what is shorter has no place on a logarithmic axis


@dataclass(frozen=True)
class Bar:
    """One bar; `title` is shown when somebody points at it."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class Chart:
    """One picture, in units of its drawing area; y grows downward.

    Args:
        x_label: what the horizontal axis shows, with its unit.
        y_label: the same for the vertical axis.
        bars: bars from the bottom.
        lines: points of lines, as SVG writes them.
        markers: horizontal places of dashed lines and what they mean.
        x_ticks: places and texts.
        y_ticks: places and texts.
        hint: what is not drawn.
        width: width of the drawing area.
    """

    x_label: str
    y_label: str
    bars: list[Bar]
    lines: list[str] = field(default_factory=list)
    markers: list[tuple[float, str]] = field(default_factory=list)
    x_ticks: list[tuple[float, str]] = field(default_factory=list)
    y_ticks: list[tuple[float, str]] = field(default_factory=list)
    hint: str = ""
    width: int = WIDTH
    height: int = HEIGHT


def length_chart(
    lengths: Sequence[FloatArray], x_label: str, markers: Sequence[tuple[float, str]] = ()
) -> Chart:
    """Draw how long videos or events are, on a logarithmic axis.

    Args:
        lengths: one array a split; the first becomes bars, the others lines.
        x_label: what is drawn, with its unit.
        markers: lengths to mark, and what they mean.
    """
    known = [values[np.isfinite(values)] for values in lengths]
    drawn = [values[values >= _SHORTEST] for values in known]
    everything = np.concatenate(drawn) if drawn else np.empty(0)
    if not len(everything):
        return Chart(x_label, "%", [], hint="No length is known.")
    low, high = float(everything.min()), float(everything.max())
    if high < 2.5 * low:  # one length, or nearly: a bar in the middle
        low, high = low / 2, high * 2
    edges = np.geomspace(low, high, _NUM_BINS + 1)
    edges[0], edges[-1] = min(low, edges[0]), max(high, edges[-1])  # against rounding
    shares = [np.histogram(values, edges)[0] / max(len(values), 1) for values in drawn]
    top = max(float(share.max()) for share in shares)
    x = np.linspace(0.0, WIDTH, _NUM_BINS + 1)
    scale = WIDTH / (math.log(high) - math.log(low))

    def place(value: float) -> float:
        return round(scale * (math.log(value) - math.log(low)), 1)

    first = shares[0]
    bars = [
        _bar(
            left,
            HEIGHT * (1 - share / top),
            right - left,
            HEIGHT * share / top,
            f"{start:.3g} to {stop:.3g}: {100 * share:.1f} %",
        )
        for left, right, start, stop, share in zip(
            x[:-1], x[1:], edges[:-1], edges[1:], first, strict=True
        )
        if share > 0
    ]
    not_drawn = sum(len(values) for values in known) - len(everything)
    return Chart(
        x_label,
        "share, %",
        bars,
        lines=[_steps(x, HEIGHT * (1 - share / top)) for share in shares[1:]],
        markers=[(place(value), text) for value, text in markers if low <= value <= high],
        x_ticks=[(place(tick), f"{tick:g}") for tick in log_ticks(low, high)],
        y_ticks=_share_ticks(top),
        hint=f"{not_drawn:,} without length are not drawn." if not_drawn else "",
    )


def class_chart(counts: IntArray, names: Sequence[str]) -> Chart:
    """Draw the events of each class, most frequent first, on a logarithmic axis.

    Args:
        counts: events of each class, (K,).
        names: name of each class.
    """
    order = np.argsort(-counts, kind="stable")
    top = math.log10(max(int(counts.max(initial=0)), 1)) + 0.1  # a single event is seen, too
    base = -0.1
    width = 2 * WIDTH
    step = width / max(len(counts), 1)
    bars = []
    for rank, label in enumerate(order):
        count = int(counts[label])
        height = HEIGHT * (math.log10(count) - base) / (top - base) if count else 0.0
        title = f"{rank + 1}. {names[label]}: {count:,}"
        gap = min(1.0, 0.15 * step)
        bars.append(_bar(rank * step, HEIGHT - height, step - gap, height, title))
    absent = int((counts == 0).sum())
    ranks = rank_ticks(len(counts))
    return Chart(
        "classes by frequency",
        "events",
        bars,
        x_ticks=[(round((rank - 0.5) * step, 1), str(rank)) for rank in ranks],
        y_ticks=[
            (round(HEIGHT * (1 - (power - base) / (top - base)), 1), f"{10**power:,}")
            for power in range(int(top) + 1)
        ],
        hint=f"{absent:,} classes have no events and no bar." if absent else "",
        width=width,
    )


def level_chart(coverage: LevelCoverage) -> Chart:
    """Draw which share of the events has a point on each level."""
    total = max(coverage.num_events, 1)
    shares = [level.events / total for level in coverage.levels]
    top = max([*shares, 0.01])
    step = WIDTH / max(len(shares), 1)
    return Chart(
        "range of the level, steps",
        "events, %",
        [
            _bar(
                (number + 0.15) * step,
                HEIGHT * (1 - share / top),
                0.7 * step,
                HEIGHT * share / top,
                f"{level.events:,} events, {100 * share:.1f} %",
            )
            for number, (share, level) in enumerate(zip(shares, coverage.levels, strict=True))
        ],
        x_ticks=[
            (round((number + 0.5) * step, 1), level.describe_range())
            for number, level in enumerate(coverage.levels)
        ],
        y_ticks=_share_ticks(top),
    )


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers within bounds at least 2.5 times apart, eight at most.

    Example:
        >>> log_ticks(0.3, 30)
        [0.5, 1.0, 2.0, 5.0, 10.0, 20.0]
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [float(f"{factor}e{power}") for power in powers for factor in factors]
        found = [tick for tick in ticks if low <= tick <= high]
        if len(found) <= _MOST_TICKS:
            return found
    return found[:: math.ceil(len(found) / _MOST_TICKS)]


def rank_ticks(number: int) -> list[int]:
    """Return 1 and round ranks up to a number, a few of them.

    Example:
        >>> rank_ticks(100)
        [1, 20, 40, 60, 80, 100]
    """
    step = next(s for s in _round_steps() if number / s <= _MOST_TICKS)
    return [1, *range(step, number + 1, step)] if step > 1 else list(range(1, number + 1))


def _round_steps() -> Sequence[int]:
    return [factor * 10**power for power in range(7) for factor in (1, 2, 5)]


def _share_ticks(top: float) -> list[tuple[float, str]]:
    """Return a few round shares, in per cent, and their places."""
    step = 10 ** math.floor(math.log10(100 * top))
    step = next(step * factor for factor in (0.2, 0.5, 1, 2) if 100 * top / (step * factor) <= 5)
    number = math.floor(100 * top / step + 1e-9)
    return [
        (round(HEIGHT * (1 - tick * step / 100 / top), 1), f"{tick * step:g}")
        for tick in range(number + 1)
    ]


def _steps(x: FloatArray, y: FloatArray) -> str:
    """Return the outline of a histogram as points of an SVG line."""
    corners = np.column_stack([np.repeat(x, 2)[1:-1], np.repeat(y, 2)]).round(1)
    return " ".join(f"{left:g},{top:g}" for left, top in corners)


def _bar(x: float, y: float, width: float, height: float, title: str) -> Bar:
    """Return a bar whose places are short to write."""
    x, y, width, height = np.round([x, y, width, height], 1).tolist()
    return Bar(x, y, width, height, title)
