"""From the raw output of a detector to scored candidate segments.

Reference:
    Geng et al., "Dense-Localizing Audio-Visual Events in Untrimmed Videos", CVPR 2023, official
    code, inference of one video; here for a whole batch at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class Candidates(NamedTuple):
    """Segments before non-maximum suppression; the same number of places for every video.

    Args:
        segments: starts and ends in grid steps, (B, M, 2).
        scores: class probabilities, (B, M), float32.
        labels: class indices, (B, M), int64.
        valid: True where the place holds a candidate, (B, M); the rest is to be ignored.
    """

    segments: Tensor
    scores: Tensor
    labels: Tensor
    valid: Tensor


def decode(
    logits: Sequence[Tensor],
    offsets: Sequence[Tensor],
    masks: Sequence[Tensor],
    strides: Sequence[int],
    score_threshold: float = 0.001,
    max_candidates_per_level: int = 2000,
    min_length: float = 0.05,
) -> Candidates:
    """Turn logits and offsets of every level into candidates of every video.

    In the order of the official code: of each level keep the points and classes with
    `sigmoid(logit) > score_threshold`; of these the best `max_candidates_per_level`; decode them to
    `(t - left * stride, t + right * stride)`; keep those longer than `min_length`. Levels are
    concatenated without a further cut. Equal scores at the cut may be kept in any combination.

    Args:
        logits: class logits of each level, (B, T_l, K).
        offsets: distances to start and end in strides of the level, (B, T_l, K, 2).
        masks: True on the points that belong to the video, (B, T_l), one a level.
        strides: grid steps between neighbouring points of each level.
        score_threshold: probability that must be exceeded, at least 0.
        max_candidates_per_level: most candidates of one level and video.
        min_length: length that must be exceeded, in grid steps.

    Returns:
        Candidates, levels one after the other, best first within a level.

    Raises:
        ValueError: if the four sequences differ in length.

    Example:
        >>> logits, offsets = torch.full((1, 3, 1), 2.0), torch.ones(1, 3, 1, 2)
        >>> mask = torch.tensor([[False, True, False]])
        >>> found = decode([logits], [offsets], [mask], strides=[4])
        >>> found.segments[found.valid]
        tensor([[0., 8.]])
    """
    if not len(logits) == len(offsets) == len(masks) == len(strides):
        raise ValueError(
            "Expected `logits`, `offsets`, `masks` and `strides` to have one entry a level, got"
            f" {len(logits)}, {len(offsets)}, {len(masks)} and {len(strides)} entries;"
            " give the outputs and the strides of the same pyramid."
        )
    levels = [
        _decode_level(*level, score_threshold, max_candidates_per_level, min_length)
        for level in zip(logits, offsets, masks, strides, strict=True)
    ]
    return Candidates(*(torch.cat(parts, dim=1) for parts in zip(*levels, strict=True)))


def _decode_level(
    logits: Tensor,
    offsets: Tensor,
    mask: Tensor,
    stride: int,
    score_threshold: float,
    max_candidates: int,
    min_length: float,
) -> Candidates:
    """Decode one level; the arguments are those of `decode`."""
    num_classes = logits.shape[-1]
    probabilities = logits.float().sigmoid().masked_fill(~mask[..., None], 0).flatten(1)
    kept = min(max_candidates, probabilities.shape[1])
    # Cutting first and comparing second keeps the same candidates: those that the threshold
    # removes all rank below those that it leaves.
    scores, index = probabilities.topk(kept, dim=1)
    labels = index % num_classes
    positions = (index // num_classes).to(torch.float32) * stride
    chosen = offsets.float().flatten(1, 2).gather(1, index[..., None].expand(-1, -1, 2)) * stride
    segments = torch.stack([positions - chosen[..., 0], positions + chosen[..., 1]], dim=-1)
    long_enough = segments[..., 1] - segments[..., 0] > min_length
    return Candidates(segments, scores, labels, (scores > score_threshold) & long_enough)
