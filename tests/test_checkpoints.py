"""Checkpoint files: what is refused, and that what is loaded is what was saved."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

import davezoo
from davezoo import UnAV
from davezoo.checkpoints import (
    CheckpointError,
    load,
    read_checkpoint,
    read_own_checkpoint,
    write_checkpoint,
)


@pytest.fixture
def model() -> UnAV:
    torch.manual_seed(0)
    return UnAV(["dog", "bell"], 6, 4, width=8, head_width=8, max_length=64, num_heads=2)


@pytest.fixture
def path(model: UnAV, tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "folder/x.ckpt", model, {"max_length": 64})
    return tmp_path / "folder/x.ckpt"


def test_loaded_model_predicts_the_same(model: UnAV, path: Path) -> None:
    rng = np.random.default_rng(0)
    visual, audio = rng.normal(size=(50, 6)), rng.normal(size=(48, 4)).astype(np.float16)
    loaded = davezoo.load(path)
    assert type(loaded) is UnAV
    assert not loaded.training
    assert loaded.settings == model.settings
    assert loaded.predict(visual, audio) == model.predict(visual, audio)
    assert loaded.predict(visual, audio)


def test_lightning_loads_it_too(model: UnAV, path: Path) -> None:
    loaded = UnAV.load_from_checkpoint(path, weights_only=True)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, loaded.state_dict()[name])


def test_average_or_trained_weights(model: UnAV, path: Path) -> None:
    content = read_checkpoint(path)
    content["current_model_state"] = {k: v + 1 for k, v in content["state_dict"].items()}
    torch.save(content, path)
    average = load(path).state_dict()["detector.heads.scales"]
    trained = load(path, weights="trained").state_dict()["detector.heads.scales"]
    assert torch.equal(trained, average + 1)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.ckpt"):
        load(tmp_path / "nowhere.ckpt")


@pytest.mark.parametrize("length", [0, 10, 1000])
def test_truncated(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=r"x\.ckpt.*again"):
        load(path)


@pytest.mark.parametrize("content", [b"abc", b"]q", b"\x80\x02K", b"text\n"])
def test_no_checkpoint_at_all(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.ckpt.*again"):
        load(path)


def test_code_is_not_run(tmp_path: Path) -> None:
    class Danger:
        def __reduce__(self) -> object:
            return Path.touch, (tmp_path / "run",)

    with (tmp_path / "x.ckpt").open("wb") as file:
        pickle.dump(Danger(), file, protocol=2)
    with pytest.raises(CheckpointError, match=r"x\.ckpt"):
        load(tmp_path / "x.ckpt")
    torch.save({"davezoo": {"method": Danger()}}, tmp_path / "y.ckpt")
    with pytest.raises(CheckpointError, match="does not run code"):
        load(tmp_path / "y.ckpt")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "dictionary, got list"),
        ({"state_dict": {}}, "davezoo convert"),
        ({"davezoo": {"method": "Trainer", "version": "9"}}, "davezoo 9"),
        ({"davezoo": {"method": "UnAVDetector"}}, "UnAVDetector"),
    ],
)
def test_foreign(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=message):
        read_own_checkpoint(tmp_path / "x.ckpt")


def test_weights_that_do_not_fit_their_settings(path: Path) -> None:
    content = read_checkpoint(path)
    content["davezoo"]["settings"]["width"] = 16
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="size mismatch"):
        load(path)


def test_lightning_refuses_other_classes(path: Path) -> None:
    with pytest.raises(ValueError, match="classes of the model"):
        UnAV.load_from_checkpoint(path, weights_only=True, class_names=["cat", "bell"])


def test_lightning_refuses_another_method(path: Path) -> None:
    class Other(UnAV):
        pass

    with pytest.raises(ValueError, match="checkpoint of Other, got one of UnAV"):
        Other.load_from_checkpoint(path, weights_only=True)
