"""Dashboards: a short run offline, read back from W&B's own file and from the run folder."""

import csv
import json
import math
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
import wandb
import yaml
from lightning.pytorch.loggers import TensorBoardLogger

from davezoo.cli import main
from davezoo.dashboards import Dashboard, learned_values, log_pictures
from davezoo.errors import InputError
from davezoo.evaluation.plots import timeline
from davezoo.evaluation.run_results import RunResult
from davezoo.leaderboards.groups import _WATCHING as WATCHING
from davezoo.methods.loco import LoCoDetector
from davezoo.structures import ONE_PEACE_GRID, Batch
from tests.wandb_file import LoggedRun

# Seconds on one core: a few videos, a narrow network.
SMALL = [
    "--data.batch_size=4",
    "--data.num_workers=0",
    '--data.visual_files=["{video}_rgb.npy", "{video}_flow.npy"]',
    '--data.audio_files=["{video}_vggish.npy"]',
    "--data.annotations=annotations/unav100_annotations.json",
    "--data.features=av_features",
    "--data.grid={fps: 25, stride: 8, window: 24}",
    "--data.audio_grid=null",
    "--data.visual_width=16",
    "--data.audio_width=8",
    '--data.simulation={"num_train": 8, "num_validation": 3, "num_test": 2, "rgb_width": 8, '
    '"flow_width": 8, "vggish_width": 8, "max_duration": 15}',
    "--model.init_args.width=16",
    "--model.init_args.head_width=16",
    "--trainer.accelerator=cpu",
    "--trainer.log_every_n_steps=2",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]
LEVELS = range(6)
CHECKPOINT = "lightning.pytorch.callbacks.ModelCheckpoint"


def fit(recipe: str, root: Path, folder: Path, *words: str) -> None:
    places = [f"--data.root={root}", f"--trainer.default_root_dir={folder}"]
    main(["fit", "--config", recipe, "--config", "logger/wandb.yaml", *SMALL, *places, *words])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the simulated data that the runs share."""
    return tmp_path_factory.mktemp("data") / "simulated"


@pytest.fixture(scope="module", autouse=True)
def offline() -> None:
    """Without an account, and without a word."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_SILENT", "true")
        patch.setenv("WANDB_CONSOLE", "off")
        wandb.teardown()  # W&B reads the environment once, maybe in another test's time
        yield
    wandb.teardown()


def logged(folder: Path) -> LoggedRun:
    wandb.finish()
    (place,) = (folder / "wandb").glob("offline-run-*")
    deadline = time.monotonic() + 60
    while not (run := LoggedRun(place)).has_ended:  # W&B's own process writes the end a bit later
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return run


@pytest.fixture(scope="module")
def loco(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LoggedRun]:
    """A finished run of LoCo, tested, everything handed in."""
    folder = tmp_path_factory.mktemp("loco") / "run"
    everything = ["--test_after_fit=true", "--trainer.max_epochs=3"]
    own = [
        f"--trainer.callbacks.{name}" for name in ("every_n_epochs=2", "log_artifacts=true")
    ]  # the last callback of the list is the dashboard
    fit("loco.yaml", root, folder, *everything, *own)
    return folder, logged(folder)


@pytest.fixture(scope="module")
def history(loco: tuple[Path, LoggedRun]) -> LoggedRun:
    return loco[1]


def test_training_is_logged_at_every_second_step(history: LoggedRun) -> None:
    names = ["loss", "loss_cls", "loss_reg", "loss_correspondence", "grad_norm", "sigma", "tau"]
    names += [f"window_size_{stream}_{level}" for stream in ("visual", "audio") for level in LEVELS]
    for name in names:
        values = history.values(f"train/{name}")
        assert len(values) == 3, name  # two steps an epoch
        assert all(math.isfinite(value) and value > 0 for value in values), name
    assert len(history.values("lr-AdamW/pg1")) == 3
    sigma = history.values("train/sigma")
    assert sigma[0] != sigma[-1] == pytest.approx(1.0, abs=0.01)


def test_scores_have_the_epoch_as_their_axis(loco: tuple[Path, LoggedRun]) -> None:
    folder, run = loco
    names = ["avg_map", *(f"map_{percent}" for percent in range(10, 100, 10))]
    rows = [row for row in run.history if "val/avg_map" in row]
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert all(f"val/{name}" in row for name in [*names, "loss"] for row in rows)
    assert all(run.metrics[f"val/{name}"] == "epoch" for name in [*names, "loss"])
    assert all(run.metrics[f"best/{name}"] == "epoch" for name in [*names, "epoch"])
    with (folder / "metrics.csv").open() as file:
        written = [row for row in csv.DictReader(file) if row["val/avg_map"]]
    assert [float(row["val/avg_map"]) for row in written] == [row["val/avg_map"] for row in rows]


def test_best_epoch_is_followed(loco: tuple[Path, LoggedRun]) -> None:
    folder, run = loco
    scores = run.values("val/avg_map")
    best = [max(scores[: epoch + 1]) for epoch in range(3)]
    assert run.values("best/avg_map") == best
    epochs = [int(epoch) for epoch in run.values("best/epoch")]
    assert [scores[epoch] for epoch in epochs] == best
    with (folder / "metrics.csv").open() as file:  # the CSV log has it, too
        rows = [row for row in csv.DictReader(file) if row["best/avg_map"]]
    assert [float(row["best/avg_map"]) for row in rows] == best


def test_tables_of_some_epochs(loco: tuple[Path, LoggedRun]) -> None:
    folder, run = loco
    rows = [row for row in run.history if "val/classes" in row]
    assert [row["epoch"] for row in rows] == [0, 2]
    columns, data = run.table("val/classes")
    assert columns[:4] == ["class", "events", "AP", "AP@0.1"]
    mean = sum(row[2] for row in data) / len(data)
    assert mean / 100 == pytest.approx(run.values("val/avg_map")[2])
    file = pd.read_csv(folder / "dashboard/epoch_0002/classes.csv")
    assert file["class"].tolist() == [row[0] for row in data]
    columns, data = run.table("val/precision_recall_table")
    assert columns[:2] == ["recall", "tIoU 0.1"]
    assert len(data) == 101
    falling = [row[1] for row in data]
    assert falling == sorted(falling, reverse=True)


def test_pictures_are_the_same_videos(loco: tuple[Path, LoggedRun]) -> None:
    folder, run = loco
    for name in ["val/precision_recall", "val/video_0", "val/video_1", "val/video_2"]:
        pictures = run.values(name)
        assert len(pictures) == 2, name
        assert all((run.files / picture["path"]).is_file() for picture in pictures)
    assert len({picture["caption"] for picture in run.values("val/video_1")}) == 1
    names = [{path.name for path in folder.glob(f"dashboard/epoch_000{n}/*")} for n in (0, 2)]
    assert names[0] == names[1]
    assert len(names[0]) == 2 + 1 + 3


def test_config_result_and_artifacts(loco: tuple[Path, LoggedRun]) -> None:
    folder, run = loco
    assert run.config["config"] == yaml.safe_load((folder / "config.yaml").read_text())
    logger = run.config["config"]["trainer"]["logger"]["init_args"]
    assert (logger["save_dir"], logger["name"]) == (".", None)  # else another run would write here
    result = RunResult.read(run.files / "run.json")
    assert result == RunResult.read(folder / "run.json")
    assert result.seed == 0  # the configuration lies where it did without W&B
    names = [callback["class_path"] for callback in result.training["trainer"]["callbacks"]]
    assert set(names) - WATCHING == {CHECKPOINT, "davezoo.callbacks.EMA"}
    assert run.summary["test/avg_map"] == result.result.avg_map
    assert run.summary["test/map_50"] == result.result.map[4]
    assert [name.partition("-")[0] for name in run.artifacts] == ["detections", "model"]


@pytest.fixture(scope="module")
def standing(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LoggedRun]:
    """A finished run of DEL that learns nothing, validated every second epoch."""
    folder = tmp_path_factory.mktemp("del") / "run[1]"  # also the pattern of a run that is not
    words = ["--trainer.max_epochs=4", "--trainer.check_val_every_n_epoch=2"]
    words += ["--model.init_args.learning_rate=0", "--test_after_fit=true"]
    fit("del.yaml", root, folder, *words)
    return folder, logged(folder)


def test_del_logs_what_it_chose_and_keeps_its_files(standing: tuple[Path, LoggedRun]) -> None:
    _, run = standing
    for name in ("positives_visual", "negatives_visual", "positives_audio", "negatives_audio"):
        values = run.values(f"train/{name}")
        assert len(values) == 4
        assert min(values) >= 0
    assert run.values("train/positives_visual")[0] > 0
    assert run.values("train/sigma") == []
    assert run.artifacts == []  # off by default


def test_first_of_equal_epochs_is_the_best_as_for_the_checkpoint(
    standing: tuple[Path, LoggedRun],
) -> None:
    folder, run = standing
    first, second = run.values("val/avg_map")
    assert first == second
    assert run.values("best/epoch") == [1, 1]
    assert RunResult.read(folder / "run.json").best_epoch == 1


def test_pictures_come_where_few_epochs_are_validated(standing: tuple[Path, LoggedRun]) -> None:
    folder, _ = standing
    assert [path.name for path in (folder / "dashboard").iterdir()] == ["epoch_0001"]


def test_result_stays_with_the_run_that_is_synced_later(standing: tuple[Path, LoggedRun]) -> None:
    folder, run = standing
    assert not (run.files / "run.json").is_symlink()
    assert RunResult.read(run.files / "run.json") == RunResult.read(folder / "run.json")
    assert "run.json" in run.saved


def test_best_epoch_survives_an_interruption() -> None:
    first, second = Dashboard(), Dashboard()
    state = {"best": {"avg_map": 0.5, "epoch": 3.0}, "next_epoch": 5}
    first.load_state_dict(state)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second.state_dict() == state


def test_checkpoint_of_earlier_versions_has_pictures_due_at_once() -> None:
    dashboard = Dashboard()
    dashboard.load_state_dict({"best": {"avg_map": 0.5, "epoch": 3.0}})
    assert dashboard.state_dict() == {"best": {"avg_map": 0.5, "epoch": 3.0}, "next_epoch": 0}


def test_windows_of_padding_do_not_count() -> None:
    detector = LoCoDetector(
        4, 4, 3, max_length=32, width=8, head_width=8, num_heads=2, regression_ranges=[(0, 99)]
    )
    mask = torch.arange(32) < torch.tensor([[32], [9]])
    features = torch.randn(2, 4, 32)
    batch = Batch(
        visual=features,
        audio=features,
        mask=mask,
        segments=torch.zeros(2, 0, 2),
        labels=torch.zeros(2, 0, dtype=torch.long),
        video_ids=["a", "b"],
        durations=[9.0, 9.0],
        grids=[ONE_PEACE_GRID] * 2,
    )
    attention = detector.pyramid.block("visual", 0).attention
    torch.nn.init.normal_(attention.predictor.weight, std=0.5)
    detector.eval()
    detector(*batch.inputs)
    sizes = attention.windows.sizes  # (2, heads, 4): all four windows of a, two of b
    expected = torch.cat([sizes[0].flatten(), sizes[1, :, :2].flatten()]).mean()
    torch.testing.assert_close(learned_values(detector, batch)["window_size_visual_0"], expected)


@pytest.mark.parametrize("wrong", [{"every_n_epochs": 0}, {"num_videos": -1}])
def test_settings_out_of_range(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Dashboard(**wrong)


def test_without_an_account_one_message_names_the_way_out(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**settings: Any) -> None:
        raise wandb.errors.UsageError("No API key configured.")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(SystemExit, match=r"got: No API key configured\.; .*WANDB_MODE=offline"):
        fit("unav.yaml", root, tmp_path / "run", "--trainer.max_epochs=1")


class Board(TensorBoardLogger):
    """TensorBoard's logger without TensorBoard, which need not be installed."""

    def __init__(self) -> None:
        self.shown: list[tuple[Any, ...]] = []

    @property
    def experiment(self) -> Any:
        """What keeps the pictures."""
        return self

    def add_image(self, name: str, pixels: Any, step: int, dataformats: str) -> None:
        """Keep a picture."""
        self.shown.append((name, pixels.shape, step, dataformats))


def test_tensorboard_gets_the_pictures(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    timeline([], 10.0, path=path)
    board = Board()
    trainer: Any = SimpleNamespace(
        loggers=[board], is_global_zero=True, global_step=8, current_epoch=1
    )
    log_pictures(trainer, {"val/video_0": path})
    ((name, shape, step, order),) = board.shown
    assert (name, step, order) == ("val/video_0", 7, "HWC")
    assert shape[2] == 3
