"""Packed features: many thousand small arrays in a few memory-mapped files with checksums.

A packed folder holds shards, `features-00001.safetensors` and on, and an index, `pack.json`, that
is written last. Its arrays go by the names of the loose files that they come from, so that the file
patterns of a data set fit both. `davezoo pack` (`packer.py`) writes it; this file reads it.

The format is safetensors (https://github.com/huggingface/safetensors): eight bytes that tell the
length of a head, the head in JSON with type, shape and place of each array, then the bare numbers.
Nothing in it can run code, any safetensors reader opens it, and what is mapped may be shared with
the processes of a loader, forked or spawned. HDF5, the other candidate, must not be open across a
fork, locks its files and copies through a library of its own. The head's metadata carry what
`pack.json` tells about a shard, so a broken index is made anew by packing again.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from tqdm import tqdm

from davezoo.data.features import DEFAULT_MEMBER, FeatureError
from davezoo.json_files import read_json
from davezoo.structures import FeatureGrid

if TYPE_CHECKING:
    from numpy.typing import NDArray

INDEX = "pack.json"
VERSION = 1
METADATA = "davezoo"  # the key of our own notes among a shard's metadata
# What the numbers are called in safetensors: always little-endian.
DTYPES: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4")}
_LONGEST_HEAD = 100_000_000  # bytes, as safetensors itself allows
_MOST_NAMED = 10


class PackError(FeatureError):
    """A packed folder cannot be made or used; the message names folder or file and remedy."""


class PackedFolder:
    """The arrays of a packed folder under the names of the loose files.

    Shards are mapped when their first array is opened, in each process for itself: an object that
    is sent to another process carries the folder alone.

    Args:
        folder: the packed folder.

    Attributes:
        grid: where the visual steps lie, as it was told when packing; None if it was not.
        audio_grid: the same for the audio; None if it is `grid`.

    Raises:
        PackError: if the index is damaged, or a shard is absent or cut.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        index = read_index(folder)
        self.grid, self.audio_grid = _grids(index["settings"])
        self._shards = [folder / shard["file"] for shard in index["shards"]]
        for path, shard in zip(self._shards, index["shards"], strict=True):
            _check_size(path, shard["bytes"])
        self._arrays: dict[str, tuple[int, Mapping[str, Any]]] = {
            name: (number, array)
            for number, shard in enumerate(index["shards"])
            for name, array in shard["arrays"].items()
        }
        self._members: dict[str, list[str]] = {}  # of each archive
        for name in self._arrays:
            archive, is_member, _ = name.rpartition(".npz:")
            if is_member:
                self._members.setdefault(f"{archive}.npz", []).append(name)
        loose = {name for name in self._arrays if ".npz:" not in name}
        self._names = loose | set(self._members)
        self._maps: dict[int, mmap.mmap] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Send the folder alone to another process."""
        return PackedFolder, (self.folder,)

    def names(self) -> set[str]:
        """Return the names of all files; of an archive its own name, not those of its members."""
        return self._names

    def open(self, name: str) -> NDArray[Any]:
        """Map one array, (T, C), read-only; nothing is read yet.

        Args:
            name: of the loose file, with `:member` for one array of an archive; without it the
                archive's only array or `feats`.

        Raises:
            FeatureError: if there is no such array, or it has no steps.
            PackError: if the index and the shards do not belong together.
        """
        members = self._members.get(name, [])
        full_name = name
        if members:
            full_name = members[0] if len(members) == 1 else f"{name}:{DEFAULT_MEMBER}"
        if full_name not in self._arrays:
            known = f", only {sorted(members)}" if members else ""
            raise FeatureError(
                f"Expected {full_name!r} in the packed features `{self.folder}`, got none{known}; "
                "correct the file pattern, or pack the features again with the file among them."
            )
        number, array = self._arrays[full_name]
        try:
            shape = tuple(array["shape"])
            features: NDArray[Any] = np.frombuffer(
                self._map(number), DTYPES[array["dtype"]], prod(shape), array["offset"]
            ).reshape(shape)
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged_index(self.folder, f"for {full_name!r}: {error}") from error
        if features.ndim != 2 or len(features) == 0:
            raise FeatureError(
                f"Expected {full_name!r} in the packed features `{self.folder}` to be a non-empty "
                f"array (time, channels), got shape {features.shape}; extract the features again."
            )
        return features

    def _map(self, number: int) -> mmap.mmap:
        """Map a shard, once in each process."""
        if number not in self._maps:
            with self._shards[number].open("rb") as file:
                self._maps[number] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._maps[number]


@dataclass(frozen=True)
class PackReport:
    """What `verify` found.

    Args:
        folder: the packed folder.
        num_shards: shards that the index names.
        num_arrays: arrays that the index names.
        num_bytes: size of all shards.
        faults: what is wrong, by the name of the shard or array; empty if nothing is.
    """

    folder: Path
    num_shards: int
    num_arrays: int
    num_bytes: int
    faults: dict[str, str]

    def summary(self) -> str:
        """Return the result in words; the first faults one a line."""
        size = (
            f"{self.num_arrays:,} arrays, {self.num_shards} shards, "
            f"{tqdm.format_sizeof(self.num_bytes, 'B')}"
        )
        if not self.faults:
            return f"{self.folder}: {size}; all checksums are right."
        named = list(self.faults.items())[:_MOST_NAMED]
        lines = "".join(f"\n  {name}: {fault}" for name, fault in named)
        return f"{self.folder}: {size}; {len(self.faults)} faults, the first:{lines}"


def is_packed(folder: Path) -> bool:
    """Say whether a folder is a packed one, finished or not."""
    return (folder / INDEX).is_file() or (folder / shard_name(1)).is_file()


def shard_name(number: int) -> str:
    """Return the file name of a shard; the first is number 1."""
    return f"features-{number:05d}.safetensors"


def verify(folder: Path) -> PackReport:
    """Compare every byte of a packed folder with its checksums, with a progress bar.

    Args:
        folder: the packed folder.

    Raises:
        PackError: if there is no readable index.
    """
    index = read_index(folder)
    shards = index["shards"]
    faults: dict[str, str] = {}
    num_bytes = sum(shard["bytes"] for shard in shards)
    with tqdm(
        total=num_bytes, desc="Verifying", unit="B", unit_scale=True, disable=None
    ) as progress:
        for shard in shards:
            faults |= _verify_shard(folder / shard["file"], shard, index["settings"])
            progress.update(shard["bytes"])
    return PackReport(folder, len(shards), sum(len(s["arrays"]) for s in shards), num_bytes, faults)


def _verify_shard(
    path: Path, shard: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, str]:
    """Return what is wrong with a shard or its arrays."""
    try:
        _check_size(path, shard["bytes"])
        packed_with, described = describe_shard(path)
        with safe_open(path, "np"):  # the library's own opinion
            pass
    except (PackError, SafetensorError) as error:
        return {path.name: str(error)}
    faults = {}
    if (packed_with, described) != (settings, shard):
        faults[path.name] = f"its head and {INDEX} differ; pack the features again"
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as numbers:
        for name, array in described["arrays"].items():
            size = prod(array["shape"]) * DTYPES[array["dtype"]].itemsize
            if checksum(numbers[array["offset"] : array["offset"] + size]) != array["sha256"]:
                faults[name] = f"its numbers in {path.name} changed; pack the features again"
    return faults


def checksum(numbers: Any) -> str:
    """Return the SHA-256 of an array's bytes."""
    return hashlib.sha256(numbers).hexdigest()


def read_index(folder: Path) -> dict[str, Any]:
    """Read `pack.json`: `version`, `settings` and, for each of the `shards`, what its head tells.

    Raises:
        PackError: if it is absent, damaged or of another version.
    """
    path = folder / INDEX
    if not path.is_file():
        raise PackError(
            f"Expected packed features with their index at `{path}`, got none; finish the packing "
            "by the same `davezoo pack` command."
        )
    index = read_json(path, PackError)
    version = index.get("version") if isinstance(index, dict) else None
    if version != VERSION:
        raise PackError(
            f"Expected `{path}` to be of version {VERSION}, got {version!r}; use the davezoo that "
            "packed it, or pack the features again."
        )
    try:
        names = [shard["file"] for shard in index["shards"]]
        sound = all(Path(name).name == name for name in names)  # none leads out of the folder
        sound &= all(int(s["bytes"]) >= 0 <= len(s["arrays"].items()) for s in index["shards"])
        _grids(index["settings"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged_index(folder, f"{type(error).__name__} {error}") from error
    if not sound:
        raise _damaged_index(folder, "shards or settings of another form")
    return dict(index)


def describe_shard(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings that a shard was packed with, and its entry for the index.

    Reads the head alone: types, shapes and places from safetensors, the rest from our metadata.

    Raises:
        PackError: if it is no shard of ours, or cut.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            head_size = int.from_bytes(file.read(8), "little")
            head = json.loads(file.read(min(head_size, _LONGEST_HEAD)))
        notes = json.loads(head.pop("__metadata__")[METADATA])
        checksums = notes.pop("sha256")
        start = 8 + head_size
        arrays = {
            name: {
                "dtype": array["dtype"],
                "shape": array["shape"],
                "offset": start + array["data_offsets"][0],
                "sha256": checksums[name],
            }
            for name, array in head.items()
        }
        if unknown := {array["dtype"] for array in head.values()} - set(DTYPES):
            raise ValueError(f"numbers of type {min(unknown)}")
        end = start + max((array["data_offsets"][1] for array in head.values()), default=0)
        settings = notes.pop("settings")
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise PackError(
            f"Expected `{path}` to be a shard of packed features, got a file without a readable "
            f"head ({type(error).__name__} {error}); delete it and pack again."
        ) from error
    if end != size:
        raise PackError(
            f"Expected `{path}` to have {end} bytes, got {size}; delete it and pack again."
        )
    return settings, {"file": path.name, "bytes": size, **notes, "arrays": arrays}


def _grids(settings: Mapping[str, Any]) -> tuple[FeatureGrid | None, FeatureGrid | None]:
    """Return where the visual and the audio steps lie, as far as it was told."""
    grid, audio_grid = (
        None if settings[name] is None else FeatureGrid(**settings[name])
        for name in ("grid", "audio_grid")
    )
    return grid, audio_grid


def _check_size(path: Path, size: int) -> None:
    """Refuse a shard that is absent or cut."""
    found = path.stat().st_size if path.is_file() else None
    if found != size:
        got = "no such file" if found is None else f"{found} bytes"
        raise PackError(
            f"Expected the shard `{path}` with {size} bytes, got {got}; copy it again, or delete "
            f"it and {INDEX} and pack the features again."
        )


def _damaged_index(folder: Path, what: str) -> PackError:
    """Return the error of an index that does not fit."""
    return PackError(
        f"Expected `{folder / INDEX}` to be the index of packed features, got {what}; delete it "
        "and finish the packing again."
    )
