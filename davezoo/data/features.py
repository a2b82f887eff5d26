"""Feature files: which of them a video has and how they open; numbers are read later.

Names of files are relative to the folder of the features, with `/` between its folders; a name may
go on into an archive: `P01_01.npz:feats`.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from io import BytesIO
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import IO, TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from davezoo.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from davezoo.structures import FeatureGrid

Modality = Literal["visual", "audio"]

DEFAULT_MEMBER = "feats"  # what EPIC-Kitchens' SlowFast archives call their features
_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,  # of a head
    TokenError,  # NumPy reads heads that Python 2 wrote by their tokens
    KeyError,
    NotImplementedError,  # an unknown compression
    RuntimeError,  # an encrypted archive
    zipfile.BadZipFile,
    zlib.error,
)


class FeatureError(InputError):
    """A feature file cannot be used; the message names file and remedy."""


class FeatureArray(Protocol):
    """Features of one file, (T, C), of a floating type; numbers are read by slicing rows."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Steps and channels."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        """Return some steps."""


class FeatureStore(Protocol):
    """Where the feature files of a data set lie."""

    def names(self) -> set[str]:
        """Return the names of all files."""

    def open(self, name: str) -> FeatureArray:
        """Open one file without reading its numbers.

        Raises:
            FeatureError: if it is absent, damaged, or no floating-point array (T, C).
        """


@dataclass(frozen=True)
class FeatureLayout:
    """What the feature files of a data set are called and what is in them.

    Args:
        folder: folder of the files.
        visual_files: file names with `{video}` for the id; arrays (T, C) joined along C. None for
            data without this modality; its features have no channels then.
        audio_files: the same for the audio.
        visual_width: channels of the joined visual features.
        audio_width: channels of the joined audio features.
        grid: where the visual steps lie in seconds.
        audio_grid: where the audio steps lie; the audio is interpolated at the seconds of the
            visual steps then. None where both lie on the same steps.
        own_fps: the steps of `grid` count frames of each video's own frame rate, as the
            annotations tell it, not of `grid.fps`.
        resize_to: steps that every video is stretched or squeezed to; None to leave its own.
        modalities: which features to read. Those of audio alone lie on `audio_grid` if it is given.
        length_tolerance: most steps by which audio and visual may end apart.
        allow_missing_audio: a video without any of its audio files has no sound; else it is
            unusable.

    Raises:
        InputError: if there is nothing to read.
    """

    folder: Path
    visual_files: Sequence[str]
    audio_files: Sequence[str]
    visual_width: int
    audio_width: int
    grid: FeatureGrid
    audio_grid: FeatureGrid | None = None
    own_fps: bool = False
    resize_to: int | None = None
    modalities: Literal["both", "audio", "visual"] = "both"
    length_tolerance: int = 8
    allow_missing_audio: bool = False

    def __post_init__(self) -> None:
        """Refuse a layout without anything to read."""
        if not self.patterns("visual") and not self.patterns("audio"):
            raise InputError(
                f"Expected `visual_files` or `audio_files` to name files of `modalities`, got none "
                f"for {self.modalities!r}; name them, or choose the other modality."
            )

    def patterns(self, modality: Modality) -> list[str]:
        """Return the file names of a modality with `{video}`; none if it is not read."""
        if self.modalities not in ("both", modality):
            return []
        return list(self.visual_files if modality == "visual" else self.audio_files)

    def width(self, modality: Modality) -> int:
        """Return the channels of a modality; 0 if it is not read."""
        if not self.patterns(modality):
            return 0
        return self.visual_width if modality == "visual" else self.audio_width

    def file_names(self, modality: Modality, video: str) -> list[str]:
        """Return the files of a video to read; none if the modality is not read."""
        return _names(self.patterns(modality), video)

    @property
    def leading(self) -> Modality:
        """The modality whose steps are those of the video."""
        return "visual" if self.patterns("visual") else "audio"

    @property
    def counts_own_frames(self) -> bool:
        """Whether the steps of a video count frames of its own rate."""
        return self.own_fps and (self.leading == "visual" or self.audio_grid is None)

    def grid_of(self, modality: Modality, fps: float) -> FeatureGrid:
        """Return where the steps of a modality lie, in a video of `fps` frames a second."""
        if modality == "audio" and self.audio_grid is not None:
            return self.audio_grid
        return replace(self.grid, fps=fps) if self.own_fps else self.grid

    @property
    def may_lack_audio(self) -> bool:
        """Whether a video can be used without its audio: something else must tell its length."""
        return self.allow_missing_audio and all(self.patterns(m) for m in ("visual", "audio"))

    def lack_audio(self, videos: Iterable[str], present: set[str]) -> set[str]:
        """Return the videos that have no sound: none of their audio files is there."""
        if not self.may_lack_audio:
            return set()
        return {
            video
            for video in videos
            if not any(_held(name, present) for name in self.file_names("audio", video))
        }

    def missing(self, videos: Iterable[str], present: set[str]) -> dict[str, str]:
        """Return what each video without all files that it needs lacks."""
        videos, faults = list(videos), {}
        silent = self.lack_audio(videos, present)
        for video in videos:
            needed = self.file_names("visual", video)
            needed += [] if video in silent else self.file_names("audio", video)
            if lacks := [name for name in needed if not _held(name, present)]:
                faults[video] = f"no {', '.join(sorted(lacks))}"
        return faults

    def unused(self, videos: Iterable[str], present: set[str]) -> list[str]:
        """Return the files that belong to none of the videos, whichever modalities are read."""
        patterns = [*self.visual_files, *self.audio_files]
        used = {name for video in videos for name in _names(patterns, video)}
        return sorted(present - used - {_split(name)[0] for name in used})


class LooseFolder:
    """Feature files in a folder and its subfolders: `.npy`, mapped, or members of `.npz`.

    Members that are not compressed are mapped, too; of compressed ones the whole is unpacked
    whenever rows are read. A name without a member means the archive's only array, or `feats`.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> set[str]:
        """Return the names of all files, as they were when they were first asked for."""
        return self._names

    @cached_property
    def _names(self) -> set[str]:
        # One listing, not one question a file.
        files: set[str] = set()
        for parent, _, names in os.walk(self.folder, followlinks=True):
            prefix = Path(parent).relative_to(self.folder)
            start = "" if prefix == Path() else prefix.as_posix() + "/"
            files.update(start + name for name in names)
        return files

    def open(self, name: str) -> FeatureArray:
        """Open one array and read its head."""
        file_name, member = _split(name)
        path = self.folder / file_name
        if file_name.startswith("/") or ".." in file_name.split("/"):
            raise FeatureError(
                f"Expected the feature file {name!r} to lie in {self.folder}, got a way out of it; "
                "correct the video's id in the annotation file."
            )
        try:
            zipped = file_name.endswith(".npz")
            array = _open_member(path, member) if zipped else _open_npy(path)
        except FileNotFoundError as error:
            raise FeatureError(
                f"Expected a feature file at `{path}`, got none; restore it or set "
                "`skip_unreadable`."
            ) from error
        except FeatureError:
            raise
        except _UNREADABLE as error:
            raise _unreadable(f"{self.folder / name}", error) from error
        if len(array.shape) != 2 or array.dtype.kind != "f" or array.shape[0] == 0:
            raise FeatureError(
                f"Expected `{self.folder / name}` to be a non-empty floating-point array (time, "
                f"channels), got shape {array.shape} of {array.dtype}; extract the features again."
            )
        return array


def open_store(folder: Path) -> FeatureStore:
    """Open the folder of a data set's features: a packed one, or loose files.

    Raises:
        FeatureError: if the packed folder is damaged or unfinished.
    """
    from davezoo.data.packing import PackedFolder, is_packed  # it builds on this file

    return PackedFolder(folder) if is_packed(folder) else LooseFolder(folder)


@dataclass(frozen=True)
class _MappedArray:
    """Numbers that lie in a file as they lie in memory."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: Literal["C", "F"]
    offset: int

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        try:
            whole: NDArray[Any] = np.memmap(
                self.path, self.dtype, "r", self.offset, self.shape, self.order
            )
        except (OSError, ValueError) as error:  # it was there when its head was read
            raise _unreadable(str(self.path), error) from error
        return whole[rows]


@dataclass(frozen=True)
class _CompressedArray:
    """An array in an archive that must be unpacked to be read."""

    path: Path
    member: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
                whole: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        except _UNREADABLE as error:
            raise _unreadable(f"{self.path}:{self.member}", error) from error
        return whole[rows]


def _open_npy(path: Path) -> FeatureArray:
    """Read the head of a .npy file."""
    with path.open("rb") as file:
        shape, order, dtype = _read_head(file)
        offset, size = file.tell(), os.fstat(file.fileno()).st_size
    _check_size(size - offset, shape, dtype)
    return _MappedArray(path, shape, dtype, order, offset)


def _open_member(path: Path, wanted: str | None) -> FeatureArray:
    """Read the head of an array in a .npz archive."""
    with zipfile.ZipFile(path) as archive:
        members = [name.removesuffix(".npy") for name in archive.namelist()]
        member = members[0] if wanted is None and len(members) == 1 else wanted or DEFAULT_MEMBER
        if member not in members:
            raise FeatureError(
                f"Expected `{path}` to hold {member!r}, got {sorted(members)}; name the array in "
                f"the file pattern, as in `{{video}}.npz:{min(members, default='rgb')}`."
            )
        info = archive.getinfo(archive.namelist()[members.index(member)])
        with archive.open(info) as file:
            shape, order, dtype = _read_head(file)
            head_size = file.tell()
    _check_size(info.file_size - head_size, shape, dtype)
    if info.compress_type != zipfile.ZIP_STORED:
        return _CompressedArray(path, info.filename, shape, dtype)
    with path.open("rb") as raw:  # the member's own head: 30 bytes, its name, extra fields
        raw.seek(info.header_offset + 26)
        name_size, extra_size = struct.unpack("<HH", raw.read(4))
    offset = info.header_offset + 30 + name_size + extra_size + head_size
    return _MappedArray(path, shape, dtype, order, offset)


def _read_head(file: IO[bytes]) -> tuple[tuple[int, ...], Literal["C", "F"], np.dtype[Any]]:
    """Read shape, order and type; the file stands at the first number then."""
    start = file.read(8)
    if start[:2] == b"PK":
        raise ValueError("an .npz archive that is called .npy")
    count = 2 if start[6:7] == b"\x01" else 4  # bytes that tell how long the head is
    size = file.read(count)
    return _parse_head(start + size + file.read(min(int.from_bytes(size, "little"), 1 << 16)))


@lru_cache(maxsize=4096)  # videos of equal lengths have equal heads
def _parse_head(head: bytes) -> tuple[tuple[int, ...], Literal["C", "F"], np.dtype[Any]]:
    """Return shape, order and type of a .npy file."""
    file = BytesIO(head)
    if np.lib.format.read_magic(file) == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    else:  # NumPy itself writes the second form where the head is long
        file.seek(8)
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    if dtype.hasobject:
        raise ValueError("pickled objects")
    return shape, "F" if fortran else "C", dtype


def _check_size(size: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse a file that ends before its numbers."""
    needed = prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size < needed:
        raise ValueError(f"{size} bytes of numbers where its head tells of {needed}, a cut file")


def _unreadable(name: str, error: Exception) -> FeatureError:
    """Return the error of a file that cannot be read."""
    return FeatureError(
        f"Expected `{name}` to be an array without pickled objects, got {error}; extract or "
        "download it again."
    )


def _names(patterns: Sequence[str], video: str) -> list[str]:
    """Return the names of a video's files."""
    return [pattern.replace("{video}", video) for pattern in patterns]


def _split(name: str) -> tuple[str, str | None]:
    """Return the file and the member of a name, None where it tells no member."""
    before, archive, member = name.rpartition(".npz:")
    return (before + ".npz", member) if archive else (name, None)


def _held(name: str, present: set[str]) -> bool:
    """Say whether a file, or the archive that it should be in, is there."""
    return name in present or _split(name)[0] in present
