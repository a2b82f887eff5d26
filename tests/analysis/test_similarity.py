"""Cosines of pairs of steps, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from davezoo.analysis.similarity import StepPairs, cross_similarity


def slow_sums(videos):
    """Cosines by distance over all videos, and their deviation in each video."""
    by_distance, stds = {}, []
    for audio, visual, mask in videos:
        steps = torch.nonzero(mask)[:, 0].tolist()
        cosines = {
            (i, j): float(cosine_similarity(audio[i], visual[j], dim=0))
            for i in steps
            for j in steps
        }
        for (i, j), cosine in cosines.items():
            by_distance.setdefault(abs(i - j), []).append(cosine)
        stds.append(np.std(list(cosines.values())))
    return by_distance, stds


@pytest.mark.parametrize("rows_at_once", [1, 3, 100])
def test_sums_over_videos(rows_at_once, monkeypatch):
    monkeypatch.setattr("davezoo.analysis.similarity._ROWS_AT_ONCE", rows_at_once)
    torch.manual_seed(0)
    masks = [torch.arange(9) < 7, torch.tensor([0, 1, 1, 0, 0, 1, 0, 0, 1]).bool()]
    videos = [(torch.randn(9, 4), torch.randn(9, 4), mask) for mask in masks]
    pairs = StepPairs()
    for video in videos:
        pairs.add(*video, seconds_per_step=0.5)
    by_distance, stds = slow_sums(videos)
    numbers = pairs.by_distance()
    assert numbers["seconds"] == [0.5 * distance for distance in sorted(by_distance)]
    assert numbers["num_pairs"] == [len(by_distance[d]) for d in sorted(by_distance)]
    means = [np.mean(by_distance[distance]) for distance in sorted(by_distance)]
    assert numbers["mean_cosine"] == pytest.approx(means, abs=1e-6)
    assert pairs.stds == pytest.approx(stds, abs=1e-6)


def test_distances_without_pairs_have_no_mean():
    pairs = StepPairs()
    mask = torch.tensor([True, False, False, True])
    pairs.add(torch.ones(4, 3), torch.ones(4, 3), mask, seconds_per_step=1.0)
    assert pairs.by_distance() == {
        "seconds": [0, 3],
        "mean_cosine": pytest.approx([1, 1]),
        "num_pairs": [2, 2],
    }


def test_steps_of_other_lengths_count_by_their_seconds():
    """Three steps of 2 s and three of 1 s: distances of 0, 2, 4 s and of 0, 1, 2 s."""
    mask = torch.ones(3, dtype=torch.bool)
    video = torch.eye(3), torch.eye(3), mask  # cosine 1 at distance 0, else 0
    fine_first, coarse_first = StepPairs(), StepPairs()
    for pairs, lengths in ((fine_first, (1.0, 2.0)), (coarse_first, (2.0, 1.0))):
        for seconds in lengths:
            pairs.add(*video, seconds_per_step=seconds)
    numbers = fine_first.by_distance()
    assert numbers["seconds"] == [0, 1, 2, 4]
    assert numbers["num_pairs"] == [6, 4, 6, 2]
    assert numbers["mean_cosine"] == [1, 0, 0, 0]
    assert coarse_first.by_distance()["seconds"] == [0, 2, 4]  # 1 s is half of a bin: rounded to 0


def test_equal_directions_have_cosine_one():
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert cross_similarity(x, 3 * x).tolist() == [[1, 0], [0, 1]]
