"""What the viewer of a report draws: videos, their events and detections, packed for a page.

A test split has hundreds of thousands of detections. They travel as columns of 32-bit numbers in
base64, which a browser turns into arrays at once; as JSON numbers they would take twice the room
and many times as long to read.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from davezoo.errors import InputError
from davezoo.evaluation.average_precision import temporal_iou
from davezoo.evaluation.ground_truth import uncounted_events

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from davezoo.annotations import Annotations
    from davezoo.evaluation.predictions import PredictionTable
    from davezoo.evaluation.results import EvaluationResult

# Best for a browser first: where a video has several files, the first of these is shown.
MEDIA_SUFFIXES = (".mp4", ".webm", ".m4v", ".mov", ".mkv", ".ogv", ".m4a", ".mp3", ".ogg", ".wav")


class ViewerError(InputError):
    """Videos cannot be shown as asked for; the message says what to change."""


@dataclass(frozen=True)
class ScoredDetections:
    """One file of detections with its score.

    Args:
        name: what the page calls it.
        predictions: the detections.
        result: their score.
    """

    name: str
    predictions: PredictionTable
    result: EvaluationResult


@dataclass(frozen=True)
class MediaFiles:
    """The sound or picture files of videos.

    Args:
        folder: where they lie.
        file_of: name of the file of each video that has one.
    """

    folder: Path
    file_of: Mapping[str, str]

    def url(self, video: str, page_folder: Path) -> str | None:
        """Return the address of a video's file, seen from the folder of the page, or None."""
        if video not in self.file_of:
            return None
        path = os.path.relpath(self.folder / self.file_of[video], page_folder)
        return quote(path.replace(os.sep, "/").encode("utf-8", "surrogateescape"))


def find_media(folder: Path) -> MediaFiles:
    """Look up the media files of a folder, each named after its video: `ID.mp4`, `ID.wav`, ...

    Ids come from files that anybody may have written. They are compared with the names that the
    folder has and never made into a path, so that no id reaches a file elsewhere.

    Args:
        folder: the folder; folders in it are not searched.

    Raises:
        ViewerError: if there is no such folder.
    """
    if not folder.is_dir():
        raise ViewerError(
            f"Expected `media` to be a folder of files named after videos, got {folder}, which is "
            "none; give the folder, or leave `media` out."
        )
    files = [path for path in folder.iterdir() if path.suffix.lower() in MEDIA_SUFFIXES]
    worst_first = sorted(
        files, key=lambda path: (MEDIA_SUFFIXES.index(path.suffix.lower()), path.name), reverse=True
    )
    return MediaFiles(folder, {path.stem: path.name for path in worst_first if path.is_file()})


def video_quality(events: NDArray[np.float64], detections: NDArray[np.float64]) -> float:
    """Measure how well the N best-scored detections of a video cover its N events.

    Each event takes the largest temporal IoU that one of those detections reaches with it, 0 where
    none has its class; the mean over the events is returned. As many detections as events count,
    so that no score threshold is needed and false alarms with a high score cost.

    Args:
        events: start, end (seconds) and label of each event, (N, 3), N at least 1.
        detections: start, end (seconds), label and score, (M, 4), highest score first.

    Returns:
        The mean temporal IoU, 0 to 1.

    Example:
        >>> events = np.array([[0.0, 4.0, 7], [5.0, 9.0, 7]])
        >>> video_quality(events, np.array([[0.0, 4.0, 7, 0.9], [5.0, 7.0, 7, 0.8]]))
        0.75
    """
    best = detections[: len(events)]
    tiou = temporal_iou(events[:, None, :2], best[None, :, :2])
    same_class = events[:, None, 2] == best[None, :, 2]
    return float(np.where(same_class, tiou, 0.0).max(axis=1, initial=0.0).mean())


def choose_videos(quality: Mapping[str, float], max_videos: int) -> list[str]:
    """Choose videos at equal steps along the list from the best to the worst quality.

    Args:
        quality: the quality of each video by id.
        max_videos: how many to choose at most.

    Returns:
        Ids, best quality first, ties by id; the best and the worst are always among them (the best
        alone where one is asked for).

    Example:
        >>> choose_videos({"a": 0.2, "b": 0.9, "c": 0.5, "d": 0.0, "e": 0.1}, 3)
        ['b', 'a', 'd']
    """
    ranked = sorted(quality, key=lambda video: (-quality[video], video))
    count = min(max_videos, len(ranked))
    steps = np.linspace(0, max(len(ranked) - 1, 0), count).round().astype(int)
    return [ranked[step] for step in steps]


def score_slider(scores: NDArray[np.float64], num_events: int) -> dict[str, Any]:
    """Choose the range of a score slider, and where it opens: as many detections as events.

    Scores of a barely trained model all lie near 0, so that the range ends at the best score,
    rounded up to one digit, and has a hundred steps or more.

    Args:
        scores: scores of the detections, (N,).
        num_events: how many events are annotated.

    Returns:
        `low`, `high`, `start` and `step` of the slider and its `digits` after the point.

    Example:
        >>> score_slider(np.array([0.9, 0.52, 0.1]), 2)
        {'low': 0.0, 'high': 0.9, 'start': 0.52, 'step': 0.001, 'digits': 3}
    """
    best, worst = scores.max(initial=0.0), scores.min(initial=0.0)
    extent = max(best - worst or 1.0, 1e-9)
    unit = 10.0 ** np.floor(np.log10(extent))  # of the first digit
    digits = int(max(2 - np.floor(np.log10(extent)), 0))
    low, high = np.floor(worst / unit + 1e-9) * unit, np.ceil(best / unit - 1e-9) * unit
    start = low
    if 0 < num_events <= len(scores):
        enough = np.partition(scores, -num_events)[-num_events]
        start = np.floor(enough * 10.0**digits + 1e-9) / 10.0**digits
    values = {"low": low, "high": max(high, low + unit), "start": start, "step": 10.0**-digits}
    return {name: round(float(value), digits) for name, value in values.items()} | {
        "digits": digits
    }


@dataclass(frozen=True)
class _Rows:
    """Events or detections sorted by video.

    `table` holds start, end (seconds), label and, of detections, score, (N, 3 or 4); the rows of
    video V are those from `bounds[V]` to `bounds[V + 1]`.
    """

    table: NDArray[np.float64]
    bounds: NDArray[np.int64]

    def of(self, video: int) -> NDArray[np.float64]:
        """Return the rows of one video."""
        return self.table[self.bounds[video] : self.bounds[video + 1]]

    def pack(self, chosen: NDArray[np.int64]) -> dict[str, str]:
        """Return the rows of the chosen videos, in their order, as columns in base64."""
        counts = np.diff(self.bounds)[chosen]
        before = np.cumsum(counts) - counts
        rows = np.repeat(self.bounds[chosen] - before, counts) + np.arange(counts.sum())
        names = ("starts", "ends", "labels", "scores")[: self.table.shape[1]]
        largest = np.finfo(np.float32).max  # an infinity would stop the page's script
        table = self.table[rows].clip(-largest, largest)
        columns = {
            name: table[:, column].astype("<i4" if name == "labels" else "<f4")
            for column, name in enumerate(names)
        }
        columns["counts"] = counts.astype("<i4")
        return {
            name: base64.b64encode(values.tobytes()).decode() for name, values in columns.items()
        }


def viewer_data(
    annotations: Annotations,
    files: Sequence[ScoredDetections],
    blocked: Collection[str] = (),
    max_videos: int | None = None,
) -> dict[str, Any]:
    """Bring videos, events and the detections of all files together for the page's script.

    Videos that the protocol leaves out or the list blocks are not in it, nor are events that the
    protocol does not count (near duplicates, too short ones): what is shown is what was scored.

    Args:
        annotations: the videos and events of the split that was scored.
        files: the detections; the first file is the one that videos are chosen by.
        blocked: ids of videos that were left out of the score.
        max_videos: how many videos, best to worst (see `choose_videos`); None for all.

    Returns:
        JSON types: `labels` (names that occur), `scored` (those labels that have events anywhere),
        `videos` (ids), `durations` (seconds or None), `events` and `files` with packed columns,
        detections best score first; and `num_videos`, how many there are to choose from.

    Raises:
        ViewerError: if `max_videos` is negative.
    """
    if max_videos is not None and max_videos < 0:
        raise ViewerError(
            f"Expected `max_videos` to be 0 or more, got {max_videos}; give the number of videos "
            "to draw, or leave it out for all."
        )
    rules = files[0].result.protocol["rules"]
    left_out = {*blocked, *rules["excluded_videos"]}
    ids = [video for video in annotations.videos.index if video not in left_out]
    index_of = {video: index for index, video in enumerate(ids)}
    events = _event_rows(annotations, index_of, rules)
    names, labels_of = _join_names(
        annotations.class_names, [file.predictions.class_names for file in files]
    )
    detections = [
        _detection_rows(file.predictions, labels, index_of)
        for file, labels in zip(files, labels_of, strict=True)
    ]
    names = _keep_occurring(names, [events, *detections])
    annotated = np.flatnonzero(np.diff(events.bounds)).tolist()
    quality = [
        {v: video_quality(events.of(v), rows.of(v)) for v in annotated} for rows in detections
    ]
    chosen = np.arange(len(ids))
    if max_videos is not None:
        by_id = {ids[video]: value for video, value in quality[0].items()}
        spread = [index_of[video] for video in choose_videos(by_id, max_videos)]
        chosen = np.array(spread, dtype=np.int64)
    durations = annotations.videos["duration"].reindex(ids).to_numpy(np.float64)
    return {
        "labels": names,
        "scored": np.unique(events.table[:, 2]).astype(int).tolist(),
        "videos": [ids[video] for video in chosen],
        "durations": [None if np.isnan(d) else round(d, 3) for d in durations[chosen].tolist()],
        "events": events.pack(chosen),
        "files": [
            {
                "name": file.name,
                "quality": [_rounded(values.get(video)) for video in chosen.tolist()],
                "slider": score_slider(rows.table[:, 3], len(events.table)),
                **rows.pack(chosen),
            }
            for file, values, rows in zip(files, quality, detections, strict=True)
        ],
        "num_videos": len(ids),
    }


def _event_rows(
    annotations: Annotations, index_of: Mapping[str, int], rules: Mapping[str, Any]
) -> _Rows:
    """Return the events that the protocol counts, in the order of the annotations."""
    events = annotations.events[annotations.events["video"].isin(index_of)]
    near_duplicate, short = uncounted_events(
        events, rules["near_duplicate_tolerance_seconds"], rules["min_event_duration_seconds"]
    )
    counted = events[~near_duplicate & ~short]
    videos = np.array([index_of[video] for video in counted["video"]], dtype=np.int64)
    return _sort_rows(counted[["start", "end", "label"]].to_numpy(np.float64), videos, index_of)


def _detection_rows(
    predictions: PredictionTable, labels: NDArray[np.int64], index_of: Mapping[str, int]
) -> _Rows:
    """Return the detections in the videos of the page, best score first, of equal ones the last.

    That is the order in which the evaluators let detections choose their events.
    """
    video_of = [index_of.get(video, -1) for video in predictions.video_ids]
    videos = np.array(video_of, dtype=np.int64)[predictions.videos]
    table = np.column_stack([predictions.segments, labels[predictions.labels], predictions.scores])
    rows = np.flatnonzero(videos >= 0)
    rows = rows[np.lexsort((-rows, -predictions.scores[rows]))]
    return _sort_rows(table[rows], videos[rows], index_of)


def _sort_rows(
    table: NDArray[np.float64], videos: NDArray[np.int64], index_of: Mapping[str, int]
) -> _Rows:
    """Group rows by video, in the order that they have within each."""
    order = np.argsort(videos, kind="stable")
    return _Rows(table[order], np.searchsorted(videos[order], np.arange(len(index_of) + 1)))


def _join_names(
    class_names: Sequence[str], predicted: Sequence[Sequence[str | int]]
) -> tuple[list[str], list[NDArray[np.int64]]]:
    """Return all names and, for each file's classes (names or indices), their places in them."""
    place_of: dict[str | int, int] = {}
    for index, name in enumerate(class_names):
        place_of[name] = place_of[index] = index
    names = list(class_names)
    for label in (label for labels in predicted for label in labels):
        if label not in place_of:
            place_of[label] = len(names)
            names.append(label if isinstance(label, str) else f"(unknown class {label})")
    places = [np.array([place_of[label] for label in labels], np.int64) for labels in predicted]
    return names, places


def _keep_occurring(names: Sequence[str], tables: Sequence[_Rows]) -> list[str]:
    """Return the names that occur, and number the labels of the tables, in place, by them.

    EPIC-Kitchens-100 has 29,100 names of actions, most of which no page of it shows.
    """
    occurring = np.unique(np.concatenate([rows.table[:, 2] for rows in tables]))
    for rows in tables:
        rows.table[:, 2] = np.searchsorted(occurring, rows.table[:, 2])
    return [names[label] for label in occurring.astype(int).tolist()]


def _rounded(quality: float | None) -> float | None:
    """Round to what a screen can show; None where a video has no events."""
    return None if quality is None else round(quality, 4)
