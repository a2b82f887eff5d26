"""`davezoo inspect` as a user calls it."""

from __future__ import annotations

from pathlib import Path

import pytest

from davezoo.cli import main

NARROW = ["--data.visual_width=16", "--data.audio_width=8"]


def test_terminal_and_page(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", "data/unav100.yaml", f"--data.root={root}", *NARROW]
    main(["inspect", *words, f"--output={tmp_path}/out"])
    printed = capsys.readouterr().out
    for title in ("Splits", "Lengths", "Events at the same time", "Training crops", "Features"):
        assert f"# {title}\n" in printed
    assert "--data.max_length=" in printed
    assert max(map(len, printed.splitlines())) < 400
    page = tmp_path / "out/inspection.html"
    assert printed.endswith(f"Wrote {page}\n")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_annotations_are_enough(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", "data/unav100.yaml", f"--data.root={root}", "--data.features=none"]
    ranges = "--regression_ranges=[[0,8],[8,10000]]"
    main(["inspect", *words, ranges, f"--output={tmp_path}/out"])
    printed = capsys.readouterr().out
    assert f"! There are no feature files in {root}/none" in printed
    assert "8 or more" in printed
    assert "# Features" not in printed


def test_labels_do_not_steer_the_terminal(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = root / "annotations/unav100_annotations.json"
    text = file.read_text(encoding="utf-8")
    label = "class 0" if '"class 0"' in text else text.partition('"label": "')[2].partition('"')[0]
    file.write_text(text.replace(f'"{label}"', '"\\u001b[2J"'), encoding="utf-8")
    main(["inspect", "--data", "data/unav100.yaml", f"--data.root={root}", *NARROW,
          f"--output={tmp_path}/out"])  # fmt: skip
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "?[2J" in printed


def test_without_data_it_says_what_to_give() -> None:
    with pytest.raises(SystemExit, match="davezoo inspect: Expected `--data` to name a data set"):
        main(["inspect"])
