"""One file a paper: its detector in plain PyTorch and its LightningModule."""

from davezoo.methods.ccnet import CCNet, CCNetDetector
from davezoo.methods.del_ import DEL, DELDetector
from davezoo.methods.loco import LoCo, LoCoDetector
from davezoo.methods.unav import UnAV, UnAVDetector

__all__ = [
    "DEL",
    "CCNet",
    "CCNetDetector",
    "DELDetector",
    "LoCo",
    "LoCoDetector",
    "UnAV",
    "UnAVDetector",
]
