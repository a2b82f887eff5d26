"""Run folders."""

import os
from pathlib import Path

import pytest

from davezoo.runs import find_checkpoint, keep_earlier_log, new_run_folder


def checkpoint(folder: Path, name: str, age: int) -> Path:
    path = folder / "checkpoints" / f"{name}.ckpt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (1000 - age, 1000 - age))
    return path


def test_newest_checkpoint_is_found(tmp_path: Path) -> None:
    checkpoint(tmp_path / "a", "last", age=5)
    newest = checkpoint(tmp_path / "b", "last", age=1)
    checkpoint(tmp_path / "c", "best", age=0)
    assert find_checkpoint(tmp_path.glob("*"), "last") == newest


def test_no_checkpoint_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"--trainer\.default_root_dir"):
        find_checkpoint([tmp_path], "last")
    with pytest.raises(FileNotFoundError, match="no run folder"):
        find_checkpoint([], "last")


def test_two_runs_of_one_second_do_not_share_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.strftime", lambda _: "now")
    monkeypatch.setenv("DAVEZOO_RUN", "")
    first = new_run_folder(tmp_path)
    first.mkdir()
    assert new_run_folder(tmp_path) == tmp_path / "now_2"


def test_processes_of_a_run_share_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAVEZOO_RUN", "")
    first = new_run_folder(tmp_path)
    first.mkdir()
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert new_run_folder(tmp_path) == first


def test_earlier_logs_are_kept(tmp_path: Path) -> None:
    keep_earlier_log(tmp_path)
    for text in ("first", "second"):
        (tmp_path / "metrics.csv").write_text(text)
        keep_earlier_log(tmp_path)
    assert (tmp_path / "metrics.part1.csv").read_text() == "first"
    assert (tmp_path / "metrics.part2.csv").read_text() == "second"
    assert not (tmp_path / "metrics.csv").exists()
