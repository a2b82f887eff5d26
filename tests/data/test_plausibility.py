import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davezoo.data.plausibility import (
    describe_one_length,
    explain_audio,
    explain_durations,
    explain_missing,
    explain_units,
)
from davezoo.structures import FeatureGrid

UNAV = FeatureGrid(fps=25, stride=8, window=24)
VGGISH = FeatureGrid(fps=100, stride=96, window=96)
IDS = ["-a1B", "zQ_x", "k_99", "Mmmm"]


def windows(durations, grid):
    """How many whole windows fit, as extractors count."""
    return np.floor((np.asarray(durations) * grid.fps - grid.window) / grid.stride) + 1


def ends(steps, grid):
    return ((steps - 1) * grid.stride + grid.window) / grid.fps


# Files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "better"),
    [
        ("v_{video}_rgb.npy", "v_{video}_rgb.npy"),
        ("{video}_rgb.npz", "{video}_rgb.npz"),
        ("{video}.npy", "{video}.npy"),
        ("rgb/{video}_rgb.npy", "rgb/{video}_rgb.npy"),
        ("{video}.mp4_rgb.npy", "{video}.mp4_rgb.npy"),
    ],
)
def test_pattern_that_finds_the_files_is_said(there, better):
    present = {there.replace("{video}", video) for video in IDS} | {"README.md"}
    text = explain_missing(IDS, "{video}_rgb.npy", present)
    assert f"Write the pattern {better!r} instead of '{{video}}_rgb.npy'" in text
    assert repr(there.replace("{video}", "-a1B")) in text


def test_the_most_similar_of_several_streams_is_said():
    present = {f"v_{video}_{kind}.npy" for video in IDS for kind in ("rgb", "flow", "vggish")}
    for kind in ("rgb", "flow", "vggish"):
        text = explain_missing(IDS, f"{{video}}_{kind}.npy", present)
        assert f"Write the pattern 'v_{{video}}_{kind}.npy'" in text


def test_other_letter_case():
    present = {f"{video.lower()}_rgb.npy" for video in IDS}
    text = explain_missing(["Mmmm", "zQ_x"], "{video}_rgb.npy", present)
    assert "upper and lower case: 'mmmm_rgb.npy' for video 'Mmmm'" in text


@pytest.mark.parametrize(
    ("ids", "surplus"),
    [
        (["v_ab", "v_cd", "v_ef"], "v_"),
        (["v_ab", "v_ac", "v_ad"], "v_"),
        (["ab.mp4", "cd.mp4"], ".mp4"),
        (["ab4.mp4", "cd4.mp4"], ".mp4"),
    ],
)
def test_ids_that_have_more_than_the_files(ids, surplus):
    bare = [video.removeprefix("v_").removesuffix(".mp4") for video in ids]
    text = explain_missing(ids, "{video}.npy", {f"{video}.npy" for video in bare})
    assert f"All ids of the annotations contain {surplus!r}" in text


@pytest.mark.parametrize("present", [set(), {"x.npy", "y.npy"}, {"-a1B.npz", "other.npz"}])
def test_files_that_are_simply_absent_are_not_explained(present):
    assert explain_missing(IDS, "{video}.npy", present) == ""


@given(
    ids=st.lists(st.text("ab-_1", min_size=1, max_size=4), unique=True, max_size=8),
    present=st.sets(st.text("ab-_1.npyz", max_size=8), max_size=10),
)
def test_a_pattern_that_is_said_finds_most_files(ids, present):
    text = explain_missing(ids, "{video}.npy", present)
    if "Write the pattern" in text:
        pattern = text.split("Write the pattern '")[1].split("' instead")[0]
        found = [video for video in ids if pattern.replace("{video}", video) in present]
        assert 2 * len(found) > len(ids)


def test_many_files_are_explained_quickly():
    ids = [f"video{index:05d}" for index in range(5000)]
    present = {f"v_{video}_{kind}.npy" for video in ids for kind in ("rgb", "flow")}
    assert "'v_{video}_rgb.npy'" in explain_missing(ids, "{video}_rgb.npy", present)


# Audio ------------------------------------------------------------------------------------------


def test_vggish_of_usual_hop_is_recognised():
    """The case of UnAV issue 7: 32 vectors for 112."""
    durations = np.array([36.5, 30.1, 44.0, 59.8, 12.3])
    visual = windows(durations, UNAV)
    audio = windows(durations, VGGISH)
    text = explain_audio(ends(visual, UNAV), audio, UNAV, UNAV)
    assert "0.32 s between them" in text
    assert "0.96 s is what VGGish does by itself" in text
    assert "a hop of 0.32 s" in text
    assert "`audio_grid: {fps: 100, stride: 96, window: 96}`" in text
    text = explain_audio(np.full(5, 36.48), np.full(5, 32.0), UNAV, UNAV)
    assert "0.29 times as many" in text
    assert "VGGish does by itself" in text


def test_audio_of_another_hop():
    visual = windows([60, 80, 100, 120, 140], UNAV)
    audio = ends(visual, UNAV) / 0.5
    text = explain_audio(ends(visual, UNAV), audio, UNAV, UNAV)
    assert "one each 0.5 s, the visual ones lie 0.32 s apart" in text
    assert "VGGish" not in text
    assert "{fps: 100, stride: 50, window: 50}" in text


def test_audio_grid_where_both_have_one_hop():
    visual = windows([60, 80, 100, 120, 140], UNAV)
    text = explain_audio(ends(visual, UNAV), visual, UNAV, VGGISH)
    assert "set `audio_grid` to null" in text


def test_audio_that_fits_is_not_explained():
    durations = np.array([36.5, 30.1, 44.0, 59.8, 12.3, 3.2])
    visual = windows(durations, UNAV)
    end = ends(visual, UNAV)
    surplus = np.array([0, -8, 2, 0, 1, -1])
    assert explain_audio(end, visual + surplus, UNAV, UNAV) == ""
    assert explain_audio(end, windows(durations, VGGISH), UNAV, VGGISH) == ""
    silent = np.array([112, *[np.nan] * 5])
    assert explain_audio(end, silent, UNAV, UNAV) == ""


# Durations --------------------------------------------------------------------------------------


def test_wrong_frame_rate():
    durations = np.array([36.5, 30.1, 44.0, 59.8, 12.3])
    true = FeatureGrid(fps=30, stride=8, window=24)
    text = explain_durations(windows(durations, true), durations, UNAV, None)
    assert "last 1.2 times as long" in text
    assert "`grid.fps` 29.9 with stride 8 or `grid.stride` 6.66 with 25 fps" in text
    assert "`own_fps`" in text


@given(
    fps=st.sampled_from([10, 15, 20, 30, 50, 60]),
    seed=st.integers(0, 1000),
)
def test_said_frame_rate_and_stride_agree_with_the_durations(fps, seed):
    durations = np.random.default_rng(seed).uniform(60, 200, size=20)
    steps = windows(durations, FeatureGrid(fps=fps, stride=8, window=24))
    text = explain_durations(steps, durations, UNAV, None)
    said_fps = float(text.split("`grid.fps` ")[1].split()[0])
    said_stride = float(text.split("`grid.stride` ")[1].split()[0])
    assert said_fps == pytest.approx(fps, rel=0.02)
    assert said_stride == pytest.approx(8 * 25 / fps, rel=0.05)


def test_wrong_stride_at_own_frame_rates():
    fps = np.array([24.0, 25, 30, 60, 30])
    durations = np.array([100.0, 130, 160, 90, 70])
    steps = (durations * fps - 16) // 4 + 1
    grid = FeatureGrid(fps=25, stride=8, window=16)
    text = explain_durations(steps, durations, grid, fps)
    assert "`grid.stride` 4 would fit" in text
    assert "grid.fps" not in text


def test_durations_in_frames():
    durations = np.array([36.5, 30.1, 44.0, 59.8, 80.2])
    text = explain_durations(windows(durations, UNAV), durations * 25, UNAV, None)
    assert "the durations are frames, not seconds" in text
    assert "frame rate, 25" in text


def test_durations_that_fit_are_not_explained():
    durations = np.array([36.5, 30.1, 44.0, 59.8, 12.3, math.nan])
    steps = windows(durations, UNAV)
    assert explain_durations(steps, durations, UNAV, None) == ""
    short = durations * [1, 0.3, 1, 1, 1, 1]  # as a few of THUMOS14
    assert explain_durations(steps, short, UNAV, None) == ""
    assert explain_durations(steps[:4], 2 * durations[:4], UNAV, None) == ""  # four prove nothing
    varied = durations * [0.5, 0.2, 3, 1, 2, 1]
    assert explain_durations(steps, varied, UNAV, None) == ""


@pytest.mark.parametrize("name", ["unav100/unav100_annotations.json.gz"])
def test_real_durations_raise_no_alarm(shared, name):
    from davezoo.annotations import read_annotations

    annotations = read_annotations(shared / "data" / name)
    durations = annotations.videos["duration"].to_numpy()
    steps = np.maximum(windows(durations, UNAV), 1)
    assert explain_durations(steps, durations, UNAV, None) == ""
    last = annotations.events.groupby("video")["end"].max().reindex(annotations.videos.index)
    assert explain_units(last.to_numpy(), ends(steps, UNAV)) == ""
    assert describe_one_length(steps, durations) == ""


def test_thumos_durations_that_are_too_short_raise_no_alarm(shared):
    """Five durations of `thumos14.json` are too short; features lie at the end of the events."""
    from davezoo.annotations import read_annotations

    annotations = read_annotations(shared / "data/thumos14/thumos14.json.gz")
    durations = annotations.videos["duration"]
    last = annotations.events.groupby("video")["end"].max().reindex(durations.index)
    grid = FeatureGrid(fps=30, stride=4, window=16)
    steps = windows(np.fmax(durations, last), grid)
    assert (last > durations).sum() > 0
    assert explain_durations(steps, durations.to_numpy(), grid, None) == ""
    assert explain_units(last.to_numpy(), ends(steps, grid)) == ""


# Units ------------------------------------------------------------------------------------------


def test_times_in_frames():
    seconds = np.array([30.0, 40, 50, 60, 70, 80])
    text = explain_units(np.array([20.0, 35, math.nan, 60, 70, 80]) * 25, seconds)
    assert "look like frames or milliseconds" in text
    assert "median of 5 videos" in text


def test_times_in_seconds():
    seconds = np.array([30.0, 40, 50, 60, 70, 80])
    assert explain_units(np.array([20.0, 35, math.nan, 60, 70, 80]), seconds) == ""
    assert explain_units(np.array([20.0, 35, 5000, 4000, 70, 80]), seconds) == ""


def test_features_of_one_length():
    durations = np.array([30.0, 60, 90, 200, 150])
    steps = np.full(5, 100.0)
    assert "5 of 5 videos have 100 feature vectors" in describe_one_length(steps, durations)
    cut = np.array([70.0, 90, 100, 100, 80])
    assert "2 of 5 videos have 100 feature vectors" in describe_one_length(cut, durations)
    assert describe_one_length(np.array([60.0, 70, 80, 90, 100]), durations) == ""
    assert describe_one_length(steps, np.array([10.0, 10, 10.1, 10, 10])) == ""
    assert describe_one_length(steps, np.full(5, math.nan)) == ""


def test_cut_features_are_no_wrong_frame_rate():
    durations = np.array([12.4, 12.9, 13.5, 14.3, 15.0])
    steps = np.full(5, 32.0)
    assert explain_durations(steps, durations, UNAV, None) == ""
    steps[:2] = 30
    assert explain_durations(steps, durations, UNAV, None) == ""
    clips = np.full(5, 14.0)
    assert "would fit" in explain_durations(np.full(5, 32.0), clips, UNAV, None)
