"""LoCo: the counts of the paper's Table VII, its ablations, its properties."""

import math

import pytest
import torch

from davezoo import LoCo
from davezoo.methods.loco import LoCoDetector
from davezoo.nn.complexity import Complexity, count_complexity
from davezoo.nn.correspondence import CorrespondenceCorrection
from tests.methods.zoo import (
    NAMES,
    USUAL,
    build,
    build_strong,
    build_with_weights_of,
    losses_of,
    make_batch,
    total_loss,
)

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
    model = build("LoCo", width=512, num_decoder_blocks=0)
    found = losses_of(model, make_batch([64, 64], [[], []]))["loss_correspondence"]
    assert float(found.detach()) == pytest.approx(0.1 * math.sqrt(2) * math.log(128), rel=0.1)


# Rows of the ablations ---------------------------------------------------------------------------


@pytest.mark.parametrize("row", [name for name in ROWS if name != "LoCo"])
def test_every_row_changes_the_result(row: str) -> None:
    """With the same weights, as far as there are the same."""
    full = build_strong("LoCo", num_heads=4)
    other = build_with_weights_of(full, "LoCo", **{"num_heads": 4, **ROWS[row]})
    with torch.no_grad():
        losses = losses_of(other, USUAL)
        assert losses != losses_of(full, USUAL)
    assert ("loss_correspondence" in losses) == (other.detector.correspondence is not None)


def test_base_has_one_level_for_all_distances() -> None:
    detector = build("LoCo", pyramid=False).detector
    assert detector.strides == [1]
    assert detector.regression_ranges == [(0.0, 10000.0)]


def test_streams_of_the_base_do_not_see_each_other() -> None:
    model = build_strong("LoCo", pyramid=False)
    visual, mask = USUAL.visual, USUAL.mask
    with torch.no_grad():
        levels = [model(visual, x, mask).features["levels"] for x in (USUAL.audio, USUAL.audio + 1)]
    assert torch.equal(levels[0]["visual"][0], levels[1]["visual"][0])
    assert not torch.allclose(levels[0]["audio"][0], levels[1]["audio"][0])


def test_untrained_windows_are_the_fixed_ones() -> None:
    adaptive, fixed = build_strong("LoCo"), build_strong("LoCo, fixed")
    weights = adaptive.state_dict()
    for name in [name for name in weights if "predictor" in name]:
        weights[name].zero_()
    fixed.load_state_dict({n: x for n, x in weights.items() if "predictor" not in n})
    batch = make_batch([64, 30, 1], [[], [], []])
    with torch.no_grad():
        found, expected = (m(batch.visual, batch.audio, batch.mask) for m in (adaptive, fixed))
    torch.testing.assert_close(found.logits, expected.logits)


def test_windows_can_be_read() -> None:
    inputs = (USUAL.visual, USUAL.audio, USUAL.mask)
    windows = build_strong("LoCo")(*inputs).features["windows"]
    assert list(windows) == ["visual", "audio"]
    for of_stream in windows.values():
        shapes = [x.sizes.shape for x in of_stream]
        assert shapes == [(3, 2, n) for n in (8, 4, 2, 1)]
        assert not any(x.sizes.requires_grad or x.offsets.requires_grad for x in of_stream)
        assert of_stream[0].offsets.any()
    for variant in ("LoCo, fixed", "LoCo, global"):
        assert build_strong(variant)(*inputs).features["windows"] == {}


def test_levels_share_the_decoder_and_do_not_see_each_other() -> None:
    decoder = build_strong("LoCo").detector.neck
    assert decoder is not None
    mask = torch.arange(12) < torch.tensor([[12], [7]])
    masks = [mask, mask[:, ::2]]
    torch.manual_seed(1)
    levels = [torch.randn(2, x.shape[1], 16) * x[..., None] for x in masks]
    together = decoder(torch.cat(levels, 1), torch.cat(masks, 1), [12, 6]).split([12, 6], dim=1)
    for found, x, valid in zip(together, levels, masks, strict=True):
        torch.testing.assert_close(found, decoder(x, valid, [x.shape[1]]), atol=1e-4, rtol=1e-4)


# Correspondence on the other methods -------------------------------------------------------------


@pytest.mark.parametrize("method", ["UnAV", "CCNet"])
def test_correspondence_on_other_methods(method: str) -> None:
    models = {name: build(method, correspondence=name) for name in ("adjustable_gaussian", "none")}
    batch = make_batch([32, 20], [[(1.0, 9.0, 1)], []], padded=32)  # CCNet pads it further
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
    settings = {"class_names": NAMES, "visual_width": 24, "audio_width": 16, "max_length": 64}
    with pytest.raises(ValueError, match=message):
        LoCo(**{**settings, "width": 16, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize("window_size", [7, 8, 512])
def test_without_a_pyramid_windows_change_nothing(window_size: int) -> None:
    plain, other = build("LoCo base"), build("LoCo base", window_size=window_size)
    assert plain.detector.state_dict().keys() == other.detector.state_dict().keys()


def test_gradient_reaches_every_parameter() -> None:
    """In videos so long that a step of the coarsest level has others to choose from."""
    model = build_strong("LoCo").train()
    for name, parameter in model.named_parameters():
        if "predictor" in name:
            parameter.data *= 0.1
    total_loss(model, USUAL).backward()
    parameters = model.detector.named_parameters()
    without = [name for name, p in parameters if p.grad is None or not p.grad.any()]
    assert [n for n in without if not n.endswith(("key.norm.bias", "key.linear.bias"))] == []


def test_scalars_of_the_correspondence_do_not_decay() -> None:
    """The optimiser decays what has more than one dimension."""
    correspondence = build("LoCo").detector.correspondence
    assert isinstance(correspondence, CorrespondenceCorrection)
    scalars = [correspondence.log_temperature, correspondence.log_sigma]
    assert [x.ndim for x in scalars if x is not None] == [0, 0]
