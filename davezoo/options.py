"""Options of the training commands: our own, and checks of the words before they are parsed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from davezoo.errors import InputError
from davezoo.recipes import FOLDER, find_recipe

if TYPE_CHECKING:
    from lightning.pytorch.cli import LightningArgumentParser

# What the model takes from the data, name by name; `class_names` comes from the annotations.
FROM_DATA = (
    "class_names",
    "visual_width",
    "audio_width",
    "max_length",
    "grid",
    "own_fps",
    "audio_grid",
    "resize_to",
    "modalities",
    "protocol",
)


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


def value_of(words: Sequence[str], name: str) -> str | None:
    """Return the first value of an option that is given as two words or with `=`."""
    return next((value for option, value in _options(words) if option == name), None)


def name_data_files(words: Sequence[str]) -> list[str]:
    """Return words in which `--data FILE` is a recipe that names this file and nothing else."""
    renamed = list(words)
    for index, word in enumerate(words):
        option, sign, value = word.partition("=")
        value = value if sign else "".join(words[index + 1 : index + 2])
        if option != "--data" or not value or value.startswith("{"):  # settings, not a file
            continue
        recipe = yaml.safe_dump({"data": value}, allow_unicode=True)
        if sign:
            renamed[index] = f"--config={recipe}"
        else:
            renamed[index : index + 2] = ["--config", recipe]
    return renamed


def refuse_absent_recipes(words: Sequence[str]) -> None:
    """Refuse no recipe at all, and one that is nowhere; the parser would print all its options.

    Raises:
        InputError: naming a recipe to start with, or the packaged one that is most like it.
    """
    instead = ("-c", "--config", "--model", "-h", "--help", "--print_config")
    if not any(word.startswith(instead) for word in words):
        raise InputError(
            "Expected a recipe, got none; start with one of a method, as in `--config unav.yaml`, "
            "or try `--config quickstart.yaml`."
        )
    for option, value in _options(words):
        is_name = option in ("-c", "--config") and not re.search(r"\n|\{|: ", value)
        if not is_name or Path(find_recipe(value)).exists():
            continue
        known = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.yaml"))
        near = difflib.get_close_matches(value, known, n=1)
        raise InputError(
            f"Expected `{option}` to name a file or a packaged recipe, got {value!r}; "
            + (f"did you mean {near[0]!r}?" if near else f"packaged are {', '.join(known)}.")
        )


def refuse_settings_of_data(words: Sequence[str]) -> None:
    """Refuse settings of the model that the data's would replace without a word.

    Raises:
        InputError: naming the option of the data.
    """
    for name in _model_settings(words):
        if name in FROM_DATA:
            remedy = (
                "the annotation file names the classes"
                if name == "class_names"
                else f"use --data.{name}"
            )
            raise InputError(
                f"Expected `{name}` of the model to come from the data, got it for the model "
                f"itself; {remedy}."
            )


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield options and their values."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        option, sign, value = word.partition("=")
        yield option, value if sign else following


def _model_settings(words: Sequence[str]) -> Iterator[str]:
    """Yield the names of the settings that options and recipes give to the model."""
    for option, value in _options(words):
        named = re.match(r"--model\.(?:init_args\.)?(\w+)", option)
        if named:
            yield named[1]
        path = Path(find_recipe(value)) if option in ("-c", "--config") else None
        if path is not None and "\n" not in value and path.is_file():
            try:
                content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
            except (yaml.YAMLError, UnicodeDecodeError):
                continue  # the parser says what is wrong
            model = content.get("model") if isinstance(content, dict) else None
            settings = model.get("init_args") if isinstance(model, dict) else None
            yield from settings or ()
