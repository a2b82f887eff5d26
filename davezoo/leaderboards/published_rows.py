"""Which published row a run repeats: protocol, features, method and its settings all agree."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from davezoo.evaluation.run_results import RunResult, flat_settings
from davezoo.leaderboards.reported import ReportedRow, ReportedTable, read_reported
from davezoo.recipes import find_recipe, read_data_settings

# Features of the packaged data sets, by the names that the published tables use.
_ENCODERS = {
    "unav100": "I3D-VGGish",
    "unav100_onepeace": "ONE-PEACE",
    "unav100_dinov2_mert": "DINOv2-MERT",
    "thumos14": "I3D-VGGish",
    "activitynet13": "I3D-VGGish",
    "activitynet13_tsp": "TSP-VGGish",
    "epic100_verb": "SlowFast-VGGish",
}
_LAYOUT = ("visual_files", "audio_files", "visual_width", "audio_width")
# Settings of the optimiser: another schedule of the same method is still to be compared with it.
_OF_TRAINING = ("learning_rate", "weight_decay", "warmup_epochs")


def encoder_of(run: RunResult) -> str:
    """Return what the features of a run are called.

    Args:
        run: a test run.

    Returns:
        The name in the published tables where files and widths are those of a packaged data set,
        else `simulated`, or the widths.
    """
    data = run.settings.get("data", {})
    layout = [data.get(name) for name in _LAYOUT]
    if run.simulated:
        return "simulated"
    known = [name for name, packaged in _layouts().items() if packaged == layout]
    widths = f"{data.get('visual_width')}+{data.get('audio_width')}"
    return _ENCODERS[known[0]] if known else f"other ({widths})"


def is_comparable(run: RunResult) -> bool:
    """Say whether a score may stand beside published ones: real features, all of their videos."""
    return not run.simulated and not run.result.differences


def published_row(run: RunResult) -> tuple[ReportedTable, ReportedRow] | None:
    """Return the published row that a run repeats.

    Args:
        run: a test run.

    Returns:
        Table and row; results before ablations, the final version of a paper before its first.
        None for simulated features, another number of videos than the published, and settings of
        the model that no row has. Settings of the optimiser may differ.
    """
    if not is_comparable(run):
        return None
    encoder = encoder_of(run)
    tables = sorted(
        read_reported().values(),
        key=lambda table: (table.kind != "results", "_v1" in table.name),
    )
    for table in tables:
        if table.protocol != run.result.protocol["name"] or "avg_map" not in table.columns:
            continue
        for row in table.rows:
            names_run = row.recipe is not None and (row.method, row.encoder) == (
                run.method,
                encoder,
            )
            if names_run and _has_settings_of(run, row) and row.values["avg_map"] is not None:
                return table, row
    return None


def _has_settings_of(run: RunResult, row: ReportedRow) -> bool:
    """Say whether the model of a run has the settings that a row names, and no other changes."""
    named = {k: v for k, v in _model_settings(row.words).items() if k not in _OF_TRAINING}
    own = dict(flat_settings(run.settings.get("model", {})))
    changed = set(run.changed) - set(_OF_TRAINING)
    return changed <= named.keys() and all(own.get(name) == named[name] for name in named)


@cache
def _model_settings(words: tuple[str, ...]) -> Mapping[str, Any]:
    """Return the settings of the model that recipe and options name, under dotted names."""
    settings: dict[str, Any] = {}
    for word, following in zip(words, [*words[1:], ""], strict=True):
        option, _, value = word.partition("=")
        if word == "--config":
            content = yaml.safe_load(Path(find_recipe(following)).read_text(encoding="utf-8"))
            settings |= dict(flat_settings(content.get("model", {}).get("init_args", {})))
        elif option.startswith("--model."):
            settings[option.removeprefix("--model.")] = yaml.safe_load(value)
        elif option == "--data.modalities":
            settings["modalities"] = value
    return settings


@cache
def _layouts() -> Mapping[str, list[Any]]:
    """Return files and widths of the packaged data sets that have a name."""
    settings = {name: read_data_settings(name) for name in _ENCODERS}
    return {name: [content[key] for key in _LAYOUT] for name, content in settings.items()}
