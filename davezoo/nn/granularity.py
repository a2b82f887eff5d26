"""Levels of a fused pyramid that inform each other; the collaboration (MTGC) of CCNet.

Reference:
    Zhou et al., "Dense Audio-Visual Event Localization under Cross-Modal Consistency and
    Multi-Temporal Granularity Collaboration" (CCNet), AAAI 2025, section "Multi-Temporal
    Granularity Collaboration".
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from davezoo.nn.attention import ConvAttentionBlock
from davezoo.nn.dependency import DependencyBlock
from davezoo.nn.layers import TemporalConv, zero_bias_linear


class CoarseToFine(nn.Module):
    """Every level asked by the next coarser one, stretched over time; one block for all (Eq. 6, 7).

    Args:
        width: channels of the fused pyramid.
        num_heads: attention heads.
        lengths: steps of each level, fixed in the weights; None to stretch by interpolation.
        drop_path: rate of stochastic depth while training.
        window: steps around each step that it sees; None for all of its level.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        lengths: Sequence[int] | None,
        drop_path: float,
        window: int | None = None,
    ) -> None:
        super().__init__()
        self.length_free = lengths is None
        steps = [] if lengths is None else list(lengths)
        self.linears = nn.ModuleList(
            zero_bias_linear(coarse, fine) for fine, coarse in pairwise(steps)
        )
        self.block = ConvAttentionBlock(width, num_heads, drop_path=drop_path, window=window)

    def forward(self, levels: Sequence[Tensor], masks: Sequence[Tensor]) -> list[Tensor]:
        """Return levels (B, T_l, C) from levels (B, T_l, C) and masks (B, T_l), finest first."""
        out = [
            # The published code does not mask the query: padded steps reach the last valid one.
            self.block(fine, F.relu(self._stretch(index, coarse)), mask, key_mask=mask)
            for index, (fine, coarse, mask) in enumerate(
                zip(levels[:-1], levels[1:], masks[:-1], strict=True)
            )
        ]
        return [*out, levels[-1]]

    def _stretch(self, index: int, coarse: Tensor) -> Tensor:
        """Double the steps of a level, (B, T_l, C)."""
        over_time = coarse.transpose(1, 2)
        if self.length_free:
            stretched = F.interpolate(over_time, scale_factor=2, mode="linear")
        else:
            stretched = self.linears[index](over_time)
        return stretched.transpose(1, 2)


class FineToCoarse(nn.Module):
    """Every level asks the next finer one after its turn, pooled; one block each (Eq. 8).

    Args:
        width: channels of the fused pyramid.
        num_levels: levels.
        drop_path: rate of stochastic depth while training.
        window: steps around each step that it sees; None for all of its level.
    """

    def __init__(
        self, width: int, num_levels: int, drop_path: float, window: int | None = None
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            ConvAttentionBlock(width, 1, drop_path=drop_path, window=window)
            for _ in range(num_levels - 1)
        )

    def forward(self, levels: Sequence[Tensor], masks: Sequence[Tensor]) -> list[Tensor]:
        """Return levels (B, T_l, C) from levels (B, T_l, C) and masks (B, T_l), finest first."""
        out = [levels[0]]
        for block, level, mask in zip(self.blocks, levels[1:], masks[1:], strict=True):
            pooled = F.max_pool1d(out[-1].transpose(1, 2), 3, 2, padding=1).transpose(1, 2)
            out.append(level + block(pooled, level, mask, key_mask=mask))
        return out


class ChannelBranch(nn.Module):
    """Attention between channels whose features are the time steps; the paper leaves it out.

    Args:
        width: channels of the fused pyramid.
        num_classes: classes.
        inner_width: channels of each class.
        lengths: steps of each level, fixed in the weights.
        drop_path: rate of stochastic depth while training.
    """

    def __init__(
        self,
        width: int,
        num_classes: int,
        inner_width: int,
        lengths: Sequence[int],
        drop_path: float,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.press = TemporalConv(width, inner_width)
        self.blocks = nn.ModuleList(
            ConvAttentionBlock(steps, 1, mlp_width=inner_width, drop_path=drop_path)
            for steps in lengths
        )
        self.linears = nn.ModuleList(
            zero_bias_linear(steps, num_classes * steps) for steps in lengths
        )

    def forward(self, x: Tensor, mask: Tensor, lengths: Sequence[int]) -> list[Tensor]:
        """Return features of each class, (B, T_l, K, `inner_width`) a level.

        Args:
            x: fused pyramid, (B, P, C).
            mask: valid points, (B, P).
            lengths: steps of each level.
        """
        pressed = torch.split(F.relu(self.press(x, mask, lengths)), list(lengths), dim=1)
        out = []
        for block, linear, level in zip(self.blocks, self.linears, pressed, strict=True):
            channels = level.transpose(1, 2)  # (B, C, T_l): C in the place of steps
            everywhere = torch.ones_like(channels[..., 0], dtype=torch.bool)
            rows = F.relu(linear(block(channels, channels, everywhere)))  # (B, C, K T_l)
            # As published: read row by row, the numbers fill the classes one after the other, so
            # that channel and class change places, although the rows were made channel by channel.
            by_class = rows.reshape(len(rows), self.num_classes, -1, level.shape[1])
            out.append(by_class.permute(0, 3, 1, 2))
        return out


class GranularityNeck(nn.Module):
    """Multi-temporal granularity collaboration (MTGC) of a fused pyramid.

    Args:
        before: between the levels, ahead of the dependency block; None for nothing.
        channel_branch: adds to the features of each class; None for nothing.
        dependency: relates classes and steps; None for nothing.
        after: between the levels, behind the dependency block; None for nothing.
    """

    def __init__(
        self,
        before: CoarseToFine | FineToCoarse | None,
        channel_branch: ChannelBranch | None,
        dependency: DependencyBlock | None,
        after: CoarseToFine | FineToCoarse | None,
    ) -> None:
        super().__init__()
        self.before = before
        self.channel_branch = channel_branch
        self.dependency = dependency
        self.after = after

    def forward(self, x: Tensor, mask: Tensor, lengths: Sequence[int]) -> Tensor:
        """Return (B, P, C) from the fused pyramid (B, P, C), its mask (B, P) and level lengths."""
        x = self._between_levels(self.before, x, mask, lengths)
        if self.dependency is not None:
            branch = self.channel_branch
            extra = None if branch is None else branch(x, mask, lengths)
            x = self.dependency(x, mask, lengths, extra)
        return self._between_levels(self.after, x, mask, lengths)

    @staticmethod
    def _between_levels(
        block: nn.Module | None, x: Tensor, mask: Tensor, lengths: Sequence[int]
    ) -> Tensor:
        if block is None:
            return x
        sizes = list(lengths)
        return torch.cat(block(torch.split(x, sizes, 1), torch.split(mask, sizes, 1)), dim=1)
