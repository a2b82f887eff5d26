"""Score a file of detections: the tool behind `davezoo evaluate`.

Imports no torch, so that the command answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from davezoo.annotations import read_annotations, read_blocked
from davezoo.evaluation.predictions import PredictionError, read_predictions
from davezoo.evaluation.protocols import Protocol, ProtocolError, get_protocol
from davezoo.evaluation.scoring import score

if TYPE_CHECKING:
    from davezoo.annotations import Annotations
    from davezoo.annotations.classes import Labels
    from davezoo.evaluation.predictions import PredictionTable
    from davezoo.evaluation.results import EvaluationResult

__all__ = ["evaluate", "score"]


def evaluate(
    predictions: Path,
    annotations: Path,
    protocol: str = "unav100",
    split: str | None = None,
    output: Path | None = None,
    per_class: bool = False,
    blocked: Path | None = None,
    classes: list[Path] | Path | None = None,
    video_info: list[Path] | Path | None = None,
    labels: Labels | None = None,
) -> None:
    """Score a file of detections and print the table.

    Prints mAP at the thresholds of the protocol and their average, in percent, beside the numbers
    of videos expected, scored and missing. Everything that was dropped is counted.

    Args:
        predictions: detections in the ActivityNet layout, JSON, gzipped or not.
        annotations: annotation file of the data set, JSON or csv, gzipped or not.
        protocol: unav100, thumos14-211, thumos14-212 (most papers), thumos14-213,
            activitynet13-full, activitynet13-blocked, epic100-verb, epic100-noun or epic100-action.
        split: subset to score; by default the one of the protocol, or the only one of the file.
        output: JSON file for the result, with the values of every class.
        per_class: also print a table of the classes.
        blocked: JSON list of video ids to leave out, as the ActivityNet server handed out.
        classes: file with the names of the classes in order; two for epic100-action, [verbs,
            nouns].
        video_info: table of durations and frame rates, or several; adds the videos without events.
        labels: what is read of events and detections of EPIC-Kitchens; by default what the protocol
            scores.
    """
    rules = get_protocol(protocol)
    chosen, table = read_both(
        predictions,
        annotations,
        rules,
        split,
        classes=classes,
        video_info=video_info,
        labels=labels,
    )
    result = score(chosen, table, rules, [] if blocked is None else read_blocked(blocked))
    if output is not None:
        result.write(output)
    sys.stdout.write(result.format_table(per_class))
    oddities = (f"the annotations hold {n} {what}\n" for what, n in chosen.repairs.items() if n)
    sys.stdout.writelines(oddities)


def read_both(
    predictions: Path,
    annotations: Path,
    rules: Protocol,
    split: str | None,
    *,
    classes: list[Path] | Path | None,
    video_info: list[Path] | Path | None,
    labels: Labels | None,
) -> tuple[Annotations, PredictionTable]:
    """Read the annotations of a split and a file of detections for it.

    Args:
        predictions: detections in the ActivityNet layout.
        annotations: annotation file of the data set.
        rules: the protocol that is to score them.
        split: name of a subset; None to choose.
        classes: file with the names of the classes, or two.
        video_info: table of durations and frame rates, or several.
        labels: what is read of events and detections of EPIC-Kitchens; None for what `rules` score.

    Raises:
        ProtocolError: if `labels` are not those that the protocol scores.
    """
    if labels is not None and rules.labels not in (None, labels):
        raise ProtocolError(
            f"Expected `labels` to be {rules.labels!r} with protocol {rules.name!r}, got "
            f"{labels!r}; leave `labels` out or choose protocol 'epic100-{labels}'."
        )
    kind = labels or rules.labels
    # The labels of JSON annotations are those of one task already.
    is_table = ".csv" in annotations.suffixes
    everything = read_annotations(
        annotations,
        classes=classes,
        video_info=video_info,
        labels=kind if is_table else None,
    )
    return choose_split(everything, split, rules), read_predictions(predictions, kind)


def refuse_other_videos(path: Path, table: PredictionTable, result: EvaluationResult) -> None:
    """Refuse a file of detections that are all about other videos than those that were scored.

    Args:
        path: the file, for the message.
        table: its detections.
        result: their score.

    Raises:
        PredictionError: if it names videos, and none of the split.
    """
    if table.video_ids and not result.num_scored_videos:
        raise PredictionError(
            f"Expected {path} to hold detections in split {result.split!r}, got "
            f"{len(table.video_ids)} videos, none of them in it; give `split` or another file."
        )


def choose_split(annotations: Annotations, split: str | None, rules: Protocol) -> Annotations:
    """Return the asked-for split, else that of the protocol, else the only one of the file.

    Args:
        annotations: the whole file.
        split: name of a subset, in any case; None to choose.
        rules: the protocol that knows its default.

    Raises:
        AnnotationError: if the split is not in the file; the message lists those that are.
    """
    if split is not None:
        return annotations.split(split)
    existing = {subset.lower() for subset in annotations.videos["subset"]}
    if rules.default_split not in existing and len(existing) == 1:
        return annotations
    return annotations.split(rules.default_split)
