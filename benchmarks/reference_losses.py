"""The losses of the published UnAV, written plainly: what `benchmarks.model` compares with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from benchmarks.reference_unav import ReferenceUnAV
    from davezoo.structures import Predictions


class ReferenceLosses:
    """Focal and distance-IoU loss over the running number of positive points, a Python number."""

    def __init__(self) -> None:
        self.normalizer = 250.0

    def __call__(
        self, network: ReferenceUnAV, predictions: Predictions, segments: Tensor, labels: Tensor
    ) -> Tensor:
        """Return the sum of both losses of a batch of events in grid steps, (B, N, 2)."""
        logits, offsets = torch.cat(predictions.logits, 1), torch.cat(predictions.offsets, 1)
        valid = torch.cat(predictions.masks, 1)
        num_steps = predictions.logits[0].shape[1]
        videos = zip(segments.cpu(), labels.cpu(), strict=True)
        targets = [network.assign(*video, num_steps) for video in videos]
        classes = torch.stack([classes for classes, _ in targets]).to(logits.device)
        distances = torch.stack([distances for _, distances in targets]).to(logits.device)

        num_positive = int((valid & (classes.sum(2) > 0)).sum())
        self.normalizer = 0.9 * self.normalizer + 0.1 * max(num_positive, 1)
        focal = _focal_loss(logits[valid], classes[valid]).sum()
        pairs = valid[:, :, None] & (distances > 0).any(3)
        regression = _distance_iou_loss(offsets[pairs], distances[pairs]).sum()
        return (focal + regression) / self.normalizer


def _focal_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the focal loss of each entry, alpha 0.25 and gamma 2."""
    probability = torch.sigmoid(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, classes, reduction="none")
    of_truth = probability * classes + (1 - probability) * (1 - classes)
    alpha = 0.25 * classes + 0.75 * (1 - classes)
    return alpha * (1 - of_truth) ** 2 * entropy


def _distance_iou_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the distance-IoU loss of each pair of distances, (M, 2)."""
    (left, right), (to_start, to_end) = predicted.unbind(1), target.unbind(1)
    intersection = torch.min(left, to_start) + torch.min(right, to_end)
    union = (left + right) + (to_start + to_end) - intersection
    enclosing = torch.max(left, to_start) + torch.max(right, to_end)
    rho = 0.5 * ((right - left) - (to_end - to_start))
    return 1 - intersection / union.clamp(min=1e-8) + (rho / enclosing.clamp(min=1e-8)) ** 2
