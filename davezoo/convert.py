"""Checkpoints of the published codes, turned into ours.

Imports PyTorch only when it runs, so that `davezoo convert --help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from davezoo.annotations import read_annotations
from davezoo.errors import InputError

# Published configuration keys by section -> ours; what is absent keeps our default, which is that
# of the published training.
_MODEL_KEYS = {
    ("model", "embd_dim"): "width",
    ("model", "head_dim"): "head_width",
    ("model", "n_head"): "num_heads",
    ("opt", "learning_rate"): "learning_rate",
    ("opt", "weight_decay"): "weight_decay",
    ("opt", "warmup_epochs"): "warmup_epochs",
    ("train_cfg", "cls_prior_prob"): "prior",
    ("train_cfg", "droppath"): "drop_path",
    ("train_cfg", "init_loss_norm"): "initial_normalizer",
    ("train_cfg", "label_smoothing"): "label_smoothing",
    ("train_cfg", "loss_weight"): "regression_weight",
}
_DECODING_KEYS = {
    "pre_nms_thresh": "score_threshold",
    "pre_nms_topk": "max_candidates_per_level",
    "duration_thresh": "min_length",
}
# Post-processing that a configuration leaves out: the default table of the published codes, which
# is another than that of their UnAV-100 configurations.
_TEST_DEFAULTS = {
    "pre_nms_thresh": 0.001,
    "pre_nms_topk": 5000,
    "duration_thresh": 0.05,
    "nms_method": "soft",
    "nms_sigma": 0.5,
    "iou_threshold": 0.1,
    "min_score": 0.01,
    "max_seg_num": 1000,
    "multiclass_nms": True,
    "voting_thresh": 0.75,
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
    ("model", "class_aware"): True,
    ("model", "scale_factor"): 2,
    ("model", "embd_kernel_size"): 3,
    ("model", "embd_with_ln"): True,
    ("model", "head_kernel_size"): 3,
    ("model", "head_num_layers"): 3,
    ("model", "head_with_ln"): True,
    ("dataset", "downsample_rate"): 1,
}


@dataclass(frozen=True)
class _Method:
    """Where the configurations of one published code differ from the tables above.

    Args:
        name: the class of ours.
        grid: its default time grid.
        max_length: its default length.
        model_keys: further keys of the model -> ours.
        test_defaults: its own defaults of post-processing.
        fixed: further settings under which its network is another one than ours.
        data: arguments of EventDataModule that its checkpoints need.
    """

    name: str
    grid: dict[str, float]
    max_length: int
    model_keys: dict[tuple[str, str], str] = field(default_factory=dict)
    test_defaults: dict[str, Any] = field(default_factory=dict)
    fixed: dict[tuple[str, str], Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)


_METHODS = {
    "unav": _Method(
        "UnAV",
        {"fps": 25, "stride": 8, "window": 24},
        224,
        model_keys={("model", "use_dependency"): "dependency"},
        fixed={("model", "use_abs_pe"): True},
    ),
    "ccnet": _Method(
        "CCNet",
        {"fps": 16, "stride": 4, "window": 16},
        256,
        test_defaults={"iou_threshold": 0.05},
        data={
            "visual_files": ["{video}_one_peace_video_finetune.npy"],
            "audio_files": ["{video}_one_peace_audio.npy"],
        },
    ),
    "del": _Method(
        "DEL",
        {"fps": 25, "stride": 8, "window": 24},
        224,
        fixed={("model", "use_abs_pe"): True, ("model", "use_dependency"): False},
    ),
}

_INVENTED_NAMES = (
    "No annotation file was found, so the classes are named `class 0`, ...: give --annotations, or "
    "the checkpoint cannot be tested on data whose classes have names.\n"
)


class ConfigError(InputError):
    """A published configuration cannot be used; the message names file, key and remedy."""


def convert(
    method: Literal["unav", "ccnet", "del"],
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
    import davezoo.methods
    from davezoo.checkpoints import CheckpointError, read_checkpoint, write_checkpoint
    from davezoo.published import convert_state_dict, unused

    kind = _METHODS[method]
    settings = _read_config(config, kind)
    content = read_checkpoint(checkpoint)
    state = content.get("state_dict_ema" if weights == "ema" else "state_dict")
    if not isinstance(state, Mapping):
        raise CheckpointError(
            f"Expected {checkpoint} to hold {weights} weights, got entries {sorted(content)}; give "
            "a checkpoint that the published training wrote, or the other `weights`."
        )
    names = _class_names(settings, config, annotations)
    model = getattr(davezoo.methods, kind.name)(
        class_names=names, **_model_settings(settings, kind)
    )
    converted = convert_state_dict(dict(state), method)
    expected = model.detector.state_dict()
    wrong = [k for k in expected.keys() & converted if expected[k].shape != converted[k].shape]
    odd = sorted(expected.keys() ^ converted.keys()) + sorted(wrong)
    if odd:
        raise CheckpointError(
            f"Expected {checkpoint} to be {kind.name} with the settings of {config}, got "
            f"{len(odd)} tensors that do not fit, the first {odd[0]!r}; give the configuration "
            "that it was trained with, and the right `method`."
        )
    model.detector.load_state_dict(converted)
    write_checkpoint(output, model, _data_settings(settings, kind) | kind.data)
    left_out = unused(state, method)
    sys.stdout.write(
        f"Wrote {output}: {kind.name}, {weights} weights, {len(names)} classes.\n"
        + f"Left out {len(left_out)} tensors that its network never uses.\n" * bool(left_out)
        + _INVENTED_NAMES * (names[0] == "class 0")
        + f"Next: davezoo test --ckpt_path {output} --data.root DIR\n"
    )


def _read_config(path: Path, kind: _Method) -> dict[str, dict[str, Any]]:
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
    for name, section in sections.items():
        if not isinstance(section, dict):
            raise ConfigError(
                f"Expected `{name}` of {path} to be a mapping, got {type(section).__name__}; "
                "correct it."
            )
    sections["test_cfg"] = _TEST_DEFAULTS | kind.test_defaults | sections["test_cfg"]
    for (section, key), only in (_FIXED | kind.fixed).items():
        if sections[section].get(key, only) != only:
            raise ConfigError(
                f"Expected `{section}.{key}` of {path} to be {only}, got "
                f"{sections[section][key]}; this variant of the network is not supported."
            )
    return sections


def _model_settings(config: dict[str, dict[str, Any]], kind: _Method) -> dict[str, Any]:
    """Return the arguments of the method that a published configuration stands for."""
    settings = {
        ours: config[section][theirs]
        for (section, theirs), ours in (_MODEL_KEYS | kind.model_keys).items()
        if theirs in config[section]
    }
    data, model, test = config["dataset"], config["model"], config["test_cfg"]
    settings |= {ours: test[theirs] for theirs, ours in _DECODING_KEYS.items()}
    nms = {ours: test[theirs] for theirs, ours in _NMS_KEYS.items()}
    if nms["voting_threshold"] <= 0:  # how the published code says: none
        nms["voting_threshold"] = None
    nms["method"] = {"soft": "gaussian"}.get(test["nms_method"], test["nms_method"])
    ranges = data.get("regression_range") or model.get("regression_range")
    if ranges:
        settings["regression_ranges"] = [(float(low), float(high)) for low, high in ranges]
    return settings | {"nms": nms} | _data_settings(config, kind)


def _data_settings(config: dict[str, dict[str, Any]], kind: _Method) -> dict[str, Any]:
    """Return the arguments that method and `EventDataModule` share."""
    data, model = config["dataset"], config["model"]
    return {
        "grid": {
            "fps": data.get("default_fps", kind.grid["fps"]),
            "stride": data.get("feat_stride", kind.grid["stride"]),
            "window": data.get("num_frames", kind.grid["window"]),
        },
        "max_length": data.get("max_seq_len", kind.max_length),
        "visual_width": model.get("input_dim_V", 2048),
        "audio_width": model.get("input_dim_A", 128),
    }


def _class_names(
    config: dict[str, dict[str, Any]], path: Path, annotations: Path | None
) -> list[str]:
    """Return the class names of the annotation file, if there is one."""
    named = config["dataset"].get("json_file")
    if annotations is None and named is not None:
        places = [Path(path).parent / named, Path(named)]
        annotations = next((place for place in places if place.is_file()), None)
    if annotations is not None:
        return read_annotations(annotations).class_names
    return [f"class {index}" for index in range(config["dataset"].get("num_classes", 100))]
