"""The golden networks: weights, inputs and outputs of the published codes at small size."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from davezoo import DEL, CCNet, UnAV
from davezoo.nn.dependency import DependencyBlock
from davezoo.published import convert_state_dict
from davezoo.structures import Batch, FeatureGrid, Predictions
from davezoo.task import EventLocalizer


@dataclass
class Golden:
    """Arrays of the published code by name."""

    arrays: dict[str, np.ndarray]
    notes: dict[str, object]
    grid: FeatureGrid

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
            grids=[self.grid] * len(videos),
        )


@pytest.fixture(scope="session")
def unav(golden: Path) -> Golden:
    """Golden arrays of UnAV."""
    with np.load(golden / "unav" / "golden_small.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    grid = FeatureGrid(fps=25, stride=8, window=24)
    return Golden(arrays, json.loads((golden / "unav" / "golden_small.json").read_text()), grid)


@pytest.fixture
def model(unav: Golden) -> UnAV:
    """UnAV with the golden weights; no path is dropped, as when the arrays were made."""
    published = {name[3:]: unav(name) for name in unav.names("sd/")}
    settings = {"width": 32, "head_width": 32, "max_length": 64, "drop_path": 0.0}
    model = UnAV([*"abcde"], visual_width=24, audio_width=16, **settings)
    model.detector.load_state_dict(convert_state_dict(published))
    return model.eval()


@pytest.fixture(scope="session")
def ccnet(golden: Path) -> Golden:
    """Golden arrays of CCNet."""
    with np.load(golden / "ccnet" / "golden_small.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return Golden(arrays, {}, FeatureGrid(fps=16, stride=4, window=16))


@pytest.fixture
def ccnet_model(ccnet: Golden) -> CCNet:
    """CCNet with the golden weights; no path is dropped, as when the arrays were made."""
    published = {name[3:]: ccnet(name).float() for name in ccnet.names("sd/")}
    settings = {"width": 32, "head_width": 32, "max_length": 64, "drop_path": 0.0}
    model = CCNet([*"abcde"], visual_width=24, audio_width=16, **settings)
    model.detector.load_state_dict(convert_state_dict(published, "ccnet"))
    return model.eval()


@pytest.fixture(scope="session")
def del_arrays(golden: Path) -> Golden:
    """Golden arrays of DEL, inputs and outputs under the names of the others."""
    with np.load(golden / "del" / "golden_small.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    names = [
        (r"^in/(\d)/visual$", r"in/v\1/V"),
        (r"^in/(\d)/audio$", r"in/v\1/A"),
        (r"^(in|gt)/(\d)/", r"\1/v\2/"),
        (r"^eval/cls_logits/(\d)$", r"eval/cls_l\1"),
        (r"^eval/offsets/(\d)$", r"eval/off_l\1"),
    ]
    for pattern, replacement in names:
        arrays = {re.sub(pattern, replacement, name): x for name, x in arrays.items()}
    return Golden(arrays, {}, FeatureGrid(fps=25, stride=8, window=24))


@pytest.fixture
def del_model(del_arrays: Golden) -> DEL:
    """DEL with the golden weights; no path is dropped, as when the arrays were made."""
    published = {name[3:]: del_arrays(name).float() for name in del_arrays.names("sd/")}
    settings = {"width": 32, "head_width": 32, "max_length": 64, "drop_path": 0.0}
    losses = {"inter_weight": 0.1, "score_weight": 0.02, "category_weight": 0.0}
    model = DEL(
        [*"abcde"],
        visual_width=24,
        audio_width=16,
        published_token_grid=True,
        **settings,
        **losses,
    )
    model.detector.load_state_dict(convert_state_dict(published, "del"))
    return model.eval()


@contextmanager
def published_mask_fault(model: EventLocalizer) -> Iterator[None]:
    """Give the temporal branch the mask of another video, as the published code does."""
    block = next(module for module in model.modules() if isinstance(module, DependencyBlock))

    def over_time(x: Tensor, mask: Tensor) -> Tensor:
        rows = x.transpose(1, 2).flatten(0, 1)
        row_mask = mask.repeat(block.num_classes, 1)  # whole batch after whole batch
        rows = block.temporal(rows, rows, row_mask, key_mask=row_mask)
        return rows.unflatten(0, (-1, block.num_classes)).transpose(1, 2)

    block._over_time = over_time  # type: ignore[method-assign]
    yield
    del block._over_time  # type: ignore[method-assign]


def compare(golden: Golden, run: str, predictions: Predictions) -> None:
    for level, (logits, offsets) in enumerate(
        zip(predictions.logits, predictions.offsets, strict=True)
    ):
        steps = logits.shape[1]
        expected = golden(f"{run}/cls_l{level}")[:, :steps]
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
        expected = golden(f"{run}/off_l{level}")[:, :steps]
        torch.testing.assert_close(offsets, expected, atol=1e-4, rtol=0)


def run(model: EventLocalizer, golden: Golden, videos: list[str], length: int) -> Predictions:
    batch = golden.batch(videos, length)
    with torch.no_grad():
        return model(batch.visual, batch.audio, batch.mask)


def losses_and_gradients(
    model: EventLocalizer, golden: Golden, videos: list[str]
) -> dict[str, Tensor]:
    model.train()
    model.zero_grad()
    batch = golden.batch(videos, 64)
    losses = model.losses(model(batch.visual, batch.audio, batch.mask), batch)
    torch.stack(list(losses.values())).sum().backward()
    return {name: x.detach().double() for name, x in losses.items()}


def published_gradients(model: EventLocalizer) -> dict[str, Tensor]:
    """Return our gradients by their published names."""
    gradients = {name: p.grad for name, p in model.detector.named_parameters()}
    scales = gradients.pop("heads.scales")
    assert scales is not None
    by_level = {f"reg_head.scale.{level}.scale": g for level, g in enumerate(scales)}
    return {**{k: v for k, v in gradients.items() if v is not None}, **by_level}
