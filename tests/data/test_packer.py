"""`davezoo pack`: what it writes, how a broken run goes on, and what it refuses."""

import os
import re
import resource
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from davezoo.cli import main
from davezoo.data import packer
from davezoo.data.checks import GridError
from davezoo.data.features import LooseFolder
from davezoo.data.packer import write_pack
from davezoo.data.packing import PackedFolder, PackError, read_index, shard_name, verify
from davezoo.structures import FeatureGrid

GRID = FeatureGrid(25, 8, 24)


@pytest.fixture
def loose(tmp_path):
    """Ten files of 160 bytes of numbers; two fit into a shard of 320 bytes."""
    folder = tmp_path / "loose"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(10):
        np.save(folder / f"v{index}.npy", rng.standard_normal((10, 4)).astype(np.float32))
    return folder


def pack(loose, output, **settings):
    return write_pack(loose, output, **{"shard_bytes": 320} | settings)


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_shards_hold_the_files_in_order(loose, tmp_path):
    packed = pack(loose, tmp_path / "out", grid=GRID)
    assert packed.num_written == 5
    assert packed.index["settings"] == {
        "source": "loose",
        "dtype": None,
        "grid": {"fps": 25, "stride": 8, "window": 24},
        "audio_grid": None,
    }
    assert packed.index == read_index(tmp_path / "out")
    files = [list(shard["arrays"]) for shard in packed.index["shards"]]
    assert files == [[f"v{i}.npy", f"v{i + 1}.npy"] for i in range(0, 10, 2)]
    assert set(content(tmp_path / "out")) == {"pack.json", *map(shard_name, range(1, 6))}


def test_a_large_array_gets_a_shard_of_its_own(loose, tmp_path):
    np.save(loose / "v4.npy", np.ones((1000, 4), np.float32))
    packed = pack(loose, tmp_path / "out")
    assert ["v4.npy"] in [list(shard["arrays"]) for shard in packed.index["shards"]]
    assert verify(tmp_path / "out").faults == {}


@given(
    array=arrays(
        st.sampled_from(["<f2", "<f4", ">f4", "<f8"]),
        array_shapes(min_dims=2, max_dims=2, max_side=4),
        elements=st.floats(-60000, 60000, width=16),
    ),
    fortran=st.booleans(),
    dtype=st.sampled_from([None, "float16", "float32"]),
)
def test_numbers_that_fit_come_back_exactly(tmp_path_factory, array, fortran, dtype):
    folder = tmp_path_factory.mktemp("pack")
    (folder / "loose").mkdir()
    np.save(folder / "loose" / "a.npy", np.asfortranarray(array) if fortran else array)
    write_pack(folder / "loose", folder / "out", dtype)
    stored = PackedFolder(folder / "out").open("a.npy")
    np.testing.assert_array_equal(stored, array)
    assert stored.dtype == (dtype or ("float16" if array.dtype.itemsize == 2 else "float32"))
    assert verify(folder / "out").faults == {}


def test_whoever_may_read_the_files_may_read_the_shards(loose, tmp_path):
    for path in loose.iterdir():
        path.chmod(0o644)
    pack(loose, tmp_path / "out")
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").glob("f*")} == {0o644}


def test_largest_rounding_error(loose, tmp_path):
    packed = pack(loose, tmp_path / "out", dtype="float16")
    errors = {}
    for index in range(10):
        array = np.load(loose / f"v{index}.npy")
        errors[f"v{index}.npy"] = float(np.abs(array - array.astype(np.float16)).max())
    found = max(shard["largest_rounding"] for shard in packed.index["shards"])
    worst = max(errors, key=errors.get)
    assert found == [errors[worst], worst]


@pytest.mark.parametrize("dtype", ["float16", None])
def test_values_out_of_range_are_refused(loose, tmp_path, dtype):
    np.save(loose / "v3.npy", np.array([[1.0, -7e4 if dtype else 1e39]]))
    with pytest.raises(
        PackError, match=r"'v3.npy' to lie in the range of float(16|32), got (70000|1e)"
    ):
        pack(loose, tmp_path / "out", dtype=dtype, shard_bytes=1)
    assert list(content(tmp_path / "out")) == [shard_name(n) for n in (1, 2, 3)]  # whole ones


def test_values_that_are_not_finite_are_copied_and_told(loose, tmp_path, capsys):
    array = np.array([[1.0, np.nan], [np.inf, 2.5]], dtype=np.float32)
    np.save(loose / "v3.npy", array)
    main(["pack", f"--features={loose}", "--dtype=float16", f"--output={tmp_path / 'out'}"])
    np.testing.assert_array_equal(PackedFolder(tmp_path / "out").open("v3.npy"), array)
    assert "1 arrays hold NaN or infinity; they are packed as they are, such as v3.npy" in (
        capsys.readouterr().out
    )


# Broken runs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", [0, 1, 3])
def test_a_broken_run_is_continued(loose, tmp_path, monkeypatch, written):
    pack(loose, tmp_path / "whole", grid=GRID)
    save, calls = packer.save_file, []

    def save_some(*args, **options):
        calls.append(1)
        if len(calls) > written:
            save(*args, **options)  # killed when the file is there, but not in its place
            raise KeyboardInterrupt
        save(*args, **options)

    with monkeypatch.context() as context:
        context.setattr(packer, "save_file", save_some)
        with pytest.raises(KeyboardInterrupt):
            pack(loose, tmp_path / "out", grid=GRID)
    assert set(content(tmp_path / "out")) == set(map(shard_name, range(1, written + 1)))
    (tmp_path / "out" / "incomplete-x7").mkdir()
    (tmp_path / "out" / "incomplete-x7" / shard_name(written + 1)).write_bytes(b"killed")
    assert pack(loose, tmp_path / "out", grid=GRID).num_written == 5 - written
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert pack(loose, tmp_path / "out", grid=GRID).num_written == 0


def test_a_lost_shard_or_index_is_written_anew(loose, tmp_path):
    pack(loose, tmp_path / "out")
    whole = content(tmp_path / "out")
    (tmp_path / "out" / shard_name(3)).unlink()
    assert pack(loose, tmp_path / "out").num_written == 1
    (tmp_path / "out" / "pack.json").unlink()
    assert pack(loose, tmp_path / "out").num_written == 0
    assert content(tmp_path / "out") == whole


def test_a_file_that_is_repaired_on_the_way_lets_the_run_go_on(loose, tmp_path):
    good = np.load(loose / "v7.npy")
    np.save(loose / "v7.npy", good * 1e6)
    with pytest.raises(PackError, match=r"'v7\.npy' to lie in the range"):
        pack(loose, tmp_path / "out", dtype="float16", shard_bytes=160)
    np.save(loose / "v7.npy", good)
    assert pack(loose, tmp_path / "out", dtype="float16", shard_bytes=160).num_written == 2


def test_full_disk(loose, tmp_path):
    np.save(loose / "v5.npy", np.ones((100_000, 4), np.float32))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # as if no more fitted
        with pytest.raises(PackError, match="run the same command again: the finished shards stay"):
            pack(loose, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert set(content(tmp_path / "out")) == {shard_name(1), shard_name(2), shard_name(3)}
    pack(loose, tmp_path / "out")
    assert verify(tmp_path / "out").faults == {}


def test_too_little_space_is_told_before_the_work(loose, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(packer.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(PackError, match=r"1\.60kB of free space .* got 1\.00kB; free some"):
        pack(loose, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Refused ------------------------------------------------------------------------------------------


def change(loose):
    np.save(loose / "v2.npy", np.zeros((10, 4), np.float32))
    os.utime(loose / "v2.npy", ns=(0, 12345))


CHANGES = {
    "changed": (change, "v2.npy"),
    "removed": (lambda loose: (loose / "v2.npy").unlink(), "v2.npy"),
    "added": (lambda loose: np.save(loose / "v1b.npy", np.ones((10, 4))), "v1b.npy"),
}


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(("changed", "named"), CHANGES.values(), ids=list(CHANGES))
def test_changed_sources_are_refused(loose, tmp_path, changed, named, finished):
    pack(loose, tmp_path / "out")
    if not finished:
        (tmp_path / "out" / shard_name(5)).unlink()
        (tmp_path / "out" / "pack.json").unlink()
    before = content(tmp_path / "out")
    changed(loose)
    with pytest.raises(PackError, match=f"as they were when it was packed, .* '{named}'"):
        pack(loose, tmp_path / "out")
    assert content(tmp_path / "out") == before


def test_fewer_shards_than_there_are_are_refused(loose, tmp_path):
    pack(loose, tmp_path / "out")
    (loose / "v8.npy").unlink()
    (loose / "v9.npy").unlink()
    with pytest.raises(PackError, match=r"as they were when .* 'v8\.npy'"):
        pack(loose, tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dtype": "float16"}, "`dtype` 'float16', got None"),
        ({"grid": None}, "`grid` None, got {'fps': 25"),
    ],
)
def test_other_settings_are_refused(loose, tmp_path, settings, message):
    pack(loose, tmp_path / "out", grid=GRID)
    with pytest.raises(PackError, match=f"packed with {re.escape(message)}"):
        pack(loose, tmp_path / "out", **{"grid": GRID} | settings)


def test_the_pack_of_another_folder_is_refused(loose, tmp_path):
    pack(loose, tmp_path / "out")
    other = shutil.copytree(loose, tmp_path / "other")  # with equal times of change
    with pytest.raises(PackError, match="`source` 'other', got 'loose'; choose another `--output`"):
        pack(other, tmp_path / "out")


def test_other_files_in_the_output_are_refused(loose, tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(PackError, match="nothing but shards of these features, got loose; choose"):
        pack(loose, tmp_path)
    with pytest.raises(PackError, match="to be a folder, got a file"):
        pack(loose, tmp_path / "thesis.txt")


# Command line -------------------------------------------------------------------------------------


def test_command(loose, tmp_path, capsys):
    (loose / "readme.txt").touch()
    words = ["pack", "--features", str(loose), "--dtype", "float16"]
    grid = ["--grid.fps=25", "--grid.stride=8", "--grid.window=24"]
    main([*words, *grid])
    printed = capsys.readouterr().out
    assert f"Packed 10 arrays of 10 files (2.88kB) from {loose} into {loose}.packed: " in printed
    assert "1 written now, 0 there already." in printed
    assert "Largest rounding error: " in printed
    assert "1 files are neither .npy nor .npz and were left out, such as readme.txt." in printed
    assert "Use it: --data.features loose.packed\n" in printed
    assert PackedFolder(tmp_path / "loose.packed").grid == GRID
    main([*words, *grid])
    assert "0 written now, 1 there already." in capsys.readouterr().out
    main(["pack", "--verify", f"{loose}.packed"])
    assert "10 arrays, 1 shards, " in capsys.readouterr().out


def test_command_names_damage(loose, tmp_path):
    pack(loose, tmp_path / "out")
    path = tmp_path / "out" / shard_name(4)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(SystemExit, match=r"^davezoo pack: Expected right checksums.*\n  v7\.npy: "):
        main(["pack", "--verify", str(tmp_path / "out")])


@pytest.mark.parametrize(
    "words", [[], ["--features=x", "--verify=y"], ["--features=x", "--data.root=y"]]
)
def test_command_wants_one_thing_to_do(words):
    with pytest.raises(SystemExit, match=r"^davezoo pack: Expected one of `--data`, `--features`"):
        main(["pack", *words])


def test_data_file_on_the_command_line(folder, capsys):
    folder.add("a")
    main(["pack", "--data", "data/unav100.yaml", "--data.root", str(folder.root)])
    assert "Packed 3 arrays of 3 files" in capsys.readouterr().out
    assert PackedFolder(folder.root / "av_features.packed").grid == GRID


def test_features_in_the_root_itself_are_packed_below_it(folder, capsys):
    """What lies beside the root would not be found by the setting that the command prints."""
    folder.add("a")
    root = f"--data.root={folder.root}"
    main(["pack", "--data", "data/unav100.yaml", root, "--data.features=."])
    assert "Use it: --data.features features.packed\n" in capsys.readouterr().out
    names = PackedFolder(folder.root / "features.packed").names()
    assert names == {f"av_features/a_{kind}.npy" for kind in ("rgb", "flow", "vggish")}


# Through the data module --------------------------------------------------------------------------


@pytest.mark.parametrize("num_workers", [0, 1])
def test_batches_are_those_of_the_loose_files(folder, num_workers):
    for index in range(4):
        folder.add(f"v{index}", steps=30 + index)
    write_pack(folder.root / "av_features", folder.root / "packed", shard_bytes=1000)
    batches = {}
    for features in ("av_features", "packed"):
        datamodule = folder.open(features=features, num_workers=num_workers)
        datamodule.setup("fit")
        batches[features] = list(datamodule.train_dataloader())
    assert len(batches["packed"]) == 2
    for loose, packed in zip(batches["av_features"], batches["packed"], strict=True):
        assert loose.video_ids == packed.video_ids
        torch.testing.assert_close(loose.visual, packed.visual, rtol=0, atol=0)
        torch.testing.assert_close(loose.audio, packed.audio, rtol=0, atol=0)


def test_packed_features_are_read_on_the_grid_they_were_packed_with(folder):
    folder.add("a")
    words = ["pack", "--data=data/unav100.yaml", f"--data.root={folder.root}"]
    # Which modality is read when packing does not matter: the notes are about the files.
    main([*words, "--data.modalities=audio", "--data.audio_grid={fps: 25, stride: 4, window: 24}"])
    audio_grid = FeatureGrid(25, 4, 24)
    packed = PackedFolder(folder.root / "av_features.packed")
    assert (packed.grid, packed.audio_grid) == (GRID, audio_grid)
    own = {"features": "av_features.packed", "audio_grid": audio_grid}
    folder.dataset(**own, modalities="visual")
    for setting, other in (("grid", FeatureGrid(25, 16, 24)), ("audio_grid", None)):
        with pytest.raises(GridError, match=rf"`{setting}` to be .*stride=[48].* was packed, got"):
            folder.dataset(**own | {setting: other})


def test_a_video_that_is_not_packed_is_missing(folder):
    for index in range(3):
        folder.add(f"v{index}")
    write_pack(folder.root / "av_features", folder.root / "packed")
    folder.add("late")
    with pytest.raises(ValueError, match=r"1 of 4 videos.*\n  'late': no late_flow.npy"):
        folder.dataset(features="packed")


def test_real_features(shared, tmp_path):
    source = shared / "data" / "features"
    write_pack(source, tmp_path / "out", "float16", shard_bytes=2**20)
    loose, packed = LooseFolder(source), PackedFolder(tmp_path / "out")
    for member in ("rgb_24_24_25", "vggish"):
        name = f"v_GGSY1Qvo990_i3d_vggish.npz:{member}"
        expected = loose.open(name)[:].astype(np.float16)
        np.testing.assert_array_equal(packed.open(name), expected)
    assert verify(tmp_path / "out").faults == {}
