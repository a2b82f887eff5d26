"""The report as a browser leaves it after running its script; skipped where there is no browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.evaluation.report_pages import HOSTILE, Page, write

if TYPE_CHECKING:
    from pathlib import Path

CHROMIUM = next(
    filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs chromium on the path (Debian: apt-get install chromium)"
)


def run_in_browser(page: str, folder: Path, script: str = "") -> str:
    """Return the DOM after loading a page and then running `script` in it."""
    if script:  # the page's own policy would refuse a script that is not its own
        page = re.sub(r'<meta http-equiv="Content-Security-Policy".*?>', "", page, flags=re.DOTALL)
        page = page.replace("</body>", f"<script>{script}</script></body>")
    path = folder / "browser.html"
    path.write_text(page, encoding="utf-8", errors="replace")
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=2000",
        "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, timeout=120, check=True)
    return run.stdout.decode()


def test_script_draws_lanes_and_hostile_labels_stay_text(tmp_path: Path) -> None:
    page = Page(run_in_browser(write(tmp_path / "r.html", HOSTILE, HOSTILE[0]), tmp_path))
    assert "img" not in page.tags
    assert page.tags.count("script") == 2
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "hacked" not in page.words.replace("document.title='hacked'", "")
    classes = [value for name, value in page.attributes if name == "class"]
    assert classes.count("event") == 4 + 1  # four events, one in the legend
    assert classes.count("hit") == 4 + 1  # three exact ones; video 0 has a second with tIoU 4/7
    assert "6 of 9 detections shown" in page.words
    labels = [value for name, value in page.attributes if name == "aria-label"]
    for hostile in HOSTILE:
        assert any(label.startswith(f"{hostile}\nannotated, 2.00 ") for label in labels)


@pytest.mark.parametrize(
    ("min_score", "shown"), [("0", "9 of 9"), ("0.3", "6 of 9"), ("0.6", "3 of 9"), ("1", "0 of 9")]
)
def test_slider_filters_detections(tmp_path: Path, min_score: str, shown: str) -> None:
    script = f"""
        const input = document.getElementById("min-score");
        input.value = "{min_score}";
        input.dispatchEvent(new Event("input"));"""
    dom = run_in_browser(write(tmp_path / "r.html", ["dog", "cat"]), tmp_path, script)
    assert f"{shown} detections shown" in Page(dom).words


def test_arrow_keys_describe_bars(tmp_path: Path) -> None:
    script = """
        const lanes = document.querySelector(".lanes");
        const press = (key) =>
            lanes.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
        press("ArrowRight"); press("ArrowRight"); press("ArrowRight"); press("ArrowLeft");"""
    dom = run_in_browser(write(tmp_path / "r.html", ["dog"]), tmp_path, script)
    tooltip = re.search(r'<div id="tooltip"[^>]*>([^<]*)</div>', dom)
    assert tooltip is not None
    assert tooltip[1] == "dog\ndetected, 2.00 – 6.00 s, score 0.900"  # noqa: RUF001
    classes = [value for name, value in Page(dom).attributes if name == "class"]
    assert [value for value in classes if value.endswith(" current")] == ["hit current"]


@pytest.mark.parametrize(
    ("column", "clicks", "order"),
    [
        (0, 1, ["bell", "cat", "dog"]),
        (0, 2, ["dog", "cat", "bell"]),
        (1, 1, ["bell", "cat", "dog"]),
        (2, 1, ["bell", "dog", "cat"]),
        (3, 1, ["cat", "dog", "bell"]),
    ],
)
def test_headings_sort_the_class_table(
    tmp_path: Path, column: int, clicks: int, order: list[str]
) -> None:
    script = f'document.querySelectorAll("#classes thead button")[{column}].click();' * clicks
    dom = run_in_browser(write(tmp_path / "r.html", ["dog", "cat", "bell"]), tmp_path, script)
    assert re.findall(r'<th scope="row" title="(\w+)"', dom) == order
