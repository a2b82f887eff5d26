"""Recipes: every one runs, and names are found where they should be."""

import inspect
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import yaml
from lightning.pytorch.cli import LightningArgumentParser

from davezoo.cli import main
from davezoo.data import EventDataModule
from davezoo.errors import InputError
from davezoo.methods import LoCo
from davezoo.options import name_data_files
from davezoo.recipes import FOLDER, find_recipe, read_data_settings, with_data_settings
from davezoo.structures import ONE_PEACE_GRID, UNAV100_GRID, FeatureGrid, to_plain
from davezoo.training import DaveCLI

DEFAULTS = {
    name: to_plain(parameter.default)
    for name, parameter in inspect.signature(EventDataModule.__init__).parameters.items()
    if name != "self"
}
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


def test_data_files_set_every_key() -> None:
    """A later data file must not keep values of an earlier one."""
    expected = list(DEFAULTS)
    for path in FOLDER.glob("data/*.yaml"):
        assert list(yaml.safe_load(path.read_text())) == expected, path.name


def test_data_module_starts_from_unav100() -> None:
    """One's own data file leaves out what is as in UnAV-100."""
    assert read_data_settings("unav100") == DEFAULTS


def test_own_data_file_is_completed(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("root: here")
    assert read_data_settings(str(tmp_path / "mine.yaml")) == DEFAULTS | {"root": "here"}


@pytest.mark.parametrize(
    ("text", "message"), [("[]", "hold settings of the data, got list"), ("a: [", "to be YAML")]
)
def test_bad_data_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_data_settings(str(tmp_path / "bad.yaml"))


def test_unknown_data_set_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"thumos14.*, got 'thumos'; did you mean 'thumos14"):
        read_data_settings("thumos")
    with pytest.raises(InputError, match=r"got 'nowhere\.yaml'"):
        read_data_settings("nowhere.yaml")


def test_recipe_gets_all_settings_of_its_data_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = yaml.safe_load(with_data_settings(find_recipe("loco.yaml")))
    assert content["data"] == read_data_settings("unav100_onepeace")
    assert content["model"]["class_path"] == "davezoo.LoCo"
    assert yaml.safe_load(with_data_settings("data: data/thumos14.yaml"))["data"]["own_fps"]
    # A copied recipe: the data file beside it is meant, wherever the command runs.
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy/mine.yaml").write_text("data: set.yaml")
    (tmp_path / "copy/set.yaml").write_text("root: beside")
    monkeypatch.chdir(tmp_path)
    assert yaml.safe_load(with_data_settings("copy/mine.yaml"))["data"]["root"] == "beside"


@pytest.mark.parametrize("recipe", ["nowhere.yaml", "{a: [", "a: 1", "data: {root: x}"])
def test_what_names_no_data_file_stays(recipe: str) -> None:
    assert with_data_settings(recipe) == recipe


def names_in_head(path: Path) -> list[str]:
    """Return the words of the command in a file's first comment."""
    head = path.read_text().partition("\nmodel:")[0]
    command = head[head.index("  davezoo fit ") :].replace("#", "").replace("\\\n", " ")
    return command.split()


class _ParserOfFit(DaveCLI):
    """`davezoo fit` up to the point where it would parse."""

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Hand the parser out."""
        raise StopIteration(parser)


@pytest.fixture(scope="module")
def parser() -> LightningArgumentParser:
    with pytest.raises(StopIteration) as stopped:
        _ParserOfFit(["fit"])
    found: LightningArgumentParser = stopped.value.value
    return found


@pytest.mark.parametrize("path", sorted(FOLDER.glob("schedules/*.yaml")), ids=lambda p: p.stem)
@pytest.mark.parametrize("method", ["unav", "ccnet", "loco", "del"])
def test_schedules_fit_every_method(
    path: Path, method: str, parser: LightningArgumentParser
) -> None:
    """The command of its head is read, and its values are what training gets."""
    words = names_in_head(path)
    assert words[:3] == ["davezoo", "fit", "--config"]
    if "paper" not in path.stem:
        words[3] = f"{method}.yaml"
    elif method != "del":
        pytest.skip("of DEL's paper")
    got = parser.parse_args(name_data_files(words[1:])).fit.as_dict()
    wanted = yaml.safe_load(path.read_text())
    settings = wanted["model"]["init_args"]
    nms = settings.pop("nms", {})
    assert to_plain({name: got["model"]["init_args"][name] for name in settings}) == settings
    assert {name: got["model"]["init_args"]["nms"][name] for name in nms} == nms
    for name, value in wanted["trainer"].items():
        assert got["trainer"][name] == value, name
    data = read_data_settings(words[words.index("--data") + 1])
    for word in words:  # the schedule's, then the paper's
        if word.startswith("schedules/"):
            data |= yaml.safe_load((FOLDER / word).read_text()).get("data", {})
    assert to_plain(got["data"]) == data | {"root": "DIR"}


def test_sweep_varies_settings_that_exist() -> None:
    sweep = yaml.safe_load((FOLDER / "sweeps/loco_ablations.yaml").read_text())
    words = [word for word in sweep["command"] if not word.startswith("${")]
    assert words[:2] == ["davezoo", "fit"]
    named = [after for word, after in pairwise(words) if word == "--config"]
    assert all(Path(find_recipe(name)).is_file() for name in named)
    hints = get_type_hints(LoCo.__init__)
    for name, entry in sweep["parameters"].items():
        if name != "seed_everything":
            prefix, _, setting = name.rpartition(".")
            assert prefix == "model.init_args"
            assert set(entry["values"]) <= set(get_args(hints[setting])), name
    assert sweep["metric"]["name"] == "best/avg_map"
