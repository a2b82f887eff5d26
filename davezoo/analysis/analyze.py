"""`davezoo analyze`: the papers' figures of features and networks, from data and a checkpoint."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from tqdm import tqdm

from davezoo.analysis.pictures import draw_curve, draw_levels, draw_matrix
from davezoo.analysis.similarity import StepPairs, cross_similarity
from davezoo.analysis.views import (
    AnalysisError,
    Curves,
    read_gates,
    read_streams,
    read_window_sizes,
)
from davezoo.checkpoints import load
from davezoo.evaluation.results import printable
from davezoo.json_files import write_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from davezoo.data.datamodule import EventDataModule
    from davezoo.structures import Batch
    from davezoo.task import EventLocalizer

Found = tuple[dict[str, Any], "Figure"]


def analyze(
    what: Literal["coherence", "similarity", "gates", "windows"],
    data: EventDataModule | None = None,
    ckpt_path: Path | None = None,
    stage: Literal["validate", "test"] = "test",
    video: str | None = None,
    output: Path = Path("analysis"),
) -> None:
    """Show what the papers show of features and networks, as numbers and as a picture.

    coherence: mean cosine of audio and visual steps by their distance in time (LoCo, Fig. 1b).
    similarity: cosines of all audio with all visual steps of one video, and the mean over the split
    of their standard deviation in a video (LoCo, Fig. 3). Both from the features themselves, or,
    with a checkpoint, from what its network makes of each modality. gates: CCNet's consistency
    gates over time (its Fig. 4). windows: where LoCo's attention looks.

    Args:
        what: which of the four.
        data: data set, as in `davezoo test`: a file, and settings such as `--data.root`.
        ckpt_path: checkpoint of davezoo; gates and windows need one.
        stage: whose split is read.
        video: id of the video that is drawn; by default the first of the split.
        output: folder for `WHAT.json` and `WHAT.png`.

    Raises:
        AnalysisError: if no data are given, a checkpoint is missing or has nothing to show, or the
            video is not in the split.
    """
    if data is None:
        raise AnalysisError(
            "Expected `--data` to name a data set, got none; give a data file, such as "
            "data/unav100.yaml, and where it lies with `--data.root`."
        )
    data.setup(stage)
    batches = _batches(data, stage)
    if what in ("coherence", "similarity"):
        model = None if ckpt_path is None else load(ckpt_path)
        numbers, figure = _compare_streams(what, model, batches, video)
    elif ckpt_path is None:
        raise AnalysisError(
            f"Expected `--ckpt_path` for {what}, got none; give the checkpoint to look into."
        )
    else:
        numbers, figure = _follow_levels(what, load(ckpt_path), batches, video)
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / f"{what}.json", numbers)
    figure.savefig(output / f"{what}.png")
    shown = numbers | numbers.get("mean_over_videos", {})
    shown = {name: value for name, value in shown.items() if not isinstance(value, (list, dict))}
    sys.stdout.write("".join(f"{name}: {printable(str(value))}\n" for name, value in shown.items()))
    sys.stdout.write(f"wrote {output / what}.json and .png\n")


def _compare_streams(
    what: str, model: EventLocalizer | None, batches: Iterator[Batch], video: str | None
) -> Found:
    """Return the numbers and the picture of `coherence` or `similarity`."""
    pairs, num_skipped = StepPairs.empty(), 0
    drawn, matrix, hop = video, None, 1.0
    for batch in batches:
        streams = read_streams(model, batch)
        if streams is None:
            num_skipped += len(batch.video_ids)
            continue
        for row, name in enumerate(batch.video_ids):
            audio, visual, mask = (stream[row] for stream in streams)
            pairs.add(audio, visual, mask)
            if matrix is None and drawn in (None, name) and mask.any():
                drawn, hop = name, _seconds_per_step(batch, row)
                matrix = cross_similarity(audio[mask], visual[mask]).double().numpy()
    if matrix is None:
        raise _no_video(video)
    numbers: dict[str, Any] = {"num_videos": len(pairs.stds), "num_videos_skipped": num_skipped}
    if what == "similarity":
        numbers |= {"mean_of_std": float(np.mean(pairs.stds)), "video": drawn}
        return numbers, draw_matrix(matrix, hop, printable(str(drawn)))
    seconds = [hop * distance for distance in range(len(pairs.means))]
    numbers |= {"seconds": seconds, "mean_cosine": pairs.means, "num_pairs": pairs.counts.tolist()}
    return numbers, draw_curve(seconds, pairs.means, "distance, s", "mean cosine")


def _follow_levels(
    what: str, model: EventLocalizer, batches: Iterator[Batch], video: str | None
) -> Found:
    """Return the numbers and the picture of `gates` or `windows`."""
    totals: dict[tuple[str, int], list[float]] = {}
    level_seconds: list[float] = []
    drawn, shown, num_skipped = video, None, 0
    for batch in batches:
        curves = read_gates(model, batch) if what == "gates" else read_window_sizes(model, batch)
        if curves is None:
            num_skipped += len(batch.video_ids)
            continue
        for row, name in enumerate(batch.video_ids):
            of_video = _without_padding(curves, batch, row)
            for modality, levels in of_video.items():
                for level, values in enumerate(levels):
                    totals.setdefault((modality, level), []).append(float(values.mean()))
            if shown is None and drawn in (None, name):
                drawn, shown = name, of_video
                padded = batch.mask.shape[1] * _seconds_per_step(batch, row)
                level_seconds = [padded / level.shape[1] for level in next(iter(curves.values()))]
    if shown is None:
        raise _no_video(video)
    means = {f"{modality}, level {n + 1}": float(np.mean(v)) for (modality, n), v in totals.items()}
    numbers = {
        "video": drawn,
        "num_videos": len(next(iter(totals.values()))),
        "num_videos_skipped": num_skipped,
        "level_seconds": level_seconds,
        "mean_over_videos": means,
        "curves": {name: [v.tolist() for v in levels] for name, levels in shown.items()},
    }
    unit = "gate" if what == "gates" else "window, steps of the level"
    return numbers, draw_levels(shown, level_seconds, unit, printable(str(drawn)))


def _without_padding(
    curves: Curves, batch: Batch, row: int
) -> dict[str, list[np.ndarray[Any, np.dtype[np.float64]]]]:
    """Return the curves of one video, each up to the part of its level that the video fills."""
    filled = float(batch.mask[row].sum()) / batch.mask.shape[1]
    return {
        name: [
            level[row, : max(1, math.ceil(filled * level.shape[1]))].double().numpy()
            for level in levels
        ]
        for name, levels in curves.items()
    }


def _seconds_per_step(batch: Batch, row: int) -> float:
    return batch.grids[row].stride / batch.grids[row].fps


def _batches(data: EventDataModule, stage: str) -> Iterator[Batch]:
    loader = data.test_dataloader() if stage == "test" else data.val_dataloader()
    return iter(tqdm(loader, desc=f"videos to {stage}", disable=None))


def _no_video(video: str | None) -> AnalysisError:
    which = "a video" if video is None else f"video {video!r}"
    return AnalysisError(
        f"Expected {which} that the network reads in one piece and that has both modalities in the "
        "split, got none; name another with `--video`, or another split with `--stage`."
    )
