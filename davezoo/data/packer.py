"""`davezoo pack`: loose feature files become a packed folder, shard by shard."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file
from tqdm import tqdm

from davezoo.data.features import LooseFolder
from davezoo.data.loose_features import LooseArray, list_loose_features
from davezoo.data.packing import (
    DTYPES,
    INDEX,
    METADATA,
    VERSION,
    PackError,
    checksum,
    describe_shard,
    read_index,
    shard_name,
)
from davezoo.data.packing import verify as verify_pack
from davezoo.errors import InputError
from davezoo.json_files import write_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from davezoo.data.datamodule import EventDataModule
    from davezoo.structures import FeatureGrid

_SHARD_BYTES = 512 * 2**20
_INCOMPLETE = "incomplete-"


@dataclass(frozen=True)
class Packed:
    """What `write_pack` did.

    Args:
        index: content of `pack.json`.
        num_written: shards that were written now; the others were there already.
        left_out: members of archives that are no features.
        other_files: files of other kinds, which are not packed.
    """

    index: dict[str, Any]
    num_written: int
    left_out: list[str]
    other_files: list[str]


def pack(
    data: EventDataModule | None = None,
    features: Path | None = None,
    output: Path | None = None,
    dtype: Literal["float16", "float32"] | None = None,
    grid: FeatureGrid | None = None,
    audio_grid: FeatureGrid | None = None,
    verify: Path | None = None,
) -> None:
    """Pack many small feature files into a few large ones with checksums, or verify such files.

    Everything that reads features reads the packed folder in place of the loose one, by the same
    file names: set `features` of the data to it. Finished files stay, so a broken run is continued
    by the same command.

    Args:
        data: data set whose features to pack, as in `davezoo fit`: a file, and settings such as
            `--data.root`.
        features: folder of loose files to pack, without a data file: all `.npy` and `.npz` files
            in it and in its subfolders.
        output: folder to pack into; by default that of the features with `.packed` added, or
            `features.packed` in the root of `data` where the features lie in the root itself.
        dtype: type to store; by default each array keeps its own, float64 as float32.
        grid: where the visual steps lie in seconds, noted beside the features and compared
            wherever they are read; by default that of `data`.
        audio_grid: the same for the audio, where it differs.
        verify: packed folder whose checksums to compare, instead of packing.

    Raises:
        PackError: if the folder cannot be packed, or the checksums tell of damage.
        InputError: unless exactly one of `data`, `features` and `verify` is given.
    """
    if [data, features, verify].count(None) != 2:
        raise InputError(
            "Expected one of `--data`, `--features` and `--verify`, got none or several; name a "
            "data file or a folder to pack, or a packed folder to verify."
        )
    if verify is not None:
        report = verify_pack(verify.expanduser())
        if report.faults:
            raise PackError(f"Expected right checksums, got damage in {report.summary()}")
        sys.stdout.write(f"{report.summary()}\n")
        return
    if data is not None:
        features = data.root / data.features
        grid, audio_grid = grid or data.layout.grid, audio_grid or data.layout.audio_grid
    folder = Path(str(features)).expanduser()
    root = folder.parent if data is None else data.root
    beside = folder.with_name(f"{folder.name}.packed")
    if folder.resolve() == root.resolve():  # what lies beside a root is not found from the root
        beside = root / "features.packed"
    target = beside if output is None else output.expanduser()
    packed = write_pack(folder, target, dtype, grid, audio_grid)
    within = target.resolve().is_relative_to(root.resolve())
    setting = target.resolve().relative_to(root.resolve()) if within else target.resolve()
    sys.stdout.write(f"{_summary(folder, target, packed)}Use it: --data.features {setting}\n")


def write_pack(
    folder: Path,
    output: Path,
    dtype: Literal["float16", "float32"] | None = None,
    grid: FeatureGrid | None = None,
    audio_grid: FeatureGrid | None = None,
    shard_bytes: int = _SHARD_BYTES,
) -> Packed:
    """Write what `pack` writes, with a progress bar on a terminal but without a summary.

    Args:
        folder: see `features` of `pack`.
        output: see `pack`.
        dtype: see `pack`.
        grid: see `pack`.
        audio_grid: see `pack`.
        shard_bytes: most bytes of numbers in a shard; a larger array gets one of its own.

    Raises:
        PackError: if files are unusable or out of the type's range, the output holds anything
            else, or the disk is full.
    """
    loose = list_loose_features(folder, dtype)
    settings = {
        "source": folder.resolve().name,
        "dtype": dtype,
        "grid": None if grid is None else asdict(grid),
        "audio_grid": None if audio_grid is None else asdict(audio_grid),
    }
    shards = {
        shard_name(number): arrays
        for number, arrays in enumerate(_cut(loose.arrays, shard_bytes), 1)
    }
    stamps = {
        name: {array.file: loose.stamps[array.file] for array in arrays}
        for name, arrays in shards.items()
    }
    entries = _present_shards(output, stamps, settings)
    todo = {name: arrays for name, arrays in shards.items() if name not in entries}
    num_bytes = {name: sum(array.num_bytes for array in shards[name]) for name in shards}
    _require_space(output, sum(num_bytes[name] for name in todo))
    output.mkdir(parents=True, exist_ok=True)
    store = LooseFolder(folder)
    with tqdm(
        total=sum(num_bytes.values()),
        initial=sum(num_bytes[name] for name in entries),
        desc="Packing",
        unit="B",
        unit_scale=True,
        disable=None,
    ) as progress:
        for name, arrays in todo.items():
            notes = {"settings": settings, "stamps": stamps[name]}
            _write_shard(output / name, store, arrays, notes, progress)
            entries[name] = describe_shard(output / name)[1]
    ordered = [entries[name] for name in shards]
    index = {"version": VERSION, "settings": settings, "shards": ordered}
    if todo or not (output / INDEX).is_file():
        write_json(output / INDEX, index)
    return Packed(index, len(todo), loose.left_out, loose.other_files)


def _cut(arrays: Iterable[LooseArray], shard_bytes: int) -> Iterator[list[LooseArray]]:
    """Cut the arrays into shards; the first ones stay the same whatever follows."""
    shard: list[LooseArray] = []
    size = 0
    for array in arrays:
        if shard and size + array.num_bytes > shard_bytes:
            yield shard
            shard, size = [], 0
        shard.append(array)
        size += array.num_bytes
    if shard:
        yield shard


def _present_shards(
    output: Path, stamps: dict[str, dict[str, list[int]]], settings: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return the entries of the shards that an earlier run wrote; refuse anything else.

    Raises:
        PackError: if the folder holds other files, or shards of other features or settings.
    """
    if not output.exists():
        return {}
    if not output.is_dir():
        raise PackError(
            f"Expected `{output}` to be a folder, got a file; choose another `--output`."
        )
    for part in output.glob(f"{_INCOMPLETE}*"):  # of a run that was killed
        shutil.rmtree(part)
    remedy = "choose another `--output`, or delete this folder to pack anew."
    entries = {}
    for path in sorted(output.iterdir()):
        if path.name == INDEX:
            continue
        if not path.match("features-*.safetensors"):
            raise PackError(
                f"Expected `{output}` to hold nothing but shards of these features, got "
                f"{path.name}; {remedy}"
            )
        packed_with, entry = describe_shard(path)
        for setting, value in settings.items():
            if packed_with.get(setting) != value:
                raise PackError(
                    f"Expected `{output}` to be packed with `{setting}` {value!r}, got "
                    f"{packed_with.get(setting)!r}; {remedy}"
                )
        before, now = entry["stamps"], stamps.get(path.name, {})
        if changed := [f for f in {**before, **now} if before.get(f) != now.get(f)]:
            raise PackError(
                f"Expected the files in `{path}` to be as they were when it was packed, got "
                f"changed, removed or added ones about {min(changed)!r}; {remedy}"
            )
        entries[path.name] = entry
    if (output / INDEX).is_file() and len(entries) == len(stamps):
        read_index(output)
    return entries


def _require_space(output: Path, num_bytes: int) -> None:
    """Refuse to begin what the disk cannot hold."""
    there = next(folder for folder in (output, *output.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    if num_bytes > free:
        raise PackError(
            f"Expected {tqdm.format_sizeof(num_bytes, 'B')} of free space for `{output}`, got "
            f"{tqdm.format_sizeof(free, 'B')}; free some, choose another `--output` or "
            "`--dtype float16`."
        )


def _write_shard(
    path: Path,
    store: LooseFolder,
    arrays: Sequence[LooseArray],
    notes: dict[str, Any],
    progress: tqdm[Any],
) -> None:
    """Write one shard beside its place, and move it there when it is whole."""
    stored: dict[str, NDArray[Any]] = {}
    not_finite: list[str] = []
    rounding, rounded = 0.0, ""
    for array in arrays:
        features = store.open(array.name)[:]
        stored[array.name], error, finite = _convert(features, DTYPES[array.dtype], array.name)
        if error > rounding:
            rounding, rounded = error, array.name
        if not finite:
            not_finite.append(array.name)
        progress.update(array.num_bytes)
    notes |= {"not_finite": not_finite, "largest_rounding": [rounding, rounded]}
    notes["sha256"] = {name: checksum(features.data) for name, features in stored.items()}
    try:
        # A folder of its own: the library, too, writes beside the place, under a random name.
        with tempfile.TemporaryDirectory(prefix=_INCOMPLETE, dir=path.parent) as folder:
            part = Path(folder) / path.name
            save_file(stored, part, metadata={METADATA: json.dumps(notes)})
            shutil.copymode(store.folder / arrays[0].file, part)  # the library's is for one user
            part.replace(path)
    except (OSError, SafetensorError) as error:
        full = os.strerror(errno.ENOSPC)
        raise PackError(
            f"Expected to write `{path}`, got {error}; "
            f"{'free some space' if full in str(error) else 'look at the disk'} and run the same "
            "command again: the finished shards stay."
        ) from error


def _convert(
    features: NDArray[Any], dtype: np.dtype[Any], name: str
) -> tuple[NDArray[Any], float, bool]:
    """Convert one array; return it, its largest rounding error, and whether all is finite."""
    with np.errstate(over="ignore"):
        stored = np.array(features, dtype, order="C")  # a copy: not a thousand mapped files at once
    finite = np.isfinite(features)
    if (finite & ~np.isfinite(stored)).any():
        largest = float(np.abs(features[finite]).max())
        raise PackError(
            f"Expected the values of {name!r} to lie in the range of {dtype.name}, got "
            f"{largest:.6g}; pack with `--dtype float32`, or correct the file."
        )
    if np.can_cast(features.dtype, dtype):
        return stored, 0.0, bool(finite.all())
    error = np.abs(features[finite] - stored[finite].astype(features.dtype))
    return stored, float(error.max(initial=0)), bool(finite.all())


def _summary(folder: Path, output: Path, packed: Packed) -> str:
    """Return what was done in words."""
    shards = packed.index["shards"]
    num_files = sum(len(shard["stamps"]) for shard in shards)
    num_bytes = sum(size for shard in shards for size, _ in shard["stamps"].values())
    packed_bytes = sum(shard["bytes"] for shard in shards)
    lines = [
        f"Packed {sum(len(shard['arrays']) for shard in shards):,} arrays of {num_files:,} files "
        f"({tqdm.format_sizeof(num_bytes, 'B')}) from {folder} into {output}: {len(shards)} "
        f"shards, {tqdm.format_sizeof(packed_bytes, 'B')}; {packed.num_written} written now, "
        f"{len(shards) - packed.num_written} there already."
    ]
    rounding, name = max(shard["largest_rounding"] for shard in shards)
    if rounding:
        lines.append(f"Largest rounding error: {rounding:.3g}, in {name}.")
    not_finite = [name for shard in shards for name in shard["not_finite"]]
    for names, what in (
        (packed.left_out, "arrays of archives are not (time, channels) and were left out"),
        (packed.other_files, "files are neither .npy nor .npz and were left out"),
        (not_finite, "arrays hold NaN or infinity; they are packed as they are"),
    ):
        if names:
            lines.append(f"{len(names)} {what}, such as {names[0]}.")
    return "".join(f"{line}\n" for line in lines)
