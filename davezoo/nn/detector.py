"""The shape that every detector of the zoo has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from davezoo.errors import InputError
from davezoo.structures import Batch, Predictions


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

    Attributes:
        fixed_length: whether every batch must be padded to exactly `max_length` steps.
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
    ) -> None:
        super().__init__()
        if not strides or len(strides) != len(regression_ranges):
            raise InputError(
                f"Expected `regression_ranges` to have one entry a level, got "
                f"{len(regression_ranges)} for {len(strides)} levels; add or remove ranges."
            )
        if num_classes < 1:
            raise InputError(
                f"Expected `num_classes` to be at least 1, got {num_classes}; "
                "check the annotation file."
            )
        self.visual_width = visual_width
        self.audio_width = audio_width
        if max_length < strides[-1] or max_length % strides[-1]:
            raise InputError(
                f"Expected `max_length` to be a multiple of the coarsest stride {strides[-1]}, got "
                f"{max_length}; round it up or use fewer levels."
            )
        self.num_classes = num_classes
        self.max_length = max_length
        self.strides = list(strides)
        self.regression_ranges = [(float(low), float(high)) for low, high in regression_ranges]

    @abstractmethod
    def forward(self, visual: Tensor, audio: Tensor, mask: Tensor) -> Predictions:
        """Detect events.

        Args:
            visual: visual features, (B, C_v, T), T a multiple of the coarsest stride.
            audio: audio features, (B, C_a, T).
            mask: True on the steps that belong to the video, (B, T), bool.

        Returns:
            Logits, offsets and masks of every level, and named intermediates.

        Raises:
            ValueError: if widths, lengths or the multiple do not fit.
        """

    def auxiliary_losses(self, predictions: Predictions, batch: Batch) -> dict[str, Tensor]:
        """Return the method's own losses by name, already weighted; none by default."""
        del predictions, batch
        return {}

    def check_shapes(self, visual: Tensor, audio: Tensor, mask: Tensor) -> None:
        """Raise a ValueError that names the remedy if the inputs do not fit this detector."""
        for name, x, width in (
            ("visual", visual, self.visual_width),
            ("audio", audio, self.audio_width),
        ):
            if x.ndim != 3 or x.shape[1] != width:
                raise ValueError(
                    f"Expected `{name}` to be (B, {width}, T), got {tuple(x.shape)}; this detector "
                    f"was built for {name} features of width {width}."
                )
        if not visual.shape[::2] == audio.shape[::2] == mask.shape:
            raise ValueError(
                "Expected `visual`, `audio` and `mask` to agree in B and T, got "
                f"{tuple(visual.shape)}, {tuple(audio.shape)} and {tuple(mask.shape)}; "
                "cut or pad them to one length."
            )
        if visual.shape[2] % self.strides[-1]:
            raise ValueError(
                f"Expected T to be a multiple of the coarsest stride {self.strides[-1]}, got "
                f"{visual.shape[2]}; pad the batch (EventDataModule's `length_multiple`)."
            )
        self.check_length(visual.shape[2])

    def check_length(self, num_steps: int) -> None:
        """Refuse videos that a detector of fixed length has no weights for.

        Args:
            num_steps: padded steps of a batch.

        Raises:
            InputError: naming the remedy.
        """
        if self.fixed_length and num_steps != self.max_length:
            remedy = (
                "pad the batch to it (EventDataModule's `padding: fixed`)"
                if num_steps < self.max_length
                else "cut longer videos into pieces, or train with a larger `max_length` or a "
                "variant without a fixed length (CCNet: `length_free`)"
            )
            raise InputError(
                f"Expected T to be exactly {self.max_length}, the length in the weights of "
                f"{type(self).__name__}, got {num_steps}; {remedy}."
            )

    def check_batching(self, length_multiple: int, max_length: int, padding: str) -> None:
        """Refuse the settings of a data module whose batches this detector cannot take.

        Args:
            length_multiple: what the number of steps of a batch is a multiple of.
            max_length: steps that short videos may be padded to.
            padding: `fixed` if they always are.

        Raises:
            InputError: naming the remedy.
        """
        if length_multiple % self.strides[-1]:
            raise InputError(
                f"Expected the data's `length_multiple` to be a multiple of the coarsest stride "
                f"{self.strides[-1]}, got {length_multiple}; set --data.length_multiple to it "
                "and --data.max_length to a multiple of it, or use fewer levels."
            )
        if self.fixed_length and (padding, max_length) != ("fixed", self.max_length):
            raise InputError(
                f"Expected the data's `padding` to be 'fixed' and its `max_length` to be "
                f"{self.max_length}, the length in the weights of {type(self).__name__}, got "
                f"{padding!r} and {max_length}; set --data.padding=fixed and "
                f"--data.max_length={self.max_length}."
            )
