import pytest

from davezoo.annotations import read_annotations


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json.*davezoo simulate"):
        read_annotations(tmp_path / "none.json")
