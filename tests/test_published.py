"""Names and layout of published tensors."""

from pathlib import Path

import numpy as np
import pytest
import torch

from davezoo.methods import CCNetDetector, UnAVDetector
from davezoo.nn.detector import Detector
from davezoo.published import convert_state_dict, rename


@pytest.mark.parametrize(("method", "kind"), [("unav", UnAVDetector), ("ccnet", CCNetDetector)])
def test_golden_state_dict_is_whole(golden: Path, method: str, kind: type[Detector]) -> None:
    with np.load(golden / method / "golden_small.npz") as arrays:
        published = {
            name[3:]: torch.from_numpy(arrays[name])
            for name in arrays.files
            if name.startswith("sd/")
        }
    found = {name: x.shape for name, x in convert_state_dict(published, method).items()}
    detector = kind(24, 16, 5, width=32, head_width=32, max_length=64)  # type: ignore[call-arg]
    assert found == {name: x.shape for name, x in detector.state_dict().items()}
    with_prefix = {f"module.{name}": x for name, x in published.items()}
    assert convert_state_dict(with_prefix, method).keys() == found.keys()


def test_renaming() -> None:
    name = "module.backbone.cross_att_Av.3.attn.query_conv.conv.weight"
    assert rename(name) == "pyramid.blocks.audio.4.attention.query.conv.weight"
    name = "module.backbone.audio_TCG.3.query_norm.weight"
    assert rename(name, "ccnet") == "pyramid.gates.audio.3.attention.query.norm.weight"
