import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from davezoo.ops.losses import (
    distance_iou_loss,
    generalized_iou_loss,
    sigmoid_focal_loss,
    smooth_l1_offset_loss,
)
from davezoo.ops.segments import tiou

OFFSET_LOSSES = [distance_iou_loss, generalized_iou_loss, smooth_l1_offset_loss]

distance = st.floats(0.125, 50, width=32)
distances = st.tuples(distance, distance)


def load(golden, *names):
    arrays = np.load(golden / "unav" / "golden_small.npz", allow_pickle=False)
    return [torch.from_numpy(arrays[f"loss/{name}"]) for name in names]


def test_focal_loss_equals_the_published_one(golden):
    logits, targets, expected, total = load(
        golden, "focal_logits", "focal_targets", "focal_none", "focal_sum"
    )
    found = sigmoid_focal_loss(logits, targets)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.double().sum(), total, rtol=1e-6, atol=0)


def test_distance_iou_loss_equals_the_published_one(golden):
    predicted, target, mask, expected, total = load(
        golden, "diou_pred", "diou_gt", "diou_mask", "diou_none", "diou_sum"
    )
    found = distance_iou_loss(predicted[mask], target[mask])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.double().sum(), total, rtol=1e-6, atol=0)


@given(st.floats(-15, 15), st.floats(0, 1), st.floats(0, 1), st.sampled_from([0.0, 1.0, 2.0, 3.5]))
def test_focal_loss_equals_its_equation(logit, target, alpha, gamma):
    p = 1 / (1 + math.exp(-logit))
    cross_entropy = -target * math.log(p) - (1 - target) * math.log1p(-p)
    p_t = p * target + (1 - p) * (1 - target)
    expected = (alpha * target + (1 - alpha) * (1 - target)) * (1 - p_t) ** gamma * cross_entropy
    found = sigmoid_focal_loss(torch.tensor(logit), torch.tensor(target), alpha, gamma)
    assert found.item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


@given(distances, distances)
def test_offset_losses_equal_their_definition_on_segments(predicted, target):
    (left, right), (left_t, right_t) = predicted, target
    first, second = torch.tensor([-left, right]), torch.tensor([-left_t, right_t])
    one_minus_tiou = 1 - tiou(first, second)
    predicted, target = torch.tensor(predicted), torch.tensor(target)
    generalized = generalized_iou_loss(predicted, target)
    torch.testing.assert_close(generalized, one_minus_tiou, rtol=1e-5, atol=1e-5)
    enclosing = max(right, right_t) + max(left, left_t)
    shift = (first.mean() - second.mean()) / enclosing
    torch.testing.assert_close(
        distance_iou_loss(predicted, target), one_minus_tiou + shift**2, rtol=1e-5, atol=1e-5
    )


def test_smooth_l1_sums_the_two_ends():
    found = smooth_l1_offset_loss(torch.tensor([0.0, 0.0]), torch.tensor([0.5, 3.0]), beta=1.0)
    assert found.item() == pytest.approx(0.125 + 2.5)
    found = smooth_l1_offset_loss(torch.tensor([0.0, 0.0]), torch.tensor([0.5, 3.0]), beta=2.0)
    assert found.item() == pytest.approx(0.0625 + 2.0)


@pytest.mark.parametrize("loss", OFFSET_LOSSES)
def test_a_perfect_prediction_costs_nothing(loss):
    x = torch.tensor([[1.5, 2.5], [0.25, 7.0]])
    assert loss(x, x).tolist() == [0, 0]


@pytest.mark.parametrize("loss", OFFSET_LOSSES)
@pytest.mark.parametrize(
    # the last two belong to points outside an event, which a mask hides only afterwards
    "target",
    [[0.0, 0.0], [1.0, 0.0], [2.0, 3.0], [-5.0, -1.0], [-200.0, 201.0]],
)
@pytest.mark.parametrize("predicted", [[0.0, 0.0], [0.0, 3.0], [2.0, 3.0]])
def test_values_and_gradients_are_finite_at_zeros(loss, predicted, target):
    predicted = torch.tensor(predicted, requires_grad=True)
    value = loss(predicted, torch.tensor(target))
    value.backward()
    assert value.isfinite()
    assert predicted.grad.isfinite().all()


@pytest.mark.parametrize("loss", OFFSET_LOSSES)
def test_gradients_equal_finite_differences(loss):
    generator = torch.Generator().manual_seed(0)
    predicted = torch.rand(50, 2, generator=generator).mul(5).add(0.5).requires_grad_()
    target = torch.rand(50, 2, generator=generator).mul(5).add(0.5)
    loss(predicted, target).sum().backward()
    step = 2**-8  # the losses are float32, so a smaller step would drown in rounding
    for end in range(2):
        shift = torch.zeros(2)
        shift[end] = step
        with torch.no_grad():
            slope = (loss(predicted + shift, target) - loss(predicted - shift, target)) / (2 * step)
        torch.testing.assert_close(predicted.grad[:, end], slope, rtol=0, atol=2e-3)


@pytest.mark.parametrize("logit", [-1e4, -200.0, 0.0, 200.0, 1e4])
@pytest.mark.parametrize("target", [0.0, 0.1, 1.0])
def test_focal_loss_is_finite_at_extreme_logits(logit, target):
    x = torch.tensor(logit, requires_grad=True)
    value = sigmoid_focal_loss(x, torch.tensor(target))
    value.backward()
    assert value.isfinite()
    assert x.grad.isfinite()


def test_losses_are_float32_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = torch.rand(3, 2).bfloat16()
        assert sigmoid_focal_loss(half, torch.ones(3, 2)).dtype == torch.float32
        for loss in OFFSET_LOSSES:
            assert loss(half, torch.ones(3, 2)).dtype == torch.float32


@pytest.mark.parametrize("loss", [*OFFSET_LOSSES, sigmoid_focal_loss])
def test_no_points_give_no_losses_and_a_zero_gradient(loss):
    predicted = torch.zeros(0, 2, requires_grad=True)
    loss(predicted, torch.zeros(0, 2)).sum().backward()
    assert predicted.grad.shape == (0, 2)
