import gzip
import json
import math
import subprocess
import sys

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from davezoo.annotations import AnnotationError, read_annotations, write_annotations
from tests.annotations.validity import check_table


def event(start=1.0, end=2.0, label="dog", **more):
    return {"segment": [start, end], "label": label, **more}


def video(*events, subset="train", duration=10.0, **more):
    return {"subset": subset, "duration": duration, "annotations": list(events), **more}


@pytest.fixture
def write(tmp_path):
    def write_database(database, name="file.json"):
        path = tmp_path / name
        path.write_text(json.dumps({"version": "1", "database": database}))
        return path

    return write_database


def test_read_tables(write):
    path = write(
        {
            "b": video(event(1, 2, "dog", label_id=1), event(0.5, 12, "cat", label_id=0)),
            "a": video(subset="Test", duration=3),
        }
    )
    annotations = read_annotations(path)
    assert annotations.videos.index.tolist() == ["b", "a"]
    assert annotations.videos.index.name == "video"
    assert annotations.videos["subset"].tolist() == ["train", "Test"]
    assert annotations.videos["duration"].tolist() == [10, 3]
    assert annotations.events.to_numpy().tolist() == [["b", 1, 2, 1], ["b", 0.5, 12, 0]]
    assert annotations.events.dtypes.map(str).to_dict() == {
        "video": "str",
        "start": "float64",
        "end": "float64",
        "label": "int64",
    }
    assert annotations.class_names == ["cat", "dog"]


@pytest.mark.parametrize("name", ["file.json.gz", "zipped_without_suffix.json"])
def test_gzip_is_recognised_by_content(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(json.dumps({"database": {"v": video(event())}}).encode()))
    assert len(read_annotations(path).events) == 1


def test_no_videos(write):
    annotations = read_annotations(write({}))
    assert len(annotations.videos) == len(annotations.events) == 0
    assert annotations.class_names == []
    assert annotations.events.columns.tolist() == ["video", "start", "end", "label"]


def test_without_label_id_classes_are_alphabetical_over_all_subsets(write):
    path = write({"a": video(event(label="dog")), "b": video(event(label="cat"), subset="test")})
    annotations = read_annotations(path)
    assert annotations.class_names == ["cat", "dog"]
    assert annotations.split("train").events["label"].tolist() == [1]


def test_label_id_of_some_events_is_ignored_and_counted(write):
    path = write({"a": video(event(label="dog", label_id=0), event(label="cat"))})
    annotations = read_annotations(path)
    assert annotations.class_names == ["cat", "dog"]
    assert annotations.repairs["label_id ignored because other events have none"] == 1


def test_unused_ids_get_a_placeholder_and_are_counted(write):
    annotations = read_annotations(write({"a": video(event(label="dog", label_id=2))}))
    assert annotations.class_names == ["(no event of class 0)", "(no event of class 1)", "dog"]
    assert annotations.repairs["class indices without events"] == 2


def test_oddities_of_real_data_are_kept_and_counted_by_split(write):
    odd = video(event(2, 2), event(9, 11), event(10, 11), event(1, 10))
    annotations = read_annotations(write({"a": odd, "b": video(event(3, 3), subset="test")}))
    assert len(annotations.events) == 5
    expected = {
        "zero-length events": 2,
        "events ending past the duration": 2,
        "events starting past the duration": 1,
    }
    assert annotations.repairs.items() >= expected.items()
    assert (
        annotations.split("test").repairs.items()
        >= {
            "zero-length events": 1,
            "events ending past the duration": 0,
        }.items()
    )


def test_missing_subset_and_duration(write):
    annotations = read_annotations(write({"a": {"annotations": []}}))
    assert annotations.videos["subset"].tolist() == [""]
    assert math.isnan(annotations.videos["duration"].iloc[0])
    assert len(annotations.split("").videos) == 1


@pytest.mark.parametrize("subset", ["Validation", "validation", "VALIDATION"])
def test_split_compares_in_lower_case(write, subset):
    path = write({"a": video(event(), subset="Validation"), "b": video(event(3, 4))})
    split = read_annotations(path).split(subset)
    assert split.videos.index.tolist() == ["a"]
    assert split.videos["subset"].tolist() == ["Validation"]
    assert split.events.index.tolist() == [0]


def test_unknown_split_lists_those_that_exist(write):
    path = write({"a": video(), "b": video(subset="test")})
    with pytest.raises(AnnotationError, match=r"\['test', 'train'\], got 'val'"):
        read_annotations(path).split("val")


def test_frame_rate_may_be_unknown(write):
    path = write({"a": video(fps=29.97), "b": video(fps=None), "c": video()})
    assert read_annotations(path).videos["fps"].fillna(0).tolist() == [29.97, 0, 0]


def test_times_in_frames(write):
    path = write({"a": video(event(100, 250), event(10, 200), duration=10, fps=25)})
    with pytest.raises(
        AnnotationError, match=r"file\.json to be seconds.*frame numbers at about 25"
    ):
        read_annotations(path)


BAD_EVENTS = {
    "not an object": 3,
    "no segment": {"label": "dog"},
    "no label": {"segment": [1, 2]},
    "empty label": event(label=""),
    "label a number": event(label=3),
    "lone surrogate": event(label="\ud800"),
    "one boundary": {"segment": [1], "label": "dog"},
    "text boundary": event(start="1"),
    "boolean boundary": event(start=True),
    "nan": event(end=math.nan),
    "infinite": event(end=math.inf),
    "no float holds it": event(end=10**400),
    "reversed": event(start=3, end=2),
    "negative": event(start=-0.1),
    "label_id text": event(label_id="1"),
    "label_id boolean": event(label_id=True),
    "label_id negative": event(label_id=-1),
    "label_id absurd": event(label_id=10**9),
    "label_id null": event(label_id=None),
}


@pytest.mark.parametrize("bad", BAD_EVENTS.values(), ids=BAD_EVENTS)
def test_bad_event(write, bad):
    path = write({"good": video(event(label="cat")), "vid": video(event(label="cat"), bad)})
    with pytest.raises(AnnotationError) as caught:
        read_annotations(path)
    message = str(caught.value)
    assert str(path) in message
    assert "annotation 1 of video 'vid'" in message
    assert message.startswith("Expected ")
    assert ", got " in message
    assert "; " in message


BAD_VIDEOS = {
    "not an object": 3,
    "no annotations": {"subset": "train", "duration": 3},
    "annotations an object": video() | {"annotations": {}},
    "subset a number": video(subset=3),
    "duration text": video(event(), duration="10"),
    "duration zero": video(event(), duration=0),
    "duration negative": video(event(), duration=-1.0),
    "duration nan": video(event(), duration=math.nan),
    "duration null": video(event(), duration=None),
    "duration absent": {"subset": "train", "annotations": [event()]},
    "fps zero": video(event(), fps=0),
    "fps text": video(event(), fps="25"),
    "fps absurd": video(event(), fps=30000),
}


@pytest.mark.parametrize("bad", BAD_VIDEOS.values(), ids=BAD_VIDEOS)
def test_bad_video(write, bad):
    path = write({"good": video(event()), "vid": bad})
    with pytest.raises(AnnotationError, match=r"video 'vid' in .*file\.json"):
        read_annotations(path)


@pytest.mark.parametrize("name", ["", "a/b", "/etc", "a\\b", "..", "../x", "a\0b", "\ud800"])
def test_id_that_is_no_file_name(write, name):
    path = write({name: video()})
    with pytest.raises(AnnotationError, match=r"id of video .*file\.json.*rename"):
        read_annotations(path)


@pytest.mark.parametrize("first", [("cat", 0), ("dog", 1)])
def test_conflicting_labels(write, first):
    name, number = first
    path = write({"a": video(event(label=name, label_id=number), event(label="dog", label_id=0))})
    with pytest.raises(AnnotationError, match=r"annotation 1 of video 'a' in .*earlier pair"):
        read_annotations(path)


WHOLE = json.dumps({"database": {"v": video(event())}}).encode()
BAD_FILES = {
    "empty": b"",
    "blank": b" \n",
    "not JSON": b"{",
    "not text": b"\xff\xfe\x00",
    "a list": b"[]",
    "no database": b'{"version": "1"}',
    "database a list": b'{"database": []}',
    "truncated gzip": gzip.compress(WHOLE)[:-12],
    "gzip header only": b"\x1f\x8b",
    "damaged gzip": gzip.compress(WHOLE)[:12] + b"\0" * 40,
    "damaged text in gzip": gzip.compress(WHOLE[:-1]),
    "nested without end": b"[" * 100_000,
    "huge integer": b'{"database": ' + b"1" * 5000 + b"}",
    "video twice": b'{"database": {"v": {"annotations": []}, "v": {"annotations": []}}}',
}


@pytest.mark.parametrize("content", BAD_FILES.values(), ids=BAD_FILES)
def test_bad_file(tmp_path, content):
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match=r"file\.json.*, got .*; "):
        read_annotations(path)


def test_duplicate_video_is_named(tmp_path):
    path = tmp_path / "file.json"
    path.write_bytes(BAD_FILES["video twice"])
    with pytest.raises(AnnotationError, match="'v' twice"):
        read_annotations(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json.*davezoo simulate"):
        read_annotations(tmp_path / "none.json")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
numbers = st.floats(0, 20) | st.integers(0, 20)
good_events = st.builds(
    lambda start, length, label: event(start, start + length, "abc"[label], label_id=label),
    numbers,
    numbers,
    st.integers(0, 2),
)
# Objects that are nearly right reach the later checks.
near_events = st.fixed_dictionaries(
    {},
    optional={
        "segment": st.lists(numbers | json_values, max_size=3),
        "label": st.sampled_from("abc") | json_values,
        "label_id": st.integers(-1, 2) | json_values,
    },
)
near_videos = st.fixed_dictionaries(
    {},
    optional={
        "subset": st.sampled_from(["train", "Test", ""]) | json_values,
        "duration": numbers | json_values,
        "annotations": st.lists(good_events | near_events | json_values, max_size=3) | json_values,
    },
)
documents = json_values | st.fixed_dictionaries(
    {"database": st.dictionaries(st.text(max_size=4), near_videos, max_size=3) | json_values}
)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(document=documents)
def test_any_json_gives_a_table_or_the_one_error(tmp_path_factory, document):
    path = tmp_path_factory.getbasetemp() / "fuzz.json"
    path.write_text(json.dumps(document))
    try:
        annotations = read_annotations(path)
    except AnnotationError as error:
        assert str(path) in str(error)  # noqa: PT017 - both outcomes are right
    else:
        check_table(annotations)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=st.binary(max_size=60) | st.integers(0, 70).map(lambda n: gzip.compress(WHOLE)[:n]))
def test_any_bytes_give_the_one_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.json"
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match=r"fuzz\.json"):
        read_annotations(path)


good_databases = st.dictionaries(
    st.text("abcXYZ-_09", min_size=1, max_size=11),
    st.builds(
        lambda events, subset: video(*events, subset=subset, duration=25, fps=29.97),
        st.lists(good_events, max_size=4),
        st.sampled_from(["train", "Test", ""]),
    ),
    max_size=5,
)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(database=good_databases, name=st.sampled_from(["copy.json", "copy.json.gz"]))
def test_round_trip(tmp_path_factory, database, name):
    folder = tmp_path_factory.getbasetemp()
    (folder / "round.json").write_text(json.dumps({"database": database}))
    annotations = read_annotations(folder / "round.json")
    write_annotations(annotations, folder / name)
    copy = read_annotations(folder / name)
    pd.testing.assert_frame_equal(copy.videos, annotations.videos)
    pd.testing.assert_frame_equal(copy.events, annotations.events)
    assert copy.class_names == annotations.class_names
    assert copy.repairs == annotations.repairs


def test_missing_duration_survives_writing(tmp_path, write):
    annotations = read_annotations(write({"a": {"annotations": []}}))
    assert annotations.to_dict()["database"] == {"a": {"annotations": []}}


def test_imports_no_torch():
    program = "import sys, davezoo.annotations; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == 0
