"""Class-agnostic proposals labelled by a classifier of whole videos.

Reference:
    Zhang et al., "ActionFormer: Localizing Moments of Actions with Transformers", ECCV 2022, the
    ActivityNet setting: the two best classes of the video, the square root of the product of the
    two scores. Zhao et al., "CUHK & ETHZ & SIAT Submission to ActivityNet Challenge 2017", are the
    source of the classifier that most papers take.
"""

from __future__ import annotations

import torch
from torch import Tensor

from davezoo.structures import Events


def label_proposals(
    segments: Tensor,
    scores: Tensor,
    video_labels: Tensor,
    video_scores: Tensor,
    max_proposals: int,
) -> Events:
    """Give every proposal of a video each of the video's classes.

    `score = sqrt(score of the class in the video * score of the proposal)`.

    Args:
        segments: starts and ends of the proposals, (N, 2); any unit.
        scores: confidence of each, (N,), at least 0.
        video_labels: class indices that the video may have, (k,), int64.
        video_scores: how sure the classifier is of each, (k,), at least 0.
        max_proposals: proposals to label, best first; each becomes k events.

    Returns:
        Events in the unit of `segments`, highest score first; equal scores in the order of the
        classes, then of the proposals. None where the video has no class.

    Example:
        >>> found = label_proposals(
        ...     torch.tensor([[0.0, 4.0]]), torch.tensor([0.25]),
        ...     torch.tensor([7, 3]), torch.tensor([0.64, 0.16]), max_proposals=200)
        >>> found.labels.tolist(), found.scores.tolist()
        ([7, 3], [0.4000000059604645, 0.20000000298023224])
    """
    labelled = torch.argsort(scores, descending=True, stable=True)[:max_proposals].sort().values
    fused = (video_scores.to(scores)[:, None] * scores[labelled]).sqrt().flatten()
    proposals = labelled.repeat(len(video_labels))
    labels = video_labels.to(scores.device).repeat_interleave(len(labelled))
    order = torch.argsort(fused, descending=True, stable=True)
    return Events(segments[proposals[order]], labels[order], fused[order])
