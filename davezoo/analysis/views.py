"""What a network hands to the analysis: encoded features, gates and windows of one video."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from davezoo.errors import InputError
from davezoo.methods.ccnet import TemporalGate
from davezoo.nn.windows import Windows
from davezoo.structures import Batch, Predictions
from davezoo.task import EventLocalizer

Curves = dict[str, list[Tensor]]


class AnalysisError(InputError):
    """An analysis cannot be made from what was given; the message says what to change."""


def look(model: EventLocalizer, batch: Batch) -> Predictions | None:
    """Run the network on a batch that it reads in one piece; None if it would read it in chunks."""
    if model.chunk_length is not None and batch.mask.shape[1] > model.chunk_length:
        return None
    with torch.inference_mode():
        predictions: Predictions = model.detector(*batch.inputs)
    return predictions


def read_gates(model: EventLocalizer, batch: Batch) -> Curves | None:
    """Return CCNet's consistency gates of a batch.

    Returns:
        By the modality that the gate is computed from, a list over levels of (B, T_l); None for a
        batch that is read in chunks.

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
        if look(model, batch) is None:
            return None
    curves: Curves = {}
    for name, gate in outputs.items():  # in the order of the forward pass: by level
        curves.setdefault(name.split(".")[-2], []).append(gate[..., 0])
    return curves


def read_window_sizes(model: EventLocalizer, batch: Batch) -> Curves | None:
    """Return how many steps LoCo's windows cover, mean over the heads.

    Returns:
        By the modality that is looked at, a list over levels of (B, T_l / window_size); None for a
        batch that is read in chunks.

    Raises:
        AnalysisError: if the network places no windows.
    """
    predictions = look(model, batch)
    if predictions is None:
        return None
    windows: dict[str, list[Windows]] = predictions.features.get("windows", {})
    if not windows:
        raise AnalysisError(
            f"Expected a network that places windows, got {type(model).__name__} without; give a "
            "checkpoint of LoCo with attention=adaptive."
        )
    return {name: [level.sizes.mean(dim=1) for level in of] for name, of in windows.items()}


def read_streams(
    model: EventLocalizer | None, batch: Batch
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return what the two modalities of a batch hold.

    Args:
        model: whose encoded modalities are asked for; None for the features themselves.
        batch: videos.

    Returns:
        Audio and visual features, (B, T, C) each, and the steps that hold both, (B, T); None for a
        batch that is read in chunks.

    Raises:
        AnalysisError: if the two cannot be compared.
    """
    if model is None:
        mask = batch.mask if batch.audio_mask is None else batch.mask & batch.audio_mask
        audio, visual = batch.audio.transpose(1, 2), batch.visual.transpose(1, 2)
        if audio.shape[-1] != visual.shape[-1]:
            raise AnalysisError(
                "Expected audio and visual features of one width, got "
                f"{audio.shape[-1]} and {visual.shape[-1]}; take features of one space, such as "
                "ONE-PEACE, or give a checkpoint with `--ckpt_path` to compare what it encodes."
            )
        return audio, visual, mask
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
    return encoded["audio"], encoded["visual"], masks["audio"] & masks["visual"]


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
