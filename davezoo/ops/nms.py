"""Soft and hard non-maximum suppression of temporal segments, with voting.

The results are those of the compiled routine that ActionFormer, UnAV and their descendants share,
in plain PyTorch, for a batch of videos at once.

Reference:
    Bodla et al., "Soft-NMS - Improving Object Detection With One Line of Code", ICCV 2017, section
    3; Zhang et al., "ActionFormer: Localizing Moments of Actions with Transformers", ECCV 2022, and
    Geng et al., "Dense-Localizing Audio-Visual Events in Untrimmed Videos", CVPR 2023, official
    codes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch

from davezoo.errors import InputError
from davezoo.ops.segments import pairwise_tiou
from davezoo.structures import Events

if TYPE_CHECKING:
    from torch import Tensor

_LENGTH_EPSILON = 1e-6  # what the published routine adds to every length
_STEPS_BETWEEN_CHECKS = 16  # asking whether candidates are left makes a GPU wait


@dataclass(frozen=True)
class NmsSettings:
    """How overlapping candidates are thinned out.

    Args:
        method: "gaussian" multiplies the score of an overlapping candidate by
            `exp(-tIoU^2 / sigma)`, "linear" by `1 - tIoU` from `iou_threshold` on, "hard" removes
            it from `iou_threshold` on, "none" leaves all candidates as they are, in the order and
            number given.
        sigma: width of the Gaussian; the smaller, the stronger the suppression.
        iou_threshold: tIoU from which "linear" and "hard" act; "gaussian" does not use it.
        min_score: soft methods drop a candidate once its score has fallen below, though never the
            best candidate of a class; "hard" first drops all scores that do not exceed it, if it is
            positive.
        max_events: most events of one video.
        multiclass: only candidates of the same class suppress each other; else all do.
        voting_threshold: replace each kept segment by the weighted mean of all candidates from this
            tIoU on; None for no voting. As in the official codes it is not used if `multiclass`.
        voting_weight: weight of a candidate in the mean: its score (UnAV, TriDet), or its score
            times its tIoU with the kept segment (ActionFormer).

    Raises:
        ValueError: if a value lies outside its range.
    """

    method: Literal["gaussian", "linear", "hard", "none"] = "gaussian"
    sigma: float = 0.4
    iou_threshold: float = 0.7
    min_score: float = 0.001
    max_events: int = 100
    multiclass: bool = True
    voting_threshold: float | None = None
    voting_weight: Literal["score", "score_times_iou"] = "score"

    def __post_init__(self) -> None:
        """Check every value."""
        _check_choice("method", self.method, ("gaussian", "linear", "hard", "none"))
        _check_choice("voting_weight", self.voting_weight, ("score", "score_times_iou"))
        _check("sigma", self.sigma, self.sigma > 0, "positive")
        _check("iou_threshold", self.iou_threshold, 0 < self.iou_threshold <= 1, "in (0, 1]")
        _check("min_score", self.min_score, self.min_score >= 0, "at least 0")
        _check("max_events", self.max_events, self.max_events >= 1, "at least 1")
        threshold = self.voting_threshold
        _check("voting_threshold", threshold, threshold is None or 0 < threshold <= 1, "in (0, 1]")


@torch.no_grad()
def suppress(
    segments: Tensor, scores: Tensor, labels: Tensor, valid: Tensor, settings: NmsSettings
) -> list[Events]:
    """Thin out the candidates of each video.

    Classes do not influence each other and the scores that a class yields never rise, so the best
    `max_events` over all classes are found by picking, `max_events` times, the best candidate that
    is left in a video and lowering those of its class. One pick serves all videos at once, and its
    cost is that of the largest class, not of all candidates. Arithmetic is float32 throughout;
    `tIoU` here adds 1e-6 to each length, as the published routine does. Equal scores come by
    ascending class, then in the order given (the published routine's order among equal scores
    depends on its internal swaps).

    Args:
        segments: starts and ends, (B, M, 2), end not before start; any unit.
        scores: confidences, (B, M), finite and non-negative.
        labels: class indices, (B, M), integer.
        valid: True where there is a candidate, (B, M).
        settings: method and thresholds.

    Returns:
        One `Events` a video with scores, in the unit of `segments`, highest score first (except
        for method "none").

    Raises:
        ValueError: if the shapes do not agree.

    Example:
        >>> segments = torch.tensor([[[0.0, 4.0], [0.0, 4.0], [5.0, 9.0]]])
        >>> scores, labels = torch.tensor([[0.9, 0.8, 0.7]]), torch.tensor([[1, 1, 0]])
        >>> valid, settings = torch.ones(1, 3, dtype=torch.bool), NmsSettings(sigma=0.5)
        >>> suppress(segments, scores, labels, valid, settings)[0].scores
        tensor([0.9000, 0.7000, 0.1083])
    """
    _check_shapes(segments, scores, labels, valid)
    segments, scores = segments.float(), scores.float()
    if settings.method == "none" or scores.numel() == 0:
        return [
            Events(video[keep], label[keep], score[keep])
            for video, label, score, keep in zip(segments, labels, scores, valid, strict=True)
        ]
    live = valid
    if settings.method == "hard" and settings.min_score > 0:
        live = valid & (scores > settings.min_score)
    classes = labels if settings.multiclass else torch.zeros_like(labels)
    groups = _group(segments, scores, classes, live)
    picked, picked_scores = _pick(groups, settings)
    counts = picked_scores.isfinite().sum(dim=1).tolist()
    events = []
    for video, count in enumerate(counts):
        kept = picked[video, :count]
        found = segments[video, kept]
        if settings.voting_threshold is not None and not settings.multiclass:
            voters = valid[video]
            found = _vote(
                found,
                segments[video, voters],
                scores[video, voters],
                settings.voting_threshold,
                times_tiou=settings.voting_weight == "score_times_iou",
            )
        events.append(Events(found, labels[video, kept], picked_scores[video, :count]))
    return events


class _Groups(NamedTuple):
    """Candidates laid out by group: G groups (classes) a video, at most S candidates each.

    Args:
        spans: start, end and length + 1e-6 of each candidate, (B * G, 3, S).
        scores: current score, -inf for places without a live candidate, (B * G, S).
        source: index of the candidate in the input, (B, G * S).
        most: largest number of candidates of a video.
    """

    spans: Tensor
    scores: Tensor
    source: Tensor
    most: int


def _group(segments: Tensor, scores: Tensor, labels: Tensor, live: Tensor) -> _Groups:
    """Lay candidates out by video and class, classes ascending, order given within a class."""
    batch, places = labels.shape
    key = labels.masked_fill(~live, torch.iinfo(labels.dtype).max)  # dead candidates go last
    key, source = key.sort(dim=1, stable=True)
    live = live.gather(1, source)

    starts_group = torch.ones_like(live)
    starts_group[:, 1:] = key[:, 1:] != key[:, :-1]
    place = torch.arange(places, device=labels.device).expand(batch, -1)
    rank = place - torch.where(starts_group, place, 0).cummax(dim=1).values
    group = starts_group.cumsum(dim=1) - 1
    # Three sizes in one transfer; there is a group and a place in it even if no candidate is live.
    sizes = torch.stack([group * live + 1, rank * live + 1, live.cumsum(dim=1)])
    num_groups, size, most = sizes.amax(dim=(1, 2)).tolist()

    # Dead candidates all go to one extra place at the end, which is cut off.
    target = torch.where(live, group * size + rank, num_groups * size)

    def lay_out(values: Tensor, fill: float) -> Tensor:
        laid = values.new_full((batch, num_groups * size + 1), fill)
        return laid.scatter_(1, target, values.gather(1, source))[:, :-1]

    starts, ends = segments.unbind(-1)
    lengths = ends - starts + _LENGTH_EPSILON
    spans = [lay_out(starts, 0), lay_out(ends, 0), lay_out(lengths, 1)]
    return _Groups(
        spans=torch.stack([x.reshape(-1, size) for x in spans], dim=1),
        scores=lay_out(scores, -math.inf).reshape(-1, size),
        source=lay_out(place, 0),
        most=most,
    )


def _pick(groups: _Groups, settings: NmsSettings) -> tuple[Tensor, Tensor]:
    """Return the index in the input and the score of each pick, (B, steps); -inf after the last.

    Every buffer and every view of one is made before the loop: the time is mostly that of starting
    operations, so the loop contains nothing else.
    """
    spans, scores, source, most = groups
    batch, size = len(source), scores.shape[1]
    best = scores.amax(dim=1).view(batch, -1)  # of each group
    best_flat = best.view(-1)  # the same memory
    first_row = torch.arange(batch, device=scores.device) * best.shape[1]

    steps = min(settings.max_events, most)
    picked_scores = scores.new_full((steps, batch), -math.inf)
    picked_slots = source.new_zeros(steps, batch)
    group, row = torch.empty_like(first_row), torch.empty_like(first_row)
    span, live, best_left = spans[:batch].clone(), scores[:batch].clone(), scores.new_empty(batch)
    start, end, length = span.unbind(1)
    position = first_row.new_empty(batch, 1)
    position_of_all = position[:, None].expand(-1, 3, -1)
    picked_span = span.new_empty(batch, 3, 1)
    picked_start, picked_end, picked_length = picked_span.unbind(1)
    overlap, union = torch.empty_like(live), torch.empty_like(live)

    for step, (score, slot) in enumerate(zip(picked_scores, picked_slots, strict=True)):
        if step % _STEPS_BETWEEN_CHECKS == 0 and best.max() == -math.inf:
            break
        torch.max(best, dim=1, out=(score, group))
        torch.add(first_row, group, out=row)
        torch.index_select(spans, 0, row, out=span)
        torch.index_select(scores, 0, row, out=live)
        torch.argmax(live, dim=1, keepdim=True, out=position)
        torch.add(position[:, 0], group, alpha=size, out=slot)

        torch.gather(span, 2, position_of_all, out=picked_span)
        torch.minimum(end, picked_end, out=overlap)
        torch.maximum(start, picked_start, out=union)
        overlap.sub_(union).clamp_min_(0)
        torch.add(length, picked_length, out=union).sub_(overlap)
        _decay(live, overlap.div_(union), settings)

        live.scatter_(1, position, -math.inf)
        scores.index_copy_(0, row, live)
        torch.amax(live, dim=1, out=best_left)
        best_flat.index_copy_(0, row, best_left)
    return source.gather(1, picked_slots.T), picked_scores.T


def _decay(live: Tensor, tiou: Tensor, settings: NmsSettings) -> None:
    """Lower the scores of the candidates that overlap a pick, in place; `tiou` is used up."""
    if settings.method == "hard":
        live.masked_fill_(tiou >= settings.iou_threshold, -math.inf)
        return
    if settings.method == "gaussian":
        weight = tiou.square_().div_(-settings.sigma).exp_()
    else:
        weight = 1 - torch.threshold_(tiou, _just_below(settings.iou_threshold), 0)
    # A weight of 0 turns the -inf of removed candidates into NaN; they stay removed.
    live.mul_(weight).nan_to_num_(nan=-math.inf, neginf=-math.inf)
    # `threshold_` keeps what exceeds its bound, and is ten times faster than comparing and filling.
    torch.threshold_(live, _just_below(settings.min_score), -math.inf)


def _just_below(value: float) -> float:
    """Return the float32 before `value`: exceeding it means to be at least `value`."""
    return float(np.nextafter(np.float32(value), np.float32(-math.inf)))


def _vote(
    kept: Tensor, segments: Tensor, scores: Tensor, threshold: float, times_tiou: bool
) -> Tensor:
    """Return the weighted means of all candidates (M, 2) near each kept segment (N, 2).

    tIoU is plain here. A kept segment of length zero has no tIoU with anything, not even itself: it
    stays as it is, where the official codes return NaN.
    """
    tiou = pairwise_tiou(kept, segments)
    weight = scores * (tiou >= threshold)
    if times_tiou:
        weight = weight * tiou
    total = weight.sum(dim=1, keepdim=True)
    # A matrix product would be shorter, but autocast would round it to half precision.
    sums = torch.stack([(weight * ends).sum(dim=1) for ends in segments.unbind(-1)], dim=1)
    return torch.where(total > 0, sums / total, kept)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise if `value` is none of the choices."""
    if value not in choices:
        raise InputError(f"Expected `{name}` to be one of {choices}, got {value!r}; choose one.")


def _check(name: str, value: float | None, holds: bool, range_: str) -> None:
    """Raise if a value lies outside its range."""
    if not holds:
        raise InputError(f"Expected `{name}` to be {range_}, got {value}; change the setting.")


def _check_shapes(segments: Tensor, scores: Tensor, labels: Tensor, valid: Tensor) -> None:
    """Raise unless the arguments of `suppress` describe the same candidates."""
    shapes = tuple(tuple(x.shape) for x in (segments, scores, labels, valid))
    if scores.ndim != 2 or shapes != ((*shapes[1], 2), shapes[1], shapes[1], shapes[1]):
        raise ValueError(
            "Expected `segments` to be (B, M, 2) and `scores`, `labels`, `valid` to be (B, M), got"
            f" {shapes[0]}, {shapes[1]}, {shapes[2]} and {shapes[3]}; add the batch axis or pad."
        )
