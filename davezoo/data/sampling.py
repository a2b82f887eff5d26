"""The order in which training sees the videos."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data.distributed import DistributedSampler


class EpochSampler(DistributedSampler[Any]):
    """Shuffle the videos anew each epoch and tell the data set which epoch it is.

    Yields (epoch, index). Workers hold copies of the data set that never hear of a new epoch, but
    every index is sent to them, so the epoch travels with it; persistent workers stay right. Order
    and crops follow from (seed, epoch) alone, so that a resumed run sees what an unbroken one sees.
    Being a `DistributedSampler`, it is not replaced by Lightning on several devices; each device
    gets its own part, and the same number, of the videos.

    Args:
        lengths: steps of each training video.
        num_replicas: number of devices.
        rank: which of them this one is.
        seed: seed of the order.
        batch_size: videos in a batch, on each device.
        bucket_ratio: how many times longer than its shortest video a batch's longest may be, more
            than 1; None to mix all lengths. `bucketed` says how.
        position: asked at the start of each pass for the epoch and for the number of its videos
            that were seen before a run was interrupted; without it `set_epoch` tells the epoch.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        num_replicas: int,
        rank: int,
        seed: int,
        batch_size: int,
        bucket_ratio: float | None = None,
        position: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        videos: Any = lengths  # all that the parent asks of a data set is its length
        super().__init__(videos, num_replicas, rank, shuffle=True, seed=seed, drop_last=True)
        self.lengths = torch.as_tensor(lengths)
        self.batch_size = batch_size
        self.bucket_ratio = bucket_ratio
        self.position = position

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield (epoch, index) of this device's videos."""
        self.epoch, seen = (self.epoch, 0) if self.position is None else self.position()
        random = torch.Generator().manual_seed(self.seed + self.epoch)
        order = torch.randperm(len(self.lengths), generator=random)
        if self.bucket_ratio is not None:
            # The batches of all devices at once: none waits for one that got longer videos.
            size = self.batch_size * self.num_replicas
            order = bucketed(order, self.lengths, size, self.bucket_ratio, random)
        own = order[self.rank : self.total_size : self.num_replicas].tolist()
        return islice(((self.epoch, index) for index in own), seen, None)


def bucketed(
    order: Tensor, lengths: Tensor, batch_size: int, ratio: float, random: torch.Generator
) -> Tensor:
    """Rearrange videos so that those of a batch are similarly long.

    Only whole batches are rearranged: what does not fill one stays at the end, so that the same
    videos are left out as without buckets. The lengths are divided into ranges [ratio^k,
    ratio^(k+1)); the videos of each stay in their order, and batches are cut from one range after
    the other. At most one batch a border between ranges holds more than one of them. The batches
    are then shuffled.

    Args:
        order: indices of the videos in random order, (N,).
        lengths: steps of each video by its index, at least 1.
        batch_size: videos in a batch.
        ratio: width of a range, more than 1.
        random: where the order of the batches comes from.

    Returns:
        The same indices, (N,).
    """
    num_batches = len(order) // batch_size
    whole, rest = order[: num_batches * batch_size], order[num_batches * batch_size :]
    buckets = (lengths[whole].double().log() / torch.tensor(ratio).double().log()).floor()
    batches = whole[buckets.argsort(stable=True)].view(num_batches, batch_size)
    return torch.cat([batches[torch.randperm(num_batches, generator=random)].flatten(), rest])
