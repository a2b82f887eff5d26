"""Pictures of detections over time, drawn by matplotlib.

Figures are made without `pyplot`: nothing opens a window, no global state is left behind, and
`figure.savefig("x.png")`, `figure.savefig("x.svg")` and `wandb.Image(figure)` all work. matplotlib
is imported by the call that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from davezoo.evaluation.results import shortened

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_EVENT_COLOR = "#34465c"
_DETECTION_COLOR = "#1769c4"
_TEXT_LENGTH = 40  # characters of a label that fit beside the lanes


def timeline(
    detections: Sequence[Mapping[str, Any]],
    duration: float,
    events: Sequence[Mapping[str, Any]] = (),
    min_score: float = 0.3,
    title: str = "",
    path: Path | None = None,
) -> Figure:
    """Draw one video over time: a row a class, annotated events above detections.

    Rows are the classes of annotated events in order of their first start, then the classes that
    only detections have, best score first. The stronger the colour of a detection, the higher its
    score; the title counts the detections below `min_score`, which are not drawn.

    Args:
        detections: entries with `segment` (start and end in seconds), `label` (name) and `score`
            (0 to 1), as an ActivityNet-format detections file holds them for one video.
        duration: length of the video in seconds; NaN where unknown.
        events: annotated events with `segment` and `label`; empty where there is no annotation.
        min_score: the lowest score that is drawn.
        title: first words above the picture.
        path: where to save the picture, by its suffix (`.png`, `.svg`, `.pdf`); None to save none.

    Returns:
        The figure.
    """
    shown = sorted(
        (d for d in detections if d["score"] >= min_score), key=lambda d: d["score"], reverse=True
    )
    annotated = sorted(events, key=lambda event: event["segment"][0])
    classes = list(dict.fromkeys(str(entry["label"]) for entry in [*annotated, *shown]))
    figure, axes = _figure(width=9.0, height=1.3 + 0.42 * max(len(classes), 1))
    rows = {name: row for row, name in enumerate(classes)}
    _draw_bars(axes, rows, annotated, top=0.08, height=0.36, color=_EVENT_COLOR)
    _draw_bars(axes, rows, shown, top=0.52, height=0.36, color=_DETECTION_COLOR)
    ends = [duration, *(entry["segment"][1] for entry in [*annotated, *shown])]
    axes.set_xlim(0.0, max((end for end in ends if end > 0), default=1.0))  # NaN is not above 0
    axes.set_ylim(max(len(classes), 1), 0.0)
    axes.set_xlabel("seconds")
    axes.set_yticks(
        np.arange(len(classes)) + 0.5, [shortened(name, _TEXT_LENGTH) for name in classes]
    )
    for row in range(1, len(classes)):
        axes.axhline(row, color="#dfe4ea", linewidth=0.8, zorder=0)
    count = f"{len(shown)} of {len(detections)} detections with a score of {min_score:g} or more"
    axes.set_title(
        f"{shortened(title, _TEXT_LENGTH)}: {count}" if title else count, loc="left", fontsize=10
    )
    return _finish(figure, path)


def precision_recall(
    recalls: Sequence[float] | np.ndarray[Any, Any],
    precisions: Mapping[float, Sequence[float] | np.ndarray[Any, Any]],
    path: Path | None = None,
) -> Figure:
    """Draw precision over recall, one curve a tIoU threshold, the stricter the fainter.

    Args:
        recalls: shares of events found, (R,).
        precisions: precision at each recall, (R,), by threshold; see `precision_at_recalls`.
        path: where to save the picture, by its suffix; None to save none.

    Returns:
        The figure.
    """
    figure, axes = _figure(width=6.0, height=4.5)
    strengths = np.linspace(1.0, 0.25, len(precisions))
    for (tiou, values), strength in zip(sorted(precisions.items()), strengths, strict=True):
        mean = 100 * float(np.mean(values))
        label = f"tIoU {tiou:g} (area {mean:.1f})"
        axes.plot(recalls, values, color=_DETECTION_COLOR, alpha=strength, label=label)
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(0.0, 1.0)
    axes.set_xlabel("recall, mean over classes")
    axes.set_ylabel("precision")
    axes.legend(fontsize=8, frameon=False)
    return _finish(figure, path)


def _draw_bars(
    axes: Axes,
    rows: Mapping[str, int],
    entries: Sequence[Mapping[str, Any]],
    top: float,
    height: float,
    color: str,
) -> None:
    """Draw one bar an entry in the row of its class, fainter where its score is lower."""
    from matplotlib.colors import to_rgba

    if not entries:
        return
    segments = np.array([entry["segment"] for entry in entries], dtype=np.float64)
    row = np.array([rows[str(entry["label"])] for entry in entries])
    score = np.array([entry.get("score", 1.0) for entry in entries], dtype=np.float64)
    colors = np.tile(to_rgba(color), (len(entries), 1))
    colors[:, 3] = 0.2 + 0.8 * score.clip(0.0, 1.0)
    axes.barh(
        row + top,
        segments[:, 1] - segments[:, 0],
        height=height,
        left=segments[:, 0],
        align="edge",
        color=colors,
    )


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of a size in inches and its plain axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    return figure, axes


def _finish(figure: Figure, path: Path | None) -> Figure:
    """Take every text literally (a label may hold `$`) and save the figure where asked to."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    return figure
