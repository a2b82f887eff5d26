"""The table of annotations that every reader fills, and the one error of the readers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from davezoo.errors import InputError

# Times and class indices beyond these bounds are damage, not data; comparing with a bound also
# refuses NaN, infinities and integers that no float can hold.
LONGEST_SECONDS = 1e9
MOST_CLASSES = 100_000

_ZERO_LENGTH = "zero-length events"
_END_PAST_DURATION = "events ending past the duration"
_START_PAST_DURATION = "events starting past the duration"
_TOO_SHORT_DURATION = "videos whose duration ends before their last event"
_DUPLICATES = "exact duplicates of an earlier event"
_OTHER_CLASS = "events at the very times of an earlier one of another class"


class AnnotationError(InputError):
    """An annotation file cannot be used; the message names file, entry and remedy."""


@dataclass(frozen=True)
class Annotations:
    """What an annotation file says.

    Args:
        videos: one row a video in file order, index `video` (id), columns `subset` (as spelt in the
            file, empty where there is none), `duration` (seconds, NaN where unknown), `fps` (frames
            per second of the video itself, NaN where unknown).
        events: one row an event in file order, columns `video`, `start`, `end` (seconds, float64),
            `label` (class index, int64).
        class_names: name of each class index.
        repairs: how often each stated rule met an oddity, by rule. The reader keeps such events:
            duplicates, zero-length ones and ones past the duration occur in the published files and
            count in the official scores; training leaves out those that no grid can hold.
    """

    videos: pd.DataFrame
    events: pd.DataFrame
    class_names: list[str]
    repairs: dict[str, int] = field(default_factory=dict)

    def split(self, subset: str) -> Annotations:
        """Return the videos of one subset (compared in lower case) and their events.

        Args:
            subset: name of the subset, for example `validation`.

        Returns:
            The same classes with fewer videos; event oddities are counted anew.

        Raises:
            AnnotationError: if no video has this subset; the message lists those that exist.
        """
        chosen = self.videos["subset"].str.lower() == subset.lower()
        if not chosen.any():
            existing = sorted(set(self.videos["subset"]))
            raise AnnotationError(
                f"Expected `subset` to be one of {existing}, got {subset!r}; choose a split that "
                "the annotation file has."
            )
        return self.select(self.videos[chosen])

    def select(self, videos: pd.DataFrame) -> Annotations:
        """Return some of the videos, rows of `videos`, and their events."""
        events = self.events[self.events["video"].isin(videos.index)].reset_index(drop=True)
        repairs = self.repairs | count_oddities(videos, events)
        return Annotations(videos, events, self.class_names, repairs)

    def class_agnostic(self) -> Annotations:
        """Return the same events as events of one class, `event`."""
        return replace(self, events=self.events.assign(label=np.int64(0)), class_names=["event"])

    def to_dict(self) -> dict[str, Any]:
        """Return the content in the layout that `read_annotations` reads."""
        database: dict[str, Any] = {}
        for video, subset, duration, fps in self.videos[["subset", "duration", "fps"]].itertuples():
            entry = {"subset": subset} if subset else {}
            numbers = {"duration": duration, "fps": fps}
            known = {name: float(number) for name, number in numbers.items() if number == number}
            database[video] = {**entry, **known, "annotations": []}
        for video, start, end, label in zip(
            *(self.events[column].tolist() for column in ("video", "start", "end", "label")),
            strict=True,
        ):
            name = self.class_names[label]
            event = {"segment": [start, end], "label": name, "label_id": label}
            database[video]["annotations"].append(event)
        return {"version": "davezoo", "database": database}


def count_oddities(videos: pd.DataFrame, events: pd.DataFrame) -> dict[str, int]:
    """Count the events that lie oddly in their videos or beside each other."""
    durations = videos["duration"].reindex(events["video"]).to_numpy()
    start, end = events["start"].to_numpy(), events["end"].to_numpy()
    past = end > durations
    duplicate = events.duplicated(["video", "start", "end", "label"])
    same_times = events.duplicated(["video", "start", "end"])
    return {
        _ZERO_LENGTH: int((end == start).sum()),
        _END_PAST_DURATION: int(past.sum()),
        _START_PAST_DURATION: int((start >= durations).sum()),
        _TOO_SHORT_DURATION: int(events["video"][past].nunique()),
        _DUPLICATES: int(duplicate.sum()),
        _OTHER_CLASS: int((same_times & ~duplicate).sum()),
    }


def refusal(what: str, expected: str, got: str, remedy: str) -> AnnotationError:
    """Return the error for one refused entry."""
    return AnnotationError(f"Expected {what} to {expected}, got {got}; {remedy}.")
