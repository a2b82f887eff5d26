"""Say why detections are wrong: the tool behind `davezoo diagnose`.

Imports no torch, so that the command answers at once.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from davezoo.annotations import read_blocked
from davezoo.diagnosis.boundaries import BoundaryErrors, measure_boundaries
from davezoo.diagnosis.characteristics import (
    DurationShare,
    Sensitivity,
    group_events,
    measure_sensitivity,
    share_by_duration,
)
from davezoo.diagnosis.confusions import Confusion, find_confusions
from davezoo.diagnosis.error_types import ErrorTypes, analyze_errors, classify_detections
from davezoo.diagnosis.matches import match
from davezoo.diagnosis.modalities import ModalityCounts, compare_modalities
from davezoo.diagnosis.overlaps import find_overlaps
from davezoo.diagnosis.page import write_page
from davezoo.errors import InputError
from davezoo.evaluation.evaluate import read_both, refuse_other_videos
from davezoo.evaluation.ground_truth import select_ground_truth
from davezoo.evaluation.predictions import read_predictions
from davezoo.evaluation.protocols import Protocol, get_protocol
from davezoo.evaluation.results import EvaluationResult
from davezoo.evaluation.scoring import score, select_detections

if TYPE_CHECKING:
    from collections.abc import Collection

    from davezoo.annotations import Annotations
    from davezoo.annotations.classes import Labels
    from davezoo.diagnosis.matches import Matches
    from davezoo.evaluation.predictions import PredictionTable


class DiagnosisError(InputError):
    """A diagnosis cannot be made from what was given; the message says what to change."""


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a set of detections.

    Args:
        result: the score, and what was left out of it.
        tiou: the threshold of everything that is not a mean over those of the protocol.
        durations: correctly localized events by duration (CCNet, Fig. 3).
        errors: outcomes by rank and what each type of mistake costs (DETAD).
        sensitivities: scores of groups of events, one entry a characteristic (DETAD).
        boundaries: signed errors at onset and offset.
        confusions: classes taken for others, most frequent first.
        modalities: events by the modalities that find them; empty without such runs.
        alone: the scores of those runs, `audio` and `visual`.
    """

    result: EvaluationResult
    tiou: float
    durations: list[DurationShare]
    errors: ErrorTypes
    sensitivities: list[Sensitivity]
    boundaries: BoundaryErrors
    confusions: list[Confusion]
    modalities: list[ModalityCounts]
    alone: dict[str, EvaluationResult]

    @property
    def remarks(self) -> list[str]:
        """What was left out of the scores of all runs, one phrase each."""
        of_others = [
            f"{name} run: {remark}"
            for name, result in self.alone.items()
            for remark in result.remarks
            if remark not in self.result.differences  # those are about the annotations
        ]
        return self.result.remarks + of_others

    def format_table(self) -> str:
        """Return the main findings as text, shares and scores in percent."""
        errors = self.errors
        lines = [f"average mAP {100 * errors.avg_map:.2f}; gained by taking away false positives"]
        lines += [f"  {name:<18}{100 * gain:+6.2f}" for name, gain in errors.ranked_gains]
        lines += [
            f"correctly localized events by duration in s, %: by any detection at tIoU above 0.5, "
            f"by a strong one at {self.tiou:g}",
        ]
        lines += [
            f"  {entry.group:<10}{100 * entry.localized_share:7.1f}{100 * entry.found_share:7.1f}"
            f"   of {entry.num_events} events"
            for entry in self.durations
        ]
        if self.modalities:
            whole = self.modalities[0]
            lines += [
                f"joining audio and vision gains {whole.num_gained} and loses "
                f"{whole.num_lost_by_joining} of {whole.num_events} events; average mAP alone: "
                + ", ".join(f"{name} {100 * r.avg_map:.2f}" for name, r in self.alone.items()),
            ]
        return "\n".join(lines + self.remarks) + "\n"


def diagnose(
    predictions: Path,
    annotations: Path,
    protocol: str = "unav100",
    split: str | None = None,
    output: Path = Path("diagnosis.html"),
    audio_predictions: Path | None = None,
    visual_predictions: Path | None = None,
    tiou: float = 0.5,
    blocked: Path | None = None,
    classes: list[Path] | Path | None = None,
    video_info: list[Path] | Path | None = None,
    labels: Labels | None = None,
) -> None:
    """Say why detections are wrong, in a short table and one HTML page.

    The page shows correctly localized events by duration, false positives by type and rank with
    what each type costs, scores by what the events are like, signed boundary errors and confused
    classes; with the detections of runs on audio alone and on video alone, also the events that are
    gained and lost by joining the two. docs/diagnosis.md explains every number.

    Args:
        predictions: detections in the ActivityNet layout, JSON, gzipped or not.
        annotations: annotation file of the data set, JSON or csv, gzipped or not.
        protocol: unav100, thumos14-211, thumos14-212 (most papers), thumos14-213,
            activitynet13-full, activitynet13-blocked, epic100-verb, epic100-noun or epic100-action.
        split: subset to score; by default the one of the protocol, or the only one of the file.
        output: the HTML file to write.
        audio_predictions: detections of the same model trained on audio alone.
        visual_predictions: detections of the same model trained on video alone.
        tiou: threshold of the protocol at which detections are right or wrong.
        blocked: JSON list of video ids to leave out, as the ActivityNet server handed out.
        classes: file with the names of the classes in order; two for epic100-action, [verbs,
            nouns].
        video_info: table of durations and frame rates, or several; adds the videos without events.
        labels: what is read of events and detections of EPIC-Kitchens; by default what the protocol
            scores.
    """
    rules = get_protocol(protocol)
    chosen, table = read_both(
        predictions,
        annotations,
        rules,
        split,
        classes=classes,
        video_info=video_info,
        labels=labels,
    )
    kind = labels or rules.labels
    audio, visual = (
        None if path is None else read_predictions(path, kind)
        for path in (audio_predictions, visual_predictions)
    )
    diagnosis = diagnose_detections(
        chosen,
        table,
        rules,
        [] if blocked is None else read_blocked(blocked),
        audio=audio,
        visual=visual,
        tiou=tiou,
    )
    refuse_other_videos(predictions, table, diagnosis.result)
    if audio_predictions and audio and visual_predictions and visual:
        refuse_other_videos(audio_predictions, audio, diagnosis.alone["audio"])
        refuse_other_videos(visual_predictions, visual, diagnosis.alone["visual"])
    notes = [f"{count} {oddity}." for oddity, count in chosen.repairs.items() if count]
    write_page(output, diagnosis, f"Diagnosis of {predictions.name}", notes)
    sys.stdout.write(f"{diagnosis.format_table()}wrote {output}\n")


def diagnose_detections(
    annotations: Annotations,
    predictions: PredictionTable,
    protocol: str | Protocol = "unav100",
    blocked: Collection[str] = (),
    *,
    audio: PredictionTable | None = None,
    visual: PredictionTable | None = None,
    tiou: float = 0.5,
) -> Diagnosis:
    """Find out why detections are wrong.

    Args:
        annotations: videos and events of the split.
        predictions: the detections.
        protocol: name of a protocol, or one of one's own.
        blocked: ids of videos to leave out, for a protocol that asks for them.
        audio: detections of the same model trained on audio alone.
        visual: detections of the same model trained on video alone; both or none of the two.
        tiou: threshold of the protocol at which detections are right or wrong.

    Raises:
        DiagnosisError: if the protocol has no such threshold, or one of `audio` and `visual` is
            missing.
        ProtocolError: if there is no such protocol, or the list does not go with it.
        GroundTruthError: if the split has no events.
    """
    rules = get_protocol(protocol)
    threshold = _find_threshold(rules, tiou)
    if (audio is None) != (visual is None):
        given, missing = ("audio", "visual") if visual is None else ("visual", "audio")
        raise DiagnosisError(
            f"Expected `{missing}_predictions` beside `{given}_predictions`, got none; give the "
            "detections of both runs, or of neither."
        )
    result = score(annotations, predictions, rules, blocked)
    ground_truth = select_ground_truth(annotations, rules, blocked)
    events = ground_truth.events

    def match_table(table: PredictionTable) -> Matches:
        detections, _ = select_detections(table, ground_truth, rules, blocked)
        return match(events, detections, rules.tiou_thresholds)

    matched = match_table(predictions)
    modalities, alone = [], {}
    if audio is not None and visual is not None:
        single = match_table(audio), match_table(visual)
        modalities = compare_modalities(matched, *single, threshold, ground_truth.class_names)
        alone = {
            "audio": score(annotations, audio, rules, blocked),
            "visual": score(annotations, visual, rules, blocked),
        }
    overlaps = find_overlaps(events, matched.detections)
    outcomes = classify_detections(matched, overlaps)
    names = ground_truth.class_names
    durations = annotations.videos["duration"].reindex(ground_truth.video_ids)
    groupings = group_events(events, durations.to_numpy(np.float64))
    return Diagnosis(
        result=result,
        tiou=matched.tiou_thresholds[threshold],
        durations=share_by_duration(matched, overlaps, threshold),
        errors=analyze_errors(matched, outcomes, threshold),
        sensitivities=[measure_sensitivity(matched, group, threshold) for group in groupings],
        boundaries=measure_boundaries(matched, threshold),
        confusions=find_confusions(matched, overlaps, outcomes, threshold, names),
        modalities=modalities,
        alone=alone,
    )


def _find_threshold(rules: Protocol, tiou: float) -> int:
    """Return the index of the threshold that is meant by a decimal such as 0.3."""
    near = np.flatnonzero(np.isclose(rules.tiou_thresholds, tiou, rtol=0, atol=1e-6))
    if not len(near):
        raise DiagnosisError(
            f"Expected `tiou` to be a threshold of protocol {rules.name!r}, got {tiou}; choose one "
            f"of {[round(threshold, 6) for threshold in rules.tiou_thresholds]}."
        )
    return int(near[0])
