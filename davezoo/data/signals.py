"""The numbers of simulated features: noise, and the vectors of the classes where events are.

Every class has one fixed unit vector ("prototype") a feature file. An event adds the prototype of
its class to the visual and to the audio features, with soft onset and offset. Distractors add it to
one modality only, so that neither modality alone tells events from distractors. Noise is AR(1) in
time: neighbouring steps share it, as neighbouring feature windows share frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from davezoo.data.simulated_layout import SimulatedFile
from davezoo.data.simulation import Simulation, random_stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]

_ONSET_SECONDS = 0.3  # time constant of soft onsets and offsets
_NOISE_CORRELATION = 0.7  # of one step with the next; windows of 24 every 8 share 2/3 of the frames
_BLOCK_STEPS = 256  # filtered by one matrix product


def draw_prototypes(simulation: Simulation, file: SimulatedFile, num_classes: int) -> FloatArray:
    """Return one unit vector a class, (K, C)."""
    rng = random_stream(simulation.seed, "prototypes", file.kind)
    vectors = rng.standard_normal((num_classes, file.width), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def draw_features(
    simulation: Simulation,
    video: str,
    duration: float,
    own_fps: float,
    events: Sequence[tuple[str, float, float, int]],
    prototypes: dict[SimulatedFile, FloatArray],
) -> Iterator[tuple[SimulatedFile, NDArray[Any]]]:
    """Yield the features, (T, C), of one video for each file.

    Args:
        simulation: strength of the events, number format, seed.
        video: id of the video, part of the seed.
        duration: seconds.
        own_fps: the video's own frame rate; NaN where it is not known.
        events: modality (`visual`, `audio` or `both`), start, end (seconds) and class of each event
            and distractor.
        prototypes: the classes' vectors for each file, (K, C).
    """
    rng = random_stream(simulation.seed, "features", video)
    # Audio tracks often end a little earlier or later than the pictures: half of them here.
    surplus = int(rng.choice([0, 0, 0, 0, -2, -1, 1, 2]))
    start, end = (np.array([e[i] for e in events], dtype=np.float32) for i in (1, 2))
    labels = np.array([event[3] for event in events], dtype=np.int64)
    for file, vectors in prototypes.items():
        fps = own_fps if file.own_fps and not np.isnan(own_fps) else file.fps
        # As many windows as fit into the video; at least one, for the shortest videos.
        steps = int((int(duration * fps + 1e-6) - file.window) // file.stride) + 1
        steps = max(max(steps, 1) + (surplus if file.modality == "audio" else 0), 1)
        present = np.array([event[0] in ("both", file.modality) for event in events], dtype=bool)
        gain = simulation.signal_to_noise * present * rng.uniform(0.7, 1.3, len(events))
        seconds = ((np.arange(steps) * file.stride + file.window / 2) / fps)[:, None]
        envelope = _sigmoid((seconds - start) / _ONSET_SECONDS) * _sigmoid(
            (end - seconds) / _ONSET_SECONDS
        )
        signal = (envelope * gain).astype(np.float32) @ vectors[labels]
        noise = correlate(rng.standard_normal((steps, file.width), dtype=np.float32))
        yield file, (signal + noise).astype(simulation.dtype)


def correlate(white: FloatArray) -> FloatArray:
    """Turn white noise, (T, C), into stationary AR(1) noise of variance 1.

    x[t] = r x[t-1] + sqrt(1 - r^2) w[t] is a lower-triangular matrix times w: one matrix product
    for each block of steps, to which the last step of the block before is carried over.
    """
    time = np.arange(min(len(white), _BLOCK_STEPS))
    lag = time[:, None] - time
    response = np.where(lag >= 0, _NOISE_CORRELATION ** np.maximum(lag, 0), 0)
    scale = np.sqrt(1 - _NOISE_CORRELATION**2)
    inner = (response * scale).astype(np.float32)
    carry = (_NOISE_CORRELATION ** (time[:, None] + 1)).astype(np.float32)
    first = response.copy()
    first[:, 1:] *= scale  # the first step has variance 1 already
    blocks = [first.astype(np.float32) @ white[:_BLOCK_STEPS]]
    for begin in range(_BLOCK_STEPS, len(white), _BLOCK_STEPS):
        block = white[begin : begin + _BLOCK_STEPS]
        size = len(block)
        blocks.append(inner[:size, :size] @ block + carry[:size] * blocks[-1][-1])
    return np.concatenate(blocks)


def _sigmoid(x: NDArray[Any]) -> NDArray[Any]:
    """Return 1 / (1 + exp(-x)) without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * x))
