"""CCNet against the arrays of the published code, and its properties."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning import Trainer
from torch import Tensor

from davezoo import CCNet
from davezoo.methods.ccnet import CCNetDetector, TemporalGate
from davezoo.nn.complexity import count_complexity
from davezoo.ops.padding import padded_length
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

SMALL = {"width": 16, "head_width": 16, "max_length": 64, "drop_path": 0.0}
LENGTH_FREE = {"length_free": True, "masked_gates": True, "channel_branch": False}
NAMES = [*"abcde"]
VIDEOS = ["v0", "v1", "v2"]


def small(**changes: object) -> CCNet:
    torch.manual_seed(0)
    return CCNet(NAMES, 24, 16, **{**SMALL, **changes})  # type: ignore[arg-type]


def strong(**changes: object) -> CCNet:
    """All gains, biases and norms so large that a mistake shows."""
    model = small(**changes).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


# Numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("video", VIDEOS)
def test_numbers_of_one_video(ccnet_model: CCNet, ccnet: Golden, video: str) -> None:
    compare(ccnet, f"b1_{video}", run(ccnet_model, ccnet, [video], 64))


def test_numbers_in_a_batch_are_those_of_each_video(ccnet_model: CCNet, ccnet: Golden) -> None:
    together = run(ccnet_model, ccnet, VIDEOS, 64)
    for row, video in enumerate(VIDEOS):
        alone = Predictions(
            [x[row : row + 1] for x in together.logits],
            [x[row : row + 1] for x in together.offsets],
            [x[row : row + 1] for x in together.masks],
        )
        compare(ccnet, f"b1_{video}", alone)


def test_numbers_of_the_published_batch_come_from_its_mask_fault(
    ccnet_model: CCNet, ccnet: Golden
) -> None:
    with published_mask_fault(ccnet_model):
        predictions = run(ccnet_model, ccnet, VIDEOS, 64)
    compare(ccnet, "b3", predictions)
    for level, mask in enumerate(predictions.masks):
        assert torch.equal(mask, ccnet(f"b3/mask_l{level}"))


def test_numbers_of_gates(ccnet_model: CCNet, ccnet: Golden) -> None:
    """As published: below the first level, padding shares in the attention of the gates."""
    gates: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, gate: gates.append(gate))
        for module in ccnet_model.modules()
        if isinstance(module, TemporalGate)
    ]
    predictions = run(ccnet_model, ccnet, VIDEOS, 64)
    for hook in hooks:
        hook.remove()
    for level, mask in enumerate(predictions.masks):
        for letter, gate in zip("VA", gates[2 * level :], strict=False):
            expected = ccnet(f"b3/gate_from_{letter}_l{level}").transpose(1, 2)
            torch.testing.assert_close(gate[mask], expected[mask], atol=1e-5, rtol=0)


def test_numbers_of_the_pyramid(ccnet_model: CCNet, ccnet: Golden) -> None:
    features = run(ccnet_model, ccnet, VIDEOS, 64).features
    for letter, name in (("V", "visual"), ("A", "audio")):
        for level, x in enumerate(features["levels"][name]):
            expected = ccnet(f"b3/mid_{letter}_l{level}").transpose(1, 2)
            torch.testing.assert_close(x, expected, atol=1e-4, rtol=0)


def test_numbers_of_targets(ccnet_model: CCNet, ccnet: Golden) -> None:
    detector, batch = ccnet_model.detector, ccnet.batch(VIDEOS, 64)
    lengths = [64 // stride for stride in detector.strides]
    points = pyramid_points(lengths, detector.strides, detector.regression_ranges)
    targets = assign(points, batch.segments, batch.labels, 5)
    assert torch.equal(targets.classes, ccnet("tgt/cls").float())
    offsets = torch.zeros(3, 126, 5, 2)
    video, point, event = targets.positive.nonzero(as_tuple=True)
    offsets[video, point, batch.labels[video, event]] = targets.distances[video, point, event]
    assert torch.equal(offsets, ccnet("tgt/off"))


def test_numbers_of_losses_and_gradients(ccnet_model: CCNet, ccnet: Golden) -> None:
    with published_mask_fault(ccnet_model):
        losses = losses_and_gradients(ccnet_model, ccnet, VIDEOS)
    exact = {"rtol": 1e-5, "atol": 0.0}
    torch.testing.assert_close(losses["loss_cls"], ccnet("train_b3/cls_loss"), **exact)
    torch.testing.assert_close(losses["loss_reg"], ccnet("train_b3/reg_loss"), **exact)
    assert float(ccnet_model.loss_normalizer) == pytest.approx(229.1)

    gradients = published_gradients(ccnet_model)
    names = [str(x) for x in ccnet.arrays["param_names"]]
    assert len(names) == 1205
    assert {rename(x, "ccnet") for x in names} == set(gradients)
    for published, expected in zip(names, ccnet("train_b3/grad_l2"), strict=True):
        found = gradients[rename(published, "ccnet")].norm().double()
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6, msg=published)


def test_numbers_of_optimisation(ccnet_model: CCNet, ccnet: Golden) -> None:
    """Eight steps: learning rate, losses, normaliser, gradient norm.

    Five steps bind closely. Then the run is sensitive: weights changed by one part in a million
    move the last norms by up to a tenth and the losses by up to a hundredth.
    """
    parameters = list(ccnet_model.detector.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 1e-2},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    assert len(groups[0]["params"]) == 390  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, fused=True)
    schedule = warmup_cosine(optimizer, warmup_steps=4, num_steps=12)
    with published_mask_fault(ccnet_model):
        for step, row in enumerate(ccnet("opt/log")):
            rate, *expected = row.tolist()
            assert optimizer.param_groups[0]["lr"] == pytest.approx(rate, abs=2e-11)
            losses = losses_and_gradients(ccnet_model, ccnet, VIDEOS)
            norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            *expected_losses, expected_norm, normalizer = expected
            parts = [losses["loss_cls"], losses["loss_reg"]]
            found = [float(x) for x in (*parts, sum(parts))]
            assert found == pytest.approx(expected_losses, rel=1e-4 if step < 5 else 1e-2)
            assert float(norm) == pytest.approx(expected_norm, rel=1e-4 if step < 5 else 1e-1)
            assert float(ccnet_model.loss_normalizer) == pytest.approx(normalizer)
            optimizer.step()
            schedule.step()


@pytest.mark.parametrize("video", VIDEOS)
def test_numbers_of_detections(ccnet_model: CCNet, ccnet: Golden, video: str) -> None:
    events = ccnet_model.detect(run(ccnet_model, ccnet, [video], 64), ccnet.batch([video], 64))[0]
    name = f"b1_{video}/{video}/det"
    assert events.scores is not None
    torch.testing.assert_close(events.scores, ccnet(f"{name}_score"), atol=1e-4, rtol=0)
    assert torch.equal(events.labels, ccnet(f"{name}_label").long())
    torch.testing.assert_close(events.segments, ccnet(f"{name}_seg"), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("widths", "steps", "parameters", "giga_macs"),
    [((2048, 128), 224, 235_521_794, 66.19), ((1536, 1536), 256, 239_061_934, 76.53)],
)
def test_numbers_of_complexity(
    widths: tuple[int, int], steps: int, parameters: int, giga_macs: float
) -> None:
    with torch.device("meta"):
        detector = CCNetDetector(*widths, 100, max_length=steps)
    count = count_complexity(detector, steps)
    assert count.parameters == parameters
    assert (count.layer_macs + count.attention_macs) / 1e9 == pytest.approx(giga_macs, abs=0.005)


# Smoke, shapes, exceptions -----------------------------------------------------------------------


def inputs(lengths: list[int], padded: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(padded) < torch.tensor(lengths)[:, None]
    visual = torch.randn(len(lengths), 24, padded, generator=generator) * mask[:, None]
    audio = torch.randn(len(lengths), 16, padded, generator=generator) * mask[:, None]
    return visual, audio, mask


OFF = {"coarse_to_fine": False, "fine_to_coarse": False, "dependency": False}
VARIANTS: dict[str, dict[str, object]] = {
    "published": {},
    "without CMI": {"cross_modal_interaction": False},
    "without TCG": {"temporal_gates": False},
    "masked gates": {"masked_gates": True},
    "without C2F": {"coarse_to_fine": False},
    "without F2C": {"fine_to_coarse": False},
    "F2C first": {"fine_to_coarse_first": True},
    "without the channel branch": {"channel_branch": False},
    "CMCC only": OFF,
    "length-free": LENGTH_FREE,
    "one level": {"regression_ranges": [(0, 10000)]},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variant_trains(variant: str) -> None:
    model = strong(**VARIANTS[variant])
    predictions = model(*inputs([64, 1], 64))
    for level, (logits, offsets, mask) in enumerate(
        zip(predictions.logits, predictions.offsets, predictions.masks, strict=True)
    ):
        assert logits.shape == (2, 64 >> level, 5)
        assert offsets.shape == (2, 64 >> level, 5, 2)
        assert (offsets >= 0).all()
        assert (logits[~mask] == 0).all()
    total = torch.stack([x.square().sum() for x in [*predictions.logits, *predictions.offsets]])
    total.sum().backward()
    gradients = {name: p.grad for name, p in model.detector.named_parameters()}
    assert [name for name, grad in gradients.items() if grad is None] == []
    assert all(grad.isfinite().all() for grad in gradients.values() if grad is not None)


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "published"])
def test_every_switch_changes_the_result(variant: str) -> None:
    batch = inputs([40], 64)
    with torch.no_grad():
        published, other = strong()(*batch), strong(**VARIANTS[variant])(*batch)
    assert not torch.allclose(published.logits[0], other.logits[0])


def test_masked_gates_share_all_weights() -> None:
    published, masked = strong(), small(masked_gates=True).eval()
    masked.load_state_dict(published.state_dict())
    full, short = inputs([64], 64), inputs([40], 64)
    with torch.no_grad():
        torch.testing.assert_close(masked(*full).logits[0], published(*full).logits[0])
        found, expected = masked(*short).logits[0], published(*short).logits[0]
    assert not torch.allclose(found, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_heads": 5}, "num_heads"),
        ({"max_length": 60}, "max_length"),
        ({"regression_ranges": []}, "regression_ranges"),
        ({"class_names": []}, "num_classes"),
        ({"length_free": True}, "masked_gates=true and channel_branch=false"),
        ({**LENGTH_FREE, "masked_gates": False}, "masked_gates=true"),
        ({**LENGTH_FREE, "channel_branch": True}, "channel_branch=false"),
    ],
)
def test_exception_of_settings(change: dict[str, object], message: str) -> None:
    settings = {"class_names": NAMES, "visual_width": 24, "audio_width": 16, **SMALL, **change}
    with pytest.raises(ValueError, match=message):
        CCNet(**settings)  # type: ignore[arg-type]


def test_longer_videos_than_the_weights_hold() -> None:
    with pytest.raises(ValueError, match=r"at most 64, .* got 96; cut longer.*length_free"):
        small()(*inputs([96], 96))
    small(**LENGTH_FREE)(*inputs([96], 96))


def test_arrays_are_padded_to_the_length_in_the_weights() -> None:
    model = strong()
    visual, audio, mask = inputs([20], 64)
    with torch.no_grad():
        expected = model(visual, audio, mask)
    seen = []
    hook = model.detector.register_forward_hook(lambda _m, _i, out: seen.append(out))
    model.predict(visual[0, :, :20].T, audio[0, :, :20].T)
    hook.remove()
    torch.testing.assert_close(seen[0].logits, expected.logits)


def test_longer_arrays_are_read_in_chunks() -> None:
    model = strong()
    visual, audio, _ = inputs([64], 64)
    seen = []
    hook = model.detector.register_forward_hook(lambda _m, _i, out: seen.append(out))
    events = model.predict(visual[0].T.repeat(3, 1), audio[0].T.repeat(3, 1))
    hook.remove()
    assert [out.logits[0].shape[1] for out in seen] == [64, 64, 64]
    assert max(event.end for event in events) > 130 * model.grid.stride / model.grid.fps


def test_data_of_another_length_are_refused() -> None:
    model, trainer = small(), Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    data = SimpleNamespace(length_multiple=32, max_length=32)
    trainer.datamodule = data  # type: ignore[attr-defined]
    model.trainer = trainer
    with pytest.raises(ValueError, match=r"got 32; set --data\.max_length=64"):
        model.setup("fit")
    data.max_length = 64
    model.setup("fit")


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


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_video_alone_and_in_a_batch(variant: str) -> None:
    model = strong(**VARIANTS[variant])
    batch = inputs([64, 30, 9], 64)
    with torch.no_grad():
        together, alone = model(*batch), model(*(x[1:2] for x in batch))
    for ours, theirs in zip(together.logits, alone.logits, strict=True):
        torch.testing.assert_close(ours[1:2], theirs, atol=1e-4, rtol=1e-4)
    for ours, theirs in zip(together.offsets, alone.offsets, strict=True):
        torch.testing.assert_close(ours[1:2], theirs, atol=1e-4, rtol=1e-4)


@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 128), min_size=1, max_size=3),
    first=st.booleans(),
    seed=st.integers(0, 100),
)
def test_padding_does_not_matter_without_a_fixed_length(
    lengths: list[int], first: bool, seed: int
) -> None:
    model = strong(**{**LENGTH_FREE, "max_length": 128, "fine_to_coarse_first": first})
    full = inputs(lengths, 128, seed)
    steps = padded_length(max(lengths), 128, 32)
    with torch.no_grad():
        expected, found = model(*full), model(*(x[..., :steps] for x in full))
    for level, (ours, theirs) in enumerate(zip(found.logits, expected.logits, strict=True)):
        torch.testing.assert_close(ours, theirs[:, : steps >> level], atol=1e-3, rtol=1e-3)
    for level, (ours, theirs) in enumerate(zip(found.offsets, expected.offsets, strict=True)):
        torch.testing.assert_close(ours, theirs[:, : steps >> level], atol=1e-3, rtol=1e-3)


def test_gradient_reaches_every_parameter() -> None:
    detector = strong().detector
    predictions = detector(*inputs([64, 30], 64))
    torch.stack(
        [x.square().sum() for x in [*predictions.logits, *predictions.offsets]]
    ).sum().backward()
    without = [n for n, p in detector.named_parameters() if p.grad is None or not p.grad.any()]
    allowed = ("key.norm.bias", "key.linear.bias")
    assert [name for name in without if not name.endswith(allowed)] == []


@pytest.mark.slow
def test_compile() -> None:
    model = strong()
    batch = inputs([64, 30], 64)
    compiled = torch.compile(model.detector, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        expected, found = model.detector(*batch), compiled(*batch)
    for ours, theirs in zip(found.logits, expected.logits, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
