"""A pyramid aggregated from coarse to fine and back while another stream guides it; of DEL.

Reference:
    Ahmadian, Shirian, Guerin, Gilbert, "DEL: Dense Event Localization for Multi-modal Audio-Visual
    Understanding", 2025, section 3.4 (Eq. 11 to 13, 17 to 19); blocks and their order as in the
    published code. After Cheng et al., "YOLO-World", CVPR 2024.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from davezoo.errors import InputError
from davezoo.nn.attention import ConvAttention
from davezoo.nn.layers import DepthwiseConv, TemporalConv, in_blocks, zero_bias_linear

NUM_BINS = 4  # of each pooled level
NUM_POOLED_LEVELS = 3  # the finest ones


class StridedPyramid(nn.Module):
    """Levels by depthwise convolutions of stride 2, each followed by a LayerNorm.

    Args:
        width: channels.
        num_levels: levels, the input included.
        masked: zero the padded steps behind the norms. Without it they hold the bias of the norm,
            as published, which the next convolution carries into the last valid step.
    """

    def __init__(self, width: int, num_levels: int, masked: bool) -> None:
        super().__init__()
        self.masked = masked
        self.convs = nn.ModuleList(DepthwiseConv(width, stride=2) for _ in range(num_levels - 1))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(num_levels - 1))

    def forward(self, x: Tensor, masks: Sequence[Tensor]) -> list[Tensor]:
        """Return levels (N, T_l, C), the first of them `x`, for masks (N, T_l)."""
        levels = [x]
        for conv, norm, mask in zip(self.convs, self.norms, masks[1:], strict=True):
            # A row without any content has none on coarser levels either.
            kept = mask if self.masked else mask.any(1, keepdim=True)
            x = norm(conv(x) * mask.unsqueeze(-1)) * kept.unsqueeze(-1)
            levels.append(x)
        return levels


class MaxSigmoidGate(nn.Module):
    """Convolve a stream and gate every step of it by its best match in the guide (Eq. 11).

    `gate = sigmoid(max_j <x_t, g_j> / sqrt(d) + b)` for each head of d channels. As published, the
    matches `g_j` are the channels of the guide, each described by a linear map over its `steps`
    time steps, which bakes that length into the weights. Length-free, they are the valid steps of
    the guide, described by a linear map over its channels (the equation as printed). With a guide
    that is empty, that of a video without sound, the bias alone decides in both forms.

    Args:
        width: channels of the stream.
        guide_width: channels of the guide.
        num_heads: heads; must divide `width`.
        steps: length of the guide in the weights; None for the length-free form.
    """

    def __init__(self, width: int, guide_width: int, num_heads: int, steps: int | None) -> None:
        super().__init__()
        if num_heads < 1 or width % num_heads:
            raise InputError(
                f"Expected `width` to be a multiple of {2 * num_heads}, twice the heads of the "
                f"max-sigmoid gates, got {2 * width}; change it."
            )
        self.num_heads = num_heads
        self.over_steps = steps is None
        self.describe = zero_bias_linear(guide_width if steps is None else steps, width)
        self.bias = nn.Parameter(torch.zeros(num_heads))
        self.conv = TemporalConv(width, width, bias=True)

    def forward(self, x: Tensor, mask: Tensor, guide: Tensor, guide_mask: Tensor) -> Tensor:
        """Gate `x` by the guide.

        Args:
            x: (N, T_l, D).
            mask: valid steps of `x`, (N, T_l).
            guide: (N, T, C).
            guide_mask: steps of the guide that hold something, (N, T).

        Returns:
            (N, T_l, D), zero where `mask` is False.
        """
        heads = (self.num_heads, x.shape[-1] // self.num_heads)
        described: Tensor = self.describe(guide if self.over_steps else guide.transpose(1, 2))
        matches = described.reshape(*described.shape[:2], *heads).permute(0, 2, 3, 1)
        rows = x.reshape(*x.shape[:2], *heads)

        def best_of(steps: slice) -> Tensor:
            products = rows[:, steps].transpose(1, 2) @ matches  # (N, H, steps, J)
            if self.over_steps:
                products = products.masked_fill(~guide_mask[:, None, None], -torch.inf)
            return products.amax(-1).transpose(1, 2)

        best = in_blocks(best_of, x.shape[1])  # (N, T_l, H)
        best = best.masked_fill(~guide_mask.any(1)[:, None, None], 0)
        gate = torch.sigmoid(best / heads[1] ** 0.5 + self.bias)
        convolved: Tensor = self.conv(x, mask, [x.shape[1]])
        return (convolved.view_as(rows) * gate.unsqueeze(-1)).flatten(2)


class GuidedFusion(nn.Module):
    """Cross-stage partial block: fuse two levels, half of it through attention and the gate.

    `a, b = split(x)`; three attentions in a chain on `b`, the gate on the last of them;
    `merge([a, b, m1, m2, m3, gated])`. Attentions have neither skip nor norm around them.

    Args:
        width: channels.
        num_gate_heads: heads of the gate.
        steps: length of the guide in the weights, or None; see `MaxSigmoidGate`.
        window: steps around each step that the attentions see; None for all.
        num_heads: heads of the attentions.
    """

    def __init__(
        self,
        width: int,
        num_gate_heads: int,
        steps: int | None,
        window: int | None = None,
        num_heads: int = 4,
    ) -> None:
        super().__init__()
        half = width // 2
        self.split = zero_bias_linear(2 * width, width)
        self.gate = MaxSigmoidGate(half, width, num_gate_heads, steps)
        self.attentions = nn.ModuleList(
            ConvAttention(half, num_heads, window=window) for _ in range(3)
        )
        self.merge = zero_bias_linear(6 * half, width)

    def forward(self, x: Tensor, mask: Tensor, guide: Tensor, guide_mask: Tensor) -> Tensor:
        """Fuse (N, T_l, 2 C), two levels side by side, to (N, T_l, C); see `MaxSigmoidGate`."""
        valid, key_mask = mask.unsqueeze(-1), _never_empty(mask)
        parts = list((self.split(x) * valid).chunk(2, dim=-1))
        for attention in self.attentions:
            parts.append(attention(parts[-1], parts[-1], key_mask) * valid)
        parts.append(self.gate(parts[-1], mask, guide, guide_mask))
        merged: Tensor = self.merge(torch.cat(parts, dim=-1)) * valid
        return merged


class GuideUpdate(nn.Module):
    """Renew the guide from a pyramid, pooled adaptively to a few tokens (Eq. 13).

    As published, a linear map stretches the tokens over the time steps of the guide, and these
    queries ask the guide; what they get replaces it. Length-free, the guide asks the tokens and
    keeps itself (the paper's form).

    Args:
        width: channels.
        num_levels: levels of the pyramid; the finest three are pooled.
        steps: length of the guide in the weights, or None for the length-free form.
        num_heads: attention heads.
    """

    def __init__(self, width: int, num_levels: int, steps: int | None, num_heads: int = 4) -> None:
        super().__init__()
        self.num_pooled = min(NUM_POOLED_LEVELS, num_levels)
        num_tokens = NUM_BINS * self.num_pooled
        self.stretch = None if steps is None else zero_bias_linear(num_tokens, steps)
        self.attention = ConvAttention(width, num_heads)

    def forward(
        self,
        levels: Sequence[Tensor],
        masks: Sequence[Tensor],
        guide: Tensor,
        guide_mask: Tensor,
    ) -> Tensor:
        """Return the new guide, (N, T, C), zero where it held nothing before.

        Args:
            levels: (N, T_l, C), finest first.
            masks: valid steps, (N, T_l).
            guide: (N, T, C).
            guide_mask: steps of the guide that hold something, (N, T).
        """
        pooled_masks = masks
        if self.stretch is not None:  # as published, padding is pooled like anything else
            pooled_masks = [torch.ones_like(mask) for mask in masks]
        pooled = list(zip(levels, pooled_masks, strict=True))[: self.num_pooled]
        tokens = torch.cat([pool_valid(x, mask, NUM_BINS) for x, mask in pooled], dim=1)
        if self.stretch is None:
            renewed = guide + self.attention(tokens, guide)
        else:
            queries = self.stretch(tokens.transpose(1, 2)).transpose(1, 2)
            renewed = self.attention(guide, queries, _never_empty(guide_mask))
        out: Tensor = renewed * guide_mask.unsqueeze(-1)
        return out


def _never_empty(mask: Tensor) -> Tensor:
    """Let rows without content be attended: a softmax over nothing is NaN, zeros stay zeros."""
    return mask | ~mask.any(1, keepdim=True)


def pool_valid(x: Tensor, mask: Tensor, num_bins: int) -> Tensor:
    """Average the valid steps of each sequence in bins of (almost) equal length.

    Bin i of n valid steps covers the steps from floor(i n / bins) to ceil((i + 1) n / bins), as
    `adaptive_avg_pool1d` has it, whatever the padding.

    Args:
        x: (N, T, C).
        mask: valid steps, (N, T).
        num_bins: bins.

    Returns:
        (N, `num_bins`, C); zeros where there is no valid step.
    """
    rank = (mask.cumsum(1) - 1).unsqueeze(1)  # of each valid step among them, (N, 1, T)
    index = torch.arange(num_bins, device=x.device)
    length = mask.sum(1, keepdim=True)  # (N, 1)
    start = index * length // num_bins  # (N, bins)
    end = ((index + 1) * length + num_bins - 1) // num_bins
    inside = mask.unsqueeze(1) & (rank >= start.unsqueeze(-1)) & (rank < end.unsqueeze(-1))
    total = inside.to(x.dtype) @ x
    return total / (end - start).clamp(min=1).unsqueeze(-1)


class PathAggregation(nn.Module):
    """Aggregate a pyramid from coarse to fine, then from fine to coarse (PAN).

    The guide is the other stream at full resolution; between the two paths the pyramid renews it.
    One set of weights serves both streams, so they are computed as rows of one batch.

    Args:
        width: channels.
        num_levels: levels.
        steps: length of every guide, which the published gates and the published pooling bake into
            the weights; None for the forms that take any length, with the mask of each level in
            place of the coarser one doubled.
        window: steps of a level around each step that the attentions of a fusion see; None for all.
    """

    def __init__(
        self, width: int, num_levels: int, steps: int | None, window: int | None = None
    ) -> None:
        super().__init__()
        self.true_masks = steps is None
        num_fusions = num_levels - 1
        self.top_down, self.bottom_up = (
            nn.ModuleList(GuidedFusion(width, heads, steps, window) for heads in gate_heads)
            for gate_heads in ([8, *[4] * num_fusions][:num_fusions], [8] * num_fusions)
        )
        self.update = GuideUpdate(width, num_levels, steps) if num_fusions else None
        if num_fusions:  # one for all levels
            self.down = TemporalConv(width, width, bias=True, stride=2)
            self.down_norm = nn.LayerNorm(width)

    def forward(
        self,
        levels: Sequence[Tensor],
        masks: Sequence[Tensor],
        guide: Tensor,
        guide_mask: Tensor,
    ) -> list[Tensor]:
        """Aggregate the levels of each row.

        Args:
            levels: (N, T_l, C), finest first.
            masks: valid steps, (N, T_l).
            guide: the other stream, (N, T, C).
            guide_mask: valid steps of the guide, (N, T).

        Returns:
            Levels of the same shapes.
        """
        if self.update is None:
            return list(levels)
        inner = [levels[-1]]  # finest first, grown from its end
        for index, fuse in enumerate(self.top_down):
            finer = len(levels) - 2 - index
            doubled_mask = masks[finer + 1].repeat_interleave(2, dim=1)
            mask = masks[finer] if self.true_masks else doubled_mask
            doubled = inner[0].repeat_interleave(2, dim=1)
            pair = torch.cat([doubled, levels[finer]], dim=-1)
            inner.insert(0, fuse(pair, mask, guide, guide_mask))
        guide = self.update(inner, masks, guide, guide_mask)
        out = [inner[0]]
        for fuse, level, mask in zip(self.bottom_up, inner[1:], masks[1:], strict=True):
            halved = F.silu(self.down_norm(self.down(out[-1], mask, [out[-1].shape[1]])))
            out.append(fuse(torch.cat([halved, level], dim=-1), mask, guide, guide_mask))
        return out
