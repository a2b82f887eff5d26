"""Speed of temporal average precision: the fast path beside plain loops and on torch tensors.

Sizes are those of the UnAV-100 test split and of EPIC-Kitchens-100 validation. Plain loops take
minutes there, so that they are compared on a stated part of the videos.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.record import Measurement, Ratio, measure, ratio, write_record
from davezoo.evaluation.average_precision import EventArrays, average_precision
from davezoo.evaluation.predictions import PredictionTable, read_predictions, write_predictions
from davezoo.evaluation.protocols import PROTOCOLS, Protocol
from tests.evaluation import reference

if TYPE_CHECKING:
    from collections.abc import Callable

SEED = 0
REPEATS = 9


def make_problem(
    num_videos: int, num_events: int, per_video: int, num_classes: int, seed: int
) -> tuple[EventArrays, EventArrays]:
    """Draw events and detections; half of the detections lie near an event of their video.

    Args:
        num_videos: videos.
        num_events: events of all videos together.
        per_video: detections a video.
        num_classes: classes.
        seed: seed of the draw.
    """
    generator = np.random.default_rng(seed)
    # Every video has an event; the others fall anywhere.
    more = generator.integers(0, num_videos, num_events - num_videos)
    videos = np.sort(np.concatenate([np.arange(num_videos), more]))
    labels = generator.integers(0, num_classes, num_events)
    start = generator.uniform(0, 50, num_events)
    segments = np.stack([start, start + generator.gamma(2, 5, num_events)], axis=1)
    first = np.searchsorted(videos, np.arange(num_videos))
    count = np.bincount(videos, minlength=num_videos)

    video = np.repeat(np.arange(num_videos), per_video)
    near = first[video] + (generator.random(len(video)) * count[video]).astype(np.int64)
    is_near = generator.random(len(video)) < 0.5
    label = np.where(is_near, labels[near], generator.integers(0, num_classes, len(video)))
    start = generator.uniform(0, 50, len(video))
    anywhere = np.stack([start, start + generator.gamma(2, 5, len(video))], axis=1)
    shifted = segments[near] + generator.normal(0, 3, (len(video), 2))
    times = np.sort(np.where(is_near[:, None], shifted, anywhere), axis=1)
    scores = generator.random(len(video)).astype(np.float32)
    return EventArrays(videos, labels, segments), EventArrays(video, label, times, scores)


def to_rows(arrays: EventArrays) -> list[tuple[Any, ...]]:
    """Return the rows that the plain loops read."""
    columns = [arrays.videos, arrays.labels, arrays.segments]
    columns += [] if arrays.scores is None else [arrays.scores.astype(np.float64)]
    return list(zip(*(column.tolist() for column in columns), strict=True))


def to_tensors(arrays: EventArrays) -> EventArrays:
    """Return the same events as tensors."""
    fields = (arrays.videos, arrays.labels, arrays.segments, arrays.scores)
    return EventArrays(*(None if x is None else torch.from_numpy(x) for x in fields))


def compare(
    name: str, size: tuple[int, int, int, int], part: int, protocol: Protocol
) -> tuple[list[Measurement], list[Ratio]]:
    """Time the whole problem, and the first `part` videos beside the plain loops.

    Args:
        name: name of the problem.
        size: videos, events, detections a video, classes.
        part: videos that the plain loops get.
        protocol: whose thresholds are used.
    """
    tious = protocol.tiou_thresholds
    events, detections = make_problem(*size, SEED)
    tensors = to_tensors(events), to_tensors(detections)
    whole: dict[str, Callable[[], object]] = {
        f"{name}, numpy": lambda: average_precision(events, detections, tious),
        f"{name}, torch": lambda: average_precision(*tensors, tious),
    }
    few = events[events.videos < part], detections[detections.videos < part]
    rows = to_rows(few[0]), to_rows(few[1])
    fast = average_precision(*few, tious)
    slow = reference.average_precisions(*rows, tious)
    np.testing.assert_allclose(fast.values, list(slow.values()), rtol=0, atol=1e-9)
    partly: dict[str, Callable[[], object]] = {
        f"{name} part, numpy": lambda: average_precision(*few, tious),
        f"{name} part, plain loops": lambda: reference.average_precisions(*rows, tious),
    }
    words = "{} videos, {} events, {} detections, {} classes, {} thresholds"
    problem = words.format(size[0], len(events), len(detections), size[3], len(tious))
    smaller = words.format(part, len(few[0]), len(few[1]), size[3], len(tious))
    times = measure(whole, problem, REPEATS, warm_up=2) + measure(partly, smaller, repeats=3)
    names = f"{name} part, plain loops", f"{name} part, numpy"
    return times, [ratio(f"{name}: loops over fast path", times, *names)]


def measure_files() -> list[Measurement]:
    """Time reading and writing of a file of detections of the UnAV-100 test split."""
    _, found = make_problem(2167, 5900, 100, 100, SEED)
    table = PredictionTable(
        video_ids=[f"video_{index:05d}" for index in range(2167)],
        class_names=[f"class {index}" for index in range(100)],
        videos=found.videos,
        labels=found.labels,
        segments=found.segments.astype(np.float32).astype(np.float64),
        scores=np.asarray(found.scores, dtype=np.float64),
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.json"
        write_predictions(path, table)
        functions: dict[str, Callable[[], object]] = {
            "write detections": lambda: write_predictions(path, table),
            "read detections": lambda: read_predictions(path),
        }
        problem = f"{len(table.video_ids)} videos, {len(table)} detections"
        return measure(functions, problem, REPEATS)


def main() -> None:
    """Run all measurements and write the record."""
    torch.set_num_threads(1)
    unav = compare("UnAV-100 test", (2000, 5900, 100, 100), 500, PROTOCOLS["unav100"])
    epic = compare("EPIC-100 validation", (138, 9668, 2000, 300), 30, PROTOCOLS["epic100-noun"])
    write_record("metric", unav[0] + epic[0] + measure_files(), unav[1] + epic[1], SEED, threads=1)


if __name__ == "__main__":
    main()
