"""Slow, obvious forms of what `davezoo.ops` computes: Python loops, one number at a time.

Sums, products and comparisons are float32 as in the fast forms, so that both decide alike at
thresholds. Written from the description of the published codes, not from the fast forms.
"""

import numpy as np
import torch

f32 = np.float32


def tiou(a, b):
    intersection = max(min(a[1], b[1]) - max(a[0], b[0]), 0.0)
    union = (a[1] - a[0]) + (b[1] - b[0]) - intersection
    return intersection / union if union > 0 else 0.0


def assign(points, segments, labels, num_classes):
    """Dense targets of one video: classes (P, K), offsets (P, K, 2); later events overwrite."""
    num_points = len(points.positions)
    classes = torch.zeros(num_points, num_classes)
    offsets = torch.zeros(num_points, num_classes, 2)
    positions, strides, ranges = (x.tolist() for x in points)
    for p in range(num_points):
        low, high = ranges[p]
        for (start, end), label in zip(segments.tolist(), labels.tolist(), strict=True):
            if label < 0:
                continue
            left, right = float(f32(positions[p] - start)), float(f32(end - positions[p]))
            if min(left, right) > 0 and low <= max(left, right) <= high:
                classes[p, label] = 1
                offsets[p, label, 0] = left / strides[p]
                offsets[p, label, 1] = right / strides[p]
    return classes, offsets


def decode(logits, offsets, masks, strides, score_threshold, max_candidates, min_length):
    """Candidates of one video as a set of (start, end, score, label); no scores may tie."""
    found = []
    for level_logits, level_offsets, mask, stride in zip(
        logits, offsets, masks, strides, strict=True
    ):
        probabilities = torch.sigmoid(level_logits)
        level = [
            (probabilities[t, k].item(), t, k)
            for t in range(level_logits.shape[0])
            for k in range(level_logits.shape[1])
            if mask[t] and probabilities[t, k].item() > f32(score_threshold)
        ]
        for score, t, k in sorted(level, reverse=True)[:max_candidates]:
            left, right = level_offsets[t, k].numpy()
            start, end = f32(t * stride) - left * f32(stride), f32(t * stride) + right * f32(stride)
            if end - start > f32(min_length):
                found.append((float(start), float(end), score, k))
    return found


def _nms_iou(a, b):
    epsilon = f32(1e-6)
    intersection = max(f32(0), min(a[1], b[1]) - max(a[0], b[0]))
    return intersection / ((a[1] - a[0] + epsilon) + (b[1] - b[0] + epsilon) - intersection)


def _exp(x):
    # torch's own exponential: the last bit decides the order of nearly equal scores
    return torch.tensor([x], dtype=torch.float32).exp().numpy()[0]


def _soft_nms(segments, scores, settings):
    """Picks (index, score) among the candidates of one class."""
    left = dict(enumerate(scores))
    picks = []
    while left:
        best = max(left, key=lambda i: (left[i], -i))
        picks.append((best, left.pop(best)))
        for i in list(left):
            iou = _nms_iou(segments[i], segments[best])
            if settings.method == "gaussian":
                left[i] = left[i] * _exp(-(iou * iou) / f32(settings.sigma))
            elif iou >= f32(settings.iou_threshold):
                left[i] = left[i] * (f32(1) - iou)
            if left[i] < f32(settings.min_score):
                del left[i]
    return picks


def _hard_nms(segments, scores, settings):
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    if settings.min_score > 0:
        order = [i for i in order if scores[i] > f32(settings.min_score)]
    picks = []
    while order:
        best, *order = order
        picks.append((best, scores[best]))
        order = [
            i for i in order if _nms_iou(segments[i], segments[best]) < f32(settings.iou_threshold)
        ]
    return picks


def suppress(segments, scores, labels, settings):
    """Index, score and segment of the events of one video, best first."""
    segments, scores, labels = segments.numpy(), scores.numpy(), labels.tolist()
    if settings.method == "none":
        return list(range(len(scores))), list(scores), list(segments)
    run = _hard_nms if settings.method == "hard" else _soft_nms
    picks = []
    for c in sorted(set(labels)) if settings.multiclass else [None]:
        members = [i for i, label in enumerate(labels) if c is None or label == c]
        found = run(segments[members], scores[members], settings)[: settings.max_events]
        picks += [(members[i], score) for i, score in found]
    picks.sort(key=lambda pick: -pick[1])  # stable: equal scores stay by class, then as picked
    picks = picks[: settings.max_events]
    kept = [segments[i].copy() for i, _ in picks]
    if settings.voting_threshold is not None and not settings.multiclass:
        kept = [_vote(segment, segments, scores, settings) for segment in kept]
    return [i for i, _ in picks], [score for _, score in picks], kept


def _vote(segment, segments, scores, settings):
    total, mean = 0.0, np.zeros(2)
    for other, score in zip(segments, scores, strict=True):
        overlap = tiou(segment, other)
        if overlap >= f32(settings.voting_threshold):
            weight = score * overlap if settings.voting_weight == "score_times_iou" else score
            total += float(weight)
            mean += float(weight) * other
    return mean / total if total > 0 else segment
