"""The tool behind `davezoo leaderboard`: from runs on disk to a table."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from davezoo.errors import InputError
from davezoo.evaluation.results import printable
from davezoo.leaderboards.boards import make_tables
from davezoo.leaderboards.collection import FoundRun, SkippedRun, find_runs
from davezoo.leaderboards.formats import Format, format_tables
from davezoo.leaderboards.groups import group_runs
from davezoo.leaderboards.wandb_runs import find_wandb_runs
from davezoo.whole_files import whole_file


def leaderboard(
    runs: list[Path] = [],  # noqa: B006 - never changed
    dataset: str | None = None,
    format: Format = "md",
    output: Path | None = None,
    wandb: str | None = None,
) -> None:
    """Make a table of the test results of runs, the seeds of each system together.

    A system is a method with its settings. Mean, sample standard deviation and number of seeds are
    printed, best mean first, beside the published figure where protocol, videos, features, method
    and its settings are those of a published row, whose notes are printed, too. Each protocol and
    set of videos has a table of its own. What cannot be used is named on the standard error.

    Args:
        runs: folders of runs, looked through to any depth, or single result files (run.json).
        dataset: only results on this data set: unav100, thumos14, activitynet13 or epic100.
        format: md, csv, html or latex.
        output: file to write to, instead of the standard output.
        wandb: ENTITY/PROJECT whose runs are read from W&B, beside the folders or instead of them.
    """
    if output is not None and output.is_dir():
        raise InputError(f"Expected `output` to be a file, got the folder {output}; name a file.")
    found, skipped = find_runs(runs)
    if wandb is not None:
        online = find_wandb_runs(wandb)
        found, skipped = found + online[0], skipped + online[1]
    text, doubles = make_leaderboard(found, dataset, format, skipped)
    report_skipped([*skipped, *doubles])
    if output is None:
        sys.stdout.write(text)
        return
    with whole_file(output) as part:
        part.write_text(text, encoding="utf-8")
    sys.stdout.write(f"Wrote {output}\n")


def make_leaderboard(
    found: Sequence[FoundRun],
    dataset: str | None,
    layout: Format,
    skipped: Sequence[SkippedRun] = (),
) -> tuple[str, list[SkippedRun]]:
    """Return the leaderboard of some runs as text.

    Args:
        found: the runs, wherever they came from.
        dataset: the data set of `leaderboard`.
        layout: the format of `leaderboard`.
        skipped: what was found beside them, named where there is no run at all.

    Returns:
        The text, and the runs that were left out.

    Raises:
        InputError: if there is no run, or none on the data set.
    """
    if not found:
        report_skipped(skipped)
        raise InputError(
            "Expected at least one result of a test run (run.json), got none; run davezoo test, or "
            "name the folder that holds the runs."
        )
    kept = [entry for entry in found if dataset in (None, dataset_of(entry))]
    if not kept:
        known = ", ".join(sorted({dataset_of(entry) for entry in found}))
        raise InputError(
            f"Expected results on the data set {dataset!r}, got some on {known}; choose one of "
            "these or leave it out."
        )
    groups, doubles = group_runs(kept)
    return format_tables(make_tables(groups), layout), doubles


def dataset_of(entry: FoundRun) -> str:
    """Return the data set that the protocol of a run is about: `thumos14` for `thumos14-212`."""
    return printable(str(entry.run.result.protocol["name"]).partition("-")[0])


def report_skipped(skipped: Sequence[SkippedRun]) -> None:
    """Name what is not used on the standard error, and count it."""
    for entry in skipped:
        sys.stderr.write(f"skipped {printable(entry.place)}: {printable(entry.reason)}\n")
    if skipped:
        names = Counter(Path(entry.place).name for entry in skipped)
        kinds = ", ".join(f"{count} {printable(name)}" for name, count in names.items())
        sys.stderr.write(f"{len(skipped)} skipped: {kinds}\n")
