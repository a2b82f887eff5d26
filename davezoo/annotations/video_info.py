"""Tables of videos beside the annotations: how long each is, and at how many frames per second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from davezoo.annotations.content import HIGHEST_FPS, check_ids, make_videos
from davezoo.annotations.csv_rows import columns_refusal, numbers, read_rows, refuse_row, texts
from davezoo.annotations.table import LONGEST_SECONDS, refusal

VideoInfoFiles = str | Path | Sequence[str | Path] | Mapping[str, str | Path]

_SHORTEST_SECONDS = 1e-3
_LOWEST_FPS = 1e-3
# Containers round the duration, and the last frame may be missing.
_FRAME_COUNT_TOLERANCE = 0.05
_SAME_SECONDS = 0.5

_COLUMNS: dict[str, tuple[str, ...]] = {
    "EPIC-Kitchens-100": ("video_id", "duration"),
    "one's own": ("video", "duration"),
    "TSP": ("filename", "video-duration"),
}

_ADDED = "videos without events, known from the video info alone"
_DURATION_REPLACED = "durations replaced by others of the video info"
_PREFIX_REMOVED = "ids of the video info read without their `v_`"


def read_durations(path: Path, rows: pd.DataFrame, column: str) -> pd.Series:
    """Return the durations in a table, seconds, NaN where a cell or the column is absent."""
    if column not in rows.columns:
        return pd.Series(np.nan, rows.index)
    return numbers(path, rows, column, _SHORTEST_SECONDS, LONGEST_SECONDS, optional=True)


def read_frame_rates(path: Path, rows: pd.DataFrame, duration: str) -> pd.Series:
    """Return the column `fps`, NaN where a cell or the column is absent.

    Raises:
        AnnotationError: if a cell holds no frame rate, or one that contradicts `video-frames` and
            the duration.
    """
    if "fps" not in rows.columns:
        return pd.Series(np.nan, rows.index)
    fps = numbers(path, rows, "fps", _LOWEST_FPS, HIGHEST_FPS, optional=True)
    if {"video-frames", duration} <= {*rows.columns}:
        frames = numbers(path, rows, "video-frames", 0, np.inf, optional=True)
        seconds = read_durations(path, rows, duration)
        wrong = (frames / fps - seconds).abs() > 1 + _FRAME_COUNT_TOLERANCE * seconds
        expected = f"be `video-frames` divided by `{duration}`"
        refuse_row(path, rows, "fps", wrong, expected, "correct the frame rate or the duration")
    return fps


def add_video_info(
    videos: pd.DataFrame, files: VideoInfoFiles
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Add durations, frame rates and videos without events from tables of videos.

    What these tables say of a video stands above what its annotations say. A name counts with and
    without `v_`, which ActivityNet puts before the ids in names of files.

    Args:
        videos: the table of the annotations.
        files: the table, several, or one of each subset. Videos that the annotations lack come at
            the end, in the subset of their table, or in none.

    Returns:
        The table of videos and the counts of repairs.

    Raises:
        FileNotFoundError: if a file is missing.
        AnnotationError: if a file is damaged, or names a video that another names, too.
    """
    if isinstance(files, str | Path):
        files = [files]
    by_subset = files.items() if isinstance(files, Mapping) else [("", file) for file in files]
    info = pd.concat([_read(Path(file), subset) for subset, file in by_subset])
    bare = info.index.str.removeprefix("v_")
    prefixed = ~info.index.isin(videos.index) & bare.isin(videos.index)
    if prefixed.any():
        info.index = info.index.where(info.index.isin(videos.index), bare).rename("video")
    double = info.index.duplicated()
    if double.any():
        got = f"{info.index[double][0]!r} twice"
        raise refusal("every video in the video info", "occur once", got, "remove one row")
    new = info[~info.index.isin(videos.index)]
    # A new subset is spelt as the annotations spell it, or there would be two.
    spelling = {subset.lower(): subset for subset in videos["subset"].unique()}
    new = new.assign(subset=[spelling.get(name.lower(), name) for name in new["subset"]])
    told = info.reindex(videos.index)
    known = videos["duration"].notna() & told["duration"].notna()
    replaced = (videos["duration"] - told["duration"]).abs()[known] > _SAME_SECONDS
    merged = videos.assign(
        duration=told["duration"].fillna(videos["duration"]),
        fps=told["fps"].fillna(videos["fps"]),
    )
    repairs = {
        _ADDED: len(new),
        _DURATION_REPLACED: int(replaced.sum()),
        _PREFIX_REMOVED: int(prefixed.sum()),
    }
    return pd.concat([merged, new]) if len(new) else merged, repairs


def _read(path: Path, subset: str) -> pd.DataFrame:
    """Return the videos of one table."""
    rows = read_rows(path)
    kind = next((kind for kind, names in _COLUMNS.items() if {*names} <= {*rows.columns}), None)
    if kind is None:
        raise columns_refusal(path, rows.columns, _COLUMNS)
    video, duration = _COLUMNS[kind]
    ids = texts(path, rows, video)
    if video == "filename":
        ids = ids.str.replace(r"\.[A-Za-z0-9]{2,4}$", "", regex=True)
    check_ids(path, ids)
    double = ids.duplicated()
    refuse_row(path, rows, video, double, "occur in one row", "remove the repeated row")
    durations = read_durations(path, rows, duration)
    return make_videos(ids, [subset] * len(ids), durations, read_frame_rates(path, rows, duration))
