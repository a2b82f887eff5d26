"""Words of the training commands, before they are parsed."""

from pathlib import Path

import pytest
import yaml

from davezoo.errors import InputError
from davezoo.options import (
    FROM_DATA,
    name_data_files,
    refuse_absent_recipes,
    refuse_settings_of_data,
    value_of,
)


def test_value_is_given_as_two_words_or_one() -> None:
    words = ["fit", "--a", "1", "--b=2=3", "--a=4"]
    assert [value_of(words, name) for name in ("--a", "--b", "--c")] == ["1", "2=3", None]


def test_data_file_becomes_a_recipe_in_its_place() -> None:
    words = ["fit", "--config", "a.yaml", "--data", "b c.yaml", "--data=d.yaml", "--config=e.yaml"]
    renamed = name_data_files(words)
    assert renamed[:3] == ["fit", "--config", "a.yaml"]
    assert renamed[3] == "--config"
    assert yaml.safe_load(renamed[4]) == {"data": "b c.yaml"}
    assert yaml.safe_load(renamed[5].removeprefix("--config=")) == {"data": "d.yaml"}
    assert renamed[6] == "--config=e.yaml"


@pytest.mark.parametrize(
    "words",
    [["--data.root=x"], ["--data", "{root: x}"], ["--data={root: x}"], ["--data.root", "--data"]],
)
def test_other_words_stay(words: list[str]) -> None:
    assert name_data_files(["fit", *words]) == ["fit", *words]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--config", "unva.yaml"], "`--config` .*, got 'unva.yaml'; did you mean 'unav.yaml'?"),
        (["-c=schedules/thumos.yaml"], "did you mean 'schedules/thumos14.yaml'?"),
        (["--config=unav"], "did you mean 'unav.yaml'?"),
        (["--config=zzz"], "packaged are base.yaml, ccnet.yaml, "),
        (["--data", "data/thumos14.yaml"], "Expected a recipe, got none"),
        (["--ckpt_path=last"], "Expected a recipe, got none"),
    ],
)
def test_absent_recipe_names_the_nearest(words: list[str], told: str) -> None:
    with pytest.raises(InputError, match=told.replace("?", r"\?")):
        refuse_absent_recipes(["fit", *words])


def test_recipes_that_are_there_or_written_out_are_let_through(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").touch()
    texts = ["--config", "data: x.yaml\n", "--config={model: {}}", "--config=a: 1"]
    refuse_absent_recipes(["fit", "--config=unav.yaml", f"-c={tmp_path}/my.yaml", *texts])
    for word in ("--model=davezoo.UnAV", "--help", "-h"):
        refuse_absent_recipes(["fit", word])


@pytest.mark.parametrize("name", FROM_DATA)
@pytest.mark.parametrize("form", ["--model.{}=1", "--model.init_args.{}=1"])
def test_settings_of_the_data_are_not_taken_for_the_model(name: str, form: str) -> None:
    remedy = "annotation file" if name == "class_names" else f"use --data.{name}"
    with pytest.raises(InputError, match=remedy):
        refuse_settings_of_data(["fit", form.format(name)])
    with pytest.raises(InputError, match=remedy):
        refuse_settings_of_data(["fit", *form.format(name).split("=")])


def test_settings_of_the_data_are_not_taken_from_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("model: {class_path: davezoo.UnAV, init_args: {modalities: audio}}")
    with pytest.raises(InputError, match=r"use --data\.modalities"):
        refuse_settings_of_data(["fit", "--config", str(path)])


def test_own_settings_of_the_model_are_let_through(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("a: [")
    words = ["--model.width=3", "--data.grid.fps=3", "--model=davezoo.LoCo", "--model.nms.sigma=1"]
    refuse_settings_of_data(["fit", "--config=unav.yaml", f"-c={tmp_path}/bad.yaml", *words])
