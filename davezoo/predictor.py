"""What a trained model does: from features to events in seconds, and what its checkpoint says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from lightning import LightningModule
from torch import Tensor

from davezoo import __version__
from davezoo.arrays import batch_of_arrays
from davezoo.errors import InputError
from davezoo.nn.detector import Detector
from davezoo.ops.chunks import predict_in_chunks
from davezoo.ops.decoding import decode
from davezoo.ops.nms import NmsSettings, suppress
from davezoo.structures import Batch, DetectedEvent, Events, FeatureGrid, Predictions, to_plain

if TYPE_CHECKING:
    import numpy.typing as npt


class EventPredictor(LightningModule, ABC):
    """Use a detector; abstract, `EventLocalizer` adds how it is trained and scored.

    A video of more than `chunk_length` steps is read in overlapping chunks of that length, each
    like a video of its own, so that the memory does not grow with the video; every point is
    answered by the chunk in whose inside it lies deepest. A detector of fixed length reads every
    video longer than its `max_length` so.

    Args:
        detector: the network.
        class_names: name of each class index.
        grid: time grid of the features the network was trained on.
        own_fps: whether `grid` counted the frames of each video's own rate; `predict` must then be
            told the grid of its video.
        audio_grid: time grid of the audio features, which are then resampled onto `grid`; null if
            it is the same.
        resize_to: steps that every video is stretched or squeezed to; null for none.
        chunk_length: longest video, in steps, that is read in one piece outside of training; null
            for any. A multiple of the coarsest stride. Without effect on a detector of fixed
            length.
        chunk_overlap: steps that neighbouring chunks share, a multiple of twice the coarsest
            stride; null for about half a chunk.
        score_threshold: least score of a candidate.
        max_candidates_per_level: most candidates of each pyramid level.
        min_length: candidates must be longer than this, in grid steps.
        nms: suppression of overlapping candidates.
    """

    @abstractmethod
    def __init__(
        self,
        detector: Detector,
        class_names: list[str],
        grid: FeatureGrid | dict[str, float],
        own_fps: bool = False,
        audio_grid: FeatureGrid | dict[str, float] | None = None,
        resize_to: int | None = None,
        chunk_length: int | None = None,
        chunk_overlap: int | None = None,
        score_threshold: float = 0.001,
        max_candidates_per_level: int = 2000,
        min_length: float = 0.05,
        nms: NmsSettings | dict[str, Any] = NmsSettings(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["detector"])
        self.detector = detector
        self.class_names = list(class_names)
        self.grid = FeatureGrid(**grid) if isinstance(grid, dict) else grid
        self.audio_grid = FeatureGrid(**audio_grid) if isinstance(audio_grid, dict) else audio_grid
        self.own_fps = own_fps
        self.resize_to = resize_to
        # Weights of a fixed length take no other chunk.
        self.chunk_length = detector.max_length if detector.fixed_length else chunk_length
        self.chunk_overlap = _overlap(self.chunk_length, chunk_overlap, detector.strides[-1])
        self.score_threshold = score_threshold
        self.max_candidates_per_level = max_candidates_per_level
        self.min_length = min_length
        self.nms = nms if isinstance(nms, NmsSettings) else NmsSettings(**nms)

    def forward(
        self, visual: Tensor, audio: Tensor, mask: Tensor, audio_mask: Tensor | None = None
    ) -> Predictions:
        """Run the detector, outside of training in chunks if a video is longer than one.

        See `Detector.forward`; from chunks there are no `features`.
        """
        length = self.chunk_length
        if self.training or length is None or mask.shape[1] <= length:
            whole: Predictions = self.detector(visual, audio, mask, audio_mask)
            return whole
        return predict_in_chunks(
            self.detector,
            visual,
            audio,
            mask,
            audio_mask,
            strides=self.detector.strides,
            chunk_length=length,
            overlap=self.chunk_overlap,
        )

    def detect(self, predictions: Predictions, batch: Batch) -> list[Events]:
        """Turn predictions into events in seconds, best first, one `Events` a video.

        Suppression works in grid steps; afterwards times are clipped to the video, as published.
        """
        candidates = decode(
            predictions.logits,
            predictions.offsets,
            predictions.masks,
            self.detector.strides,
            score_threshold=self.score_threshold,
            max_candidates_per_level=self.max_candidates_per_level,
            min_length=self.min_length,
        )
        found = suppress(*candidates, self.nms)
        return [
            replace(events, segments=grid.to_seconds(events.segments).clamp(0, duration))
            for events, grid, duration in zip(found, batch.grids, batch.durations, strict=True)
        ]

    @torch.inference_mode()
    def predict(
        self,
        visual: Tensor | npt.NDArray[Any] | None,
        audio: Tensor | npt.NDArray[Any] | None,
        *,
        duration: float | None = None,
        grid: FeatureGrid | None = None,
        audio_grid: FeatureGrid | None = None,
        min_score: float = 0.0,
        length_tolerance: int = 8,
    ) -> list[DetectedEvent]:
        """Find the events of one video from its features, laid out as on disk.

        Args:
            visual: visual features, (T, C_v); None where `modalities` leaves them out.
            audio: audio features, (T_a, C_a); None where `modalities` leaves them out, and for a
                video without sound.
            duration: seconds of the video; by default the end of the last feature window.
            grid: time grid of these features, if it is not the one the model was trained on.
            audio_grid: the same for the audio features, where they are on a grid of their own.
            min_score: leave out events below this score.
            length_tolerance: most steps by which the two may differ; the longer is cut.

        Returns:
            The events, best first.

        Raises:
            InputError: if the arrays cannot be used, see `batch_of_arrays`, or `grid` is missing
                where every video has its own.
        """
        detector = self.detector
        if self.own_fps and grid is None and "visual" in detector.streams:
            raise InputError(
                "Expected `grid` with the frame rate of this video, got None; the model was "
                "trained on features of each video's own rate: FeatureGrid(fps=..., "
                f"stride={self.grid.stride:g}, window={self.grid.window:g})."
            )
        batch = batch_of_arrays(
            {"visual": visual, "audio": audio},
            {name: detector.widths[name] for name in detector.streams},
            grid=grid or self.grid,
            audio_grid=audio_grid or self.audio_grid,
            resize_to=self.resize_to,
            duration=duration,
            length_tolerance=length_tolerance,
            max_length=detector.max_length,
            length_multiple=detector.strides[-1],
        ).to(self.device)
        was_training = self.training
        self.eval()
        found = self.detect(self(*batch.inputs), batch)[0].to("cpu")
        self.train(was_training)
        scores = torch.zeros(0) if found.scores is None else found.scores
        rows = zip(found.segments.tolist(), found.labels.tolist(), scores.tolist(), strict=True)
        return [
            DetectedEvent(start, end, self.class_names[label], score)
            for (start, end), label, score in rows
            if score >= min_score
        ]

    @property
    def settings(self) -> dict[str, Any]:
        """Constructor arguments as plain types: what a checkpoint needs to rebuild this module."""
        return {
            name: to_plain(value)
            for name, value in self.hparams.items()
            if not name.startswith("_") and name != "detector"
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let the checkpoint say what it is."""
        checkpoint["davezoo"] = {
            "version": __version__,
            "method": type(self).__name__,
            "settings": self.settings,
        }
        # Lightning's own copy would hold objects that `weights_only=True` refuses.
        checkpoint["hyper_parameters"] = self.settings

    def check_origin(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the checkpoint of another method or of other classes.

        Raises:
            InputError: naming both and the remedy.
        """
        origin = checkpoint.get("davezoo")
        if not isinstance(origin, Mapping):
            raise InputError(
                "Expected a davezoo checkpoint, got one without its entry `davezoo`; turn "
                "published checkpoints into ours with `davezoo convert`."
            )
        if origin["method"] != type(self).__name__:
            raise InputError(
                f"Expected a checkpoint of {type(self).__name__}, got one of {origin['method']}; "
                "leave out --config and --model (a checkpoint knows its method)."
            )
        check_classes(origin["settings"]["class_names"], self.class_names)


def check_classes(model: list[str], data: list[str]) -> None:
    """Refuse data whose classes are not those of a model.

    Raises:
        InputError: naming the first of both.
    """
    if model != data:
        raise InputError(
            f"Expected the data to have the classes of the model, got {len(data)} classes "
            f"({', '.join(data[:3])}, ...) for a model of {len(model)} "
            f"({', '.join(model[:3])}, ...); use the annotation file it was trained on."
        )


def _overlap(chunk_length: int | None, overlap: int | None, multiple: int) -> int:
    """Return the overlap of chunks in steps; refuse chunks that no pyramid can be cut into."""
    if chunk_length is None:
        return 0
    if chunk_length < multiple or chunk_length % multiple:
        raise InputError(
            f"Expected `chunk_length` to be a multiple of the coarsest stride {multiple}, got "
            f"{chunk_length}; round it up."
        )
    if overlap is None:
        return chunk_length // (4 * multiple) * 2 * multiple
    if overlap % (2 * multiple) or not 0 <= overlap < chunk_length:
        raise InputError(
            f"Expected `chunk_overlap` to be a multiple of {2 * multiple}, twice the coarsest "
            f"stride, and less than the {chunk_length} steps of a chunk, got {overlap}; choose "
            f"{chunk_length // (4 * multiple) * 2 * multiple}, or null for it."
        )
    return overlap
