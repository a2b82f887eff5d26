"""A published table and its own runs, one beside the other."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from davezoo.evaluation.results import printable
from davezoo.evaluation.run_results import RunResult
from davezoo.leaderboards.groups import deviation, map_at
from davezoo.leaderboards.published_rows import is_comparable
from davezoo.leaderboards.reported import ReportedTable, notes_of

_HEADS = {"avg_map": "Avg", "gflops": "GMACs", "parameters_millions": "M parameters"}


def format_reproduced(
    table: ReportedTable, runs: Sequence[Sequence[RunResult]], fragment: str | None
) -> str:
    """Return a published table with the results of its runs as Markdown.

    Args:
        table: the published table.
        runs: finished runs of each row, one a seed; none for rows that were not trained.
        fragment: file of the settings that overruled the rows' own; None for none.

    Returns:
        Each published row, the mean and deviation of its runs below it, and their difference where
        features and videos are those of the papers and the number can be compared; then the notes
        of the published table.
    """
    columns = [_head(column) for column in table.columns]
    lines = [f"### {table.name}: {table.title}, {table.dataset}", "", table.paper + ".", ""]
    scored_alike = [[r for r in found if _protocol(r) == table.protocol] for found in runs]
    lines += [f"{note}\n" for note in _notes(scored_alike, fragment)]
    if others := sorted({_protocol(r) for found in runs for r in found} - {table.protocol}):
        named = printable(", ".join(others))
        lines.append(f"Runs that were scored by {named}, not {table.protocol}, are left out.\n")
    lines.append(f"| row | figures | seeds | {' | '.join(columns)} |")
    lines.append(f"|---|---|---:|{'---:|' * len(columns)}")
    for row, found in zip(table.rows, scored_alike, strict=True):
        published = [row.values[column] for column in table.columns]
        name = row.name if row.encoder is None else f"{row.name}, {row.encoder}"
        lines.append(_line(name, "published", "", [_number(value) for value in published]))
        if not found:
            continue
        measured = [[_measured(run, column) for run in found] for column in table.columns]
        simulated = " (simulated)" * any(run.simulated for run in found)
        cells = [_mean(values) for values in measured]
        lines.append(_line("", f"measured{simulated}", str(len(found)), cells))
        if all(map(is_comparable, found)):
            figures = [None if x in row.incomparable else row.values[x] for x in table.columns]
            cells = [_difference(*pair) for pair in zip(measured, figures, strict=True)]
            lines.append(_line("", "difference", "", cells))
    notes = dict.fromkeys(note for row in table.rows for note in notes_of(table, row))
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)]) + "\n"


def _notes(runs: Sequence[Sequence[RunResult]], fragment: str | None) -> list[str]:
    """Return what a reader must know of the measured figures."""
    everything = [run for found in runs for run in found]
    notes = []
    if any(run.simulated for run in everything):
        notes.append(
            "The features are simulated: the measured figures say nothing about real videos and "
            "are no reproduction of the published ones."
        )
    differences = dict.fromkeys(x for run in everything for x in run.result.differences)
    notes += [f"{printable(text[:1].upper() + text[1:])}." for text in differences]
    if fragment is not None:
        notes.append(f"Settings of `{fragment}` overruled those of the rows.")
    return notes


def _protocol(run: RunResult) -> str:
    return str(run.result.protocol["name"])


def _head(column: str) -> str:
    """Return what a column is called, for people."""
    if column.startswith("map_"):
        return f"mAP@{int(column.removeprefix('map_')) / 100:g}"
    return _HEADS.get(column, column)


def _measured(run: RunResult, column: str) -> float | None:
    """Return what a run has for a column; None for what a test does not measure."""
    if column == "avg_map":
        return 100 * run.result.avg_map
    if column.startswith("map_"):
        return map_at(run.result, int(column.removeprefix("map_")) / 100)
    costs = {"gflops": run.layer_macs / 1e9, "parameters_millions": run.layer_parameters / 1e6}
    return costs.get(column)


def _mean(values: Sequence[float | None]) -> str:
    """Return mean and sample standard deviation, of one run its value."""
    known = [value for value in values if value is not None]
    if not known:
        return _number(None)
    spread = f" ± {deviation(known):.2f}" if len(known) > 1 and len(set(known)) > 1 else ""
    return f"{fmean(known):.2f}{spread}"


def _difference(values: Sequence[float | None], figure: float | None) -> str:
    known = [value for value in values if value is not None]
    return _number(None) if figure is None or not known else f"{fmean(known) - figure:+.2f}"


def _number(value: float | None) -> str:
    """Return a published figure with as many decimals as it has, at least one."""
    if value is None:
        return "\N{EN DASH}"
    return f"{value:.1f}" if round(value, 1) == value else f"{value:g}"


def _line(*parts: str | Sequence[str]) -> str:
    cells = [cell for part in parts for cell in ([part] if isinstance(part, str) else part)]
    return f"| {' | '.join(cells)} |"
