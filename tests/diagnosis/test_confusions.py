"""Classes taken for others."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.diagnosis.confusions import find_confusions
from davezoo.diagnosis.error_types import OUTCOMES, classify_detections
from davezoo.diagnosis.matches import match
from davezoo.diagnosis.overlaps import find_overlaps
from tests.diagnosis import reference
from tests.evaluation.reference import tiou

NAMES = ["dog", "cat", "bell"]


def confusions(events, detections):
    matches = match(reference.to_arrays(events), reference.to_arrays(detections), (0.5,))
    overlaps = find_overlaps(matches.events, matches.detections)
    outcomes = classify_detections(matches, overlaps)
    return find_confusions(matches, overlaps, outcomes, 0, NAMES), matches


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31))
def test_pairs_are_those_of_plain_loops(seed):
    events, detections = reference.make_problem(seed, num_detections=40)
    found, matches = confusions(events, detections)
    ranked = reference.rank(events, detections)
    taken = reference.find(events, ranked, 0.5)
    pairs, strong = Counter(), Counter()
    for row, event, is_strong in zip(ranked, taken, matches.is_strong, strict=True):
        if not is_strong:
            continue
        strong[NAMES[row[1]]] += 1
        if reference.outcome(events, row, event, 0.5) == OUTCOMES[2]:
            others = [e for e in events if e[0] == row[0] and e[1] != row[1]]
            best = max(others, key=lambda e: tiou(e[2], row[2]))  # the first of equal ones
            pairs[NAMES[best[1]], NAMES[row[1]]] += 1
    assert {(c.event_label, c.detected_label): c.num_detections for c in found} == pairs
    assert [c.num_detections for c in found] == sorted(pairs.values(), reverse=True)
    for entry in found:
        expected = entry.num_detections / strong[entry.detected_label]
        assert entry.share == pytest.approx(expected)


def test_weak_detections_confuse_nothing():
    events = [(0, 0, (0.0, 4.0)), (1, 1, (0.0, 4.0))]
    detections = [(1, 1, (0.0, 4.0), 0.9), (0, 1, (0.0, 4.0), 0.5)]
    assert confusions(events, detections)[0] == []
