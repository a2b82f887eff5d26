import gc
import gzip

import pytest

from davezoo.json_files import read_content, read_json, write_json


def test_round_trip(tmp_path):
    path = tmp_path / "new" / "x.json"
    write_json(path, {"naïve": [1, 0.1]})
    assert read_json(path, ValueError) == {"naïve": [1, 0.1]}
    assert [p.name for p in path.parent.iterdir()] == ["x.json"]


def test_gzip(tmp_path):
    path = tmp_path / "x.json.gz"
    path.write_bytes(gzip.compress(b"[1]"))
    assert read_json(path, ValueError) == [1]


def test_gzip_by_name(tmp_path):
    path = tmp_path / "x.json.gz"
    write_json(path, [1])
    assert gzip.decompress(path.read_bytes()) == b"[1]\n"
    assert read_json(path, ValueError) == [1]


def test_content(tmp_path):
    (tmp_path / "x").write_bytes(b"ab")
    (tmp_path / "y").write_bytes(gzip.compress(b"ab"))
    assert read_content(tmp_path / "x", ValueError) == b"ab"
    assert read_content(tmp_path / "y", ValueError) == b"ab"


class _OwnError(ValueError):
    pass


CUT = gzip.compress(b"[1]", mtime=0)[:-6]  # the same name of the test at any time


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe\x00", CUT, b"\x1f\x8bno", b"[" * 100_000]
)
def test_damaged_file(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(_OwnError, match=r"Expected .*x\.json to hold"):
        read_json(path, _OwnError)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        read_json(tmp_path / "none.json", ValueError)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), object()])
def test_failed_writing_leaves_the_old_file(tmp_path, bad):
    path = tmp_path / "x.json"
    write_json(path, "old")
    with pytest.raises((ValueError, TypeError)):
        write_json(path, [bad])
    assert read_json(path, ValueError) == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_equal_keys_are_refused(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"results": {"v": [1], "w": [], "v": [2]}}')
    with pytest.raises(_OwnError, match="'v' twice"):
        read_json(path, _OwnError)


@pytest.mark.parametrize("content", ["[]", "no JSON"])
def test_garbage_collector_runs_on(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(content)
    try:
        read_json(path, ValueError)
    except ValueError:
        assert content != "[]"
    assert gc.isenabled()
