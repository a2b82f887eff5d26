"""Slow and obvious scorer: plain loops, one detection after the other."""

from itertools import accumulate


def tiou(a, b):
    overlap = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    union = (a[1] - a[0]) + (b[1] - b[0]) - overlap
    if union == 0:
        return 1.0 if a[0] == b[0] else 0.0
    return overlap / union


def average_precision(events, detections, label, threshold):
    """AP of one class at one threshold.

    `events` and `detections` are lists of (video, label, (start, end)[, score]) in listed order.
    """
    events = [event for event in events if event[1] == label]
    detections = [detection for detection in detections if detection[1] == label]
    # Highest score first; equal scores, which a stable sort leaves as they are, last listed first.
    detections.reverse()
    detections.sort(key=lambda detection: -detection[3])
    taken, hits = set(), []
    for video, _, segment, _ in detections:
        overlaps = [
            (tiou(other, segment), index)
            for index, (other_video, _, other) in enumerate(events)
            if other_video == video
        ]
        free = [pair for pair in overlaps if pair[0] >= threshold and pair[1] not in taken]
        hits.append(bool(free))
        if free:
            taken.add(max(free)[1])  # the highest tIoU; of equal ones the last listed
    precision = [found / rank for rank, found in enumerate(accumulate(hits), start=1)]
    best = total = 0.0
    for hit, value in zip(reversed(hits), reversed(precision), strict=True):
        best = max(best, value)
        total += best if hit else 0.0
    return total / len(events)


def average_precisions(events, detections, thresholds):
    """AP of every class of the events: {label: [AP at each threshold]}."""
    return {
        label: [average_precision(events, detections, label, t) for t in thresholds]
        for label in sorted({event[1] for event in events})
    }
