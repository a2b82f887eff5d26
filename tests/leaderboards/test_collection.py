"""Results are found at any depth; what cannot be used is named."""

import json
import os
from dataclasses import replace

import pytest

from davezoo.leaderboards.collection import find_runs
from tests.leaderboards.runs import make_run, write_run


def test_results_are_found_once(tmp_path):
    first = write_run(tmp_path / "a/b/c", make_run(seed=0))
    second = write_run(tmp_path / "d", make_run(seed=1))
    other = make_run(seed=2)
    other.write(tmp_path / "d/validation_run.json")
    found, skipped = find_runs([tmp_path, tmp_path / "d", first])
    places = [str(first), str(second), str(tmp_path / "d/validation_run.json")]
    assert [entry.place for entry in found] == places
    assert [entry.run.seed for entry in found] == [0, 1, 2]
    assert skipped == []


def test_file_of_any_name_can_be_given(tmp_path):
    make_run().write(tmp_path / "kept.json")
    assert find_runs([tmp_path]) == ([], [])
    assert len(find_runs([tmp_path / "kept.json"])[0]) == 1


def test_what_cannot_be_used_is_named(tmp_path):
    write_run(tmp_path / "good", make_run())
    (tmp_path / "good/result.json").write_text("{}")  # beside its run: nothing to say
    (tmp_path / "good/config.yaml").touch()
    (tmp_path / "good/checkpoints").mkdir()
    text = json.dumps(make_run().to_dict())
    for name, content in {
        "half": text[:99],
        "foreign": '{"runs": []}',
        "binary": "\x1f\x8b",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_bytes(content.encode("latin-1"))
    (tmp_path / "old").mkdir()
    (tmp_path / "old/result.json").write_text("{}")
    (tmp_path / "untested/checkpoints").mkdir(parents=True)
    (tmp_path / "untested/config.yaml").touch()
    found, skipped = find_runs([tmp_path])
    assert len(found) == 1
    reasons = {entry.place.removeprefix(f"{tmp_path}/"): entry.reason for entry in skipped}
    assert sorted(reasons) == [
        "binary/run.json",
        "foreign/run.json",
        "half/run.json",
        "old/result.json",
        "untested/config.yaml",
    ]
    assert "damaged" in reasons["binary/run.json"]
    assert "got another file" in reasons["foreign/run.json"]
    assert "to hold JSON" in reasons["half/run.json"]
    assert "does not say where it came from" in reasons["old/result.json"]
    assert "run davezoo test" in reasons["untested/config.yaml"]


def test_links_are_followed_and_loops_end(tmp_path):
    write_run(tmp_path / "disk/run", make_run())
    write_run(tmp_path / "runs/own", make_run(seed=1))
    (tmp_path / "runs/linked").symlink_to(tmp_path / "disk")
    (tmp_path / "runs/loop").symlink_to(tmp_path / "runs")
    (tmp_path / "runs/broken_run.json").symlink_to(tmp_path / "nowhere.json")
    found, (skipped,) = find_runs([tmp_path / "runs", tmp_path / "disk"])
    places = ["runs/linked/run/run.json", "runs/own/run.json"]
    assert [entry.place for entry in found] == [str(tmp_path / place) for place in places]
    assert skipped.place == str(tmp_path / "runs/broken_run.json")
    assert "no such file" in skipped.reason


def test_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    """Root can read all folders, so the system's answer is replaced."""
    write_run(tmp_path / "good", make_run())
    closed = tmp_path / "closed"
    write_run(closed, make_run(seed=1))
    scan = os.scandir

    def scandir(folder):
        if str(folder) == str(closed):
            raise PermissionError(13, "Permission denied", str(closed))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    found, (skipped,) = find_runs([tmp_path])
    assert len(found) == 1
    assert (skipped.place, skipped.reason) == (
        str(closed),
        "Permission denied; check its permissions.",
    )


def test_score_given_by_name_is_named_once(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("{}")
    assert [entry.place for entry in find_runs([path])[1]] == [str(path)]


def test_place_that_does_not_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match="a run folder or a folder of such"):
        find_runs([tmp_path / "nowhere"])


def test_other_schema_is_named(tmp_path):
    content = replace(make_run()).to_dict() | {"schema": 99}
    (tmp_path / "run.json").write_text(json.dumps(content))
    found, (skipped,) = find_runs([tmp_path])
    assert found == []
    assert "schema 1" in skipped.reason
