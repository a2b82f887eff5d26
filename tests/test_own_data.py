"""docs/own_data.md as a new user follows it: files as shown, commands as they stand, narrow."""

import contextlib
import io
import json
import re
import shlex
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from davezoo.annotations import read_annotations
from davezoo.cli import main
from davezoo.data.simulation import Simulation, draw_annotations

PAGE = (Path(__file__).parents[1] / "docs/own_data.md").read_text(encoding="utf-8")
NARROW = [
    "--model.width=16",
    "--model.head_width=16",
    "--model.num_unimodal_blocks=1",
    "--model.num_heads=2",
    "--data.num_workers=0",
    "--data.batch_size=2",
    "--trainer.max_epochs=1",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    """Return the words of every command line of the page, without `davezoo`."""
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    words = [shlex.split(line) for line in lines]
    assert {line[0] for line in words} == {"davezoo"}
    return [line[1:] for line in words]


def small(words: list[str]) -> list[str]:
    """Return a command with a network that takes seconds."""
    if words[0] == "fit":
        return [*words, *NARROW]
    return [*words, "--data.num_workers=0"]


def write_events(path: Path) -> None:
    """Write a table with the columns of the page's."""
    few = Simulation(num_train=4, num_validation=2, num_test=2)
    drawn = draw_annotations(few)
    rows = drawn.events.join(drawn.videos, on="video")
    rows["label"] = [drawn.class_names[label] for label in rows["label"]]
    (shown,) = blocks("csv")
    rows[shown.splitlines()[0].split(",")].to_csv(path, index=False)


def test_the_table_is_read(tmp_path: Path) -> None:
    (shown,) = blocks("csv")
    (tmp_path / "events.csv").write_text(shown)
    annotations = read_annotations(tmp_path / "events.csv")
    assert annotations.videos["subset"].tolist() == ["train", "validation"]
    assert annotations.class_names == ["car horn", "man speaking", "water running"]


def test_the_page_works_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my_data").mkdir()
    write_events(Path("my_data/events.csv"))
    (settings,) = blocks("yaml")
    Path("my.yaml").write_text(settings)
    steps = commands()
    assert [words[0] for words in steps] == ["simulate", "fit", "fit", "test", "predict", "predict"]

    main(steps[0])
    main(small(steps[1]))
    # The features have arrived, also those of a video without annotations.
    shutil.copytree("trial/features", "my_data/features")
    Path("new_videos/features").mkdir(parents=True)
    for path in Path("trial/features").glob("test_00000_*"):
        shutil.copy(path, f"new_videos/features/street_99{path.name.removeprefix('test_00000')}")
    for words in steps[2:]:
        main(small(words))

    assert Path("runs/mine/manifest.json").is_file()
    assert Path("scores/report.html").is_file()
    assert len(list(Path("found/pictures").glob("*.png"))) == 1
    test_videos = pd.read_csv("my_data/events.csv").query("subset == 'test'")["video"]
    assert set(json.loads(Path("found/detections.json").read_text())["results"]) == set(test_videos)
    assert set(json.loads(Path("found/new.json").read_text())["results"]) == {"street_99"}
    printed = io.StringIO()
    (code,) = blocks("python")
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "docs/own_data.md", "exec"), {})  # noqa: S102 - our own page
    assert printed.getvalue().count("DetectedEvent(start=") == 5


def test_the_data_file_names_settings_that_exist() -> None:
    (settings,) = blocks("yaml")
    usual = Path(__file__).parents[1] / "configs/data/unav100.yaml"
    assert yaml.safe_load(settings).keys() <= yaml.safe_load(usual.read_text()).keys()
