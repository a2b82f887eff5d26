"""The tool behind `davezoo report`: scores, diagnosis and videos of detections on one page.

Imports neither torch nor lightning: `davezoo report` must start at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from davezoo.annotations import read_blocked
from davezoo.diagnosis.diagnose import diagnose_detections
from davezoo.diagnosis.figures import draw_figures
from davezoo.errors import InputError
from davezoo.evaluation.evaluate import read_both, refuse_other_videos, score
from davezoo.evaluation.predictions import read_predictions
from davezoo.evaluation.protocols import get_protocol
from davezoo.evaluation.report import write_report
from davezoo.evaluation.results import printable
from davezoo.evaluation.viewer import ScoredDetections, find_media

if TYPE_CHECKING:
    from collections.abc import Sequence

    from davezoo.annotations import Annotations
    from davezoo.annotations.classes import Labels


class ReportError(InputError):
    """A report cannot be made from what was given; the message says what to change."""


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
    """Score detections and write the HTML report: scores, classes, diagnosis, videos over time.

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
        paths[0], annotations, rules, split, classes=classes, video_info=video_info, labels=labels
    )
    tables = [first, *(read_predictions(path, labels or rules.labels) for path in paths[1:])]
    left_out = [] if blocked is None else read_blocked(blocked)
    files = [
        ScoredDetections(name, table, score(chosen, table, rules, left_out))
        for name, table in zip(names, tables, strict=True)
    ]
    for path, file in zip(paths, files, strict=True):
        refuse_other_videos(path, file.predictions, file.result)
    write_report(
        output,
        files,
        chosen,
        f"Detections of {', '.join(names)}",
        _collect_notes(files, chosen),
        max_videos,
        figures=draw_figures(diagnose_detections(chosen, first, rules, left_out)),
        blocked=left_out,
        media=found,
    )
    for file in files:
        heading = f"{printable(file.name)}\n" if files[1:] else ""
        sys.stdout.write(heading + file.result.format_table())
    sys.stdout.write(f"wrote {output}\n")


def _collect_notes(files: Sequence[ScoredDetections], annotations: Annotations) -> list[str]:
    """Return what the files of detections say of themselves, and what was odd about the events."""
    versions = [(file.name, file.predictions.version) for file in files]
    notes = [f"The detections file {name} says of itself: {v}." for name, v in versions if v]
    return notes + [f"{count} {oddity}." for oddity, count in annotations.repairs.items() if count]


def _name_files(paths: Sequence[Path], names: Sequence[str] | None) -> list[str]:
    """Return the given names of files, or the shortest parts of their paths that tell them apart.

    `a/seed_0/detections.json` and `b/seed_0/detections.json` are called `a` and `b`.
    """
    if not paths:
        raise ReportError("Expected `predictions` to be one file or more, got none; give a file.")
    if names is None:
        parts = [(*path.parts[:-1], _without_suffix(path.name)) for path in paths]
        while len(set(parts)) > 1 and len({p[-1] for p in parts}) == 1 and min(map(len, parts)) > 1:
            parts = [p[:-1] for p in parts]
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
