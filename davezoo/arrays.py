"""One video from arrays in memory, as a batch; for prediction without a data module."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from davezoo.errors import InputError
from davezoo.ops.padding import padded_length
from davezoo.structures import Batch, FeatureGrid

if TYPE_CHECKING:
    import numpy.typing as npt


def batch_of_arrays(
    features: Mapping[str, Tensor | npt.NDArray[Any] | None],
    widths: Mapping[str, int],
    needed: Sequence[str],
    max_length: int,
    length_multiple: int,
    grid: FeatureGrid,
    duration: float | None,
    length_tolerance: int,
) -> Batch:
    """Check and pad the features of one video.

    Args:
        features: `visual` (T, C_v) and `audio` (T, C_a), as they lie on disk; None for one that is
            not read.
        widths: the channels that each must have.
        needed: the modalities that are read.
        max_length: steps that a batch is padded to at most, see `padded_length`.
        length_multiple: coarsest stride of the pyramid.
        grid: where the steps lie in seconds.
        duration: seconds of the video; None for the end of the last feature window.
        length_tolerance: most steps by which the two may differ; the longer is cut.

    Returns:
        A batch of one video without events.

    Raises:
        InputError: if an array is not (T, C) of the right width, is empty or holds NaN, if the
            lengths differ by more than the tolerance, or if the duration is no time.
    """
    streams = {name: _features(name, features[name], widths[name]) for name in needed}
    lengths = [len(x) for x in streams.values()]
    if max(lengths) - min(lengths) > length_tolerance:
        raise InputError(
            f"Expected `visual` and `audio` to be equally long up to {length_tolerance} steps, got "
            f"{lengths[0]} and {lengths[1]}; extract both with the same time between vectors, or "
            "raise `length_tolerance`."
        )
    if duration is not None and not 0 < duration < math.inf:
        raise InputError(
            f"Expected `duration` to be positive seconds, got {duration}; leave it out if it is "
            "not known."
        )
    num_steps = min(lengths)
    padded = padded_length(num_steps, max_length, length_multiple)
    visual, audio = (
        F.pad(streams[name][:num_steps].T.float(), (0, padded - num_steps))[None]
        if name in streams
        else torch.zeros(1, widths[name], padded)
        for name in ("visual", "audio")
    )
    return Batch(
        visual=visual,
        audio=audio,
        mask=(torch.arange(padded) < num_steps)[None],
        segments=torch.zeros(1, 1, 2),
        labels=torch.full((1, 1), -1),
        video_ids=["video"],
        durations=[grid.end(num_steps) if duration is None else duration],
        grids=[grid],
    )


def _features(name: str, given: Tensor | npt.NDArray[Any] | None, width: int) -> Tensor:
    """Return the features of one modality as a tensor (T, C), checked."""
    if given is None:
        raise InputError(
            f"Expected `{name}` to be given, got None; this model reads the {name} features."
        )
    # Copied: arrays that are mapped from a file cannot be written to, which PyTorch dislikes.
    x = given if isinstance(given, Tensor) else torch.from_numpy(np.array(given, np.float32))
    if x.ndim != 2 or x.shape[1] != width or not len(x):
        raise InputError(
            f"Expected `{name}` to be (T, {width}) with at least one step, got {tuple(x.shape)}; "
            "give the features as they lie on disk, time first."
        )
    if not torch.isfinite(x).all():
        raise InputError(
            f"Expected finite numbers in `{name}`, got NaN or Inf; extract its features again."
        )
    return x
