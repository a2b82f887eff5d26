import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from davezoo.annotations import AnnotationError
from davezoo.annotations.classes import number_classes, read_class_list, read_class_names
from davezoo.annotations.content import NO_ID, FileContent, make_events, make_videos


def content(names, ids=None, path="x.csv"):
    videos = make_videos(["v"], [""], [None], [None])
    zeros = np.zeros(len(names))
    ids = [NO_ID] * len(names) if ids is None else ids
    events = make_events(["v"] * len(names), zeros, zeros, names, ids, range(2, len(names) + 2))
    return FileContent(Path(path), videos, events, "row")


def counts(repairs):
    return {rule: count for rule, count in repairs.items() if count}


def test_alphabetical_over_all_files():
    files = [content(["dog", "cat"]), content(["ant"], [5])]
    labels, names, repairs = number_classes(files, None)
    assert labels.tolist() == [2, 1, 0]
    assert names == ["ant", "cat", "dog"]
    assert counts(repairs) == {"label_id ignored because other events have none": 1}


def test_own_numbers():
    labels, names, repairs = number_classes([content(["dog"], [2]), content(["cat"], [0])], None)
    assert labels.tolist() == [2, 0]
    assert names == ["cat", "(no event of class 1)", "dog"]
    assert counts(repairs) == {"class indices without events": 1}


def test_class_list():
    files = [content(["dog", "cat"], [0, 1])]
    labels, names, repairs = number_classes(files, ["cat", "ant", "dog"])
    assert labels.tolist() == [2, 0]
    assert names == ["cat", "ant", "dog"]
    assert counts(repairs) == {
        "class indices without events": 1,
        "label_id replaced by the place in the class list": 2,
    }


def test_class_that_is_not_in_the_list():
    files = [content(["dog"]), content(["cat", "Dog"], path="y.csv")]
    message = (
        r"row 3 of video 'v' in y\.csv.*2 names in the class list, got 'Dog' \(did you mean 'dog'"
    )
    with pytest.raises(AnnotationError, match=message):
        number_classes(files, ["cat", "dog"])


@pytest.mark.parametrize("second", [("dog", 3), ("cat", 2)])
def test_contradicting_numbers_in_two_files(second):
    files = [content(["dog"], [2]), content([second[0]], [second[1]], path="y.csv")]
    with pytest.raises(AnnotationError, match=r"row 2 of video 'v' in y\.csv.*earlier pairs"):
        number_classes(files, None)


LISTS = {
    "a.txt": "\ufeffdog\n cat \n\nbig, red ant\n",
    "a.json": '["dog", "cat", "big, red ant"]',
    "a.csv": 'id,key,instances\n2,"big, red ant",[]\n0,dog,"[1, 2]"\n1,cat,[]\n',
    "quoted.csv": '"id","key"\n0,"dog"\n1,"cat"\n2,"big, red ant"\n',
}


@pytest.mark.parametrize(("name", "text"), LISTS.items())
def test_class_lists(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_class_list(tmp_path / name) == ["dog", "cat", "big, red ant"]


BAD_LISTS = {
    "": "hold names",
    "\n": "hold names",
    "[]": "hold names",
    "[1, 2]": "hold names",
    '["dog"': "text, csv or JSON",
    "dog\ncat\ndog": "'dog' twice",
    "id,key\n0,dog\n2,cat\n": "each number from 0 up once",
    "id,key\n0,dog\n0,cat\n": "each number from 0 up once",
    "id,key\nx,dog\n": "each number from 0 up once",
    "id,key\n0,\n": "hold names",
    "id,key\n0,dog,x\n": "comma-separated",
}


@pytest.mark.parametrize(("text", "message"), BAD_LISTS.items())
def test_bad_class_lists(tmp_path, text, message):
    path = tmp_path / "classes.csv"
    path.write_text(text)
    with pytest.raises(AnnotationError, match=rf"classes\.csv.*{message}"):
        read_class_list(path)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    content=st.binary(max_size=30)
    | st.text(max_size=30).map(str.encode)
    | st.lists(st.text(max_size=3) | st.integers(), max_size=4).map(
        lambda x: json.dumps(x).encode()
    )
    | st.lists(st.text("0123,a", max_size=6), max_size=4).map(
        lambda x: "\n".join(["id,key", *x]).encode()
    )
)
def test_any_list_gives_names_or_the_one_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.txt"
    path.write_bytes(content)
    try:
        names = read_class_list(path)
    except AnnotationError as error:
        assert "fuzz.txt" in str(error)  # noqa: PT017 - both outcomes are right
    else:
        assert len(set(names)) == len(names) > 0
        assert all(names)


def test_names_of_epic(shared):
    folder = shared / "data/epic100"
    files = [folder / f"EPIC_100_{noun}_classes.csv.gz" for noun in ("verb", "noun")]
    verbs, nouns = read_class_names(files[0], "verb"), read_class_names(files[1], "noun")
    assert (len(verbs), len(nouns)) == (97, 300)
    assert (verbs[3], nouns[8]) == ("open", "drawer")
    actions = read_class_names(files, "action")
    assert len(set(actions)) == 29100
    assert actions[908] == "open drawer"


def test_numbers_of_files():
    assert read_class_names(None, None) is None
    assert read_class_names(None, "verb")[96] == "verb 96"
    assert read_class_names(None, "noun")[299] == "noun 299"
    with pytest.raises(AnnotationError, match="2 files for `labels` 'action', got 1"):
        read_class_names("verbs.csv", "action")
    with pytest.raises(AnnotationError, match="1 file for `labels` None, got 2"):
        read_class_names(["a.csv", "b.csv"], None)


def test_nouns_that_are_not_300(tmp_path):
    (tmp_path / "few.txt").write_text("cup\n")
    with pytest.raises(AnnotationError, match=r"few\.txt.*300 nouns, got 1 names"):
        read_class_names([tmp_path / "few.txt"] * 2, "action")
