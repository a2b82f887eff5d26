import gzip

import numpy as np
import pandas as pd
import pytest

from davezoo.annotations import AnnotationError, read_annotations
from davezoo.annotations.content import make_videos
from davezoo.annotations.video_info import add_video_info, read_durations, read_frame_rates


@pytest.fixture
def write(tmp_path):
    def write_table(text, name="info.csv"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write_table


def videos(ids=("a", "b"), durations=(None, 5), subset="Test"):
    return make_videos(ids, [subset] * len(ids), durations, [None] * len(ids))


def test_info_stands_above_the_annotations(write):
    path = write("video,duration,fps\nb,9,25\na,7.5,\n")
    merged, repairs = add_video_info(videos(), path)
    assert merged["duration"].to_dict() == {"a": 7.5, "b": 9}
    assert merged["fps"].fillna(-1).to_dict() == {"a": -1, "b": 25}
    assert repairs["durations replaced by others of the video info"] == 1


def test_blank_cells_leave_what_the_annotations_say(write):
    merged, repairs = add_video_info(videos(), write("video,duration,fps\nb,,30\n"))
    assert merged["duration"].fillna(-1).to_dict() == {"a": -1, "b": 5}
    assert merged["fps"].fillna(-1).to_dict() == {"a": -1, "b": 30}
    assert set(repairs.values()) == {0}


def test_other_videos_are_added_without_events(write):
    info = {
        "test": write("filename,video-duration\nc.mp4,3\n"),
        "": write("video,duration\nd,4\n", "2.csv"),
    }
    merged, repairs = add_video_info(videos(), info)
    assert merged["subset"].to_dict() == {"a": "Test", "b": "Test", "c": "Test", "d": ""}
    assert merged["duration"].tolist()[2:] == [3, 4]
    assert repairs["videos without events, known from the video info alone"] == 2


def test_prefix_of_file_names(write):
    info = write("filename,video-duration\nv_a.mp4,3\nv_c.mkv,4\nv_v_b.webm,6\n")
    merged, repairs = add_video_info(videos(("a", "v_b")), info)
    assert merged["duration"].to_dict() == {"a": 3, "v_b": 6, "c": 4}
    assert repairs["ids of the video info read without their `v_`"] == 2


def test_ids_with_dots_keep_them(write):
    merged, _ = add_video_info(videos(("a.b",), (1,)), write("video_id,duration\na.b,3\n"))
    assert merged["duration"].to_dict() == {"a.b": 3}


def test_real_tables(shared):
    folder = shared / "data"
    info, _ = add_video_info(videos(), folder / "epic100/EPIC_100_video_info.csv.gz")
    assert len(info) == 2 + 700
    assert info["fps"].dropna().between(29, 91).all()


BAD = {
    "video,length\na,3\n": r"columns of .*info\.csv.*'length'",
    "video,duration\na,-3\n": r"`duration` in row 2 of .*got '-3'",
    "video,duration\na,long\n": r"`duration` in row 2 of .*got 'long'",
    "video,duration,fps\na,3,0\n": r"`fps` in row 2 of .*got '0'",
    "video,duration,fps\na,3,30000\n": r"`fps` in row 2 of .*got '30000'",
    "video,duration\na,3\na,3\n": r"`video` in row 3 of .*occur in one row",
    "video,duration\na,3\n,3\n": r"`video` in row 3 of .*hold text",
    "video,duration\n../a,3\n": "rename the video",
    "filename,video-duration,fps,video-frames\na.mp4,100,25,3000\n": r"`fps` in row 2 .*got '25'",
    "filename,video-duration\na.mp4,3\na.mkv,3\n": r"`filename` in row 3 .*one row",
    "filename,video-duration\nv_a.mp4,3\na.mkv,3\n": r"in the video info.*'a' twice",
}


@pytest.mark.parametrize(("text", "message"), BAD.items())
def test_bad_table(write, text, message):
    with pytest.raises(AnnotationError, match=message):
        add_video_info(videos(), write(text))


def test_missing_and_damaged_tables(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        add_video_info(videos(), tmp_path / "none.csv")
    path = tmp_path / "cut.csv.gz"
    path.write_bytes(gzip.compress(b"video,duration\na,3\n")[:-5])
    with pytest.raises(AnnotationError, match=r"cut\.csv\.gz.*download it again"):
        add_video_info(videos(), path)


def test_columns_that_are_absent_are_unknown(tmp_path):
    rows = pd.DataFrame({"video": ["a"]}, index=[2])
    assert np.isnan(read_durations(tmp_path, rows, "duration").item())
    assert np.isnan(read_frame_rates(tmp_path, rows, "duration").item())


def test_wrong_durations_of_the_annotations_are_cured(write):
    """Times far past the durations are refused, unless the table of videos has better ones."""
    path = write("video,start,end,label,duration\na,100,300,dog,10\n", "events.csv")
    with pytest.raises(AnnotationError, match="to be seconds"):
        read_annotations(path)
    info = write("video,duration\na,305\n")
    assert read_annotations(path, video_info=info).videos["duration"].tolist() == [305]
