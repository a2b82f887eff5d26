"""LoCo: the counts of the paper's Table VII, its ablations, its properties."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from davezoo import CCNet, LoCo, UnAV
from davezoo.methods.loco import LoCoDetector
from davezoo.nn.complexity import Complexity, count_complexity
from davezoo.ops.padding import padded_length
from davezoo.structures import Batch
from davezoo.task import EventLocalizer

SMALL = {"width": 16, "head_width": 16, "max_length": 64, "drop_path": 0.0}
NAMES = [*"abcde"]

# Every row of the paper's tables and figures; names are theirs.
WITHOUT_LCC = {"correspondence": "none"}
ROWS: dict[str, dict[str, object]] = {
    "LoCo": {},
    "base": {"pyramid": False, **WITHOUT_LCC},
    "base + LCC": {"pyramid": False},
    "base + CDP": WITHOUT_LCC,
    "base + GB": {"attention": "global", **WITHOUT_LCC},
    "base + GB + LCC": {"attention": "global"},
    "diagonal matrix": {"correspondence": "diagonal"},
    "softened target": {"correspondence": "softened"},
    "fixed gaussian": {"correspondence": "fixed_gaussian"},
    "fixed windows": {"attention": "fixed"},
    "window 4": {"window_size": 4},
    "window 16": {"window_size": 16},
    "window 32": {"window_size": 32},
    "two heads": {"num_heads": 2},
    "eight heads": {"num_heads": 8},
    "alpha 0.2": {"correspondence_weight": 0.2},
    "audio only": {"modalities": "audio"},
    "visual only": {"modalities": "visual"},
}


def small(**changes: object) -> LoCo:
    torch.manual_seed(0)
    return LoCo(NAMES, 24, 16, **{**SMALL, **changes})  # type: ignore[arg-type]


def strong(**changes: object) -> LoCo:
    """All gains, biases, norms and predictors so large that a mistake shows."""
    model = small(**changes).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def inputs(lengths: list[int], padded: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(padded) < torch.tensor(lengths)[:, None]
    visual = torch.randn(len(lengths), 24, padded, generator=generator) * mask[:, None]
    audio = torch.randn(len(lengths), 16, padded, generator=generator) * mask[:, None]
    return visual, audio, mask


def batch_of(
    model: EventLocalizer, lengths: list[int], padded: int = 64, *, events: bool = True
) -> Batch:
    """Two events a video, the first over all of it, the second over its first half."""
    visual, audio, mask = inputs(lengths, padded)
    ends = torch.tensor([[length, length / 2] for length in lengths])
    return Batch(
        visual=visual,
        audio=audio,
        mask=mask,
        segments=torch.stack([torch.zeros_like(ends), ends], dim=-1),
        labels=torch.tensor([[1, 3]] * len(lengths)) if events else -torch.ones_like(ends).long(),
        video_ids=[f"video {index}" for index in range(len(lengths))],
        durations=[1000.0] * len(lengths),
        grids=[model.grid] * len(lengths),
    )


def losses_of(model: EventLocalizer, batch: Batch) -> dict[str, Tensor]:
    losses: dict[str, Tensor] = model.losses(model(batch.visual, batch.audio, batch.mask), batch)
    return losses


# Numbers -----------------------------------------------------------------------------------------


def count(row: str) -> Complexity:
    with torch.device("meta"):
        detector = LoCoDetector(1536, 1536, 100, **ROWS[row])  # type: ignore[arg-type]
    return count_complexity(detector, 256)


TABLE_7 = {  # millions of parameters, giga multiply-accumulates
    "base": (71.35, 18.26),
    "base + GB": (102.90, 31.25),
    "base + CDP": (102.95, 31.25),
    "base + GB + LCC": (103.68, 31.45),
    "LoCo": (103.73, 31.45),
}


def test_numbers_of_table_7() -> None:
    counts = {row: count(row) for row in TABLE_7}
    found = {n: (c.layer_parameters / 1e6, c.layer_macs / 1e9) for n, c in counts.items()}
    for row, (parameters, macs) in TABLE_7.items():
        assert found[row][0] == pytest.approx(parameters, abs=0.01), row
        assert found[row][1] == pytest.approx(macs, abs=0.02), row

    def difference(row: str, other: str) -> tuple[float, float]:
        (parameters, macs), (fewer, less) = found[row], found[other]
        return parameters - fewer, macs - less

    pyramid = pytest.approx((31.5494, 12.9958), abs=5e-4)  # printed as 31.55 and 12.99
    assert difference("base + GB", "base") == pyramid
    windows = pytest.approx((0.0492, 0.0005), abs=5e-5)  # printed as 0.05 and 0.00
    assert difference("base + CDP", "base + GB") == windows
    assert difference("LoCo", "base + GB + LCC") == windows
    correspondence = pytest.approx((0.7880, 0.2013), abs=5e-4)  # printed as 0.78 and 0.20
    assert difference("LoCo", "base + CDP") == correspondence
    assert difference("base + GB + LCC", "base + GB") == correspondence


def test_numbers_of_the_other_features() -> None:
    with torch.device("meta"):
        detector = LoCoDetector(2048, 128, 100, max_length=224)
    found = count_complexity(detector, 224)
    assert found.layer_parameters / 1e6 == pytest.approx(102.36, abs=0.01)
    assert found.layer_macs / 1e9 == pytest.approx(27.21, abs=0.02)


def test_start_of_the_correspondence_loss() -> None:
    """About 0.1 sqrt(2) ln M at full width, comparable to the other losses."""
    torch.manual_seed(0)
    model = LoCo(NAMES, 24, 16, 64, head_width=16, num_decoder_blocks=0)
    found = losses_of(model, batch_of(model, [64, 64]))["loss_correspondence"]
    assert float(found.detach()) == pytest.approx(0.1 * math.sqrt(2) * math.log(128), rel=0.1)


# Rows of the ablations ---------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS)
def test_row_trains(row: str) -> None:
    """One step, with a video of a single time step in the batch."""
    model = strong(**ROWS[row]).train()
    losses = losses_of(model, batch_of(model, [64, 1]))
    with_correspondence = model.detector.correspondence is not None
    assert ("loss_correspondence" in losses) == with_correspondence
    torch.stack(list(losses.values())).sum().backward()
    gradients = {name: p.grad for name, p in model.detector.named_parameters()}
    assert [name for name, grad in gradients.items() if grad is None] == []
    assert all(grad.isfinite().all() for grad in gradients.values() if grad is not None)


@pytest.mark.parametrize("row", [name for name in ROWS if name != "LoCo"])
def test_every_row_changes_the_result(row: str) -> None:
    """With the same weights, as far as there are the same: equal to the last bit is ignored."""
    full, other = strong(), strong(**ROWS[row])
    shapes = {name: x.shape for name, x in other.state_dict().items()}
    shared = {n: x for n, x in full.state_dict().items() if shapes.get(n) == x.shape}
    other.load_state_dict(shared, strict=False)
    batch = batch_of(full, [40])
    with torch.no_grad():
        assert losses_of(full, batch) != losses_of(other, batch)


def test_base_has_one_level_for_all_distances() -> None:
    detector = small(pyramid=False).detector
    assert detector.strides == [1]
    assert detector.regression_ranges == [(0.0, 10000.0)]


def test_streams_of_the_base_do_not_see_each_other() -> None:
    model = strong(pyramid=False)
    visual, audio, mask = inputs([64], 64)
    with torch.no_grad():
        levels = [model(visual, x, mask).features["levels"] for x in (audio, audio + 1)]
    assert torch.equal(levels[0]["visual"][0], levels[1]["visual"][0])
    assert not torch.allclose(levels[0]["audio"][0], levels[1]["audio"][0])


def test_untrained_windows_are_the_fixed_ones() -> None:
    adaptive, fixed = strong(), strong(attention="fixed")
    weights = adaptive.state_dict()
    for name in [name for name in weights if "predictor" in name]:
        weights[name].zero_()
    fixed.load_state_dict({n: x for n, x in weights.items() if "predictor" not in n})
    batch = inputs([64, 30, 1], 64)
    with torch.no_grad():
        found, expected = adaptive(*batch), fixed(*batch)
    torch.testing.assert_close(found.logits, expected.logits)


def test_windows_can_be_read() -> None:
    model = strong()
    windows = model(*inputs([64, 30], 64)).features["windows"]
    assert list(windows) == ["visual", "audio"]
    for of_stream in windows.values():
        shapes = [x.sizes.shape for x in of_stream]
        assert shapes == [(2, 4, n) for n in (8, 4, 2, 1, 1, 1)]
        assert not any(x.sizes.requires_grad or x.offsets.requires_grad for x in of_stream)
        assert of_stream[0].offsets.any()
    for row in ("fixed windows", "base + GB"):
        assert strong(**ROWS[row])(*inputs([64], 64)).features["windows"] == {}


def test_levels_share_the_decoder_and_do_not_see_each_other() -> None:
    model = strong()
    decoder = model.detector.neck
    assert decoder is not None
    mask = torch.arange(12) < torch.tensor([[12], [7]])
    masks = [mask, mask[:, ::2]]
    torch.manual_seed(1)
    levels = [torch.randn(2, x.shape[1], 32) * x[..., None] for x in masks]
    together = decoder(torch.cat(levels, 1), torch.cat(masks, 1), [12, 6]).split([12, 6], dim=1)
    for found, x, valid in zip(together, levels, masks, strict=True):
        torch.testing.assert_close(found, decoder(x, valid, [x.shape[1]]), atol=1e-4, rtol=1e-4)


# Correspondence on the other methods -------------------------------------------------------------


@pytest.mark.parametrize("method", [UnAV, CCNet])
def test_correspondence_on_other_methods(method: type[UnAV | CCNet]) -> None:
    sizes = {**SMALL, "dependency_width": 8}
    models = {
        "adjustable_gaussian": method(NAMES, 24, 16, correspondence="adjustable_gaussian", **sizes),  # type: ignore[arg-type]
        "none": method(NAMES, 24, 16, **sizes),  # type: ignore[arg-type]
    }
    batch = batch_of(models["none"], [32, 20], 32)  # CCNet pads it to its own length
    losses = {name: losses_of(model, batch) for name, model in models.items()}
    assert set(losses["adjustable_gaussian"]) - set(losses["none"]) == {"loss_correspondence"}
    losses["adjustable_gaussian"]["loss_correspondence"].backward()
    detector = models["adjustable_gaussian"].detector
    reached = {name for name, p in detector.named_parameters() if p.grad is not None}
    assert all(name.startswith(("encoder.", "correspondence.")) for name in reached)
    assert {"correspondence.log_sigma", "encoder.streams.audio.convs.0.taps.weight"} <= reached
    assert not any("correspondence" in name for name in models["none"].state_dict())


# Bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_heads": 5}, "num_heads"),
        ({"max_length": 60}, "max_length"),
        ({"regression_ranges": []}, "regression_ranges"),
        ({"regression_ranges": [], "pyramid": False}, "regression_ranges"),
        ({"class_names": []}, "num_classes"),
        ({"window_size": 7}, "even number of steps, got 7"),
        ({"window_size": 128}, "`window_size` to be at most the 64 steps .* got 128.*global"),
        ({"attention": "local"}, "`attention` to be one of .* got 'local'"),
        ({"correspondence": "gauss"}, "`correspondence` to be one of .* got 'gauss'"),
        ({"visual_width": 0}, "visual_width"),
    ],
)
def test_exception_of_settings(change: dict[str, object], message: str) -> None:
    settings = {"class_names": NAMES, "visual_width": 24, "audio_width": 16, **SMALL, **change}
    with pytest.raises(ValueError, match=message):
        LoCo(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("window_size", [7, 8, 512])
def test_without_a_pyramid_windows_change_nothing(window_size: int) -> None:
    sizes = {**SMALL, "pyramid": False}
    plain = LoCo(NAMES, 24, 16, **sizes)  # type: ignore[arg-type]
    other = LoCo(NAMES, 24, 16, window_size=window_size, **sizes)  # type: ignore[arg-type]
    assert plain.detector.state_dict().keys() == other.detector.state_dict().keys()


@pytest.mark.parametrize("row", ["LoCo", "base", "fixed windows"])
@pytest.mark.parametrize("lengths", [[1], [64], [3, 1]])
def test_batches_without_events_and_videos_of_one_step(row: str, lengths: list[int]) -> None:
    model = strong(**ROWS[row]).train()
    losses = losses_of(model, batch_of(model, lengths, events=False))
    torch.stack(list(losses.values())).sum().backward()
    assert all(x.isfinite() for x in losses.values())
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


# Properties --------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(3)))
def test_order_of_the_batch_does_not_matter(order: list[int]) -> None:
    model = strong()
    visual, audio, mask = inputs([64, 30, 9], 64)
    with torch.no_grad():
        expected = model(visual, audio, mask)
        found = model(visual[order], audio[order], mask[order])
    for ours, theirs in zip(found.logits, expected.logits, strict=True):
        torch.testing.assert_close(ours, theirs[order], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("row", ["LoCo", "base", "fixed windows", "audio only", "window 32"])
def test_a_video_alone_and_in_a_batch(row: str) -> None:
    model = strong(**ROWS[row])
    batch = batch_of(model, [64, 30, 9])
    alone = batch_of(model, [30], padded_length(30, 64, 32))
    steps = alone.mask.shape[1]
    for name in ("visual", "audio"):
        setattr(alone, name, getattr(batch, name)[1:2, :, :steps])
    with torch.no_grad():
        together = model.detect(model(batch.visual, batch.audio, batch.mask), batch)[1]
        single = model.detect(model(alone.visual, alone.audio, alone.mask), alone)[0]
    assert len(single) > 10
    assert single.scores is not None
    assert torch.equal(together.labels, single.labels)
    torch.testing.assert_close(together.segments, single.segments, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(together.scores, single.scores, atol=1e-4, rtol=1e-4)


@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 128), min_size=1, max_size=3),
    attention=st.sampled_from(["adaptive", "fixed", "global"]),
    seed=st.integers(0, 100),
)
def test_padding_does_not_matter(lengths: list[int], attention: str, seed: int) -> None:
    model = strong(max_length=128, attention=attention)
    full = inputs(lengths, 128, seed)
    steps = padded_length(max(lengths), 128, 32)
    with torch.no_grad():
        expected, found = model(*full), model(*(x[..., :steps] for x in full))
    pairs = zip(found.logits + found.offsets, expected.logits + expected.offsets, strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs[:, : ours.shape[1]], atol=1e-3, rtol=1e-3)


def test_gradient_reaches_every_parameter() -> None:
    """In videos so long that a step of the coarsest level has others to choose from."""
    model = strong(max_length=256).train()
    for name, parameter in model.named_parameters():
        if "predictor" in name:
            parameter.data *= 0.1
    losses = losses_of(model, batch_of(model, [256, 130], 256))
    torch.stack(list(losses.values())).sum().backward()
    parameters = model.detector.named_parameters()
    without = [name for name, p in parameters if p.grad is None or not p.grad.any()]
    assert [n for n in without if not n.endswith(("key.norm.bias", "key.linear.bias"))] == []


def test_scalars_of_the_correspondence_do_not_decay() -> None:
    """The optimiser decays what has more than one dimension."""
    detector = small().detector
    assert detector.correspondence is not None
    scalars = [detector.correspondence.log_temperature, detector.correspondence.log_sigma]
    assert [x.ndim for x in scalars if x is not None] == [0, 0]


@pytest.mark.parametrize("row", ["LoCo", "base", "fixed windows"])
def test_compile(row: str) -> None:
    shallow = {"num_unimodal_blocks": 1, "num_decoder_blocks": 1}  # tracing takes its time
    ranges = [(0, 8), (8, 10000)]
    model = strong(**shallow, regression_ranges=ranges, **ROWS[row]).train()
    visual, audio, mask = inputs([64, 30], 64)
    batch = batch_of(model, [64, 30])

    def step(visual: Tensor, audio: Tensor, mask: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        predictions = model.detector(visual, audio, mask)
        losses = model.detector.auxiliary_losses(predictions, batch)
        return predictions.logits, list(losses.values())

    found = torch.compile(step, fullgraph=True, backend="eager")(visual, audio, mask)
    torch.testing.assert_close(found, step(visual, audio, mask), atol=1e-4, rtol=1e-4)
