"""Masked adaptive attention: two streams aligned step by step before anything else; of DEL.

Reference:
    Ahmadian, Shirian, Guerin, Gilbert, "DEL: Dense Event Localization for Multi-modal Audio-Visual
    Understanding", 2025, section 3.2; heads, depth, norms and perceptrons, which the paper leaves
    open, as in the published code.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from davezoo.errors import InputError
from davezoo.nn.layers import SinusoidalPositions, in_blocks
from davezoo.nn.masks import StreamMasks


class AdaptiveAttention(nn.Module):
    """Attention within each stream, and between the streams only at the same step.

    A step attends to the valid steps of its own stream, to the summary vector of its stream and to
    its partner, the same step of the other stream. A summary vector attends to its own stream only.
    That is one softmax over a row of a (2 N, 2 N) mask, computed as one N x N product for each
    stream and a single further logit for the partner. Nobody attends to a partner that is missing.

    Args:
        width: channels.
        num_heads: heads; must divide the width.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        if num_heads < 1 or width % num_heads:
            raise InputError(
                f"Expected the heads of the alignment to divide `width`, got {num_heads} heads and "
                f"width {width}; change the width."
            )
        self.num_heads = num_heads
        self.query, self.key, self.value, self.out = (
            trunc_normal_linear(width, width) for _ in range(4)
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Mix (M, B, 1 + T, C), the M streams one after the other, each behind its summary vector.

        Args:
            x: one or two streams.
            mask: steps where each stream has content, (M, B, T). The others are not attended,
                except by their partners where these have none either, as published.

        Returns:
            (M, B, 1 + T, C).
        """
        heads = (self.num_heads, x.shape[-1] // self.num_heads)
        query, key, value = (
            layer(x).unflatten(-1, heads).transpose(2, 3)  # (M, B, H, 1 + T, C / H)
            for layer in (self.query, self.key, self.value)
        )
        query = query * heads[1] ** -0.5
        allowed = F.pad(mask, (1, 0), value=True)  # (M, B, 1 + T)
        alone = F.pad(mask & ~mask.flip(0), (1, 0), value=True)  # a summary always is

        def mix(rows: slice) -> Tensor:
            """Return (M, B, H, rows, C / H)."""
            asked = query[..., rows, :]
            logits = asked @ key.transpose(-1, -2)
            logits = logits.masked_fill(~allowed[:, :, None, None], -torch.inf)
            # The softmax is in float32 under autocast; only the products are in half precision.
            if len(x) == 1:
                mixed: Tensor = logits.softmax(-1).to(value.dtype) @ value
            else:
                partner = (asked * key.flip(0)[..., rows, :]).sum(-1, keepdim=True)
                partner = partner.masked_fill(alone[:, :, None, rows, None], -torch.inf)
                weights = torch.cat([logits, partner], dim=-1).softmax(-1).to(value.dtype)
                mixed = weights[..., :-1] @ value
                mixed = mixed + weights[..., -1:] * value.flip(0)[..., rows, :]
            return mixed

        rows = in_blocks(mix, x.shape[2])
        out: Tensor = self.out(rows.transpose(2, 3).flatten(3))
        return out


class AlignmentLayer(nn.Module):
    """Adaptive attention, then a perceptron of each stream's own; pre-norm, both with skips.

    Args:
        streams: names of the streams.
        width: channels.
        num_heads: attention heads.
    """

    def __init__(self, streams: list[str], width: int, num_heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = AdaptiveAttention(width, num_heads)
        self.mlps = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.LayerNorm(width),
                    trunc_normal_linear(width, 4 * width),
                    nn.GELU(),
                    trunc_normal_linear(4 * width, width),
                )
                for name in streams
            }
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return (M, B, 1 + T, C); see `AdaptiveAttention.forward`."""
        x = x + self.attention(self.norm(x), mask)
        return torch.stack([y + mlp(y) for y, mlp in zip(x, self.mlps.values(), strict=True)])


class AdaptiveAlignment(nn.Module):
    """Bring both streams to one width and let them align (AAC).

    `tokens = norm(relu(linear(norm(projected + aligned))))` of each stream. Where a stream has no
    content, as on padded steps, they are not zero, as published, unless `length_free`.

    Args:
        widths: width of the features by stream.
        width: channels of the tokens.
        max_length: rows of the learned position tables behind the one of the summary vector.
        length_multiple: videos are padded to a multiple of this many steps.
        num_heads: attention heads.
        num_layers: attention layers.
        share_layers: one set of weights for all layers, as published.
        attend: use the attention at all; without it only the linear maps are left, and the summary
            of a stream is the mean of its projected steps (ours: the paper does not say).
        length_free: a sinusoidal position code for any length in place of the tables, and tokens
            that are zero where their stream has no content.
    """

    def __init__(
        self,
        widths: dict[str, int],
        width: int,
        *,
        max_length: int,
        length_multiple: int,
        num_heads: int = 8,
        num_layers: int = 2,
        share_layers: bool = True,
        attend: bool = True,
        length_free: bool = False,
    ) -> None:
        super().__init__()
        streams = list(widths)
        self.attend = attend
        self.length_free = length_free
        self.num_repeats = num_layers if share_layers else 1
        self.projections = nn.ModuleDict(
            {name: trunc_normal_linear(widths[name], width) for name in streams}
        )
        self.norms = nn.ModuleDict({name: nn.LayerNorm(width) for name in streams})
        self.outs = nn.ModuleDict(
            {
                name: nn.Sequential(
                    trunc_normal_linear(width, width), nn.ReLU(), nn.LayerNorm(width)
                )
                for name in streams
            }
        )
        if attend:
            self.layers = nn.ModuleList(
                AlignmentLayer(streams, width, num_heads)
                for _ in range(1 if share_layers else num_layers)
            )
            # Rows of matrices, not plain vectors: as published, they are under weight decay.
            self.summaries, self.types = (_rows(streams, 1, width) for _ in range(2))
            if length_free:
                self.code = SinusoidalPositions(width, max_length, length_multiple)
            else:
                self.positions = _rows(streams, 1 + max_length, width)

    def forward(
        self, streams: dict[str, Tensor], masks: StreamMasks
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Align the streams.

        Args:
            streams: features by name, (B, T, C_in).
            masks: valid steps, (B, T).

        Returns:
            Tokens, (B, T, C), and the summary, (B, C), of each stream.
        """
        projected = {name: self.projections[name](x) for name, x in streams.items()}
        if self.attend:
            video = masks.video
            x = torch.stack([self._with_summary(name, x, video) for name, x in projected.items()])
            content = torch.stack([masks.of(name) for name in streams])  # (M, B, T)
            for layer in list(self.layers) * self.num_repeats:
                x = layer(x, content)
            summaries = dict(zip(streams, x[:, :, 0].unbind(), strict=True))
            aligned = dict(zip(streams, x[:, :, 1:].unbind(), strict=True))
            tokens = {name: projected[name] + aligned[name] for name in streams}
        else:
            summaries = {name: _mean(x, masks.of(name)) for name, x in projected.items()}
            tokens = projected
        tokens = {name: self.outs[name](self.norms[name](x)) for name, x in tokens.items()}
        if self.length_free:
            tokens = {name: x * masks.of(name).unsqueeze(-1) for name, x in tokens.items()}
        return tokens, summaries

    def _with_summary(self, name: str, x: Tensor, mask: Tensor) -> Tensor:
        """Put the summary vector before a stream; add positions and the vector of its type."""
        summary = self.summaries[name].expand(len(x), 1, -1)
        if self.length_free:
            x = x + self.code(mask)
        behind: Tensor = torch.cat([summary, x], dim=1) + self.types[name]
        return behind if self.length_free else behind + self.positions[name]


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of (B, T, C) over the steps of a mask (B, T), zero over none: (B, C)."""
    return (x * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def _rows(streams: list[str], num_rows: int, width: int) -> nn.ParameterDict:
    """Return a small random matrix for each stream, (rows, C)."""
    rows = {name: torch.empty(num_rows, width) for name in streams}
    return nn.ParameterDict(
        {name: nn.Parameter(nn.init.trunc_normal_(x, std=0.02)) for name, x in rows.items()}
    )


def trunc_normal_linear(in_width: int, out_width: int) -> nn.Linear:
    """Return a linear layer that starts as the published alignment has them."""
    layer = nn.Linear(in_width, out_width)
    nn.init.trunc_normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
    return layer
