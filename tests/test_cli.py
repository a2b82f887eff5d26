"""The command itself: help, unknown words, tools and their errors."""

import subprocess
import sys

import pytest

from davezoo import __version__
from davezoo.cli import TOOLS, TRAINING_COMMANDS, main


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


def test_bad_input_is_one_message_without_a_traceback(tmp_path: object) -> None:
    with pytest.raises(SystemExit, match=r"davezoo evaluate: .*nowhere\.json, got none"):
        main(["evaluate", "--predictions=p.json", f"--annotations={tmp_path}/nowhere.json"])


def test_help_of_the_tools_does_not_wait_for_pytorch() -> None:
    code = (
        "import sys\nfrom davezoo.cli import main\n"
        "for name in ['evaluate', 'report', 'simulate', 'convert']:\n"
        "    try: main([name, '--help'])\n"
        "    except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_module_is_the_command() -> None:
    command = [sys.executable, "-m", "davezoo", "--version"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == f"davezoo {__version__}\n"
