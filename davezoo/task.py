"""The LightningModule that all methods share: targets, losses, score, optimiser."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from davezoo.errors import InputError
from davezoo.evaluation.metric import TemporalMeanAveragePrecision
from davezoo.evaluation.protocols import get_protocol
from davezoo.nn.detector import Detector
from davezoo.ops.fusion import label_proposals
from davezoo.ops.losses import (
    distance_iou_loss,
    generalized_iou_loss,
    sigmoid_focal_loss,
    smooth_l1_offset_loss,
)
from davezoo.ops.padding import padded_length
from davezoo.ops.points import assign, pyramid_points
from davezoo.predictor import EventPredictor, check_classes
from davezoo.schedules import warmup_cosine
from davezoo.structures import Batch, Events, FeatureGrid, Predictions

if TYPE_CHECKING:
    from lightning.pytorch.utilities.types import OptimizerLRScheduler

    from davezoo.annotations.video_scores import VideoScores

_REGRESSION_LOSSES = {
    "diou": distance_iou_loss,
    "giou": generalized_iou_loss,
    "smooth_l1": smooth_l1_offset_loss,
}


_CLASSES_OF_A_VIDEO = 2  # that external scores give to each event, as published


class EventLocalizer(EventPredictor):
    """Train, score and use a detector; abstract, a method brings its network.

    A data module may say more than batches: `ground_truth`, `protocol` and `blocked_videos` for the
    score, `video_lengths`, and `video_scores`, with which a class-agnostic model gives each of its
    events the best classes of the video.

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
        protocol: evaluation protocol of validation and test; that of the data goes before it.
        kwargs: settings of prediction, see `EventPredictor`.
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
        protocol: str = "unav100",
        **kwargs: Any,
    ) -> None:
        if regression_loss not in _REGRESSION_LOSSES:
            raise InputError(
                f"Expected `regression_loss` to be one of {list(_REGRESSION_LOSSES)}, got "
                f"{regression_loss!r}; choose one."
            )
        super().__init__(detector=detector, class_names=class_names, grid=grid, **kwargs)
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup_epochs = warmup_epochs
        self.regression_loss = _REGRESSION_LOSSES[regression_loss]
        self.regression_weight = regression_weight
        self.label_smoothing = label_smoothing
        self.normalizer_momentum = normalizer_momentum
        self.protocol = get_protocol(protocol).name  # a wrong name shows before training
        self.register_buffer("loss_normalizer", torch.tensor(float(initial_normalizer)))
        self.metric: TemporalMeanAveragePrecision | None = None
        self._video_scores: VideoScores | None = None
        self._validates_in_chunks = False
        self._val_is_finite = torch.ones((), dtype=torch.bool)

    def losses(self, predictions: Predictions, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted losses by name; their sum is minimised.

        The classification loss is the focal loss over all valid points and classes, the regression
        loss the mean over the events that each point answers for. Both are divided by the running
        number of positive points (facts of the published code: updated before it is used). The
        method's own losses are left out where there are no features for them, as from chunks.

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
            **(detector.auxiliary_losses(predictions, batch) if predictions.features else {}),
        }

    def _update_normalizer(self, num_positive: Tensor) -> Tensor:
        """Return the running number of positive points, moved on while training."""
        if self.training:
            momentum = self.normalizer_momentum
            current = num_positive.clamp(min=1).to(self.loss_normalizer)
            self.loss_normalizer.mul_(momentum).add_(current, alpha=1 - momentum)
        return self.loss_normalizer.clone()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the summed loss of a batch and log each of its parts."""
        losses = self.losses(self(*batch.inputs), batch)
        total = torch.stack(list(losses.values())).sum()
        size = len(batch.video_ids)
        self.log_dict({f"train/{name}": x.detach() for name, x in losses.items()}, batch_size=size)
        self.log("train/loss", total.detach(), prog_bar=True, batch_size=size)
        return total

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the score and log its loss.

        If one video of the split is read in chunks, `val/loss` holds classification and regression
        alone for all of them, so that it is a mean of one quantity.
        """
        predictions = self(*batch.inputs)
        if self._validates_in_chunks:
            predictions = replace(predictions, features={})
        total = torch.stack(list(self.losses(predictions, batch).values())).sum()
        self._val_is_finite = self._val_is_finite & total.isfinite()
        self.log("val/loss", total, batch_size=len(batch.video_ids), sync_dist=True)
        self._metric.update(batch.video_ids, self._find(predictions, batch))

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Events]:
        """Add a batch to the score; return the events of every video, in seconds."""
        found = self.predict_step(batch, batch_idx)
        self._metric.update(list(found), list(found.values()))
        return {video: events.to("cpu") for video, events in found.items()}

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Events]:
        """Return the events of every video of a batch, in seconds."""
        found = self._find(self(*batch.inputs), batch)
        return dict(zip(batch.video_ids, found, strict=True))

    def _find(self, predictions: Predictions, batch: Batch) -> list[Events]:
        """Return the events of every video, in seconds, with labels of `detected_class_names`."""
        found = self.detect(predictions, batch)
        if self._video_scores is None:
            return found
        classes = [self._video_scores.top(video, _CLASSES_OF_A_VIDEO) for video in batch.video_ids]
        return [
            label_proposals(
                events.segments,
                torch.zeros(0) if events.scores is None else events.scores,
                torch.from_numpy(labels),
                torch.from_numpy(scores),
                self.nms.max_events,
            )
            for events, (labels, scores) in zip(found, classes, strict=True)
        ]

    @property
    def detected_class_names(self) -> list[str]:
        """Name of each label of what `validate`, `test` and `predict` find.

        Those of the model, or those of the external scores that name its events.
        """
        return self.class_names if self._video_scores is None else self._video_scores.class_names

    @property
    def _metric(self) -> TemporalMeanAveragePrecision:
        if self.metric is None:
            raise RuntimeError(
                "Expected a running validation or test, got none; use Trainer.validate or .test."
            )
        return self.metric

    def setup(self, stage: str) -> None:
        """Refuse data that do not fit this model; say how many videos are read in chunks."""
        data: Any = getattr(self.trainer, "datamodule", None)
        self._video_scores = getattr(data, "video_scores", None)
        if hasattr(data, "length_multiple"):
            self.detector.check_batching(data.length_multiple, data.max_length)
        if self.chunk_length is not None and hasattr(data, "video_lengths"):
            lengths = data.video_lengths(stage)
            if num_longer := _count_longer(lengths, self.chunk_length):
                rank_zero_info(
                    f"{num_longer} of {len(lengths)} videos are longer than {self.chunk_length} "
                    f"steps: they are read in chunks that overlap by {self.chunk_overlap} steps."
                )
            longest = max(data.video_lengths("validate").values(), default=0)
            # Padding counts: it, too, makes a batch longer than a chunk (`forward`).
            padded = padded_length(longest, data.max_length, data.length_multiple)
            self._validates_in_chunks = padded > self.chunk_length

    def _start_score(self, stage: Literal["validate", "test"]) -> None:
        """Take the ground truth of the whole split, so that videos never seen count as missed."""
        data: Any = getattr(self.trainer, "datamodule", None)
        if not hasattr(data, "ground_truth"):
            raise InputError(
                f"Expected a data module with `ground_truth(split)`, got {type(data).__name__}; "
                "pass an EventDataModule to the trainer."
            )
        annotations = data.ground_truth(data.split_of(stage))
        check_classes(self.class_names, getattr(data, "class_names", annotations.class_names))
        check_classes(self.detected_class_names, annotations.class_names)
        self.metric = TemporalMeanAveragePrecision(
            annotations,
            getattr(data, "protocol", self.protocol),
            blocked=getattr(data, "blocked_videos", ()),
        ).to(self.device)

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

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let the checkpoint say what it is; keep the random stream of the run."""
        super().on_save_checkpoint(checkpoint)
        # Without it a resumed run would drop other paths than an unbroken one.
        checkpoint["random_state"] = torch.get_rng_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse what `check_origin` refuses; go on with the random stream of the run."""
        self.check_origin(checkpoint)
        resumes = self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING
        if resumes and self.trainer.world_size == 1:  # several processes must not draw the same
            torch.set_rng_state(checkpoint["random_state"].cpu())


def _count_longer(video_lengths: Mapping[str, int], num_steps: int) -> int:
    return sum(length > num_steps for length in video_lengths.values())
