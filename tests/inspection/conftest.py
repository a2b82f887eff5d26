"""A small simulated data set on disk."""

from pathlib import Path

import pytest

from davezoo.data import Simulation
from davezoo.data.synthetic import write_simulation


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five, two and two videos in UnAV-100's layout, with narrow features."""
    few = Simulation(
        num_train=5,
        num_validation=2,
        num_test=2,
        max_duration=20.0,
        rgb_width=8,
        flow_width=8,
        vggish_width=8,
    )
    write_simulation(tmp_path / "data", few)
    return tmp_path / "data"
