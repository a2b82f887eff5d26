"""The training commands from the outside: as a user runs them, on simulated data."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from lightning import Callback, LightningModule, Trainer

import davezoo
from davezoo.cli import main
from davezoo.recipes import find_recipe, read_data_settings

# Seconds on one core: a few videos, a narrow network.
SMALL = [
    "--data.batch_size=4",
    "--data.num_workers=0",
    "--data.simulation.num_train=8",
    "--data.simulation.num_validation=3",
    "--data.simulation.num_test=4",
    "--data.simulation.max_duration=15",
    "--model.init_args.width=16",
    "--model.init_args.head_width=16",
    "--model.init_args.drop_path=0.1",
    "--trainer.accelerator=cpu",
    "--trainer.log_every_n_steps=1",
    "--trainer.enable_progress_bar=false",
]


class StopAfterTwo(Callback):
    """End a run after its second epoch although its schedule is longer."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ask the trainer to stop."""
        trainer.should_stop = trainer.current_epoch == 1


class Interrupt(Callback):
    """Press Ctrl-C in the middle of the second epoch."""

    def on_train_batch_end(self, trainer: Trainer, *_: object, **__: object) -> None:
        """Interrupt after the first batch of the second epoch."""
        if trainer.global_step == 3:
            raise KeyboardInterrupt


class InterruptStep(Callback):
    """Press Ctrl-C within a training step, when some of it is done."""

    def on_before_zero_grad(self, trainer: Trainer, *_: object) -> None:
        """Interrupt between the forward and the backward pass of the fourth step."""
        if trainer.global_step == 3:
            os.kill(os.getpid(), signal.SIGINT)


class InterruptValidation(Callback):
    """Press Ctrl-C in the validation of the second epoch."""

    def on_validation_batch_end(self, trainer: Trainer, *_: object, **__: object) -> None:
        """Interrupt after a batch."""
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the simulated data that the runs share."""
    return tmp_path_factory.mktemp("data") / "simulated"


def fit(root: Path, run: Path, *words: str) -> None:
    folder = [f"--data.root={root}", f"--trainer.default_root_dir={run}"]
    main(["fit", "--config", "quickstart.yaml", *SMALL, *folder, *words])


@pytest.fixture(scope="module")
def run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two epochs."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    fit(root, folder, "--trainer.max_epochs=2")
    return folder


WHOLE = ["--trainer.max_epochs=3", "--test_after_fit=false"]


@pytest.fixture(scope="module")
def whole(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs that nothing interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    fit(root, folder, *WHOLE)
    return folder


def state(path: Path) -> dict[str, object]:
    return torch.load(path, weights_only=True)


def scores(folder: Path) -> dict[str, object]:
    return json.loads((folder / "result.json").read_text())


def test_fit_leaves_what_it_says(run: Path) -> None:
    written = {path.name for path in run.iterdir()}
    assert {"checkpoints", "config.yaml", "metrics.csv", "detections.json"} <= written
    assert {"result.json", "report.html"} <= written
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["init_args"]["width"] == 16
    assert config["trainer"]["gradient_clip_val"] == 1.0  # from base.yaml
    with (run / "metrics.csv").open() as file:
        logged = set(next(csv.reader(file)))
    assert {"train/loss", "train/loss_cls", "train/loss_reg", "val/avg_map", "val/map_50"} <= logged
    report = (run / "report.html").read_text()
    assert "simulated" in report


def test_config_of_a_run_starts_the_same_run(run: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    main(["fit", "--config", str(run / "config.yaml"), f"--trainer.default_root_dir={again}"])
    ours, theirs = state(run / "checkpoints/last.ckpt"), state(again / "checkpoints/last.ckpt")
    assert equal(ours, theirs)


def equal(ours: dict[str, object], theirs: dict[str, object]) -> bool:
    """Compare trained weights, their average and the state of the optimiser bit by bit."""
    for key in ("state_dict", "current_model_state"):
        one, other = ours[key], theirs[key]
        assert isinstance(one, dict)
        assert isinstance(other, dict)
        assert one.keys() == other.keys()
        if not all(torch.equal(one[name], other[name]) for name in one):
            return False
    moments = [x["optimizer_states"][0]["state"] for x in (ours, theirs)]  # type: ignore[index]
    return all(
        torch.equal(moments[0][i][name], moments[1][i][name])
        for i in moments[0]
        for name in ("exp_avg", "exp_avg_sq", "step")
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_resumed_run_equals_an_unbroken_one(
    root: Path, whole: Path, tmp_path: Path, workers: int
) -> None:
    words = [*WHOLE, f"--data.num_workers={workers}"]
    # The same schedule, stopped after the second epoch as by a lost machine.
    fit(root, tmp_path / "broken", *words, "--trainer.callbacks+=tests.test_training.StopAfterTwo")
    broken = state(tmp_path / "broken/checkpoints/last.ckpt")
    unbroken = state(whole / "checkpoints/last.ckpt")
    assert not equal(broken, unbroken)
    fit(root, tmp_path / "broken", *words, "--ckpt_path=last")
    assert equal(state(tmp_path / "broken/checkpoints/last.ckpt"), unbroken)
    assert (tmp_path / "broken/metrics.part1.csv").is_file()


@pytest.mark.parametrize(("callback", "step"), [("Interrupt", 3), ("InterruptStep", 4)])
def test_interrupted_run_equals_an_unbroken_one(
    root: Path, whole: Path, tmp_path: Path, callback: str, step: int
) -> None:
    with pytest.raises(SystemExit):
        fit(root, tmp_path / "cut", *WHOLE, f"--trainer.callbacks+=tests.test_training.{callback}")
    assert state(tmp_path / "cut/checkpoints/last.ckpt")["global_step"] == step
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    fit(root, tmp_path / "cut", *WHOLE, "--ckpt_path=last")
    unbroken = state(whole / "checkpoints/last.ckpt")
    assert equal(state(tmp_path / "cut/checkpoints/last.ckpt"), unbroken)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
# The resumed run may end within an epoch, before anything was validated.
@pytest.mark.filterwarnings("ignore:.*could not find the monitored key")
@pytest.mark.slow
def test_signals_leave_a_usable_checkpoint(root: Path, tmp_path: Path, number: int) -> None:
    words = ["--trainer.max_epochs=500", "--test_after_fit=false", f"--data.root={root}"]
    words += [f"--trainer.default_root_dir={tmp_path}/run"]
    command = [sys.executable, "-m", "davezoo", "fit", "--config", "quickstart.yaml", *SMALL]
    here = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, *words], env=here, stderr=subprocess.PIPE, text=True)
    last = tmp_path / "run/checkpoints/last.ckpt"
    deadline = time.monotonic() + 120
    while not last.is_file() and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "go on with --ckpt_path" in errors
    step = state(last)["global_step"]
    assert isinstance(step, int)
    fit(root, tmp_path / "run", "--ckpt_path=last", f"--trainer.max_steps={step + 2}")
    assert state(last)["global_step"] == step + 2


def test_checkpoint_needs_no_recipe(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`test --ckpt_path` alone gives the score that fit ended with, and writes the same files."""
    best = run / "checkpoints/best.ckpt"
    output = tmp_path / "out/detections.json"
    main(["test", f"--ckpt_path={best}", f"--output={output}", "--data.num_workers=0"])
    assert scores(output.parent) == scores(run)
    assert output.read_bytes() == (run / "detections.json").read_bytes()
    printed = capsys.readouterr().out
    assert "4 videos expected, 4 scored, 0 missing" in printed
    assert "simulated" in printed
    assert (output.parent / "report.html").is_file()


def test_predict_writes_what_test_writes(run: Path, tmp_path: Path) -> None:
    best, output = run / "checkpoints/best.ckpt", tmp_path / "p.json"
    words = ["predict", "--ckpt_path", str(best), "--output", str(output), "--pictures=2"]
    main([*words, "--data.num_workers=0"])
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 2
    assert json.loads(output.read_text()) == json.loads((run / "detections.json").read_text())


def test_predict_tells_of_videos_without_audio(
    run: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(root / "av_features", tmp_path / "av_features")
    sorted((tmp_path / "av_features").glob("*_vggish.npy"))[0].unlink()
    words = ["predict", f"--ckpt_path={run}/checkpoints/best.ckpt", f"--data.root={tmp_path}"]
    words += ["--data.annotations=null", "--data.allow_missing_audio=true", "--data.num_workers=0"]
    main([*words, f"--output={tmp_path}/p.json"])
    assert "1 videos of test have no audio." in capsys.readouterr().out


def test_predicted_labels_are_the_names_of_the_model(run: Path, root: Path, tmp_path: Path) -> None:
    content = json.loads((root / "annotations/unav100_annotations.json").read_text())
    for entry in content["database"].values():  # data whose only class the model does not know
        del entry["annotations"][1:]
        entry["annotations"][0] |= {"label": "zebra", "label_id": 0}
    (tmp_path / "other.json").write_text(json.dumps(content))
    best, output = run / "checkpoints/best.ckpt", tmp_path / "p.json"
    words = ["predict", f"--ckpt_path={best}", f"--output={output}", "--data.num_workers=0"]
    main([*words, f"--data.annotations={tmp_path}/other.json"])
    assert json.loads(output.read_text()) == json.loads((run / "detections.json").read_text())


def test_written_detections_score_the_same(run: Path, root: Path, tmp_path: Path) -> None:
    annotations = root / "annotations/unav100_annotations.json"
    files = [f"--predictions={run}/detections.json", f"--annotations={annotations}"]
    main(["evaluate", *files, "--protocol=unav100", f"--output={tmp_path}/result.json"])
    assert scores(tmp_path) == scores(run)


def test_options_overrule_the_checkpoint(run: Path, tmp_path: Path) -> None:
    best, output = run / "checkpoints/best.ckpt", tmp_path / "p.json"
    words = [f"--ckpt_path={best}", f"--output={output}", "--data.num_workers=0"]
    main(["predict", *words, "--model.init_args.nms.max_events=3"])
    found = json.loads(output.read_text())["results"]
    assert {len(events) for events in found.values()} == {3}


def test_validate_prints_the_score(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["validate", f"--ckpt_path={run}/checkpoints/best.ckpt", "--data.num_workers=0"])
    assert "split validation: 3 videos expected" in capsys.readouterr().out


def test_checkpoint_of_other_classes_is_refused(run: Path, tmp_path: Path) -> None:
    main(
        [
            "simulate",
            f"--output={tmp_path}/other",
            "--num_classes=3",
            "--rgb_width=64",
            "--flow_width=64",
            "--vggish_width=32",
            "--num_train=1",
            "--num_validation=1",
        ]
    )
    words = [f"--data.root={tmp_path}/other", "--data.num_workers=0"]
    with pytest.raises(SystemExit, match=r"davezoo test: .* 3 classes .* for a model of 5"):
        main(["test", f"--ckpt_path={run}/checkpoints/best.ckpt", *words])


def test_refused_resume_leaves_the_earlier_run_alone(run: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    words = ["--data.simulation.num_classes=3", f"--trainer.default_root_dir={run}"]
    with pytest.raises(SystemExit, match=r"3 classes .* for a model of 5"):
        main(
            [
                "fit",
                "--config=quickstart.yaml",
                *SMALL,
                *words,
                "--ckpt_path=last",
                f"--data.root={tmp_path}/other",
            ]
        )
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_mistyped_root_is_not_simulated(run: Path, tmp_path: Path) -> None:
    words = [f"--data.root={tmp_path}/typo", "--data.num_workers=0"]
    with pytest.raises(SystemExit, match="typo"):
        main(["test", f"--ckpt_path={run}/checkpoints/best.ckpt", *words])
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK truncated"])
@pytest.mark.parametrize("command", ["fit", "test"])
def test_bad_checkpoint_is_one_message(
    command: str, content: bytes, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.ckpt").write_bytes(content)
    words = [f"--data.root={root}", f"--ckpt_path={tmp_path}/bad.ckpt"]
    words += [f"--trainer.default_root_dir={tmp_path}/run"]
    with pytest.raises(SystemExit, match=rf"davezoo {command}: .*bad\.ckpt.*again"):
        main([command, "--config=quickstart.yaml", *SMALL, *words])


def test_last_is_looked_for_in_the_named_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--ckpt_path=last", f"--trainer.default_root_dir={run}", "--data.num_workers=0"]
    main(["validate", *words])
    assert "3 videos expected" in capsys.readouterr().out


def test_what_is_there_is_told_before_training(
    run: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Printed, and kept in the run folder with all names."""
    kept = json.loads((run / "manifest.json").read_text())
    counts = {split["split"]: (split["videos"], split["usable"]) for split in kept["splits"]}
    assert counts == {"train": (8, 8), "validation": (3, 3), "test": (4, 4)}
    fit(root, tmp_path / "run", "--trainer.max_epochs=1", "--test_after_fit=false")
    printed = capsys.readouterr().out
    assert re.search(r"^train +fit +8 +8", printed, re.MULTILINE)
    assert "validation" in printed
    assert f"Data in {root}" in printed


@pytest.mark.parametrize("modality", ["audio", "visual"])
def test_one_modality_is_the_choice_of_the_data(modality: str, root: Path, tmp_path: Path) -> None:
    words = [f"--data.modalities={modality}", "--trainer.max_epochs=1", "--test_after_fit=false"]
    fit(root, tmp_path / "run", *words)
    best = tmp_path / "run/checkpoints/best.ckpt"
    assert list(davezoo.load(best).detector.streams) == [modality]
    main(["test", f"--ckpt_path={best}", "--data.num_workers=0", f"--output={tmp_path}/d.json"])
    with pytest.raises(SystemExit, match=r"davezoo fit: .*use --data\.modalities"):
        fit(root, tmp_path / "other", f"--model.modalities={modality}")


def test_data_file_on_the_command_line_replaces_the_data_wholly(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--data", "data/thumos14.yaml", "--config=schedules/thumos14.yaml"]
    with pytest.raises(SystemExit):
        main(["fit", "--config=quickstart.yaml", *words, "--data.root=DIR", "--print_config"])
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["data"] == read_data_settings("thumos14") | {"root": "DIR"}
    assert printed["model"]["init_args"]["attention_window"] == 19
    assert printed["model"]["init_args"]["width"] == 64  # of the quickstart
    assert printed["trainer"]["max_epochs"] == 35


def test_copied_recipe_runs_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Path(find_recipe("unav.yaml")).read_text()
    (tmp_path / "unav.yaml").write_text(text.replace("learning_rate: 1.0e-4", "learning_rate: 7.0"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["fit", "--config", "unav.yaml", "--print_config"])
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["model"]["init_args"]["learning_rate"] == 7.0
    assert printed["data"]["visual_width"] == 2048


@pytest.mark.parametrize(
    "words",
    [
        ["--trainer.precision=bf16-mixed"],
        ["--trainer.logger=false"],
        ["--trainer.max_epochs=-1", "--trainer.max_steps=3"],
        ["--trainer.accumulate_grad_batches=2"],
        ["--model.init_args.regression_loss=smooth_l1"],
    ],
    ids=lambda words: words[-1],
)
def test_options_that_change_training(words: list[str], root: Path, tmp_path: Path) -> None:
    fit(root, tmp_path / "run", "--trainer.max_epochs=1", "--test_after_fit=false", *words)
    assert (tmp_path / "run/checkpoints/last.ckpt").is_file()


@pytest.mark.usefixtures("run")  # has the data simulated
def test_long_videos_are_read_in_chunks(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of CCNet, whose weights have the length of a batch: 32 steps, and one test video has 33."""
    cut = tmp_path / "cut"
    shutil.copytree(root, cut)
    for path in (cut / "av_features").glob("*.npy"):
        np.save(path, np.load(path)[:32])
    longer = sorted((cut / "av_features").glob("test_*_rgb.npy"))[-1]
    video = longer.name.removesuffix("_rgb.npy")
    for path in (cut / "av_features").glob(f"{video}_*.npy"):
        np.save(path, np.pad(np.load(path), ((0, 1), (0, 0))))
    recipe = yaml.safe_load(Path(find_recipe("quickstart.yaml")).read_text())
    settings = {"width": 16, "head_width": 16, "dependency_width": 8}
    recipe["model"] = {"class_path": "davezoo.CCNet", "init_args": settings}
    recipe["data"] |= {"root": str(cut), "simulation": None, "max_length": 32, "batch_size": 4}
    # A coarser grid, on which 32 steps last as long as the videos of 15 s.
    recipe["data"] |= {"num_workers": 0, "grid": {"fps": 25, "stride": 11, "window": 24}}
    (tmp_path / "ccnet.yaml").write_text(yaml.safe_dump(recipe))
    words = [f"--config={tmp_path}/ccnet.yaml", f"--trainer.default_root_dir={tmp_path}/run"]
    words += ["--trainer.max_epochs=1", "--trainer.accelerator=cpu"]
    with caplog.at_level("INFO"):
        main(["fit", *words])
    assert re.search(r"1 of \d+ videos are longer than 32 steps", caplog.text)
    found = json.loads((tmp_path / "run/detections.json").read_text())
    assert found["results"][video]


def test_diverged_training_stops(root: Path, tmp_path: Path) -> None:
    words = ["--model.init_args.learning_rate=1e30", "--trainer.gradient_clip_val=0"]
    with pytest.raises(SystemExit, match="diverged"):
        fit(root, tmp_path / "run", "--trainer.max_epochs=3", *words)


def test_run_stopped_while_validating_equals_an_unbroken_one(
    root: Path, whole: Path, tmp_path: Path
) -> None:
    """The epoch is done again, so that its score is not lost and the same epoch is the best."""
    stop = "--trainer.callbacks+=tests.test_training.InterruptValidation"
    with pytest.raises(SystemExit):
        fit(root, tmp_path / "cut", *WHOLE, stop)
    fit(root, tmp_path / "cut", *WHOLE, "--ckpt_path=last")
    for name in ("last", "best"):
        one, other = (state(run / f"checkpoints/{name}.ckpt") for run in (whole, tmp_path / "cut"))
        assert one["epoch"] == other["epoch"]
        assert equal(one, other)


def test_skipped_videos_are_named_beside_the_score(
    root: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(root, damaged)
    files = sorted((damaged / "av_features").glob("test_*_rgb.npy"))
    files[0].write_bytes(b"")
    best = f"--ckpt_path={run}/checkpoints/best.ckpt"
    words = [best, f"--data.root={damaged}", "--data.num_workers=0"]
    with pytest.raises(SystemExit, match=r"(?s)1 of 4 videos .*test_.*_rgb\.npy"):
        main(["test", *words])
    with pytest.warns(UserWarning, match="1 of 4 videos"):
        main(["test", *words, "--data.skip_unreadable=true", f"--output={tmp_path}/d.json"])
    printed = capsys.readouterr().out
    assert "4 videos expected, 3 scored, 1 missing" in printed
    assert "1 videos of test were skipped and count as missed" in printed


def test_nan_in_a_file_is_one_message(root: Path, run: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(root, damaged)
    path = sorted((damaged / "av_features").glob("test_*_rgb.npy"))[0]
    array = np.load(path)
    array[0] = np.nan
    np.save(path, array)
    best = f"--ckpt_path={run}/checkpoints/best.ckpt"
    words = [best, f"--data.root={damaged}", "--data.num_workers=1"]
    with pytest.raises(SystemExit, match=r"^davezoo test: Expected .*_rgb\.npy"):
        main(["test", *words])


def test_unknown_key_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--config", "quickstart.yaml", "--model.init_args.learnig_rate=1e-3"])
    assert "learnig_rate" in capsys.readouterr().err


def test_print_config_shows_the_merged_truth(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--config", "unav.yaml", "--print_config"])
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["data"]["max_length"] == 224
    kinds = [x["class_path"].rpartition(".")[2] for x in printed["trainer"]["callbacks"]]
    assert kinds == ["ModelCheckpoint", "ModelCheckpoint", "LearningRateMonitor", "EMA"]


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_help_names_our_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert "--data.skip_unreadable" in printed
    assert "--output" in printed


@pytest.mark.slow
def test_two_processes_score_as_one(run: Path, tmp_path: Path) -> None:
    """The sampler of two processes repeats a video here and there; each counts once."""
    words = [f"--ckpt_path={run}/checkpoints/best.ckpt", "--data.num_workers=0"]
    words += ["--data.test_split=validation", "--trainer.accelerator=cpu"]  # three videos
    main(["test", *words, f"--output={tmp_path}/one/detections.json"])
    two = ["--trainer.devices=2", "--trainer.strategy=ddp"]
    two += [f"--output={tmp_path}/two/detections.json"]
    command = [sys.executable, "-m", "davezoo", "test", *words, *two]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=120)
    for name in ("detections.json", "result.json"):
        one, both = (tmp_path / folder / name for folder in ("one", "two"))
        assert one.read_bytes() == both.read_bytes()
