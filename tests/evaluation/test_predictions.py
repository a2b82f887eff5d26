import gzip
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.evaluation.predictions import (
    PredictionError,
    PredictionTable,
    read_predictions,
    write_predictions,
)
from davezoo.structures import Events
from tests.evaluation.tables import make_predictions

GOOD = {"segment": [1.5, 2], "label": "a", "score": 0.25}


def write(path, results, **others):
    path.write_text(json.dumps({"results": results} | others))
    return path


def test_read(tmp_path):
    path = write(
        tmp_path / "p.json",
        {"v": [GOOD, GOOD | {"label": "b"}], "w": [], "x": [GOOD | {"score": 1}]},
        version="mine",
    )
    table = read_predictions(path)
    assert table.video_ids == ["v", "w", "x"]
    assert table.class_names == ["a", "b"]
    assert table.videos.tolist() == [0, 0, 2]
    assert table.labels.tolist() == [0, 1, 0]
    assert table.segments.tolist() == [[1.5, 2.0]] * 3
    assert table.scores.tolist() == [0.25, 0.25, 1.0]
    assert table.version == "mine"


def test_class_index_stands_in_for_a_missing_name(tmp_path):
    entry = {"segment": [0, 1], "label_id": 7, "score": 1}
    table = read_predictions(write(tmp_path / "p.json", {"v": [entry, GOOD | {"label_id": 3}]}))
    assert table.class_names == [7, "a"]


@pytest.mark.parametrize("results", [{}, {"v": []}])
def test_nothing_detected(tmp_path, results):
    table = read_predictions(write(tmp_path / "p.json", results))
    assert (table.video_ids, len(table), table.segments.shape) == (list(results), 0, (0, 2))
    write_predictions(tmp_path / "q.json", table)
    assert read_predictions(tmp_path / "q.json").video_ids == list(results)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("text", "to be an object"),
        ([0, 1], "to be an object"),
        ({"label": "a", "score": 1}, "`segment`"),
        (GOOD | {"segment": [1]}, "`segment`"),
        (GOOD | {"segment": [1, 2, 3]}, "`segment`"),
        (GOOD | {"segment": ["1", "2"]}, "`segment`"),
        (GOOD | {"segment": "12"}, "`segment`"),
        (GOOD | {"segment": {"0": 1, "1": 2}}, "`segment`"),
        (GOOD | {"segment": [True, 2]}, "`segment`"),
        (GOOD | {"segment": None}, "`segment`"),
        (GOOD | {"segment": [2, 1]}, "not before the start"),
        (GOOD | {"segment": [float("nan"), 1]}, "finite"),
        (GOOD | {"segment": [0, float("inf")]}, "finite"),
        (GOOD | {"segment": [0, 10**400]}, "finite"),
        ({"segment": [0, 1], "score": 1}, "`label`"),
        (GOOD | {"label": 1.5}, "`label`"),
        (GOOD | {"label": None}, "`label`"),
        (GOOD | {"label": ["a"]}, "`label`"),
        ({"segment": [0, 1], "label": "a"}, "`score`"),
        (GOOD | {"score": "0.5"}, "`score`"),
        (GOOD | {"score": True}, "`score`"),
        (GOOD | {"score": float("nan")}, "finite"),
        (GOOD | {"score": float("-inf")}, "finite"),
    ],
)
def test_bad_entry_is_named(tmp_path, entry, message):
    path = write(tmp_path / "p.json", {"good": [GOOD], "bad video": [GOOD, entry]})
    with pytest.raises(PredictionError, match=message) as caught:
        read_predictions(path)
    assert f"detection 1 of video 'bad video' in {path}" in str(caught.value)


@pytest.mark.parametrize("content", [[], {}, {"results": []}, {"results": None}, 3])
def test_no_results(tmp_path, content):
    path = tmp_path / "p.json"
    path.write_text(json.dumps(content))
    with pytest.raises(PredictionError, match=r"`results` of .*p\.json"):
        read_predictions(path)


@pytest.mark.parametrize("listed", [{}, None, "text", 3])
def test_video_without_list(tmp_path, listed):
    with pytest.raises(PredictionError, match=r"video 'v' in .* to be a list"):
        read_predictions(write(tmp_path / "p.json", {"v": listed}))


def test_not_json(tmp_path):
    path = tmp_path / "p.json"
    path.write_text("not json")
    with pytest.raises(PredictionError, match="to hold JSON"):
        read_predictions(path)


numbers = st.floats(-1e6, 1e6, width=32)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(numbers, numbers, numbers)))
def test_float32_values_survive(tmp_path_factory, rows):
    rows = torch.tensor(rows).reshape(-1, 3)
    events = Events(
        segments=rows[:, :2].sort(dim=1).values,
        labels=torch.arange(len(rows)) % 3,
        scores=rows[:, 2],
    )
    path = tmp_path_factory.mktemp("round") / "p.json"
    table = PredictionTable.from_events({"v": events, "empty": events_of(0)}, ["a", "b", "c"])
    write_predictions(path, table, external_data={"used": False})
    again = read_predictions(path)
    assert again.video_ids == ["v", "empty"]
    np.testing.assert_array_equal(again.segments.astype(np.float32), events.segments.numpy())
    np.testing.assert_array_equal(again.scores, table.scores)
    names = [again.class_names[label] for label in again.labels]
    assert names == ["abc"[label] for label in events.labels]
    assert json.loads(path.read_text())["external_data"] == {"used": False}


def events_of(count, **changes):
    fields = {
        "segments": torch.rand(count, 2).sort(dim=1).values,
        "labels": torch.zeros(count, dtype=torch.int64),
        "scores": torch.rand(count),
    }
    return Events(**(fields | changes))


def test_class_indices_are_written_as_such(tmp_path):
    table = make_predictions([("v", 0, (0, 1), 0.5)], class_names=[4])
    write_predictions(tmp_path / "p.json", table)
    assert read_predictions(tmp_path / "p.json").class_names == [4]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_scores_are_refused(dtype):
    with pytest.raises(PredictionError, match=r"video 'v'.*float32"):
        PredictionTable.from_events({"v": events_of(2, scores=torch.rand(2).to(dtype))}, ["a"])


def test_missing_scores_are_refused():
    with pytest.raises(PredictionError, match=r"video 'v'.*`scores`"):
        PredictionTable.from_events({"v": events_of(2, scores=None)}, ["a"])


@pytest.mark.parametrize(
    "changes",
    [
        {"segments": torch.tensor([[0.0, 1.0], [2.0, 1.0]])},
        {"segments": torch.tensor([[0.0, 1.0], [float("nan"), 1.0]])},
        {"scores": torch.tensor([0.5, float("nan")])},
    ],
)
def test_bad_values_are_refused(changes):
    with pytest.raises(PredictionError, match="video 'w'"):
        PredictionTable.from_events({"v": events_of(3), "w": events_of(2, **changes)}, ["a"])


def test_official_detections_are_read(shared):
    """The file that the UnAV code wrote, and a gzipped one of the ActivityNet kit."""
    folder = shared / "official_tiny/unav"
    table = read_predictions(folder / "official_detections.json")
    listed = json.loads((folder / "official_detections.json").read_text())["results"]
    assert len(table) == sum(len(entries) for entries in listed.values())
    sample = shared / "data/predictions/activitynet_sample_detection_prediction.json.gz"
    assert len(read_predictions(sample)) == 7654
    assert gzip.decompress(sample.read_bytes())[:1] == b"{"


# Detections of EPIC-Kitchens with a verb and a noun --------------------------------------------

EPIC = {"segment": [0, 1], "score": 0.5, "verb": 3, "noun": 7, "label": "other", "action": "3,7"}


@pytest.mark.parametrize(
    ("labels", "expected"), [(None, ["other"]), ("verb", [3]), ("noun", [7]), ("action", [907])]
)
def test_verb_noun_and_action(tmp_path, labels, expected):
    table = read_predictions(write(tmp_path / "p.json", {"v": [EPIC]}), labels)
    assert table.class_names == expected


def test_names_of_verb_and_noun_name_the_action(tmp_path):
    path = write(tmp_path / "p.json", {"v": [EPIC | {"verb": "turn-on", "noun": "tap"}]})
    assert read_predictions(path, "action").class_names == ["turn-on tap"]


@pytest.mark.parametrize("labels", [None, "verb", "noun", "action"])
def test_detections_with_one_label_are_of_any_task(tmp_path, labels):
    path = write(tmp_path / "p.json", {"v": [GOOD, {"segment": [0, 1], "label_id": 7, "score": 1}]})
    assert read_predictions(path, labels).class_names == ["a", 7]


@pytest.mark.parametrize(
    ("labels", "change"),
    [
        ("verb", {"verb": None}),
        ("verb", {"verb": 1.5}),
        ("noun", {"noun": ["tap"]}),
        ("noun", {"noun": True}),
        ("action", {"verb": "take"}),
        ("action", {"noun": 300}),
        ("action", {"noun": -1}),
        ("action", {"verb": -1}),
        ("action", {"noun": None}),
    ],
)
def test_damaged_verb_or_noun(tmp_path, labels, change):
    path = write(tmp_path / "p.json", {"v": [EPIC, EPIC | change]})
    with pytest.raises(
        PredictionError, match=rf"{labels} of detection 1 of video 'v' in .*p\.json"
    ):
        read_predictions(path, labels)


def test_action_needs_verb_and_noun(tmp_path):
    without = {key: value for key, value in EPIC.items() if key != "verb"}
    with pytest.raises(PredictionError, match=r"action of detection 0.*verb None, noun 7"):
        read_predictions(write(tmp_path / "p.json", {"v": [without]}), "action")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["a", "", "0.5"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["segment", "label", "label_id", "score", "verb", "noun"]), inner
        )
    ),
    max_leaves=10,
)
entries = st.fixed_dictionaries(
    {
        "segment": st.just([0, 1]) | st.lists(st.floats(), max_size=3) | json_values,
        "score": st.floats(0, 1) | json_values,
    },
    optional=dict.fromkeys(("label", "label_id", "verb", "noun"), json_values),
)
results = st.dictionaries(st.sampled_from("vw"), st.lists(entries | json_values, max_size=3))


@settings(max_examples=150, deadline=None)
@given(results | json_values, st.sampled_from([None, "verb", "noun", "action"]))
def test_any_json_is_a_table_or_refused(tmp_path_factory, content, labels):
    path = write(tmp_path_factory.getbasetemp() / "any_predictions.json", content)
    try:
        table = read_predictions(path, labels)
    except PredictionError:
        return
    assert np.isfinite(table.scores).all()
    assert (table.segments[:, 0] <= table.segments[:, 1]).all()
    assert {type(name) for name in table.class_names} <= {int, str}
