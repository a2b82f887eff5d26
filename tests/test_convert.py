"""Published checkpoints: those of the small trainings give the published scores."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from davezoo.annotations import AnnotationError
from davezoo.checkpoints import CheckpointError, load
from davezoo.cli import main
from davezoo.convert import ConfigError, convert

CONFIG = {
    "dataset": {"num_classes": 5, "max_seq_len": 64, "default_fps": 25},
    "model": {"input_dim_V": 24, "input_dim_A": 16, "embd_dim": 32, "head_dim": 32},
    "test_cfg": {"max_seg_num": 7, "nms_method": "soft", "nms_sigma": 0.3},
}


@pytest.fixture
def published(golden: Path, tmp_path: Path) -> Path:
    """Folder with a checkpoint and a configuration as the published code writes them."""
    import numpy as np

    with np.load(golden / "unav" / "golden_small.npz") as arrays:
        state = {
            f"module.{name[3:]}": torch.from_numpy(arrays[name])
            for name in arrays.files
            if name.startswith("sd/")
        }
    average = {name: x * 0 for name, x in state.items()}
    content = {"epoch": 3, "state_dict": state, "state_dict_ema": average}
    torch.save(content, tmp_path / "official.pth.tar")
    (tmp_path / "official.yaml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path


def run(folder: Path, **changes: object) -> Path:
    arguments = {
        "method": "unav",
        "checkpoint": folder / "official.pth.tar",
        "config": folder / "official.yaml",
        "output": folder / "out/unav.ckpt",
        **changes,
    }
    convert(**arguments)  # type: ignore[arg-type]
    return folder / "out/unav.ckpt"


def test_settings_and_weights_arrive(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = load(run(published, weights="raw"))
    assert model.nms.max_events == 7
    assert model.nms.sigma == 0.3
    assert model.nms.method == "gaussian"
    assert model.class_names == [f"class {index}" for index in range(5)]
    assert model.detector.max_length == 64
    assert any(p.abs().sum() > 0 for p in model.parameters())
    assert "davezoo test --ckpt_path" in capsys.readouterr().out


def test_average_is_the_default(published: Path) -> None:
    assert all(p.abs().sum() == 0 for p in load(run(published)).parameters())


def test_class_names_come_from_the_annotations(published: Path) -> None:
    events = [{"segment": [0, 1], "label": name, "label_id": i} for i, name in enumerate("abcde")]
    database = {"v": {"subset": "test", "duration": 9, "annotations": events}}
    (published / "names.json").write_text(json.dumps({"database": database}))
    path = run(published, annotations=published / "names.json")
    assert load(path).class_names == [*"abcde"]


def test_missing_annotations(published: Path) -> None:
    with pytest.raises((AnnotationError, FileNotFoundError), match=r"nowhere\.json"):
        run(published, annotations=published / "nowhere.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", r"official\.yaml.*sections"),
        ("{", r"official\.yaml to be YAML"),
        ("model: {class_aware: false}", r"model\.class_aware.*not supported"),
        ("model: {embd_dim: 16, head_dim: 16}", "do not fit"),
    ],
)
def test_bad_configuration(published: Path, text: str, message: str) -> None:
    (published / "official.yaml").write_text(text)
    with pytest.raises((ConfigError, CheckpointError), match=message):
        run(published)


@pytest.mark.parametrize(
    ("content", "message"),
    [({"epoch": 1}, "ema weights"), ({"state_dict_ema": {"a": torch.zeros(1)}}, "do not fit")],
)
def test_bad_checkpoint(published: Path, content: object, message: str) -> None:
    torch.save(content, published / "official.pth.tar")
    with pytest.raises(CheckpointError, match=rf"official\.pth\.tar.*{message}"):
        run(published)


def test_other_defaults_of_ccnet(golden: Path, published: Path) -> None:
    import numpy as np

    with np.load(golden / "ccnet" / "golden_small.npz") as arrays:
        state = {n[3:]: torch.from_numpy(arrays[n]) for n in arrays.files if n.startswith("sd/")}
    torch.save({"state_dict": state, "state_dict_ema": state}, published / "official.pth.tar")
    config = {**CONFIG, "dataset": {"num_classes": 5, "max_seq_len": 64}}
    (published / "official.yaml").write_text(yaml.safe_dump(config))
    path = run(published, method="ccnet")
    model = load(path)
    assert type(model).__name__ == "CCNet"
    assert (model.grid.fps, model.grid.stride, model.grid.window) == (16, 4, 16)
    data = torch.load(path, weights_only=True)["datamodule_hyper_parameters"]
    assert data["audio_files"] == ["{video}_one_peace_audio.npy"]
    with pytest.raises(CheckpointError, match="to be UnAV with the settings"):
        run(published, method="unav")


def test_what_del_never_uses_is_left_out(
    golden: Path, published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np

    with np.load(golden / "del" / "golden_small.npz") as arrays:
        state = {n[3:]: torch.from_numpy(arrays[n]) for n in arrays.files if n.startswith("sd/")}
    state["backbone.ori_cross_att_Va.ln11.weight"] = torch.zeros(1, 32, 1)
    first = "alignment.multiway_list.0.attn_fusion.q.bias"
    state[first.replace(".0.", ".1.")] = state[first]
    torch.save({"state_dict_ema": state}, published / "official.pth.tar")
    model = load(run(published, method="del"))
    assert type(model).__name__ == "DEL"
    assert (model.grid.fps, model.grid.stride, model.grid.window) == (25, 8, 24)
    assert "Left out 2 tensors that its network never uses" in capsys.readouterr().out
    query = model.detector.get_parameter("alignment.layers.0.attention.query.bias")
    torch.testing.assert_close(query.detach(), state[first].float())


@pytest.mark.parametrize(
    ("method", "weights", "average", "detections"),
    [
        ("unav", "ema", 69.33, "official_detections.json"),
        ("unav", "raw", 81.30, None),
        ("ccnet", "raw", 71.04, "official_detections_raw_batch1.json"),
        ("ccnet", "ema", 9.01, "official_detections_ema_batch1.json"),
    ],
)
def test_score_is_the_published_one(
    shared: Path, tmp_path: Path, method: str, weights: str, average: float, detections: str | None
) -> None:
    folder = shared / "official_tiny" / method
    config = {"unav": "official.yaml", "ccnet": "tiny_config.yaml"}[method]
    root = folder / "dataset_tiny"
    names = root / "annotations" / "unav100_annotations.json"
    main(
        [
            "convert",
            f"--method={method}",
            f"--checkpoint={folder}/official_ckpt.pth.tar",
            f"--config={folder}/{config}",
            f"--annotations={names}",
            f"--weights={weights}",
            f"--output={tmp_path}/model.ckpt",
        ]
    )
    main(
        [
            "test",
            f"--ckpt_path={tmp_path}/model.ckpt",
            f"--data.root={root}",
            "--data.num_workers=0",
            "--data.eval_batch_size=16",  # the published code only has this score one by one
            "--trainer.accelerator=cpu",
            "--trainer.enable_progress_bar=false",
            f"--output={tmp_path}/detections.json",
        ]
    )
    result = json.loads((tmp_path / "result.json").read_text())
    assert 100 * result["avg_map"] == pytest.approx(average, abs=0.01)
    if detections is None:
        return
    ours = json.loads((tmp_path / "detections.json").read_text())["results"]
    theirs = json.loads((folder / detections).read_text())["results"]
    assert ours.keys() == theirs.keys()
    for video, expected in theirs.items():
        assert [x["label"] for x in ours[video]] == [x["label"] for x in expected]
        for found, wanted in zip(ours[video], expected, strict=True):
            assert found["score"] == pytest.approx(wanted["score"], abs=1e-4)
            assert found["segment"] == pytest.approx(wanted["segment"], abs=1e-3)
