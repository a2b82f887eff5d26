"""Pages show what commands print; each is run again."""

from shutil import copytree

import pytest

from benchmarks import documented
from davezoo.evaluation.results import ResultError

PAGES = [page for page in documented.PAGES if "<!-- output: " in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", PAGES, ids=[path.name for path in PAGES])
def test_page_shows_what_its_commands_print(path):
    page = path.read_text(encoding="utf-8")
    assert documented.render(page) == page, "run `python -m benchmarks.documented`"


def test_readme_and_reproduce_are_among_them():
    assert {"README.md", "reproduce.md"} <= {path.name for path in PAGES}


def test_outdated_block_is_written_anew():
    command = "<!-- output: davezoo leaderboard docs/results/runs/loco.yaml -->\n"
    page = documented.render(f"above\n{command}outdated\n<!-- end -->\nbelow")
    assert page.startswith(f"above\n{command}\n### unav100")
    assert page.endswith("|\n\n<!-- end -->\nbelow")
    assert "outdated" not in page


def test_damaged_run_is_not_trained_anew(tmp_path, monkeypatch):
    copytree(documented.RUNS / "loco.yaml", tmp_path / "loco.yaml")
    (tmp_path / "loco.yaml/seed_1/run.json").write_text("{")
    monkeypatch.setattr(documented, "RUNS", tmp_path)
    with pytest.raises(ResultError, match=r"seed_1.run\.json"):
        documented.render("")
