"""Detected actions of EPIC-Kitchens-100 from the detections of a verb and of a noun model.

An action is a verb and a noun (Damen et al., IJCV 2022). The challenge scores verbs, nouns and
actions of one list of detections, each with a verb, a noun, a segment and a score, whereas the
published detectors are trained for verbs and for nouns apart.

The rule is ours, made for files of detections: every verb is paired with every noun of the video
that it overlaps enough; the pair lies at the mean of the two segments, weighted with their scores,
and has the geometric mean of the scores. The authors of ActionFormer (Zhang et al., ECCV 2022)
describe a relative of it (issue 97 of their repository), which needs the two networks side by side:
it pairs what both decode at the same point of the pyramid.
"""

from __future__ import annotations

import sys
from pathlib import Path
from reprlib import repr as shorten
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from tqdm import tqdm

from davezoo.annotations.classes import read_class_list
from davezoo.evaluation.average_precision import temporal_iou
from davezoo.evaluation.predictions import PredictionError, read_predictions
from davezoo.evaluation.results import printable
from davezoo.json_files import write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Detected(NamedTuple):
    """Detections of one video.

    Args:
        segments: starts and ends in seconds, (N, 2).
        scores: confidences, 0 to 1, (N,).
        labels: names or class indices, (N,), of type object.
    """

    segments: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: NDArray[np.object_]


class Pairs(NamedTuple):
    """Verbs and nouns of one video that belong together.

    Args:
        verbs: row of the verb, (P,).
        nouns: row of the noun, (P,).
        segments: starts and ends in seconds, (P, 2).
        scores: confidences, (P,), highest first.
    """

    verbs: NDArray[np.int64]
    nouns: NDArray[np.int64]
    segments: NDArray[np.float64]
    scores: NDArray[np.float64]


def join_epic(
    verbs: Path,
    nouns: Path,
    output: Path,
    min_tiou: float = 0.5,
    max_events: int = 2000,
    classes: list[Path] | None = None,
) -> None:
    """Pair the detections of a verb and a noun model into detected actions of EPIC-Kitchens-100.

    Every verb is paired with every noun of the video that it overlaps enough. The segment is the
    mean of the two, weighted with their scores; the score is the root of their product. The file
    can be scored with the protocols epic100-verb, epic100-noun and epic100-action.

    Args:
        verbs: detections of verbs in the ActivityNet layout, JSON, gzipped or not.
        nouns: detections of nouns of the same videos.
        output: the file to write, in the layout of the EPIC-Kitchens-100 detection challenge.
        min_tiou: temporal IoU that a verb and a noun must have.
        max_events: pairs to keep in each video, best first.
        classes: tables of the verb and of the noun classes, [verbs, nouns]; with them class indices
            are written instead of names, as the challenge asks.
    """
    if classes is not None and len(classes) != 2:
        raise PredictionError(
            f"Expected `classes` to be two files, of verbs and of nouns, got {len(classes)}; give "
            "both or none."
        )
    if not 0 < min_tiou <= 1 or max_events < 1:
        raise PredictionError(
            "Expected `min_tiou` to be above 0 and at most 1 and `max_events` to be 1 or more, got "
            f"{min_tiou} and {max_events}; leave them out for 0.5 and 2000."
        )
    verb_names, noun_names = classes or (None, None)
    found = _videos(verbs, "verb", verb_names), _videos(nouns, "noun", noun_names)
    _check_labels(verbs, nouns, *found)
    results: dict[str, list[dict[str, Any]]] = {}
    num_pairs = 0
    for video in tqdm(dict.fromkeys([*found[0], *found[1]]), "Pairing", disable=None):
        results[video] = []
        if video in found[0] and video in found[1]:
            both = found[0][video], found[1][video]
            pairs = pair_detections(*both, min_tiou)
            num_pairs += len(pairs.scores)
            results[video] = _entries(*both, pairs, max_events)
    # The layout of the challenge, whose evaluator reads `results` alone.
    write_json(
        Path(output), {"version": "0.2", "challenge": "action_detection", "results": results}
    )
    num_found = (sum(len(d.scores) for d in videos.values()) for videos in found)
    sys.stdout.write(
        "{} verbs and {} nouns".format(*num_found)
        + f" make {num_pairs} pairs with tIoU {min_tiou:g} or more; "
        f"{sum(map(len, results.values()))} are kept, at most {max_events} a video\n"
    )
    for path, here, there in ((verbs, found[0], found[1]), (nouns, found[1], found[0])):
        absent = [printable(video) for video in there if video not in here]
        if absent:
            some = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
            sys.stdout.write(f"{len(absent)} videos are not in {path} and get none: {some}\n")
    sys.stdout.write(f"wrote {output}\n")


def pair_detections(verbs: Detected, nouns: Detected, min_tiou: float) -> Pairs:
    """Pair every verb with every noun that it overlaps enough.

    Args:
        verbs: detected verbs of a video.
        nouns: detected nouns of the video.
        min_tiou: temporal IoU that the two must have, above 0.

    Returns:
        The pairs, highest score first; equal ones in the order of the verbs, then of the starts of
        the nouns.
    """
    order = np.argsort(nouns.segments[:, 0], kind="stable")
    starts = nouns.segments[order, 0]
    start, end = verbs.segments[:, 0], verbs.segments[:, 1]
    # A noun reaches the tIoU only if it starts before the verb ends, ends after the verb starts and
    # is not longer than the verb over the tIoU. The margin is wider than any rounding of times.
    margin = 1e-3
    first = np.searchsorted(starts, start - (end - start) / min_tiou - margin)
    count = np.searchsorted(starts, end, side="right") - first
    verb = np.repeat(np.arange(len(start)), count)
    noun = order[np.arange(len(verb)) - np.repeat(np.cumsum(count) - count - first, count)]

    near = temporal_iou(verbs.segments[verb], nouns.segments[noun]) >= min_tiou
    verb, noun = verb[near], noun[near]
    verb_score, noun_score = verbs.scores[verb], nouns.scores[noun]
    total = verb_score + noun_score
    share = np.where(total > 0, verb_score / np.where(total > 0, total, 1), 0.5)[:, None]
    segments = share * verbs.segments[verb] + (1 - share) * nouns.segments[noun]
    scores = np.sqrt(verb_score * noun_score)
    best = np.argsort(-scores, kind="stable")
    return Pairs(verb[best], noun[best], segments[best], scores[best])


def _videos(path: Path, kind: Literal["verb", "noun"], classes: Path | None) -> dict[str, Detected]:
    """Read the detections of each video, with class indices where the list of classes is given."""
    table = read_predictions(path, kind)
    if not np.all((table.scores >= 0) & (table.scores <= 1)):
        bad = int(np.argmin((table.scores >= 0) & (table.scores <= 1)))
        raise PredictionError(
            f"Expected the scores in {path} to be from 0 to 1, got {table.scores[bad]} in video "
            f"{table.video_ids[table.videos[bad]]!r}; write probabilities, so that those of verbs "
            "and nouns can be multiplied."
        )
    names = np.array(table.class_names, dtype=object)
    if classes is not None:
        names[:] = _indices(path, table.class_names, classes)
    bounds = np.searchsorted(table.videos, np.arange(len(table.video_ids) + 1))
    return {
        video: Detected(table.segments[rows], table.scores[rows], names[table.labels[rows]])
        for video, rows in (
            (video, slice(bounds[index], bounds[index + 1]))
            for index, video in enumerate(table.video_ids)
        )
    }


def _indices(path: Path, names: Sequence[str | int], classes: Path) -> list[int]:
    """Return the class index of each name; indices stay."""
    index_of: dict[str | int, int] = {name: i for i, name in enumerate(read_class_list(classes))}
    index_of |= {index: index for index in list(index_of.values())}
    unknown = [name for name in names if name not in index_of]
    if unknown:
        raise PredictionError(
            f"Expected the labels in {path} to be classes of {classes}, got {shorten(unknown)}; "
            "give the table of the classes that the model learned."
        )
    return [index_of[name] for name in names]


def _check_labels(
    verbs: Path, nouns: Path, verbs_of: dict[str, Detected], nouns_of: dict[str, Detected]
) -> None:
    """Refuse names in one file with class indices in the other: no reader could tell the action."""
    kinds = {
        type(label)
        for videos in (verbs_of, nouns_of)
        for detected in videos.values()
        for label in detected.labels.tolist()
    }
    if len(kinds) > 1:
        raise PredictionError(
            f"Expected {verbs} and {nouns} to label all detections with names or all with class "
            "indices, got both; give `classes`, which makes all of them indices."
        )


def _entries(
    verbs: Detected, nouns: Detected, pairs: Pairs, max_events: int
) -> list[dict[str, Any]]:
    """Return the best pairs as they are written."""
    columns = (
        pairs.segments.tolist(),
        pairs.scores.tolist(),
        verbs.labels[pairs.verbs].tolist(),
        nouns.labels[pairs.nouns].tolist(),
    )
    return [
        {"segment": segment, "score": score, "verb": verb, "noun": noun, "action": f"{verb},{noun}"}
        for segment, score, verb, noun in zip(
            *(column[:max_events] for column in columns), strict=True
        )
    ]
