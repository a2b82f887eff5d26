"""Every row of docs/ablations.md is built from its options and trained for a step."""

import re
from pathlib import Path

import pytest
import torch
from lightning.pytorch.cli import LightningArgumentParser

from davezoo.complexity import make_parser
from davezoo.recipes import FOLDER
from tests.methods.zoo import AUDIO_WIDTH, LENGTH, NAMES, ODD, VISUAL_WIDTH, total_loss

PAGE = Path(__file__).parents[1] / "docs" / "ablations.md"
# Laid over every row, last, so that a step takes no time.
TINY = [
    f"--data.visual_width={VISUAL_WIDTH}",
    f"--data.audio_width={AUDIO_WIDTH}",
    f"--data.max_length={LENGTH}",
    f"--num_classes={len(NAMES)}",
    "--model.width=16",
    "--model.head_width=16",
]
TABLES = {
    "UnAV": {"(ours)"},
    "CCNet": {"2", "3", "4"},
    "LoCo": {"II, III", "IV", "V", "VI", "VII", "Fig. 4", "Fig. 5"},
    "DEL": {"5", "6", "7", "8"},
}


def read_rows(text: str) -> list[tuple[str, str, str, list[str]]]:
    """Return method, table, name and options of every row of a page."""
    rows = []
    for section in text.split("\n## ")[1:]:
        heading, *lines = section.splitlines()
        named = re.fullmatch(r"(\w+): `(--config \S+)`", heading)
        assert named is not None, heading
        cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line]
        assert cells[0] == ["table", "row", "options"], heading
        for table, row, options in cells[2:]:
            words = options.strip("`").split()
            recipe = [] if "--config" in words else named[2].split()
            rows.append((named[1], table, row, recipe + words))
    return rows


ROWS = read_rows(PAGE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def parser() -> LightningArgumentParser:
    return make_parser()


def test_every_table_is_there() -> None:
    for method, tables in TABLES.items():
        assert tables <= {table for other, table, *_ in ROWS if other == method}
    assert len({(method, table, row) for method, table, row, _ in ROWS}) == len(ROWS)


def test_rows_of_one_table_differ() -> None:
    settings = [(method, table, frozenset(words)) for method, table, _, words in ROWS]
    assert len(set(settings)) == len(settings)


@pytest.mark.parametrize(
    "words",
    [words for *_, words in ROWS],
    ids=[f"{method} {table} {row}" for method, table, row, _ in ROWS],
)
def test_row_trains(parser: LightningArgumentParser, words: list[str]) -> None:
    config = parser.parse_args([*words, *TINY])
    torch.manual_seed(0)
    model = parser.instantiate_classes(config).model
    total = total_loss(model, ODD["usual"])
    total.backward()
    assert total.isfinite()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_a_mistyped_option_is_refused(
    parser: LightningArgumentParser, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parser.parse_args(["--config", "unav.yaml", "--model.dependancy=false", *TINY])
    assert "dependancy" in capsys.readouterr().err
    assert (FOLDER / "unav.yaml").is_file()


def test_rows_are_read_as_they_stand() -> None:
    page = "# A\n\n## UnAV: `--config u.yaml`\n\n| table | row | options |\n|---|---|---|\n"
    page += "| 1 | all | |\n| 1 | less | `--model.a=1 --model.b=[[0,1]]` |\n"
    page += "| 1 | other | `--config o.yaml --model.a=1` |\n\ntext\n"
    recipe = ["--config", "u.yaml"]
    assert read_rows(page) == [
        ("UnAV", "1", "all", recipe),
        ("UnAV", "1", "less", [*recipe, "--model.a=1", "--model.b=[[0,1]]"]),
        ("UnAV", "1", "other", ["--config", "o.yaml", "--model.a=1"]),
    ]
