"""The golden UnAV: weights, inputs and outputs of the published code on a small configuration."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from davezoo import UnAV
from davezoo.published import convert_state_dict
from davezoo.structures import Batch, FeatureGrid

GRID = FeatureGrid(fps=25, stride=8, window=24)


@dataclass
class Golden:
    """Arrays of the published code by name."""

    arrays: dict[str, np.ndarray]
    notes: dict[str, object]

    def __call__(self, name: str) -> Tensor:
        return torch.from_numpy(self.arrays[name])

    def names(self, prefix: str) -> list[str]:
        return [name for name in self.arrays if name.startswith(prefix)]

    def batch(self, videos: list[str], length: int) -> Batch:
        """Pad videos to one length, events as annotated."""
        streams: dict[str, list[Tensor]] = {"V": [], "A": []}
        mask = torch.zeros(len(videos), length, dtype=torch.bool)
        counts = [len(self(f"gt/{video}/labels")) for video in videos]
        segments = torch.zeros(len(videos), max(counts), 2)
        labels = torch.full((len(videos), max(counts)), -1)
        for row, (video, count) in enumerate(zip(videos, counts, strict=True)):
            for kind, stream in streams.items():
                x = self(f"in/{video}/{kind}")
                stream.append(torch.nn.functional.pad(x, (0, length - x.shape[1])))
            mask[row, : x.shape[1]] = True
            segments[row, :count] = self(f"gt/{video}/segments_grid")
            labels[row, :count] = self(f"gt/{video}/labels")
        return Batch(
            visual=torch.stack(streams["V"]),
            audio=torch.stack(streams["A"]),
            mask=mask,
            segments=segments,
            labels=labels,
            video_ids=videos,
            durations=[float(self(f"in/{video}/duration")) for video in videos],
            grids=[GRID] * len(videos),
        )


@pytest.fixture(scope="session")
def unav(golden: Path) -> Golden:
    """Golden arrays of UnAV."""
    with np.load(golden / "unav" / "golden_small.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return Golden(arrays, json.loads((golden / "unav" / "golden_small.json").read_text()))


@pytest.fixture
def model(unav: Golden) -> UnAV:
    """UnAV with the golden weights; no path is dropped, as when the arrays were made."""
    published = {name[3:]: unav(name) for name in unav.names("sd/")}
    settings = {"width": 32, "head_width": 32, "max_length": 64, "drop_path": 0.0}
    model = UnAV([*"abcde"], visual_width=24, audio_width=16, **settings)
    model.detector.load_state_dict(convert_state_dict(published))
    return model.eval()
