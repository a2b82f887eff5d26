"""Speed of label assignment and of non-maximum suppression beside plain loops.

Sizes are those of UnAV-100 (224 steps, 441 points, 100 classes, up to 2,000 candidates a level);
the last problem is that of EPIC-Kitchens-100, where 2,000 events a video are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.record import Measurement, Ratio, measure, ratio, write_record
from davezoo.ops.decoding import Candidates
from davezoo.ops.nms import NmsSettings, suppress
from davezoo.ops.points import Points, assign, pyramid_points
from tests.ops import reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

SEED = 0
REPEATS = 9
STRIDES = [1, 2, 4, 8, 16, 32]
RANGES = [(0.0, 4.0), (4.0, 8.0), (8.0, 16.0), (16.0, 32.0), (32.0, 64.0), (64.0, 10000.0)]
NUM_STEPS, NUM_CLASSES = 224, 100


def draw_events(batch: int, count: int) -> tuple[Tensor, Tensor]:
    """Draw events in grid steps, (B, N, 2), and their labels, (B, N)."""
    starts = torch.rand(batch, count) * 180
    segments = torch.stack([starts, starts + torch.rand(batch, count) * 60], dim=-1)
    return segments, torch.randint(0, NUM_CLASSES, (batch, count))


def draw_candidates(batch: int, count: int, num_classes: int) -> Candidates:
    """Draw segments, scores, labels and validity that `suppress` takes."""
    starts = torch.rand(batch, count) * NUM_STEPS
    segments = torch.stack([starts, starts + 1 + torch.rand(batch, count) * 40], dim=-1)
    scores = 0.002 + 0.9 * torch.rand(batch, count)
    labels = torch.randint(0, num_classes, (batch, count))
    return Candidates(segments, scores, labels, torch.ones(batch, count, dtype=torch.bool))


def assign_by_points(points: Points, segments: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Assign one video as is commonly done: comparisons at once, then a loop over the points."""
    left = points.positions[:, None] - segments[:, 0]
    right = segments[:, 1] - points.positions[:, None]
    farther = torch.maximum(left, right)
    inside = torch.minimum(left, right) > 0
    positive = inside & (farther >= points.ranges[:, :1]) & (farther <= points.ranges[:, 1:])
    classes = torch.zeros(len(left), NUM_CLASSES)
    offsets = torch.zeros(len(left), NUM_CLASSES, 2)
    for p in range(len(left)):
        for n in positive[p].nonzero()[:, 0].tolist():
            classes[p, labels[n]] = 1
            offsets[p, labels[n]] = torch.stack([left[p, n], right[p, n]]) / points.strides[p]
    return classes, offsets


def measure_assignment(batch: int, count: int) -> tuple[list[Measurement], list[Ratio]]:
    """Time the assignment of a batch, after checking that both ways agree."""
    points = pyramid_points([NUM_STEPS // s for s in STRIDES], STRIDES, RANGES)
    segments, labels = draw_events(batch, count)

    def by_loops() -> list[tuple[Tensor, Tensor]]:
        videos = zip(segments, labels, strict=True)
        return [assign_by_points(points, *video) for video in videos]

    expected = torch.stack([classes for classes, _ in by_loops()])
    torch.testing.assert_close(assign(points, segments, labels, NUM_CLASSES).classes, expected)
    fast, slow = "assignment", "assignment, loop over points"
    functions: dict[str, Callable[[], object]] = {
        fast: lambda: assign(points, segments, labels, NUM_CLASSES),
        slow: by_loops,
    }
    problem = f"{batch} videos, {len(points.positions)} points, {count} events each"
    times = measure(functions, problem, REPEATS, warm_up=2)
    return times, [ratio("assignment: loop over fast path", times, slow, fast)]


def compare_suppression(count: int, num_classes: int) -> tuple[list[Measurement], list[Ratio]]:
    """Time one video beside plain loops, after checking that both agree."""
    candidates = draw_candidates(1, count, num_classes)
    one = [x[0] for x in candidates[:3]]
    settings = NmsSettings()
    _, scores, _ = reference.suppress(*one, settings)
    found = suppress(*candidates, settings)[0].scores
    np.testing.assert_allclose(np.asarray(found), scores, rtol=1e-5, atol=1e-6)
    fast = f"soft-NMS, {num_classes} classes, one video"
    slow = f"soft-NMS, {num_classes} classes, plain loops"
    functions: dict[str, Callable[[], object]] = {
        fast: lambda: suppress(*candidates, settings),
        slow: lambda: reference.suppress(*one, settings),
    }
    times = measure(functions, f"1 video, {count} candidates", repeats=3)
    return times, [ratio(f"soft-NMS {num_classes} classes: loops over fast", times, slow, fast)]


def measure_suppression(
    name: str, batch: int, count: int, num_classes: int, settings: NmsSettings, repeats: int
) -> list[Measurement]:
    """Time a whole batch; the figure is for all its videos together."""
    candidates = draw_candidates(batch, count, num_classes)
    problem = f"{batch} videos, {count} candidates each, {num_classes} classes"
    return measure({name: lambda: suppress(*candidates, settings)}, problem, repeats)


def main() -> None:
    """Run all measurements and write the record."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    times, ratios = measure_assignment(16, 6)
    for num_classes in (100, 5):
        more_times, more_ratios = compare_suppression(2000, num_classes)
        times, ratios = times + more_times, ratios + more_ratios
    default = NmsSettings()
    voting = NmsSettings(multiclass=False, voting_threshold=0.9)
    many = NmsSettings(max_events=2000)
    times += measure_suppression("soft-NMS, 100 classes", 16, 2000, 100, default, REPEATS)
    times += measure_suppression("soft-NMS, 5 classes", 16, 2000, 5, default, REPEATS)
    times += measure_suppression("soft-NMS, all levels", 16, 10000, 100, default, REPEATS)
    times += measure_suppression("soft-NMS across classes, voting", 16, 2000, 100, voting, REPEATS)
    times += measure_suppression("soft-NMS, 2,000 kept", 16, 30000, 97, many, 3)
    write_record("ops", times, ratios, SEED, threads=1)


if __name__ == "__main__":
    main()
