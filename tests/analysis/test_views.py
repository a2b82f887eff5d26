"""What is read out of networks is what they computed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from davezoo.analysis.views import (
    AnalysisError,
    look,
    read_gates,
    read_streams,
    read_window_sizes,
)
from tests.methods.zoo import LENGTH, build_strong, make_batch

BATCH = make_batch([64, 40], [[(2.0, 9.0, 0)], []])
LEVELS = [64, 32, 16, 8]


def test_gates_are_those_that_scale_the_other_modality():
    """A level without its gates times one plus the gates is the level with them."""
    model = build_strong("CCNet")
    gates = read_gates(model, BATCH)
    assert {name: [g.shape[1] for g in of] for name, of in gates.items()} == {
        "visual": LEVELS,
        "audio": LEVELS,
    }
    assert all((g > 0).all() and (g < 1).all() for of in gates.values() for g in of)
    with torch.inference_mode():
        seen = {}
        module = model.detector.pyramid.gates["audio"][1]
        handle = module.register_forward_hook(lambda m, i, out: seen.update(audio=out))
        model.detector(*BATCH.inputs)
        handle.remove()
    assert torch.equal(gates["audio"][1], seen["audio"][..., 0])
    hooks = [m for m in model.detector.modules() if m._forward_hooks]
    assert hooks == []


def test_window_sizes_are_means_over_heads():
    model = build_strong("LoCo")
    sizes = read_window_sizes(model, BATCH)
    windows = look(model, BATCH).features["windows"]
    for name, of in sizes.items():
        for level, values in enumerate(of):
            expected = sum(windows[name][level].sizes.unbind(1)) / 2
            assert torch.allclose(values, expected)


def test_networks_without_gates_or_windows_are_refused():
    with pytest.raises(AnalysisError, match=r"temporal gates, got LoCo without; .*CCNet"):
        read_gates(build_strong("LoCo"), BATCH)
    with pytest.raises(AnalysisError, match=r"places windows, got LoCo without; .*adaptive"):
        read_window_sizes(build_strong("LoCo, fixed"), BATCH)


def test_long_videos_are_read_by_no_network():
    model = build_strong("LoCo", chunk_length=32, chunk_overlap=16)
    assert BATCH.mask.shape[1] == LENGTH
    assert (
        look(model, BATCH) is read_window_sizes(model, BATCH) is read_streams(model, BATCH) is None
    )
    gated = build_strong("CCNet, length-free", chunk_length=32, chunk_overlap=16)
    assert read_gates(gated, BATCH) is None


def test_features_themselves_need_one_width():
    with pytest.raises(AnalysisError, match=r"got 4 and 6; .*ONE-PEACE"):
        read_streams(None, BATCH)
    same = replace(BATCH, audio=BATCH.visual + 1, audio_mask=torch.arange(LENGTH)[None] < 10)
    audio, visual, mask = read_streams(None, same)
    assert torch.equal(audio, visual + 1)
    assert torch.equal(visual[1, 3], BATCH.visual[1, :, 3])
    assert mask.sum(dim=1).tolist() == [10, 10]


def test_encoded_features_and_their_steps():
    model = build_strong("UnAV")
    audio, visual, mask = read_streams(model, BATCH)
    encoded = look(model, BATCH).features["encoded"]
    assert torch.equal(audio, encoded["audio"])
    assert torch.equal(visual, encoded["visual"])
    assert torch.equal(mask, BATCH.mask)


def test_a_network_of_one_modality_is_refused():
    with pytest.raises(AnalysisError, match=r"encodes both modalities, got UnAV with \['audio'\]"):
        read_streams(build_strong("UnAV", modalities="audio"), BATCH)
