"""The shape that every detector of the zoo has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from davezoo.errors import InputError
from davezoo.nn.masks import StreamMasks
from davezoo.structures import Batch, Predictions

Modalities = Literal["both", "audio", "visual"]
_STREAMS = {"both": ["visual", "audio"], "audio": ["audio"], "visual": ["visual"]}


class Detector(nn.Module, ABC):
    """A network from feature sequences to class logits and offsets on a pyramid of points.

    Plain PyTorch, usable without a trainer. A method subclasses it, builds its parts and writes
    `forward`; a method with losses of its own overrides `auxiliary_losses`.

    Args:
        visual_width: width of the visual features.
        audio_width: width of the audio features.
        num_classes: classes.
        max_length: steps that batches are padded to at most; longer videos are a special case.
        strides: grid steps from one point to the next, one a level.
        regression_ranges: least and greatest of the larger distance to start or end, in grid
            steps, that each level answers for.
        modalities: which of the two to read; with one of them the other is never looked at.

    Attributes:
        streams: names of the modalities that are read, `visual` before `audio`.
        fixed_length: whether `max_length` is part of the weights: shorter batches are padded to it,
            longer ones refused.
    """

    fixed_length: bool = False

    def __init__(
        self,
        visual_width: int,
        audio_width: int,
        num_classes: int,
        max_length: int,
        strides: Sequence[int],
        regression_ranges: Sequence[tuple[float, float]],
        modalities: Modalities = "both",
    ) -> None:
        super().__init__()
        if modalities not in _STREAMS:
            raise InputError(
                f"Expected `modalities` to be one of {list(_STREAMS)}, got {modalities!r}; "
                "choose one."
            )
        if not strides or len(strides) != len(regression_ranges):
            raise InputError(
                f"Expected `regression_ranges` to have one entry a level, got "
                f"{len(regression_ranges)} for {len(strides)} levels; add or remove ranges."
            )
        for low, high in regression_ranges:
            if not 0 <= low < high:
                raise InputError(
                    "Expected each of `regression_ranges` to be two increasing distances of at "
                    f"least 0, got ({low}, {high}); give the smaller one first."
                )
        if num_classes < 1:
            raise InputError(
                f"Expected `num_classes` to be at least 1, got {num_classes}; "
                "check the annotation file."
            )
        self.streams = _STREAMS[modalities]
        self.visual_width = visual_width
        self.audio_width = audio_width
        absent = [name for name in self.streams if self.widths[name] < 1]
        if absent:
            raise InputError(
                f"Expected {absent[0]} features for modalities={modalities!r}, got data with "
                f"`{absent[0]}_width` 0; name their files (`{absent[0]}_files`) or choose other "
                "`modalities`."
            )
        if max_length < strides[-1] or max_length % strides[-1]:
            raise InputError(
                f"Expected `max_length` to be a multiple of the coarsest stride {strides[-1]}, got "
                f"{max_length}; round it up or use fewer levels."
            )
        self.num_classes = num_classes
        self.max_length = max_length
        self.strides = list(strides)
        self.regression_ranges = [(float(low), float(high)) for low, high in regression_ranges]

    @property
    def widths(self) -> dict[str, int]:
        """Width of the features of each modality, read or not."""
        return {"visual": self.visual_width, "audio": self.audio_width}

    @abstractmethod
    def forward(
        self, visual: Tensor, audio: Tensor, mask: Tensor, audio_mask: Tensor | None = None
    ) -> Predictions:
        """Detect events.

        Args:
            visual: visual features, (B, C_v, T), T a multiple of the coarsest stride.
            audio: audio features, (B, C_a, T).
            mask: True on the steps that belong to the video, (B, T), bool.
            audio_mask: True on the steps that have sound, (B, T), bool, nowhere in a video without
                an audio track; None where every video has sound on all its steps.

        Returns:
            Logits, offsets and masks of every level, and named intermediates.

        Raises:
            InputError: if widths, lengths or the multiple do not fit.
        """

    def auxiliary_losses(self, predictions: Predictions, batch: Batch) -> dict[str, Tensor]:
        """Return the method's own losses by name, already weighted; none by default."""
        del predictions, batch
        return {}

    def prepare(
        self, visual: Tensor, audio: Tensor, mask: Tensor, audio_mask: Tensor | None = None
    ) -> tuple[dict[str, Tensor], StreamMasks]:
        """Check the input of `forward` and lay it out as the modules take it.

        Args:
            visual: visual features, (B, C_v, T).
            audio: audio features, (B, C_a, T).
            mask: True on the steps that belong to the video, (B, T).
            audio_mask: True on the steps that have sound, (B, T), or None for all of `mask`.

        Returns:
            The modalities that are read by name, (B, T, C) each, audio zero where it has no sound,
            and their masks (B, T), padded to `max_length` if that is fixed.

        Raises:
            InputError: naming the remedy, if the input does not fit this detector.
        """
        given = {"visual": visual, "audio": audio}
        streams = {name: given[name] for name in self.streams}
        self._check_shapes(streams, mask, audio_mask)
        streams = {name: x.transpose(1, 2) for name, x in streams.items()}
        partial = {}
        if audio_mask is not None and "audio" in streams:
            partial["audio"] = mask & audio_mask
            # Not multiplied: whatever stands where there is no sound, NaN too, must not get in.
            streams["audio"] = streams["audio"].masked_fill(~partial["audio"].unsqueeze(-1), 0)
        missing = self.max_length - mask.shape[1] if self.fixed_length else 0
        if missing:
            streams = {name: F.pad(x, (0, 0, 0, missing)) for name, x in streams.items()}
            mask = F.pad(mask, (0, missing))
            partial = {name: F.pad(x, (0, missing)) for name, x in partial.items()}
        return streams, StreamMasks(mask, partial)

    def _check_shapes(
        self, streams: dict[str, Tensor], mask: Tensor, audio_mask: Tensor | None
    ) -> None:
        """Refuse features (B, C, T) and masks (B, T) that do not fit this detector."""
        for name, x in streams.items():
            if x.ndim != 3 or x.shape[1] != self.widths[name]:
                raise InputError(
                    f"Expected `{name}` to be (B, {self.widths[name]}, T), got {tuple(x.shape)}; "
                    f"this detector was built for {name} features of that width."
                )
            if x.shape[::2] != mask.shape:
                raise InputError(
                    f"Expected `{name}` and `mask` to agree in B and T, got {tuple(x.shape)} and "
                    f"{tuple(mask.shape)}; cut or pad them to one length."
                )
        if audio_mask is not None and audio_mask.shape != mask.shape:
            raise InputError(
                f"Expected `audio_mask` to have the shape of `mask`, got {tuple(audio_mask.shape)} "
                f"and {tuple(mask.shape)}; leave it out where every video has sound."
            )
        num_steps = mask.shape[1]
        if num_steps % self.strides[-1]:
            raise InputError(
                f"Expected T to be a multiple of the coarsest stride {self.strides[-1]}, got "
                f"{num_steps}; pad the batch (EventDataModule's `length_multiple`)."
            )
        self.check_length("T", num_steps)

    def check_length(self, name: str, num_steps: int) -> None:
        """Refuse what is too long for weights of a fixed length.

        Args:
            name: what is so long, for the message.
            num_steps: how long it is.

        Raises:
            InputError: naming the remedy.
        """
        if self.fixed_length and num_steps > self.max_length:
            raise InputError(
                f"Expected {name} to be at most {self.max_length}, the length in the weights of "
                f"{type(self).__name__}, got {num_steps}; cut longer videos into pieces, or "
                "train with a larger `max_length` or with `length_free`."
            )

    def check_batching(self, length_multiple: int, max_length: int) -> None:
        """Refuse the settings of a data module whose batches this detector cannot take.

        Args:
            length_multiple: what the number of steps of a batch is a multiple of.
            max_length: steps of the longest training crop.

        Raises:
            InputError: naming the remedy.
        """
        if length_multiple % self.strides[-1]:
            raise InputError(
                f"Expected the data's `length_multiple` to be a multiple of the coarsest stride "
                f"{self.strides[-1]}, got {length_multiple}; set --data.length_multiple to it "
                "and --data.max_length to a multiple of it, or use fewer levels."
            )
        if self.fixed_length and max_length != self.max_length:
            raise InputError(
                f"Expected the data's `max_length` to be {self.max_length}, the length in the "
                f"weights of {type(self).__name__}, got {max_length}; set "
                f"--data.max_length={self.max_length}."
            )
