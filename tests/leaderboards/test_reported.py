"""The published numbers, against the papers themselves where they lie beside the checkout."""

import inspect
import re
import unicodedata
from collections import defaultdict
from itertools import pairwise

import pytest
import yaml

import davezoo
from davezoo.errors import InputError
from davezoo.evaluation.protocols import get_protocol
from davezoo.leaderboards.reported import (
    FOLDER,
    KINDS,
    ReportedError,
    get_table,
    read_paper,
    read_reported,
)
from davezoo.recipes import FOLDER as RECIPES

# Rows of every table, counted in the papers.
NUM_ROWS = {
    "loco/I": 14,
    "loco/II": 4,
    "loco/III": 4,
    "loco/IV": 4,
    "loco/V": 3,
    "loco/VI": 5,
    "loco/VII": 7,
    "loco/fig3": 4,
    "loco_v1/1": 14,
    "loco_v1/2a": 4,
    "loco_v1/2b": 4,
    "loco_v1/2c": 3,
    "loco_v1/2d": 5,
    "loco_v1/3": 7,
    "ccnet/1": 8,
    "ccnet/2": 4,
    "ccnet/3": 3,
    "ccnet/4": 2,
    "ccnet/fig3": 1,
    "del/1": 11,
    "del/2": 11,
    "del/3-verb": 7,
    "del/3-noun": 7,
    "del/4": 5,
    "del/5": 4,
    "del/6": 5,
    "del/7-thumos14": 2,
    "del/7-unav100": 2,
    "del/8": 3,
}
# Averages that are not the mean of their row, which their note tells.
WRONG_AVERAGES = {
    ("del/1", "ActionFormer"): 66.8,
    ("del/1", "ASL"): 67.9,
    ("del/3-verb", "BMN"): 8.1,
    ("del/7-thumos14", "DINOv2+MERT"): 73.8,
}
SAME_TABLES = {"I": "1", "II": "2a", "IV": "2b", "V": "2c", "VI": "2d", "VII": "3"}

TABLES = read_reported()
ROWS = [(table, row) for table in TABLES.values() for row in table.rows]
PAPERS = ("ccnet", "del", "loco", "loco_v1")
by_paper = pytest.mark.parametrize("paper", PAPERS)


def maps(row):
    """Return the printed mAP at each threshold, ascending thresholds."""
    return [value for column, value in row.values.items() if column.startswith("map_")]


def printed_tables(paper):
    """Return the tables of one paper that are tables, not figures."""
    return [t for t in TABLES.values() if t.name.startswith(f"{paper}/") and t.kind != "figure"]


# Against the papers -------------------------------------------------------------------------------


def number(cell):
    """Return a printed number, None for a dash."""
    return None if cell == "-" else float(cell)


def lines_with_tabs(text):
    """Yield the cells of every line that is the row of a table."""
    for line in text.splitlines():
        cells = line.split("\t")
        if len(cells) > 3 and re.fullmatch(r"\d+\.\d+|-", cells[-1]):
            yield cells


def lines_in_fours(text):
    """Yield the same of a text that writes each number four times, or three and in LaTeX's bold."""
    once = re.compile(r"(\d+\.\d+)\1\1\1")
    bold = re.compile(r"(\d+\.\d+)\1\\mathbf\{\1\}bold_\1")
    for line in text.splitlines():
        cells = [bold.sub(r"\1", once.sub(r"\1", cell)) for cell in line.split()]
        if len(cells) > 3 and all(re.fullmatch(r"\d+\.\d+|-", cell) for cell in cells[-3:]):
            yield cells


@by_paper
def test_all_rows_are_those_of_the_paper(shared, paper):
    """Every row of every table, in order, none left out and none added."""
    text = (shared / f"papers/{paper}.txt").read_text(encoding="utf-8")
    lines = list(lines_in_fours(text) if paper == "loco_v1" else lines_with_tabs(text))
    ours = [(table, row) for table in printed_tables(paper) for row in table.rows]
    assert len(lines) == len(ours)
    for cells, (table, row) in zip(lines, ours, strict=True):
        values = [number(cell) for cell in cells[-len(table.columns) :]]
        assert values == list(row.values.values()), (table.name, row.name)


def letters(text):
    return re.sub(r"[^a-z0-9]", "", unicodedata.normalize("NFKD", text).lower())


@by_paper
def test_rows_are_called_as_in_the_paper(shared, paper):
    """Except where it ticks parts, and the levels of DEL's pyramid, which it only counts."""
    text = (shared / f"papers/{paper}.txt").read_text(encoding="utf-8")
    lines = list(lines_in_fours(text) if paper == "loco_v1" else lines_with_tabs(text))
    ours = [(table, row) for table in printed_tables(paper) for row in table.rows]
    ticked = {"II", "III", "2a"} if paper.startswith("loco") else {"2", "3", "5", "6", "8"}
    for cells, (table, row) in zip(lines, ours, strict=True):
        if table.name.partition("/")[2] in ticked:
            continue
        printed = " ".join(cells[: -len(table.columns)])
        name = row.name.replace(", then ", " → ")
        if paper == "loco_v1" and table.name == "loco_v1/2d":  # 4 is written 4444, or in bold
            printed = re.sub(r"\b(\d+)\1\1\1\b", r"\1", printed)
        assert letters(name) in letters(printed), table.name
        if row.encoder == "ONE-PEACE" and table.kind == "results":
            assert re.search("ONE-PEACE|OP|Δ", printed), table.name


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("loco/fig3", r"({0} vs. {1}) based on “I3D-VGGish”"),
        ("loco/fig3", r"({2} vs. {3}) based on “ONE-PEACE”"),
        ("ccnet/fig3", r"a {0}% improvement over the baseline for events with a duration of "),
    ],
)
def test_figures_are_read_from_the_text(shared, name, told):
    text = (shared / f"papers/{name.partition('/')[0]}.txt").read_text(encoding="utf-8")
    table = get_table(name)
    values = [value for row in table.rows for value in row.values.values()]
    assert told.format(*values) in text
    assert table.notes[0].startswith("Read from the text")


# Against itself -----------------------------------------------------------------------------------


def test_every_table_is_there():
    assert {name: len(table.rows) for name, table in TABLES.items()} == NUM_ROWS
    assert {table.kind for table in TABLES.values()} == set(KINDS)


def test_averages_are_the_means_of_rows_that_print_all_thresholds():
    """Rounding of thresholds and average can each move a mean by 0.05."""
    checked, wrong = 0, {}
    for table, row in ROWS:
        num_thresholds = len(get_protocol(table.protocol).tiou_thresholds)
        average = row.values.get("avg_map")
        if len(maps(row)) < num_thresholds or None in (*maps(row), average):
            continue
        mean = sum(maps(row)) / num_thresholds
        checked += 1
        if abs(mean - average) > 0.1 + 1e-9:
            wrong[table.name, row.name] = round(mean, 1)
            assert any(f"{mean:.1f}" in note for note in row.notes)
    assert checked == 9 + 6 + 6 + 2  # THUMOS14, verbs, nouns, features on THUMOS14
    assert wrong == WRONG_AVERAGES


def test_swapped_averages():
    rows = {row.name: row for row in get_table("del/1").rows}
    assert rows["ActionFormer"].values["avg_map"] == WRONG_AVERAGES["del/1", "ASL"]
    assert rows["ASL"].values["avg_map"] == WRONG_AVERAGES["del/1", "ActionFormer"]


def test_average_of_del_on_activitynet_is_over_three_thresholds():
    rows = {row.name: row for row in get_table("del/2").rows}
    means = {name: round(sum(maps(row)) / 3, 1) for name, row in rows.items()}
    equal = [name for name, row in rows.items() if row.values["avg_map"] == means[name]]
    assert equal == ["DEL"]
    note = rows["DEL"].notes[0]
    assert all(f"{means[name]}" in note for name in ("TriDet", "ActionFormer"))


def test_averages_of_unav100_lie_where_the_printed_thresholds_allow():
    """Four of nine thresholds are not printed; mAP there is between that at 0.5 and 100."""
    checked = 0
    for table, row in ROWS:
        if table.protocol == "unav100" and maps(row) and None not in maps(row):
            lowest = (4 * row.values["map_50"] + sum(maps(row))) / 9
            assert lowest < row.values["avg_map"] < (400 + sum(maps(row))) / 9
            checked += 1
    assert checked == 29 + 25 + 17 + 19  # LoCo, its first version, CCNet, DEL


def test_map_falls_with_the_threshold():
    for table, row in ROWS:
        printed = [value for value in maps(row) if value is not None]
        assert all(low > high for low, high in pairwise(printed)), (table.name, row.name)


def test_same_command_has_the_same_numbers_in_a_paper():
    found = defaultdict(set)
    for table, row in ROWS:
        for column, value in row.values.items():
            if row.words:
                found[table.paper, row.words, column].add(value)
    assert {key: values for key, values in found.items() if len(values) > 1} == {}


def test_systems_have_the_same_numbers_in_all_papers():
    """Save LoCo, whose two versions differ with ONE-PEACE alone, in every column."""
    found = defaultdict(set)
    for table, row in ROWS:
        if table.kind == "results":
            for column, value in row.values.items():
                found[table.protocol, row.method, row.encoder, column].add(value)
    differing = [key for key, values in found.items() if len(values) > 1]
    columns = get_table("loco/I").columns
    assert differing == [("unav100", "LoCo", "ONE-PEACE", column) for column in columns]


@pytest.mark.parametrize(("final", "first"), SAME_TABLES.items())
def test_versions_of_loco_tell_what_the_other_one_prints(final, first):
    rows = zip(get_table(f"loco/{final}").rows, get_table(f"loco_v1/{first}").rows, strict=False)
    if final == "I":  # the order of its rows changed
        last = [get_table(f"loco{v}").rows[-1] for v in ("/I", "_v1/1")]
        rows = [tuple(last)]
    for now, then in rows:
        for row, other, version in ((now, then, "first"), (then, now, "final")):
            average = other.values["avg_map"]
            if row.method != "LoCo":
                assert row.values == other.values
            elif row.values == other.values:
                assert f"The same numbers in the {version} version." in row.notes
            else:
                assert any(f"The {version} version prints {average}" in n for n in row.notes)


def test_numbers_that_are_not_what_they_seem_have_a_note():
    noted = {(table.name, row.name) for table, row in ROWS if row.notes}
    assert {*WRONG_AVERAGES, ("del/2", "DEL"), ("del/4", "DEL"), ("ccnet/1", "UniAV")} <= noted
    for table in TABLES.values():
        full = len([c for c in table.columns if c.startswith("map_")])
        if 0 < full < len(get_protocol(table.protocol).tiou_thresholds):
            assert any("average" in note for note in table.notes), table.name
        if table.name.startswith("del/"):
            assert any("five runs" in note for note in table.notes), table.name


def test_own_methods_have_a_recipe_and_others_have_none():
    """Without one: figures, and features of another grid that nobody published."""
    own = {"UnAV", "CCNet", "LoCo", "DEL"}
    without = {
        (table.name, row.name)
        for table, row in ROWS
        if row.method in own and not row.words and table.kind != "figure"
    }
    assert without == {("del/7-thumos14", "DINOv2+MERT")}
    assert [row.method for _, row in ROWS if row.method not in own and row.words] == []
    recipes = {row.recipe for _, row in ROWS if row.recipe}
    assert [recipe for recipe in recipes if not (RECIPES / recipe).is_file()] == []


def test_words_follow_davezoo_fit():
    table = get_table("loco/VII")
    assert table.rows[0].words == ("--config", "loco.yaml", "--model=davezoo.UnAV")
    assert table.rows[1].words == ()
    assert table.rows[-1].words == ("--config", "loco.yaml")


def test_what_cannot_be_compared_has_a_note():
    found = {(t.name, r.name): r.incomparable for t, r in ROWS if r.incomparable}
    assert found == {("del/2", "DEL"): ("avg_map",)}
    assert all(row.notes for _, row in ROWS if row.incomparable)


def test_no_option_repeats_a_default():
    """So the full row has the same words in all tables of a paper, and is trained once."""
    checked = 0
    for table, row in ROWS:
        for option in row.options:
            name, _, value = option.removeprefix("--model.").partition("=")
            if name == option or not option.startswith("--model."):
                continue
            kinds = getattr(davezoo, row.method).__mro__
            signatures = [inspect.signature(kind.__init__).parameters for kind in kinds]
            default = next(found[name].default for found in signatures if name in found)
            checked += 1
            assert yaml.safe_load(value) != default, (table.name, row.name, option)
    assert checked > 40


# Bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("loco/2", ["loco/I", "loco/II", "loco/VII"]),
        ("DEL/3", ["del/3-verb", "del/3-noun"]),
        ("ccnet", ["ccnet/1", "ccnet/4"]),
        ("lcoo/VII", ["loco/VII"]),
        ("nothing", list(TABLES)),
    ],
)
def test_unknown_table_is_answered_with_near_names(name, near):
    with pytest.raises(ReportedError, match=f"got {name!r}; choose one of ") as refused:
        get_table(name)
    listed = str(refused.value).partition("choose one of ")[2].rstrip(".").split(", ")
    assert set(near) <= set(listed)
    assert isinstance(refused.value, InputError)


def paper(**changes):
    """Return a small paper as its file holds it; changes go into its table or its second row."""
    rows = [
        {"method": "A", "encoder": "E", "values": [30, None, 20.5]},
        {"name": "b", "values": [30.0, 25.0, 20.0], "recipe": "b.yaml", "options": ["--x=1"]},
    ]
    table = {
        "table": "1",
        "title": "t",
        "kind": "results",
        "dataset": "d",
        "split": "test",
        "protocol": "unav100",
        "method": "B",
        "encoder": None,
        "columns": ["map_50", "map_60", "avg_map"],
        "rows": rows,
    }
    for key, value in changes.items():
        entry = rows[1] if key.startswith("row_") else table
        name = key.removeprefix("row_")
        if value is ...:
            del entry[name]
        else:
            entry[name] = value
    return {"paper": "p", "tables": [table]}


def read(tmp_path, content):
    path = tmp_path / "mine.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return read_paper(path)


def test_rows_are_completed_by_their_table(tmp_path):
    (table,) = read(tmp_path, paper())
    first, second = table.rows
    assert (table.name, table.paper, table.notes) == ("mine/1", "p", ())
    assert (first.name, first.method, first.encoder, first.recipe) == ("A", "A", "E", None)
    assert dict(first.values) == {"map_50": 30.0, "map_60": None, "avg_map": 20.5}
    assert (second.name, second.method, second.encoder) == ("b", "B", None)
    assert second.words == ("--config", "b.yaml", "--x=1")


def test_a_row_can_refuse_the_recipe_of_its_table(tmp_path):
    (table,) = read(tmp_path, paper(recipe="t.yaml", row_recipe=None, row_options=...))
    assert [row.recipe for row in table.rows] == ["t.yaml", None]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocol": "unav10"}, r"table 1 of .*mine\.yaml: .*'unav100'"),
        ({"split": "validation"}, r"`split` of table 1 of .* be 'test' .* got 'validation'"),
        ({"kind": "other"}, r"`kind` of table 1 of .* got 'other'"),
        ({"table": 1}, r"`table` of table 1 of .* be text, got int 1; write it in quotes"),
        ({"title": ...}, r"table 1 of .* \['title'\] missing"),
        ({"colour": "red"}, r"\['colour'\] unknown"),
        ({"columns": ["map_55"]}, r"`columns` of table 1 of .* got \['map_55'\]"),
        ({"columns": []}, r"`columns` of table 1"),
        ({"columns": ["map_50"] * 3}, r"every column of table 1 .* got 'map_50' twice"),
        ({"rows": []}, r"`rows` of table 1 of .* at least one"),
        ({"rows": [[]]}, r"row 1 of table 1 of .* got list"),
        ({"notes": "one"}, r"`notes` of table 1 of .* be a list of texts, got 'one'"),
        ({"method": ...}, r"row 2 of table 1 of .* have `method`"),
        ({"encoder": ...}, r"row 2 of table 1 of .* have `encoder`"),
        ({"row_values": [1, 2]}, r"row 2 of table 1 of .* \('b'\) to have 3 values.* got 2"),
        ({"row_values": [1, 2, "3"]}, r"`avg_map` of row 2 of table 1 .* got '3'"),
        ({"row_values": [1, 2, True]}, r"`avg_map` of row 2 of table 1 .* got True"),
        ({"row_values": [101, 2, 3]}, r"`map_50` of row 2 of table 1 .* got 101"),
        ({"row_values": [float("nan"), 2, 3]}, r"`map_50` of row 2 of table 1 .* got nan"),
        ({"row_recipe": ...}, r"row 2 .* have a `recipe` for its `options`, got none"),
        ({"row_recipe": 3}, r"`recipe` of row 2"),
        ({"row_options": ["--x", 1]}, r"`options` of row 2"),
        ({"row_name": "A", "row_encoder": "E"}, r"every row of table 1 .* \('A', 'E'\) twice"),
        ({"row_incomparable": ["map_90"]}, r"`incomparable` of row 2 .* got \('map_90',\)"),
        ({"row_score": 1}, r"row 2 of table 1 of .* \['score'\] unknown"),
    ],
)
def test_malformed_entry_is_named(tmp_path, changes, message):
    with pytest.raises(ReportedError, match=message):
        read(tmp_path, paper(**changes))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("tables: [", r"mine\.yaml to be YAML"),
        ("", r"mine\.yaml to be entries .* got NoneType"),
        ({"paper": "p"}, r"\['tables'\] missing"),
        ({"paper": "p", "tables": 3}, r"`tables` of .*mine\.yaml to be a list"),
        ({"paper": "p", "tables": paper()["tables"] * 2}, r"every table of .* 'mine/1' twice"),
    ],
)
def test_malformed_file_is_named(tmp_path, content, message):
    with pytest.raises(ReportedError, match=message):
        read(tmp_path, content)


def test_one_file_a_paper():
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted(PAPERS)
