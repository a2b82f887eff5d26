"""Slow and obvious diagnosis: plain loops over rows (video, label, (start, end)[, score])."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np

from davezoo.evaluation.average_precision import EventArrays
from tests.evaluation.reference import tiou


def make_problem(seed, num_videos=4, num_classes=3, num_events=9, num_detections=25):
    """Random rows on a coarse grid, so that equal scores, times and tIoUs are frequent."""
    rng = np.random.default_rng(seed)

    def rows(count):
        starts = rng.integers(0, 8, count)
        ends = starts + rng.integers(0, 5, count)
        videos, labels = rng.integers(0, num_videos, count), rng.integers(0, num_classes, count)
        return [
            (int(video), int(label), (float(start), float(end)))
            for video, label, start, end in zip(videos, labels, starts, ends, strict=True)
        ]

    scores = (rng.integers(0, 8, num_detections) / 8).tolist()
    detections = [(*row, score) for row, score in zip(rows(num_detections), scores, strict=True)]
    # The scorer lists videos one after the other.
    return sorted(rows(num_events)), sorted(detections, key=lambda row: row[0])


def to_arrays(rows):
    """Return rows as the scorer takes them."""
    return EventArrays(
        videos=np.array([row[0] for row in rows], dtype=np.int64),
        labels=np.array([row[1] for row in rows], dtype=np.int64),
        segments=np.array([row[2] for row in rows], dtype=np.float64).reshape(-1, 2),
        scores=np.array([row[3] for row in rows]) if rows and len(rows[0]) > 3 else None,
    )


def rank(events, detections):
    """Detections of annotated classes by class and score, of equal scores last listed first."""
    labels = {event[1] for event in events}
    known = [detection for detection in detections[::-1] if detection[1] in labels]
    return sorted(known, key=lambda detection: (detection[1], -detection[3]))


def find(events, ranked, threshold):
    """Event that each ranked detection takes, or -1."""
    taken, found = set(), []
    for video, label, segment, _ in ranked:
        free = [
            (tiou(event[2], segment), index)
            for index, event in enumerate(events)
            if event[:2] == (video, label) and index not in taken
        ]
        free = [pair for pair in free if pair[0] >= threshold]
        found.append(max(free)[1] if free else -1)
        taken.add(found[-1])
    return found


def overlaps_of(events, detection):
    """Best tIoU with an event of the class and with an event of another class."""
    own, other = [0.0], [0.0]
    for video, label, segment in events:
        if video == detection[0]:
            (own if label == detection[1] else other).append(tiou(segment, detection[2]))
    return max(own), max(other)


def outcome(events, detection, event, threshold):
    """Name of what a detection is."""
    own, other = overlaps_of(events, detection)
    if event >= 0:
        return "true positive"
    if own >= threshold:
        return "double detection"
    if other >= threshold:
        return "wrong label"
    if own >= 0.1:
        return "localization"
    if other >= 0.1:
        return "confusion"
    return "background"


def mean_average_precision(events, ranked, found, chosen, normal_count=None):
    """mAP of some events; `found` has one entry a detection: event, -1, or None for nothing."""
    values = []
    for label in sorted({events[index][1] for index in chosen}):
        num_events = sum(events[index][1] == label for index in chosen)
        hits, misses, points = 0, 0, []
        for detection, event in zip(ranked, found, strict=True):
            if detection[1] != label or event is None:
                continue
            if event == -1:
                misses += 1
            elif event in chosen:
                hits += 1
                weight = 1 if normal_count is None else normal_count / num_events
                points.append(hits * weight / (hits * weight + misses))
        values.append(sum(max(points[k:]) for k in range(len(points))) / num_events)
    return sum(values) / len(values)


def read_svg(document):
    """Return name without namespace and text of the nodes of a picture; refuse what is no XML."""
    tree = ElementTree.fromstring(document)  # noqa: S314 - our own
    return [
        (node.tag.removeprefix("{http://www.w3.org/2000/svg}"), node.text) for node in tree.iter()
    ]
