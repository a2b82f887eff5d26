"""Classification and regression heads, shared by all levels of a pyramid."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from davezoo.errors import InputError
from davezoo.nn.layers import TemporalConv


class _Trunk(nn.Module):
    """Two convolutions with LayerNorm and ReLU, then the output convolution."""

    def __init__(self, in_width: int, width: int, out_width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList([TemporalConv(in_width, width), TemporalConv(width, width)])
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.out = TemporalConv(width, out_width, bias=True)

    def forward(self, x: Tensor, mask: Tensor, lengths: Sequence[int]) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(norm(conv(x, mask, lengths)))
        out: Tensor = self.out(x, mask, lengths)
        return out


class DetectionHeads(nn.Module):
    """Class logits and class-aware distances to start and end for every point.

    Args:
        in_width: channels of the fused pyramid.
        width: channels of the heads.
        num_classes: classes.
        num_levels: levels; each has its own learned scale of the distances.
        prior: probability that the classifier starts from.
        absent_classes: class indices without any annotation; they start from probability 1e-6.
    """

    def __init__(
        self,
        in_width: int,
        width: int,
        num_classes: int,
        num_levels: int,
        *,
        prior: float = 0.01,
        absent_classes: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.classification = _Trunk(in_width, width, num_classes)
        self.regression = _Trunk(in_width, width, 2 * num_classes)
        self.scales = nn.Parameter(torch.ones(num_levels))
        bias = torch.full((num_classes,), -math.log((1 - prior) / prior))
        if any(not 0 <= index < num_classes for index in absent_classes):
            raise InputError(
                f"Expected `absent_classes` to be indices below {num_classes}, got "
                f"{list(absent_classes)}; correct them."
            )
        bias[list(absent_classes)] = -math.log((1 - 1e-6) / 1e-6)
        self.classification.out.bias = nn.Parameter(bias)

    def forward(
        self, x: Tensor, mask: Tensor, lengths: Sequence[int]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return logits (B, T_l, K) and offsets (B, T_l, K, 2) of each level.

        Offsets are distances (to start, to end) in strides of the level, non-negative.

        Args:
            x: fused pyramid, (B, P, C).
            mask: valid points, (B, P).
            lengths: steps of each level.
        """
        logits = torch.split(self.classification(x, mask, lengths), list(lengths), dim=1)
        distances = torch.split(self.regression(x, mask, lengths), list(lengths), dim=1)
        offsets = [
            F.relu(distance * scale).reshape(*distance.shape[:2], self.num_classes, 2)
            for distance, scale in zip(distances, self.scales, strict=True)
        ]
        return list(logits), offsets
