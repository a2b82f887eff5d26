"""`davezoo complexity`: the size and cost of a recipe, without data and without computing."""

from __future__ import annotations

import sys

import torch
from lightning import Trainer
from lightning.pytorch.cli import LightningArgumentParser

from davezoo.data import EventDataModule
from davezoo.nn.complexity import count_complexity
from davezoo.options import (
    add_run_arguments,
    name_data_files,
    refuse_absent_recipes,
    refuse_settings_of_data,
)
from davezoo.task import EventLocalizer
from davezoo.training import RecipeFile


def run_complexity_command(words: list[str]) -> None:
    """Print parameters and multiply-accumulates of a recipe for one video.

    Args:
        words: options, among them `--config` and anything that overrules the recipe.
    """
    refuse_absent_recipes(words)
    refuse_settings_of_data(words)
    parser = make_parser()
    config = parser.parse_args(name_data_files(words))
    with torch.device("meta"):
        model = parser.instantiate_classes(config).model
    sys.stdout.write(format_complexity(model, config.length or model.detector.max_length))


def make_parser() -> LightningArgumentParser:
    """Return a parser of recipes that builds them without data: `--num_classes` stands for those.

    Widths, length, grid and modalities of the model come from the options of the data, as in
    `davezoo fit`.
    """
    parser = LightningArgumentParser(
        prog="davezoo complexity",
        description="Count parameters and multiply-accumulates of a recipe for one video of full "
        "length. The first two figures are those of the papers' tables: convolution and linear "
        "layers only.",
    )
    parser.add_argument("-c", "--config", action=RecipeFile, help="Recipe: a file or a name.")
    parser.add_argument("--num_classes", type=int, default=100, help="Classes of the data set.")
    parser.add_argument("--length", type=int | None, default=None, help="Steps; default all.")
    parser.add_lightning_class_args(Trainer, "trainer")
    parser.add_lightning_class_args(EventLocalizer, "model", subclass_mode=True)
    parser.add_lightning_class_args(EventDataModule, "data")
    parser.add_argument("--seed_everything", type=bool | int, default=False)
    add_run_arguments(parser)
    for name in ("visual_width", "audio_width", "max_length", "grid", "modalities"):
        parser.link_arguments(f"data.{name}", f"model.init_args.{name}")
    parser.link_arguments("num_classes", "model.init_args.class_names", compute_fn=_class_names)
    return parser


def format_complexity(model: EventLocalizer, num_steps: int) -> str:
    """Return the counts of a model as a table of one row."""
    count = count_complexity(model.detector, num_steps)
    cells = {
        "method": type(model).__name__,
        "steps": str(num_steps),
        "layer params M": f"{count.layer_parameters / 1e6:.2f}",
        "layer GMACs": f"{count.layer_macs / 1e9:.2f}",
        "all params M": f"{count.parameters / 1e6:.2f}",
        "attention GMACs": f"{count.attention_macs / 1e9:.2f}",
    }
    widths = [max(len(name), len(cell)) for name, cell in cells.items()]
    rows = [list(cells), list(cells.values())]
    return "".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) + "\n"
        for row in rows
    )


def _class_names(num_classes: int) -> list[str]:
    return [f"class {index}" for index in range(num_classes)]
