"""Data: readers of features and annotations, the data module of all data sets, simulated data.

Names are imported when they are first used: `davezoo simulate` needs no PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from davezoo.data.datamodule import EventDataModule
    from davezoo.data.dataset import EventDataset
    from davezoo.data.features import FeatureLayout
    from davezoo.data.simulation import Simulation

_HOMES = {
    "EventDataModule": "davezoo.data.datamodule",
    "EventDataset": "davezoo.data.dataset",
    "FeatureLayout": "davezoo.data.features",
    "Simulation": "davezoo.data.simulation",
}

__all__ = ["EventDataModule", "EventDataset", "FeatureLayout", "Simulation"]


def __getattr__(name: str) -> Any:
    """Import a public name from its home (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'davezoo.data' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
