"""Leaderboards: groups of runs as tables, sorted, beside the published figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from davezoo.evaluation.results import printable
from davezoo.leaderboards.groups import Board, Group
from davezoo.leaderboards.published_rows import encoder_of, published_row
from davezoo.leaderboards.reported import ReportedRow, ReportedTable, notes_of

_SIMULATED = (
    "The features are simulated: these scores say nothing about real videos, and no published "
    "figure stands beside them."
)
_LONGEST = 60  # characters of a setting, of which lists of classes or ranges would take a page


@dataclass(frozen=True)
class Table:
    """A table of results of one protocol on one set of videos.

    Args:
        title: protocol, split and data.
        protocol: name and version.
        notes: what a reader must know, one sentence each.
        frame: one row a system; texts, counts and numbers, mAP in percent.
    """

    title: str
    protocol: str
    notes: tuple[str, ...]
    frame: pd.DataFrame


def make_tables(groups: Sequence[Group]) -> list[Table]:
    """Return a table for each protocol and set of videos, best average mAP first.

    Args:
        groups: runs grouped by settings.
    """
    boards = dict.fromkeys(group.board for group in groups)
    return [_make_table(board, [g for g in groups if g.board == board]) for board in boards]


def _make_table(board: Board, groups: list[Group]) -> Table:
    ranked = sorted(groups, key=lambda group: group.mean, reverse=True)
    shared, own = _describe_settings(ranked)
    published = [published_row(group.first) for group in ranked]
    rows = [_row(*parts) for parts in zip(ranked, own, published, strict=True)]
    frame = pd.DataFrame(rows)
    if frame["published"].isna().all():
        frame = frame.drop(columns=["published", "difference", "table"])
    if not frame["missing videos"].any():
        frame = frame.drop(columns="missing videos")
    features = "simulated features" if board.simulated else "real features"
    result = ranked[0].first.result
    videos = f"{result.num_expected_videos} videos of split {printable(board.split) or '(all)'}"
    digest = printable(board.annotations_sha256)[:12]
    differences = dict.fromkeys(x for group in ranked for x in group.first.result.differences)
    notes = [f"{text[:1].upper()}{text[1:]}." for text in differences]
    if board.simulated:
        notes.append(_SIMULATED)
    if shared:
        notes.append(f"All rows: {shared}.")
    notes += dict.fromkeys(note for found in published if found for note in notes_of(*found))
    title = f"{board.protocol}: {videos}, {features}, annotations {digest}"
    return Table(title, board.protocol, tuple(printable(note) for note in notes), frame)


def _row(
    group: Group, settings: str, published: tuple[ReportedTable, ReportedRow] | None
) -> dict[str, Any]:
    """Return one row of a table."""
    run = group.first
    figure = None if published is None else published[1].values["avg_map"]
    comparable = published is not None and "avg_map" not in published[1].incomparable
    tious = [float(tiou) for tiou in run.result.protocol["headline_tious"]]
    return {
        "method": printable(run.method),
        "settings": settings,
        "features": printable(encoder_of(run)),
        "seeds": len(group.runs),
        **{f"mAP@{tiou:g}": group.map_at(tiou) for tiou in tious},
        "Avg": group.mean,
        "deviation": group.deviation,
        "published": figure,
        "difference": group.mean - figure if figure is not None and comparable else None,
        "table": "" if published is None else published[0].name,
        "M parameters": run.layer_parameters / 1e6,
        "GMACs": run.layer_macs / 1e9,
        "missing videos": sum(len(entry.run.result.missing_videos) for entry in group.runs),
    }


def _describe_settings(groups: list[Group]) -> tuple[str, list[str]]:
    """Say how systems of a table differ from the defaults of their methods and from one another.

    Args:
        groups: the rows.

    Returns:
        What all rows have changed alike, and for each row what it has beside that.
    """
    methods = {group.first.method for group in groups}
    differing = {
        method: _differing([group for group in groups if group.first.method == method])
        for method in methods
    }
    told = [_told(group, differing[group.first.method]) for group in groups]
    shared = set.intersection(*(set(x.items()) for x in told)) if len(told) > 1 else set()
    own = [_list(sorted(set(x.items()) - shared)) for x in told]
    return _list(sorted(shared)), own


def _differing(groups: list[Group]) -> set[str]:
    """Return the settings of data and training in which rows of one method differ.

    Those of the model, and the modalities, are told where they are not the defaults.
    """
    first = groups[0].settings
    names = {name for group in groups for name in group.settings if not name.startswith("model.")}
    names -= {"data.modalities"}
    return {name for name in names if any(g.settings.get(name) != first.get(name) for g in groups)}


def _told(group: Group, differing: set[str]) -> dict[str, str]:
    """Return the settings of one row that are worth telling, as text."""
    changed = {
        f"data.{name}" if f"data.{name}" in group.settings else f"model.{name}"
        for name in group.first.changed
    }
    names = sorted(differing | changed)
    return {name.removeprefix("model."): _text(group.settings.get(name)) for name in names}


def _text(value: object) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _list(settings: Sequence[tuple[str, str]]) -> str:
    return printable(", ".join(f"{name}={value}" for name, value in settings))
