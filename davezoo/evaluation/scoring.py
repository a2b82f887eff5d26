"""Scoring of a table of detections, and the result that every scorer of this room hands out.

Imports no torch, so that `davezoo evaluate` answers at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from davezoo.annotations.naming import find_other_id
from davezoo.evaluation.average_precision import AveragePrecision, EventArrays, average_precision
from davezoo.evaluation.ground_truth import GroundTruth, select_ground_truth
from davezoo.evaluation.protocols import Protocol, digest_of_ids, get_protocol
from davezoo.evaluation.results import ClassResult, EvaluationResult

if TYPE_CHECKING:
    from collections.abc import Collection

    from davezoo.annotations import Annotations
    from davezoo.evaluation.predictions import PredictionTable


@dataclass(frozen=True)
class SelectionCounts:
    """What became of the detections; the fields are explained in `EvaluationResult`.

    Args:
        scored_videos: videos of the split that the detections cover.
        num_predictions: detections handed in.
        num_blocked_predictions: detections in blocked videos.
        num_excluded_predictions: detections in videos that the protocol leaves out.
        unknown_labels: detections of each class without annotated events.
        num_unknown_video_predictions: detections in videos outside the split.
        unknown_videos: ids of these videos.
    """

    scored_videos: set[str]
    num_predictions: int
    num_blocked_predictions: int = 0
    num_excluded_predictions: int = 0
    unknown_labels: dict[str, int] = field(default_factory=dict)
    num_unknown_video_predictions: int = 0
    unknown_videos: list[str] = field(default_factory=list)


def score(
    annotations: Annotations,
    predictions: PredictionTable,
    protocol: str | Protocol = "unav100",
    blocked: Collection[str] = (),
) -> EvaluationResult:
    """Score detections against the annotations of one split.

    Detections of equal score are taken last listed first, where videos are listed in the order of
    the annotations, whatever their order in `predictions`.

    Args:
        annotations: videos and events of the split; see `Annotations.split`.
        predictions: the detections.
        protocol: name of a protocol, or one of one's own.
        blocked: ids of videos to leave out with their events and detections, for a protocol that
            asks for them.

    Raises:
        ProtocolError: if there is no such protocol, or the list does not go with it.
        GroundTruthError: if the split has no events.

    Example:
        >>> from pathlib import Path
        >>> annotations = read_annotations(Path("unav100.json")).split("test")  # doctest: +SKIP
        >>> score(annotations, read_predictions(Path("p.json"))).avg_map  # doctest: +SKIP
        0.478
    """
    rules = get_protocol(protocol)
    ground_truth = select_ground_truth(annotations, rules, blocked)
    detections, counts = select_detections(predictions, ground_truth, rules, blocked)
    values = average_precision(ground_truth.events, detections, rules.tiou_thresholds)
    return assemble_result(rules, ground_truth, counts, values, blocked)


def select_detections(
    predictions: PredictionTable,
    ground_truth: GroundTruth,
    rules: Protocol,
    blocked: Collection[str] = (),
) -> tuple[EventArrays, SelectionCounts]:
    """Translate videos and classes of the detections to those of the annotations.

    Args:
        predictions: the detections.
        ground_truth: the scored events.
        rules: the protocol, which may leave out videos.
        blocked: ids of videos to leave out.

    Returns:
        The detections that count, videos outside the split with indices from
        `len(ground_truth.video_ids)` on, and what became of all.
    """
    excluded = frozenset(rules.excluded_videos)
    left_out = excluded | frozenset(blocked)
    # Blocked ids outside the split are dropped like those inside, as the ActivityNet kit does.
    is_blocked, is_excluded = (
        np.array([video in ids for video in predictions.video_ids], dtype=bool)[predictions.videos]
        for ids in (frozenset(blocked) - excluded, excluded)
    )
    index_of = {video: index for index, video in enumerate(ground_truth.video_ids)}
    for video in predictions.video_ids:
        index_of.setdefault(video, len(index_of))
    video_index = np.array([index_of[video] for video in predictions.video_ids], dtype=np.int64)

    present = set(ground_truth.events.labels.tolist())
    label_of = {
        key: index
        for index, name in enumerate(ground_truth.class_names)
        if index in present
        for key in (name, index)
    }
    label_index = np.array(
        [label_of.get(name, -1) for name in predictions.class_names], dtype=np.int64
    )
    videos = video_index[predictions.videos]
    labels = label_index[predictions.labels]
    dropped = is_blocked | is_excluded
    unknown = ~dropped & (labels < 0)
    outside = ~dropped & ~unknown & (videos >= len(ground_truth.video_ids))

    rows = np.flatnonzero(~dropped & ~unknown)
    rows = rows[np.argsort(videos[rows], kind="stable")]
    detections = EventArrays(
        videos[rows], labels[rows], predictions.segments[rows], predictions.scores[rows]
    )
    counts = np.bincount(predictions.labels[unknown], minlength=len(label_index)).tolist()
    names = [str(name) for name in predictions.class_names]
    return detections, SelectionCounts(
        scored_videos=set(predictions.video_ids).intersection(ground_truth.video_ids),
        num_predictions=len(predictions),
        num_blocked_predictions=int(is_blocked.sum()),
        num_excluded_predictions=int(is_excluded.sum()),
        unknown_labels={name: n for name, n in zip(names, counts, strict=True) if n},
        num_unknown_video_predictions=int(outside.sum()),
        unknown_videos=[
            video
            for video in predictions.video_ids
            if index_of[video] >= len(ground_truth.video_ids) and video not in left_out
        ],
    )


def assemble_result(
    rules: Protocol,
    ground_truth: GroundTruth,
    counts: SelectionCounts,
    values: AveragePrecision,
    blocked: Collection[str] = (),
) -> EvaluationResult:
    """Take means over classes and thresholds and put names to the numbers.

    Args:
        rules: the protocol that was followed.
        ground_truth: the scored events.
        counts: what became of the detections.
        values: average precisions as NumPy arrays.
        blocked: the list of blocked videos as it was given, also those outside the split.
    """
    means = values.values.mean(axis=0)
    classes = [
        ClassResult(ground_truth.class_names[label], num_events, row)
        for label, num_events, row in zip(
            values.classes.tolist(), values.num_events.tolist(), values.values.tolist(), strict=True
        )
    ]
    scored = counts.scored_videos
    missing = [video for video in ground_truth.video_ids if video not in scored]
    video, other = "", ""
    if counts.unknown_videos and 2 * len(missing) > len(ground_truth.video_ids):
        video, other = find_other_id(missing, counts.unknown_videos)
    annotated = {*ground_truth.video_ids, *ground_truth.blocked_ids}
    # An unnamed split was given as the one to score.
    is_default_split = ground_truth.split.lower() in ("", rules.default_split)
    return EvaluationResult(
        protocol=rules.to_dict(),
        split=ground_truth.split,
        avg_map=float(means.mean()),
        map=means.tolist(),
        classes=classes,
        num_events=len(ground_truth.events),
        num_expected_videos=len(ground_truth.video_ids),
        num_scored_videos=len(scored),
        missing_videos=missing,
        num_blocked_videos=len(ground_truth.blocked_ids),
        num_near_duplicate_events=ground_truth.num_near_duplicates,
        num_short_events=ground_truth.num_short_events,
        num_predictions=counts.num_predictions,
        num_blocked_predictions=counts.num_blocked_predictions,
        unknown_labels=counts.unknown_labels,
        num_unknown_video_predictions=counts.num_unknown_video_predictions,
        num_excluded_videos=len(ground_truth.excluded_ids),
        num_excluded_predictions=counts.num_excluded_predictions,
        num_protocol_videos=rules.num_videos if is_default_split else None,
        absent_videos=[video for video in rules.expected_videos if video not in annotated]
        if is_default_split
        else [],
        blocked_list={
            "name": rules.blocked_list,
            "num_videos": len(set(blocked)),
            "sha256": digest_of_ids(blocked),
        }
        if blocked
        else None,
        other_id=[video, other] if other else None,
    )
