"""A PyTorch Lightning model zoo for dense audio-visual event localization.

Names are imported when they are first used, so that the file tools need not wait for PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

if TYPE_CHECKING:
    from davezoo.checkpoints import load
    from davezoo.data import EventDataModule
    from davezoo.evaluation.metric import TemporalMeanAveragePrecision
    from davezoo.methods import DEL, CCNet, LoCo, UnAV
    from davezoo.structures import FeatureGrid

_HOMES = {
    "CCNet": "davezoo.methods",
    "DEL": "davezoo.methods",
    "EventDataModule": "davezoo.data",
    "FeatureGrid": "davezoo.structures",
    "LoCo": "davezoo.methods",
    "TemporalMeanAveragePrecision": "davezoo.evaluation.metric",
    "UnAV": "davezoo.methods",
    "load": "davezoo.checkpoints",
}

__all__ = [
    "DEL",
    "CCNet",
    "EventDataModule",
    "FeatureGrid",
    "LoCo",
    "TemporalMeanAveragePrecision",
    "UnAV",
    "__version__",
    "load",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its home (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'davezoo' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
