"""DEL against the arrays of the published code, and its properties."""

import pytest
import torch
from torch import Tensor, nn

from davezoo import DEL
from davezoo.methods.del_ import DELDetector
from davezoo.nn.complexity import count_complexity
from davezoo.nn.path_aggregation import GuidedFusion, GuideUpdate, MaxSigmoidGate
from davezoo.nn.token_targets import published_targets
from davezoo.ops.losses import sigmoid_focal_loss
from davezoo.ops.padding import padded_length
from davezoo.ops.points import assign, pyramid_points
from davezoo.published import rename
from davezoo.schedules import warmup_cosine
from tests.methods.conftest import Golden, compare, published_gradients, run
from tests.methods.zoo import (
    NAMES,
    USUAL,
    WITHOUT_SCL,
    build,
    build_strong,
    build_with_weights_of,
    total_loss,
)

VIDEOS = ["v0", "v1", "v2"]
LETTERS = {"visual": "V", "audio": "A"}
CLOSE = {"atol": 2e-5, "rtol": 0.0}


# Numbers -----------------------------------------------------------------------------------------


def outputs_of(model: nn.Module, kind: type[nn.Module]) -> list[Tensor]:
    """Return a list that fills with the outputs of all modules of a kind."""
    found: list[Tensor] = []
    for module in model.modules():
        if isinstance(module, kind):
            module.register_forward_hook(lambda _module, _inputs, out: found.append(out))
    return found


def test_numbers_in_a_batch(del_model: DEL, del_arrays: Golden) -> None:
    predictions = run(del_model, del_arrays, VIDEOS, 64)
    compare(del_arrays, "eval", predictions)
    for level, mask in enumerate(predictions.masks):
        assert torch.equal(mask, del_arrays(f"eval/mask/{level}"))


@pytest.mark.parametrize(("row", "steps"), [(0, 64), (1, 64), (2, 64), (1, 37), (2, 9)])
def test_numbers_of_one_video(del_model: DEL, del_arrays: Golden, row: int, steps: int) -> None:
    """Padded to the full length by the test or, to the next multiple, by the detector."""
    found = run(del_model, del_arrays, [VIDEOS[row]], padded_length(steps, 64, 32))
    alone = {
        name: x[row : row + 1]
        for name, x in del_arrays.arrays.items()
        if name.startswith(("eval/cls_l", "eval/off_l"))
    }
    compare(Golden(alone, {}, del_arrays.grid), "eval", found)


def test_numbers_of_tokens(del_model: DEL, del_arrays: Golden) -> None:
    features = run(del_model, del_arrays, VIDEOS, 64).features
    for stream, letter in LETTERS.items():
        for ours, theirs in (
            ("tokens", "aligned"),
            ("summary", "cls"),
            ("scores", "score_logit"),
            ("categories", "category_logit"),
        ):
            expected = del_arrays(f"eval/{theirs}_{letter}")
            torch.testing.assert_close(features[ours][stream], expected, **CLOSE)


def test_numbers_of_alignment_layers(del_model: DEL, del_arrays: Golden) -> None:
    layer = del_model.detector.get_submodule("alignment.layers.0")
    found: list[Tensor] = []
    layer.register_forward_hook(lambda _module, _inputs, out: found.append(out))
    run(del_model, del_arrays, VIDEOS, 64)
    for index, out in enumerate(found):
        for x, letter in zip(out, "VA", strict=True):
            expected = del_arrays(f"eval/aat_layer{index}_{letter}")
            torch.testing.assert_close(x, expected, **CLOSE)
    assert len(found) == 2


def test_numbers_of_path_aggregation(del_model: DEL, del_arrays: Golden) -> None:
    fused = outputs_of(del_model, GuidedFusion)
    gated = outputs_of(del_model, MaxSigmoidGate)
    guides = outputs_of(del_model, GuideUpdate)
    strided = outputs_of(del_model, type(del_model.detector.get_submodule("pyramid")))
    features = run(del_model, del_arrays, VIDEOS, 64).features

    def visual_half(x: Tensor) -> Tensor:
        return x[:3].transpose(1, 2)

    for level in range(1, 6):
        found = visual_half(strided[0][level])
        torch.testing.assert_close(found, del_arrays(f"eval/strided_V/{level}"), **CLOSE)
    for index, level in enumerate((4, 3, 2, 1, 0)):
        found = visual_half(fused[index])
        torch.testing.assert_close(found, del_arrays(f"eval/topdown_V/{level}"), **CLOSE)
    expected = del_arrays("eval/maxsigmoid_topdown_V/4")
    torch.testing.assert_close(visual_half(gated[0]), expected, **CLOSE)
    expected = del_arrays("eval/maxsigmoid_bottomup_V/1")
    torch.testing.assert_close(visual_half(gated[5]), expected, **CLOSE)
    expected = del_arrays("eval/updated_guide_for_V")
    torch.testing.assert_close(visual_half(guides[0]), expected, **CLOSE)
    assert torch.equal(fused[4][:3].any(-1), del_arrays("eval/topdown_mask_V/0"))

    encoded = features["encoded"]["visual"].transpose(1, 2)
    torch.testing.assert_close(encoded, del_arrays("eval/stem_V"), **CLOSE)
    for level, x in enumerate(features["levels"]["visual"]):
        expected = del_arrays(f"eval/pan_V/{level}")
        torch.testing.assert_close(x.transpose(1, 2), expected, **CLOSE)


def test_numbers_of_targets(del_model: DEL, del_arrays: Golden) -> None:
    detector, batch = del_model.detector, del_arrays.batch(VIDEOS, 64)
    lengths = [64 // stride for stride in detector.strides]
    points = pyramid_points(lengths, detector.strides, detector.regression_ranges)
    targets = assign(points, batch.segments, batch.labels, 5)
    offsets = torch.zeros(3, 126, 5, 2)
    video, point, event = targets.positive.nonzero(as_tuple=True)
    offsets[video, point, batch.labels[video, event]] = targets.distances[video, point, event]
    for row in range(3):
        assert torch.equal(targets.classes[row], del_arrays(f"target/{row}/cls").float())
        assert torch.equal(offsets[row], del_arrays(f"target/{row}/offsets"))


def published_losses(model: DEL, golden: Golden) -> tuple[dict[str, Tensor], Tensor]:
    """Return our losses and the published sum of them, whose gradients are left in the model.

    The golden run weighs the score losses by 0.02 (visual) and 0.03 (audio); ours have one weight,
    so that the rest of the audio's is added here. The published sum is divided by the six levels.
    """
    model.train()
    model.zero_grad()
    batch = golden.batch(VIDEOS, 64)
    predictions = model(batch.visual, batch.audio, batch.mask)
    losses = model.losses(predictions, batch)
    inside = published_targets(batch.segments, batch.labels, batch.mask, True).foreground
    audio = sigmoid_focal_loss(predictions.features["scores"]["audio"], inside) * batch.mask
    losses["audio score"] = 0.01 * audio.sum()
    total = torch.stack(list(losses.values())).sum() / 6
    total.backward()
    return {name: x.detach() for name, x in losses.items()}, total.detach()


def test_numbers_of_losses_and_gradients(del_model: DEL, del_arrays: Golden) -> None:
    losses, total = published_losses(del_model, del_arrays)
    terms = {name: float(del_arrays(f"train/{name}")) for name in ("cls", "reg", "inter", "intra")}
    score, audio = float(del_arrays("train/score_V")), float(del_arrays("train/score_A"))
    assert losses.keys() == {
        *("loss_cls", "loss_reg", "loss_inter", "loss_intra", "loss_score", "audio score")
    }
    assert float(losses["loss_cls"]) == pytest.approx(terms["cls"], rel=1e-5)
    assert float(losses["loss_reg"]) == pytest.approx(terms["reg"], rel=1e-5)
    assert float(losses["loss_inter"]) == pytest.approx(0.1 * terms["inter"], rel=1e-5)
    assert float(losses["loss_intra"]) == pytest.approx(terms["intra"], rel=1e-5)
    assert float(losses["loss_score"]) == pytest.approx(0.02 * (score + audio), rel=1e-5)
    assert float(losses["audio score"]) == pytest.approx(0.01 * audio, rel=1e-5)
    assert float(total) == pytest.approx(del_arrays.arrays["opt/log"][0, 7], rel=1e-5)
    assert float(del_model.loss_normalizer) == pytest.approx(227.4)

    gradients = published_gradients(del_model)
    names = [str(x) for x in del_arrays.arrays["train/param_names"]]
    assert len(names) == 839
    assert {rename(x, "del") for x in names} == set(gradients)
    for published, expected in zip(names, del_arrays("train/grad_l2"), strict=True):
        found = gradients[rename(published, "del")].norm().double()
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6, msg=published)


def test_numbers_of_optimisation(del_model: DEL, del_arrays: Golden) -> None:
    """Six steps of the published groups: learning rate, losses, norm, normaliser."""
    parameters = dict(del_model.detector.named_parameters())
    names = [str(x) for x in del_arrays.arrays["opt/decayed"]]
    decayed = {rename(x, "del") for x in names}
    assert decayed <= set(parameters)
    ours = {name for name, p in parameters.items() if p.ndim > 1}
    unlike = {name for name in decayed ^ ours if not name.startswith("categories")}
    # The published code decays the gains of the norms in the alignment, and no others; we do not.
    assert all(name.startswith("alignment.") and name.endswith("weight") for name in unlike)
    assert all(parameters[name].ndim == 1 for name in unlike)
    groups = [
        {"params": [p for n, p in parameters.items() if n in decayed], "weight_decay": 0.05},
        {"params": [p for n, p in parameters.items() if n not in decayed], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, fused=True)
    schedule = warmup_cosine(optimizer, warmup_steps=4, num_steps=12)
    for row in del_arrays("opt/log"):
        rate, classes, regression, inter, intra, visual, audio, total, norm, normalizer, _ = row
        assert optimizer.param_groups[0]["lr"] == pytest.approx(float(rate), abs=2e-11)
        losses, found_total = published_losses(del_model, del_arrays)
        found_norm = torch.nn.utils.clip_grad_norm_(list(parameters.values()), 1.0)
        found = {name: float(x) / 6 for name, x in losses.items()}
        found["loss_score"] += found.pop("audio score")
        assert found == pytest.approx(
            {
                "loss_cls": float(classes),
                "loss_reg": float(regression),
                "loss_inter": float(inter),
                "loss_intra": float(intra),
                "loss_score": float(visual + audio),
            },
            rel=1e-4,
        )
        assert float(found_total) == pytest.approx(float(total), rel=1e-4)
        assert float(found_norm) == pytest.approx(float(norm), rel=1e-4)
        assert float(del_model.loss_normalizer) == pytest.approx(float(normalizer))
        optimizer.step()
        schedule.step()


def test_numbers_of_parameters() -> None:
    """Those of the clean network in the facts: 53,750,175, of which 102,600 have no gradient."""
    with torch.device("meta"):
        detector = DELDetector(2048, 128, 100)
    counts = {
        name: sum(p.numel() for p in module.parameters())
        for name, module in detector.named_children()
    }
    assert counts == {
        "alignment": 12_123_338 - 2 * 4775 * 512 - 102_600 - 2 * 513,
        "scores": 2 * 513,
        "categories": 102_600,
        "encoder": 2 * (1_574_912 + 6_324_224),
        "pyramid": 12_800,
        "neck": 26_309_536 - 787_968,  # without the projections that never run
        "heads": 2_515_044 + 2_668_750,
        "token_losses": 3,
    }
    assert sum(counts.values()) == 53_750_175
    assert count_complexity(detector, 224).parameters == 53_750_175


def test_numbers_of_attention_products() -> None:
    """By hand, for one video of 224 steps; the products with the partner steps are left out."""
    with torch.device("meta"):
        detector = DELDetector(2048, 128, 100)
    streams, width, half = 2, 512, 256
    levels = [224, 112, 56, 28, 14, 7]
    fused = [*levels[:5], *levels[1:]]  # on the way down and back up
    alignment = 2 * 2 * 225**2 * width  # layers; logits and values; with the summary vector
    unimodal = 2 * 2 * 224**2 * width  # blocks
    chained = sum(3 * 2 * steps**2 * half for steps in fused)
    gates = sum(steps * width * half for steps in fused)  # each step meets the guide's channels
    pooling = sum(4 * steps * width for steps in levels[:3])
    update = 2 * 224**2 * width
    expected = streams * (alignment + unimodal + chained + gates + pooling + update)
    assert count_complexity(detector, 224).attention_macs == expected


# Exceptions -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_heads": 5}, "num_heads"),
        ({"max_length": 60}, "max_length"),
        ({"width": 20}, "8 heads and width 20"),
        ({"width": 24}, "`width` to be a multiple of 16"),
        ({"regression_ranges": []}, "regression_ranges"),
        ({"class_names": []}, "num_classes"),
        ({"modalities": "text"}, "modalities"),
        ({"objective": "both"}, "objective"),
        ({"objective": "paper", "published_token_grid": True}, "published_token_grid"),
    ],
)
def test_exception_of_settings(change: dict[str, object], message: str) -> None:
    settings = {"class_names": NAMES, "visual_width": 24, "audio_width": 16, "max_length": 64}
    with pytest.raises(ValueError, match=message):
        DEL(**{**settings, "width": 16, **change})  # type: ignore[arg-type]


def test_exception_of_a_longer_video() -> None:
    inputs = torch.zeros(1, 6, 96), torch.zeros(1, 4, 96), torch.ones(1, 96, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"at most 64, .* got 96; cut longer.*length_free"):
        build("DEL")(*inputs)
    build("DEL, length-free")(*inputs)


def test_pooled_levels_are_three_at_most() -> None:
    """Each gives four tokens, which the published map stretches over time."""
    for num_levels, tokens in ((2, 8), (3, 12), (4, 12), (6, 12)):
        ranges = [(0, 4)] * num_levels
        weights = build("DEL", regression_ranges=ranges).detector.state_dict()
        assert weights["neck.update.stretch.weight"].shape == (64, tokens)


# Switches ----------------------------------------------------------------------------------------

NETWORKS: dict[str, dict[str, object]] = {  # of Tables 5, 6 and 8 and ours
    "without AAC": {"alignment": False},
    "without PAN": {"path_aggregation": False},
    "own layers": {"share_layers": False},
    "one level": {"regression_ranges": [(0, 10000)]},
    "two levels": {"regression_ranges": [(0, 4), (4, 10000)]},
    "audio only": {"modalities": "audio"},
    "visual only": {"modalities": "visual"},
    "length-free": {"length_free": True},
    "length-free without AAC": {"length_free": True, "alignment": False},
    "length-free without PAN": {"length_free": True, "path_aggregation": False},
}


@pytest.mark.parametrize("switches", NETWORKS.values(), ids=NETWORKS)
def test_every_switch_changes_the_result(switches: dict[str, object]) -> None:
    """With the same weights, as far as there are the same."""
    full = build_strong("DEL")
    inputs = (USUAL.visual, USUAL.audio, USUAL.mask)
    with torch.no_grad():
        expected = full(*inputs).logits[0]
        found = build_with_weights_of(full, "DEL", **switches)(*inputs).logits[0]
    assert not torch.allclose(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("objective", ["published", "paper"])
@pytest.mark.parametrize("modalities", ["both", "audio"])
@pytest.mark.parametrize("off", [*WITHOUT_SCL, "all"])
def test_what_no_loss_trains_is_frozen(objective: str, modalities: str, off: str) -> None:
    """It stays in the checkpoints: their names do not depend on weights of losses."""
    weights = WITHOUT_SCL if off == "all" else {off: 0.0}
    settings = {"objective": objective, "modalities": modalities}
    model, full = build("DEL", **settings, **weights), build("DEL", **settings)
    assert model.state_dict().keys() == full.state_dict().keys()
    total_loss(model, USUAL).backward()
    frozen = {name for name, p in model.detector.named_parameters() if not p.requires_grad}
    without = {name for name, p in model.detector.named_parameters() if p.grad is None}
    assert frozen == without
    streams = model.detector.streams
    contrast = streams if objective == "published" else ["intra"]
    of_loss = {
        "score_weight": {f"scores.{x}.{y}" for x in streams for y in ("weight", "bias")},
        "category_weight": {f"categories.{x}.{y}" for x in streams for y in ("weight", "bias")},
        "inter_weight": {"token_losses.log_scales.inter"},
        "intra_weight": {f"token_losses.log_scales.{x}" for x in contrast},
    }
    expected = set().union(*(of_loss[name] for name in weights))
    if modalities != "both":
        expected = {name for name in expected if "log_scales" not in name}
    assert frozen == expected


# Gradients ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["DEL", "DEL, length-free"])
def test_gradient_reaches_every_parameter(variant: str) -> None:
    """What the heads and the losses read; the chosen steps of the losses hide some of it."""
    detector = build_strong(variant).detector
    predictions = detector(USUAL.visual, USUAL.audio, USUAL.mask)
    features = predictions.features
    read = [*predictions.logits, *predictions.offsets, *features["summary"].values()]
    read += [*features["scores"].values(), *features["categories"].values()]
    torch.stack([x.square().sum() for x in read]).sum().backward()
    without = [n for n, p in detector.named_parameters() if p.grad is None or not p.grad.any()]
    allowed = ("key.norm.bias", "key.linear.bias", "attention.key.bias")
    names = [name for name in without if not name.endswith(allowed)]
    assert [name for name in names if not name.startswith("token_losses")] == []
