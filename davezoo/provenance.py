"""What a score came from: settings, seed, data, versions, device and size of the model."""

from __future__ import annotations

import inspect
import json
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
import yaml

from davezoo import __version__
from davezoo.data import EventDataModule
from davezoo.data.synthetic import is_simulated
from davezoo.evaluation.results import EvaluationResult
from davezoo.evaluation.run_results import RunResult, flat_settings
from davezoo.nn.complexity import count_complexity
from davezoo.options import FROM_DATA
from davezoo.structures import to_plain
from davezoo.task import EventLocalizer


def describe_run(
    result: EvaluationResult,
    model: EventLocalizer,
    data: EventDataModule,
    *,
    training: dict[str, Any] | None,
    epoch: int | None,
    device: torch.device,
) -> RunResult:
    """Put a score together with what it came from.

    Args:
        result: the score of a test.
        model: what was tested.
        data: what it was tested on.
        training: merged configuration of the training; None where it is not known.
        epoch: when the tested weights were saved; None where it is not known.
        device: what the test ran on.
    """
    count = count_complexity(model.detector, model.detector.max_length)
    seeds: list[Any] = [None, None]
    if training is not None:
        own_data = training.get("data")
        seeds = [
            training.get("seed_everything"),
            own_data.get("seed") if isinstance(own_data, Mapping) else None,
        ]
    seed, data_seed = (x if type(x) is int else None for x in seeds)
    return RunResult(
        result=result,
        method=type(model).__name__,
        settings=_as_json({"model": model.settings, "data": to_plain(dict(data.hparams))}),
        changed=changed_settings(model),
        training=None if training is None else _as_json(to_plain(training)),
        seed=seed,
        data_seed=data_seed,
        best_epoch=None if training is None else epoch,
        annotations_sha256=data.sources.digest(),
        simulated=is_simulated(data.root),
        notes=data.notes("test"),
        layer_parameters=count.layer_parameters,
        parameters=count.parameters,
        layer_macs=count.layer_macs,
        attention_macs=count.attention_macs,
        device=device_name(device),
        versions={
            "davezoo": __version__,
            "torch": str(torch.__version__),
            "lightning": lightning.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        commit=commit_of(Path(__file__).parent),
        written=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


def read_training(checkpoint: Path) -> dict[str, Any] | None:
    """Return the merged configuration that lies in the run folder of a checkpoint.

    Args:
        checkpoint: the file, RUN/checkpoints/NAME.ckpt.

    Returns:
        The content of RUN/config.yaml; None where there is none.
    """
    path = checkpoint.resolve().parents[1] / "config.yaml"
    if checkpoint.resolve().parent.name != "checkpoints" or not path.is_file():
        return None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return None  # a score is worth more than the configuration beside it
    return content if isinstance(content, dict) else None


def changed_settings(model: EventLocalizer) -> list[str]:
    """Return the settings of a model that differ from the defaults of its method.

    Args:
        model: any method; settings that it takes from the data, apart from `modalities`, and those
            without a default are left out.

    Returns:
        Their names in alphabetical order, `nms.sigma` for an entry of a setting.
    """
    defaults: dict[str, Any] = {}
    kinds: list[Any] = list(reversed(type(model).__mro__))  # a method goes before its bases
    for kind in kinds:
        for name, parameter in inspect.signature(kind.__init__).parameters.items():
            if parameter.default is not inspect.Parameter.empty:
                defaults[name] = to_plain(parameter.default)
    usual = dict(flat_settings(defaults))
    compared = defaults.keys() - (set(FROM_DATA) - {"modalities"})
    own = {name: value for name, value in model.settings.items() if name in compared}
    return sorted(name for name, value in flat_settings(own) if usual.get(name) != value)


def device_name(device: torch.device) -> str:
    """Return what a device is called, for people."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()})"


def commit_of(folder: Path) -> str | None:
    """Return the commit of the checkout that tracks a folder's code.

    Args:
        folder: holds `__init__.py`.

    Returns:
        The hash, with `+changes` where tracked files differ from it; None outside of a checkout, as
        in an installed wheel, or without git.
    """
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+changes" if commit and changes else commit


def _git(folder: Path, *words: str) -> str | None:
    """Return what git prints in a folder; None where it fails or is absent."""
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "-C", str(folder), *words]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return answer.stdout.strip() if answer.returncode == 0 else None


def _as_json(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings as JSON types; infinity and what else JSON lacks as text."""
    content: dict[str, Any] = json.loads(json.dumps(settings, default=str), parse_constant=str)
    return content
