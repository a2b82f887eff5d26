"""Run folders: where a run lies, how it is found again, what a test leaves in it."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from davezoo.evaluation.predictions import PredictionTable, write_predictions

if TYPE_CHECKING:
    from davezoo.annotations import Annotations
    from davezoo.evaluation.run_results import RunResult


def new_run_folder(parent: Path) -> Path:
    """Return a folder of `parent` named after the time, the same for all processes of a run."""
    if "LOCAL_RANK" in os.environ and "DAVEZOO_RUN" in os.environ:
        return Path(os.environ["DAVEZOO_RUN"])  # started by the process that chose the folder
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
    folder = parent / stamp
    number = 2
    while folder.exists():
        folder = parent / f"{stamp}_{number}"
        number += 1
    os.environ["DAVEZOO_RUN"] = str(folder)
    return folder


def write_into(folder: Path, loggers: Any) -> None:
    """Let the loggers of a parsed configuration write into the run folder unless told where.

    Args:
        folder: the run folder; also names the run where nothing else does.
        loggers: settings of one logger or a list of them; anything else is left alone.
    """
    for logger in loggers if isinstance(loggers, list) else [loggers]:
        settings = getattr(logger, "init_args", None)
        if settings is None or "save_dir" not in settings:
            continue
        if settings.save_dir in (None, "."):
            settings.save_dir = str(folder)
        if logger.class_path.endswith(".WandbLogger") and settings.name is None:
            folder.mkdir(parents=True, exist_ok=True)  # W&B would write elsewhere without it
            settings.name = f"{folder.parent.name}/{folder.name}"


def find_checkpoint(folders: Iterable[Path], which: str) -> Path:
    """Return the newest `last` or `best` checkpoint among run folders.

    Args:
        folders: run folders.
        which: `last` or `best`.

    Raises:
        FileNotFoundError: if none of them has one.
    """
    folders = list(folders)
    paths = [folder / "checkpoints" / f"{which}.ckpt" for folder in folders]
    found = [path for path in paths if path.is_file()]
    if not found:
        places = ", ".join(map(str, folders)) or "no run folder"
        raise FileNotFoundError(
            f"Expected a checkpoint `{which}` of an earlier run, got none in {places}; name the "
            "run with --trainer.default_root_dir or the file with --ckpt_path."
        )
    return max(found, key=lambda path: path.stat().st_mtime)


def keep_earlier_log(folder: Path) -> None:
    """Move the CSV log of a run that is resumed aside; the logger would delete it."""
    log = folder / "metrics.csv"
    if log.is_file():
        parts = len(list(folder.glob("metrics.part*.csv")))
        log.rename(folder / f"metrics.part{parts + 1}.csv")


def write_test_results(
    detections: Path,
    table: PredictionTable,
    run: RunResult,
    annotations: Annotations,
    title: str,
    blocked: Collection[str] = (),
) -> list[Path]:
    """Write the detections, the score, the report and the result of a test side by side.

    The score by itself is the same for the same detections; `run.json` says where it came from.

    Args:
        detections: file of the detections; the others get its folder.
        table: what was found.
        run: its score and where that came from.
        annotations: the split that was scored.
        title: headline of the report.
        blocked: ids of videos that were left out of the score.

    Returns:
        The four files.
    """
    from davezoo.diagnosis.diagnose import diagnose_detections  # jinja2 only now
    from davezoo.diagnosis.figures import draw_figures
    from davezoo.evaluation.report import write_report
    from davezoo.evaluation.viewer import ScoredDetections

    folder = detections.parent
    prefix = "" if detections.stem == "detections" else f"{detections.stem}_"
    names = ("result.json", "report.html", "run.json")
    score, report, whole = (folder / f"{prefix}{name}" for name in names)
    whole.unlink(missing_ok=True)  # of an earlier test; written last, so that it speaks of all
    write_predictions(detections, table)
    run.result.write(score)
    scored = ScoredDetections("detections", table, run.result)
    diagnosis = diagnose_detections(annotations, table, run.result.protocol["name"], blocked)
    figures = draw_figures(diagnosis)
    write_report(report, [scored], annotations, title, run.notes, figures=figures, blocked=blocked)
    run.write(whole)
    return [detections, score, report, whole]


def draw_timelines(
    folder: Path, table: PredictionTable, annotations: Annotations, num_videos: int
) -> Iterator[Path]:
    """Draw videos over time, annotated and detected events, one PNG a video.

    Args:
        folder: where the pictures go.
        table: what was found.
        annotations: the split it was found in.
        num_videos: how many videos, the first of the table.

    Yields:
        The files.
    """
    from davezoo.evaluation.plots import timeline  # matplotlib only now

    names, events = annotations.class_names, annotations.events
    durations = annotations.videos["duration"].to_dict()
    for index, video in enumerate(table.video_ids[:num_videos]):
        rows = table.videos == index
        found = zip(
            table.segments[rows].tolist(), table.labels[rows], table.scores[rows], strict=True
        )
        detections = [
            {"segment": segment, "label": table.class_names[label], "score": float(score)}
            for segment, label, score in found
        ]
        own = events[events["video"] == video]
        annotated = [
            {"segment": [start, end], "label": names[label]}
            for start, end, label in zip(own["start"], own["end"], own["label"], strict=True)
        ]
        path = folder / f"{video}.png"  # ids are plain file names: their readers refuse others
        best = max((d["score"] for d in detections), default=0.0)
        timeline(detections, durations[video], annotated, min(0.3, best / 2), video, path)
        yield path
