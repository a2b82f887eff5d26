"""The nouns: conversion between seconds and grid steps, and moving tensors."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from davezoo.errors import InputError
from davezoo.structures import Batch, DetectedEvent, Events, FeatureGrid, Predictions

UNAV100 = FeatureGrid(fps=25, stride=8, window=24)


# FeatureGrid -------------------------------------------------------------------------------------


def test_steps_of_unav100():
    seconds = torch.tensor([0.0, 0.48, 0.8, 60.0])
    expected = torch.tensor([-1.5, 0.0, 1.0, 186.0])  # (seconds * 25 - 12) / 8
    torch.testing.assert_close(UNAV100.to_grid(seconds), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(UNAV100.to_seconds(expected), seconds, rtol=0, atol=1e-6)


@given(
    fps=st.floats(1, 120),
    stride=st.floats(1, 64),
    window=st.floats(1, 64),
    seconds=st.floats(-10, 20_000),
)
def test_there_and_back(fps, stride, window, seconds):
    grid = FeatureGrid(fps, stride, window)
    times = torch.tensor([seconds], dtype=torch.float64)
    torch.testing.assert_close(grid.to_seconds(grid.to_grid(times)), times, rtol=1e-9, atol=1e-9)


@given(step=st.integers(0, 1000))
def test_a_step_lies_at_the_centre_of_its_window(step):
    first_frame, last_frame = step * 8, step * 8 + 24
    seconds = UNAV100.to_seconds(torch.tensor(float(step), dtype=torch.float64))
    assert float(seconds) == pytest.approx((first_frame + last_frame) / 2 / 25)


@pytest.mark.parametrize("value", [0, -1.0, float("inf"), float("nan")])
@pytest.mark.parametrize("name", ["fps", "stride", "window"])
def test_a_grid_without_steps_is_refused(name, value):
    with pytest.raises(InputError, match=f"`{name}` of a feature grid"):
        dataclasses.replace(UNAV100, **{name: value})


def test_grids_are_values():
    assert FeatureGrid(25, 8, 24) == UNAV100
    assert hash(FeatureGrid(25, 8, 24)) == hash(UNAV100)
    with pytest.raises(dataclasses.FrozenInstanceError):
        UNAV100.fps = 30


# Events, Batch, Predictions ----------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 3])
@pytest.mark.parametrize("scored", [False, True])
def test_events(count, scored):
    scores = torch.ones(count) if scored else None
    events = Events(torch.zeros(count, 2), torch.zeros(count, dtype=torch.int64), scores)
    assert len(events) == count
    moved = events.to("meta")
    assert isinstance(moved, Events)
    assert moved.segments.device.type == moved.labels.device.type == "meta"
    assert (moved.scores is None) if not scored else (moved.scores.device.type == "meta")
    assert events.segments.device.type == "cpu"


@pytest.fixture
def batch():
    return Batch(
        visual=torch.ones(2, 3, 4),
        audio=torch.ones(2, 1, 4),
        mask=torch.ones(2, 4, dtype=torch.bool),
        segments=torch.zeros(2, 1, 2),
        labels=torch.zeros(2, 1, dtype=torch.int64),
        video_ids=["a", "b"],
        durations=[1.5, 2.0],
        grids=[UNAV100, UNAV100],
        audio_mask=torch.tensor([[True] * 4, [False] * 4]),
    )


TENSORS = ("visual", "audio", "mask", "segments", "labels", "audio_mask")


def test_inputs_of_a_batch_are_what_a_detector_reads(batch):
    names = ("visual", "audio", "mask", "audio_mask")
    assert all(x is getattr(batch, name) for x, name in zip(batch.inputs, names, strict=True))


def test_batch_moves_every_tensor_and_keeps_the_rest(batch):
    moved = batch.to("meta", non_blocking=True)
    assert isinstance(moved, Batch)
    for name in TENSORS:
        before, after = getattr(batch, name), getattr(moved, name)
        assert before.device.type == "cpu"
        assert after.device.type == "meta"
        assert (after.shape, after.dtype) == (before.shape, before.dtype)
    others = {field.name for field in dataclasses.fields(Batch)} - set(TENSORS)
    assert others == {"video_ids", "durations", "grids"}
    for name in others:
        assert getattr(moved, name) == getattr(batch, name)


def test_batch_pins_every_tensor(batch, monkeypatch):
    pinned = []

    def pin(tensor):
        pinned.append(tensor.shape)
        return tensor.clone()

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)  # needs an accelerator
    copy = batch.pin_memory()
    assert pinned == [getattr(batch, name).shape for name in TENSORS]
    assert copy.visual is not batch.visual
    assert copy.video_ids == ["a", "b"]


def test_predictions_have_features_of_their_own():
    first, second = Predictions([], [], []), Predictions([], [], [])
    first.features["fused"] = torch.zeros(1)
    assert second.features == {}


def test_detected_event_reads_like_a_row():
    start, end, label, score = DetectedEvent(1.0, 2.5, "dog barking", 0.9)
    assert (start, end, label, score) == (1.0, 2.5, "dog barking", 0.9)
