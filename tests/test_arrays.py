"""Prediction from arrays in memory."""

from pathlib import Path

import numpy as np
import pytest

from davezoo import UnAV
from davezoo.structures import FeatureGrid
from tests.test_task import model


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
        (np.zeros((40, 6)), np.zeros((5, 4)), "got 40 and 5"),
        (np.zeros((40, 6)), np.full((40, 4), np.inf), "audio.*NaN or Inf"),
    ],
)
def test_arrays_that_are_refused(visual: object, audio: object, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
        model().predict(visual, audio)  # type: ignore[arg-type]


def test_a_modality_that_is_not_read_may_be_absent() -> None:
    rng = np.random.default_rng(0)
    visual, audio = rng.normal(size=(40, 6)), rng.normal(size=(40, 4))
    seeing = model(modalities="visual")
    assert seeing.predict(visual, None) == seeing.predict(visual, audio)
    with pytest.raises(ValueError, match="Expected `audio` to be given, got None"):
        model().predict(visual, None)


def test_longer_than_the_position_table() -> None:
    rng = np.random.default_rng(0)
    events = model().predict(rng.normal(size=(100, 6)), rng.normal(size=(100, 4)))
    assert max(event.end for event in events) > 64 * 8 / 25


@pytest.mark.parametrize("duration", [0.0, -1.0, float("nan"), float("inf")])
def test_duration_that_is_no_time(duration: float) -> None:
    with pytest.raises(ValueError, match="duration"):
        model().predict(np.zeros((40, 6)), np.zeros((40, 4)), duration=duration)


def test_mapped_arrays(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "v.npy", rng.normal(size=(40, 6)).astype(np.float16))
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    module: UnAV = model()
    audio = rng.normal(size=(40, 4))
    assert module.predict(mapped, audio) == module.predict(np.array(mapped), audio)
