"""One file a paper: its detector in plain PyTorch and its LightningModule."""

from davezoo.methods.unav import UnAV, UnAVDetector

__all__ = ["UnAV", "UnAVDetector"]
