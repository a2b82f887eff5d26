# ruff: noqa: S311 - the crops are no secrets
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.data.crops import random_crop

VIDEOS = ["v0", "v1", "v2", "long"]


@pytest.mark.parametrize("row", range(21))
def test_crops_equal_the_published_loader(official, row):
    index, seed, start, length = official["crop/index"][row].tolist()
    video = VIDEOS[index]
    crop = random_crop(
        official[f"in/{video}/V"].shape[1],
        torch.tensor(official[f"gt/{video}/segments_grid"]),
        torch.tensor(official[f"gt/{video}/labels"]),
        max_length=64,
        crop_ratio=(0.9, 1.0),
        min_kept_fraction=0.5,
        rng=random.Random(seed),
    )
    assert crop[:2] == (start, length)
    np.testing.assert_array_equal(crop[2], official[f"crop/{row}/segments"], strict=True)
    np.testing.assert_array_equal(crop[3], official[f"crop/{row}/labels"], strict=True)


def test_golden_crops_cover_every_way(official):
    lengths = [official[f"in/{video}/V"].shape[1] for video in VIDEOS]
    rows = official["crop/index"].tolist()
    assert len(rows) == 21
    assert any(lengths[index] == length for index, _, _, length in rows)
    assert any(64 > lengths[index] > length for index, _, _, length in rows)
    assert any(lengths[index] > 64 for index, _, _, length in rows)


def slow_crop(num_steps, segments, labels, max_length, crop_ratio, min_kept_fraction, rng):
    """One event at a time, as facts/unav.md, section 3, says it."""
    if num_steps <= max_length:
        if crop_ratio is None:
            return 0, num_steps, segments, labels
        low, high = crop_ratio
        length = rng.randint(
            max(round(low * num_steps), 1), min(round(high * num_steps), num_steps)
        )
        if length == num_steps:
            return 0, num_steps, segments, labels
    else:
        length = max_length
    for _ in range(200):
        start = rng.randint(0, num_steps - length)
        kept, kept_labels = [], []
        for (left, right), label in zip(segments.numpy(), labels.tolist(), strict=True):
            new_left = max(left, np.float32(start))
            new_right = min(right, np.float32(start + length))
            if (
                new_right > new_left
                and (new_right - new_left) / (right - left) >= min_kept_fraction
            ):
                kept.append([new_left - start, new_right - start])
                kept_labels.append(label)
        if kept:
            break
    return start, length, torch.tensor(kept).reshape(-1, 2), torch.tensor(kept_labels).long()


@settings(max_examples=200, deadline=None)
@given(
    num_steps=st.integers(2, 60),
    events=st.lists(
        st.tuples(st.floats(-2, 62, width=16), st.floats(0.5, 30, width=16)), min_size=1, max_size=6
    ),
    max_length=st.sampled_from([16, 32, 64]),
    crop_ratio=st.sampled_from([None, (0.9, 1.0), (0.5, 0.5), (0.25, 0.75)]),
    min_kept_fraction=st.sampled_from([0.1, 0.5, 1.0]),
    seed=st.integers(0, 1000),
)
def test_random_crop_against_slow_reference(
    num_steps, events, max_length, crop_ratio, min_kept_fraction, seed
):
    segments = torch.tensor([[start, start + length] for start, length in events])
    labels = torch.arange(len(events))
    arguments = (num_steps, segments, labels, max_length, crop_ratio, min_kept_fraction)
    fast = random_crop(*arguments, random.Random(seed))
    slow = slow_crop(*arguments, random.Random(seed))
    assert fast[:2] == slow[:2]
    assert torch.equal(fast[2], slow[2])
    assert torch.equal(fast[3], slow[3])
    start, length = fast[:2]
    assert 0 <= start <= start + length <= num_steps
    if length < num_steps:
        assert length <= max_length
        assert ((fast[2] >= 0) & (fast[2] <= length)).all()


@pytest.mark.parametrize("ratio", [(0.1, 0.2), (0.9, 1.0)])
def test_crop_of_one_step(ratio):
    segments, labels = torch.tensor([[-1.0, 2.0]]), torch.tensor([0])
    crop = random_crop(1, segments, labels, 224, ratio, 0.5, random.Random(0))
    assert crop[:2] == (0, 1)


def test_crop_without_any_event_in_reach():
    crop = random_crop(
        20,
        torch.tensor([[50.0, 60.0]]),
        torch.tensor([3]),
        10,
        (0.9, 1.0),
        0.5,
        random.Random(0),
    )
    assert crop[1] == 10
    assert crop[2].shape == (0, 2)
    assert crop[3].shape == (0,)
