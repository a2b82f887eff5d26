"""DEL: streams aligned before the network, contrasted by their events, aggregated by paths.

Ahmadian, Shirian, Guerin, Gilbert, "DEL: Dense Event Localization for Multi-modal Audio-Visual
Understanding", 2025. Masked adaptive attention aligns the raw features step by step (AAC); scores
and classes of single steps choose what is contrasted within videos, and their summaries are
contrasted between videos (SCL, `nn.contrast`); a path aggregation lets each stream guide the
pyramid of the other (PAN). The file is `del_`, because `del` is a word of Python.

The network is that of the published code for UnAV-100, which made what was measured. Slips of its
training are repaired by default; the recipe `del_code.yaml` has them back, and `del_paper.yaml` is
the side of the paper where the two differ. One thing differs in all of them: the published code
decays the gains of the norms in the alignment, which have no decay here, as everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from davezoo.nn.alignment import AdaptiveAlignment, trunc_normal_linear
from davezoo.nn.contrast import ContrastRule, TokenLosses
from davezoo.nn.detector import Detector, Modalities
from davezoo.nn.encoder import TwoStreamEncoder
from davezoo.nn.heads import DetectionHeads
from davezoo.nn.path_aggregation import PathAggregation, StridedPyramid
from davezoo.nn.two_stream import REGRESSION_RANGES
from davezoo.structures import UNAV100_GRID, Batch, FeatureGrid, Predictions
from davezoo.task import EventLocalizer


class DELDetector(Detector):
    """The network of DEL.

    Position tables, max-sigmoid gates and adaptive pooling bake `max_length` into the weights:
    shorter batches are padded to it, and a longer video is refused (`DEL` reads it in chunks). For
    data with long videos there is the variant `length_free`, whose results depend neither on a
    length nor on padding: gates over the steps of the guide, a guide that asks the pooled pyramid,
    a sinusoidal position code, and true masks everywhere.

    Args:
        visual_width: width of the visual features (2048: I3D rgb and flow).
        audio_width: width of the audio features (128: VGGish).
        num_classes: classes.
        max_length: steps of every batch; with `length_free` of the position table alone.
        width: channels of each stream.
        head_width: channels of the heads.
        num_heads: heads of the unimodal attention; 8 in the alignment, 4 in the aggregation.
        num_unimodal_blocks: self-attention blocks of each stream.
        regression_ranges: range of distances of each level, in grid steps; their number is the
            number of levels, each coarser by two.
        alignment: align the streams by adaptive attention (AAC).
        share_layers: one set of weights for both layers of the alignment, as published.
        path_aggregation: aggregate the pyramid (PAN); else the heads read its strided levels.
        length_free: neither weights of a fixed length nor results that depend on padding.
        inter_weight: weight of the contrastive loss between videos.
        intra_weight: weight of the contrastive loss within a video.
        score_weight: weight of the loss of the scores of steps; 0 freezes their heads.
        category_weight: weight of the loss of the classes of steps, likewise; published 0.
        objective: rule by which steps are chosen and contrasted, that of the code or of the paper.
        published_token_grid: mark the steps of events on the published, shrunken time axis.
        attention_window: steps around each step that attention sees, odd, at every level of its own
            (ActionFormer: 19 on THUMOS14, 9 on EPIC-Kitchens-100); null for all steps. The
            alignment and the guides of the aggregation see all steps even then.
        drop_path: rate of stochastic depth while training.
        prior: probability that the classifier starts from.
        absent_classes: class indices without any annotation.
        modalities: which of the two to read; a stream without another one guides itself, and there
            are no contrastive losses.
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
        alignment: bool = True,
        share_layers: bool = True,
        path_aggregation: bool = True,
        length_free: bool = False,
        inter_weight: float = 0.001,
        intra_weight: float = 1.0,
        score_weight: float = 0.001,
        category_weight: float = 0.001,
        objective: ContrastRule = "published",
        published_token_grid: bool = False,
        attention_window: int | None = None,
        drop_path: float = 0.1,
        prior: float = 0.01,
        absent_classes: Sequence[int] = (),
        modalities: Modalities = "both",
    ) -> None:
        strides = [2**level for level in range(len(regression_ranges))]
        super().__init__(
            visual_width,
            audio_width,
            num_classes,
            max_length,
            strides,
            regression_ranges,
            modalities,
        )
        self.fixed_length = not length_free
        self._build_tokens(width, alignment, share_layers, length_free)
        self.token_losses = TokenLosses(
            self.streams,
            num_classes,
            inter_weight=inter_weight,
            intra_weight=intra_weight,
            score_weight=score_weight,
            category_weight=category_weight,
            objective=objective,
            published_token_grid=published_token_grid,
        )
        # What no loss trains is frozen: training in several processes refuses it otherwise.
        self.scores.requires_grad_("score" in self.token_losses.weights)
        self.categories.requires_grad_("category" in self.token_losses.weights)
        self._build_encoder(width, num_heads, num_unimodal_blocks, drop_path, attention_window)
        steps = None if length_free else max_length
        self.pyramid = StridedPyramid(width, len(strides), masked=length_free)
        sizes = (width, len(strides), steps)
        self.neck = PathAggregation(*sizes, attention_window) if path_aggregation else None
        self.heads = DetectionHeads(
            width * len(self.streams),
            head_width,
            num_classes,
            len(strides),
            prior=prior,
            absent_classes=absent_classes,
        )

    def _build_tokens(self, width: int, attend: bool, share_layers: bool, free: bool) -> None:
        """Make the alignment and the heads on its tokens, which only the losses read."""
        self.alignment = AdaptiveAlignment(
            {name: self.widths[name] for name in self.streams},
            width,
            max_length=self.max_length,
            length_multiple=self.strides[-1],
            share_layers=share_layers,
            attend=attend,
            length_free=free,
        )
        self.scores = nn.ModuleDict({name: nn.Linear(width, 1) for name in self.streams})
        self.categories = nn.ModuleDict(
            {name: trunc_normal_linear(width, self.num_classes) for name in self.streams}
        )

    def _build_encoder(
        self, width: int, num_heads: int, num_blocks: int, drop_path: float, window: int | None
    ) -> None:
        self.encoder = TwoStreamEncoder(
            dict.fromkeys(self.streams, width),
            width,
            num_heads=num_heads,
            num_blocks=num_blocks,
            max_length=self.max_length,
            length_multiple=self.strides[-1],
            drop_path=drop_path,
            activation=F.gelu,
            window=window,
        )

    def forward(
        self, visual: Tensor, audio: Tensor, mask: Tensor, audio_mask: Tensor | None = None
    ) -> Predictions:
        """Detect events; see `Detector.forward`.

        `features` of the result holds by name of the stream: `tokens`, the aligned features,
        (B, T, C), their `scores`, (B, T), and `categories`, (B, T, K), both logits; `summary`,
        (B, C); `encoded`, (B, T, C), `levels`, a list of (B, T_l, C), and `stream_masks`, the steps
        with content, (B, T). `mask`, (B, T), are the steps of the video; `fused`, (B, P, M C), is
        what the heads read.
        """
        streams, masks = self.prepare(visual, audio, mask, audio_mask)
        tokens, summary = self.alignment(streams, masks)
        encoded = self.encoder(tokens, masks)
        by_level = [masks.strided(stride) for stride in self.strides]
        # One set of weights serves both streams: they are the rows of one batch, and the guide of
        # each is the other half of it (or the stream itself, if it is alone).
        rows = torch.cat(list(encoded.values()))  # (M B, T, C)
        row_masks = [torch.cat([level.of(name) for name in encoded]) for level in by_level]
        levels = self.pyramid(rows, row_masks)
        if self.neck is not None:
            guide, guide_mask = (x.roll(len(mask), 0) for x in (rows, row_masks[0]))
            levels = self.neck(levels, row_masks, guide, guide_mask)
        fused = torch.cat(torch.cat(levels, dim=1).chunk(len(encoded)), dim=-1)
        level_masks = [level.video for level in by_level]
        lengths = [level.shape[1] for level in level_masks]
        logits, offsets = self.heads(fused, torch.cat(level_masks, dim=1), lengths)
        halves = [level.chunk(len(encoded)) for level in levels]
        features = {
            "mask": masks.video,
            "stream_masks": {name: masks.of(name) for name in encoded},
            "tokens": tokens,
            "scores": {name: self.scores[name](x).squeeze(-1) for name, x in tokens.items()},
            "categories": {name: self.categories[name](x) for name, x in tokens.items()},
            "summary": summary,
            "encoded": encoded,
            "levels": dict(zip(encoded, map(list, zip(*halves, strict=True)), strict=True)),
            "fused": fused,
        }
        return Predictions(logits, offsets, level_masks, features)

    def auxiliary_losses(self, predictions: Predictions, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted losses of steps and of whole videos; see `TokenLosses`."""
        losses: dict[str, Tensor] = self.token_losses(
            predictions.features, batch.segments, batch.labels
        )
        return losses


class DEL(EventLocalizer):
    """DEL with its training recipe.

    Batches are padded to `max_length`, and longer videos are read in overlapping chunks of that
    length; `DELDetector` says why, and `length_free` is the way out.

    Args:
        class_names: name of each class index; taken from the data on the command line.
        visual_width: width of the visual features; taken from the data on the command line.
        audio_width: width of the audio features; taken from the data on the command line.
        max_length: steps of every batch; taken from the data on the command line.
        grid: time grid of the features; taken from the data on the command line.
        width: channels of each stream.
        head_width: channels of the heads.
        num_heads: heads of the unimodal attention; 8 in the alignment, 4 in the aggregation.
        num_unimodal_blocks: self-attention blocks of each stream.
        regression_ranges: range of distances to start and end that each level answers for, in grid
            steps; their number is the number of levels.
        alignment: align the streams by adaptive attention (AAC).
        share_layers: one set of weights for both layers of the alignment, as published.
        path_aggregation: aggregate the pyramid (PAN); else the heads read its strided levels.
        length_free: neither weights of a fixed length nor results that depend on padding.
        inter_weight: weight of the contrastive loss between videos.
        intra_weight: weight of the contrastive loss within a video.
        score_weight: weight of the loss of the scores of steps; 0 freezes their heads.
        category_weight: weight of the loss of the classes of steps, likewise; published 0.
        objective: rule by which steps are chosen and contrasted, that of the code or of the paper.
        published_token_grid: mark the steps of events on the published, shrunken time axis.
        attention_window: steps around each step that attention sees, odd, at every level of its own
            (ActionFormer: 19 on THUMOS14, 9 on EPIC-Kitchens-100); null for all steps. The
            alignment and the guides of the aggregation see all steps even then.
        drop_path: rate of stochastic depth while training.
        prior: probability that the classifier starts from.
        absent_classes: class indices without any annotation.
        modalities: which of the two to read; a stream without another one guides itself, and there
            are no contrastive losses.
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
        alignment: bool = True,
        share_layers: bool = True,
        path_aggregation: bool = True,
        length_free: bool = False,
        inter_weight: float = 0.001,
        intra_weight: float = 1.0,
        score_weight: float = 0.001,
        category_weight: float = 0.001,
        objective: ContrastRule = "published",
        published_token_grid: bool = False,
        attention_window: int | None = None,
        drop_path: float = 0.1,
        prior: float = 0.01,
        absent_classes: list[int] = [],  # noqa: B006 - never changed
        modalities: Modalities = "both",
        **kwargs: Any,
    ) -> None:
        detector = DELDetector(
            visual_width,
            audio_width,
            len(class_names),
            max_length=max_length,
            width=width,
            head_width=head_width,
            num_heads=num_heads,
            num_unimodal_blocks=num_unimodal_blocks,
            regression_ranges=regression_ranges,
            alignment=alignment,
            share_layers=share_layers,
            path_aggregation=path_aggregation,
            length_free=length_free,
            inter_weight=inter_weight,
            intra_weight=intra_weight,
            score_weight=score_weight,
            category_weight=category_weight,
            objective=objective,
            published_token_grid=published_token_grid,
            attention_window=attention_window,
            drop_path=drop_path,
            prior=prior,
            absent_classes=absent_classes,
            modalities=modalities,
        )
        super().__init__(detector=detector, class_names=class_names, grid=grid, **kwargs)
