"""What one annotation file says, before the classes of all files are numbered together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from davezoo.annotations.table import AnnotationError, refusal

NO_ID = -1  # in the column `label_id`: the file does not number the class of this event
HIGHEST_FPS = 1000


@dataclass(frozen=True)
class FileContent:
    """What one annotation file says.

    Args:
        path: the file.
        videos: as in `Annotations`.
        events: one row an event in file order, columns `video`, `start`, `end` (seconds, float64),
            `name` (of the class), `label_id` (int64, `NO_ID` where the file has none), `entry`
            (where in the file, see `entry_is`).
        entry_is: what `entry` counts: `row` of a table, the header being row 1, or `annotation` of
            a video, from 0.
        repairs: as in `Annotations`.
    """

    path: Path
    videos: pd.DataFrame
    events: pd.DataFrame
    entry_is: str
    repairs: dict[str, int] = field(default_factory=dict)

    def place(self, index: int) -> str:
        """Say for people where the event in row `index` of `events` stands."""
        event = self.events.iloc[index]
        return f"{self.entry_is} {event['entry']} of video {event['video']!r} in {self.path}"


def make_videos(
    ids: Iterable[str], subset: Iterable[str], duration: Iterable[Any], fps: Iterable[Any]
) -> pd.DataFrame:
    """Return the table of videos; `None` and NaN stand for an unknown duration or rate."""
    columns = {
        "subset": pd.Series(list(subset), dtype="str").to_numpy(),
        "duration": np.array(list(duration), dtype=np.float64),
        "fps": np.array(list(fps), dtype=np.float64),
    }
    return pd.DataFrame(columns, index=pd.Index(list(ids), name="video", dtype="str")).astype(
        {"subset": "str"}
    )


def make_events(
    video: Iterable[str],
    start: np.ndarray,
    end: np.ndarray,
    name: Iterable[str],
    label_id: Iterable[int],
    entry: Iterable[int],
) -> pd.DataFrame:
    """Return the table of events of a `FileContent`."""
    return pd.DataFrame(
        {
            "video": pd.Series(list(video), dtype="str"),
            "start": start,
            "end": end,
            "name": pd.Series(list(name), dtype="str"),
            "label_id": np.array(list(label_id), dtype=np.int64),
            "entry": np.array(list(entry), dtype=np.int64),
        }
    )


def is_text(value: Any) -> bool:
    """Say whether a value is non-empty text that can be written to a file."""
    if not isinstance(value, str) or not value:
        return False
    return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)


def check_ids(path: Path, ids: Iterable[str]) -> None:
    """Refuse ids that are no plain file names: they become parts of file names.

    Raises:
        AnnotationError: naming the first such id.
    """
    for video in ids:
        if not is_text(video) or any(part in video for part in ("/", "\\", "..", "\0")):
            raise refusal(
                f"the id of video {video!r} in {path}",
                "be a plain file name without separators, `..` or NUL",
                repr(video),
                "rename the video and its feature files",
            )


def check_each_video_once(contents: Iterable[FileContent]) -> None:
    """Refuse a video that two files name.

    Raises:
        AnnotationError: naming the video and the files.
    """
    file_of: dict[str, Path] = {}
    for content in contents:
        for video in content.videos.index:
            if file_of.setdefault(video, content.path) is not content.path:
                raise AnnotationError(
                    f"Expected each video in one file, got {video!r} in {file_of[video]} and in "
                    f"{content.path}; give every subset its own file and remove the video from one."
                )


def check_spellings(videos: pd.DataFrame) -> None:
    """Refuse ids that differ only by the prefix `v_` or by the extension of a file.

    Raises:
        AnnotationError: naming two such ids.
    """
    ids = videos.index.to_series()
    stems = ids.str.replace(r"(?i)\.(mp4|mkv|webm|avi|npy|npz)$", "", regex=True)
    stems = stems.str.removeprefix("v_")
    double = stems.duplicated()
    if double.any():
        second = ids[double].iloc[0]
        first = ids[stems == stems[second]].iloc[0]
        raise AnnotationError(
            f"Expected one spelling of each video id, got both {first!r} and {second!r}; write "
            "all ids with the same prefix and extension as the feature files."
        )
