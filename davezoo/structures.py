"""The nouns of the zoo: what flows between data, detector, decoding and metric.

Axis letters, used in every docstring: `B` batch, `C` channels, `T` time steps of the feature grid,
`L` pyramid levels, `T_l` time steps of level `l`, `P` points (all levels together), `K` classes,
`N` events.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from davezoo.errors import InputError

_Item = TypeVar("_Item", "Events", "Batch")


@dataclass(frozen=True)
class FeatureGrid:
    """Where the time steps of a feature sequence lie in seconds.

    Step `g` (any real number) is centred on second `(g * stride + window / 2) / fps`.

    Args:
        fps: frames per second of the video that the features were extracted from.
        stride: frames from one feature vector to the next.
        window: frames that one feature vector covers.

    Raises:
        InputError: if one of them is not above 0.
    """

    fps: float
    stride: float
    window: float

    def __post_init__(self) -> None:
        """Refuse a grid on which no second has a step."""
        for name, value in asdict(self).items():
            if not 0 < value < math.inf:
                raise InputError(
                    f"Expected `{name}` of a feature grid to be above 0, got {value}; set what the "
                    "features were extracted with."
                )

    def to_grid(self, seconds: Tensor) -> Tensor:
        """Convert seconds to grid steps; nothing is rounded or clipped."""
        return (seconds * self.fps - 0.5 * self.window) / self.stride

    def to_seconds(self, steps: Tensor) -> Tensor:
        """Convert grid steps to seconds; nothing is rounded or clipped."""
        return (steps * self.stride + 0.5 * self.window) / self.fps

    def end(self, num_steps: int) -> float:
        """Return the second at which the last of `num_steps` feature windows ends."""
        return ((num_steps - 1) * self.stride + self.window) / self.fps

    def resized(self, num_steps: int, new_num_steps: int) -> FeatureGrid:
        """Return the grid of features that are stretched or squeezed in time to another length.

        The new steps divide the old ones into equal parts and lie in their middle; together their
        windows cover what the old ones cover.
        """
        stride = self.stride * num_steps / new_num_steps
        return replace(self, stride=stride, window=self.window - self.stride + stride)


# Of the features of UnAV-100 that are published: I3D with VGGish, and ONE-PEACE.
UNAV100_GRID = FeatureGrid(fps=25, stride=8, window=24)
ONE_PEACE_GRID = FeatureGrid(fps=16, stride=4, window=16)


@dataclass
class Events:
    """Events of one video: annotated ones, or detections when `scores` is given.

    Args:
        segments: starts and ends, (N, 2); seconds or grid steps, as the producer states.
        labels: class indices, (N,), int64.
        scores: confidences, (N,), or None for annotations.
    """

    segments: Tensor
    labels: Tensor
    scores: Tensor | None = None

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.labels)

    def to(self, *args: Any, **kwargs: Any) -> Events:
        """Move every tensor as `Tensor.to` does."""
        return _map_tensors(self, lambda x: x.to(*args, **kwargs))


class DetectedEvent(NamedTuple):
    """One event that a model found, for people.

    Args:
        start: seconds.
        end: seconds.
        label: class name.
        score: confidence between 0 and 1.
    """

    start: float
    end: float
    label: str
    score: float


@dataclass
class Batch:
    """Videos padded to one length.

    Args:
        visual: visual features, (B, C_v, T).
        audio: audio features, (B, C_a, T).
        mask: True on the steps that belong to the video, (B, T).
        segments: annotated events in grid steps, (B, N, 2); zeros where there is none.
        labels: class index of each event, (B, N), int64; -1 where there is none.
        video_ids: one id a video.
        durations: seconds of each video; detections are clipped to them.
        grids: the feature grid of each video.
        audio_mask: True on the steps that have sound, (B, T), nowhere in a video without an audio
            track; None where every video has one on all its steps.
    """

    visual: Tensor
    audio: Tensor
    mask: Tensor
    segments: Tensor
    labels: Tensor
    video_ids: list[str]
    durations: list[float]
    grids: list[FeatureGrid]
    audio_mask: Tensor | None = None

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """What a detector reads: `visual`, `audio`, `mask` and `audio_mask`."""
        return self.visual, self.audio, self.mask, self.audio_mask

    def to(self, *args: Any, **kwargs: Any) -> Batch:
        """Move every tensor as `Tensor.to` does."""
        return _map_tensors(self, lambda x: x.to(*args, **kwargs))

    def pin_memory(self) -> Batch:
        """Copy every tensor to page-locked memory; called by the data loader."""
        return _map_tensors(self, lambda x: x.pin_memory())


@dataclass
class Predictions:
    """What a detector says of a batch, before decoding.

    Args:
        logits: class logits of each level, (B, T_l, K).
        offsets: distances from a point to start and end in strides of the level, (B, T_l, K, 2).
        masks: True on the points that belong to the video, (B, T_l), one a level.
        features: named intermediates that auxiliary losses read; see each detector.
    """

    logits: list[Tensor]
    offsets: list[Tensor]
    masks: list[Tensor]
    features: dict[str, Any] = field(default_factory=dict)


def to_plain(value: Any) -> Any:
    """Return settings as types that `torch.load(weights_only=True)` lets in.

    Dataclasses and mappings become dicts, tuples lists, paths strings.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return to_plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(name): to_plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _map_tensors(item: _Item, function: Callable[[Tensor], Tensor]) -> _Item:
    """Return a copy of a dataclass with `function` applied to its tensors."""
    moved: dict[str, Any] = {
        f.name: function(value)
        for f in fields(item)
        if isinstance(value := getattr(item, f.name), torch.Tensor)
    }
    return replace(item, **moved)
