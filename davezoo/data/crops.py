"""The random crops of training, as the published UnAV loader draws them."""

from __future__ import annotations

import random

from torch import Tensor

_MOST_CROP_TRIALS = 200


def random_crop(
    num_steps: int,
    segments: Tensor,
    labels: Tensor,
    max_length: int,
    crop_ratio: tuple[float, float] | None,
    min_kept_fraction: float,
    rng: random.Random,
) -> tuple[int, int, Tensor, Tensor]:
    """Draw a training crop that keeps at least one event.

    A video longer than `max_length` is cut to `max_length` steps, a shorter one to a random part of
    its length. Starts are drawn until a window keeps an event, 200 times at most.

    Args:
        num_steps: length of the video in grid steps.
        segments: events in grid steps, (N, 2).
        labels: class indices, (N,).
        max_length: longest crop in steps.
        crop_ratio: least and largest part of the video to keep, or None for all of it.
        min_kept_fraction: least part of an event that must lie in the window for it to stay.
        rng: where the random numbers come from; the published code draws them in this order.

    Returns:
        First step and length of the crop; the kept events, cut to the window and shifted to it
        (all events as they are where nothing is cropped), and their labels.

    Reference:
        The published UnAV loader, as ActionFormer's (Zhang et al., ECCV 2022).
    """
    if num_steps > max_length:
        length = max_length
    elif crop_ratio is None:
        return 0, num_steps, segments, labels
    else:
        shortest = max(round(crop_ratio[0] * num_steps), 1)
        longest = min(round(crop_ratio[1] * num_steps), num_steps)
        length = rng.randint(shortest, max(shortest, longest))
        if length == num_steps:
            return 0, num_steps, segments, labels
    for _ in range(_MOST_CROP_TRIALS):
        start = rng.randint(0, num_steps - length)
        inside = segments.clamp(start, start + length)
        kept_fraction = (inside[:, 1] - inside[:, 0]) / (segments[:, 1] - segments[:, 0])
        kept = kept_fraction >= min_kept_fraction
        if kept.any():
            break
    return start, length, inside[kept] - start, labels[kept]
