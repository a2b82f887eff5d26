"""Annotation files of the data sets, read into one table of videos, one of events, one of classes.

Imports neither torch nor lightning: `davezoo evaluate` must start at once.

The layout is the one of ActivityNet, as UnAV-100 writes it (Geng et al., "Dense-Localizing
Audio-Visual Events in Untrimmed Videos", CVPR 2023)::

    {"version": "...", "database": {VIDEO: {"subset": "train", "duration": 47.68, "annotations": [
        {"segment": [13.01, 15.78], "label": "skateboarding", "label_id": 36}, ...]}, ...}}
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from reprlib import repr as shorten
from typing import Any, TypeGuard

import numpy as np
import pandas as pd

from davezoo.errors import InputError

# Times and class indices beyond these bounds are damage, not data; comparing with a bound also
# refuses NaN, infinities and integers that no float can hold.
_LONGEST_SECONDS = 1e9
_MOST_CLASSES = 100_000

_ZERO_LENGTH = "zero-length events"
_END_PAST_DURATION = "events ending past the duration"
_START_PAST_DURATION = "events starting past the duration"
_UNUSED_CLASSES = "class indices without events"
_IDS_IGNORED = "label_id ignored because other events have none"


class AnnotationError(InputError):
    """An annotation file cannot be used; the message names file, entry and remedy."""


@dataclass(frozen=True)
class Annotations:
    """What an annotation file says.

    Args:
        videos: one row a video in file order, index `video` (id), columns `subset` (as spelt in the
            file, empty where there is none), `duration` (seconds, NaN where unknown).
        events: one row an event in file order, columns `video`, `start`, `end` (seconds, float64),
            `label` (class index, int64).
        class_names: name of each class index.
        repairs: how often each stated rule met an oddity, by rule. The reader keeps such events:
            zero-length ones and ones past the duration occur in the published files and count in
            the official scores; training leaves them out.
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
        repairs = self.repairs | _count_oddities(videos, events)
        return Annotations(videos, events, self.class_names, repairs)

    def to_dict(self) -> dict[str, Any]:
        """Return the content in the layout that `read_annotations` reads."""
        database: dict[str, Any] = {}
        for video, subset, duration in zip(
            self.videos.index, self.videos["subset"], self.videos["duration"], strict=True
        ):
            entry = {"subset": subset} if subset else {}
            if not np.isnan(duration):
                entry["duration"] = float(duration)
            database[video] = {**entry, "annotations": []}
        for video, start, end, label in zip(
            *(self.events[column].tolist() for column in ("video", "start", "end", "label")),
            strict=True,
        ):
            name = self.class_names[label]
            event = {"segment": [start, end], "label": name, "label_id": label}
            database[video]["annotations"].append(event)
        return {"version": "davezoo", "database": database}


def read_annotations(path: str | Path) -> Annotations:
    """Read an annotation file in the ActivityNet layout, gzipped or not.

    The class index is `label_id` when every event of the file has one, otherwise the rank of
    `label` in alphabetical order; classes are collected over all subsets.

    Args:
        path: the file, `.json` or `.json.gz`.

    Returns:
        Videos and events in file order.

    Raises:
        FileNotFoundError: if there is no such file.
        AnnotationError: if the file is damaged or contradicts itself; the message names the file,
            the entry and the remedy.
    """
    path = Path(path)
    database = _read_database(path)
    for video, entry in database.items():
        _check_video(path, video, entry)
    entries = [
        (video, index, event)
        for video, entry in database.items()
        for index, event in enumerate(entry["annotations"])
    ]
    for video, index, event in entries:
        _check_event(path, video, index, event)

    labels, class_names, class_repairs = _number_classes(path, entries)
    videos = pd.DataFrame(
        {
            "subset": [entry.get("subset") or "" for entry in database.values()],
            "duration": np.array(
                [entry.get("duration", np.nan) for entry in database.values()], dtype=np.float64
            ),
        },
        index=pd.Index(list(database), name="video", dtype="str"),
    ).astype({"subset": "str"})
    segments = np.array([event["segment"] for _, _, event in entries], dtype=np.float64)
    segments = segments.reshape(-1, 2)
    events = pd.DataFrame(
        {
            "video": pd.Series([video for video, _, _ in entries], dtype="str"),
            "start": segments[:, 0],
            "end": segments[:, 1],
            "label": labels,
        }
    )
    repairs = _count_oddities(videos, events) | class_repairs
    return Annotations(videos, events, class_names, repairs)


def write_annotations(annotations: Annotations, path: str | Path) -> None:
    """Write annotations in the layout that `read_annotations` reads.

    Args:
        annotations: what to write.
        path: the file; gzipped when its name ends in `.gz`.
    """
    path = Path(path)
    content = json.dumps(annotations.to_dict()).encode()
    # Written beside and renamed: whoever reads finds a whole file or none.
    temporary = path.with_name(f"{path.name}.incomplete{os.getpid()}")
    temporary.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    temporary.replace(path)


def _read_database(path: Path) -> dict[str, Any]:
    """Return the file's `database` object."""
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected an annotation file at {path}, got none; check the path, or make simulated "
            "data with `davezoo simulate`."
        )
    again = "download the file again or restore it from a copy"
    content = path.read_bytes()
    if not content.strip():
        raise _error(f"the annotation file {path}", "hold JSON", "an empty file", again)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # The json module keeps the last of two equal keys without a word: a video would vanish.
        members = dict(pairs)
        if len(members) < len(pairs):
            keys = [key for key, _ in pairs]
            double = next(key for key in keys if keys.count(key) > 1)
            raise _error(
                f"every key in {path}", "occur once", f"{double!r} twice", "merge the two entries"
            )
        return members

    try:
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        database = json.loads(content, object_pairs_hook=unique)
    except AnnotationError:
        raise
    except (ValueError, OSError, EOFError, zlib.error, RecursionError) as error:
        raise _error(
            f"the annotation file {path}", "hold JSON, gzipped or not", str(error), again
        ) from error
    remedy = "bring it into the ActivityNet layout described in davezoo/annotations.py"
    if not isinstance(database, dict) or not isinstance(database.get("database"), dict):
        raise _error(f"`database` in {path}", "be an object", shorten(database), remedy)
    return dict(database["database"])


def _check_video(path: Path, video: str, entry: Any) -> None:
    """Refuse a video entry whose parts are missing, of another type or out of bounds."""
    place = f"video {video!r} in {path}"
    # Ids become parts of file names: they must not lead out of the feature folder.
    if not _is_text(video) or any(part in video for part in ("/", "\\", "..", "\0")):
        raise _error(
            f"the id of {place}",
            "be a plain file name without separators, `..` or NUL",
            repr(video),
            "rename the video and its feature files",
        )
    if not isinstance(entry, dict):
        raise _error(place, "be an object", shorten(entry), "write subset, duration, annotations")
    subset = entry.get("subset")
    if subset is not None and subset != "" and not _is_text(subset):
        raise _error(f"`subset` of {place}", "be text", shorten(subset), "correct it")
    if not isinstance(entry.get("annotations"), list):
        raise _error(
            f"`annotations` of {place}",
            "be a list",
            shorten(entry.get("annotations")),
            "write [] for a video without events",
        )
    duration = entry.get("duration")
    if duration is None and not entry["annotations"]:
        return
    if not (_is_number(duration) and 0 < duration <= _LONGEST_SECONDS):
        raise _error(
            f"`duration` of {place}",
            "be a positive number of seconds",
            shorten(duration),
            "add the duration (only a video without events may lack it)",
        )


def _check_event(path: Path, video: str, index: int, event: Any) -> None:
    """Refuse an annotation whose parts are missing, of another type or out of bounds."""
    place = f"annotation {index} of video {video!r} in {path}"
    if not isinstance(event, dict):
        raise _error(place, "be an object", shorten(event), "write segment, label, label_id")
    if not _is_text(event.get("label")):
        got = shorten(event.get("label"))
        raise _error(f"`label` of {place}", "be the name of a class", got, "correct it")
    label_id = event.get("label_id", 0)
    if type(label_id) is not int or not 0 <= label_id < _MOST_CLASSES:
        raise _error(
            f"`label_id` of {place}",
            f"be an integer from 0 to {_MOST_CLASSES - 1}",
            shorten(label_id),
            "correct it or leave `label_id` out of the whole file",
        )
    segment = event.get("segment")
    if not (
        isinstance(segment, list)
        and len(segment) == 2
        and all(map(_is_number, segment))
        and 0 <= segment[0] <= segment[1] <= _LONGEST_SECONDS
    ):
        raise _error(
            f"`segment` of {place}",
            "be [start, end] in seconds with 0 <= start <= end",
            shorten(segment),
            "correct or remove the annotation",
        )


def _number_classes(
    path: Path, entries: list[tuple[str, int, dict[str, Any]]]
) -> tuple[np.ndarray, list[str], dict[str, int]]:
    """Return the class index of every annotation, the class names and the counts of repairs."""
    with_id = sum("label_id" in event for _, _, event in entries)
    if with_id < len(entries):
        class_names = sorted({event["label"] for _, _, event in entries})
        index_of = {name: index for index, name in enumerate(class_names)}
        labels = np.array([index_of[event["label"]] for _, _, event in entries], dtype=np.int64)
        return labels, class_names, {_UNUSED_CLASSES: 0, _IDS_IGNORED: with_id}

    name_of: dict[int, str] = {}
    id_of: dict[str, int] = {}
    for video, index, event in entries:
        name, label_id = event["label"], event["label_id"]
        first_name, first_id = name_of.setdefault(label_id, name), id_of.setdefault(name, label_id)
        if first_name != name or first_id != label_id:
            raise _error(
                f"`label` and `label_id` of annotation {index} of video {video!r} in {path}",
                f"agree with the earlier pair {first_name!r}, {first_id}",
                f"{name!r}, {label_id}",
                "correct one, or leave `label_id` out of the whole file",
            )
    count = max(name_of, default=-1) + 1
    class_names = [name_of.get(index, f"(no event of class {index})") for index in range(count)]
    labels = np.array([event["label_id"] for _, _, event in entries], dtype=np.int64)
    return labels, class_names, {_UNUSED_CLASSES: count - len(name_of), _IDS_IGNORED: 0}


def _count_oddities(videos: pd.DataFrame, events: pd.DataFrame) -> dict[str, int]:
    """Count the events that lie oddly in their videos."""
    durations = videos["duration"].reindex(events["video"]).to_numpy()
    start, end = events["start"].to_numpy(), events["end"].to_numpy()
    return {
        _ZERO_LENGTH: int((end == start).sum()),
        _END_PAST_DURATION: int((end > durations).sum()),
        _START_PAST_DURATION: int((start >= durations).sum()),
    }


def _is_number(value: Any) -> TypeGuard[float]:
    """Say whether a JSON value is a number; `true` and `false` are not."""
    return type(value) in (int, float)


def _is_text(value: Any) -> bool:
    """Say whether a JSON value is non-empty text that can be written to a file."""
    if not isinstance(value, str) or not value:
        return False
    return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)


def _error(what: str, expected: str, got: str, remedy: str) -> AnnotationError:
    """Return the error for one refused entry."""
    return AnnotationError(f"Expected {what} to {expected}, got {got}; {remedy}.")
