"""Events and detections of the size of UnAV-100's test split, drawn by chance."""

from __future__ import annotations

import numpy as np
import pandas as pd

from davezoo.annotations import Annotations
from davezoo.evaluation.predictions import PredictionTable


def simulate_tables(
    num_videos: int = 2167,
    detections_per_video: int = 100,
    num_classes: int = 100,
    seed: int = 0,
    noise: float = 1.0,
) -> tuple[Annotations, PredictionTable]:
    """Events of 1 to 10 s in videos of 42 s; detections near them (in seconds of noise), or not."""
    rng = np.random.default_rng(0)  # the events are the same for all seeds
    ids = [f"video_{index:05d}" for index in range(num_videos)]
    video = np.repeat(np.arange(num_videos), rng.integers(1, 6, num_videos))
    start = rng.uniform(0, 32, len(video)).round(3)
    events = pd.DataFrame(
        {
            "video": np.array(ids)[video],
            "start": start,
            "end": (start + rng.uniform(1, 10, len(video))).round(3),
            "label": rng.integers(0, num_classes, len(video)),
        }
    )
    annotations = Annotations(
        videos=pd.DataFrame(
            {"subset": "test", "duration": 42.0, "fps": np.nan}, index=pd.Index(ids, name="video")
        ),
        events=events,
        class_names=[f"class {index}" for index in range(num_classes)],
    )
    rng = np.random.default_rng(seed)
    videos = np.repeat(np.arange(num_videos), detections_per_video)
    first = np.searchsorted(video, np.arange(num_videos + 1))
    event = rng.integers(first[videos], first[videos + 1])
    is_near = rng.random(len(videos)) < 0.2
    segments = events[["start", "end"]].to_numpy()[event] + rng.normal(0, noise, (len(videos), 2))
    by_chance = rng.uniform(0, 42, (len(videos), 2))
    segments = np.sort(np.where(is_near[:, None], segments, by_chance), axis=1)
    labels = np.where(
        is_near, events["label"].to_numpy()[event], rng.integers(0, num_classes, len(videos))
    )
    scores = np.where(is_near, rng.beta(3, 3, len(videos)), rng.beta(1, 8, len(videos)))
    return annotations, PredictionTable(
        video_ids=ids,
        class_names=annotations.class_names,
        videos=videos,
        labels=labels,
        segments=segments,
        scores=scores,
    )
