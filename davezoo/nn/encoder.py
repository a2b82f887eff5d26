"""Two-stream encoder: embedding and unimodal attention, one branch a modality."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from davezoo.nn.attention import ConvAttentionBlock
from davezoo.nn.layers import SinusoidalPositions, TemporalConv
from davezoo.nn.masks import StreamMasks


class StreamEncoder(nn.Module):
    """Embed one modality and let its steps attend to each other.

    Args:
        in_width: width of the features.
        width: channels inside the network.
        num_heads: attention heads.
        num_blocks: self-attention blocks.
        drop_path: rate of stochastic depth while training.
        activation: behind the norms of the embedding.
        window: steps around each step that it sees; None for all.
    """

    def __init__(
        self,
        in_width: int,
        width: int,
        num_heads: int,
        num_blocks: int,
        drop_path: float,
        activation: Callable[[Tensor], Tensor] = F.relu,
        window: int | None = None,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.convs = nn.ModuleList([TemporalConv(in_width, width), TemporalConv(width, width)])
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.blocks = nn.ModuleList(
            ConvAttentionBlock(width, num_heads, drop_path=drop_path, window=window)
            for _ in range(num_blocks)
        )

    def forward(self, x: Tensor, mask: Tensor, key_mask: Tensor, positions: Tensor) -> Tensor:
        """Encode (B, T, C_in) to (B, T, C).

        Args:
            x: features.
            mask: steps that hold something, (B, T).
            key_mask: steps that may be attended, (B, T).
            positions: code of each step, (B, T, C) or (1, T, C).
        """
        for conv, norm in zip(self.convs, self.norms, strict=True):
            # Not masked again: padded steps hold the activated bias of the norm, as published.
            x = self.activation(norm(conv(x, mask, [x.shape[1]])))
        x = x + positions * mask.unsqueeze(-1)
        for block in self.blocks:
            x = block(x, x, mask, key_mask=key_mask)
        return x


class TwoStreamEncoder(nn.Module):
    """A branch a modality, with the same position code.

    Args:
        widths: width of the features of each modality, by name.
        width: channels inside the network.
        num_heads: attention heads.
        num_blocks: self-attention blocks of each branch.
        max_length: steps of the position table.
        length_multiple: videos are padded to a multiple of this many steps.
        drop_path: rate of stochastic depth while training.
        activation: behind the norms of the embeddings.
        window: steps around each step that it sees; None for all.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        width: int,
        *,
        num_heads: int,
        num_blocks: int,
        max_length: int,
        length_multiple: int,
        drop_path: float,
        activation: Callable[[Tensor], Tensor] = F.relu,
        window: int | None = None,
    ) -> None:
        super().__init__()
        self.positions = SinusoidalPositions(width, max_length, length_multiple)
        self.streams = nn.ModuleDict(
            {
                name: StreamEncoder(
                    in_width, width, num_heads, num_blocks, drop_path, activation, window
                )
                for name, in_width in widths.items()
            }
        )

    def forward(self, streams: Mapping[str, Tensor], masks: StreamMasks) -> dict[str, Tensor]:
        """Encode every modality, (B, T, C_in) by name, to (B, T, C), zero where it is not there."""
        positions = self.positions(masks.video)
        return {
            name: encode(streams[name], masks.of(name), masks.keys(name), positions)
            for name, encode in self.streams.items()
        }
