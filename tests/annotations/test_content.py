from pathlib import Path

import numpy as np
import pytest

from davezoo.annotations import AnnotationError
from davezoo.annotations.content import (
    FileContent,
    check_each_video_once,
    check_ids,
    check_spellings,
    make_events,
    make_videos,
)

PATH = Path("x.csv")


def content(ids, path=PATH):
    videos = make_videos(ids, [""] * len(ids), [None] * len(ids), [25] * len(ids))
    events = make_events(ids, np.zeros(len(ids)), np.ones(len(ids)), ids, range(len(ids)), [7, 9])
    return FileContent(path, videos, events, "row")


def test_unknown_values_are_nan():
    videos = content(["v", "w"]).videos
    assert videos["duration"].isna().all()
    assert videos["fps"].tolist() == [25, 25]


def test_place_names_row_video_and_file():
    assert content(["v", "w"]).place(1) == "row 9 of video 'w' in x.csv"


@pytest.mark.parametrize("video", ["", "a/b", "a\\b", "..", "a\0b", "\ud800"])
def test_id_that_is_no_file_name(video):
    with pytest.raises(AnnotationError, match=r"id of video .*x\.csv.*rename"):
        check_ids(PATH, ["good", video])


def test_one_file_a_video():
    check_each_video_once([content(["v", "w"]), content(["x", "y"], Path("y.csv"))])
    with pytest.raises(AnnotationError, match=r"'w' in x\.csv and in y\.csv"):
        check_each_video_once([content(["v", "w"]), content(["w", "y"], Path("y.csv"))])


def test_spellings():
    check_spellings(content(["v_v_a", "v_b"]).videos)
    with pytest.raises(AnnotationError, match="both 'a' and 'v_a'"):
        check_spellings(content(["a", "v_a"]).videos)
