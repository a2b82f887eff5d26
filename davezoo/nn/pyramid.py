"""Two-stream pyramid: at every level each modality attends to the other."""

from __future__ import annotations

from torch import Tensor, nn

from davezoo.nn.attention import ConvAttentionBlock


class CrossModalPyramid(nn.Module):
    """Cross-modal blocks, the first at full resolution, each further one at half of it.

    A stream keeps its own keys, values and skip; the query comes from the other modality (the
    published code of UnAV; the usual reading of cross-attention has it the other way round).

    Args:
        width: channels.
        num_heads: attention heads.
        num_levels: levels, the one at full resolution included.
        drop_path: rate of stochastic depth while training.

    Reference:
        Geng et al., UnAV, CVPR 2023, section 4.2 (cross-modal pyramid).
    """

    def __init__(self, width: int, num_heads: int, num_levels: int, drop_path: float) -> None:
        super().__init__()
        self.strides = [1] + [2] * (num_levels - 1)
        self.visual, self.audio = (
            nn.ModuleList(
                ConvAttentionBlock(width, num_heads, stride=stride, drop_path=drop_path)
                for stride in self.strides
            )
            for _ in range(2)
        )

    def forward(
        self, visual: Tensor, audio: Tensor, mask: Tensor
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Return the visual stream, the audio stream and the mask of every level.

        Args:
            visual: (B, T, C).
            audio: (B, T, C).
            mask: (B, T).

        Returns:
            Three lists over levels: (B, T_l, C), (B, T_l, C), (B, T_l).
        """
        visuals, audios, masks = [], [], []
        for level, stride in enumerate(self.strides):
            mask = mask[:, ::stride]
            visual, audio = self.step(level, visual, audio, mask)
            visuals.append(visual)
            audios.append(audio)
            masks.append(mask)
        return visuals, audios, masks

    def step(
        self, level: int, visual: Tensor, audio: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return both streams (B, T_l, C) of a level from those of the level before.

        Args:
            level: the level to make; the first keeps the number of steps.
            visual: (B, T_l or 2 T_l, C).
            audio: (B, T_l or 2 T_l, C).
            mask: valid steps of the new level, (B, T_l).
        """
        return (
            self.visual[level](visual, audio, mask, key_mask=mask),
            self.audio[level](audio, visual, mask, key_mask=mask),
        )
