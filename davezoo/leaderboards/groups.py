"""Runs that differ in nothing but the seed, and their mean."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from davezoo.evaluation.results import EvaluationResult
from davezoo.evaluation.run_results import RunResult, flat_settings
from davezoo.leaderboards.collection import FoundRun, SkippedRun

# Settings that say where and how a run ran, not what it computed.
_BOOKKEEPING = {
    "data.root",
    "data.seed",
    "data.num_workers",
    "data.predict_split",
    "data.simulation",  # what was simulated is told by the digest of its annotations
    "trainer.accelerator",
    "trainer.barebones",
    "trainer.default_root_dir",
    "trainer.enable_autolog_hparams",
    "trainer.enable_checkpointing",
    "trainer.enable_model_summary",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "trainer.logger",
    "trainer.model_registry",
    "trainer.num_sanity_val_steps",
    "trainer.profiler",
}
# Callbacks that only watch.
_WATCHING = {
    "davezoo.dashboards.Dashboard",
    "davezoo.dashboards.LearningMonitor",
    "lightning.pytorch.callbacks.LearningRateMonitor",
}


@dataclass(frozen=True)
class Board:
    """What results must share to stand in one table.

    Args:
        protocol: name, version and list of blocked videos.
        split: subsets of the scored videos.
        annotations_sha256: of the annotations.
        simulated: the features are simulated.
    """

    protocol: str
    split: str
    annotations_sha256: str
    simulated: bool


@dataclass(frozen=True)
class Group:
    """Runs of the same method and settings with different seeds.

    Args:
        board: the table that they belong to.
        runs: at least one.
        settings: what they share, under dotted names: `model.width`, `trainer.max_epochs`.
    """

    board: Board
    runs: tuple[FoundRun, ...]
    settings: Mapping[str, Any]

    @property
    def first(self) -> RunResult:
        """The run that speaks for what all of them share."""
        return self.runs[0].run

    @property
    def avg_maps(self) -> list[float]:
        """Average mAP of each run, in percent."""
        return [100 * entry.run.result.avg_map for entry in self.runs]

    @property
    def mean(self) -> float:
        """Mean of the average mAP over the runs, in percent."""
        return float(np.mean(self.avg_maps))

    @property
    def deviation(self) -> float:
        """Sample standard deviation of the average mAP, in percentage points; NaN for one run."""
        return deviation(self.avg_maps)

    def map_at(self, tiou: float) -> float:
        """Return the mean of the mAP at a threshold over the runs, in percent.

        Args:
            tiou: a threshold of the protocol, as a decimal.
        """
        return float(np.mean([map_at(entry.run.result, tiou) for entry in self.runs]))


def map_at(result: EvaluationResult, tiou: float) -> float:
    """Return the mAP at a threshold, in percent; NaN where the protocol has no such threshold.

    Args:
        result: a score.
        tiou: the threshold as a decimal; those of protocols differ from it in the last digit.
    """
    near = np.isclose(result.tiou_thresholds, tiou, rtol=0, atol=1e-6)
    return 100 * result.map[int(near.argmax())] if near.any() else float("nan")


def deviation(values: list[float]) -> float:
    """Return the sample standard deviation; NaN for one value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def board_of(run: RunResult) -> Board:
    """Return the table that a run belongs to."""
    result = run.result
    return Board(result.protocol_name, result.split, run.annotations_sha256, run.simulated)


def settings_of(run: RunResult) -> dict[str, Any]:
    """Return all that distinguishes a run from others of its method but the seed.

    Args:
        run: a test run.

    Returns:
        Settings of model and data as tested and of the trainer as trained, under dotted names.
    """
    trainer = run.training.get("trainer", {}) if run.training else {}
    trainer = dict(trainer) if isinstance(trainer, dict) else {}
    if isinstance(trainer.get("callbacks"), list):
        trainer["callbacks"] = [cb for cb in trainer["callbacks"] if not _only_watches(cb)]
    nested = {**run.settings, "trainer": trainer}
    return {
        name: value
        for name, value in flat_settings(nested)
        if not any(name == known or name.startswith(f"{known}.") for known in _BOOKKEEPING)
    }


def _only_watches(callback: Any) -> bool:
    return isinstance(callback, dict) and callback.get("class_path") in _WATCHING


def group_runs(found: Iterable[FoundRun]) -> tuple[list[Group], list[SkippedRun]]:
    """Put the runs together that differ in nothing but the seed.

    Args:
        found: runs of any methods, data sets and protocols.

    Returns:
        The groups, in the order of their first runs; and the runs that were left out, as a group
        has another run of the same seed that was written later.
    """
    runs = list(found)
    settings = [settings_of(entry.run) for entry in runs]
    groups: dict[object, dict[object, int]] = {}  # index of the run of each seed
    skipped: dict[int, tuple[object, object]] = {}  # group and seed of each run left out
    for index in sorted(range(len(runs)), key=lambda index: runs[index].run.written):
        run = runs[index].run
        key = board_of(run), run.method, json.dumps(settings[index], sort_keys=True)
        # A converted checkpoint has no seed: nothing but its file tells it from another.
        seed = runs[index].place if run.seed is None else (run.seed, run.data_seed)
        earlier = groups.setdefault(key, {}).pop(seed, None)
        if earlier is not None:
            skipped[earlier] = key, seed
        groups[key][seed] = index
    members = sorted(sorted(seeds.values()) for seeds in groups.values())
    made = [
        Group(
            board=board_of(runs[indices[0]].run),
            runs=tuple(runs[index] for index in indices),
            settings=settings[indices[0]],
        )
        for indices in members
    ]
    return made, [
        _double(runs[index], runs[groups[key][seed]])
        for index, (key, seed) in sorted(skipped.items(), key=lambda item: item[0])
    ]


def _double(entry: FoundRun, kept: FoundRun) -> SkippedRun:
    """Say why a run is left out."""
    if entry.run == kept.run:
        return SkippedRun(entry.place, f"a copy of {kept.place}; remove one.")
    same = f"the same settings and seed {entry.run.seed} as {kept.place}"
    return SkippedRun(entry.place, f"{same}, which was written later and counts; remove one.")
