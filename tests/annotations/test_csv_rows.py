import numpy as np
import pandas as pd
import pytest

from davezoo.annotations import AnnotationError
from davezoo.annotations.csv_rows import (
    columns_refusal,
    numbers,
    one_value_a_video,
    read_rows,
    refuse_row,
    texts,
)


@pytest.fixture
def rows_of(tmp_path):
    def read(text):
        path = tmp_path / "x.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path, read_rows(path)

    return read


def test_rows_are_counted_as_a_spreadsheet_does(rows_of):
    _, rows = rows_of('\ufeffa, b \n1,"x,\ny"\n\n,\n 2,NA\n')
    assert rows.columns.tolist() == ["a", "b"]
    assert rows.index.tolist() == [2, 5]
    assert rows.to_numpy().tolist() == [["1", "x,\ny"], [" 2", "NA"]]


def test_header_alone(rows_of):
    _, rows = rows_of("a,b\n")
    assert rows.columns.tolist() == ["a", "b"]
    assert len(rows) == 0


def test_columns_without_a_name_may_be_many(rows_of):
    _, rows = rows_of(",,a\n0,0,1\n")
    assert rows["a"].tolist() == ["1"]


BAD = {
    "empty": b"",
    "blank": b"\n\n",
    "more cells than columns": b"a,b\n1,2,3\n",
    "a row cut before its last cell": b"a,b\n1,2\n1",
    "open quote": b'a,b\n"1,2\n',
    "not UTF-8": b"a,b\n\xff,2\n",
    "half a gzip": b"\x1f\x8b\x08\0",
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_damaged_table(rows_of, content):
    with pytest.raises(AnnotationError, match=r"x\.csv to hold .*; .*again"):
        rows_of(content)


def test_row_with_too_few_cells_is_named(rows_of):
    with pytest.raises(AnnotationError, match=r"2 cells in row 5, 3 in the header"):
        rows_of('a,b,c\n1,"x,\ny",\n,,\n\n3,4\n5,6,7\n')


def test_double_column(rows_of):
    with pytest.raises(AnnotationError, match="'a' twice"):
        rows_of("a,b,a \n1,2,3\n")


def test_texts(rows_of):
    path, rows = rows_of("a,b\n x ,1\n ,2\n")
    assert texts(path, rows.iloc[:1], "a").tolist() == ["x"]
    with pytest.raises(AnnotationError, match=r"`a` in row 3 of .*x\.csv to hold text, got ' '"):
        texts(path, rows, "a")


@pytest.mark.parametrize(
    "cell", ["x", "nan", "inf", "-1", "1e400", "1" * 400, "True", "0x10", "1:30"]
)
def test_cell_that_is_no_number(rows_of, cell):
    path, rows = rows_of(f"a,b\n1,x\n{cell},x\n")
    with pytest.raises(AnnotationError, match=r"`a` in row 3 of .*from 0 to 1e\+09, got '"):
        numbers(path, rows, "a", 0, 1e9)


def test_numbers(rows_of):
    path, rows = rows_of("a,b\n 1e2 ,x\n,x\n")
    np.testing.assert_array_equal(numbers(path, rows, "a", 0, 1e9, optional=True), [100, np.nan])
    with pytest.raises(AnnotationError, match=r"`a` in row 3"):
        numbers(path, rows, "a", 0, 1e9)


def test_one_value_a_video(rows_of):
    path, rows = rows_of("v,d\nb,\na,3\nb,4\nb,4\n")
    values = numbers(path, rows, "d", 0, 9, optional=True)
    found = one_value_a_video(path, rows, rows["v"], "d", values)
    assert found.to_dict() == {"b": 4, "a": 3}
    path, rows = rows_of("v,d\nb,\na,3\nb,4\nb,5\n")
    values = numbers(path, rows, "d", 0, 9, optional=True)
    with pytest.raises(AnnotationError, match=r"`d` in row 5 .*video 'b' in row 4, '4', got '5'"):
        one_value_a_video(path, rows, rows["v"], "d", values)


def test_no_row_is_refused_where_none_is_wrong(rows_of):
    path, rows = rows_of("a,b\n1,2\n")
    refuse_row(path, rows, "a", pd.Series([False], rows.index), "be right", "correct it")


def test_other_columns_are_told_with_near_names(tmp_path):
    layouts = {"one": ("video", "start"), "two": ("name", "t-start", "t-end")}
    error = columns_refusal(tmp_path / "x.csv", ["Video", "begin", "", "start"], layouts)
    assert "one: video, start; two: name, t-start, t-end" in str(error)
    assert "['Video', 'begin', 'start'], nearest to one, without ['video']" in str(error)
    assert "is 'Video' meant for 'video'?" in str(error)


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_other_separators_are_told(tmp_path, mark):
    layouts = {"one": ("video", "start")}
    error = columns_refusal(tmp_path / "x.csv", [mark.join(["video", "start", "end"])], layouts)
    assert f"separate the cells by commas, not by {mark!r}" in str(error)
