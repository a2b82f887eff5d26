"""The data of one data set: splits, checks, loaders and batches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_warn
from torch.utils.data import DataLoader

from davezoo.annotations import Annotations
from davezoo.annotations.video_scores import VideoScores
from davezoo.data.checks import MissingFeaturesError
from davezoo.data.dataset import EventDataset, Sample
from davezoo.data.loaders import Order, longest_first, make_loader, videos_seen
from davezoo.data.manifest import Manifest, SplitManifest
from davezoo.data.sampling import EpochSampler
from davezoo.data.settings import check_settings, feature_layout, restore
from davezoo.data.simulation import Simulation
from davezoo.data.sources import Sources
from davezoo.data.subsets import Subsets
from davezoo.data.synthetic import is_simulated, write_simulation
from davezoo.errors import InputError
from davezoo.structures import Batch, FeatureGrid, to_plain

SIMULATED = "The features are simulated: they say nothing about real videos."


class EventDataModule(LightningDataModule):
    """Features and annotations of one data set, as batches.

    Files are named relative to `root`; where only a file with `.gz` at the end is there, it is it.

    Args:
        root: folder of the data set; `~` is expanded.
        annotations: annotation file, JSON or CSV, or one file a subset, {"training": a.csv, ...};
            null to predict every video whose feature files are there.
        classes: file with the names of the classes in order; null to find them in the annotations.
        video_info: table of durations and frame rates, or several; null for none.
        labels: what EPIC-Kitchens-100's events are labelled with: `verb`, `noun` or `action`.
        features: folder of the feature files, loose or packed.
        visual_files: file names with `{video}` for the id, joined along the channels; none, and a
            width of 0, for data without this modality. `{video}.npz:rgb` is an array in an archive.
        audio_files: the same for the audio.
        visual_width: channels of the joined visual features.
        audio_width: channels of the joined audio features.
        modalities: which features to read.
        grid: where the feature vectors lie in seconds; the default is UnAV-100's I3D.
        audio_grid: where the audio vectors lie, if elsewhere: they are interpolated at the seconds
            of the visual ones. VGGish by itself is {fps: 100, stride: 96, window: 96}.
        own_fps: `grid` counts frames of each video's own rate, as the annotations or `video_info`
            tell it, not of `grid.fps`.
        resize_to: steps that every video is stretched or squeezed to; null to leave its own.
        max_length: longest training crop in steps, and what short videos may be padded to.
        length_multiple: batches are padded to a multiple of this, the pyramid's coarsest stride.
        crop_ratio: least and largest part of a video that a training crop keeps; null for none.
        min_kept_fraction: least part of an event that must lie in a crop for the event to stay.
        length_tolerance: most steps by which audio and visual may differ before they are refused;
            up to there both are cut to the shorter. 8 steps of UnAV-100 are 2.6 s, an audio track
            that ends early; a wrong hop shows as a factor of three. A factor of more than 1.1
            between features, grid and annotated durations that all videos share is refused always.
        batch_size: training videos in a batch, on each device.
        eval_batch_size: evaluation videos in a batch; null for `batch_size`. With more than one,
            longer videos come first, so that equally long ones are padded together.
        bucket_ratio: how many times longer than its shortest video a training batch's longest may
            be; null to mix all lengths.
        num_workers: processes that load.
        train_split: subset to train on.
        val_split: subset to validate on.
        test_split: subset to test on.
        predict_split: subset to predict.
        allow_missing_audio: use videos without any audio file, as videos without sound.
        skip_unreadable: leave out videos whose feature files are absent or damaged instead of
            stopping; they still count as missed in the scores. NaN in a file is only found when it
            is read, and always stops.
        protocol: name of the rules by which detections are scored; see `davezoo evaluate`.
        blocked: file with the videos that the protocol leaves out, a JSON list of ids.
        class_agnostic: learn events without their classes.
        video_scores: file with scores of the classes in each video, made elsewhere, to name what a
            class-agnostic model finds; null to score it without classes.
        simulation: what to simulate if `root` is empty; null for nothing.
        seed: seed of order and crops in training.
    """

    def __init__(
        self,
        root: str = "data/unav100",
        annotations: str | dict[str, str] | None = "annotations/unav100_annotations.json",
        classes: str | list[str] | None = None,
        video_info: str | list[str] | dict[str, str] | None = None,
        labels: Literal["verb", "noun", "action"] | None = None,
        features: str = "av_features",
        visual_files: Sequence[str] = ("{video}_rgb.npy", "{video}_flow.npy"),
        audio_files: Sequence[str] = ("{video}_vggish.npy",),
        visual_width: int = 2048,
        audio_width: int = 128,
        modalities: Literal["both", "audio", "visual"] = "both",
        grid: FeatureGrid = FeatureGrid(fps=25, stride=8, window=24),  # noqa: B008 - frozen
        audio_grid: FeatureGrid | None = None,
        own_fps: bool = False,
        resize_to: int | None = None,
        max_length: int = 224,
        length_multiple: int = 32,
        crop_ratio: tuple[float, float] | None = (0.9, 1.0),
        min_kept_fraction: float = 0.5,
        length_tolerance: int = 8,
        batch_size: int = 16,
        eval_batch_size: int | None = None,
        bucket_ratio: float | None = None,
        num_workers: int = 4,
        train_split: str = "train",
        val_split: str = "validation",
        test_split: str = "test",
        predict_split: str = "test",
        allow_missing_audio: bool = False,
        skip_unreadable: bool = False,
        protocol: str = "unav100",
        blocked: str | None = None,
        class_agnostic: bool = False,
        video_scores: str | None = None,
        simulation: Simulation | None = None,
        seed: int = 0,
    ) -> None:
        settings = {k: to_plain(v) for k, v in locals().items() if k not in ("self", "__class__")}
        super().__init__()
        # Loggers get the configuration; equal names in the model's hyperparameters would clash.
        self.save_hyperparameters(settings, logger=False)
        check_settings(settings)
        # Checkpoints hold plain types only and hand them back here: both forms are accepted.
        self.simulation = restore(Simulation, simulation)
        self.root = Path(root).expanduser()
        self.sources = Sources(
            self.root, annotations, classes, video_info, labels, blocked, video_scores
        )
        self.annotations, self.features = annotations, features
        self.layout = feature_layout(self.root / features, settings)
        self.own_fps, self.resize_to = own_fps, resize_to
        self.max_length, self.length_multiple = max_length, length_multiple
        self.crop_ratio = None if crop_ratio is None else (crop_ratio[0], crop_ratio[1])
        self.min_kept_fraction, self.bucket_ratio = min_kept_fraction, bucket_ratio
        self.batch_size, self.num_workers = batch_size, num_workers
        self.eval_batch_size = batch_size if eval_batch_size is None else eval_batch_size
        self.protocol, self.class_agnostic = protocol, class_agnostic
        stages = ("fit", "validate", "test", "predict")
        splits = (train_split, val_split, test_split, predict_split)
        self.splits = dict(zip(stages, splits, strict=True))
        self.skip_unreadable, self.seed = skip_unreadable, seed
        self.datasets: dict[str, EventDataset] = {}
        self._steps_before = 0  # of the optimiser, in the run that is resumed

    @property
    def class_names(self) -> list[str]:
        """Name of each class that a model learns; reads the annotations the first time."""
        return self.subsets.class_names

    @property
    def visual_width(self) -> int:
        """Channels of the visual features; 0 if they are not read."""
        return self.layout.width("visual")

    @property
    def audio_width(self) -> int:
        """Channels of the audio features; 0 if they are not read."""
        return self.layout.width("audio")

    @property
    def modalities(self) -> Literal["both", "audio", "visual"]:
        """Which features are read; never `both` where the data have one modality."""
        if self.visual_width and self.audio_width:
            return "both"
        return "visual" if self.visual_width else "audio"

    @property
    def grid(self) -> FeatureGrid:
        """Where the steps of a video lie, if it has no frame rate of its own."""
        return self.layout.grid_of(self.layout.leading, self.layout.grid.fps)

    @property
    def audio_grid(self) -> FeatureGrid | None:
        """Where the audio vectors lie if elsewhere than the visual ones."""
        return self.layout.audio_grid if self.modalities == "both" else None

    @property
    def detected_class_names(self) -> list[str]:
        """Names of the labels in detections and ground truth; `event` where nobody names them."""
        return self.subsets.detected_class_names

    @property
    def video_scores(self) -> VideoScores | None:
        """Scores of the classes in each video that name what a class-agnostic model finds."""
        return self.subsets.video_scores

    @property
    def blocked_videos(self) -> list[str]:
        """Videos that the protocol leaves out."""
        return self.subsets.blocked_videos

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

        Labels are those of `detected_class_names`; without annotations all videos that have files.
        """
        return self.subsets.ground_truth(split)

    def video_lengths(self, stage: str) -> dict[str, int]:
        """Return the steps of every video that a stage evaluates.

        In `fit` these are the videos to validate, and those to test if they are set up already.
        """
        name = _name_of(stage)
        stages = ["validate", "test"] if name == "fit" else [name]
        lengths: dict[str, int] = {}
        for key in (key for key in stages if key in self.datasets):
            lengths |= self.subsets.look_at(self.splits[key]).steps
        return lengths

    def manifest(self, stage: str) -> Manifest:
        """Return what is there and what is missing for a stage; for `fit` in all that is set up."""
        name = _name_of(stage)
        used: dict[str, list[str]] = {}
        for key in self.datasets:
            if name in ("fit", key):
                used.setdefault(self.splits[key].lower(), []).append(key)
        splits = [self._describe(self.splits[stages[0]], stages) for stages in used.values()]
        return Manifest(str(self.layout.folder), splits, self.subsets.stray_files())

    def notes(self, stage: str) -> list[str]:
        """Return what must stand beside every score of a stage: where its data fall short."""
        described = self._describe(self.split_of(stage), [stage])
        return [SIMULATED] * is_simulated(self.root) + described.notes()

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
            GridError: if features and annotations contradict the time grid, in all videos alike.
            MissingFeaturesError: if feature files are absent, damaged or of the wrong shape and
                `skip_unreadable` is off.
            AnnotationError: if the annotation file is damaged or lacks the split.
        """
        if stage is None:
            stages = list(self.splits)
        else:
            stages = ["fit", "validate"] if _name_of(stage) == "fit" else [_name_of(stage)]
        for name in stages:
            if name not in self.datasets:
                self.datasets[name] = self._make_dataset(name)
                if name != "fit" and self.subsets.video_scores is not None:
                    self.subsets.check_video_scores(self.splits[name])

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
        position = None if self.trainer is None else self._position
        lengths = [min(length, self.max_length) for length in self._lengths("fit")]
        sampler = EpochSampler(
            lengths, world_size, rank, self.seed, self.batch_size, self.bucket_ratio, position
        )
        return self._loader("fit", self.batch_size, sampler, drop_last=True)

    def val_dataloader(self) -> DataLoader[Sample]:
        """Return validation batches; longer videos come first if there are several in one."""
        return self._eval_loader("validate")

    def test_dataloader(self) -> DataLoader[Sample]:
        """Return test batches; longer videos come first if there are several in one."""
        return self._eval_loader("test")

    def predict_dataloader(self) -> DataLoader[Sample]:
        """Return batches to predict; longer videos come first if there are several in one."""
        return self._eval_loader("predict")

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the data: how far training has come."""
        return {"steps": 0 if self.trainer is None else self.trainer.global_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint; the trainer itself learns its steps too late."""
        self._steps_before = int(state_dict["steps"])

    def _position(self) -> tuple[int, int]:
        """Return the epoch and how many of its videos each device has seen."""
        count = len(self.datasets["fit"])
        return videos_seen(self.trainer, count, self.batch_size, self._steps_before)

    @cached_property
    def subsets(self) -> Subsets:
        """Annotations and features, a subset at a time; simulated before if asked to."""
        self._simulate_if_asked()
        return Subsets(self.sources, self.layout, self.class_agnostic, self.skip_unreadable)

    def _simulate_if_asked(self) -> None:
        """Write simulated data to an empty folder, or finish what was begun there."""
        if self.simulation is None:
            return
        empty = not self.root.exists() or not any(self.root.iterdir())
        if empty or is_simulated(self.root):
            write_simulation(self.root, self.simulation)

    def _make_dataset(self, stage: str) -> EventDataset:
        """Build the data set of one stage without the videos whose files cannot be used."""
        if stage != "predict":
            self.sources.check_annotations()
        split = self.split_of(stage)
        dataset = EventDataset(
            self.subsets.look_at(split).usable,
            self.layout,
            training=stage == "fit",
            max_length=self.max_length,
            crop_ratio=self.crop_ratio,
            min_kept_fraction=self.min_kept_fraction,
            seed=self.seed,
            store=self.subsets.store,
        )
        if any(dataset.left_out.values()):
            counts = ", ".join(f"{count} {what}" for what, count in dataset.left_out.items())
            rank_zero_warn(f"Left out of the training split {split!r}: {counts}.")
        if len(dataset) == 0:
            raise MissingFeaturesError(
                f"Expected the split {split!r} in {self.root} to hold videos, got none that can be "
                "used; check `root`, the split's name and the annotation file."
            )
        return dataset

    def _describe(self, split: str, stages: Sequence[str]) -> SplitManifest:
        left_out = self.datasets["fit"].left_out if "fit" in stages else {}
        return self.subsets.describe(split, stages, left_out)

    def _eval_loader(self, stage: str) -> DataLoader[Sample]:
        # On several devices Lightning deals the videos out in this order and repeats a few to give
        # each the same number; the metric counts each video id once. `predict` repeats none.
        order: Sequence[int] = range(len(self.datasets[stage]))
        if self.eval_batch_size > 1:
            order = longest_first(self._lengths(stage), self.max_length, self.length_multiple)
        return self._loader(stage, self.eval_batch_size, order)

    def _loader(
        self, stage: str, batch_size: int, order: Order, drop_last: bool = False
    ) -> DataLoader[Sample]:
        padding = self.max_length, self.length_multiple
        return make_loader(
            self.datasets[stage], batch_size, *padding, self.num_workers, order, drop_last
        )

    def _lengths(self, stage: str) -> list[int]:
        """Return the steps of each video of a stage."""
        steps = self.subsets.look_at(self.splits[stage]).steps
        return [steps[video] for video in self.datasets[stage].video_ids]


def _name_of(stage: str) -> str:
    """Return the name of a stage; Lightning has an enumeration, a str whose str() differs."""
    return str(getattr(stage, "value", stage))
