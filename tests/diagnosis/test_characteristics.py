"""Groups of events and their scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.diagnosis.characteristics import (
    Grouping,
    group_durations,
    group_events,
    measure_sensitivity,
    share_by_duration,
)
from davezoo.diagnosis.matches import match
from davezoo.diagnosis.overlaps import find_overlaps
from tests.diagnosis import reference


def groups(events, durations=(100.0, 100.0)):
    """Name of the group of each event, by characteristic."""
    groupings = group_events(reference.to_arrays(events), np.array(durations))
    return {entry.name: [entry.groups[group] for group in entry.group_of] for entry in groupings}


@pytest.mark.parametrize(
    ("duration", "group"),
    [
        (0.0, "(0, 5]"),
        (5.0, "(0, 5]"),
        (5.001, "(5, 20]"),
        (20.0, "(5, 20]"),
        (20.5, "(20, 60]"),
        (60.0, "(20, 60]"),
        (60.1, "over 60"),
    ],
)
def test_durations_are_those_of_ccnet_and_beyond(duration, group):
    assert groups([(0, 0, (0.0, duration))])["duration, s"] == [group]


@pytest.mark.parametrize(
    ("end", "video_duration", "group"),
    [
        (20.0, 100.0, "0 to 20"),
        (20.1, 100.0, "20 to 40"),
        (100.0, 100.0, "over 80"),
        (150.0, 100.0, "over 80"),
        (1.0, float("nan"), "unknown"),
        (1.0, 0.0, "unknown"),
    ],
)
def test_coverage(end, video_duration, group):
    found = groups([(0, 0, (0.0, end))], [video_duration])
    assert found["coverage of the video, %"] == [group]


def test_numbers_and_concurrency():
    events = [(0, 0, (float(i), i + 1.0)) for i in range(9)]  # one after the other
    events += [(1, 0, (0.0, 1.0)), (1, 1, (0.0, 1.0)), (1, 1, (0.5, 3.0)), (1, 2, (2.0, 3.0))]
    found = groups(events)
    of_class = found["events of its class in the video"]
    assert of_class == ["9 or more"] * 9 + ["1", "2 to 4", "2 to 4", "1"]
    assert found["events in the video"] == ["9 or more"] * 9 + ["2 to 4"] * 4
    assert found["other events at the same time"] == ["0"] * 9 + ["2", "2", "3 or more", "1"]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31))
def test_every_event_is_in_one_group(seed):
    events, _ = reference.make_problem(seed)
    for entry in group_events(reference.to_arrays(events), np.array([9.0, 0, np.nan, 3])):
        assert entry.group_of.shape == (len(events),)
        assert set(entry.group_of.tolist()) <= set(range(len(entry.groups)))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31))
def test_sensitivity_scores_each_group_alone(seed):
    events, detections = reference.make_problem(seed)
    thresholds = (0.3, 0.5)
    ranked = reference.rank(events, detections)
    matches = match(reference.to_arrays(events), reference.to_arrays(detections), thresholds)
    group_of = np.random.default_rng(seed).integers(0, 3, len(events))
    sensitivity = measure_sensitivity(matches, Grouping("x", ("a", "b", "c"), group_of), 1)
    normal_count = len(events) / len({event[1] for event in events})

    def score(chosen):
        found = [reference.find(events, ranked, threshold) for threshold in thresholds]
        return np.mean(
            [
                reference.mean_average_precision(events, ranked, row, chosen, normal_count)
                for row in found
            ]
        )

    assert sensitivity.avg_map_n == pytest.approx(score(range(len(events))))
    assert {entry.group for entry in sensitivity.scores} == {"abc"[group] for group in group_of}
    is_found = matches.is_found(1)
    for entry in sensitivity.scores:
        chosen = np.flatnonzero(group_of == "abc".index(entry.group))
        assert entry.num_events == len(chosen)
        assert entry.avg_map_n == pytest.approx(score(set(chosen.tolist())))
        assert entry.found_share == pytest.approx(np.mean([is_found[event] for event in chosen]))


def test_shares_of_ccnet_ask_all_detections_and_ours_the_strong_ones():
    events = [
        (0, 0, (0.0, 4.0)),  # met by a weak detection only
        (1, 0, (0.0, 4.0)),  # tIoU of exactly 0.5: CCNet asks for more, the evaluator does not
        (2, 0, (0.0, 10.0)),
        (3, 0, (0.0, 100.0)),  # met by another class
    ]
    detections = [
        (0, 0, (0.0, 4.0), 0.1),
        (1, 0, (0.0, 2.0), 0.8),
        (2, 0, (0.0, 9.0), 0.9),
        (3, 1, (0.0, 100.0), 0.9),
        *((0, 0, (50.0, 60.0 + place), 0.5) for place in range(2)),
    ]
    matches = match(reference.to_arrays(events), reference.to_arrays(detections), (0.5,))
    overlaps = find_overlaps(matches.events, matches.detections)
    shares = share_by_duration(matches, overlaps, 0)
    assert [(s.group, s.num_events, s.localized_share, s.found_share) for s in shares] == [
        ("(0, 5]", 2, 0.5, 0.5),
        ("(5, 20]", 1, 1.0, 1.0),
        ("over 60", 1, 0.0, 0.0),
    ]
    assert group_durations(matches.events).group_of.tolist() == [0, 0, 1, 3]
