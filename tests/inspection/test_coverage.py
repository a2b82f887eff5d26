"""Points and crops of events, against the assignment and the crops of training themselves."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.data.crops import random_crop
from davezoo.inspection.coverage import (
    count_points,
    cover_crops,
    cover_levels,
    share_of_crops,
)
from davezoo.ops.points import assign, pyramid_points
from tests.inspection.sets import make_split

USUAL = [(0, 4), (4, 8), (8, 16), (16, 32), (32, 64), (64, 10000)]
OVERLAPPING = [(0, 4), (2, 8), (4, 16), (8, 32)]
WITH_GAP = [(1, 3), (5, 9), (9, 12)]

# Quarters of a step: exact in float32, so that borders are met exactly.
quarters = st.integers(-40, 400).map(lambda number: number / 4)
segment = st.tuples(quarters, st.integers(0, 320)).map(lambda s: (s[0], s[0] + s[1] / 4))


def slow_counts(
    start: float, end: float, num_steps: int, ranges: list[tuple[float, float]]
) -> list[int]:
    """Count what `assign` gives one event on the points of its video."""
    strides = [2**level for level in range(len(ranges))]
    lengths = [-(-num_steps // stride) for stride in strides]
    points = pyramid_points(lengths, strides, ranges)
    segments, labels = torch.tensor([[[start, end]]]), torch.zeros(1, 1, dtype=torch.long)
    positive = assign(points, segments, labels, num_classes=1).positive[0, :, 0]
    return [int(part.sum()) for part in positive.split(lengths)]


@pytest.mark.parametrize("ranges", [USUAL, OVERLAPPING, WITH_GAP])
@settings(deadline=None)
@given(segment=segment, num_steps=st.integers(1, 120))
def test_points_are_those_of_the_assignment(
    ranges: list[tuple[float, float]], segment: tuple[float, float], num_steps: int
) -> None:
    counts = count_points(np.array([segment]), np.array([float(num_steps)]), ranges)
    assert counts[0].tolist() == slow_counts(*segment, num_steps, ranges)


def slow_share(start: float, end: float, num_steps: int, max_length: int, kept: float) -> Fraction:
    """Try every crop, as `random_crop` cuts it."""
    if num_steps <= max_length:
        return Fraction(1)
    starts = range(num_steps - max_length + 1)
    held = [max(min(end, x + max_length) - max(start, x), 0) for x in starts]
    return Fraction(sum(part >= kept * (end - start) for part in held), len(starts))


@given(
    start=st.integers(0, 100),
    length=st.integers(1, 100),
    num_steps=st.integers(1, 150),
    max_length=st.integers(1, 60),
    kept=st.sampled_from([0.25, 0.5, 0.75, 1.0]),
)
def test_share_of_crops_is_that_of_all_crops(
    start: int, length: int, num_steps: int, max_length: int, kept: float
) -> None:
    segments = np.array([[start, start + length]], dtype=float)
    share = share_of_crops(segments, np.array([float(num_steps)]), max_length, kept)
    expected = slow_share(start, start + length, num_steps, max_length, kept)
    assert share[0] == pytest.approx(float(expected))


def test_share_of_crops_is_what_training_draws() -> None:
    segments, labels = torch.tensor([[5.0, 25.0], [60.0, 90.0]]), torch.tensor([0, 1])
    rng = random.Random(0)  # noqa: S311 - no secret
    kept = torch.zeros(2)
    for _ in range(4000):
        drawn = random_crop(100, segments, labels, 80, None, 0.5, rng)[3]
        kept[drawn] += 1
    share = share_of_crops(segments.double().numpy(), np.full(2, 100.0), 80, 0.5)
    # Each crop keeps one of the two at least, so that none is drawn again.
    np.testing.assert_allclose(kept.numpy() / 4000, share, atol=0.03)
    assert (share < 1).any()


def test_levels_of_a_split() -> None:
    events = [("a", 0.0, 0.5, 0), ("a", 10.0, 16.0, 0), ("a", 20.0, 60.0, 1), ("a", 5.0, 5.0, 0)]
    coverage = cover_levels(make_split({"a": 100.0}, events), [(0, 4), (4, 16)])
    assert coverage.num_events == 4
    assert coverage.shorter_than_step == 2
    assert coverage.outside_ranges == 1  # at least 20 steps from the middle to an end
    assert coverage.without_points == 3
    assert [level.events for level in coverage.levels] == [1, 1]
    assert [level.stride for level in coverage.levels] == [1, 2]
    assert [level.describe_range(0.5) for level in coverage.levels] == ["0 to 2", "2 to 8"]


def test_crops_of_a_split() -> None:
    events = [("long", 0, 90, 0), ("long", 5, 6, 0), ("short", 0, 10, 0)]
    crop = cover_crops(make_split({"long": 100.0, "short": 10.0}, events), 20, 0.5)
    assert (crop.num_videos, crop.longer_videos) == (2, 1)
    assert (crop.num_events, crop.longer_events, crop.lost_events) == (3, 1, 1)
    # The short event lies in crops from second 0 to 5 of the 81 there are.
    assert crop.mean_lost_share == pytest.approx(1 - (0 + 6 / 81 + 1) / 3)


def test_videos_of_unknown_length_are_not_counted() -> None:
    split = make_split({"a": float("nan")}, [("a", 0, 10, 0)])
    assert cover_levels(split, [(0, 4)]).num_events == 0
    assert cover_crops(split, 20, 0.5).mean_lost_share == 0
