"""Feature sequences on another time grid: by time stamps, or to a fixed number of steps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from davezoo.structures import FeatureGrid


def positions_on(source: FeatureGrid, target: FeatureGrid, steps: Tensor) -> Tensor:
    """Return where steps of one grid lie on another one.

    Args:
        source: the grid to read from.
        target: the grid of `steps`.
        steps: steps of the target grid, (T,).

    Returns:
        For each the position on the source grid whose centre is the same second, (T,), float64;
        between two steps where it lies between their centres, maybe before the first or past the
        last.
    """
    return source.to_grid(target.to_seconds(steps.double()))


def resample(x: Tensor, positions: Tensor) -> Tensor:
    """Interpolate a sequence linearly at fractional steps; beyond its ends, the end is held.

    Args:
        x: features, (T, C).
        positions: steps of `x`, (S,), in any order.

    Returns:
        (S, C), of the type of `x`.
    """
    positions = positions.clamp(0, len(x) - 1)
    before = positions.floor().long()
    after = (before + 1).clamp(max=len(x) - 1)
    weight = (positions - before).to(x).unsqueeze(-1)
    return torch.lerp(x[before], x[after], weight)


def resize(x: Tensor, num_steps: int) -> Tensor:
    """Stretch or squeeze a sequence linearly to a number of steps.

    `FeatureGrid.resized` says where they lie in seconds.

    Args:
        x: features, (T, C), of a floating type.
        num_steps: length to return.

    Returns:
        (`num_steps`, C).

    Reference:
        ActionFormer's loader for ActivityNet (Zhang et al., ECCV 2022), as facts: linear, the
        corners not aligned.
    """
    stretched = F.interpolate(x.T.unsqueeze(0), size=num_steps, mode="linear", align_corners=False)
    return stretched.squeeze(0).T
