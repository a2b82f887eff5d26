"""Signed errors of the boundaries."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.diagnosis.boundaries import measure_boundaries
from davezoo.diagnosis.matches import match
from tests.diagnosis import reference


def measure(events, detections, threshold=0.5):
    matches = match(reference.to_arrays(events), reference.to_arrays(detections), (threshold,))
    return measure_boundaries(matches, 0)


def test_late_is_positive_at_both_ends():
    events = [(0, 0, (10.0, 14.0)), (1, 0, (10.0, 30.0)), (2, 0, (10.0, 30.0))]
    detections = [
        (0, 0, (10.5, 13.0), 0.9),  # starts late, ends early
        (1, 0, (8.0, 33.0), 0.9),  # starts early, ends late
        (2, 0, (0.0, 1.0), 0.9),  # finds nothing and says nothing
    ]
    errors = measure(events, detections)
    found = {(e.boundary, e.group): (e.num_detections, e.mean, e.median) for e in errors.summary}
    assert found == {
        ("onset", "all"): (2, -0.75, -0.75),
        ("onset", "(0, 5]"): (1, 0.5, 0.5),
        ("onset", "(5, 20]"): (1, -2.0, -2.0),
        ("offset", "all"): (2, 1.0, 1.0),
        ("offset", "(0, 5]"): (1, -1.0, -1.0),
        ("offset", "(5, 20]"): (1, 3.0, 3.0),
    }


def test_tenths_and_histograms_hold_every_error():
    """Onsets late by 0, 0.1, ... 1.0 s and one by 8 s, which lies beyond the outer edge."""
    shifts = [place / 10 for place in range(11)] + [8.0]
    events = [(video, 0, (10.0, 40.0)) for video in range(12)]
    detections = [(v, 0, (10.0 + shift, 40.0), 0.9) for v, shift in enumerate(shifts)]
    errors = measure(events, detections)
    onset = next(e for e in errors.summary if (e.boundary, e.group) == ("onset", "all"))
    assert (onset.low, onset.median, onset.high) == pytest.approx((0.11, 0.55, 0.99))
    assert len(errors.edges) == 22
    assert errors.edges[0] == -errors.edges[-1]
    assert [sum(counts) for counts in errors.histograms.values()] == [12, 12]
    assert errors.histograms["onset"][-1] >= 1
    assert errors.histograms["offset"][10] == 12  # all exact


def test_nothing_found_is_empty():
    errors = measure([(0, 0, (0.0, 1.0))], [(0, 0, (5.0, 6.0), 0.5)])
    assert (errors.summary, errors.edges, errors.histograms) == ([], [], {})


def test_exact_detections_have_a_histogram():
    errors = measure([(0, 0, (0.0, 1.0))], [(0, 0, (0.0, 1.0), 0.5)])
    assert errors.histograms["onset"][10] == 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31))
def test_errors_are_those_of_plain_loops(seed):
    events, detections = reference.make_problem(seed, num_detections=40)
    ranked = reference.rank(events, detections)
    pairs = [
        (events[event][2], detection[2])
        for detection, event in zip(ranked, reference.find(events, ranked, 0.5), strict=True)
        if event >= 0
    ]
    errors = measure(events, detections)
    expected = {}
    for (side, boundary), group in product(enumerate(("onset", "offset")), ("all", "(0, 5]")):
        chosen = [found[side] - event[side] for event, found in pairs]  # none is longer than 5 s
        if chosen:
            expected[boundary, group] = (len(chosen), np.mean(chosen), np.median(chosen))
    found = {(e.boundary, e.group): (e.num_detections, e.mean, e.median) for e in errors.summary}
    assert found.keys() == expected.keys()
    for key, values in found.items():
        assert values == pytest.approx(expected[key])
    assert [sum(counts) for counts in errors.histograms.values()] == [len(pairs)] * 2 * bool(pairs)
