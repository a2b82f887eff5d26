"""Loaders of batches, and where a resumed run goes on in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler

from davezoo.data.collate import collate
from davezoo.data.dataset import EventDataset, Sample
from davezoo.ops.padding import padded_length

Order = Sampler[Any] | Sequence[int]


def make_loader(
    dataset: EventDataset,
    batch_size: int,
    max_length: int,
    length_multiple: int,
    num_workers: int,
    sampler: Order,
    drop_last: bool = False,
) -> DataLoader[Sample]:
    """Return batches of videos.

    Args:
        dataset: the videos.
        batch_size: videos in a batch.
        max_length: length in steps that short videos may be padded to.
        length_multiple: batches are padded to a multiple of this.
        num_workers: processes that load.
        sampler: order of the videos.
        drop_last: leave out a last batch that is not full.
    """
    return DataLoader(
        dataset,
        batch_size=batch_size,  # by name: Lightning builds the loader anew to predict
        sampler=sampler,
        drop_last=drop_last,
        collate_fn=partial(
            collate,
            max_length=max_length,
            length_multiple=length_multiple,
            may_lack_audio=dataset.layout.may_lack_audio,
        ),
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        # Its own generator: starting a loader must not move the random stream of the model.
        generator=torch.Generator().manual_seed(dataset.seed),
    )


def longest_first(lengths: Sequence[int], max_length: int, length_multiple: int) -> list[int]:
    """Return an order of evaluation in which batches hold videos of like lengths.

    Equally padded videos stay in their order. What does not fit into memory shows at once.

    Args:
        lengths: steps of each video.
        max_length: length in steps that short videos may be padded to.
        length_multiple: batches are padded to a multiple of this.
    """
    padded = [padded_length(length, max_length, length_multiple) for length in lengths]
    return sorted(range(len(lengths)), key=lambda index: -padded[index])


def videos_seen(
    trainer: Any, num_videos: int, batch_size: int, steps_before: int
) -> tuple[int, int]:
    """Return the epoch and how many of its videos each device has seen.

    It follows from the optimiser's steps. Lightning calls `set_epoch` only after the workers of a
    resumed run have drawn their first batches, and starts an interrupted epoch's loader anew.

    Args:
        trainer: Lightning's trainer.
        num_videos: training videos, on all devices.
        batch_size: videos in a batch, on each device.
        steps_before: steps of the optimiser in the run that is resumed.
    """
    batches = num_videos // trainer.world_size // batch_size
    limit = trainer.limit_train_batches  # a number of batches, or a float part of them
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    accumulated = trainer.accumulate_grad_batches
    steps_done = max(trainer.global_step, steps_before)
    epoch, step = divmod(steps_done, math.ceil(batches / accumulated))
    return epoch, step * accumulated * batch_size
