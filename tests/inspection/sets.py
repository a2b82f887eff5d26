"""Small data sets for the tests of the inspection."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from davezoo.annotations import Annotations, write_annotations
from davezoo.data import EventDataModule
from davezoo.inspection.collect import Inspection, collect
from davezoo.inspection.coverage import Ranges
from davezoo.inspection.statistics import SplitStatistics

Event = tuple[str, float, float, int]
USUAL: Ranges = [(0, 4), (4, 8), (8, 16), (16, 32), (32, 64), (64, 10000)]


def make_annotations(
    durations: dict[str, float], events: Sequence[Event], names: Sequence[str] = ("dog", "cat")
) -> Annotations:
    """Videos with durations in seconds; events as video, start, end and label."""
    return Annotations(
        videos=pd.DataFrame(
            {"subset": "train", "duration": list(durations.values()), "fps": np.nan},
            index=pd.Index(list(durations), name="video", dtype="str"),
        ),
        events=pd.DataFrame(
            [list(event) for event in events], columns=["video", "start", "end", "label"]
        ).astype({"start": float, "end": float, "label": np.int64}),
        class_names=list(names),
    )


def make_split(
    durations: dict[str, float],
    events: Sequence[Event],
    names: Sequence[str] = ("dog", "cat"),
    hop: float = 1.0,
    first: float = 0.0,
) -> SplitStatistics:
    """The same as a split whose steps lie `hop` seconds apart."""
    annotations = make_annotations(durations, events, names)
    seconds = annotations.videos["duration"].to_numpy(float)
    timing = pd.DataFrame(
        {"seconds": seconds, "steps": np.floor(seconds / hop), "hop": hop, "first": first},
        index=annotations.videos.index,
    )
    return SplitStatistics("train", ["fit"], annotations, timing)


def open_data(root: Path, **settings: object) -> EventDataModule:
    """Open the simulated data set of the fixture `root`."""
    return EventDataModule(str(root), **{"visual_width": 16, "audio_width": 8, **settings})


def inspect_events(
    folder: Path, events: Sequence[Event], names: Sequence[str] = ("dog", "cat"), **settings: object
) -> Inspection:
    """Collect what there is of annotations without features: one split, videos of 60 s."""
    durations = {video: 60.0 for video, *_ in events} or {"a": 60.0}
    write_annotations(make_annotations(durations, events, names), folder / "events.json")
    (folder / "names.json").write_text(json.dumps(list(names)))
    splits = dict.fromkeys(("val_split", "test_split", "predict_split"), "train")
    files = {"annotations": "events.json", "classes": "names.json"}
    data = EventDataModule(str(folder), **{**files, **splits, **settings})
    return collect(data, USUAL, check_pack=True)
