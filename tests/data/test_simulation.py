"""Settings of simulated data; where events and distractors are planted."""

import numpy as np
import pytest

from davezoo.data.simulation import (
    Simulation,
    describe_distractors,
    draw_annotations,
    draw_distractors,
    events_by_video,
    random_stream,
)

STUDY = {
    "num_train": 150,
    "num_validation": 0,
    "num_test": 0,
    "min_duration": 20.0,
    "max_duration": 70.0,
    "max_events": 6,
    "shortest_event": 1.0,
    "longest_event": 60.0,
    "distractors": 5.0,
}


@pytest.mark.parametrize(
    "settings",
    [
        {"rgb_width": 0},
        {"num_classes": 0},
        {"min_duration": 50},
        {"shortest_event": 8.0},
        {"shortest_event": 0.0},
        {"longest_event": 1.0},
        {"max_duration": float("inf")},
        {"num_train": -1},
        {"num_test": -5},
        {"distractors": -0.5},
        {"signal_to_noise": float("nan")},
    ],
)
def test_bad_settings(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Simulation(**settings)


def test_lengths_reach_from_the_shortest_to_the_longest():
    source = draw_annotations(Simulation(**STUDY))
    events = source.events.join(source.videos, on="video")
    lengths = events["end"] - events["start"]
    assert 0.99 <= lengths.min() < 1.2
    assert 50 < lengths.max() <= 60.01
    assert (events["start"] >= 0).all()
    assert (events["end"] <= events["duration"]).all()
    # Spread over the logarithm of the length: half of them on either side of the square root of 60.
    assert 0.4 < (lengths < np.sqrt(60)).mean() < 0.65


def test_lengths_reach_half_of_each_video_by_default():
    source = draw_annotations(Simulation(num_train=150))
    events = source.events.join(source.videos, on="video")
    share = (events["end"] - events["start"]) / events["duration"]
    assert 0.45 < share.max() < 0.501


def test_events_overlap_unless_their_class_is_the_same():
    overlaps = 0
    for events in events_by_video(draw_annotations(Simulation(**STUDY))).values():
        for index, (start, end, label) in enumerate(events):
            for other_start, other_end, other in events[:index]:
                touches = start < other_end and other_start < end
                overlaps += touches
                assert not (touches and label == other)
    assert overlaps > 100


def test_a_video_does_not_depend_on_how_many_there_are():
    few = draw_annotations(Simulation(num_train=3))
    many = draw_annotations(Simulation(num_train=30))
    train = few.split("train").videos
    assert train.equals(many.videos.loc[train.index])


def test_distractors_have_the_settings_of_events():
    simulation = Simulation(**STUDY)
    source = draw_annotations(simulation)
    distractors = draw_distractors(simulation, source)
    rows = [row for rows in distractors.values() for row in rows]
    lengths = np.array([end - start for _, start, end, _ in rows])
    assert 0.99 <= lengths.min() < lengths.max() <= 60.01
    assert 3 < len(rows) / 150 <= 5.3  # some find no place
    kinds = [kind for kind, *_ in rows]
    assert 0.4 < kinds.count("visual") / len(kinds) < 0.6
    described = describe_distractors(distractors, source.class_names)
    assert {row["label"] for row in described["train_00000"]} <= set(source.class_names)


def test_streams_differ_by_key_alone():
    same, again, other = (random_stream(*key).random() for key in ((1, "a"), (1, "a"), (1, "b")))
    assert same == again != other
