"""Names and layout of published tensors."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from davezoo.methods import CCNetDetector, DELDetector, UnAVDetector
from davezoo.nn.detector import Detector
from davezoo.published import convert_state_dict, rename, unused


@pytest.mark.parametrize(
    ("method", "kind"), [("unav", UnAVDetector), ("ccnet", CCNetDetector), ("del", DELDetector)]
)
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
    name = "module.backbone.fusion_module.top_down_layers.0.blocks.2.query_conv.conv.weight"
    assert rename(name, "del") == "neck.top_down.0.attentions.2.query.conv.weight"
    name = "alignment.multiway_list.0.ffn_text.fc1.bias"
    assert rename(name, "del") == "alignment.layers.0.mlps.audio.1.bias"


def test_full_size_checkpoint_of_del(golden: Path) -> None:
    """What never runs and second names are left out, tables of 5000 rows are cut."""
    with gzip.open(golden / "del" / "state_dict_default.json.gz") as file:
        listed = json.load(file)
    shapes = {name: shape for name, shape, _ in listed["parameters"]}
    dead = {name for name, _, state in listed["parameters"] if state == "dead"}
    aliases = set(listed["aliases_of_shared_modules"])
    published = {
        name: torch.empty(shapes.get(name, []), device="meta") for name in [*shapes, *aliases]
    }
    assert set(unused(published, "del")) == dead | aliases
    assert sum(published[name].numel() for name in dead) == 38_733_312
    with torch.device("meta"):
        detector = DELDetector(2048, 128, 100)
    found = {name: x.shape for name, x in convert_state_dict(published, "del").items()}
    assert found == {name: x.shape for name, x in detector.state_dict().items()}
    assert tuple(published["alignment.pos_embed_text"].shape) == (1, 5000, 512)
    assert tuple(found["alignment.positions.audio"]) == (225, 512)
