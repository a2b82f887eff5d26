"""All readers together: the real files with their published counts, sources of several files."""

import gzip
import json
import time

import numpy as np
import pandas as pd
import pytest

from davezoo.annotations import AnnotationError, read_annotations, read_blocked
from tests.annotations.validity import check_table

CLOSE_CALL = {"videos whose duration ends before their last event": 1}
REAL_COUNTS = {
    "unav100/unav100_annotations.json.gz": (
        {"train": (6489, 18123), "validation": (2134, 6036), "test": (2167, 5900)},
        100,
        {"events at the very times of an earlier one of another class": 117},
    ),
    "thumos14/thumos14.json.gz": (
        {"validation": (200, 3007), "test": (212, 3358)},
        20,
        {
            "events ending past the duration": 30,
            "events starting past the duration": 30,
            "videos whose duration ends before their last event": 5,
            "events at the very times of an earlier one of another class": 361,
        },
    ),
    "activitynet13/derived_activitynet_v1-3.json.gz": (
        {"training": (10024, 15410), "validation": (4926, 7654), "testing": (5044, 0)},
        200,
        {
            "zero-length events": 12,
            "events ending past the duration": 1732,
            "events starting past the duration": 1,
            "videos whose duration ends before their last event": 1731,
            "exact duplicates of an earlier event": 49,
        },
    ),
    "epic100/derived_epic100_verb.json.gz": (
        {"training": (495, 67217), "validation": (138, 9668)},
        97,
        {
            "events ending past the duration": 1,
            "exact duplicates of an earlier event": 2,
            **CLOSE_CALL,
        },
    ),
    "epic100/derived_epic100_noun.json.gz": (
        {"training": (495, 67217), "validation": (138, 9668)},
        300,
        {
            "events ending past the duration": 1,
            "exact duplicates of an earlier event": 2,
            "class indices without events": 7,
            **CLOSE_CALL,
        },
    ),
}


def counts_of(annotations):
    """Count videos and events by subset in lower case."""
    subsets = annotations.videos["subset"].str.lower()
    events = subsets.reindex(annotations.events["video"]).value_counts()
    return {
        name: (int(videos), int(events.get(name, 0)))
        for name, videos in subsets.value_counts().items()
    }


def sorted_events(annotations):
    events = annotations.events.sort_values(["video", "start", "end", "label"])
    return events.reset_index(drop=True)


@pytest.mark.parametrize("name", REAL_COUNTS)
def test_real_json(shared, name):
    splits, num_classes, repairs = REAL_COUNTS[name]
    annotations = read_annotations(shared / "data" / name)
    assert counts_of(annotations) == splits
    for subset, counts in splits.items():
        split = annotations.split(subset)
        assert (len(split.videos), len(split.events)) == counts
    assert len(annotations.class_names) == num_classes
    assert {rule: count for rule, count in annotations.repairs.items() if count} == repairs
    check_table(annotations)


def test_unav_statistics_of_the_readme(shared):
    annotations = read_annotations(shared / "data/unav100/unav100_annotations.json.gz")
    videos, events = annotations.videos, annotations.events
    assert videos["duration"].sum() / 3600 == pytest.approx(126.3, abs=0.05)
    assert len(events) / len(videos) == pytest.approx(2.79, abs=0.005)
    assert (events["end"] - events["start"]).mean() == pytest.approx(13.9, abs=0.05)
    ordered = events.sort_values(["video", "start"])
    latest_end = ordered.groupby("video")["end"].cummax().groupby(ordered["video"]).shift()
    assert ordered[ordered["start"] < latest_end]["video"].nunique() == 3041
    assert events["video"].nunique() == len(videos)


# THUMOS14 -----------------------------------------------------------------------------------------


def thumos_tables(folder, kind):
    return {
        "validation": folder / f"thumos14_valid_{kind}.csv.gz",
        "test": folder / f"thumos14_test_{kind}.csv.gz",
    }


def test_thumos_table_equals_its_json(shared):
    folder = shared / "data/thumos14"
    from_json = read_annotations(folder / "thumos14.json.gz")
    from_csv = read_annotations(thumos_tables(folder, "tsp_groundtruth"))
    assert counts_of(from_csv) == {"validation": (200, 3007), "test": (212, 3358)}
    assert from_csv.class_names == from_json.class_names
    pd.testing.assert_frame_equal(sorted_events(from_csv), sorted_events(from_json))
    assert from_csv.repairs["rows of regions without action left out"] == 2178 + 2573
    assert (from_csv.videos["fps"] == 30).all()
    # The JSON file has the rates of the original videos, TSP those of its copies.
    assert from_json.videos["fps"].between(23, 31).all()
    check_table(from_csv)


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_thumos_has_213_test_videos_with_the_metadata(shared, kind):
    folder = shared / "data/thumos14"
    source = thumos_tables(folder, "tsp_groundtruth")
    annotations = read_annotations(
        source if kind == "csv" else folder / "thumos14.json.gz",
        video_info=thumos_tables(folder, "metadata"),
    )
    assert counts_of(annotations) == {"validation": (200, 3007), "test": (213, 3358)}
    assert annotations.videos.index[-1] == "video_test_0001292"
    test = annotations.split("test")
    assert len(test.videos) == 213
    added = "videos without events, known from the video info alone"
    assert test.repairs[added] == 1
    check_table(annotations)


def test_every_cliff_diving_is_a_diving(shared):
    annotations = read_annotations(shared / "data/thumos14/thumos14.json.gz")
    events = annotations.events
    events["name"] = np.array(annotations.class_names)[events["label"]]
    times = ["video", "start", "end"]
    cliff = events[events["name"] == "CliffDiving"][times]
    diving = events[events["name"] == "Diving"][times]
    assert len(cliff) == len(cliff.merge(diving, on=times)) > 0


# ActivityNet --------------------------------------------------------------------------------------


def test_activitynet_of_the_readme(shared):
    folder = shared / "data/activitynet13"
    annotations = read_annotations(folder / "derived_activitynet_v1-3.json.gz")
    assert annotations.split("training").repairs["zero-length events"] == 9
    assert annotations.split("validation").repairs["zero-length events"] == 3
    assert annotations.class_names == sorted(annotations.class_names)
    names = (folder / "activitynet_v1-3_action_label_mapping.json.gz").read_bytes()
    assert annotations.class_names == json.loads(gzip.decompress(names))
    durations = annotations.videos["duration"].reindex(annotations.events["video"]).to_numpy()
    # "Slightly past": by more than a hundredth of a second.
    assert (annotations.events["end"] > durations + 0.01).sum() == 1628


def test_activitynet_without_label_ids_has_the_same_numbers(shared, tmp_path):
    """The official file has none: the order must come from the alphabet."""
    annotations = read_annotations(shared / "data/activitynet13/derived_activitynet_v1-3.json.gz")
    content = annotations.split("validation").to_dict()
    for entry in content["database"].values():
        entry["url"], entry["resolution"] = "https://example.org", "640x480"
        for event in entry["annotations"]:
            del event["label_id"]
    path = tmp_path / "activity_net.v1-3.min.json"
    path.write_text(json.dumps(content | {"taxonomy": [{"nodeName": "Root"}]}))
    copy = read_annotations(path)
    assert copy.class_names == annotations.class_names
    expected = annotations.split("validation").events
    pd.testing.assert_frame_equal(copy.events, expected)


def test_activitynet_table_equals_its_json(shared):
    folder = shared / "data/activitynet13"
    from_json = read_annotations(folder / "derived_activitynet_v1-3.json.gz")
    names = {"training": "train", "validation": "valid"}
    from_csv = read_annotations(
        {s: folder / f"activitynet_v1-3_{n}_tsp_groundtruth.csv.gz" for s, n in names.items()},
        classes=folder / "activitynet_v1-3_action_label_mapping.json.gz",
        video_info=[folder / f"activitynet_v1-3_{n}_metadata.csv.gz" for n in names.values()],
    )
    assert counts_of(from_csv) == {"training": (10024, 15410), "validation": (4926, 7654)}
    assert from_csv.class_names == from_json.class_names
    pd.testing.assert_frame_equal(from_csv.events, from_json.events)
    # Two ids begin with `v_` of their own; their files begin with `v_v_`.
    assert from_csv.repairs["ids of the video info read without their `v_`"] == 14950
    assert {"v_Vg4a8igc0", "v_UmAH95xls"} <= set(from_csv.videos.index)
    check_table(from_csv)


def test_activitynet_without_blocked_videos(shared):
    folder = shared / "data/activitynet13"
    validation = read_annotations(folder / "derived_activitynet_v1-3.json.gz").split("validation")
    blocked = read_blocked(folder / "api_action_get_blocked.json.gz")
    left = validation.select(validation.videos[~validation.videos.index.isin(blocked)])
    assert len(validation.videos) - len(left.videos) == 246
    assert len(left.events) == 7220


# EPIC-Kitchens-100 --------------------------------------------------------------------------------


def read_epic(folder, labels):
    classes = {n: folder / f"EPIC_100_{n}_classes.csv.gz" for n in ("verb", "noun")}
    return read_annotations(
        {
            "training": folder / "c2_training.csv.gz",
            "validation": folder / "EPIC_100_validation.csv.gz",
        },
        classes=list(classes.values()) if labels == "action" else classes[labels],
        video_info=folder / "EPIC_100_video_info.csv.gz",
        labels=labels,
    )


@pytest.mark.parametrize(
    ("labels", "num_classes", "num_used"), [("verb", 97, 97), ("noun", 300, 293)]
)
def test_epic_tables_agree_with_their_json(shared, labels, num_classes, num_used):
    folder = shared / "data/epic100"
    tables = read_epic(folder, labels)
    assert counts_of(tables) == {"training": (495, 67217), "validation": (138, 9668), "": (67, 0)}
    assert len(tables.class_names) == num_classes
    assert tables.events["label"].nunique() == num_used
    assert tables.repairs["class indices without events"] == num_classes - num_used
    derived = read_annotations(
        folder / f"derived_epic100_{labels}.json.gz",
        classes=folder / f"EPIC_100_{labels}_classes.csv.gz",
    )
    assert derived.class_names == tables.class_names
    assert derived.repairs["label_id replaced by the place in the class list"] == 0

    both = [sorted_events(t.split("validation")) for t in (tables, derived)]
    pd.testing.assert_frame_equal(*both, rtol=0, atol=1e-9)
    # C2 rounded the training times down to frames at 30 per second, but second 0 up to frame 1.
    times = [
        t.split("training").events[["video", "label", "start", "end"]] for t in (tables, derived)
    ]
    for column in ("start", "end"):
        ours, theirs = (t.sort_values(["video", "label", column])[column].to_numpy() for t in times)
        far = np.abs(ours - theirs) > 1 / 60 + 1e-9
        assert far.sum() == (13 if column == "start" else 0)
        assert (theirs[far] == 0).all()
        assert (ours[far] == 1.5 / 30).all()
    videos = tables.videos.loc[derived.videos.index]
    np.testing.assert_allclose(videos["duration"], derived.videos["duration"])
    np.testing.assert_allclose(videos["fps"], derived.videos["fps"])
    check_table(tables)


def test_epic_actions_are_numbered_as_c2_does(shared):
    folder = shared / "data/epic100"
    actions, verbs, nouns = (read_epic(folder, labels) for labels in ("action", "verb", "noun"))
    events = actions.events
    assert (events["label"] == 300 * verbs.events["label"] + nouns.events["label"]).all()
    official = pd.read_csv(folder / "c2_training.csv.gz")["action"].to_numpy()
    # C2's column `action` numbers the pairs that occur in its own order, one number a pair.
    pairs = pd.DataFrame({"ours": events["label"][:67217], "theirs": official}).drop_duplicates()
    assert pairs["ours"].is_unique
    assert pairs["theirs"].is_unique
    assert len(pairs) == 3568
    assert len(actions.class_names) == 97 * 300
    assert actions.class_names[300 * 3 + 8] == "open drawer"
    # Without class lists the numbers are the same.
    plain = read_annotations(folder / "EPIC_100_validation.csv.gz", labels="action")
    np.testing.assert_array_equal(plain.events["label"], events["label"][67217:])
    assert plain.class_names[300 * 3 + 8] == "verb 3 noun 8"


# Speed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["unav100/unav100_annotations.json.gz", "epic100/derived_epic100_verb.json.gz"]
)
def test_large_json_is_read_within_a_second(shared, name):
    begin = time.process_time()
    read_annotations(shared / "data" / name)
    assert time.process_time() - begin < 1


def test_large_tables_are_read_within_a_second(shared):
    begin = time.process_time()
    read_epic(shared / "data/epic100", "verb")
    assert time.process_time() - begin < 1


# Several files ------------------------------------------------------------------------------------


@pytest.fixture
def write(tmp_path):
    def write_file(name, content):
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return tmp_path / name

    return write_file


def database(video="v", label="dog", **more):
    event = {"segment": [1, 2], "label": label}
    return {"database": {video: {"duration": 9, "annotations": [event], **more}}}


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json.*davezoo simulate"):
        read_annotations(tmp_path / "none.json")


def test_files_of_subsets_of_different_kinds(write):
    train = write("a.csv", "video,start,end,label\nw,1,2,cat\n")
    annotations = read_annotations({"train": train, "Test": write("b.json", database())})
    assert annotations.videos["subset"].to_dict() == {"w": "train", "v": "Test"}
    assert annotations.class_names == ["cat", "dog"]
    assert annotations.events["label"].tolist() == [0, 1]
    check_table(annotations)


def test_subset_named_twice(write):
    path = write("b.json", database())
    with pytest.raises(AnnotationError, match=r"\['test', 'Test'\].*once"):
        read_annotations({"test": path, "Test": path})


def test_no_files():
    with pytest.raises(AnnotationError, match="one subset each"):
        read_annotations({})


def test_video_in_two_files(write):
    files = {"train": write("a.json", database()), "test": write("b.json", database())}
    with pytest.raises(AnnotationError, match=r"'v' in .*a\.json and in .*b\.json"):
        read_annotations(files)


def test_file_with_another_subset(write):
    path = write("a.json", database(subset="validation"))
    with pytest.raises(AnnotationError, match=r"a\.json.*'train', got .*'validation'"):
        read_annotations({"train": path})
    assert read_annotations({"Validation": path}).videos["subset"].tolist() == ["Validation"]


@pytest.mark.parametrize("second", ["v_dog", "dog.mp4", "v_dog.MP4", "dog.npy"])
def test_two_spellings_of_a_video(write, second):
    path = write("a.csv", f"video,start,end,label\ndog,1,2,cat\n{second},1,2,cat\n")
    with pytest.raises(AnnotationError, match=rf"'dog' and '{second}'"):
        read_annotations(path)


@pytest.mark.parametrize("name", ["a.csv", "b.json"])
def test_labels_of_files_without_verbs(write, name):
    path = write(name, database() if name == "b.json" else "video,start,end,label\nv,1,2,cat\n")
    with pytest.raises(AnnotationError, match=rf"no `labels` for .*{name}"):
        read_annotations(path, labels="verb")
