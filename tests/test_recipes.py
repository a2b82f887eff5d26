"""Recipes: every one runs, and names are found where they should be."""

from pathlib import Path

import pytest
import yaml

from davezoo.cli import main
from davezoo.recipes import FOLDER, find_recipe
from davezoo.structures import ONE_PEACE_GRID, UNAV100_GRID, FeatureGrid

RECIPES = sorted(
    path.relative_to(FOLDER).as_posix()
    for path in FOLDER.glob("*.yaml")
    if "model" in yaml.safe_load(path.read_text())
)


def test_packaged_name_is_found() -> None:
    assert Path(find_recipe("unav.yaml")).is_file()
    assert Path(find_recipe("data/unav100.yaml")).is_file()


def test_file_in_the_working_directory_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "unav.yaml").write_text("model: null")
    assert find_recipe("unav.yaml") == "unav.yaml"


def test_unknown_name_is_left_to_the_parser() -> None:
    assert find_recipe("nowhere.yaml") == "nowhere.yaml"


@pytest.mark.parametrize("path", ["../pyproject.toml", "/etc/passwd"])
def test_names_do_not_reach_outside(path: str) -> None:
    assert find_recipe(path) == path


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_runs_every_stage(recipe: str, tmp_path: Path) -> None:
    """Fit, validate, test and predict on a few simulated videos with a narrow network."""
    data = [
        f"--data.root={tmp_path}/data",
        '--data.simulation={"num_train": 4, "num_validation": 2, "num_test": 2, "rgb_width": 8, '
        '"flow_width": 8, "vggish_width": 4, "max_duration": 15}',
        '--data.visual_files=["{video}_rgb.npy", "{video}_flow.npy"]',  # as they are simulated
        '--data.audio_files=["{video}_vggish.npy"]',
        "--data.visual_width=16",
        "--data.audio_width=4",
        "--data.batch_size=2",
        "--data.num_workers=0",
    ]
    network = ["--model.init_args.width=16", "--model.init_args.head_width=16"]
    trainer = [
        "--trainer.max_epochs=1",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
        "--trainer.log_every_n_steps=1",
        f"--trainer.default_root_dir={tmp_path}/run",
    ]
    main(["fit", "--config", recipe, *data, *network, *trainer])
    best = f"--ckpt_path={tmp_path}/run/checkpoints/best.ckpt"
    quiet = ["--data.num_workers=0", "--trainer.enable_progress_bar=false"]
    for command in ("validate", "test", "predict"):
        main([command, best, *quiet, f"--output={tmp_path}/{command}/detections.json"])
    assert (tmp_path / "test/result.json").is_file()
    assert (tmp_path / "predict/detections.json").is_file()
    main(["test", "--config", recipe, best, *data, *network, *quiet, f"--output={tmp_path}/x.json"])
    assert (tmp_path / "x_result.json").read_bytes() == (tmp_path / "test/result.json").read_bytes()


@pytest.mark.parametrize(
    ("name", "grid"),
    [
        ("unav100", UNAV100_GRID),
        ("unav100_batch8", UNAV100_GRID),
        ("unav100_onepeace", ONE_PEACE_GRID),
    ],
)
def test_data_files_have_the_grids_that_methods_start_from(name: str, grid: FeatureGrid) -> None:
    content = yaml.safe_load((FOLDER / f"data/{name}.yaml").read_text())
    assert FeatureGrid(**content["grid"]) == grid


def test_data_files_set_the_same_keys() -> None:
    """A later data file must not keep values of an earlier one."""
    keys = {path.name: sorted(yaml.safe_load(path.read_text())) for path in FOLDER.glob("data/*")}
    assert keys
    assert len({tuple(names) for names in keys.values()}) == 1
