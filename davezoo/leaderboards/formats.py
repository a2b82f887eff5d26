"""Tables as Markdown, CSV, HTML and LaTeX.

pandas writes CSV, HTML and LaTeX, the last with the jinja2 that the report needs anyway. Markdown
is written here: pandas would need `tabulate` for it, which leaves the bars in a text as they are.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, get_args

import pandas as pd

from davezoo.leaderboards.boards import Table

Format = Literal["md", "csv", "html", "latex"]
FORMATS: tuple[str, ...] = get_args(Format)
_NOTHING = "\N{EN DASH}"  # where there is no value
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    _NOTHING: "--",
    "±": r"$\pm$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # at the start of a row it would be the height of the line break before it,
    "*": "{*}",  # and this would belong to that line break
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>davezoo leaderboard</title>
<style>
:root {{ color-scheme: light dark; font-family: system-ui, sans-serif }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums }}
th, td {{ border-bottom: 1px solid color-mix(in srgb, currentColor 25%, transparent);
  padding: .3em .6em; text-align: right; vertical-align: top; unicode-bidi: isolate }}
th {{ white-space: nowrap }}
th:nth-child(-n+3), td:nth-child(-n+3) {{ text-align: left }}
</style>
{body}
</html>
"""


def format_tables(tables: Sequence[Table], layout: Format) -> str:
    """Return tables as text.

    Args:
        tables: one a protocol and set of videos.
        layout: `md`, `csv`, `html` (one page) or `latex` (with booktabs). In `csv` all are one
            table, in which the columns of scores are named after their protocol.
    """
    return _WRITERS[layout](tables)


def _markdown(tables: Sequence[Table]) -> str:
    return "\n".join(_markdown_of(table) for table in tables)


def _markdown_of(table: Table) -> str:
    shown = _shown(table.frame)
    names = [_escape_markdown(str(name)) for name in shown.columns]
    numeric = [not texts for texts in _is_text(table.frame).values()]
    lines = [f"### {_escape_markdown(table.title)}", ""]
    lines += [f"{_escape_markdown(note)}\n" for note in table.notes]
    lines.append(f"| {' | '.join(names)} |")
    lines.append(f"|{'|'.join('---:' if right else '---' for right in numeric)}|")
    cells = shown.map(_escape_markdown).to_numpy().tolist()
    lines += [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join(lines) + "\n"


def _escape_markdown(text: str) -> str:
    return re.sub(r"([\\`*<>\[\]|])", r"\\\1", text)


def _csv(tables: Sequence[Table]) -> str:
    frames = []
    for table in tables:
        scores = [name for name in table.frame if str(name).startswith(("mAP@", "Avg", "dev"))]
        named = table.frame.rename(columns={name: f"{table.protocol} {name}" for name in scores})
        named.insert(0, "table of", table.title)
        frames.append(named)
    return pd.concat(frames).to_csv(index=False)


def _html(tables: Sequence[Table]) -> str:
    body = []
    for table in tables:
        body.append(f"<h2>{html.escape(table.title)}</h2>")
        body += [f"<p>{html.escape(note)}</p>" for note in table.notes]
        body.append(_shown(table.frame).to_html(index=False, border=0))
    return _PAGE.format(body="\n".join(body))


def _latex(tables: Sequence[Table]) -> str:
    return "\n".join(["% \\usepackage{booktabs}", *(_latex_of(table) for table in tables)])


def _latex_of(table: Table) -> str:
    shown = _shown(table.frame).map(_escape_latex)
    shown.columns = pd.Index([_escape_latex(str(name)) for name in shown.columns])
    aligned = "".join("l" if text else "r" for text in _is_text(table.frame).values())
    caption = _escape_latex(" ".join([f"{table.title}.", *table.notes]))
    written: str = shown.style.hide(axis="index").to_latex(
        caption=caption, column_format=aligned, hrules=True
    )
    return written


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _shown(frame: pd.DataFrame) -> pd.DataFrame:
    """Return all cells as text: numbers with two decimals, counts as they are."""
    return pd.DataFrame({name: [_cell(x) for x in frame[name]] for name in frame})


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return _NOTHING
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _is_text(frame: pd.DataFrame) -> dict[str, bool]:
    return {str(name): any(isinstance(x, str) for x in frame[name]) for name in frame}


_WRITERS: Mapping[str, Callable[[Sequence[Table]], str]] = MappingProxyType(
    {"md": _markdown, "csv": _csv, "html": _html, "latex": _latex}
)
