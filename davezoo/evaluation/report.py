"""One HTML page that shows what a test run found: scores, classes, and videos over time.

The page is a single file without any network access. Labels, ids and notes come from files that
anybody may have written, so the template escapes every value, the script writes text only, and a
content security policy lets no other script run.

Imports neither torch nor lightning: `davezoo report` must start at once.
"""

from __future__ import annotations

import base64
import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from davezoo import __version__
from davezoo.annotations import read_blocked
from davezoo.errors import InputError
from davezoo.evaluation.evaluate import read_both, score
from davezoo.evaluation.predictions import read_predictions
from davezoo.evaluation.protocols import get_protocol
from davezoo.evaluation.results import printable
from davezoo.evaluation.viewer import ScoredDetections, find_media, viewer_data
from davezoo.pages import page_templates

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from davezoo.annotations import Annotations
    from davezoo.annotations.classes import Labels
    from davezoo.evaluation.predictions import PredictionTable
    from davezoo.evaluation.protocols import Protocol
    from davezoo.evaluation.results import EvaluationResult
    from davezoo.evaluation.viewer import MediaFiles

_TEMPLATES = Path(__file__).parent / "templates"
_SCRIPTS = ("data.js", "classes.js", "lanes.js", "media.js", "list.js", "page.js")  # in this order
_CURVE_WIDTH, _CURVE_HEIGHT = 360, 160  # units of the drawing area of the mAP curve


class ReportError(InputError):
    """A report cannot be made from what was given; the message says what to change."""


@dataclass(frozen=True)
class ReportFigure:
    """A picture with its words, shown in the report between the classes and the videos.

    Args:
        title: its heading.
        caption: what it shows and how to read it, also for those who cannot see it.
        image: the file, SVG or PNG. It is shown as an image: scripts in an SVG do not run.
        kind: which of the two.
    """

    title: str
    caption: str
    image: bytes
    kind: Literal["svg+xml", "png"] = "svg+xml"

    @property
    def address(self) -> str:
        """The image as the address of an `img` element."""
        return f"data:image/{self.kind};base64,{base64.b64encode(self.image).decode()}"


def report(
    predictions: list[Path] | Path,
    annotations: Path,
    protocol: str = "unav100",
    split: str | None = None,
    output: Path = Path("report.html"),
    names: list[str] | None = None,
    media: Path | None = None,
    max_videos: int | None = None,
    blocked: Path | None = None,
    classes: list[Path] | Path | None = None,
    video_info: list[Path] | Path | None = None,
    labels: Labels | None = None,
) -> None:
    """Score detections and write the HTML report: scores, classes, videos over time.

    The page is one file that needs no network. It lists all videos, sorted by how well they were
    detected, and draws the annotated events and detections of the one that is chosen, with a slider
    for the lowest score. Several files of detections stand one below the other:
    `--predictions ours.json base.json --names ours base`.

    Args:
        predictions: detections in the ActivityNet layout, JSON, gzipped or not; one file or several
            of the same videos, the most interesting one first.
        annotations: annotation file of the data set, JSON or csv, gzipped or not.
        protocol: unav100, thumos14-211, thumos14-212 (most papers), thumos14-213,
            activitynet13-full, activitynet13-blocked, epic100-verb, epic100-noun or epic100-action.
        split: subset to score; by default the one of the protocol, or the only one of the file.
        output: the HTML file to write.
        names: what to call each file of detections; by default what tells their paths apart.
        media: folder with the videos, each named after its id (ID.mp4, ID.webm, ID.wav, ...). They
            play in step with the timeline and stay where they are; the page links to them.
        max_videos: show at most so many videos, spread from the best to the worst; by default all.
        blocked: JSON list of video ids to leave out, as the ActivityNet server handed out.
        classes: file with the names of the classes in order; two for epic100-action, [verbs,
            nouns].
        video_info: table of durations and frame rates, or several; adds the videos without events.
        labels: what is read of events and detections of EPIC-Kitchens; by default what the protocol
            scores.
    """
    rules = get_protocol(protocol)
    paths = predictions if isinstance(predictions, list) else [predictions]
    names = _name_files(paths, names)
    found = None if media is None else find_media(media)
    chosen, first = read_both(
        paths[0],
        annotations,
        rules,
        split,
        classes=classes,
        video_info=video_info,
        labels=labels,
    )
    tables = [first, *(read_predictions(path, labels or rules.labels) for path in paths[1:])]
    left_out = [] if blocked is None else read_blocked(blocked)
    files = [
        ScoredDetections(name, table, _score_one(path, chosen, table, rules, left_out))
        for path, name, table in zip(paths, names, tables, strict=True)
    ]
    versions = dict.fromkeys(
        (path.name, table.version) for path, table in zip(paths, tables, strict=True)
    )
    notes = [f"The detections file {name} says of itself: {v}." for name, v in versions if v]
    notes += [f"{count} {oddity}." for oddity, count in chosen.repairs.items() if count]
    title = f"Detections of {', '.join(names)}"
    write_report(output, files, chosen, title, notes, max_videos, blocked=left_out, media=found)
    for file in files:
        heading = f"{printable(file.name)}\n" if files[1:] else ""
        sys.stdout.write(heading + file.result.format_table())
    sys.stdout.write(f"wrote {output}\n")


def write_report(
    path: Path,
    files: Sequence[ScoredDetections],
    annotations: Annotations,
    title: str,
    notes: Sequence[str] = (),
    max_videos: int | None = None,
    *,
    figures: Sequence[ReportFigure] = (),
    blocked: Collection[str] = (),
    media: MediaFiles | None = None,
) -> None:
    """Write the page of one test run, or of several beside each other; all at once.

    Args:
        path: the HTML file to write; its folder is made where it is absent.
        files: detections and their scores, at least one; the first one leads.
        annotations: the videos and events of the split that was scored.
        title: heading of the page.
        notes: sentences that a reader must know, shown as plain text above everything else.
        max_videos: how many videos are shown at most, spread over the quality of the first file's
            detections (see `choose_videos`); None for all.
        figures: pictures to show between the classes and the videos.
        blocked: ids of videos that were left out of the score; they are not listed.
        media: the files of the videos; None where they are not at hand.

    Raises:
        ViewerError: if `max_videos` is negative.
    """
    data = viewer_data(annotations, files, blocked, max_videos)
    data["media"] = None
    if media is not None:
        place = path.absolute().parent
        data["media"] = [media.url(video, place) for video in data["videos"]]
    page = _render(
        title=title,
        notes=notes,
        files=files,
        figures=figures,
        data=data,
        max_videos=max_videos,
        media_folder=None if media is None else media.folder,
        num_without_media=(data["media"] or []).count(None),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(page, encoding="utf-8", errors="replace")  # ids may hold lone surrogates
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _name_files(paths: Sequence[Path], names: Sequence[str] | None) -> list[str]:
    """Return the given names of files, or the shortest ends of their paths that tell them apart."""
    if not paths:
        raise ReportError("Expected `predictions` to be one file or more, got none; give a file.")
    if names is None:
        parts = [(*path.parts[:-1], _without_suffix(path.name)) for path in paths]
        ends = [
            ["/".join(p[-count:]) for p in parts] for count in range(1, max(map(len, parts)) + 1)
        ]
        names = next((end for end in ends if len(set(end)) == len(end)), ends[-1])
    if len(names) != len(paths) or len(set(names)) < len(names):
        raise ReportError(
            f"Expected as many different `names` as files of detections, {len(paths)}, got "
            f"{list(names)}; name each file once."
        )
    return list(names)


def _without_suffix(name: str) -> str:
    return name.removesuffix(".gz").removesuffix(".json")


def _score_one(
    path: Path,
    annotations: Annotations,
    table: PredictionTable,
    rules: Protocol,
    blocked: Collection[str],
) -> EvaluationResult:
    """Score a file, and refuse one that is about other videos."""
    result = score(annotations, table, rules, blocked)
    if table.video_ids and not result.num_scored_videos:
        raise ReportError(
            f"Expected {path} to hold detections in split {result.split!r}, got "
            f"{len(table.video_ids)} videos, none of them in it; give `split` or another file."
        )
    return result


def _render(files: Sequence[ScoredDetections], **content: Any) -> str:
    """Fill the template; the page's own script is the only one that its policy admits."""
    script = "\n".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = page_templates(_TEMPLATES).get_template("report.html")
    results = [file.result for file in files]
    return template.render(
        files=files,
        thresholds=[f"{threshold:g}" for threshold in results[0].tiou_thresholds],
        classes=_class_rows(results),
        counts=[_counts(result) for result in results],
        curve=_curve(results),
        opening_threshold=int(np.abs(np.array(results[0].tiou_thresholds) - 0.5).argmin()),
        script=script,
        script_hash=f"sha256-{digest}",
        version=__version__,
        **content,
    )


def _class_rows(results: Sequence[EvaluationResult]) -> list[dict[str, Any]]:
    """Return the rows of the class table, highest mean average precision of the first file first.

    All results score the same events, hence the same classes.
    """
    means = [
        {entry.label: float(np.mean(entry.average_precision)) for entry in result.classes}
        for result in results
    ]
    rows = [
        {
            "label": entry.label,
            "num_events": entry.num_events,
            "means": [mean[entry.label] for mean in means],
            "values": entry.average_precision,
        }
        for entry in results[0].classes
    ]
    return sorted(rows, key=lambda row: -row["means"][0])


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


def _curve(results: Sequence[EvaluationResult]) -> dict[str, Any]:
    """Return the mAP curves in drawing units: one point a threshold, lines, and the ticks of mAP.

    The vertical axis ends at the next multiple of 20 per cent above the highest value.
    """
    thresholds = np.array(results[0].tiou_thresholds)
    values = np.array([result.map for result in results])
    top = max(0.2, float(np.ceil(values.max() * 5 - 1e-9)) / 5)
    x = (thresholds - thresholds[0]) / max(thresholds[-1] - thresholds[0], 1e-9) * _CURVE_WIDTH
    y = (1 - values / top) * _CURVE_HEIGHT
    curves = np.stack(np.broadcast_arrays(x, y), axis=-1).round(1).tolist()
    return {
        "width": _CURVE_WIDTH,
        "height": _CURVE_HEIGHT,
        "curves": curves,
        "lines": [" ".join(f"{x},{y}" for x, y in points) for points in curves],
        "ticks": [((1 - part) * _CURVE_HEIGHT, part * top) for part in (0.0, 0.5, 1.0)],
    }
