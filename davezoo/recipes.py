"""Recipes: configuration files that travel with the package."""

from __future__ import annotations

from pathlib import Path

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
