"""CCNet written slowly and plainly from the description of the published code.

What CCNet adds to UnAV, on the plain UnAV of `benchmarks.reference_unav` and in its manner. Names
of parameters are those of `CCNetDetector`, so that weights carry over. Every batch must have the
full length, to which the published code pads.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.reference_unav import (
    STRIDES,
    Attention,
    Block,
    ChannelNorm,
    Dependency,
    MaskedConv,
    ReferenceUnAV,
)

_INNER_WIDTH = 128


class Gate(nn.Module):
    """One number in (0, 1) a step, from one modality."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.norm_x, self.norm_y = ChannelNorm(width), ChannelNorm(width)
        self.attention = Attention(width, 4, stride)
        self.to_gate = nn.Conv1d(width, 1, 1)

    def forward(self, x: Tensor, mask: Tensor, mask_keys: bool) -> Tensor:
        """Return gates (B, 1, T / stride) from (B, C, T)."""
        mixed = self.attention(self.norm_x(x), self.norm_y(x), mask, mask_keys)
        return torch.sigmoid(self.to_gate(mixed))


class CoarseToFine(nn.Module):
    """Each level asked by the coarser one behind a linear layer over time."""

    def __init__(self, width: int, lengths: list[int], drop_path: float) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(coarse, fine) for fine, coarse in pairwise(lengths))
        self.block = Block(width, 4, 1, 4 * width, drop_path)

    def forward(self, levels: list[Tensor], masks: list[Tensor]) -> list[Tensor]:
        """Return all levels, (B, C, T)."""
        out = []
        for level, linear in enumerate(self.linears):
            stretched = F.relu(linear(levels[level + 1]))
            out.append(self.block(levels[level], stretched, masks[level]))
        return [*out, levels[-1]]


class ChannelBranch(nn.Module):
    """Attention between channels, whose features are the steps."""

    def __init__(self, width: int, num_classes: int, lengths: list[int], drop_path: float) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.press = MaskedConv(width, _INNER_WIDTH)
        self.blocks = nn.ModuleList(
            Block(steps, 1, 1, _INNER_WIDTH, drop_path) for steps in lengths
        )
        self.linears = nn.ModuleList(nn.Linear(steps, num_classes * steps) for steps in lengths)

    def forward(self, x: Tensor, mask: Tensor, level: int) -> Tensor:
        """Return (B, K, C, T) of a level (B, C, T)."""
        rows = F.relu(self.press(x, mask)).transpose(1, 2)  # steps in the place of channels
        everywhere = torch.ones_like(rows[:, :1], dtype=torch.bool)
        rows = self.blocks[level](rows, rows, everywhere).transpose(1, 2)
        out: Tensor = F.relu(self.linears[level](rows))
        return out.view(len(x), self.num_classes, _INNER_WIDTH, x.shape[2])


class FineToCoarse(nn.Module):
    """Each level asks the finer one after its turn."""

    def __init__(self, width: int, drop_path: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, 1, 1, 4 * width, drop_path) for _ in STRIDES[1:])

    def forward(self, levels: list[Tensor], masks: list[Tensor]) -> list[Tensor]:
        """Return all levels, (B, C, T)."""
        out = [levels[0]]
        for block, x, mask in zip(self.blocks, levels[1:], masks[1:], strict=True):
            pooled = F.max_pool1d(out[-1], 3, 2, padding=1)
            out.append(x + block(pooled, x, mask))
        return out


class ReferenceCCNet(ReferenceUnAV):
    """The network, with the weights of a `CCNetDetector` of default switches; see the base."""

    def extend(self, width: int, drop_path: float) -> None:
        """Build gates and granularity collaboration."""
        lengths = [self.max_length // stride for stride in self.strides]
        self.pyramid["gates"] = nn.ModuleDict(
            {
                name: nn.ModuleList(Gate(width, stride) for stride in STRIDES)
                for name in ("visual", "audio")
            }
        )
        self.neck = nn.ModuleDict(
            {
                "before": CoarseToFine(2 * width, lengths, drop_path),
                "channel_branch": ChannelBranch(2 * width, self.num_classes, lengths, drop_path),
                "dependency": Dependency(2 * width, self.num_classes, drop_path),
                "after": FineToCoarse(2 * width, drop_path),
            }
        )

    def meet(
        self, level: int, visual: Tensor, audio: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return both streams of a level, each gated by the other."""
        gates: Any = self.pyramid["gates"]
        from_audio = gates["audio"][level](audio, mask, level == 0)
        from_visual = gates["visual"][level](visual, mask, level == 0)
        visual, audio = super().meet(level, visual, audio, mask)
        return visual + visual * from_audio, audio + audio * from_visual

    def relate(self, levels: list[Tensor], masks: list[Tensor]) -> list[Tensor]:
        """Replace the fused features of all levels."""
        neck: Any = self.neck
        levels = neck["before"](levels, masks)
        out = []
        for level, (x, mask) in enumerate(zip(levels, masks, strict=True)):
            out.append(neck["dependency"](x, mask, neck["channel_branch"](x, mask, level)))
        related: list[Tensor] = neck["after"](out, masks)
        return related
