import gzip
import io
import json
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from davezoo.annotations import read_annotations
from davezoo.annotations.video_scores import VideoScoreError, read_video_scores

CLASSES = ["dog barking", "rain", "speech"]
THUMOS14 = [
    *("BaseballPitch", "BasketballDunk", "Billiards", "CleanAndJerk", "CliffDiving"),
    *("CricketBowling", "CricketShot", "Diving", "FrisbeeCatch", "GolfSwing", "HammerThrow"),
    *("HighJump", "JavelinThrow", "LongJump", "PoleVault", "Shotput", "SoccerPenalty"),
    *("TennisSwing", "ThrowDiscus", "VolleyballSpiking"),
]
# All vectors, with the classes in another order than those of the annotations.
VECTORS = {
    "class": ["speech", "dog barking", "rain"],
    "results": {"v": [0.1, 0.7, 0.2], "w": [0.5, 0.0, 0.5]},
}


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def write_array(path, array, packed=False):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    path.write_bytes(gzip.compress(file.getvalue()) if packed else file.getvalue())
    return path


def top(scores, video, k):
    labels, values = scores.top(video, k)
    assert (labels.dtype, values.dtype) == (np.int64, np.float64)
    return labels.tolist(), values.tolist()


@pytest.mark.parametrize("packed", [False, True])
def test_one_score_a_class(tmp_path, packed):
    path = write(tmp_path / "cuhk.json", VECTORS)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    scores = read_video_scores(path, CLASSES)
    assert top(scores, "v", 2) == ([0, 1], [0.7, 0.2])
    assert top(scores, "w", 3) == ([1, 2, 0], [0.5, 0.5, 0.0])  # equal ones in class order
    assert scores.missing(["x", "v", "y"]) == ["x", "y"]
    assert scores.notes == []


def test_some_best_classes_a_video(tmp_path):
    results = {
        "v": [{"label": "rain", "score": 0.2}, {"label": "speech", "score": 0.3}],
        "w": [],
        "x": [{"label": "dog barking", "score": 1}],
    }
    with pytest.warns(UserWarning, match=r"upc\.json: 1 of 3 videos without a score"):
        scores = read_video_scores(write(tmp_path / "upc.json", {"results": results}), CLASSES)
    assert top(scores, "v", 3) == ([2, 1], [0.3, 0.2])
    assert top(scores, "w", 2) == ([], [])
    assert top(scores, "x", 2) == ([0], [1.0])
    assert top(scores, "nowhere", 2) == ([], [])
    assert scores.missing(["v", "w", "nowhere"]) == ["w", "nowhere"]


def test_ids_with_and_without_prefix(tmp_path):
    results = {"v_a": [1.0], "b": [2.0], "v_v_c": [3.0], "v_c": [4.0]}
    path = write(tmp_path / "s.json", {"class": ["rain"], "results": results})
    scores = read_video_scores(path, ["rain"])
    given = {"a": 1.0, "v_a": 1.0, "b": 2.0, "v_b": 2.0, "v_c": 4.0, "c": 4.0, "v_v_c": 3.0}
    assert {video: scores.top(video, 1)[1].tolist() for video in given} == {
        video: [score] for video, score in given.items()
    }
    assert scores.missing(given) == []


@pytest.mark.parametrize("packed", [False, True])
def test_array_of_thumos14(tmp_path, packed):
    array = np.random.default_rng(0).random((1574, 101), dtype=np.float32)
    path = write_array(tmp_path / "uNet.npy", array, packed)
    scores = read_video_scores(path, THUMOS14)
    # Diving is class 26 of UCF101, TennisSwing 92; video 4 is the fourth row.
    labels, values = scores.top("video_test_0000004", 20)
    by_name = {THUMOS14[label]: value for label, value in zip(labels, values, strict=True)}
    assert (by_name["Diving"], by_name["TennisSwing"]) == (array[3, 25], array[3, 91])
    assert scores.missing(["video_test_0001574", "video_test_0001575", "video_test_0000000"]) == [
        "video_test_0001575",
        "video_test_0000000",
    ]


def test_other_classes_are_told(tmp_path):
    path = write(tmp_path / "s.json", VECTORS)
    with pytest.warns(UserWarning, match=r"1 classes that .* not used: \['rain'\].*: \['bell'\]"):
        scores = read_video_scores(path, ["bell", "dog barking", "speech"])
    assert top(scores, "v", 3) == ([1, 2], [0.7, 0.1])


def test_another_spelling_is_told_and_not_guessed(tmp_path):
    path = write(tmp_path / "s.json", VECTORS)
    with pytest.raises(VideoScoreError, match=r"'dog barking' where .* have 'Dog-barking'"):
        read_video_scores(path, ["Dog-barking", "rain", "speech"])


def test_no_class_in_common(tmp_path):
    with pytest.raises(VideoScoreError, match=r"s\.json.*'bell'.*'dog barking'.*this data set"):
        read_video_scores(write(tmp_path / "s.json", VECTORS), ["bell"])


def entry(**changes):
    return {"results": {"v": [{"label": "rain", "score": 0.5} | changes]}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "`results`"),
        ({}, "`results`"),
        ({"results": []}, "`results`"),
        ({"results": {}}, "`results`"),
        (VECTORS | {"class": "rain"}, "`class`"),
        (VECTORS | {"class": [1, 2, 3]}, "`class`"),
        (VECTORS | {"class": ["rain", "rain", "speech"]}, "'rain' twice"),
        (VECTORS | {"results": {"v": [0.1, 0.2]}}, r"'v'.*3 numbers.*\(2\)"),
        (VECTORS | {"results": {"v": [0.1, 0.2, "0.3"]}}, r"'v'.*3 numbers"),
        (VECTORS | {"results": {"v": [0.1, 0.2, True]}}, r"'v'.*3 numbers"),
        (VECTORS | {"results": {"v": [0.1, 0.2, 10**400]}}, r"'v'.*3 numbers"),
        (VECTORS | {"results": {"v": [0.1, 0.2, float("nan")]}}, r"'v'.*NaN"),
        (VECTORS | {"results": {"v": [0.1, 0.2, float("inf")]}}, r"'v'.*finite.*inf.*'rain'"),
        (VECTORS | {"results": {"v": [0.1, 0.2, -0.5]}}, r"'v'.*not negative.*-0\.5"),
        (VECTORS | {"results": {"v": None}}, r"'v'.*3 numbers"),
        (entry(score="1"), "'v'"),
        (entry(score=None), "'v'"),
        (entry(score=float("nan")), "'v'"),
        (entry(score=-1), r"'v'.*not negative"),
        (entry(label=3), "'v'"),
        ({"results": {"v": [0.1, 0.2, 0.7]}}, r"'v'.*need `class`"),
        ({"results": {"v": {"label": "rain"}}}, "'v'"),
        ({"results": {"v": [{"label": "rain", "score": 1}] * 2}}, "be different"),
    ],
)
def test_damaged_json(tmp_path, content, message):
    with pytest.raises(VideoScoreError, match=message) as caught:
        read_video_scores(write(tmp_path / "s.json", content), CLASSES)
    assert "s.json" in str(caught.value)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((1574, 20), np.float32), r"1574, 101.*\(1574, 20\)"),
        (np.zeros((213, 101), np.float32), r"\(213, 101\)"),
        (np.zeros((1574, 101), np.int64), "int64"),
        (np.full((1574, 101), {}), "object"),
        (np.full((1574, 101), np.nan, np.float32), "row 0.*NaN"),
        (np.full((1574, 101), -1, np.float32), "'video_test_0000001'.*not negative"),
    ],
)
def test_another_array(tmp_path, array, message):
    with pytest.raises(VideoScoreError, match=message) as caught:
        read_video_scores(write_array(tmp_path / "s.npy", array), THUMOS14)
    assert "s.npy" in str(caught.value)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("length", [20, 500, 1574 * 101 * 4, -1])
def test_array_that_is_cut_or_too_long(tmp_path, packed, length):
    path = write_array(tmp_path / "s.npy", np.zeros((1574, 101), np.float32))
    content = path.read_bytes() + b"\0" if length == -1 else path.read_bytes()[:length]
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(VideoScoreError, match=r"s\.npy"):
        read_video_scores(path, THUMOS14)


def test_huge_array_is_refused_before_it_is_made(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**6)}
    )
    (tmp_path / "s.npy").write_bytes(header.getvalue())
    with pytest.raises(VideoScoreError, match=r"1000000000, 1000000"):
        read_video_scores(tmp_path / "s.npy", THUMOS14)


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json"):
        read_video_scores(tmp_path / "nowhere.json", CLASSES)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from([*CLASSES, "v", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["label", "score", "v", "w"]), inner, max_size=3)
    ),
    max_leaves=12,
)
score_files = st.fixed_dictionaries(
    {"results": st.dictionaries(st.sampled_from(["v", "w", "v_v"]), json_values, max_size=3)},
    optional={"class": st.lists(st.sampled_from(CLASSES), max_size=3) | json_values},
)


def read_or_refuse(path):
    """Read a file; whatever it holds, the answer is a table or the error of this module."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            scores = read_video_scores(path, CLASSES)
        except VideoScoreError:
            return
    assert scores.values.shape == (len(scores.rows), 3)
    known = scores.values[~np.isnan(scores.values)]
    assert ((known >= 0) & (known < np.inf)).all()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(score_files | json_values)
def test_any_json(tmp_path_factory, content):
    read_or_refuse(write(tmp_path_factory.getbasetemp() / "any.json", content))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([b"", b"\x1f\x8b", b"\x93NUMPY", b"\x93NUMPY\x01\x00\x20\x00{'descr': "]),
    st.binary(max_size=60),
    st.booleans(),
)
def test_any_bytes(tmp_path_factory, start, rest, packed):
    path = tmp_path_factory.getbasetemp() / "any.npy"
    path.write_bytes(gzip.compress(start + rest) if packed else start + rest)
    read_or_refuse(path)


def test_upc_scores_of_activitynet(shared):
    folder = shared / "data/activitynet13"
    path = folder / "derived_activitynet_v1-3.json.gz"
    annotations = read_annotations(path).split("validation")
    with pytest.warns(UserWarning, match="70 of 4926 videos without a score"):
        scores = read_video_scores(
            folder / "upc_classification_validation.json.gz", annotations.class_names
        )
    videos = annotations.videos.index
    assert len(scores.missing(videos)) == 70
    true = annotations.events.groupby("video")["label"].agg(set)
    hits = [bool(set(scores.top(video, 1)[0].tolist()) & true[video]) for video in true.index]
    assert len(hits) == 4926
    assert round(100 * np.mean(hits), 1) == 59.3
    assert {len(scores.top(video, 5)[0]) for video in videos} == {0, 3}


def test_untrimmednet_scores_of_thumos14(shared):
    folder = shared / "data/thumos14"
    annotations = read_annotations(folder / "thumos14.json.gz").split("test")
    scores = read_video_scores(folder / "uNet_test.npy.gz", annotations.class_names)
    assert scores.values.shape == (1574, 20)
    assert (scores.notes, scores.missing(annotations.videos.index)) == ([], [])
    true = annotations.events.groupby("video")["label"].agg(set)
    hits = [bool(set(scores.top(video, 1)[0].tolist()) & true[video]) for video in true.index]
    # Another assignment of rows or columns would hit one video in twenty.
    assert np.mean(hits) > 0.8
