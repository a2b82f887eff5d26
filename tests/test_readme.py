"""The README's two command lines are what `.ci/run` runs, and what it names exists."""

import re
from pathlib import Path

import pytest

from davezoo.cli import TOOLS, TRAINING_COMMANDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["quickstart", "tests"])
def test_command_line_is_marked_for_ci(name: str) -> None:
    block = re.search(rf"<!-- {name} -->\n```bash\n(.*?)\n```", README, re.DOTALL)
    assert block is not None
    assert len(block[1].splitlines()) == 1
    assert f"command_of {name}" in (ROOT / ".ci/run").read_text()


def test_commands_exist() -> None:
    named = set(re.findall(r"^davezoo (\w+)", README, re.MULTILINE))
    assert named
    assert named <= {*TRAINING_COMMANDS, *TOOLS, "complexity"}


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
