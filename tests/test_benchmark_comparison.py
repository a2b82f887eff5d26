"""The comparison of methods: every row can be built, and a run leaves what the record needs."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch.cli import LightningArgumentParser

from benchmarks import comparison
from benchmarks.comparison import (
    DATA,
    RECIPE,
    ROWS,
    finished_scores,
    folder_of,
    format_table,
    setting_words,
)
from benchmarks.record import Score
from davezoo.complexity import make_parser
from davezoo.recipes import FOLDER

TINY = replace(DATA, num_train=4, num_validation=1, num_test=2, max_duration=25.0)


@pytest.fixture(scope="module")
def parser() -> LightningArgumentParser:
    return make_parser()


@pytest.fixture
def _restored() -> Iterator[None]:
    """A run sets threads and level of the log for its process."""
    threads, logger = torch.get_num_threads(), logging.getLogger("lightning.pytorch")
    level = logger.level
    yield
    torch.set_num_threads(threads)
    logger.setLevel(level)


@pytest.mark.parametrize("row", ROWS)
def test_row_can_be_built(parser: LightningArgumentParser, row: str, tmp_path: Path) -> None:
    method, *settings = ROWS[row]
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(method=method, epochs=1))
    words = setting_words(settings)
    config = parser.parse_args([f"--config={recipe}", *words])
    with torch.device("meta"):
        model = parser.instantiate_classes(config).model
    assert type(model).__name__ == method
    width = 64 if "modalities=" in str(settings) else 128
    assert model.detector.heads.classification.norms[0].weight.numel() == 64
    if hasattr(model.detector, "fused_width"):
        assert model.detector.fused_width == width


@pytest.mark.slow
@pytest.mark.usefixtures("_restored")
def test_run_is_kept_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(comparison, "DATA", TINY)
    words = (
        f"comparison --work {tmp_path}/work --rows UnAV --seeds 3 --epochs 1 --folder {tmp_path}"
    )
    monkeypatch.setattr("sys.argv", words.split())
    comparison.write_simulation(tmp_path / "work" / "data", TINY)
    comparison.train("UnAV", 3, 1, tmp_path / "work")
    run = folder_of(tmp_path / "work", "UnAV", 3, 1)
    before = (run / "result.json").stat().st_mtime_ns
    comparison.main()
    assert (run / "result.json").stat().st_mtime_ns == before
    assert "| UnAV |" in capsys.readouterr().out
    (score,) = finished_scores([3], 1, TINY, tmp_path / "work")
    assert score.seeds == [3]
    assert 0 <= score.values[0] <= 100
    assert finished_scores([3, 4], 1, TINY, tmp_path / "work") == []


def test_record_tells_the_recipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(comparison, "score_of", lambda run: 50.0)
    problem = finished_scores([0], 12, DATA, tmp_path)[0].problem
    recipe = yaml.safe_load(RECIPE.format(method="UnAV", epochs=12))
    rate = recipe["model"]["init_args"]["learning_rate"]
    clipping = yaml.safe_load((FOLDER / "base.yaml").read_text())["trainer"]["gradient_clip_val"]
    of_del = yaml.safe_load((FOLDER / "del.yaml").read_text())["trainer"]["gradient_clip_val"]
    for part in (
        f"learning rate {rate:g}",
        f"batch {recipe['data']['batch_size']}",
        f"clipped at norm {clipping} (DEL's own recipe: {of_del})",
    ):
        assert part in problem


def test_folders_of_rows_differ(tmp_path: Path) -> None:
    assert len({folder_of(tmp_path, row, 0, 1) for row in ROWS}) == len(ROWS)


def test_table_has_mean_and_spread() -> None:
    table = format_table([Score("LoCo", "data", [0, 1, 2], [40.0, 42.0, 44.0])])
    assert table.splitlines()[-1] == "| LoCo | 42.0 ± 2.0 | 40.0, 42.0, 44.0 |"
