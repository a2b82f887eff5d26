"""The detector that UnAV introduced and later methods build on: encoder, pyramid, neck, heads.

Reference:
    Geng et al., "Dense-Localizing Audio-Visual Events in Untrimmed Videos" (UnAV), CVPR 2023,
    section 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from davezoo.errors import InputError
from davezoo.nn.correspondence import Correspondence, CorrespondenceCorrection
from davezoo.nn.detector import Detector, Modalities
from davezoo.nn.encoder import TwoStreamEncoder
from davezoo.nn.heads import DetectionHeads
from davezoo.nn.pyramid import CrossModalPyramid
from davezoo.structures import Batch, Predictions

REGRESSION_RANGES = ((0, 4), (4, 8), (8, 16), (16, 32), (32, 64), (64, 10000))


class TwoStreamDetector(Detector):
    """Two encoded streams meet in a pyramid; what is fused goes through a neck to the heads.

    Makes the encoder; a subclass sets `pyramid`, `neck` (None for nothing) and `heads`, the last
    two for `fused_width` channels.

    Args:
        visual_width: width of the visual features.
        audio_width: width of the audio features.
        num_classes: classes.
        max_length: steps of the position table.
        width: channels of each stream.
        num_heads: attention heads.
        num_unimodal_blocks: self-attention blocks of each stream.
        regression_ranges: range of distances of each level, in grid steps; their number is the
            number of levels, each coarser by two.
        drop_path: rate of stochastic depth while training.
        attention_window: steps around each step that the encoder sees; None for all.
        modalities: which of the two to read; a stream without another one asks itself.
        correspondence: target of the loss that draws the encoded modalities together (LoCo's LCC);
            `none`, or one modality, builds nothing.
        correspondence_weight: weight of that loss.
    """

    pyramid: CrossModalPyramid
    neck: nn.Module | None
    heads: DetectionHeads

    def __init__(
        self,
        visual_width: int,
        audio_width: int,
        num_classes: int,
        *,
        max_length: int,
        width: int,
        num_heads: int,
        num_unimodal_blocks: int,
        regression_ranges: Sequence[tuple[float, float]],
        drop_path: float,
        attention_window: int | None = None,
        modalities: Modalities,
        correspondence: Correspondence = "none",
        correspondence_weight: float = 0.1,
    ) -> None:
        if not correspondence_weight >= 0:
            raise InputError(
                f"Expected `correspondence_weight` to be at least 0, got {correspondence_weight}; "
                "a negative weight drives the modalities apart, choose correspondence=none for no "
                "such loss."
            )
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
        self.fused_width = width * len(self.streams)
        self.encoder = TwoStreamEncoder(
            {name: self.widths[name] for name in self.streams},
            width,
            num_heads=num_heads,
            num_blocks=num_unimodal_blocks,
            max_length=max_length,
            length_multiple=strides[-1],
            drop_path=drop_path,
            window=attention_window,
        )
        self.correspondence: CorrespondenceCorrection | None = None
        if correspondence != "none" and len(self.streams) == 2:
            self.correspondence = CorrespondenceCorrection(width, correspondence)
        self.correspondence_weight = correspondence_weight

    def forward(
        self, visual: Tensor, audio: Tensor, mask: Tensor, audio_mask: Tensor | None = None
    ) -> Predictions:
        """Detect events; see `Detector.forward`.

        `features` of the result holds `encoded`, each modality (B, T, C) by name, `mask`, the steps
        of the video (B, T), and `stream_masks`, those where each modality has content; `levels`, a
        list of (B, T_l, C) over levels by modality; and `fused`, (B, P, `fused_width`), what the
        heads read.
        """
        streams, masks = self.prepare(visual, audio, mask, audio_mask)
        encoded = self.encoder(streams, masks)
        levels, level_masks = self.pyramid(encoded, masks)
        lengths = [level.shape[1] for level in level_masks]
        fused = torch.cat([torch.cat(of_stream, dim=1) for of_stream in levels.values()], dim=-1)
        point_mask = torch.cat(level_masks, dim=1)
        if self.neck is not None:
            fused = self.neck(fused, point_mask, lengths)
        logits, offsets = self.heads(fused, point_mask, lengths)
        features = {
            "encoded": encoded,
            "mask": masks.video,
            "stream_masks": {name: masks.of(name) for name in encoded},
            "levels": levels,
            "fused": fused,
        }
        return Predictions(logits, offsets, level_masks, features)

    def auxiliary_losses(self, predictions: Predictions, batch: Batch) -> dict[str, Tensor]:
        """Return `loss_correspondence` if it is built; see `CorrespondenceCorrection`.

        Steps without sound correspond to nothing and are left out.
        It is part of `val/loss`, too. Each step is told from all others of the batch, so its value
        grows with their number: compare `val/loss` only between runs of the same
        `eval_batch_size`.
        """
        del batch
        if self.correspondence is None:
            return {}
        features = predictions.features
        both = features["stream_masks"]["visual"] & features["stream_masks"]["audio"]
        loss = self.correspondence(features["encoded"], both)
        return {"loss_correspondence": self.correspondence_weight * loss}
