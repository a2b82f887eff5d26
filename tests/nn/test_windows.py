"""Window attention against a loop over steps and samples, and its properties."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.nn.windows import WindowAttention

D = {"dtype": torch.float64}


def make(window_size=4, num_heads=2, stride=1, *, adaptive=True, strength=0.0, seed=0):
    """Return an attention whose predictor speaks as loudly as `strength`; 0 is untrained."""
    torch.manual_seed(seed)
    width = 4 * num_heads
    attention = WindowAttention(width, num_heads, window_size, stride, adaptive=adaptive).double()
    for name, parameter in attention.named_parameters():
        std = strength if name.startswith("predictor") else 0.5
        torch.nn.init.normal_(parameter, std=std)
    return attention


def inputs(lengths, steps, width=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(steps) < torch.tensor(lengths)[:, None]
    shape = (len(lengths), steps, width)
    draws = [torch.randn(shape, generator=generator, **D) for _ in range(2)]
    return *(x * mask[:, :, None] for x in draws), mask


def heads(lengths, steps, num_heads=2, seed=0):
    """Return queries, keys and values (N, H, T, 4) and the mask; nothing is zero in the padding."""
    generator = torch.Generator().manual_seed(seed)
    shape = (3, len(lengths), num_heads, steps, 4)
    mask = torch.arange(steps) < torch.tensor(lengths)[:, None]
    return *torch.randn(shape, generator=generator, **D), mask


def tell(attention, size, offset):
    """Let the predictor say the same everywhere: size in windows on top of one, and offset."""
    num_heads = attention.num_heads
    attention.predictor.bias.data[:num_heads] = size
    attention.predictor.bias.data[num_heads:] = offset


# A slow reference --------------------------------------------------------------------------------


def placed_window(attention, key, content, window, head):
    """Return the positions of the samples of one window, from keys (H, T, C / H) of one video."""
    size, length = attention.window_size, len(content)
    steps = [step for step in content if step // size == window]
    if not steps:
        return []
    mean = torch.stack([key[:, step].flatten() for step in steps]).mean(0)
    predicted = attention.predictor(torch.nn.functional.leaky_relu(mean)).tolist()
    scale = min(max(1 + predicted[head], 1 / size), max(length / size, 1))
    offset = predicted[attention.num_heads + head]
    middle = (size - 1) / 2
    centre = window * size + middle + size / 2 * offset
    return [centre + scale * (place - middle) for place in range(size)]


def interpolate(rows, position):
    low = int(position)
    high = min(low + 1, len(rows) - 1)
    return (1 - (position - low)) * rows[low] + (position - low) * rows[high]


def mix_by_loops(attention, query, key, value, mask):
    """One video, head, step and sample after the other."""
    out = torch.zeros_like(query)
    size, width = attention.window_size, query.shape[-1]
    for video, row in enumerate(mask):
        content = row.nonzero().flatten().tolist()
        length = 1 + max(content, default=-1)
        for head in range(query.shape[1]):
            samples = {}  # place of a sample: its key and value
            for window in range(-(-query.shape[2] // size)):
                positions = placed_window(attention, key[video], content, window, head)
                for place, position in enumerate(positions):
                    if -0.5 < position < length - 0.5:
                        position = min(max(position, 0), length - 1)
                        if math.ceil(position - 0.5) not in content:
                            continue
                        rows = key[video, head, :length], value[video, head, :length]
                        samples[window * size + place] = [interpolate(x, position) for x in rows]
            for step in range(query.shape[2]):
                near = [pair for place, pair in samples.items() if abs(place - step) <= size // 2]
                if near:
                    keys, values = (torch.stack(rows) for rows in zip(*near, strict=True))
                    weights = (keys @ query[video, head, step] / width**0.5).softmax(0)
                    out[video, head, step] = weights @ values
    return out


@settings(max_examples=25, deadline=None)
@given(
    window_size=st.sampled_from([2, 4, 8]),
    steps=st.integers(1, 20),
    shares=st.lists(st.floats(0.01, 1), min_size=1, max_size=3),
    strength=st.sampled_from([0.0, 0.3, 2.0]),
    seed=st.integers(0, 100),
    gaps=st.sets(st.integers(0, 19)),
)
def test_equals_loops_over_steps_and_samples(window_size, steps, shares, strength, seed, gaps):
    lengths = [max(1, round(share * steps)) for share in shares]
    attention = make(window_size, strength=strength, seed=seed)
    query, key, value, mask = heads(lengths, steps, seed=seed)
    mask = mask & torch.tensor([step not in gaps for step in range(steps)])
    found = attention.mix(query, key, value, mask)
    torch.testing.assert_close(found, mix_by_loops(attention, query, key, value, mask))


@pytest.mark.parametrize("change", [-1e-5, 1e-5])
@pytest.mark.parametrize("output", ["size", "offset"])
@pytest.mark.parametrize("length", [1, 3, 8, 28, 64])
def test_training_starts_smoothly(length, output, change):
    """A small step away from the untrained windows changes the result but little."""
    attention = make(8, strength=0.0)
    query, key, value, mask = heads([length], length)
    before = attention.mix(query, key, value, mask)
    sizes, offsets = attention.predictor.bias.data.chunk(2)
    (sizes if output == "size" else offsets).fill_(change)
    after = attention.mix(query, key, value, mask)
    torch.testing.assert_close(after, before, atol=1e-2, rtol=0)


# The windows -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lengths", "steps"),
    [([256], 256), ([28, 9], 28), ([14, 1], 14), ([7, 3], 7), ([8], 8), ([1], 1)],
)
def test_untrained_windows_are_the_fixed_ones(lengths, steps):
    """Sampling at whole steps changes nothing: equal to the last bit."""
    adaptive, fixed = make(8), make(8, adaptive=False)
    fixed.load_state_dict(adaptive.state_dict(), strict=False)
    batch = inputs(lengths, steps)
    found, expected = adaptive(*batch), fixed(*batch)
    assert torch.equal(found[batch[2]], expected[batch[2]])


def test_fixed_windows_are_a_band_of_plain_attention():
    attention = make(4, adaptive=False)
    query, key, value, mask = heads([13, 6], 13)
    step = torch.arange(13)
    band = (step[:, None] - step).abs() <= 2
    allowed = band & mask[:, None, None, :]
    scores = (query @ key.transpose(2, 3) / 2).masked_fill(~allowed, -torch.inf)
    weights = torch.where(allowed.any(-1, keepdim=True), scores.softmax(-1), 0)
    torch.testing.assert_close(attention.mix(query, key, value, mask), weights @ value)


def test_an_offset_of_one_moves_a_window_by_half_its_width():
    """Each step then sees the window of the steps that come half a window later."""
    attention = make(8)
    query, key, value, mask = heads([32], 32)
    tell(attention, 0.0, 1.0)
    found = attention.mix(query, key, value, mask)
    moved = [x.roll(-4, dims=2) for x in (key, value)]
    expected = make(8, adaptive=False).mix(query, *moved, torch.arange(32)[None] < 28)
    torch.testing.assert_close(found, expected)
    assert torch.equal(attention.windows.offsets, torch.full((1, 2, 4), 4.0, **D))
    assert torch.equal(attention.windows.sizes, torch.full((1, 2, 4), 8.0, **D))


def test_twice_the_size_samples_every_other_step():
    attention = make(4)
    query, key, _, mask = heads([16], 16)
    position = torch.arange(16, **D).expand(1, 2, 4, 16).transpose(2, 3)  # values tell their place
    tell(attention, 1.0, 0.0)
    found = attention.mix(query, torch.zeros_like(key), position, mask)[0, 0, :, 0].detach()
    assert torch.equal(attention.windows.sizes, torch.full((1, 2, 4), 8.0, **D))
    # Window 1 covers steps 4 to 7, centre 5.5; its samples lie at 2.5, 4.5, 6.5 and 8.5. Step 6
    # attends to places 4 to 8; place 8 is the first sample of window 2, at 6.5.
    assert float(found[6]) == pytest.approx((2.5 + 4.5 + 6.5 + 8.5 + 6.5) / 5)
    # The first sample of window 0 lies at -1.5, outside: step 0 attends to 0.5 and 2.5.
    assert float(found[0]) == pytest.approx((0.5 + 2.5) / 2)


@pytest.mark.parametrize(
    ("told", "expected"),
    [(-5.0, 1.0), (-1.0, 1.0), (0.5, 6.0), (100.0, 13.0)],  # a step at least, the video at most
)
def test_sizes_have_limits(told, expected):
    attention = make(4)
    tell(attention, told, 0.0)
    query, key, value, mask = heads([13], 16)
    attention.mix(query, key, value, mask)
    torch.testing.assert_close(attention.windows.sizes, torch.full((1, 2, 4), expected, **D))


def test_a_step_without_samples_gets_zeros():
    """All windows have moved past the video: nothing is left to attend, nothing is NaN."""
    attention = make(4)
    tell(attention, 0.0, 100.0)
    query, key, value, mask = heads([16, 3], 16)
    for x in (query, key, value):
        x.requires_grad_()
    out = attention.mix(query, key, value, mask)
    assert torch.equal(out, torch.zeros_like(out))
    out.sum().backward()
    gradients = [query.grad, key.grad, value.grad, attention.predictor.bias.grad]
    assert all(x.isfinite().all() for x in gradients)


@pytest.mark.parametrize("offset", [float("nan"), float("inf"), 1e30])
def test_windows_gone_astray_do_not_read_out_of_bounds(offset):
    attention = make(4)
    tell(attention, 0.0, offset)
    assert attention.mix(*heads([16], 16)).shape == (1, 2, 16, 4)


# Padding, batches, gradients ---------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 17), min_size=1, max_size=3),
    more=st.integers(0, 9),
    strength=st.sampled_from([0.0, 1.0, 3.0]),
    seed=st.integers(0, 100),
)
def test_padding_is_never_attended(lengths, more, strength, seed):
    """Neither what stands in the padding nor how much of it there is."""
    attention = make(4, strength=strength, seed=seed)
    query, key, value, mask = heads(lengths, 18, seed=seed)
    grown = [torch.nn.functional.pad(x, (0, 0, 0, more), value=3.0) for x in (query, key, value)]
    grown = [torch.where(torch.arange(18 + more)[:, None] < 18, x, 7.0) for x in grown]
    for x in grown:
        for row, length in enumerate(lengths):
            x[row, :, length:] = 5.0
    grown_mask = torch.nn.functional.pad(mask, (0, more))

    def run(query, key, value, mask):
        attention.zero_grad()
        out = attention.mix(query, key, value, mask) * mask[:, None, :, None]
        out.square().sum().backward()
        bias = attention.predictor.bias.grad
        return out.detach(), bias if bias is None else bias.clone()

    expected, expected_bias = run(query, key, value, mask)
    found, found_bias = run(*grown, grown_mask)
    torch.testing.assert_close(found[:, :, :18], expected)
    torch.testing.assert_close(found_bias, expected_bias)


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(3)))
def test_order_of_the_batch_does_not_matter(order):
    attention = make(strength=1.0)
    x, y, mask = inputs([16, 9, 2], 16)
    expected, found = attention(x, y, mask), attention(x[order], y[order], mask[order])
    torch.testing.assert_close(found, expected[order])


@pytest.mark.parametrize("stride", [1, 2])
def test_gradient_reaches_everything(stride):
    attention = make(strength=0.0, stride=stride)
    x, y, mask = inputs([16, 5, 1], 16)
    attention(x, y, mask[:, ::stride]).square().sum().backward()
    gradients = {name: p.grad for name, p in attention.named_parameters()}
    assert all(grad.isfinite().all() for grad in gradients.values())
    without = {name for name, grad in gradients.items() if not grad.any()}
    # A constant added to all keys cancels in the softmax, but not in the windows behind it.
    assert without <= {"key.norm.bias", "key.linear.bias"}


def test_gradcheck():
    attention = make(4, strength=0.3)
    query, key, value, mask = heads([11, 4], 11)
    rows = [x.requires_grad_() for x in (query, key, value)]

    class Mix(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = attention

        def forward(self, *rows):
            return self.attention.mix(*rows, mask)

    def run(bias, *rows):
        parameters = {"attention.predictor.bias": bias}
        return torch.func.functional_call(Mix(), parameters, rows)

    bias = attention.predictor.bias.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(run, (bias, *rows))


def test_bfloat16_keeps_positions():
    """Position 250.5 is no bfloat16 number; the windows must not be rounded to even steps."""
    attention = make(8).bfloat16()
    tell(attention, 0.0, 0.125)
    rows = [x.bfloat16() for x in heads([256], 256)[:3]]
    attention.mix(*rows, None)
    assert attention.windows.offsets.dtype == torch.float32
    assert torch.equal(attention.windows.offsets, torch.full((1, 2, 32), 0.5))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = make(8).float()(*(x.float() for x in inputs([256], 256)[:2]))
    assert out.isfinite().all()


@pytest.mark.parametrize("window_size", [0, 1, 5, -2])
def test_exception_of_the_window_size(window_size):
    with pytest.raises(ValueError, match=rf"even number of steps, got {window_size}; .* choose 4"):
        WindowAttention(8, 2, window_size)


def test_no_heads():
    with pytest.raises(ValueError, match="`num_heads` to divide `width`, got 0 heads"):
        WindowAttention(8, 0, 4)
