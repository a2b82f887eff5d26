"""Feature files: names, heads, archives, and what damaged ones are called."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from davezoo.data.features import FeatureError, FeatureLayout, LooseFolder, open_store
from davezoo.errors import InputError
from davezoo.structures import FeatureGrid

GRID = FeatureGrid(25, 8, 24)


def layout(folder=Path("x"), **settings):
    defaults = {
        "visual_files": ["{video}_rgb.npy", "{video}_flow.npy"],
        "audio_files": ["{video}_vggish.npy"],
        "visual_width": 5,
        "audio_width": 4,
        "grid": GRID,
    }
    return FeatureLayout(folder, **defaults | settings)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4"])
def test_arrays_read_as_numpy_reads_them(tmp_path, dtype, order):
    array = np.asarray(np.random.default_rng(0).random((7, 3)), dtype, order=order)
    np.save(tmp_path / "a.npy", array)
    other = np.asarray(array[::-1], order=order)
    np.savez(tmp_path / "plain.npz", feats=array, other=other)
    np.savez_compressed(tmp_path / "packed.npz", feats=array, other=other)
    store = open_store(tmp_path)
    names = {"a.npy": array, "plain.npz": array, "plain.npz:other": other}
    for name, expected in (names | {"packed.npz:other": other}).items():
        opened = store.open(name)
        assert (opened.shape, opened.dtype) == ((7, 3), np.dtype(dtype))
        np.testing.assert_array_equal(opened[2:5], expected[2:5], strict=True)


@pytest.mark.parametrize("modalities", ["both", "audio", "visual"])
def test_only_the_chosen_modalities_have_files(modalities):
    files = layout(modalities=modalities)
    names = {"visual": ["v_rgb.npy", "v_flow.npy"], "audio": ["v_vggish.npy"]}
    for modality, width in (("visual", 5), ("audio", 4)):
        chosen = modalities in ("both", modality)
        assert files.file_names(modality, "v") == (names[modality] if chosen else [])
        assert files.width(modality) == (width if chosen else 0)


def test_there_must_be_something_to_read():
    with pytest.raises(InputError, match="got none for 'audio'"):
        layout(audio_files=[], audio_width=0, modalities="audio")


def test_grids():
    audio_grid = FeatureGrid(100, 96, 96)
    both = layout(audio_grid=audio_grid, own_fps=True)
    assert both.grid_of("visual", 30) == FeatureGrid(30, 8, 24)
    assert both.grid_of("audio", 30) == audio_grid
    assert layout(own_fps=True).grid_of("audio", 30) == FeatureGrid(30, 8, 24)
    assert layout().grid_of("visual", 30) == GRID


def test_listing(tmp_path):
    (tmp_path / "rgb" / "deep").mkdir(parents=True)
    for name in ("a.npy", "rgb/b.npy", "rgb/deep/c.npz"):
        (tmp_path / name).touch()
    assert LooseFolder(tmp_path).names() == {"a.npy", "rgb/b.npy", "rgb/deep/c.npz"}
    assert LooseFolder(tmp_path / "nowhere").names() == set()


PRESENT = {
    *("a_rgb.npy", "a_flow.npy", "a_vggish.npy"),
    *("b_rgb.npy", "b_flow.npy"),
    *("c_rgb.npy", "c_vggish.npy"),
    "README",
}


def test_what_is_missing_and_what_is_of_no_use():
    videos = iter(["a", "b", "c"])  # any iterable
    faults = layout().missing(videos, PRESENT)
    assert faults == {"b": "no b_vggish.npy", "c": "no c_flow.npy"}
    assert layout().lack_audio("abc", PRESENT) == set()
    assert layout(modalities="audio").missing("abc", PRESENT) == {"b": "no b_vggish.npy"}
    assert layout(modalities="visual").missing("abc", PRESENT) == {"c": "no c_flow.npy"}
    for modalities in ("both", "visual"):  # of use is also what another choice would read
        unused = layout(modalities=modalities).unused(["a", "b"], PRESENT)
        assert unused == ["README", "c_rgb.npy", "c_vggish.npy"]


def test_a_video_may_lack_all_of_its_audio_but_not_some():
    two = layout(audio_files=["{video}_vggish.npy", "{video}_mert.npy"], allow_missing_audio=True)
    assert two.lack_audio("abc", PRESENT) == {"b"}
    assert two.missing("abc", PRESENT) == {
        "a": "no a_mert.npy",
        "c": "no c_flow.npy, c_mert.npy",
    }
    alone = layout(modalities="audio", allow_missing_audio=True)  # nothing else tells its length
    assert alone.lack_audio("b", PRESENT) == set()
    assert alone.missing("b", PRESENT) == {"b": "no b_vggish.npy"}


def test_members_are_there_if_their_archive_is():
    files = layout(
        visual_files=["{video}.npz:rgb"], audio_files=["all.npz:{video}_vggish"], visual_width=3
    )
    assert files.missing("ab", {"a.npz", "all.npz"}) == {"b": "no b.npz:rgb"}
    assert files.unused("a", {"a.npz", "all.npz", "b.npz"}) == ["b.npz"]
    assert files.missing("a", {"a.npz:rgb", "all.npz:a_vggish"}) == {}  # listed one by one


def test_missing_member_names_the_others(tmp_path):
    np.savez(tmp_path / "v.npz", rgb=np.zeros((4, 2)), flow=np.zeros((4, 2)))
    with pytest.raises(FeatureError, match=r"v\.npz.*'feats'.*\['flow', 'rgb'\]; name"):
        LooseFolder(tmp_path).open("v.npz")
    with pytest.raises(FeatureError, match=r"v\.npz.*'vggish'"):
        LooseFolder(tmp_path).open("v.npz:vggish")


def test_the_only_array_of_an_archive_needs_no_name(tmp_path):
    np.savez_compressed(tmp_path / "v.npz", anything=np.ones((4, 2)))
    assert LooseFolder(tmp_path).open("v.npz").shape == (4, 2)


@pytest.mark.parametrize("name", ["../v.npy", "/etc/v.npy", "a/../../v.npy"])
def test_ids_do_not_lead_out_of_the_folder(tmp_path, name):
    np.save(tmp_path / "v.npy", np.ones((4, 2)))
    (tmp_path / "a").mkdir()
    with pytest.raises(FeatureError, match="a way out of it"):
        LooseFolder(tmp_path / "a").open(name)


def test_heads_of_the_second_form(tmp_path):
    with (tmp_path / "v.npy").open("wb") as file:
        np.lib.format.write_array(file, np.arange(8.0).reshape(4, 2), version=(2, 0))
    opened = LooseFolder(tmp_path).open("v.npy")
    np.testing.assert_array_equal(opened[1:3], [[2, 3], [4, 5]])


def head(shape):
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


DAMAGE = {
    "nothing": b"",
    "huge shape": head("(10**12, 9)".replace("10**12", str(10**12))),
    "negative shape": head("(-4, -2)") + bytes(64),
    "half a step": head("(4, 2)") + bytes(31),
    "long head": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 100_000,
    "open bracket": head("(4, 2").replace(b"}", b" "),
    "third form": b"\x93NUMPY\x03\x00" + bytes(100),
}


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("member", [False, True])
def test_damaged_arrays(tmp_path, content, member):
    name = "v.npz:a" if member else "v.npy"
    if member:
        with zipfile.ZipFile(tmp_path / "v.npz", "w") as archive:
            archive.writestr("a.npy", content)
    else:
        (tmp_path / "v.npy").write_bytes(content)
    with pytest.raises(FeatureError, match=f"{name}.*again"):
        LooseFolder(tmp_path).open(name)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "array",
    [np.array([{}]), np.zeros((4, 2), int), np.zeros(4), np.zeros((0, 4)), np.zeros((4, 2), "U3")],
    ids=["pickled", "integers", "one axis", "no steps", "text"],
)
def test_arrays_of_archives_that_are_no_features(tmp_path, array, save):
    save(tmp_path / "v.npz", a=array)
    with pytest.raises(FeatureError, match=r"v\.npz:a.*again"):
        LooseFolder(tmp_path).open("v.npz:a")


def test_rotten_numbers_of_a_compressed_array_show_when_read(tmp_path):
    path = tmp_path / "v.npz"
    np.savez_compressed(path, a=np.random.default_rng(0).random((400, 9)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    opened = LooseFolder(tmp_path).open("v.npz")
    with pytest.raises(FeatureError, match=r"v\.npz:a.*again"):
        opened[0:10]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_cut_archives(tmp_path, save):
    path = tmp_path / "v.npz"
    save(path, a=np.ones((400, 9)))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(FeatureError, match=r"v\.npz.*again"):
        LooseFolder(tmp_path).open("v.npz")


@pytest.mark.parametrize("save", [None, np.savez, np.savez_compressed])
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_rotten_files_are_refused_or_read(tmp_path, save, data):
    """Any bytes changed: an array as its head tells, or our own error, never another one."""
    path = tmp_path / ("v.npz" if save else "v.npy")
    array = np.arange(24, dtype=np.float32).reshape(8, 3)
    if save:
        save(path, a=array)
    else:
        np.save(path, array)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    size = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    path.write_bytes(content[:size])
    try:
        opened = LooseFolder(tmp_path).open(path.name)
        read = opened[0 : opened.shape[0]]
    except FeatureError:
        return
    assert read.shape == opened.shape
    assert read.dtype == opened.dtype
