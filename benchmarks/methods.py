"""Speed of all methods side by side: a training step and the detection of one video, full size.

Every method runs with the optimiser and the weight average of its recipe on the same batch, in
turns. On a GPU the batch is larger and the networks run in bfloat16.

    python -m benchmarks.methods                        # both feature sets, some 10 minutes
    python -m benchmarks.methods --features i3d --rows UnAV DEL
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

import davezoo
from benchmarks.model import SEED, OurTraining, Size, make_batch
from benchmarks.record import RESULTS, Measurement, Ratio, measure, ratio, write_record
from davezoo.nn.complexity import count_complexity
from davezoo.structures import Batch, FeatureGrid
from davezoo.task import EventLocalizer

# Method and settings that differ from its defaults, by the name of the row.
ROWS: dict[str, tuple[str, dict[str, object]]] = {
    "UnAV": ("UnAV", {}),
    "CCNet": ("CCNet", {}),
    "LoCo": ("LoCo", {}),
    "LoCo base + global": ("LoCo", {"attention": "global", "correspondence": "none"}),
    "DEL": ("DEL", {}),
}
COMPARED = [
    ("CCNet", "UnAV"),
    ("LoCo", "LoCo base + global"),
    ("LoCo", "UnAV"),
    ("DEL", "UnAV"),
]


@dataclass(frozen=True)
class Features:
    """What a data set's features are like.

    Args:
        name: of the feature extractors.
        size: widths and steps.
        grid: where the steps lie.
    """

    name: str
    size: Size
    grid: FeatureGrid


FEATURES = {
    "i3d": Features("I3D and VGGish", Size(), FeatureGrid(fps=25, stride=8, window=24)),
    "onepeace": Features(
        "ONE-PEACE",
        Size(visual_width=1536, audio_width=1536, num_steps=256),
        FeatureGrid(fps=16, stride=4, window=16),
    ),
}


class Training(OurTraining):
    """Training of a row; in bfloat16 on a GPU."""

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        with low_precision(batch.mask.device.type):
            return super().loss(batch)


def low_precision(device: str) -> torch.autocast:
    """Return a context in which a GPU computes in bfloat16."""
    return torch.autocast(device, torch.bfloat16, enabled=device == "cuda")


def make_model(row: str, features: Features) -> EventLocalizer:
    """Build the method of a row with the weights that a training starts from."""
    torch.manual_seed(SEED)
    method, settings = ROWS[row]
    size = features.size
    model: EventLocalizer = getattr(davezoo, method)(
        [f"class {index}" for index in range(size.num_classes)],
        size.visual_width,
        size.audio_width,
        size.num_steps,
        features.grid,
        width=size.width,
        head_width=size.width,
        **settings,
    )
    return model


def full_batch(features: Features, batch_size: int) -> Batch:
    """Draw a batch of full-length videos."""
    size = features.size
    batch = make_batch(size, [size.num_steps] * batch_size, size.num_steps, SEED)
    return replace(batch, grids=[features.grid] * batch_size)


def peak_memory(row: str, features: Features, device: str) -> float:
    """Return the peak memory of two training steps in GiB; run it in a process of its own.

    On a CPU all memory of the process counts, the libraries' 0.4 GiB too; elsewhere only tensors.
    """
    torch.set_num_threads(1)
    training = Training(make_model(row, features).to(device))
    batch = full_batch(features, features.size.batch_size).to(device)
    for _ in range(2):
        training.step(batch)
    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return torch.cuda.max_memory_allocated() / 2**30


def describe(
    rows: Sequence[str], all_features: Sequence[Features], device: str
) -> dict[tuple[str, str], str]:
    """Return size, cost and peak memory in words, by features and row.

    Called before anything is timed: on Linux a process inherits the peak of its parent, and two
    trainings at a time disturb no clock yet.
    """
    cases = [(row, features) for features in all_features for row in rows]
    context = multiprocessing.get_context("spawn")
    at_once = 2 if device == "cpu" else 1
    with ProcessPoolExecutor(at_once, mp_context=context, max_tasks_per_child=1) as processes:
        runs = [processes.submit(peak_memory, *case, device) for case in cases]
    words = {}
    for (row, features), run in zip(cases, runs, strict=True):
        size = features.size
        with torch.device("meta"):
            model = make_model(row, features)
        count = count_complexity(model.detector, size.num_steps)
        words[features.name, row] = (
            f"{size.num_steps} steps, features {size.visual_width}/{size.audio_width}, width "
            f"{size.width}, {size.num_classes} classes, {'bf16' if device == 'cuda' else 'fp32'}; "
            f"{count.layer_parameters / 1e6:.2f} M parameters in layers "
            f"({count.parameters / 1e6:.2f} M in all), {count.layer_macs / 1e9:.2f} GMACs and "
            f"{count.attention_macs / 1e9:.2f} more in attention; peak memory of training "
            f"{run.result():.2f} GiB"
        )
    return words


def measure_rows(
    rows: Sequence[str],
    features: Features,
    words: dict[tuple[str, str], str],
    device: str,
    repeats: int,
) -> list[Measurement]:
    """Time a training step and an inference of every row, in turns."""
    trainings = {row: Training(make_model(row, features).to(device)) for row in rows}
    synchronize = None if device == "cpu" else torch.cuda.synchronize
    count = features.size.batch_size
    batch, video = (full_batch(features, number).to(device) for number in (count, 1))

    def step(row: str) -> Callable[[], object]:
        return lambda: trainings[row].step(batch)

    @torch.inference_mode()
    def detect(row: str) -> object:
        model = trainings[row].model
        with low_precision(device):
            predictions = model(video.visual, video.audio, video.mask)
        return model.detect(predictions, video)

    steps = {f"step, {features.name}, {row}": step(row) for row in rows}
    times = measure(steps, f"{count} videos", repeats, warm_up=2, synchronize=synchronize)
    for training in trainings.values():
        training.model.eval()
    videos = {f"video, {features.name}, {row}": (lambda row=row: detect(row)) for row in rows}
    times += measure(videos, "1 video", repeats, warm_up=2, synchronize=synchronize)
    of_row = [*rows, *rows]
    return [
        replace(m, problem=f"{m.problem}, {words[features.name, row]}")
        for m, row in zip(times, of_row, strict=True)
    ]


def compare(rows: Sequence[str], features: Features, times: list[Measurement]) -> list[Ratio]:
    """Return the ratios between methods of which both sides were measured."""
    return [
        ratio(
            f"{what}, {features.name}: {over} over {under}",
            times,
            f"{what}, {features.name}, {over}",
            f"{what}, {features.name}, {under}",
        )
        for what in ("step", "video")
        for over, under in COMPARED
        if {over, under} <= set(rows)
    ]


def main() -> None:
    """Read the options and run."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--features", nargs="+", choices=list(FEATURES), default=list(FEATURES))
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--repeats", type=int, default=20 if cuda else 3)
    parser.add_argument("--batch_size", type=int, default=16 if cuda else Size.batch_size)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if cuda else "cpu")
    parser.add_argument("--quick", action="store_true", help="a toy size, to try the script out")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where records are kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    toy = {"width": 16, "num_steps": 64, "num_classes": 4} if options.quick else {}
    chosen = [
        replace(features, size=replace(features.size, batch_size=options.batch_size, **toy))
        for features in (FEATURES[name] for name in options.features)
    ]
    words = describe(options.rows, chosen, options.device)
    times: list[Measurement] = []
    ratios: list[Ratio] = []
    for features in chosen:
        found = measure_rows(options.rows, features, words, options.device, options.repeats)
        times += found
        ratios += compare(options.rows, features, found)
    device = "cpu" if options.device == "cpu" else torch.cuda.get_device_name()
    write_record("methods", times, ratios, SEED, 1, device, options.folder)


if __name__ == "__main__":
    main()
