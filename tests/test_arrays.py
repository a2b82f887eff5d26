"""Prediction from arrays in memory."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from davezoo import UnAV
from davezoo.arrays import batch_of_arrays
from davezoo.structures import Batch, FeatureGrid
from tests.test_task import GRID, model

VGGISH = FeatureGrid(fps=100, stride=96, window=96)  # 0.96 s
WIDTHS = {"visual": 6, "audio": 4}


def make_batch(
    visual: npt.NDArray[np.float64] | None,
    audio: npt.NDArray[np.float64] | None,
    widths: dict[str, int] = WIDTHS,
    **settings: object,
) -> Batch:
    usual: dict[str, object] = {
        "grid": GRID,
        "audio_grid": None,
        "resize_to": None,
        "duration": None,
        "length_tolerance": 8,
        "max_length": 64,
        "length_multiple": 32,
    }
    arrays = {"visual": visual, "audio": audio}
    return batch_of_arrays(arrays, widths, **{**usual, **settings})  # type: ignore[arg-type]


def centres(grid: FeatureGrid, num_steps: int) -> npt.NDArray[np.float64]:
    """Return the second in the middle of each step."""
    return (np.arange(num_steps) * grid.stride + grid.window / 2) / grid.fps


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
        model(modalities="audio").predict(visual, None)
    with pytest.raises(ValueError, match="Expected `visual` to be given, got None"):
        model().predict(None, audio)


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


def test_audio_of_another_grid_comes_to_lie_at_its_seconds() -> None:
    """Features that tell their own second are interpolated exactly, but for what lies outside."""
    num_steps, num_audio = 100, 34  # 32.6 s of both
    audio = np.repeat(centres(VGGISH, num_audio)[:, None], 4, axis=1)
    batch = make_batch(np.zeros((num_steps, 6)), audio, audio_grid=VGGISH)
    assert batch.audio.shape == (1, 4, 128)
    seconds = centres(GRID, num_steps).clip(audio.min(), audio.max())
    np.testing.assert_allclose(batch.audio[0, 2, :num_steps], seconds, rtol=1e-6)
    assert not batch.audio[..., num_steps:].any()
    assert batch.audio_mask is None
    assert batch.durations == [GRID.end(num_steps)]


@pytest.mark.parametrize(("num_audio", "audio_grid"), [(34, None), (100, VGGISH), (25, VGGISH)])
def test_streams_that_end_apart_are_explained(num_audio: int, audio_grid: FeatureGrid) -> None:
    visual, audio = np.zeros((100, 6)), np.zeros((num_audio, 4))
    with pytest.raises(ValueError, match=rf"got 100 and {num_audio} steps: 32.64 s .*`audio_grid`"):
        make_batch(visual, audio, audio_grid=audio_grid)
    make_batch(visual, audio, audio_grid=audio_grid, length_tolerance=210)


@pytest.mark.parametrize("num_steps", [1, 30, 200])
def test_resized_features_lie_at_their_seconds(num_steps: int) -> None:
    visual = np.repeat(centres(GRID, num_steps)[:, None], 6, axis=1)
    batch = make_batch(visual, np.zeros((num_steps, 4)), resize_to=64)
    assert batch.visual.shape == (1, 6, 64)
    assert batch.mask.all()
    assert batch.durations == [GRID.end(num_steps)]
    grid = batch.grids[0]
    assert grid.end(64) == pytest.approx(GRID.end(num_steps))
    seconds = batch.visual[0, 0]
    assert (seconds.diff() >= 0).all()
    inner = slice(16, 48)  # at the ends, the first and the last vector are held
    hop = GRID.stride / GRID.fps if num_steps > 1 else GRID.end(1)
    found = grid.to_seconds(torch.arange(64.0))
    torch.testing.assert_close(seconds[inner], found[inner], atol=1.5 * hop, rtol=0)


def test_resized_audio_of_another_grid() -> None:
    """First onto the visual grid, then stretched with it."""
    audio = np.random.default_rng(0).normal(size=(34, 4))
    visual = np.zeros((100, 6))
    once = make_batch(visual, audio, audio_grid=VGGISH)
    resampled = once.audio[0, :, :100].T.double().numpy()
    expected = make_batch(visual, resampled, resize_to=64)
    found = make_batch(visual, audio, audio_grid=VGGISH, resize_to=64)
    torch.testing.assert_close(found.audio, expected.audio)
    assert found.grids == expected.grids


def test_audio_alone_keeps_its_own_grid() -> None:
    batch = make_batch(None, np.ones((40, 4)), {"audio": 4}, audio_grid=VGGISH)
    assert batch.grids == [VGGISH]
    assert batch.mask.sum() == 40
    assert batch.visual.shape == (1, 0, 64)
    assert make_batch(None, np.ones((40, 4)), {"audio": 4}).grids == [GRID]


def test_a_video_without_sound() -> None:
    batch = make_batch(np.ones((40, 6)), None)
    assert batch.audio_mask is not None
    assert batch.audio_mask.shape == batch.mask.shape
    assert not batch.audio_mask.any()
    assert batch.audio.shape == (1, 4, 64)
    assert not batch.audio.any()
