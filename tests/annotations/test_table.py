import numpy as np
import pandas as pd

from davezoo.annotations import Annotations
from davezoo.annotations.content import make_videos
from davezoo.annotations.table import count_oddities, refusal


def annotations(events):
    videos = make_videos(["a", "b"], ["train", "Test"], [10, None], [25, None])
    table = pd.DataFrame(events, columns=["video", "start", "end", "label"])
    table = table.astype({"start": float, "end": float, "label": np.int64})
    return Annotations(videos, table, ["cat", "dog"], {"a rule of the reader": 3})


def test_oddities():
    table = annotations(
        [
            ("a", 1, 1, 0),
            ("a", 9, 11, 0),
            ("a", 9, 11, 0),  # again
            ("a", 9, 11, 1),  # of another class
            ("a", 10, 12, 1),
            ("b", 9, 11, 0),  # of unknown duration
        ]
    )
    assert list(count_oddities(table.videos, table.events).values()) == [1, 4, 1, 1, 1, 1]


def test_class_agnostic():
    table = annotations([("a", 1, 2, 1), ("b", 1, 2, 0)])
    agnostic = table.class_agnostic()
    assert agnostic.class_names == ["event"]
    assert agnostic.events["label"].tolist() == [0, 0]
    assert agnostic.events.dtypes["label"] == "int64"
    assert table.events["label"].tolist() == [1, 0]


def test_split_keeps_what_the_reader_counted():
    split = annotations([("a", 1, 1, 1), ("b", 1, 2, 0)]).split("test")
    assert split.events.to_numpy().tolist() == [["b", 1, 2, 0]]
    assert split.repairs["zero-length events"] == 0
    assert split.repairs["a rule of the reader"] == 3


def test_unknown_values_are_not_written():
    database = annotations([]).to_dict()["database"]
    assert database["a"] == {"subset": "train", "duration": 10, "fps": 25, "annotations": []}
    assert database["b"] == {"subset": "Test", "annotations": []}


def test_refusal():
    assert str(refusal("x", "be 1", "2", "do it")) == "Expected x to be 1, got 2; do it."
