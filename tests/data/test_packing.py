"""The packed folder: the same arrays as the loose files, and every damaged byte is found."""

import contextlib
import json
import multiprocessing
import pickle
import re
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from davezoo.data.features import FeatureError, LooseFolder, open_store
from davezoo.data.packer import write_pack
from davezoo.data.packing import (
    PackedFolder,
    PackError,
    describe_shard,
    read_index,
    shard_name,
    verify,
)
from davezoo.structures import FeatureGrid


def write_loose(folder, count=6):
    """Write .npy files of several types and lengths, some in a subfolder, and two archives."""
    (folder / "deep").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(count):
        array = rng.standard_normal((3 + index, 4)).astype(["<f2", "<f4"][index % 2])
        np.save(folder / ("deep" if index % 3 == 0 else "") / f"v{index}.npy", array)
    np.savez(folder / "one.npz", rgb=rng.standard_normal((5, 2)).astype("<f4"))
    two = {name: rng.standard_normal((4, 3)).astype("<f2") for name in ("feats", "flow")}
    np.savez_compressed(folder / "two.npz", **two)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A loose and a packed folder of the same features."""
    root = tmp_path_factory.mktemp("pack")
    write_loose(root / "loose")
    write_pack(root / "loose", root / "packed", grid=FeatureGrid(25, 8, 24), shard_bytes=150)
    return root / "loose", root / "packed"


@pytest.fixture
def copy(pair, tmp_path):
    return shutil.copytree(pair[1], tmp_path / "copy")


NAMES = ["v1.npy", "deep/v3.npy", "one.npz", "one.npz:rgb", "two.npz", "two.npz:flow"]


def test_files_have_the_names_of_the_loose_ones(pair):
    loose, packed = (open_store(folder) for folder in pair)
    assert isinstance(loose, LooseFolder)
    assert isinstance(packed, PackedFolder)
    assert packed.names() == loose.names()
    assert len(list(pair[1].iterdir())) > 3  # of several shards


@pytest.mark.parametrize("name", NAMES)
def test_arrays_are_those_of_the_loose_files(pair, name):
    loose, packed = (open_store(folder).open(name) for folder in pair)
    assert packed.shape == loose.shape
    assert packed.dtype == loose.dtype
    np.testing.assert_array_equal(packed[:], loose[:])
    np.testing.assert_array_equal(packed[1:3], loose[1:3])


def test_any_reader_of_the_format_reads_the_shards(pair):
    arrays = {}
    for path in pair[1].glob("*.safetensors"):
        arrays |= load_file(path)
    loose = LooseFolder(pair[0])
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, loose.open(name)[:])
    assert set(NAMES) - {"one.npz", "two.npz"} <= set(arrays)


def test_grids_are_kept(pair):
    packed = PackedFolder(pair[1])
    assert packed.grid == FeatureGrid(25, 8, 24)
    assert packed.audio_grid is None


def read_all(store):
    return {name: store.open(name)[:].tolist() for name in sorted(store.names())}


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_the_same(pair, method):
    store = PackedFolder(pair[1])
    expected = read_all(store)  # everything is mapped here before the others start
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(read_all, (store,)) == expected


def test_only_the_folder_is_sent_to_other_processes(pair):
    assert len(pickle.dumps(PackedFolder(pair[1]))) < 500


def test_what_is_mapped_cannot_be_changed(pair):
    assert not PackedFolder(pair[1]).open("v1.npy").flags.writeable


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.npy", "'absent.npy' in the packed features .*got none; correct"),
        ("two.npz:audio", "'two.npz:audio' in the packed .*got none"),
        ("../loose/v1.npy", "'../loose/v1.npy' in the packed"),
    ],
)
def test_absent_array(pair, name, message):
    with pytest.raises(FeatureError, match=message):
        PackedFolder(pair[1]).open(name)


def test_archive_of_several_arrays_without_a_default(tmp_path):
    (tmp_path / "loose").mkdir()
    np.savez(tmp_path / "loose" / "a.npz", rgb=np.ones((2, 2)), flow=np.ones((2, 2)))
    write_pack(tmp_path / "loose", tmp_path / "packed")
    with pytest.raises(FeatureError, match=r"a.npz:feats.* only \['a.npz:flow', 'a.npz:rgb'\]"):
        PackedFolder(tmp_path / "packed").open("a.npz")


# Damage -------------------------------------------------------------------------------------------


def test_sound_folder_passes(pair):
    report = verify(pair[1])
    assert report.faults == {}
    assert report.num_arrays == 9
    assert report.num_bytes == sum(p.stat().st_size for p in pair[1].glob("*.safetensors"))
    assert "all checksums are right" in report.summary()


def flip(path, position, bit=0):
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


def test_changed_number_is_found_and_named(copy):
    entry = read_index(copy)["shards"][0]
    name, array = next(iter(entry["arrays"].items()))
    flip(copy / entry["file"], array["offset"] + 3)
    report = verify(copy)
    assert list(report.faults) == [name]
    assert entry["file"] in report.faults[name]
    assert f"1 faults, the first:\n  {name}" in report.summary()


@given(data=st.data())
def test_any_changed_bit_is_found(pair, tmp_path_factory, data):
    folder = shutil.copytree(pair[1], tmp_path_factory.mktemp("bit") / "copy")
    path = data.draw(st.sampled_from(sorted(folder.iterdir())))
    position = data.draw(st.integers(0, path.stat().st_size - 1))
    flip(path, position, data.draw(st.integers(0, 7)))
    try:
        faults = verify(folder).faults
    except PackError:
        faults = {"pack.json": "unreadable"}
    # The one byte without meaning is the line break at the end.
    assert faults or (path.name == "pack.json" and position == path.stat().st_size - 1)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "got no such file; copy it again"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), r"with \d+ bytes, got \d+ bytes"),
        (lambda path: path.write_bytes(b""), "got 0 bytes"),
    ],
)
def test_absent_or_cut_shard(copy, damage, message):
    path = copy / shard_name(2)
    damage(path)
    with pytest.raises(PackError, match=f"shard `{re.escape(str(path))}`.*{message}"):
        PackedFolder(copy)
    report = verify(copy)
    assert list(report.faults) == [path.name]


def test_unfinished_folder_is_not_taken_for_loose_files(copy):
    (copy / "pack.json").unlink()
    with pytest.raises(PackError, match="finish the packing by the same `davezoo pack`"):
        open_store(copy)


def test_other_version(copy):
    index = read_index(copy) | {"version": 2}
    (copy / "pack.json").write_text(json.dumps(index))
    with pytest.raises(PackError, match="version 1, got 2; use the davezoo that packed it"):
        PackedFolder(copy)


def test_shard_outside_of_the_folder_is_refused(copy):
    index = read_index(copy)
    index["shards"][0]["file"] = "../secret.safetensors"
    (copy / "pack.json").write_text(json.dumps(index))
    with pytest.raises(PackError, match="index of packed features"):
        PackedFolder(copy)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@pytest.mark.parametrize(
    "change",
    [
        {"version": None},
        {"shards": None},
        {"shards": [{"file": 3}]},
        {"shards": [{"file": "features-00001.safetensors", "bytes": "x", "arrays": {}}]},
        {"shards": [{"file": "features-00001.safetensors", "bytes": 1, "arrays": []}]},
        {"settings": None},
        {"settings": {"grid": None}},
        {"settings": {"grid": {"fps": 25}, "audio_grid": None}},
        {"settings": {"grid": "25 fps", "audio_grid": None}},
    ],
)
def test_index_of_another_form_is_refused(copy, change):
    (copy / "pack.json").write_text(json.dumps(read_index(copy) | change))
    with pytest.raises(PackError, match=r"pack\.json"):
        PackedFolder(copy)


@given(key=st.sampled_from(["shards", "settings"]), value=JSON)
def test_strange_index_is_refused_or_read(pair, tmp_path_factory, key, value):
    folder = tmp_path_factory.mktemp("index")
    index = read_index(pair[1]) | {key: value}
    (folder / "pack.json").write_text(json.dumps(index))
    with contextlib.suppress(PackError):
        assert PackedFolder(folder).names() == set()


@pytest.mark.parametrize("place", ["shape", "offset", "dtype"])
def test_strange_place_of_an_array_is_refused(copy, place):
    index = read_index(copy)
    name, array = next(iter(index["shards"][0]["arrays"].items()))
    array[place] = {"shape": [10**6, 4], "offset": -5, "dtype": "F64"}[place]
    (copy / "pack.json").write_text(json.dumps(index))
    with pytest.raises(PackError, match="index of packed features"):
        PackedFolder(copy).open(name)


@given(content=st.binary(max_size=60))
def test_strange_shard_is_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("shard") / "features-00001.safetensors"
    path.write_bytes(content)
    with pytest.raises(PackError, match="shard of packed features"):
        describe_shard(path)
