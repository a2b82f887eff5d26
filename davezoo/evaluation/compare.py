"""Say how sure a difference between two files of detections is: the tool behind `davezoo compare`.

Imports no torch, so that the command answers at once.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from davezoo.annotations import read_blocked
from davezoo.errors import InputError
from davezoo.evaluation.bootstrap import (
    Interval,
    ResampledMap,
    check_confidence,
    percentile_interval,
    resample_differences,
)
from davezoo.evaluation.evaluate import read_both
from davezoo.evaluation.ground_truth import select_ground_truth
from davezoo.evaluation.predictions import read_predictions
from davezoo.evaluation.protocols import Protocol, get_protocol
from davezoo.evaluation.results import EvaluationResult, printable
from davezoo.evaluation.scoring import score, select_detections
from davezoo.json_files import write_json

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from davezoo.annotations import Annotations
    from davezoo.annotations.classes import Labels
    from davezoo.evaluation.predictions import PredictionTable


class ComparisonError(InputError):
    """Two files of detections cannot be compared; the message names the file and the remedy."""


@dataclass(frozen=True)
class Difference:
    """A difference between two scores, as fractions.

    Args:
        first: score of the first file, that of `davezoo evaluate`.
        second: score of the second file.
        value: first minus second.
        interval: what the resamples say of it.
    """

    first: float
    second: float
    value: float
    interval: Interval


@dataclass(frozen=True)
class Comparison:
    """The paired bootstrap of two files of detections.

    Args:
        names: what the two files are called.
        protocol: name, version, `tiou_thresholds` and rules; see `Protocol.to_dict`.
        protocol_name: name and version for readers.
        split: subsets of the scored videos, as spelt in the annotations.
        num_videos: videos that are drawn from, and drawn in each resample.
        num_events: annotated events that were scored.
        num_resamples: resamples that were drawn.
        num_empty_resamples: those without any event, which say nothing and are left out.
        seed: seed of the draw.
        confidence: share of such intervals that are to hold the true difference.
        interval_method: how the intervals were made.
        avg_map: difference in the mean over the thresholds.
        map: difference at each threshold.
        remarks: what was left out of either file, and how their videos differ.
    """

    names: tuple[str, str]
    protocol: dict[str, Any]
    protocol_name: str
    split: str
    num_videos: int
    num_events: int
    num_resamples: int
    num_empty_resamples: int
    seed: int
    confidence: float
    avg_map: Difference
    map: list[Difference]
    remarks: list[str]
    interval_method: str = "percentile"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        return asdict(self)

    def format_table(self) -> str:
        """Return the scores in percent and their differences as plain text."""
        names = ["Avg", *(f"mAP@{tiou:g}" for tiou in self.protocol["tiou_thresholds"])]
        confidence = f"{100 * self.confidence:g}% interval"
        lines = [
            *(
                f"{letter}  {printable(name)}"
                for letter, name in zip("AB", self.names, strict=True)
            ),
            "",
            f"{'':<9}{'A':>7}{'B':>7}{'A - B':>8}  {confidence:>18}  {'other sign':>10}  {'p':>6}",
        ]
        for name, d in zip(names, [self.avg_map, *self.map], strict=True):
            ends = f"{100 * d.interval.low:+.2f} to {100 * d.interval.high:+.2f}"
            lines.append(
                f"{name:<9}{100 * d.first:>7.2f}{100 * d.second:>7.2f}{100 * d.value:>+8.2f}  "
                f"{ends:>18}  {100 * d.interval.other_sign:>9.1f}%  {d.interval.p_value:>6.2g}"
            )
        lines += [
            "",
            f"paired bootstrap over {self.num_videos} videos: {self.num_resamples} resamples, seed "
            f"{self.seed}, {self.interval_method} intervals",
            "other sign: share of resamples where A - B is 0 or has the other sign; p: two-sided",
            f"protocol {printable(self.protocol_name)}, "
            f"split {printable(self.split) or '(all videos)'}: {self.num_events} events",
            *self.remarks,
        ]
        return "\n".join(lines) + "\n"


def compare(
    first: Path,
    second: Path,
    annotations: Path,
    protocol: str = "unav100",
    split: str | None = None,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    output: Path | None = None,
    blocked: Path | None = None,
    classes: list[Path] | Path | None = None,
    video_info: list[Path] | Path | None = None,
    labels: Labels | None = None,
) -> None:
    """Score two files of detections and say how sure their difference is.

    Draws the videos of the split anew, with replacement, many times and scores both files on each
    draw: a paired bootstrap. Prints average mAP and mAP at each threshold of both, first minus
    second, its confidence interval, the share of draws with the other sign and a two-sided p-value.
    It says what other test videos could change, not what another training could.

    Args:
        first: detections in the ActivityNet layout, JSON, gzipped or not; A in the table.
        second: those to compare with, B in the table.
        annotations: annotation file of the data set, JSON or csv, gzipped or not.
        protocol: unav100, thumos14-211, thumos14-212 (most papers), thumos14-213,
            activitynet13-full, activitynet13-blocked, epic100-verb, epic100-noun or epic100-action.
        split: subset to score; by default the one of the protocol, or the only one of the file.
        resamples: how often the videos are drawn.
        seed: seed of the draw.
        confidence: share of such intervals that are to hold the true difference.
        output: JSON file for the comparison.
        blocked: JSON list of video ids to leave out, as the ActivityNet server handed out.
        classes: file with the names of the classes in order; two for epic100-action, [verbs,
            nouns].
        video_info: table of durations and frame rates, or several; adds the videos without events.
        labels: what is read of events and detections of EPIC-Kitchens; by default what the protocol
            scores.
    """
    rules = get_protocol(protocol)
    check_confidence(resamples, confidence)  # before the files are read, which takes longer
    chosen, table = read_both(
        first,
        annotations,
        rules,
        split,
        classes=classes,
        video_info=video_info,
        labels=labels,
    )
    comparison = compare_predictions(
        chosen,
        (table, read_predictions(second, labels or rules.labels)),
        rules,
        [] if blocked is None else read_blocked(blocked),
        names=(str(first), str(second)),
        num_resamples=resamples,
        seed=seed,
        confidence=confidence,
    )
    if output is not None:
        write_json(output, comparison.to_dict(), indent=1)
    sys.stdout.write(comparison.format_table())
    oddities = (f"the annotations hold {n} {what}\n" for what, n in chosen.repairs.items() if n)
    sys.stdout.writelines(oddities)


def compare_predictions(
    annotations: Annotations,
    predictions: tuple[PredictionTable, PredictionTable],
    protocol: str | Protocol = "unav100",
    blocked: Collection[str] = (),
    *,
    names: tuple[str, str] = ("A", "B"),
    num_resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Comparison:
    """Compare two tables of detections by a paired bootstrap over the videos of a split.

    Args:
        annotations: videos and events of the split; see `Annotations.split`.
        predictions: the two tables.
        protocol: name of a protocol, or one of one's own.
        blocked: ids of videos to leave out, for a protocol that asks for them.
        names: what the two tables are called.
        num_resamples: how often the videos are drawn.
        seed: seed of the draw, 0 or more.
        confidence: share of such intervals that are to hold the true difference.

    Raises:
        ComparisonError: if detections are of other videos, there is only one video, or the seed is
            negative.
        BootstrapError: if there are too few resamples with events for the confidence.
        ProtocolError: if there is no such protocol, or the list does not go with it.
        GroundTruthError: if the split has no events.
    """
    if seed < 0:
        raise ComparisonError(f"Expected `seed` to be 0 or more, got {seed}; choose another one.")
    check_confidence(num_resamples, confidence)
    rules = get_protocol(protocol)
    results = [score(annotations, table, rules, blocked) for table in predictions]
    for name, result in zip(names, results, strict=True):
        _check_videos(name, result)
    ground_truth = select_ground_truth(annotations, rules, blocked)
    num_videos = len(ground_truth.video_ids)

    def prepare(table: PredictionTable) -> ResampledMap:
        found, _ = select_detections(table, ground_truth, rules, blocked)
        return ResampledMap(ground_truth.events, found, rules.tiou_thresholds, num_videos)

    pair = prepare(predictions[0]), prepare(predictions[1])
    drawn = resample_differences(*pair, num_videos, num_resamples, seed)
    drawn = drawn[~np.isnan(drawn[:, 0])]

    def difference(first: float, second: float, resamples: NDArray[np.float64]) -> Difference:
        value = first - second
        return Difference(first, second, value, percentile_interval(resamples, value, confidence))

    first, second = results
    return Comparison(
        names=names,
        protocol=rules.to_dict(),
        protocol_name=first.protocol_name,
        split=first.split,
        num_videos=num_videos,
        num_events=first.num_events,
        num_resamples=num_resamples,
        num_empty_resamples=num_resamples - len(drawn),
        seed=seed,
        confidence=confidence,
        avg_map=difference(first.avg_map, second.avg_map, drawn.mean(axis=1)),
        map=[difference(*row) for row in zip(first.map, second.map, drawn.T, strict=True)],
        remarks=_remarks(first, second, num_resamples - len(drawn)),
    )


def _check_videos(name: str, result: EvaluationResult) -> None:
    """Refuse detections of another split, all of whose events would be missed, and one video."""
    if result.num_expected_videos < 2:
        raise ComparisonError(
            "Expected at least 2 videos to draw from, got 1; every resample of it is the video "
            "itself and would look sure: give more videos, or `davezoo evaluate` each file."
        )
    if not result.num_scored_videos:
        raise ComparisonError(
            f"Expected {name} to hold detections for split {result.split!r}, got none for its "
            f"{result.num_expected_videos} videos and {result.num_unknown_video_predictions} for "
            "others; give the detections of this split, or `split`."
        )


def _remarks(first: EvaluationResult, second: EvaluationResult, num_empty: int) -> list[str]:
    """Return what was left out of either file and how their videos differ, one phrase each."""
    remarks = [f"A and B: {remark}" for remark in first.remarks if remark in second.remarks]
    for letter, here, there in (("A", first, second), ("B", second, first)):
        remarks += [f"{letter}: {text}" for text in here.remarks if text not in there.remarks]
        missing = set(here.missing_videos)
        alone = [video for video in there.missing_videos if video not in missing]
        if alone:
            some = ", ".join(printable(video) for video in alone[:5])
            more = ", ..." if len(alone) > 5 else ""
            remarks.append(f"{len(alone)} videos are in {letter} alone: {some}{more}")
        if here.num_unknown_video_predictions:
            remarks.append(f"{letter}: detections in unknown videos count once in every resample")
    if num_empty:
        remarks.append(f"{num_empty} resamples without any event are left out")
    return remarks
