"""Relations between classes and between steps, the dependency block of UnAV and CCNet.

Reference:
    Geng et al., "Dense-Localizing Audio-Visual Events in Untrimmed Videos" (UnAV), CVPR 2023,
    section 4.3.

The published codes (CCNet's has the block unchanged) share one fault, which is not repeated: when a
batch holds several videos, the temporal branch applies the mask of another one (its row `b K + k`
takes the mask of video `(b K + k) mod B`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from davezoo.nn.attention import ConvAttentionBlock
from davezoo.nn.layers import TemporalConv


class DependencyBlock(nn.Module):
    """Relate events: classes that occur together, and steps of one class.

    The fused features are expanded to `inner_width` channels a class. A temporal branch attends
    over the steps of each class, a co-occurrence branch over the classes of each step (with
    convolutions over neighbouring class indices, as published); their sum is squeezed back and
    replaces the fused features.

    Args:
        width: channels of the fused features.
        num_classes: classes.
        inner_width: channels of each class.
        drop_path: rate of stochastic depth while training.
        window: steps around each step that the temporal branch sees; None for all of its level.
    """

    def __init__(
        self,
        width: int,
        num_classes: int,
        inner_width: int = 128,
        drop_path: float = 0.0,
        window: int | None = None,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.inner_width = inner_width
        self.expand = TemporalConv(width, num_classes * inner_width)
        self.squeeze = TemporalConv(num_classes * inner_width, width)
        self.temporal, self.cooccurrence = (
            ConvAttentionBlock(inner_width, 1, mlp_ratio=1, drop_path=drop_path, window=steps)
            for steps in (window, None)
        )

    def forward(
        self,
        x: Tensor,
        mask: Tensor,
        lengths: Sequence[int],
        extra: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Relate the events of a fused pyramid.

        Args:
            x: fused pyramid, (B, P, C).
            mask: valid points, (B, P).
            lengths: steps of each level.
            extra: added to the features of each class, (B, T_l, K, `inner_width`) a level, or None.

        Returns:
            What replaces `x`, (B, P, C).
        """
        x = F.relu(self.expand(x, mask, lengths))
        x = x.reshape(*mask.shape, self.num_classes, self.inner_width)  # (B, P, K, C)
        sizes = list(lengths)
        by_level = list(torch.split(x, sizes, 1))
        if extra is not None:
            by_level = [own + more for own, more in zip(by_level, extra, strict=True)]
        levels = zip(by_level, torch.split(mask, sizes, 1), strict=True)
        # Both branches by level, for the memory: what is larger than 32 MB comes fresh from the
        # system each time on Linux, and took a quarter of a training step to arrive.
        related = [self._over_time(*level) + self._over_classes(*level) for level in levels]
        out: Tensor = self.squeeze(torch.cat(related, dim=1).flatten(2), mask, lengths)
        return out

    def _over_time(self, x: Tensor, mask: Tensor) -> Tensor:
        """Attend over the steps of one level, every class on its own: (B, T_l, K, C)."""
        rows = x.transpose(1, 2).flatten(0, 1)  # (B K, T_l, C)
        row_mask = mask.repeat_interleave(self.num_classes, dim=0)  # (B K, T_l)
        rows = self.temporal(rows, rows, row_mask, key_mask=row_mask)
        by_class: Tensor = rows.reshape(-1, self.num_classes, *rows.shape[1:])
        return by_class.transpose(1, 2)

    def _over_classes(self, x: Tensor, mask: Tensor) -> Tensor:
        """Attend over the classes of every step of one level: (B, T_l, K, C)."""
        rows = x.flatten(0, 1)  # (B T_l, K, C)
        row_mask = mask.flatten()[:, None].expand(-1, self.num_classes)
        related: Tensor = self.cooccurrence(rows, rows, row_mask)
        return related.view_as(x)
