"""Checkpoints of the published codes, turned into ours."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from torch import Tensor

from davezoo.annotations import read_annotations
from davezoo.checkpoints import CheckpointError, read_checkpoint, write_checkpoint
from davezoo.methods import UnAV
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
    converted["heads.scales"] = torch.stack([published[name] for name in by_level])
    return converted


# Published configuration keys by section -> ours; what is absent keeps the published default.
_MODEL_KEYS = {
    ("model", "embd_dim"): "width",
    ("model", "head_dim"): "head_width",
    ("model", "n_head"): "num_heads",
    ("model", "use_dependency"): "dependency",
    ("opt", "learning_rate"): "learning_rate",
    ("opt", "weight_decay"): "weight_decay",
    ("opt", "warmup_epochs"): "warmup_epochs",
    ("train_cfg", "cls_prior_prob"): "prior",
    ("train_cfg", "droppath"): "drop_path",
    ("train_cfg", "init_loss_norm"): "initial_normalizer",
    ("train_cfg", "label_smoothing"): "label_smoothing",
    ("train_cfg", "loss_weight"): "regression_weight",
    ("test_cfg", "pre_nms_thresh"): "score_threshold",
    ("test_cfg", "pre_nms_topk"): "max_candidates_per_level",
    ("test_cfg", "duration_thresh"): "min_length",
}
_NMS_KEYS = {
    "nms_sigma": "sigma",
    "iou_threshold": "iou_threshold",
    "min_score": "min_score",
    "max_seg_num": "max_events",
    "multiclass_nms": "multiclass",
    "voting_thresh": "voting_threshold",
}
# Settings under which the published network is another one than ours.
_FIXED = {
    ("model", "use_abs_pe"): True,
    ("model", "class_aware"): True,
    ("model", "scale_factor"): 2,
    ("model", "embd_kernel_size"): 3,
    ("model", "embd_with_ln"): True,
    ("model", "head_kernel_size"): 3,
    ("model", "head_num_layers"): 3,
    ("model", "head_with_ln"): True,
    ("dataset", "downsample_rate"): 1,
}


class ConfigError(ValueError):
    """A published configuration cannot be used; the message names file, key and remedy."""


def convert(
    method: Literal["unav"],
    checkpoint: Path,
    config: Path,
    output: Path,
    weights: Literal["ema", "raw"] = "ema",
    annotations: Path | None = None,
) -> None:
    """Turn a checkpoint of a published code into one for `davezoo test`, `predict` and `load`.

    Args:
        method: the code that wrote it.
        checkpoint: its file, such as `model_best.pth.tar`.
        config: the YAML configuration that it was trained with.
        output: the checkpoint to write.
        weights: the running average that the published test uses, or the trained weights behind it.
        annotations: annotation file to take the class names from; by default the one that the
            configuration names, relative to it. Without one, classes are named `class 0`, ...
    """
    settings = _read_config(config)
    content = read_checkpoint(checkpoint)
    state = content.get("state_dict_ema" if weights == "ema" else "state_dict")
    if not isinstance(state, Mapping):
        raise CheckpointError(
            f"Expected {checkpoint} to hold {weights} weights, got entries {sorted(content)}; give "
            "a checkpoint that the published training wrote, or the other `weights`."
        )
    names = _class_names(settings, config, annotations)
    model = UnAV(class_names=names, **_model_settings(settings))
    converted = convert_state_dict(dict(state))
    expected = model.detector.state_dict()
    wrong = [k for k in expected.keys() & converted if expected[k].shape != converted[k].shape]
    odd = sorted(expected.keys() ^ converted.keys()) + sorted(wrong)
    if odd:
        raise CheckpointError(
            f"Expected {checkpoint} to be UnAV with the settings of {config}, got {len(odd)} "
            f"tensors that do not fit, the first {odd[0]!r}; give the configuration that it was "
            "trained with, and the right `method`."
        )
    model.detector.load_state_dict(converted)
    write_checkpoint(output, model, _data_settings(settings))
    sys.stdout.write(
        f"Wrote {output}: UnAV, {weights} weights, {len(names)} classes.\n"
        f"Next: davezoo test --ckpt_path {output} --data.root DIR\n"
    )


def _read_config(path: Path) -> dict[str, dict[str, Any]]:
    """Return the sections of a published configuration; absent ones are empty."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"Expected {path} to be YAML, got {error}; correct it.") from error
    if not isinstance(content, dict):
        raise ConfigError(
            f"Expected {path} to hold the sections `dataset`, `model`, `opt`, ..., got "
            f"{type(content).__name__}; give the configuration of the published training."
        )
    names = ("dataset", "model", "opt", "train_cfg", "test_cfg", "loader")
    sections = {name: content.get(name) or {} for name in names}
    for (section, key), only in _FIXED.items():
        if sections[section].get(key, only) != only:
            raise ConfigError(
                f"Expected `{section}.{key}` of {path} to be {only}, got "
                f"{sections[section][key]}; this variant of the network is not supported."
            )
    return sections


def _model_settings(config: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the arguments of `UnAV` that a published configuration stands for."""
    settings = {
        ours: config[section][theirs]
        for (section, theirs), ours in _MODEL_KEYS.items()
        if theirs in config[section]
    }
    data, model, test = config["dataset"], config["model"], config["test_cfg"]
    nms = {ours: test[theirs] for theirs, ours in _NMS_KEYS.items() if theirs in test}
    nms["method"] = {"soft": "gaussian"}.get(test.get("nms_method", "soft"), test.get("nms_method"))
    ranges = data.get("regression_range") or model.get("regression_range")
    if ranges:
        settings["regression_ranges"] = [(float(low), float(high)) for low, high in ranges]
    return settings | {
        "nms": nms,
        "max_length": data.get("max_seq_len", 224),
        "visual_width": model.get("input_dim_V", 2048),
        "audio_width": model.get("input_dim_A", 128),
        "grid": _data_settings(config)["grid"],
    }


def _data_settings(config: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the arguments of `EventDataModule` that a published configuration stands for."""
    data, model = config["dataset"], config["model"]
    return {
        "grid": {
            "fps": data.get("default_fps", 25),
            "stride": data.get("feat_stride", 8),
            "window": data.get("num_frames", 24),
        },
        "max_length": data.get("max_seq_len", 224),
        "visual_width": model.get("input_dim_V", 2048),
        "audio_width": model.get("input_dim_A", 128),
    }


def _class_names(
    config: dict[str, dict[str, Any]], path: Path, annotations: Path | None
) -> list[str]:
    """Return the class names of the annotation file, if there is one."""
    named = config["dataset"].get("json_file")
    if annotations is None and named is not None:
        beside = Path(path).parent / named
        annotations = beside if beside.is_file() else None
    if annotations is not None:
        return read_annotations(annotations).class_names
    return [f"class {index}" for index in range(config["dataset"].get("num_classes", 100))]
