"""The benchmark of all methods side by side, at a toy size."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks import methods
from benchmarks.methods import FEATURES, ROWS, full_batch, make_model
from benchmarks.record import check_record


@pytest.fixture
def _restored() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.usefixtures("_restored")
def test_quick_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = "methods --quick --rows UnAV CCNet --features i3d --repeats 1 --device cpu --folder"
    monkeypatch.setattr("sys.argv", [*words.split(), str(tmp_path)])
    methods.main()
    (path,) = tmp_path.rglob("*.json")
    record = json.loads(path.read_text())
    check_record(record, path)
    names = [
        f"{what}, I3D and VGGish, {row}" for what in ("step", "video") for row in ("UnAV", "CCNet")
    ]
    assert [m["name"] for m in record["measurements"]] == names
    assert all("peak memory" in m["problem"] for m in record["measurements"])
    assert [r["name"] for r in record["ratios"]] == [
        "step, I3D and VGGish: CCNet over UnAV",
        "video, I3D and VGGish: CCNet over UnAV",
    ]


@pytest.mark.parametrize("features", FEATURES.values(), ids=list(FEATURES))
@pytest.mark.parametrize("row", ROWS)
def test_rows_are_of_full_size(row: str, features: methods.Features) -> None:
    with torch.device("meta"):
        model = make_model(row, features)
    assert type(model).__name__ == ROWS[row][0]
    assert model.detector.num_classes == 100
    assert model.detector.max_length == features.size.num_steps
    batch = full_batch(features, 2)
    assert batch.mask.all()
    assert batch.visual.shape == (2, model.detector.visual_width, model.detector.max_length)
