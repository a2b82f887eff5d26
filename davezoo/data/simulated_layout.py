"""Which files simulated videos have: names, widths and grids as a data file states them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from davezoo.data.features import DEFAULT_MEMBER
from davezoo.errors import InputError
from davezoo.recipes import read_data_settings

FileNames = str | list[str] | dict[str, str] | None


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
        classes: file of the class names, if there is one, or several.
        video_info: file of durations and frame rates, if there is one, or several.
        labels: column of the annotations that is learnt, if there are several.
        features: folder of the feature files.
        files: the feature files of each video.
        splits: subsets to train, to validate and to test on.
        allow_missing_audio: whether videos may lack their audio files.
    """

    annotations: FileNames
    classes: FileNames
    video_info: FileNames
    labels: Literal["verb", "noun", "action"] | None
    features: str
    files: tuple[SimulatedFile, ...]
    splits: tuple[str, str, str]
    allow_missing_audio: bool

    @property
    def tables(self) -> list[str]:
        """Names of all files that tell of the annotations, the annotation files first."""
        return [*names_in(self.annotations), *names_in(self.classes), *names_in(self.video_info)]

    @property
    def needs_tables(self) -> bool:
        """Whether there is more than one JSON file, so that annotations cannot be drawn."""
        return len(self.tables) != 1 or ".json" not in self.tables[0]


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
    settings = read_data_settings("unav100" if like is None else like)
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


def names_in(files: FileNames) -> list[str]:
    """Return file names that stand alone, in a list, or for subsets."""
    if files is None or isinstance(files, str):
        return [] if files is None else [files]
    return list(files.values() if isinstance(files, dict) else files)


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
        member=(member or DEFAULT_MEMBER) if path.suffix == ".npz" else None,
        kind="_".join([part.strip("_/") for part in beside_id] + [member] * bool(member)),
        modality=modality,
        width=width,
        **settings["audio_grid" if own_grid else "grid"],
        own_fps=modality == "visual" and settings["own_fps"],
    )
