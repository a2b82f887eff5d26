"""Small reports for tests, and a parser that reads them back."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from davezoo.annotations import Annotations
from davezoo.evaluation.predictions import PredictionTable
from davezoo.evaluation.report import write_report
from davezoo.evaluation.results import ClassResult, EvaluationResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

HOSTILE = [
    "<script>document.title='hacked'</script>",
    '"><img src=x onerror="document.title=\'hacked\'">',
    "</script><script>document.title='hacked'</script>",
    "' onmouseover='document.title=1' & \u2028 \u2029 {{ 7 * 7 }} <!-- ",
]


def make_annotations(names: list[str], num_videos: int = 4) -> Annotations:
    """Videos of 10 s, each with one event of 2 to 6 s; the class goes round."""
    ids = [f"video {index}" for index in range(num_videos)]
    return Annotations(
        videos=pd.DataFrame(
            {"subset": "test", "duration": 10.0, "fps": np.nan}, index=pd.Index(ids, name="video")
        ),
        events=pd.DataFrame(
            {
                "video": ids,
                "start": 2.0,
                "end": 6.0,
                "label": np.arange(num_videos) % len(names),
            }
        ),
        class_names=names,
    )


def make_result(annotations: Annotations, missing: Sequence[str] = ()) -> EvaluationResult:
    """Made-up scores; class 1 is better than class 0, the others are worse."""
    values = [[0.2, 0.1, 0.0], [0.9, 0.8, 0.7], [0.1, 0.0, 0.0], [0.0, 0.0, 0.0]]
    return EvaluationResult(
        protocol={"name": "unav100", "version": "1", "tiou_thresholds": [0.1, 0.1 * 3, 0.9]},
        split="test",
        avg_map=0.43214,
        map=[0.61237, 0.4, 0.2],
        classes=[
            ClassResult(name, 1000 + index, values[index])
            for index, name in enumerate(annotations.class_names)
        ],
        num_events=len(annotations.events),
        num_expected_videos=len(annotations.videos),
        num_scored_videos=len(annotations.videos) - len(missing),
        missing_videos=list(missing),
        num_blocked_videos=0,
        num_near_duplicate_events=2,
        num_short_events=0,
        num_predictions=1234,
        num_blocked_predictions=0,
        unknown_labels={"unheard of": 3},
        num_unknown_video_predictions=0,
    )


def make_table(results: Mapping[str, Sequence[tuple[float, float, str | int, float]]]) -> Any:
    """Detections (start, end, label, score) of each video."""
    rows = [(index, *row) for index, listed in enumerate(results.values()) for row in listed]
    names = list(dict.fromkeys(row[3] for row in rows))
    return PredictionTable(
        video_ids=list(results),
        class_names=names,
        videos=np.array([row[0] for row in rows], dtype=np.int64),
        labels=np.array([names.index(row[3]) for row in rows], dtype=np.int64),
        segments=np.array([row[1:3] for row in rows], dtype=np.float64).reshape(-1, 2),
        scores=np.array([row[4] for row in rows], dtype=np.float64),
    )


def write(path: Path, names: list[str], title: str = "Run", **more: Any) -> str:
    """Write a report whose last video has no detections; return the page."""
    annotations = make_annotations(names)
    predictions = {
        video: [
            (0.0, 1.0, names[-1], 0.1),
            (2.0, 6.0, names[index % len(names)], 0.9),
            (1.0, 8.0, names[0], 0.5),
        ]
        for index, video in enumerate(annotations.videos.index[:-1])
    }
    result = make_result(annotations, [annotations.videos.index[-1]])
    write_report(path, result, annotations, make_table(predictions), title, **more)
    return path.read_text(encoding="utf-8")


def write_table(path: Path, annotations: Annotations, results: Any) -> Page:
    write_report(path, make_result(annotations), annotations, make_table(results), "Run")
    return Page(path.read_text(encoding="utf-8"))


class Page(HTMLParser):
    """Tags, attributes, text by the tag it stands in, and the data block of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self._raw = ""
        self.blocks: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self._raw = tag if tag in {"script", "style"} else ""

    def handle_endtag(self, tag: str) -> None:
        self._raw = ""

    def handle_data(self, data: str) -> None:
        (self.blocks if self._raw else self.text).append(data)

    @property
    def data(self) -> dict[str, Any]:
        block = next(block for block in self.blocks if block.startswith('{"labels"'))
        return dict(json.loads(block))

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())
