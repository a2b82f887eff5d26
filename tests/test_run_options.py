"""What a recipe may hold beside model, data and trainer, and `--config` that reads it."""

import pytest
from lightning.pytorch.cli import LightningArgumentParser

from davezoo.run_options import RecipeFile, add_run_arguments


@pytest.fixture
def parser():
    parser = LightningArgumentParser()
    parser.add_argument("--config", action=RecipeFile)
    add_run_arguments(parser)
    return parser


def test_a_file_and_words_behind_it(parser, tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("test_after_fit: true\npictures: 3\n")
    config = parser.parse_args([f"--config={recipe}", "--pictures=5", "--output=found.json"])
    assert (config.test_after_fit, config.pictures, str(config.output)) == (True, 5, "found.json")


def test_without_any(parser):
    config = parser.parse_args([])
    assert (config.test_after_fit, config.pictures, config.output) == (False, 0, None)


def test_name_of_a_packaged_recipe(parser, capsys):
    with pytest.raises(SystemExit):
        parser.parse_args(["--config=unav.yaml"])
    assert "'data." in capsys.readouterr().err  # read, and no options of this parser
    with pytest.raises(SystemExit):
        parser.parse_args(["--config=absent.yaml"])
    assert "absent.yaml" in capsys.readouterr().err
