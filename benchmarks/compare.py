"""Speed of the paired bootstrap: `davezoo compare` at the size of the UnAV-100 test split.

A resample that only counts anew is set beside one that repeats the drawn videos and matches all of
them again; both must give the same mAP.
"""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.metric import make_problem
from benchmarks.record import RESULTS, Measurement, Ratio, measure, ratio, write_record
from davezoo.evaluation.average_precision import EventArrays, average_precision
from davezoo.evaluation.bootstrap import ResampledMap
from davezoo.evaluation.compare import compare
from davezoo.evaluation.predictions import PredictionTable, write_predictions
from davezoo.evaluation.protocols import PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SEED = 0
TIOUS = PROTOCOLS["unav100"].tiou_thresholds
# Videos, events, detections of both files together a video, classes.
SIZE = 2167, 5900, 200, 100


def write_files(
    folder: Path, events: EventArrays, files: list[EventArrays], num_classes: int
) -> list[Path]:
    """Write annotations and detections as the command reads them.

    Args:
        folder: where to.
        events: annotated events; every video has one.
        files: detections of each file.
        num_classes: classes.

    Returns:
        The files of detections, then that of annotations.
    """
    names = [f"class {index}" for index in range(num_classes)]
    ids = [f"video_{index:05d}" for index in range(int(events.videos.max()) + 1)]
    database: dict[str, Any] = {
        video: {"subset": "test", "duration": 1000, "annotations": []} for video in ids
    }
    rows = events.videos.tolist(), events.labels.tolist(), events.segments.tolist()
    for video, label, segment in zip(*rows, strict=True):
        database[ids[video]]["annotations"].append({"segment": segment, "label": names[label]})
    paths = []
    for number, found in enumerate(files):
        paths.append(folder / f"{number}.json")
        table = PredictionTable(
            video_ids=ids,
            class_names=names,
            videos=found.videos,
            labels=found.labels,
            segments=found.segments,
            scores=np.asarray(found.scores, dtype=np.float64),
        )
        write_predictions(paths[-1], table)
    paths.append(folder / "annotations.json")
    paths[-1].write_text(json.dumps({"database": database}))
    return paths


def repeat_videos(arrays: EventArrays, multiplicity: NDArray[np.int64]) -> EventArrays:
    """Return what the drawn videos hold, every copy as a video of its own.

    Args:
        arrays: events or detections, by video.
        multiplicity: how often each video was drawn.
    """
    first = np.concatenate([[0], np.cumsum(multiplicity)])
    times = multiplicity[arrays.videos]
    rows = np.repeat(np.arange(len(arrays)), times)
    copy = np.arange(len(rows)) - np.repeat(np.cumsum(times) - times, times)
    chosen = arrays[rows]
    videos = first[chosen.videos] + copy
    order = np.argsort(videos, kind="stable")
    return EventArrays(videos, chosen.labels, chosen.segments, chosen.scores)[order]


def measure_resample(
    events: EventArrays, found: EventArrays, problem: str, repeats: int
) -> tuple[list[Measurement], Ratio]:
    """Time one resample of one file, counted anew and matched anew.

    Args:
        events: annotated events.
        found: detections.
        problem: their size in words.
        repeats: timed calls of each.
    """
    num_videos = int(events.videos.max()) + 1
    drawn = np.random.default_rng(SEED).integers(num_videos, size=num_videos)
    multiplicity = np.bincount(drawn, minlength=num_videos)
    counted = ResampledMap(events, found, TIOUS, num_videos)

    def match_anew() -> NDArray[np.float64]:
        copies = repeat_videos(events, multiplicity), repeat_videos(found, multiplicity)
        return np.asarray(average_precision(*copies, TIOUS).values.mean(axis=0))

    np.testing.assert_allclose(counted(multiplicity), match_anew(), rtol=0, atol=1e-12)
    functions: dict[str, Callable[[], object]] = {
        "one resample, matched anew": match_anew,
        "one resample, counted anew": lambda: counted(multiplicity),
    }
    times = measure(functions, problem, repeats, warm_up=2)
    return times, ratio("one resample: matched over counted", times, *functions)


def main(
    size: tuple[int, int, int, int] = SIZE,
    resamples: int = 1000,
    repeats: int = 3,
    folder: Path = RESULTS,
) -> None:
    """Time one resample and the whole command, and write the record.

    Args:
        size: videos, events, detections of both files together a video, classes.
        resamples: resamples of the whole command.
        repeats: timed calls of it.
        folder: where versions of the record are kept.
    """
    events, both = make_problem(*size, SEED)
    files = [both[0::2], both[1::2]]
    problem = (
        f"{size[0]} videos, {len(events)} events, {len(files[0])} detections a file, "
        f"{size[3]} classes, {len(TIOUS)} thresholds"
    )
    times, gain = measure_resample(events, files[0], problem, repeats=3 * repeats)
    with TemporaryDirectory() as place:
        first, second, annotations = write_files(Path(place), events, files, size[3])

        def run() -> None:
            with redirect_stdout(io.StringIO()):
                compare(first, second, annotations, resamples=resamples)

        whole = measure({f"davezoo compare, {resamples} resamples": run}, problem, repeats)
    write_record("compare", times + whole, [gain], SEED, threads=1, folder=folder)


if __name__ == "__main__":
    main()
