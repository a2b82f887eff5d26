"""Order of the videos: each once, the same on every run, batches of similar lengths."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.data.sampling import EpochSampler

LENGTHS = st.lists(st.integers(1, 3000), min_size=1, max_size=80)


def order(lengths, epoch=0, num_replicas=1, rank=0, seed=0, batch_size=4, **settings):
    sampler = EpochSampler(lengths, num_replicas, rank, seed, batch_size, **settings)
    sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize("ratio", [None, 1.5])
@pytest.mark.parametrize("num_replicas", [1, 2, 3])
def test_each_device_gets_its_part(num_replicas, ratio):
    lengths = [10, 200, 30, 44, 50, 60, 7]
    parts = [
        order(lengths, 4, num_replicas, rank, batch_size=2, bucket_ratio=ratio)
        for rank in range(num_replicas)
    ]
    assert {len(part) for part in parts} == {7 // num_replicas}
    everything = [pair for part in parts for pair in part]
    assert len(set(everything)) == len(everything)
    assert {epoch for epoch, _ in everything} == {4}


@pytest.mark.parametrize("ratio", [None, 1.2])
def test_order_follows_from_seed_and_epoch(ratio):
    def indices(**choice):
        return [index for _, index in order(list(range(1, 41)), bucket_ratio=ratio, **choice)]

    assert indices(epoch=3) == indices(epoch=3)
    assert indices(epoch=3) != indices(epoch=4)
    assert indices(epoch=3) != indices(epoch=3, seed=1)
    assert sorted(indices(epoch=3)) == list(range(40))


def test_without_buckets_the_order_is_that_of_pytorch():
    expected = torch.randperm(11, generator=torch.Generator().manual_seed(5 + 2)).tolist()
    assert [index for _, index in order([9] * 11, epoch=2, seed=5)] == expected


@pytest.mark.parametrize("ratio", [None, 1.5])
def test_an_interrupted_epoch_goes_on_where_it_stopped(ratio):
    lengths = list(range(1, 31))
    whole = order(lengths, epoch=6, bucket_ratio=ratio)
    assert order(lengths, bucket_ratio=ratio, position=lambda: (6, 12)) == whole[12:]


def batches_of(lengths, num_replicas, batch_size, ratio, seed):
    """Return the whole batches of all devices at once, and what is left over."""
    parts = [
        [
            index
            for _, index in order(
                lengths, 1, num_replicas, rank, seed, batch_size, bucket_ratio=ratio
            )
        ]
        for rank in range(num_replicas)
    ]
    count = len(parts[0]) // batch_size
    batches = [
        [part[i * batch_size : (i + 1) * batch_size] for part in parts] for i in range(count)
    ]
    return batches, [part[count * batch_size :] for part in parts]


@settings(max_examples=150, deadline=None)
@given(
    lengths=LENGTHS,
    num_replicas=st.integers(1, 3),
    batch_size=st.integers(1, 8),
    ratio=st.floats(1.01, 10),
    seed=st.integers(0, 99),
)
def test_buckets_bound_the_padding(lengths, num_replicas, batch_size, ratio, seed):
    batches, rest = batches_of(lengths, num_replicas, batch_size, ratio, seed)
    plain, plain_rest = batches_of(lengths, num_replicas, batch_size, None, seed)
    assert len(batches) == len(plain)
    seen = [index for batch in batches for part in batch for index in part]
    assert len(set(seen)) == len(seen)
    # The very videos that training without buckets sees in this epoch.
    assert set(seen) == {index for batch in plain for part in batch for index in part}
    assert rest == plain_rest
    # All batches but those on a border between two ranges of lengths are alike in length.
    ranges = {math.floor(math.log(lengths[index]) / math.log(ratio)) for index in seen}
    steps = [[lengths[index] for part in batch for index in part] for batch in batches]
    mixed = [lens for lens in steps if max(lens) > ratio * min(lens) * (1 + 1e-9)]
    assert len(mixed) <= max(0, len(ranges) - 1)


def test_batches_come_in_random_order_of_length():
    lengths = list(range(1, 401))
    indices = [index for _, index in order(lengths, batch_size=4, bucket_ratio=1.1)]
    means = [sum(indices[i : i + 4]) for i in range(0, 400, 4)]
    assert means not in (sorted(means), sorted(means, reverse=True))


def test_padding_of_very_unequal_videos_shrinks():
    """THUMOS14's lengths span two orders of magnitude."""
    lengths = torch.logspace(2, 4, 200).round().int().tolist()

    def padding(ratio):
        indices = [index for _, index in order(lengths, batch_size=4, bucket_ratio=ratio)]
        groups = [[lengths[i] for i in indices[k : k + 4]] for k in range(0, 200, 4)]
        return sum(4 * max(group) for group in groups) / sum(lengths)

    assert padding(None) > 1.7
    assert padding(1.25) < 1.25
