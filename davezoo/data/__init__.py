"""Feature files and annotations of a data set, as batches; knows nothing of points or targets."""

from davezoo.data.datamodule import EventDataModule
from davezoo.data.dataset import EventDataset
from davezoo.data.synthetic import Simulation

__all__ = ["EventDataModule", "EventDataset", "Simulation"]
