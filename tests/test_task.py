"""The task: losses on odd batches, detection, prediction from arrays."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning import Trainer

from davezoo import LoCo, UnAV
from davezoo.annotations import read_annotations
from davezoo.annotations.video_scores import VideoScores
from davezoo.structures import Batch, FeatureGrid
from davezoo.task import EventLocalizer

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


def with_data(module: EventLocalizer, **lengths: dict[str, int]) -> EventLocalizer:
    """Let a module meet a data module that tells the lengths of its videos by stage."""
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.datamodule = SimpleNamespace(  # type: ignore[attr-defined]
        length_multiple=32, max_length=64, video_lengths=lengths.__getitem__
    )
    module.trainer = trainer
    return module


def test_long_videos_are_counted_before_training(caplog: pytest.LogCaptureFixture) -> None:
    lengths = {"a": 64, "b": 65, "c": 200}
    module = with_data(model(chunk_length=64), fit=lengths, validate={"a": 64})
    with caplog.at_level("INFO"):
        module.setup("fit")
    assert "2 of 3 videos are longer than 64 steps: they are read in chunks" in caplog.text
    caplog.clear()
    for settings, found in [({}, lengths), ({"chunk_length": 64}, {"a": 64})]:
        with_data(model(**settings), fit=found, validate=found).setup("fit")
    assert "chunks" not in caplog.text


def test_validation_loss_is_of_one_kind_where_videos_are_read_in_chunks() -> None:
    """LoCo's own loss needs the features of the whole video."""
    module = LoCo(["dog", "bell", "rain"], 6, 4, width=8, head_width=8, max_length=64)
    module.eval()
    module.metric = SimpleNamespace(update=lambda *_: None)  # type: ignore[assignment]
    logged = {}
    module.log = lambda name, value, **_: logged.update({name: value})  # type: ignore[method-assign]
    data = ODD["one class"]
    losses = module.losses(module(*data.inputs), data)
    assert set(losses) == {"loss_cls", "loss_reg", "loss_correspondence"}
    for validated, names in [({"a": 64}, set(losses)), ({"b": 65}, {"loss_cls", "loss_reg"})]:
        module.chunk_length = 64
        with_data(module, fit=validated, validate=validated).setup("fit")
        module.validation_step(data, 0)
        expected = torch.stack([losses[name] for name in names]).sum()
        torch.testing.assert_close(logged["val/loss"], expected)


def test_data_for_a_flatter_pyramid_is_refused() -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    module = model()
    trainer.datamodule = SimpleNamespace(  # type: ignore[attr-defined]
        length_multiple=16, max_length=64
    )
    module.trainer = trainer
    with pytest.raises(ValueError, match="coarsest stride 32, got 16"):
        module.setup("fit")


def class_agnostic_data(tmp_path: Path) -> SimpleNamespace:
    """Return data of which a model learns `event`, with a classifier of their videos."""
    truth = {
        "a": {
            "subset": "test",
            "duration": 30.0,
            "annotations": [{"segment": [1, 9], "label": "x"}],
        },
        "b": {
            "subset": "test",
            "duration": 30.0,
            "annotations": [{"segment": [2, 8], "label": "z"}],
        },
        "c": {
            "subset": "test",
            "duration": 30.0,
            "annotations": [{"segment": [3, 7], "label": "y"}],
        },
    }
    (tmp_path / "truth.json").write_text(json.dumps({"database": truth}))
    annotations = read_annotations(tmp_path / "truth.json")
    scores = VideoScores(
        {"a": 0, "b": 1}, np.array([[0.9, 0.1, 0.4], [0.0, 0.5, 0.64]]), annotations.class_names
    )
    return SimpleNamespace(
        length_multiple=32,
        max_length=64,
        class_names=["event"],
        protocol="activitynet13-blocked",
        blocked_videos=["c"],
        video_scores=scores,
        split_of=lambda stage: stage,
        ground_truth=annotations.split,
    )


def test_external_scores_name_the_events_of_a_class_agnostic_model(tmp_path: Path) -> None:
    """Each event twice, with the two best classes of its video; none without a score."""
    small = {"width": 8, "head_width": 8, "max_length": 64, "num_heads": 2}
    module = UnAV(["event"], 6, 4, score_threshold=0.0, **small).eval()  # type: ignore[arg-type]
    data = batch([64, 30, 64], [[[0.0, 0.0]]] * 3, [[-1]] * 3)
    data.video_ids = ["a", "b", "c"]
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.datamodule = class_agnostic_data(tmp_path)  # type: ignore[attr-defined]
    module.trainer = trainer
    with torch.no_grad():
        proposals = module.detect(module(*data.inputs), data)
        assert module.predict_step(data, 0)["a"].labels.unique().tolist() == [0]
        module.setup("test")
        module.on_test_epoch_start()
        found = module.test_step(data, 0)
    assert module.detected_class_names == ["x", "y", "z"]
    for video, own, best in [("a", proposals[0], [0, 2]), ("b", proposals[1], [2, 1])]:
        assert len(found[video]) == 2 * len(own)
        assert found[video].labels.unique().tolist() == sorted(best)
        assert found[video].labels[0] == best[0]
        top = {"a": 0.9, "b": 0.64}[video]
        torch.testing.assert_close(found[video].scores[0], (top * own.scores[0]).sqrt())
        torch.testing.assert_close(found[video].segments[0], own.segments[0])
    assert len(proposals[2]) > 0
    assert len(found["c"]) == 0
    metric = module.metric
    assert metric is not None
    assert metric.protocol.name == "activitynet13-blocked"
    assert metric.ground_truth.video_ids == ["a", "b"]


def test_a_model_of_all_classes_is_refused_by_class_agnostic_data(tmp_path: Path) -> None:
    module = model()
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.datamodule = class_agnostic_data(tmp_path)  # type: ignore[attr-defined]
    module.trainer = trainer
    module.setup("test")
    with pytest.raises(ValueError, match=r"1 classes \(event, ...\) for a model of 3"):
        module.on_test_epoch_start()
