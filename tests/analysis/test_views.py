"""What is read out of networks is what they computed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from davezoo.analysis.views import (
    AnalysisError,
    look,
    read_gates,
    read_streams,
    read_windows,
)
from davezoo.ops.points import pyramid_points
from tests.methods.zoo import LENGTH, build_strong, make_batch

# Padded to half of what a network of fixed length pads to by itself.
VIDEO = make_batch([20], [[(2.0, 9.0, 0)]], padded=32)
LEVELS = [20, 10, 5, 3]


def test_gates_are_those_that_scale_the_other_modality():
    model = build_strong("CCNet")
    curves = read_gates(model, VIDEO)
    assert {name: [len(gate) for gate in levels] for name, levels in curves.values.items()} == {
        "gate from visual": LEVELS,
        "gate from audio": LEVELS,
    }
    assert all((g > 0).all() and (g < 1).all() for of in curves.values.values() for g in of)
    seen = {}
    module = model.detector.pyramid.gates["audio"][1]
    handle = module.register_forward_hook(lambda m, i, out: seen.update(audio=out))
    with torch.inference_mode():
        model.detector(*VIDEO.inputs)
    handle.remove()
    assert torch.equal(curves.values["gate from audio"][1], seen["audio"][0, :10, 0])
    hooks = [m for m in model.detector.modules() if m._forward_hooks]
    assert hooks == []


def test_gates_lie_on_the_points_of_their_level():
    curves = read_gates(build_strong("CCNet"), VIDEO)
    points = pyramid_points(LEVELS, [1, 2, 4, 8], [(0, 1)] * 4).positions
    assert torch.equal(torch.cat(curves.positions).float(), points)


def test_windows_are_means_over_heads():
    model = build_strong("LoCo")
    curves = read_windows(model, VIDEO)
    windows = look(model, VIDEO).features["windows"]
    for name in ("visual", "audio"):
        for level, count in enumerate([3, 2, 1, 1]):  # windows of 8 steps
            sizes, shifts = (x[0, :, :count].numpy() for x in windows[name][level])
            cover = curves.values[f"steps that {name} windows cover"][level]
            move = curves.values[f"steps that {name} windows move"][level]
            np.testing.assert_allclose(cover, (sizes[0] + sizes[1]) / 2)
            np.testing.assert_allclose(move, (shifts[0] + shifts[1]) / 2)


def test_windows_lie_at_the_centre_of_their_steps():
    """A window has 8 steps of its level; the last one may reach beyond video and padding."""
    positions = read_windows(build_strong("LoCo"), VIDEO).positions
    for level, stride in enumerate([1, 2, 4, 8]):
        steps = stride * np.arange(8 * len(positions[level])).reshape(-1, 8)
        assert positions[level].tolist() == steps.mean(axis=1).tolist()
        assert steps[-1, 0] < 20


def test_networks_without_gates_or_windows_are_refused():
    with pytest.raises(AnalysisError, match=r"temporal gates, got LoCo without; .*CCNet"):
        read_gates(build_strong("LoCo"), VIDEO)
    with pytest.raises(AnalysisError, match=r"places windows, got LoCo without; .*adaptive"):
        read_windows(build_strong("LoCo, fixed"), VIDEO)


def test_long_videos_are_read_by_no_network():
    video = make_batch([LENGTH], [[]])
    model = build_strong("LoCo", chunk_length=32, chunk_overlap=16)
    assert look(model, video) is read_windows(model, video) is read_streams(model, video) is None
    gated = build_strong("CCNet, length-free", chunk_length=32, chunk_overlap=16)
    assert read_gates(gated, video) is None


def test_features_themselves_need_one_width():
    with pytest.raises(AnalysisError, match=r"got 4 and 6; .*ONE-PEACE"):
        read_streams(None, VIDEO)
    same = replace(VIDEO, audio=VIDEO.visual + 1, audio_mask=torch.arange(32)[None] < 10)
    audio, visual, mask = read_streams(None, same)
    assert torch.equal(audio, visual + 1)
    assert torch.equal(visual[3], VIDEO.visual[0, :, 3])
    assert int(mask.sum()) == 10


def test_encoded_features_and_their_steps():
    model = build_strong("UnAV")
    audio, visual, mask = read_streams(model, VIDEO)
    encoded = look(model, VIDEO).features["encoded"]
    assert torch.equal(audio, encoded["audio"][0])
    assert torch.equal(visual, encoded["visual"][0])
    assert mask.tolist() == [True] * 20 + [False] * (len(audio) - 20)


def test_a_network_of_one_modality_is_refused():
    with pytest.raises(AnalysisError, match=r"encodes both modalities, got UnAV with \['audio'\]"):
        read_streams(build_strong("UnAV", modalities="audio"), VIDEO)
