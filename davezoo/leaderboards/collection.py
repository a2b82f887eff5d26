"""Finding the results of test runs on disk; what cannot be used is named, never dropped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
        The runs in the order of their paths, and what lies there without being usable: damaged or
        foreign files, scores without their run, and trainings that were never tested.

    Raises:
        FileNotFoundError: if a place does not exist.
    """
    found: list[FoundRun] = []
    skipped: list[SkippedRun] = []
    files: dict[Path, None] = {}  # each once, also where places lie in one another
    for place in places:
        if not place.exists():
            raise FileNotFoundError(
                f"Expected a run folder or a folder of such at {place}, got nothing; check the "
                "path."
            )
        paths = [place] if place.is_file() else sorted(place.rglob("*"))
        files |= dict.fromkeys(path.resolve() for path in paths if path.is_file())
    results = [path for path in files if _is_result(path) or path in _given(places)]
    for path in tqdm(results, "Reading results", unit="run", disable=None):
        try:
            found.append(FoundRun(str(path), RunResult.read(path)))
        except (InputError, OSError) as error:
            reason = str(error).removeprefix(f"{path}: ")
            skipped.append(SkippedRun(str(path), reason))
    return found, skipped + _unfinished(files)


def _given(places: Sequence[Path]) -> set[Path]:
    return {place.resolve() for place in places if place.is_file()}


def _is_result(path: Path) -> bool:
    """Say whether a file is called as tests call their results: run.json, NAME_run.json."""
    return path.name == _NAME or path.name.endswith(f"_{_NAME}")


def _unfinished(files: Iterable[Path]) -> list[SkippedRun]:
    """Return scores that lie there without their run, and trainings without a score."""
    known = set(files)
    skipped = []
    for path in known:
        if path.name == "result.json" or path.name.endswith("_result.json"):
            run = path.with_name(path.name.removesuffix("result.json") + _NAME)
            reason = "a score that does not say where it came from (no run.json); test again."
        elif path.name == "config.yaml" and path.parent.joinpath("checkpoints").is_dir():
            run = path.with_name(_NAME)
            if path.with_name("result.json") in known:
                continue  # named already
            reason = "a training without a test; run davezoo test."
        else:
            continue
        if run not in known:
            skipped.append(SkippedRun(str(path), reason))
    return sorted(skipped, key=lambda entry: entry.place)
