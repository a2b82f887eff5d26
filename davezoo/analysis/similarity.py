"""Cosine similarity between the audio and the visual steps of a video."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

_ROWS_AT_ONCE = 1024


@dataclass
class StepPairs:
    """Sums over the audio-visual pairs of steps of videos, to which each video adds its own.

    Args:
        sums: sum of the cosines of the pairs at each distance in steps, (D,), float64.
        counts: number of these pairs, (D,), int64.
        stds: standard deviation of the cosines of all pairs of each video.
    """

    sums: Tensor
    counts: Tensor
    stds: list[float]

    @classmethod
    def empty(cls) -> StepPairs:
        """Return the sums over no video."""
        return cls(torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.int64), [])

    def add(self, audio: Tensor, visual: Tensor, mask: Tensor) -> None:
        """Add the pairs of one video.

        Args:
            audio: audio features, (T, C).
            visual: visual features, (T, C).
            mask: True on the steps that hold both, (T,).
        """
        steps = torch.nonzero(mask)[:, 0]
        if not len(steps):
            return
        length = int(steps[-1]) + 1
        if length > len(self.sums):
            self.sums = pad(self.sums, (0, length - len(self.sums)))
            self.counts = pad(self.counts, (0, length - len(self.counts)))
        total = squares = torch.zeros((), dtype=torch.float64)
        # Blocks of rows, because an hour of video has too many pairs to hold them all.
        for rows in torch.split(steps, _ROWS_AT_ONCE):
            cosines = cross_similarity(audio[rows], visual[steps]).double()
            distance = (rows[:, None] - steps[None, :]).abs()
            self.sums.index_add_(0, distance.flatten(), cosines.flatten())
            self.counts += torch.bincount(distance.flatten(), minlength=len(self.counts))
            total = total + cosines.sum()
            squares = squares + cosines.square().sum()
        mean = total / len(steps) ** 2
        variance = squares / len(steps) ** 2 - mean.square()
        self.stds.append(float(variance.clamp_min(0).sqrt()))

    @property
    def means(self) -> list[float]:
        """Mean cosine at each distance in steps, from 0."""
        means: list[float] = (self.sums / self.counts.clamp_min(1)).tolist()
        return means


def cross_similarity(audio: Tensor, visual: Tensor) -> Tensor:
    """Return the cosine of every audio step with every visual step, (T_a, T_v).

    Args:
        audio: audio features, (T_a, C).
        visual: visual features, (T_v, C).
    """
    return normalize(audio, dim=-1) @ normalize(visual, dim=-1).T
