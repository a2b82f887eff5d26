"""The published numbers: every results and ablation table of LoCo, CCNet and DEL.

One file a paper lies in `papers`: LoCo (Xing et al., arXiv 2409.07967) in its first and its final
version, CCNet (Zhou et al., AAAI 2025), DEL (Ahmadian et al., 2025). Rows of the zoo's own methods
name the recipe and options that train them. `docs/ablations.md` explains these options.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from reprlib import repr as shorten
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import yaml

from davezoo.errors import InputError
from davezoo.evaluation.protocols import Protocol, ProtocolError, get_protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path(__file__).with_name("papers")
KINDS = ("results", "ablation", "figure")
# Columns beside mAP at a threshold of the protocol, `map_50` and so on.
OTHER_COLUMNS = (
    "avg_map",  # percent, over the thresholds of the protocol
    "gflops",  # as the paper counts them
    "parameters_millions",  # as the paper counts them
    "mean_std",  # of audio-visual similarities within a video, mean over the videos
    "gain_over_unav",  # percentage points
)


class ReportedError(InputError):
    """A table does not exist or its file cannot be used; the message says which and where."""


@dataclass(frozen=True)
class ReportedRow:
    """One row of a published table.

    Args:
        name: the row as the paper calls it, or what it ticks.
        method: the system, by one name over all papers.
        encoder: of the features, visual first; None where the paper does not tell it.
        values: number of each column of the table, mAP in percent; None where none is printed.
        recipe: what trains this row, for `--config`; None for systems that davezoo lacks.
        options: what follows the recipe, one word each.
        notes: why a number is not what it seems.
        incomparable: columns whose number a score by the protocol must not be set against, as an
            average over other thresholds; `notes` say why.
    """

    name: str
    method: str
    encoder: str | None
    values: Mapping[str, float | None]
    recipe: str | None
    options: tuple[str, ...]
    notes: tuple[str, ...]
    incomparable: tuple[str, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """What follows `davezoo fit` to train this row; nothing where there is no recipe."""
        return () if self.recipe is None else ("--config", self.recipe, *self.options)


@dataclass(frozen=True)
class ReportedTable:
    """A published table; all its rows are scored alike.

    Args:
        name: paper and number, for example `loco/II`; parts of one printed table that are scored
            differently are tables of their own, as `del/3-verb`.
        paper: the source.
        title: what is compared.
        kind: `results` of systems, `ablation` of one method, or `figure`, read from the text.
        dataset: name of the data set.
        split: the scored one.
        protocol: name of a scoring protocol.
        columns: names of the columns, the keys of each row's `values`.
        rows: in the order of the paper.
        notes: what holds for all rows.
    """

    name: str
    paper: str
    title: str
    kind: str
    dataset: str
    split: str
    protocol: str
    columns: tuple[str, ...]
    rows: tuple[ReportedRow, ...]
    notes: tuple[str, ...]


@cache
def read_reported() -> Mapping[str, ReportedTable]:
    """Read the tables of all papers.

    Returns:
        Tables by name, papers in alphabetical order, tables in the order of the paper.
    """
    tables = [table for path in sorted(FOLDER.glob("*.yaml")) for table in read_paper(path)]
    return MappingProxyType({table.name: table for table in tables})


def get_table(name: str) -> ReportedTable:
    """Return a published table.

    Args:
        name: a key of `read_reported`, for example `loco/II`.

    Raises:
        ReportedError: if there is no such table; the message lists near names.

    Example:
        >>> get_table("loco/II").rows[-1].values["avg_map"]
        54.9
    """
    tables = read_reported()
    if name not in tables:
        paper = name.partition("/")[0].lower()
        near = [known for known in tables if known.startswith(f"{paper}/")]
        near = near or difflib.get_close_matches(name, tables, n=4)
        raise ReportedError(
            f"Expected the name of a published table, got {name!r}; choose one of "
            f"{', '.join(near or tables)}."
        )
    return tables[name]


def notes_of(table: ReportedTable, row: ReportedRow) -> list[str]:
    """Return what a reader of one row must know, each note with the place that it is about."""
    of_row = [f"{table.name}, {row.name}: {note}" for note in row.notes]
    return [f"{table.name}: {note}" for note in table.notes] + of_row


def read_paper(path: Path) -> list[ReportedTable]:
    """Read the tables of one paper.

    Args:
        path: a YAML file; its name without suffix is the first half of the tables' names. Rows take
            `method`, `encoder` and `recipe` from their table where they give none, and `name` from
            `method`.

    Raises:
        ReportedError: if the file is malformed; the message names file, table and row.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        raise _refusal(str(path), "be YAML", str(fault), "correct it") from fault
    entry = _mapping(str(path), content, {"paper", "tables"}, set())
    paper = _text(str(path), entry, "paper")
    tables = [
        _read_table(path, paper, number, table)
        for number, table in enumerate(_list(str(path), entry, "tables"), 1)
    ]
    _refuse_doubles(f"every table of {path}", [table.name for table in tables])
    return tables


def _read_table(path: Path, paper: str, number: int, content: object) -> ReportedTable:
    """Read one entry of `tables`."""
    own = {"table", "title", "kind", "dataset", "split", "protocol", "columns", "rows"}
    entry = _mapping(
        f"table {number} of {path}", content, own, {"method", "encoder", "recipe", "notes"}
    )
    key = _text(f"table {number} of {path}", entry, "table")
    place = f"table {key} of {path}"
    kind = _text(place, entry, "kind")
    if kind not in KINDS:
        raise _refusal(f"`kind` of {place}", f"be one of {KINDS}", repr(kind), "correct it")
    try:
        protocol = get_protocol(_text(place, entry, "protocol"))
    except ProtocolError as fault:
        raise ReportedError(f"{place}: {fault}") from fault
    split = _text(place, entry, "split")
    if split != protocol.default_split:
        rule = f"be {protocol.default_split!r} as in protocol {protocol.name!r}"
        raise _refusal(f"`split` of {place}", rule, repr(split), "correct one of them")
    columns = _read_columns(place, entry, protocol)
    rows = tuple(
        _read_row(f"row {index} of {place}", entry, columns, row)
        for index, row in enumerate(_list(place, entry, "rows"), 1)
    )
    _refuse_doubles(f"every row of {place}", [(row.name, row.encoder) for row in rows])
    return ReportedTable(
        name=f"{path.stem}/{key}",
        paper=paper,
        title=_text(place, entry, "title"),
        kind=kind,
        dataset=_text(place, entry, "dataset"),
        split=split,
        protocol=protocol.name,
        columns=columns,
        rows=rows,
        notes=_texts(place, entry, "notes"),
    )


def _read_columns(place: str, entry: dict[str, Any], protocol: Protocol) -> tuple[str, ...]:
    """Read the names of the columns; a threshold must be one of the protocol's."""
    columns = _texts(place, entry, "columns")
    thresholds = [f"map_{round(100 * tiou)}" for tiou in protocol.tiou_thresholds]
    unknown = [column for column in columns if column not in (*thresholds, *OTHER_COLUMNS)]
    if unknown or not columns:
        rule = f"be among {', '.join((*thresholds, *OTHER_COLUMNS))}"
        raise _refusal(f"`columns` of {place}", rule, shorten(unknown), "correct them")
    _refuse_doubles(f"every column of {place}", columns)
    return columns


def _read_row(
    place: str, table: dict[str, Any], columns: tuple[str, ...], content: object
) -> ReportedRow:
    """Read one entry of `rows`, completed by its table's."""
    shared = {key: table[key] for key in ("method", "encoder", "recipe") if key in table}
    others = {"name", "method", "encoder", "recipe", "options", "notes", "incomparable"}
    entry = shared | _mapping(place, content, {"values"}, others)
    missing = [key for key in ("method", "encoder") if key not in entry]
    if missing:
        raise _refusal(place, f"have `{missing[0]}`, itself or from its table", "none", "add it")
    method = _text(place, entry, "method")
    name = _text(place, entry, "name") if "name" in entry else method
    place = f"{place} ({name!r})"
    encoder, recipe = (
        None if entry.get(key) is None else _text(place, entry, key)
        for key in ("encoder", "recipe")
    )
    options = _texts(place, entry, "options")
    if options and recipe is None:
        raise _refusal(place, "have a `recipe` for its `options`", "none", "name one")
    incomparable = _texts(place, entry, "incomparable")
    if not set(incomparable) <= set(columns):
        rule = f"be among {', '.join(columns)}"
        raise _refusal(f"`incomparable` of {place}", rule, shorten(incomparable), "correct it")
    return ReportedRow(
        name=name,
        method=method,
        encoder=encoder,
        values=MappingProxyType(_read_values(place, entry, columns)),
        recipe=recipe,
        options=options,
        notes=_texts(place, entry, "notes"),
        incomparable=incomparable,
    )


def _read_values(
    place: str, entry: dict[str, Any], columns: tuple[str, ...]
) -> dict[str, float | None]:
    """Read the numbers of a row, one a column."""
    values = _list(place, entry, "values")
    if len(values) != len(columns):
        rule, got = f"have {len(columns)} values, one a column", str(len(values))
        raise _refusal(place, rule, got, "write null where the paper prints none")
    for column, value in zip(columns, values, strict=True):
        top = 100.0 if column.startswith("map_") or column == "avg_map" else math.inf
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and 0 <= value <= top and math.isfinite(value)):
            rule = "be a number of at least 0, mAP at most 100, or null"
            raise _refusal(f"`{column}` of {place}", rule, shorten(value), "correct it")
    return {
        column: None if value is None else float(value)
        for column, value in zip(columns, values, strict=True)
    }


def _mapping(place: str, content: object, required: set[str], optional: set[str]) -> dict[str, Any]:
    """Return a mapping that has the required keys and no unknown ones."""
    if not isinstance(content, dict):
        got = type(content).__name__
        raise _refusal(place, "be entries written as `key: value`", got, "write them so")
    missing, unknown = required - set(content), set(content) - required - optional
    if missing or unknown:
        rule = f"have the keys {', '.join(sorted(required))}"
        rule += f" and of others only {', '.join(sorted(optional))}" if optional else " and no more"
        got = f"{sorted(map(str, missing))} missing, {sorted(map(str, unknown))} unknown"
        raise _refusal(place, rule, got, "correct them")
    return content


def _text(place: str, entry: dict[str, Any], key: str) -> str:
    """Return an entry that is text."""
    value = entry[key]
    if not isinstance(value, str) or not value:
        got = f"{type(value).__name__} {shorten(value)}"
        raise _refusal(f"`{key}` of {place}", "be text", got, "write it in quotes")
    return value


def _texts(place: str, entry: dict[str, Any], key: str) -> tuple[str, ...]:
    """Return an entry that lists texts; nothing where it is left out."""
    values = entry.get(key, [])
    if not isinstance(values, list) or not all(isinstance(v, str) and v for v in values):
        rule = "be a list of texts"
        raise _refusal(f"`{key}` of {place}", rule, shorten(values), "write each in quotes")
    return tuple(values)


def _list(place: str, entry: dict[str, Any], key: str) -> list[Any]:
    """Return an entry that lists anything, at least one."""
    values = entry[key]
    if not isinstance(values, list) or not values:
        rule = "be a list of at least one"
        raise _refusal(f"`{key}` of {place}", rule, shorten(values), "write one line each")
    return values


def _refuse_doubles(place: str, names: list[Any] | tuple[Any, ...]) -> None:
    """Refuse what occurs twice."""
    doubles = [name for name in names if names.count(name) > 1]
    if doubles:
        raise _refusal(place, "have another name", f"{doubles[0]!r} twice", "rename or remove one")


def _refusal(place: str, rule: str, got: str, remedy: str) -> ReportedError:
    return ReportedError(f"Expected {place} to {rule}, got {got}; {remedy}.")
