"""Every method at a tiny size, and the batches that all of them must take."""

from dataclasses import replace

import torch
from torch import Tensor

import davezoo
from davezoo.structures import Batch, FeatureGrid
from davezoo.task import EventLocalizer

GRID = FeatureGrid(fps=25, stride=8, window=24)
LENGTH = 64
NAMES = ["dog", "bell", "rain"]
VISUAL_WIDTH, AUDIO_WIDTH = 6, 4
SMALL: dict[str, object] = {
    "width": 8,
    "head_width": 8,
    "num_heads": 2,
    "num_unimodal_blocks": 1,
    "regression_ranges": [(0, 4), (4, 8), (8, 16), (16, 10000)],
    "drop_path": 0.0,
}
_LOCO: dict[str, object] = {"num_decoder_blocks": 1}
_DEL: dict[str, object] = {"width": 16}
_RANGES = [(0, 4), (4, 8), (8, 16), (16, 32), (32, 48), (48, 64), (64, 10000)]
WITHOUT_SCL: dict[str, object] = dict.fromkeys(
    ("inter_weight", "intra_weight", "score_weight", "category_weight"), 0.0
)

# Method and settings by name; every way in which time or padding is handled stands here once.
VARIANTS: dict[str, tuple[str, dict[str, object]]] = {
    "UnAV": ("UnAV", {"dependency_width": 8}),
    "CCNet": ("CCNet", {"dependency_width": 8}),
    "CCNet, length-free": (
        "CCNet",
        {
            "dependency_width": 8,
            "length_free": True,
            "masked_gates": True,
            "channel_branch": False,
        },
    ),
    "LoCo": ("LoCo", _LOCO),
    "LoCo, window 32": ("LoCo", {**_LOCO, "window_size": 32}),
    "LoCo, fixed": ("LoCo", {**_LOCO, "attention": "fixed"}),
    "LoCo, global": ("LoCo", {**_LOCO, "attention": "global", "correspondence": "none"}),
    "LoCo base": ("LoCo", {**_LOCO, "pyramid": False, "correspondence": "none"}),
    "DEL": ("DEL", _DEL),
    "DEL, length-free": ("DEL", {**_DEL, "length_free": True}),
    "DEL, its paper's losses": ("DEL", {**_DEL, "objective": "paper"}),
    "DEL, its code's losses": (
        "DEL",
        {**_DEL, "category_weight": 0.0, "published_token_grid": True},
    ),
    "DEL without SCL": ("DEL", {**_DEL, **WITHOUT_SCL}),
    "DEL without AAC": ("DEL", {**_DEL, "alignment": False}),
    "DEL without PAN": ("DEL", {**_DEL, "path_aggregation": False}),
    "DEL, own layers": ("DEL", {**_DEL, "share_layers": False}),
    "DEL, one level": ("DEL", {**_DEL, "regression_ranges": [(0, 10000)]}),
    "DEL, two levels": ("DEL", {**_DEL, "regression_ranges": [(0, 4), (4, 10000)]}),
    "DEL, seven levels": ("DEL", {**_DEL, "regression_ranges": _RANGES}),
    "DEL, length-free without AAC": ("DEL", {**_DEL, "length_free": True, "alignment": False}),
    "DEL, length-free without PAN": (
        "DEL",
        {**_DEL, "length_free": True, "path_aggregation": False},
    ),
    "UnAV, windows": ("UnAV", {"dependency_width": 8, "attention_window": 5}),
    "CCNet, windows": ("CCNet", {"dependency_width": 8, "attention_window": 5}),
    "LoCo, windows": ("LoCo", {**_LOCO, "attention_window": 5}),
    "DEL, length-free, windows": ("DEL", {**_DEL, "length_free": True, "attention_window": 5}),
}
# The networks that are no part of another one.
MAIN = ["UnAV", "CCNet", "CCNet, length-free", "LoCo", "DEL", "DEL, length-free"]
METHODS = sorted({method for method, _ in VARIANTS.values()})


def build(variant: str, **changes: object) -> EventLocalizer:
    """Build a variant with the weights that a training starts from."""
    torch.manual_seed(0)
    method, settings = VARIANTS[variant]
    kind = getattr(davezoo, method)
    settings = {"max_length": LENGTH, **SMALL, **settings, **changes}
    model: EventLocalizer = kind(NAMES, VISUAL_WIDTH, AUDIO_WIDTH, grid=GRID, **settings)
    return model


def build_strong(variant: str, **changes: object) -> EventLocalizer:
    """Build a variant to test: gains, biases and norms so large that a mistake shows."""
    model = build(variant, **changes).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    torch.nn.init.ones_(model.detector.heads.scales)  # a negative one leaves no event
    return model


def build_with_weights_of(model: EventLocalizer, variant: str, **changes: object) -> EventLocalizer:
    """Build another variant with the weights of a model, as far as it has them."""
    other = build_strong(variant, **changes)
    shapes = {name: x.shape for name, x in other.state_dict().items()}
    shared = {n: x for n, x in model.state_dict().items() if shapes.get(n) == x.shape}
    other.load_state_dict(shared, strict=False)
    return other


def make_batch(
    lengths: list[int],
    events: list[list[tuple[float, float, int]]],
    padded: int = LENGTH,
    seed: int = 1,
) -> Batch:
    """Draw features; a video's features do not depend on the padding.

    Args:
        lengths: steps of each video.
        events: start and end in grid steps and class index, of each video.
        padded: steps that all are padded to.
        seed: seed of the draw.
    """
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(padded) < torch.tensor(lengths)[:, None]
    visual, audio = (
        torch.randn(len(lengths), width, LENGTH, generator=generator)[..., :padded] * mask[:, None]
        for width in (VISUAL_WIDTH, AUDIO_WIDTH)
    )
    count = max(1, *map(len, events))
    rows = [[*own, *[(0.0, 0.0, -1)] * (count - len(own))] for own in events]
    return Batch(
        visual=visual,
        audio=audio,
        mask=mask,
        segments=torch.tensor([[row[:2] for row in own] for own in rows]),
        labels=torch.tensor([[row[2] for row in own] for own in rows]),
        video_ids=[f"video {index}" for index in range(len(lengths))],
        durations=[((length - 1) * 8 + 24) / 25 for length in lengths],
        grids=[GRID] * len(lengths),
    )


def rows_of(batch: Batch, rows: list[int], padded: int = LENGTH) -> Batch:
    """Return some videos of a batch in another order or padding."""
    return Batch(
        visual=batch.visual[rows, :, :padded],
        audio=batch.audio[rows, :, :padded],
        mask=batch.mask[rows, :padded],
        segments=batch.segments[rows],
        labels=batch.labels[rows],
        video_ids=[batch.video_ids[row] for row in rows],
        durations=[batch.durations[row] for row in rows],
        grids=[batch.grids[row] for row in rows],
        audio_mask=None if batch.audio_mask is None else batch.audio_mask[rows, :padded],
    )


def with_sound(batch: Batch, ranges: list[tuple[int, int]]) -> Batch:
    """Return a batch whose videos have sound from a first step to a last one, NaN elsewhere."""
    steps = torch.arange(batch.mask.shape[1])
    start, end = torch.tensor(ranges).unsqueeze(-1).unbind(1)  # (B, 1) each
    audio_mask = batch.mask & (steps >= start) & (steps < end)
    audio = batch.audio.masked_fill(~audio_mask.unsqueeze(1), torch.nan)
    return replace(batch, audio=audio, audio_mask=audio_mask)


def losses_of(model: EventLocalizer, batch: Batch) -> dict[str, Tensor]:
    """Return the weighted losses of a batch by name."""
    return model.losses(model(*batch.inputs), batch)


def total_loss(model: EventLocalizer, batch: Batch) -> Tensor:
    """Return what a training step minimises."""
    return torch.stack(list(losses_of(model, batch).values())).sum()


USUAL = make_batch(
    [64, 30, 9],
    [[(3.0, 20.0, 1), (5.0, 60.0, 0)], [(1.5, 8.0, 2)], [(-0.5, 3.0, 0), (2.0, 8.0, 1)]],
)
SILENT = rows_of(USUAL, [0, 1, 2])
SILENT.audio.zero_()
NO_TRACK = (0, 0)
SOME_SOUND = with_sound(USUAL, [(0, LENGTH), NO_TRACK, (3, 6)])
# What must train without NaN.
ODD = {
    "usual": USUAL,
    "without sound": SILENT,
    "one video": make_batch([64], [[(3.0, 20.0, 1)]]),
    "no event": make_batch([64, 9], [[], []]),
    "one class": make_batch([64, 9], [[(3.0, 20.0, 2)], [(1.0, 8.0, 2)]]),
    "one time step": make_batch([1, 1], [[(-0.5, 0.5, 0)], []]),
    "one video of one step without an event": make_batch([1], [[]]),
    "sound in some": SOME_SOUND,
    "no audio track in any": with_sound(USUAL, [NO_TRACK] * 3),
}
