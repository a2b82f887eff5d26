"""LoCo: what is near in time belongs together, in the loss and in the attention.

Xing, Qu, Yan, Shu, Tang, "Locality-aware Cross-modal Correspondence Learning for Dense Audio-Visual
Events Localization", arXiv 2409.07967. On UnAV's encoder and pyramid: Locality-aware Correspondence
Correction (LCC) draws the encoded modalities together step by step, Cross-modal Dynamic Perception
(CDP) lets the streams of the pyramid ask each other within windows that place themselves, and
transformer blocks on the fused levels take the place of UnAV's dependency block.

There is no published code. Layers and widths are those that give all parameter and operation counts
of the paper's Table VII; each layer is UnAV's, which the paper builds on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from davezoo.errors import InputError
from davezoo.nn.attention import ConvAttention, ConvAttentionBlock
from davezoo.nn.correspondence import Correspondence
from davezoo.nn.detector import Modalities
from davezoo.nn.heads import DetectionHeads
from davezoo.nn.layers import TemporalConv
from davezoo.nn.pyramid import CrossModalPyramid
from davezoo.nn.two_stream import REGRESSION_RANGES, TwoStreamDetector
from davezoo.nn.windows import WindowAttention, Windows
from davezoo.structures import ONE_PEACE_GRID, FeatureGrid, Predictions
from davezoo.task import EventLocalizer

CrossAttention = Literal["adaptive", "fixed", "global"]


class PerceptionPyramid(CrossModalPyramid):
    """Pyramid whose streams ask each other within windows (CDP).

    Args:
        streams: names of the modalities, one or two.
        width: channels.
        num_heads: attention heads.
        num_levels: levels, the one at full resolution included.
        drop_path: rate of stochastic depth while training.
        attention: `adaptive` for windows that place themselves, `fixed` for windows that stay,
            `global` for all steps.
        window_size: steps of a window, even.
        max_length: steps of the first level, which no window may exceed.
        global_window: steps around each step that `global` attention sees after all; None for all.
    """

    def __init__(
        self,
        streams: Sequence[str],
        width: int,
        num_heads: int,
        num_levels: int,
        drop_path: float,
        *,
        attention: CrossAttention,
        window_size: int,
        max_length: int,
        global_window: int | None = None,
    ) -> None:
        _check_attention(attention, window_size, max_length)

        def within_windows(stride: int) -> ConvAttention:
            adaptive = attention == "adaptive"
            return WindowAttention(width, num_heads, window_size, stride, adaptive=adaptive)

        super().__init__(
            streams,
            width,
            num_heads,
            num_levels,
            drop_path,
            window=global_window,
            attention=None if attention == "global" else within_windows,
        )

    def windows(self) -> dict[str, list[Windows]]:
        """Return where the latest forward pass looked, by modality and level; {} if nowhere own."""
        attentions = {
            name: [self.block(name, level).attention for level in range(len(self.strides))]
            for name in self.blocks
        }
        placed = {
            name: [a.windows for a in of_stream if isinstance(a, WindowAttention) and a.windows]
            for name, of_stream in attentions.items()
        }
        return {name: windows for name, windows in placed.items() if windows}


class FusionDecoder(nn.Module):
    """Fuse the streams with a convolution, then let the steps of each level attend to each other.

    All levels share the weights and go through every product together.

    Args:
        width: channels of the fused pyramid.
        num_heads: attention heads.
        num_blocks: self-attention blocks.
        drop_path: rate of stochastic depth while training.
        window: steps of a level around each step that it sees; None for all.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        num_blocks: int,
        drop_path: float,
        window: int | None = None,
    ) -> None:
        super().__init__()
        self.conv = TemporalConv(width, width)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(
            ConvAttentionBlock(width, num_heads, drop_path=drop_path, window=window)
            for _ in range(num_blocks)
        )

    def forward(self, x: Tensor, mask: Tensor, lengths: Sequence[int]) -> Tensor:
        """Return (B, P, C) from (B, P, C), zero where `mask` (B, P) is False."""
        x = F.relu(self.norm(self.conv(x, mask, lengths))) * mask.unsqueeze(-1)
        for block in self.blocks:
            x = block(x, x, mask, key_mask=mask, lengths=lengths)
        return x


class LoCoDetector(TwoStreamDetector):
    """The network of LoCo.

    Args:
        visual_width: width of the visual features (1536: ONE-PEACE, 2048: I3D rgb + flow).
        audio_width: width of the audio features (1536: ONE-PEACE, 128: VGGish).
        num_classes: classes.
        max_length: steps of the position table.
        width: channels of each stream.
        head_width: channels of the heads.
        num_heads: attention heads.
        num_unimodal_blocks: self-attention blocks of each stream.
        num_decoder_blocks: self-attention blocks of the fused pyramid.
        regression_ranges: range of distances of each level, in grid steps; their number is the
            number of levels, each coarser by two.
        pyramid: build the pyramid. Without it (the paper's base) there is one level, which answers
            for all distances and whose streams attend to themselves, everywhere; `attention` and
            `window_size` then change nothing.
        attention: how the streams of the pyramid ask each other: within windows that place
            themselves (`adaptive`, CDP), that stay (`fixed`), or everywhere (`global`).
        window_size: steps of a window, even.
        correspondence: target of the loss that draws the encoded modalities together (LCC); `none`,
            or one modality, builds nothing.
        correspondence_weight: weight of that loss.
        attention_window: steps around each step that the other attentions see, odd, at every level
            of its own (ActionFormer: 19 on THUMOS14, 9 on EPIC-Kitchens-100); null for all steps.
        drop_path: rate of stochastic depth while training.
        prior: probability that the classifier starts from.
        absent_classes: class indices without any annotation.
        modalities: which of the two to read; a stream without another one asks itself.
    """

    pyramid: CrossModalPyramid

    def __init__(
        self,
        visual_width: int,
        audio_width: int,
        num_classes: int,
        *,
        max_length: int = 256,
        width: int = 512,
        head_width: int = 512,
        num_heads: int = 4,
        num_unimodal_blocks: int = 2,
        num_decoder_blocks: int = 3,
        regression_ranges: Sequence[tuple[float, float]] = REGRESSION_RANGES,
        pyramid: bool = True,
        attention: CrossAttention = "adaptive",
        window_size: int = 8,
        correspondence: Correspondence = "adjustable_gaussian",
        correspondence_weight: float = 0.1,
        attention_window: int | None = None,
        drop_path: float = 0.1,
        prior: float = 0.01,
        absent_classes: Sequence[int] = (),
        modalities: Modalities = "both",
    ) -> None:
        if regression_ranges and not pyramid:
            regression_ranges = [(regression_ranges[0][0], regression_ranges[-1][1])]
        super().__init__(
            visual_width,
            audio_width,
            num_classes,
            max_length=max_length,
            width=width,
            num_heads=num_heads,
            num_unimodal_blocks=num_unimodal_blocks,
            regression_ranges=regression_ranges,
            drop_path=drop_path,
            attention_window=attention_window,
            modalities=modalities,
            correspondence=correspondence,
            correspondence_weight=correspondence_weight,
        )
        num_levels, fused = len(self.strides), self.fused_width
        sizes = (self.streams, width, num_heads, num_levels, drop_path)
        if pyramid:
            self.pyramid = PerceptionPyramid(
                *sizes,
                attention=attention,
                window_size=window_size,
                max_length=max_length,
                global_window=attention_window,
            )
        else:
            self.pyramid = CrossModalPyramid(*sizes, interaction=False, window=attention_window)
        self.neck = FusionDecoder(fused, num_heads, num_decoder_blocks, drop_path, attention_window)
        self.heads = DetectionHeads(
            fused, head_width, num_classes, num_levels, prior=prior, absent_classes=absent_classes
        )

    def forward(
        self, visual: Tensor, audio: Tensor, mask: Tensor, audio_mask: Tensor | None = None
    ) -> Predictions:
        """Detect events; see `TwoStreamDetector.forward`.

        With `adaptive` attention `features` also holds `windows`: by modality, the one that is
        looked at, a list over levels of sizes and offsets, (B, H, T_l / window_size) each.
        """
        predictions = super().forward(visual, audio, mask, audio_mask)
        if isinstance(self.pyramid, PerceptionPyramid):
            predictions.features["windows"] = self.pyramid.windows()
        return predictions


def _check_attention(attention: str, window_size: int, max_length: int) -> None:
    if attention not in get_args(CrossAttention):
        raise InputError(
            f"Expected `attention` to be one of {list(get_args(CrossAttention))}, got "
            f"{attention!r}; choose one."
        )
    if attention != "global" and window_size > max_length:
        raise InputError(
            f"Expected `window_size` to be at most the {max_length} steps of `max_length`, got "
            f"{window_size}; choose a smaller one, or attention=global for windows without end."
        )


class LoCo(EventLocalizer):
    """LoCo with its training recipe.

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
        num_decoder_blocks: self-attention blocks of the fused pyramid.
        regression_ranges: range of distances to start and end that each level answers for, in grid
            steps; their number is the number of levels.
        pyramid: build the pyramid; without it (the paper's base) there is one level, whose streams
            attend to themselves, and `attention` and `window_size` change nothing.
        attention: how the streams of the pyramid ask each other: within windows that place
            themselves (`adaptive`, CDP), that stay (`fixed`), or everywhere (`global`).
        window_size: steps of a window, even.
        correspondence: target of the loss that draws the encoded modalities together (LCC); `none`,
            or one modality, builds nothing.
        correspondence_weight: weight of that loss.
        attention_window: steps around each step that the other attentions see, odd, at every level
            of its own (ActionFormer: 19 on THUMOS14, 9 on EPIC-Kitchens-100); null for all steps.
        drop_path: rate of stochastic depth while training.
        prior: probability that the classifier starts from.
        absent_classes: class indices without any annotation.
        modalities: which of the two to read; a stream without another one asks itself.
        kwargs: training, decoding and evaluation settings of `EventLocalizer`.
    """

    def __init__(
        self,
        class_names: list[str],
        visual_width: int = 1536,
        audio_width: int = 1536,
        max_length: int = 256,
        grid: FeatureGrid | dict[str, float] = ONE_PEACE_GRID,
        width: int = 512,
        head_width: int = 512,
        num_heads: int = 4,
        num_unimodal_blocks: int = 2,
        num_decoder_blocks: int = 3,
        regression_ranges: list[tuple[float, float]] = list(REGRESSION_RANGES),  # noqa: B006 - never changed
        pyramid: bool = True,
        attention: CrossAttention = "adaptive",
        window_size: int = 8,
        correspondence: Correspondence = "adjustable_gaussian",
        correspondence_weight: float = 0.1,
        attention_window: int | None = None,
        drop_path: float = 0.1,
        prior: float = 0.01,
        absent_classes: list[int] = [],  # noqa: B006 - never changed
        modalities: Modalities = "both",
        **kwargs: Any,
    ) -> None:
        detector = LoCoDetector(
            visual_width,
            audio_width,
            len(class_names),
            max_length=max_length,
            width=width,
            head_width=head_width,
            num_heads=num_heads,
            num_unimodal_blocks=num_unimodal_blocks,
            num_decoder_blocks=num_decoder_blocks,
            regression_ranges=regression_ranges,
            pyramid=pyramid,
            attention=attention,
            window_size=window_size,
            correspondence=correspondence,
            correspondence_weight=correspondence_weight,
            attention_window=attention_window,
            drop_path=drop_path,
            prior=prior,
            absent_classes=absent_classes,
            modalities=modalities,
        )
        super().__init__(detector=detector, class_names=class_names, grid=grid, **kwargs)
