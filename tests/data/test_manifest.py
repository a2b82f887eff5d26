import json

import pytest

from davezoo.data.manifest import Manifest, SplitManifest

TRAIN = SplitManifest(
    split="training",
    stages=["fit"],
    videos=1200,
    events=3456,
    hours=12.345,
    missing={f"v{index}": "no v.npy" for index in range(5)},
    damaged={"w": "cut"},
    without_audio=["x", "y"],
    left_out={"zero-length events": 9, "videos without events": 0},
    oddities={"zero-length events": 9, "label_id ignored because other events have none": 0},
    remarks=["Every video has 100 feature vectors."],
)
TEST = SplitManifest("validation", ["validate", "test"], 10, 20, 0.5)


def test_table():
    table = Manifest("/data/features", [TRAIN, TEST], ["a.npy"]).format_table()
    assert table == (
        "Data in /data/features\n"
        "split       for             videos  usable  missing  damaged  no audio  events  hours\n"
        "training    fit              1,200   1,194        5        1         2   3,456   12.3\n"
        "validation  validate, test      10      10        0        0         0      20    0.5\n"
        "6 videos of training were skipped and count as missed.\n"
        "2 videos of training have no audio.\n"
        "The annotations of training hold 9 zero-length events.\n"
        "Every video has 100 feature vectors.\n"
        "Left out of training on training: 9 zero-length events.\n"
        "Missing in training: v0, v1, v2 and 2 more.\n"
        "Damaged in training: w.\n"
        "1 feature files belong to no video of the annotations: a.npy.\n"
    )


def test_nothing_amiss_is_one_row():
    assert len(Manifest("f", [TEST]).format_table().splitlines()) == 3
    assert TEST.notes() == []


def test_every_shortcoming_is_noted():
    notes = SplitManifest(
        "test", ["test"], 100, 1, 1.0, without_scores=["a"], blocked=["b", "c"]
    ).notes()
    assert notes == [
        "1 videos of test have no external video scores: nothing is detected in them.",
        "2 videos of test are blocked; the protocol leaves them out.",
    ]


def test_record_holds_every_id():
    record = json.loads(json.dumps(Manifest("f", [TRAIN, TEST], ["a.npy"]).to_dict()))
    train = record["splits"][0]
    assert list(train["missing"]) == ["v0", "v1", "v2", "v3", "v4"]
    assert train["damaged"] == {"w": "cut"}
    assert train["without_audio"] == ["x", "y"]
    assert train["usable"] == 1194
    assert train["hours"] == pytest.approx(12.345)
    assert record["stray_files"] == ["a.npy"]
