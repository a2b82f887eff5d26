import json

import pytest

from davezoo.annotations import AnnotationError, read_blocked


def test_blocked(tmp_path):
    path = tmp_path / "blocked.json"
    path.write_text(json.dumps(["b", "a"]))
    assert read_blocked(path) == ["b", "a"]


@pytest.mark.parametrize("content", ["{}", "[1]", "[", ""])
def test_blocked_that_is_no_list_of_ids(tmp_path, content):
    path = tmp_path / "blocked.json"
    path.write_text(content)
    with pytest.raises(AnnotationError, match=r"blocked\.json"):
        read_blocked(path)


def test_blocked_videos_of_activitynet(shared):
    blocked = read_blocked(shared / "data/activitynet13/api_action_get_blocked.json.gz")
    assert len(set(blocked)) == 986
