import gzip

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from davezoo.annotations import AnnotationError, read_annotations
from davezoo.annotations.csv_files import read_csv_file, refuse_labels
from tests.annotations.validity import check_table

OWN = "video,start,end,label\n"
TSP = (
    "video-name,t-start,t-end,action-label,video-duration,fps,video-frames,temporal-region-label\n"
)
EPIC = "narration_id,video_id,start_timestamp,stop_timestamp,verb_class,noun_class,all_nouns\n"
C2 = "narration_id,video,start,stop,verb,noun,action\n"


@pytest.fixture
def write(tmp_path):
    def write_table(text, name="x.csv"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write_table


def events_of(annotations):
    return annotations.events.to_numpy().tolist()


def test_own_table(write):
    path = write(OWN + "b,1,2.5,dog\n a , 0,1e1, cat\nb,3,3,dog\n")
    annotations = read_annotations(path)
    assert events_of(annotations) == [["b", 1, 2.5, 1], ["a", 0, 10, 0], ["b", 3, 3, 1]]
    assert annotations.class_names == ["cat", "dog"]
    assert annotations.videos.index.tolist() == ["b", "a"]
    assert annotations.videos["duration"].isna().all()
    assert annotations.repairs["zero-length events"] == 1
    check_table(annotations)


def test_own_table_with_all_columns(write):
    text = "fps,label,end,start,duration,subset,video,note\n"
    text += "30,dog,2,1,9,train,a,x\n,cat,4,3,,,a,y\n,,,,8.5,Test,b,no event\n"
    annotations = read_annotations(write(text))
    assert annotations.videos["subset"].tolist() == ["train", "Test"]
    assert annotations.videos["duration"].tolist() == [9, 8.5]
    assert annotations.videos["fps"].fillna(0).tolist() == [30, 0]
    assert len(annotations.split("test").events) == 0
    assert len(annotations.events) == 2
    check_table(annotations)


def test_text_that_pandas_takes_for_missing_stays(write):
    annotations = read_annotations(write(OWN + "NA,1,2,null\n007,1,2,None\n"))
    assert annotations.videos.index.tolist() == ["NA", "007"]
    assert annotations.class_names == ["None", "null"]


def test_repeated_row_is_named(write):
    with pytest.raises(AnnotationError, match=r"`video` in row 4 .*remove the repeated row"):
        read_annotations(write(OWN + "a,1,2,dog\nb,,,\na,1,2,dog\n"))


def test_events_of_two_classes_at_equal_times_are_kept_and_counted(write):
    annotations = read_annotations(write(OWN + "a,1,2,dog\na,1,2,cat\nb,,,\nb,,,\n"))
    assert len(annotations.events) == 2
    assert annotations.repairs["exact duplicates of an earlier event"] == 0
    assert annotations.repairs["events at the very times of an earlier one of another class"] == 1


def test_header_alone(write):
    annotations = read_annotations(write(OWN))
    assert len(annotations.videos) == len(annotations.events) == 0
    check_table(annotations)


def test_zipped(tmp_path):
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress((OWN + "a,1,2,dog\n").encode()))
    assert len(read_annotations(path).events) == 1


def test_tsp_table(write):
    text = (
        TSP + "a,1,2,dog,10,30,300,Action\nb,0,5,,5,25,125,No action\na,0,1,,10,30,300,No action\n"
    )
    annotations = read_annotations(write(text))
    assert events_of(annotations) == [["a", 1, 2, 0]]
    assert annotations.videos["duration"].to_dict() == {"a": 10, "b": 5}
    assert annotations.videos["fps"].to_dict() == {"a": 30, "b": 25}
    assert annotations.repairs["rows of regions without action left out"] == 2
    check_table(annotations)


EPIC_ROWS = (
    "n1,P01,00:00:01.50,01:01:02.25,3,8,\"['drawer', 'cup']\"\nn2,P02,0:0:0,0:0:1,0,299,[]\n"
)


@pytest.mark.parametrize(
    ("labels", "numbers"), [("verb", [3, 0]), ("noun", [8, 299]), ("action", [908, 299])]
)
def test_epic_table(write, labels, numbers):
    annotations = read_annotations(write(EPIC + EPIC_ROWS), labels=labels)
    assert events_of(annotations) == [["P01", 1.5, 3662.25, numbers[0]], ["P02", 0, 1, numbers[1]]]
    expected = {"verb": 97, "noun": 300, "action": 29100}
    assert len(annotations.class_names) == expected[labels]
    check_table(annotations)


def test_c2_table_holds_frames(write):
    annotations = read_annotations(write(C2 + "n1,P01,30,61,3,8,55\n"), labels="noun")
    assert events_of(annotations) == [["P01", 30.5 / 30, 61.5 / 30, 8]]


BAD = {
    "other columns": ("vid,start,end,label\na,1,2,dog\n", "is 'vid' meant for 'video'"),
    "semicolons": ("video;start;end;label\na;1;2;dog\n", r"x\.csv to be those of one of"),
    "one cell more": (OWN + "a,1,2,dog,x\n", r"Expected 4 fields in line 2, saw 5"),
    "cut off": (OWN + "a,1,2,dog\na,3", r"2 cells in row 3, 4 in the header"),
    "no label": (OWN + "a,1,2,\n", r"`label` in row 2 of .*hold text"),
    "no video": (OWN + ",1,2,dog\n", r"`video` in row 2 of .*hold text"),
    "start is text": (OWN + "a,1,2,dog\na,one,2,dog\n", r"`start` in row 3 .*got 'one'"),
    "nan": (OWN + "a,nan,2,dog\n", r"`start` in row 2 .*got 'nan'"),
    "infinite": (OWN + "a,1,inf,dog\n", r"`end` in row 2 .*got 'inf'"),
    "negative": (OWN + "a,-1,2,dog\n", r"`start` in row 2 .*got '-1'"),
    "reversed": (OWN + "a,3,2,dog\n", r"`end` in row 2 .*no earlier than the start.*got '2'"),
    "path": (OWN + "../a,1,2,dog\n", "rename the video"),
    "two durations": (
        "video,start,end,label,duration\na,1,2,dog,9\na,1,2,dog,8\n",
        r"`duration` in row 3 of .*'a' in row 2, '9', got '8'",
    ),
    "two subsets": (
        "video,start,end,label,subset\na,1,2,dog,train\na,1,2,dog,test\n",
        r"`subset` in row 3 of .*'a' in row 2, 'train', got 'test'",
    ),
    "wrong fps": ("video,start,end,label,fps\na,1,2,dog,0\n", r"`fps` in row 2 .*got '0'"),
    "frames": (
        "video,start,end,label,duration\na,30,60,dog,3\nb,300,600,cat,25\n",
        r"x\.csv to be seconds.*2 of 2 events.*like frame numbers at about 22",
    ),
    "tsp region": (TSP + "a,1,2,dog,10,30,300,action\n", "'Action' or 'No action', got 'action'"),
    "tsp fps": (TSP + "a,1,2,dog,10,25,300,Action\n", r"`fps` in row 2 of .*got '25'"),
    "epic without labels": (EPIC + EPIC_ROWS, "choose verb, noun or action"),
}
BAD_EPIC = {
    "seconds": (EPIC + "n,P,1.5,2.5,3,8,[]\n", r"`start_timestamp` in row 2 .*minutes:seconds"),
    "reversed": (EPIC + "n,P,0:0:9,0:0:8,3,8,[]\n", r"`stop_timestamp` in row 2 .*'0:0:8'"),
    "repeated": (EPIC + EPIC_ROWS + EPIC_ROWS, r"`narration_id` in row 4 .*'n1'; remove"),
    "class": (EPIC + "n,P,0:0:1,0:0:8,97,8,[]\n", r"`verb_class` in row 2 .*0 to 96, got '97'"),
    "half a class": (EPIC + "n,P,0:0:1,0:0:8,1.5,8,[]\n", r"`verb_class` in row 2 .*integer"),
    "no class": (EPIC + "n,P,0:0:1,0:0:8,,8,[]\n", r"`verb_class` in row 2 .*got ''"),
    "c2 in seconds": (C2 + "n,P,1.5,2.5,3,8,0\n", r"`start` in row 2 .*frame number at 30"),
    "cut list": (EPIC + "n,P,0:0:1,0:0:8,1,8,\"['cup'", "EOF inside string"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_bad_table(write, text, message):
    with pytest.raises(AnnotationError, match=message) as caught:
        read_annotations(write(text))
    assert "x.csv" in str(caught.value)


@pytest.mark.parametrize(("text", "message"), BAD_EPIC.values(), ids=BAD_EPIC)
def test_bad_epic_table(write, text, message):
    with pytest.raises(AnnotationError, match=message) as caught:
        read_annotations(write(text), labels="verb")
    assert "x.csv" in str(caught.value)


def test_class_list_shorter_than_the_classes(write):
    path, classes = write(EPIC + EPIC_ROWS), write("take\nput\n", "classes.txt")
    with pytest.raises(AnnotationError, match=r"`verb_class` in row 2 .*one of the 2 in the class"):
        read_annotations(path, labels="verb", classes=classes)


def test_file_without_verbs(write):
    path = write(OWN)
    refuse_labels(path, None)
    with pytest.raises(AnnotationError, match="leave it out"):
        refuse_labels(path, "noun")
    with pytest.raises(FileNotFoundError):
        read_csv_file(path.with_name("none.csv"), None, None)


# Nearly right tables reach the later checks.
words = 'a;b;v_a;0;1;2.5;60;-1;nan;inf;1e400;0:0:1;0:1:2.5;Action;No action;x,y;";../a;é;dog;30000;'
cells = st.sampled_from([*words.split(";"), " ", "\0", "\r", "\n", "9" * 30]) | st.text(max_size=4)
columns = {
    header: header.strip().split(",")
    for header in (OWN, TSP, EPIC, C2, OWN.strip() + ",duration,fps,subset")
}


@st.composite
def tables(draw):
    header = draw(st.sampled_from(list(columns)))
    width = len(columns[header]) + draw(st.sampled_from([0, 0, 0, 0, 1, -1]))
    quote = draw(st.booleans())
    rows = draw(st.lists(st.lists(cells, min_size=width, max_size=width), max_size=4))
    wrap = (lambda cell: '"' + cell.replace('"', '""') + '"') if quote else str
    return "\n".join([header.strip(), *(",".join(map(wrap, row)) for row in rows)])


own_rows = st.tuples(
    st.sampled_from("abc"), st.integers(0, 5), st.integers(5, 9), st.sampled_from(["dog", "cat"])
)
good_tables = st.lists(own_rows, max_size=5).map(
    lambda rows: OWN + "\n".join(",".join(map(str, row)) for row in rows)
)


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    text=tables() | good_tables | st.text(max_size=30),
    labels=st.sampled_from([None, "verb", "noun", "action"]),
    cut=st.integers(0, 400),
)
def test_any_text_gives_a_table_or_the_one_error(tmp_path_factory, text, labels, cut):
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_bytes(text.encode(errors="replace")[: cut if cut < 100 else None])
    try:
        annotations = read_annotations(path, labels=labels)
    except AnnotationError as error:
        assert "fuzz.csv" in str(error) or "one spelling" in str(error)  # noqa: PT017
    else:
        check_table(annotations)


packed = gzip.compress((OWN + "a,1,2,dog\n").encode())


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=st.binary(max_size=60) | st.integers(0, len(packed) - 1).map(lambda n: packed[:n]))
def test_any_bytes_give_the_one_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match=r"fuzz\.csv"):
        read_annotations(path)


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(own_rows, max_size=8, unique=True))
def test_every_row_becomes_an_event(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "good.csv"
    path.write_text(OWN + "\n".join(",".join(map(str, row)) for row in rows))
    annotations = read_annotations(path)
    names = annotations.class_names
    assert names == sorted({row[3] for row in rows})
    found = [(video, s, e, names[label]) for video, s, e, label in annotations.events.to_numpy()]
    assert found == rows
