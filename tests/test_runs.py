"""Run folders."""

import os
from pathlib import Path

import pytest
from jsonargparse import Namespace

from davezoo.evaluation.run_results import RunResult
from davezoo.runs import (
    draw_timelines,
    find_checkpoint,
    keep_earlier_log,
    new_run_folder,
    write_into,
    write_test_results,
)
from tests.evaluation.tables import make_annotations, make_predictions
from tests.leaderboards.runs import make_run


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


@pytest.mark.parametrize(("name", "prefix"), [("detections", ""), ("mine", "mine_")])
def test_files_of_a_test_lie_side_by_side(tmp_path: Path, name: str, prefix: str) -> None:
    detections = tmp_path / f"{name}.json"
    table = make_predictions([("v", 0, (0, 8), 1)])
    run = make_run()
    files = write_test_results(detections, table, run, make_annotations([("v", 0, (0, 9))]), "T")
    names = [f"{name}.json", *(prefix + x for x in ("result.json", "report.html", "run.json"))]
    assert [path.name for path in files] == names
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    assert RunResult.read(files[3]) == run
    page = files[2].read_text(encoding="utf-8")
    assert "Correctly localized events by duration" in page
    assert page.count("data:image/svg+xml;base64,") == 5  # of one class none is taken for another


def test_result_of_an_earlier_test_does_not_outlive_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.json").touch()
    monkeypatch.setattr("davezoo.runs.write_predictions", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_test_results(
            tmp_path / "detections.json",
            make_predictions([]),
            make_run(),
            make_annotations([("v", 0, (0, 9))]),
            "T",
        )
    assert not (tmp_path / "run.json").exists()


def test_pictures_of_videos_lie_in_their_folder(tmp_path: Path) -> None:
    """Without a duration the last event ends the picture."""
    videos = ["v", "-a$b$", "x y"]
    annotations = make_annotations([("-a$b$", 0, (0, 9))], videos)
    annotations.videos["duration"] = float("nan")
    table = make_predictions([("v", 0, (0, 8), 1)], videos)
    paths = list(draw_timelines(tmp_path / "deep" / "pictures", table, annotations, 3))
    assert [path.name for path in paths] == ["v.png", "-a$b$.png", "x y.png"]
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(paths)


def test_loggers_write_into_the_run_folder_unless_told_where(tmp_path: Path) -> None:
    folder = tmp_path / "runs/loco/now"

    def settings(kind: str, **init_args: str | None) -> Namespace:
        return Namespace(class_path=f"lightning.loggers.{kind}", init_args=Namespace(**init_args))

    wandb = settings("WandbLogger", save_dir=".", name=None)
    named = settings("WandbLogger", save_dir="elsewhere", name="mine")
    board = settings("TensorBoardLogger", save_dir=None, name="logs")
    other = settings("CometLogger", name=None)
    write_into(folder, [wandb, named, board, other])
    assert wandb.init_args == Namespace(save_dir=str(folder), name="loco/now")
    assert named.init_args == Namespace(save_dir="elsewhere", name="mine")
    assert board.init_args == Namespace(save_dir=str(folder), name="logs")
    assert other.init_args == Namespace(name=None)
    assert folder.is_dir()  # W&B would write elsewhere without it
    for nothing in (None, True, False, []):
        write_into(folder, nothing)
