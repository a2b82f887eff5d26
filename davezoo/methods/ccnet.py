"""CCNet: consistency between modalities, collaboration between temporal granularities.

Zhou, Zhou, Qian, Tang, Chang, Guo, "Dense Audio-Visual Event Localization under Cross-Modal
Consistency and Multi-Temporal Granularity Collaboration", AAAI 2025. On UnAV's detector: the
streams of the pyramid are gated by each other (CMCC), and its levels inform each other around the
dependency block (MTGC).

The network is that of the published code, which made the published numbers. It differs from the
paper in blocks with skips and perceptrons where the paper has attention alone, and in the channel
branch, which the paper leaves out. The mask of the dependency block is repaired (`nn.dependency`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from davezoo.errors import InputError
from davezoo.nn.attention import ConvAttention
from davezoo.nn.correspondence import Correspondence
from davezoo.nn.dependency import DependencyBlock
from davezoo.nn.detector import Modalities
from davezoo.nn.granularity import ChannelBranch, CoarseToFine, FineToCoarse, GranularityNeck
from davezoo.nn.heads import DetectionHeads
from davezoo.nn.layers import zero_bias_linear
from davezoo.nn.masks import StreamMasks
from davezoo.nn.pyramid import CrossModalPyramid, partner_of
from davezoo.nn.two_stream import REGRESSION_RANGES, TwoStreamDetector
from davezoo.structures import ONE_PEACE_GRID, FeatureGrid
from davezoo.task import EventLocalizer


class TemporalGate(nn.Module):
    """How much each step of the other modality should count, from one modality (Eq. 3).

    Args:
        width: channels.
        num_heads: attention heads.
        stride: 2 halves the number of steps.
        masked: keep padded steps out of the attention. Without it they share in the softmax with
            a value of zero, which damps the gates of short videos, as published from the second
            level on.
        window: steps around each step that it sees; None for all.
    """

    def __init__(
        self, width: int, num_heads: int, stride: int, masked: bool, window: int | None = None
    ) -> None:
        super().__init__()
        self.masked = masked
        self.norm_x = nn.LayerNorm(width)
        self.norm_y = nn.LayerNorm(width)
        self.attention = ConvAttention(width, num_heads, stride, window)
        self.to_gate = zero_bias_linear(width, 1)

    def forward(self, x: Tensor, mask: Tensor, key_mask: Tensor) -> Tensor:
        """Return gates in (0, 1), (B, T / stride, 1), from (B, T, C).

        Args:
            x: the modality that gates.
            mask: steps after the stride that hold something, (B, T / stride).
            key_mask: steps after the stride that may be attended, (B, T / stride).
        """
        masks = (key_mask, None) if self.masked else (None, mask)
        mixed = self.attention(self.norm_x(x), self.norm_y(x), *masks)
        return torch.sigmoid(self.to_gate(mixed))


class ConsistentPyramid(CrossModalPyramid):
    """Cross-modal consistency collaboration (CMCC): each stream gated by the other.

    A stream without another one asks itself and has no gate.

    Args:
        streams: names of the modalities, one or two.
        width: channels.
        num_heads: attention heads.
        num_levels: levels, the one at full resolution included.
        drop_path: rate of stochastic depth while training.
        interaction: let the query of each stream come from the other one (CMI). Without it each
            stream attends to itself; the paper does not say what it put there.
        gates: gate each stream by the other (TCG).
        masked_gates: keep padding out of the gates on every level, not only on the first.
        window: steps of a level around each step that it sees; None for all.
    """

    def __init__(
        self,
        streams: Sequence[str],
        width: int,
        num_heads: int,
        num_levels: int,
        drop_path: float,
        *,
        interaction: bool,
        gates: bool,
        masked_gates: bool,
        window: int | None = None,
    ) -> None:
        sizes = (streams, width, num_heads, num_levels, drop_path)
        super().__init__(*sizes, interaction=interaction, window=window)
        self.gates = nn.ModuleDict(  # by the stream that they are computed from
            {
                name: nn.ModuleList(
                    TemporalGate(width, num_heads, stride, masked_gates or level == 0, window)
                    for level, stride in enumerate(self.strides)
                )
                for name in (streams if gates and len(streams) > 1 else [])
            }
        )

    def step(
        self, level: int, streams: Mapping[str, Tensor], masks: StreamMasks
    ) -> dict[str, Tensor]:
        """Return the modalities of a level from those of the level before; see the base."""
        new = super().step(level, streams, masks)
        gates = {
            name: self.gates.get_submodule(f"{name}.{level}")(
                streams[name], masks.of(name), masks.keys(name)
            )
            for name in self.gates
        }
        return {name: x * (1 + partner_of(name, gates)) if gates else x for name, x in new.items()}


class CCNetDetector(TwoStreamDetector):
    """The network of CCNet.

    Linear layers over time (coarse to fine, channel branch) bake `max_length` into the weights:
    every batch is padded to exactly that length, and a longer video is refused (`CCNet` reads it
    in chunks). For data with long videos there is the variant `length_free`, which interpolates
    over time in their place; it has no weights in common with published checkpoints there, and
    needs `masked_gates` and no `channel_branch`, whose results depend on the padding.

    Args:
        visual_width: width of the visual features (1536: ONE-PEACE).
        audio_width: width of the audio features (1536: ONE-PEACE).
        num_classes: classes.
        max_length: steps of every batch; with `length_free` of the position table alone.
        width: channels of each stream.
        head_width: channels of the heads.
        num_heads: attention heads.
        num_unimodal_blocks: self-attention blocks of each stream.
        regression_ranges: range of distances of each level, in grid steps; their number is the
            number of levels, each coarser by two.
        cross_modal_interaction: streams ask each other (CMI); else each asks itself.
        temporal_gates: streams are gated by each other (TCG).
        masked_gates: keep padding out of all gates; published only on the first level.
        coarse_to_fine: the coarser level asks the finer one (C2F).
        fine_to_coarse: the coarser level learns from the finer one (F2C).
        fine_to_coarse_first: F2C ahead of the dependency block and C2F behind it.
        dependency: apply the dependency block.
        dependency_width: channels of each class within it.
        channel_branch: add the published channel branch within the dependency block.
        length_free: interpolate over time instead of learning weights of a fixed length.
        attention_window: steps around each step that attention sees, odd, at every level of its own
            (ActionFormer: 19 on THUMOS14, 9 on EPIC-Kitchens-100); null for all steps.
        drop_path: rate of stochastic depth while training.
        prior: probability that the classifier starts from.
        absent_classes: class indices without any annotation.
        modalities: which of the two to read; a stream without another one asks itself, ungated.
        correspondence: add LoCo's Locality-aware Correspondence Correction with this objective;
            `none`, or one modality, builds nothing.
        correspondence_weight: weight of its loss.
    """

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
        regression_ranges: Sequence[tuple[float, float]] = REGRESSION_RANGES,
        cross_modal_interaction: bool = True,
        temporal_gates: bool = True,
        masked_gates: bool = False,
        coarse_to_fine: bool = True,
        fine_to_coarse: bool = True,
        fine_to_coarse_first: bool = False,
        dependency: bool = True,
        dependency_width: int = 128,
        channel_branch: bool = True,
        length_free: bool = False,
        attention_window: int | None = None,
        drop_path: float = 0.1,
        prior: float = 0.01,
        absent_classes: Sequence[int] = (),
        modalities: Modalities = "both",
        correspondence: Correspondence = "none",
        correspondence_weight: float = 0.1,
    ) -> None:
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
        self.fixed_length = not length_free
        if length_free:
            _check_length_free(channel_branch, masked_gates or not temporal_gates)
        num_levels = len(self.strides)
        self.pyramid = ConsistentPyramid(
            self.streams,
            width,
            num_heads,
            num_levels,
            drop_path,
            interaction=cross_modal_interaction,
            gates=temporal_gates,
            masked_gates=masked_gates,
            window=attention_window,
        )
        fused = self.fused_width
        steps = [max_length // stride for stride in self.strides]
        stretch = None if length_free else steps
        inner = (num_classes, dependency_width)
        c2f = (
            CoarseToFine(fused, num_heads, stretch, drop_path, attention_window)
            if coarse_to_fine and num_levels > 1
            else None
        )
        f2c = (
            FineToCoarse(fused, num_levels, drop_path, attention_window) if fine_to_coarse else None
        )
        branch = ChannelBranch(fused, *inner, steps, drop_path) if channel_branch else None
        relate = DependencyBlock(fused, *inner, drop_path, attention_window) if dependency else None
        first, last = (f2c, c2f) if fine_to_coarse_first else (c2f, f2c)
        self.neck = GranularityNeck(first, branch if dependency else None, relate, last)
        self.heads = DetectionHeads(
            fused, head_width, num_classes, num_levels, prior=prior, absent_classes=absent_classes
        )


def _check_length_free(channel_branch: bool, gates_ignore_padding: bool) -> None:
    if channel_branch or not gates_ignore_padding:
        raise InputError(
            "Expected `length_free` to come with `masked_gates` and without `channel_branch`, "
            "because published gates and channel branch depend on the length of the batch, got "
            f"`channel_branch` {channel_branch} and gates that are "
            f"{'' if gates_ignore_padding else 'not '}masked; set masked_gates=true and "
            "channel_branch=false."
        )


class CCNet(EventLocalizer):
    """CCNet with its training recipe.

    Its batches are padded to exactly `max_length`, and longer videos are read in overlapping chunks
    of that length; `CCNetDetector` says why, and `length_free` is the way out.

    Args:
        class_names: name of each class index; taken from the data on the command line.
        visual_width: width of the visual features; taken from the data on the command line.
        audio_width: width of the audio features; taken from the data on the command line.
        max_length: steps of every batch; taken from the data on the command line.
        grid: time grid of the features; taken from the data on the command line.
        width: channels of each stream.
        head_width: channels of the heads.
        num_heads: attention heads.
        num_unimodal_blocks: self-attention blocks of each stream.
        regression_ranges: range of distances to start and end that each level answers for, in grid
            steps; their number is the number of levels.
        cross_modal_interaction: streams ask each other (CMI); else each asks itself.
        temporal_gates: streams are gated by each other (TCG).
        masked_gates: keep padding out of all gates; published only on the first level.
        coarse_to_fine: the coarser level asks the finer one (C2F).
        fine_to_coarse: the coarser level learns from the finer one (F2C).
        fine_to_coarse_first: F2C ahead of the dependency block and C2F behind it.
        dependency: apply the dependency block.
        dependency_width: channels of each class within it.
        channel_branch: add the published channel branch within the dependency block.
        length_free: interpolate over time instead of learning weights of a fixed length; needs
            `masked_gates` and no `channel_branch`.
        attention_window: steps around each step that attention sees, odd, at every level of its own
            (ActionFormer: 19 on THUMOS14, 9 on EPIC-Kitchens-100); null for all steps.
        drop_path: rate of stochastic depth while training.
        prior: probability that the classifier starts from.
        absent_classes: class indices without any annotation.
        modalities: which of the two to read; a stream without another one asks itself, ungated.
        correspondence: add LoCo's Locality-aware Correspondence Correction with this objective;
            `none`, or one modality, builds nothing.
        correspondence_weight: weight of its loss.
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
        regression_ranges: list[tuple[float, float]] = list(REGRESSION_RANGES),  # noqa: B006 - never changed
        cross_modal_interaction: bool = True,
        temporal_gates: bool = True,
        masked_gates: bool = False,
        coarse_to_fine: bool = True,
        fine_to_coarse: bool = True,
        fine_to_coarse_first: bool = False,
        dependency: bool = True,
        dependency_width: int = 128,
        channel_branch: bool = True,
        length_free: bool = False,
        attention_window: int | None = None,
        drop_path: float = 0.1,
        prior: float = 0.01,
        absent_classes: list[int] = [],  # noqa: B006 - never changed
        modalities: Modalities = "both",
        correspondence: Correspondence = "none",
        correspondence_weight: float = 0.1,
        **kwargs: Any,
    ) -> None:
        detector = CCNetDetector(
            visual_width,
            audio_width,
            len(class_names),
            max_length=max_length,
            width=width,
            head_width=head_width,
            num_heads=num_heads,
            num_unimodal_blocks=num_unimodal_blocks,
            regression_ranges=regression_ranges,
            cross_modal_interaction=cross_modal_interaction,
            temporal_gates=temporal_gates,
            masked_gates=masked_gates,
            coarse_to_fine=coarse_to_fine,
            fine_to_coarse=fine_to_coarse,
            fine_to_coarse_first=fine_to_coarse_first,
            dependency=dependency,
            dependency_width=dependency_width,
            channel_branch=channel_branch,
            length_free=length_free,
            attention_window=attention_window,
            drop_path=drop_path,
            prior=prior,
            absent_classes=absent_classes,
            modalities=modalities,
            correspondence=correspondence,
            correspondence_weight=correspondence_weight,
        )
        super().__init__(detector=detector, class_names=class_names, grid=grid, **kwargs)
