"""The conv-attention block against a softmax written out, masked after every convolution."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.errors import InputError
from davezoo.nn.attention import ConvAttention, ConvAttentionBlock, attend_band
from tests.nn.plain import plain_block, randomise, run_plain


def make(num_heads=2, stride=1, mlp_ratio=2):
    torch.manual_seed(0)
    block = ConvAttentionBlock(4 * num_heads, num_heads, stride=stride, mlp_ratio=mlp_ratio)
    return randomise(block.double())


def inputs(lengths, steps, width, seed=0):
    """Return two sequences that, as inside the network, are zero past the video, and the mask."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(steps) < torch.tensor(lengths)[:, None]
    shape = (len(lengths), steps, width)
    draws = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2)]
    return *(x * mask[:, :, None] for x in draws), mask


@settings(max_examples=40, deadline=None)
@given(
    num_heads=st.sampled_from([1, 2, 3]),
    stride=st.sampled_from([1, 2]),
    mlp_ratio=st.sampled_from([1, 4]),
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    seed=st.integers(0, 100),
)
def test_one_mask_at_the_end_equals_a_mask_after_every_convolution(
    num_heads, stride, mlp_ratio, lengths, seed
):
    block = make(num_heads, stride, mlp_ratio)
    x, y, mask = inputs(lengths, 12, 4 * num_heads, seed)
    expected = run_plain(plain_block(block, num_heads, mlp_ratio), x, y, mask)
    out_mask = mask[:, ::stride]
    found = block(x, y, out_mask, key_mask=out_mask)
    torch.testing.assert_close(found, expected)
    assert not found[~out_mask].any()


def test_self_attention_keeps_two_norms():
    block = make()
    x, _, mask = inputs([9, 4], 9, 8)
    expected = run_plain(plain_block(block, 2, 2), x, x, mask)
    torch.testing.assert_close(block(x, x, mask, key_mask=mask), expected)
    block.norm_y.weight.data += 1
    assert not torch.allclose(block(x, x, mask, key_mask=mask), expected)


def test_padded_steps_that_are_not_zero_agree_with_the_published_order():
    """After the embedding, padded steps hold relu(bias): only what the mask keeps may differ."""
    block = make()
    x, y, mask = inputs([6, 3], 8, 8)
    x, y = (torch.where(mask[:, :, None], z, torch.full_like(z, 0.3)) for z in (x, y))
    expected = run_plain(plain_block(block, 2, 2), x, y, mask)
    torch.testing.assert_close(block(x, y, mask, key_mask=mask), expected)


def test_rows_without_key_mask():
    """The co-occurrence branch: rows of steps past the video come out as zeros, no step is NaN."""
    block = make(num_heads=1)
    x, y, _ = inputs([5, 5, 5], 5, 4)
    mask = torch.tensor([True, False, True])[:, None].expand(-1, 5)
    expected = run_plain(plain_block(block, 1, 2), x, y, mask, mask_keys=False)
    found = block(x, y, mask)
    torch.testing.assert_close(found, expected)
    assert not found[1].any()


def test_the_first_input_answers_and_is_carried_on():
    """Without attention and perceptron what is left is `x`; `y` only asks."""
    block = make()
    x, y, mask = inputs([7], 7, 8)
    torch.nn.init.zeros_(block.add_attention.scale)
    torch.nn.init.zeros_(block.add_mlp.scale)
    torch.testing.assert_close(block(x, y, mask, mask), x)

    attention = ConvAttention(8, 2).double()
    torch.nn.init.zeros_(attention.value.linear.weight)
    torch.nn.init.ones_(attention.value.linear.bias)
    constant = attention(x, y, mask)  # whatever the weights of the keys, they add up to one
    torch.testing.assert_close(constant, constant[:, :1].expand_as(constant))


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_are_finite_with_one_valid_step(stride):
    block = make(stride=stride).float().train()
    x, y, mask = inputs([1, 12], 12, 8)
    x, y = (z.float().requires_grad_() for z in (x, y))
    out = block(x, y, mask[:, ::stride], key_mask=mask[:, ::stride])
    out.square().sum().backward()
    assert out.isfinite().all()
    for tensor in (x, y, *block.parameters()):
        assert tensor.grad.isfinite().all()
    without = {name for name, p in block.named_parameters() if not p.grad.any()}
    assert without <= {"attention.key.norm.bias", "attention.key.linear.bias"}


def test_gradcheck():
    block = make()
    x, y, mask = inputs([4, 2], 4, 8)
    x, y = x.requires_grad_(), y.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: block(a, b, mask, mask), (x, y))


@pytest.mark.parametrize("heads", [3, 0, -2])
def test_heads_must_divide_the_width(heads):
    message = rf"Expected `num_heads` to divide `width`, got {heads} heads and width 8"
    with pytest.raises(InputError, match=message):
        ConvAttention(8, heads)


def test_biases_start_at_zero():
    biases = {n: p for n, p in ConvAttentionBlock(8, 2).named_parameters() if n.endswith("bias")}
    assert len(biases) == 3 + 3 + 3 + 1 + 2
    assert not any(bias.any() for bias in biases.values())


def test_steps_without_content_share_in_the_softmax():
    """Where nothing is, the key is that of zeros and the value is zero."""
    torch.manual_seed(0)
    attention = ConvAttention(8, 2).double()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x, y, mask = inputs([9, 4], 12, 8)
    found = attention(x, y, content_mask=mask)

    def keys(projection):
        return projection.linear(projection.norm(projection.conv(x) * mask[..., None]))

    query, key = attention.query(y), keys(attention.key)
    value = attention.value(x) * mask[..., None]
    split = [z.unflatten(-1, (2, 4)).transpose(1, 2) for z in (query, key, value)]
    weights = (split[0] @ split[1].transpose(2, 3) / 2).softmax(-1)
    expected = attention.out((weights @ split[2]).transpose(1, 2).flatten(2))
    torch.testing.assert_close(found, expected)
    full = torch.ones_like(mask)
    torch.testing.assert_close(attention(x, y, content_mask=full), attention(x, y))


def test_width_of_the_perceptron():
    assert ConvAttentionBlock(8, 2, mlp_width=3).mlp[0].weight.shape == (3, 8)
    assert ConvAttentionBlock(8, 2, mlp_ratio=2).mlp[0].weight.shape == (16, 8)


def test_levels_of_a_pyramid_are_each_on_their_own():
    block = make()
    (x, y, mask), (x_half, y_half, half_mask) = inputs([9, 4], 9, 8), inputs([5, 2], 5, 8, seed=1)
    levels = [block(x, y, mask, mask), block(x_half, y_half, half_mask, half_mask)]
    together = [torch.cat(pair, dim=1) for pair in ((x, x_half), (y, y_half), (mask, half_mask))]
    found = block(*together, key_mask=together[2], lengths=[9, 5])
    torch.testing.assert_close(found, torch.cat(levels, dim=1))
    unmasked = block(*together, lengths=[9, 5])
    torch.testing.assert_close(unmasked[:, :9], block(x, y, mask))


def test_another_attention_takes_the_place():
    class Nowhere(ConvAttention):
        def mix(self, query, key, value, key_mask):
            return torch.zeros_like(query)

    block = ConvAttentionBlock(8, 2, attention=Nowhere(8, 2)).double()
    torch.nn.init.zeros_(block.add_mlp.scale)
    x, y, mask = inputs([7], 7, 8)
    torch.testing.assert_close(block(x, y, mask, mask), x)


# Within a window ----------------------------------------------------------------------------------


def banded(query, key, value, seen, reach):
    """Attend by T x T weights; a row that sees nothing gets zeros."""
    steps = torch.arange(query.shape[2])
    allowed = seen.unsqueeze(-2) & ((steps[:, None] - steps).abs() <= reach)
    logits = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    weights = logits.masked_fill(~allowed, -torch.inf).softmax(-1)
    return torch.where(allowed, weights, 0) @ value


@settings(max_examples=60, deadline=None)
@given(
    num_steps=st.integers(1, 70),
    reach=st.integers(1, 12),
    share=st.sampled_from([0.0, 0.2, 0.9, 1.0]),
    per_head=st.booleans(),
    seed=st.integers(0, 100),
)
def test_blocks_equal_a_band_of_a_square(num_steps, reach, share, per_head, seed):
    """Masks with holes, without anything, and of each head; sequences shorter than a block."""
    generator = torch.Generator().manual_seed(seed)
    shape = (3, 2, 2, num_steps, 4)
    rows = torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
    seen = torch.rand((2, 2 if per_head else 1, num_steps), generator=generator) < share
    weight = torch.randn(shape[1:], generator=generator, dtype=torch.float64)
    results = []
    for attend in (attend_band, banded):
        out = attend(*rows, seen, reach)
        (gradient,) = torch.autograd.grad((out * weight).sum(), rows)
        results.append((out, gradient))
    found, expected = results
    torch.testing.assert_close(found[0], expected[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(found[1], expected[1], atol=1e-6, rtol=0)


def test_nothing_beyond_the_window_is_seen():
    torch.manual_seed(0)
    attention = ConvAttention(8, 2, window=5).double()
    x, y, mask = inputs([30], 30, 8)
    changed = x.clone()
    changed[:, 20] += 1
    differs = (attention(x, y, mask) - attention(changed, y, mask)).abs().sum(-1)[0] > 1e-12
    # Two steps of the window and one of the convolution on either side.
    assert differs.nonzero().flatten().tolist() == list(range(17, 24))


@pytest.mark.parametrize("stride", [1, 2])
def test_a_window_as_wide_as_the_sequence_is_none(stride):
    """On every video and level on its own; with padding and a stride."""
    torch.manual_seed(0)
    everywhere = randomise(ConvAttentionBlock(8, 2, stride=stride).double())
    near = ConvAttentionBlock(8, 2, stride=stride, window=25).double()
    near.load_state_dict(everywhere.state_dict())
    x, y, mask = inputs([12, 5], 12, 8)
    out_mask = mask[:, ::stride]
    expected = everywhere(x, y, out_mask, key_mask=out_mask)
    torch.testing.assert_close(near(x, y, out_mask, key_mask=out_mask), expected)
    torch.testing.assert_close(near(x, y, out_mask), everywhere(x, y, out_mask))


def test_windows_end_with_their_level():
    torch.manual_seed(0)
    block = randomise(ConvAttentionBlock(8, 2, window=5).double())
    (x, y, mask), (x_half, y_half, half_mask) = inputs([9, 4], 9, 8), inputs([5, 2], 5, 8, seed=1)
    levels = [block(x, y, mask, mask), block(x_half, y_half, half_mask, half_mask)]
    together = [torch.cat(pair, dim=1) for pair in ((x, x_half), (y, y_half), (mask, half_mask))]
    found = block(*together, key_mask=together[2], lengths=[9, 5])
    torch.testing.assert_close(found, torch.cat(levels, dim=1))


def test_window_in_low_precision_and_compiled():
    """Padding alone, one valid step and all of them; finite in bfloat16, without a graph break."""
    torch.compiler.reset()
    block = ConvAttentionBlock(8, 2, stride=2, window=5)
    x, y, mask = inputs([0, 1, 24], 24, 8)
    x, y, out_mask = x.float(), y.float(), mask[:, ::2]
    expected = block(x, y, out_mask, key_mask=out_mask)
    compiled = torch.compile(block, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, y, out_mask, key_mask=out_mask), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = block(x, y, out_mask, key_mask=out_mask)
    found.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in block.parameters())
    torch.testing.assert_close(found.float(), expected, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("window", [0, 1, 4, -3])
def test_window_that_is_refused(window):
    with pytest.raises(InputError, match=rf"odd number of at least 3 steps, got {window};"):
        ConvAttention(8, 2, window=window)
