"""Cosine similarity between the audio and the visual steps of a video."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

_ROWS_AT_ONCE = 1024


def _none(dtype: torch.dtype) -> Tensor:
    return torch.zeros(0, dtype=dtype)


@dataclass
class StepPairs:
    """Sums over the audio-visual pairs of steps of videos, to which each video adds its own.

    Args:
        sums: sum of the cosines of the pairs at each distance, (D,), float64.
        counts: number of these pairs, (D,), int64.
        stds: standard deviation of the cosines of all pairs of each video.
        seconds_per_bin: distances are counted in multiples of it, the step of the first video.
    """

    sums: Tensor = field(default_factory=lambda: _none(torch.float64))
    counts: Tensor = field(default_factory=lambda: _none(torch.int64))
    stds: list[float] = field(default_factory=list)
    seconds_per_bin: float = 0.0

    def add(self, audio: Tensor, visual: Tensor, mask: Tensor, seconds_per_step: float) -> None:
        """Add the pairs of one video.

        Args:
            audio: audio features, (T, C).
            visual: visual features, (T, C).
            mask: True on the steps that hold both, at least one, (T,).
            seconds_per_step: seconds from one step to the next.
        """
        if not self.stds:
            self.seconds_per_bin = seconds_per_step
        steps = torch.nonzero(mask)[:, 0]
        ratio = seconds_per_step / self.seconds_per_bin
        length = round(int(steps[-1] - steps[0]) * ratio) + 1
        missing = max(0, length - len(self.sums))
        self.sums, self.counts = pad(self.sums, (0, missing)), pad(self.counts, (0, missing))
        total = squares = torch.zeros((), dtype=torch.float64)
        # Blocks of rows, because an hour of video has too many pairs to hold them all.
        for rows in torch.split(steps, _ROWS_AT_ONCE):
            cosines = cross_similarity(audio[rows], visual[steps]).double()
            distance = (rows[:, None] - steps[None, :]).abs()
            bins = (distance.double() * ratio).round().long().flatten()
            self.sums.index_add_(0, bins, cosines.flatten())
            self.counts += torch.bincount(bins, minlength=len(self.counts))
            total = total + cosines.sum()
            squares = squares + cosines.square().sum()
        mean = total / len(steps) ** 2
        variance = squares / len(steps) ** 2 - mean.square()
        self.stds.append(float(variance.clamp_min(0).sqrt()))

    def by_distance(self) -> dict[str, list[float]]:
        """Return distances with pairs in `seconds`, their `mean_cosine` and `num_pairs`."""
        bins = torch.nonzero(self.counts)[:, 0]
        return {
            "seconds": (self.seconds_per_bin * bins.double()).tolist(),
            "mean_cosine": (self.sums[bins] / self.counts[bins]).tolist(),
            "num_pairs": self.counts[bins].tolist(),
        }


def cross_similarity(audio: Tensor, visual: Tensor) -> Tensor:
    """Return the cosine of every audio step with every visual step, (T_a, T_v).

    Args:
        audio: audio features, (T_a, C).
        visual: visual features, (T_v, C).
    """
    return normalize(audio, dim=-1) @ normalize(visual, dim=-1).T
