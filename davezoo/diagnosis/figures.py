"""The figures of a diagnosis, and their captions for the report of a test run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from davezoo.diagnosis.charts import (
    Chart,
    Row,
    Section,
    Series,
    draw_histograms,
    draw_rows,
    draw_stacks,
)
from davezoo.diagnosis.error_types import OUTCOMES
from davezoo.evaluation.report import ReportFigure
from davezoo.evaluation.results import printable, shortened

if TYPE_CHECKING:
    from davezoo.diagnosis.boundaries import BoundaryErrors
    from davezoo.diagnosis.characteristics import DurationShare, Sensitivity
    from davezoo.diagnosis.confusions import Confusion
    from davezoo.diagnosis.diagnose import Diagnosis
    from davezoo.diagnosis.error_types import ErrorTypes

_MOST_CONFUSIONS = 10
_LONGEST_LABEL = 44  # letters, in a caption
_KINDS = ("strong", "double", "wrong-label", "localization", "confusion", "background")
_OUTCOMES = [Series(name, kind) for name, kind in zip(OUTCOMES, _KINDS, strict=True)]


def draw_durations(durations: list[DurationShare]) -> Chart:
    """Draw the share of correctly localized events by duration."""
    series = [Series("by any detection", "any"), Series("by a strong detection", "strong")]
    rows = [
        Row(entry.group, [100 * entry.localized_share, 100 * entry.found_share])
        for entry in durations
    ]
    title = "Correctly localized events by duration in seconds, %"
    return draw_rows(title, series, [Section("", rows)])


def draw_ranks(errors: ErrorTypes) -> Chart:
    """Draw what detections are, by rank."""
    ranks = [f"{rank + 1}G" for rank in range(len(errors.counts))]
    return draw_stacks("What detections are, by rank, %", _OUTCOMES, ranks, errors.counts)


def draw_costs(errors: ErrorTypes) -> Chart:
    """Draw what each type of false positive costs, the dearest first."""
    rows = [Row(name, [100 * gain]) for name, gain in errors.ranked_gains]
    title = "Average mAP gained without the false positives of a type, points"
    return draw_rows(title, [Series("gain", "strong")], [Section("", rows)], digits=2)


def draw_sensitivities(sensitivities: list[Sensitivity]) -> Chart:
    """Draw the scores of groups of events, with their numbers; dashed: of all events."""
    series = [Series("average mAP_N", "strong"), Series("found by a strong detection", "any")]
    sections = [
        Section(
            entry.name,
            [
                Row(
                    f"{score.group} ({score.num_events:,})",
                    [100 * score.avg_map_n, 100 * score.found_share],
                )
                for score in entry.scores
            ],
            100 * entry.avg_map_n,
        )
        for entry in sensitivities
    ]
    return draw_rows("Scores by characteristic of the events, %", series, sections)


def draw_boundaries(errors: BoundaryErrors) -> Chart:
    """Draw the signed errors of both boundaries; at least one event must be found."""
    return draw_histograms(
        "True positives by signed boundary error",
        [Series("onset", "strong"), Series("offset", "wrong-label")],
        errors.edges,
        [errors.histograms["onset"], errors.histograms["offset"]],
        "s",
    )


def draw_confusions(confusions: list[Confusion]) -> Chart:
    """Draw the most frequent confusions; there must be one."""
    rows = [
        Row(
            f"{shortened(entry.event_label, 20)} as {shortened(entry.detected_label, 20)}",
            [entry.num_detections],
        )
        for entry in confusions[:_MOST_CONFUSIONS]
    ]
    title = "Most frequent class confusions"
    return draw_rows(title, [Series("detections", "wrong-label")], [Section("", rows)], digits=0)


def draw_figures(diagnosis: Diagnosis) -> list[ReportFigure]:
    """Return the figures of a diagnosis for a report, each with what it shows in words.

    Args:
        diagnosis: what was found.

    Returns:
        Durations, types by rank and their costs; where there are such, boundary errors and
        confusions; characteristics.
    """
    tiou = f"{diagnosis.tiou:g}"
    figures = [
        _figure(
            "Correctly localized events by duration",
            draw_durations(diagnosis.durations),
            _say_durations(diagnosis.durations, tiou),
        ),
        _figure(
            "What detections are, by rank",
            draw_ranks(diagnosis.errors),
            _say_ranks(diagnosis.errors, tiou),
        ),
        _figure(
            "What each type of false positive costs",
            draw_costs(diagnosis.errors),
            _say_costs(diagnosis.errors),
        ),
    ]
    if diagnosis.boundaries.summary:
        boundaries = draw_boundaries(diagnosis.boundaries)
        words = _say_boundaries(diagnosis.boundaries, tiou)
        figures.append(_figure("Where the boundaries lie", boundaries, words))
    if diagnosis.confusions:
        confusions = draw_confusions(diagnosis.confusions)
        words = _say_confusions(diagnosis.confusions, tiou)
        figures.append(_figure("Which classes are taken for which", confusions, words))
    hard = draw_sensitivities(diagnosis.sensitivities)  # the tallest one: last
    words = _say_sensitivities(diagnosis.sensitivities)
    return [*figures, _figure("Which events are hard", hard, words)]


def _figure(title: str, chart: Chart, caption: str) -> ReportFigure:
    return ReportFigure(title, caption, chart.to_svg().encode())


def _say_durations(durations: list[DurationShare], tiou: str) -> str:
    shares = "; ".join(
        f"{entry.group}: {100 * entry.localized_share:.1f} and {100 * entry.found_share:.1f} % of "
        f"{entry.num_events:,}"
        for entry in durations
    )
    return (
        "Share of the events of each duration, in seconds, that any detection of their class meets "
        "with tIoU above 0.5 (CCNet, AAAI 2025, Fig. 3), and that a strong detection finds at tIoU "
        f"{tiou}: {shares}. Strong are the G best-scored detections of a class with G events."
    )


def _say_ranks(errors: ErrorTypes, tiou: str) -> str:
    first = errors.counts[0]
    shares = ", ".join(
        f"{name} {100 * count / max(first.sum(), 1):.1f} %"
        for name, count in zip(OUTCOMES, first.tolist(), strict=True)
    )
    beyond = f" {errors.num_beyond:,} detections beyond 10G are not drawn." * bool(
        errors.num_beyond
    )
    return (
        f"Detections at tIoU {tiou} by type (after DETAD, ECCV 2018): the G best-scored ones of "
        f"each class with G events, the next G, and so on. The first G are: {shares}.{beyond}"
    )


def _say_costs(errors: ErrorTypes) -> str:
    gains = ", ".join(f"{name} {100 * gain:+.2f}" for name, gain in errors.ranked_gains)
    return (
        "Average mAP gained, in points, when all false positives of a type are taken away at every "
        f"threshold of the protocol: {gains}. Gains do not add up."
    )


def _say_sensitivities(sensitivities: list[Sensitivity]) -> str:
    extremes = []
    for entry in sensitivities:
        low = min(entry.scores, key=lambda score: score.avg_map_n)
        high = max(entry.scores, key=lambda score: score.avg_map_n)
        extremes.append(
            f"{entry.name}: {100 * low.avg_map_n:.1f} at {low.group}, "
            f"{100 * high.avg_map_n:.1f} at {high.group}"
        )
    return (
        "Average mAP_N (DETAD, ECCV 2018) of groups of events, dashed: of all events, and the "
        "share of each group that a strong detection finds; in brackets the number of events. "
        f"The lowest and the highest mAP_N by {'; by '.join(extremes)}."
    )


def _say_boundaries(errors: BoundaryErrors, tiou: str) -> str:
    whole = [entry for entry in errors.summary if entry.group == "all"]
    medians = ", ".join(
        f"at the {entry.boundary} {entry.median:+.2f} s (eight in ten from {entry.low:+.2f} to "
        f"{entry.high:+.2f} s)"
        for entry in whole
    )
    return (
        f"Detected minus annotated time of the {whole[0].num_detections:,} true positives at tIoU "
        f"{tiou}; positive is too late, and the outer bars hold all that lies beyond. Medians: "
        f"{medians}."
    )


def _say_confusions(confusions: list[Confusion], tiou: str) -> str:
    first = confusions[0]
    event_label, detected_label = (
        printable(shortened(label, _LONGEST_LABEL))
        for label in (first.event_label, first.detected_label)
    )
    shown = min(len(confusions), _MOST_CONFUSIONS)
    return (
        f"Strong detections that meet an event of another class with tIoU {tiou}, events of the "
        f"first class detected as the second: the {shown} most frequent of {len(confusions):,} "
        f"pairs. Most often ({first.num_detections:,}) \u201c{event_label}\u201d is detected "
        f"as \u201c{detected_label}\u201d."
    )
