"""What the files of one subset are like, and what is refused of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from lightning.pytorch.utilities import rank_zero_warn

from davezoo.annotations import Annotations
from davezoo.data.dataset import EventDataset
from davezoo.data.features import FeatureError, FeatureLayout, FeatureStore, Modality
from davezoo.data.packing import PackedFolder
from davezoo.data.plausibility import (
    describe_one_length,
    explain_audio,
    explain_durations,
    explain_missing,
    explain_units,
)

if TYPE_CHECKING:
    from davezoo.data.plausibility import FloatArray

_LISTED = 10  # how many videos a message lists


class MissingFeaturesError(FeatureError, FileNotFoundError):
    """Videos lack usable files, or the whole folder is absent; the message names the remedy."""


class GridError(FeatureError):
    """The time grid is contradicted: by all videos alike, or by what was noted when packing."""


@dataclass(frozen=True)
class CheckedSplit:
    """One subset and what the files of its videos are like.

    Args:
        name: name of the subset.
        annotations: all its videos and events.
        layout: what the feature files are called and hold.
        missing: what each video without all of its files lacks.
        heads: what `EventDataset.read_heads` says of the other videos.
    """

    name: str
    annotations: Annotations
    layout: FeatureLayout
    missing: dict[str, str]
    heads: pd.DataFrame

    @cached_property
    def damaged(self) -> dict[str, str]:
        """What is wrong with each video whose files are there but cannot be loaded."""
        faults = self.heads["fault"]
        return {str(video): fault for video, fault in faults[faults != ""].items()}

    @cached_property
    def faults(self) -> dict[str, str]:
        """What is wrong with each video that cannot be used."""
        return self.missing | self.damaged

    @cached_property
    def usable(self) -> Annotations:
        """The videos that can be loaded, and their events."""
        videos = self.annotations.videos
        return self.annotations.select(videos.drop(index=list(self.faults)))

    @cached_property
    def steps(self) -> dict[str, int]:
        """Steps of each video that can be loaded."""
        return {str(video): int(n) for video, n in self._loadable["steps"].items()}

    @property
    def without_audio(self) -> list[str]:
        """Videos that are used without sound though audio is read."""
        silent = ~self._loadable["has_audio"].astype(bool)
        return self._loadable.index[silent].tolist() if self.layout.patterns("audio") else []

    @property
    def durations(self) -> pd.Series[float]:
        """Seconds of each video; where the annotations do not tell them, the features do."""
        known = self.annotations.videos["duration"]
        return known.fillna(pd.Series(self._seconds, self.heads.index).reindex(known.index))

    @property
    def remarks(self) -> list[str]:
        """What looks odd in the whole split, though it can be used."""
        lengths = self._annotated_durations
        if self.layout.counts_own_frames:
            lengths = lengths * self._fps
        one_length = describe_one_length(self._steps_of(self.layout.leading), lengths)
        return [f"In {self.name} {one_length}"] if one_length else []

    def check(self, present: set[str], skip_unreadable: bool) -> None:
        """Refuse a wrong time grid, and videos that cannot be used unless they may be skipped.

        Args:
            present: names of all feature files.
            skip_unreadable: only warn of videos that cannot be used.

        Raises:
            GridError: if all videos contradict the grid alike.
            MissingFeaturesError: if videos cannot be used.
        """
        contradiction = self._explain_grid()
        if contradiction:
            raise GridError(
                f"Expected the features of the split {self.name!r} in {self.layout.folder} to fit "
                f"`grid` and annotations, got a contradiction. {contradiction}"
            )
        if not self.faults:
            return
        first = list(self.faults.items())[:_LISTED]
        listed = "".join(f"\n  {video!r}: {fault}" for video, fault in first)
        message = (
            f"{len(self.faults)} of {len(self.annotations.videos)} videos of the split "
            f"{self.name!r} cannot be used from {self.layout.folder}; the first:{listed}\n"
            f"{self._explain_missing(present)}"
        )
        if not skip_unreadable:
            raise MissingFeaturesError(
                f"Expected usable features for every video, got: {message}Download or extract "
                "them, correct `root`, `features` or the file patterns, or set `skip_unreadable`."
            )
        rank_zero_warn(f"Skipped: {message}They still count as missed in the scores.")

    def _explain_missing(self, present: set[str]) -> str:
        """Say, a line each, which patterns would find the files where most are missing."""
        videos = list(self.missing)
        if 2 * len(videos) <= len(self.annotations.videos):
            return ""
        patterns = [*self.layout.patterns("visual"), *self.layout.patterns("audio")]
        # What another pattern finds is not what this one misses.
        free = self.layout.unused(self.annotations.videos.index, present)
        texts = []
        for pattern in patterns:
            file, archive, _ = pattern.partition(".npz:")  # not what is in an archive, but whether
            file += ".npz" if archive else ""
            if not any(file.replace("{video}", video) in present for video in videos):
                texts.append(explain_missing(videos, file, free))
        return "".join(f"{text}\n" for text in texts if text)

    def _explain_grid(self) -> str:
        """Say which hop, frame rate or unit would fit, if all videos contradict the grid alike."""
        layout, leading = self.layout, self.layout.leading
        grid = layout.grid_of(leading, layout.grid.fps)
        own_fps = self._fps if layout.counts_own_frames else None
        events = self.annotations.events
        last_ends = events.groupby("video")["end"].max().reindex(self.heads.index).to_numpy(float)
        texts = [
            explain_durations(self._steps_of(leading), self._annotated_durations, grid, own_fps),
            explain_units(last_ends, self._seconds),
        ]
        # A wrong grid of the visual features would make the audio's look wrong, too.
        if leading == "visual" and layout.patterns("audio") and not any(texts):
            audio_grid = layout.grid_of("audio", layout.grid.fps)
            texts.append(explain_audio(self._seconds, self._steps_of("audio"), grid, audio_grid))
        return " ".join(text for text in texts if text)

    @property
    def _loadable(self) -> pd.DataFrame:
        return self.heads[self.heads["fault"] == ""]

    @cached_property
    def _seconds(self) -> FloatArray:
        """Second at which the features of each video of `heads` end; NaN where unknown."""
        grid = self.layout.grid_of(self.layout.leading, self.layout.grid.fps)
        fps = self._fps if self.layout.counts_own_frames else grid.fps
        return ((self._steps_of(self.layout.leading) - 1) * grid.stride + grid.window) / fps

    @property
    def _fps(self) -> FloatArray:
        """Own frame rate of each video of `heads`."""
        return self._column("fps")

    @property
    def _annotated_durations(self) -> FloatArray:
        """Seconds of each video of `heads` as annotated; NaN where unknown."""
        return self._column("duration")

    def _column(self, name: str) -> FloatArray:
        """Return a column of the table of videos, a row each video of `heads`."""
        column: FloatArray = self.annotations.videos.loc[self.heads.index, name].to_numpy(float)
        return column

    def _steps_of(self, modality: Modality) -> FloatArray:
        """Feature vectors of each video of `heads`; NaN where there are none."""
        return self.heads[f"{modality}_steps"].replace(0, np.nan).to_numpy(np.float64)


def check_packed_grid(store: FeatureStore, layout: FeatureLayout) -> None:
    """Refuse to read packed features on another grid than was noted when they were packed.

    Args:
        store: where the features lie; loose files have no notes.
        layout: what they are read as.

    Raises:
        GridError: naming both grids.
    """
    if not isinstance(store, PackedFolder):
        return
    notes = {"grid": store.grid, "audio_grid": store.audio_grid}
    for name, noted in notes.items():
        if noted not in (None, getattr(layout, name)):
            raise GridError(
                f"Expected `{name}` to be {noted}, as it was noted when `{store.folder}` was "
                f"packed, got {getattr(layout, name)}; correct `{name}`, or pack the features "
                "again if the note is wrong."
            )


def look_at_split(
    name: str, annotations: Annotations, layout: FeatureLayout, store: FeatureStore
) -> CheckedSplit:
    """Find out which files of a subset are there, and read their heads.

    Args:
        name: name of the subset.
        annotations: its videos and events.
        layout: what the feature files are called and hold.
        store: where they lie.
    """
    missing = layout.missing(annotations.videos.index, store.names())
    there = annotations.select(annotations.videos.drop(index=list(missing)))
    heads = EventDataset(there, layout, store=store).read_heads()
    return CheckedSplit(name, annotations, layout, missing, heads)
