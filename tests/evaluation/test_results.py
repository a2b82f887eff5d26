import json
from dataclasses import replace

import pytest

from davezoo.evaluation.protocols import digest_of_ids
from davezoo.evaluation.results import EvaluationResult, ResultError, shortened
from davezoo.evaluation.scoring import score
from tests.evaluation.tables import make_annotations, make_predictions


@pytest.fixture
def result():
    annotations = make_annotations(
        [("v", 0, (0, 10)), ("w", 1, (0, 10))], ["v", "w"], ["speech\x1b[31m", "a b"]
    )
    return score(annotations, make_predictions([("v", 0, (0, 5), 0.9)], class_names=["a b"]))


@pytest.fixture
def partial():
    annotations = make_annotations([("v", 0, (0, 10)), ("w", 1, (0, 10))])
    return score(annotations, make_predictions([("v", 0, (0, 5), 0.9), ("v", 2, (0, 5), 0.9)]))


def test_round_trip(tmp_path, partial):
    path = tmp_path / "deep" / "result.json"
    partial.write(path)
    assert EvaluationResult.read(path) == partial
    assert EvaluationResult.from_dict(json.loads(json.dumps(partial.to_dict()))) == partial


def test_table(partial):
    lines = partial.format_table().splitlines()
    assert lines[0].split() == [*(f"mAP@0.{i}" for i in range(1, 10)), "Avg"]
    # Class a is found up to tIoU 0.5, class b never: 5 of 9 thresholds at one half.
    assert lines[1].split() == ["50.00"] * 5 + ["0.00"] * 4 + ["27.78"]
    assert "protocol unav100 v1, split test: 2 videos expected, 1 scored, 1 missing" in lines
    assert "1 videos without detections count as missed: w" in lines
    assert "1 detections of unknown classes dropped" in lines


def test_class_table(partial):
    rows = partial.format_table(per_class=True).splitlines()[-3:]
    assert rows[0].split()[:2] == ["class", "events"]
    assert rows[1].split() == ["b", "1", *["0.00"] * 10]
    assert rows[2].split() == ["a", "1", *["100.00"] * 5, *["0.00"] * 4, "55.56"]


def test_headline_of_activitynet():
    annotations = make_annotations([("v", 0, (0, 10))])
    table = score(annotations, make_predictions([("v", 0, (0, 8), 1)]), "activitynet13-full")
    lines = table.format_table().splitlines()
    assert lines[0].split() == ["mAP@0.5", "mAP@0.75", "mAP@0.95", "Avg"]
    assert lines[1].split() == ["100.00", "100.00", "0.00", "70.00"]


def test_list_of_blocked_videos_stands_beside_the_score(tmp_path):
    annotations = make_annotations([("v", 0, (0, 10)), ("w", 0, (0, 10))], subset="validation")
    table = make_predictions([("v", 0, (0, 8), 1)])
    result = score(annotations, table, "activitynet13-blocked", ["w", "elsewhere"])
    name = (
        "activitynet13-blocked v1 (ActivityNet server, action get_blocked, 2 ids, "
        f"sha256 {digest_of_ids(['elsewhere', 'w'])})"
    )
    assert result.protocol_name == name
    assert f"protocol {name}, split validation: 1 videos expected" in result.format_table()
    result.write(tmp_path / "r.json")
    assert EvaluationResult.read(tmp_path / "r.json") == result


def test_differences_from_the_published_test_are_told():
    events = [(f"video_test_{number:07d}", 0, (0, 10)) for number in (4, 270, 1292)]
    table = make_predictions([(video, 0, (0, 10), 1) for video, *_ in events])
    told = {}
    for name in ("thumos14-211", "thumos14-212", "thumos14-213"):
        result = score(make_annotations(events), table, name)
        told[name] = (result.num_excluded_videos, result.num_excluded_predictions)
        assert "where published results are about" in result.format_table()
        assert result.absent_videos == []
    assert told == {"thumos14-211": (2, 2), "thumos14-212": (1, 1), "thumos14-213": (0, 0)}
    result = score(make_annotations(events[:1]), table, "thumos14-213")
    assert result.differences == [
        "the annotations have 1 videos where published results are about 213",
        "the annotations lack video_test_0000270, video_test_0001292",
    ]
    # Published results are about the test split alone.
    assert score(make_annotations(events[:1], subset="train"), table, "unav100").differences == []


def test_control_characters_do_not_reach_the_terminal(result):
    table = result.format_table(per_class=True)
    assert "\x1b" not in table
    assert "speech?[31m" in table


def test_other_ids_are_named_without_control_characters(partial):
    table = replace(partial, other_id=["v", "v_v\x1b"]).format_table()
    assert "such as 'v_v?' for 'v': give them the ids of the annotations" in table


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("map"),
        lambda content: content.pop("classes"),
        lambda content: content.pop("protocol"),
        lambda content: content.update(more=1),
        lambda content: content.update(classes=[{"label": "a"}]),
        lambda content: content.update(classes=None),
        lambda content: content.update(protocol=None),
        lambda content: content.update(blocked_list={"name": "a list"}),
        lambda content: content.update(absent_videos=[1]),
        lambda content: content.update(other_id=["v"]),
        lambda content: content["map"].pop(),
        lambda content: content["classes"][0]["average_precision"].pop(),
    ],
)
def test_damaged_result(tmp_path, partial, change):
    content = partial.to_dict()
    change(content)
    path = tmp_path / "r.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ResultError, match=r"r\.json.*evaluate again"):
        EvaluationResult.read(path)


def test_file_of_something_else(tmp_path):
    (tmp_path / "r.json").write_text("[]")
    with pytest.raises(ResultError, match=r"r\.json"):
        EvaluationResult.read(tmp_path / "r.json")


def test_long_list_of_missing_videos_is_cut(partial):
    table = replace(partial, missing_videos=[f"v{i}" for i in range(9)]).format_table()
    assert "9 videos without detections count as missed: v0, v1, v2, v3, v4, ..." in table


def test_text_is_cut_only_where_it_does_not_fit():
    assert shortened("dog", 3) == "dog"
    assert shortened("dogs", 3) == "do…"
