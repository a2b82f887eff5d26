"""The one entrance to the annotation files of all data sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from davezoo.annotations.activitynet import read_database
from davezoo.annotations.classes import Labels, number_classes, read_class_names
from davezoo.annotations.content import FileContent, check_each_video_once, check_spellings
from davezoo.annotations.csv_files import read_csv_file, refuse_labels
from davezoo.annotations.table import AnnotationError, Annotations, count_oddities, refusal
from davezoo.annotations.times import check_seconds
from davezoo.annotations.video_info import VideoInfoFiles, add_video_info


def read_annotations(
    source: str | Path | Mapping[str, str | Path],
    *,
    classes: str | Path | Sequence[str | Path] | None = None,
    video_info: VideoInfoFiles | None = None,
    labels: Labels | None = None,
) -> Annotations:
    """Read an annotation file, gzipped or not, or one file of each subset.

    A name with `.csv` is a table: TSP's ground truth, EPIC-Kitchens-100, its C2 training table, or
    one's own with the columns `video`, `start`, `end` (seconds), `label` and, where known,
    `duration`, `subset`, `fps`. Every other file is JSON in the layout of ActivityNet.

    Classes are numbered by `classes`; without it by `label_id` when every event has one; otherwise
    in alphabetical order over all files.

    Args:
        source: the file, or the file of each subset, {"training": ..., "validation": ...}.
        classes: file with the names of the classes in order: a JSON list, text with one name a
            line, or the class table of EPIC-Kitchens-100; two (verbs, nouns) for
            `labels="action"`.
        video_info: table of durations and frame rates, several, or one of each subset: of TSP
            (`*_metadata.csv`), of EPIC-Kitchens-100 (`EPIC_100_video_info.csv`), or one's own with
            the columns `video`, `duration`, `fps`. What it says stands above what the annotations
            say; videos that are only there are added without events.
        labels: what an event of EPIC-Kitchens-100 is labelled with.

    Returns:
        Videos and events in file order.

    Raises:
        FileNotFoundError: if there is no such file.
        AnnotationError: if a file is damaged or contradicts itself; the message names the file,
            the entry and the remedy.
    """
    class_names = read_class_names(classes, labels)
    contents = [
        _read_file(Path(path), subset, labels, class_names)
        for subset, path in _files(source).items()
    ]
    check_each_video_once(contents)
    labels_of_events, class_names, class_repairs = number_classes(contents, class_names)
    videos = pd.concat([content.videos for content in contents])
    events = pd.concat([content.events for content in contents], ignore_index=True)
    events = events[["video", "start", "end"]].assign(label=labels_of_events)

    videos, info_repairs = (
        (videos, {}) if video_info is None else add_video_info(videos, video_info)
    )
    check_spellings(videos)
    for content in contents:
        check_seconds(content.path, videos, content.events)
    file_repairs = sum((Counter(content.repairs) for content in contents), Counter())
    repairs = count_oddities(videos, events) | class_repairs | info_repairs | file_repairs
    return Annotations(videos, events, class_names, repairs)


def _files(source: str | Path | Mapping[str, str | Path]) -> Mapping[str, str | Path]:
    """Return the file of each subset; `""` stands for what the file itself says."""
    if not isinstance(source, Mapping):
        return {"": source}
    names = [subset.lower() for subset in source]
    if not names or len(set(names)) < len(names):
        raise AnnotationError(
            f"Expected the files of the annotations to be of one subset each, got {list(source)}; "
            "name every subset once."
        )
    return source


def _read_file(
    path: Path, subset: str, labels: Labels | None, class_names: list[str] | None
) -> FileContent:
    """Read one file, whose videos are all of `subset` unless this is empty."""
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected an annotation file at {path}, got none; check the path, or make simulated "
            "data with `davezoo simulate`."
        )
    if ".csv" in (suffix.lower() for suffix in path.suffixes):
        content = read_csv_file(path, labels, class_names)
    else:
        refuse_labels(path, labels)
        content = read_database(path)
    if not subset:
        return content
    others = [
        name
        for name in content.videos["subset"].unique()
        if name.lower() not in ("", subset.lower())
    ]
    if others:
        raise refusal(
            f"all videos in {path}",
            f"be of the subset {subset!r}",
            f"some of {others[0]!r}",
            "give this file alone: its own subsets are used then",
        )
    return replace(content, videos=content.videos.assign(subset=subset))
