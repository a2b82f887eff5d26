"""`davezoo complexity`: the figures of LoCo's Table VII (all rows: tests of the method)."""

import pytest

from davezoo.cli import main


def test_prints_the_figures_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    widths = ["--data.visual_width=1536", "--data.audio_width=1536", "--data.max_length=256"]
    main(["complexity", "--config", "unav.yaml", *widths])
    names, values = capsys.readouterr().out.splitlines()
    assert "layer GMACs" in names
    assert values.split() == ["UnAV", "256", "140.79", "60.28", "140.92", "3.97"]


def test_options_change_the_network(capsys: pytest.CaptureFixture[str]) -> None:
    main(["complexity", "--config", "unav.yaml", "--model.init_args.dependency=false"])
    assert "60.70" in capsys.readouterr().out  # 60,696,882 parameters without the block


def test_layers_that_only_train_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    rows = []
    for objective in ("adjustable_gaussian", "none"):
        option = f"--model.init_args.correspondence={objective}"
        main(["complexity", "--config", "loco.yaml", option])
        rows.append(capsys.readouterr().out.splitlines()[-1].split()[:4])
    assert rows == [["LoCo", "256", "103.74", "31.45"], ["LoCo", "256", "102.95", "31.25"]]
