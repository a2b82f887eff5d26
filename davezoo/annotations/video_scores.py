"""Scores of a classifier of whole videos, made elsewhere: they name class-agnostic proposals.

Three layouts are told apart by their content, gzipped or not:

- `{"results": {VIDEO: [score of each class]}, "class": [names]}`: the CUHK scores for ActivityNet
  (Zhao et al., "CUHK & ETHZ & SIAT Submission to ActivityNet Challenge 2017");
- `{"results": {VIDEO: [{"label": name, "score": s}, ...]}}`: the ActivityNet submission layout for
  classification, the few best classes of each video (Montes et al., NeurIPS workshop 2016);
- a NumPy array of 1574 test videos and 101 classes of THUMOS14, as UntrimmedNet's scores are handed
  round (Wang et al., CVPR 2017): row `n - 1` is `video_test_n`, column `c - 1` class `c` of
  UCF101; the rows sum to 2, because scores of two streams are added.
"""

from __future__ import annotations

import difflib
import gzip
import tokenize
import warnings
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from reprlib import repr as shorten
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from davezoo.errors import InputError
from davezoo.json_files import read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_GZIP, _NUMPY = b"\x1f\x8b", b"\x93NUMPY"
_THUMOS14_SHAPE = (1574, 101)
# The detection classes of THUMOS14 and their numbers among the 101 classes of UCF101.
_UCF101_NUMBERS = {
    "BaseballPitch": 7,
    "BasketballDunk": 9,
    "Billiards": 12,
    "CleanAndJerk": 21,
    "CliffDiving": 22,
    "CricketBowling": 23,
    "CricketShot": 24,
    "Diving": 26,
    "FrisbeeCatch": 31,
    "GolfSwing": 33,
    "HammerThrow": 36,
    "HighJump": 40,
    "JavelinThrow": 45,
    "LongJump": 51,
    "PoleVault": 68,
    "Shotput": 79,
    "SoccerPenalty": 85,
    "TennisSwing": 92,
    "ThrowDiscus": 93,
    "VolleyballSpiking": 97,
}
# Names this alike, of which one is known and one is not, are one class in two spellings.
_NEAR = 0.8


class VideoScoreError(InputError):
    """A file of video scores cannot be used; the message names the file, the entry and a remedy."""


@dataclass(frozen=True)
class VideoScores:
    """How sure a classifier is of the classes of each video.

    Args:
        rows: row of each video in `values`, by id as spelt in the file.
        values: score of each class, (V, K), float64; NaN where the file says nothing.
        class_names: name of each class index.
        notes: what of the file is not used and what it lacks, one phrase each.
    """

    rows: dict[str, int]
    values: NDArray[np.float64]
    class_names: list[str]
    notes: list[str] = field(default_factory=list)

    def top(self, video: str, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the best classes of a video.

        Args:
            video: id, with or without the `v_` in front that ActivityNet's files have.
            k: how many classes.

        Returns:
            Class indices, (k,), best first and equal ones in the order of the classes, and their
            scores, (k,); fewer where the file knows fewer, none for a video that it lacks.
        """
        row = self._row(video)
        if row is None:
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        known = np.flatnonzero(~np.isnan(self.values[row]))
        labels = known[np.argsort(-self.values[row, known], kind="stable")][:k]
        return labels, self.values[row, labels]

    def missing(self, videos: Iterable[str]) -> list[str]:
        """Return those of some videos that the file has no score for, in their order."""
        known: NDArray[np.bool_] = np.any(~np.isnan(self.values), axis=1)
        found = ((video, self._row(video)) for video in videos)
        return [video for video, row in found if row is None or not known[row]]

    def _row(self, video: str) -> int | None:
        """Return the row of a video; ids as they are come first, then with and without `v_`."""
        for spelling in (video, f"v_{video}", video.removeprefix("v_")):
            if spelling in self.rows:
                return self.rows[spelling]
        return None


def read_video_scores(path: str | Path, class_names: Sequence[str]) -> VideoScores:
    """Read a file of video scores in one of the layouts of this module.

    Args:
        path: the file, JSON or `.npy`, gzipped or not.
        class_names: names of the classes that the scores are for, spelt as in the file.

    Returns:
        The scores of all videos of the file. Classes and videos that do not match are told in
        `notes`, with a warning.

    Raises:
        FileNotFoundError: if there is no such file.
        VideoScoreError: if the file is damaged, no class matches, or classes are spelt differently.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected a file of video scores at {path}, got no such file; check the path."
        )
    if _starts_with(path, _NUMPY):
        rows, values, names = _read_thumos14(path)
    else:
        rows, values, names = _read_results(path)
    bad = ~(np.isnan(values) | ((values >= 0) & (values < np.inf)))
    if bad.any():
        row, column = np.argwhere(bad)[0].tolist()
        raise _refusal(
            f"the scores of video {list(rows)[row]!r} in {path}",
            "be finite and not negative",
            f"{values[row, column]} for class {names[column]!r}",
            "write probabilities",
        )
    columns, notes = _match_classes(path, names, class_names)
    matched = np.full((len(values), len(class_names)), np.nan)
    matched[:, columns >= 0] = values[:, columns[columns >= 0]]
    num_empty = int(np.isnan(matched).all(axis=1).sum())
    if num_empty:
        notes.append(f"{num_empty} of {len(values)} videos without a score")
    if notes:
        warnings.warn(f"{path}: {'; '.join(notes)}", stacklevel=2)
    return VideoScores(rows, matched, list(class_names), notes)


def _match_classes(
    path: Path, names: Sequence[str], class_names: Sequence[str]
) -> tuple[NDArray[np.int64], list[str]]:
    """Return the column of each class, -1 where the file lacks it, and what does not match."""
    column_of = {name: column for column, name in enumerate(names)}
    columns = np.array([column_of.get(name, -1) for name in class_names], dtype=np.int64)
    absent = [name for name in class_names if name not in column_of]
    unknown = sorted(set(names).difference(class_names))
    pairs = [
        (name, near[0])
        for name in unknown
        if (near := difflib.get_close_matches(name, absent, n=1, cutoff=_NEAR))
    ]
    if pairs:
        raise _refusal(
            f"the classes of {path}",
            "be spelt as in the annotations",
            ", ".join(f"{name!r} where the annotations have {near!r}" for name, near in pairs[:5]),
            "rename them in one of the files",
        )
    if len(absent) == len(class_names):
        raise _refusal(
            f"the classes of {path}",
            f"be those of the annotations ({shorten(list(class_names))})",
            shorten(unknown),
            "give the scores of a classifier of this data set",
        )
    notes = [
        f"{len(listed)} classes {what}: {shorten(listed)}"
        for listed, what in (
            (unknown, "that the annotations lack are not used"),
            (absent, "of the annotations are scored in no video"),
        )
        if listed
    ]
    return columns, notes


def _read_results(path: Path) -> tuple[dict[str, int], NDArray[np.float64], list[str]]:
    """Read one of the two JSON layouts: rows by video, scores (V, K) and the names of the K."""
    content = read_json(path, VideoScoreError)
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict) or not results:
        raise _refusal(
            f"`results` of {path}",
            "map videos to scores",
            shorten(results),
            "write one of the layouts described in davezoo/annotations/video_scores.py",
        )
    rows = {video: row for row, video in enumerate(results)}
    if "class" in content:
        return rows, *_read_vectors(path, results, content["class"])
    return rows, *_read_lists(path, results)


def _read_vectors(
    path: Path, results: dict[str, Any], names: Any
) -> tuple[NDArray[np.float64], list[str]]:
    """Read one score a class for each video."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _refusal(f"`class` of {path}", "be a list of names", shorten(names), "correct it")
    if len(set(names)) < len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise _refusal(f"`class` of {path}", "name each class once", f"{double!r} twice", "merge")
    for video, scores in results.items():
        if not isinstance(scores, list) or len(scores) != len(names) or not _are_numbers(scores):
            raise _refusal(
                f"the scores of video {video!r} in {path}",
                f"be {len(names)} numbers, one for each name in `class`",
                shorten(scores) + (f" ({len(scores)})" if isinstance(scores, list) else ""),
                "write them again",
            )
    values = np.array(list(results.values()), dtype=np.float64).reshape(len(results), len(names))
    if np.isnan(values).any():
        video = list(results)[int(np.isnan(values).any(axis=1).argmax())]
        raise _refusal(
            f"the scores of video {video!r} in {path}", "be numbers", "NaN", "classify it again"
        )
    return values, names


def _read_lists(path: Path, results: dict[str, Any]) -> tuple[NDArray[np.float64], list[str]]:
    """Read a list of labels with scores for each video; NaN for the classes not listed."""
    column_of: dict[str, int] = {}
    places: list[tuple[int, int]] = []
    scores: list[float] = []
    for row, (video, listed) in enumerate(results.items()):
        entries = listed if isinstance(listed, list) else [listed]
        labels = [entry.get("label") if isinstance(entry, dict) else None for entry in entries]
        given: list[Any] = [x.get("score") if isinstance(x, dict) else None for x in entries]
        named = all(isinstance(label, str) for label in labels)
        if not named or not _are_numbers(given) or any(score != score for score in given):
            raise _refusal(
                f"the scores of video {video!r} in {path}",
                'be a list of {"label": name, "score": number}',
                shorten(listed),
                "write [] for a video without scores; layouts with one number a class need `class`",
            )
        if len(set(labels)) < len(labels):
            raise _refusal(
                f"the labels of video {video!r} in {path}",
                "be different",
                shorten(labels),
                "keep each class once",
            )
        places += [(row, column_of.setdefault(str(x), len(column_of))) for x in labels]
        scores += [float(score) for score in given]
    values = np.full((len(results), len(column_of)), np.nan)
    if places:
        values[tuple(np.array(places).T)] = scores
    return values, list(column_of)


def _read_thumos14(path: Path) -> tuple[dict[str, int], NDArray[np.float64], list[str]]:
    """Read the array of THUMOS14; of its 101 columns only those of the detection classes."""
    values = _read_array(path)
    columns = np.array(list(_UCF101_NUMBERS.values())) - 1
    if np.isnan(values).any():
        number = int(np.isnan(values).any(axis=1).argmax()) + 1
        raise _refusal(f"row {number - 1} of {path}", "be numbers", "NaN", "classify it again")
    rows = {f"video_test_{number:07d}": number - 1 for number in range(1, len(values) + 1)}
    return rows, values[:, columns].astype(np.float64), list(_UCF101_NUMBERS)


def _read_array(path: Path) -> NDArray[np.floating[Any]]:
    """Read a NumPy array; its size is checked before anything of that size is made."""
    again = "download the file again or restore it from a copy"
    try:
        with _open(path) as file:
            version = np.lib.format.read_magic(file)
            if version not in ((1, 0), (2, 0)):
                raise ValueError(f"version {version}")
            read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
                version, np.lib.format.read_array_header_2_0
            )
            shape, fortran, dtype = read(file)
            if dtype.kind != "f" or shape != _THUMOS14_SHAPE or fortran:
                raise _refusal(
                    f"the array in {path}",
                    f"be {_THUMOS14_SHAPE} of a floating type: one row a test video of THUMOS14, "
                    "one column a class of UCF101",
                    f"{shape} of {dtype}",
                    "give the scores of all 1574 test videos, or write JSON with `class`",
                )
            num_bytes = dtype.itemsize * shape[0] * shape[1]
            content = file.read(num_bytes + 1)
    except VideoScoreError:
        raise
    except (
        ValueError,
        OSError,
        EOFError,
        SyntaxError,
        TypeError,
        zlib.error,
        tokenize.TokenError,
    ) as error:
        raise _refusal(f"{path}", "hold a NumPy array", str(error), again) from error
    if len(content) != num_bytes:
        more = "more" if len(content) > num_bytes else f"{len(content)}"
        raise _refusal(f"{path}", f"hold {num_bytes} bytes of numbers", more, again)
    return np.frombuffer(content, dtype).reshape(shape)


def _starts_with(path: Path, magic: bytes) -> bool:
    """Say whether a file, unpacked, starts with some bytes; damaged archives do not."""
    try:
        with _open(path) as file:
            return file.read(len(magic)) == magic
    except (OSError, EOFError, zlib.error):
        return False


def _open(path: Path) -> IO[bytes] | gzip.GzipFile:
    """Open a file that is gzipped or not, told by its first bytes."""
    with path.open("rb") as file:
        is_gzipped = file.read(len(_GZIP)) == _GZIP
    return gzip.open(path) if is_gzipped else path.open("rb")


def _are_numbers(values: list[Any]) -> bool:
    """Say whether JSON values are numbers that a float can hold; `true` and `false` are not."""
    return all(
        type(value) is float or (type(value) is int and abs(value) < 2**53) for value in values
    )


def _refusal(what: str, expected: str, got: str, remedy: str) -> VideoScoreError:
    return VideoScoreError(f"Expected {what} to {expected}, got {got}; {remedy}.")
