"""Where bars, lines and ticks lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davezoo.inspection.charts import (
    HEIGHT,
    WIDTH,
    Chart,
    class_chart,
    length_chart,
    level_chart,
    log_ticks,
    rank_ticks,
)
from davezoo.inspection.coverage import cover_levels
from tests.inspection.sets import make_split


def within(chart: Chart) -> bool:
    """Say whether everything lies in the drawing area, up to the rounding of places."""
    bars = [(b.x, b.x + b.width, b.y, b.y + b.height) for b in chart.bars]
    ticks = [x for x, _ in [*chart.x_ticks, *chart.markers]]
    return all(
        left >= -0.2 and right <= chart.width + 0.2 and top >= -0.2 and bottom <= HEIGHT + 0.2
        for left, right, top, bottom in bars
    ) and all(-0.2 <= x <= chart.width + 0.2 for x in ticks)


@given(st.lists(st.floats(0, 1e5), max_size=40), st.lists(st.floats(0, 1e5), max_size=5))
def test_lengths_stay_in_the_picture(first: list[float], second: list[float]) -> None:
    chart = length_chart([np.array(first), np.array(second)], "s", [(10.0, "here")])
    assert within(chart)


def test_bars_are_shares_of_the_first_split() -> None:
    chart = length_chart([np.array([1.0] * 3 + [100.0]), np.array([10.0, np.nan])], "s")
    shortest, longest = chart.bars
    assert shortest.title.endswith(": 75.0 %")
    # The highest of all shares, the whole second split in one bin, reaches the top.
    assert shortest.height == pytest.approx(0.75 * HEIGHT, abs=0.1)
    assert longest.height == pytest.approx(0.25 * HEIGHT, abs=0.1)
    assert (shortest.x, longest.x + longest.width) == (0, WIDTH)
    points = [tuple(map(float, point.split(","))) for point in chart.lines[0].split()]
    assert {y for _, y in points} == {0.0, float(HEIGHT)}
    assert [x for x, y in points if y == 0] == pytest.approx([WIDTH / 2, WIDTH * 21 / 40], abs=0.1)
    assert {text: x for x, text in chart.x_ticks}["10"] == WIDTH / 2


def test_zeros_are_counted() -> None:
    assert length_chart([np.array([0.0, 0.0, 1.0])], "s").hint == "2 without length are not drawn."
    assert length_chart([np.zeros(0)], "s").bars == []


def test_classes_by_frequency() -> None:
    chart = class_chart(np.array([1, 1000, 0]), ["dog", "cat", "bell"])
    assert [bar.title for bar in chart.bars] == ["1. cat: 1,000", "2. dog: 1", "3. bell: 0"]
    cat, dog, bell = (bar.height for bar in chart.bars)
    assert cat > dog > bell == 0
    assert chart.hint == "1 classes have no events and no bar."
    assert [text for _, text in chart.y_ticks] == ["1", "10", "100", "1,000"]
    assert within(chart)


@pytest.mark.parametrize("number", [1, 20, 97, 300])
def test_any_number_of_classes_has_a_few_ticks(number: int) -> None:
    chart = class_chart(np.arange(number), [f"class {index}" for index in range(number)])
    assert within(chart)
    assert len(chart.bars) == number
    assert 1 <= len(chart.x_ticks) <= 9
    assert rank_ticks(number)[0] == 1


def test_levels() -> None:
    split = make_split({"a": 100.0}, [("a", 0, 6, 0), ("a", 20, 60, 0)])
    chart = level_chart(cover_levels(split, [(0, 4), (4, 32), (32, 10000)]))
    assert [text for _, text in chart.x_ticks] == ["0 to 4", "4 to 32", "32 or more"]
    assert [bar.title for bar in chart.bars] == [
        "1 events, 50.0 %", "2 events, 100.0 %", "1 events, 50.0 %"
    ]  # fmt: skip
    assert within(chart)


@given(st.floats(1e-3, 1e6), st.floats(2.5, 1e6))
def test_ticks_are_few_and_within_bounds(low: float, factor: float) -> None:
    ticks = log_ticks(low, low * factor)
    assert all(low <= tick <= low * factor for tick in ticks)
    assert 1 <= len(ticks) <= 8
