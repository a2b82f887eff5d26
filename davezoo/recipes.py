"""Recipes: configuration files that travel with the package."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml

from davezoo.errors import InputError

# In an installed wheel the recipes lie in the package, in a checkout beside it.
FOLDER = next(
    folder
    for here in [Path(__file__).resolve().parent]
    for folder in (here / "configs", here.parent / "configs")
    if folder.is_dir()
)


def find_recipe(name: str) -> str:
    """Return the path of a recipe: the file itself if there is one, else the packaged one.

    Args:
        name: a path, or a name such as `unav.yaml` or `data/unav100.yaml`.
    """
    packaged = (FOLDER / name).resolve()
    if not Path(name).is_file() and packaged.is_file() and packaged.is_relative_to(FOLDER):
        return str(packaged)
    return name


def read_data_settings(name: str) -> dict[str, Any]:
    """Return all settings of the data that a file describes.

    What it leaves out is as in the packaged UnAV-100, which holds the data module's defaults.

    Args:
        name: a packaged data set, such as `thumos14` or `data/thumos14.yaml`, or a file of one's
            own.

    Raises:
        InputError: if there is no such file, or it holds no settings.
    """
    path = Path(find_recipe(name if name.endswith((".yaml", ".yml")) else f"data/{name}.yaml"))
    if not path.is_file():
        known = sorted(file.stem for file in FOLDER.glob("data/*.yaml"))
        near = difflib.get_close_matches(Path(name).stem, known, n=1)
        raise InputError(
            f"Expected the file of a data set, or one of {', '.join(known)}, got {name!r}; "
            + (f"did you mean {near[0]!r}?" if near else "correct it.")
        )
    usual = yaml.safe_load((FOLDER / "data/unav100.yaml").read_text(encoding="utf-8"))
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"Expected {path} to be YAML, got {error}; correct it.") from error
    if not isinstance(settings, dict):
        raise InputError(
            f"Expected {path} to hold settings of the data, got {type(settings).__name__}; "
            "write them as `name: value`, as configs/data/unav100.yaml does."
        )
    return {**usual, **settings}


def with_data_settings(recipe: str) -> str:
    """Return a recipe with all settings in place of the name of a data file.

    So the data of one recipe replace those of an earlier one wholly.

    Args:
        recipe: path of a recipe, or its text.

    Returns:
        The path as it was if the recipe names no data file, else a text.
    """
    path = Path(recipe)
    text = path.read_text(encoding="utf-8") if path.is_file() else recipe
    try:
        content: Any = yaml.safe_load(text)
    except yaml.YAMLError:
        return recipe  # the parser of the command line says what is wrong
    data = content.get("data") if isinstance(content, dict) else None
    if not isinstance(data, str):
        return recipe
    beside = path.parent / data  # in a recipe that was copied, else among the packaged ones
    name = str(beside) if path.is_file() and beside.is_file() else data
    return yaml.safe_dump({**content, "data": read_data_settings(name)}, allow_unicode=True)
