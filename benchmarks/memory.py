"""Peak memory against the length of the video: inference and a training step of every method.

Networks are narrow, so that lengths far beyond training fit into a small machine; what grows with
the length is the same. Each case runs in a process of its own. Of its peak counts what lies above
the process with network and video ready (as Linux tells it); on a GPU only tensors.

The exponent is the slope of log memory over log length from the third length on: 1 is linear, 2 the
square. Inference in chunks is of the same networks and of those whose weights have a fixed length.

    python -m benchmarks.memory                     # up to 20,000 steps
    python -m benchmarks.memory --rows LoCo --lengths 1250 2500 5000
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

import davezoo
from benchmarks.record import RESULTS, Score, write_record
from davezoo.structures import Batch, FeatureGrid
from davezoo.task import EventLocalizer

SEED = 0
GRID = FeatureGrid(fps=30, stride=4, window=16)
LENGTHS = [1280, 2560, 5120, 10240, 20480]
WIDTH, VISUAL_WIDTH, AUDIO_WIDTH, NUM_CLASSES = 64, 128, 32, 10
WINDOW, CHUNK = 19, 1024
_LENGTH_FREE = {"length_free": True}
# Method and settings that differ from its defaults, by the name of the row.
ROWS: dict[str, tuple[str, dict[str, object]]] = {
    "UnAV": ("UnAV", {"dependency_width": 16}),
    "CCNet": (
        "CCNet",
        {
            **_LENGTH_FREE,
            "dependency_width": 16,
            "masked_gates": True,
            "channel_branch": False,
        },
    ),
    "LoCo": ("LoCo", {}),
    "DEL": ("DEL", _LENGTH_FREE),
    "CCNet, fixed length": ("CCNet", {"dependency_width": 16}),
    "DEL, fixed length": ("DEL", {}),
}
# What is done, and the settings for it, by name.
USES: dict[str, dict[str, object]] = {
    "inference": {},
    "inference, window 19": {"attention_window": WINDOW},
    "inference in chunks": {"chunk_length": CHUNK},
    "training step": {},
    "training step, window 19": {"attention_window": WINDOW},
}


class Case(NamedTuple):
    """What one process measures.

    Args:
        row: network.
        use: what is done with it.
        num_steps: length of the video.
    """

    row: str
    use: str
    num_steps: int


def make_model(case: Case) -> EventLocalizer:
    """Build the narrow network of a case with the weights that a training starts from."""
    torch.manual_seed(SEED)
    method, settings = ROWS[case.row]
    model: EventLocalizer = getattr(davezoo, method)(
        [f"class {index}" for index in range(NUM_CLASSES)],
        VISUAL_WIDTH,
        AUDIO_WIDTH,
        CHUNK,
        GRID,
        width=WIDTH,
        head_width=WIDTH,
        **settings,
        **USES[case.use],
    )
    return model


def make_video(num_steps: int) -> Batch:
    """Draw a video with two events."""
    generator = torch.Generator().manual_seed(SEED)
    return Batch(
        visual=torch.randn(1, VISUAL_WIDTH, num_steps, generator=generator),
        audio=torch.randn(1, AUDIO_WIDTH, num_steps, generator=generator),
        mask=torch.ones(1, num_steps, dtype=torch.bool),
        segments=torch.tensor([[[3.0, 20.0], [100.0, 600.0]]]),
        labels=torch.tensor([[1, 2]]),
        video_ids=["video"],
        durations=[GRID.end(num_steps)],
        grids=[GRID],
    )


def peak_memory(case: Case, device: str) -> float:
    """Return the peak memory of a case in MiB above network and video; in a process of its own."""
    torch.set_num_threads(1)
    model = make_model(case).to(device)
    video = make_video(case.num_steps).to(device)
    _forget_peak(device)
    before = _peak(device)
    if case.use.startswith("training"):
        losses = model.losses(model.train()(*video.inputs), video)
        torch.stack(list(losses.values())).sum().backward()
    else:
        with torch.inference_mode():
            model.detect(model.eval()(*video.inputs), video)
    return _peak(device) - before


def _forget_peak(device: str) -> None:
    """Let the peak be what is held now."""
    if device == "cpu":
        Path("/proc/self/clear_refs").write_text("5")
    else:
        torch.cuda.reset_peak_memory_stats()


def _peak(device: str) -> float:
    """Return the peak memory in MiB: of the process, or of the tensors on a GPU."""
    if device == "cpu":
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 2**10
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() / 2**20


def exponent(lengths: Sequence[int], peaks: Sequence[float]) -> float:
    """Return the power of the length that memory grows with, from the third length on."""
    longest = slice(max(0, min(2, len(lengths) - 2)), None)
    return float(np.polyfit(np.log(lengths[longest]), np.log(peaks[longest]), 1)[0])


def cases(rows: Sequence[str], uses: Sequence[str], lengths: Sequence[int]) -> Iterator[Case]:
    """Yield what is to be measured; a fixed length is only read in chunks."""
    for row in rows:
        for use in uses:
            if "fixed" not in row or "chunks" in use:
                yield from (Case(row, use, num_steps) for num_steps in lengths)


def measure(chosen: Sequence[Case], device: str) -> dict[Case, float]:
    """Return the peak memory of each case in MiB, one at a time in a new process."""
    # Else the C library keeps freed tensors below 32 MB, and what is left between them grows with
    # the square: gigabytes that no tensor holds.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(2**20)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as processes:
        runs = {case: processes.submit(peak_memory, case, device) for case in chosen}
        bar = tqdm(runs.items(), desc="memory", unit="case", disable=None)
        return {case: run.result() for case, run in bar}


def describe(peaks: dict[Case, float], device: str) -> list[Score]:
    """Return a score of every case in MiB, and the exponent of every row and use."""
    where = "process" if device == "cpu" else "tensors"
    size = f"width {WIDTH}, features {VISUAL_WIDTH}/{AUDIO_WIDTH}, {NUM_CLASSES} classes, fp32"
    problem = f"peak memory in MiB above network and video, {where}; one video, {size}"
    scores = [
        Score(f"{case.row}, {case.use}, {case.num_steps} steps", problem, [SEED], [peak])
        for case, peak in peaks.items()
    ]
    for row, use in dict.fromkeys((case.row, case.use) for case in peaks):
        own = {c.num_steps: peak for c, peak in peaks.items() if (c.row, c.use) == (row, use)}
        lengths = list(own)
        power = exponent(lengths, list(own.values()))
        words = f"exponent of peak memory over the length, up to {lengths[-1]} steps"
        scores.append(Score(f"{row}, {use}: exponent", words, [SEED], [power]))
    return scores


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--uses", nargs="+", choices=list(USES), default=list(USES))
    parser.add_argument("--lengths", nargs="+", type=int, default=LENGTHS)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where records are kept")
    options = parser.parse_args()
    peaks = measure(list(cases(options.rows, options.uses, options.lengths)), options.device)
    device = "cpu" if options.device == "cpu" else torch.cuda.get_device_name()
    scores = describe(peaks, options.device)
    write_record("memory", [], [], SEED, 1, device, options.folder, scores)


if __name__ == "__main__":
    main()
