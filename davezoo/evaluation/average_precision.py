"""Temporal average precision of all classes and thresholds at once, for NumPy arrays and tensors.

The result is that of the evaluators of ActivityNet (Caba Heilbron et al., CVPR 2015), ActionFormer
(Zhang et al., ECCV 2022) and UnAV-100 (Geng et al., CVPR 2023), which walk through the detections
one by one; here nothing loops over detections, videos, classes or thresholds.

Matching is the idea that makes this possible. The evaluators let detections choose in the order of
their scores: each takes the free event of its video and class with the highest tIoU, if that
reaches the threshold. This is the stable matching between detections, which prefer events by tIoU,
and events, which all prefer detections by score; it is unique, so that every detection may propose
at the same time and events keep the best proposal (Gale and Shapley, "College Admissions and the
Stability of Marriage", 1962). A few rounds settle all videos, classes and thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from array_api_compat import array_namespace, device

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# A NumPy array or a torch tensor: all arrays of one call come from the same library and device.
Array = Any


@dataclass(frozen=True)
class EventArrays:
    """Events of many videos, one row an event; NumPy arrays or tensors.

    Args:
        videos: index of the video, (N,), int64.
        labels: class index, (N,), int64.
        segments: starts and ends in seconds, (N, 2), each start <= end.
        scores: confidences, (N,), or None for annotations.
    """

    videos: Array
    labels: Array
    segments: Array
    scores: Array | None = None

    def __len__(self) -> int:
        """Return the number of events."""
        return int(self.videos.shape[0])

    def __getitem__(self, rows: Array) -> EventArrays:
        """Return the rows that an index array, a mask or a slice selects."""
        scores = None if self.scores is None else self.scores[rows]
        return EventArrays(self.videos[rows], self.labels[rows], self.segments[rows], scores)


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision of every class that has events.

    Args:
        classes: class indices, ascending, (K,), int64.
        num_events: annotated events of each class, (K,), int64.
        values: average precision, (K, T), float64, T thresholds.
    """

    classes: Array
    num_events: Array
    values: Array


@dataclass(frozen=True)
class Ranking:
    """Detections in the order of their scores, and which of them are true positives.

    A curve is the precision-recall curve of one class at one threshold: number
    `threshold * K + class` of K classes.

    Args:
        classes: class indices that have events, ascending, (K,), int64.
        num_events: annotated events of each class, (K,), int64.
        videos: video of each detection of those classes; by class, then by score, highest first,
            (N,).
        order: index of each of these detections among all that were given, (N,), int64.
        rows: the detection of each true positive, ascending within a curve, (P,), int64.
        events: the event that it found, (P,), int64.
        ranks: rank of each true positive among the detections of its class, from 0, (P,), int64.
        curves: curve of each true positive, ascending, (P,), int64.
    """

    classes: Array
    num_events: Array
    videos: Array
    order: Array
    rows: Array
    events: Array
    ranks: Array
    curves: Array


def temporal_iou(first: Array, second: Array) -> Array:
    r"""Compute the temporal intersection over union of segments, pair by pair.

    $\mathrm{tIoU} = |a \cap b| / (|a| + |b| - |a \cap b|)$. Two segments of zero length have tIoU 1
    if they coincide and 0 otherwise, where the formula alone would be 0/0.

    Args:
        first: starts and ends, (..., 2), each start <= end.
        second: starts and ends, (..., 2), of a shape that broadcasts with `first`.

    Returns:
        tIoU, (...), of the arrays' floating-point type.

    Reference:
        ActivityNet kit, `segment_iou`.

    Example:
        >>> import numpy as np
        >>> temporal_iou(np.array([0.0, 10.0]), np.array([[5.0, 15.0], [0.0, 10.0], [20.0, 30.0]]))
        array([0.33333333, 1.        , 0.        ])
    """
    xp = array_namespace(first, second)
    start, end = first[..., 0], first[..., 1]
    other_start, other_end = second[..., 0], second[..., 1]
    overlap = xp.minimum(end, other_end) - xp.maximum(start, other_start)
    overlap = xp.where(overlap > 0, overlap, xp.zeros_like(overlap))
    union = (end - start) + (other_end - other_start) - overlap
    one, zero = xp.ones_like(union), xp.zeros_like(union)
    both_points = union <= 0
    same_point = xp.where(start == other_start, one, zero)
    return xp.where(both_points, same_point, overlap / xp.where(both_points, one, union))


def average_precision(
    events: EventArrays, detections: EventArrays, tiou_thresholds: Sequence[float]
) -> AveragePrecision:
    """Compute the average precision of each class at each tIoU threshold.

    With the detections of a class ordered by score over all videos, `TP_k` true positives among the
    first `k` and `N` annotated events, precision is `TP_k / k` and the average precision is
    `1 / N` times the sum, over the true positives, of the highest precision at this or a later
    rank: the area under the all-points precision-recall curve. Equal scores and equal tIoUs are
    taken last listed first. Everything is computed in float64.

    Args:
        events: annotated events, at least one; those of a video in the order of listing.
        detections: detections with scores, in the order in which they are listed; those of a class
            without annotated events are left out, those in a video without events of their class
            are false positives.
        tiou_thresholds: T thresholds, ascending.

    Returns:
        Values of the K classes that occur in `events`, on the device of the inputs.

    Reference:
        ActivityNet kit, `compute_average_precision_detection` and `interpolated_prec_rec`.
    """
    ranking = rank_detections(events, detections, tiou_thresholds)
    xp = array_namespace(ranking.curves)
    num_classes, num_thresholds = ranking.classes.shape[0], len(tiou_thresholds)
    count = positions_in_runs(ranking.curves) + 1
    precision = xp.astype(count, xp.float64) / xp.astype(ranking.ranks + 1, xp.float64)
    values = sum_best_precision(precision, ranking.curves, num_thresholds * num_classes)
    values = xp.permute_dims(xp.reshape(values, (num_thresholds, num_classes)), (1, 0))
    num_events = xp.astype(ranking.num_events, xp.float64)
    return AveragePrecision(ranking.classes, ranking.num_events, values / num_events[:, None])


def precision_at_recalls(
    events: EventArrays,
    detections: EventArrays,
    tiou_thresholds: Sequence[float],
    recalls: Array,
) -> Array:
    """Compute the precision-recall curve at each tIoU threshold, the mean over the classes.

    Of each class it is the interpolated curve whose area is its average precision: the highest
    precision at which at least that share of its events is found; 0 where so many never are.

    Args:
        events: annotated events, as in `average_precision`.
        detections: detections with scores, likewise.
        tiou_thresholds: T thresholds, ascending.
        recalls: R shares of events, each 0 to 1, float64.

    Returns:
        Precisions, (T, R), float64.
    """
    ranking = rank_detections(events, detections, tiou_thresholds)
    xp = array_namespace(ranking.curves, recalls)
    num_thresholds, num_classes = len(tiou_thresholds), ranking.classes.shape[0]
    place = device(ranking.curves)
    count = positions_in_runs(ranking.curves) + 1
    precision = xp.astype(count, xp.float64) / xp.astype(ranking.ranks + 1, xp.float64)
    best = _suffix_scan(precision, ranking.curves, xp.maximum)
    # The n-th event found, n the least that makes up the recall; its true positive, if it exists,
    # is the n-th of the curve. What follows the last one stands for those never found.
    best = xp.concat([best, xp.zeros(1, dtype=xp.float64, device=place)])
    exact = recalls[None, :] * xp.astype(ranking.num_events, xp.float64)[:, None]  # (K, R)
    needed = xp.clip(xp.astype(xp.ceil(exact - 1e-9), xp.int64), min=1)  # 0.07 * 100 > 7
    needed = xp.tile(needed, (num_thresholds, 1))  # (T K, R)
    curves = xp.arange(num_thresholds * num_classes, dtype=xp.int64, device=place)
    first = xp.searchsorted(ranking.curves, curves)
    end = xp.searchsorted(ranking.curves, curves, side="right")
    found = (first - 1)[:, None] + needed
    found = xp.where(found < end[:, None], found, xp.full_like(found, best.shape[0] - 1))
    values = xp.reshape(xp.take(best, xp.reshape(found, (-1,))), (num_thresholds, num_classes, -1))
    return xp.mean(values, axis=1)


def sum_best_precision(precision: Array, curves: Array, num_curves: int) -> Array:
    """Sum, over the true positives of each curve, the highest precision at this or a later one.

    Args:
        precision: precision at each true positive; those of a curve by rank, (P,), float64.
        curves: curve of each true positive, ascending, (P,), int64.
        num_curves: how many curves there are.

    Returns:
        The area under each curve times its number of events, (num_curves,), float64.
    """
    xp = array_namespace(precision)
    values = xp.zeros(num_curves, dtype=xp.float64, device=device(precision))
    best = _suffix_scan(precision, curves, xp.maximum)
    total = _suffix_scan(best, curves, xp.add)
    first = positions_in_runs(curves) == 0
    values[curves[first]] = total[first]
    return values


def rank_detections(
    events: EventArrays, detections: EventArrays, tiou_thresholds: Sequence[float]
) -> Ranking:
    """Order the detections by score and match them to events, at every threshold.

    Args:
        events: annotated events, at least one; those of a video in the order of listing.
        detections: detections with scores, in the order in which they are listed; those of a class
            without annotated events are left out.
        tiou_thresholds: thresholds, ascending.

    Returns:
        All that average precision depends on, on the device of the inputs.
    """
    xp = array_namespace(events.segments, detections.segments)
    thresholds = xp.asarray(tiou_thresholds, dtype=xp.float64, device=device(events.segments))
    classes, num_events = xp.unique_counts(events.labels)
    order, class_of, rank = _order_detections(detections, classes)
    detections = detections[order]
    threshold_of, rows, found = _match(events, detections, thresholds)
    # True positives come by threshold, class and rank: one run for each precision-recall curve.
    curves = threshold_of * classes.shape[0] + class_of[rows]
    return Ranking(classes, num_events, detections.videos, order, rows, found, rank[rows], curves)


def _order_detections(detections: EventArrays, classes: Array) -> tuple[Array, Array, Array]:
    """Order the detections of known classes by class, then by score, highest first.

    Returns:
        Index of each detection, the position of its class in `classes` and its rank among those of
        its class, from 0, (N,) each.
    """
    xp = array_namespace(classes)
    class_of = _search(classes, detections.labels)
    known = xp.nonzero(class_of >= 0)[0]
    detections, class_of = detections[known], class_of[known]
    # Ascending, stable and then backwards: equal scores come last listed first.
    order = xp.flip(xp.argsort(xp.astype(detections.scores, xp.float64), stable=True))
    order = order[xp.argsort(class_of[order], stable=True)]
    class_of = class_of[order]
    return known[order], class_of, positions_in_runs(class_of)


def _match(
    events: EventArrays, detections: EventArrays, thresholds: Array
) -> tuple[Array, Array, Array]:
    """Give every event, at every threshold, the best detection that does not prefer another one.

    Args:
        events: annotated events.
        detections: detections; those of a class with the better score first.
        thresholds: T thresholds, ascending.

    Returns:
        Index of the threshold, of the detection and of the event of every true positive, by the
        first two ascending.
    """
    xp = array_namespace(thresholds)
    row, event, tiou = _overlapping_pairs(events, detections, thresholds[0])
    pair = xp.arange(row.shape[0] + 1, dtype=xp.int64, device=device(row))
    first = xp.nonzero(positions_in_runs(row) == 0)[0]
    num_rows, num_slots = first.shape[0], len(events) * thresholds.shape[0]

    # One proposer a detection and threshold, all thresholds apart: `threshold * R + detection`, R
    # detections overlap anything. The events that one can have are its pairs from `cursor` to
    # before `stop`, because tIoU falls within a row.
    reached = xp.astype(tiou >= thresholds[:, None], xp.int64)
    reached = xp.cumulative_sum(reached, axis=1, include_initial=True)
    end = xp.concat([first[1:], pair[-1:]])
    cursor = xp.tile(first, (thresholds.shape[0],))
    stop = cursor + xp.reshape(reached[:, end] - reached[:, first], (-1,))
    nobody = num_rows * thresholds.shape[0]
    holder = xp.full(num_slots, nobody, dtype=xp.int64, device=device(row))
    active = xp.nonzero(cursor < stop)[0]
    while active.shape[0]:
        slot = active // num_rows * len(events) + event[cursor[active]]
        order = xp.argsort(slot, stable=True)  # proposers of a slot stay in the order of scores
        slot, proposer = slot[order], active[order]
        best = positions_in_runs(slot) == 0
        slot, challenger = slot[best], proposer[best]
        incumbent = holder[slot]
        holder[slot] = xp.minimum(challenger, incumbent)
        rejected = xp.concat([proposer[~best], xp.maximum(challenger, incumbent)])
        rejected = rejected[rejected < nobody]
        cursor[rejected] += 1
        active = xp.sort(rejected[cursor[rejected] < stop[rejected]])
    slot = xp.nonzero(holder < nobody)[0]
    slot = slot[xp.argsort(holder[slot])]
    winner = holder[slot]
    if not winner.shape[0]:
        return winner, winner, winner
    return winner // num_rows, row[first[winner % num_rows]], slot % len(events)


def _overlapping_pairs(
    events: EventArrays, detections: EventArrays, min_tiou: Array
) -> tuple[Array, Array, Array]:
    """List detections with the events of their video and class that they overlap enough.

    Returns:
        Index of the detection, ascending; index of the event, highest tIoU first within a
        detection, equal ones last listed first; tIoU in float64; (P,) each.
    """
    xp = array_namespace(min_tiou)
    num_classes = int(xp.max(events.labels)) + 1
    event_key = events.videos * num_classes + events.labels
    order = xp.argsort(event_key, stable=True)
    groups, group_sizes = xp.unique_counts(event_key)
    group = _search(groups, detections.videos * num_classes + detections.labels)

    row = xp.nonzero(group >= 0)[0]
    group = group[row]
    repeats = group_sizes[group]
    first = (xp.cumulative_sum(group_sizes) - group_sizes)[group]
    row, first = xp.repeat(row, repeats), xp.repeat(first, repeats)
    event = order[first + positions_in_runs(row)]

    event_segments = xp.astype(events.segments, xp.float64)[event]
    tiou = temporal_iou(event_segments, xp.astype(detections.segments, xp.float64)[row])
    near = xp.nonzero(tiou >= min_tiou)[0]
    row, event, tiou = row[near], event[near], tiou[near]
    order = xp.flip(xp.argsort(tiou, stable=True))
    order = order[xp.argsort(row[order], stable=True)]
    return row[order], event[order], tiou[order]


def _search(sorted_keys: Array, keys: Array) -> Array:
    """Return the position of each key in ascending unique keys, (N,); -1 where it is absent."""
    xp = array_namespace(keys)
    position = xp.clip(xp.searchsorted(sorted_keys, keys), max=sorted_keys.shape[0] - 1)
    return xp.where(sorted_keys[position] == keys, position, -xp.ones_like(position))


def positions_in_runs(keys: Array) -> Array:
    """Return the position of each element in its run of equal keys, (N,); keys ascend."""
    xp = array_namespace(keys)
    position = xp.arange(keys.shape[0], dtype=xp.int64, device=device(keys))
    return position - xp.searchsorted(keys, keys)


def _suffix_scan(values: Array, keys: Array, combine: Callable[[Array, Array], Array]) -> Array:
    """Combine each element with all later ones of its run of equal keys.

    Doubling the reach in each round takes a logarithmic number of them and, unlike a running sum
    over everything, adds in an order that depends on neither library nor device nor other runs.

    Args:
        values: numbers, (N,).
        keys: key of each number, ascending, (N,).
        combine: associative operation on two arrays.
    """
    xp = array_namespace(values)
    reach = 1
    longest = int(xp.max(positions_in_runs(keys))) if keys.shape[0] else 0
    while reach <= longest:
        joined = combine(values[:-reach], values[reach:])
        joined = xp.where(keys[:-reach] == keys[reach:], joined, values[:-reach])
        values = xp.concat([joined, values[-reach:]])
        reach *= 2
    return values
