"""The tool behind `davezoo reproduce`: train all rows of a published table, print both."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import yaml
from tqdm import tqdm

from davezoo.errors import InputError
from davezoo.evaluation.results import ResultError
from davezoo.evaluation.run_results import RunResult
from davezoo.leaderboards.reported import (
    ReportedError,
    ReportedRow,
    ReportedTable,
    get_table,
    read_reported,
)
from davezoo.leaderboards.reproduced import format_reproduced
from davezoo.recipes import find_recipe
from davezoo.whole_files import whole_file

if sys.platform != "win32":
    import fcntl


@dataclass(frozen=True)
class RowRun:
    """One training of a row of a table.

    Args:
        row: the published row.
        seed: of the network and of the data.
        folder: its run folder.
        fragment: settings that come after the row's own; None for none.
    """

    row: ReportedRow
    seed: int
    folder: Path
    fragment: Path | None

    @property
    def words(self) -> list[str]:
        """What follows `davezoo`, apart from a checkpoint to go on from."""
        fragment = [] if self.fragment is None else ["--config", str(self.fragment)]
        place = f"--trainer.default_root_dir={self.folder}"
        return ["fit", *self.row.words, *fragment, *self._seeds, "--test_after_fit=true", place]

    @property
    def plan(self) -> str:
        """What the result depends on, wherever it lies: options, seed, text of the fragment."""
        text = "" if self.fragment is None else self.fragment.read_text(encoding="utf-8")
        return f"{shlex.join([*self.row.words, *self._seeds])}\n{text}"

    @property
    def _seeds(self) -> list[str]:
        return [f"--seed_everything={self.seed}", f"--data.seed={self.seed}"]

    @property
    def log(self) -> Path:
        """What the run prints."""
        return self.folder / "log.txt"

    @property
    def checkpoint(self) -> Path:
        """Where an interrupted run goes on."""
        return self.folder / "checkpoints" / "last.ckpt"

    def result(self) -> RunResult | None:
        """Return what a finished run has left; None before."""
        path = self.folder / "run.json"
        try:
            return RunResult.read(path) if path.is_file() else None
        except ResultError:
            return None  # written by another version: train again


def reproduce(
    table: str | None = None,
    seeds: int = 3,
    config: Path | None = None,
    folder: Path = Path("runs/reproduce"),
    list: bool = False,
) -> None:
    """Train and test all rows of a published table, one after the other, and print both.

    Every row is trained with each seed by `davezoo fit` in a process of its own, whose output lies
    in `log.txt` of its run folder. Called again, the command skips finished runs and goes on with
    interrupted ones. A row that fails is named and the others go on. Rows with the same options,
    of one table or of several, are trained once. Rows of systems that davezoo does not have stand
    there as published.

    Args:
        table: name of a published table, for example loco/II.
        seeds: number of trainings of each row, with the seeds 0, 1, ...
        config: recipe fragment with settings of one's own, as `data.root`; goes after the row's.
        folder: where the runs are kept, in a folder for each recipe with its options and seed; of
            all tables with the same `config`.
        list: print the names of all tables and stop.
    """
    if list:
        sys.stdout.write(list_tables())
        return
    if table is None:
        raise ReportedError(
            "Expected the name of a published table, got none; name one with --table (see --list)."
        )
    chosen = get_table(table)
    runs = plan_runs(chosen, seeds, config, folder)
    try:
        failed = run_missing(runs)
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted; the same command goes on where it stands.\n")
        sys.exit(130)
    results = {run.folder: run.result() for run in runs}
    by_row = [[results[r.folder] for r in runs if r.row is row] for row in chosen.rows]
    done = [[result for result in found if result is not None] for found in by_row]
    sys.stdout.write(format_reproduced(chosen, done, None if config is None else config.name))
    if failed:
        raise InputError(
            f"Expected all {len(runs)} runs to end well, got {len(failed)} failed: "
            f"{'; '.join(failed)}. The same command tries them again."
        )


def list_tables() -> str:
    """Return the names of all published tables, with the number of rows that can be trained."""
    lines = []
    for table in read_reported().values():
        count = sum(row.recipe is not None for row in table.rows)
        rows = f"{count} of {len(table.rows)} rows can be trained"
        lines.append(f"{table.name:<17} {table.dataset:<17} {table.title} ({rows})")
    return "\n".join(lines) + "\n"


def plan_runs(
    table: ReportedTable, seeds: int, config: Path | None, folder: Path
) -> Sequence[RowRun]:
    """Return all trainings of a table, all rows with the first seed before the second.

    Args:
        table: the published table.
        seeds: trainings of each row.
        config: fragment with settings of one's own, a file or the name of a packaged one.
        folder: where the runs are kept.

    Raises:
        InputError: if there are no seeds, no such fragment, or no row can be trained.
    """
    if seeds < 1:
        raise InputError(f"Expected `seeds` to be at least 1, got {seeds}; train once or more.")
    fragment = None if config is None else Path(find_recipe(str(config)))
    if fragment is not None and not fragment.is_file():
        raise FileNotFoundError(f"Expected a recipe at {config}, got no file; check the path.")
    if fragment is not None:
        _refuse_damaged(fragment)
    rows = [row for row in table.rows if row.recipe is not None]
    if not rows:
        raise InputError(
            f"Expected a table with rows that davezoo can train, got {table.name!r} without one; "
            "choose another (see --list)."
        )
    return [
        RowRun(row, seed, folder / slug(row) / f"seed_{seed}", fragment)
        for seed in range(seeds)
        for row in rows
    ]


def _refuse_damaged(fragment: Path) -> None:
    """Refuse a fragment that would end every training of the table before it begins."""
    try:
        content = yaml.safe_load(fragment.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(
            f"Expected {fragment} to be a recipe fragment in YAML, got {error}; correct it."
        ) from error
    if content is not None and not isinstance(content, dict):
        raise InputError(
            f"Expected {fragment} to be a recipe fragment, got {type(content).__name__}; write "
            "settings as `data:`, as configs/fragments/simulated.yaml does."
        )


def slug(row: ReportedRow) -> str:
    """Return the name of a row's folder: its recipe and options, whatever table it stands in.

    Example:
        >>> from davezoo.leaderboards.reported import get_table
        >>> slug(get_table("loco/II").rows[1])
        'loco.yaml_model.pyramid_false'
    """
    return re.sub(r"[^a-z0-9.]+", "_", " ".join(row.words[1:]).lower()).strip("_")


def run_missing(runs: Sequence[RowRun]) -> Sequence[str]:
    """Train what is not finished.

    Args:
        runs: all trainings of a table.

    Returns:
        One line about each run that failed.

    Raises:
        InputError: if a folder holds a run of other settings; before any training.
    """
    for run in runs:
        plan = run.folder / "plan.txt"
        begun = run.checkpoint.is_file() or run.result() is not None
        if begun and plan.is_file() and plan.read_text(encoding="utf-8") != run.plan:
            raise InputError(
                f"Expected {run.folder} to hold a run of these settings, got another plan in "
                f"{plan}; choose another --folder, or remove that one."
            )
    missing = [run for run in runs if run.result() is None]
    if len(missing) < len(runs):
        sys.stderr.write(f"{len(runs) - len(missing)} of {len(runs)} runs are finished.\n")
    failed = []
    progress = tqdm(missing, "Training rows", unit="run", disable=None)
    for run in progress:
        if run.result() is not None:
            continue  # by now: another row has the same options, or another command trained it
        progress.set_postfix_str(f"{run.row.name}, seed {run.seed}")
        fault = train(run)
        if fault is not None:
            failed.append(f"{run.row.name}, seed {run.seed} ({fault}; see {run.log})")
    return failed


def train(run: RowRun) -> str | None:
    """Train and test a row in a process of its own; go on where it was interrupted.

    Returns:
        What went wrong; None where there is a result.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    with run.log.open("a", encoding="utf-8") as log:
        if not _lock(log):
            return "another process still trains it"
        with whole_file(run.folder / "plan.txt") as part:
            part.write_text(run.plan, encoding="utf-8")
        words = run.words
        if run.checkpoint.is_file():
            words.append("--ckpt_path=last")
        command = [sys.executable, "-m", "davezoo", *words]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)  # noqa: S603
        try:
            code = process.wait()
        except KeyboardInterrupt:  # the run got it, too, and saves where it stands
            process.wait()
            raise
    return _last_line(run.log) if code != 0 or run.result() is None else None


def _lock(log: TextIO) -> bool:
    """Lock a log for this process and the run that inherits it as its output.

    The run holds the lock as long as it lives, also where this process is killed and the command
    called again meanwhile: two trainings in one folder would spoil each other.

    Returns:
        False where another process holds it; always True on Windows, which has no such lock.
    """
    if sys.platform != "win32":
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _last_line(log: Path) -> str:
    """Return the last line that a run printed: of a failed one, why."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no output")
