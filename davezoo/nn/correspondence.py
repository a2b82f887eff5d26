"""Locality-aware Correspondence Correction (LCC): steps that are close in time should look alike.

Reference:
    Xing et al., "Locality-aware Cross-modal Correspondence Learning for Dense Audio-Visual Events
    Localization" (LoCo), arXiv 2409.07967, section III-C, Algorithm 1 and Table IV.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from davezoo.errors import InputError
from davezoo.nn.layers import each_block, in_blocks, without_autocast

Objective = Literal["adjustable_gaussian", "fixed_gaussian", "softened", "diagonal"]
Correspondence = Literal["adjustable_gaussian", "fixed_gaussian", "softened", "diagonal", "none"]
TEMPERATURE_LIMITS = (0.001, 0.5)
SIGMA_LIMITS = (0.2, 8.0)
_BLOCK_ROWS = 1024  # of the similarities at a time
SMOOTHING = 0.2  # alpha of the softened objective, Table IV


class CorrespondenceCorrection(nn.Module):
    """Contrastive loss between two modalities with a target that fades with the distance in time.

    Both are projected to half the width and normalised. Of all M valid steps of the batch, step i
    of one modality is asked which steps j of the other belong to it; the target G is

    - `adjustable_gaussian`: within a video exp(-(i - j)^2 / (4 sigma^2)) / (sigma sqrt(2 pi)), 0
      between videos, with sigma learned through G. Rows are not normalised: the factor 1 / sigma
      is what keeps sigma from shrinking to nothing;
    - `fixed_gaussian`: the same with sigma = 1;
    - `softened`: 0.8 on the diagonal, and 0.2 / (M - 1) for every pair of the batch on top;
    - `diagonal`: 1 on the diagonal.

    The loss is the mean over the rows of -sum_j G_ij log softmax_j(S_ij), and over both directions.
    G is never laid out over the batch: what the loss needs of it are sums over the steps of one
    video, or over all steps alike; the similarities S and the Gaussian are made for some rows at a
    time. Padded steps and those without sound are neither asked nor offered. All arithmetic is
    float32, also under autocast.

    Temperature and sigma are learned as logarithms and put back into their limits before each use
    in training: beyond a barrier at sigma of some 70 steps the loss would fall to zero.

    Args:
        width: channels of each modality, even.
        objective: kind of target.
    """

    def __init__(self, width: int, objective: Objective = "adjustable_gaussian") -> None:
        super().__init__()
        if objective not in get_args(Objective):
            raise InputError(
                f"Expected `correspondence` to be one of {list(get_args(Correspondence))}, got "
                f"{objective!r}; choose one."
            )
        self.objective = objective
        self.projectors = nn.ModuleDict({name: _projector(width) for name in ("visual", "audio")})
        self.log_temperature = nn.Parameter(torch.tensor(math.log(0.07)))
        self.log_sigma: nn.Parameter | None = None
        if objective == "adjustable_gaussian":
            self.log_sigma = nn.Parameter(torch.zeros(()))

    def forward(self, streams: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        """Return the loss of a batch, float32.

        Args:
            streams: `visual` and `audio`, (B, T, C) each.
            mask: steps where both have content, (B, T).
        """
        self._keep_within_limits()
        with without_autocast(mask):
            visual, audio = (self._project(name, streams[name]) for name in ("visual", "audio"))
            visual = visual / self.log_temperature.float().exp()
            totals = _totals(visual.flatten(0, 1), audio.flatten(0, 1), mask.flatten())
            to_audio = self._rows(visual, audio, mask, totals[0])
            to_visual = self._rows(audio, visual, mask, totals[1])
            return 0.5 * (to_audio + to_visual)

    def _project(self, name: str, x: Tensor) -> Tensor:
        """Return unit vectors, (B, T, C / 2) float32; those of padded steps are never used."""
        project = self.projectors[name]
        weight = next(project.parameters())
        return F.normalize(project(x.to(weight.dtype)).float(), dim=-1)

    def _rows(self, asked: Tensor, other: Tensor, mask: Tensor, total: Tensor) -> Tensor:
        """Return the loss of one direction.

        Args:
            asked: vectors of the rows, (B, T, C / 2).
            other: vectors of the columns; the inner products are S.
            mask: valid steps, (B, T).
            total: logsumexp of each row of S over the valid columns, (B T,).
        """
        valid = mask.float()
        count = valid.sum().clamp(min=1)
        if self.objective in ("diagonal", "softened"):
            weight = torch.ones_like(valid)  # row sums of G
            attraction = (asked * other).sum(-1)  # sums of G_ij S_ij over j
            if self.objective == "softened":
                share = SMOOTHING / (count - 1).clamp(min=1)
                everyone = (other * valid.unsqueeze(-1)).sum((0, 1))
                attraction = (1 - SMOOTHING) * attraction + share * (asked @ everyone)
                weight = (1 - SMOOTHING) + share * count * weight
        else:

            def sums_of(steps: slice) -> Tensor:
                target = self._gaussian(steps, mask.shape[1])
                near = target * valid.unsqueeze(1)  # (B, steps, T)
                attraction = (asked[:, steps] * (near @ other)).sum(-1)
                return torch.stack([valid @ target.T, attraction], dim=-1)

            weight, attraction = in_blocks(sums_of, mask.shape[1]).unbind(-1)
        total = total.view(mask.shape).masked_fill(~mask, 0)
        loss = (weight * total - attraction) * valid
        mean: Tensor = loss.sum() / count
        return mean

    def _gaussian(self, steps: slice, num_steps: int) -> Tensor:
        """Return the target of some steps of a video of T steps, (steps, T)."""
        step = torch.arange(num_steps, device=self.log_temperature.device, dtype=torch.float32)
        distance = (step[steps, None] - step) / math.sqrt(2)  # from the diagonal
        log_sigma = torch.zeros_like(step[0]) if self.log_sigma is None else self.log_sigma.float()
        exponent = -0.5 * (distance * torch.exp(-log_sigma)).square()
        return torch.exp(exponent - log_sigma) / math.sqrt(2 * math.pi)

    def _keep_within_limits(self) -> None:
        if not self.training:
            return
        with torch.no_grad():
            self.log_temperature.clamp_(*(math.log(limit) for limit in TEMPERATURE_LIMITS))
            if self.log_sigma is not None:
                self.log_sigma.clamp_(*(math.log(limit) for limit in SIGMA_LIMITS))


def _totals(rows: Tensor, columns: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logsumexp of each row and of each column of S, (N,) each.

    Args:
        rows: vectors of the rows, (N, C).
        columns: vectors of the columns, (N, C).
        valid: which of both count, (N,).
    """

    def totals_of(some: slice) -> tuple[Tensor, Tensor]:
        similarity = rows[some] @ columns.T
        # Not minus infinity: a padded row would be nothing but that, and its softmax NaN.
        least = torch.finfo(similarity.dtype).min
        similarity = similarity.masked_fill(~(valid[some, None] & valid), least)
        return similarity.logsumexp(1), similarity.logsumexp(0)

    of_rows, of_columns = zip(*each_block(totals_of, len(rows), _BLOCK_ROWS), strict=True)
    return torch.cat(of_rows), torch.stack(of_columns).logsumexp(0)


def _projector(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width // 2))
