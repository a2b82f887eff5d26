"""Both modalities on one time axis: by time stamps, resized, or cut to the shorter."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from davezoo.data.features import FeatureError, FeatureLayout, open_store
from davezoo.data.streams import AlignedStreams, open_stream
from davezoo.structures import FeatureGrid

VISUAL = FeatureGrid(25, 8, 24)
VGGISH = FeatureGrid(100, 96, 96)


def seconds_on(grid, num_steps):
    """Return features that are their own second, (T, 1)."""
    return grid.to_seconds(torch.arange(num_steps, dtype=torch.float64))[:, None].numpy()


def aligned(folder, visual, audio, silent=False, **settings):
    np.save(folder / "v_a.npy", np.asarray(visual, np.float32))
    np.save(folder / "v_b.npy", np.asarray(audio, np.float32))
    widths = {"visual_width": np.shape(visual)[1], "audio_width": np.shape(audio)[1]}
    files = {"visual_files": ["{video}_a.npy"], "audio_files": ["{video}_b.npy"]}
    layout = FeatureLayout(folder, **files, **widths, **{"grid": VISUAL} | settings)
    read = ["visual"] if silent else ["visual", "audio"]
    store = open_store(folder)
    opened = {m: open_stream(store, layout, m, "v", 30) for m in read if layout.patterns(m)}
    return AlignedStreams(layout, opened)


def test_audio_is_read_at_the_seconds_of_the_visual_steps(tmp_path):
    visual, audio = seconds_on(VISUAL, 90), seconds_on(VGGISH, 31)
    streams = aligned(tmp_path, visual, audio, audio_grid=VGGISH)
    assert (streams.num_steps, streams.grid) == (90, VISUAL)
    heard = streams.read("audio", 0, 90)
    assert heard.dtype == torch.float32
    expected = visual.T.clip(audio[0], audio[-1])  # beyond its ends the end is held
    np.testing.assert_allclose(heard, expected, atol=1e-5, rtol=0)
    np.testing.assert_array_equal(streams.read("visual", 0, 90), visual.T.astype(np.float32))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    num_steps=st.integers(1, 60),
    hop=st.floats(0.1, 3),
    window=st.floats(0.1, 3),
    start=st.integers(0, 59),
    length=st.integers(1, 60),
    resize_to=st.sampled_from([None, 1, 16]),
)
def test_a_crop_is_a_part_of_the_whole(tmp_path, num_steps, hop, window, start, length, resize_to):
    rng = np.random.default_rng(0)
    grid = FeatureGrid(1, hop, window)
    visual, audio = rng.random((num_steps, 2)), rng.random((7, 3))
    settings = {"audio_grid": grid, "length_tolerance": 1000, "resize_to": resize_to}
    streams = aligned(tmp_path, visual, audio, **settings)
    total = resize_to or num_steps
    assert streams.num_steps == total
    start = min(start, total - 1)
    length = min(length, total - start)
    for modality in ("visual", "audio"):
        whole = streams.read(modality, 0, total)
        crop = streams.read(modality, start, length)
        torch.testing.assert_close(crop, whole[:, start : start + length], atol=1e-6, rtol=0)
    if resize_to is None:  # against NumPy, one channel at a time
        seconds = streams.grid.to_seconds(torch.arange(num_steps, dtype=torch.float64)).numpy()
        stamps = grid.to_seconds(torch.arange(7, dtype=torch.float64)).numpy()
        expected = [np.interp(seconds, stamps, column) for column in audio.T]
        np.testing.assert_allclose(streams.read("audio", 0, num_steps), expected, atol=1e-6)


class Recorded:
    """An array that remembers which rows were read."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.rows = []

    def __getitem__(self, rows):
        self.rows.append((rows.start, rows.stop))
        return self.array[rows]


def test_only_the_steps_around_a_crop_are_read(tmp_path):
    streams = aligned(tmp_path, np.ones((900, 1)), np.ones((301, 1)), audio_grid=VGGISH)
    recorded = Recorded(streams.streams["audio"].arrays[0])
    streams.streams["audio"].arrays[0] = recorded
    streams.read("audio", 300, 30)  # seconds 96.48 to 105.76: audio steps 100.0 to 109.67
    assert recorded.rows == [(100, 111)]


def test_the_same_grid_told_twice_is_the_same_grid(tmp_path):
    once = aligned(tmp_path, np.ones((44, 1)), np.ones((40, 1)))
    twice = aligned(tmp_path, np.ones((44, 1)), np.ones((40, 1)), audio_grid=VISUAL)
    assert once.num_steps == twice.num_steps == 40


@pytest.mark.parametrize(
    ("audio_steps", "ok"), [(91, False), (92, True), (107, True), (108, False)]
)
def test_ends_too_far_apart(tmp_path, audio_steps, ok):
    """Eight visual steps of 0.96 s to either side of 94.72 s."""
    grid = FeatureGrid(25, 24, 40)  # 98 steps end at 94.72 s
    arrays = np.ones((98, 1)), np.ones((audio_steps, 1))
    audio_grid = FeatureGrid(25, 24, 1e-9)  # n steps end at (n - 1) * 0.96 s
    if ok:
        aligned(tmp_path, *arrays, grid=grid, audio_grid=audio_grid)
        return
    message = rf"'v'.*7\.68 s \(8 visual steps\), got 98 visual steps to 94\.72 s and {audio_steps}"
    with pytest.raises(FeatureError, match=message):
        aligned(tmp_path, *arrays, grid=grid, audio_grid=audio_grid)


def test_resized_features_stay_at_their_seconds(tmp_path):
    visual, audio = seconds_on(VISUAL, 90), seconds_on(VGGISH, 31)
    streams = aligned(tmp_path, visual, audio, audio_grid=VGGISH, resize_to=160)
    assert streams.num_steps == 160
    assert streams.grid == VISUAL.resized(90, 160)
    seconds = streams.grid.to_seconds(torch.arange(160.0)).numpy()
    np.testing.assert_allclose(
        streams.read("visual", 0, 160)[0], seconds.clip(visual[0], visual[-1]), atol=1e-4
    )
    # The audio is read at the 90 seconds of the visual steps first.
    heard = visual.clip(audio[0], audio[-1])
    np.testing.assert_allclose(
        streams.read("audio", 0, 160)[0], seconds.clip(heard[0], heard[-1]), atol=0.02
    )


def test_same_grid_is_cut_to_the_shorter_and_then_resized(tmp_path):
    streams = aligned(tmp_path, seconds_on(VISUAL, 44), seconds_on(VISUAL, 40), resize_to=80)
    assert streams.grid == VISUAL.resized(40, 80)
    assert torch.equal(streams.read("visual", 0, 80), streams.read("audio", 0, 80))


def test_audio_alone_lies_on_its_own_grid(tmp_path):
    visual, audio = np.ones((90, 1)), seconds_on(VGGISH, 12)  # 9 s: the visual file is not read
    streams = aligned(tmp_path, visual, audio, audio_grid=VGGISH, modalities="audio")
    assert (streams.num_steps, streams.grid) == (12, VGGISH)
    assert streams.read("visual", 2, 5).shape == (0, 5)
    np.testing.assert_array_equal(streams.read("audio", 2, 5)[0], audio[2:7, 0].astype(np.float32))


def test_own_frames_move_the_visual_steps_alone(tmp_path):
    own = FeatureGrid(30, 8, 24)
    visual, audio = seconds_on(own, 90), seconds_on(VGGISH, 25)
    streams = aligned(tmp_path, visual, audio, audio_grid=VGGISH, own_fps=True)
    assert streams.grid == own
    expected = visual[:, 0].clip(audio[0], audio[-1])
    np.testing.assert_allclose(streams.read("audio", 0, 90)[0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("audio_grid", [None, VGGISH])
@pytest.mark.parametrize("resize_to", [None, 32])
def test_a_video_without_sound_is_silent(tmp_path, audio_grid, resize_to):
    settings = {"audio_grid": audio_grid, "resize_to": resize_to, "allow_missing_audio": True}
    streams = aligned(tmp_path, np.ones((90, 2)), np.ones((3, 4)), silent=True, **settings)
    assert torch.equal(streams.read("audio", 10, 20), torch.zeros(4, 20))
    assert torch.equal(streams.read("visual", 10, 20), torch.ones(2, 20))


def test_not_finite_audio_is_refused_where_it_is_read(tmp_path):
    audio = np.ones((31, 1))
    audio[30] = np.inf
    streams = aligned(tmp_path, np.ones((90, 1)), audio, audio_grid=VGGISH)
    streams.read("audio", 0, 40)
    with pytest.raises(FeatureError, match=r"v_b\.npy.*finite.*'v'"):
        streams.read("audio", 60, 30)
