"""The LightningModule that all methods share: targets, losses, decoding, score, optimiser."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from lightning import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from davezoo import __version__
from davezoo.arrays import batch_of_arrays
from davezoo.errors import InputError
from davezoo.evaluation.metric import TemporalMeanAveragePrecision
from davezoo.evaluation.protocols import get_protocol
from davezoo.nn.detector import Detector
from davezoo.ops.decoding import decode
from davezoo.ops.losses import (
    distance_iou_loss,
    generalized_iou_loss,
    sigmoid_focal_loss,
    smooth_l1_offset_loss,
)
from davezoo.ops.nms import NmsSettings, suppress
from davezoo.ops.points import assign, pyramid_points
from davezoo.schedules import warmup_cosine
from davezoo.structures import Batch, DetectedEvent, Events, FeatureGrid, Predictions, to_plain

if TYPE_CHECKING:
    import numpy.typing as npt
    from lightning.pytorch.utilities.types import OptimizerLRScheduler

_REGRESSION_LOSSES = {
    "diou": distance_iou_loss,
    "giou": generalized_iou_loss,
    "smooth_l1": smooth_l1_offset_loss,
}


class EventLocalizer(LightningModule, ABC):
    """Train, score and use a detector; abstract, a method brings its network.

    Args:
        detector: the network.
        class_names: name of each class index.
        grid: time grid of the features the network was trained on.
        learning_rate: peak of the learning rate; steps of AdamW.
        weight_decay: decay of convolution and linear weights; biases, norms and gains have none.
        warmup_epochs: epochs of linear warm-up; cosine to 1e-8 afterwards.
        regression_loss: 1-D distance-IoU or generalised-IoU loss, or smooth L1 of the offsets.
        regression_weight: weight of the regression loss against the focal loss.
        label_smoothing: epsilon of smoothed class targets.
        initial_normalizer: first value of the running number of positive points that divides the
            losses; a buffer, so that a resumed run goes on with it.
        normalizer_momentum: share that the running number keeps in each step.
        score_threshold: least score of a candidate.
        max_candidates_per_level: most candidates of each pyramid level.
        min_length: candidates must be longer than this, in grid steps.
        nms: suppression of overlapping candidates.
        protocol: evaluation protocol of validation and test.
    """

    loss_normalizer: Tensor

    @abstractmethod
    def __init__(
        self,
        detector: Detector,
        class_names: list[str],
        grid: FeatureGrid | dict[str, float],
        learning_rate: float = 1e-4,
        weight_decay: float = 1e-4,
        warmup_epochs: float = 5,
        regression_loss: Literal["diou", "giou", "smooth_l1"] = "diou",
        regression_weight: float = 1.0,
        label_smoothing: float = 0.0,
        initial_normalizer: float = 250.0,
        normalizer_momentum: float = 0.9,
        score_threshold: float = 0.001,
        max_candidates_per_level: int = 2000,
        min_length: float = 0.05,
        nms: NmsSettings | dict[str, Any] = NmsSettings(),  # noqa: B008 - frozen
        protocol: str = "unav100",
    ) -> None:
        super().__init__()
        if regression_loss not in _REGRESSION_LOSSES:
            raise InputError(
                f"Expected `regression_loss` to be one of {list(_REGRESSION_LOSSES)}, got "
                f"{regression_loss!r}; choose one."
            )
        self.save_hyperparameters(ignore=["detector"])
        self.detector = detector
        self.class_names = list(class_names)
        self.grid = grid if isinstance(grid, FeatureGrid) else FeatureGrid(**grid)
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup_epochs = warmup_epochs
        self.regression_loss = _REGRESSION_LOSSES[regression_loss]
        self.regression_weight = regression_weight
        self.label_smoothing = label_smoothing
        self.normalizer_momentum = normalizer_momentum
        self.score_threshold = score_threshold
        self.max_candidates_per_level = max_candidates_per_level
        self.min_length = min_length
        self.nms = nms if isinstance(nms, NmsSettings) else NmsSettings(**nms)
        self.protocol = get_protocol(protocol).name  # a wrong name shows before training
        self.register_buffer("loss_normalizer", torch.tensor(float(initial_normalizer)))
        self.metric: TemporalMeanAveragePrecision | None = None
        self._val_is_finite = torch.ones((), dtype=torch.bool)

    def losses(self, predictions: Predictions, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted losses by name; their sum is minimised.

        The classification loss is the focal loss over all valid points and classes, the regression
        loss the mean over the events that each point answers for. Both are divided by the running
        number of positive points (facts of the published code: updated before it is used).

        Args:
            predictions: output of the detector.
            batch: the videos with their events in grid steps.
        """
        detector = self.detector
        logits = torch.cat(predictions.logits, dim=1)  # (B, P, K)
        offsets = torch.cat(predictions.offsets, dim=1).float()  # (B, P, K, 2)
        mask = torch.cat(predictions.masks, dim=1)  # (B, P)
        lengths = [level.shape[1] for level in predictions.logits]
        points = pyramid_points(
            lengths, detector.strides, detector.regression_ranges, device=logits.device
        )
        targets = assign(points, batch.segments, batch.labels, detector.num_classes)
        positive = targets.positive & mask.unsqueeze(-1)  # (B, P, N)
        normalizer = self._update_normalizer(positive.any(-1).sum())

        smoothing = self.label_smoothing
        classes = targets.classes * (1 - smoothing) + smoothing / (detector.num_classes + 1)
        focal = sigmoid_focal_loss(logits, classes).sum(-1) * mask

        labels = batch.labels.clamp(min=0)[:, None, :, None].expand(*positive.shape, 2)
        at_events = offsets.gather(2, labels)  # (B, P, N, 2)
        distances = torch.where(positive.unsqueeze(-1), targets.distances, 1.0)
        regression = torch.where(positive, self.regression_loss(at_events, distances), 0.0)
        return {
            "loss_cls": focal.sum() / normalizer,
            "loss_reg": self.regression_weight * regression.sum() / normalizer,
            **detector.auxiliary_losses(predictions, batch),
        }

    def _update_normalizer(self, num_positive: Tensor) -> Tensor:
        """Return the running number of positive points, moved on while training."""
        if self.training:
            momentum = self.normalizer_momentum
            current = num_positive.clamp(min=1).to(self.loss_normalizer)
            self.loss_normalizer.mul_(momentum).add_(current, alpha=1 - momentum)
        return self.loss_normalizer.clone()

    def forward(
        self, visual: Tensor, audio: Tensor, mask: Tensor, audio_mask: Tensor | None = None
    ) -> Predictions:
        """Run the detector; see `Detector.forward`."""
        predictions: Predictions = self.detector(visual, audio, mask, audio_mask)
        return predictions

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
        min_score: float = 0.0,
        length_tolerance: int = 8,
    ) -> list[DetectedEvent]:
        """Find the events of one video from its features, laid out as on disk.

        Args:
            visual: visual features, (T, C_v); None where `modalities` leaves them out.
            audio: audio features, (T, C_a), of the same grid; likewise.
            duration: seconds of the video; by default the end of the last feature window.
            grid: time grid of these features, if it is not the one the model was trained on.
            min_score: leave out events below this score.
            length_tolerance: most steps by which the two may differ; the longer is cut.

        Returns:
            The events, best first.

        Raises:
            InputError: if the arrays cannot be used; see `batch_of_arrays`.
        """
        detector = self.detector
        batch = batch_of_arrays(
            {"visual": visual, "audio": audio},
            detector.widths,
            detector.streams,
            detector.max_length,
            detector.strides[-1],
            grid or self.grid,
            duration,
            length_tolerance,
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

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the summed loss of a batch and log each of its parts."""
        losses = self.losses(self(*batch.inputs), batch)
        total = torch.stack(list(losses.values())).sum()
        size = len(batch.video_ids)
        self.log_dict({f"train/{name}": x.detach() for name, x in losses.items()}, batch_size=size)
        self.log("train/loss", total.detach(), prog_bar=True, batch_size=size)
        return total

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the score and log its loss."""
        predictions = self(*batch.inputs)
        total = torch.stack(list(self.losses(predictions, batch).values())).sum()
        self._val_is_finite = self._val_is_finite & total.isfinite()
        self.log("val/loss", total, batch_size=len(batch.video_ids), sync_dist=True)
        self._metric.update(batch.video_ids, self.detect(predictions, batch))

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Events]:
        """Add a batch to the score; return the events of every video, in seconds."""
        found = self.predict_step(batch, batch_idx)
        self._metric.update(list(found), list(found.values()))
        return {video: events.to("cpu") for video, events in found.items()}

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Events]:
        """Return the events of every video of a batch, in seconds."""
        found = self.detect(self(*batch.inputs), batch)
        return dict(zip(batch.video_ids, found, strict=True))

    @property
    def _metric(self) -> TemporalMeanAveragePrecision:
        if self.metric is None:
            raise RuntimeError(
                "Expected a running validation or test, got none; use Trainer.validate or .test."
            )
        return self.metric

    def setup(self, stage: str) -> None:
        """Refuse data whose batches or longest video to evaluate this detector cannot take."""
        data: Any = getattr(self.trainer, "datamodule", None)
        if hasattr(data, "length_multiple"):
            self.detector.check_batching(data.length_multiple, data.max_length)
        if hasattr(data, "longest_video"):
            video, num_steps = data.longest_video(stage)
            self.detector.check_length(f"the steps of video {video!r}", num_steps)

    def _start_score(self, stage: Literal["validate", "test"]) -> None:
        """Take the ground truth of the whole split, so that videos never seen count as missed."""
        data: Any = getattr(self.trainer, "datamodule", None)
        if not hasattr(data, "ground_truth"):
            raise InputError(
                f"Expected a data module with `ground_truth(split)`, got {type(data).__name__}; "
                "pass an EventDataModule to the trainer."
            )
        annotations = data.ground_truth(data.split_of(stage))
        if annotations.class_names != self.class_names:
            raise InputError(_class_mismatch(self.class_names, annotations.class_names))
        self.metric = TemporalMeanAveragePrecision(annotations, self.protocol).to(self.device)

    def on_validation_epoch_start(self) -> None:
        """Make an empty metric for the validation split."""
        self._val_is_finite = torch.ones((), dtype=torch.bool, device=self.device)
        self._start_score("validate")

    def on_validation_epoch_end(self) -> None:
        """Log the score of the validation split.

        Raises:
            InputError: if the loss is no longer a number; a diverged run does not come back.
        """
        self._log_score("val")
        if not self._val_is_finite:
            raise InputError(
                "Expected a finite validation loss, got NaN or infinity: training has diverged; "
                "lower `learning_rate` or raise the precision."
            )

    def on_test_epoch_start(self) -> None:
        """Make an empty metric for the test split."""
        self._start_score("test")

    def on_test_epoch_end(self) -> None:
        """Log the score of the test split; `metric.result()` keeps the details."""
        self._log_score("test")

    def _log_score(self, prefix: str) -> None:
        # Every rank holds the gathered score already; the mean of equal numbers says so to loggers.
        scores = self._metric.compute()
        self.log(f"{prefix}/avg_map", scores.pop("avg_map"), prog_bar=True, sync_dist=True)
        self.log_dict({f"{prefix}/{name}": x for name, x in scores.items()}, sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW with linear warm-up and cosine decay, stepped after every batch."""
        parameters = list(self.detector.parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        # Lightning cannot clip the gradients of a fused optimiser under mixed precision.
        fused = str(self.trainer.precision).startswith("32")
        optimizer = torch.optim.AdamW(groups, lr=self.learning_rate, fused=fused)
        num_steps = int(self.trainer.estimated_stepping_batches)
        self.trainer.fit_loop.setup_data()  # with `max_steps` alone nothing has counted the batches
        epoch_steps = self.trainer.num_training_batches / self.trainer.accumulate_grad_batches
        scheduler = warmup_cosine(optimizer, round(self.warmup_epochs * epoch_steps), num_steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

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
        # Without it a resumed run would drop other paths than an unbroken one.
        checkpoint["random_state"] = torch.get_rng_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse what `check_origin` refuses; go on with the random stream of the run."""
        self.check_origin(checkpoint)
        resumes = self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING
        if resumes and self.trainer.world_size == 1:  # several processes must not draw the same
            torch.set_rng_state(checkpoint["random_state"].cpu())

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
        if origin["settings"]["class_names"] != self.class_names:
            raise InputError(_class_mismatch(origin["settings"]["class_names"], self.class_names))


def _class_mismatch(checkpoint: list[str], data: list[str]) -> str:
    return (
        f"Expected the data to have the classes of the model, got {len(data)} classes "
        f"({', '.join(data[:3])}, ...) for a model of {len(checkpoint)} "
        f"({', '.join(checkpoint[:3])}, ...); use the annotation file it was trained on."
    )
