"""The task: losses on odd batches, detection, prediction from arrays."""

from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import Trainer

from davezoo import UnAV
from davezoo.structures import Batch, FeatureGrid

GRID = FeatureGrid(fps=25, stride=8, window=24)


def model(**settings: object) -> UnAV:
    torch.manual_seed(0)
    small = {"width": 8, "head_width": 8, "max_length": 64, "num_heads": 2, **settings}
    return UnAV(["dog", "bell", "rain"], 6, 4, **small)  # type: ignore[arg-type]


def batch(lengths: list[int], segments: object, labels: object) -> Batch:
    torch.manual_seed(1)
    mask = torch.arange(64) < torch.tensor(lengths)[:, None]
    return Batch(
        visual=torch.randn(len(lengths), 6, 64) * mask[:, None],
        audio=torch.randn(len(lengths), 4, 64) * mask[:, None],
        mask=mask,
        segments=torch.tensor(segments),
        labels=torch.tensor(labels),
        video_ids=[f"v{index}" for index in range(len(lengths))],
        durations=[30.0] * len(lengths),
        grids=[GRID] * len(lengths),
    )


ODD = {
    "one video": batch([64], [[[3.0, 20.0]]], [[1]]),
    "no event": batch([64, 9], [[[0.0, 0.0]], [[0.0, 0.0]]], [[-1], [-1]]),
    "one class": batch([64, 9], [[[3.0, 20.0]], [[1.0, 8.0]]], [[2], [2]]),
    "one time step": batch([1, 1], [[[-0.5, 0.5]], [[0.0, 0.0]]], [[0], [-1]]),
}


@pytest.mark.parametrize("case", ODD)
@pytest.mark.parametrize("loss", ["diou", "giou"])
def test_odd_batches_train_without_nan(case: str, loss: str) -> None:
    module = model(regression_loss=loss)
    data = ODD[case]
    losses = module.losses(module(data.visual, data.audio, data.mask), data)
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    assert total.isfinite()
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    assert gradients
    assert all(g.isfinite().all() for g in gradients)


def test_no_event_has_no_regression_loss() -> None:
    module, data = model(), ODD["no event"]
    losses = module.losses(module(data.visual, data.audio, data.mask), data)
    assert losses["loss_reg"] == 0
    assert losses["loss_cls"] > 0


def test_normaliser_moves_only_while_training() -> None:
    module, data = model(), ODD["one video"]
    predictions = module(data.visual, data.audio, data.mask)
    module.eval().losses(predictions, data)
    assert module.loss_normalizer == 250
    module.train().losses(predictions, data)
    assert 225 < module.loss_normalizer < 250
    assert "loss_normalizer" in module.state_dict()


def test_label_smoothing_changes_the_targets() -> None:
    data = ODD["one video"]
    plain, smooth = model().eval(), model(label_smoothing=0.1).eval()
    predictions = plain(data.visual, data.audio, data.mask)
    assert plain.losses(predictions, data) != smooth.losses(predictions, data)


@pytest.mark.parametrize("precision", ["bf16"])
def test_low_precision_losses_are_float32(precision: str) -> None:
    module, data = model(), ODD["one class"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = module.losses(module(data.visual, data.audio, data.mask), data)
    assert {x.dtype for x in losses.values()} == {torch.float32}
    assert all(x.isfinite() for x in losses.values())


def test_events_lie_within_the_video() -> None:
    module, data = model(score_threshold=0.0).eval(), ODD["one class"]
    with torch.no_grad():
        found = module.detect(module(data.visual, data.audio, data.mask), data)
    for events in found:
        assert len(events) > 10
        assert (events.segments >= 0).all()
        assert (events.segments <= 30).all()
        assert events.scores is not None
        assert (events.scores.diff() <= 0).all()


def test_a_video_alone_and_in_a_batch_give_the_same_events() -> None:
    module, data = model().eval(), ODD["one class"]
    with torch.no_grad():
        together = module.detect(module(data.visual, data.audio, data.mask), data)[1]
        alone = module.detect(
            module(data.visual[1:], data.audio[1:], data.mask[1:]), ODD["one video"]
        )[0]
    torch.testing.assert_close(alone.segments, together.segments, atol=1e-4, rtol=0)
    assert torch.equal(alone.labels, together.labels)


# Prediction from arrays --------------------------------------------------------------------------


def test_prediction_is_that_of_the_data_module(tmp_path: Path) -> None:
    """Arrays as on disk, a video shorter than the position table."""
    rng = np.random.default_rng(0)
    visual, audio = rng.normal(size=(40, 6)), rng.normal(size=(38, 4))
    module = model()
    events = module.predict(visual, audio, min_score=0.0)
    assert {event.label for event in events} <= {"dog", "bell", "rain"}
    last = (37 * 8 + 24) / 25
    assert all(0 <= event.start <= event.end <= last + 1e-5 for event in events)
    assert [event.score for event in events] == sorted((e.score for e in events), reverse=True)
    assert module.training  # as it was
    few = module.predict(visual, audio, min_score=events[3].score)
    assert few == [event for event in events if event.score >= events[3].score]


def test_prediction_on_another_grid_has_other_seconds() -> None:
    rng = np.random.default_rng(0)
    visual, audio = rng.normal(size=(18, 6)), rng.normal(size=(18, 4))
    module = model()
    fine = module.predict(visual, audio)
    coarse = module.predict(visual, audio, grid=FeatureGrid(25, 24, 24))
    assert max(e.end for e in coarse) > max(e.end for e in fine)
    assert max(e.end for e in coarse) <= 18 * 24 / 25 + 1e-5


@pytest.mark.parametrize(
    ("visual", "audio", "message"),
    [
        (np.zeros((6, 40)), np.zeros((40, 4)), "visual.*time first"),
        (np.zeros((40, 6)), np.zeros((40, 5)), "audio.*(T, 4)"),
        (np.zeros((0, 6)), np.zeros((40, 4)), "at least one step"),
        (np.full((40, 6), np.nan), np.zeros((40, 4)), "NaN"),
        (np.zeros((40, 6)), np.full((40, 4), np.inf), "audio.*NaN or Inf"),
    ],
)
def test_arrays_that_are_refused(visual: object, audio: object, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
        model().predict(visual, audio)  # type: ignore[arg-type]


def test_longer_than_the_position_table() -> None:
    rng = np.random.default_rng(0)
    events = model().predict(rng.normal(size=(100, 6)), rng.normal(size=(100, 4)))
    assert max(event.end for event in events) > 64 * 8 / 25


def test_score_without_a_data_module_says_what_is_missing() -> None:
    loader = torch.utils.data.DataLoader([0])
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False
    )
    with pytest.raises(ValueError, match="EventDataModule"):
        trainer.validate(model(), loader)


def test_abstract() -> None:
    from davezoo.task import EventLocalizer

    with pytest.raises(TypeError, match="abstract"):
        EventLocalizer(None, [], GRID)  # type: ignore[abstract, arg-type]
