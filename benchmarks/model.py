"""Speed of UnAV or CCNet beside a plain one: a training step and the detection of one video.

The plain ones, `benchmarks.reference_unav` and `reference_ccnet`, do what the published codes do:
convolutions of (B, C, T) level by level, labels by a loop over points, a fixed length, AdamW and
running average tensor by tensor. Ours run with the optimiser and average of the recipe. Both have
the same weights, and losses and logits are compared before anything is timed.

Suppression is ours on both sides: the published one is compiled and takes 10 ms of an inference of
seconds; Python loops in its place would flatter us (`benchmarks.ops` compares with those).

    python -m benchmarks.model --threads 1 2        # some 20 minutes on two CPU cores
    python -m benchmarks.model --method ccnet --threads 1
"""

from __future__ import annotations

import argparse
import copy
import itertools
import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchmarks.record import RESULTS, Measurement, Ratio, measure, ratio, write_record
from benchmarks.reference_ccnet import ReferenceCCNet
from benchmarks.reference_losses import ReferenceLosses
from benchmarks.reference_unav import ReferenceUnAV
from davezoo import CCNet, UnAV
from davezoo.annotations import read_annotations
from davezoo.ops.padding import padded_length
from davezoo.structures import Batch, FeatureGrid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SEED = 0
GRID = FeatureGrid(fps=25, stride=8, window=24)
ANNOTATIONS = (
    Path(__file__).parents[2] / "shared" / "data" / "unav100" / "unav100_annotations.json.gz"
)
OURS, PLAIN = "davezoo", "plain"
SIDES = {"unav": (UnAV, ReferenceUnAV), "ccnet": (CCNet, ReferenceCCNet)}


@dataclass(frozen=True)
class Size:
    """How large networks and batches are.

    Args:
        visual_width: width of the visual features.
        audio_width: width of the audio features.
        width: channels of each stream and of the heads.
        num_steps: steps of a full-length video; what the plain network always pads to.
        num_classes: classes.
        batch_size: videos of a training step.
        method: `unav` or `ccnet`.
    """

    visual_width: int = 2048
    audio_width: int = 128
    width: int = 512
    num_steps: int = 224
    num_classes: int = 100
    batch_size: int = 2
    method: str = "unav"


QUICK = Size(visual_width=16, audio_width=8, width=16, num_steps=64, num_classes=4)


def make_model(size: Size) -> UnAV | CCNet:
    """Build our model in the state of the first step of a training.

    The gains of the residual paths start at 1 instead of 1e-4, so that a difference in any layer
    shows in the comparison; the work is the same.
    """
    model: UnAV | CCNet = SIDES[size.method][0](
        [f"class {index}" for index in range(size.num_classes)],
        size.visual_width,
        size.audio_width,
        size.num_steps,
        width=size.width,
        head_width=size.width,
    )
    for name, parameter in model.named_parameters():
        if name.endswith(".scale"):
            nn.init.ones_(parameter)
    return model


def make_plain(size: Size, model: UnAV | CCNet) -> ReferenceUnAV:
    """Build the plain network of a method with the weights of ours."""
    return SIDES[size.method][1](model.detector, drop_path=0.1)


def make_batch(size: Size, lengths: Sequence[int], padded: int, seed: int) -> Batch:
    """Draw features and three events a video.

    Args:
        size: widths and classes.
        lengths: steps of each video.
        padded: steps that all are padded to; does not change what is drawn.
        seed: seed of the draw.
    """
    generator = torch.Generator().manual_seed(seed)
    batch, longest = len(lengths), max(lengths)
    mask = torch.arange(padded) < torch.tensor(lengths)[:, None]
    streams = []
    for width in (size.visual_width, size.audio_width):
        x = torch.randn(batch, width, longest, generator=generator)
        streams.append(nn.functional.pad(x, (0, padded - longest)) * mask[:, None])
    starts = torch.rand(batch, 3, generator=generator) * longest * 0.6
    ends = starts + torch.rand(batch, 3, generator=generator) * longest * 0.4
    visual, audio = streams
    return Batch(
        visual=visual,
        audio=audio,
        mask=mask,
        segments=torch.stack([starts, ends], dim=-1),
        labels=torch.randint(0, size.num_classes, (batch, 3), generator=generator),
        video_ids=[f"video {index}" for index in range(batch)],
        durations=[((length - 1) * 8 + 24) / 25 for length in lengths],
        grids=[GRID] * batch,
    )


def realistic_lengths(size: Size, count: int) -> list[list[int]]:
    """Draw the lengths in steps of `count` training batches.

    They are spread evenly over the training videos of UnAV-100, from short to long, where its
    annotations are at hand, else over 60 to 187 steps; then shuffled. On other sizes the share of
    the full length is kept.
    """
    generator = torch.Generator().manual_seed(SEED)
    if ANNOTATIONS.is_file():
        durations = read_annotations(ANNOTATIONS).split("train").videos["duration"]
        lengths = torch.tensor((durations.to_numpy() * GRID.fps - GRID.window) // GRID.stride + 1)
    else:
        lengths = torch.arange(60, 188, dtype=torch.float64)
    number = count * size.batch_size
    ranks = (torch.arange(number, dtype=torch.float64) + 0.5) / number
    chosen = lengths.quantile(ranks)[torch.randperm(number, generator=generator)]
    share = size.num_steps / Size.num_steps
    steps = (chosen * share).long().clamp(1, size.num_steps)
    found: list[list[int]] = steps.view(count, size.batch_size).tolist()
    return found


class OurTraining:
    """Training of a method without a trainer around it."""

    def __init__(self, model: UnAV | CCNet) -> None:
        self.model = model.train()
        # What `configure_optimizers` asks a trainer for.
        model.trainer = SimpleNamespace(  # type: ignore[assignment]
            estimated_stepping_batches=1000,
            num_training_batches=100,
            accumulate_grad_batches=1,
            precision="32-true",
            fit_loop=SimpleNamespace(setup_data=lambda: None),
        )
        recipe: Any = model.configure_optimizers()
        self.optimizer: torch.optim.Optimizer = recipe["optimizer"]
        for group in self.optimizer.param_groups:  # the warm-up would begin at 0
            group["lr"] = model.learning_rate
        # Lightning's callback hands its arguments on to torch when a trainer starts.
        self.average = AveragedModel(
            model, use_buffers=True, multi_avg_fn=get_ema_multi_avg_fn(0.999)
        )

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        predictions = self.model(batch.visual, batch.audio, batch.mask)
        return torch.stack(list(self.model.losses(predictions, batch).values())).sum()

    def step(self, batch: Batch) -> None:
        """Train on one batch."""
        self.optimizer.zero_grad()
        self.loss(batch).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.average.update_parameters(self.model)


class PlainTraining:
    """Training of the plain network in the order of the published code."""

    def __init__(self, network: ReferenceUnAV) -> None:
        self.network = network.train()
        self.losses = ReferenceLosses()
        decayed = [m.weight for m in network.modules() if isinstance(m, nn.Conv1d)]
        ids = {id(parameter) for parameter in decayed}
        others = [p for p in network.parameters() if id(p) not in ids]
        groups = [
            {"params": decayed, "weight_decay": 1e-4},
            {"params": others, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-4)
        self.average = copy.deepcopy(network)

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        predictions = self.network(batch.visual, batch.audio, batch.mask)
        return self.losses(self.network, predictions, batch.segments, batch.labels)

    def step(self, batch: Batch) -> None:
        """Train on one batch."""
        self.optimizer.zero_grad()
        self.loss(batch).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self._update_average()

    @torch.no_grad()
    def _update_average(self) -> None:
        current = self.network.state_dict()
        for name, averaged in self.average.state_dict().items():
            averaged.copy_(0.999 * averaged + 0.001 * current[name])


def make_trainings(size: Size, device: str) -> tuple[OurTraining, PlainTraining]:
    """Build both sides with the same weights and say that they compute the same.

    Raises:
        AssertionError: if losses or logits differ by more than rounding.
    """
    torch.manual_seed(SEED)
    model = make_model(size)
    plain = PlainTraining(make_plain(size, model).to(device))
    ours = OurTraining(model.to(device))
    # Other lengths than the full one, so that masks and padding are part of the comparison.
    lengths = [size.num_steps // 2, size.num_steps // 3]
    batch = make_batch(size, lengths, size.num_steps, SEED).to(device)
    inputs = batch.visual, batch.audio, batch.mask
    network = plain.network.eval()
    model.eval()
    with torch.no_grad():
        for found, expected in zip(model(*inputs).logits, network(*inputs).logits, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
        # The first normaliser of both is 250, and only training moves ours: undo the plain one's.
        expected = plain.loss(batch) * plain.losses.normalizer / 250
        torch.testing.assert_close(ours.loss(batch), expected, rtol=1e-4, atol=0)
    plain.losses.normalizer = 250.0
    network.train()
    model.train()
    return ours, plain


def measure_training(
    size: Size, device: str, name: str, repeats: int, lengths: Sequence[Sequence[int]] | None = None
) -> list[Measurement]:
    """Time a training step on both sides.

    Args:
        size: sizes of network and batch.
        device: where both run.
        name: begins the names of the measurements.
        repeats: timed steps a side.
        lengths: steps of the videos of each batch, taken one batch after the other; by default all
            are of full length. Ours pads to the batch, the plain side to the full length.
    """
    ours, plain = make_trainings(size, device)
    lengths = lengths or [[size.num_steps] * size.batch_size]
    fixed = ours.model.detector.fixed_length  # then the network pads to the full length itself
    padded = [
        size.num_steps if fixed else padded_length(max(batch), size.num_steps, 32)
        for batch in lengths
    ]
    pairs = list(zip(lengths, padded, range(len(lengths)), strict=True))
    short = _repeat([make_batch(size, videos, to, seed) for videos, to, seed in pairs], device)
    full = _repeat([make_batch(size, v, size.num_steps, seed) for v, _, seed in pairs], device)
    functions: dict[str, Callable[[], object]] = {
        f"{name}, {OURS}": lambda: ours.step(next(short)),
        f"{name}, {PLAIN}": lambda: plain.step(next(full)),
    }
    mean = sum(map(sum, lengths)) / sum(map(len, lengths))
    problem = (
        f"{size.batch_size} videos, {mean:.0f} steps on average, ours padded to "
        f"{sum(padded) / len(padded):.0f}, plain to {size.num_steps}; {_words(size)}"
    )
    return measure(functions, problem, repeats, warm_up=2, synchronize=_synchronize(device))


def measure_inference(size: Size, device: str, name: str, repeats: int) -> list[Measurement]:
    """Time the way from the features of one full-length video to its events on both sides."""
    ours, plain = make_trainings(size, device)
    model, network = ours.model.eval(), plain.network.eval()
    batch = make_batch(size, [size.num_steps], size.num_steps, SEED).to(device)

    @torch.inference_mode()
    def detect(detector: nn.Module) -> object:
        return model.detect(detector(batch.visual, batch.audio, batch.mask), batch)

    functions: dict[str, Callable[[], object]] = {
        f"{name}, {OURS}": lambda: detect(model.detector),
        f"{name}, {PLAIN}": lambda: detect(network),
    }
    problem = f"1 video, {size.num_steps} steps; {_words(size)}"
    return measure(functions, problem, repeats, warm_up=2, synchronize=_synchronize(device))


def peak_memory(side: str, size: Size, device: str) -> float:
    """Return the peak memory of two training steps in GiB; run it in a process of its own.

    On a CPU all memory of the process counts, the libraries' 0.4 GiB too; elsewhere only tensors.
    """
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    model = make_model(size)
    training: OurTraining | PlainTraining
    if side == OURS:
        training = OurTraining(model.to(device))
    else:
        training = PlainTraining(make_plain(size, model).to(device))
        del model
    batch = make_batch(size, [size.num_steps] * size.batch_size, size.num_steps, SEED).to(device)
    for _ in range(2):
        training.step(batch)
    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return torch.cuda.max_memory_allocated() / 2**30


def peak_memories(size: Size, device: str) -> list[float]:
    """Return the peak memory of ours and of the plain side in GiB.

    Called before anything else: on Linux a process inherits the peak of the one that started it.
    """
    context = multiprocessing.get_context("spawn")
    peaks = []
    for side in (OURS, PLAIN):
        with ProcessPoolExecutor(1, mp_context=context) as process:
            peaks.append(process.submit(peak_memory, side, size, device).result())
    return peaks


def run(
    size: Size, threads: Sequence[int], repeats: int, device: str, folder: Path = RESULTS
) -> Path:
    """Measure everything and write the record.

    Args:
        size: sizes of network and batch.
        threads: numbers of threads to measure with, one after the other.
        repeats: timed calls of each function.
        device: where both sides run.
        folder: where records are kept.
    """
    times: list[Measurement] = []
    ratios: list[Ratio] = []
    peaks = peak_memories(size, device)
    for count in threads:
        torch.set_num_threads(count)
        words = f"{count} thread" + ("s" if count > 1 else "")
        step, real, one = (f"{what}, {words}" for what in ("step", "step, real lengths", "video"))
        lengths = realistic_lengths(size, repeats)
        full = measure_training(size, device, step, repeats)
        times += [
            replace(m, problem=f"{m.problem}; peak memory {peak:.2f} GiB")
            for m, peak in zip(full, peaks, strict=True)
        ]
        times += measure_training(size, device, real, repeats, lengths)
        times += measure_inference(size, device, one, repeats)
        ratios += [
            ratio(f"{name}: plain over ours", times, f"{name}, {PLAIN}", f"{name}, {OURS}")
            for name in (step, real, one)
        ]
    name = "cpu" if device == "cpu" else torch.cuda.get_device_name()
    suite = "model" if size.method == "unav" else f"model_{size.method}"
    return write_record(suite, times, ratios, SEED, max(threads), name, folder)


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--method", choices=list(SIDES), default="unav")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batch_size", type=int, default=Size.batch_size)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--quick", action="store_true", help="a toy size, to try the script out")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where records are kept")
    options = parser.parse_args()
    size = QUICK if options.quick else Size()
    size = replace(size, batch_size=options.batch_size, method=options.method)
    run(size, options.threads, options.repeats, options.device, options.folder)


def _repeat(batches: list[Batch], device: str) -> Iterator[Any]:
    return itertools.cycle([batch.to(device) for batch in batches])


def _synchronize(device: str) -> Callable[[], None] | None:
    return None if device == "cpu" else torch.cuda.synchronize


def _words(size: Size) -> str:
    features = f"features {size.visual_width}/{size.audio_width}"
    return f"{size.method}, {features}, width {size.width}, {size.num_classes} classes"


if __name__ == "__main__":
    main()
