"""Reading and writing of JSON files."""

from __future__ import annotations

import gc
import gzip
import json
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from davezoo.whole_files import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def read_json(path: Path, error: type[ValueError]) -> Any:
    """Read a JSON file, gzipped or not (told by its first bytes).

    Args:
        path: the file.
        error: raised when the content is not JSON.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    content = read_content(path, error)
    try:
        with _collector_paused():
            return json.loads(content, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as fault:
        raise error(
            f"Expected {path} to hold JSON, got something else ({fault}); "
            "write or download it again."
        ) from fault


def read_content(path: Path, error: type[ValueError]) -> bytes:
    """Read a file and unpack it where it is gzipped (told by its first bytes).

    Args:
        path: the file.
        error: raised when the gzip stream is damaged.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"Expected a file at {path}, got no such file; check the path.")
    content = path.read_bytes()
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as fault:
        raise error(
            f"Expected {path} to hold a whole gzip stream, got a damaged one ({fault}); "
            "write or download it again."
        ) from fault


def write_json(path: Path, content: Any, indent: int | None = None) -> None:
    """Write a JSON file at once: a reader sees the old file or the whole new one.

    Args:
        path: the file, gzipped when its name ends in `.gz`; missing folders are made.
        content: what to write; NaN and infinities are refused.
        indent: spaces a level, or None for one line.

    Raises:
        ValueError: if a number is not finite.
    """
    text = json.dumps(content, allow_nan=False, ensure_ascii=False, indent=indent)
    encoded = f"{text}\n".encode()
    with whole_file(path) as part:
        part.write_bytes(gzip.compress(encoded, mtime=0) if path.suffix == ".gz" else encoded)


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object with two equal keys, of which the json module drops one without a word."""
    content = dict(members)
    if len(content) < len(members):
        keys = [key for key, _ in members]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} twice")
    return content


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause the garbage collector, which takes half of the time that a large file needs.

    It would look through all the new objects again and again, and none of them is garbage.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
