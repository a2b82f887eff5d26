"""The numbers of simulated features."""

import numpy as np
import pytest

from davezoo.data.signals import correlate, draw_features, draw_prototypes
from davezoo.data.simulated_layout import SimulatedFile, read_layout
from davezoo.data.simulation import Simulation


def test_noise_is_stationary_ar1():
    # The filter's matrix itself: the noise's exact covariance is matrix times transpose.
    matrix = correlate(np.eye(50, dtype=np.float32))
    lag = np.abs(np.arange(50)[:, None] - np.arange(50))
    np.testing.assert_allclose(matrix @ matrix.T, 0.7**lag, atol=1e-6)
    assert not np.triu(matrix, 1).any()


@pytest.mark.parametrize("steps", [1, 255, 256, 257, 512, 700])
def test_blocks_are_one_filter(steps):
    """Beside the recursion step by step."""
    white = np.random.default_rng(0).standard_normal((steps, 3)).astype(np.float32)
    expected = [white[0].astype(np.float64)]
    for row in white[1:]:
        expected.append(0.7 * expected[-1] + np.sqrt(1 - 0.7**2) * row)
    np.testing.assert_allclose(correlate(white), expected, atol=2e-5)


def test_prototypes_are_unit_vectors_of_the_file_and_the_seed():
    rgb, flow, _ = read_layout(None, 6, 2).files
    one, again = (draw_prototypes(Simulation(), rgb, 4) for _ in range(2))
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, draw_prototypes(Simulation(), flow, 4))
    assert not np.array_equal(one, draw_prototypes(Simulation(seed=1), rgb, 4))


@pytest.mark.parametrize("own_fps", [True, False])
@pytest.mark.parametrize("fps", [15.0, 60.0, float("nan")])
def test_events_lie_at_their_seconds_on_every_grid(own_fps, fps):
    file = SimulatedFile("{video}.npy", None, "x", "visual", 16, 30.0, 4, 16, own_fps)
    simulation = Simulation(signal_to_noise=50.0, dtype="float32")
    prototypes = {file: draw_prototypes(simulation, file, 1)}
    events = [("both", 40.0, 60.0, 0), ("audio", 80.0, 90.0, 0)]
    ((_, features),) = draw_features(simulation, "v", 100.0, fps, events, prototypes)
    rate = fps if own_fps and fps > 0 else 30.0
    assert len(features) == (int(100 * rate) - 16) // 4 + 1
    inside = np.flatnonzero(features @ prototypes[file][0] > 17)
    seconds = (inside * 4 + 8) / rate
    assert 39.5 < seconds.min() < 41
    assert 59 < seconds.max() < 60.5
