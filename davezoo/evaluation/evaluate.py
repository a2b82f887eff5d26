"""Score a file of detections: the tool behind `davezoo evaluate`.

Imports no torch, so that the command answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from davezoo.annotations import read_annotations
from davezoo.evaluation.ground_truth import GroundTruthError
from davezoo.evaluation.predictions import read_predictions
from davezoo.evaluation.protocols import Protocol, get_protocol
from davezoo.evaluation.scoring import score
from davezoo.json_files import read_json

if TYPE_CHECKING:
    from davezoo.annotations import Annotations

__all__ = ["evaluate", "score"]


def evaluate(
    predictions: Path,
    annotations: Path,
    protocol: str = "unav100",
    split: str | None = None,
    output: Path | None = None,
    per_class: bool = False,
    blocked: Path | None = None,
) -> None:
    """Score a file of detections and print the table.

    Prints mAP at the thresholds of the protocol and their average, in percent, beside the numbers
    of videos expected, scored and missing. Everything that was dropped is counted.

    Args:
        predictions: detections in the ActivityNet layout, JSON, gzipped or not.
        annotations: annotation file of the data set, JSON, gzipped or not.
        protocol: unav100, thumos14, activitynet13 or epic100 (one EPIC task at a time).
        split: subset to score; by default the one of the protocol, or the only one of the file.
        output: JSON file for the result, with the values of every class.
        per_class: also print a table of the classes.
        blocked: JSON list of video ids to leave out, as the ActivityNet server hands out.
    """
    rules = get_protocol(protocol)
    chosen = choose_split(read_annotations(annotations), split, rules)
    blocked_ids = [] if blocked is None else _read_blocked(blocked)
    result = score(chosen, read_predictions(predictions), rules, blocked_ids)
    if output is not None:
        result.write(output)
    sys.stdout.write(result.format_table(per_class))
    oddities = (f"the annotations hold {n} {what}\n" for what, n in chosen.repairs.items() if n)
    sys.stdout.writelines(oddities)


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


def _read_blocked(path: Path) -> list[str]:
    """Read the list of blocked videos."""
    content = read_json(path, GroundTruthError)
    if not isinstance(content, list) or not all(isinstance(video, str) for video in content):
        raise GroundTruthError(
            f"Expected {path} to be a list of video ids, got something else; write a JSON list."
        )
    return content
