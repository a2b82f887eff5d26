"""The task: losses on odd batches, detection, prediction from arrays."""

from dataclasses import replace
from types import SimpleNamespace

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
@pytest.mark.parametrize("loss", ["diou", "giou", "smooth_l1"])
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


def test_every_step_hands_the_mask_of_the_sound_on() -> None:
    """NaN stands where there is no sound."""
    module, data = model().eval(), replace(ODD["one class"])
    data.audio_mask = data.mask & torch.tensor([[True], [False]])
    data.audio = data.audio.masked_fill(~data.audio_mask.unsqueeze(1), torch.nan)
    module.log = module.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
    assert module.training_step(data, 0).isfinite()
    with torch.no_grad():
        found = module.predict_step(data, 0)
    for events in found.values():
        assert events.scores is not None
        assert events.segments.isfinite().all()


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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"regression_loss": "ciou"}, "regression_loss.*'ciou'"),
        ({"protocol": "unav10"}, "unav10"),
        ({"absent_classes": [7]}, "absent_classes"),
        ({"nms": {"method": "magic"}}, "magic"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(**settings)


def test_videos_too_long_for_fixed_weights_are_refused_before_training() -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    module = model()
    trainer.datamodule = SimpleNamespace(  # type: ignore[attr-defined]
        length_multiple=32, max_length=64, longest_video=lambda stage: (f"of {stage}", 65)
    )
    module.trainer = trainer
    module.setup("fit")
    module.detector.fixed_length = True
    with pytest.raises(ValueError, match=r"steps of video 'of fit' to be at most 64, .* got 65"):
        module.setup("fit")


def test_data_for_a_flatter_pyramid_is_refused() -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    module = model()
    trainer.datamodule = SimpleNamespace(  # type: ignore[attr-defined]
        length_multiple=16, max_length=64
    )
    module.trainer = trainer
    with pytest.raises(ValueError, match="coarsest stride 32, got 16"):
        module.setup("fit")
