"""Annotation files that are tables: of TSP, of EPIC-Kitchens-100, and one's own.

Alwassel et al., "TSP: Temporally-Sensitive Pretraining of Video Encoders for Localization Tasks",
ICCV Workshops 2021, lists the regions without action beside the events of THUMOS14 and
ActivityNet-1.3. Damen et al., "Rescaling Egocentric Vision", IJCV 2022, gives EPIC-Kitchens-100;
its baseline C2-Action-Detection holds the training events in frame numbers at 30 per second.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from davezoo.annotations.classes import NUM_NOUNS, NUM_VERBS, Labels
from davezoo.annotations.content import (
    NO_ID,
    FileContent,
    check_ids,
    make_events,
    make_videos,
)
from davezoo.annotations.csv_rows import (
    columns_refusal,
    numbers,
    one_value_a_video,
    read_rows,
    refuse_row,
    texts,
)
from davezoo.annotations.table import LONGEST_SECONDS, AnnotationError
from davezoo.annotations.video_info import read_durations, read_frame_rates

_OWN, _TSP, _EPIC, _C2 = "one's own", "TSP", "EPIC-Kitchens-100", "C2-Action-Detection"
_COLUMNS: dict[str, tuple[str, ...]] = {
    _OWN: ("video", "start", "end", "label"),
    _TSP: ("video-name", "t-start", "t-end", "action-label", "temporal-region-label"),
    _EPIC: ("video_id", "start_timestamp", "stop_timestamp", "verb_class", "noun_class"),
    _C2: ("video", "start", "stop", "verb", "noun"),
}
_C2_FPS = 30

_BACKGROUND = "rows of regions without action left out"


def read_csv_file(path: Path, labels: Labels | None, class_names: list[str] | None) -> FileContent:
    """Read an annotation file that is a table; its columns tell which kind it is.

    Args:
        path: the file, `.csv` or `.csv.gz`.
        labels: what an event of EPIC-Kitchens-100 is labelled with; None for other tables.
        class_names: names of the classes of EPIC-Kitchens-100, as `read_class_names` gives them.

    Raises:
        FileNotFoundError: if there is no such file.
        AnnotationError: if the file is damaged or has a row that cannot be used.
    """
    rows = read_rows(path)
    kind = next((kind for kind, names in _COLUMNS.items() if {*names} <= {*rows.columns}), None)
    if kind is None:
        raise columns_refusal(path, rows.columns, _COLUMNS)
    if kind in (_EPIC, _C2):
        if labels is None or class_names is None:
            raise AnnotationError(
                f"Expected `labels` to say what an event of {path} is labelled with, got None; "
                "choose verb, noun or action."
            )
        return _read_epic(path, rows, labels, class_names, in_frames=kind == _C2)
    refuse_labels(path, labels)
    return _read_own(path, rows) if kind == _OWN else _read_tsp(path, rows)


def refuse_labels(path: Path, labels: Labels | None) -> None:
    """Refuse a choice of verb, noun or action for a file that has one label an event.

    Raises:
        AnnotationError: if there is such a choice.
    """
    if labels is not None:
        raise AnnotationError(
            f"Expected no `labels` for {path}, whose events have one label, got {labels!r}; leave "
            "it out: only the tables of EPIC-Kitchens-100 have verbs and nouns."
        )


def _read_own(path: Path, rows: pd.DataFrame) -> FileContent:
    """Return the content of a table with the columns of one's own.

    A row with a video and no start, end and label stands for a video without events. Two equal
    events are a mistake here, unlike in the published tables, whose scores count them.
    """
    is_event = (rows[["start", "end", "label"]] != "").any(axis="columns")
    videos = _videos(path, rows, "video", "duration")
    events = _events(path, rows[is_event], "video", "start", "end", "label")
    double = is_event & rows[["video", "start", "end", "label"]].duplicated()
    refuse_row(path, rows, "video", double, "tell each event once", "remove the repeated row")
    return FileContent(path, videos, events, "row")


def _read_tsp(path: Path, rows: pd.DataFrame) -> FileContent:
    """Return the content of a ground truth table of TSP: rows of actions are events."""
    region = "temporal-region-label"
    wrong = ~rows[region].isin(["Action", "No action"])
    refuse_row(path, rows, region, wrong, "be 'Action' or 'No action'", "correct it")
    is_event = rows[region] == "Action"
    videos = _videos(path, rows, "video-name", "video-duration")
    events = _events(path, rows[is_event], "video-name", "t-start", "t-end", "action-label")
    return FileContent(path, videos, events, "row", {_BACKGROUND: int((~is_event).sum())})


def _read_epic(
    path: Path, rows: pd.DataFrame, labels: Labels, class_names: list[str], *, in_frames: bool
) -> FileContent:
    """Return the content of a table of EPIC-Kitchens-100, in timestamps or in frame numbers."""
    if "narration_id" in rows.columns:
        ids = texts(path, rows, "narration_id")
        once = "occur in one row"
        refuse_row(path, rows, "narration_id", ids.duplicated(), once, "remove the repeated row")
    if in_frames:
        video, verb, noun = "video", "verb", "noun"
        start, end = _frames(path, rows, "start"), _frames(path, rows, "stop")
        _check_order(path, rows, "stop", start, end)
    else:
        video, verb, noun = "video_id", "verb_class", "noun_class"
        start, end = _seconds(path, rows, "start_timestamp"), _seconds(path, rows, "stop_timestamp")
        _check_order(path, rows, "stop_timestamp", start, end)
    verbs = numbers(path, rows, verb, 0, NUM_VERBS - 1)
    nouns = numbers(path, rows, noun, 0, NUM_NOUNS - 1)
    chosen = {"verb": verbs, "noun": nouns, "action": verbs * NUM_NOUNS + nouns}[labels]
    column = noun if labels == "noun" else verb
    wrong = (chosen >= len(class_names)) | (chosen % 1 != 0)
    expected = f"be an integer and one of the {len(class_names)} in the class list"
    refuse_row(path, rows, column, wrong, expected, "correct it, or give the whole class list")
    label_ids = chosen.to_numpy(dtype=np.int64)
    names = np.array(class_names, dtype=object)[label_ids]
    videos = texts(path, rows, video)
    events = make_events(videos, start.to_numpy(), end.to_numpy(), names, label_ids, rows.index)
    return FileContent(path, _videos(path, rows, video, "duration"), events, "row")


def _videos(path: Path, rows: pd.DataFrame, video: str, duration: str) -> pd.DataFrame:
    """Return the table of the videos in the order in which they occur."""
    ids = texts(path, rows, video)
    check_ids(path, pd.unique(ids))

    def of_videos(column: str, values: pd.Series) -> pd.Series:
        return one_value_a_video(path, rows, ids, column, values)

    subset = rows["subset"].str.strip() if "subset" in rows.columns else pd.Series("", rows.index)
    return make_videos(
        pd.unique(ids),
        of_videos("subset", subset.where(subset != "").astype(object)).fillna(""),
        of_videos(duration, read_durations(path, rows, duration)),
        of_videos("fps", read_frame_rates(path, rows, duration)),
    )


def _events(
    path: Path, rows: pd.DataFrame, video: str, start: str, end: str, name: str
) -> pd.DataFrame:
    """Return the table of the events, one a row."""
    starts, ends = (numbers(path, rows, column, 0, LONGEST_SECONDS) for column in (start, end))
    _check_order(path, rows, end, starts, ends)
    return make_events(
        texts(path, rows, video),
        starts.to_numpy(),
        ends.to_numpy(),
        texts(path, rows, name),
        np.full(len(rows), NO_ID),
        rows.index,
    )


def _check_order(
    path: Path, rows: pd.DataFrame, column: str, start: pd.Series, end: pd.Series
) -> None:
    """Refuse an event that ends before it starts."""
    remedy = "correct or remove the event"
    refuse_row(path, rows, column, end < start, "be no earlier than the start of the event", remedy)


def _seconds(path: Path, rows: pd.DataFrame, column: str) -> pd.Series:
    """Return timestamps `hours:minutes:seconds` in seconds."""
    parts = rows[column].str.extract(
        r"^\s*(\d{1,4}):(\d\d?):(\d\d?(?:\.\d{1,9})?)\s*$", flags=re.ASCII
    )
    wrong = parts.isna().any(axis="columns")
    expected = "be a timestamp, hours:minutes:seconds"
    refuse_row(path, rows, column, wrong, expected, "write 00:01:02.50 for 62.5 seconds")
    hours, minutes, seconds = (parts[part].astype(np.float64) for part in range(3))
    return hours * 3600 + minutes * 60 + seconds


def _frames(path: Path, rows: pd.DataFrame, column: str) -> pd.Series:
    """Return frame numbers in seconds: the middle of the frame, as C2 rounds down."""
    frames = numbers(path, rows, column, 0, LONGEST_SECONDS)
    expected = f"be a frame number at {_C2_FPS} frames per second"
    remedy = "name the columns video, start, end, label if the times are seconds"
    refuse_row(path, rows, column, frames % 1 != 0, expected, remedy)
    return (frames + 0.5) / _C2_FPS
