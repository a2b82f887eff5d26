"""A small data set on disk, written file by file so that a test can damage one."""

import json

import numpy as np
import pytest

from davezoo.data import EventDataModule


class DataFolder:
    """Writes annotations and feature files and opens them as a data module."""

    widths = {"rgb": 3, "flow": 2, "vggish": 4}  # noqa: RUF012

    def __init__(self, root):
        self.root = root
        self.database = {}
        (root / "annotations").mkdir()
        (root / "av_features").mkdir()

    def add(self, video, steps=40, events=((2.0, 5.0, 0),), subset="train", audio_steps=None):
        rng = np.random.default_rng(len(self.database))
        for kind, width in self.widths.items():
            length = audio_steps if kind == "vggish" and audio_steps is not None else steps
            self.save(video, kind, rng.standard_normal((length, width)).astype(np.float16))
        self.database[video] = {
            "subset": subset,
            "duration": (steps * 8 + 16) / 25,
            "annotations": [
                {"segment": [start, end], "label": f"class {label}", "label_id": label}
                for start, end, label in events
            ],
        }

    def path(self, video, kind):
        return self.root / "av_features" / f"{video}_{kind}.npy"

    def save(self, video, kind, array):
        np.save(self.path(video, kind), array)

    def open(self, **settings):
        path = self.root / "annotations" / "unav100_annotations.json"
        path.write_text(json.dumps({"database": self.database}))
        defaults = {
            "visual_width": 5,
            "audio_width": 4,
            "num_workers": 0,
            "batch_size": 2,
            "val_split": "train",
            "test_split": "train",
            "predict_split": "train",
        }
        return EventDataModule(str(self.root), **defaults | settings)

    def dataset(self, stage="test", **settings):
        datamodule = self.open(**settings)
        datamodule.setup(stage)
        return datamodule.datasets[stage]


@pytest.fixture
def folder(tmp_path):
    return DataFolder(tmp_path)


@pytest.fixture(scope="module")
def official(golden):
    """Inputs and outputs of the published UnAV loader."""
    with np.load(golden / "unav" / "golden_small.npz") as arrays:
        return {k: arrays[k] for k in arrays if k.startswith(("in/", "gt/", "crop/"))}
