"""Tokens of DEL as its network hands them to its losses: golden ones and random ones."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

STREAMS = ["visual", "audio"]
NUM_CLASSES = 3
_FLOATS = (torch.float32, torch.bfloat16)
_LETTERS = {"visual": "V", "audio": "A"}


@dataclass
class GoldenTokens:
    """What the published code computed on three videos of 64, 37 and 9 steps."""

    features: dict
    segments: torch.Tensor
    labels: torch.Tensor
    targets: list
    log_scales: dict


def events(videos):
    """Return segments (B, N, 2) and labels (B, N) of rows of (start, end, label)."""
    most = max(1, *(len(rows) for rows in videos))
    segments = torch.zeros(len(videos), most, 2)
    labels = torch.full((len(videos), most), -1)
    for row, rows in enumerate(videos):
        for column, (start, end, label) in enumerate(rows):
            segments[row, column, 0], segments[row, column, 1] = start, end
            labels[row, column] = label
    return segments, labels


def masked(lengths, steps):
    return torch.arange(steps) < torch.tensor(lengths)[:, None]


def features(lengths, steps=None, *, streams=STREAMS, width=4, seed=0):
    """Return random features, with values on padded steps too, as the published network has."""
    generator = torch.Generator().manual_seed(seed)
    mask = masked(lengths, steps or max(lengths))
    shapes = {"tokens": (width,), "scores": (), "categories": (NUM_CLASSES,)}
    drawn = {
        kind: {name: torch.randn(*mask.shape, *shape, generator=generator) for name in streams}
        for kind, shape in shapes.items()
    }
    summary = {name: torch.randn(len(mask), width, generator=generator) for name in streams}
    stream_masks = dict.fromkeys(streams, mask)
    return {"mask": mask, "stream_masks": stream_masks, **drawn, "summary": summary}


def silenced(features, audio_mask):
    """Take the sound away where a mask (B, T) is False."""
    masks = features["stream_masks"]
    return {**features, "stream_masks": {**masks, "audio": masks["audio"] & audio_mask}}


def moved(value, *args):
    """Move the tensors of nested dicts as `Tensor.to` does; masks stay masks."""
    if isinstance(value, dict):
        return {name: moved(item, *args) for name, item in value.items()}
    return value.to(*(x for x in args if value.dtype != torch.bool or x not in _FLOATS))


@pytest.fixture(scope="session")
def golden_tokens(golden: Path) -> GoldenTokens:
    """The published code's tokens, targets, choices and losses."""
    file = np.load(golden / "del" / "golden_small.npz", allow_pickle=False)

    def read(name):
        return torch.from_numpy(file[name])

    def by_stream(name):
        return {stream: read(f"eval/{name}_{letter}") for stream, letter in _LETTERS.items()}

    numbers = range(3)
    rows = [
        [
            (*segment, label)
            for segment, label in zip(
                read(f"gt/{i}/segments_grid").tolist(), read(f"gt/{i}/labels").tolist(), strict=True
            )
        ]
        for i in numbers
    ]
    targets = [
        {kind: read(f"token_target/{i}/{kind}") for kind in ("score", "key", "category")}
        for i in numbers
    ]
    scales = {"inter": "logit_scale_inter"}
    scales |= {"visual": "NCE_video.logit_scale", "audio": "NCE_text.logit_scale"}
    segments, labels = events(rows)
    return GoldenTokens(
        features={
            "mask": read("eval/mask/0"),
            "stream_masks": dict.fromkeys(STREAMS, read("eval/mask/0")),
            "tokens": by_stream("aligned"),
            "scores": by_stream("score_logit"),
            "categories": by_stream("category_logit"),
            "summary": by_stream("cls"),
        },
        segments=segments,
        labels=labels,
        targets=targets,
        log_scales={
            name: read(f"sd/contrastive_losses.{key}").float() for name, key in scales.items()
        },
    )
