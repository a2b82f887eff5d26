"""`davezoo leaderboard` from the outside."""

import json

import pytest

from davezoo.cli import main
from tests.leaderboards.runs import make_run, write_run


def test_folders_and_files_come_without_names(tmp_path, capsys):
    for seed in range(3):
        write_run(tmp_path / f"a/{seed}", make_run(0.5 + seed / 100, seed=seed))
    one = write_run(tmp_path / "b", make_run(0.4, method="UnAV"))
    (tmp_path / "a/half").mkdir()
    (tmp_path / "a/half/run.json").write_text("{")
    main(["leaderboard", str(tmp_path / "a"), str(one)])
    printed = capsys.readouterr()
    rows = [line for line in printed.out.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows] == ["| method", "| LoCo", "| UnAV"]
    assert "| 3 |" in rows[1]
    assert "| 51.00 | 1.00 | 54.90 | -3.90 | loco/I |" in rows[1]
    assert f"skipped {tmp_path}/a/half/run.json" in printed.err
    assert "1 skipped: 1 run.json" in printed.err


def test_doubles_are_named(tmp_path, capsys):
    write_run(tmp_path / "a", make_run(0.5))
    write_run(tmp_path / "b", make_run(0.6, written="2026-03-01T00:00:00Z"))
    main(["leaderboard", str(tmp_path), "--format=csv"])
    printed = capsys.readouterr()
    assert f"skipped {tmp_path}/a/run.json: the same settings and seed 0" in printed.err
    assert "60.0" in printed.out


@pytest.mark.parametrize("layout", ["md", "csv", "html", "latex"])
def test_output_is_written_to_a_file(layout, tmp_path, capsys):
    write_run(tmp_path / "a", make_run())
    path = tmp_path / f"new/board.{layout}"
    main(["leaderboard", str(tmp_path), f"--format={layout}", f"--output={path}"])
    assert capsys.readouterr().out == f"Wrote {path}\n"
    assert "LoCo" in path.read_text()
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_data_set_is_chosen(tmp_path, capsys):
    write_run(tmp_path / "a", make_run())
    write_run(tmp_path / "b", make_run(protocol="thumos14-212"))
    main(["leaderboard", str(tmp_path), "--dataset=thumos14"])
    out = capsys.readouterr().out
    assert "thumos14-212" in out
    assert "unav100" not in out
    with pytest.raises(SystemExit, match="'epic100', got some on thumos14, unav100"):
        main(["leaderboard", str(tmp_path), "--dataset=epic100"])


def test_no_results_are_one_message(tmp_path, capsys):
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(SystemExit, match="at least one result of a test run"):
        main(["leaderboard", str(tmp_path)])
    assert "does not say where it came from" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="`output` to be a file, got the folder"):
        main(["leaderboard", str(tmp_path), f"--output={tmp_path}"])
    with pytest.raises(SystemExit, match="got nothing; check the path"):
        main(["leaderboard", str(tmp_path / "nowhere")])


def test_text_of_a_file_cannot_steer_the_terminal(tmp_path, capsys):
    content = make_run().to_dict() | {"method": "\x1b[2J", "annotations_sha256": "\x1b]0;"}
    (tmp_path / "\x1b[31m").mkdir()
    (tmp_path / "run.json").write_text(json.dumps(content))
    (tmp_path / "\x1b[31m/run.json").write_text("{")
    main(["leaderboard", str(tmp_path)])
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
