"""Checkpoint files: read safely, load a model from one, write one without a trainer."""

from __future__ import annotations

import inspect
import pickle
from pathlib import Path
from typing import Any, Literal

import lightning
import torch

import davezoo.methods
from davezoo.errors import InputError
from davezoo.task import EventLocalizer
from davezoo.whole_files import whole_file


class CheckpointError(InputError):
    """A checkpoint cannot be used; the message names the file and the remedy."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of any origin; only tensors and plain types are let in.

    Args:
        path: file written by Lightning or `torch.save`.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it is truncated, holds other objects or is no dictionary.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected a checkpoint at {path}, got no file; check the path.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).partition("Unpickler error:")[2].strip().partition("\n")[0]
        raise CheckpointError(
            f"Expected {path} to be a checkpoint of tensors and plain types, got something else "
            f"({reason}); davezoo does not run code from checkpoints: copy or train it again, or "
            "save its state dict alone."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError) as error:
        raise CheckpointError(
            f"Expected {path} to be a complete checkpoint, got a file that cannot be read "
            f"({type(error).__name__}: {error}); copy or train it again."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"Expected {path} to hold a dictionary, got {type(content).__name__}; "
            "give a checkpoint, not a single tensor."
        )
    return content


def read_own_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of davezoo.

    Raises:
        CheckpointError: if another program wrote it, or its method is not known here.
    """
    content = read_checkpoint(path)
    origin = content.get("davezoo")
    if not isinstance(origin, dict):
        raise CheckpointError(
            f"Expected {path} to be a davezoo checkpoint, got one without its entry `davezoo`; "
            "turn checkpoints of the published codes into ours with `davezoo convert`."
        )
    kind = _method(origin.get("method"))
    if kind is None:
        raise CheckpointError(
            f"Expected {path} to be of a method of this version, got {origin.get('method')!r}; "
            f"it was written by davezoo {origin.get('version')}, install that or a later one."
        )
    settings = origin.get("settings")
    if not isinstance(settings, dict) or not isinstance(content.get("state_dict"), dict):
        raise CheckpointError(
            f"Expected {path} to hold the entries `davezoo.settings` and `state_dict`, got "
            f"{sorted(map(str, content))}; copy or train it again."
        )
    unknown = settings.keys() - _arguments(kind)
    if unknown:
        raise CheckpointError(
            f"Expected {path} to hold settings of {kind.__name__} in this version, got "
            f"{sorted(unknown)}; it was written by davezoo {origin.get('version')}, install that."
        )
    return content


def data_of(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of `EventDataModule` that a checkpoint of davezoo remembers.

    Nothing is simulated: a mistyped `root` must not bring data of its own.
    """
    return {**(checkpoint.get("datamodule_hyper_parameters") or {}), "simulation": None}


def _method(name: Any) -> type[EventLocalizer] | None:
    """Return the method of that name in this version of davezoo, if there is one."""
    kind = getattr(davezoo.methods, name, None) if name in davezoo.methods.__all__ else None
    return kind if isinstance(kind, type) and issubclass(kind, EventLocalizer) else None


def _arguments(kind: type) -> set[str]:
    """Return what the constructors of a method and of its bases take."""
    bases: list[Any] = list(kind.__mro__)
    return {name for base in bases for name in inspect.signature(base.__init__).parameters}


def load(
    path: str | Path,
    *,
    device: str | torch.device = "cpu",
    weights: Literal["average", "trained"] = "average",
) -> EventLocalizer:
    """Load a model of whichever method wrote the checkpoint, ready to predict.

    Args:
        path: a checkpoint of davezoo.
        device: where the model is put.
        weights: the running average that is scored and shared, or the trained weights behind it;
            the same where no average was kept.

    Returns:
        The model in evaluation mode.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file cannot be used.

    Example:
        >>> model = load("runs/unav/best.ckpt")  # doctest: +SKIP
        >>> model.predict(visual, audio)[0]  # doctest: +SKIP
        DetectedEvent(start=3.2, end=9.8, label='dog bark', score=0.81)
    """
    content = read_own_checkpoint(path)
    state = content["state_dict"]
    if weights == "trained":  # a run without a running average has but one set of weights
        state = content.get("current_model_state", state)
    method = getattr(davezoo.methods, content["davezoo"]["method"])
    model: EventLocalizer = method(**content["davezoo"]["settings"])
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(
            f"Expected the weights of {path} to fit its own settings, got {error}; "
            "the file was changed after it was written."
        ) from error
    return model.to(device).eval()


def write_checkpoint(path: Path, model: EventLocalizer, data_settings: dict[str, Any]) -> None:
    """Write a checkpoint that `davezoo test` and `davezoo.load` take.

    Args:
        path: the file; missing folders are made.
        model: the model.
        data_settings: arguments of EventDataModule that belong to the features.
    """
    content: dict[str, Any] = {
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": lightning.__version__,
        "state_dict": model.state_dict(),
        "datamodule_hyper_parameters": data_settings,
    }
    model.on_save_checkpoint(content)
    with whole_file(path) as part:
        torch.save(content, part)
