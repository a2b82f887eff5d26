"""Losses of a point: one for its class logits, three for its distances to start and end.

Nothing is reduced over points: the caller selects, sums and normalises. All arithmetic is float32,
also under autocast.
"""

import torch
from torch import Tensor
from torch.nn import functional

_EPSILON = 1e-8  # keeps empty unions from dividing by zero; the value of the official code


def sigmoid_focal_loss(
    logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0
) -> Tensor:
    """Return the focal loss of independent classes.

    With `p = sigmoid(logit)` and `p_t = p * target + (1 - p) * (1 - target)`:
    `loss = alpha_t * (1 - p_t)^gamma * cross_entropy(p, target)`, where
    `alpha_t = alpha * target + (1 - alpha) * (1 - target)`.

    Args:
        logits: class logits, (...).
        targets: 0 or 1 (or between, for smoothed labels), (...).
        alpha: weight of the positives; the negatives get `1 - alpha`.
        gamma: how much well-classified entries are played down, 0 or at least 1.

    Returns:
        Loss of each entry, (...), float32.

    Reference:
        Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 5.

    Example:
        >>> sigmoid_focal_loss(torch.zeros(1), torch.ones(1))  # 0.25 * 0.5^2 * ln 2
        tensor([0.0433])
    """
    logits, targets = logits.float(), targets.float()
    probability = logits.sigmoid()
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    miss = probability + targets - 2 * probability * targets  # 1 - p_t
    weight = (1 - alpha) + (2 * alpha - 1) * targets
    return weight * miss**gamma * cross_entropy


def distance_iou_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the distance-IoU loss of segments that share their reference point.

    With predicted distances (l, r) and target distances (l', r') from the same point:
    `loss = 1 - intersection / union + (rho / enclosing)^2`, where
    `intersection = min(l, l') + min(r, r')`, `union = (l + r) + (l' + r') - intersection`,
    `enclosing = max(l, l') + max(r, r')` and `rho = ((r - l) - (r' - l')) / 2` is the distance of
    the two centres.

    Args:
        predicted: distances to start and end, (..., 2), non-negative; any unit.
        target: the same for the event; the same unit.

    Returns:
        Loss of each segment, (...), float32.

    Reference:
        Zheng et al., "Distance-IoU Loss: Faster and Better Learning for Bounding Box Regression",
        AAAI 2020, equation 7.

    Example:
        >>> distance_iou_loss(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 3.0]))
        tensor(0.5625)
    """
    predicted, target = predicted.float(), target.float()
    intersection, union, enclosing = _overlap(predicted, target)
    shift = predicted - target
    rho = 0.5 * (shift[..., 1] - shift[..., 0])
    return (
        1
        - intersection / union.clamp(min=_EPSILON)
        + torch.square(rho / enclosing.clamp(min=_EPSILON))
    )


def generalized_iou_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the generalised-IoU loss of segments that share their reference point.

    `loss = 1 - intersection / union + (enclosing - union) / enclosing`, in the terms of
    `distance_iou_loss`. Two segments around one point always touch, so `enclosing = union` and the
    loss equals `1 - tIoU`, up to rounding.

    Args:
        predicted: distances to start and end, (..., 2), non-negative; any unit.
        target: the same for the event; the same unit.

    Returns:
        Loss of each segment, (...), float32.

    Reference:
        Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019, algorithm 1.

    Example:
        >>> generalized_iou_loss(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 3.0]))
        tensor(0.5000)
    """
    intersection, union, enclosing = _overlap(predicted.float(), target.float())
    gap = (enclosing - union) / enclosing.clamp(min=_EPSILON)
    return 1 - intersection / union.clamp(min=_EPSILON) + gap


def smooth_l1_offset_loss(predicted: Tensor, target: Tensor, beta: float = 1.0) -> Tensor:
    """Return the smooth L1 loss of the distances to start and end, summed over the two.

    For each distance with error `e`: `e^2 / (2 beta)` if `|e| < beta`, else `|e| - beta / 2`.

    Args:
        predicted: distances to start and end, (..., 2); any unit.
        target: the same for the event; the same unit.
        beta: error at which the loss turns from quadratic to linear, same unit.

    Returns:
        Loss of each segment, (...), float32.

    Reference:
        Girshick, "Fast R-CNN", ICCV 2015, equation 3.

    Example:
        >>> smooth_l1_offset_loss(torch.tensor([1.0, 1.0]), torch.tensor([1.5, 3.0]))
        tensor(1.6250)
    """
    losses = functional.smooth_l1_loss(
        predicted.float(), target.float(), reduction="none", beta=beta
    )
    return losses.sum(dim=-1)


def _overlap(predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return intersection, union and enclosing length, (...) each."""
    intersection = torch.minimum(predicted, target).sum(dim=-1)
    enclosing = torch.maximum(predicted, target).sum(dim=-1)
    union = predicted.sum(dim=-1) + target.sum(dim=-1) - intersection
    return intersection, union, enclosing
