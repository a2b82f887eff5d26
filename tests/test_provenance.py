"""What a score came from: settings, seed, commit, device."""

import json
import subprocess
from pathlib import Path

import pytest
import torch

from davezoo import UnAV
from davezoo.cli import main
from davezoo.evaluation.run_results import RunResult
from davezoo.provenance import changed_settings, commit_of, device_name, read_training

DATA = {"class_names": ["a", "b"], "visual_width": 8, "audio_width": 4, "max_length": 32}


def make_model(**settings: object) -> UnAV:
    with torch.device("meta"):
        return UnAV(**DATA, width=16, **settings)  # type: ignore[arg-type]


def test_settings_that_are_not_the_defaults() -> None:
    assert changed_settings(make_model()) == ["width"]
    changed = changed_settings(
        make_model(learning_rate=1e-3, nms={"sigma": 0.5}, modalities="audio", dependency=True)
    )
    assert changed == ["learning_rate", "modalities", "nms.sigma", "width"]


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    command = ["git", "-C", str(folder), *who, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_commit_is_that_of_the_tracked_code(tmp_path: Path) -> None:
    package = tmp_path / "code"
    package.mkdir()
    (package / "__init__.py").touch()
    assert commit_of(package) is None  # no checkout
    git(tmp_path, "init", "-q")
    assert commit_of(package) is None  # a checkout of something else, as around an environment
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert commit_of(package) == commit
    (package / "notes.txt").touch()
    assert commit_of(package) == commit
    (package / "__init__.py").write_text("changed = 1")
    assert commit_of(package) == f"{commit}+changes"


def test_device_has_a_name() -> None:
    assert device_name(torch.device("cpu")).startswith("cpu (")


@pytest.mark.parametrize(
    ("text", "content"), [("seed_everything: 3", {"seed_everything": 3}), ("[", None), ("1", None)]
)
def test_training_lies_beside_the_checkpoints(
    tmp_path: Path, text: str, content: dict[str, object] | None
) -> None:
    (tmp_path / "config.yaml").write_text(text)
    assert read_training(tmp_path / "checkpoints/best.ckpt") == content
    assert read_training(tmp_path / "elsewhere/best.ckpt") is None
    assert read_training(tmp_path / "run/checkpoints/best.ckpt") is None


def test_runs_say_where_their_score_came_from(tmp_path: Path) -> None:
    """After a training and by the checkpoint alone: the same but for where and when."""
    words = ["--data.batch_size=2", "--data.simulation.num_train=2"]
    words += ["--data.simulation.num_validation=1", "--data.simulation.num_test=2"]
    words += ["--data.simulation.max_duration=15", "--data.num_workers=0", "--data.seed=5"]
    words += ["--model.width=16", "--model.head_width=16", "--trainer.accelerator=cpu"]
    words += ["--trainer.max_epochs=1", "--trainer.enable_progress_bar=false"]
    words += [f"--data.root={tmp_path}/data", f"--trainer.default_root_dir={tmp_path}/run"]
    main(["fit", "--config=quickstart.yaml", "--seed_everything=7", *words])
    first = RunResult.read(tmp_path / "run/run.json")
    main(
        [
            "test",
            f"--ckpt_path={tmp_path}/run/checkpoints/best.ckpt",
            "--trainer.accelerator=cpu",
            "--trainer.enable_progress_bar=false",
            f"--output={tmp_path}/again/detections.json",
        ]
    )
    again = RunResult.read(tmp_path / "again/run.json")
    assert first.result == again.result
    assert json.loads((tmp_path / "run/result.json").read_text()) == first.result.to_dict()
    assert (first.method, first.seed, first.data_seed, first.best_epoch) == ("UnAV", 7, 5, 0)
    assert first.simulated
    assert "simulated" in first.notes[0]
    assert {"head_width", "learning_rate", "width"} <= set(first.changed)
    assert first.settings["model"]["width"] == 16
    assert first.training is not None
    assert first.training["trainer"]["max_epochs"] == 1
    assert 0 < first.layer_parameters < first.parameters
    assert first.layer_macs > 0
    assert first.versions.keys() == {"davezoo", "torch", "lightning", "numpy", "python"}
    main(["leaderboard", str(tmp_path / "run"), str(tmp_path / "again")])  # one system
    ours, theirs = first.to_dict(), again.to_dict()
    for entry in (ours, theirs):
        del entry["written"]
        del entry["settings"]["data"]["simulation"]  # which a test never makes
    assert ours == theirs
