"""`davezoo analyze`: the papers' figures of features and networks, from data and a checkpoint."""

from __future__ import annotations

import difflib
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from tqdm import tqdm

from davezoo.analysis.pictures import draw_coherence, draw_levels, draw_matrix
from davezoo.analysis.similarity import StepPairs, cross_similarity
from davezoo.analysis.views import (
    AnalysisError,
    LevelCurves,
    Streams,
    read_gates,
    read_streams,
    read_windows,
)
from davezoo.checkpoints import load
from davezoo.evaluation.results import printable
from davezoo.json_files import write_json
from davezoo.whole_files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from davezoo.data.datamodule import EventDataModule
    from davezoo.structures import Batch

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
    gates over time (its Fig. 4). windows: sizes and shifts of LoCo's windows over time.

    Args:
        what: which of the four.
        data: data set: a file, and settings such as `--data.root`; by default that of the
            checkpoint.
        ckpt_path: checkpoint of davezoo; gates and windows need one.
        stage: whose split is read.
        video: id of the video that is drawn (coherence draws none); by default the first one.
        output: folder for `WHAT.json` and `WHAT.png`.

    Raises:
        AnalysisError: if no data are given, a checkpoint is missing or has nothing to show, or the
            video is not in the split.
    """
    if data is None:
        raise AnalysisError(
            "Expected `--data` to name a data set, got none; give a data file, such as "
            "data/unav100.yaml, and where it lies with `--data.root`, or a checkpoint, which knows "
            "its data, with `--ckpt_path`."
        )
    if output.is_file():
        raise AnalysisError(
            f"Expected `--output` to name a folder, got the file {output}; choose another."
        )
    output.mkdir(parents=True, exist_ok=True)  # what cannot be written shows before the long work
    read = _reader(what, ckpt_path)
    data.eval_batch_size = 1  # a video must not depend on the others of its batch
    data.setup(stage)
    split = data.split_of(stage)
    if video is not None:
        _check_video(video, data.datasets[stage].video_ids, split)
    counts = Counter(dict.fromkeys(("num_videos", "num_without_sound", "num_in_chunks"), 0))
    loader = data.test_dataloader() if stage == "test" else data.val_dataloader()
    readings = _readings(tqdm(loader, desc=f"videos to {stage}", disable=None), read, counts)
    draw = {"coherence": _coherence, "similarity": _similarity}.get(what, _levels)
    found = draw(readings, video)
    if found is None:
        raise AnalysisError(
            f"Expected {'videos' if video is None else repr(video)} of split {split!r} to have "
            f"sound and to be read in one piece, got none ({counts['num_without_sound']} videos "
            f"without sound, {counts['num_in_chunks']} too long); choose another with `--video`, "
            "or another split with `--stage`."
        )
    numbers = {"split": split, "checkpoint": ckpt_path and str(ckpt_path), **counts, **found[0]}
    with whole_file(output / f"{what}.png") as part:
        found[1].savefig(part, format="png")
    write_json(output / f"{what}.json", numbers | {"notes": data.notes(stage)})
    _print(numbers | numbers.get("mean_over_videos", {}), data.notes(stage))
    sys.stdout.write(f"wrote {output / what}.json and .png\n")


def _reader(what: str, ckpt_path: Path | None) -> Callable[[Batch], Any]:
    """Return what reads one video for an analysis."""
    if what in ("coherence", "similarity"):
        return partial(read_streams, None if ckpt_path is None else load(ckpt_path))
    if ckpt_path is None:
        raise AnalysisError(
            f"Expected `--ckpt_path` for {what}, got none; give the checkpoint to look into."
        )
    return partial(read_gates if what == "gates" else read_windows, load(ckpt_path))


def _check_video(video: str, known: list[str], split: str) -> None:
    """Refuse a video that is not there, before all the others are read."""
    if video not in known:
        near = difflib.get_close_matches(video, known, n=3) or known[:3]
        raise AnalysisError(
            f"Expected `--video` to be one of the {len(known)} videos of split {split!r} that have "
            f"features, got {video!r}; choose one, such as {', '.join(map(repr, near))}, or "
            "another split with `--stage`."
        )


def _readings(
    batches: Iterable[Batch], read: Callable[[Batch], Any], counts: Counter[str]
) -> Iterator[tuple[Batch, Any]]:
    """Yield each video with what was read of it, and count them and those left out."""
    for batch in batches:
        if batch.audio_mask is not None and not batch.audio_mask.any():
            counts["num_without_sound"] += 1
            continue
        reading = read(batch)
        counts["num_in_chunks" if reading is None else "num_videos"] += 1
        if reading is not None:
            yield batch, reading


def _coherence(readings: Iterator[tuple[Batch, Streams]], video: str | None) -> Found | None:
    """Return the numbers and the picture of `coherence`, all videos together; None without any."""
    del video
    pairs = StepPairs()
    for batch, streams in readings:
        pairs.add(*streams, _seconds_per_step(batch))
    if not pairs.stds:
        return None
    numbers = pairs.by_distance()
    return {**numbers}, draw_coherence(**numbers)


def _similarity(readings: Iterator[tuple[Batch, Streams]], video: str | None) -> Found | None:
    """Return the numbers and the picture of `similarity`; None without the video."""
    pairs = StepPairs()
    drawn = None
    for batch, streams in readings:
        pairs.add(*streams, _seconds_per_step(batch))
        if drawn is None and video in (None, batch.video_ids[0]):
            drawn = batch, streams
    if drawn is None:
        return None
    batch, (audio, visual, mask) = drawn
    name = batch.video_ids[0]
    matrix = cross_similarity(audio[mask], visual[mask]).numpy()
    figure = draw_matrix(matrix, _seconds_per_step(batch), printable(name))
    return {"mean_of_std": float(np.mean(pairs.stds)), "video": name}, figure


def _levels(readings: Iterator[tuple[Batch, LevelCurves]], video: str | None) -> Found | None:
    """Return the numbers and the picture of `gates` or `windows`; None without the video."""
    means: dict[str, list[float]] = {}
    drawn = None
    for batch, curves in readings:
        for name, levels in curves.values.items():
            for number, values in enumerate(levels, 1):
                means.setdefault(f"{name}, level {number}", []).append(float(values.mean()))
        if drawn is None and video in (None, batch.video_ids[0]):
            drawn = batch, curves
    if drawn is None:
        return None
    batch, curves = drawn
    (name,), (grid,) = batch.video_ids, batch.grids
    seconds = [grid.to_seconds(positions).tolist() for positions in curves.positions]
    shown = {key: [level.tolist() for level in levels] for key, levels in curves.values.items()}
    events = grid.to_seconds(batch.segments[0][batch.labels[0] >= 0]).tolist()
    numbers = {
        "video": name,
        "mean_over_videos": {key: float(np.mean(of_videos)) for key, of_videos in means.items()},
        "seconds": seconds,
        "curves": shown,
    }
    return numbers, draw_levels(shown, seconds, events, printable(name))


def _seconds_per_step(batch: Batch) -> float:
    """Return the seconds from one step of the one video to the next."""
    return batch.grids[0].stride / batch.grids[0].fps


def _print(numbers: dict[str, Any], notes: list[str]) -> None:
    """Print the single numbers, and what they are to be read with."""
    for name, value in numbers.items():
        if isinstance(value, float):
            sys.stdout.write(f"{name}: {value:.4g}\n")
        elif isinstance(value, (int, str)):
            sys.stdout.write(f"{name}: {printable(str(value))}\n")
    sys.stdout.writelines(f"{printable(note)}\n" for note in notes)
