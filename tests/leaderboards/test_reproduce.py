"""`davezoo reproduce`: what is trained, skipped, gone on with and named."""

import fcntl
import re
import sys
from dataclasses import replace
from pathlib import Path
from subprocess import Popen

import pytest

from davezoo.cli import main
from davezoo.errors import InputError
from davezoo.leaderboards import reproduce as module
from davezoo.leaderboards.reported import get_table, read_reported
from davezoo.leaderboards.reproduce import plan_runs, run_missing, slug
from davezoo.recipes import FOLDER
from tests.leaderboards.runs import make_run


@pytest.fixture
def trained(monkeypatch):
    """Commands that would have been run; each leaves a result, but those of pyramid=false fail."""
    commands = []

    class Process:
        def __init__(self, command, stdout, stderr):
            self.failed = "--model.pyramid=false" in command
            commands.append(command)
            folder = Path(re.search(r"default_root_dir=(\S+)", " ".join(command))[1])
            if self.failed:
                stdout.write("davezoo fit: no such luck\n\n")
            else:
                seed = int(re.search(r"seed_everything=(\d)", " ".join(command))[1])
                make_run(0.5, seed=seed, simulated=True).write(folder / "run.json")

        def wait(self):
            return int(self.failed)

    monkeypatch.setattr(module.subprocess, "Popen", Process)
    return commands


def test_all_tables_are_listed(capsys):
    main(["reproduce", "--list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(read_reported())
    assert "(4 of 4 rows can be trained)" in next(x for x in lines if x.startswith("loco/II "))
    assert "(4 of 14 rows can be trained)" in next(x for x in lines if x.startswith("loco/I "))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "got none; name one with --table"),
        (["--table=loco/IIX"], "choose one of .*loco/II"),
        (["--table=loco/II", "--seeds=0"], "at least 1, got 0"),
        (["--table=loco/II", "--config=nowhere.yaml"], "a recipe at nowhere.yaml"),
        (["--table=ccnet/fig3"], "rows that davezoo can train, got 'ccnet/fig3'"),
    ],
)
def test_bad_input_is_one_message(words, message):
    with pytest.raises(SystemExit, match=f"davezoo reproduce: .*{message}"):
        main(["reproduce", *words])


def test_rows_have_folders_of_their_own_which_tables_share():
    rows = [row for table in read_reported().values() for row in table.rows if row.recipe]
    folders = {row.words: slug(row) for row in rows}
    assert len(set(folders.values())) == len(folders)
    assert max(map(len, folders.values())) < 200
    assert all(re.fullmatch(r"[a-z0-9._]+", folder) for folder in folders.values())
    assert slug(get_table("loco/I").rows[-1]) == slug(get_table("loco/II").rows[-1])


def test_every_row_is_trained_with_every_seed(tmp_path, trained):
    runs = plan_runs(get_table("ccnet/4"), 2, Path("fragments/simulated.yaml"), tmp_path)
    assert run_missing(runs) == []
    assert [command[:4] for command in trained] == [[sys.executable, "-m", "davezoo", "fit"]] * 4
    fragment = str(FOLDER / "fragments/simulated.yaml")
    assert trained[1][4:] == [
        *["--config", "ccnet_i3d.yaml", "--model.fine_to_coarse_first=true"],
        *["--config", fragment, "--seed_everything=0", "--data.seed=0", "--test_after_fit=true"],
        f"--trainer.default_root_dir={tmp_path}/ccnet_i3d.yaml_model.fine_to_coarse_first_true/seed_0",
    ]
    assert run_missing(runs) == []
    assert len(trained) == 4  # nothing is trained again
    (runs[2].folder / "run.json").unlink()
    (runs[2].folder / "checkpoints").mkdir()
    (runs[2].folder / "checkpoints/last.ckpt").touch()
    run_missing(runs)
    assert len(trained) == 5
    assert trained[4][-1] == "--ckpt_path=last"


def test_failed_rows_are_named_and_the_others_go_on(tmp_path, trained, capsys):
    words = ["reproduce", "--table=loco/II", "--seeds=1", f"--folder={tmp_path}"]
    with pytest.raises(SystemExit, match="Expected all 4 runs to end well, got 2 failed") as caught:
        main(words)
    assert "LCC, seed 0 (davezoo fit: no such luck; see " in str(caught.value)
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[1] for row in rows[1:]] == [
        *["published", "published"],
        *["published", "measured (simulated)"] * 2,
    ]
    with pytest.raises(SystemExit, match="2 failed"):
        main(words)
    assert len(trained) == 4 + 2  # the finished ones are skipped
    assert "2 of 4 runs are finished." in capsys.readouterr().err


def test_folder_of_other_settings_is_refused(tmp_path, trained):
    fragment = tmp_path / "mine.yaml"
    fragment.write_text("trainer: {max_epochs: 1}")
    run_missing(plan_runs(get_table("ccnet/4"), 1, fragment, tmp_path / "runs"))
    fragment.write_text("trainer: {max_epochs: 2}")
    with pytest.raises(InputError, match="hold a run of these settings, got another plan"):
        run_missing(plan_runs(get_table("ccnet/4"), 1, fragment, tmp_path / "runs"))
    assert len(trained) == 2


def test_fragment_of_a_run_that_failed_at_once_can_be_corrected(tmp_path, trained):
    """It left nothing that another fragment would spoil; its row goes on with the new one."""
    fragment = tmp_path / "mine.yaml"
    fragment.write_text("trainer: {max_epochs: 1}")
    table = replace(get_table("loco/II"), rows=get_table("loco/II").rows[:1])
    assert len(run_missing(plan_runs(table, 1, fragment, tmp_path / "runs"))) == 1
    fragment.write_text("trainer: {max_epochs: 2}")
    (run,) = plan_runs(table, 1, fragment, tmp_path / "runs")
    assert len(run_missing([run])) == 1
    assert (run.folder / "plan.txt").read_text().endswith("{max_epochs: 2}")
    run.checkpoint.parent.mkdir()
    run.checkpoint.touch()
    fragment.write_text("trainer: {max_epochs: 3}")
    with pytest.raises(InputError, match="got another plan"):
        run_missing([run])


def test_rows_with_the_same_options_are_trained_once(tmp_path, trained):
    table = get_table("ccnet/4")
    twice = replace(table, rows=(*table.rows, replace(table.rows[0], name="again")))
    assert run_missing(plan_runs(twice, 1, None, tmp_path)) == []
    assert len(trained) == 2


def test_run_that_another_process_trains_is_left_alone(tmp_path, trained):
    """As the run of a command that was killed, which goes on by itself."""
    runs = plan_runs(get_table("ccnet/4"), 1, None, tmp_path)
    runs[0].folder.mkdir(parents=True)
    with runs[0].log.open("a") as log:
        command = [sys.executable, "-c", "import time; time.sleep(60)"]
        fcntl.flock(log, fcntl.LOCK_EX)
        orphan = Popen(command, stdout=log)
    try:
        (failed,) = run_missing(runs)
        assert "C2F, then F2C, seed 0 (another process still trains it; see " in failed
        assert len(trained) == 1
    finally:
        orphan.kill()
        orphan.wait()
    assert run_missing(runs) == []


def test_interruption_is_no_traceback(tmp_path, monkeypatch, capsys):
    def interrupt(run):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "train", interrupt)
    with pytest.raises(SystemExit) as caught:
        main(["reproduce", "--table=ccnet/4", f"--folder={tmp_path}"])
    assert caught.value.code == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_interrupted_run_is_given_time_to_save(tmp_path, monkeypatch):
    waits = []

    class Process:
        def __init__(self, command, **streams):
            pass

        def wait(self):
            waits.append(len(waits))
            if len(waits) == 1:
                raise KeyboardInterrupt

    monkeypatch.setattr(module.subprocess, "Popen", Process)
    (run, _) = plan_runs(get_table("ccnet/4"), 1, None, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        module.train(run)
    assert waits == [0, 1]


@pytest.mark.slow
def test_tiny_table_is_trained_in_earnest(tmp_path, capsys):
    """Two rows, one seed, one epoch; then again from the last checkpoint of one of them."""
    fragment = (FOLDER / "fragments/simulated.yaml").read_text()
    for name, value in {
        "root": tmp_path / "data",
        "num_train": 4,
        "num_validation": 1,
        "num_test": 2,
        "max_duration": 15,
        "max_epochs": 1,
        "check_val_every_n_epoch": 1,
        "width": 16,
    }.items():
        fragment = re.sub(rf"(^ +{name}:).*", rf"\1 {value}", fragment, flags=re.MULTILINE)
    (tmp_path / "tiny.yaml").write_text(fragment)
    words = ["reproduce", "--table=ccnet/4", "--seeds=1"]
    words += [f"--config={tmp_path}/tiny.yaml", f"--folder={tmp_path}/runs"]
    main(words)
    first = capsys.readouterr().out
    assert first.count("measured (simulated) | 1 |") == 2
    (folder,) = tmp_path.glob("runs/*first_true/seed_0")
    (folder / "run.json").unlink()
    main(words)
    again = capsys.readouterr()
    assert "1 of 2 runs are finished." in again.err
    assert again.out == first
    main(["leaderboard", str(tmp_path / "runs")])
    assert "fine_to_coarse_first=True" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"\x8d\xff", b'model: "half', b"- a list"])
def test_fragment_that_is_none_is_refused_before_any_training(tmp_path, content):
    fragment = tmp_path / "half.yaml"
    fragment.write_bytes(content)
    with pytest.raises(InputError, match=r"Expected .*half\.yaml to be a recipe fragment"):
        plan_runs(get_table("ccnet/4"), 1, fragment, tmp_path / "runs")
