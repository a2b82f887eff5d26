"""The one entrance to the annotation files of all data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from davezoo.annotations.activitynet import read_database
from davezoo.annotations.table import AnnotationError, Annotations


def read_annotations(
    source: str | Path | Mapping[str, str | Path],
    *,
    classes: str | Path | Sequence[str | Path] | None = None,
    video_info: str | Path | Sequence[str | Path] | Mapping[str, str | Path] | None = None,
    labels: Literal["verb", "noun", "action"] | None = None,
) -> Annotations:
    """Read an annotation file, gzipped or not, or one file for each subset.

    The class index is `label_id` when every event has one, otherwise the rank of `label` in
    alphabetical order; classes are collected over all subsets.

    Args:
        source: the file, or the file of each subset, {"training": ..., "validation": ...}.
        classes: file with the names of the classes in order.
        video_info: table of durations and frame rates.
        labels: what an event of EPIC-Kitchens-100 is labelled with.

    Returns:
        Videos and events in file order.

    Raises:
        FileNotFoundError: if there is no such file.
        AnnotationError: if the file is damaged or contradicts itself; the message names the file,
            the entry and the remedy.
    """
    if isinstance(source, Mapping) or not (classes is video_info is labels is None):
        raise AnnotationError(
            "Expected `source` to be one JSON file without options, got more; wait for them."
        )
    return read_database(Path(source))
