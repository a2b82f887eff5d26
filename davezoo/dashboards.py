"""Dashboards: what a run shows while it trains, on W&B, TensorBoard or as files.

`configs/logger/wandb.yaml` adds both callbacks to a recipe. Numbers go to all loggers. Pictures and
tables are written to the folder of the run and handed to the loggers that show such things.
"""

from __future__ import annotations

import glob
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
import yaml
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn

from davezoo.errors import InputError
from davezoo.evaluation.average_precision import EventArrays, precision_at_recalls
from davezoo.evaluation.metric import TemporalMeanAveragePrecision
from davezoo.evaluation.plots import precision_recall
from davezoo.evaluation.predictions import PredictionTable
from davezoo.evaluation.run_results import RunResult
from davezoo.methods.loco import PerceptionPyramid
from davezoo.nn.contrast import TokenLosses
from davezoo.nn.correspondence import CorrespondenceCorrection
from davezoo.nn.detector import Detector
from davezoo.nn.windows import WindowAttention
from davezoo.runs import draw_timelines
from davezoo.structures import Batch

_RECALLS = np.linspace(0.0, 1.0, 101)


class LearningMonitor(Callback):
    """Log what training does beside its losses, at every `log_every_n_steps`.

    - `train/grad_norm`: norm of all gradients before they are clipped;
    - LoCo: `train/sigma` (steps) and `train/tau` of its correspondence, and
      `train/window_size_visual_0`, ...: mean size of the windows of a modality and level, in steps
      of that level, over windows that hold a step of a video;
    - DEL: `train/positives_visual`, `train/negatives_visual`, ...: steps that the contrast within
      videos chose, a video.

    Any network made of these layers is logged. Nothing here makes the CPU wait for the device.
    """

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Log the norm of the gradients."""
        del optimizer
        if _is_logged(trainer, trainer.global_step + 1):
            gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
            pl_module.log("train/grad_norm", nn.utils.get_total_norm(gradients))

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Log what the layers learned and chose in the latest step."""
        detector = pl_module.detector
        if _is_logged(trainer, trainer.global_step) and isinstance(detector, Detector):
            values = {f"train/{name}": x for name, x in learned_values(detector, batch).items()}
            pl_module.log_dict(values, batch_size=len(batch.video_ids))


def learned_values(detector: Detector, batch: Batch) -> dict[str, Tensor]:
    """Return what the layers of a network learned and chose, by the names of `LearningMonitor`.

    Args:
        detector: any network, after a step of training.
        batch: the batch of that step.

    Returns:
        Detached scalars; {} for a network without such layers.
    """
    values: dict[str, Tensor] = {}
    for module in detector.modules():
        if isinstance(module, CorrespondenceCorrection):
            values["tau"] = module.log_temperature.detach().exp()
            if module.log_sigma is not None:
                values["sigma"] = module.log_sigma.detach().exp()
        elif isinstance(module, PerceptionPyramid):
            for name in module.blocks:
                for level, stride in enumerate(detector.strides):
                    attention = module.block(name, level).attention
                    if isinstance(attention, WindowAttention) and attention.windows is not None:
                        mask = batch.mask[:, ::stride]
                        size = _mean_window_size(attention, attention.windows.sizes, mask)
                        values[f"window_size_{name}_{level}"] = size
        elif isinstance(module, TokenLosses):
            values |= module.chosen
    return values


def _mean_window_size(attention: WindowAttention, sizes: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of window sizes (B, H, N) over the windows that hold a step of the video."""
    num_steps = sizes.shape[2] * attention.window_size
    steps = F.pad(mask, (0, max(0, num_steps - mask.shape[1])))[:, :num_steps]
    present = torch.unflatten(steps, 1, (-1, attention.window_size)).any(2)
    weights = present.unsqueeze(1).expand_as(sizes).to(sizes)
    mean: Tensor = (weights * sizes).sum() / weights.sum().clamp(min=1)
    return mean


class Dashboard(Callback):
    """Show the score of every epoch, and every few epochs what it is made of.

    After each validation `best/avg_map`, `best/map_50`, ... and `best/epoch` are logged, those of
    the best epoch so far, the first among equals: the one of `best.ckpt`. Every `every_n_epochs`
    epochs `dashboard/epoch_0005/` of the run folder gets the table of classes, curves of precision
    over recall, and some videos over time, always the same ones. On W&B all scores have the epoch
    as their axis.

    Args:
        every_n_epochs: epochs from one set of tables and pictures to the next, at least; the first
            validation has one.
        num_videos: how many videos of the validation split are drawn.
        log_artifacts: hand the checkpoint and the detections of a test to W&B; else only scores,
            pictures and the result of the test leave the machine.
    """

    def __init__(
        self, every_n_epochs: int = 5, num_videos: int = 4, log_artifacts: bool = False
    ) -> None:
        if every_n_epochs < 1 or num_videos < 0:
            raise InputError(
                "Expected `every_n_epochs` to be at least 1 and `num_videos` at least 0, got "
                f"{every_n_epochs} and {num_videos}; the defaults are 5 and 4."
            )
        self.every_n_epochs = every_n_epochs
        self.num_videos = num_videos
        self.log_artifacts = log_artifacts
        self._best: dict[str, float] = {}
        self._next_epoch = 0  # from which on tables and pictures are due
        self._loggers: list[Logger] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Keep the loggers: a test after training has a trainer of its own."""
        del pl_module, stage
        self._loggers = trainer.loggers

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand the merged configuration to W&B, where there is one: settings of all classes."""
        del pl_module
        path = Path(trainer.default_root_dir) / "config.yaml"
        for experiment in _wandb_runs(trainer):
            if path.is_file():
                merged = yaml.safe_load(path.read_text(encoding="utf-8"))
                experiment.config.update({"config": merged}, allow_val_change=True)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run goes on with: the best epoch, and when pictures are due."""
        return {"best": self._best, "next_epoch": self._next_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the state of an earlier run."""
        self._best = state_dict["best"]
        self._next_epoch = state_dict.get("next_epoch", 0)  # older checkpoints do not say it

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell W&B the axis of each score before it is logged, and whether high or low is good."""
        metric = pl_module.metric
        if not isinstance(metric, TemporalMeanAveragePrecision):
            return
        for experiment in _wandb_runs(trainer):
            experiment.define_metric("epoch")
            for name in metric.score_names:
                experiment.define_metric(f"val/{name}", step_metric="epoch", summary="max")
            for name in [*metric.score_names, "epoch"]:
                experiment.define_metric(f"best/{name}", step_metric="epoch")
            experiment.define_metric("val/loss", step_metric="epoch", summary="min")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the best epoch; now and then tables and pictures."""
        metric = pl_module.metric
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        if not isinstance(metric, TemporalMeanAveragePrecision):
            return
        self._log_best(trainer, metric.score_names)
        if trainer.current_epoch >= self._next_epoch:
            self._next_epoch = trainer.current_epoch + self.every_n_epochs
            # All processes must come by here; one of them draws.
            table, result = metric.detections(), metric.result()
            if trainer.is_global_zero:
                folder = Path(trainer.default_root_dir) / "dashboard"
                folder /= f"epoch_{trainer.current_epoch:04d}"
                classes = class_table(result.tiou_thresholds, result.classes)
                self._show_classes(trainer, classes, folder)
                self._show_curves(trainer, metric, table, folder)
                self._show_videos(trainer, metric, table, folder)

    def _log_best(self, trainer: Trainer, names: Sequence[str]) -> None:
        logged = trainer.callback_metrics
        scores = {name: float(logged[f"val/{name}"]) for name in names}
        if scores["avg_map"] > self._best.get("avg_map", -1.0):
            self._best = scores | {"epoch": float(trainer.current_epoch)}
        best = {f"best/{name}": value for name, value in self._best.items()}
        for logger in trainer.loggers:
            logger.log_metrics(best | {"epoch": trainer.current_epoch}, _step(trainer))

    def _show_classes(self, trainer: Trainer, classes: pd.DataFrame, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        classes.to_csv(folder / "classes.csv", index=False)
        _log_table(trainer, "val/classes", classes)

    def _show_curves(
        self,
        trainer: Trainer,
        metric: TemporalMeanAveragePrecision,
        table: PredictionTable,
        folder: Path,
    ) -> None:
        tious = metric.protocol.tiou_thresholds
        values = precision_at_recalls(
            metric.ground_truth.events, _arrays_of(table), tious, _RECALLS
        )
        columns = {f"tIoU {tiou:g}": row for tiou, row in zip(tious, values, strict=True)}
        curves = pd.DataFrame({"recall": _RECALLS, **columns})
        curves.to_csv(folder / "precision_recall.csv", index=False)
        path = folder / "precision_recall.png"
        precision_recall(_RECALLS, dict(zip(tious, values, strict=True)), path)
        _log_table(trainer, "val/precision_recall_table", curves)
        log_pictures(trainer, {"val/precision_recall": path})

    def _show_videos(
        self,
        trainer: Trainer,
        metric: TemporalMeanAveragePrecision,
        table: PredictionTable,
        folder: Path,
    ) -> None:
        data: Any = getattr(trainer, "datamodule", None)
        annotations = data.ground_truth(data.split_of("validate"))
        places = np.linspace(0, len(table.video_ids) - 1, self.num_videos).round().astype(int)
        chosen = np.unique(places)  # spread over the split, the same in every epoch
        rows = np.isin(table.videos, chosen)
        some = PredictionTable(
            [table.video_ids[place] for place in chosen],
            table.class_names,
            np.searchsorted(chosen, table.videos[rows]),
            table.labels[rows],
            table.segments[rows],
            table.scores[rows],
        )
        paths = draw_timelines(folder, some, annotations, len(chosen))
        # By number: W&B names files of its own after it, and ids come from a file.
        log_pictures(trainer, {f"val/video_{number}": path for number, path in enumerate(paths)})

    def log_test(self, run: RunResult, files: Sequence[Path], checkpoint: Path | None) -> None:
        """Log the result of a test, and with `log_artifacts` what it is about.

        W&B gets `run.json` as a file of the run, where `davezoo leaderboard --wandb` finds it.

        Args:
            run: the result.
            files: what the test wrote: detections, score, report and `run.json`.
            checkpoint: what was tested, if it is known.
        """
        tious = run.result.tiou_thresholds
        names = ["avg_map", *(f"map_{round(100 * tiou)}" for tiou in tious)]
        scores = dict(zip(names, [run.result.avg_map, *run.result.map], strict=True))
        detections, *_, whole = files
        for logger in self._loggers:
            if not isinstance(logger, WandbLogger):
                continue
            import wandb

            experiment = logger.experiment
            experiment.summary.update({f"test/{name}": value for name, value in scores.items()})
            # A copy: W&B's link would break or change where the run is synced later or elsewhere.
            place = Path(experiment.dir).absolute()
            run.write(place / whole.name)
            name, base = (glob.escape(str(path)) for path in (place / whole.name, place))
            experiment.save(name, base_path=base, policy="now")
            classes = class_table(tious, run.result.classes)
            experiment.log({"test/classes": wandb.Table(dataframe=classes)})
            if self.log_artifacts:
                _log_artifact(experiment, "detections", detections)
                if checkpoint is not None:
                    _log_artifact(experiment, "model", checkpoint)


def class_table(tious: Sequence[float], classes: Sequence[Any]) -> pd.DataFrame:
    """Return the average precision of each class in percent, lowest mean first.

    Args:
        tious: T thresholds.
        classes: a `ClassResult` for each class, with T values.
    """
    values = 100 * np.array([entry.average_precision for entry in classes]).reshape(-1, len(tious))
    table = pd.DataFrame(values, columns=[f"AP@{tiou:g}" for tiou in tious])
    table.insert(0, "class", [entry.label for entry in classes])
    table.insert(1, "events", [entry.num_events for entry in classes])
    table.insert(2, "AP", values.mean(axis=1))
    return table.sort_values("AP", kind="stable", ignore_index=True)


def wandb_error() -> Any:
    """Return the base of W&B's errors, or nothing to catch where W&B is not in use."""
    return sys.modules["wandb"].Error if "wandb" in sys.modules else ()


def _is_logged(trainer: Any, num_steps: int) -> bool:
    """Say whether Lightning logs after so many steps of the optimiser."""
    every = trainer.log_every_n_steps
    return bool(every and num_steps % every == 0)


def _step(trainer: Trainer) -> int:
    """Return the step that Lightning gives the scores of a validation while training."""
    return max(trainer.global_step - 1, 0)


def _arrays_of(table: PredictionTable) -> EventArrays:
    return EventArrays(table.videos, table.labels, table.segments, table.scores)


def _wandb_runs(trainer: Trainer) -> list[Any]:
    """Return the W&B runs of this process; other processes have none."""
    if not trainer.is_global_zero:
        return []
    return [logger.experiment for logger in trainer.loggers if isinstance(logger, WandbLogger)]


def _log_table(trainer: Trainer, name: str, table: pd.DataFrame) -> None:
    """Hand a table to W&B; the other loggers have its file."""
    for experiment in _wandb_runs(trainer):
        import wandb

        place = {"epoch": trainer.current_epoch, "trainer/global_step": _step(trainer)}
        experiment.log({name: wandb.Table(dataframe=table), **place})


def log_pictures(trainer: Trainer, pictures_of: Mapping[str, Path]) -> None:
    """Hand pictures to W&B and TensorBoard; the other loggers have their files.

    Args:
        trainer: whose loggers, epoch and step.
        pictures_of: PNG files by the names under which they are shown.
    """
    for experiment in _wandb_runs(trainer):
        import wandb

        pictures = {
            name: wandb.Image(str(path), caption=path.stem) for name, path in pictures_of.items()
        }
        place = {"epoch": trainer.current_epoch, "trainer/global_step": _step(trainer)}
        experiment.log({**pictures, **place})
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            from matplotlib.image import imread

            for name, path in pictures_of.items():
                pixels = imread(path)[..., :3]
                logger.experiment.add_image(name, pixels, _step(trainer), dataformats="HWC")


def _log_artifact(experiment: Any, kind: str, path: Path) -> None:
    import wandb

    artifact = wandb.Artifact(f"{kind}-{experiment.id}", type=kind)
    artifact.add_file(str(path))
    experiment.log_artifact(artifact)
