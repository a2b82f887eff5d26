"""The subsets of a data set: each is read, looked at and checked once, whatever it is used for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from lightning.pytorch.utilities import rank_zero_warn

from davezoo.annotations import Annotations
from davezoo.annotations.video_scores import VideoScores
from davezoo.data.checks import (
    CheckedSplit,
    MissingFeaturesError,
    check_packed_grid,
    look_at_split,
)
from davezoo.data.features import FeatureLayout, FeatureStore, open_store
from davezoo.data.manifest import SplitManifest
from davezoo.data.sources import Sources
from davezoo.data.video_files import stray_files, videos_of_files
from davezoo.errors import InputError


class Subsets:
    """Annotations and features of a data set, a subset at a time.

    Args:
        sources: annotations and lists. Without annotations every subset is the same: all videos
            whose files are there, without events.
        layout: what the feature files are called and hold.
        class_agnostic: all events are learnt as ones of the class `event`.
        skip_unreadable: only warn of videos whose files cannot be used.
    """

    def __init__(
        self,
        sources: Sources,
        layout: FeatureLayout,
        class_agnostic: bool = False,
        skip_unreadable: bool = False,
    ) -> None:
        self.sources = sources
        self.layout = layout
        self.class_agnostic = class_agnostic
        self.skip_unreadable = skip_unreadable
        self._looked_at: dict[str, CheckedSplit] = {}  # by name in lower case

    @cached_property
    def annotations(self) -> Annotations:
        """All subsets of the annotations, with their classes."""
        return self.sources.read_annotations()

    @property
    def class_names(self) -> list[str]:
        """Name of each class that a model learns."""
        return ["event"] if self.class_agnostic else self.annotations.class_names

    @property
    def detected_class_names(self) -> list[str]:
        """Names of the labels in detections and ground truth."""
        return ["event"] if self._never_named else self.annotations.class_names

    @cached_property
    def video_scores(self) -> VideoScores | None:
        """Scores of the classes in each video that name what a class-agnostic model finds."""
        if self.sources.video_scores is None:
            return None
        return self.sources.read_video_scores(self.annotations.class_names)

    @cached_property
    def blocked_videos(self) -> list[str]:
        """Videos that the protocol leaves out."""
        return self.sources.read_blocked()

    @cached_property
    def store(self) -> FeatureStore:
        """Where the feature files lie; they are listed once.

        Raises:
            MissingFeaturesError: if there is no such folder.
            GridError: if they were packed with another grid.
        """
        folder = self.layout.folder
        if not folder.is_dir():
            raise MissingFeaturesError(
                f"Expected the feature files in the folder `{folder}`, got no such folder; correct "
                "`root` or `features`."
            )
        store = open_store(folder)
        check_packed_grid(store, self.layout)
        return store

    def ground_truth(self, split: str) -> Annotations:
        """Return all videos and events of a subset, also the videos that loading skips.

        Labels are those of `detected_class_names`.

        Raises:
            AnnotationError: if the annotations lack the subset.
        """
        if self.sources.annotations is None:
            looked_at = self.look_at(split)
            videos = looked_at.annotations.videos.assign(duration=looked_at.durations)
            return replace(looked_at.annotations, videos=videos)
        chosen = self.annotations.split(split)
        return chosen.class_agnostic() if self._never_named else chosen

    def look_at(self, split: str) -> CheckedSplit:
        """Look at the files of a subset and check them, the first time it is asked for.

        Raises:
            GridError: if all videos, or the packed folder, contradict the time grid.
            MissingFeaturesError: if the folder is absent, or videos cannot be used and must not
                be skipped.
            AnnotationError: if the annotations are damaged or lack the subset.
        """
        key = split.lower()
        if key not in self._looked_at:
            if self.sources.annotations is None:
                annotations = videos_of_files(self.layout, self.store.names(), split)
            else:
                annotations = self.annotations.split(split)
            learnt = annotations.class_agnostic() if self.class_agnostic else annotations
            looked_at = look_at_split(split, learnt, self.layout, self.store)
            looked_at.check(self.store.names(), self.skip_unreadable)
            self._looked_at[key] = looked_at
        return self._looked_at[key]

    def check_video_scores(self, split: str) -> None:
        """Warn of videos that the external video scores lack; refuse scores of other videos.

        Raises:
            InputError: if most videos of the subset have no scores.
        """
        videos = self.ground_truth(split).videos.index
        lacking = self._without_scores(split)
        if 2 * len(lacking) > len(videos):
            raise InputError(
                f"Expected `video_scores` to know the videos of the split {split!r}, got no score "
                f"for {len(lacking)} of {len(videos)}, such as {lacking[0]!r}; name the file of "
                "this split, with the ids of the annotations."
            )
        if lacking:
            rank_zero_warn(
                f"{len(lacking)} of {len(videos)} videos of the split {split!r} have no scores in "
                f"{self.sources.video_scores}, such as {lacking[0]!r}: nothing is detected there."
            )

    def describe(
        self, split: str, stages: Sequence[str], left_out: Mapping[str, int]
    ) -> SplitManifest:
        """Return what is there and what is missing of a subset.

        Args:
            split: name of the subset.
            stages: what it is used for.
            left_out: what training leaves out of it, by reason.
        """
        truth, looked_at = self.ground_truth(split), self.look_at(split)
        evaluated = set(stages) - {"fit"}
        return SplitManifest(
            split=looked_at.name,
            stages=list(stages),
            videos=len(truth.videos),
            events=len(truth.events),
            hours=float(looked_at.durations.sum() / 3600),
            missing=looked_at.missing,
            damaged=looked_at.damaged,
            without_audio=looked_at.without_audio,
            without_scores=self._without_scores(split) if evaluated else [],
            blocked=[v for v in self.blocked_videos if v in truth.videos.index],
            left_out=dict(left_out),
            oddities=truth.repairs,
            remarks=looked_at.remarks,
        )

    def stray_files(self) -> list[str]:
        """Return the feature files of videos that the annotations do not name."""
        if self.sources.annotations is None:
            return []
        return stray_files(self.layout, self.annotations.videos.index, self.store.names())

    @property
    def _never_named(self) -> bool:
        """Whether nobody tells the classes of the events."""
        return self.class_agnostic and self.sources.video_scores is None

    def _without_scores(self, split: str) -> list[str]:
        """Return the videos that the external video scores lack."""
        scores = self.video_scores
        return [] if scores is None else scores.missing(self.ground_truth(split).videos.index)
