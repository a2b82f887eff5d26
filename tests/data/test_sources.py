import gzip
import json

import pytest

from davezoo.annotations import AnnotationError
from davezoo.annotations.video_scores import VideoScoreError
from davezoo.data.sources import Sources
from davezoo.errors import InputError

EVENTS = "video,start,end,label,duration\na,1,2,dog,10\nb,0,3,cat,12\n"


def test_one_file_of_a_subset(tmp_path):
    (tmp_path / "train.csv").write_text(EVENTS)
    test = b"video,start,end,label,duration\nc,1,2,dog,10\n"
    (tmp_path / "test.csv.gz").write_bytes(gzip.compress(test))
    (tmp_path / "classes.txt").write_text("cat\ndog\nrain\n")
    (tmp_path / "info.csv").write_text("video,duration,fps\na,11,30\nz,5,25\n")
    source = Sources(
        tmp_path,
        {"training": "train.csv", "test": "test.csv"},
        classes="classes.txt",
        video_info=["info.csv"],
    )
    found = source.read_annotations()
    assert found.class_names == ["cat", "dog", "rain"]
    assert found.split("training").videos["duration"].to_dict() == {"a": 11, "b": 12}
    assert found.split("test").videos.index.tolist() == ["c"]
    assert found.videos.loc["a", "fps"] == 30
    assert "z" in found.videos.index


def test_no_annotations(tmp_path):
    source = Sources(tmp_path, None)
    for read in (source.check_annotations, source.read_annotations):
        with pytest.raises(InputError, match=r"`annotations` to name a file .* got null"):
            read()


def test_lists(tmp_path):
    (tmp_path / "blocked.json").write_text('["a", "b"]')
    (tmp_path / "scores.json").write_text(
        json.dumps({"results": {"a": [0.2, 0.8]}, "class": ["cat", "dog"]})
    )
    source = Sources(tmp_path, None, blocked="blocked.json", video_scores="scores.json")
    assert source.read_blocked() == ["a", "b"]
    scores = source.read_video_scores(["cat", "dog"])
    assert scores is not None
    assert scores.top("a", 1)[0].tolist() == [1]
    nothing = Sources(tmp_path, None)
    assert nothing.read_blocked() == []
    assert nothing.read_video_scores(["cat", "dog"]) is None


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"annotations": "absent.json"}, FileNotFoundError),
        ({"annotations": "bad"}, AnnotationError),
        ({"annotations": "good.csv", "classes": "absent.txt"}, FileNotFoundError),
    ],
)
def test_bad_annotations(tmp_path, settings, kind):
    (tmp_path / "bad").write_text("{")
    (tmp_path / "good.csv").write_text(EVENTS)
    with pytest.raises(kind, match=r"absent|bad"):
        Sources(tmp_path, **settings).read_annotations()


def test_bad_lists(tmp_path):
    (tmp_path / "bad").write_text("{")
    with pytest.raises(AnnotationError, match="bad"):
        Sources(tmp_path, None, blocked="bad").read_blocked()
    with pytest.raises(VideoScoreError, match="bad"):
        Sources(tmp_path, None, video_scores="bad").read_video_scores(["cat"])


def test_digest_is_that_of_the_content(tmp_path):
    (tmp_path / "one.csv").write_text(EVENTS)
    (tmp_path / "two.csv.gz").write_bytes(gzip.compress(EVENTS.encode()))
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    digest = Sources(tmp_path, "one.csv").digest()
    assert len(digest) == 64
    assert Sources(tmp_path, "two.csv").digest() == digest
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "one.csv").rename(tmp_path / "elsewhere/one.csv")
    assert Sources(tmp_path / "elsewhere", "one.csv").digest() == digest
    others = [
        Sources(tmp_path, "two.csv", classes="classes.txt"),
        Sources(tmp_path, "two.csv", video_info=["classes.txt"]),
        Sources(tmp_path, "two.csv", labels="verb"),
        Sources(tmp_path, {"training": "two.csv"}),
        Sources(tmp_path, {"test": "two.csv"}),
        Sources(tmp_path, "classes.txt"),
    ]
    assert len({digest, *(source.digest() for source in others)}) == 7


def test_nothing_has_a_digest(tmp_path):
    assert len(Sources(tmp_path, None).digest()) == 64
