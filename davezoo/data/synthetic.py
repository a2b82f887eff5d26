"""Simulated data on disk, in the layout of any data set: planted events that need both modalities.

`simulation` draws events and distractors, `signals` their features, `simulated_layout` reads which
files there are.
"""

from __future__ import annotations

import gzip
import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from davezoo.annotations import AnnotationError, Annotations, read_annotations, write_annotations
from davezoo.data.signals import draw_features, draw_prototypes
from davezoo.data.simulated_layout import FileNames, SimulatedLayout, names_in, read_layout
from davezoo.data.simulation import (
    Distractors,
    Simulation,
    describe_distractors,
    draw_annotations,
    draw_distractors,
    events_by_video,
    random_stream,
)
from davezoo.errors import InputError
from davezoo.json_files import write_json
from davezoo.recipes import find_recipe
from davezoo.whole_files import whole_file

if TYPE_CHECKING:
    from numpy.typing import NDArray


def simulate(
    output: Path,
    like: str | None = None,
    annotations: Path | None = None,
    splits: list[str] | None = None,
    max_videos: int | None = None,
    visual_width: int | None = None,
    audio_width: int | None = None,
    **settings: Any,
) -> None:
    """Write simulated features and annotations in the layout of a data set.

    Finished videos are skipped, so a broken run is continued by the same command.

    Args:
        output: folder to write to, the `root` of the data; made if absent.
        like: data set whose layout is written (names, widths and grids of the files): a packaged
            data file, such as `thumos14`, `activitynet13`, `epic100_verb`, or one's own,
            `my.yaml`; by default UnAV-100.
        annotations: real annotation file to simulate features for, in any layout that is read; or,
            for layouts of several files, the folder that they lie in, gzipped or not. By default
            annotations are simulated, too.
        splits: write features only for these splits; default those that the data set uses.
        max_videos: write features of at most this many videos of each split, in file order, and
            leave the others out of the annotation files.
        visual_width: with `like`, channels of all visual files together; default the real ones.
        audio_width: with `like`, channels of all audio files together.
        settings: see `Simulation`.

    Raises:
        FileExistsError: if the folder holds data of another origin or of other settings.
        AnnotationError: if the annotation file is unusable or lacks a split.
        InputError: if there is no such layout.
    """
    simulation = Simulation(**settings)
    output = Path(output).expanduser()
    layout = _layout(simulation, like, visual_width, audio_width)
    written, present = write_simulation(
        output, simulation, annotations, splits, max_videos, layout=layout
    )
    widths = {"visual": 0, "audio": 0}
    for file in layout.files:
        widths[file.modality] += file.width
    sys.stdout.write(
        f"Wrote the features of {written} videos to {output}; {present} were there already.\n"
        f"Next: davezoo fit --config unav.yaml {_recipe_words(like)}--data.root "
        f"{shlex.quote(str(output))} --data.visual_width {widths['visual']} "
        f"--data.audio_width {widths['audio']}\n"
    )


def write_simulation(
    output: Path,
    simulation: Simulation,
    annotations: Path | None = None,
    splits: list[str] | None = None,
    max_videos: int | None = None,
    *,
    layout: SimulatedLayout | None = None,
) -> tuple[int, int]:
    """Write what `simulate` writes, with a progress bar on a terminal but without a summary.

    Args:
        output: see `simulate`.
        simulation: what to simulate.
        annotations: see `simulate`.
        splits: see `simulate`.
        max_videos: see `simulate`.
        layout: which files there are; UnAV-100's by default.

    Returns:
        Number of videos written and number of videos that were there already.

    Raises:
        FileExistsError: if the folder holds data of another origin or of other settings.
        AnnotationError: if the annotation file is unusable or lacks a split.
        InputError: if the annotations do not fit the layout.
    """
    if layout is None:
        layout = _layout(simulation, None, None, None)
    origins = _find_origins(layout, annotations)
    drawn = not origins
    source = draw_annotations(simulation, layout.splits) if drawn else _read(layout, origins)
    if max_videos is not None:
        if max_videos < 1:
            raise InputError(
                f"Expected `max_videos` to be at least 1, got {max_videos}; leave it out for all."
            )
        source = source.select(source.videos.groupby("subset", sort=False).head(max_videos))
    subsets = _used_splits(layout, source, drawn) if splits is None else splits
    chosen = pd.concat([source.split(subset).videos for subset in subsets])
    _claim_folder(output, simulation, annotations, layout)
    _write_tables(layout, source, origins, output)
    distractors = draw_distractors(simulation, source)
    # Beside the annotations, so that a study can tell which errors the distractors cause.
    described = describe_distractors(distractors, source.class_names)
    write_json((output / layout.tables[0]).with_name("distractors.json"), described, indent=1)
    written = _write_features(simulation, layout, source, chosen, distractors, output)
    return written, len(chosen) - written


def is_simulated(folder: Path) -> bool:
    """Say whether `simulate` made a folder (a marker lies in it), finished or not."""
    return (folder / "simulation.json").is_file()


def _layout(
    simulation: Simulation, like: str | None, visual_width: int | None, audio_width: int | None
) -> SimulatedLayout:
    """Return the layout to write; widths come from one place alone."""
    if like is not None:
        own = Simulation()
        for name in ("rgb_width", "flow_width", "vggish_width"):
            if getattr(simulation, name) != getattr(own, name):
                raise InputError(
                    f"Expected `{name}` without `like`, got both; use `visual_width` and "
                    "`audio_width`."
                )
        return read_layout(like, visual_width, audio_width)
    if visual_width is not None or audio_width is not None:
        raise InputError(
            "Expected `visual_width` and `audio_width` with `like`, got them alone; use "
            "`rgb_width`, `flow_width` and `vggish_width`, or `like=unav100`."
        )
    return read_layout(
        None, [simulation.rgb_width, simulation.flow_width], [simulation.vggish_width]
    )


def _recipe_words(like: str | None) -> str:
    """Return the options that let a recipe read the layout, and train as suits it."""
    if like is None:
        return ""
    if like.endswith((".yaml", ".yml")):
        return f"--data {shlex.quote(like)} "
    has_schedule = Path(find_recipe(f"schedules/{like}.yaml")).is_file()
    return f"--data data/{like}.yaml " + f"--config schedules/{like}.yaml " * has_schedule


def _find_origins(layout: SimulatedLayout, annotations: Path | None) -> dict[str, Path]:
    """Return the real file behind each table of the layout; {} if annotations are to be drawn."""
    wanted = ", ".join(Path(name).name for name in layout.tables)
    if annotations is None:
        if layout.needs_tables:
            raise InputError(
                f"Expected `annotations` for a layout of several files or of csv files, got none; "
                f"name the folder of {wanted or 'an annotation file'}, or choose a layout with one "
                "JSON file."
            )
        return {}
    folder = Path(annotations).expanduser()
    if folder.is_dir():
        return {name: _in_folder(folder, Path(name).name) for name in layout.tables}
    if layout.needs_tables:
        raise InputError(
            f"Expected `annotations` to be the folder of {wanted}, got the file {folder}; name its "
            "folder, or choose a layout with one JSON file."
        )
    return {layout.tables[0]: folder}


def _in_folder(folder: Path, name: str) -> Path:
    """Return a file of a folder, gzipped or not."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"Expected the annotation file {name} in {folder}, gzipped or not, got none; copy it there."
    )


def _read(layout: SimulatedLayout, origins: dict[str, Path]) -> Annotations:
    """Read real annotations; every video must have a duration."""

    def origin(names: FileNames) -> Any:
        if names is None or isinstance(names, str):
            return None if names is None else origins[names]
        if isinstance(names, dict):
            return {subset: origins[name] for subset, name in names.items()}
        return [origins[name] for name in names]

    source = read_annotations(
        origin(layout.annotations),
        classes=origin(layout.classes),
        video_info=origin(layout.video_info),
        labels=layout.labels,
    )
    lacking = source.videos.index[source.videos["duration"].isna()]
    if len(lacking):
        files = ", ".join(map(str, origins.values()))
        raise AnnotationError(
            f"Expected every video in {files} to have a `duration`, got none for {len(lacking)}, "
            f"such as {lacking[0]!r}; add it."
        )
    return source


def _used_splits(layout: SimulatedLayout, source: Annotations, drawn: bool) -> list[str]:
    """Return the subsets that the data set uses; drawn annotations may have fewer."""
    existing = set(source.videos["subset"].str.lower())
    used = list(dict.fromkeys(layout.splits))
    present = [name for name in used if name.lower() in existing]
    if len(present) < len(used) and not drawn:
        raise AnnotationError(
            f"Expected the annotations to have the subsets {used}, got {sorted(existing)}; name "
            "those to simulate with `splits`, or choose another layout."
        )
    return present


def _write_tables(
    layout: SimulatedLayout, source: Annotations, origins: dict[str, Path], output: Path
) -> None:
    """Write the annotations as the layout has them: one JSON file, or real files cut to size."""
    if not layout.needs_tables:
        write_annotations(source, output / layout.tables[0])
        return
    ids = [*source.videos.index, *("v_" + source.videos.index)]  # ActivityNet's have a prefix
    classes = names_in(layout.classes)
    for name, path in origins.items():
        if name in classes or ".csv" not in name:
            content = path.read_bytes()
            content = gzip.decompress(content) if path.suffix == ".gz" else content
        else:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
            # Ids stand alone in their column, or as the name of a video file.
            known = table.apply(lambda column: column.str.removesuffix(".mp4").isin(ids))
            content = table[known.any(axis=1)].to_csv(index=False).encode()
        with whole_file(output / name) as part:
            part.write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)


def _claim_folder(
    output: Path, simulation: Simulation, annotations: Path | None, layout: SimulatedLayout
) -> None:
    """Make the folder and the marker; refuse a folder with other data."""
    marker = output / "simulation.json"
    content = asdict(simulation) | {
        "annotations": None if annotations is None else Path(annotations).name
    }
    usual = _layout(simulation, None, None, None)
    if layout != usual:
        content["layout"] = json.loads(json.dumps(asdict(layout)))  # lists where there are tuples
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
    write_json(marker, content, indent=1)


def _write_features(
    simulation: Simulation,
    layout: SimulatedLayout,
    source: Annotations,
    chosen: pd.DataFrame,
    distractors: Distractors,
    output: Path,
) -> int:
    """Write the feature files that are absent; return the number of videos written."""
    num_classes = len(source.class_names)
    prototypes = {file: draw_prototypes(simulation, file, num_classes) for file in layout.files}
    events = events_by_video(source)
    written = 0
    rows = chosen[["duration", "fps"]].itertuples(name=None)
    # `disable=None`: no bar where the output is not a terminal.
    for video, duration, fps in tqdm(rows, "Simulating", len(chosen), unit="video", disable=None):
        present = _has_audio(simulation, layout, video)
        paths = {
            file: output / layout.features / file.name.replace("{video}", video)
            for file in layout.files
            if present or file.modality == "visual"
        }
        # Files appear under their names only when complete, so a present file is a good one.
        if all(path.is_file() for path in paths.values()):
            continue
        everything = [("both", *event) for event in events[video]] + distractors[video]
        arrays: dict[Path, dict[str | None, NDArray[Any]]] = {}
        for file, features in draw_features(
            simulation, video, duration, fps, everything, prototypes
        ):
            if file in paths:
                arrays.setdefault(paths[file], {})[file.member] = features
        for path, members in arrays.items():
            with whole_file(path) as part, part.open("wb") as stream:
                _save(stream, members)
        written += 1
    return written


def _has_audio(simulation: Simulation, layout: SimulatedLayout, video: str) -> bool:
    """Say whether a video has an audio track."""
    if not layout.allow_missing_audio:
        return True
    rng = random_stream(simulation.seed, "audio track", video)
    return bool(rng.random() >= simulation.without_audio)


def _save(stream: IO[bytes], members: dict[str | None, NDArray[Any]]) -> None:
    """Write one array as `.npy`, named ones as `.npz`."""
    if None in members:
        np.save(stream, members[None])
    else:
        archive: dict[str, Any] = {str(name): array for name, array in members.items()}
        np.savez(stream, **archive)
