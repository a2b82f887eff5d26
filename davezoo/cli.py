"""The command `davezoo`: training commands through LightningCLI, file tools as plain functions."""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from davezoo.errors import InputError
from davezoo.recipes import find_recipe

TRAINING_COMMANDS = {
    "fit": "train a model, choose its best epoch by validation mAP",
    "validate": "score a checkpoint on the validation split",
    "test": "score a checkpoint on the test split; write detections, result and report",
    "predict": "write the detections of a checkpoint to a file",
}

# Module and function, a line of help, and the parameters that come without their names.
TOOLS: dict[str, tuple[str, ...]] = {
    "evaluate": ("davezoo.evaluation.evaluate:evaluate", "score a detections file"),
    "report": ("davezoo.reports:report", "make the HTML report of a detections file"),
    "leaderboard": (
        "davezoo.leaderboards.leaderboard:leaderboard",
        "set the test results of runs in a table beside published ones",
        "runs",
    ),
    "reproduce": (
        "davezoo.leaderboards.reproduce:reproduce",
        "train and test all rows of a published table",
    ),
    "diagnose": (
        "davezoo.diagnosis.diagnose:diagnose",
        "say why detections are wrong, on one HTML page",
    ),
    "analyze": (
        "davezoo.analysis.analyze:analyze",
        "draw the papers' figures of features, gates and windows",
    ),
    "compare": (
        "davezoo.evaluation.compare:compare",
        "say how sure a difference between two detections files is",
        "first",
        "second",
    ),
    "join-epic": (
        "davezoo.evaluation.joint_actions:join_epic",
        "pair detected verbs and nouns of EPIC-Kitchens into actions",
    ),
    "simulate": ("davezoo.data.synthetic:simulate", "write a simulated data set"),
    "pack": ("davezoo.data.packer:pack", "put many small feature files into a few large ones"),
    "inspect": ("davezoo.inspection.inspect:inspect", "show what a data set looks like"),
    "convert": ("davezoo.convert:convert", "turn a published checkpoint into one of ours"),
}

COMPLEXITY = "complexity", "count parameters and multiply-accumulates of a recipe"


def main(args: Sequence[str] | None = None) -> None:
    """Run a command line.

    Args:
        args: words after `davezoo`; those of the process by default.
    """
    words = list(sys.argv[1:] if args is None else args)
    command = words[0] if words else "--help"
    if command in ("-h", "--help"):
        sys.stdout.write(_overview())
    elif command == "--version":
        from davezoo import __version__

        sys.stdout.write(f"davezoo {__version__}\n")
    else:
        try:
            _run(command, words)
        except Exception as error:
            bad_input = _bad_input(error)
            if bad_input is None:
                raise
            # Bad input, said in full by the message; a traceback would hide it. From a process that
            # loads data the message comes with one of its own, before the last "Error: ".
            message = str(bad_input)
            if "Original Traceback" in message:
                message = message.rpartition("Error: ")[2].strip()
            sys.exit(f"davezoo {command}: {message}")


def _bad_input(error: Exception) -> BaseException | None:
    """Return the error that speaks of the input: this one or a cause of it; None if it is a bug.

    jsonargparse raises an error of its own from ours, whose message buries it among all settings.
    """
    if isinstance(error, OSError):
        return error
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, InputError):
        cause = cause.__cause__
    return cause


def _run(command: str, words: list[str]) -> None:
    """Import what a command needs, and run it."""
    if command in TOOLS:
        _run_tool(command, words[1:])
    elif command in TRAINING_COMMANDS:
        from davezoo.training import run_training_command

        run_training_command(words)
    elif command == COMPLEXITY[0]:
        from davezoo.complexity import run_complexity_command

        run_complexity_command(words[1:])
    else:
        known = [*TRAINING_COMMANDS, *TOOLS, COMPLEXITY[0]]
        near = difflib.get_close_matches(command, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "see davezoo --help."
        raise InputError(f"there is no such command; {hint}")


def _run_tool(name: str, args: list[str]) -> None:
    """Import one tool and give it its arguments; its signature and docstring are the help."""
    import jsonargparse

    place, _, *positional = TOOLS[name]
    module, _, function = place.partition(":")
    tool = getattr(importlib.import_module(module), function)
    about = (inspect.getdoc(tool) or "").partition("\n\nArgs:")[0]
    parser = jsonargparse.ArgumentParser(prog=f"davezoo {name}", description=about)
    parameters = inspect.signature(tool).parameters
    on_data = "data" in parameters
    args = _with_values(args, [f"--{x}" for x, of in parameters.items() if of.default is False])
    several = [name for name in positional if str(parameters[name].annotation).startswith("list")]
    for parameter in several:  # none at all where it may be left out
        count = "+" if parameters[parameter].default is inspect.Parameter.empty else "*"
        parser.add_argument(
            parameter, type=Path, nargs=count, default=[], help="folders, or files of results"
        )
    if len(several) < len(positional):
        single = [name for name in positional if name not in several]
        others: set[str | int] = {name for name in parameters if name not in single}
        parser.add_function_arguments(
            tool, as_group=False, as_positional=True, sub_configs=False, skip=others
        )
    skip: set[str | int] = {*positional, *(["data"] if on_data else [])}
    parser.add_function_arguments(tool, as_positional=False, sub_configs=False, skip=skip)
    args = _with_lists(args, tool)
    if not on_data:
        tool(**parser.instantiate_classes(parser.parse_args(args)))
        return
    from davezoo.data import EventDataModule

    # The data set as the training commands take it: that of a checkpoint, or a file, and single
    # settings that overrule it.
    parser.add_class_arguments(EventDataModule, "data")
    of_checkpoint = _data_of_checkpoint(args) if "ckpt_path" in parameters else {}
    parser.set_defaults({f"data.{name}": value for name, value in of_checkpoint.items()})
    settings = parser.instantiate_classes(parser.parse_args(_with_packaged_data(args)))
    named = any(word.partition("=")[0].partition(".")[0] == "--data" for word in args)
    if not named and not of_checkpoint:
        settings.data = None
    tool(**settings)


def _data_of_checkpoint(words: list[str]) -> dict[str, Any]:
    """Return the settings of the data set that a checkpoint was trained on; {} without one."""
    from davezoo.options import value_of

    path = value_of(words, "--ckpt_path")
    if path is None:
        return {}
    from davezoo.checkpoints import data_of, read_own_checkpoint

    return data_of(read_own_checkpoint(path))


def _with_values(words: list[str], switches: list[str]) -> list[str]:
    """Return the words with `=true` behind options that stand alone for yes."""
    return [
        f"{word}=true" if word in switches and after not in ("true", "false") else word
        for word, after in zip(words, [*words[1:], ""], strict=False)
    ]


def _with_lists(words: list[str], tool: Callable[..., None]) -> list[str]:
    """Return the words with lists the way that jsonargparse takes them, one value a time.

    `--names ours base` becomes `--names+=ours --names+=base`; `--names [ours,base]` stays.
    """
    parameters = inspect.signature(tool).parameters.items()
    lists = {f"--{name}" for name, parameter in parameters if "list[" in str(parameter.annotation)}
    found: list[str] = []
    option = ""  # the last one
    for word in words:
        if word.startswith("--"):
            option = word
        elif option in lists and word != "null" and not word.startswith("["):
            if found[-1] == option:
                found.pop()
            word = f"{option}+={word}"
        found.append(word)
    return found


def _with_packaged_data(words: list[str]) -> list[str]:
    """Return the words with the path of a packaged data file where `--data` names one."""
    found = []
    for before, word in zip(["", *words], words, strict=False):
        name, is_option, value = word.partition("=")
        if before == "--data":
            found.append(find_recipe(word))
        elif name == "--data" and is_option:
            found.append(f"--data={find_recipe(value)}")
        else:
            found.append(word)
    return found


def _overview() -> str:
    """Return the help of the bare command; imports nothing."""
    width = max(map(len, [*TRAINING_COMMANDS, *TOOLS, COMPLEXITY[0]])) + 2
    training = "\n".join(f"  {name:<{width}}{text}" for name, text in TRAINING_COMMANDS.items())
    described = [*((name, text) for name, (_, text, *_) in TOOLS.items()), COMPLEXITY]
    tools = "\n".join(f"  {name:<{width}}{text}" for name, text in described)
    return f"""usage: davezoo COMMAND [options]

A model zoo for dense audio-visual event localization.

training commands (start with a recipe: --config quickstart.yaml, --config unav.yaml):
{training}

file tools:
{tools}

Each command explains itself: davezoo COMMAND --help.
"""
