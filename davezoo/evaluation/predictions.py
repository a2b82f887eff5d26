"""Files of detections in the layout of ActivityNet: reading and writing.

The layout (Caba Heilbron et al., CVPR 2015, submission format)::

    {"version": "...", "results": {VIDEO: [
        {"segment": [3.2, 9.8], "label": "dog barking", "score": 0.71}, ...]}, "external_data": {}}

Times are seconds. `label_id`, the class index of the annotation file, may stand in for `label`.
Detections of EPIC-Kitchens-100 may have `verb` and `noun` instead, as its challenge asks for
(Damen et al., IJCV 2022, C2-Action-Detection): names or class indices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as shorten
from typing import TYPE_CHECKING, Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from davezoo.annotations.classes import NUM_NOUNS, Labels
from davezoo.errors import InputError
from davezoo.json_files import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from davezoo.evaluation.average_precision import Array
    from davezoo.structures import Events


class PredictionError(InputError):
    """Detections cannot be used; the message names file, video, entry and remedy."""


@dataclass(frozen=True)
class PredictionTable:
    """Detections of many videos, one row a detection, in the order in which they were listed.

    Args:
        video_ids: the videos that were looked at, also those without detections.
        class_names: name of each class index of `labels`; an integer where a file gives only the
            class index of the annotations.
        videos: index into `video_ids`, (N,).
        labels: index into `class_names`, (N,).
        segments: starts and ends in seconds, (N, 2).
        scores: confidences, (N,).
        version: what the file says of its origin.

    Raises:
        PredictionError: if a time or score is not finite or a segment ends before it starts.
    """

    video_ids: list[str]
    class_names: list[str] | list[str | int]
    videos: NDArray[np.int64]
    labels: NDArray[np.int64]
    segments: NDArray[np.float64]
    scores: NDArray[np.float64]
    version: str = ""

    def __post_init__(self) -> None:
        """Refuse detections that no evaluator gives a meaning to."""
        bad = first_bad_row(self.segments, self.scores)
        if bad is not None:
            place = f"a detection of video {self.video_ids[self.videos[bad]]!r}"
            raise _bad_values(place, self.segments[bad].tolist(), float(self.scores[bad]))

    def __len__(self) -> int:
        """Return the number of detections."""
        return len(self.videos)

    @classmethod
    def from_events(
        cls, events: Mapping[str, Events], class_names: Sequence[str], version: str = "davezoo"
    ) -> PredictionTable:
        """Collect the detections of videos.

        Args:
            events: detections with scores of each video, segments in seconds.
            class_names: name of each class index.
            version: a word on their origin.

        Raises:
            PredictionError: if detections have no scores, or half-precision ones, which tie.
        """
        for video, detections in events.items():
            check_scores(video, detections)
        counts = np.array([len(detections) for detections in events.values()], dtype=np.int64)

        def join(parts: list[Any], dtype: type, shape: tuple[int, ...]) -> NDArray[Any]:
            arrays: list[NDArray[Any]] = [
                np.asarray(part.detach().cpu(), dtype=dtype).reshape(shape) for part in parts
            ]
            return np.concatenate([np.zeros((0, *shape[1:]), dtype=dtype), *arrays])

        return cls(
            video_ids=list(events),
            class_names=list(class_names),
            videos=np.repeat(np.arange(len(counts)), counts),
            labels=join([e.labels for e in events.values()], np.int64, (-1,)),
            segments=join([e.segments for e in events.values()], np.float64, (-1, 2)),
            scores=join([e.scores for e in events.values()], np.float64, (-1,)),
            version=version,
        )


def check_scores(video: str, detections: Events) -> None:
    """Refuse detections without scores or with half-precision ones.

    Half precision keeps three digits, so that many detections tie and their order, which the score
    depends on, is lost; casting up afterwards does not bring it back.

    Args:
        video: id of the video, for the message.
        detections: detections of the video.

    Raises:
        PredictionError: if they cannot be ranked.
    """
    if detections.scores is None:
        raise PredictionError(
            f"Expected the detections of video {video!r} to have `scores`, got None; hand in what "
            "the detector decoded."
        )
    if detections.scores.dtype.itemsize < 4:
        raise PredictionError(
            f"Expected the scores of video {video!r} to be float32 or float64, got "
            f"{detections.scores.dtype}; cast the logits to float32 before the sigmoid."
        )


def first_bad_row(segments: Array, scores: Array) -> int | None:
    """Return the first row with a value that is not finite or an end before its start, or None.

    Args:
        segments: starts and ends, (N, 2); a NumPy array or a tensor.
        scores: confidences, (N,).
    """
    xp = array_namespace(segments, scores)
    good = xp.all(xp.isfinite(segments), axis=1) & xp.isfinite(scores)
    good = good & (segments[:, 0] <= segments[:, 1])
    return None if bool(xp.all(good)) else int(xp.argmin(xp.astype(good, xp.int64)))


def read_predictions(path: Path, labels: Labels | None = None) -> PredictionTable:
    """Read a file of detections, gzipped or not.

    Args:
        path: the file, in the layout of ActivityNet.
        labels: what to read from detections with `verb` and `noun`; others have one label, which
            is read in any case.

    Returns:
        Videos and detections in file order, numbers in float64 as written.

    Raises:
        FileNotFoundError: if there is no such file.
        PredictionError: if the file is not JSON or an entry is not a detection; the message names
            file, video and entry.
    """
    path = Path(path)
    content = read_json(path, PredictionError)
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict):
        raise PredictionError(
            f"Expected `results` of {path} to map videos to lists of detections, got "
            f"{shorten(results)}; write it in the ActivityNet submission layout."
        )
    try:
        table = _tabulate(results, str(content.get("version", "")), labels)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError):
        table = None
    if table is None:
        # Only now look at the entries one by one: good files are read three times as fast.
        _raise_first_fault(path, results, labels)
        raise PredictionError(f"Expected `results` of {path} to hold detections; write it again.")
    return table


def write_predictions(
    path: Path, predictions: PredictionTable, external_data: Mapping[str, Any] | None = None
) -> None:
    """Write detections in the layout of ActivityNet, all at once.

    Numbers are written with all digits of their float64 value, so that the score of the file is the
    score of the detections to the last bit.

    Args:
        path: the file; missing folders are made.
        predictions: what to write; videos without detections are written with an empty list.
        external_data: what the layout says of further training data.
    """
    results: dict[str, list[dict[str, Any]]] = {video: [] for video in predictions.video_ids}
    rows = zip(
        predictions.videos.tolist(),
        predictions.segments.tolist(),
        predictions.labels.tolist(),
        predictions.scores.tolist(),
        strict=True,
    )
    for video, segment, label, score in rows:
        name = predictions.class_names[label]
        key = "label" if isinstance(name, str) else "label_id"
        entry = {"segment": segment, key: name, "score": score}
        results[predictions.video_ids[video]].append(entry)
    content = {
        "version": predictions.version,
        "results": results,
        "external_data": dict(external_data or {}),
    }
    write_json(Path(path), content)


def _tabulate(results: dict[str, Any], version: str, kind: Labels | None) -> PredictionTable | None:
    """Return the table, or None or an error of any kind where an entry is not a detection."""
    if {type(entries) for entries in results.values()} - {list}:
        return None
    entries = [entry for listed in results.values() for entry in listed]
    segments = [entry["segment"] for entry in entries]
    if kind is None:
        labels = [entry["label"] if "label" in entry else entry["label_id"] for entry in entries]
    else:
        labels = [_epic_label(entry, kind) for entry in entries]
    times = [time for segment in segments for time in segment]
    scores = [entry["score"] for entry in entries]
    # Asked by type, because NumPy would take "0.5" and true for numbers.
    number_types = {type(value) for value in times} | {type(value) for value in scores}
    if number_types - {int, float} or {type(label) for label in labels} - {int, str}:
        return None
    if {len(segment) for segment in segments} - {2} or {type(s) for s in segments} - {list}:
        return None
    counts = np.array([len(listed) for listed in results.values()], dtype=np.int64)
    index_of: dict[str | int, int] = {}
    return PredictionTable(
        video_ids=list(results),
        labels=np.array(
            [index_of.setdefault(label, len(index_of)) for label in labels], dtype=np.int64
        ),
        class_names=list(index_of),
        videos=np.repeat(np.arange(len(results)), counts),
        segments=np.array(times, dtype=np.float64).reshape(-1, 2),
        scores=np.array(scores, dtype=np.float64),
        version=version,
    )


def _epic_label(entry: dict[str, Any], kind: Labels) -> Any:
    """Return the verb, noun or action of a detection, or its one label where it has neither.

    Returns:
        A name or class index; None for an action without one.
    """
    if "verb" not in entry and "noun" not in entry:
        return entry.get("label", entry.get("label_id"))
    if kind != "action":
        return entry.get(kind)
    verb, noun = entry.get("verb"), entry.get("noun")
    if type(verb) is int and type(noun) is int and 0 <= noun < NUM_NOUNS and verb >= 0:
        return verb * NUM_NOUNS + noun
    return f"{verb} {noun}" if isinstance(verb, str) and isinstance(noun, str) else None


def _raise_first_fault(path: Path, results: dict[str, Any], labels: Labels | None) -> None:
    """Raise the error of the first entry that is not a detection."""
    for video, listed in results.items():
        if not isinstance(listed, list):
            raise PredictionError(
                f"Expected the entry of video {video!r} in {path} to be a list of detections, got "
                f"{shorten(listed)}; write [] for a video without detections."
            )
        for index, entry in enumerate(listed):
            _check_entry(f"detection {index} of video {video!r} in {path}", entry, labels)


def _check_entry(place: str, entry: Any, labels: Labels | None) -> None:
    """Refuse an entry that is not a detection."""
    remedy = 'write {"segment": [start, end], "label": name, "score": number}'
    if not isinstance(entry, dict):
        raise PredictionError(f"Expected {place} to be an object, got {shorten(entry)}; {remedy}.")
    segment, score = entry.get("segment"), entry.get("score")
    label = _epic_label(entry, labels) if labels else entry.get("label", entry.get("label_id"))
    if not isinstance(segment, list) or len(segment) != 2 or not all(map(_is_number, segment)):
        raise PredictionError(
            f"Expected `segment` of {place} to be two numbers, got {shorten(segment)}; {remedy}."
        )
    if type(label) not in (int, str) and labels and ("verb" in entry or "noun" in entry):
        got = f"verb {shorten(entry.get('verb'))}, noun {shorten(entry.get('noun'))}"
        raise PredictionError(
            f"Expected the {labels} of {place} to be a name or a class index (of the noun, below "
            f"{NUM_NOUNS}), got {got}; write both as names or both as indices."
        )
    if type(label) not in (int, str):
        raise PredictionError(
            f"Expected `label` of {place} to be a name, or `label_id` a class index, got "
            f"{shorten(label)}; {remedy}."
        )
    if not _is_number(score):
        raise PredictionError(
            f"Expected `score` of {place} to be a number, got {shorten(score)}; {remedy}."
        )
    finite = all(_is_finite(value) for value in (*segment, score))
    if not finite or segment[0] > segment[1]:
        raise _bad_values(place, segment, score)


def _bad_values(place: str, segment: Any, score: Any) -> PredictionError:
    return PredictionError(
        f"Expected {place} to have finite times and score and an end that is not before the start, "
        f"got segment {shorten(segment)}, score {shorten(score)}; correct or remove the detection."
    )


def _is_number(value: Any) -> bool:
    """Say whether a JSON value is a number; `true` and `false` are not."""
    return type(value) in (int, float)


def _is_finite(value: float) -> bool:
    """Say whether a number is one that a float64 can hold."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
