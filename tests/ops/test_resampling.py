"""Sequences on other grids: against NumPy's interpolation and by their time stamps."""

import numpy as np
import pytest
import torch

from davezoo.ops.resampling import positions_on, resample, resize
from davezoo.structures import UNAV100_GRID, FeatureGrid

VGGISH = FeatureGrid(fps=100, stride=96, window=96)  # a vector each 0.96 s


def test_a_line_in_time_stays_that_line() -> None:
    """A feature that is the second itself must be the second on every grid."""
    audio = VGGISH.to_seconds(torch.arange(40.0)).unsqueeze(-1)
    steps = torch.arange(100.0)
    on_visual = resample(audio, positions_on(VGGISH, UNAV100_GRID, steps)).squeeze(-1)
    expected = UNAV100_GRID.to_seconds(steps)
    torch.testing.assert_close(on_visual, expected.clamp(min=0.48), atol=1e-5, rtol=0)


def test_against_numpy() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((7, 3))
    positions = rng.uniform(-2, 9, 50)
    expected = np.stack([np.interp(positions, np.arange(7), column) for column in x.T], 1)
    result = resample(torch.from_numpy(x), torch.from_numpy(positions))
    torch.testing.assert_close(result, torch.from_numpy(expected))


def test_one_step_is_held_everywhere() -> None:
    result = resample(torch.ones(1, 2), torch.tensor([-1.0, 0.0, 5.0]))
    assert torch.equal(result, torch.ones(3, 2))


@pytest.mark.parametrize("window", [16, 64])
@pytest.mark.parametrize(("num_steps", "new"), [(100, 160), (400, 160), (160, 160), (1, 4)])
def test_resized_steps_lie_where_their_grid_says(num_steps: int, new: int, window: int) -> None:
    grid = FeatureGrid(fps=25, stride=16, window=window)
    seconds = grid.to_seconds(torch.arange(float(num_steps))).unsqueeze(-1)
    resized = resize(seconds, new).squeeze(-1)
    expected = grid.resized(num_steps, new).to_seconds(torch.arange(float(new)))
    expected = expected.clamp(seconds[0], seconds[-1])  # ends are held
    torch.testing.assert_close(resized, expected, atol=1e-4, rtol=1e-5)
    assert grid.resized(num_steps, new).end(new) == pytest.approx(grid.end(num_steps))
