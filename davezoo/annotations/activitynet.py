"""Annotation files in the JSON layout of ActivityNet, which UnAV-100 and ActionFormer share.

Geng et al., "Dense-Localizing Audio-Visual Events in Untrimmed Videos", CVPR 2023, write::

    {"version": "...", "database": {VIDEO: {"subset": "train", "duration": 47.68, "annotations": [
        {"segment": [13.01, 15.78], "label": "skateboarding", "label_id": 36}, ...]}, ...}}

ActionFormer adds `fps` to the video; the official files of ActivityNet have no `label_id`.
"""

from __future__ import annotations

from pathlib import Path
from reprlib import repr as shorten
from typing import Any, TypeGuard

import numpy as np
import pandas as pd

from davezoo.annotations.table import (
    LONGEST_SECONDS,
    MOST_CLASSES,
    AnnotationError,
    Annotations,
    count_oddities,
    refusal,
)
from davezoo.json_files import read_json, write_json

_UNUSED_CLASSES = "class indices without events"
_IDS_IGNORED = "label_id ignored because other events have none"
_HIGHEST_FPS = 1000


def read_database(path: Path) -> Annotations:
    """Read an annotation file in the ActivityNet layout, gzipped or not.

    Args:
        path: the file, `.json` or `.json.gz`.

    Raises:
        FileNotFoundError: if there is no such file.
        AnnotationError: if the file is damaged or contradicts itself.
    """
    database = _load(path)
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
            "fps": np.array([entry.get("fps", np.nan) for entry in database.values()], np.float64),
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
    repairs = count_oddities(videos, events) | class_repairs
    return Annotations(videos, events, class_names, repairs)


def write_annotations(annotations: Annotations, path: str | Path) -> None:
    """Write annotations in the layout that `read_annotations` reads.

    Args:
        annotations: what to write.
        path: the file; gzipped when its name ends in `.gz`.
    """
    write_json(Path(path), annotations.to_dict())


def _load(path: Path) -> dict[str, Any]:
    """Return the file's `database` object."""
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected an annotation file at {path}, got none; check the path, or make simulated "
            "data with `davezoo simulate`."
        )
    content = read_json(path, AnnotationError)
    remedy = "bring it into the ActivityNet layout described in davezoo/annotations/activitynet.py"
    if not isinstance(content, dict) or not isinstance(content.get("database"), dict):
        raise refusal(f"`database` in {path}", "be an object", shorten(content), remedy)
    return dict(content["database"])


def _check_video(path: Path, video: str, entry: Any) -> None:
    """Refuse a video entry whose parts are missing, of another type or out of bounds."""
    place = f"video {video!r} in {path}"
    # Ids become parts of file names: they must not lead out of the feature folder.
    if not _is_text(video) or any(part in video for part in ("/", "\\", "..", "\0")):
        raise refusal(
            f"the id of {place}",
            "be a plain file name without separators, `..` or NUL",
            repr(video),
            "rename the video and its feature files",
        )
    if not isinstance(entry, dict):
        raise refusal(place, "be an object", shorten(entry), "write subset, duration, annotations")
    subset = entry.get("subset")
    if subset is not None and subset != "" and not _is_text(subset):
        raise refusal(f"`subset` of {place}", "be text", shorten(subset), "correct it")
    if not isinstance(entry.get("annotations"), list):
        raise refusal(
            f"`annotations` of {place}",
            "be a list",
            shorten(entry.get("annotations")),
            "write [] for a video without events",
        )
    fps = entry.get("fps")
    if "fps" in entry and not (_is_number(fps) and 0 < fps <= _HIGHEST_FPS):
        raise refusal(
            f"`fps` of {place}",
            f"be frames per second, above 0 and at most {_HIGHEST_FPS}",
            shorten(fps),
            "correct it or leave it out",
        )
    duration = entry.get("duration")
    if duration is None and not entry["annotations"]:
        return
    if not (_is_number(duration) and 0 < duration <= LONGEST_SECONDS):
        raise refusal(
            f"`duration` of {place}",
            "be a positive number of seconds",
            shorten(duration),
            "add the duration (only a video without events may lack it)",
        )


def _check_event(path: Path, video: str, index: int, event: Any) -> None:
    """Refuse an annotation whose parts are missing, of another type or out of bounds."""
    place = f"annotation {index} of video {video!r} in {path}"
    if not isinstance(event, dict):
        raise refusal(place, "be an object", shorten(event), "write segment, label, label_id")
    if not _is_text(event.get("label")):
        got = shorten(event.get("label"))
        raise refusal(f"`label` of {place}", "be the name of a class", got, "correct it")
    label_id = event.get("label_id", 0)
    if type(label_id) is not int or not 0 <= label_id < MOST_CLASSES:
        raise refusal(
            f"`label_id` of {place}",
            f"be an integer from 0 to {MOST_CLASSES - 1}",
            shorten(label_id),
            "correct it or leave `label_id` out of the whole file",
        )
    segment = event.get("segment")
    if not (
        isinstance(segment, list)
        and len(segment) == 2
        and all(map(_is_number, segment))
        and 0 <= segment[0] <= segment[1] <= LONGEST_SECONDS
    ):
        raise refusal(
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
            raise refusal(
                f"`label` and `label_id` of annotation {index} of video {video!r} in {path}",
                f"agree with the earlier pair {first_name!r}, {first_id}",
                f"{name!r}, {label_id}",
                "correct one, or leave `label_id` out of the whole file",
            )
    count = max(name_of, default=-1) + 1
    class_names = [name_of.get(index, f"(no event of class {index})") for index in range(count)]
    labels = np.array([event["label_id"] for _, _, event in entries], dtype=np.int64)
    return labels, class_names, {_UNUSED_CLASSES: count - len(name_of), _IDS_IGNORED: 0}


def _is_number(value: Any) -> TypeGuard[float]:
    """Say whether a JSON value is a number; `true` and `false` are not."""
    return type(value) in (int, float)


def _is_text(value: Any) -> bool:
    """Say whether a JSON value is non-empty text that can be written to a file."""
    if not isinstance(value, str) or not value:
        return False
    return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)
