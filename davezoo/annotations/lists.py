"""Lists beside the annotations: videos that are left out."""

from __future__ import annotations

from pathlib import Path
from reprlib import repr as shorten

from davezoo.annotations.table import AnnotationError, refusal
from davezoo.json_files import read_json


def read_blocked(path: str | Path) -> list[str]:
    """Read the ids of videos that a protocol leaves out.

    Args:
        path: a JSON list of ids, gzipped or not, as `api_action_get_blocked.json` of ActivityNet.

    Raises:
        FileNotFoundError: if there is no such file.
        AnnotationError: if the file is damaged or holds something else.
    """
    ids = read_json(Path(path), AnnotationError)
    if not isinstance(ids, list) or not all(isinstance(video, str) for video in ids):
        raise refusal(str(path), "hold a JSON list of video ids", shorten(ids), "correct it")
    return ids
