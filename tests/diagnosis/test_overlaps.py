"""Best overlaps and concurrency, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.diagnosis.overlaps import count_concurrent, find_overlaps
from tests.diagnosis import reference
from tests.evaluation.reference import tiou

seeds = st.integers(0, 2**31)


@pytest.mark.parametrize("pairs_at_once", [1, 7, 1000])
@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_best_overlaps(seed, pairs_at_once):
    events, detections = reference.make_problem(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("davezoo.diagnosis.overlaps._PAIRS_AT_ONCE", pairs_at_once)
        overlaps = find_overlaps(reference.to_arrays(events), reference.to_arrays(detections))
    slow = [reference.overlaps_of(events, detection) for detection in detections]
    np.testing.assert_allclose(np.stack([overlaps.own, overlaps.other], axis=1), slow, rtol=1e-12)
    for row, event in enumerate(overlaps.other_event):
        if event < 0:
            assert overlaps.other[row] == 0
        else:
            video, label, segment, _ = detections[row]
            assert (events[event][0], events[event][1] != label) == (video, True)
            assert tiou(events[event][2], segment) == pytest.approx(overlaps.other[row])
    of_event = [
        max([0, *(tiou(event[2], row[2]) for row in detections if row[:2] == event[:2])])
        for event in events
    ]
    np.testing.assert_allclose(overlaps.of_event, of_event, rtol=1e-12)


def test_of_equal_overlaps_the_first_event_is_taken():
    events = reference.to_arrays([(0, 1, (0.0, 4.0)), (0, 2, (0.0, 4.0))])
    overlaps = find_overlaps(events, reference.to_arrays([(0, 0, (0.0, 4.0), 1.0)]))
    assert overlaps.other_event.tolist() == [0]


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_concurrent_events_share_time(seed):
    events, _ = reference.make_problem(seed, num_events=14)
    slow = [
        sum(
            other is not event
            and other[0] == event[0]
            and max(event[2][0], other[2][0]) < min(event[2][1], other[2][1])
            for other in events
        )
        for event in events
    ]
    assert count_concurrent(reference.to_arrays(events)).tolist() == slow


def test_events_that_touch_are_not_concurrent():
    events = [(0, 0, (0.0, 2.0)), (0, 0, (2.0, 3.0)), (0, 1, (2.0, 2.0)), (1, 0, (0.0, 9.0))]
    assert count_concurrent(reference.to_arrays(events)).tolist() == [0, 0, 0, 0]
