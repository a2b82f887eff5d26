from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from davezoo.data.features import FeatureLayout
from davezoo.data.video_files import ids_in_names, stray_files, videos_of_files
from davezoo.errors import InputError
from davezoo.structures import FeatureGrid


def layout(*patterns):
    grid = FeatureGrid(fps=25, stride=8, window=24)
    return FeatureLayout(Path("features"), patterns[:1], patterns[1:], 4, len(patterns) - 1, grid)


@pytest.mark.parametrize(
    ("patterns", "names", "ids"),
    [
        (["{video}_rgb.npy", "{video}_vggish.npy"], ["a_rgb.npy", "b_vggish.npy"], {"a", "b"}),
        (["{video}.npy", "{video}_vggish.npy"], ["a.npy", "a_vggish.npy"], {"a"}),
        (["v_{video}.npy"], ["v_a.npy", "b.npy", "README.md"], {"a"}),
        (["rgb/{video}.npy", "audio/{video}.npy"], ["rgb/a.npy", "audio/b.npy"], {"a", "b"}),
        (["{video}/{video}_rgb.npy"], ["a/a_rgb.npy", "a/b_rgb.npy"], {"a"}),
        (["{video}.npz:rgb", "{video}.npz:vggish"], ["a.npz", "b.npz"], {"a", "b"}),
        (["{video}.npz:rgb"], ["a.npz:rgb", "b.npz:flow"], {"a"}),  # as a packed folder tells them
        (["{video}.npy"], ["deeper/a.npy", "..\\a.npy", ".npy"], set()),
    ],
)
def test_ids(patterns, names, ids):
    assert ids_in_names(layout(*patterns), set(names)) == ids


@given(
    ids=st.sets(st.text("ab_-.1", min_size=1, max_size=4), max_size=6),
    pattern=st.sampled_from(["{video}.npy", "v_{video}_rgb.npy", "x/{video}.npz:rgb"]),
)
def test_ids_come_back_from_the_names_of_their_files(ids, pattern):
    names = {pattern.split(":")[0].replace("{video}", video) for video in ids}
    assert ids_in_names(layout(pattern), names) == ids


def test_videos_of_files():
    present = {"b_rgb.npy", "a_rgb.npy", "a_vggish.npy"}
    found = videos_of_files(layout("{video}_rgb.npy", "{video}_vggish.npy"), present, "test")
    assert found.videos.index.tolist() == ["a", "b"]
    assert found.videos["subset"].tolist() == ["test", "test"]
    assert found.videos["duration"].isna().all()
    assert (len(found.events), found.class_names) == (0, [])
    assert found.split("TEST").videos.index.tolist() == ["a", "b"]


def test_stray_files():
    present = {"a_rgb.npy", "b_rgb.npy", "a_vggish.npy", "b_flow.npy", "README.md", "c_vggish.npy"}
    found = stray_files(layout("{video}_rgb.npy", "{video}_vggish.npy"), ["a"], present)
    assert found == ["b_rgb.npy", "c_vggish.npy"]  # others are no features of this layout


def test_an_archive_of_all_videos_tells_none():
    with pytest.raises(InputError, match=r"got 'all\.npz:\{video\}__rgb'; save the members"):
        videos_of_files(layout("all.npz:{video}__rgb"), {"all.npz"}, "test")
