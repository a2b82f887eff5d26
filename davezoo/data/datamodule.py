"""The data of one data set: splits, checks, loaders and batches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_warn
from torch.utils.data import DataLoader

from davezoo.annotations import Annotations, read_annotations
from davezoo.data.collate import collate
from davezoo.data.dataset import EventDataset, Sample
from davezoo.data.features import FeatureError, FeatureLayout, FeatureStore, open_store
from davezoo.data.sampling import EpochSampler
from davezoo.data.simulation import Simulation
from davezoo.data.synthetic import is_simulated, write_simulation
from davezoo.errors import InputError
from davezoo.structures import Batch, FeatureGrid, to_plain

_Settings = TypeVar("_Settings")

SIMULATED = "The features are simulated: this score says nothing about real videos."


class MissingFeaturesError(FeatureError, FileNotFoundError):
    """Videos lack usable files; the message counts them, lists the first and names the remedy."""


class EventDataModule(LightningDataModule):
    """Features and annotations of one data set, as batches.

    Args:
        root: folder of the data set; `~` is expanded.
        annotations: annotation file, relative to `root`; with `.gz` added if only that is there.
        features: folder of the feature files, relative to `root`.
        visual_files: file names with `{video}` for the id, joined along the channels; none, and a
            width of 0, for data without this modality.
        audio_files: the same for the audio.
        visual_width: channels of the joined visual features.
        audio_width: channels of the joined audio features.
        grid: where the feature vectors lie in seconds; the default is UnAV-100's I3D.
        max_length: longest training crop in steps, and what short videos may be padded to.
        length_multiple: batches are padded to a multiple of this, the pyramid's coarsest stride.
        crop_ratio: least and largest part of a video that a training crop keeps; null for none.
        min_kept_fraction: least part of an event that must lie in a crop for the event to stay.
        length_tolerance: most steps by which audio and visual may differ before they are refused;
            up to there both are cut to the shorter. 8 steps of UnAV-100 are 2.6 s, an audio track
            that ends early; a wrong hop shows as a factor of three.
        batch_size: training videos in a batch, on each device.
        eval_batch_size: evaluation videos in a batch; null for `batch_size`.
        num_workers: processes that load.
        train_split: subset to train on.
        val_split: subset to validate on.
        test_split: subset to test on.
        predict_split: subset to predict.
        skip_unreadable: leave out videos whose feature files are absent or damaged instead of
            stopping; they still count as missed in the scores. NaN in a file is only found when it
            is read, and always stops.
        simulation: what to simulate if `root` is empty; null for nothing.
        seed: seed of order and crops in training.
    """

    def __init__(
        self,
        root: str = "data/unav100",
        annotations: str = "annotations/unav100_annotations.json",
        features: str = "av_features",
        visual_files: Sequence[str] = ("{video}_rgb.npy", "{video}_flow.npy"),
        audio_files: Sequence[str] = ("{video}_vggish.npy",),
        visual_width: int = 2048,
        audio_width: int = 128,
        grid: FeatureGrid = FeatureGrid(fps=25, stride=8, window=24),  # noqa: B008 - frozen
        max_length: int = 224,
        length_multiple: int = 32,
        crop_ratio: tuple[float, float] | None = (0.9, 1.0),
        min_kept_fraction: float = 0.5,
        length_tolerance: int = 8,
        batch_size: int = 16,
        eval_batch_size: int | None = None,
        num_workers: int = 4,
        train_split: str = "train",
        val_split: str = "validation",
        test_split: str = "test",
        predict_split: str = "test",
        skip_unreadable: bool = False,
        simulation: Simulation | None = None,
        seed: int = 0,
    ) -> None:
        settings = {k: to_plain(v) for k, v in locals().items() if k not in ("self", "__class__")}
        super().__init__()
        # Loggers get the configuration; equal names in the model's hyperparameters would clash.
        self.save_hyperparameters(settings, logger=False)
        # Checkpoints hold plain types only and hand them back here: both forms are accepted.
        self.grid = _restore(FeatureGrid, grid)
        self.simulation = _restore(Simulation, simulation)
        self.root = Path(root).expanduser()
        self.features = features
        self.annotations = annotations
        self.visual_files, self.audio_files = list(visual_files), list(audio_files)
        self.visual_width, self.audio_width = visual_width, audio_width
        self.max_length, self.length_multiple = max_length, length_multiple
        self.crop_ratio = None if crop_ratio is None else (crop_ratio[0], crop_ratio[1])
        self.min_kept_fraction = min_kept_fraction
        self.length_tolerance = length_tolerance
        self.batch_size = batch_size
        self.eval_batch_size = batch_size if eval_batch_size is None else eval_batch_size
        self.num_workers = num_workers
        self.splits = {
            "fit": train_split,
            "validate": val_split,
            "test": test_split,
            "predict": predict_split,
        }
        self.skip_unreadable = skip_unreadable
        self.seed = seed
        self.skipped_videos: dict[str, list[str]] = {}
        self.datasets: dict[str, EventDataset] = {}
        self._num_steps: dict[str, dict[str, int]] = {}
        self._steps_before = 0  # of the optimiser, in the run that is resumed
        self._check_settings()

    @property
    def class_names(self) -> list[str]:
        """Name of each class index; reads the annotation file the first time."""
        return self._everything.class_names

    def split_of(self, stage: str) -> str:
        """Return the subset that a stage uses.

        Args:
            stage: `fit`, `validate`, `test` or `predict`.

        Raises:
            ValueError: if there is no such stage.
        """
        if stage not in self.splits:
            raise InputError(
                f"Expected `stage` to be one of {list(self.splits)}, got {stage!r}; correct it."
            )
        return self.splits[stage]

    def ground_truth(self, split: str) -> Annotations:
        """Return all videos and events of a subset, also the videos that loading skips.

        Raises:
            AnnotationError: if the annotation file lacks the subset.
        """
        return self._everything.split(split)

    def video_lengths(self, stage: str) -> dict[str, int]:
        """Return the steps of every video that a stage evaluates.

        In `fit` these are the videos to validate, and those to test if they are set up already.
        """
        name = str(getattr(stage, "value", stage))
        stages = ["validate", "test"] if name == "fit" else [name]
        lengths = [self._num_steps.get(key, {}) for key in stages]
        return {video: steps for of_stage in lengths for video, steps in of_stage.items()}

    def notes(self, stage: str) -> list[str]:
        """Return what must stand beside every score of a stage: where its data fall short."""
        split = self.split_of(stage)
        skipped = self.skipped_videos.get(split, [])
        notes = [f"{len(skipped)} videos of {split} were skipped and count as missed."]
        repairs = self.ground_truth(split).repairs.items()
        oddities = [f"The annotations hold {count} {oddity}." for oddity, count in repairs if count]
        return [SIMULATED] * is_simulated(self.root) + notes * bool(skipped) + oddities

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Move a batch without waiting for it; Lightning would wait for anything but a tensor."""
        return batch.to(device, non_blocking=True)

    def prepare_data(self) -> None:
        """Simulate data if asked to; Lightning calls this on one process."""
        self._simulate_if_asked()

    def setup(self, stage: str | None = None) -> None:
        """Build the data sets of a stage (None: all) and check that the feature files are there.

        Raises:
            MissingFeaturesError: if feature files are absent, damaged or of the wrong shape and
                `skip_unreadable` is off.
            AnnotationError: if the annotation file is damaged or lacks the split.
        """
        if stage is None:
            stages = list(self.splits)
        else:  # Lightning hands in an enumeration, a subclass of str whose str() differs
            name = str(getattr(stage, "value", stage))
            stages = ["fit", "validate"] if name == "fit" else [name]
        store = open_store(self.root / self.features)
        for name in stages:
            if name not in self.datasets:
                self.datasets[name] = self._make_dataset(name, store)

    def train_dataloader(self) -> DataLoader[Sample]:
        """Return shuffled, randomly cropped training batches of `batch_size` videos.

        Raises:
            ValueError: if a device gets fewer videos than a batch holds.
        """
        dataset = self.datasets["fit"]
        world_size = self.trainer.world_size if self.trainer is not None else 1
        rank = self.trainer.global_rank if self.trainer is not None else 0
        if len(dataset) // world_size < self.batch_size:
            raise InputError(
                f"Expected `batch_size` to be at most the number of training videos a device, got "
                f"{self.batch_size} for {len(dataset)} videos on {world_size} device(s); lower "
                "`batch_size`."
            )
        lengths = [self._num_steps["fit"][video] for video in dataset.video_ids]
        position = None if self.trainer is None else self._position
        sampler = EpochSampler(
            lengths, world_size, rank, self.seed, self.batch_size, position=position
        )
        return self._loader(dataset, self.batch_size, sampler=sampler, drop_last=True)

    def val_dataloader(self) -> DataLoader[Sample]:
        """Return validation batches in the order of the annotation file."""
        return self._eval_loader("validate")

    def test_dataloader(self) -> DataLoader[Sample]:
        """Return test batches in the order of the annotation file."""
        return self._eval_loader("test")

    def predict_dataloader(self) -> DataLoader[Sample]:
        """Return batches to predict in the order of the annotation file."""
        return self._eval_loader("predict")

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the data: how far training has come."""
        return {"steps": 0 if self.trainer is None else self.trainer.global_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint; the trainer itself learns its steps too late."""
        self._steps_before = int(state_dict["steps"])

    def _position(self) -> tuple[int, int]:
        """Return the epoch and how many of its videos each device has seen.

        It follows from the optimiser's steps. Lightning calls `set_epoch` only after the workers of
        a resumed run have drawn their first batches, and starts an interrupted epoch's loader anew.
        """
        trainer: Any = self.trainer
        batches = len(self.datasets["fit"]) // trainer.world_size // self.batch_size
        limit = trainer.limit_train_batches  # a number of batches, or a float part of them
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
        accumulated = trainer.accumulate_grad_batches
        steps_done = max(trainer.global_step, self._steps_before)
        epoch, step = divmod(steps_done, math.ceil(batches / accumulated))
        return epoch, step * accumulated * self.batch_size

    @cached_property
    def _everything(self) -> Annotations:
        """All subsets of the annotation file."""
        self._simulate_if_asked()
        path = self.root / self.annotations
        zipped = path.with_name(path.name + ".gz")
        return read_annotations(zipped if zipped.is_file() and not path.is_file() else path)

    def _simulate_if_asked(self) -> None:
        """Write simulated data to an empty folder, or finish what was begun there."""
        if self.simulation is None:
            return
        empty = not self.root.exists() or not any(self.root.iterdir())
        if empty or is_simulated(self.root):
            write_simulation(self.root, self.simulation)

    @property
    def _layout(self) -> FeatureLayout:
        """What the feature files are called and hold."""
        return FeatureLayout(
            folder=self.root / self.features,
            visual_files=self.visual_files,
            audio_files=self.audio_files,
            visual_width=self.visual_width,
            audio_width=self.audio_width,
            grid=self.grid,
            length_tolerance=self.length_tolerance,
        )

    def _make_dataset(self, stage: str, store: FeatureStore) -> EventDataset:
        """Build the data set of one stage without the videos whose files cannot be used."""
        split = self.split_of(stage)
        annotations = self.ground_truth(split)
        faults = self._layout.missing(annotations.videos.index, store.names())
        build = partial(
            EventDataset,
            layout=self._layout,
            training=stage == "fit",
            max_length=self.max_length,
            crop_ratio=self.crop_ratio,
            min_kept_fraction=self.min_kept_fraction,
            seed=self.seed,
            store=store,
        )
        dataset = build(annotations.select(annotations.videos.drop(index=[*faults])))
        heads = dataset.read_heads()
        faults |= {str(video): text for video, text in heads["fault"].items() if text}
        usable = heads[heads["fault"] == ""]
        self._num_steps[stage] = dict(zip(usable.index, usable["steps"], strict=True))
        if len(usable) < len(heads):
            dataset = build(annotations.select(annotations.videos.drop(index=[*faults])))
        self.skipped_videos[split] = list(faults)
        if faults:
            self._report_faults(split, len(annotations.videos), faults)
        if any(dataset.left_out.values()):
            counts = ", ".join(f"{count} {what}" for what, count in dataset.left_out.items())
            rank_zero_warn(f"Left out of the training split {split!r}: {counts}.")
        if len(dataset) == 0:
            raise MissingFeaturesError(
                f"Expected the split {split!r} in {self.root} to hold videos, got none that can be "
                "used; check `root`, the split's name and the annotation file."
            )
        return dataset

    def _report_faults(self, split: str, num_videos: int, faults: Mapping[str, str]) -> None:
        """Refuse videos that cannot be used, or say that they are skipped."""
        first = "".join(f"\n  {video!r}: {fault}" for video, fault in list(faults.items())[:10])
        message = (
            f"{len(faults)} of {num_videos} videos of the split {split!r} cannot be used from "
            f"{self.root / self.features}; the first:{first}"
        )
        if not self.skip_unreadable:
            raise MissingFeaturesError(
                f"Expected usable features for every video, got: {message}\nDownload or extract "
                "them, correct `root`, `features` or the file patterns, or set `skip_unreadable`."
            )
        rank_zero_warn(f"Skipped: {message}\nThey still count as missed in the scores.")

    def _eval_loader(self, stage: str) -> DataLoader[Sample]:
        # On several devices Lightning inserts its own sampler, which repeats a few videos to give
        # every device the same number; the metric counts each video id once. `predict` repeats
        # none.
        return self._loader(self.datasets[stage], self.eval_batch_size)

    def _loader(self, dataset: EventDataset, batch_size: int, **order: Any) -> DataLoader[Sample]:
        return DataLoader(
            dataset,
            batch_size=batch_size,  # by name: Lightning builds the loader anew to predict
            collate_fn=partial(
                collate,
                max_length=self.max_length,
                length_multiple=self.length_multiple,
            ),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            # Its own generator: starting a loader must not move the random stream of the model.
            generator=torch.Generator().manual_seed(self.seed),
            **order,
        )

    def _check_settings(self) -> None:
        """Refuse settings that cannot work, before any file is read."""
        if self.max_length % self.length_multiple:
            raise InputError(
                f"Expected `max_length` to be a multiple of {self.length_multiple}, got "
                f"{self.max_length}; round it up."
            )
        if self.crop_ratio is not None and not 0 < self.crop_ratio[0] <= self.crop_ratio[1] <= 1:
            raise InputError(
                f"Expected `crop_ratio` to be two increasing numbers in (0, 1], got "
                f"{self.crop_ratio}; correct it."
            )
        files = {"visual": self.visual_files, "audio": self.audio_files}
        widths = {"visual": self.visual_width, "audio": self.audio_width}
        if not any(files.values()):
            raise InputError(
                "Expected `visual_files` or `audio_files` to name files, got none of either; name "
                "those of at least one modality."
            )
        for name, patterns in files.items():
            if bool(patterns) != (widths[name] > 0):
                raise InputError(
                    f"Expected `{name}_width` to be 0 if and only if there are no `{name}_files`, "
                    f"got width {widths[name]} and files {patterns}; correct one of them."
                )
        for pattern in [*self.visual_files, *self.audio_files]:
            if "{video}" not in pattern:
                raise InputError(
                    f"Expected file patterns with {{video}} for the id, got {pattern!r}; correct "
                    "`visual_files` or `audio_files`."
                )


def _restore(kind: type[_Settings], value: Any) -> Any:
    """Build a dataclass from the plain mapping that a checkpoint holds; pass others through."""
    return kind(**value) if isinstance(value, Mapping) else value
