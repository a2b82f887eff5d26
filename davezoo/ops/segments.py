"""Temporal intersection over union (tIoU) of segments.

Reference:
    Caba Heilbron et al., "ActivityNet: A Large-Scale Video Benchmark for Human Activity
    Understanding", CVPR 2015, section 5: the overlap that detections are matched by.
"""

import torch
from torch import Tensor


def tiou(first: Tensor, second: Tensor) -> Tensor:
    """Return the temporal IoU of segments taken one by one.

    `tIoU = intersection / union` of two intervals, without the small constant that many codes add.
    Two segments of length zero have tIoU 0 (not 0 / 0), also when they are equal.

    Args:
        first: starts and ends, (..., 2); any unit.
        second: starts and ends, broadcastable with `first`; the same unit.

    Returns:
        tIoU, (...), from 0 to 1.

    Example:
        >>> tiou(torch.tensor([0.0, 4.0]), torch.tensor([2.0, 6.0]))
        tensor(0.3333)
    """
    starts = torch.maximum(first[..., 0], second[..., 0])
    ends = torch.minimum(first[..., 1], second[..., 1])
    intersection = (ends - starts).clamp(min=0)
    lengths = (first[..., 1] - first[..., 0]) + (second[..., 1] - second[..., 0])
    union = lengths - intersection
    # An empty union only occurs with an empty intersection, so any divisor gives the 0 we want.
    return intersection / torch.where(union > 0, union, 1)


def pairwise_tiou(first: Tensor, second: Tensor) -> Tensor:
    """Return the temporal IoU of every segment of one set with every segment of another.

    Args:
        first: starts and ends, (..., N, 2); any unit.
        second: starts and ends, (..., M, 2); the same unit.

    Returns:
        tIoU as `tiou` defines it, (..., N, M).

    Example:
        >>> pairwise_tiou(torch.tensor([[0.0, 4.0]]), torch.tensor([[2.0, 6.0], [4.0, 5.0]]))
        tensor([[0.3333, 0.0000]])
    """
    return tiou(first[..., :, None, :], second[..., None, :, :])
