import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.ops.points import assign, pyramid_points
from tests.ops import reference

STRIDES = [1, 2, 4, 8, 16, 32]
RANGES = [(0, 4), (4, 8), (8, 16), (16, 32), (32, 64), (64, 10000)]


def make_points(num_steps):
    return pyramid_points([num_steps // s for s in STRIDES], STRIDES, RANGES)


def dense(assignment, labels, num_classes):
    """Scatter the offsets by event to offsets by class, (P, K, 2), of one video."""
    offsets = torch.zeros(assignment.positive.shape[0], num_classes, 2)
    for p, n in assignment.positive.nonzero().tolist():
        assert not offsets[p, labels[n]].any()  # one event of a class on a point
        offsets[p, labels[n]] = assignment.distances[p, n]
    return offsets


def pad(videos):
    """Stack events of videos, zeros and -1 where there is none."""
    longest = max(len(labels) for _, labels in videos)
    segments = torch.zeros(len(videos), longest, 2)
    labels = torch.full((len(videos), longest), -1)
    for b, (s, y) in enumerate(videos):
        segments[b, : len(y)], labels[b, : len(y)] = torch.as_tensor(s), torch.as_tensor(y)
    return segments, labels


@pytest.mark.parametrize(("group", "num_steps"), [("points", 64), ("points_long", 192)])
def test_points_equal_the_published_ones(golden, group, num_steps):
    arrays = np.load(golden / "unav" / "golden_small.npz", allow_pickle=False)
    expected = torch.from_numpy(np.concatenate([arrays[f"{group}/l{i}"] for i in range(6)]))
    points = make_points(num_steps)
    assert torch.equal(points.positions, expected[:, 0])
    assert torch.equal(points.ranges, expected[:, 1:3])
    assert torch.equal(points.strides, expected[:, 3])


def test_targets_equal_the_published_ones(golden):
    arrays = np.load(golden / "unav" / "golden_small.npz", allow_pickle=False)
    videos = [
        (arrays[f"gt/{v}/segments_grid"], arrays[f"gt/{v}/labels"]) for v in ["v0", "v1", "v2"]
    ]
    segments, labels = pad(videos)
    found = assign(make_points(64), segments, labels, num_classes=5)
    assert torch.equal(found.classes, torch.from_numpy(arrays["tgt/cls"]))
    for b in range(3):
        one = type(found)(*(x[b] for x in found))
        assert torch.equal(dense(one, labels[b], 5), torch.from_numpy(arrays["tgt/off"][b]))


# Halves make distances meet the borders of the ranges and the points exactly.
edge = st.integers(-8, 140).map(lambda x: x / 2)
event = st.tuples(edge, edge, st.integers(0, 2))
video = st.lists(event, max_size=6)


@settings(max_examples=30, deadline=None)
@given(st.lists(video, min_size=1, max_size=3).filter(lambda videos: any(videos)))
def test_equals_the_reference_whatever_the_batch(videos):
    points = make_points(64)
    tensors = [
        (torch.tensor([sorted(e[:2]) for e in v]).view(-1, 2), torch.tensor([e[2] for e in v]))
        for v in videos
    ]
    segments, labels = pad(tensors)
    found = assign(points, segments, labels, num_classes=3)
    for b in range(len(videos)):
        classes, offsets = reference.assign(points, segments[b], labels[b], 3)
        assert torch.equal(found.classes[b], classes)
        one = type(found)(*(x[b] for x in found))
        assert torch.equal(dense(one, labels[b], 3), offsets)
        assert not found.positive[b][:, labels[b] < 0].any()


@pytest.mark.parametrize(
    ("segments", "winner"), [([[0.5, 9.5], [1.5, 8.5]], 1), ([[1.5, 8.5], [0.5, 9.5]], 1)]
)
def test_of_two_events_of_a_class_the_later_wins(segments, winner):
    found = assign(
        pyramid_points([16], [1], [(0, 100)]),
        torch.tensor([segments]),
        torch.tensor([[2, 2]]),
        num_classes=3,
    )
    assert found.positive[0, 5].tolist() == [n == winner for n in range(2)]
    assert found.classes[0, 5].tolist() == [0, 0, 1]


def test_three_events_of_a_class_leave_the_last_that_reaches_the_point():
    segments = torch.tensor([[[0.5, 9.5], [0.5, 9.5], [6.5, 9.5]]])
    found = assign(pyramid_points([10], [1], [(0, 100)]), segments, torch.zeros(1, 3).long(), 1)
    assert found.positive[0, 3].tolist() == [False, True, False]
    assert found.positive[0, 8].tolist() == [False, False, True]


def test_borders_of_ranges_belong_to_both_levels_and_ends_of_events_to_none():
    points = pyramid_points([9, 9], [1, 1], [(0, 4), (4, 8)])
    found = assign(points, torch.tensor([[[0.0, 5.0]]]), torch.tensor([[0]]), 1)
    # farther end of t = 1..4: 4, 3, 3, 4; t = 0 and t = 5 lie on an end
    assert found.classes[0, :9, 0].tolist() == [0, 1, 1, 1, 1, 0, 0, 0, 0]
    assert found.classes[0, 9:, 0].tolist() == [0, 1, 0, 0, 1, 0, 0, 0, 0]


def test_no_events_at_all():
    found = assign(make_points(64), torch.zeros(2, 0, 2), torch.zeros(2, 0).long(), 4)
    assert found.classes.shape == (2, 126, 4)
    assert not found.classes.any()


def test_classes_are_float32_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = assign(make_points(64), torch.tensor([[[0.0, 9.0]]]), torch.tensor([[0]]), 1)
    assert found.classes.dtype == torch.float32
    assert found.distances.dtype == torch.float32


def test_errors_say_what_was_expected():
    with pytest.raises(ValueError, match=r"one entry a level, got 2, 1 and 1"):
        pyramid_points([2, 1], [1], [(0, 4)])
    with pytest.raises(ValueError, match=r"Expected `segments` to be \(B, N, 2\)"):
        assign(make_points(64), torch.zeros(1, 2, 2), torch.zeros(1, 3).long(), 1)
