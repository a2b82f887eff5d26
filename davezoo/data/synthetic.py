"""Simulated data in UnAV-100's layout on disk: planted events that need both modalities.

Every class has one fixed unit vector ("prototype") a feature file. An event adds the prototype of
its class to the visual and to the audio features, with soft onset and offset. Distractors add it to
one modality only, so that neither modality alone tells events from distractors. Noise is AR(1) in
time: neighbouring steps share it, as neighbouring feature windows share frames.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from davezoo.annotations import AnnotationError, Annotations, read_annotations, write_annotations
from davezoo.data.simulation import (
    Distractors,
    Simulation,
    describe_distractors,
    draw_annotations,
    draw_distractors,
    events_by_video,
    random_stream,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]

# UnAV-100's feature grid: 25 frames a second, a window of 24 frames every 8 frames.
_FPS, _STRIDE, _WINDOW = 25, 8, 24
_ONSET_SECONDS = 0.3  # time constant of soft onsets and offsets
_NOISE_CORRELATION = 0.7  # of one step with the next; windows of 24 every 8 share 2/3 of the frames


def simulate(
    output: Path,
    annotations: Path | None = None,
    splits: list[str] | None = None,
    max_videos: int | None = None,
    **settings: Any,
) -> None:
    """Write simulated features and annotations in UnAV-100's layout.

    Finished videos are skipped, so a broken run is continued by the same command.

    Args:
        output: folder to write `annotations/` and `av_features/` to; made if absent.
        annotations: real annotation file to simulate features for, `.json` or `.json.gz`; by
            default annotations are simulated, too.
        splits: write features only for these splits; default all.
        max_videos: write features of at most this many videos of each split, in file order, and
            leave the others out of the annotation file.
        settings: see `Simulation`.

    Raises:
        FileExistsError: if the folder holds data of another origin or of other settings.
        AnnotationError: if the annotation file is unusable or lacks a split.
    """
    simulation = Simulation(**settings)
    output = Path(output).expanduser()
    written, present = write_simulation(output, simulation, annotations, splits, max_videos)
    sys.stdout.write(
        f"Wrote the features of {written} videos to {output}; {present} were there already.\n"
        f"Next: davezoo fit --config unav.yaml --data.root {output} "
        f"--data.visual_width {simulation.rgb_width + simulation.flow_width} "
        f"--data.audio_width {simulation.vggish_width}\n"
    )


def write_simulation(
    output: Path,
    simulation: Simulation,
    annotations: Path | None = None,
    splits: list[str] | None = None,
    max_videos: int | None = None,
) -> tuple[int, int]:
    """Write what `simulate` writes, with a progress bar on a terminal but without a summary.

    Args:
        output: see `simulate`.
        simulation: what to simulate.
        annotations: see `simulate`.
        splits: see `simulate`.
        max_videos: see `simulate`.

    Returns:
        Number of videos written and number of videos that were there already.

    Raises:
        FileExistsError: if the folder holds data of another origin or of other settings.
        AnnotationError: if the annotation file is unusable or lacks a split.
    """
    source = draw_annotations(simulation) if annotations is None else _read(annotations)
    if max_videos is not None:
        source = source.select(source.videos.groupby("subset", sort=False).head(max_videos))
    subsets = sorted(set(source.videos["subset"].str.lower())) if splits is None else splits
    chosen = pd.concat([source.split(subset).videos for subset in subsets])
    _claim_folder(output, simulation, annotations)
    write_annotations(source, output / "annotations" / "unav100_annotations.json")
    distractors = draw_distractors(simulation, source)
    # Beside the annotations, so that a study can tell which errors the distractors cause.
    described = describe_distractors(distractors, source.class_names)
    _write_json(described, output / "annotations" / "distractors.json")
    written = _write_features(simulation, source, chosen, distractors, output)
    return written, len(chosen) - written


def is_simulated(folder: Path) -> bool:
    """Say whether `simulate` made a folder (a marker lies in it), finished or not."""
    return (folder / "simulation.json").is_file()


def _claim_folder(output: Path, simulation: Simulation, annotations: Path | None) -> None:
    """Make the folders and the marker; refuse a folder with other data."""
    marker = output / "simulation.json"
    content = asdict(simulation) | {
        "annotations": None if annotations is None else Path(annotations).name
    }
    if marker.is_file():
        earlier = asdict(Simulation()) | json.loads(marker.read_text())  # settings added since
        if earlier == content:
            return
        raise FileExistsError(
            f"Expected {output} to be simulated with the same settings, got others (see {marker}); "
            "choose another folder or delete this one."
        )
    if output.exists() and any(output.iterdir()):
        raise FileExistsError(
            f"Expected {output} to be empty or simulated, got other files; choose another folder."
        )
    for folder in ("annotations", "av_features"):
        (output / folder).mkdir(parents=True, exist_ok=True)
    _write_json(content, marker)


def _read(path: Path) -> Annotations:
    """Read real annotations; every video must have a duration."""
    source = read_annotations(path)
    lacking = source.videos.index[source.videos["duration"].isna()]
    if len(lacking):
        raise AnnotationError(
            f"Expected every video in {path} to have a `duration`, got none for {len(lacking)}, "
            f"such as {lacking[0]!r}; add it."
        )
    return source


def _write_features(
    simulation: Simulation,
    source: Annotations,
    chosen: pd.DataFrame,
    distractors: Distractors,
    output: Path,
) -> int:
    """Write the feature files that are absent; return the number of videos written."""
    num_classes = len(source.class_names)
    prototypes = {kind: _prototypes(simulation, kind, num_classes) for kind in simulation.widths}
    events = events_by_video(source)
    written = 0
    durations = chosen["duration"].items()
    # `disable=None`: no bar where the output is not a terminal.
    for video, duration in tqdm(durations, "Simulating", len(chosen), unit="video", disable=None):
        paths = {k: output / "av_features" / f"{video}_{k}.npy" for k in simulation.widths}
        # Files appear under their names only when complete, so a present file is a good one.
        if all(path.is_file() for path in paths.values()):
            continue
        everything = [("both", *event) for event in events[str(video)]] + distractors[str(video)]
        for kind, features in _features(simulation, str(video), duration, everything, prototypes):
            temporary = paths[kind].with_name(f"{paths[kind].name}.incomplete{os.getpid()}")
            with temporary.open("wb") as file:
                np.save(file, features)
            temporary.replace(paths[kind])
        written += 1
    return written


def _prototypes(simulation: Simulation, kind: str, num_classes: int) -> FloatArray:
    """Return one unit vector a class, (K, C)."""
    rng = random_stream(simulation.seed, "prototypes", kind)
    vectors = rng.standard_normal((num_classes, simulation.widths[kind]), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _features(
    simulation: Simulation,
    video: str,
    duration: float,
    events: list[tuple[str, float, float, int]],
    prototypes: dict[str, FloatArray],
) -> Iterable[tuple[str, NDArray[Any]]]:
    """Yield kind and features (T, C) of one video's files."""
    rng = random_stream(simulation.seed, "features", video)
    # As many windows as fit into the video; at least one, for videos below a second.
    num_steps = max((int(duration * _FPS + 1e-6) - _WINDOW) // _STRIDE + 1, 1)
    # Audio tracks often end a little earlier or later than the pictures: half of them here.
    surplus = int(rng.choice([0, 0, 0, 0, -2, -1, 1, 2]))
    start, end = (np.array([e[i] for e in events], dtype=np.float32) for i in (1, 2))
    labels = np.array([event[3] for event in events], dtype=np.int64)
    for kind, width in simulation.widths.items():
        modality = "audio" if kind == "vggish" else "visual"
        steps = max(num_steps + surplus, 1) if modality == "audio" else num_steps
        present = np.array([event[0] in ("both", modality) for event in events], dtype=bool)
        gain = simulation.signal_to_noise * present * rng.uniform(0.7, 1.3, len(events))
        seconds = ((np.arange(steps) * _STRIDE + _WINDOW / 2) / _FPS)[:, None]
        envelope = _sigmoid((seconds - start) / _ONSET_SECONDS) * _sigmoid(
            (end - seconds) / _ONSET_SECONDS
        )
        signal = (envelope * gain).astype(np.float32) @ prototypes[kind][labels]
        noise = _correlate(rng.standard_normal((steps, width), dtype=np.float32))
        yield kind, (signal + noise).astype(simulation.dtype)


def _sigmoid(x: NDArray[Any]) -> NDArray[Any]:
    """Return 1 / (1 + exp(-x)) without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def _correlate(white: FloatArray) -> FloatArray:
    """Turn white noise, (T, C), into stationary AR(1) noise of variance 1.

    x[t] = r x[t-1] + sqrt(1 - r^2) w[t] is a lower-triangular matrix times w: one matrix product
    instead of a loop over time (T is below 200 in UnAV-100).
    """
    time = np.arange(len(white))
    lag = time[:, None] - time
    filter_ = np.where(lag >= 0, _NOISE_CORRELATION ** np.maximum(lag, 0), 0)
    filter_[:, 1:] *= np.sqrt(1 - _NOISE_CORRELATION**2)  # the first step has variance 1 already
    return filter_.astype(np.float32) @ white


def _write_json(content: dict[str, Any], path: Path) -> None:
    """Write a file that is either complete or absent."""
    temporary = path.with_name(f"{path.name}.incomplete{os.getpid()}")
    temporary.write_text(json.dumps(content, indent=1))
    temporary.replace(path)
