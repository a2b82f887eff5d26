"""Path aggregation against plain loops and against itself under padding."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.nn.path_aggregation import (
    GuidedFusion,
    GuideUpdate,
    MaxSigmoidGate,
    PathAggregation,
    StridedPyramid,
    pool_valid,
)
from tests.nn.plain import randomise


def mask_of(lengths, steps):
    return torch.arange(steps) < torch.tensor(lengths)[:, None]


def draw(lengths, steps, width, seed=1):
    torch.manual_seed(seed)
    mask = mask_of(lengths, steps)
    return torch.randn(len(lengths), steps, width, dtype=torch.float64) * mask[..., None], mask


# Strided pyramid ---------------------------------------------------------------------------------


@pytest.mark.parametrize("masked", [False, True])
def test_strided_pyramid_of_nothing_is_nothing(masked):
    pyramid = randomise(StridedPyramid(6, 3, masked)).double()
    x, mask = draw([8, 0], 8, 6)
    levels = pyramid(x, [mask, mask[:, ::2], mask[:, ::4]])
    assert all(level[0].any() and not level[1].any() for level in levels)


@pytest.mark.parametrize("masked", [False, True])
def test_strided_pyramid(masked):
    torch.manual_seed(0)
    pyramid = randomise(StridedPyramid(6, 3, masked)).double()
    x, mask = draw([8, 3], 8, 6)
    masks = [mask, mask[:, ::2], mask[:, ::4]]
    levels = pyramid(x, masks)
    assert levels[0] is x
    expected = x
    for level, valid, conv, norm in zip(
        levels[1:], masks[1:], pyramid.convs, pyramid.norms, strict=True
    ):
        expected = F.conv1d(
            expected.transpose(1, 2), conv.weight.squeeze(2), stride=2, padding=1, groups=6
        ).transpose(1, 2)
        expected = F.layer_norm(expected * valid[..., None], (6,), norm.weight, norm.bias)
        if masked:
            expected = expected * valid[..., None]
        torch.testing.assert_close(level, expected)
        assert level[~valid].any() != masked


# Max-sigmoid gate --------------------------------------------------------------------------------


def gate(over_steps, seed=0):
    torch.manual_seed(seed)
    return randomise(MaxSigmoidGate(8, 6, 4, None if over_steps else 5)).double()


@pytest.mark.parametrize("over_steps", [False, True])
def test_gate_is_the_best_match_of_each_step(over_steps):
    module = gate(over_steps)
    x, mask = draw([4, 2], 4, 8)
    guide, guide_mask = draw([5, 3], 5, 6, seed=2)
    found = module(x, mask, guide, guide_mask)
    convolved = module.conv(x, mask, [4])
    for n in range(2):
        rows = guide[n, guide_mask[n]] if over_steps else guide[n].T
        candidates = module.describe(rows)  # (J, D)
        for t in range(4):
            for head in range(4):
                part = slice(2 * head, 2 * head + 2)
                best = (candidates[:, part] @ x[n, t, part]).max()
                weight = torch.sigmoid(best / 2**0.5 + module.bias[head])
                torch.testing.assert_close(found[n, t, part], convolved[n, t, part] * weight)


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(5)), padding=st.integers(0, 3))
def test_gate_over_steps_takes_them_in_any_order(order, padding):
    module = gate(over_steps=True)
    x, mask = draw([4], 4, 8)
    guide, guide_mask = draw([5], 5, 6, seed=2)
    expected = module(x, mask, guide, guide_mask)
    moved = F.pad(guide[:, order], (0, 0, 0, padding), value=1e3)
    found = module(x, mask, moved, F.pad(guide_mask, (0, padding)))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("over_steps", [False, True])
def test_gate_without_a_valid_step_is_its_bias(over_steps):
    module = gate(over_steps)
    x, mask = draw([4], 4, 8)
    guide = torch.randn(1, 5, 6, dtype=torch.float64, requires_grad=True)
    found = module(x, mask, guide, torch.zeros(1, 5, dtype=torch.bool))
    gates = torch.sigmoid(module.bias).repeat_interleave(2)
    torch.testing.assert_close(found, module.conv(x, mask, [4]) * gates)
    found.sum().backward()
    assert guide.grad is not None
    assert not guide.grad.any()


def test_gate_refuses_heads_that_do_not_divide():
    with pytest.raises(ValueError, match=r"multiple of 16, .* got 24; change it"):
        GuidedFusion(24, 8, None)
    with pytest.raises(ValueError, match=r"heads of the max-sigmoid gates"):
        MaxSigmoidGate(8, 6, 0, None)


# Pooling -----------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(length=st.integers(1, 13), padding=st.integers(0, 5), num_bins=st.integers(1, 5))
def test_pooling_of_the_valid_steps_is_adaptive(length, padding, num_bins):
    x, mask = draw([length], length + padding, 3)
    x = x + (~mask)[..., None] * 1e6  # whatever stands in the padding
    expected = F.adaptive_avg_pool1d(x[:, :length].transpose(1, 2), num_bins).transpose(1, 2)
    found = pool_valid(x * mask[..., None], mask, num_bins)
    torch.testing.assert_close(found, expected)


@settings(max_examples=30, deadline=None)
@given(content=st.lists(st.booleans(), max_size=13).filter(any), num_bins=st.integers(1, 5))
def test_pooling_leaves_gaps_out(content, num_bins):
    mask = torch.tensor([content])
    x, _ = draw([len(content)], len(content), 3)
    expected = F.adaptive_avg_pool1d(x[:, mask[0]].transpose(1, 2), num_bins).transpose(1, 2)
    torch.testing.assert_close(pool_valid(x, mask, num_bins), expected)


def test_pooling_of_nothing():
    assert not pool_valid(torch.zeros(1, 4, 2), torch.zeros(1, 4, dtype=torch.bool), 3).any()


def test_published_queries_are_stretched_from_all_steps():
    torch.manual_seed(0)
    update = randomise(GuideUpdate(8, 2, steps=6)).double()
    assert tuple(update.stretch.weight.shape) == (6, 8)  # two levels of four bins
    x, mask = draw([6, 4], 6, 8)
    guide, _ = draw([6, 4], 6, 8, seed=3)
    levels, masks = [x, x[:, ::2]], [mask, mask[:, ::2]]
    pooled = torch.cat([F.adaptive_avg_pool1d(y.mT, 4) for y in levels], dim=2)  # (N, C, 8)
    queries = torch.einsum("ncj,tj->ntc", pooled, update.stretch.weight)
    queries = queries + update.stretch.bias[:, None]
    expected = update.attention(guide, queries, mask) * mask[..., None]
    torch.testing.assert_close(update(levels, masks, guide, mask), expected)


# The whole ---------------------------------------------------------------------------------------


def levels_of(lengths, steps, num_levels, width=16):
    x, mask = draw(lengths, steps, width)
    masks = [mask[:, :: 2**level] for level in range(num_levels)]
    return [draw(lengths, steps, width, 5 + i)[0][:, :: 2**i] for i in range(num_levels)], masks, x


@pytest.mark.parametrize("steps", [16, None])
def test_rows_do_not_see_each_other(steps):
    torch.manual_seed(0)
    neck = randomise(PathAggregation(16, 3, steps)).double()
    levels, masks, guide = levels_of([16, 7], 16, 3)
    together = neck(levels, masks, guide, masks[0])
    alone = neck(*([x[1:] for x in rows] for rows in (levels, masks)), guide[1:], masks[0][1:])
    for found, expected in zip(together, alone, strict=True):
        torch.testing.assert_close(found[1:], expected)


def test_published_mask_of_the_way_down_is_the_coarser_one_doubled():
    """An odd number of valid steps gets one more."""
    torch.manual_seed(0)
    published, free = (randomise(PathAggregation(16, 2, steps)).double() for steps in (16, None))
    levels, masks, guide = levels_of([7], 16, 2)
    found, true = (neck(levels, masks, guide, masks[0])[0][0] for neck in (published, free))
    assert found.any(-1).tolist() == [True] * 8 + [False] * 8
    assert true.any(-1).tolist() == [True] * 7 + [False] * 9


@settings(max_examples=10, deadline=None)
@given(length=st.integers(1, 16), num_levels=st.integers(1, 4))
def test_length_free_form_does_not_depend_on_padding(length, num_levels):
    torch.manual_seed(0)
    neck = randomise(PathAggregation(16, num_levels, None)).double()
    levels, masks, guide = levels_of([length], 32, num_levels)
    expected = neck(levels, masks, guide, masks[0])
    short = [x[:, : 16 >> i] for i, x in enumerate(levels)]
    short_masks = [x[:, : 16 >> i] for i, x in enumerate(masks)]
    found = neck(short, short_masks, guide[:, :16], short_masks[0])
    for i, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        torch.testing.assert_close(ours, theirs[:, : 16 >> i])


def test_heads_of_the_gates():
    neck = PathAggregation(16, 4, 32)
    assert [fuse.gate.num_heads for fuse in neck.top_down] == [8, 4, 4]
    assert [fuse.gate.num_heads for fuse in neck.bottom_up] == [8, 8, 8]


def test_one_level_is_left_as_it_is():
    neck = PathAggregation(16, 1, 32)
    assert list(neck.parameters()) == []
    x = torch.randn(1, 32, 16)
    mask = torch.ones(1, 32, dtype=torch.bool)
    assert neck([x], [mask], x, mask)[0] is x


@pytest.mark.parametrize("steps", [16, None])
def test_an_empty_row_stays_empty_and_an_empty_guide_says_nothing(steps):
    torch.manual_seed(0)
    neck = randomise(PathAggregation(16, 3, steps)).double()
    levels, masks, _ = levels_of([16, 0], 16, 3)
    guide_mask = mask_of([0, 16], 16)
    inputs = [x.requires_grad_() for x in levels]
    found = {}
    for content in (0.0, 1.0):  # whatever stands in the guide that is empty
        guide = torch.stack([torch.full((16, 16), content), torch.randn(16, 16)]).double()
        found[content] = neck(inputs, masks, guide * guide_mask.unsqueeze(-1), guide_mask)
    for level, same in zip(*found.values(), strict=True):
        assert level[0].any()
        assert not level[1].any()
        torch.testing.assert_close(level[0], same[0])
    torch.stack([x.sum() for x in found[0.0]]).sum().backward()
    assert all(x.grad.isfinite().all() for x in inputs)
