"""Small data sets for the tests of the inspection."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from davezoo.annotations import Annotations
from davezoo.inspection.statistics import SplitStatistics

Event = tuple[str, float, float, int]


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
