from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.annotations import read_annotations
from davezoo.evaluation.ground_truth import GroundTruthError, select_ground_truth
from davezoo.evaluation.protocols import PROTOCOLS
from tests.evaluation.tables import make_annotations

PLAIN = PROTOCOLS["activitynet13-full"]  # removes nothing


def slow_near_duplicates(events, tolerance):
    """Straight from the rule: remove what is close to an event kept before it."""
    kept = []
    for video, label, (start, end) in events:
        if not any(
            video == v and label == k and abs(start - s) <= tolerance and abs(end - e) <= tolerance
            for v, k, (s, e) in kept
        ):
            kept.append((video, label, (start, end)))
    return kept


def kept_events(selected):
    return [
        (selected.video_ids[video], label, tuple(segment))
        for video, label, segment in zip(
            selected.events.videos.tolist(),
            selected.events.labels.tolist(),
            selected.events.segments.tolist(),
            strict=True,
        )
    ]


times = st.integers(0, 12).map(float)
event_lists = st.lists(
    st.tuples(st.sampled_from("vw"), st.integers(0, 1), st.tuples(times, times).map(sorted)),
    min_size=1,
)


@settings(max_examples=200, deadline=None)
@given(event_lists, st.sampled_from([0.0, 1.0, 2.0]))
def test_near_duplicates_equal_the_slow_rule(events, tolerance):
    events = [(video, label, tuple(segment)) for video, label, segment in events]
    selected = select_ground_truth(
        make_annotations(events, videos=["v", "w"]),
        replace(PLAIN, near_duplicate_tolerance=tolerance),
    )
    expected = slow_near_duplicates(events, tolerance)
    assert kept_events(selected) == expected
    assert selected.num_near_duplicates == len(events) - len(expected)


def test_chains_do_not_collapse():
    events = [("v", 0, (start, 10.0)) for start in (0, 0.0008, 0.0016)]
    selected = select_ground_truth(make_annotations(events), PROTOCOLS["unav100"])
    assert selected.events.segments[:, 0].tolist() == [0, 0.0016]


@pytest.mark.parametrize(("min_duration", "expected"), [(None, 3), (0.0, 2), (1e-3, 1)])
def test_short_events(min_duration, expected):
    events = [("v", 0, (5, 5)), ("v", 0, (5, 5.0005)), ("v", 0, (0, 10))]
    protocol = replace(PLAIN, min_event_duration=min_duration)
    selected = select_ground_truth(make_annotations(events), protocol)
    assert len(selected.events) == expected
    assert selected.num_short_events == 3 - expected


def test_blocked_videos_leave_with_their_events():
    annotations = make_annotations([("v", 0, (0, 1)), ("w", 1, (0, 1))])
    protocol = PROTOCOLS["activitynet13-blocked"]
    selected = select_ground_truth(annotations, protocol, ["w", "elsewhere"])
    assert selected.video_ids == ["v"]
    assert selected.blocked_ids == {"w"}
    assert kept_events(selected) == [("v", 0, (0, 1))]


def test_nothing_left_is_an_error():
    annotations = make_annotations([("v", 0, (0, 1))])
    with pytest.raises(GroundTruthError, match=r"13-blocked'.*1 videos, 1 of them blocked"):
        select_ground_truth(annotations, PROTOCOLS["activitynet13-blocked"], ["v"])


@pytest.mark.parametrize(
    ("name", "split", "protocol", "expected"),
    [
        ("activitynet13/derived_activitynet_v1-3.json.gz", "validation", "thumos14-212", 7630),
        ("activitynet13/derived_activitynet_v1-3.json.gz", "validation", "unav100", 7633),
        (
            "activitynet13/derived_activitynet_v1-3.json.gz",
            "validation",
            "activitynet13-full",
            7654,
        ),
        ("unav100/unav100_annotations.json.gz", "test", "unav100", 5900),
        ("thumos14/thumos14.json.gz", "test", "thumos14-212", 3358),
    ],
)
def test_events_of_real_files(shared, name, split, protocol, expected):
    annotations = read_annotations(shared / "data" / name).split(split)
    assert len(select_ground_truth(annotations, PROTOCOLS[protocol]).events) == expected
