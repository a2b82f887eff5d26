"""The plain UnAV of the benchmarks and the fast one of the zoo: one answer from two texts."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.reference_losses import ReferenceLosses
from benchmarks.reference_unav import ReferenceUnAV, ScaledPath
from davezoo import UnAV
from davezoo.ops.points import assign, pyramid_points
from davezoo.structures import Predictions
from tests.methods.conftest import Golden

VIDEOS = ["v0", "v1", "v2"]


@pytest.fixture
def reference(model: UnAV) -> ReferenceUnAV:
    return ReferenceUnAV(model.detector).eval()


def compare(found: Predictions, expected: Predictions) -> None:
    for ours, theirs in (
        *zip(found.logits, expected.logits, strict=True),
        *zip(found.offsets, expected.offsets, strict=True),
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    for ours, theirs in zip(found.masks, expected.masks, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("videos", "length"), [(VIDEOS, 64), (["v1"], 64), (["long"], 192)])
def test_outputs(
    model: UnAV, reference: ReferenceUnAV, unav: Golden, videos: list[str], length: int
) -> None:
    batch = unav.batch(videos, length)
    inputs = (batch.visual, batch.audio, batch.mask)
    with torch.no_grad():
        compare(model(*inputs), reference(*inputs))


@pytest.mark.parametrize("video", VIDEOS)
def test_reference_against_the_published_code(
    reference: ReferenceUnAV, unav: Golden, video: str
) -> None:
    batch = unav.batch([video], 64)
    with torch.no_grad():
        predictions = reference(batch.visual, batch.audio, batch.mask)
    for level, logits in enumerate(predictions.logits):
        expected = unav(f"b1_{video}/cls_l{level}")
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


def test_losses_and_gradients(model: UnAV, reference: ReferenceUnAV, unav: Golden) -> None:
    batch = unav.batch(VIDEOS, 64)
    inputs = (batch.visual, batch.audio, batch.mask)
    model.train()
    ours = torch.stack(list(model.losses(model(*inputs), batch).values())).sum()
    losses = ReferenceLosses()
    theirs = losses(reference, reference(*inputs), batch.segments, batch.labels)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    assert losses.normalizer == pytest.approx(float(model.loss_normalizer))

    ours.backward()
    theirs.backward()
    gradients = reference.layout({n: p.grad for n, p in model.detector.named_parameters()})
    for name, parameter in reference.named_parameters():
        if not name.endswith(("key.linear.bias", "key.norm.bias")):  # zero but for rounding
            size = float(parameter.grad.abs().max())
            torch.testing.assert_close(
                gradients[name], parameter.grad, rtol=1e-3, atol=1e-4 * size + 1e-6, msg=name
            )


def test_weights_are_taken_whole(model: UnAV, reference: ReferenceUnAV) -> None:
    ours = sum(p.numel() for p in model.detector.parameters())
    assert ours == sum(p.numel() for p in reference.parameters())


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_targets(data: st.DataObject) -> None:
    model = UnAV([*"abc"], 4, 4, width=4, head_width=4, max_length=64)
    detector = model.detector
    count = data.draw(st.integers(0, 5))
    # Halves of grid steps, so that distances often equal the border of a range.
    times = st.integers(-4, 140).map(lambda x: x / 2)
    segments = [sorted(data.draw(st.tuples(times, times))) for _ in range(count)]
    labels = torch.tensor([data.draw(st.integers(-1, 2)) for _ in range(count)], dtype=torch.int64)
    events = torch.tensor(segments, dtype=torch.float32).reshape(count, 2)
    classes, offsets = ReferenceUnAV(detector).assign(events, labels, 64)

    lengths = [64 // stride for stride in detector.strides]
    points = pyramid_points(lengths, detector.strides, detector.regression_ranges)
    targets = assign(points, events[None], labels[None], 3)
    assert torch.equal(targets.classes[0], classes)
    found: Tensor = torch.zeros_like(offsets)
    point, event = targets.positive[0].nonzero(as_tuple=True)
    found[point, labels[event]] = targets.distances[0, point, event]
    assert torch.equal(found, offsets)


def test_stochastic_depth(unav: Golden) -> None:
    x = unav("droppath/x")
    path = ScaledPath(x.shape[1], drop_path=0.3).train()
    torch.nn.init.ones_(path.scale)
    torch.manual_seed(5)
    torch.testing.assert_close(path(x), unav("droppath/out"), rtol=1e-6, atol=0)
    assert torch.equal(path.eval()(x), x)
