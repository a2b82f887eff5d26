"""Finding the results of test runs on disk; what cannot be used is named, never dropped."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from davezoo.errors import InputError
from davezoo.evaluation.run_results import RunResult

_NAME = "run.json"


@dataclass(frozen=True)
class FoundRun:
    """The result of a test run and where it lies.

    Args:
        place: path of the file, or what else names the run.
        run: the result.
    """

    place: str
    run: RunResult


@dataclass(frozen=True)
class SkippedRun:
    """A file or folder that looks like a run and is not used.

    Args:
        place: path, or what else names the run.
        reason: why not, and what to do.
    """

    place: str
    reason: str


def find_runs(places: Sequence[Path]) -> tuple[list[FoundRun], list[SkippedRun]]:
    """Read the results of all test runs below some folders.

    Args:
        places: folders, looked through to any depth, or files of results.

    Returns:
        The runs, folder by folder, and what lies there without being usable: damaged or foreign
        files, scores without their run, trainings that were never tested, folders that cannot be
        read.

    Raises:
        FileNotFoundError: if a place does not exist.
    """
    found: list[FoundRun] = []
    skipped: list[SkippedRun] = []
    files: dict[Path, Path] = {}  # each once, also where places lie in one another
    for place in places:
        if not place.exists():
            raise FileNotFoundError(
                f"Expected a run folder or a folder of such at {place}, got nothing; check the "
                "path."
            )
        for path in [place] if place.is_file() else _walk(place, skipped):
            files.setdefault(path.resolve(), path)
    given = {place for place in places if place.is_file()}
    results = [path for path in files.values() if is_result(path.name) or path in given]
    for path in tqdm(results, "Reading results", unit="run", disable=None):
        try:
            found.append(FoundRun(str(path), RunResult.read(path)))
        except (InputError, OSError) as error:
            reason = str(error).removeprefix(f"{path}: ")
            skipped.append(SkippedRun(str(path), reason))
    others = [path for path in files.values() if path not in given]
    return found, skipped + _unfinished(others)


def _walk(place: Path, skipped: list[SkippedRun]) -> Iterator[Path]:
    """Yield the files of a folder that say something of a run, to any depth.

    Links to folders are followed, for runs often lie on another disk; each folder is read once, so
    that a link to one above it does no harm. Folders that cannot be read join the skipped ones.
    """

    def skip(error: OSError) -> None:
        skipped.append(SkippedRun(str(error.filename), f"{error.strerror}; check its permissions."))

    read: set[str] = set()
    for folder, folders, names in os.walk(place, onerror=skip, followlinks=True):
        real = os.path.realpath(folder)
        if real in read:
            folders.clear()
            continue
        read.add(real)
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names) if _tells(name))


def _tells(name: str) -> bool:
    """Say whether a file of this name says something of a run."""
    return is_result(name) or name.endswith("result.json") or name == "config.yaml"


def is_result(name: str) -> bool:
    """Say whether a file is called as tests call their results: run.json, NAME_run.json."""
    return name == _NAME or name.endswith(f"_{_NAME}")


def _unfinished(files: Iterable[Path]) -> list[SkippedRun]:
    """Return scores that lie there without their run, and trainings without a score."""
    skipped = []
    for path in files:
        if path.name == "result.json" or path.name.endswith("_result.json"):
            run = path.with_name(path.name.removesuffix("result.json") + _NAME)
            reason = "a score that does not say where it came from (no run.json); test again."
        elif path.name == "config.yaml" and path.parent.joinpath("checkpoints").is_dir():
            if path.with_name("result.json").is_file():
                continue  # named already
            run = path.with_name(_NAME)
            reason = "a training without a test; run davezoo test."
        else:
            continue
        if not run.is_file():
            skipped.append(SkippedRun(str(path), reason))
    return sorted(skipped, key=lambda entry: entry.place)
