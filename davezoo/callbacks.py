"""Callbacks of the training recipes."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.trainer.states import RunningStage, TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.optim.swa_utils import get_ema_multi_avg_fn

from davezoo.errors import InputError
from davezoo.structures import Events


class EMA(WeightAveraging):
    """Lightning's running average of the weights, for short runs and safe against interruption.

    Validation and the checkpoint's `state_dict` use the average; the trained weights lie beside it
    under `current_model_state`. Added to Lightning's callback: a ramp of the decay, without which
    the average of a short run is little more than its first weights; trained weights are put back
    before a run that is stopped while validating is saved; a checkpoint that is only tested keeps
    the average.

    Args:
        decay: share that the average keeps at every step; the published codes use 0.999.
        ramp_up: after n steps keep at most (1 + n) / (10 + n), as TensorFlow and timm do.
    """

    def __init__(self, decay: float = 0.999, ramp_up: bool = False) -> None:
        if not 0 <= decay < 1:
            raise InputError(
                f"Expected `decay` to be at least 0 and below 1, got {decay}; 0.999 is usual."
            )

        super().__init__(multi_avg_fn=self._average)
        self.decay = decay
        self.ramp_up = ramp_up
        self._kept = decay
        self._swapped = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make the average on the device that the model is about to be moved to."""
        self._device = trainer.strategy.root_device  # else where it is built: on the CPU
        super().setup(trainer, pl_module, stage)
        if stage == "fit" and self._average_model is not None:
            # PyTorch asks for it in every step; on the device that would make the CPU wait.
            self._average_model.n_averaged = self._average_model.n_averaged.cpu()

    def _average(self, averaged: Any, current: Any, num_averaged: Any) -> None:
        """Update the average of many tensors at once."""
        update = get_ema_multi_avg_fn(self._kept)  # type: ignore[no-untyped-call]
        update(averaged, current, num_averaged)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the average after a step."""
        steps = trainer.global_step - 1  # a Python number: asking the device would make it wait
        self._kept = min(self.decay, (1 + steps) / (10 + steps)) if self.ramp_up else self.decay
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the average in place."""
        super().on_validation_epoch_start(trainer, pl_module)
        self._swapped = True

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the trained weights back."""
        super().on_validation_epoch_end(trainer, pl_module)
        self._swapped = False

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Put the trained weights back if the run was stopped while validating."""
        del exception
        if self._swapped:
            self.on_validation_epoch_end(trainer, pl_module)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take up average and trained weights, but only to train on."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)


class SaveOnInterrupt(Callback):
    """Write `last.ckpt` when training is stopped by Ctrl-C, SIGTERM or an error.

    Ctrl-C waits for the end of the training step, as Lightning lets SIGTERM do: in the middle of
    one the random stream and the loss normaliser have moved on and the weights have not, and the
    resumed run would differ from an unbroken one. A second Ctrl-C does not wait.

    Lightning's own `OnExceptionCheckpoint` would remove the file again when the trainer ends.

    Args:
        path: the checkpoint; replaces the one of the last epoch.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._in_step = False
        self._asked_to_stop = False
        self._usual_handler: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take Ctrl-C over, where nobody else has; only the main thread may.

        By now Lightning has noted the handler that it puts back when a run is interrupted.
        """
        usual = signal.getsignal(signal.SIGINT)
        main_thread = threading.current_thread() is threading.main_thread()
        if main_thread and usual is signal.default_int_handler:
            self._usual_handler = usual
            signal.signal(signal.SIGINT, self._on_interrupt)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give Ctrl-C back."""
        if self._usual_handler is not None:
            signal.signal(signal.SIGINT, self._usual_handler)
            self._usual_handler = None

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        if not self._in_step or self._asked_to_stop:
            raise KeyboardInterrupt
        self._asked_to_stop = True

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Let Ctrl-C wait from here."""
        self._in_step = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop now if asked to in this step.

        Raises:
            KeyboardInterrupt: as Ctrl-C itself does.
        """
        self._in_step = False
        if self._asked_to_stop:
            raise KeyboardInterrupt

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Save, if there is anything to save yet.

        A run stopped while validating keeps the checkpoint of the epoch before, where there is one:
        Lightning would go on after that validation, and its score would be lost.
        """
        validating = trainer.state.stage == RunningStage.VALIDATING and self.path.is_file()
        stopped = isinstance(exception, (KeyboardInterrupt, SIGTERMException))
        if trainer.world_size > 1 and not stopped:
            return  # an error of one process alone: the others would never come to save
        if trainer.state.fn == TrainerFn.FITTING and trainer.global_step > 0 and not validating:
            trainer.save_checkpoint(self.path)
        if self.path.is_file():
            rank_zero_info(
                f"Stopped by {type(exception).__name__}; go on with --ckpt_path {self.path}"
            )


class DetectionsCollector(Callback):
    """Keep what `test` or `predict` finds: `detections` holds the events of each video."""

    def __init__(self) -> None:
        self.detections: dict[str, Events] = {}

    def _collect(self, outputs: Any) -> None:
        self.detections.update(outputs)

    def _gather(self, trainer: Trainer) -> None:
        """Take the videos of all processes together; one that two of them saw counts once."""
        if trainer.world_size > 1:
            parts: list[dict[str, Events]] = [{}] * trainer.world_size
            torch.distributed.all_gather_object(parts, self.detections)
            merged = {video: events for part in reversed(parts) for video, events in part.items()}
            self.detections = merged

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the events of a test batch."""
        self._collect(outputs)

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the events of a batch."""
        self._collect(outputs)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather from all processes."""
        self._gather(trainer)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather from all processes."""
        self._gather(trainer)
