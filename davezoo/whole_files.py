"""Files that are either whole or absent, however the writing ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a place beside a file to write to, and move it to its name when it is whole.

    A reader sees the old file or the new one, never a part of it; an error leaves the old one.

    Args:
        path: the file; missing folders are made.

    Yields:
        The path to write to.

    Raises:
        IsADirectoryError: if there is a folder of this name.
    """
    if path.is_dir():
        raise IsADirectoryError(
            f"Expected the name of a file to write, got {path}, which is a folder; add a file name."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
