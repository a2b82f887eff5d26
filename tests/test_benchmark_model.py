"""The benchmark of whole models, at a toy size."""

import json

import pytest
import torch

from benchmarks import model
from benchmarks.model import QUICK, Size, make_batch, realistic_lengths
from benchmarks.record import check_record


@pytest.fixture
def keep_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["unav", "ccnet"])
def test_quick_run(tmp_path, monkeypatch, keep_threads, method):
    words = f"model --quick --method {method} --threads 1 --repeats 1 --folder {tmp_path}"
    monkeypatch.setattr("sys.argv", words.split())
    model.main()
    (path,) = tmp_path.rglob("*.json")
    record = json.loads(path.read_text())
    check_record(record, path)
    assert record["threads"] == 1
    tasks = ("step, 1 thread", "step, real lengths, 1 thread", "video, 1 thread")
    names = [f"{task}, {side}" for task in tasks for side in ("davezoo", "plain")]
    assert [m["name"] for m in record["measurements"]] == names
    assert [r["name"] for r in record["ratios"]] == [f"{task}: plain over ours" for task in tasks]
    assert all("peak memory" in m["problem"] for m in record["measurements"][:2])


def test_sides_that_differ_are_not_timed(monkeypatch):
    def wrong(size, made):
        reference = original(size, made)
        torch.nn.init.zeros_(reference.neck.temporal.add_mlp.scale)
        return reference

    original = model.make_plain
    monkeypatch.setattr(model, "make_plain", wrong)
    with pytest.raises(AssertionError, match="not close"):
        model.make_trainings(QUICK, "cpu")


def test_steps_of_both_sides_stay_together():
    """Without dropped paths both trainings go the same way: optimiser, clipping and average."""
    torch.manual_seed(0)
    ours, plain = model.make_trainings(QUICK, "cpu")
    for module in [*ours.model.modules(), *plain.network.modules()]:
        if hasattr(module, "drop_path"):
            module.drop_path = 0.0
    for seed in range(3):
        batch = make_batch(QUICK, [64, 40], 64, seed)
        ours.step(batch)
        plain.step(batch)
    with torch.no_grad():
        batch = make_batch(QUICK, [64, 40], 64, seed=9)
        torch.testing.assert_close(ours.loss(batch), plain.loss(batch), rtol=1e-3, atol=0)
    averaged = plain.network.layout(ours.average.module.detector.state_dict())
    for name, expected in plain.average.named_parameters():
        # Three steps of AdamW change a weight by 3e-4 at most, 0.1 % of it reaches the average.
        torch.testing.assert_close(averaged[name], expected, rtol=0, atol=4e-4, msg=name)


def test_batches_differ_in_their_padding_alone():
    short, full = make_batch(QUICK, [20, 30], 32, 0), make_batch(QUICK, [20, 30], 64, 0)
    assert torch.equal(short.visual, full.visual[..., :32])
    assert torch.equal(short.mask, full.mask[:, :32])
    assert not full.visual[0, :, 20:].any()
    assert torch.equal(short.segments, full.segments)
    assert torch.equal(short.labels, full.labels)


@pytest.mark.parametrize("count", [3, 20])
def test_realistic_lengths(count):
    lengths = torch.tensor(realistic_lengths(Size(), count), dtype=torch.float32)
    assert lengths.shape == (count, 2)
    assert 1 <= lengths.min() <= lengths.max() <= 224
    assert 120 < lengths.mean() < 140
    toy = torch.tensor(realistic_lengths(QUICK, count), dtype=torch.float32)
    assert toy.mean() == pytest.approx(float(lengths.mean()) * 64 / 224, abs=1)
