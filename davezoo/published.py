"""Tensors of the published codes by our names and in our layout."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import Tensor

from davezoo.nn.layers import TemporalConv

_STREAM = {"V": "visual", "A": "audio", "Va": "visual", "Av": "audio"}

# Every name of the published state dict is rewritten by the rules that match, in this order.
_UNAV_RULES: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (r"^module\.", ""),
    (r"^backbone\.embd_norm_(\w)\.", lambda m: f"encoder.{_STREAM[m[1]]}.norms."),
    (r"^backbone\.embd_(\w)\.", lambda m: f"encoder.{_STREAM[m[1]]}.convs."),
    (r"^backbone\.self_att_(\w)\.", lambda m: f"encoder.{_STREAM[m[1]]}.blocks."),
    (r"^backbone\.ori_cross_att_(\w\w)\.", lambda m: f"pyramid.{_STREAM[m[1]]}.0."),
    (
        r"^backbone\.cross_att_(\w\w)\.(\d+)\.",
        lambda m: f"pyramid.{_STREAM[m[1]]}.{int(m[2]) + 1}.",
    ),
    (r"^dependency_block\.feature_", "neck."),
    (r"^dependency_block\.cooccur_branch\.", "neck.cooccurrence."),
    (r"^dependency_block\.temporal_branch\.", "neck.temporal."),
    (r"^cls_head\.cls_head\.", "heads.classification.out."),
    (r"^cls_head\.head\.", "heads.classification.convs."),
    (r"^cls_head\.norm\.", "heads.classification.norms."),
    (r"^reg_head\.offset_head\.", "heads.regression.out."),
    (r"^reg_head\.head\.", "heads.regression.convs."),
    (r"^reg_head\.norm\.", "heads.regression.norms."),
    (r"\.ln11\.", ".norm_x."),
    (r"\.ln12\.", ".norm_y."),
    (r"\.ln2\.", ".norm_mlp."),
    (r"\.attn\.(query|key|value)_conv\.conv\.", r".attention.\1.depthwise."),
    (r"\.attn\.(query|key|value)_norm\.", r".attention.\1.norm."),
    (r"\.attn\.(query|key|value)\.", r".attention.\1.linear."),
    (r"\.attn\.proj\.", ".attention.out."),
    (r"\.mlp\.3\.", ".mlp.2."),
    (r"\.drop_path_attn\.", ".add_attention."),
    (r"\.drop_path_mlp\.", ".add_mlp."),
    (r"\.conv\.weight$", ".taps.weight"),
    (r"\.conv\.bias$", ".bias"),
    (r"\.depthwise\.", ".conv."),
]


def rename(name: str) -> str:
    """Return our name of a tensor of the published UnAV."""
    for pattern, replacement in _UNAV_RULES:
        name = re.sub(pattern, replacement, name)
    return name


def _reshape(name: str, tensor: Tensor) -> Tensor:
    """Return a published tensor in our layout; sequences are channels-last here."""
    if name.endswith(".taps.weight"):
        return TemporalConv.taps_of(tensor)
    if name.endswith(".conv.weight"):  # depthwise, (C, 1, 3)
        return tensor.unsqueeze(2)
    if tensor.ndim == 3 and tensor.shape[0] == 1:  # norms and gains, (1, C, 1)
        return tensor.flatten()
    return tensor.squeeze(-1) if tensor.ndim == 3 else tensor


def convert_state_dict(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """Turn the state dict of the published UnAV network into one of `UnAVDetector`.

    Args:
        published: its tensors by name, with or without the `module.` of a parallel wrapper.

    Returns:
        The same weights under our names and in our layout.
    """
    scales = sorted(name for name in published if re.search(r"reg_head\.scale\.\d+\.scale$", name))
    renamed = {rename(name): tensor for name, tensor in published.items() if name not in scales}
    converted = {name: _reshape(name, tensor) for name, tensor in renamed.items()}
    by_level = sorted(scales, key=lambda name: int(name.split(".")[-2]))
    if by_level:
        converted["heads.scales"] = torch.stack([published[name] for name in by_level])
    return converted
