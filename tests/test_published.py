"""Names and layout of published tensors."""

from pathlib import Path

import numpy as np
import torch

from davezoo.methods.unav import UnAVDetector
from davezoo.published import convert_state_dict, rename


def test_golden_state_dict_is_whole(golden: Path) -> None:
    with np.load(golden / "unav" / "golden_small.npz") as arrays:
        published = {
            name[3:]: torch.from_numpy(arrays[name])
            for name in arrays.files
            if name.startswith("sd/")
        }
    found = {name: x.shape for name, x in convert_state_dict(published).items()}
    detector = UnAVDetector(24, 16, 5, width=32, head_width=32, max_length=64)
    assert found == {name: x.shape for name, x in detector.state_dict().items()}
    with_prefix = {f"module.{name}": x for name, x in published.items()}
    assert convert_state_dict(with_prefix).keys() == found.keys()


def test_renaming() -> None:
    name = "module.backbone.cross_att_Av.3.attn.query_conv.conv.weight"
    assert rename(name) == "pyramid.audio.4.attention.query.conv.weight"
