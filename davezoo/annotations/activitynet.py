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

from davezoo.annotations.content import (
    HIGHEST_FPS,
    NO_ID,
    FileContent,
    check_ids,
    is_text,
    make_events,
    make_videos,
)
from davezoo.annotations.table import (
    LONGEST_SECONDS,
    MOST_CLASSES,
    AnnotationError,
    Annotations,
    refusal,
)
from davezoo.json_files import read_json, write_json


def read_database(path: Path) -> FileContent:
    """Read an annotation file in the ActivityNet layout, gzipped or not.

    Args:
        path: the file, `.json` or `.json.gz`.

    Raises:
        FileNotFoundError: if there is no such file.
        AnnotationError: if the file is damaged or has an entry that cannot be used.
    """
    database = _load(path)
    check_ids(path, database)
    for video, entry in database.items():
        _check_video(path, video, entry)
    entries = [
        (video, index, event)
        for video, entry in database.items()
        for index, event in enumerate(entry["annotations"])
    ]
    for video, index, event in entries:
        _check_event(path, video, index, event)
    segments = np.array([event["segment"] for _, _, event in entries], dtype=np.float64)
    segments = segments.reshape(-1, 2)
    return FileContent(
        path,
        make_videos(
            database,
            (entry.get("subset") or "" for entry in database.values()),
            (entry.get("duration", np.nan) for entry in database.values()),
            (entry.get("fps", np.nan) for entry in database.values()),
        ),
        make_events(
            (video for video, _, _ in entries),
            segments[:, 0],
            segments[:, 1],
            (event["label"] for _, _, event in entries),
            (event.get("label_id", NO_ID) for _, _, event in entries),
            (index for _, index, _ in entries),
        ),
        entry_is="annotation",
    )


def write_annotations(annotations: Annotations, path: str | Path) -> None:
    """Write annotations in the layout that `read_annotations` reads.

    Args:
        annotations: what to write.
        path: the file; gzipped when its name ends in `.gz`.
    """
    write_json(Path(path), annotations.to_dict())


def _load(path: Path) -> dict[str, Any]:
    """Return the file's `database` object."""
    content = read_json(path, AnnotationError)
    remedy = "bring it into the ActivityNet layout described in davezoo/annotations/activitynet.py"
    if not isinstance(content, dict) or not isinstance(content.get("database"), dict):
        raise refusal(f"`database` in {path}", "be an object", shorten(content), remedy)
    return dict(content["database"])


def _check_video(path: Path, video: str, entry: Any) -> None:
    """Refuse a video entry whose parts are missing, of another type or out of bounds."""
    place = f"video {video!r} in {path}"
    if not isinstance(entry, dict):
        raise refusal(place, "be an object", shorten(entry), "write subset, duration, annotations")
    subset = entry.get("subset")
    if subset is not None and subset != "" and not is_text(subset):
        raise refusal(f"`subset` of {place}", "be text", shorten(subset), "correct it")
    if not isinstance(entry.get("annotations"), list):
        raise refusal(
            f"`annotations` of {place}",
            "be a list",
            shorten(entry.get("annotations")),
            "write [] for a video without events",
        )
    fps = entry.get("fps")
    if fps is not None and not (_is_number(fps) and 0 < fps <= HIGHEST_FPS):
        raise refusal(
            f"`fps` of {place}",
            f"be frames per second, above 0 and at most {HIGHEST_FPS}",
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
    if not is_text(event.get("label")):
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


def _is_number(value: Any) -> TypeGuard[float]:
    """Say whether a JSON value is a number; `true` and `false` are not."""
    return type(value) in (int, float)
