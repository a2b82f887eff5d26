"""The tables of an inspection: the same for terminal and page, and their form in the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from davezoo.evaluation.results import printable, shortened
from davezoo.inspection.statistics import QUANTILES, quantiles

if TYPE_CHECKING:
    from davezoo.inspection.collect import Inspection
    from davezoo.inspection.coverage import CropCoverage, LevelCoverage

_NAMED_CLASSES = 5  # most frequent and rarest ones that the terminal names
_LONGEST_NAME = 72  # characters of an id or label in the terminal


@dataclass(frozen=True)
class Table:
    """A table of texts: columns of words, then numbers.

    Args:
        title: heading.
        header: names of the columns, with units.
        rows: one text a column.
        num_words: how many of the first columns hold words; the others hold numbers.
        hint: what a reader must know of the numbers.
    """

    title: str
    header: Sequence[str]
    rows: list[list[str]]
    num_words: int = 1
    hint: str = ""

    def format(self) -> str:
        """Return the table for a terminal: numbers right-aligned, control characters replaced."""
        rows = [
            [shortened(printable(cell), _LONGEST_NAME) for cell in row]
            for row in [self.header, *self.rows]
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if column < self.num_words else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "".join(f"{line}\n" for line in [f"# {self.title}", *lines])


def split_table(inspection: Inspection) -> Table:
    """Return how large each split is."""
    rows = []
    for split in inspection.tables:
        counts = split.events_per_video
        rows.append(
            [
                split.name,
                ", ".join(split.stages),
                _count(split.num_videos),
                f"{split.hours:,.1f}",
                _count(split.num_events),
                f"{counts.mean():.2f}" if len(counts) else "-",
                _count(int(counts.max(initial=0))),
                _count(split.num_videos_without_events),
                _count(split.num_classes),
                _count(len(split.absent_classes)),
            ]
        )
    header = ["split", "for", "videos", "hours", "events", "events/video"]
    header += ["most in one", "videos without", "classes", "absent classes"]
    hints = []
    if unknown := inspection.whole.num_unknown_lengths:
        hints.append(f"{unknown:,} videos of unknown length are not among the hours.")
    if others := inspection.other_subsets:
        listed = ", ".join(f"{name or 'no subset'} ({n:,} videos)" for name, n in others.items())
        hints.append(f"In the annotations, but not in use: {listed}.")
    return Table("Splits", header, rows, num_words=2, hint=" ".join(hints))


def length_table(inspection: Inspection) -> Table:
    """Return how long videos and events are, in seconds and in grid steps."""
    rows = [
        [split.name, what, *map(_rounded, quantiles(seconds)), *map(_rounded, quantiles(steps))]
        for split in inspection.tables
        for what, seconds, steps in (
            ("videos", split.video_seconds, split.video_steps),
            ("events", split.event_seconds, split.event_steps),
        )
    ]
    names = {0.5: "median", 1.0: "longest"}
    parts = [names.get(part, f"{100 * part:g} %") for part in QUANTILES]
    header = [f"{part}, {unit}" for unit in ("s", "steps") for part in parts]
    hint = "5 % of videos or events are at most as long as the column 5 % says."
    return Table("Lengths", ["split", "of", *header], rows, num_words=2, hint=hint)


def overlap_table(inspection: Inspection) -> Table:
    """Return how many events share their time with others."""
    rows = []
    for split in inspection.tables:
        found = split.overlap
        rows.append(
            [
                split.name,
                _count(found.other_class),
                _share(found.other_class, split.num_events),
                _count(found.same_class),
                _share(found.same_class, split.num_events),
                _count(found.num_videos),
                _share(found.num_videos, split.num_videos),
                _count(found.most),
            ]
        )
    header = ["split", "events over another class", "%", "events over their own class", "%"]
    header += ["videos with overlap", "%", "most events over one"]
    return Table("Events at the same time", header, rows)


def oddity_table(inspection: Inspection) -> Table | None:
    """Return what is odd in the annotations; None if nothing is."""
    counts = {split.name: split.annotations.repairs for split in inspection.tables}
    names = list(dict.fromkeys(name for of_split in counts.values() for name in of_split))
    rows = [
        [name, *(_count(of_split.get(name, 0)) for of_split in counts.values())]
        for name in names
        if any(of_split.get(name) for of_split in counts.values())
    ]
    if not rows:
        return None
    hint = (
        "Nothing of this is removed when annotations are read or scored. Counts that concern whole "
        "files are the same in every column."
    )
    return Table("Oddities of the annotations", ["what", *counts], rows, hint=hint)


def feature_table(inspection: Inspection) -> Table | None:
    """Return which features are there; None if there are none."""
    if inspection.manifest is None:
        return None
    rows = []
    for split in inspection.manifest.splits:
        faults = [split.missing, split.damaged, split.without_audio]
        numbers = [split.videos, split.usable, *map(len, faults)]
        rows.append([split.split, *map(_count, numbers)])
    header = ["split", "videos", "usable", "missing", "damaged", "no audio"]
    return Table("Features", header, rows)


def feature_notes(inspection: Inspection) -> list[str]:
    """Return what is to be said of the features beside their table, a sentence each."""
    manifest = inspection.manifest
    notes = [inspection.pack] if inspection.pack else []
    if manifest is None:
        return notes
    for split in manifest.splits:
        if split.without_scores:
            number = len(split.without_scores)
            notes.append(f"{number:,} videos of {split.split} have no external video scores.")
        if split.blocked:
            number = len(split.blocked)
            notes.append(f"{number:,} videos of {split.split} are on the list of blocked videos.")
        notes += split.remarks
    if stray := manifest.stray_files:
        first = ", ".join(stray[:_NAMED_CLASSES])
        notes.append(
            f"{len(stray):,} feature files belong to no video of the annotations, such as {first}."
        )
    return notes


def level_table(title: str, coverage: LevelCoverage, seconds_per_step: float) -> Table:
    """Return how events fall on the levels of a pyramid.

    Args:
        title: heading.
        coverage: what falls where.
        seconds_per_step: to tell the ranges in seconds, too.
    """
    total = sum(level.points for level in coverage.levels)
    rows = [
        [
            str(number),
            str(level.stride),
            level.describe_range(),
            level.describe_range(seconds_per_step),
            _count(level.events),
            _share(level.events, coverage.num_events),
            _count(level.points),
            _share(level.points, total),
        ]
        for number, level in enumerate(coverage.levels)
    ]
    header = ["level", "stride", "range, steps", "range, s", "events", "%", "points", "%"]
    hint = (
        "An event counts on every level that has a point for it: one whose farther end of the "
        f"event lies in the range. {_level_sentence(coverage)}"
    )
    return Table(title, header, rows, hint=hint)


def crop_table(inspection: Inspection) -> Table:
    """Return what training crops leave of videos and events, as set and as proposed."""
    chosen = [("set now", inspection.crop), ("proposed", inspection.proposed_crop)]
    hop = inspection.seconds_per_step
    rows = [[name, *_crop_cells(crop, hop)] for name, crop in chosen if crop is not None]
    header = ["max_length", "steps", "about, s", "longer videos", "%", "longer events", "%"]
    header += ["events in no crop", "%", "outside a random crop, %"]
    hint = (
        "Of the training split. An event in no crop is so long that none holds the part of it that "
        "must be held (min_kept_fraction). The last column is the mean over all events."
    )
    return Table("Training crops", header, rows, hint=hint)


def class_table(inspection: Inspection) -> Table:
    """Return the events of each class in each split, most frequent in training first."""
    training = inspection.training
    labels = training.annotations.events["label"].to_numpy(np.int64)
    order = np.argsort(-training.class_counts, kind="stable")
    by_class = np.argsort(labels, kind="stable")
    seconds = np.split(training.event_seconds[by_class], np.cumsum(training.class_counts)[:-1])
    rows = [
        [
            training.annotations.class_names[label],
            *(_count(split.class_counts[label]) for split in inspection.splits),
            _rounded(float(np.median(seconds[label]))) if len(seconds[label]) else "-",
        ]
        for label in order
    ]
    header = ["class", *(split.name for split in inspection.splits), "median event, s"]
    return Table("Events of each class", header, rows)


def class_sentences(inspection: Inspection) -> list[str]:
    """Return the most frequent and the rarest classes, and those that never occur."""
    training = inspection.training
    names, counts = training.annotations.class_names, training.class_counts
    order = [int(label) for label in np.argsort(-counts, kind="stable") if counts[label]]
    sentences = []
    for what, labels in (
        ("Most frequent", order[:_NAMED_CLASSES]),
        ("Rarest", order[-_NAMED_CLASSES:]),
    ):
        listed = ", ".join(
            f"{shortened(names[label], _LONGEST_NAME)} ({counts[label]:,})" for label in labels
        )
        sentences.append(f"{what} in {training.name}: {listed or 'none'}.")
    for split in inspection.tables:
        if absent := split.absent_classes:
            first = ", ".join(shortened(name, _LONGEST_NAME) for name in absent[:_NAMED_CLASSES])
            more = f" and {len(absent) - _NAMED_CLASSES} more" * (len(absent) > _NAMED_CLASSES)
            sentences.append(f"Never in {split.name}: {first}{more}.")
    return sentences


def _level_sentence(coverage: LevelCoverage) -> str:
    """Return what no level answers for."""
    counts = {
        "are shorter than one step": coverage.shorter_than_step,
        "lie outside all ranges": coverage.outside_ranges,
        "have no point on any level, so that nothing is learnt from them": coverage.without_points,
    }
    parts = [
        f"{count:,} ({_share(count, coverage.num_events)} %) {what}"
        for what, count in counts.items()
    ]
    return f"Of {coverage.num_events:,} events {'; '.join(parts)}."


def _crop_cells(crop: CropCoverage, seconds_per_step: float) -> Iterable[str]:
    return [
        _count(crop.max_length),
        _rounded(crop.max_length * seconds_per_step),
        _count(crop.longer_videos),
        _share(crop.longer_videos, crop.num_videos),
        _count(crop.longer_events),
        _share(crop.longer_events, crop.num_events),
        _count(crop.lost_events),
        _share(crop.lost_events, crop.num_events),
        f"{100 * crop.mean_lost_share:.1f}",
    ]


def _count(number: int) -> str:
    return f"{number:,}"


def _share(part: int, whole: int) -> str:
    """Return a share in per cent; a dash where there is nothing to share."""
    return f"{100 * part / whole:.1f}" if whole else "-"


def _rounded(value: float) -> str:
    """Return a length: three figures below 100, whole ones above; a dash if unknown."""
    if math.isnan(value):
        return "-"
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"
