"""The result of a test run: its score with all that it takes to judge or repeat it, as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from davezoo.evaluation.results import EvaluationResult, ResultError
from davezoo.json_files import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SCHEMA = 1  # changes whenever a reader of older files would misread newer ones

# JSON types of the entries; `result` is checked by itself.
_KINDS: dict[str, tuple[type, ...]] = {
    "method": (str,),
    "settings": (dict,),
    "changed": (list,),
    "training": (dict, type(None)),
    "seed": (int, type(None)),
    "data_seed": (int, type(None)),
    "best_epoch": (int, type(None)),
    "annotations_sha256": (str,),
    "simulated": (bool,),
    "notes": (list,),
    "layer_parameters": (int,),
    "parameters": (int,),
    "layer_macs": (int,),
    "attention_macs": (int,),
    "device": (str,),
    "versions": (dict,),
    "commit": (str, type(None)),
    "written": (str,),
}


@dataclass(frozen=True)
class RunResult:
    """What a test run leaves in its folder as `run.json`.

    Args:
        result: the score, with protocol, expected, scored and missing videos.
        method: class of the model.
        settings: what was tested: arguments of the `model` and of the `data`, as plain types.
        changed: settings of the model that are not the defaults of its method, without what the
            data bring but with `modalities`; `nms.sigma` stands for an entry of a setting.
        training: the merged configuration of the training, the `config.yaml` of its run; None
            where the checkpoint lies in no run folder, as a converted one.
        seed: of the training, `seed_everything`; None where it is not known.
        data_seed: of the order of training videos and their crops; None where it is not known.
        best_epoch: epoch of the tested checkpoint, counted from 0 as in `metrics.csv`; None where
            it was not trained here.
        annotations_sha256: of the annotation files and the lists that are read with them.
        simulated: the features are simulated.
        notes: where the data fall short.
        layer_parameters: in convolution and linear layers, as the papers count them.
        parameters: all of them.
        layer_macs: multiply-accumulates of those layers for one video of full length.
        attention_macs: multiply-accumulates of attention products.
        device: what the test ran on.
        versions: of davezoo, its libraries and Python, by name.
        commit: of the checkout, with `+changes` where files differ from it; None outside of one.
        written: when, ISO 8601 in UTC, so that later ones sort behind.
    """

    result: EvaluationResult
    method: str
    settings: dict[str, Any]
    changed: list[str]
    training: dict[str, Any] | None
    seed: int | None
    data_seed: int | None
    best_epoch: int | None
    annotations_sha256: str
    simulated: bool
    notes: list[str]
    layer_parameters: int
    parameters: int
    layer_macs: int
    attention_macs: int
    device: str
    versions: dict[str, str]
    commit: str | None
    written: str

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types; the inverse of `from_dict`."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_dict(cls, content: Any) -> RunResult:
        """Rebuild a result.

        Raises:
            ResultError: if these are not the entries of `to_dict`, or those of another version.
        """
        if not isinstance(content, dict) or "schema" not in content:
            raise ResultError("Expected the result of a test run, got another file; test again.")
        entries = {name: value for name, value in content.items() if name != "schema"}
        if content["schema"] != SCHEMA:
            raise ResultError(
                f"Expected schema {SCHEMA} of a test run's result, got {content['schema']!r:.40}; "
                "test again, or read it with the davezoo that wrote it."
            )
        names = {field.name for field in fields(cls)}
        if entries.keys() != names:
            got = sorted(names - entries.keys()), sorted(map(str, entries.keys() - names))
            raise ResultError(
                f"Expected the entries of a test run's result, got {got[0]} missing and "
                f"{got[1]} unknown; test again."
            )
        for name, kinds in _KINDS.items():
            value = entries[name]
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                wanted = " or ".join(kind.__name__ for kind in kinds)
                raise ResultError(
                    f"Expected `{name}` to be {wanted}, got {type(value).__name__}; test again."
                )
        if not isinstance(entries["result"], dict):
            raise ResultError("Expected `result` to hold the score, got another type; test again.")
        result = EvaluationResult.from_dict(entries["result"])
        _check_scores(result)
        groups = [entries["settings"].get(name) for name in ("model", "data")]
        if not all(isinstance(group, dict) for group in groups) or not _are_texts(
            [result.split, result.protocol["name"], *entries["changed"]]
        ):
            raise ResultError(
                "Expected settings of `model` and `data` and names as text, got others; test again."
            )
        return cls(**{**entries, "result": result})

    def write(self, path: Path) -> None:
        """Write the result to a JSON file, all at once."""
        write_json(path, self.to_dict(), indent=1)

    @classmethod
    def read(cls, path: Path) -> RunResult:
        """Read a result file.

        Raises:
            FileNotFoundError: if there is no such file.
            ResultError: if it is not the result of a test run; the message names the file.
        """
        content = read_json(path, ResultError)
        try:
            return cls.from_dict(content)
        except ResultError as error:
            raise ResultError(f"{path}: {error}") from error


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the entries of nested settings under dotted names.

    Example:
        >>> dict(flat_settings({"width": 64, "nms": {"sigma": 0.4}}))
        {'width': 64, 'nms.sigma': 0.4}
    """
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            yield from flat_settings(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _check_scores(result: EvaluationResult) -> None:
    """Refuse scores and thresholds that are not numbers between 0 and 1."""
    headline = result.protocol.get("headline_tious")
    tious = [*result.tiou_thresholds, *(headline if isinstance(headline, list) else [None])]
    for value in [result.avg_map, *result.map, *tious]:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not 0 <= value <= 1:
            raise ResultError(
                f"Expected scores and thresholds between 0 and 1, got {value!r:.40}; test again."
            )


def _are_texts(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)
