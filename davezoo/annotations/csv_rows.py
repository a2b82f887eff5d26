"""Reading of comma-separated values, row by row as a spreadsheet counts them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd

from davezoo.annotations.table import AnnotationError, refusal
from davezoo.json_files import read_content


def read_rows(path: Path) -> pd.DataFrame:
    """Read a csv file with a header, gzipped or not.

    Args:
        path: the file, UTF-8.

    Returns:
        All cells as text, `""` where empty; blank rows are left out. The index counts rows as a
        spreadsheet does, the header being row 1.

    Raises:
        FileNotFoundError: if there is no such file.
        AnnotationError: if the file is damaged.
    """
    return parse_rows(path, read_content(path, AnnotationError))


def parse_rows(path: Path, content: bytes) -> pd.DataFrame:
    """Parse csv content; see `read_rows`."""
    try:
        # Without names of its own pandas takes no column for an index and renames no double name.
        rows = pd.read_csv(
            io.BytesIO(content),
            header=None,
            dtype="str",
            na_filter=False,
            skip_blank_lines=False,
            encoding="utf-8-sig",
        )
        _check_cells(content.decode("utf-8-sig"))
    except (ValueError, csv.Error) as fault:
        raise refusal(
            f"the table {path}",
            "hold comma-separated values in UTF-8, as many in every row as in the header",
            f"something else ({str(fault).strip()})",
            "correct it, or download it again",
        ) from fault
    rows.index = pd.RangeIndex(1, len(rows) + 1)
    header = rows.iloc[0].str.strip()
    double = header[(header != "") & header.duplicated()]
    if len(double):
        got = f"{double.iloc[0]!r} twice"
        raise refusal(f"every column of {path}", "occur once", got, "rename or remove one")
    rows = rows.iloc[1:].set_axis(pd.Index(header), axis="columns")
    return rows[(rows != "").any(axis="columns")]


def _check_cells(text: str) -> None:
    """Refuse rows with fewer cells than the header, as where a file is cut: pandas fills them up.

    Raises:
        ValueError: naming the first such row.
    """
    rows = csv.reader(io.StringIO(text, newline=""))
    cells = np.array([len(row) if any(row) else 0 for row in rows])  # none in a blank row
    short = (cells > 0) & (cells < cells[0])
    if short.any():
        row = int(np.argmax(short))
        raise ValueError(f"{cells[row]} cells in row {row + 1}, {cells[0]} in the header")


def refuse_row(
    path: Path, rows: pd.DataFrame, column: str, wrong: pd.Series, expected: str, remedy: str
) -> None:
    """Raise an error for the first row where `wrong` is True, if there is one.

    Raises:
        AnnotationError: naming column, row and content.
    """
    if wrong.any():
        row = rows.index[int(np.argmax(wrong.to_numpy()))]
        what = f"`{column}` in row {row} of {path}"
        raise refusal(what, expected, repr(rows.at[row, column]), remedy)


def texts(path: Path, rows: pd.DataFrame, column: str) -> pd.Series:
    """Return a column without surrounding blanks.

    Raises:
        AnnotationError: if a cell is empty.
    """
    cells = rows[column].str.strip()
    refuse_row(path, rows, column, cells == "", "hold text", "fill it in or remove the row")
    return cells


def numbers(
    path: Path,
    rows: pd.DataFrame,
    column: str,
    low: float,
    high: float,
    *,
    optional: bool = False,
) -> pd.Series:
    """Return a column as numbers, float64.

    Args:
        path: the file, for the message.
        rows: the table.
        column: name of the column.
        low: the lowest number allowed.
        high: the highest number allowed.
        optional: whether cells may be empty; they become NaN.

    Raises:
        AnnotationError: if a cell holds something else.
    """
    values = pd.to_numeric(rows[column].str.strip(), errors="coerce").astype(np.float64)
    wrong = ~values.between(low, high)
    if optional:
        wrong &= rows[column].str.strip() != ""
    expected = f"be a number from {low:g} to {high:g}"
    refuse_row(path, rows, column, wrong, expected, "correct it or remove the row")
    return values


def one_value_a_video(
    path: Path, rows: pd.DataFrame, videos: pd.Series, column: str, values: pd.Series
) -> pd.Series:
    """Return the one value of each video, in the order in which the videos occur.

    Args:
        path: the file, for the message.
        rows: the table.
        videos: the id in each row.
        column: the column that `values` come from.
        values: what each row says, NaN where it says nothing.

    Returns:
        Values by id, NaN where no row says one.

    Raises:
        AnnotationError: if two rows of a video contradict each other.
    """
    known = values.notna()
    first = values[known].groupby(videos[known]).transform("first")
    wrong = first != values[known]
    if wrong.any():
        row = wrong.index[int(np.argmax(wrong.to_numpy()))]
        video = videos[row]
        earlier = first.index[int(np.argmax((videos[known] == video).to_numpy()))]
        raise refusal(
            f"`{column}` in row {row} of {path}",
            f"be that of video {video!r} in row {earlier}, {rows.at[earlier, column]!r}",
            repr(rows.at[row, column]),
            "correct one of the two rows",
        )
    return values[known].groupby(videos[known]).first().reindex(pd.unique(videos))


def columns_refusal(
    path: Path, found: Iterable[str], layouts: dict[str, tuple[str, ...]]
) -> AnnotationError:
    """Return the error for a table that has the columns of none of the layouts.

    Args:
        path: the file.
        found: names of its columns.
        layouts: the columns of each layout, by what people call it.
    """
    found = [name for name in found if name]
    nearest = max(layouts, key=lambda layout: len(set(layouts[layout]) & set(found)))
    missing = [name for name in layouts[nearest] if name not in found]
    known = "; ".join(f"{layout}: {', '.join(names)}" for layout, names in layouts.items())
    hints = _renamings(missing, [name for name in found if name not in layouts[nearest]])
    if len(found) == 1 and (mark := next((mark for mark in ";\t|" if mark in found[0]), "")):
        hints = [f"separate the cells by commas, not by {mark!r}"]
    return refusal(
        f"the columns of {path}",
        f"be those of one of ({known})",
        f"{found}, nearest to {nearest}, without {missing}",
        "; ".join((*hints, "rename the columns in the header")),
    )


def _renamings(missing: Sequence[str], unknown: Sequence[str]) -> list[str]:
    """Propose which of the unknown columns are the missing ones under nearly the same name."""
    lowered = {name.lower(): name for name in unknown}
    near = {name: get_close_matches(name, lowered, n=1, cutoff=0.5) for name in missing}
    return [
        f"is {lowered[found[0]]!r} meant for {name!r}?" for name, found in near.items() if found
    ]
