"""Every row of docs/ablations.md is read as it stands, built and trained for a step."""

import re
import shlex
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

import davezoo
from davezoo.complexity import make_parser
from davezoo.leaderboards.reported import read_reported
from davezoo.options import name_data_files
from davezoo.recipes import FOLDER
from davezoo.task import EventLocalizer
from davezoo.training import DaveCLI
from tests.methods.zoo import AUDIO_WIDTH, GRID, LENGTH, NAMES, ODD, VISUAL_WIDTH, total_loss

PAGE = Path(__file__).parents[1] / "docs" / "ablations.md"
TABLES = {
    "UnAV": {"(ours)"},
    "CCNet": {"2", "3", "4"},
    "LoCo": {"II", "III", "IV", "V", "VI", "VII", "Fig. 4", "Fig. 5"},
    "DEL": {"5", "6", "7", "8"},
}
# Width of the visual features and steps of the paper's tables; half of the features are I3D's.
I3D, ONE_PEACE = (2048, 224), (1536, 256)
FEATURES = {
    **{("CCNet", table): I3D for table in "234"},
    **{("LoCo", table): ONE_PEACE for table in sorted(TABLES["LoCo"])},
    ("LoCo", "III"): I3D,
    ("DEL", "5"): I3D,
    ("DEL", "8"): I3D,
}


def read_rows(text: str) -> list[tuple[str, str, str, tuple[str, ...]]]:
    """Return method, table, name and options of every row of a page, words as a shell has them."""
    rows = []
    for section in text.split("\n## ")[1:]:
        heading, *lines = section.splitlines()
        named = re.fullmatch(r"(\w+): `(--config \S+)`", heading)
        assert named is not None, heading
        cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line]
        assert cells[0] == ["table", "row", "options"], heading
        for table, row, options in cells[2:]:
            words = shlex.split(options.strip("`"))
            recipe = [] if "--config" in words else named[2].split()
            rows.append((named[1], table, row, (*recipe, *words)))
    return rows


ROWS = read_rows(PAGE.read_text(encoding="utf-8"))
# The full row stands in several tables; one of them is enough.
DISTINCT = {words: f"{method} {table} {row}" for method, table, row, words in reversed(ROWS)}


class _ParserOfFit(DaveCLI):
    """`davezoo fit` up to the point where it would parse."""

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Hand the parser out."""
        raise StopIteration(parser)


Parse = Callable[[tuple[str, ...]], Namespace]


@pytest.fixture(scope="module")
def parse() -> Parse:
    """Return what reads a row as `davezoo fit` does; each row is read once."""
    with pytest.raises(StopIteration) as stopped:
        _ParserOfFit(["fit"])
    parser = stopped.value.value
    return cache(lambda words: parser.parse_args(["fit", *name_data_files(words)]).fit)


def build(config: Namespace, **changes: object) -> EventLocalizer:
    """Build the model of a row, with what it takes from the data, as far as nothing changes it."""
    kind = getattr(davezoo, config.model.class_path.rpartition(".")[2])
    names = ("visual_width", "audio_width", "max_length", "modalities")
    from_data = {name: config.data[name] for name in names}
    from_data |= {"class_names": [f"class {i}" for i in range(100)], "grid": GRID}
    settings: Mapping[str, object] = config.model.init_args.as_dict()
    model: EventLocalizer = kind(**{**settings, **from_data, **changes})
    return model


def test_every_table_is_there() -> None:
    for method, tables in TABLES.items():
        assert tables <= {table for other, table, *_ in ROWS if other == method}
    assert len({(method, table, row) for method, table, row, _ in ROWS}) == len(ROWS)


@pytest.mark.parametrize("method", ["CCNet", "LoCo", "DEL"])
def test_page_and_published_tables_agree(method: str) -> None:
    """Each row of the method, in the same order, called by its name or its features.

    Not on the page: tables without an ablation, rows of other systems, other data sets. Not
    published: Fig. 4 and 5 of LoCo, which print no numbers.
    """
    paper = method.lower()
    on_page = [
        (f"{paper}/{table}", name, words)
        for other, table, name, words in ROWS
        if other == method and not table.startswith(("(", "Fig."))
    ]
    tables = {table for table, *_ in on_page}
    published = [
        (name.removesuffix("-unav100"), {row.name, row.encoder}, row.words)
        for name, table in read_reported().items()
        for row in table.rows
        if name.removesuffix("-unav100") in tables
        and row.words
        and (table.kind == "ablation" or row.method == method)
    ]
    assert len(on_page) == len(published)
    for (table, name, words), row in zip(on_page, published, strict=True):
        assert (table, words) == (row[0], row[2])
        assert row[1] & {name, name.replace(" and ", "-")}


# Widths of visual and audio features by the name of the encoder; the published rows by their words,
# of equal ones (the two versions of LoCo, full rows) the last.
WIDTHS = {
    "I3D-VGGish": (2048, 128),
    "ONE-PEACE": (1536, 1536),
    "SlowFast-VGGish": (2304, 128),
    "DINOv2-MERT": (768, 768),
}
PUBLISHED = {
    row.words: (row, table) for table in read_reported().values() for row in table.rows if row.words
}


@pytest.mark.parametrize("words", PUBLISHED, ids=[row.name for row, _ in PUBLISHED.values()])
def test_published_row_is_read_as_its_table_says(parse: Parse, words: tuple[str, ...]) -> None:
    """Method, features, data set and scoring are what the row stands under."""
    config = parse(words)
    row, table = PUBLISHED[words]
    assert config.model.class_path == f"davezoo.{row.method}"
    assert (config.data.visual_width, config.data.audio_width) == WIDTHS[row.encoder or ""]
    assert (config.data.protocol, config.data.test_split) == (table.protocol, table.split)


def test_rows_of_one_table_differ() -> None:
    settings = [(method, table, frozenset(words)) for method, table, _, words in ROWS]
    assert len(set(settings)) == len(settings)


@pytest.mark.parametrize(("method", "table"), FEATURES)
def test_rows_read_the_features_of_their_table(parse: Parse, method: str, table: str) -> None:
    rows = {words for other, own, _, words in ROWS if (other, own) == (method, table)}
    data = [parse(words).data for words in rows]
    assert {(x.visual_width, x.max_length) for x in data} == {FEATURES[method, table]}


def test_tables_of_the_same_parts_have_the_same_options() -> None:
    """LoCo's Tables II and III differ in the features alone."""
    tables = {
        name: [words[2:] for method, table, _, words in ROWS if (method, table) == ("LoCo", name)]
        for name in ("II", "III")
    }
    assert len(tables["II"]) == 4
    assert tables["II"] == tables["III"]


@pytest.mark.parametrize("words", DISTINCT, ids=DISTINCT.values())
def test_row_trains(parse: Parse, words: tuple[str, ...]) -> None:
    """Read and built as it stands, without values; built narrow and short to take a step."""
    config = parse(words)
    with torch.device("meta"):
        detector = build(config).detector
    data = config.data
    detector.check_batching(data.length_multiple, data.max_length)

    torch.manual_seed(0)
    sizes = {"visual_width": VISUAL_WIDTH, "audio_width": AUDIO_WIDTH, "max_length": LENGTH}
    sizes |= {"width": 16, "head_width": 16, "num_unimodal_blocks": 1}
    model = build(config, class_names=NAMES, **sizes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    before = total_loss(model, ODD["usual"])
    before.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert gradients
    assert [name for name, x in gradients.items() if x is None or not x.isfinite().all()] == []
    optimizer.step()
    assert before.isfinite()
    with torch.no_grad():
        assert total_loss(model, ODD["usual"]).isfinite()


@pytest.mark.parametrize("method", TABLES)
def test_complexity_takes_the_same_options(method: str) -> None:
    """Shown by the longest row of each section."""
    words = max((words for other, *_, words in ROWS if other == method), key=len)
    assert make_parser().parse_args(words).model.class_path == f"davezoo.{method}"


def test_a_mistyped_option_is_refused(parse: Parse, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(("--config", "unav.yaml", "--model.dependancy=false"))
    assert "dependancy" in capsys.readouterr().err
    assert (FOLDER / "unav.yaml").is_file()


def test_rows_are_read_as_a_shell_does() -> None:
    page = "# A\n\n## UnAV: `--config u.yaml`\n\n| table | row | options |\n|---|---|---|\n"
    page += "| 1 | all | |\n| 1 | less | `--model.a=1 '--model.b=[\"{c}\"]'` |\n"
    page += "| 1 | other | `--config o.yaml --model.a=1` |\n\ntext\n"
    recipe = ("--config", "u.yaml")
    assert read_rows(page) == [
        ("UnAV", "1", "all", recipe),
        ("UnAV", "1", "less", (*recipe, "--model.a=1", '--model.b=["{c}"]')),
        ("UnAV", "1", "other", ("--config", "o.yaml", "--model.a=1")),
    ]


def test_what_a_shell_would_expand_is_quoted() -> None:
    """Brackets are patterns of file names, in some shells an error where no file matches."""
    options = re.findall(r"\| `(.*)` \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(options) > 50
    assert [x for x in options if re.search(r"[\[\]{}*?\"$]", re.sub(r"'[^']*'", "", x))] == []
