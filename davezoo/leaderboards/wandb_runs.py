"""Results of test runs on W&B, read through its public API."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from davezoo.errors import InputError
from davezoo.evaluation.results import ResultError
from davezoo.evaluation.run_results import RunResult
from davezoo.json_files import read_json
from davezoo.leaderboards.collection import FoundRun, SkippedRun, is_result


def find_wandb_runs(project: str, api: Any = None) -> tuple[list[FoundRun], list[SkippedRun]]:
    """Read the results that the tests of a W&B project have left.

    Args:
        project: `ENTITY/PROJECT`.
        api: what answers in place of `wandb.Api()`.

    Returns:
        The runs, oldest first, and those without a result that can be used.

    Raises:
        InputError: if the project is not named so, or W&B does not answer.
    """
    if not re.fullmatch(r"[^/\s]+/[^/\s]+", project):
        raise InputError(
            f"Expected `wandb` to be ENTITY/PROJECT, got {project!r}; both stand in the address of "
            "the project, wandb.ai/ENTITY/PROJECT."
        )
    import wandb  # slow, and only needed here

    found: list[FoundRun] = []
    skipped: list[SkippedRun] = []
    for run, files in _results(project, api):
        place = f"wandb:{project}/{run}"
        if not files:
            reason = "no result of a test; train with logger/wandb.yaml and --test_after_fit=true."
            skipped.append(SkippedRun(f"{place}/run.json", reason))
        for file in files:
            try:
                found.append(FoundRun(f"{place}/{file.name}", _read(file)))
            except (ResultError, OSError, wandb.Error) as error:
                skipped.append(SkippedRun(f"{place}/{file.name}", str(error)))
    return found, skipped


def _results(project: str, api: Any) -> Iterator[tuple[str, list[Any]]]:
    """Yield the id of each run of a project, and its files that are called as results are."""
    import wandb

    try:
        runs = (wandb.Api() if api is None else api).runs(project, order="+created_at")
        for run in tqdm(runs, "Reading results", unit="run", disable=None):
            # Names are theirs: one with a folder in it would leave the folder it is read from.
            files = [x for x in run.files(pattern="%run.json") if "/" not in x.name]
            yield run.id, [file for file in files if is_result(file.name)]
    except Exception as error:  # what W&B's client raises has no base in common
        raise InputError(
            f"Expected W&B to list the runs of {project!r}, got: {str(error).strip()}; check the "
            "name and the network, and log in with `wandb login` or WANDB_API_KEY."
        ) from error


def _read(file: Any) -> RunResult:
    """Download and read one result; it lies on the disk only meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        with file.download(root=folder, replace=True) as opened:
            path = Path(opened.name)
        try:
            return RunResult.from_dict(read_json(path, ResultError))
        except ResultError as error:
            raise ResultError(str(error).replace(str(path), file.name)) from error
