"""The command itself: help, unknown words, tools and their errors."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from davezoo import __version__
from davezoo.cli import TOOLS, TRAINING_COMMANDS, main
from davezoo.errors import InputError


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_overview_names_every_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(words)
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in [*TRAINING_COMMANDS, *TOOLS, "complexity"])


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    assert capsys.readouterr().out == f"davezoo {__version__}\n"


@pytest.mark.parametrize(
    ("word", "hint"), [("evalute", "did you mean 'evaluate'"), ("xyzzy", "davezoo --help")]
)
def test_unknown_command(word: str, hint: str) -> None:
    with pytest.raises(SystemExit, match=hint):
        main([word])


@pytest.mark.parametrize("tool", TOOLS)
def test_help_of_a_tool_says_what_it_does(tool: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([tool, "--help"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert f"davezoo {tool}" in printed
    assert "None" not in printed.partition("options:")[0]


@pytest.mark.parametrize("tool", TOOLS)
def test_unknown_option_of_a_tool_is_named(tool: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([tool, "--protcol=x"])
    assert "protcol" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "predictions", "names"),
    [
        (["--predictions", "a", "b", "--names", "x", "y"], ["a", "b"], ["x", "y"]),
        (["--predictions", "a", "--names=[x,y]"], ["a"], ["x", "y"]),
        (["--predictions", "[a,b]", "--names", "x"], ["a", "b"], ["x"]),
        (["--predictions+=a", "--predictions+=b", "--names", "null"], ["a", "b"], None),
        (["--predictions=a"], "a", None),
    ],
)
def test_lists_of_a_tool(
    words: list[str], predictions: object, names: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, object] = {}

    def tool(predictions: list[str] | str, names: list[str] | None = None, split: str = "") -> None:
        """Take lists."""
        given.update(predictions=predictions, names=names, split=split)

    monkeypatch.setattr("davezoo.reports.report", tool)
    main(["report", *words, "--split", "test"])
    assert given == {"predictions": predictions, "names": names, "split": "test"}


def test_bad_input_is_one_message_without_a_traceback(tmp_path: object) -> None:
    with pytest.raises(SystemExit, match=r"davezoo evaluate: .*nowhere\.json, got none"):
        main(["evaluate", "--predictions=p.json", f"--annotations={tmp_path}/nowhere.json"])


@pytest.mark.parametrize("words", [["--list"], ["--list=true"], ["--list", "true"]])
def test_yes_needs_no_value(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["reproduce", *words])
    assert "loco/II" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="got none; name one with --table"):
        main(["reproduce", "--list", "false"])


REFUSED = {
    "window_size=3": r"Expected `window_size` to be an even number of steps, got 3; .*",
    "num_heads=3": r"Expected `num_heads` to divide `width`, got 3 heads and width \d+; .*",
    "num_heads=0": r"Expected `num_heads` to divide `width`, got 0 heads and width \d+; .*",
    "nms.sigma=-1": r"Expected `sigma` to be positive, got -1\.0; .*",  # two wrappings deep
    "correspondence_weight=-1": r"Expected `correspondence_weight` to be at least 0, got -1\.0; .*",
}


@pytest.mark.parametrize(("setting", "message"), REFUSED.items())
def test_refused_model_is_one_message_of_complexity(setting: str, message: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["complexity", "--config=loco.yaml", f"--model.init_args.{setting}"])
    assert re.fullmatch(f"davezoo complexity: {message}", str(caught.value.code))


def test_refused_model_is_one_message_of_fit(tmp_path: Path) -> None:
    small = ["--data.simulation.num_train=1", "--data.simulation.num_validation=1"]
    small += ["--data.simulation.num_test=1", "--data.simulation.max_duration=15"]
    folders = [f"--data.root={tmp_path}/data", f"--trainer.default_root_dir={tmp_path}/run"]
    words = ["--model.init_args.num_heads=3", "--trainer.accelerator=cpu", *small, *folders]
    with pytest.raises(SystemExit) as caught:
        main(["fit", "--config=quickstart.yaml", *words])
    assert re.fullmatch(f"davezoo fit: {REFUSED['num_heads=3']}", str(caught.value.code))
    assert not (tmp_path / "run").exists()


def test_length_that_does_not_fit_is_one_message() -> None:
    with pytest.raises(SystemExit, match=r"^davezoo complexity: Expected T .* stride 32, got 100"):
        main(["complexity", "--config=loco.yaml", "--length=100"])


def test_faults_of_our_own_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(command: str, words: list[str]) -> None:
        try:
            raise InputError("handled, and not what stopped the command")
        except InputError:
            {}["bug"]

    monkeypatch.setattr("davezoo.cli._run", broken)
    with pytest.raises(KeyError, match="bug"):
        main(["evaluate"])


def test_help_of_the_tools_does_not_wait_for_pytorch() -> None:
    code = (
        "import sys\nfrom davezoo.cli import main\n"
        "for name in ['evaluate', 'report', 'diagnose', 'simulate', 'convert']:\n"
        "    try: main([name, '--help'])\n"
        "    except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_module_is_the_command() -> None:
    command = [sys.executable, "-m", "davezoo", "--version"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == f"davezoo {__version__}\n"
