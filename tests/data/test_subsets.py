import json

import pytest

from davezoo.annotations import AnnotationError
from davezoo.data.checks import MissingFeaturesError
from davezoo.data.sources import Sources
from davezoo.data.subsets import Subsets
from davezoo.errors import InputError

NAMES = ["class 0", "class 1"]


@pytest.fixture
def subsets(folder):
    """Open a small data set: `(sources, ...) -> Subsets`."""
    folder.add("a", events=[(1, 2, 0), (3, 4, 1)])
    folder.add("b", subset="test", events=[(1, 2, 1), (5, 5, 0)])
    folder.add("c", subset="test", events=())

    def open_subsets(class_agnostic=False, skip_unreadable=False, **sources):
        datamodule = folder.open(allow_missing_audio=True)
        files = {"annotations": datamodule.annotations} | sources
        return Subsets(
            Sources(folder.root, **files), datamodule.layout, class_agnostic, skip_unreadable
        )

    return open_subsets


def write_scores(folder, videos):
    content = {"results": {video: [0.2, 0.8] for video in videos}, "class": NAMES}
    (folder.root / "scores.json").write_text(json.dumps(content))


def test_classes(folder, subsets):
    write_scores(folder, ["b", "c"])
    plain = subsets()
    assert plain.class_names == plain.detected_class_names == NAMES
    agnostic = subsets(class_agnostic=True)
    assert agnostic.class_names == agnostic.detected_class_names == ["event"]
    named = subsets(class_agnostic=True, video_scores="scores.json")
    assert (named.class_names, named.detected_class_names) == (["event"], NAMES)


def test_labels(folder, subsets):
    write_scores(folder, ["b", "c"])
    agnostic = subsets(class_agnostic=True)
    named = subsets(class_agnostic=True, video_scores="scores.json")
    assert subsets().ground_truth("test").events["label"].tolist() == [1, 0]
    assert agnostic.ground_truth("test").events["label"].tolist() == [0, 0]
    assert named.ground_truth("test").events["label"].tolist() == [1, 0]
    assert named.look_at("test").annotations.events["label"].tolist() == [0, 0]  # what is learnt
    assert named.ground_truth("train").class_names == NAMES


def test_each_subset_is_looked_at_once(folder, subsets, monkeypatch):
    opened = subsets()
    first = opened.look_at("test")
    for video in ("b", "c"):
        folder.path(video, "rgb").unlink()
    assert opened.look_at("TEST") is first
    with pytest.raises(AnnotationError, match="nowhere"):
        opened.look_at("nowhere")


def test_an_absent_folder_of_features_is_said_once(folder):
    """Every file of every video would be missing."""
    folder.add("a")
    with pytest.raises(MissingFeaturesError, match=r"elsewhere`, got no such folder; correct"):
        folder.dataset(features="elsewhere", skip_unreadable=True)


def test_unusable_files_are_refused_or_skipped(folder, subsets):
    folder.path("b", "rgb").unlink()
    with pytest.raises(MissingFeaturesError, match="1 of 2"):
        subsets().look_at("test")
    with pytest.warns(UserWarning, match="Skipped: 1 of 2"):
        assert list(subsets(skip_unreadable=True).look_at("test").steps) == ["c"]


def test_video_scores_that_lack_videos(folder, subsets):
    write_scores(folder, ["b"])
    opened = subsets(class_agnostic=True, video_scores="scores.json")
    with pytest.warns(UserWarning, match="1 of 2 videos .* 'c': nothing is detected there"):
        opened.check_video_scores("test")
    assert opened.describe("test", ["test"], {}).without_scores == ["c"]
    assert opened.describe("train", ["fit"], {}).without_scores == []  # nothing is scored there

    write_scores(folder, ["x"])
    opened = subsets(class_agnostic=True, video_scores="scores.json")
    with pytest.raises(InputError, match="no score for 2 of 2, such as 'b'"):
        opened.check_video_scores("test")


def test_description(folder, subsets):
    (folder.root / "blocked.json").write_text('["c", "elsewhere"]')
    folder.path("c", "vggish").unlink()
    described = subsets(blocked="blocked.json").describe("Test", ["test"], {"odd events": 2})
    assert (described.split, described.stages) == ("Test", ["test"])
    assert (described.videos, described.usable, described.events) == (2, 2, 2)
    assert described.hours == pytest.approx(2 * 13.44 / 3600)
    assert described.without_audio == ["c"]
    assert described.blocked == ["c"]
    assert described.left_out == {"odd events": 2}
    assert described.oddities["zero-length events"] == 1


def test_without_annotations(folder, subsets):
    opened = subsets(annotations=None)
    truth = opened.ground_truth("any")
    assert truth.videos.index.tolist() == ["a", "b", "c"]
    assert truth.videos["duration"].tolist() == [13.44] * 3  # where their features end
    assert opened.stray_files() == []
    with pytest.raises(InputError, match="`annotations` to name a file"):
        opened.class_names  # noqa: B018


def test_stray_files(folder, subsets):
    opened = subsets()
    del folder.database["b"]
    assert subsets().stray_files() == ["b_flow.npy", "b_rgb.npy", "b_vggish.npy"]
    assert opened.annotations.videos.index.tolist() == ["a", "c"]
