"""One video from arrays in memory, as a batch; for prediction without a data module."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from davezoo.errors import InputError
from davezoo.ops.padding import padded_length
from davezoo.ops.resampling import positions_on, resample, resize
from davezoo.structures import Batch, FeatureGrid

if TYPE_CHECKING:
    import numpy.typing as npt


def batch_of_arrays(
    features: Mapping[str, Tensor | npt.NDArray[Any] | None],
    widths: Mapping[str, int],
    *,
    grid: FeatureGrid,
    audio_grid: FeatureGrid | None,
    resize_to: int | None,
    duration: float | None,
    length_tolerance: int,
    max_length: int,
    length_multiple: int,
) -> Batch:
    """Check and pad the features of one video, brought onto one grid as a data module does.

    Args:
        features: `visual` (T, C_v) and `audio` (T_a, C_a), as they lie on disk; None for one that
            is not read, and for the audio of a video without sound.
        widths: the channels of the modalities that are read.
        grid: where the steps of the visual features lie in seconds, and those of the audio.
        audio_grid: where those of the audio lie, if they are on a grid of their own. Beside visual
            features they are resampled onto `grid`.
        resize_to: steps that the video is stretched or squeezed to; None for none.
        duration: seconds of the video; None for the end of the last feature window.
        length_tolerance: most steps by which the two may differ; the longer is cut. Of the visual
            grid, where the audio has its own.
        max_length: steps that a batch is padded to at most, see `padded_length`.
        length_multiple: coarsest stride of the pyramid.

    Returns:
        A batch of one video without events.

    Raises:
        InputError: if an array is not (T, C) of the right width, is empty or holds NaN, if the
            lengths differ by more than the tolerance, or if the duration is no time.
    """
    _check_duration(duration)
    silent = len(widths) == 2 and features["audio"] is None
    streams = {
        name: _features(name, features[name], width)
        for name, width in widths.items()
        if not (silent and name == "audio")
    }
    if list(streams) == ["audio"]:
        grid = audio_grid or grid
    elif "audio" in streams:
        streams = _on_one_grid(streams, grid, audio_grid, length_tolerance)
    num_steps = min(len(x) for x in streams.values())
    end = grid.end(num_steps)
    if resize_to is not None:
        streams = {name: resize(x[:num_steps], resize_to) for name, x in streams.items()}
        grid, num_steps = grid.resized(num_steps, resize_to), resize_to
    padded = padded_length(num_steps, max_length, length_multiple)
    mask = (torch.arange(padded) < num_steps)[None]
    visual, audio = (
        F.pad(streams[name][:num_steps].T, (0, padded - num_steps))[None]
        if name in streams
        else torch.zeros(1, widths.get(name, 0), padded)
        for name in ("visual", "audio")
    )
    return Batch(
        visual=visual,
        audio=audio,
        mask=mask,
        segments=torch.zeros(1, 1, 2),
        labels=torch.full((1, 1), -1),
        video_ids=["video"],
        durations=[end if duration is None else duration],
        grids=[grid],
        audio_mask=torch.zeros_like(mask) if silent else None,
    )


def _check_duration(duration: float | None) -> None:
    if duration is not None and not 0 < duration < math.inf:
        raise InputError(
            f"Expected `duration` to be positive seconds, got {duration}; leave it out if it is "
            "not known."
        )


def _on_one_grid(
    streams: Mapping[str, Tensor],
    grid: FeatureGrid,
    audio_grid: FeatureGrid | None,
    length_tolerance: int,
) -> dict[str, Tensor]:
    """Bring the audio onto the grid of the visual features; refuse what does not belong together.

    Args:
        streams: `visual` (T, C_v) and `audio` (T_a, C_a).
        grid: of the visual features.
        audio_grid: of the audio features; None for the same.
        length_tolerance: most visual steps by which they may end apart.
    """
    visual, audio = streams["visual"], streams["audio"]
    own = audio_grid or grid
    ends = torch.tensor([grid.end(len(visual)), own.end(len(audio))], dtype=torch.float64)
    last, audio_last = grid.to_grid(ends).tolist()
    if abs(audio_last - last) > length_tolerance + 1e-6:
        hop = own.stride / own.fps
        raise InputError(
            f"Expected `visual` and `audio` to end together up to {length_tolerance} steps, got "
            f"{len(visual)} and {len(audio)} steps: {ends[0]:.2f} s and {ends[1]:.2f} s, with "
            f"{hop:.3g} s from one audio vector to the next; give the grid of the audio as "
            "`audio_grid` (VGGish at its usual 0.96 s: FeatureGrid(100, 96, 96)), or raise "
            "`length_tolerance`."
        )
    if audio_grid is not None and audio_grid != grid:
        audio = resample(audio, positions_on(audio_grid, grid, torch.arange(len(visual))))
    return {"visual": visual, "audio": audio}


def _features(name: str, given: Tensor | npt.NDArray[Any] | None, width: int) -> Tensor:
    """Return the features of one modality as a float32 tensor (T, C), checked."""
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
    return x.float()
