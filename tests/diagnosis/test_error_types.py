"""Outcomes of detections and what the mistakes cost, against plain loops."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.diagnosis.error_types import OUTCOMES, analyze_errors, classify_detections
from davezoo.diagnosis.matches import match
from davezoo.diagnosis.overlaps import find_overlaps
from tests.diagnosis import reference

THRESHOLDS = (0.1, 0.5, 0.75)


def examine(events, detections, thresholds=THRESHOLDS):
    matches = match(reference.to_arrays(events), reference.to_arrays(detections), thresholds)
    outcomes = classify_detections(matches, find_overlaps(matches.events, matches.detections))
    return matches, outcomes


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31))
def test_outcomes_ranks_and_gains(seed):
    events, detections = reference.make_problem(seed, num_detections=60)
    ranked = reference.rank(events, detections)
    matches, outcomes = examine(events, detections)
    found = [reference.find(events, ranked, threshold) for threshold in THRESHOLDS]
    names = [
        [
            reference.outcome(events, row, event, threshold)
            for row, event in zip(ranked, of_rows, strict=True)
        ]
        for of_rows, threshold in zip(found, THRESHOLDS, strict=True)
    ]
    assert [[OUTCOMES[outcome] for outcome in row] for row in outcomes] == names

    errors = analyze_errors(matches, outcomes, 1)
    counts, beyond = [[0] * len(OUTCOMES) for _ in range(10)], 0
    for place, row in enumerate(ranked):
        rank = sum(other[1] == row[1] for other in ranked[:place])
        rank //= sum(event[1] == row[1] for event in events)
        if rank < 10:
            counts[rank][OUTCOMES.index(names[1][place])] += 1
        else:
            beyond += 1
    assert (errors.counts.tolist(), errors.num_beyond) == (counts, beyond)

    def score(without):
        values = [
            reference.mean_average_precision(
                events,
                ranked,
                [None if name == without else e for e, name in zip(row, row_names, strict=True)],
                range(len(events)),
            )
            for row, row_names in zip(found, names, strict=True)
        ]
        return sum(values) / len(values)

    assert errors.avg_map == pytest.approx(score(None))
    for name, gain in errors.gains.items():
        assert gain == pytest.approx(score(name) - score(None), abs=1e-12)
        assert gain >= -1e-12


@pytest.mark.parametrize(
    ("detection", "expected"),
    [
        ((0, 0, (0.0, 10.0), 0.5), "true positive"),
        ((0, 0, (0.0, 9.0), 0.4), "double detection"),
        ((0, 1, (0.0, 9.0), 0.9), "wrong label"),
        ((0, 0, (8.0, 12.0), 0.9), "localization"),
        ((0, 1, (8.0, 12.0), 0.9), "confusion"),
        ((0, 0, (9.5, 19.0), 0.9), "background"),
        ((1, 0, (0.0, 10.0), 0.9), "background"),
        ((7, 0, (0.0, 10.0), 0.9), "background"),  # a video outside the split
    ],
)
def test_each_type_by_an_example(detection, expected):
    events = [(0, 0, (0.0, 10.0)), (2, 1, (50.0, 60.0))]
    matches, outcomes = examine(events, [(0, 0, (0.0, 10.0), 0.5), detection], (0.5,))
    segments = matches.detections.segments.tolist()
    rows = [row for row, segment in enumerate(segments) if segment == list(detection[2])]
    names = [
        OUTCOMES[outcomes[0, row]] for row in rows if matches.detections.videos[row] == detection[0]
    ]
    assert expected in names


def test_own_class_goes_first_where_events_overlap():
    """DETAD would call this a confusion: the event of the other class overlaps more."""
    events = [(0, 0, (0.0, 10.0)), (0, 1, (0.0, 6.0))]
    _, outcomes = examine(events, [(0, 0, (2.0, 5.0), 0.9)], (0.75,))
    assert OUTCOMES[outcomes[0, 0]] == "localization"


def test_a_repair_can_be_worth_all_that_is_missing():
    events = [(0, 0, (0.0, 10.0))]
    mistakes = [(0, 0, (30.0, 40.0), 0.9), (0, 0, (50.0, 60.0), 0.8)]
    matches, outcomes = examine(events, [*mistakes, (0, 0, (0.0, 10.0), 0.1)], (0.5,))
    errors = analyze_errors(matches, outcomes, 0)
    assert errors.avg_map == pytest.approx(1 / 3)
    assert errors.gains.pop("background") == pytest.approx(2 / 3)
    assert set(errors.gains.values()) == {0.0}
