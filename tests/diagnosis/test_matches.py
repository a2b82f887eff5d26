"""Matches and the scores of parts of them, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.diagnosis.matches import match
from davezoo.evaluation.average_precision import average_precision
from tests.diagnosis import reference

THRESHOLDS = (0.1, 0.5, 0.75)
seeds = st.integers(0, 2**31)


def both(seed):
    events, detections = reference.make_problem(seed)
    matches = match(reference.to_arrays(events), reference.to_arrays(detections), THRESHOLDS)
    return events, reference.rank(events, detections), matches


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_events_are_found_as_one_after_the_other_would(seed):
    events, ranked, matches = both(seed)
    assert matches.detections.segments.tolist() == [list(row[2]) for row in ranked]
    slow = [reference.find(events, ranked, threshold) for threshold in THRESHOLDS]
    assert matches.found.tolist() == slow


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_score_of_everything_is_that_of_the_evaluator(seed):
    events, detections = map(reference.to_arrays, reference.make_problem(seed))
    values = average_precision(events, detections, THRESHOLDS).values
    scores = match(events, detections, THRESHOLDS).mean_average_precision()
    np.testing.assert_array_equal(scores, values.mean(axis=0))


@settings(max_examples=60, deadline=None)
@given(seeds, st.sampled_from([None, 1.0, 3.5]))
def test_scores_of_some_events_and_without_some_mistakes(seed, normal_count):
    events, ranked, matches = both(seed)
    rng = np.random.default_rng(seed)
    chosen = rng.random(len(events)) < 0.5
    chosen[rng.integers(len(events))] = True
    ignored = (rng.random(matches.found.shape) < 0.3) & (matches.found < 0)
    scores = matches.mean_average_precision(ignored, chosen, normal_count)
    slow = [
        reference.mean_average_precision(
            events,
            ranked,
            [None if left_out else event for event, left_out in zip(found, out, strict=True)],
            set(np.flatnonzero(chosen).tolist()),
            normal_count,
        )
        for found, out in zip(matches.found.tolist(), ignored.tolist(), strict=True)
    ]
    np.testing.assert_allclose(scores, slow, rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_strong_detections_are_as_many_of_a_class_as_it_has_events(seed):
    events, ranked, matches = both(seed)
    strong = [
        sum(other[1] == row[1] for other in ranked[:place])
        < sum(event[1] == row[1] for event in events)
        for place, row in enumerate(ranked)
    ]
    assert matches.is_strong.tolist() == strong
    for index, threshold in enumerate(THRESHOLDS):
        found = reference.find(events, ranked, threshold)
        hit = {event for event, is_strong in zip(found, strong, strict=True) if is_strong}
        assert np.flatnonzero(matches.is_found(index)).tolist() == sorted(hit - {-1})


def test_without_detections_nothing_is_found():
    events = reference.to_arrays([(0, 1, (0.0, 1.0))])
    nothing = reference.to_arrays([(0, 2, (0.0, 1.0), 0.5)])  # a class without events
    matches = match(events, nothing, THRESHOLDS)
    assert matches.found.shape == (3, 0)
    assert matches.mean_average_precision().tolist() == [0, 0, 0]
    assert matches.is_found(0).tolist() == [False]


def test_normal_count_makes_groups_of_different_sizes_equal():
    """One hit and one earlier mistake: 1/2 with one event, and no more with all events found."""
    events = reference.to_arrays([(video, 0, (0.0, 1.0)) for video in range(4)])
    rows = [(9, 0, (0.0, 1.0), 1.0), *((v, 0, (0.0, 1.0), 0.5) for v in range(4))]
    matches = match(events, reference.to_arrays(rows), (0.5,))
    first = np.array([True, False, False, False])
    assert matches.mean_average_precision() == pytest.approx(0.8)
    assert matches.mean_average_precision(chosen=first) == pytest.approx(0.5)
    assert matches.mean_average_precision(chosen=first, normal_count=4) == pytest.approx(0.8)
