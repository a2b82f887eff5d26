"""The conv-attention block that all networks of this family are made of.

Reference:
    Zhang et al., "ActionFormer: Localizing Moments of Actions with Transformers", ECCV 2022,
    section 3.2; in its two-stream form Geng et al., "Dense-Localizing Audio-Visual Events in
    Untrimmed Videos: A Large-Scale Benchmark and Baseline" (UnAV), CVPR 2023.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from davezoo.errors import InputError
from davezoo.nn.layers import DepthwiseConv, ScaledResidual, zero_bias_linear


class _Projection(nn.Module):
    """Depthwise convolution, LayerNorm, linear map: how queries, keys and values are made."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.conv = DepthwiseConv(width, stride)
        self.norm = nn.LayerNorm(width)
        self.linear = zero_bias_linear(width, width)

    def forward(
        self, x: Tensor, content_mask: Tensor | None = None, lengths: Sequence[int] | None = None
    ) -> Tensor:
        x = self.conv(x, lengths)
        if content_mask is not None:
            x = x * content_mask.unsqueeze(-1)
        out: Tensor = self.linear(self.norm(x))
        return out


class ConvAttention(nn.Module):
    """Multi-head attention whose queries, keys and values come from depthwise convolutions.

    Args:
        width: channels.
        num_heads: heads; must divide the width.
        stride: 2 halves the number of steps of queries, keys and values alike.
        window: steps around each query that it sees, odd, as many on either side; None for all.
            Memory and time then grow with the number of steps, not with its square.

    Reference:
        Zhang et al., ActionFormer, section 3.2 (local self-attention); 19 steps on THUMOS14, 9 on
        EPIC-Kitchens-100.
    """

    def __init__(
        self, width: int, num_heads: int, stride: int = 1, window: int | None = None
    ) -> None:
        super().__init__()
        if num_heads < 1 or width % num_heads:
            raise InputError(
                f"Expected `num_heads` to divide `width`, got {num_heads} heads and width {width}; "
                "change one of them."
            )
        if window is not None and (window < 3 or window % 2 == 0):
            raise InputError(
                "Expected the window of the attention to be an odd number of at least 3 steps, got "
                f"{window}; as many are seen on either side of a step, choose 9 or 19, or null for "
                "all steps."
            )
        self.num_heads = num_heads
        self.window = window
        self.query = _Projection(width, stride)
        self.key = _Projection(width, stride)
        self.value = _Projection(width, stride)
        self.out = zero_bias_linear(width, width)

    def forward(
        self,
        x: Tensor,
        y: Tensor,
        key_mask: Tensor | None = None,
        content_mask: Tensor | None = None,
        lengths: Sequence[int] | None = None,
    ) -> Tensor:
        """Let `y` ask and `x` answer.

        Args:
            x: source of keys and values, (N, T, C).
            y: source of queries, (N, T, C).
            key_mask: steps that may be attended, (N, T / stride), or None for all.
            content_mask: steps that hold something, (N, T / stride), or None for all. The others
                are attended like any, as empty ones: their key is what zeros become behind the
                convolution, their value is zero (the published gates of CCNet).
            lengths: steps of each level, if the inputs are pyramids; each is on its own.

        Returns:
            (N, T / stride, C).
        """
        heads = (self.num_heads, x.shape[-1] // self.num_heads)
        values = self.value(x, lengths=lengths)
        if content_mask is not None:
            values = values * content_mask.unsqueeze(-1)
        query, key, value = (
            rows.reshape(len(x), -1, *heads).transpose(1, 2)
            for rows in (self.query(y, lengths=lengths), self.key(x, content_mask, lengths), values)
        )  # (N, H, T, C / H)
        if lengths is None:
            mixed = self.mix(query, key, value, key_mask)
        else:
            steps = list(lengths)
            masks = [None] * len(steps) if key_mask is None else torch.split(key_mask, steps, dim=1)
            levels = zip(*(torch.split(x, steps, dim=2) for x in (query, key, value)), strict=True)
            mixed = torch.cat(
                [self.mix(q, k, v, mask) for (q, k, v), mask in zip(levels, masks, strict=True)],
                dim=2,
            )
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out

    def mix(self, query: Tensor, key: Tensor, value: Tensor, key_mask: Tensor | None) -> Tensor:
        """Return what each query gathers, (N, H, T, C / H); here from all steps or a window.

        Args:
            query: (N, H, T, C / H).
            key: (N, H, T, C / H).
            value: (N, H, T, C / H).
            key_mask: steps that may be attended, (N, T), or None for all.
        """
        if self.window is not None:
            seen = None if key_mask is None else key_mask.unsqueeze(1)
            return attend_band(query, key, value, seen, self.window // 2)
        allowed = None if key_mask is None else key_mask[:, None, None, :]
        return F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)


def attend_band(
    query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None, reach: int
) -> Tensor:
    """Let every step attend to those at most `reach` steps away.

    Blocks of 2 `reach` queries meet the 4 `reach` keys around them, so that memory and time are
    linear in T.

    Args:
        query: (N, H, T, C / H).
        key: (N, H, T, C / H).
        value: (N, H, T, C / H).
        seen: steps that may be attended, (N, H, T) or (N, 1, T); None for all.
        reach: steps on either side, at least 1.

    Returns:
        (N, H, T, C / H), zero where nothing may be attended.
    """
    heads, num_steps, size = query.shape[:2], query.shape[2], 2 * reach
    missing = -num_steps % size  # up to whole blocks
    if seen is None:
        seen = query.new_ones(1, 1, num_steps, dtype=torch.bool)
    seen = _overlapping(seen.expand(query.shape[:3]).flatten(0, 1), missing, size)
    query, key, value = (x.flatten(0, 1) for x in (query, key, value))  # (N H, T, C / H)
    query = torch.unflatten(F.pad(query, (0, 0, 0, missing)), 1, (-1, size))
    key, value = (_overlapping(x, missing, size) for x in (key, value))
    step = torch.arange(size, device=query.device)[:, None] + reach
    near = (step - torch.arange(2 * size, device=query.device)).abs() <= reach
    allowed = seen.unsqueeze(-2) & near  # (N H, blocks, 2 reach, 4 reach)
    found = allowed.any(-1, keepdim=True)
    # A softmax over nothing is NaN; such a row looks everywhere and its result is thrown away.
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed | ~found)
    return torch.unflatten((mixed * found).flatten(1, 2)[:, :num_steps], 0, heads)


def _overlapping(x: Tensor, missing: int, size: int) -> Tensor:
    """Cut (N, T, ...) into blocks of twice `size` steps, one every `size` steps, centred on it.

    Beyond both ends stand zeros. The result is (N, (T + missing) / size, 2 size, ...).
    """
    around = (size // 2, size // 2 + missing)
    padded = F.pad(x, (*[0, 0] * (x.ndim - 2), *around))
    halves = torch.unflatten(padded, 1, (-1, size))
    return torch.cat([halves[:, :-1], halves[:, 1:]], dim=2)


class ConvAttentionBlock(nn.Module):
    """Pre-norm transformer block on two inputs: the first answers and is carried on.

    `out = skip(x) + attention(norm(x), norm(y))`, then the usual two-layer perceptron. With
    `x is y` this is self-attention (the two norms keep their own weights). No norm follows it.

    Args:
        width: channels.
        num_heads: attention heads.
        stride: 2 halves the number of steps; the skip is then a max-pool over three steps.
        mlp_ratio: hidden width of the perceptron over `width`.
        mlp_width: hidden width itself, in place of the ratio.
        drop_path: rate of stochastic depth while training.
        window: steps around each step that it sees; see `ConvAttention`.
        attention: attention of the same width and stride, in place of a `ConvAttention`.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        stride: int = 1,
        mlp_ratio: int = 4,
        mlp_width: int | None = None,
        drop_path: float = 0.0,
        window: int | None = None,
        attention: ConvAttention | None = None,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.norm_x = nn.LayerNorm(width)
        self.norm_y = nn.LayerNorm(width)
        self.attention = attention or ConvAttention(width, num_heads, stride, window)
        self.norm_mlp = nn.LayerNorm(width)
        inner = mlp_ratio * width if mlp_width is None else mlp_width
        self.mlp = nn.Sequential(
            zero_bias_linear(width, inner), nn.GELU(), zero_bias_linear(inner, width)
        )
        self.add_attention = ScaledResidual(width, drop_path)
        self.add_mlp = ScaledResidual(width, drop_path)

    def forward(
        self,
        x: Tensor,
        y: Tensor,
        mask: Tensor,
        key_mask: Tensor | None = None,
        lengths: Sequence[int] | None = None,
    ) -> Tensor:
        """Return (N, T / stride, C), zero where `mask` is False.

        Args:
            x: what is updated; source of keys, values and skip, (N, T, C).
            y: source of queries, (N, T, C).
            mask: valid steps after the stride, (N, T / stride).
            key_mask: steps after the stride that may be attended, or None for all.
            lengths: steps of each level, if the inputs are pyramids (stride 1); each is on its own.
        """
        mixed = self.attention(self.norm_x(x), self.norm_y(y), key_mask, lengths=lengths)
        out = self.add_attention(self._skip(x), mixed)
        out = self.add_mlp(out, self.mlp(self.norm_mlp(out)))
        # The published code masks after every convolution. Past the depthwise ones all that is left
        # works on single steps, and masked keys have no weight: once, at the end, is the same.
        masked: Tensor = out * mask.unsqueeze(-1)
        return masked

    def _skip(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            return x
        pooled = F.max_pool1d(x.transpose(1, 2), 3, self.stride, padding=1)
        return pooled.transpose(1, 2)
