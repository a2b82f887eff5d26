from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightning.fabric.utilities.distributed import DistributedSamplerWrapper
from torch.utils.data import RandomSampler

from davezoo.data.loaders import longest_first, make_loader, videos_seen
from davezoo.ops.padding import padded_length


@given(lengths=st.lists(st.integers(1, 400), max_size=30))
def test_longest_first_is_an_order_of_all_videos(lengths):
    order = longest_first(lengths, 224, 32)
    assert sorted(order) == list(range(len(lengths)))
    keys = [(-padded_length(lengths[index], 224, 32), index) for index in order]
    assert keys == sorted(keys)


def test_equally_padded_videos_stay_in_order():
    assert longest_first([20, 30, 10, 300, 32], 224, 32) == [3, 0, 1, 2, 4]


def test_order_does_not_pad_more_than_the_annotations_order():
    lengths = [5, 500, 7, 480, 300, 9, 320, 6]

    def padding(order):
        pairs = zip(order[::2], order[1::2], strict=True)
        return sum(abs(lengths[a] - lengths[b]) for a, b in pairs)

    assert padding(longest_first(lengths, 224, 32)) < padding(range(8)) / 10


def test_devices_share_the_order(folder):
    for index, steps in enumerate([30, 200, 40, 300, 250]):
        folder.add(f"v{index}", steps=steps)
    datamodule = folder.open()
    datamodule.setup("test")
    loader = datamodule.test_dataloader()
    shares = [
        list(DistributedSamplerWrapper(loader.sampler, num_replicas=2, rank=rank, shuffle=False))
        for rank in (0, 1)
    ]
    assert shares == [[3, 1, 0], [4, 2, 3]]  # one video twice: both have the same number


def test_loader(folder):
    for index in range(3):
        folder.add(f"v{index}")
    dataset = folder.dataset()
    loader = make_loader(dataset, 2, 224, 32, 0, [2, 0, 1])
    assert [batch.video_ids for batch in loader] == [["v2", "v0"], ["v1"]]
    loader = make_loader(dataset, 2, 224, 32, 0, RandomSampler(dataset), drop_last=True)
    assert len(list(loader)) == 1


@pytest.mark.parametrize(
    ("steps", "steps_before", "expected"),
    [(0, 0, (0, 0)), (3, 0, (0, 24)), (5, 0, (1, 0)), (0, 7, (1, 16)), (8, 7, (1, 24))],
)
def test_videos_seen(steps, steps_before, expected):
    trainer = SimpleNamespace(
        world_size=2, limit_train_batches=1.0, accumulate_grad_batches=2, global_step=steps
    )
    assert videos_seen(trainer, 85, 4, steps_before) == expected  # 10 batches, 5 steps an epoch
