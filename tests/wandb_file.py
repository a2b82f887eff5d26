"""Reading what W&B wrote to its own file: Protocol Buffers in a log of LevelDB's form."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

_BLOCK = 32 * 1024
_HEADER = 7  # of the file, and of every piece: checksum, length, kind
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def read_records(path: Path) -> Iterator[Record]:
    """Yield the records of a .wandb file; pieces of one that crosses blocks are put together."""
    content = path.read_bytes()
    assert content[:4] == b":W&B"
    place, parts = _HEADER, b""
    while place + _HEADER <= len(content):
        left = _BLOCK - place % _BLOCK
        if left < _HEADER:  # a block ends with zeros where no header fits
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        if place + _HEADER + length > len(content):  # still being written
            return
        parts += content[place + _HEADER : place + _HEADER + length]
        place += _HEADER + length
        if kind in (_FULL, _LAST):
            yield Record.FromString(parts)
            parts = b""


class LoggedRun:
    """What a finished offline run holds.

    Attributes:
        history: one dict a call of `log`.
        summary: the last value of each name that was set by hand.
        config: of the run.
        metrics: axis of each metric by name.
        artifacts: names of those that were handed in, without tables.
        saved: paths of the files that are uploaded, below `files`.
        files: folder of media and files.
        has_ended: the file is complete.
    """

    def __init__(self, folder: Path) -> None:
        (path,) = folder.glob("*.wandb")
        self.files = folder / "files"
        self.history: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.config: dict[str, Any] = {}
        self.metrics: dict[str, str] = {}
        self.artifacts: list[str] = []
        self.saved: list[str] = []
        self.has_ended = False
        for record in read_records(path):
            kind = record.WhichOneof("record_type")
            if kind == "history":
                self.history.append(_items(record.history.item))
            elif kind == "summary":
                self.summary |= _items(record.summary.update)
            elif kind in ("config", "run"):
                config = record.config if kind == "config" else record.run.config
                self.config |= _items(config.update)
            elif kind == "metric":
                self.metrics[record.metric.name] = record.metric.step_metric
            elif kind == "exit":
                self.has_ended = True
            elif kind == "files":
                self.saved += [file.path for file in record.files.files]
            elif kind == "artifact" and record.artifact.type != "run_table":  # of a logged table
                self.artifacts.append(record.artifact.name)

    def values(self, name: str) -> list[Any]:
        """All logged values of a name, in order."""
        return [row[name] for row in self.history if name in row]

    def table(self, name: str) -> tuple[list[str], list[list[Any]]]:
        """Columns and rows of the latest table of a name, from its file."""
        path = self.files / self.values(name)[-1]["path"]
        content = json.loads(path.read_text())
        return content["columns"], content["data"]


def _items(items: Any) -> dict[str, Any]:
    """Return entries by name; those of a table or picture come one by one."""
    found: dict[str, Any] = {}
    for item in items:
        name, *inner = list(item.nested_key) or [item.key]
        value = json.loads(item.value_json)
        if inner:
            found.setdefault(name, {})[".".join(inner)] = value
        else:
            found[name] = value
    return found
