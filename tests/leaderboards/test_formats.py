"""Markdown, CSV, HTML and LaTeX of the same tables; texts from files stay texts."""

import csv
import io
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from davezoo.leaderboards.boards import Table
from davezoo.leaderboards.formats import FORMATS, format_tables

EVIL = "<script>alert(1)</script> | \\input{x} $y$ 50% a_b & `c` ~^#"


def table(**columns):
    frame = pd.DataFrame({"method": ["LoCo", "UnAV"], **columns})
    return Table("Title", "unav100 v1", ("A note.",), frame)


PLAIN = table(seeds=[3, 1], Avg=[54.9, 51.0], deviation=[0.125, float("nan")])
EVIL_TABLE = Table(EVIL, EVIL, (EVIL,), pd.DataFrame({"method": [EVIL], "Avg": [1.0]}))


class _Page(HTMLParser):
    """Tags and cells of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.texts = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.texts.append(data.strip())


def test_markdown():
    lines = format_tables([PLAIN], "md").splitlines()
    assert lines == [
        "### Title",
        "",
        "A note.",
        "",
        "| method | seeds | Avg | deviation |",
        "|---|---:|---:|---:|",
        "| LoCo | 3 | 54.90 | 0.12 |",
        "| UnAV | 1 | 51.00 | – |",  # noqa: RUF001
    ]


def test_bars_of_a_text_make_no_columns():
    row = format_tables([EVIL_TABLE], "md").splitlines()[-1]
    assert len(re.findall(r"(?<!\\)\|", row)) == 3
    assert "<script>" not in row.replace("\\<script\\>", "")


def test_csv_keeps_all_digits_and_protocols_apart():
    other = Table("Other", "thumos14-212 v1", (), PLAIN.frame)
    rows = list(csv.DictReader(io.StringIO(format_tables([PLAIN, other], "csv"))))
    assert [row["table of"] for row in rows] == ["Title", "Title", "Other", "Other"]
    assert [row["unav100 v1 Avg"] for row in rows] == ["54.9", "51.0", "", ""]
    assert [row["thumos14-212 v1 deviation"] for row in rows] == ["", "", "0.125", ""]
    assert "Avg" not in rows[0]


def test_html_is_a_page_in_which_texts_stay_texts():
    page = _Page()
    page.feed(format_tables([PLAIN, EVIL_TABLE], "html"))
    assert "script" not in page.tags
    assert page.tags.count("table") == 2
    assert page.texts.count(EVIL) == 3  # title, note and cell
    assert "54.90" in page.texts


def test_latex_has_no_commands_of_a_text():
    text = format_tables([EVIL_TABLE], "latex")
    cell = next(line for line in text.splitlines() if line.endswith(r"& 1.00 \\"))
    assert r"\textbackslash{}input\{x\} \$y\$ 50\% a\_b \& `c`" in cell
    assert r"\textasciitilde{}\textasciicircum{}\#" in cell
    assert len(re.findall(r"(?<!\\)&", cell)) == 1
    assert r"\input{" not in text
    plain = format_tables([PLAIN], "latex")
    assert r"\begin{tabular}{lrrr}" in plain
    assert r"UnAV & 1 & 51.00 & -- \\" in plain
    assert r"\toprule" in plain


@pytest.mark.parametrize("text", ["[1]", "*1"])
def test_first_letter_of_a_latex_row_is_no_argument_of_the_line_break_before(text):
    board = Table("T", "unav100 v1", (), pd.DataFrame({"method": ["a", text], "Avg": [1.0, 2.0]}))
    written = format_tables([board], "latex")
    assert re.search(r"\\\\\s*[\[*]", written) is None
    assert f"{{{text[0]}}}1" in written


@pytest.mark.parametrize("layout", FORMATS)
def test_every_format_names_every_row(layout):
    text = format_tables([PLAIN], layout)
    assert all(word in text for word in ("Title", "LoCo", "UnAV", "54.9"))
