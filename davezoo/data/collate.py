"""Videos of different lengths as one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.utils.rnn import pad_sequence

from davezoo.ops.padding import padded_length
from davezoo.structures import Batch

if TYPE_CHECKING:
    from davezoo.data.dataset import Sample


def collate(
    samples: list[Sample],
    max_length: int,
    length_multiple: int,
    may_lack_audio: bool = False,
) -> Batch:
    """Pad videos to one length and stack them.

    Args:
        samples: the videos, at least one.
        max_length: full length in steps; only longer videos are padded beyond it.
        length_multiple: coarsest stride of the pyramid; `ops.padding` says how it is used.
        may_lack_audio: whether there are videos without sound in the data: every batch says then
            which steps have some.

    Returns:
        The batch; at least one row of events, so that N >= 1.
    """
    lengths = torch.tensor([sample.visual.shape[1] for sample in samples])
    steps = padded_length(int(lengths.max()), max_length, length_multiple)
    visual = torch.zeros(len(samples), samples[0].visual.shape[0], steps)
    audio = torch.zeros(len(samples), samples[0].audio.shape[0], steps)
    for row, sample in enumerate(samples):
        visual[row, :, : sample.visual.shape[1]] = sample.visual
        audio[row, :, : sample.audio.shape[1]] = sample.audio
    mask = torch.arange(steps) < lengths[:, None]
    has_audio = torch.tensor([sample.has_audio for sample in samples])
    num_events = max(1, *(len(sample.labels) for sample in samples))
    nothing = [torch.zeros(num_events, 2), torch.zeros(num_events, dtype=torch.int64)]
    segments = pad_sequence([*(s.segments for s in samples), nothing[0]], batch_first=True)
    labels = pad_sequence([*(s.labels for s in samples), nothing[1]], True, padding_value=-1)
    return Batch(
        visual=visual,
        audio=audio,
        mask=mask,
        segments=segments[:-1],
        labels=labels[:-1],
        video_ids=[sample.video_id for sample in samples],
        durations=[sample.duration for sample in samples],
        grids=[sample.grid for sample in samples],
        audio_mask=mask & has_audio[:, None] if may_lack_audio else None,
    )
