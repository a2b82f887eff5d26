"""Bars where they belong."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from davezoo.diagnosis.charts import draw_groups, draw_histogram, draw_stacks


def test_clusters_stand_on_the_ground_and_reach_their_share():
    chart = draw_groups(
        "x", ["short", "long"], [("any", "a", [0.5, 1.0]), ("strong", "b", [0, 0.25])]
    )
    heights = {bar.title: bar.height / chart.height for bar in chart.bars}
    assert heights == pytest.approx(
        {
            "short: any 50.0 %": 0.5,
            "long: any 100.0 %": 1.0,
            "short: strong 0.0 %": 0.0,
            "long: strong 25.0 %": 0.25,
        },
        abs=1e-3,
    )
    assert all(bar.y + bar.height == pytest.approx(chart.height) for bar in chart.bars)
    assert chart.ticks == [(150.0, "0"), (75.0, "50"), (0.0, "100")]
    spans = sorted((bar.x, bar.x + bar.width) for bar in chart.bars)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert spans[0][0] >= 0
    assert spans[-1][1] <= chart.width


@pytest.mark.parametrize(
    ("shares", "line", "highest", "top"),
    [
        ([0.0], None, 0.0, "20"),
        ([0.2], None, 0, "20"),
        ([0.1], 0.7, 0, "80"),
        ([0.1], None, 0.9, "100"),
    ],
)
def test_the_scale_has_room_for_all(shares, line, highest, top):
    reference = None if line is None else ("all", line)
    chart = draw_groups("x", ["a"], [("n", "k", shares)], reference, highest)
    assert chart.ticks[-1] == (0.0, top)
    assert (chart.reference is None) == (line is None)


def test_stacks_fill_the_height_and_empty_ones_stay_empty():
    chart = draw_stacks(
        "x", ["1G", "2G"], [("right", "r"), ("wrong", "w")], np.array([[1, 3], [0, 0]])
    )
    assert [(bar.kind, bar.y, bar.height) for bar in chart.bars] == [
        ("r", 112.5, 37.5),
        ("w", 0, 112.5),
    ]
    assert chart.bars[1].title == "1G: wrong 75.0 %, 3"


def test_histogram():
    chart = draw_histogram("x", "k", [-2.0, -1.0, 1.0, 2.0], [1, 4, 0], "s")
    assert [bar.height for bar in chart.bars] == [37.5, 150.0, 0.0]
    assert [bar.title for bar in chart.bars] == [
        "to -1.00 s: 1",
        "from -1.00 to +1.00 s: 4",
        "from +1.00 s: 0",
    ]
    assert [text for _, text in chart.labels] == ["-2.0", "0 s", "+2.0"]
