"""Small reports for tests, and a parser that reads them back."""

from __future__ import annotations

import base64
import json
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from davezoo.annotations import Annotations
from davezoo.evaluation.predictions import PredictionTable
from davezoo.evaluation.protocols import get_protocol
from davezoo.evaluation.report import write_report
from davezoo.evaluation.results import ClassResult, EvaluationResult
from davezoo.evaluation.viewer import ScoredDetections

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
        protocol=get_protocol("unav100").to_dict() | {"tiou_thresholds": [0.1, 0.1 * 3, 0.9]},
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


def make_files(
    annotations: Annotations, *tables: PredictionTable, missing: Sequence[str] = ()
) -> list[ScoredDetections]:
    """Files with made-up scores, named `ours`, `base` and so on."""
    names = ["ours", "base", "third"]
    result = make_result(annotations, missing)
    return [
        ScoredDetections(name, table, result) for name, table in zip(names, tables, strict=False)
    ]


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
    files = make_files(annotations, make_table(predictions), missing=[annotations.videos.index[-1]])
    write_report(path, files, annotations, title, **more)
    return path.read_text(encoding="utf-8")


def write_table(path: Path, annotations: Annotations, results: Any) -> Page:
    write_report(path, make_files(annotations, make_table(results)), annotations, "Run")
    return Page(path.read_text(encoding="utf-8"))


def unpack(packed: Mapping[str, str]) -> list[list[list[float]]]:
    """Return start, end, label and perhaps score of the rows of each video."""
    names = [name for name in ("starts", "ends", "labels", "scores") if name in packed]
    columns = [
        np.frombuffer(base64.b64decode(packed[name]), "<i4" if name == "labels" else "<f4")
        for name in names
    ]
    rows = [[round(float(value), 4) for value in row] for row in zip(*columns, strict=True)]
    counts = np.frombuffer(base64.b64decode(packed["counts"]), "<i4")
    ends = np.cumsum(counts).tolist()
    return [rows[end - count : end] for count, end in zip(counts.tolist(), ends, strict=True)]


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
    def videos(self) -> dict[str, dict[str, Any]]:
        """What the page holds of each video: as `data`, the packed rows as lists."""
        data = self.data
        events = unpack(data["events"])
        detections = [unpack(file) for file in data["files"]]
        return {
            video: {
                "duration": data["durations"][index],
                "quality": [file["quality"][index] for file in data["files"]],
                "events": events[index],
                "detections": [rows[index] for rows in detections],
            }
            for index, video in enumerate(data["videos"])
        }

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())
