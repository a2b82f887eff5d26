"""Points of a feature pyramid and the events that supervise each of them.

Reference:
    Zhang et al., "ActionFormer: Localizing Moments of Actions with Transformers", ECCV 2022,
    section 3.3 (regression ranges); Geng et al., "Dense-Localizing Audio-Visual Events in Untrimmed
    Videos", CVPR 2023, official code (class-aware targets, no centre sampling).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class Points(NamedTuple):
    """Where the predictions of a pyramid sit; all levels, finest first.

    Args:
        positions: time of each point in grid steps, (P,).
        strides: grid steps from a point to the next of its level, (P,).
        ranges: shortest and longest distance to an event's farther end that a point is responsible
            for, in grid steps, (P, 2).
    """

    positions: Tensor
    strides: Tensor
    ranges: Tensor


class Assignment(NamedTuple):
    """What each point is trained towards.

    Regression is kept by event, not by class, because a video has far fewer events than there are
    classes. The pairs to regress are `positive & mask[..., None]`, their classes
    `labels[:, None, :]`.

    Args:
        classes: 1 where an event of the class supervises the point, else 0, (B, P, K), float32.
        positive: True where event n supervises point p, (B, P, N); at most one event of each class
            on a point.
        distances: from the point to start and end of each event in strides of the point,
            (B, P, N, 2); meaningful where `positive`.
    """

    classes: Tensor
    positive: Tensor
    distances: Tensor


def pyramid_points(
    level_lengths: Sequence[int],
    strides: Sequence[int],
    regression_ranges: Sequence[tuple[float, float]],
    device: torch.device | str | None = None,
) -> Points:
    """Lay out the points of a pyramid.

    Level `l` has its points at 0, s_l, 2 s_l, ... grid steps (no half-stride offset).

    Args:
        level_lengths: number of points of each level.
        strides: grid steps between neighbouring points of each level.
        regression_ranges: shortest and longest distance of each level in grid steps.
        device: where the tensors are made.

    Returns:
        The points of all levels, one level after the other.

    Raises:
        ValueError: if the three sequences differ in length.

    Example:
        >>> pyramid_points([3, 2], [1, 2], [(0, 4), (4, 8)]).positions
        tensor([0., 1., 2., 0., 2.])
    """
    if not len(level_lengths) == len(strides) == len(regression_ranges):
        raise ValueError(
            "Expected `level_lengths`, `strides` and `regression_ranges` to have one entry a level,"
            f" got {len(level_lengths)}, {len(strides)} and {len(regression_ranges)} entries;"
            " give each level its length, stride and range."
        )
    positions, point_strides, lows, highs = [], [], [], []
    for length, stride, (low, high) in zip(level_lengths, strides, regression_ranges, strict=True):
        steps = torch.arange(length, dtype=torch.float32, device=device)
        positions.append(steps * stride)
        # Filled on the device: a tensor made from Python numbers would be copied there and wait.
        point_strides.append(torch.full_like(steps, stride))
        lows.append(torch.full_like(steps, low))
        highs.append(torch.full_like(steps, high))
    ranges = torch.stack([torch.cat(lows), torch.cat(highs)], dim=-1)
    return Points(torch.cat(positions), torch.cat(point_strides), ranges)


def assign(points: Points, segments: Tensor, labels: Tensor, num_classes: int) -> Assignment:
    """Choose the events that supervise each point.

    With `left = t - start` and `right = end - t`, an event supervises point `t` if
    `min(left, right) > 0` and `low <= max(left, right) <= high`, both ends of the range inclusive:
    a distance that equals the border of two levels is positive on both. Every event that qualifies
    counts, except that of two events of the same class on one point only the later in the list
    stays, as in the official code. Points beyond the video are not treated: mask them afterwards.

    Args:
        points: points of the pyramid.
        segments: events in grid steps, (B, N, 2).
        labels: class indices, (B, N), -1 where there is no event. An index of `num_classes` or more
            would reach no class; annotations are checked when they are read.
        num_classes: number of classes K.

    Returns:
        Classes, positive pairs and distances, on the device of `segments`; nothing is synchronised.

    Raises:
        ValueError: if the shapes of `segments` and `labels` do not agree.

    Example:
        >>> points = pyramid_points([4], [1], [(0, 4)])
        >>> events, labels = torch.tensor([[[0.5, 2.5]]]), torch.tensor([[1]])
        >>> assign(points, events, labels, num_classes=2).classes[0, :, 1]
        tensor([0., 1., 1., 0.])
    """
    if segments.shape != (*labels.shape, 2):
        raise ValueError(
            f"Expected `segments` to be (B, N, 2) for `labels` (B, N), got {tuple(segments.shape)}"
            f" and {tuple(labels.shape)}; pad both to the same number of events."
        )
    positions = points.positions[:, None]
    left = positions - segments[:, None, :, 0]
    right = segments[:, None, :, 1] - positions
    farther = torch.maximum(left, right)
    low, high = points.ranges[:, None].unbind(-1)
    positive = (torch.minimum(left, right) > 0) & (farther >= low) & (farther <= high)
    positive &= (labels >= 0)[:, None]

    num_events = labels.shape[1]
    later = torch.ones(num_events, num_events, dtype=torch.bool, device=labels.device).tril(-1)
    overrides = (labels[:, :, None] == labels[:, None, :]) & later  # [m, n]: m replaces n
    # Products of zeros and ones are exact in every dtype, also in the one autocast picks.
    positive &= torch.bmm(positive.float(), overrides.float()) == 0

    is_class = labels[..., None] == torch.arange(num_classes, device=labels.device)
    # At most one event of a class is left on a point, so the sums are 0 or 1.
    classes = torch.bmm(positive.float(), is_class.float()).float()
    distances = torch.stack([left, right], dim=-1) / points.strides[:, None, None]
    return Assignment(classes, positive, distances)
