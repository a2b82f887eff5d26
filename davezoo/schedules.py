"""The learning rate over the steps of a training."""

from __future__ import annotations

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR


def warmup_cosine(
    optimizer: torch.optim.Optimizer, warmup_steps: int, num_steps: int
) -> LRScheduler:
    """Raise the learning rate linearly to its peak, then lower it to 1e-8 along a cosine.

    The first step has rate (nearly) 0 and step `warmup_steps - 1` the peak, as in the published
    code; there the first is exactly 0, here 1e-8 of the peak.

    Args:
        optimizer: its learning rate is the peak.
        warmup_steps: steps of the warm-up.
        num_steps: steps of the whole training.
    """
    warmup_steps = min(warmup_steps, num_steps - 1)
    decay_steps = max(num_steps - max(warmup_steps, 0), 1)
    decay = CosineAnnealingLR(optimizer, decay_steps, eta_min=1e-8)
    if warmup_steps < 2:
        return decay
    rise = LinearLR(optimizer, start_factor=1e-8, total_iters=warmup_steps - 1)
    return SequentialLR(optimizer, [rise, decay], milestones=[warmup_steps])
