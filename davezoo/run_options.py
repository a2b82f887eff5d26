"""Options that a recipe may hold beside model, data and trainer, and `--config` that reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ActionConfigFile
from lightning.pytorch.cli import LightningArgumentParser

from davezoo.recipes import find_recipe, with_data_settings


class RecipeFile(ActionConfigFile):
    """`--config`: a file, or the name of a packaged recipe."""

    def __call__(
        self, parser: Any, cfg: Any, values: Any, option_string: str | None = None
    ) -> None:
        """Read the file or the packaged recipe of that name."""
        self.apply_config(parser, cfg, self.dest, with_data_settings(find_recipe(values)))


def add_run_arguments(parser: LightningArgumentParser) -> None:
    """Add the options that a recipe may hold beside model, data and trainer."""
    parser.add_argument(
        "--output",
        type=Path | None,
        default=None,
        help="File to write the detections to; result and report of a test go beside it. "
        "By default all lie in the run folder.",
    )
    parser.add_argument(
        "--test_after_fit",
        type=bool,
        default=False,
        help="In `fit`: test the best checkpoint when training has ended.",
    )
    parser.add_argument(
        "--pictures",
        type=int,
        default=0,
        help="In `predict`: also draw the first so many videos over time, as PNG.",
    )
