"""The benchmark of the paired bootstrap, at a toy size."""

import json

import numpy as np

from benchmarks import compare
from benchmarks.metric import make_problem
from benchmarks.record import check_record


def test_record(tmp_path):
    compare.main((20, 40, 20, 3), resamples=50, repeats=1, folder=tmp_path)
    (path,) = tmp_path.rglob("compare--*.json")
    record = json.loads(path.read_text())
    check_record(record, path)
    assert [m["name"] for m in record["measurements"]] == [
        "one resample, matched anew",
        "one resample, counted anew",
        "davezoo compare, 50 resamples",
    ]
    problems = {m["problem"] for m in record["measurements"]}
    assert problems == {"20 videos, 40 events, 200 detections a file, 3 classes, 9 thresholds"}


def test_drawn_videos_are_repeated():
    _, found = make_problem(4, 6, 3, 2, seed=0)
    repeated = compare.repeat_videos(found, np.array([2, 0, 1, 0]))
    assert repeated.videos.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    rows = [0, 1, 2, 0, 1, 2, 6, 7, 8]
    np.testing.assert_array_equal(repeated.segments, found.segments[rows])
    np.testing.assert_array_equal(repeated.scores, found.scores[rows])
