"""Which files simulated videos have: names, widths and grids as a data file states them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from davezoo.errors import InputError
from davezoo.recipes import FOLDER, find_recipe

_DEFAULT = "unav100"  # what the data module takes where a data file is silent
_ARCHIVE_MEMBER = "feats"  # of archives whose pattern names none, as in EPIC-Kitchens' releases


@dataclass(frozen=True)
class SimulatedFile:
    """One feature file that every video has.

    Args:
        name: name within the folder of the features, `{video}` for the id.
        member: array of an `.npz` archive; None in a `.npy` file.
        kind: key of its random vectors: what its name says beside the id.
        modality: `visual` or `audio`.
        width: channels.
        fps: frames per second.
        stride: frames from one vector to the next.
        window: frames that one vector covers.
        own_fps: let the video's own frame rate stand in for `fps`.
    """

    name: str
    member: str | None
    kind: str
    modality: Literal["visual", "audio"]
    width: int
    fps: float
    stride: float
    window: float
    own_fps: bool


@dataclass(frozen=True)
class SimulatedLayout:
    """A data set on disk; names are relative to its root.

    Args:
        annotations: annotation file, or one a subset.
        classes: file of the class names, if there is one.
        video_info: file of durations and frame rates, if there is one.
        labels: column of the annotations that is learnt, if there are several.
        features: folder of the feature files.
        files: the feature files of each video.
        splits: subsets to train, to validate and to test on.
        allow_missing_audio: whether videos may lack their audio files.
    """

    annotations: str | dict[str, str]
    classes: str | None
    video_info: str | None
    labels: Literal["verb", "noun", "action"] | None
    features: str
    files: tuple[SimulatedFile, ...]
    splits: tuple[str, str, str]
    allow_missing_audio: bool

    @property
    def own_fps(self) -> bool:
        """Whether features follow the frame rate of their video."""
        return any(file.own_fps for file in self.files)


def read_layout(
    like: str | None,
    visual_widths: Sequence[int] | int | None = None,
    audio_widths: Sequence[int] | int | None = None,
) -> SimulatedLayout:
    """Read the layout that a data file states.

    Args:
        like: name of a packaged data file, such as `thumos14`, or path of one's own; None for
            UnAV-100.
        visual_widths: channels of each visual file, or of all together; None for what is stated.
        audio_widths: the same for the audio files.

    Raises:
        InputError: if there is no such file, or it describes no data.
    """
    settings = read_data_file(_DEFAULT)
    if like is not None:
        settings |= read_data_file(like)
    widths = {
        "visual": settings["visual_width"] if visual_widths is None else visual_widths,
        "audio": settings["audio_width"] if audio_widths is None else audio_widths,
    }
    files = [
        _file(settings, modality, pattern, width)
        for modality in ("visual", "audio")
        for pattern, width in _widths(settings, modality, widths[modality])
    ]
    doubled = [file for file in files if [other.kind for other in files].count(file.kind) > 1]
    if doubled:
        raise InputError(
            f"Expected the file patterns to differ beside {{video}}, got {doubled[0].name!r} for "
            "two files; name them apart."
        )
    return SimulatedLayout(
        **{name: settings[name] for name in ("annotations", "classes", "video_info", "labels")},
        features=settings["features"],
        files=tuple(files),
        splits=(settings["train_split"], settings["val_split"], settings["test_split"]),
        allow_missing_audio=settings["allow_missing_audio"],
    )


def read_data_file(name: str) -> dict[str, Any]:
    """Return the settings of a packaged data file or of one's own.

    Args:
        name: such as `thumos14` or `my.yaml`.

    Raises:
        InputError: if there is no such file, or it holds no settings.
    """
    path = Path(name)
    if path.suffix != ".yaml" and not path.is_file():
        path = Path(find_recipe(f"data/{name}.yaml"))
    if not path.is_file():
        known = sorted(file.stem for file in FOLDER.glob("data/*.yaml"))
        near = difflib.get_close_matches(name, known, n=1)
        raise InputError(
            f"Expected a data file or one of {', '.join(known)}, got {name!r}; "
            + (f"did you mean {near[0]!r}?" if near else "correct it.")
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"Expected {path} to be YAML, got {error}; correct it.") from error
    if not isinstance(content, dict):
        raise InputError(
            f"Expected {path} to hold settings of the data, got {type(content).__name__}; "
            "write them as `name: value`, like configs/data/unav100.yaml."
        )
    return content


def _widths(
    settings: Mapping[str, Any], modality: str, widths: Sequence[int] | int
) -> list[tuple[str, int]]:
    """Return each pattern of a modality with the width of its file."""
    patterns = settings[f"{modality}_files"]
    if isinstance(widths, int):  # as equal as it goes
        whole, left = divmod(widths, max(len(patterns), 1))
        widths = [whole + (index < left) for index in range(len(patterns))]
    if len(widths) != len(patterns) or min(widths, default=1) < 1:
        raise InputError(
            f"Expected at least one channel for each of the files {patterns}, got {widths}; "
            f"raise `{modality}_width`."
        )
    return list(zip(patterns, widths, strict=True))


def _file(
    settings: Mapping[str, Any], modality: Literal["visual", "audio"], pattern: str, width: int
) -> SimulatedFile:
    """Return what a pattern stands for."""
    name, _, member = pattern.partition(":")
    path = Path(name)
    if "{video}" not in name or path.suffix not in (".npy", ".npz") or path.is_absolute():
        raise InputError(
            f"Expected file patterns with {{video}} that end in .npy or .npz, got {pattern!r}; "
            f"correct `{modality}_files`."
        )
    own_grid = modality == "audio" and settings["audio_grid"] is not None
    beside_id = name.removesuffix(path.suffix).replace("{video}", " ").split()
    return SimulatedFile(
        name=name,
        member=(member or _ARCHIVE_MEMBER) if path.suffix == ".npz" else None,
        kind="_".join([part.strip("_/") for part in beside_id] + [member] * bool(member)),
        modality=modality,
        width=width,
        **settings["audio_grid" if own_grid else "grid"],
        own_fps=modality == "visual" and settings["own_fps"],
    )
