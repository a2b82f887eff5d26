"""Annotations and detections of tests, from plain lists or from the JSON of a golden case."""

import numpy as np
import pandas as pd

from davezoo.annotations import Annotations
from davezoo.evaluation.predictions import PredictionTable


def make_annotations(events, videos=None, class_names=("a", "b", "c"), subset="test"):
    """Events are (video, label index, (start, end)); `videos` may add ones without events."""
    videos = list(dict.fromkeys(video for video, *_ in events)) if videos is None else videos
    segments = np.array([segment for *_, segment in events], dtype=np.float64).reshape(-1, 2)
    return Annotations(
        videos=pd.DataFrame(
            {"subset": [subset] * len(videos), "duration": 100.0, "fps": np.nan},
            index=pd.Index(videos, name="video", dtype="str"),
        ).astype({"subset": "str"}),
        events=pd.DataFrame(
            {
                "video": pd.Series([video for video, *_ in events], dtype="str"),
                "start": segments[:, 0],
                "end": segments[:, 1],
                "label": np.array([label for _, label, _ in events], dtype=np.int64),
            }
        ),
        class_names=list(class_names),
    )


def make_predictions(detections, videos=None, class_names=("a", "b", "c")):
    """Detections are (video, label index, (start, end), score)."""
    videos = list(dict.fromkeys(video for video, *_ in detections)) if videos is None else videos
    index_of = {video: index for index, video in enumerate(videos)}
    return PredictionTable(
        video_ids=list(videos),
        class_names=list(class_names),
        videos=np.array([index_of[video] for video, *_ in detections], dtype=np.int64),
        labels=np.array([label for _, label, *_ in detections], dtype=np.int64),
        segments=np.array([s for _, _, s, _ in detections], dtype=np.float64).reshape(-1, 2),
        scores=np.array([score for *_, score in detections], dtype=np.float64),
    )


def as_predictions(annotations):
    """Annotated events as detections of one and the same score."""
    events, videos = annotations.events, annotations.videos.index
    return PredictionTable(
        video_ids=list(videos),
        class_names=annotations.class_names,
        videos=videos.get_indexer(events["video"]),
        labels=events["label"].to_numpy(),
        segments=events[["start", "end"]].to_numpy(),
        scores=np.ones(len(events)),
    )


def read_case(case):
    """Return annotations of the case's subset and detections."""
    database = case["ground_truth"]["database"]
    subset = case.get("subset", "test").lower()
    chosen = {v: entry for v, entry in database.items() if entry["subset"].lower() == subset}
    results = case["detections"]["results"]
    annotated = [(v, a) for v, entry in chosen.items() for a in entry["annotations"]]
    detected = [(v, d) for v, listed in results.items() for d in listed]
    names = list(dict.fromkeys(x["label"] for _, x in annotated + detected))
    number = {name: index for index, name in enumerate(names)}
    events = [(v, number[a["label"]], a["segment"]) for v, a in annotated]
    detections = [(v, number[d["label"]], d["segment"], d["score"]) for v, d in detected]
    return (
        make_annotations(events, list(chosen), names),
        make_predictions(detections, list(results), names),
    )
