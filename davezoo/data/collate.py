"""Videos of different lengths as one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch.nn.utils.rnn import pad_sequence

from davezoo.structures import Batch

if TYPE_CHECKING:
    from davezoo.data.dataset import Sample


def padded_length(
    longest: int, max_length: int, length_multiple: int, padding: Literal["batch", "fixed"]
) -> int:
    """Return the number of steps that a batch is padded to.

    Args:
        longest: steps of the longest video of the batch.
        max_length: the published detectors' fixed length.
        length_multiple: stride of the pyramid's coarsest level.
        padding: see `EventDataModule`.
    """
    needed = -(-longest // length_multiple) * length_multiple
    if longest > max_length:  # only in evaluation: training crops
        return needed
    if padding == "fixed":
        return max_length
    # One coarsest step more than needed. In the published networks padded steps are not zero: they
    # hold relu(LayerNorm bias), which reaches the last valid step through convolutions of width 3.
    # With a padded step on every level wherever the fixed length has one, the result equals that
    # of padding to `max_length`; without it the convolutions would see zeros instead.
    return min(needed + length_multiple, max_length)


def collate(
    samples: list[Sample],
    max_length: int,
    length_multiple: int,
    padding: Literal["batch", "fixed"],
) -> Batch:
    """Pad videos to one length and stack them.

    Args:
        samples: the videos, at least one.
        max_length: see `padded_length`.
        length_multiple: see `padded_length`.
        padding: see `padded_length`.

    Returns:
        The batch; at least one row of events, so that N >= 1.
    """
    lengths = torch.tensor([sample.visual.shape[1] for sample in samples])
    steps = padded_length(int(lengths.max()), max_length, length_multiple, padding)
    visual = torch.zeros(len(samples), samples[0].visual.shape[0], steps)
    audio = torch.zeros(len(samples), samples[0].audio.shape[0], steps)
    for row, sample in enumerate(samples):
        visual[row, :, : sample.visual.shape[1]] = sample.visual
        audio[row, :, : sample.audio.shape[1]] = sample.audio
    num_events = max(1, *(len(sample.labels) for sample in samples))
    nothing = [torch.zeros(num_events, 2), torch.zeros(num_events, dtype=torch.int64)]
    segments = pad_sequence([*(s.segments for s in samples), nothing[0]], batch_first=True)
    labels = pad_sequence([*(s.labels for s in samples), nothing[1]], True, padding_value=-1)
    return Batch(
        visual=visual,
        audio=audio,
        mask=torch.arange(steps) < lengths[:, None],
        segments=segments[:-1],
        labels=labels[:-1],
        video_ids=[sample.video_id for sample in samples],
        durations=[sample.duration for sample in samples],
        grids=[sample.grid for sample in samples],
    )
