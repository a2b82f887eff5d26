"""One video at a time: feature files and annotations become tensors on the feature grid.

The rules of this room (time axis, truncation, training crop) are those of the published UnAV
loader (Geng et al., "Dense-Localizing Audio-Visual Events in Untrimmed Videos", CVPR 2023), so
that a detector sees the very numbers it was published with.
"""

from __future__ import annotations

import math
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from davezoo.data.crops import random_crop
from davezoo.data.features import FeatureError, FeatureLayout, FeatureStore, Modality, open_store
from davezoo.data.streams import AlignedStreams, Stream, open_stream
from davezoo.errors import InputError
from davezoo.structures import FeatureGrid

if TYPE_CHECKING:
    from davezoo.annotations import Annotations

# Heads are read by threads, a block of videos each: on a disk of the network every file waits.
_THREADS = 8
_BLOCK = 64


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
        has_audio: whether audio was read; without, its features are zeros.
    """

    visual: Tensor
    audio: Tensor
    segments: Tensor
    labels: Tensor
    video_id: str
    duration: float
    grid: FeatureGrid
    has_audio: bool


class EventDataset(Dataset[Sample]):
    """Videos of one split.

    Args:
        annotations: the videos of the split and their events.
        layout: what the feature files are called and hold.
        training: leave out what cannot be learnt from (zero-length events, events that start past
            the duration, then videos without events; `left_out` counts them) and crop at random.
        max_length: longest training crop in steps.
        crop_ratio: least and largest part of a video that a training crop keeps; None crops only
            videos longer than `max_length`, and so it is wherever videos are resized.
        min_kept_fraction: least part of an event that must lie in a crop for the event to stay.
        seed: seed of the crops.
        store: where the feature files lie, if it is open already.

    Raises:
        InputError: if steps count frames of the videos' own rates and a video's is not known.
    """

    def __init__(
        self,
        annotations: Annotations,
        layout: FeatureLayout,
        training: bool = False,
        max_length: int = 224,
        crop_ratio: tuple[float, float] | None = (0.9, 1.0),
        min_kept_fraction: float = 0.5,
        seed: int = 0,
        store: FeatureStore | None = None,
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
        self.layout = layout
        self.store = open_store(layout.folder) if store is None else store
        self.training = training
        self.max_length = max_length
        self.crop_ratio = crop_ratio if layout.resize_to is None else None
        self.min_kept_fraction = min_kept_fraction
        self.seed = seed
        self._frame_rates = _frame_rates(videos, layout)
        self._silent: set[str] = set()
        if layout.may_lack_audio:
            self._silent = layout.lack_audio(self.video_ids, self.store.names())

        owner = videos.index.get_indexer(pd.Index(events["video"]))
        order = np.argsort(owner, kind="stable")
        seconds = events[["start", "end"]].to_numpy()[order]
        self._seconds = torch.tensor(seconds, dtype=torch.float32)
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
        streams = {modality: self._open(index, modality) for modality in self._modalities(video)}
        features = AlignedStreams(self.layout, streams)
        events = slice(self._first_event[index], self._first_event[index + 1])
        start, length = 0, features.num_steps
        segments, labels = features.grid.to_grid(self._seconds[events]), self._labels[events]
        if self.training:
            # The crop follows from seed, epoch and video alone, not from the running state of a
            # worker: the same run on other workers or devices, or resumed, crops the same.
            start, length, segments, labels = random_crop(
                features.num_steps,
                segments,
                labels,
                self.max_length,
                self.crop_ratio,
                self.min_kept_fraction,
                random.Random(f"{self.seed} {epoch} {video}"),  # noqa: S311 - no secret
            )
        duration = self.durations[index]
        if math.isnan(duration):  # then the video ends with its last feature window
            duration = features.grid.end(features.num_steps)
        return Sample(
            visual=features.read("visual", start, length),
            audio=features.read("audio", start, length),
            segments=segments,
            labels=labels,
            video_id=video,
            duration=duration,
            grid=features.grid,
            has_audio="audio" in streams,
        )

    def read_heads(self) -> pd.DataFrame:
        """Return how long each video is, and what is wrong with those that cannot be loaded.

        Reads the heads of the files only: shapes and types, not numbers.

        Returns:
            A table with the index `video`: `visual_steps` and `audio_steps` of the files, 0 where
            they are not read, absent or damaged; `steps` of the sample, 0 where there is none;
            `has_audio`; and `fault`, empty for a video that can be loaded.
        """
        starts = range(0, len(self), _BLOCK)
        with ThreadPoolExecutor(_THREADS) as pool:
            blocks = tqdm(
                pool.map(self._heads, starts),
                "heads of features",
                len(starts),
                leave=False,
                disable=None,
            )
            return pd.DataFrame(
                chain.from_iterable(blocks),
                index=pd.Index(self.video_ids, name="video"),
                columns=["visual_steps", "audio_steps", "steps", "has_audio", "fault"],
            )

    def _heads(self, start: int) -> list[tuple[int, int, int, bool, str]]:
        """Return the rows of `read_heads` of a block of videos."""
        rows = []
        for index in range(start, min(start + _BLOCK, len(self))):
            streams: dict[Modality, Stream] = {}
            num_steps, fault = 0, ""
            try:
                for modality in self._modalities(self.video_ids[index]):
                    streams[modality] = self._open(index, modality)
                num_steps = AlignedStreams(self.layout, streams).num_steps
            except FeatureError as error:
                fault = str(error)
            visual, audio = (
                len(streams[modality]) if modality in streams else 0
                for modality in ("visual", "audio")
            )
            rows.append((visual, audio, num_steps, "audio" in streams, fault))
        return rows

    def _modalities(self, video: str) -> list[Modality]:
        """Return what there is to read of a video."""
        silent = video in self._silent
        read: list[Modality] = ["visual"] if silent else ["visual", "audio"]
        return [modality for modality in read if self.layout.patterns(modality)]

    def _open(self, index: int, modality: Modality) -> Stream:
        """Open the files of one modality of a video."""
        fps = self._frame_rates[index]
        return open_stream(self.store, self.layout, modality, self.video_ids[index], fps)


def _frame_rates(videos: pd.DataFrame, layout: FeatureLayout) -> list[float]:
    """Return the frame rate that the steps of each video count."""
    if not layout.own_fps:
        return [layout.grid.fps] * len(videos)
    rates = videos["fps"]
    unknown = rates.index[~(rates > 0)]
    if len(unknown):
        raise InputError(
            f"Expected the own frame rate of every video, got none for {len(unknown)} of "
            f"{len(videos)}, the first {unknown[0]!r}; name a file that tells them in "
            "`video_info`, or set `own_fps` to false."
        )
    return [float(rate) for rate in rates]
