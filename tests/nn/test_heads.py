"""Classification and regression heads."""

import math

import pytest
import torch

from davezoo.nn.heads import DetectionHeads
from tests.nn.plain import randomise

LENGTHS = [8, 4, 2]


def make(**changes):
    torch.manual_seed(0)
    return DetectionHeads(6, 5, 3, len(LENGTHS), **changes)


def inputs():
    torch.manual_seed(1)
    valid = [torch.arange(n) < torch.tensor([[n], [max(n // 2 - 1, 1)]]) for n in LENGTHS]
    return torch.randn(2, sum(LENGTHS), 6), torch.cat(valid, dim=1)


def test_shapes():
    logits, offsets = make()(*inputs(), LENGTHS)
    assert [x.shape for x in logits] == [(2, n, 3) for n in LENGTHS]
    assert [x.shape for x in offsets] == [(2, n, 3, 2) for n in LENGTHS]


@pytest.mark.parametrize("prior", [0.01, 0.3])
def test_classifier_starts_from_the_prior(prior):
    heads = make(prior=prior, absent_classes=[1])
    torch.nn.init.zeros_(heads.classification.out.taps.weight)
    x, _ = inputs()
    logits, _ = heads(x, torch.ones(2, sum(LENGTHS), dtype=torch.bool), LENGTHS)
    probabilities = torch.cat(logits, dim=1).sigmoid()
    expected = torch.tensor([prior, 1e-6, prior]).expand_as(probabilities)
    torch.testing.assert_close(probabilities, expected, rtol=1e-4, atol=0)


def test_published_biases():
    bias = make(absent_classes=[2]).classification.out.bias.tolist()
    assert bias == pytest.approx([-4.59512, -4.59512, -13.81551], abs=1e-4)
    assert bias[0] == pytest.approx(-math.log(0.99 / 0.01))
    assert not make().regression.out.bias.any()


def test_padding_gets_logit_and_offset_zero():
    heads = randomise(make())
    x, mask = inputs()
    logits, offsets = heads(x, mask, LENGTHS)
    assert not torch.cat(logits, dim=1)[~mask].any()
    assert not torch.cat(offsets, dim=1)[~mask].any()
    assert torch.cat(logits, dim=1)[mask].all()


def test_each_level_has_its_scale():
    heads = randomise(make())
    torch.nn.init.ones_(heads.scales)
    _, before = heads(*inputs(), LENGTHS)
    heads.scales.data = torch.tensor([1.0, 2.0, 0.5])
    _, after = heads(*inputs(), LENGTHS)
    assert any(x.any() for x in before)
    for x, y, scale in zip(before, after, (1.0, 2.0, 0.5), strict=True):
        torch.testing.assert_close(y, scale * x)
    heads.scales.data.fill_(-1.0)  # a scale below zero turns the distances round before the ReLU
    _, negated = heads(*inputs(), LENGTHS)
    for x, y in zip(before, negated, strict=True):
        assert not (x * y).any()


def test_offsets_are_class_by_class():
    """Channel 2 k is the distance to the start for class k, channel 2 k + 1 that to the end."""
    heads = make()
    torch.nn.init.zeros_(heads.regression.out.taps.weight)
    heads.regression.out.bias.data = torch.arange(6.0)
    x, _ = inputs()
    _, offsets = heads(x, torch.ones(2, sum(LENGTHS), dtype=torch.bool), LENGTHS)
    for level in offsets:
        assert torch.equal(level[0, 0], torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]))


def test_levels_do_not_see_each_other():
    heads = randomise(make())
    x, mask = inputs()
    logits, offsets = heads(x, mask, LENGTHS)
    start = 0
    for level, length in enumerate(LENGTHS):
        part = slice(start, start + length)
        alone = DetectionHeads(6, 5, 3, 1)
        weights = {**heads.state_dict(), "scales": heads.scales[level : level + 1]}
        alone.load_state_dict(weights)
        own_logits, own_offsets = alone(x[:, part], mask[:, part], [length])
        torch.testing.assert_close(logits[level], own_logits[0])
        torch.testing.assert_close(offsets[level], own_offsets[0])
        start += length
