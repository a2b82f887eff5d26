"""What a network hands to the analysis: encoded features, gates and windows of one video."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from davezoo.errors import InputError
from davezoo.methods.ccnet import TemporalGate
from davezoo.nn.windows import WindowAttention, Windows
from davezoo.structures import Batch, Predictions
from davezoo.task import EventLocalizer

# Audio and visual steps of a video, (T, C) each, and which of them hold both, (T,).
Streams = tuple[Tensor, Tensor, Tensor]


class AnalysisError(InputError):
    """An analysis cannot be made from what was given; the message says what to change."""


@dataclass(frozen=True)
class LevelCurves:
    """What a network made of one video, on each level of its pyramid; without the padding.

    Args:
        values: by name a list over levels of (N_l,).
        positions: where the values of each level lie, in grid steps, a list of (N_l,).
    """

    values: dict[str, list[Tensor]]
    positions: list[Tensor]


def look(model: EventLocalizer, batch: Batch) -> Predictions | None:
    """Run the network on a batch that it reads in one piece; None if it would read it in chunks."""
    if model.chunk_length is not None and batch.mask.shape[1] > model.chunk_length:
        return None
    with torch.inference_mode():
        predictions: Predictions = model.detector(*batch.inputs)
    return predictions


def read_gates(model: EventLocalizer, batch: Batch) -> LevelCurves | None:
    """Return CCNet's consistency gates, named after the modality that they are computed from.

    Args:
        model: the network.
        batch: one video.

    Returns:
        A gate for each step of each level; None for a video that is read in chunks.

    Raises:
        AnalysisError: if the network has no gates.

    Reference:
        Zhou et al., AAAI 2025, Eq. 3 and Fig. 4.
    """
    found = model.detector.named_modules()
    modules = {name: module for name, module in found if isinstance(module, TemporalGate)}
    if not modules:
        raise AnalysisError(
            f"Expected a network with temporal gates, got {type(model).__name__} without; give a "
            "checkpoint of CCNet on both modalities with temporal_gates=true."
        )
    with _outputs_of(modules) as outputs:
        predictions = look(model, batch)
    if predictions is None:
        return None
    num_steps = _num_steps(predictions)
    values: dict[str, list[Tensor]] = {}
    for name, gate in outputs.items():  # in the order of the forward pass: by level
        levels = values.setdefault(f"gate from {name.split('.')[-2]}", [])
        levels.append(gate[0, : num_steps[len(levels)], 0])
    strides = model.detector.strides
    # Points of a level lie on every `stride`-th step of the grid, from its first one on.
    positions = [s * torch.arange(n) for s, n in zip(strides, num_steps, strict=True)]
    return LevelCurves(values, positions)


def read_windows(model: EventLocalizer, batch: Batch) -> LevelCurves | None:
    """Return sizes and shifts of LoCo's windows, named after the modality that is looked at.

    Args:
        model: the network.
        batch: one video.

    Returns:
        For each base window of each level the steps of the level that it covers and those by which
        it is moved, mean over the heads; they lie at the centre of the base window. None for a
        video that is read in chunks.

    Raises:
        AnalysisError: if the network places no windows.

    Reference:
        Xing et al., LoCo, Eq. 9.
    """
    predictions = look(model, batch)
    if predictions is None:
        return None
    placed: dict[str, list[Windows]] = predictions.features.get("windows", {})
    if not placed:
        raise AnalysisError(
            f"Expected a network that places windows, got {type(model).__name__} without; give a "
            "checkpoint of LoCo with attention=adaptive."
        )
    modules = model.detector.modules()
    length = next(m.window_size for m in modules if isinstance(m, WindowAttention))
    counts = [-(-steps // length) for steps in _num_steps(predictions)]
    values: dict[str, list[Tensor]] = {}
    for name, levels in placed.items():
        cut = [
            (w.sizes[0, :, :n], w.offsets[0, :, :n]) for w, n in zip(levels, counts, strict=True)
        ]
        values[f"steps that {name} windows cover"] = [sizes.mean(dim=0) for sizes, _ in cut]
        values[f"steps that {name} windows move"] = [shifts.mean(dim=0) for _, shifts in cut]
    positions = [
        stride * (length * torch.arange(count) + 0.5 * (length - 1))
        for stride, count in zip(model.detector.strides, counts, strict=True)
    ]
    return LevelCurves(values, positions)


def read_streams(model: EventLocalizer | None, batch: Batch) -> Streams | None:
    """Return what the two modalities of a video hold.

    Args:
        model: whose encoded modalities are asked for; None for the features themselves.
        batch: one video.

    Returns:
        Audio and visual features, (T, C) each, and the steps that hold both, (T,); None for a video
        that is read in chunks.

    Raises:
        AnalysisError: if the two cannot be compared.
    """
    if model is None:
        mask = batch.mask if batch.audio_mask is None else batch.mask & batch.audio_mask
        audio, visual = batch.audio[0].T, batch.visual[0].T
        if audio.shape[1] != visual.shape[1]:
            raise AnalysisError(
                "Expected audio and visual features of one width, got "
                f"{audio.shape[1]} and {visual.shape[1]}; take features of one space, such as "
                "ONE-PEACE, or give a checkpoint with `--ckpt_path` to compare what it encodes."
            )
        return audio, visual, mask[0]
    predictions = look(model, batch)
    if predictions is None:
        return None
    encoded = predictions.features.get("encoded", {})
    if {"audio", "visual"} - set(encoded):
        raise AnalysisError(
            f"Expected a network that encodes both modalities, got {type(model).__name__} with "
            f"{list(encoded)}; give a checkpoint with modalities=both."
        )
    masks = predictions.features["stream_masks"]
    return encoded["audio"][0], encoded["visual"][0], (masks["audio"] & masks["visual"])[0]


def _num_steps(predictions: Predictions) -> list[int]:
    """Return how many steps of each level belong to the one video."""
    return [int(mask.sum()) for mask in predictions.masks]


@contextmanager
def _outputs_of(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Collect what modules return while the block runs, by name."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            del module, inputs
            outputs[name] = output

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
