"""One HTML page that shows what a test run found: scores, classes, and videos over time.

The page is a single file without any network access. Labels, ids and notes come from files that
anybody may have written, so the template escapes every value, the script writes text only, and a
content security policy lets no other script run.

Imports neither torch nor lightning: `davezoo report` must start at once.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from davezoo import __version__
from davezoo.annotations import read_blocked
from davezoo.errors import InputError
from davezoo.evaluation.average_precision import temporal_iou
from davezoo.evaluation.evaluate import read_both, score
from davezoo.evaluation.protocols import get_protocol
from davezoo.pages import page_templates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from davezoo.annotations import Annotations
    from davezoo.annotations.classes import Labels
    from davezoo.evaluation.predictions import PredictionTable
    from davezoo.evaluation.results import ClassResult, EvaluationResult

_TEMPLATES = Path(__file__).parent / "templates"
_CURVE_WIDTH, _CURVE_HEIGHT = 360, 160  # units of the drawing area of the mAP curve


class ReportError(InputError):
    """A report cannot be made from what was given; the message says what to change."""


def report(
    predictions: Path,
    annotations: Path,
    protocol: str = "unav100",
    split: str | None = None,
    output: Path = Path("report.html"),
    max_videos: int = 30,
    blocked: Path | None = None,
    classes: list[Path] | Path | None = None,
    video_info: list[Path] | Path | None = None,
    labels: Labels | None = None,
) -> None:
    """Score a file of detections and write the HTML report: scores, classes, videos over time.

    The page is one file that needs no network. It draws annotated events and detections of some
    videos, from good to bad, with a slider for the lowest score.

    Args:
        predictions: detections in the ActivityNet layout, JSON, gzipped or not.
        annotations: annotation file of the data set, JSON or csv, gzipped or not.
        protocol: unav100, thumos14-211, thumos14-212 (most papers), thumos14-213,
            activitynet13-full, activitynet13-blocked, epic100-verb, epic100-noun or epic100-action.
        split: subset to score; by default the one of the protocol, or the only one of the file.
        output: the HTML file to write.
        max_videos: how many videos are drawn over time.
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
    result = score(chosen, table, rules, [] if blocked is None else read_blocked(blocked))
    notes = [f"{count} {oddity}." for oddity, count in chosen.repairs.items() if count]
    if table.version:
        notes.insert(0, f"The detections file says of itself: {table.version}.")
    write_report(
        output, result, chosen, table, f"Detections of {predictions.name}", notes, max_videos
    )
    sys.stdout.write(f"{result.format_table()}wrote {output}\n")


def write_report(
    path: Path,
    result: EvaluationResult,
    annotations: Annotations,
    predictions: PredictionTable,
    title: str,
    notes: Sequence[str] = (),
    max_videos: int = 30,
) -> None:
    """Write the page of one test run.

    The videos that are drawn are spread over the quality of their detections, the same ones for the
    same input: see `video_quality` and `choose_videos`. The page says how they were chosen.

    Args:
        path: the HTML file to write; its folder is made where it is absent.
        result: the scores of `predictions`.
        annotations: the videos and events of the split that was scored.
        predictions: the detections.
        title: heading of the page.
        notes: sentences that a reader must know, shown as plain text above everything else.
        max_videos: how many videos are drawn over time.

    Raises:
        ReportError: if `max_videos` is negative.
    """
    if max_videos < 0:
        raise ReportError(
            f"Expected `max_videos` to be 0 or more, got {max_videos}; give the number of videos "
            "to draw."
        )
    videos, labels = _collect_videos(annotations, predictions)
    quality = {v.video: video_quality(v.events, v.detections) for v in videos if len(v.events)}
    by_id = {v.video: v for v in videos}
    drawn = [by_id[video].to_json(quality[video]) for video in choose_videos(quality, max_videos)]
    page = _render(
        title=title,
        notes=notes,
        result=result,
        num_videos=len(videos),
        num_without_events=len(videos) - len(quality),
        data={"labels": labels, "videos": drawn},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8", errors="replace")  # ids may hold lone surrogates


def video_quality(events: NDArray[np.float64], detections: NDArray[np.float64]) -> float:
    """Measure how well the N best-scored detections of a video cover its N events.

    Each event takes the largest temporal IoU that one of those detections reaches with it, 0 where
    none has its class; the mean over the events is returned. As many detections as events count,
    so that no score threshold is needed and false alarms with a high score cost.

    Args:
        events: start, end (seconds) and label of each event, (N, 3), N at least 1.
        detections: start, end (seconds), label and score, (M, 4), highest score first.

    Returns:
        The mean temporal IoU, 0 to 1.

    Example:
        >>> events = np.array([[0.0, 4.0, 7], [5.0, 9.0, 7]])
        >>> video_quality(events, np.array([[0.0, 4.0, 7, 0.9], [5.0, 7.0, 7, 0.8]]))
        0.75
    """
    best = detections[: len(events)]
    tiou = temporal_iou(events[:, None, :2], best[None, :, :2])
    same_class = events[:, None, 2] == best[None, :, 2]
    return float(np.where(same_class, tiou, 0.0).max(axis=1, initial=0.0).mean())


def choose_videos(quality: Mapping[str, float], max_videos: int) -> list[str]:
    """Choose videos at equal steps along the list from the best to the worst quality.

    Args:
        quality: the quality of each video by id.
        max_videos: how many to choose at most.

    Returns:
        Ids, best quality first, ties by id; the best and the worst are always among them (the best
        alone where one is asked for).

    Example:
        >>> choose_videos({"a": 0.2, "b": 0.9, "c": 0.5, "d": 0.0, "e": 0.1}, 3)
        ['b', 'a', 'd']
    """
    ranked = sorted(quality, key=lambda video: (-quality[video], video))
    count = min(max_videos, len(ranked))
    steps = np.linspace(0, max(len(ranked) - 1, 0), count).round().astype(int)
    return [ranked[step] for step in steps]


@dataclass(frozen=True)
class _Video:
    """One annotated video: events (N, 3) and detections (M, 4) as `video_quality` takes them."""

    video: str
    duration: float
    events: NDArray[np.float64]
    detections: NDArray[np.float64]

    def to_json(self, quality: float) -> dict[str, Any]:
        """Return what the script draws; rounded to what a screen can show."""
        return {
            "video": self.video,
            "duration": None if np.isnan(self.duration) else round(self.duration, 3),
            "quality": round(quality, 4),
            "events": self.events.round(3).tolist(),
            "detections": self.detections.round(4).tolist(),
        }


def _collect_videos(
    annotations: Annotations, predictions: PredictionTable
) -> tuple[list[_Video], list[str]]:
    """Bring events and detections together.

    Returns:
        One entry an annotated video, in table order, and the names that the labels index: the
        classes of the annotations, then labels that only detections have.
    """
    names, label_of = _join_names(annotations.class_names, predictions.class_names)
    order = np.lexsort((-predictions.scores, predictions.videos))
    table = np.column_stack(
        [predictions.segments, label_of[predictions.labels], predictions.scores]
    )[order]
    bounds = np.searchsorted(predictions.videos[order], np.arange(len(predictions.video_ids) + 1))
    rows = {
        video: table[bounds[index] : bounds[index + 1]]
        for index, video in enumerate(predictions.video_ids)
    }
    events = {
        video: group[["start", "end", "label"]].to_numpy(np.float64)
        for video, group in annotations.events.groupby("video", sort=False)
    }
    durations = annotations.videos["duration"].to_numpy(np.float64).tolist()
    videos = [
        _Video(video, duration, events.get(video, np.empty((0, 3))), rows.get(video, table[:0]))
        for video, duration in zip(annotations.videos.index, durations, strict=True)
    ]
    return videos, names


def _join_names(
    class_names: Sequence[str], predicted: Sequence[str | int]
) -> tuple[list[str], NDArray[np.int64]]:
    """Return all names and, for each predicted class (a name or an index), its place in them."""
    place_of: dict[str | int, int] = {}
    for index, name in enumerate(class_names):
        place_of[name] = place_of[index] = index
    names = list(class_names)
    for label in predicted:
        if label not in place_of:
            place_of[label] = len(names)
            names.append(label if isinstance(label, str) else f"(unknown class {label})")
    return names, np.array([place_of[label] for label in predicted], dtype=np.int64)


def _render(result: EvaluationResult, **content: Any) -> str:
    """Fill the template; the page's own script is the only one that its policy admits."""
    script = (_TEMPLATES / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = page_templates(_TEMPLATES).get_template("report.html")
    return template.render(
        result=result,
        thresholds=[f"{threshold:g}" for threshold in result.tiou_thresholds],
        classes=_class_rows(result.classes),
        counts=_counts(result),
        curve=_curve(result.tiou_thresholds, result.map),
        script=script,
        script_hash=f"sha256-{digest}",
        version=__version__,
        **content,
    )


def _class_rows(classes: Sequence[ClassResult]) -> list[dict[str, Any]]:
    """Return the rows of the class table, highest mean average precision first."""
    rows = [
        {
            "label": entry.label,
            "num_events": entry.num_events,
            "values": entry.average_precision,
            "mean": sum(entry.average_precision) / len(entry.average_precision),
        }
        for entry in classes
    ]
    return sorted(rows, key=lambda row: -row["mean"])


def _counts(result: EvaluationResult) -> list[tuple[str, int]]:
    """Return what was scored, and what was left out where there is such."""
    scored = [
        ("annotated events", result.num_events),
        ("classes with events", len(result.classes)),
        ("detections", result.num_predictions),
    ]
    left_out = [
        ("detections of unknown classes, dropped", result.num_unknown_label_predictions),
        ("detections in unknown videos, false positives", result.num_unknown_video_predictions),
        ("videos left out by the protocol", result.num_excluded_videos),
        ("detections in left-out videos, dropped", result.num_excluded_predictions),
        ("detections in blocked videos, dropped", result.num_blocked_predictions),
        ("videos blocked", result.num_blocked_videos),
        ("events removed as near duplicates", result.num_near_duplicate_events),
        ("events removed as too short", result.num_short_events),
    ]
    return scored + [(words, count) for words, count in left_out if count]


def _curve(thresholds: Sequence[float], values: Sequence[float]) -> dict[str, Any]:
    """Return the mAP curve in drawing units: one point a threshold, a line, and the ticks of mAP.

    The vertical axis ends at the next multiple of 20 per cent above the highest value.
    """
    top = max(0.2, float(np.ceil(max(values) * 5 - 1e-9)) / 5)
    x = (np.array(thresholds) - thresholds[0]) / max(thresholds[-1] - thresholds[0], 1e-9)
    y = 1 - np.array(values) / top
    points = np.column_stack([x * _CURVE_WIDTH, y * _CURVE_HEIGHT]).round(1).tolist()
    return {
        "width": _CURVE_WIDTH,
        "height": _CURVE_HEIGHT,
        "points": points,
        "line": " ".join(f"{x},{y}" for x, y in points),
        "ticks": [((1 - part) * _CURVE_HEIGHT, part * top) for part in (0.0, 0.5, 1.0)],
    }
