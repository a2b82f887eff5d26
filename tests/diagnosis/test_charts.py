"""Charts: bars where they belong, and documents that stand alone whatever their words are."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.diagnosis.charts import Row, Section, Series, draw_histograms, draw_rows, draw_stacks
from tests.diagnosis.reference import read_svg

ONE = [Series("share", "strong")]
TWO = [Series("any", "any"), Series("strong", "strong")]


def titled(chart):
    """Bars that are no swatch of the legend, by what they say."""
    return {bar.title: bar for bar in chart.bars if bar.title}


def test_lying_bars_start_at_the_ground_and_reach_their_value():
    sections = [Section("", [Row("short", [50.0, 0.0]), Row("long", [100.0, 25.0])])]
    chart = draw_rows("x", TWO, sections)
    bars = titled(chart)
    full = bars["long: any 100.0"].width
    assert {title: bar.width / full for title, bar in bars.items()} == pytest.approx(
        {
            "short: any 50.0": 0.5,
            "short: strong 0.0": 0.0,
            "long: any 100.0": 1.0,
            "long: strong 25.0": 0.25,
        }
    )
    assert {bar.x for bar in bars.values()} == {0}
    spans = sorted((bar.y, bar.y + bar.height) for bar in bars.values())
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert chart.height >= spans[-1][1]
    words = [text.words for text in chart.texts]
    assert [word for word in words if word in ("0", "50", "100")] == ["0", "50", "100"]
    assert words[-2:] == ["any", "strong"]  # the legend


@pytest.mark.parametrize(
    ("values", "line", "top"),
    [
        ([0.0], None, "1"),
        ([0.07], None, "0.08"),
        ([6.22], None, "8"),
        ([20.0], None, "20"),
        ([10.0], 70.0, "80"),
        ([87.0], None, "100"),
        ([1234.0], None, "2,000"),
    ],
)
def test_the_scale_has_room_for_all(values, line, top):
    chart = draw_rows("x", ONE, [Section("", [Row("a", values)], line)])
    assert chart.texts[-1].words == top
    assert len(chart.references) == (line is not None)


def test_each_section_has_its_own_reference():
    rows = [Row("a", [10.0])]
    chart = draw_rows("x", ONE, [Section("first", rows, 5.0), Section("second", rows, 10.0)])
    first, second = chart.references
    assert (first.x1, second.x1) == (150.0, 300.0)
    assert first.y2 < second.y1
    headings = [text.words for text in chart.texts if text.kind == "heading"]
    assert headings == ["first", "second"]


def test_stacks_fill_the_height_and_empty_ones_stay_empty():
    series = [Series("right", "r"), Series("wrong", "w")]
    chart = draw_stacks("x", series, ["1G", "2G"], np.array([[1, 3], [0, 0]]))
    bars = titled(chart)
    assert {title: (bar.kind, bar.y, bar.height) for title, bar in bars.items()} == {
        "1G: right 25.0 %, 1": ("r", 112.5, 37.5),
        "1G: wrong 75.0 %, 3": ("w", 0, 112.5),
        "2G: right 0.0 %, 0": ("r", 150.0, 0.0),
        "2G: wrong 0.0 %, 0": ("w", 150.0, 0.0),
    }


def test_histograms_stand_side_by_side_in_each_bin():
    chart = draw_histograms("x", TWO, [-2.0, -1.0, 1.0, 2.0], [[1, 4, 0], [0, 2, 2]], "s")
    bars = titled(chart)
    assert {title: bar.height for title, bar in bars.items()} == {
        "any to -1 s: 1": 37.5,
        "any from -1 to +1 s: 4": 150.0,
        "any from +1 s: 0": 0.0,
        "strong to -1 s: 0": 0.0,
        "strong from -1 to +1 s: 2": 75.0,
        "strong from +1 s: 2": 75.0,
    }
    spans = sorted((bar.x, bar.x + bar.width) for bar in bars.values())
    assert all(end <= start + 1e-9 for (_, end), (start, _) in pairwise(spans))
    assert {"-2", "0 s", "+2"} < {text.words for text in chart.texts}


def test_small_edges_are_not_rounded_to_zero():
    chart = draw_histograms("x", ONE, [-0.001, 0.0, 0.001], [[1, 1]], "s")
    assert {"-0.001", "+0.001"} < {text.words for text in chart.texts}


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=[]), max_size=80))
def test_any_words_make_a_document_that_every_reader_takes(words):
    chart = draw_rows(words, ONE, [Section(words, [Row(words, [1.0])])])
    nodes = [name for name, _ in read_svg(chart.to_svg().encode())]
    plain = draw_rows("x", ONE, [Section("y" * bool(words), [Row("x", [1.0])])])
    assert nodes == [name for name, _ in read_svg(plain.to_svg().encode())]


def test_words_that_turn_text_around_are_replaced():
    chart = draw_rows("x", ONE, [Section("", [Row("dog\u202egod \x00\x1b[2J", [1.0])])])
    svg = chart.to_svg()
    assert "dog?god ??[2J" in svg
    assert "\u202e" not in svg


def test_long_labels_are_cut_where_they_are_seen():
    chart = draw_rows("x", ONE, [Section("", [Row("long " * 400, [1.0])])])
    assert chart.left < 400
    label = next(text.words for text in chart.texts if text.words.startswith("long"))
    assert len(label) == 44
    assert label.endswith("…")
