"""What there is to pack: every usable array, and a word about everything else."""

import re

import numpy as np
import pytest

from davezoo.data.loose_features import list_loose_features
from davezoo.data.packing import PackError


def test_list(tmp_path):
    (tmp_path / "deep").mkdir()
    np.save(tmp_path / "b.npy", np.ones((3, 4), np.float16))
    np.save(tmp_path / "deep" / "a.npy", np.ones((2, 5), np.float64))
    np.savez(tmp_path / "c.npz", rgb=np.ones((1, 2), ">f4"), seconds=np.arange(3.0))
    (tmp_path / "notes.txt").touch()
    loose = list_loose_features(tmp_path, None)
    found = [(array.name, array.file, array.dtype, array.num_bytes) for array in loose.arrays]
    assert found == [
        ("b.npy", "b.npy", "F16", 24),
        ("c.npz:rgb", "c.npz", "F32", 8),
        ("deep/a.npy", "deep/a.npy", "F32", 40),
    ]
    assert set(loose.stamps) == {"b.npy", "deep/a.npy", "c.npz"}
    stat = (tmp_path / "b.npy").stat()
    assert loose.stamps["b.npy"] == [stat.st_size, stat.st_mtime_ns]
    assert loose.left_out == ["c.npz:seconds"]
    assert loose.other_files == ["notes.txt"]


@pytest.mark.parametrize(
    ("dtype", "stored", "size"), [("float16", "F16", 2), ("float32", "F32", 4)]
)
def test_chosen_type(tmp_path, dtype, stored, size):
    np.save(tmp_path / "a.npy", np.ones((3, 4), np.float16))
    (array,) = list_loose_features(tmp_path, dtype).arrays
    assert (array.dtype, array.num_bytes) == (stored, 12 * size)


def test_pickled_members_are_left_out_unread(tmp_path):
    np.savez(tmp_path / "a.npz", rgb=np.ones((1, 2)), names=np.array([{"a": 1}], dtype=object))
    loose = list_loose_features(tmp_path, None)
    assert [array.name for array in loose.arrays] == ["a.npz:rgb"]
    assert loose.left_out == ["a.npz:names"]


def test_unusable_files_are_counted_and_named(tmp_path):
    np.save(tmp_path / "good.npy", np.ones((3, 4)))
    np.save(tmp_path / "flat.npy", np.ones(3))
    np.save(tmp_path / "pickled.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "good.npy").read_bytes()[:-5])
    (tmp_path / "damaged.npz").write_bytes(b"PK\3\4 no archive")
    (tmp_path / "empty.npz").touch()
    with pytest.raises(PackError) as caught:
        list_loose_features(tmp_path, None)
    message = str(caught.value)
    assert "got 5 others, the first:" in message
    for name in ("flat.npy", "pickled.npy", "cut.npy", "damaged.npz", "empty.npz"):
        assert str(tmp_path / name) in message
    assert "good.npy" not in message
    assert message.endswith("Repair them, or move them out of the folder.")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "got no folder"),
        (lambda folder: folder.mkdir(), "with features in .*, got none"),
        (lambda folder: (folder.mkdir(), (folder / "pack.json").touch()), "got a packed one"),
    ],
)
def test_folders_without_loose_features(tmp_path, make, message):
    folder = tmp_path / "features"
    make(folder)
    with pytest.raises(PackError, match=message) as caught:
        list_loose_features(folder, None)
    assert re.search(re.escape(str(folder)), str(caught.value))


def test_members_of_the_real_archive(shared):
    loose = list_loose_features(shared / "data" / "features", None)
    names = [array.name for array in loose.arrays]
    assert "v_GGSY1Qvo990_i3d_vggish.npz:vggish" in names
    assert [n for n in loose.left_out if "timestamps" not in n] == []
    assert loose.other_files == ["v_GGSY1Qvo990.mp4"]
