"""One HTML page that shows what a test run found: scores, classes, and videos over time.

The page is a single file without any network access. Labels, ids and notes come from files that
anybody may have written, so the template escapes every value, the script writes text only, and a
content security policy lets no other script run.

Imports neither torch nor lightning: `davezoo report`, which davezoo/reports.py holds, must start at
once.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from davezoo import __version__
from davezoo.evaluation.viewer import viewer_data
from davezoo.pages import page_templates
from davezoo.whole_files import whole_file

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from davezoo.annotations import Annotations
    from davezoo.evaluation.results import EvaluationResult
    from davezoo.evaluation.viewer import MediaFiles, ScoredDetections

_TEMPLATES = Path(__file__).parent / "templates"
_SCRIPTS = ("data.js", "classes.js", "lanes.js", "media.js", "list.js", "page.js")  # in this order
_CURVE_WIDTH, _CURVE_HEIGHT = 360, 160  # units of the drawing area of the mAP curve


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
    with whole_file(path) as part:
        part.write_text(page, encoding="utf-8", errors="replace")  # ids may hold lone surrogates


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
