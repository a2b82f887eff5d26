"""Charts as SVG documents that stand alone: on the diagnosis page and, as images, in a report.

A document brings its own colours, light and dark. Its words come from files that anybody may have
written: letters that are not printable, which XML refuses or which turn text around, are replaced,
and the template escapes the rest.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from davezoo.evaluation.results import printable, shortened
from davezoo.pages import page_templates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Template
    from numpy.typing import NDArray

_TEMPLATES = Path(__file__).parent / "templates"
_HEIGHT = 150.0  # of upright charts; units of the drawing area, as all lengths here
_WIDTH = 300.0  # of lying bars
_STACK_WIDTH = 38.0
_BIN_WIDTH = 16.0
_BAR_HEIGHT = 13.0
_LINE_HEIGHT = 19.0
_LETTER_WIDTH = 7.5  # more than the mean of a letter of 12 units in wide fonts
_LONGEST_LABEL = 44  # letters
_NICE = (1, 2, 4, 6, 8, 10)


class Series(NamedTuple):
    """Bars of one meaning.

    Args:
        name: what the legend calls them.
        kind: CSS class, which gives the colour.
    """

    name: str
    kind: str


class Row(NamedTuple):
    """One line of lying bars.

    Args:
        label: what stands to the left of it.
        values: length of the bar of each series, none negative.
    """

    label: str
    values: Sequence[float]


class Section(NamedTuple):
    """Lines of lying bars under one heading.

    Args:
        heading: what they have in common; empty for none.
        rows: the lines.
        reference: value of a dashed line across them; None for none.
    """

    heading: str
    rows: Sequence[Row]
    reference: float | None = None


@dataclass(frozen=True)
class Bar:
    """A rectangle: its upper left corner, size, CSS class and what it says when pointed at."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str = ""


@dataclass(frozen=True)
class Text:
    """Words: where they stand, the end they are held at (`start`, `middle`, `end`), CSS class."""

    x: float
    y: float
    words: str
    anchor: str = "middle"
    kind: str = "label"


@dataclass(frozen=True)
class Line:
    """A straight line between two points."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True)
class Chart:
    """A drawing; the origin is the upper left corner of its plot, y goes downward.

    Args:
        title: what it shows, for those who cannot see it.
        left: room left of the plot, for labels.
        width: width of the plot and of the room right of it.
        height: height of the plot and of the room below it.
        grid: lines under the bars.
        bars: rectangles.
        references: dashed lines over the bars.
        texts: words, over all.
    """

    title: str
    left: float
    width: float
    height: float
    grid: list[Line] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    references: list[Line] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)

    def to_svg(self) -> str:
        """Return the drawing as a document that can also stand within an HTML page."""
        return _template().render(chart=self)


@functools.cache
def _template() -> Template:
    environment = page_templates(_TEMPLATES)
    environment.filters["printable"] = printable
    return environment.get_template("chart.svg")


def draw_rows(
    title: str, series: Sequence[Series], sections: Sequence[Section], digits: int = 1
) -> Chart:
    """Draw lying bars from a common ground line, the value of each at its end.

    Args:
        title: what is shown.
        series: what the bars of each row are; a legend names them where they are several.
        sections: the rows, at least one.
        digits: decimals of the values.
    """
    rows = [row for section in sections for row in section.rows]
    references = [section.reference or 0.0 for section in sections]
    top = _nice_top(max([*references, *(value for row in rows for value in row.values)]))
    left = 12 + _LETTER_WIDTH * max(len(shortened(row.label, _LONGEST_LABEL)) for row in rows)
    chart = Chart(title, left, _WIDTH + 60, 0)
    y = 0.0
    for heading, entries, reference in sections:
        if heading:
            y += _LINE_HEIGHT
            chart.texts.append(Text(-left, y, heading, "start", "heading"))
            y += 7
        start = y
        for label, values in entries:
            height = len(series) * _BAR_HEIGHT
            chart.texts.append(
                Text(-8, y + height / 2 + 4, shortened(label, _LONGEST_LABEL), "end")
            )
            for (name, kind), value in zip(series, values, strict=True):
                words = f"{value:.{digits}f}"
                length = _WIDTH * value / top
                bar = Bar(0, y, length, _BAR_HEIGHT - 1, kind, f"{label}: {name} {words}")
                chart.bars.append(bar)
                chart.texts.append(Text(length + 5, y + 10, words, "start", "value"))
                y += _BAR_HEIGHT
            y += 6
        if reference is not None:
            x = _WIDTH * reference / top
            chart.references.append(Line(x, start - 3, x, y - 3))
    for part in (0.0, 0.5, 1.0):
        chart.grid.append(Line(part * _WIDTH, 0, part * _WIDTH, y))
        chart.texts.append(Text(part * _WIDTH, y + 14, f"{part * top:,g}"))
    return _with_legend(chart, series if series[1:] else (), y + 20)


def draw_stacks(
    title: str, series: Sequence[Series], groups: Sequence[str], counts: NDArray[np.int64]
) -> Chart:
    """Draw how the parts of each group share it, one upright stack of full height a group.

    Args:
        title: what is shown.
        series: what each of P parts is, lowest first.
        groups: label of each of G stacks.
        counts: what is counted, (G, P); a group of nothing stays empty.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    floors = np.cumsum(shares, axis=1) - shares
    chart = Chart(title, 44, len(groups) * _STACK_WIDTH + 12, 0)
    _draw_scale(chart, len(groups) * _STACK_WIDTH, [0, 50, 100])
    for place, group in enumerate(groups):
        chart.texts.append(Text((place + 0.5) * _STACK_WIDTH, _HEIGHT + 16, group))
        for part, (name, kind) in enumerate(series):
            share = shares[place, part]
            chart.bars.append(
                Bar(
                    x=place * _STACK_WIDTH + 4,
                    y=_HEIGHT * (1 - floors[place, part] - share),
                    width=_STACK_WIDTH - 8,
                    height=_HEIGHT * share,
                    kind=kind,
                    title=f"{group}: {name} {100 * share:.1f} %, {counts[place, part]:,}",
                )
            )
    return _with_legend(chart, series, _HEIGHT + 26)


def draw_histograms(
    title: str,
    series: Sequence[Series],
    edges: Sequence[float],
    counts: Sequence[Sequence[int]],
    unit: str,
) -> Chart:
    """Draw histograms of signed values with the same bins, side by side in each bin.

    Args:
        title: what is shown.
        series: what each of S histograms is.
        edges: edges of the bins, ascending and symmetrical around zero, (B + 1,).
        counts: how many values lie in each bin, (S, B); beyond the outer edges in the outer bins.
        unit: unit of the edges.
    """
    num_bins = len(edges) - 1
    full = num_bins * _BIN_WIDTH
    top = _nice_top(max(max(row) for row in counts))
    width = (_BIN_WIDTH - 2) / len(series)
    chart = Chart(title, 44, full + 24, 0)
    _draw_scale(chart, full, [0, top])
    for index, ((name, kind), row) in enumerate(zip(series, counts, strict=True)):
        for place, count in enumerate(row):
            low = "" if place == 0 else f"from {edges[place]:+.3g} "
            high = "" if place == num_bins - 1 else f"to {edges[place + 1]:+.3g} "
            height = _HEIGHT * count / top
            x = place * _BIN_WIDTH + 1 + index * width
            words = f"{name} {low}{high}{unit}: {count:,}"
            chart.bars.append(Bar(x, _HEIGHT - height, width, height, kind, words))
    middle = (0, f"{edges[0]:+.3g}"), (full / 2, f"0 {unit}"), (full, f"{edges[-1]:+.3g}")
    chart.texts.extend(Text(x, _HEIGHT + 16, words) for x, words in middle)
    chart.references.append(Line(full / 2, 0, full / 2, _HEIGHT))
    return _with_legend(chart, series, _HEIGHT + 26)


def _draw_scale(chart: Chart, width: float, values: Sequence[float]) -> None:
    """Draw grid lines at values of the vertical axis, the last of which is the upper edge."""
    for value in values:
        y = _HEIGHT * (1 - value / values[-1])
        chart.grid.append(Line(0, y, width, y))
        chart.texts.append(Text(-8, y + 4, f"{value:,g}", "end"))


def _with_legend(chart: Chart, series: Sequence[Series], y: float) -> Chart:
    """Add what the colours mean, in as many lines as it takes, and end the chart below it."""
    x = -chart.left
    for name, kind in series:
        length = 26 + _LETTER_WIDTH * len(name)
        if x + length > chart.width and x > -chart.left:
            x, y = -chart.left, y + _LINE_HEIGHT
        chart.bars.append(Bar(x, y, 14, 10, kind))
        chart.texts.append(Text(x + 19, y + 9, name, "start"))
        x += length + 8
    return replace(chart, height=y + (_LINE_HEIGHT if series else 0))


def _nice_top(highest: float) -> float:
    """Return the end of a scale: the next round number above a value; 1 for zero."""
    if highest <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(highest))
    return next(nice * unit for nice in _NICE if highest <= nice * unit * (1 + 1e-9))
