"""Loading speed: packed features beside loose files, and beside what a training step consumes.

Features are simulated at UnAV-100's real lengths and widths (once: 5.8 GB for all of its training
videos), packed, and read in turns: in random order by one process, and as epochs of the data
module. "Cold" is after the kernel was told to forget the files' content; it keeps their names, and
what a host below keeps of a virtual disk is beyond its reach. Each line tells how much really came
from the disk.

    python -m benchmarks.loading --data /tmp/loading                    # all, some 30 minutes
    python -m benchmarks.loading --data /tmp/loading --max_videos 600   # the first ones
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from benchmarks.methods import FEATURES, Training, full_batch, make_model
from benchmarks.model import SEED
from benchmarks.record import RESULTS, Measurement, measure, ratio, write_record
from davezoo.annotations import read_annotations
from davezoo.data import EventDataModule, Simulation
from davezoo.data.features import FeatureStore, open_store
from davezoo.data.packer import write_pack
from davezoo.data.synthetic import write_simulation

REAL = Path(__file__).parents[2] / "shared" / "data" / "unav100" / "unav100_annotations.json.gz"
FOLDERS = {"loose": "av_features", "packed": "av_features.packed"}
KINDS = ("rgb", "flow", "vggish")
STEP_METHOD = "DEL"  # of all methods its steps are the shortest: it consumes the most videos

_BATCH_SIZE = 16  # as in the recipes
_Ready = TypeVar("_Ready")


@dataclass(frozen=True)
class Problem:
    """A simulated data set on disk, loose and packed.

    Args:
        root: its folder.
        widths: channels of rgb, flow and VGGish.
        videos: training videos.
        num_bytes: of their loose files.
        val_split: subset to validate on; the training videos where there are no others.
    """

    root: Path
    widths: tuple[int, int, int]
    videos: list[str]
    num_bytes: int
    val_split: str

    def open(self, way: str, num_workers: int, batch_size: int = _BATCH_SIZE) -> EventDataModule:
        """Return the data module of the loose or the packed features; nothing is read yet."""
        return EventDataModule(
            str(self.root),
            features=FOLDERS[way],
            visual_width=self.widths[0] + self.widths[1],
            audio_width=self.widths[2],
            num_workers=num_workers,
            batch_size=batch_size,
            val_split=self.val_split,
        )


class DiskReads:
    """How much of what was read came from the disk, by the name of the measurement."""

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes = num_bytes
        self.shares: dict[str, list[float]] = {}
        self._running: tuple[str, int] | None = None

    def begin(self, name: str) -> None:
        """Count for a measurement from here on."""
        self._running = name, _bytes_from_disk()

    def end(self) -> None:
        """Note the share of the bytes that came from the disk since `begin`."""
        gc.collect()  # ends the loader's processes, whose reads count only then
        if self._running is not None:
            name, before = self._running
            share = (_bytes_from_disk() - before) / self.num_bytes
            self.shares.setdefault(name, []).append(share)
        self._running = None

    def describe(self, name: str) -> str:
        """Return the median share in words."""
        return f"{100 * float(np.median(self.shares[name])):.0f} % of the bytes from the disk"


def make_problem(
    root: Path,
    annotations: Path | None,
    splits: list[str] | None,
    max_videos: int | None,
    simulation: Simulation,
) -> Problem:
    """Simulate and pack a data set, or go on where an earlier run was broken."""
    write_simulation(root, simulation, annotations, splits, max_videos)
    write_pack(root / FOLDERS["loose"], root / FOLDERS["packed"])
    os.sync()  # pages that are not written yet cannot be forgotten
    folder = root / FOLDERS["loose"]
    names = {path.name.rpartition("_")[0] for path in folder.iterdir()}
    split = read_annotations(root / "annotations" / "unav100_annotations.json").split("train")
    videos = [video for video in split.videos.index if video in names]
    sizes = [(folder / f"{v}_{kind}.npy").stat().st_size for v in videos for kind in KINDS]
    widths = (simulation.rgb_width, simulation.flow_width, simulation.vggish_width)
    return Problem(root, widths, videos, sum(sizes), "validation" if splits is None else "train")


def forget(folder: Path) -> None:
    """Drop what the kernel keeps of the content of all files in a folder."""
    gc.collect()  # mapped pages would stay
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def read_in_random_order(store: FeatureStore, videos: Sequence[str]) -> float:
    """Read all arrays of all videos, the videos shuffled; return a sum that tells what was read."""
    total = 0.0
    for video in np.random.default_rng(SEED).permutation(videos).tolist():
        for kind in KINDS:
            features = np.array(store.open(f"{video}_{kind}.npy")[:])
            total += float(features[-1, 0])
    return total


def set_up(problem: Problem, way: str, num_workers: int) -> EventDataModule:
    """Return a data module that is ready to load training batches."""
    datamodule = problem.open(way, num_workers)
    datamodule.setup("fit")
    return datamodule


def run_epoch(datamodule: EventDataModule) -> float:
    """Load all batches of an epoch; return a sum that tells what was loaded."""
    return sum(float(batch.visual[0, 0, 0]) for batch in datamodule.train_dataloader())


def start_up(datamodule: EventDataModule) -> int:
    """Read annotations and heads of all splits as training with a test does; count the videos."""
    datamodule.setup("fit")
    datamodule.setup("test")
    return sum(len(dataset) for dataset in datamodule.datasets.values())


def measure_ways(
    name: str,
    begin: Callable[[str], _Ready],
    function: Callable[[_Ready], object],
    problem: Problem,
    words: str,
    repeats: int,
) -> list[Measurement]:
    """Time a function on loose and packed features, cold and warm, in turns.

    Args:
        name: what is timed.
        begin: opens the features, loose or packed; untimed.
        function: reads from what `begin` returns.
        problem: the features.
        words: what they are and what is read.
        repeats: timed calls of each.
    """
    reads = DiskReads(problem.num_bytes)
    cases = {f"{name}, {way}, {t}": (way, t) for t in ("cold", "warm") for way in FOLDERS}
    ready: dict[str, _Ready] = {}

    def prepare(case: str) -> None:
        reads.end()  # of the one before
        way, temperature = cases[case]
        ready[case] = begin(way)
        if temperature == "cold":
            forget(problem.root / FOLDERS[way])
        reads.begin(case)

    calls = {case: (lambda case=case: function(ready.pop(case))) for case in cases}
    times = measure(calls, words, repeats, prepare=prepare)
    reads.end()
    return [replace(m, problem=f"{words}; {reads.describe(m.name)}") for m in times]


def measure_all(
    problem: Problem, heads: Problem, size: str, workers: Sequence[int], repeats: int
) -> list[Measurement]:
    """Time reading, epochs and start-up."""
    times = measure_ways(
        "read",
        lambda way: open_store(problem.root / FOLDERS[way]),
        lambda store: read_in_random_order(store, problem.videos),
        problem,
        f"{size}, random order, one process",
        repeats,
    )
    for number in workers:
        times += measure_ways(
            f"epoch, {number} workers",
            lambda way, number=number: set_up(problem, way, number),
            run_epoch,
            problem,
            f"{size}, one epoch in batches of {_BATCH_SIZE}",
            repeats,
        )
    num_files = len(list((heads.root / FOLDERS["loose"]).iterdir()))
    times += measure_ways(
        "start-up",
        lambda way: heads.open(way, 0),
        start_up,
        heads,
        f"annotations, presence and heads of {num_files} files in 3 splits",
        repeats,
    )
    return times


def measure_step(problem: Problem, repeats: int, toy: dict[str, int]) -> list[Measurement]:
    """Time the loading of one batch by one process beside one training step on such a batch."""
    features = FEATURES["i3d"]
    features = replace(features, size=replace(features.size, **toy))
    training = Training(make_model(STEP_METHOD, features))
    batch = full_batch(features, features.size.batch_size)
    datamodule = problem.open("packed", 0, features.size.batch_size)
    datamodule.setup("fit")

    def load() -> object:
        return next(iter(datamodule.train_dataloader()))

    words = f"{features.size.batch_size} videos; {STEP_METHOD} at full length and width, one thread"
    return measure(
        {"load a batch": load, "training step": lambda: training.step(batch)}, words, repeats
    )


def check(problem: Problem) -> None:
    """Refuse to compare ways that do not read the same."""
    answers = [
        (
            read_in_random_order(open_store(problem.root / folder), problem.videos),
            run_epoch(set_up(problem, way, 0)),
        )
        for way, folder in FOLDERS.items()
    ]
    if answers[0] != answers[1]:
        raise ValueError(f"Expected equal answers, got {answers}.")


def report_rates(problem: Problem, times: Iterable[Measurement]) -> None:
    """Print videos and bytes a second, and how many steps a second that feeds."""
    for m in times:
        if m.name.startswith(("read", "epoch")):
            videos = len(problem.videos) / m.median
            print(
                f"{m.name:<32} {videos:10.0f} videos/s {problem.num_bytes / m.median / 1e6:8.0f} "
                f"MB/s, enough for {videos / _BATCH_SIZE:.1f} steps/s of {_BATCH_SIZE} videos"
            )


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="where to simulate; kept")
    parser.add_argument("--annotations", type=Path, default=REAL if REAL.is_file() else None)
    parser.add_argument("--max_videos", type=int, default=None, help="at most; default all")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a toy size, to try the script out")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where records are kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    narrow = Simulation(rgb_width=1, flow_width=1, vggish_width=1)
    simulation = narrow if options.quick else Simulation()
    count = options.max_videos
    problem = make_problem(options.data / "full", options.annotations, ["train"], count, simulation)
    # Start-up looks at names and heads alone: narrow features of all splits do for it.
    heads = make_problem(options.data / "heads", options.annotations, None, count, narrow)
    check(problem)

    size = f"{len(problem.videos)} videos of UnAV-100, {problem.num_bytes / 1e9:.2f} GB"
    if options.annotations is None:
        size = f"{len(problem.videos)} simulated videos, {problem.num_bytes / 1e6:.2f} MB"
    times = measure_all(problem, heads, size, options.workers, options.repeats)
    toy = {"width": 16, "num_steps": 64, "num_classes": 4} if options.quick else {}
    times += measure_step(problem, options.repeats, toy)

    names = [m.name for m in times if ", loose, " in m.name]
    ratios = [
        ratio(
            f"{n}: loose over packed".replace(", loose", ""), times, n, n.replace("loose", "packed")
        )
        for n in names
    ]
    ratios.append(ratio("training step over loading", times, "training step", "load a batch"))
    write_record("loading", times, ratios, SEED, 1, folder=options.folder)
    report_rates(problem, times)


def _bytes_from_disk() -> int:
    """Return what this process and its ended children have read from the disk."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return 512 * sum(resource.getrusage(each).ru_inblock for each in who)


if __name__ == "__main__":
    main()
