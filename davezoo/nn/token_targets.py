"""What DEL's tokens should say, and which of them it contrasts with an event.

A token is one step of one modality before the pyramid. Nothing here carries a gradient.

Reference:
    Ahmadian, Shirian, Guerin, Gilbert, "DEL: Dense Event Localization for Multi-modal Audio-Visual
    Understanding", 2025, section 3.3.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_MARGIN = 4  # steps beside an event that are no negatives
_PUBLISHED_SCALE = 1.28  # the published code takes grid steps for seconds at 1.28 s a step


class TokenTargets(NamedTuple):
    """What the published code asks of each step.

    Args:
        foreground: the step lies in an event, (B, T), bool.
        category: class of that event, (B, T), int64; -1 where there is none.
        key: the step counts as an event for the contrast, (B, T), bool.
    """

    foreground: Tensor
    category: Tensor
    key: Tensor


class Negatives(NamedTuple):
    """Hard negatives: steps that are easily taken for an event of a class.

    Args:
        steps: their indices, highest score first, (..., M), int64.
        chosen: which of them count, (..., M), bool.
    """

    steps: Tensor
    chosen: Tensor


def published_targets(
    segments: Tensor, labels: Tensor, mask: Tensor, published_grid: bool = False
) -> TokenTargets:
    """Mark the steps of events by the rule of the published code.

    An event from step `a` to step `b`, both cut to whole numbers, has its class on `a <= t < b` and
    its key steps on `a <= t <= b`; an event within one step has its class there. Later events of
    the list overwrite the class of earlier ones.

    Args:
        segments: events in grid steps, (B, N, 2).
        labels: class indices, (B, N), -1 where there is no event.
        mask: True on the steps that belong to the video, (B, T).
        published_grid: repeat three slips of the published code. Grid steps are divided by 1.28, so
            that all targets lie too early; a negative start counts from the end of the video, as
            indices do in Python, so that such an event has no class and a stray key step; and an
            event within a step has a key step, but no class.
    """
    scaled = segments / _PUBLISHED_SCALE if published_grid else segments.clamp(min=0)
    start, end = torch.split(scaled.trunc().long(), 1, dim=-1)  # (B, N, 1)
    steps = torch.arange(mask.shape[1], device=mask.device)
    from_end = steps - mask.sum(1)[:, None, None]  # -1 on the last step of the video
    present = (labels >= 0).unsqueeze(-1) & mask.unsqueeze(1)  # (B, N, T)

    # An event within a step keeps its class there: its key step must not be of class 0.
    class_end = end if published_grid else end.maximum(start + 1)
    after_start = torch.where(start < 0, from_end >= start, steps >= start)
    before_end = torch.where(class_end < 0, from_end < class_end, steps < class_end)
    inside = present & after_start & before_end
    key = (steps >= start) & (steps <= end) | (from_end >= start) & (from_end <= end)

    order = torch.arange(1, labels.shape[1] + 1, device=mask.device).unsqueeze(-1)
    last = (inside * order).amax(1)  # 0 where there is no event
    category = F.pad(labels, (1, 0), value=-1).gather(1, last)
    return TokenTargets(inside.any(1), category, (key & present).any(1))


def class_members(segments: Tensor, labels: Tensor, mask: Tensor, num_classes: int) -> Tensor:
    """Return which classes each step belongs to: its centre lies in an event, ends included.

    Args:
        segments: events in grid steps, (B, N, 2).
        labels: class indices, (B, N), -1 where there is no event.
        mask: True on the steps that belong to the video, (B, T).
        num_classes: number of classes K.

    Returns:
        Membership, (B, K, T), bool; a step may belong to several classes.
    """
    steps = torch.arange(mask.shape[1], device=mask.device)
    inside = (segments[..., :1] <= steps) & (steps <= segments[..., 1:])  # (B, N, T)
    classes = labels.unsqueeze(1) == torch.arange(num_classes, device=mask.device).unsqueeze(-1)
    # Sums of ones are above zero in every dtype, also in the one autocast picks.
    return (classes.float() @ inside.float() > 0) & mask.unsqueeze(1)


def near(steps: Tensor) -> Tensor:
    """Return which steps lie on or within 4 steps of those marked, (..., T), bool."""
    rows = steps.flatten(0, -2).float()
    widened = F.max_pool1d(rows, 2 * _MARGIN + 1, stride=1, padding=_MARGIN)
    return widened.view_as(steps) > 0


def highest_scored(scores: Tensor, candidates: Tensor, limit: Tensor, most: int) -> Negatives:
    """Choose the candidates of highest score.

    Args:
        scores: score of each step, (..., T).
        candidates: which steps may be chosen, (..., T), bool.
        limit: how many to choose at most, (..., 1).
        most: upper bound of `limit` that does not depend on the data, 1 to T.

    Returns:
        The steps of highest score and which of them are chosen.
    """
    ranked = scores.masked_fill(~candidates, -torch.inf).topk(most, dim=-1)
    within = torch.arange(most, device=scores.device) < limit
    return Negatives(ranked.indices, within & (ranked.values > -torch.inf))


def published_negatives(
    scores: Tensor, categories: Tensor, targets: TokenTargets, mask: Tensor
) -> Negatives:
    """Choose hard negatives by the rule of the published code.

    They lie more than 4 steps from every key step, and are predicted to have the class of the
    first key step (class 0 where it has none, which is so on the published grid alone). Of L steps
    with content the last one never counts, and at most (L - 1) / 8, rounded up, are chosen.

    Args:
        scores: logits of the score head, (B, T).
        categories: logits of the category head, (B, T, K).
        targets: what the steps should say.
        mask: True on the steps where the modality has content, (B, T).

    Returns:
        The negatives of each video, M = ceil((T - 1) / 8).
    """
    first = targets.key.int().argmax(1, keepdim=True)
    label = targets.category.gather(1, first).clamp(min=0)  # (B, 1)
    but_last = mask & F.pad(mask[:, 1:], (0, 1))
    candidates = but_last & ~near(targets.key) & (categories.argmax(-1) == label)
    limit = ((mask.sum(1, keepdim=True) + 6) // 8).clamp(min=1)
    return highest_scored(scores, candidates, limit, max(1, (mask.shape[1] + 6) // 8))


def predicted_members(members: Tensor, agrees: Tensor, scores: Tensor) -> Tensor:
    """Choose the positives of each event class by the rule of the paper.

    They belong to the class, are predicted to be of it, and have a score above one half; all steps
    of the class where no step is that good, as early in training.

    Args:
        members: steps that belong to the class of each event, (B, N, T), bool.
        agrees: steps that are predicted to be of that class, (B, N, T), bool.
        scores: logits of the score head, (B, T).

    Returns:
        The positives, (B, N, T), bool.
    """
    found = members & agrees & (scores > 0).unsqueeze(1)
    return torch.where(found.any(-1, keepdim=True), found, members)


def paper_negatives(members: Tensor, agrees: Tensor, scores: Tensor, mask: Tensor) -> Negatives:
    """Choose hard negatives of each event class by the rule of the paper.

    They lie more than 4 steps from every step of the class, are predicted to be of it all the same,
    and have a score above one half, or the highest scores where none is that high. At most an
    eighth of a video is chosen, but always one.

    Args:
        members: steps that belong to the class of each event, (B, N, T), bool.
        agrees: steps that are predicted to be of that class, (B, N, T), bool.
        scores: logits of the score head, (B, T).
        mask: True on the steps where the modality has content, (B, T).

    Returns:
        The negatives of each event class, M = T / 8.
    """
    candidates = mask.unsqueeze(1) & ~near(members) & agrees
    confident = candidates & (scores > 0).unsqueeze(1)
    candidates = torch.where(confident.any(-1, keepdim=True), confident, candidates)
    limit = (mask.sum(1) // 8).clamp(min=1)[:, None, None]
    ranked = scores.unsqueeze(1).expand(members.shape)
    return highest_scored(ranked, candidates, limit, max(1, mask.shape[1] // 8))
