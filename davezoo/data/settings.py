"""Settings of a data set: those that cannot work are refused before any file is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from davezoo.data.features import FeatureLayout
from davezoo.errors import InputError
from davezoo.structures import FeatureGrid

_Settings = TypeVar("_Settings")

_READ = {"both": ("visual", "audio"), "visual": ("visual",), "audio": ("audio",)}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse settings that cannot work.

    Args:
        settings: those of `EventDataModule` by name, as plain types.

    Raises:
        InputError: if a setting is out of bounds or contradicts another one.
    """
    _check_training(settings)
    _check_files(settings)
    if settings["video_scores"] is not None and not settings["class_agnostic"]:
        raise InputError(
            "Expected `video_scores` only with `class_agnostic: true`, got a detector of all "
            "classes, which labels its events itself; set one of the two."
        )


def feature_layout(folder: Path, settings: Mapping[str, Any]) -> FeatureLayout:
    """Return what the feature files are called and hold, from the settings of the same names.

    Args:
        folder: folder of the feature files.
        settings: those of `EventDataModule` by name, as plain types.
    """
    names = [field.name for field in fields(FeatureLayout) if field.name != "folder"]
    grids = {name: restore(FeatureGrid, settings[name]) for name in ("grid", "audio_grid")}
    return FeatureLayout(folder, **{name: settings[name] for name in names} | grids)


def restore(kind: type[_Settings], value: Any) -> Any:
    """Build a dataclass from the plain mapping that a checkpoint holds; pass others through."""
    return kind(**value) if isinstance(value, Mapping) else value


def _check_training(settings: Mapping[str, Any]) -> None:
    """Refuse lengths, crops and batches that cannot work."""
    max_length, multiple = settings["max_length"], settings["length_multiple"]
    if max_length % multiple:
        raise InputError(
            f"Expected `max_length` to be a multiple of {multiple}, got {max_length}; round it up."
        )
    crop = settings["crop_ratio"]
    if crop is not None and not 0 < crop[0] <= crop[1] <= 1:
        raise InputError(
            f"Expected `crop_ratio` to be two increasing numbers in (0, 1], got {tuple(crop)}; "
            "correct it."
        )
    bucket_ratio = settings["bucket_ratio"]
    if bucket_ratio is not None and not bucket_ratio > 1:
        raise InputError(
            f"Expected `bucket_ratio` to be more than 1, got {bucket_ratio}; raise it, or set null "
            "to mix all lengths."
        )
    for name in ("batch_size", "eval_batch_size", "resize_to"):
        if settings[name] is not None and settings[name] < 1:
            raise InputError(
                f"Expected `{name}` to be at least 1, got {settings[name]}; correct it."
            )


def _check_files(settings: Mapping[str, Any]) -> None:
    """Refuse file patterns, widths and modalities that contradict each other."""
    files = {name: settings[f"{name}_files"] for name in _READ["both"]}
    if not any(files.values()):
        raise InputError(
            "Expected `visual_files` or `audio_files` to name files, got none of either; name "
            "those of at least one modality."
        )
    for name, patterns in files.items():
        width = settings[f"{name}_width"]
        if bool(patterns) != (width > 0):
            raise InputError(
                f"Expected `{name}_width` to be 0 if and only if there are no `{name}_files`, "
                f"got width {width} and files {patterns}; correct one of them."
            )
    for pattern in [*files["visual"], *files["audio"]]:
        if "{video}" not in pattern:
            raise InputError(
                f"Expected file patterns with {{video}} for the id, got {pattern!r}; correct "
                "`visual_files` or `audio_files`."
            )
    modalities = settings["modalities"]
    if modalities not in _READ:
        raise InputError(
            f"Expected `modalities` to be one of {list(_READ)}, got {modalities!r}; correct it."
        )
    if not any(files[name] for name in _READ[modalities]):
        raise InputError(
            f"Expected `{modalities}_files` to name files for modalities={modalities!r}, got none; "
            "name them or choose other `modalities`."
        )
