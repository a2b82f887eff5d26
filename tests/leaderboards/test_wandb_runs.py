"""Runs on W&B: its own client asks a server that answers as W&B's does."""

import json

import pytest
import wandb

from davezoo.cli import main
from davezoo.errors import InputError
from davezoo.leaderboards.collection import FoundRun
from davezoo.leaderboards.wandb_runs import find_wandb_runs
from tests.leaderboards.runs import make_run, write_run
from tests.leaderboards.wandb_server import Server


def content(run):
    return json.dumps(run.to_dict()).encode()


SEEDS = [make_run(0.5 + seed / 100, seed=seed) for seed in (0, 1)]
# Two tests, and what cannot be used.
RUNS = {
    "id0": {"run.json": content(SEEDS[0]), "not_a_rerun.json": b"", "up/run.json": b""},
    "half": {"run.json": content(SEEDS[0])[:99]},
    "gone": {"run.json": None},
    "untested": {},
    "hostile": {"../x_run.json": content(SEEDS[0])},
    "id1": {"run.json": content(SEEDS[1])},
}


@pytest.fixture(scope="module", autouse=True)
def client():
    """Without an account; what the client itself reports about its use stays here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_API_KEY", "a" * 40)
        patch.setenv("WANDB_SILENT", "true")
        yield


def api_of(server):
    return wandb.Api(overrides={"base_url": server.url}, timeout=60)


@pytest.fixture(scope="module")
def server():
    with Server(RUNS) as running:
        yield running


def test_results_are_read_as_from_folders(server):
    found, skipped = find_wandb_runs("team/zoo", api_of(server))
    places = [f"wandb:team/zoo/id{seed}/run.json" for seed in (0, 1)]
    assert found == [FoundRun(place, run) for place, run in zip(places, SEEDS, strict=True)]
    reasons = {entry.place: entry.reason for entry in skipped}
    names = ["half", "gone", "untested", "hostile"]
    assert list(reasons) == [f"wandb:team/zoo/{name}/run.json" for name in names]
    half, gone, untested, hostile = reasons.values()
    assert half.startswith("Expected run.json to hold JSON")  # without the folder it lay in
    assert "404" in gone
    assert "--test_after_fit" in untested
    assert hostile == untested


def test_all_pages_are_read():
    with Server({f"id{number}": {} for number in range(51)}) as server:
        found, skipped = find_wandb_runs("team/zoo", api_of(server))
        assert server.num_pages == 2
    assert found == []
    assert len({entry.place for entry in skipped}) == 51


def test_leaderboard_of_a_project_and_a_folder(server, tmp_path, monkeypatch, capsys):
    api = api_of(server)
    monkeypatch.setattr(wandb, "Api", lambda: api)
    folder = tmp_path / "here"
    write_run(folder, make_run(0.52, seed=2))
    main(["leaderboard", str(folder), "--wandb=team/zoo"])
    printed = capsys.readouterr()
    (row,) = [line for line in printed.out.splitlines() if line.startswith("| LoCo")]
    assert "| 3 |" in row
    assert "| 51.00 | 1.00 |" in row
    assert "skipped wandb:team/zoo/untested/run.json: no result of a test" in printed.err
    assert "4 skipped: 4 run.json" in printed.err
    main(["leaderboard", "--wandb=team/zoo"])
    assert "| 2 |" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["zoo", "a/b/c", "/zoo", "team/", ""])
def test_project_without_its_entity(name):
    with pytest.raises(InputError, match="ENTITY/PROJECT"):
        find_wandb_runs(name)


def test_unknown_project_is_one_message(server):
    with pytest.raises(InputError, match="Could not find project other; check the name"):
        find_wandb_runs("team/other", api_of(server))


def test_refusal_is_one_message():
    with (
        Server(RUNS, refusal="permission denied") as server,
        pytest.raises(InputError, match="permission denied; check the name and the network, and"),
    ):
        find_wandb_runs("team/zoo", api_of(server))
