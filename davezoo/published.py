"""Tensors of the published codes by our names and in our layout."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from davezoo.nn.layers import TemporalConv

_LETTER = {"q": "query", "k": "key", "v": "value", "m": "out"}
_STREAM = {"V": "visual", "A": "audio", "Va": "visual", "Av": "audio"}

_Rules = list[tuple[str, str | Callable[[re.Match[str]], str]]]

_ENCODER_RULES: _Rules = [
    (r"^module\.", ""),
    (r"^backbone\.embd_norm_(\w)\.", lambda m: f"encoder.streams.{_STREAM[m[1]]}.norms."),
    (r"^backbone\.embd_(\w)\.", lambda m: f"encoder.streams.{_STREAM[m[1]]}.convs."),
    (r"^backbone\.self_att_(\w)\.", lambda m: f"encoder.streams.{_STREAM[m[1]]}.blocks."),
]
_UNAV_RULES: _Rules = [
    (r"^backbone\.ori_cross_att_(\w\w)\.", lambda m: f"pyramid.blocks.{_STREAM[m[1]]}.0."),
    (
        r"^backbone\.cross_att_(\w\w)\.(\d+)\.",
        lambda m: f"pyramid.blocks.{_STREAM[m[1]]}.{int(m[2]) + 1}.",
    ),
    (r"^dependency_block\.feature_", "neck."),
    (r"^dependency_block\.cooccur_branch\.", "neck.cooccurrence."),
    (r"^dependency_block\.temporal_branch\.", "neck.temporal."),
]
_CCNET_RULES: _Rules = [
    (r"^backbone\.ori_CMI_(\w+)\.", lambda m: f"pyramid.blocks.{m[1].lower()}.0."),
    (
        r"^backbone\.CMI_(\w+)\.(\d+)\.",
        lambda m: f"pyramid.blocks.{m[1].lower()}.{int(m[2]) + 1}.",
    ),
    (r"^backbone\.(\w+)_TCG\.(\d+)\.gate_linear\.conv\.", r"pyramid.gates.\1.\2.to_gate."),
    (r"^backbone\.(\w+)_TCG\.(\d+)\.(query|key|value|proj)", r"pyramid.gates.\1.\2.attn.\3"),
    (r"^backbone\.(\w+)_TCG\.", r"pyramid.gates.\1."),
    # By position: C2F ahead of the dependency block, F2C behind it.
    (r"^MTGC_block\.C2F_attention\.", "neck.before.block."),
    (r"^MTGC_block\.C2F_linear\.", "neck.before.linears."),
    (r"^MTGC_block\.F2C_attention_block\.", "neck.after.blocks."),
    (r"^MTGC_block\.feature_tem_press\.", "neck.channel_branch.press."),
    (r"^MTGC_block\.feature_tem_block\.", "neck.channel_branch.linears."),
    (r"^MTGC_block\.channel_att\.", "neck.channel_branch.blocks."),
    (r"^MTGC_block\.feature_", "neck.dependency."),
    (r"^MTGC_block\.cooccur_branch\.", "neck.dependency.cooccurrence."),
    (r"^MTGC_block\.temporal_branch\.", "neck.dependency.temporal."),
]
_DEL_RULES: _Rules = [
    # Position, type and summary vectors, in the authors' words; their `text` is the audio.
    (r"^alignment\.pos_embed_", "alignment.positions."),
    (r"^alignment\.type_", "alignment.types."),
    (r"^alignment\.cls_token_", "alignment.summaries."),
    (r"^alignment\.proj_fc_(\w+)\.0\.", r"alignment.projections.\1."),
    (r"^alignment\.fc_(\w+)_score\.", r"scores.\1."),
    (r"^alignment\.fc_(\w+)_cls\.", r"categories.\1."),
    (r"^alignment\.fc_(\w+)\.3\.", r"alignment.outs.\1.2."),
    (r"^alignment\.fc_(\w+)\.", r"alignment.outs.\1."),
    (r"^alignment\.norm_(\w+)\.", r"alignment.norms.\1."),
    (r"^alignment\.multiway_list\.", "alignment.layers."),
    (r"\.norm1_fused\.", ".norm."),
    (r"\.attn_fusion\.(\w)\.", lambda m: f".attention.{_LETTER[m[1]]}."),
    (r"\.norm2_(\w+)\.", r".mlps.\1.0."),
    (r"\.ffn_(\w+)\.fc1\.", r".mlps.\1.1."),
    (r"\.ffn_(\w+)\.fc2\.", r".mlps.\1.3."),
    (r"(\.|^)video(\.|$)", r"\1visual\2"),
    (r"(\.|^)text(\.|$)", r"\1audio\2"),
    (r"^contrastive_losses\.logit_scale_inter$", "token_losses.log_scales.inter"),
    (r"^contrastive_losses\.NCE_video\.logit_scale$", "token_losses.log_scales.visual"),
    (r"^contrastive_losses\.NCE_text\.logit_scale$", "token_losses.log_scales.audio"),
    (r"^backbone\.downsample_list\.(\d)\.down_conv\.conv\.", r"pyramid.convs.\1."),
    (r"^backbone\.downsample_list\.(\d)\.down_norm\.", r"pyramid.norms.\1."),
    (r"^backbone\.fusion_module\.downsample_layers\.0\.down_", "neck.down_"),
    (r"^backbone\.fusion_module\.text_enhancer\.", "neck.update.attn."),
    (r"^backbone\.fusion_module\.match_projection\.", "neck.update.stretch."),
    (r"^backbone\.fusion_module\.(top_down|bottom_up)_layers\.", r"neck.\1."),
    (r"\.down_conv\.", ".down."),
    (r"\.main_conv\.conv\.", ".split."),
    (r"\.final_conv\.conv\.", ".merge."),
    (r"\.attn_block\.guide_fc\.", ".gate.describe."),
    (r"\.attn_block\.project_conv\.", ".gate.conv."),
    (r"\.attn_block\.", ".gate."),
    (r"^(neck\..*)\.blocks\.(\d)\.", r"\1.attentions.\2.attn."),
]
_BLOCK_RULES: _Rules = [
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
    (r"\.(attentions\.\d)\.attention\.", r".\1."),
]
# Every name of a published state dict is rewritten by the rules that match, in this order.
_RULES = {
    "unav": [*_ENCODER_RULES, *_UNAV_RULES, *_BLOCK_RULES],
    "ccnet": [*_ENCODER_RULES, *_CCNET_RULES, *_BLOCK_RULES],
    "del": [*_ENCODER_RULES, *_DEL_RULES, *_BLOCK_RULES],
}
# Modules of UnAV that DEL's code builds and never runs, and second names of shared ones.
_UNUSED = {
    "del": r"(module\.)?(backbone\.(ori_)?cross_att_|alignment\.multiway_list\.[1-9]"
    r"|backbone\.fusion_module\.(projections\.|downsample_layers\.[1-9]))"
}


def rename(name: str, method: str = "unav") -> str:
    """Return our name of a tensor of a published network.

    Args:
        name: its name there.
        method: `unav`, `ccnet` or `del`.
    """
    for pattern, replacement in _RULES[method]:
        name = re.sub(pattern, replacement, name)
    return name


def unused(names: Iterable[str], method: str = "unav") -> list[str]:
    """Return the names of a published state dict that stand for nothing of their own.

    Args:
        names: its names.
        method: `unav`, `ccnet` or `del`. DEL's has modules that never run, and second names of
            modules that run several times.
    """
    pattern = _UNUSED.get(method)
    return [name for name in names if pattern is not None and re.match(pattern, name)]


def _reshape(name: str, tensor: Tensor) -> Tensor:
    """Return a published tensor in our layout; sequences are channels-last here."""
    if name.endswith(".taps.weight") and tensor.shape[2:] == (3,):
        return TemporalConv.taps_of(tensor)
    if tensor.shape[1:] == (1, 3):  # depthwise
        return tensor.unsqueeze(2)
    if re.match(r"alignment\.(positions|types|summaries)\.", name):  # (1, rows, C)
        return tensor.squeeze(0)
    if re.search(r"norm\w*\.|\.scale$", name):  # norms and gains, (1, C, 1)
        return tensor.flatten()
    return tensor.squeeze(-1) if tensor.ndim == 3 else tensor


def convert_state_dict(published: dict[str, Tensor], method: str = "unav") -> dict[str, Tensor]:
    """Turn the state dict of a published network into one of our detector.

    Args:
        published: its tensors by name, with or without the `module.` of a parallel wrapper.
        method: `unav`, `ccnet` or `del`.

    Returns:
        The same weights under our names and in our layout.
    """
    scales = sorted(name for name in published if re.search(r"reg_head\.scale\.\d+\.scale$", name))
    left_out = {*scales, *unused(published, method)}
    renamed = {
        rename(name, method): tensor for name, tensor in published.items() if name not in left_out
    }
    converted = {name: _reshape(name, tensor) for name, tensor in renamed.items()}
    by_level = sorted(scales, key=lambda name: int(name.split(".")[-2]))
    if by_level:
        converted["heads.scales"] = torch.stack([published[name] for name in by_level])
    if "neck.update.stretch.weight" in converted:  # DEL's tables have rows for any length
        num_steps = len(converted["neck.update.stretch.weight"])
        for name in (f"alignment.positions.{stream}" for stream in ("visual", "audio")):
            converted[name] = converted[name][: 1 + num_steps]
    return converted
