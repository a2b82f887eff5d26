"""Collaboration of levels against its equations, on plain blocks."""

import pytest
import torch
import torch.nn.functional as F

from davezoo.nn.dependency import DependencyBlock
from davezoo.nn.granularity import ChannelBranch, CoarseToFine, FineToCoarse, GranularityNeck
from tests.nn.plain import plain_block, randomise, run_plain

LENGTHS = [8, 4, 2]
MASK = torch.arange(8) < torch.tensor([8, 5])[:, None]
MASKS = [MASK, MASK[:, ::2], MASK[:, ::4]]


def levels():
    torch.manual_seed(1)
    draws = [torch.randn(2, steps, 6, dtype=torch.float64) for steps in LENGTHS]
    return [x * mask[..., None] for x, mask in zip(draws, MASKS, strict=True)]


def make(kind, *arguments):
    torch.manual_seed(0)
    return randomise(kind(*arguments).double()).eval()


@pytest.mark.parametrize("lengths", [LENGTHS, None])
def test_coarse_asks_fine(lengths):
    module, given = make(CoarseToFine, 6, 2, lengths, 0.0), levels()
    found, plain = module(given, MASKS), plain_block(module.block, 2, 4)
    for level in range(2):
        coarse = given[level + 1].transpose(1, 2)
        if lengths is None:
            stretched = F.interpolate(coarse, size=LENGTHS[level], mode="linear")
        else:
            weight, bias = module.linears[level].weight, module.linears[level].bias
            stretched = torch.einsum("ts,bcs->bct", weight, coarse) + bias
        asked = stretched.transpose(1, 2).relu()
        expected = run_plain(plain, given[level], asked, MASKS[level])
        torch.testing.assert_close(found[level], expected)
    assert found[2] is given[2]


def test_fine_goes_to_coarse():
    module, given = make(FineToCoarse, 6, 3, 0.0), levels()
    found = module(given, MASKS)
    assert found[0] is given[0]
    finer = given[0]
    for level in (1, 2):
        left = F.pad(finer, (0, 0, 1, 0), value=-torch.inf)[:, :-1]
        right = F.pad(finer, (0, 0, 0, 1), value=-torch.inf)[:, 1:]
        pooled = torch.stack([left, finer, right]).amax(0)[:, ::2]
        plain = plain_block(module.blocks[level - 1], 1, 4)
        finer = given[level] + run_plain(plain, pooled, given[level], MASKS[level])
        torch.testing.assert_close(found[level], finer)


def test_channel_branch_fills_classes_row_by_row():
    module = make(ChannelBranch, 6, 3, 4, LENGTHS, 0.0)
    x, mask = torch.cat(levels(), dim=1), torch.cat(MASKS, dim=1)
    found = module(x, mask, LENGTHS)
    pressed = torch.split(module.press(x, mask, LENGTHS).relu(), LENGTHS, dim=1)
    for level, steps in enumerate(LENGTHS):
        assert found[level].shape == (2, steps, 3, 4)
        channels = pressed[level].transpose(1, 2)
        everywhere = torch.ones(2, 4, dtype=torch.bool)
        mixed = module.blocks[level](channels, channels, everywhere)
        made = module.linears[level](mixed).relu().reshape(2, 4, 3, steps)  # channel, output block
        for channel in range(4):
            for output in range(3):
                row = channel * 3 + output
                place = found[level][:, :, row // 4, row % 4]
                torch.testing.assert_close(place, made[:, channel, output])


def test_neck_applies_its_parts_in_order():
    before, after = make(CoarseToFine, 6, 2, LENGTHS, 0.0), make(FineToCoarse, 6, 3, 0.0)
    dependency = make(DependencyBlock, 6, 3, 4)
    branch = make(ChannelBranch, 6, 3, 4, LENGTHS, 0.0)
    x, mask = torch.cat(levels(), dim=1), torch.cat(MASKS, dim=1)
    found = GranularityNeck(before, branch, dependency, after)(x, mask, LENGTHS)
    fused = torch.cat(before(levels(), MASKS), dim=1)
    fused = dependency(fused, mask, LENGTHS, branch(fused, mask, LENGTHS))
    expected = torch.cat(after(torch.split(fused, LENGTHS, 1), MASKS), dim=1)
    torch.testing.assert_close(found, expected)
    assert GranularityNeck(None, None, None, None)(x, mask, LENGTHS) is x
