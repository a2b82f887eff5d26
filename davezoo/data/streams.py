"""Both modalities of one video on one time axis.

The axis is that of the visual features; where only audio is read, the audio's own. Audio on a grid
of its own is interpolated at the seconds of the visual steps; on the same grid both are cut to the
shorter, as the published UnAV loader does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from davezoo.data.features import (
    FeatureArray,
    FeatureError,
    FeatureLayout,
    FeatureStore,
    Modality,
)
from davezoo.ops.resampling import positions_on, resample, resize
from davezoo.structures import FeatureGrid


@dataclass(frozen=True)
class Stream:
    """The opened feature files of one modality of one video.

    Args:
        layout: what the files are called and hold.
        modality: which of them these are.
        video: the video's id.
        arrays: one a file, (T, C) each, equally long.
        grid: where the steps lie in seconds.
    """

    layout: FeatureLayout
    modality: Modality
    video: str
    arrays: list[FeatureArray]
    grid: FeatureGrid

    def __len__(self) -> int:
        """Return the number of steps."""
        return self.arrays[0].shape[0]

    @property
    def end(self) -> float:
        """Second at which the last step ends."""
        return self.grid.end(len(self))

    @property
    def files(self) -> str:
        """The files, for messages."""
        names = self.layout.file_names(self.modality, self.video)
        return " + ".join(str(self.layout.folder / name) for name in names)

    def read(self, start: int, stop: int) -> Tensor:
        """Return the features of some steps, joined along the channels, (T, C), float32.

        Raises:
            FeatureError: if a number is NaN or infinite, or a file has become unreadable.
        """
        features = np.empty((stop - start, self.layout.width(self.modality)), dtype=np.float32)
        channel = 0
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite: refused below
            for array in self.arrays:
                rows = array[start:stop]
                if rows.dtype == np.float16:  # PyTorch widens them ten times as fast as NumPy
                    rows = torch.from_numpy(np.array(rows)).float().numpy()
                features[:, channel : channel + array.shape[1]] = rows
                channel += array.shape[1]
        if not np.isfinite(features).all():
            raise FeatureError(
                f"Expected `{self.files}` to be finite, got NaN or infinity; extract the features "
                f"of video {self.video!r} again or remove it from the annotation file."
            )
        return torch.from_numpy(features)


class AlignedStreams:
    """The features of one video on one time axis; numbers are read when they are asked for.

    Args:
        layout: what the files hold.
        streams: the opened modalities; audio may be absent where the layout allows it.

    Attributes:
        num_steps: steps of the axis.
        grid: where they lie in seconds.

    Raises:
        FeatureError: if the modalities end too far apart.
    """

    def __init__(self, layout: FeatureLayout, streams: Mapping[Modality, Stream]) -> None:
        self.layout = layout
        self.streams = streams
        first = next(iter(streams.values()))
        if all(stream.grid == first.grid for stream in streams.values()):
            self._num_read = _common_length(layout, streams)
        else:
            self._num_read = len(first)
            _check_ends(layout, streams["visual"], streams["audio"])
        self._grid = first.grid
        self.num_steps, self.grid = self._num_read, self._grid
        if layout.resize_to is not None:
            self.num_steps = layout.resize_to
            self.grid = self._grid.resized(self._num_read, layout.resize_to)

    def read(self, modality: Modality, start: int, length: int) -> Tensor:
        """Return the features of some steps, (C, T); zeros where the video lacks the modality."""
        stream = self.streams.get(modality)
        if stream is None:
            return torch.zeros(self.layout.width(modality), length)
        if self.layout.resize_to is None:
            steps = self._read_axis(stream, start, length)
        else:
            whole = self._read_axis(stream, 0, self._num_read)
            steps = resize(whole, self.layout.resize_to)[start : start + length]
        # PyTorch turns a whole tensor faster than it copies a turned one into a part of a batch.
        return steps.T.contiguous()

    def _read_axis(self, stream: Stream, start: int, length: int) -> Tensor:
        """Return the features of some steps before they are resized, (T, C)."""
        if stream.grid == self._grid:
            return stream.read(start, start + length)
        positions = positions_on(stream.grid, self._grid, torch.arange(start, start + length))
        positions = positions.clamp(0, len(stream) - 1)
        # Only the steps of the file that lie around the positions are read.
        first, last = math.floor(positions[0]), math.ceil(positions[-1])
        return resample(stream.read(first, last + 1), positions - first)


def open_stream(
    store: FeatureStore, layout: FeatureLayout, modality: Modality, video: str, fps: float
) -> Stream:
    """Open the files of one modality of a video; no numbers are read yet.

    Args:
        store: where the files lie.
        layout: what they hold.
        modality: the modality, which the layout must tell to read.
        video: the video's id.
        fps: the video's own frame rate, where the layout counts its frames.

    Raises:
        FeatureError: if a file is absent, damaged or of the wrong shape.
    """
    arrays = [store.open(name) for name in layout.file_names(modality, video)]
    stream = Stream(layout, modality, video, arrays, layout.grid_of(modality, fps))
    width = layout.width(modality)
    shapes = " + ".join(str(array.shape) for array in arrays)
    if sum(array.shape[1] for array in arrays) != width:
        if sum(array.shape[0] for array in arrays) == width:
            raise FeatureError(
                f"Expected `{stream.files}` to be (time, {width}), got {shapes}, which looks "
                "transposed; save `array.T`."
            )
        raise FeatureError(
            f"Expected `{stream.files}` to be (time, {width}) together, got {shapes}; correct "
            f"`{modality}_width` or `{modality}_files`, or extract the features again."
        )
    if len({array.shape[0] for array in arrays}) > 1:
        raise FeatureError(
            f"Expected `{stream.files}` to be equally long, got {shapes}; extract them with the "
            "same window and stride."
        )
    return stream


def _common_length(layout: FeatureLayout, streams: Mapping[Modality, Stream]) -> int:
    """Return the number of steps that all modalities have, which lie on the same grid."""
    lengths = [len(stream) for stream in streams.values()]
    if max(lengths) - min(lengths) > layout.length_tolerance:
        stream = next(iter(streams.values()))
        raise FeatureError(
            f"Expected the features of video {stream.video!r} in {layout.folder} to be equally "
            f"long up to {layout.length_tolerance} steps, got {lengths[0]} visual and {lengths[1]} "
            f"audio steps; extract both with {stream.grid.stride / stream.grid.fps:.3g} s between "
            "vectors, tell the audio's own `audio_grid`, or raise `length_tolerance`."
        )
    return min(lengths)


def _check_ends(layout: FeatureLayout, visual: Stream, audio: Stream) -> None:
    """Refuse audio on its own grid that ends long before or after the visual features."""
    hop = visual.grid.stride / visual.grid.fps
    if abs(audio.end - visual.end) / hop > layout.length_tolerance + 1e-6:  # for rounding
        raise FeatureError(
            f"Expected the audio of video {visual.video!r} in {layout.folder} to end with its "
            f"visual features up to {layout.length_tolerance * hop:.3g} s "
            f"({layout.length_tolerance} visual steps), got {len(visual)} visual steps to "
            f"{visual.end:.2f} s and {len(audio)} audio steps to {audio.end:.2f} s; correct `grid` "
            "or `audio_grid`, extract the features again, or raise `length_tolerance`."
        )
