"""UnAV against the arrays of the published code, and its properties."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from davezoo import UnAV
from davezoo.methods.unav import UnAVDetector
from davezoo.nn.complexity import count_complexity
from davezoo.ops.points import assign, pyramid_points
from davezoo.published import rename
from davezoo.schedules import warmup_cosine
from davezoo.structures import Predictions
from tests.methods.conftest import (
    Golden,
    compare,
    losses_and_gradients,
    published_gradients,
    published_mask_fault,
    run,
)

SMALL = {"width": 32, "head_width": 32, "max_length": 64, "drop_path": 0.0}
NAMES = [*"abcde"]


# Numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("video", "length"), [("v0", 64), ("v1", 64), ("v2", 64), ("long", 192)])
def test_numbers_of_one_video(model: UnAV, unav: Golden, video: str, length: int) -> None:
    compare(unav, f"b1_{video}", run(model, unav, [video], length))


def test_numbers_in_a_batch_are_those_of_each_video(model: UnAV, unav: Golden) -> None:
    together = run(model, unav, ["v0", "v1", "v2"], 64)
    for row, video in enumerate(("v0", "v1", "v2")):
        alone = Predictions(
            [x[row : row + 1] for x in together.logits],
            [x[row : row + 1] for x in together.offsets],
            [x[row : row + 1] for x in together.masks],
        )
        compare(unav, f"b1_{video}", alone)


def test_numbers_of_the_published_batch_come_from_its_mask_fault(model: UnAV, unav: Golden) -> None:
    with published_mask_fault(model):
        predictions = run(model, unav, ["v0", "v1", "v2"], 64)
    compare(unav, "b3", predictions)
    for level, mask in enumerate(predictions.masks):
        assert torch.equal(mask, unav(f"b3/mask_l{level}"))


def test_numbers_of_intermediates(model: UnAV, unav: Golden) -> None:
    features = run(model, unav, ["v1"], 64).features
    for level, (visual, audio) in enumerate(
        zip(features["levels"]["visual"], features["levels"]["audio"], strict=True)
    ):
        for x, letter in ((visual, "V"), (audio, "A")):
            expected = unav(f"b1_v1/mid_{letter}_l{level}").transpose(1, 2)
            torch.testing.assert_close(x, expected, atol=1e-4, rtol=0)


def test_numbers_of_targets(model: UnAV, unav: Golden) -> None:
    batch = unav.batch(["v0", "v1", "v2"], 64)
    lengths = [64 // stride for stride in model.detector.strides]
    points = pyramid_points(lengths, model.detector.strides, model.detector.regression_ranges)
    targets = assign(points, batch.segments, batch.labels, 5)
    assert torch.equal(targets.classes, unav("tgt/cls"))
    offsets = torch.zeros(3, 126, 5, 2)
    video, point, event = targets.positive.nonzero(as_tuple=True)
    offsets[video, point, batch.labels[video, event]] = targets.distances[video, point, event]
    assert torch.equal(offsets, unav("tgt/off"))


@pytest.mark.parametrize("videos", [["v0"], ["v1"], ["v2"], ["v0", "v1", "v2"]], ids="-".join)
def test_numbers_of_losses_and_gradients(model: UnAV, unav: Golden, videos: list[str]) -> None:
    name = f"train_b1_{videos[0]}" if len(videos) == 1 else "train_b3"
    with published_mask_fault(model):  # without effect on a single video
        losses = losses_and_gradients(model, unav, videos)
    exact = {"rtol": 1e-5, "atol": 0.0}
    torch.testing.assert_close(losses["loss_cls"], unav(f"{name}/cls_loss"), **exact)
    torch.testing.assert_close(losses["loss_reg"], unav(f"{name}/reg_loss"), **exact)
    normalizer = model.loss_normalizer.double()
    torch.testing.assert_close(normalizer, unav(f"{name}/norm_after"), rtol=1e-6, atol=0)

    gradients = published_gradients(model)
    names = [str(x) for x in unav.arrays["param_names"]]
    assert {rename(x) for x in names} == set(gradients)
    compared = 0
    for published, expected in zip(names, unav(f"{name}/grad_l2"), strict=True):
        if published.endswith((".key.bias", ".key_norm.bias")):
            continue  # mathematically zero: softmax ignores what all keys share
        found = gradients[rename(published)].norm().double()
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6, msg=published)
        compared += 1
    assert compared == 558 - 2 * 18


def test_numbers_of_whole_gradients(model: UnAV, unav: Golden) -> None:
    losses_and_gradients(model, unav, ["v1"])
    gradients = published_gradients(model)
    stored = unav.names("train_b1_v1/grad/")
    assert len(stored) > 300
    for name in stored:
        published = name.removeprefix("train_b1_v1/grad/")
        if published.endswith((".key.bias", ".key_norm.bias")):
            continue
        found, expected = gradients[rename(published)], unav(name)
        torch.testing.assert_close(
            found.flatten(), expected.flatten(), rtol=1e-3, atol=1e-6, msg=published
        )


def test_numbers_of_optimisation(model: UnAV, unav: Golden) -> None:
    """Nine steps: learning rate, losses, gradient norm, normaliser, and where the weights went."""
    model.weight_decay = 1e-2
    start = {name: p.detach().clone() for name, p in model.detector.named_parameters()}
    parameters = list(model.detector.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 1e-2},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, fused=True)
    schedule = warmup_cosine(optimizer, warmup_steps=3, num_steps=9)
    with published_mask_fault(model):
        for row in unav("opt/log"):
            rate, *expected = row.tolist()
            assert optimizer.param_groups[0]["lr"] == pytest.approx(rate, abs=2e-11)
            losses = losses_and_gradients(model, unav, ["v0", "v1", "v2"])
            norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            total = losses["loss_cls"] + losses["loss_reg"]
            found = [losses["loss_cls"], losses["loss_reg"], total, norm, model.loss_normalizer]
            assert [float(x) for x in found] == pytest.approx(expected, rel=1e-3)
            optimizer.step()
            schedule.step()
    deltas = {
        name: (p.detach() - start[name]).norm() for name, p in model.detector.named_parameters()
    }
    names = [str(x) for x in unav.arrays["param_names"]]
    for published, expected in zip(names, unav("opt/delta_l2"), strict=True):
        ours = rename(published)
        if ours in deltas and not published.endswith((".key.bias", ".key_norm.bias")):
            found = deltas[ours].double()
            torch.testing.assert_close(found, expected, rtol=2e-2, atol=1e-5, msg=published)


def test_parameter_groups_are_the_published_ones(model: UnAV, unav: Golden) -> None:
    names = [str(x) for x in unav.arrays["param_names"]]
    shapes = {name: p.ndim for name, p in model.detector.named_parameters()}
    for published, group in zip(names, unav("opt/group_of_param").tolist(), strict=True):
        decayed = shapes.get(rename(published), 0) > 1
        assert decayed == (group == 0), published


def test_numbers_of_the_schedule(unav: Golden) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-4)
    schedule = warmup_cosine(optimizer, warmup_steps=50, num_steps=450)
    rates = []
    for _ in range(450):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    expected = unav("lr/default_10it").tolist()
    assert rates == pytest.approx(expected, abs=2e-12)  # 1e-8 of the peak, and rounding


@pytest.mark.parametrize("video", ["v0", "v1", "v2", "long"])
def test_numbers_of_detections(model: UnAV, unav: Golden, video: str) -> None:
    length = 192 if video == "long" else 64
    batch = unav.batch([video], length)
    events = model.detect(run(model, unav, [video], length), batch)[0]
    name = f"b1_{video}/{video}/det"
    assert events.scores is not None
    torch.testing.assert_close(events.scores, unav(f"{name}_score"), atol=1e-4, rtol=0)
    assert torch.equal(events.labels, unav(f"{name}_label").long())
    torch.testing.assert_close(events.segments, unav(f"{name}_seg"), atol=1e-3, rtol=0)


def test_numbers_of_complexity() -> None:
    """The 140.79 M and 60.28 G that LoCo's Table VII prints for UnAV."""
    with torch.device("meta"):
        detector = UnAVDetector(1536, 1536, 100, max_length=256)
    count = count_complexity(detector, 256)
    assert count.layer_parameters == 140_793_900
    assert count.parameters == 140_920_370
    assert count.layer_macs / 1e9 == pytest.approx(60.2838, abs=1e-4)
    assert (count.layer_macs + count.attention_macs) / 1e9 == pytest.approx(64.2579, abs=1e-4)


# Smoke, shapes, exceptions -----------------------------------------------------------------------


def inputs(lengths: list[int], padded: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(padded) < torch.tensor(lengths)[:, None]
    visual = torch.randn(len(lengths), 24, padded, generator=generator) * mask[:, None]
    audio = torch.randn(len(lengths), 16, padded, generator=generator) * mask[:, None]
    return visual, audio, mask


@pytest.mark.parametrize("dependency", [True, False])
def test_shape(dependency: bool) -> None:
    model = UnAV(NAMES, 24, 16, dependency=dependency, **SMALL).eval()
    predictions = model(*inputs([64, 1], 64))
    for level, (logits, offsets, mask) in enumerate(
        zip(predictions.logits, predictions.offsets, predictions.masks, strict=True)
    ):
        steps = 64 >> level
        assert logits.shape == (2, steps, 5)
        assert offsets.shape == (2, steps, 5, 2)
        assert mask.shape == (2, steps)
        assert (offsets >= 0).all()
        assert (logits[~mask] == 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_heads": 5}, "num_heads"),
        ({"max_length": 60}, "max_length"),
        ({"regression_ranges": []}, "regression_ranges"),
        ({"class_names": []}, "num_classes"),
    ],
)
def test_exception_of_settings(change: dict[str, object], message: str) -> None:
    settings = {"class_names": NAMES, "visual_width": 24, "audio_width": 16, **SMALL, **change}
    with pytest.raises(ValueError, match=message):
        UnAV(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("visual", "audio", "mask", "message"),
    [
        ((1, 16, 64), (1, 16, 64), (1, 64), "visual"),
        ((1, 24, 64), (1, 24, 64), (1, 64), "audio"),
        ((1, 24, 64), (1, 16, 32), (1, 64), "agree in B and T"),
        ((1, 24, 48), (1, 16, 48), (1, 48), "multiple of the coarsest stride 32"),
    ],
)
def test_exception_of_inputs(
    visual: tuple[int, ...], audio: tuple[int, ...], mask: tuple[int, ...], message: str
) -> None:
    model = UnAV(NAMES, 24, 16, **SMALL)
    with pytest.raises(ValueError, match=message):
        model(torch.zeros(visual), torch.zeros(audio), torch.ones(mask, dtype=torch.bool))


# Properties --------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 128), min_size=1, max_size=3),
    seed=st.integers(0, 100),
)
def test_padding_to_the_batch_equals_padding_to_the_maximum(lengths: list[int], seed: int) -> None:
    from davezoo.ops.padding import padded_length

    torch.manual_seed(0)
    model = UnAV(NAMES, 24, 16, **{**SMALL, "max_length": 128}).eval()
    for parameter in model.parameters():  # norms with a bias, so that padded steps are not zero
        torch.nn.init.normal_(parameter, std=0.3)
    full = inputs(lengths, 128, seed)
    steps = padded_length(max(lengths), 128, 32)
    with torch.no_grad():
        expected, found = model(*full), model(*(x[..., :steps] for x in full))
    for level, (ours, theirs) in enumerate(zip(found.logits, expected.logits, strict=True)):
        torch.testing.assert_close(ours, theirs[:, : steps >> level], atol=1e-4, rtol=1e-4)
    for level, (ours, theirs) in enumerate(zip(found.offsets, expected.offsets, strict=True)):
        torch.testing.assert_close(ours, theirs[:, : steps >> level], atol=1e-4, rtol=1e-4)


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(3)))
def test_order_of_the_batch_does_not_matter(order: list[int]) -> None:
    torch.manual_seed(0)
    model = UnAV(NAMES, 24, 16, **SMALL).eval()
    visual, audio, mask = inputs([64, 30, 9], 64)
    with torch.no_grad():
        expected = model(visual, audio, mask)
        found = model(visual[order], audio[order], mask[order])
    for ours, theirs in zip(found.logits, expected.logits, strict=True):
        torch.testing.assert_close(ours, theirs[order], atol=1e-5, rtol=1e-5)


def test_gradient_reaches_every_parameter() -> None:
    torch.manual_seed(0)
    detector = UnAV(NAMES, 24, 16, **SMALL).detector
    for name, parameter in detector.named_parameters():
        if "scale" in name or "out.bias" in name:  # gains start at 1e-4, most offsets below zero
            torch.nn.init.ones_(parameter)
    predictions = detector(*inputs([64, 30], 64))
    total = sum(x.square().sum() for x in [*predictions.logits, *predictions.offsets])
    assert isinstance(total, Tensor)
    total.backward()
    without = [n for n, p in detector.named_parameters() if p.grad is None or not p.grad.any()]
    # The classifier of an untrained network at rest: every other parameter moves.
    assert [n for n in without if not n.endswith("key.norm.bias")] == []


@pytest.mark.slow
def test_compile() -> None:
    torch.manual_seed(0)
    model = UnAV(NAMES, 24, 16, **SMALL).eval()
    batch = inputs([64, 30], 64)
    compiled = torch.compile(model.detector, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        expected, found = model.detector(*batch), compiled(*batch)
    for ours, theirs in zip(found.logits, expected.logits, strict=True):
        torch.testing.assert_close(ours, theirs)
