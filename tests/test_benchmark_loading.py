"""The benchmark of loading, at a toy size."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import loading
from benchmarks.record import check_record, measure


@pytest.fixture
def _restored() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.usefixtures("_restored")
def test_quick_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "REAL", tmp_path / "absent")
    words = "loading --quick --max_videos 20 --repeats 1 --workers 0 --data"
    monkeypatch.setattr(
        "sys.argv", [*words.split(), str(tmp_path / "data"), "--folder", str(tmp_path)]
    )
    loading.main()
    (path,) = tmp_path.rglob("loading--*.json")
    record = json.loads(path.read_text())
    check_record(record, path)
    names = [m["name"] for m in record["measurements"]]
    assert names == [
        *(
            f"{what}, {way}, {temperature}"
            for what in ("read", "epoch, 0 workers", "start-up")
            for temperature in ("cold", "warm")
            for way in ("loose", "packed")
        ),
        "load a batch",
        "training step",
    ]
    assert len(record["ratios"]) == 7
    problems = {m["name"]: m["problem"] for m in record["measurements"]}
    assert "20 simulated videos" in problems["read, loose, cold"]
    assert problems["read, packed, warm"].endswith("0 % of the bytes from the disk")


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="needs posix_fadvise")
def test_forgotten_files_are_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.ones(2**20))
    os.sync()
    loading.forget(tmp_path)
    reads = loading.DiskReads(path.stat().st_size)
    for name in ("cold", "warm"):
        reads.begin(name)
        np.load(path)
        reads.end()
    if not reads.shares["cold"][0]:
        pytest.skip(f"the files of {tmp_path} lie in memory, not on a disk")
    assert reads.describe("warm") == "0 % of the bytes from the disk"
    assert reads.shares["cold"][0] > 0.9


def test_preparation_is_not_timed() -> None:
    calls: list[str] = []
    functions = {name: (lambda name=name: calls.append(name)) for name in "ab"}
    measure(
        functions, "nothing", repeats=1, warm_up=1, prepare=lambda name: calls.append(f"-{name}")
    )
    assert calls == ["-a", "a", "-b", "b"] * 2
