"""One video at a time: feature files and annotations become tensors on the feature grid.

The rules of this file (time axis, truncation, training crop) are those of the published UnAV
loader (Geng et al., "Dense-Localizing Audio-Visual Events in Untrimmed Videos", CVPR 2023), so
that a detector sees the very numbers it was published with.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler

from davezoo.errors import InputError
from davezoo.structures import FeatureGrid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from davezoo.annotations import Annotations

_MOST_CROP_TRIALS = 200


class FeatureError(InputError):
    """A feature file cannot be used; the message names file and remedy."""


@dataclass(frozen=True)
class Sample:
    """One video before batching.

    Args:
        visual: visual features, (C_v, T), float32.
        audio: audio features, (C_a, T), float32.
        segments: events in grid steps, (N, 2), float32.
        labels: class index of each event, (N,), int64.
        video_id: the video's id.
        duration: seconds of the whole video.
        grid: where the steps lie in seconds; a training crop starts at step 0 like a whole video.
    """

    visual: Tensor
    audio: Tensor
    segments: Tensor
    labels: Tensor
    video_id: str
    duration: float
    grid: FeatureGrid


class EventDataset(Dataset[Sample]):
    """Videos of one split.

    Args:
        annotations: the videos of the split and their events.
        folder: folder of the feature files.
        visual_files: file names with `{video}` for the id; arrays (T, C) joined along C. None for
            data without this modality; its features have no channels then.
        audio_files: the same for the audio.
        visual_width: channels of the joined visual features.
        audio_width: channels of the joined audio features.
        grid: where the time steps lie in seconds.
        length_tolerance: most steps by which audio and visual may differ; both are cut to the
            shorter one.
        training: leave out what cannot be learnt from (zero-length events, events that start past
            the duration, then videos without events; `left_out` counts them) and crop at random.
        max_length: longest training crop in steps.
        crop_ratio: least and largest part of a video that a training crop keeps; None crops only
            videos longer than `max_length`.
        min_kept_fraction: least part of an event that must lie in a crop for the event to stay.
        seed: seed of the crops.
    """

    def __init__(
        self,
        annotations: Annotations,
        folder: Path,
        visual_files: Sequence[str],
        audio_files: Sequence[str],
        visual_width: int,
        audio_width: int,
        grid: FeatureGrid,
        length_tolerance: int = 8,
        training: bool = False,
        max_length: int = 224,
        crop_ratio: tuple[float, float] | None = (0.9, 1.0),
        min_kept_fraction: float = 0.5,
        seed: int = 0,
    ) -> None:
        videos, events = annotations.videos, annotations.events
        self.left_out: dict[str, int] = {}
        if training:
            durations = videos["duration"].reindex(events["video"]).to_numpy()
            empty = (events["end"] == events["start"]).to_numpy()
            outside = (events["start"].to_numpy() >= durations) & ~empty
            events = events[~(empty | outside)]
            has_events = videos.index.isin(events["video"])
            self.left_out = {
                "zero-length events": int(empty.sum()),
                "events starting past the duration": int(outside.sum()),
                "videos without events": int((~has_events).sum()),
            }
            videos = videos[has_events]
        self.video_ids: list[str] = videos.index.tolist()
        self.durations: list[float] = videos["duration"].tolist()
        self.folder = folder
        self.files = {"visual": list(visual_files), "audio": list(audio_files)}
        self.widths = {"visual": visual_width, "audio": audio_width}
        self.grid = grid
        self.length_tolerance = length_tolerance
        self.training = training
        self.max_length = max_length
        self.crop_ratio = crop_ratio
        self.min_kept_fraction = min_kept_fraction
        self.seed = seed

        owner = videos.index.get_indexer(pd.Index(events["video"]))
        order = np.argsort(owner, kind="stable")
        seconds = torch.tensor(events[["start", "end"]].to_numpy()[order], dtype=torch.float32)
        self._segments = grid.to_grid(seconds)
        self._labels = torch.tensor(events["label"].to_numpy()[order])
        # Events of video i are rows _first_event[i] to _first_event[i + 1].
        self._first_event = np.searchsorted(owner[order], np.arange(len(videos) + 1))

    def __len__(self) -> int:
        """Return the number of videos."""
        return len(self.video_ids)

    def __getitem__(self, index: int | tuple[int, int]) -> Sample:
        """Load one video.

        Args:
            index: index of the video, or (epoch, index) as `EpochSampler` yields it; the epoch
                seeds the training crop.

        Raises:
            FeatureError: if a feature file is damaged or has the wrong shape.
        """
        epoch, index = index if isinstance(index, tuple) else (0, index)
        video = self.video_ids[index]
        parts = {modality: self._open(video, modality) for modality in self.files}
        num_steps = self._common_length(video, parts)
        events = slice(self._first_event[index], self._first_event[index + 1])
        start, length = 0, num_steps
        segments, labels = self._segments[events], self._labels[events]
        if self.training:
            # The crop follows from seed, epoch and video alone, not from the running state of a
            # worker: the same run on other workers or devices, or resumed, crops the same.
            start, length, segments, labels = random_crop(
                num_steps,
                segments,
                labels,
                self.max_length,
                self.crop_ratio,
                self.min_kept_fraction,
                random.Random(f"{self.seed} {epoch} {video}"),  # noqa: S311 - no secret
            )
        duration = self.durations[index]
        if math.isnan(duration):  # then the video ends with its last feature window
            duration = self.grid.end(num_steps)
        return Sample(
            visual=self._read(parts["visual"], start, length, video, "visual"),
            audio=self._read(parts["audio"], start, length, video, "audio"),
            segments=segments,
            labels=labels,
            video_id=video,
            duration=duration,
            grid=self.grid,
        )

    def read_heads(self) -> tuple[dict[str, int], dict[str, str]]:
        """Return the steps of each video, and of each that cannot be loaded what is wrong.

        Reads the heads of the files only: shapes and types, not numbers.
        """
        num_steps, faults = {}, {}
        for video in self.video_ids:
            try:
                parts = {name: self._open(video, name) for name in self.files}
                num_steps[video] = self._common_length(video, parts)
            except FeatureError as error:
                faults[video] = str(error)
        return num_steps, faults

    def paths(self, video: str, modality: str) -> list[Path]:
        """Return the feature files of a video; `modality` is `visual` or `audio`."""
        return [self.folder / name for name in file_names(self.files[modality], video)]

    def _open(self, video: str, modality: str) -> list[NDArray[Any]]:
        """Map the arrays of one modality, each (T, C); nothing is read yet."""
        paths = self.paths(video, modality)
        parts = [_open_array(path) for path in paths]
        width = self.widths[modality]
        names = " + ".join(str(path) for path in paths)
        shapes = " + ".join(str(part.shape) for part in parts)
        if sum(part.shape[1] for part in parts) != width:
            if sum(part.shape[0] for part in parts) == width:
                raise FeatureError(
                    f"Expected `{names}` to be (time, {width}), got {shapes}, which looks "
                    "transposed; save `array.T`."
                )
            raise FeatureError(
                f"Expected `{names}` to be (time, {width}) together, got {shapes}; correct "
                f"`{modality}_width` or `{modality}_files`, or extract the features again."
            )
        if len({len(part) for part in parts}) > 1:
            raise FeatureError(
                f"Expected `{names}` to be equally long, got {shapes}; extract them with the same "
                "window and stride."
            )
        return parts

    def _common_length(self, video: str, parts: Mapping[str, list[NDArray[Any]]]) -> int:
        """Return the number of steps that all modalities have."""
        lengths = [len(arrays[0]) for arrays in parts.values() if arrays]
        if max(lengths) - min(lengths) > self.length_tolerance:
            raise FeatureError(
                f"Expected the features of video {video!r} in {self.folder} to be equally long up "
                f"to {self.length_tolerance} steps, got {lengths[0]} visual and {lengths[1]} audio "
                f"steps; "
                f"extract both with {self.grid.stride / self.grid.fps:.3g} s between vectors, or "
                "raise `length_tolerance`."
            )
        return min(lengths)

    def _read(
        self, parts: list[NDArray[Any]], start: int, length: int, video: str, modality: str
    ) -> Tensor:
        """Read steps of the mapped arrays into one tensor, (C, T), float32."""
        features = np.empty((self.widths[modality], length), dtype=np.float32)
        channel = 0
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite: refused below
            for part in parts:
                features[channel : channel + part.shape[1]] = part[start : start + length].T
                channel += part.shape[1]
        if not np.isfinite(features).all():
            names = " or ".join(str(path) for path in self.paths(video, modality))
            raise FeatureError(
                f"Expected `{names}` to be finite, got NaN or infinity; extract the features of "
                f"video {video!r} again or remove it from the annotation file."
            )
        return torch.from_numpy(features)


class EpochSampler(DistributedSampler[Any]):
    """Shuffle the videos anew each epoch and tell the data set which epoch it is.

    Yields (epoch, index). Workers hold copies of the data set that never hear of a new epoch, but
    every index is sent to them, so the epoch travels with it; persistent workers stay right. Order
    and crops follow from (seed, epoch) alone, so that a resumed run sees what an unbroken one sees.
    Being a `DistributedSampler`, it is not replaced by Lightning on several devices; each device
    gets its own part, and the same number, of the videos.

    Args:
        dataset: the training videos.
        num_replicas: number of devices.
        rank: which of them this one is.
        seed: seed of the order.
        position: asked at the start of each pass for the epoch and for the number of its videos
            that were seen before a run was interrupted; without it `set_epoch` tells the epoch.
    """

    def __init__(
        self,
        dataset: EventDataset,
        num_replicas: int,
        rank: int,
        seed: int,
        position: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        super().__init__(dataset, num_replicas, rank, shuffle=True, seed=seed, drop_last=True)
        self.position = position

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield (epoch, index) of this device's videos."""
        self.epoch, seen = (self.epoch, 0) if self.position is None else self.position()
        order = super().__iter__()
        return islice(((self.epoch, index) for index in order), seen, None)


def random_crop(
    num_steps: int,
    segments: Tensor,
    labels: Tensor,
    max_length: int,
    crop_ratio: tuple[float, float] | None,
    min_kept_fraction: float,
    rng: random.Random,
) -> tuple[int, int, Tensor, Tensor]:
    """Draw a training crop that keeps at least one event.

    A video longer than `max_length` is cut to `max_length` steps, a shorter one to a random part of
    its length. Starts are drawn until a window keeps an event, 200 times at most.

    Args:
        num_steps: length of the video in grid steps.
        segments: events in grid steps, (N, 2).
        labels: class indices, (N,).
        max_length: longest crop in steps.
        crop_ratio: least and largest part of the video to keep, or None for all of it.
        min_kept_fraction: least part of an event that must lie in the window for it to stay.
        rng: where the random numbers come from; the published code draws them in this order.

    Returns:
        First step and length of the crop; the kept events, cut to the window and shifted to it
        (all events as they are where nothing is cropped), and their labels.

    Reference:
        The published UnAV loader, as ActionFormer's (Zhang et al., ECCV 2022).
    """
    if num_steps > max_length:
        length = max_length
    elif crop_ratio is None:
        return 0, num_steps, segments, labels
    else:
        shortest = max(round(crop_ratio[0] * num_steps), 1)
        longest = min(round(crop_ratio[1] * num_steps), num_steps)
        length = rng.randint(shortest, max(shortest, longest))
        if length == num_steps:
            return 0, num_steps, segments, labels
    for _ in range(_MOST_CROP_TRIALS):
        start = rng.randint(0, num_steps - length)
        inside = segments.clamp(start, start + length)
        kept_fraction = (inside[:, 1] - inside[:, 0]) / (segments[:, 1] - segments[:, 0])
        kept = kept_fraction >= min_kept_fraction
        if kept.any():
            break
    return start, length, inside[kept] - start, labels[kept]


def file_names(patterns: Sequence[str], video: str) -> list[str]:
    """Return the file names of a video from patterns with `{video}`."""
    return [pattern.replace("{video}", video) for pattern in patterns]


def missing_files(
    videos: Iterable[str], patterns: Sequence[str], present: set[str]
) -> dict[str, str]:
    """Return what each video without all of its files lacks."""
    wanted = ((video, file_names(patterns, video)) for video in videos)
    return {
        video: f"no {', '.join(sorted(set(names) - present))}"
        for video, names in wanted
        if not present.issuperset(names)
    }


def list_files(folder: Path) -> set[str]:
    """Return all files below a folder, relative to it; one listing, not one question a file."""
    files: set[str] = set()
    for parent, _, names in os.walk(folder, followlinks=True):
        prefix = Path(parent).relative_to(folder)
        start = "" if prefix == Path() else prefix.as_posix() + "/"
        files.update(start + name for name in names)
    return files


def _open_array(path: Path) -> NDArray[Any]:
    """Map a .npy file as a floating-point array (T, C) with at least one step."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise FeatureError(
            f"Expected a feature file at `{path}`, got none; restore it or set `skip_unreadable`."
        ) from error
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise FeatureError(
            f"Expected `{path}` to be a .npy array without pickled objects, got {error}; extract "
            "or download it again."
        ) from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise FeatureError(
            f"Expected `{path}` to be one .npy array, got an .npz archive; save the array alone."
        )
    if array.ndim != 2 or array.dtype.kind != "f" or len(array) == 0:
        raise FeatureError(
            f"Expected `{path}` to be a non-empty floating-point array (time, channels), got "
            f"shape {array.shape} of {array.dtype}; extract the features again."
        )
    return array
