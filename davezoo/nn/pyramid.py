"""Two-stream pyramid: at every level each modality attends to the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from davezoo.nn.attention import ConvAttention, ConvAttentionBlock
from davezoo.nn.masks import StreamMasks


def partner_of(name: str, streams: Mapping[str, Tensor]) -> Tensor:
    """Return the other modality, or the modality itself where there is no other."""
    others = [x for other, x in streams.items() if other != name]
    return others[0] if others else streams[name]


class CrossModalPyramid(nn.Module):
    """Cross-modal blocks, the first at full resolution, each further one at half of it.

    A stream keeps its own keys, values and skip; the query comes from the other modality (the
    published code of UnAV; the usual reading of cross-attention has it the other way round). A
    stream without another one asks itself.

    Args:
        streams: names of the modalities, one or two.
        width: channels.
        num_heads: attention heads.
        num_levels: levels, the one at full resolution included.
        drop_path: rate of stochastic depth while training.
        interaction: let the query of each stream come from the other one; else each asks itself.
        window: steps of a level around each step that it sees; None for all.
        attention: makes the attention of a level from its stride, in place of that.

    Reference:
        Geng et al., UnAV, CVPR 2023, section 4.2 (cross-modal pyramid).
    """

    def __init__(
        self,
        streams: Sequence[str],
        width: int,
        num_heads: int,
        num_levels: int,
        drop_path: float,
        *,
        interaction: bool = True,
        window: int | None = None,
        attention: Callable[[int], ConvAttention] | None = None,
    ) -> None:
        super().__init__()
        self.interaction = interaction
        self.strides = [1] + [2] * (num_levels - 1)
        self.blocks = nn.ModuleDict(
            {
                name: nn.ModuleList(
                    ConvAttentionBlock(
                        width,
                        num_heads,
                        stride=stride,
                        drop_path=drop_path,
                        window=window,
                        attention=None if attention is None else attention(stride),
                    )
                    for stride in self.strides
                )
                for name in streams
            }
        )

    def forward(
        self, streams: Mapping[str, Tensor], masks: StreamMasks
    ) -> tuple[dict[str, list[Tensor]], list[Tensor]]:
        """Return every modality at every level, and the masks of the levels.

        Args:
            streams: the modalities by name, (B, T, C).
            masks: valid steps, (B, T).

        Returns:
            A list over levels, (B, T_l, C), by modality; the steps of the video, a list over
            levels, (B, T_l).
        """
        levels: dict[str, list[Tensor]] = {name: [] for name in streams}
        video = []
        for level, stride in enumerate(self.strides):
            masks = masks.strided(stride)
            streams = self.step(level, streams, masks)
            video.append(masks.video)
            for name, x in streams.items():
                levels[name].append(x)
        return levels, video

    def step(
        self, level: int, streams: Mapping[str, Tensor], masks: StreamMasks
    ) -> dict[str, Tensor]:
        """Return the modalities (B, T_l, C) of a level from those of the level before.

        Args:
            level: the level to make; the first keeps the number of steps.
            streams: the modalities by name, (B, T_l or 2 T_l, C).
            masks: valid steps of the new level, (B, T_l).
        """
        asking = {
            name: partner_of(name, streams) if self.interaction else x
            for name, x in streams.items()
        }
        return {
            name: self.block(name, level)(
                x, asking[name], masks.of(name), key_mask=masks.keys(name)
            )
            for name, x in streams.items()
        }

    def block(self, name: str, level: int) -> nn.Module:
        """Return the block that makes a level of one modality."""
        return self.blocks.get_submodule(f"{name}.{level}")
