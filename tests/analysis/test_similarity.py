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
    pairs = StepPairs.empty()
    for video in videos:
        pairs.add(*video)
    by_distance, stds = slow_sums(videos)
    assert {n: count for n, count in enumerate(pairs.counts.tolist()) if count} == {
        distance: len(cosines) for distance, cosines in by_distance.items()
    }
    for distance, cosines in by_distance.items():
        assert pairs.means[distance] == pytest.approx(np.mean(cosines), abs=1e-6)
    assert pairs.stds == pytest.approx(stds, abs=1e-6)


def test_video_without_common_steps_adds_nothing():
    pairs = StepPairs.empty()
    pairs.add(torch.randn(4, 3), torch.randn(4, 3), torch.zeros(4, dtype=torch.bool))
    assert (pairs.means, pairs.stds) == ([], [])


def test_equal_directions_have_cosine_one():
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert cross_similarity(x, 3 * x).tolist() == [[1, 0], [0, 1]]
