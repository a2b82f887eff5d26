"""A resample scores what the evaluator gives for tables in which the drawn videos are repeated."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.annotations import read_annotations
from davezoo.evaluation.bootstrap import (
    BootstrapError,
    ResampledMap,
    percentile_interval,
    resample_differences,
)
from davezoo.evaluation.ground_truth import GroundTruthError, select_ground_truth
from davezoo.evaluation.protocols import PROTOCOLS
from davezoo.evaluation.scoring import score, select_detections
from tests.evaluation.tables import make_annotations, make_predictions

RULES = replace(PROTOCOLS["unav100"], tiou_thresholds=(0.3, 0.5, 0.75))
CLASSES = st.integers(0, 2)
SEGMENTS = st.tuples(st.integers(0, 6), st.integers(0, 4)).map(lambda s: (s[0], s[0] + s[1]))
SCORES = st.integers(0, 8)


@st.composite
def problems(draw, ties=False):
    """Videos with events and detections, one more video outside the split, multiplicities.

    Scores tie between videos; within one only with `ties`.
    """
    num_videos = draw(st.integers(1, 4))
    videos = [f"v{index}" for index in range(num_videos)]
    events = draw(st.lists(st.tuples(st.sampled_from(videos), CLASSES, SEGMENTS), min_size=1))
    detections = []
    for video in [*videos, "elsewhere"]:
        found = st.lists(st.tuples(CLASSES, SEGMENTS, SCORES), unique_by=None if ties else _score)
        detections += [(video, *row) for row in draw(found)]
    counts = st.lists(st.integers(0, 3), min_size=num_videos, max_size=num_videos)
    return videos, events, detections, np.array(draw(counts))


def _score(row):
    return row[2]


def resampled_map(videos, events, detections):
    annotations = make_annotations(events, videos)
    predictions = make_predictions(detections, [*videos, "elsewhere"])
    truth = select_ground_truth(annotations, RULES)
    found, _ = select_detections(predictions, truth, RULES)
    return ResampledMap(truth.events, found, RULES.tiou_thresholds, len(videos))


def copies(videos, rows, counts):
    """Rows of every copy of a video, under a name of its own; those of other videos once."""
    times = dict(zip(videos, counts, strict=True))
    rows_of = {video: [] for video in videos}
    for video, *rest in rows:
        rows_of.setdefault(video, []).append(rest)
    return [
        (f"{video} {copy}", *rest)
        for video, own in rows_of.items()
        for copy in range(times.get(video, 1))
        for rest in own
    ]


def score_copies(videos, events, detections, counts, class_names=("a", "b", "c")):
    """Score the resample as the evaluator would if it were handed in as files."""
    names = [f"{v} {copy}" for v, n in zip(videos, counts, strict=True) for copy in range(n)]
    repeated = copies(videos, detections, counts)
    predictions = make_predictions(repeated, [*names, "elsewhere 0"], class_names)
    annotations = make_annotations(copies(videos, events, counts), names, class_names)
    try:
        return score(annotations, predictions, RULES).map
    except GroundTruthError:
        return [np.nan] * len(RULES.tiou_thresholds)


@settings(max_examples=100, deadline=None)
@given(problems())
def test_a_resample_is_the_score_of_repeated_videos(problem):
    *tables, counts = problem
    expected = score_copies(*tables, counts)
    np.testing.assert_allclose(resampled_map(*tables)(counts), expected, rtol=0, atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(problems(ties=True))
def test_every_video_once_is_the_evaluator(problem):
    videos, events, detections, _ = problem
    once = np.ones(len(videos), dtype=np.int64)
    expected = score_copies(videos, events, detections, once)
    actual = resampled_map(videos, events, detections)(once)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


def test_equal_scores_of_a_video_keep_their_order():
    """Copies of a true and of a false detection of one score stand side by side, not in turn."""
    events = [("v0", 0, (0, 10))]
    true, false = ("v0", 0, (0, 10), 0.5), ("v0", 0, (20, 30), 0.5)
    counts = np.array([2])
    last_first = resampled_map(["v0"], events, [false, true])(counts)  # hits 1 1 0 0
    np.testing.assert_allclose(last_first, 1)
    last_first = resampled_map(["v0"], events, [true, false])(counts)  # 0 0 1 1: 2 of 4 at the end
    np.testing.assert_allclose(last_first, 0.5)


def test_classes_that_do_not_occur_leave_the_mean():
    events = [("v0", 0, (0, 10)), ("v1", 1, (0, 10)), ("v1", 0, (20, 30))]
    detections = [("v0", 0, (0, 10), 0.5), ("v1", 1, (50, 60), 0.9), ("v1", 0, (20, 30), 0.4)]
    first = resampled_map(["v0", "v1"], events, detections)
    np.testing.assert_allclose(first(np.array([1, 1])), 0.5)
    np.testing.assert_allclose(first(np.array([2, 0])), 1.0)


def test_without_any_detection():
    scores = resampled_map(["v0"], [("v0", 0, (0, 10))], [])
    np.testing.assert_array_equal(scores(np.array([3])), 0)


def test_both_files_meet_the_same_draws():
    seen = []

    def record(multiplicity):
        seen.append(multiplicity)
        return np.array([multiplicity[0], 0.0])

    drawn = resample_differences(record, lambda m: np.array([m[1], 1.0]), 5, 20, seed=3)
    assert drawn.shape == (20, 2)
    assert [m.sum() for m in seen] == [5] * 20
    np.testing.assert_array_equal(drawn[:, 0], [m[0] - m[1] for m in seen])
    assert len({tuple(m) for m in seen}) > 10
    again = resample_differences(record, lambda m: np.array([m[1], 1.0]), 5, 7, seed=3)
    np.testing.assert_array_equal(again, drawn[:7])
    other = resample_differences(record, lambda m: np.array([m[1], 1.0]), 5, 20, seed=4)
    assert (other != drawn).any()


def test_spread_of_a_mean_is_the_one_of_theory():
    """A video found or missed: mAP is a share, whose deviation is sqrt(p (1 - p) / n)."""
    videos = [f"v{index}" for index in range(200)]
    events = [(video, 0, (0, 10)) for video in videos]
    found = [(video, 0, (0, 10), 0.5) for video in videos[:60]]
    pair = resampled_map(videos, events, found), resampled_map(videos, events, [])
    drawn = resample_differences(*pair, 200, 2000, seed=0)[:, 0]
    assert drawn.mean() == pytest.approx(0.3, abs=0.003)
    assert drawn.std() == pytest.approx(np.sqrt(0.3 * 0.7 / 200), rel=0.05)


RESAMPLED = st.lists(st.integers(-20, 20).map(lambda x: x / 4), min_size=99, max_size=99)


@settings(max_examples=100, deadline=None)
@given(RESAMPLED, st.integers(-4, 4))
def test_interval_and_p_value_agree(resampled, difference):
    """With 99 resamples and 90% the ends are the fifth from either side: no interpolation."""
    interval = percentile_interval(np.array(resampled), difference, 0.9)
    ranked = sorted(resampled)
    assert (interval.low, interval.high) == pytest.approx((ranked[4], ranked[-5]), abs=1e-9)
    # The smallest tail, tried one by one, at which the interval of that many reaches 0.
    inside = [k for k in range(1, 51) if ranked[k - 1] <= 0 <= ranked[-k]]
    first = max(inside, default=0) + 1
    assert interval.p_value == pytest.approx(min(1, 2 * first / 100))
    share = sum(value * np.sign(difference) <= 0 for value in resampled) / 99
    assert interval.other_sign == pytest.approx(share)
    mirrored = percentile_interval(-np.array(resampled), -difference, 0.9)
    assert (-mirrored.high, -mirrored.low) == pytest.approx((interval.low, interval.high))
    assert mirrored.p_value == interval.p_value
    assert mirrored.other_sign == interval.other_sign


@pytest.mark.parametrize("confidence", [0, 1, -0.5, 95, float("nan")])
def test_confidence_is_a_share(confidence):
    with pytest.raises(BootstrapError, match=r"between 0 and 1, got .*; write 0\.95 for 95%"):
        percentile_interval(np.zeros(1000), 0.0, confidence)


def test_a_high_confidence_needs_many_resamples():
    percentile_interval(np.zeros(39), 0.0, 0.95)
    with pytest.raises(BootstrapError, match=r"at least 39 resamples .* 0\.95, got 38"):
        percentile_interval(np.zeros(38), 0.0, 0.95)


def test_resamples_of_the_unav_test_split(shared):
    """All videos and classes of the real annotations, detections around the real events."""
    path = shared / "data/unav100/unav100_annotations.json.gz"
    annotations = read_annotations(path).split("test")
    videos = list(annotations.videos.index)
    table = annotations.events[["video", "label", "start", "end"]]
    events = [(video, label, (start, end)) for video, label, start, end in table.to_numpy()]
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 2, (2 * len(events), 2))
    confidences = generator.permutation(len(noise)) / len(noise)
    detections = [
        (video, label, sorted(np.add(segment, shift)), confidence)
        for (video, label, segment), shift, confidence in zip(
            2 * events, noise, confidences, strict=True
        )
    ]
    names = annotations.class_names
    truth = select_ground_truth(annotations, RULES)
    found, _ = select_detections(make_predictions(detections, videos, names), truth, RULES)
    resampled = ResampledMap(truth.events, found, RULES.tiou_thresholds, len(videos))
    drawn = np.bincount(generator.integers(len(videos), size=len(videos)), minlength=len(videos))
    for counts in (np.ones_like(drawn), drawn):
        expected = score_copies(videos, events, detections, counts, names)
        np.testing.assert_allclose(resampled(counts), expected, rtol=0, atol=1e-12)


def test_intervals_hold_the_true_difference_as_often_as_they_say():
    """Test sets of 50 videos from a population of 2000 whose difference is known."""
    generator = np.random.default_rng(0)
    num_videos, num_sets, num_resamples = 2000, 200, 99
    videos = [f"v{index}" for index in range(num_videos)]
    events = [(video, index % 2, (0, 10)) for index, video in enumerate(videos)]
    hard = generator.random(num_videos)  # for both files, which the pairs take into account
    files = []
    for skill in (0.7, 0.6):
        ends = 10 - 9 * (hard * generator.random(num_videos) > 1 - skill)
        scores = generator.random(num_videos)
        rows = zip(events, ends.tolist(), scores.tolist(), strict=True)
        files.append([(video, label, (0, end), score) for (video, label, _), end, score in rows])
    population = [score_copies(videos, events, file, np.ones(num_videos, int)) for file in files]
    truth = np.mean(population[0]) - np.mean(population[1])
    held = 0
    for number in range(num_sets):
        drawn = generator.integers(num_videos, size=50)
        names = [f"{videos[index]} {place}" for place, index in enumerate(drawn)]
        rows = [
            [(name, *table[index][1:]) for name, index in zip(names, drawn, strict=True)]
            for table in (events, *files)
        ]
        pair = [resampled_map(names, rows[0], file) for file in rows[1:]]
        whole = np.mean(pair[0](np.ones(50, int)) - pair[1](np.ones(50, int)))
        resampled = resample_differences(*pair, 50, num_resamples, seed=number).mean(axis=1)
        interval = percentile_interval(resampled, whole, 0.9)
        held += interval.low <= truth <= interval.high
    assert 0.85 <= held / num_sets <= 0.95, held / num_sets  # 0.9 with a deviation of 0.021
