"""The benchmark of memory over length, at a toy size."""

import json
from pathlib import Path

import pytest

from benchmarks import memory
from benchmarks.memory import (
    LENGTHS,
    ROWS,
    USES,
    Case,
    cases,
    exponent,
    make_model,
)
from benchmarks.record import check_record


def test_exponent_is_that_of_the_longest() -> None:
    lengths = [1000, 2000, 4000, 8000, 16000]
    assert exponent(lengths, [3 * n for n in lengths]) == pytest.approx(1)
    assert exponent(lengths, [n * n for n in lengths]) == pytest.approx(2)
    assert exponent(lengths, [900, 950, *(n / 4 for n in lengths[2:])]) == pytest.approx(1)
    assert exponent(lengths[:2], [1, 2]) == pytest.approx(1)


def test_cases() -> None:
    every = list(cases(list(ROWS), list(USES), LENGTHS))
    assert len(every) == (4 * len(USES) + 2) * len(LENGTHS)
    assert all(num_steps % 32 == 0 for num_steps in LENGTHS)
    assert max(LENGTHS) >= 20_000


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("row", ROWS)
def test_settings_of_each_case(row: str, use: str) -> None:
    model = make_model(Case(row, use, 1280))
    reads_in_chunks = "chunks" in use or "fixed" in row
    assert model.chunk_length == (1024 if reads_in_chunks else None)
    windows = {getattr(module, "window", None) for module in model.modules()}
    assert (19 in windows) == ("window" in use)


def test_memory_of_a_long_video_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own: one that has held more already would show nothing."""
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", str(2**20))  # as measuring sets it
    case = Case("LoCo", "inference, window 19", 5120)
    assert memory.measure([case], "cpu")[case] > 40  # 90 in the record


def test_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes are those of the memory above: here it is a hundredth of the length."""
    words = "memory --rows LoCo --uses inference --lengths 64 1280 --folder"
    monkeypatch.setattr("sys.argv", [*words.split(), str(tmp_path)])
    monkeypatch.setattr(memory, "measure", lambda chosen, _: {c: c.num_steps / 100 for c in chosen})
    memory.main()
    (path,) = tmp_path.rglob("*.json")
    record = json.loads(path.read_text())
    check_record(record, path)
    assert {score["name"]: score["values"] for score in record["scores"]} == {
        "LoCo, inference, 64 steps": [0.64],
        "LoCo, inference, 1280 steps": [12.8],
        "LoCo, inference: exponent": [pytest.approx(1)],
    }
