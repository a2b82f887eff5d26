"""Output of commands in README and docs: run again, so that pages and program agree.

A block of a page names its command; the text up to the end mark is what the command printed:

    <!-- output: davezoo leaderboard docs/results/runs -->
    ...
    <!-- end -->

`python -m benchmarks.documented`, from the root of the repository, writes all blocks anew; a test
compares them. Runs that the blocks are about lie under `docs/results/runs`, without checkpoints.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
from pathlib import Path

from davezoo.cli import main as davezoo
from davezoo.evaluation.run_results import RunResult

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "docs/results/runs"
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_BLOCK = re.compile(r"(?<=<!-- output: davezoo )(.+?)( -->\n).*?(?=<!-- end -->)", re.DOTALL)


def render(page: str) -> str:
    """Return a page with the output of its commands.

    Args:
        page: text of the page, Markdown.

    Raises:
        davezoo.evaluation.results.ResultError: if a run under `docs/results` cannot be read; it
            would be trained anew.
    """
    for path in RUNS.rglob("plan.txt"):
        RunResult.read(path.with_name("run.json"))
    return _BLOCK.sub(lambda match: f"{match[1]}{match[2]}\n{_run(match[1])}\n", page)


def _run(command: str) -> str:
    """Return what a davezoo command prints."""
    printed = io.StringIO()
    with contextlib.chdir(ROOT), contextlib.redirect_stdout(printed):
        davezoo(shlex.split(command))
    return printed.getvalue().strip() + "\n"


def main() -> None:
    """Write the blocks of all pages anew."""
    for path in PAGES:
        page = path.read_text(encoding="utf-8")
        rendered = render(page)
        if rendered != page:
            path.write_text(rendered, encoding="utf-8")
            print(f"Wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
