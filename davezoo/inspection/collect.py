"""Everything that is to be shown of a data set, collected from its annotations and features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pandas as pd

from davezoo.data.checks import CheckedSplit, check_packed_grid, look_at_split
from davezoo.data.features import FeatureError, FeatureLayout, FeatureStore, open_store
from davezoo.data.manifest import Manifest, SplitManifest
from davezoo.data.packing import is_packed, verify
from davezoo.data.synthetic import is_simulated
from davezoo.data.video_files import stray_files
from davezoo.errors import InputError
from davezoo.inspection.coverage import CropCoverage, LevelCoverage, cover_crops, cover_levels
from davezoo.inspection.proposal import Proposal, propose
from davezoo.inspection.statistics import SplitStatistics

if TYPE_CHECKING:
    from davezoo.annotations import Annotations
    from davezoo.data.datamodule import EventDataModule
    from davezoo.inspection.coverage import Ranges

_Result = TypeVar("_Result")

ALL = "all splits"


@dataclass(frozen=True)
class Inspection:
    """What a data set looks like.

    Args:
        name: what to call the data set.
        facts: settings that the numbers depend on, name and value.
        findings: what does not fit together or is damaged, a sentence or more each.
        splits: the splits in use, the training split first.
        whole: all of them together.
        other_subsets: videos of the subsets of the annotations that are not in use.
        levels: how the training events fall on the levels in use.
        crop: what training crops leave of them.
        proposal: settings that fit the training split; None where no length is known.
        proposed_levels: how the training events would fall on the proposed levels.
        proposed_crop: what the proposed crops would leave of them.
        manifest: which features are there and which are missing; None where there are none.
        pack: what the checksums of packed features say; empty for loose ones.
    """

    name: str
    facts: list[tuple[str, str]]
    findings: list[str]
    splits: list[SplitStatistics]
    whole: SplitStatistics
    other_subsets: dict[str, int]
    levels: LevelCoverage
    crop: CropCoverage
    proposal: Proposal | None
    proposed_levels: LevelCoverage | None
    proposed_crop: CropCoverage | None
    manifest: Manifest | None
    pack: str

    @property
    def training(self) -> SplitStatistics:
        """The split that is trained on."""
        return self.splits[0]

    @property
    def seconds_per_step(self) -> float:
        """Median over the training videos; NaN where none is known."""
        return float(self.training.timing["hop"].median())

    @property
    def tables(self) -> list[SplitStatistics]:
        """The splits, and all of them together where there are several."""
        return [*self.splits, self.whole] if len(self.splits) > 1 else self.splits


def collect(data: EventDataModule, ranges: Ranges, check_pack: bool) -> Inspection:
    """Look at a data set.

    Args:
        data: the data set.
        ranges: regression ranges in use, in grid steps.
        check_pack: compare packed features with their checksums.

    Raises:
        AnnotationError: if the annotations are damaged or lack a split.
    """
    annotations = data.subsets.annotations
    findings = ["The features are simulated."] if is_simulated(data.root) else []
    stages: dict[str, list[str]] = {}
    for stage, subset in data.splits.items():
        stages.setdefault(subset.lower(), []).append(stage)
    chosen = {
        data.splits[used[0]]: annotations.split(data.splits[used[0]]) for used in stages.values()
    }
    store = _find_features(data, findings)
    looked_at = {} if store is None else _look_at(chosen, data.layout, store, findings)
    splits = [
        SplitStatistics(
            name, used, split, time_videos(split.videos, data.layout, looked_at.get(name))
        )
        for (name, split), used in zip(chosen.items(), stages.values(), strict=True)
    ]
    _report_unknown_rates(splits, data.layout, findings)
    training = splits[0]
    kept = data.min_kept_fraction
    proposal = propose(training.video_steps, training.event_steps, data.resize_to)
    proposed_levels = proposed_crop = None
    if proposal is not None:
        proposed_levels = cover_levels(training, proposal.regression_ranges)
        proposed_crop = cover_crops(training, proposal.max_length, kept)
    in_use = annotations.videos["subset"].str.lower().isin([name.lower() for name in chosen])
    timing = pd.concat([split.timing for split in splits])
    whole = SplitStatistics(ALL, [], annotations.select(annotations.videos[in_use]), timing)
    others = annotations.videos["subset"][~in_use].value_counts()
    return Inspection(
        name=data.root.resolve().name,
        facts=_facts(data, training),
        findings=findings,
        splits=splits,
        whole=whole,
        other_subsets={str(subset): int(number) for subset, number in others.items()},
        levels=cover_levels(training, ranges),
        crop=cover_crops(training, data.max_length, kept),
        proposal=proposal,
        proposed_levels=proposed_levels,
        proposed_crop=proposed_crop,
        manifest=_manifest(data, splits, looked_at, store, findings) if looked_at else None,
        pack=_verify(data, findings) if check_pack and is_packed(data.layout.folder) else "",
    )


def time_videos(
    videos: pd.DataFrame, layout: FeatureLayout, looked_at: CheckedSplit | None
) -> pd.DataFrame:
    """Return lengths and time steps of videos, as `SplitStatistics` takes them.

    The steps are those of the feature files; where these are absent or damaged, those that features
    of the stated grid would have in the annotated duration, at least one.

    Args:
        videos: the videos of a split.
        layout: what the feature files hold.
        looked_at: what the files of the split are like; None where there are none.
    """
    grid = layout.grid_of(layout.leading, layout.grid.fps)
    fps = np.full(len(videos), grid.fps)
    if layout.counts_own_frames:
        fps = videos["fps"].where(videos["fps"] > 0, grid.fps).to_numpy(np.float64)
    durations = videos["duration"] if looked_at is None else looked_at.durations
    seconds = durations.to_numpy(np.float64)
    steps = np.maximum(np.floor((seconds * fps - grid.window) / grid.stride) + 1, 1)
    if looked_at is not None:
        found = _steps_of_files(looked_at).reindex(videos.index).to_numpy(np.float64)
        steps = np.where(np.isnan(found), steps, found)
    stride = np.full(len(videos), grid.stride, dtype=np.float64)
    if layout.resize_to is not None:
        stride *= steps / layout.resize_to
        steps = np.where(np.isnan(steps), np.nan, layout.resize_to)
    return pd.DataFrame(
        {
            "seconds": seconds,
            "steps": steps,
            "hop": stride / fps,
            "first": (grid.window - grid.stride + stride) / 2 / fps,
        },
        index=videos.index,
    )


def _steps_of_files(looked_at: CheckedSplit) -> pd.Series[float]:
    """Return the steps that are read of each video, before they are resized; NaN where unknown."""
    layout, heads = looked_at.layout, looked_at.heads
    on_one_grid = layout.audio_grid is None
    columns = ["visual_steps", "audio_steps"] if on_one_grid else [f"{layout.leading}_steps"]
    steps: pd.Series[float] = heads[columns].replace(0, np.nan).min(axis=1)
    return steps.where(heads["fault"] == "")


def _find_features(data: EventDataModule, findings: list[str]) -> FeatureStore | None:
    """Open the features; say so if there are none or they cannot be opened."""
    folder = data.layout.folder
    store = _try(lambda: open_store(folder), findings)
    if store is None:
        return None
    endings = {
        pattern.rpartition(".")[2].partition(":")[0]
        for pattern in [*data.layout.visual_files, *data.layout.audio_files]
    }
    if any(name.rpartition(".")[2] in endings for name in store.names()):
        _try(lambda: check_packed_grid(store, data.layout), findings)
        return store
    findings.append(
        f"There are no feature files in {folder}: the steps below are those that features on "
        "the stated grid would have in the annotated durations."
    )
    return None


def _look_at(
    chosen: dict[str, Annotations],
    layout: FeatureLayout,
    store: FeatureStore,
    findings: list[str],
) -> dict[str, CheckedSplit]:
    """Look at the files of each split; keep what `davezoo fit` would stop at as a finding."""
    looked_at = {}
    for name, split in chosen.items():
        checked = _try(partial(look_at_split, name, split, layout, store), findings)
        if checked is not None:
            looked_at[name] = checked
            _try(partial(checked.check, store.names(), skip_unreadable=False), findings)
    return looked_at


def _try(function: Callable[[], _Result], findings: list[str]) -> _Result | None:
    """Call a function; note what it refuses instead of stopping."""
    try:
        return function()
    except (InputError, FileNotFoundError) as error:
        findings.append(str(error))
        return None


def _report_unknown_rates(
    splits: Sequence[SplitStatistics], layout: FeatureLayout, findings: list[str]
) -> None:
    """Say of how many videos the own frame rate is needed and unknown."""
    unknown = sum(int((~(split.annotations.videos["fps"] > 0)).sum()) for split in splits)
    if layout.counts_own_frames and unknown:
        findings.append(
            f"The frame rate of {unknown:,} videos is unknown: their steps are computed with the "
            f"grid's {layout.grid.fps:g} frames a second; name a file that tells it in "
            "`video_info`."
        )


def _manifest(
    data: EventDataModule,
    splits: Sequence[SplitStatistics],
    looked_at: dict[str, CheckedSplit],
    store: FeatureStore | None,
    findings: list[str],
) -> Manifest:
    """Return what is there of the features; oddities of the annotations are shown elsewhere."""
    blocked = set(_try(lambda: data.blocked_videos, findings) or [])
    scores = _try(lambda: data.video_scores, findings)
    described = []
    for split in (split for split in splits if split.name in looked_at):
        videos, files = split.annotations.videos.index, looked_at[split.name]
        evaluated = set(split.stages) - {"fit"}
        described.append(
            SplitManifest(
                split=split.name,
                stages=list(split.stages),
                videos=split.num_videos,
                events=split.num_events,
                hours=split.hours,
                missing=files.missing,
                damaged=files.damaged,
                without_audio=files.without_audio,
                without_scores=scores.missing(videos) if scores and evaluated else [],
                blocked=[video for video in videos if video in blocked],
                remarks=files.remarks,
            )
        )
    known = data.subsets.annotations.videos.index
    stray = [] if store is None else stray_files(data.layout, known, store.names())
    return Manifest(str(data.layout.folder), described, stray)


def _verify(data: EventDataModule, findings: list[str]) -> str:
    """Compare packed features with their checksums."""
    try:
        report = verify(data.layout.folder)
    except FeatureError:  # opening it has said so already
        return ""
    if report.faults:
        findings.append(f"Packed features are damaged: {report.summary()}")
    return report.summary()


def _facts(data: EventDataModule, training: SplitStatistics) -> list[tuple[str, str]]:
    """Return the settings that the numbers depend on."""
    grid, hop = data.grid, training.timing["hop"].dropna()
    sources = data.annotations
    names = list(sources.values()) if isinstance(sources, dict) else [str(sources)]
    facts = [
        ("annotations", ", ".join(names)),
        ("features", str(data.layout.folder)),
        ("read", "audio and visual" if data.modalities == "both" else data.modalities),
        ("grid", f"{grid.fps:g} fps, stride {grid.stride:g}, window {grid.window:g}"),
        ("protocol", data.protocol),
        ("classes", f"{len(training.annotations.class_names):,}"),
    ]
    if data.audio_grid is not None:
        facts.append(
            ("an audio vector each", f"{data.audio_grid.stride / data.audio_grid.fps:g} s")
        )
    if data.layout.counts_own_frames:
        facts.append(("frame rate", "each video's own"))
    if data.resize_to is not None:
        facts.append(("resized to", f"{data.resize_to} steps"))
    if data.class_agnostic:
        facts.append(("learnt", "as one class"))
    if len(hop):
        low, high = hop.min(), hop.max()
        span = f"{low:.3g} s" if high - low < 1e-6 * high else f"{low:.3g} to {high:.3g} s"
        facts.append(("a step each", span))
    return facts
