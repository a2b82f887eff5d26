"""UnAV, the baseline of dense audio-visual event localization.

Geng, Wang, Duan, Kim, Chen, "Dense-Localizing Audio-Visual Events in Untrimmed Videos: A
Large-Scale Benchmark and Baseline", CVPR 2023. Two streams of conv-attention blocks meet in a
cross-modal pyramid; a dependency block relates classes within a step and steps within a class; two
heads answer for every point of the pyramid.

The network is that of the published code, which made the published numbers. One fault is not
repeated: there, the temporal branch of the dependency block applies the mask of another video when
a batch holds several (its row `b K + k` takes the mask of video `(b K + k) mod B`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from davezoo.nn.attention import ConvAttentionBlock
from davezoo.nn.detector import Detector
from davezoo.nn.encoder import TwoStreamEncoder
from davezoo.nn.heads import DetectionHeads
from davezoo.nn.layers import TemporalConv
from davezoo.nn.pyramid import CrossModalPyramid
from davezoo.structures import FeatureGrid, Predictions
from davezoo.task import EventLocalizer

UNAV100_GRID = FeatureGrid(fps=25, stride=8, window=24)
REGRESSION_RANGES = ((0, 4), (4, 8), (8, 16), (16, 32), (32, 64), (64, 10000))


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
    """

    def __init__(
        self, width: int, num_classes: int, inner_width: int = 128, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.inner_width = inner_width
        self.expand = TemporalConv(width, num_classes * inner_width)
        self.squeeze = TemporalConv(num_classes * inner_width, width)
        self.temporal, self.cooccurrence = (
            ConvAttentionBlock(inner_width, num_heads=1, mlp_ratio=1, drop_path=drop_path)
            for _ in range(2)
        )

    def forward(self, x: Tensor, mask: Tensor, lengths: Sequence[int]) -> Tensor:
        """Return (B, P, C) from the fused pyramid (B, P, C), its mask (B, P) and level lengths."""
        x = F.relu(self.expand(x, mask, lengths))
        x = x.reshape(*mask.shape, self.num_classes, self.inner_width)  # (B, P, K, C)
        sizes = list(lengths)
        levels = zip(torch.split(x, sizes, 1), torch.split(mask, sizes, 1), strict=True)
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


class UnAVDetector(Detector):
    """The network of UnAV.

    Args:
        visual_width: width of the visual features (2048: I3D rgb and flow).
        audio_width: width of the audio features (128: VGGish).
        num_classes: classes.
        max_length: steps of the position table; longer videos have it stretched.
        width: channels of each stream.
        head_width: channels of the heads.
        num_heads: attention heads.
        num_unimodal_blocks: self-attention blocks of each stream.
        regression_ranges: range of distances of each level, in grid steps; their number is the
            number of levels, each coarser by two.
        dependency: apply the dependency block.
        dependency_width: channels of each class within it.
        drop_path: rate of stochastic depth while training.
        prior: probability that the classifier starts from.
        absent_classes: class indices without any annotation.
    """

    def __init__(
        self,
        visual_width: int,
        audio_width: int,
        num_classes: int,
        *,
        max_length: int = 224,
        width: int = 512,
        head_width: int = 512,
        num_heads: int = 4,
        num_unimodal_blocks: int = 2,
        regression_ranges: Sequence[tuple[float, float]] = REGRESSION_RANGES,
        dependency: bool = True,
        dependency_width: int = 128,
        drop_path: float = 0.1,
        prior: float = 0.01,
        absent_classes: Sequence[int] = (),
    ) -> None:
        num_levels = len(regression_ranges)
        strides = [2**level for level in range(num_levels)]
        super().__init__(
            visual_width, audio_width, num_classes, max_length, strides, regression_ranges
        )
        self.encoder = TwoStreamEncoder(
            visual_width,
            audio_width,
            width,
            num_heads=num_heads,
            num_blocks=num_unimodal_blocks,
            max_length=max_length,
            length_multiple=strides[-1],
            drop_path=drop_path,
        )
        self.pyramid = CrossModalPyramid(width, num_heads, num_levels, drop_path)
        self.neck = (
            DependencyBlock(2 * width, num_classes, dependency_width, drop_path)
            if dependency
            else None
        )
        self.heads = DetectionHeads(
            2 * width,
            head_width,
            num_classes,
            num_levels,
            prior=prior,
            absent_classes=absent_classes,
        )

    def forward(self, visual: Tensor, audio: Tensor, mask: Tensor) -> Predictions:
        """Detect events; see `Detector.forward`.

        `features` of the result holds `visual` and `audio`, lists of (B, T_l, C) over levels, and
        `fused`, (B, P, 2 C), what the heads read.
        """
        self.check_shapes(visual, audio, mask)
        visuals, audios, masks = self.pyramid(*self.encoder(visual, audio, mask), mask)
        lengths = [level.shape[1] for level in visuals]
        fused = torch.cat([torch.cat(visuals, dim=1), torch.cat(audios, dim=1)], dim=-1)
        point_mask = torch.cat(masks, dim=1)
        if self.neck is not None:
            fused = self.neck(fused, point_mask, lengths)
        logits, offsets = self.heads(fused, point_mask, lengths)
        features = {"visual": visuals, "audio": audios, "fused": fused}
        return Predictions(logits, offsets, masks, features)


class UnAV(EventLocalizer):
    """UnAV with its training recipe.

    Args:
        class_names: name of each class index; taken from the data on the command line.
        visual_width: width of the visual features; taken from the data on the command line.
        audio_width: width of the audio features; taken from the data on the command line.
        max_length: steps of the position table; taken from the data on the command line.
        grid: time grid of the features; taken from the data on the command line.
        width: channels of each stream.
        head_width: channels of the heads.
        num_heads: attention heads.
        num_unimodal_blocks: self-attention blocks of each stream.
        regression_ranges: range of distances to start and end that each level answers for, in grid
            steps; their number is the number of levels.
        dependency: apply the dependency block.
        dependency_width: channels of each class within it.
        drop_path: rate of stochastic depth while training.
        prior: probability that the classifier starts from.
        absent_classes: class indices without any annotation.
        kwargs: training, decoding and evaluation settings of `EventLocalizer`.
    """

    def __init__(
        self,
        class_names: list[str],
        visual_width: int = 2048,
        audio_width: int = 128,
        max_length: int = 224,
        grid: FeatureGrid | dict[str, float] = UNAV100_GRID,
        width: int = 512,
        head_width: int = 512,
        num_heads: int = 4,
        num_unimodal_blocks: int = 2,
        regression_ranges: list[tuple[float, float]] = list(REGRESSION_RANGES),  # noqa: B006 - never changed
        dependency: bool = True,
        dependency_width: int = 128,
        drop_path: float = 0.1,
        prior: float = 0.01,
        absent_classes: list[int] = [],  # noqa: B006 - never changed
        **kwargs: Any,
    ) -> None:
        detector = UnAVDetector(
            visual_width,
            audio_width,
            len(class_names),
            max_length=max_length,
            width=width,
            head_width=head_width,
            num_heads=num_heads,
            num_unimodal_blocks=num_unimodal_blocks,
            regression_ranges=regression_ranges,
            dependency=dependency,
            dependency_width=dependency_width,
            drop_path=drop_path,
            prior=prior,
            absent_classes=absent_classes,
        )
        super().__init__(detector=detector, class_names=class_names, grid=grid, **kwargs)
