"""Results of test runs on W&B, read through its public API."""

from __future__ import annotations

import re
import tempfile
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
    try:
        runs = (wandb.Api() if api is None else api).runs(project, order="+created_at")
        for run in tqdm(runs, "Reading results", unit="run", disable=None):
            place = f"wandb:{project}/{run.id}"
            files = [file for file in run.files(pattern="%run.json") if is_result(file.name)]
            if not files:
                reason = "a run without the result of a test (run.json); train with the Dashboard."
                skipped.append(SkippedRun(place, reason))
            for file in files:
                try:
                    found.append(FoundRun(f"{place}/{file.name}", _read(file)))
                except (ResultError, OSError) as error:
                    skipped.append(SkippedRun(f"{place}/{file.name}", str(error)))
    except (wandb.Error, ValueError) as error:
        raise InputError(
            f"Expected W&B to list the runs of {project!r}, got: {error}; check the name, and log "
            "in with `wandb login` or WANDB_API_KEY."
        ) from error
    return found, skipped


def _read(file: Any) -> RunResult:
    """Download and read one result; it lies on the disk only meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        with file.download(root=folder, replace=True) as opened:
            path = Path(opened.name)
        return RunResult.from_dict(read_json(path, ResultError))
