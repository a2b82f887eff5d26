"""Runs on W&B: its public API is played by objects that answer as it does, from files."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import wandb

from davezoo.cli import main
from davezoo.errors import InputError
from davezoo.leaderboards.collection import FoundRun
from davezoo.leaderboards.wandb_runs import find_wandb_runs
from tests.leaderboards.runs import make_run, write_run


class File:
    """A file of a run, as `wandb.apis.public.File` hands it out."""

    def __init__(self, path, name):
        self.path, self.name = path, name

    def download(self, root=".", replace=False):
        target = Path(root) / self.name
        assert replace or not target.exists()
        shutil.copy(self.path, target)
        return target.open()


class Run:
    """A run with its files."""

    def __init__(self, name, files):
        self.id, self._files = name, files

    def files(self, pattern):
        assert pattern.startswith("%")
        return [file for file in self._files if file.name.endswith(pattern[1:])]


def api_with(runs, project="team/zoo"):
    """An API that knows one project."""

    def answer(path, order):
        if path != project:
            raise ValueError(f"Could not find project {path}")
        assert order == "+created_at"
        return runs

    return SimpleNamespace(runs=answer)


@pytest.fixture
def runs(tmp_path):
    """Two tests of three seeds' worth, one damaged, one that was never tested."""
    made = []
    for seed in (0, 1):
        path = write_run(tmp_path / f"{seed}", make_run(0.5 + seed / 100, seed=seed))
        made.append(Run(f"id{seed}", [File(path, "run.json"), File(path, "not_a_rerun.json")]))
    half = tmp_path / "half.json"
    half.write_text(json.dumps(make_run().to_dict())[:99])
    made.append(Run("half", [File(half, "run.json")]))
    made.append(Run("untested", []))
    return made


def test_results_are_read_as_from_folders(runs):
    found, skipped = find_wandb_runs("team/zoo", api_with(runs))
    assert found == [
        FoundRun(f"wandb:team/zoo/id{seed}/run.json", make_run(0.5 + seed / 100, seed=seed))
        for seed in (0, 1)
    ]
    assert [entry.place for entry in skipped] == [
        "wandb:team/zoo/half/run.json",
        "wandb:team/zoo/untested",
    ]
    assert "run.json" in skipped[1].reason


def test_leaderboard_of_a_project_and_a_folder(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(wandb, "Api", lambda: api_with(runs))
    folder = tmp_path / "here"
    write_run(folder, make_run(0.52, seed=2))
    main(["leaderboard", str(folder), "--wandb=team/zoo"])
    printed = capsys.readouterr()
    (row,) = [line for line in printed.out.splitlines() if line.startswith("| LoCo")]
    assert "| 3 |" in row
    assert "| 51.00 | 1.00 |" in row
    assert "skipped wandb:team/zoo/untested" in printed.err
    main(["leaderboard", "--wandb=team/zoo"])
    assert "| 2 |" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["zoo", "a/b/c", "/zoo", "team/", ""])
def test_project_without_its_entity(name):
    with pytest.raises(InputError, match="ENTITY/PROJECT"):
        find_wandb_runs(name, api_with([]))


def test_unknown_project_is_one_message():
    with pytest.raises(InputError, match="Could not find project team/other; check the name"):
        find_wandb_runs("team/other", api_with([]))


def test_no_answer_is_one_message():
    def fail(path, order):
        raise wandb.errors.CommError("no connection")

    with pytest.raises(InputError, match="no connection; check the name, and log in"):
        find_wandb_runs("team/zoo", SimpleNamespace(runs=fail))
