"""Layers over time against PyTorch's own convolutions and the published code's arrays."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.nn.layers import (
    DepthwiseConv,
    ScaledResidual,
    SinusoidalPositions,
    TemporalConv,
    in_blocks,
    without_autocast,
    zero_bias_linear,
)

WIDTHS = st.integers(1, 6)


@pytest.fixture(scope="module")
def arrays(golden):
    with np.load(golden / "unav" / "golden_small.npz", allow_pickle=False) as file:
        names = [name for name in file.files if name.startswith(("aux/", "droppath/"))]
        return {name: torch.from_numpy(file[name]) for name in names}


def conv1d_by_level(x, kernel, bias, mask, lengths):
    """Convolve each level of (B, P, C) on its own, then mask."""
    levels = [
        F.conv1d(level.transpose(1, 2), kernel, bias, padding=1).transpose(1, 2)
        for level in x.split(lengths, dim=1)
    ]
    return torch.cat(levels, dim=1) * mask[:, :, None]


# TemporalConv ------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(
    in_width=WIDTHS,
    out_width=WIDTHS,
    bias=st.booleans(),
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
)
def test_temporal_conv_is_a_convolution_of_each_level(in_width, out_width, bias, lengths, seed):
    torch.manual_seed(seed)
    conv = TemporalConv(in_width, out_width, bias=bias).double()
    kernel = torch.randn(out_width, in_width, 3, dtype=torch.float64)
    conv.taps.weight.data = TemporalConv.taps_of(kernel)
    if bias:
        torch.nn.init.normal_(conv.bias)
    x = torch.randn(2, sum(lengths), in_width, dtype=torch.float64)
    mask = torch.rand(2, sum(lengths)) < 0.7
    expected = conv1d_by_level(x, kernel, conv.bias, mask, lengths)
    torch.testing.assert_close(conv(x, mask, lengths), expected)


@pytest.mark.parametrize(
    ("in_width", "out_width", "gathers"), [(3, 5, True), (4, 4, True), (5, 3, False)]
)
def test_taps_lie_on_the_narrower_side(in_width, out_width, gathers):
    conv = TemporalConv(in_width, out_width)
    assert conv.gathers_input is gathers
    kernel = torch.zeros(out_width, in_width, 3)
    assert TemporalConv.taps_of(kernel).shape == conv.taps.weight.shape
    assert max(conv.taps.weight.shape) == max(3 * min(in_width, out_width), in_width, out_width)


def test_temporal_conv_starts_like_conv1d():
    torch.manual_seed(0)
    ours = TemporalConv(64, 32).taps.weight.detach()
    theirs = torch.nn.Conv1d(64, 32, 3, bias=False).weight.detach()
    assert float(ours.abs().max()) == pytest.approx(float(theirs.abs().max()), rel=0.02)
    assert float(ours.std()) == pytest.approx(float(theirs.std()), rel=0.05)
    assert TemporalConv(4, 4).bias is None
    assert not TemporalConv(4, 4, bias=True).bias.any()


@pytest.mark.parametrize("widths", [(2, 3), (3, 2)])
def test_temporal_conv_with_a_stride(widths):
    """Every other step of the plain one, the first included, also for an odd length."""
    plain, strided = TemporalConv(*widths, bias=True), TemporalConv(*widths, bias=True, stride=2)
    strided.load_state_dict(plain.state_dict())
    x, mask = torch.randn(2, 9, widths[0]), torch.rand(2, 9) < 0.7
    kept = [0, 2, 4, 5, 7]  # of a level of 5 steps and one of 4
    expected = plain(x, mask, [5, 4])[:, kept]
    torch.testing.assert_close(strided(x, mask[:, kept], [5, 4]), expected)


@pytest.mark.parametrize("widths", [(2, 3), (3, 2)])
def test_temporal_conv_gradients(widths):
    conv = TemporalConv(*widths, bias=True).double()
    x = torch.randn(2, 5, widths[0], dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True] * 5, [True, True, False, True, False]])
    assert torch.autograd.gradcheck(lambda y: conv(y, mask, [3, 2]), (x,))


# DepthwiseConv -----------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(width=WIDTHS, steps=st.integers(1, 9), stride=st.sampled_from([1, 2]))
def test_depthwise_conv_is_one_dimensional(width, steps, stride):
    torch.manual_seed(width + 10 * steps)
    conv = DepthwiseConv(width, stride).double()
    x = torch.randn(2, steps, width, dtype=torch.float64)
    kernel = conv.weight.squeeze(2)
    expected = F.conv1d(x.transpose(1, 2), kernel, stride=stride, padding=1, groups=width)
    found = conv(x)
    assert found.shape == (2, -(-steps // stride), width)
    torch.testing.assert_close(found, expected.transpose(1, 2))


def test_depthwise_conv_keeps_levels_apart():
    torch.manual_seed(0)
    conv = DepthwiseConv(3).double()
    levels = [torch.randn(2, steps, 3, dtype=torch.float64) for steps in (5, 2, 1)]
    found = conv(torch.cat(levels, dim=1), [5, 2, 1])
    torch.testing.assert_close(found, torch.cat([conv(level) for level in levels], dim=1))


# ScaledResidual ----------------------------------------------------------------------------------


def test_drop_path_is_the_published_one(arrays):
    x = arrays["droppath/x"].transpose(1, 2)  # (N, T, C)
    layer = ScaledResidual(x.shape[-1], drop_path=0.3, initial_scale=1.0).train()
    torch.manual_seed(5)
    found = layer(torch.zeros_like(x), x)
    torch.testing.assert_close(found, arrays["droppath/out"].transpose(1, 2), rtol=1e-6, atol=0)


def test_drop_path_keeps_the_mean():
    torch.manual_seed(0)
    layer = ScaledResidual(2, drop_path=0.25, initial_scale=1.0).train()
    residual = torch.full((20_000, 1, 2), 3.0)
    added = layer(residual, torch.ones(20_000, 1, 2)) - residual
    kept = added[:, 0, 0] > 0
    assert float(kept.float().mean()) == pytest.approx(0.75, abs=0.02)
    torch.testing.assert_close(added[kept], torch.full_like(added[kept], 1 / 0.75))
    assert not added[~kept].any()


@pytest.mark.parametrize(("drop_path", "training"), [(0.9, False), (0.0, True)])
def test_no_path_is_dropped(drop_path, training):
    layer = ScaledResidual(2, drop_path=drop_path).train(training)
    layer.scale.data = torch.tensor([2.0, -1.0])
    residual, path = torch.randn(5, 3, 2), torch.randn(5, 3, 2)
    torch.testing.assert_close(layer(residual, path), residual + layer.scale * path)


def test_initial_scale():
    assert ScaledResidual(3).scale.tolist() == pytest.approx([1e-4] * 3)


# Small helpers -----------------------------------------------------------------------------------


def test_zero_bias_keeps_the_weights_of_a_linear_layer():
    layers = []
    for make in (zero_bias_linear, torch.nn.Linear):
        torch.manual_seed(0)
        layers.append(make(3, 2))
    assert torch.equal(layers[0].weight, layers[1].weight)
    assert not layers[0].bias.any()
    assert layers[1].bias.all()


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_nothing_is_rounded_without_autocast(device):
    x = torch.ones(2, 2, device=device)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = torch.ones(2, 2) @ torch.ones(2, 2)
        with without_autocast(x):
            kept = x @ x
    assert rounded.dtype == torch.bfloat16
    assert kept.dtype == torch.float32


# SinusoidalPositions -----------------------------------------------------------------------------


def test_positions_are_the_published_table(arrays):
    positions = SinusoidalPositions(32, max_length=64, length_multiple=32)
    expected = arrays["aux/pos_embd"].transpose(1, 2)
    found = positions(torch.ones(1, 64, dtype=torch.bool))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    found = positions(torch.ones(3, 10, dtype=torch.bool))
    torch.testing.assert_close(found, expected[:, :10], rtol=0, atol=1e-6)


@pytest.mark.parametrize("steps", [161, 170, 192])
def test_long_positions_are_the_published_ones(arrays, steps):
    positions = SinusoidalPositions(32, max_length=64, length_multiple=32)
    mask = torch.arange(192)[None] < steps
    expected = arrays["aux/pos_embd_long"].transpose(1, 2)
    torch.testing.assert_close(positions(mask), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("longest", [65, 200])
def test_positions_of_a_video_do_not_depend_on_its_batch(longest):
    positions = SinusoidalPositions(8, max_length=64, length_multiple=32)
    lengths = [longest, 100, 40, 64]
    padded = -(-longest // 32) * 32 if longest > 100 else 128
    together = positions(torch.arange(padded) < torch.tensor(lengths)[:, None])
    for row, length in enumerate(lengths):
        own = max(-(-length // 32) * 32, 64)
        alone = positions(torch.arange(own)[None] < length)[0]
        torch.testing.assert_close(together[row, :length], alone[:length], rtol=0, atol=1e-6)


def test_positions_are_no_weights():
    assert SinusoidalPositions(8, 16, 4).state_dict() == {}


# In blocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_rows", [1, 320, 321, 1000])
def test_blocks_of_rows_give_the_whole(num_rows):
    """Value and gradient; in no block are there more rows than are held at a time."""
    torch.manual_seed(0)
    query, key = (torch.randn(2, num_rows, 3, dtype=torch.float64) for _ in range(2))
    results = []
    for compute in (in_blocks, lambda rows_of, count: rows_of(slice(0, count))):
        q, k = (x.clone().requires_grad_() for x in (query, key))
        sizes = []

        def rows_of(rows, q=q, k=k, sizes=sizes):
            logits = q[:, rows] @ k.mT
            sizes.append(logits.shape[1])
            return logits.softmax(-1) @ k

        out = compute(rows_of, num_rows)
        out.square().sum().backward()
        results.append((out, q.grad, k.grad))
    torch.testing.assert_close(*results)
    found = []
    in_blocks(lambda rows: found.append(rows) or query[:, rows], num_rows)
    assert [rows.start for rows in found] == [0, *(rows.stop for rows in found[:-1])]
    assert max(rows.stop - rows.start for rows in found) <= 320


def test_backward_of_blocks_keeps_no_square():
    """What autograd saves grows with the rows, not with their square."""
    saved = []

    def pack(x):
        saved.append(x.numel())
        return x

    x = torch.randn(1, 2000, 2, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda y: y):
        in_blocks(lambda rows: (x[:, rows] @ x.mT).softmax(-1) @ x, 2000)
    assert sum(saved) < 2000 * 20
