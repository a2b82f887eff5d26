"""Feature files: names, heads, archives, and what damaged ones are called."""

from pathlib import Path

import numpy as np
import pytest

from davezoo.data.features import FeatureError, FeatureLayout, LooseFolder, open_store
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


def test_names_of_a_video():
    files = layout(modalities="audio")
    assert files.patterns("visual") == []
    assert (files.width("visual"), files.width("audio")) == (0, 4)


def test_missing_member_names_the_others(tmp_path):
    np.savez(tmp_path / "v.npz", rgb=np.zeros((4, 2)), flow=np.zeros((4, 2)))
    with pytest.raises(FeatureError, match=r"v\.npz.*'feats'.*\['flow', 'rgb'\]; name"):
        LooseFolder(tmp_path).open("v.npz")
