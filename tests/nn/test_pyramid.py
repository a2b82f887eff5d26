"""The cross-modal pyramid against plain blocks put together level by level."""

import pytest
import torch

from davezoo.nn.attention import ConvAttention
from davezoo.nn.masks import StreamMasks
from davezoo.nn.pyramid import CrossModalPyramid
from tests.nn.plain import plain_block, randomise, run_plain


@pytest.fixture
def pyramid():
    torch.manual_seed(0)
    return randomise(CrossModalPyramid(["visual", "audio"], 8, 2, 3, drop_path=0.0).double())


def inputs(lengths, steps):
    torch.manual_seed(1)
    mask = torch.arange(steps) < torch.tensor(lengths)[:, None]
    draws = torch.randn(2, len(lengths), steps, 8, dtype=torch.float64) * mask[:, :, None]
    return dict(zip(["visual", "audio"], draws, strict=True)), StreamMasks(mask)


def test_levels_are_the_published_ones(pyramid):
    streams, given = inputs([12, 5, 1], 12)
    levels, masks = pyramid(streams, given)
    mask, visual, audio = given.video, streams["visual"], streams["audio"]
    for level in range(3):
        blocks = pyramid.blocks["visual"][level], pyramid.blocks["audio"][level]
        first, second = (plain_block(block, 2, 4) for block in blocks)
        # Both ask the other stream as it was before this level.
        visual, audio = (
            run_plain(first, visual, audio, mask),
            run_plain(second, audio, visual, mask),
        )
        mask = mask[:, :: 1 if level == 0 else 2]
        torch.testing.assert_close(levels["visual"][level], visual)
        torch.testing.assert_close(levels["audio"][level], audio)
        assert torch.equal(masks[level], mask)


@pytest.mark.parametrize("length", range(1, 13))
def test_masks_keep_a_step_that_is_partly_covered(pyramid, length):
    _, masks = pyramid(*inputs([length], 12))
    assert [int(mask.sum()) for mask in masks] == [-(-length // s) for s in (1, 2, 4)]


def test_streams_are_told_apart(pyramid):
    streams, mask = inputs([12], 12)
    levels, _ = pyramid(streams, mask)
    swapped, _ = pyramid({"visual": streams["audio"], "audio": streams["visual"]}, mask)
    assert not torch.allclose(levels["visual"][0], levels["audio"][0])
    # each stream has weights of its own
    assert not torch.allclose(swapped["visual"][0], levels["audio"][0])


def test_a_stream_alone_asks_itself(pyramid):
    streams, mask = inputs([12, 5], 12)
    audio = streams["audio"]
    alone, _ = pyramid({"audio": audio}, mask)
    levels, _ = pyramid({"visual": audio, "audio": audio}, mask)
    assert list(alone) == ["audio"]
    torch.testing.assert_close(alone["audio"][0], levels["audio"][0])
    assert not torch.allclose(alone["audio"][1], levels["audio"][1])  # asked the visual stream


def test_without_interaction_each_stream_asks_itself(pyramid):
    streams, mask = inputs([12, 5], 12)
    pyramid.interaction = False
    levels, _ = pyramid(streams, mask)
    for name, x in streams.items():
        alone, _ = pyramid({name: x}, mask)
        torch.testing.assert_close(levels[name], alone[name])


def test_a_stream_without_content_stays_zero_and_asks_with_zeros(pyramid):
    streams, masks = inputs([12, 5], 12)
    sound = torch.arange(12) < torch.tensor([[0], [3]])
    streams["audio"] = streams["audio"] * sound.unsqueeze(-1)
    masks = StreamMasks(masks.video, {"audio": sound})
    levels, videos = pyramid(streams, masks)
    for level, stride in enumerate((1, 2, 4)):
        heard = torch.arange(0, 12, stride) < torch.tensor([[0], [3]])
        assert torch.equal(levels["audio"][level].any(-1), heard)
        assert torch.equal(levels["visual"][level].any(-1), videos[level])
    first = pyramid.blocks["visual"][0]
    asked = first(streams["visual"][:1], torch.zeros(1, 12, 8).double(), videos[0][:1])
    torch.testing.assert_close(levels["visual"][0][:1], asked)


def test_steps_without_sound_are_not_attended(pyramid):
    streams, masks = inputs([12], 12)
    sound = torch.arange(12)[None] < 4
    streams["audio"] = streams["audio"] * sound.unsqueeze(-1)
    levels, _ = pyramid(streams, StreamMasks(masks.video, {"audio": sound}))
    block = plain_block(pyramid.blocks["audio"][0], 2, 4)
    expected = run_plain(block, streams["audio"], streams["visual"], sound)
    torch.testing.assert_close(levels["audio"][0], expected)


def test_attention_of_every_level_is_made_from_its_stride():
    strides = []

    def make(stride):
        strides.append(stride)
        return ConvAttention(8, 2, stride)

    pyramid = CrossModalPyramid(["visual", "audio"], 8, 2, 3, 0.0, attention=make)
    assert strides == [1, 2, 2, 1, 2, 2]
    levels, _ = pyramid.double()(*inputs([12], 12))
    assert [x.shape[1] for x in levels["audio"]] == [12, 6, 3]
