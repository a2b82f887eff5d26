"""What there is to pack in a folder of loose feature files."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from tqdm import tqdm

from davezoo.data.features import FeatureArray, FeatureError, LooseFolder
from davezoo.data.packing import PackError, is_packed

_MOST_NAMED = 10


@dataclass(frozen=True)
class LooseArray:
    """One array to pack.

    Args:
        name: of the file in the folder, with `:member` in an archive.
        file: without the member.
        dtype: what it is stored as, in safetensors' words.
        num_bytes: what it takes there.
    """

    name: str
    file: str
    dtype: str
    num_bytes: int


@dataclass(frozen=True)
class LooseFeatures:
    """What a folder of loose files holds.

    Args:
        arrays: the arrays to pack in the order of their names, so that the files of one video lie
            beside each other.
        stamps: size in bytes and time of change (ns) of each file that is packed.
        left_out: members of archives that are no features, such as time stamps.
        other_files: files of other kinds.
    """

    arrays: list[LooseArray]
    stamps: dict[str, list[int]]
    left_out: list[str]
    other_files: list[str]


def list_loose_features(folder: Path, dtype: str | None) -> LooseFeatures:
    """Read the heads of all files below a folder.

    Args:
        folder: the folder.
        dtype: type to store; None for each array's own, float64 as float32.

    Raises:
        PackError: if there are unusable files, which the message counts and names, or none at all.
    """
    if not folder.is_dir() or is_packed(folder):
        raise PackError(
            f"Expected `{folder}` to be a folder of loose feature files, got "
            f"{'a packed one' if folder.is_dir() else 'no folder'}; correct the path."
        )
    store = LooseFolder(folder)
    names = sorted(store.names())
    files = [name for name in names if name.endswith((".npy", ".npz"))]
    arrays: list[LooseArray] = []
    left_out: list[str] = []
    faults: list[str] = []
    for file in tqdm(files, "Reading heads", unit="file", disable=None):
        try:
            wanted = [file]
            if file.endswith(".npz"):
                members = _members(folder / file)
                wanted = [f"{file}:{name}" for name, is_features in members if is_features]
                left_out += [f"{file}:{name}" for name, is_features in members if not is_features]
            arrays += [_loose_array(name, file, store.open(name), dtype) for name in wanted]
        except FeatureError as error:
            faults.append(str(error))
    if faults:
        named = "".join(f"\n  {fault}" for fault in faults[:_MOST_NAMED])
        raise PackError(
            f"Expected usable feature files in `{folder}`, got {len(faults)} others, the first:"
            f"{named}\nRepair them, or move them out of the folder."
        )
    if not arrays:
        raise PackError(
            f"Expected .npy or .npz files with features in `{folder}`, got none; correct the path."
        )
    packed = {array.file for array in arrays}
    found = {file: (folder / file).stat() for file in packed}
    return LooseFeatures(
        arrays,
        {file: [stat.st_size, stat.st_mtime_ns] for file, stat in found.items()},
        left_out,
        [name for name in names if not name.endswith((".npy", ".npz"))],
    )


def _members(path: Path) -> list[tuple[str, bool]]:
    """Return the arrays of an archive, and which of them are (time, channels) of floats."""
    found = []
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                with archive.open(entry) as file:
                    version = np.lib.format.read_magic(file)
                    read = np.lib.format.read_array_header_2_0
                    if version == (1, 0):
                        read = np.lib.format.read_array_header_1_0
                    shape, _, dtype = read(file)
                is_features = len(shape) == 2 and dtype.kind == "f"
                found.append((entry.filename.removesuffix(".npy"), is_features))
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise PackError(
            f"Expected `{path}` to be an archive of arrays, got {error}; download it again."
        ) from error
    return found


def _loose_array(name: str, file: str, array: FeatureArray, dtype: str | None) -> LooseArray:
    """Say how an array is to be stored."""
    stored = dtype or ("float16" if array.dtype.itemsize == 2 else "float32")
    itemsize = np.dtype(stored).itemsize
    return LooseArray(name, file, f"F{8 * itemsize}", itemsize * prod(array.shape))
