"""The fast path gives what plain loops give, with NumPy and with torch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from davezoo.evaluation.average_precision import (
    EventArrays,
    average_precision,
    precision_at_recalls,
    temporal_iou,
)
from tests.evaluation import reference

THRESHOLDS = [0.1, 0.3, 0.5, 2 / 3, 1.0]

# Few videos, classes, times and scores: ties, duplicates, taken events and points are common.
segments = st.tuples(st.integers(0, 8), st.integers(0, 5)).map(lambda s: (s[0], s[0] + s[1]))
events = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), segments), min_size=1)
detections = st.lists(
    st.tuples(st.integers(0, 3), st.integers(-1, 4), segments, st.sampled_from([0.1, 0.5, 0.9]))
)
devices = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def to_arrays(rows, with_scores):
    videos, labels = (np.array([row[i] for row in rows], dtype=np.int64) for i in (0, 1))
    times = np.array([row[2] for row in rows], dtype=np.float64).reshape(-1, 2)
    scores = np.array([row[3] for row in rows], dtype=np.float64) if with_scores else None
    return EventArrays(videos, labels, times, scores)


def to_tensors(arrays, device="cpu"):
    fields = (arrays.videos, arrays.labels, arrays.segments, arrays.scores)
    return EventArrays(*(None if x is None else torch.from_numpy(x).to(device) for x in fields))


def random_problem(seed, num_events=200, num_detections=3000):
    generator = np.random.default_rng(seed)

    def draw(count):
        start = generator.uniform(0, 50, count)
        times = np.stack([start, start + generator.gamma(2, 8, count)], axis=1)
        return generator.integers(0, 12, count), generator.integers(0, 6, count), times

    scores = generator.random(num_detections).astype(np.float32)
    return EventArrays(*draw(num_events)), EventArrays(*draw(num_detections), scores)


@settings(max_examples=300, deadline=None)
@given(events, detections)
def test_equals_reference(event_rows, detection_rows):
    result = average_precision(
        to_arrays(event_rows, False), to_arrays(detection_rows, True), THRESHOLDS
    )
    expected = reference.average_precisions(event_rows, detection_rows, THRESHOLDS)
    assert result.classes.tolist() == list(expected)
    assert_allclose(result.values, list(expected.values()), rtol=0, atol=1e-12)
    assert result.num_events.tolist() == [
        sum(label == row[1] for row in event_rows) for label in expected
    ]


@settings(max_examples=50, deadline=None)
@given(events, detections)
def test_torch_equals_numpy_on_ties(event_rows, detection_rows):
    arrays = to_arrays(event_rows, False), to_arrays(detection_rows, True)
    result = average_precision(*arrays, THRESHOLDS)
    other = average_precision(*map(to_tensors, arrays), THRESHOLDS)
    assert_array_equal(other.values.numpy(), result.values)


def test_equals_reference_on_a_crowded_problem():
    """Many detections compete for many events, so that matching takes many rounds."""
    arrays = random_problem(0, num_events=120, num_detections=600)
    rows = [
        list(zip(a.videos.tolist(), a.labels.tolist(), a.segments.tolist(), strict=True))
        for a in arrays
    ]
    scored = [(*row, s) for row, s in zip(rows[1], arrays[1].scores.tolist(), strict=True)]
    expected = reference.average_precisions(rows[0], scored, THRESHOLDS)
    result = average_precision(*arrays, THRESHOLDS)
    assert_allclose(result.values, list(expected.values()), rtol=0, atol=1e-12)
    assert result.values.max() > 0.1


@pytest.mark.parametrize("device", devices)
def test_torch_equals_numpy_to_the_last_bit(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    arrays = random_problem(1)
    result = average_precision(*arrays, THRESHOLDS)
    other = average_precision(*(to_tensors(a, device) for a in arrays), THRESHOLDS)
    assert other.values.device.type == device
    assert_array_equal(other.values.cpu().numpy(), result.values)
    assert_array_equal(other.classes.cpu().numpy(), result.classes)
    assert_array_equal(other.num_events.cpu().numpy(), result.num_events)


def test_perfect_detections_score_one():
    truth, _ = random_problem(2)
    scores = np.linspace(0, 1, len(truth))
    found = EventArrays(truth.videos, truth.labels, truth.segments, scores)
    assert_array_equal(average_precision(truth, found, THRESHOLDS).values, 1.0)


def test_order_of_detections_does_not_matter_without_ties():
    truth, found = random_problem(3)
    found = EventArrays(found.videos, found.labels, found.segments, np.linspace(0, 1, len(found)))
    order = np.random.default_rng(0).permutation(len(found))
    expected = average_precision(truth, found, THRESHOLDS).values
    assert_array_equal(average_precision(truth, found[order], THRESHOLDS).values, expected)


def test_values_fall_with_the_threshold_of_one_event():
    truth, found = random_problem(4)
    values = average_precision(truth[:1], found, [0.1, 0.2, 0.4, 0.8]).values
    assert (np.diff(values, axis=1) <= 0).all()


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([0, 10], [0, 10], 1),
        ([0, 10], [5, 15], 1 / 3),
        ([0, 10], [10, 20], 0),
        ([0, 10], [20, 30], 0),
        ([0, 10], [2, 4], 0.2),
        ([0, 10], [5, 5], 0),
        ([5, 5], [5, 5], 1),
        ([5, 5], [6, 6], 0),
    ],
)
def test_temporal_iou(first, second, expected):
    first, second = np.array(first, dtype=np.float64), np.array(second, dtype=np.float64)
    assert temporal_iou(first, second) == expected
    assert temporal_iou(second, first) == expected
    assert temporal_iou(torch.from_numpy(first), torch.from_numpy(second)) == expected


def test_temporal_iou_broadcasts():
    first, second = random_problem(5)
    table = temporal_iou(first.segments[:, None], second.segments[None, :7])
    assert table.shape == (len(first), 7)
    assert table[3, 4] == temporal_iou(first.segments[3], second.segments[4])
    assert table[3, 4] == reference.tiou(first.segments[3], second.segments[4])


@settings(max_examples=200, deadline=None)
@given(events, detections)
def test_area_under_the_curves_is_the_average_precision(event_rows, detection_rows):
    annotated, found = to_arrays(event_rows, False), to_arrays(detection_rows, True)
    result = average_precision(annotated, found, THRESHOLDS)
    # With N events of a class its curve changes at multiples of 1 / N alone: the mean over the
    # middles of steps that divide all of them is the area under every one.
    steps = np.lcm.reduce(result.num_events)
    if steps > 5000:
        return
    recalls = (np.arange(steps) + 0.5) / steps
    curves = precision_at_recalls(annotated, found, THRESHOLDS, recalls)
    assert_allclose(curves.mean(axis=1), result.values.mean(axis=0), rtol=0, atol=1e-12)
    assert (np.diff(curves, axis=1) <= 1e-12).all()


def test_curve_by_hand():
    annotated = to_arrays([(0, 0, (0, 1)), (0, 0, (5, 6))], False)
    found = to_arrays(
        [(0, 0, (0, 1), 0.9), (0, 0, (2, 3), 0.8), (0, 0, (5, 6), 0.7), (0, 0, (0, 1), 0.1)], True
    )
    recalls = np.array([0.0, 0.5, 0.51, 1.0])
    curves = precision_at_recalls(annotated, found, [0.5], recalls)
    assert_allclose(curves, [[1, 1, 2 / 3, 2 / 3]])
    missed = precision_at_recalls(annotated, found[:2], [0.5, 0.9], recalls)
    assert_allclose(missed, [[1, 1, 0, 0]] * 2)


def test_curves_of_tensors_are_those_of_arrays():
    annotated, found = random_problem(3)
    recalls = np.linspace(0, 1, 101)
    expected = precision_at_recalls(annotated, found, THRESHOLDS, recalls)
    result = precision_at_recalls(
        to_tensors(annotated), to_tensors(found), THRESHOLDS, torch.from_numpy(recalls)
    )
    assert_allclose(result.numpy(), expected, rtol=0, atol=1e-12)
    assert expected[0, 0] > 0.1
