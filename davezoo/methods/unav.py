"""UnAV, the baseline of dense audio-visual event localization.

Geng, Wang, Duan, Kim, Chen, "Dense-Localizing Audio-Visual Events in Untrimmed Videos: A
Large-Scale Benchmark and Baseline", CVPR 2023. Two streams of conv-attention blocks meet in a
cross-modal pyramid; a dependency block relates classes within a step and steps within a class; two
heads answer for every point of the pyramid.

The network is that of the published code, which made the published numbers, but for the mask of its
dependency block (`nn.dependency` tells).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from davezoo.nn.correspondence import Correspondence
from davezoo.nn.dependency import DependencyBlock
from davezoo.nn.detector import Modalities
from davezoo.nn.heads import DetectionHeads
from davezoo.nn.pyramid import CrossModalPyramid
from davezoo.nn.two_stream import REGRESSION_RANGES, TwoStreamDetector
from davezoo.structures import UNAV100_GRID, FeatureGrid
from davezoo.task import EventLocalizer


class UnAVDetector(TwoStreamDetector):
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
        attention_window: steps around each step that attention sees, odd, at every level of its own
            (ActionFormer: 19 on THUMOS14, 9 on EPIC-Kitchens-100); null for all steps.
        drop_path: rate of stochastic depth while training.
        prior: probability that the classifier starts from.
        absent_classes: class indices without any annotation.
        modalities: which of the two to read; a stream without another one asks itself.
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
        max_length: int = 224,
        width: int = 512,
        head_width: int = 512,
        num_heads: int = 4,
        num_unimodal_blocks: int = 2,
        regression_ranges: Sequence[tuple[float, float]] = REGRESSION_RANGES,
        dependency: bool = True,
        dependency_width: int = 128,
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
        num_levels = len(self.strides)
        self.pyramid = CrossModalPyramid(
            self.streams, width, num_heads, num_levels, drop_path, window=attention_window
        )
        inner = (num_classes, dependency_width, drop_path)
        self.neck = (
            DependencyBlock(self.fused_width, *inner, attention_window) if dependency else None
        )
        self.heads = DetectionHeads(
            self.fused_width,
            head_width,
            num_classes,
            num_levels,
            prior=prior,
            absent_classes=absent_classes,
        )


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
        attention_window: steps around each step that attention sees, odd, at every level of its own
            (ActionFormer: 19 on THUMOS14, 9 on EPIC-Kitchens-100); null for all steps.
        drop_path: rate of stochastic depth while training.
        prior: probability that the classifier starts from.
        absent_classes: class indices without any annotation.
        modalities: which of the two to read; a stream without another one asks itself.
        correspondence: add LoCo's Locality-aware Correspondence Correction with this objective;
            `none`, or one modality, builds nothing.
        correspondence_weight: weight of its loss.
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
        attention_window: int | None = None,
        drop_path: float = 0.1,
        prior: float = 0.01,
        absent_classes: list[int] = [],  # noqa: B006 - never changed
        modalities: Modalities = "both",
        correspondence: Correspondence = "none",
        correspondence_weight: float = 0.1,
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
            attention_window=attention_window,
            drop_path=drop_path,
            prior=prior,
            absent_classes=absent_classes,
            modalities=modalities,
            correspondence=correspondence,
            correspondence_weight=correspondence_weight,
        )
        super().__init__(detector=detector, class_names=class_names, grid=grid, **kwargs)
