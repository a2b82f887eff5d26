"""The two-stream encoder against plain convolutions that are masked one by one."""

import pytest
import torch

from benchmarks.reference_unav import Stream
from davezoo.nn.encoder import StreamEncoder, TwoStreamEncoder
from davezoo.nn.layers import TemporalConv
from davezoo.nn.masks import StreamMasks
from tests.nn.plain import copy_weights, plain_block, randomise, run_plain


def inputs(lengths, steps, width):
    torch.manual_seed(1)
    mask = torch.arange(steps) < torch.tensor(lengths)[:, None]
    return torch.randn(len(lengths), steps, width, dtype=torch.float64) * mask[:, :, None], mask


def plain_convs(encoder, plain):
    """Copy the kernels of the embedding, which ours lays out as the weight of one product."""
    for ours, theirs in zip(encoder.convs, plain.convs, strict=True):
        theirs.double()
        # Read the kernel off the answers to unit impulses, one input channel at a time.
        impulses = torch.eye(theirs.in_channels, dtype=torch.float64)
        x = torch.zeros(theirs.in_channels, 3, theirs.in_channels, dtype=torch.float64)
        x[:, 1] = impulses
        answers = ours(x, torch.ones(len(x), 3, dtype=torch.bool), [3])
        theirs.weight.data = answers.detach().permute(2, 0, 1).flip(2).contiguous()


@pytest.mark.parametrize("in_width", [3, 12])
def test_stream_encoder_is_the_published_one(in_width):
    torch.manual_seed(0)
    encoder = randomise(StreamEncoder(in_width, 8, 2, 2, drop_path=0.0).double())
    plain = Stream(in_width, 8, 2, 2, drop_path=0.0).double()
    plain_convs(encoder, plain)
    copy_weights(encoder.norms, plain.norms)
    copy_weights(encoder.blocks, plain.blocks)
    x, mask = inputs([9, 5, 1], 9, in_width)
    positions = torch.randn(1, 9, 8, dtype=torch.float64)
    expected = plain(x.transpose(1, 2), mask[:, None], positions.transpose(1, 2))
    torch.testing.assert_close(encoder(x, mask, mask, positions), expected.transpose(1, 2))


def test_blocks_run_in_order():
    torch.manual_seed(0)
    encoder = randomise(StreamEncoder(4, 8, 2, 2, drop_path=0.0).double())
    x, mask = inputs([9, 5], 9, 4)
    before = {}
    encoder.blocks[0].register_forward_pre_hook(lambda _, given: before.update(x=given[0]))
    found = encoder(x, mask, mask, torch.zeros(1, 9, 8, dtype=torch.float64))
    expected = before["x"]
    for block in encoder.blocks:
        expected = run_plain(plain_block(block, 2, 4), expected, expected, mask)
    torch.testing.assert_close(found, expected)


def two_streams(**changes):
    torch.manual_seed(0)
    settings = {
        "num_heads": 2,
        "num_blocks": 1,
        "max_length": 16,
        "length_multiple": 4,
        "drop_path": 0.0,
    }
    return TwoStreamEncoder({"visual": 6, "audio": 3}, 8, **{**settings, **changes}).double()


def draw(batch, steps):
    widths = {"visual": 6, "audio": 3}
    return {name: torch.randn(batch, steps, width).double() for name, width in widths.items()}


def test_both_streams_get_the_same_positions():
    encoder = two_streams()
    given = []
    for stream in encoder.streams.values():
        stream.register_forward_pre_hook(lambda _, inputs: given.append(inputs))
    mask = torch.arange(16) < torch.tensor([16, 7])[:, None]
    streams = draw(2, 16)
    found = encoder(streams, StreamMasks(mask))
    assert [x.shape for x in found.values()] == [(2, 16, 8)] * 2
    (x_visual, _, _, positions), (x_audio, _, _, same) = given
    assert positions is same
    torch.testing.assert_close(positions, encoder.positions(mask))
    assert torch.equal(x_visual, streams["visual"])
    assert torch.equal(x_audio, streams["audio"])


def test_padded_steps_come_out_as_zeros():
    encoder = randomise(two_streams())
    mask = torch.arange(16) < torch.tensor([16, 7])[:, None]
    for x in encoder(draw(2, 16), StreamMasks(mask)).values():
        assert not x[~mask].any()
        assert x[mask].all()


def test_a_stream_has_only_what_it_has():
    """Each is encoded as if its own steps were all of the video, but for the same positions."""
    encoder = randomise(two_streams())
    video = torch.arange(16) < torch.tensor([16, 7])[:, None]
    sound = torch.arange(16) < torch.tensor([5, 0])[:, None]
    streams = draw(2, 16)
    streams["audio"] = streams["audio"] * sound.unsqueeze(-1)
    found = encoder(streams, StreamMasks(video, {"audio": sound}))
    plain, short = (encoder(streams, StreamMasks(mask)) for mask in (video, sound))
    torch.testing.assert_close(found["visual"], plain["visual"])
    torch.testing.assert_close(found["audio"][0], short["audio"][0])
    assert not found["audio"][1].any()


def test_another_activation():
    rectified, smooth = two_streams(), two_streams(activation=torch.nn.functional.gelu)
    streams, mask = draw(1, 16), torch.ones(1, 16, dtype=torch.bool)
    given = []
    block = smooth.streams["visual"].blocks[0]
    block.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    found, other = (encoder(streams, StreamMasks(mask)) for encoder in (smooth, rectified))
    assert not torch.allclose(found["visual"], other["visual"])
    smallest = (given[0] - smooth.positions(mask)).min()
    assert -0.17 < smallest < -0.1  # the least value of GELU is -0.17, and ReLU has none below 0


def test_longer_than_the_table():
    encoder = randomise(two_streams())
    mask = torch.ones(1, 24, dtype=torch.bool)
    for x in encoder(draw(1, 24), StreamMasks(mask)).values():
        assert x.shape == (1, 24, 8)
        assert x.isfinite().all()


def test_embedding_takes_the_form_that_fits():
    encoder = two_streams()
    assert not StreamEncoder(12, 8, 2, 1, 0.0).convs[0].gathers_input
    assert encoder.streams["audio"].convs[0].gathers_input
    assert all(isinstance(conv, TemporalConv) for conv in encoder.streams["visual"].convs)
