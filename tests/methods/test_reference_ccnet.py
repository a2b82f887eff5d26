"""The plain CCNet of the benchmarks and the fast one of the zoo: one answer from two texts."""

import pytest
import torch

from benchmarks.reference_ccnet import ReferenceCCNet
from benchmarks.reference_losses import ReferenceLosses
from davezoo import CCNet
from davezoo.structures import Predictions
from tests.methods.conftest import Golden, compare

VIDEOS = ["v0", "v1", "v2"]


@pytest.fixture
def reference(ccnet_model: CCNet) -> ReferenceCCNet:
    return ReferenceCCNet(ccnet_model.detector).eval()


@pytest.mark.parametrize("video", VIDEOS)
def test_reference_against_the_published_code(
    reference: ReferenceCCNet, ccnet: Golden, video: str
) -> None:
    batch = ccnet.batch([video], 64)
    with torch.no_grad():
        found: Predictions = reference(batch.visual, batch.audio, batch.mask)
    compare(ccnet, f"b1_{video}", found)


def test_losses_and_gradients(ccnet_model: CCNet, reference: ReferenceCCNet, ccnet: Golden) -> None:
    batch = ccnet.batch(VIDEOS, 64)
    inputs = (batch.visual, batch.audio, batch.mask)
    ccnet_model.train()
    ours = torch.stack(list(ccnet_model.losses(ccnet_model(*inputs), batch).values())).sum()
    losses = ReferenceLosses()
    theirs = losses(reference, reference(*inputs), batch.segments, batch.labels)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    ours.backward()
    theirs.backward()
    gradients = reference.layout(
        {n: p.grad for n, p in ccnet_model.detector.named_parameters() if p.grad is not None}
    )
    for name, parameter in reference.named_parameters():
        if not name.endswith(("key.linear.bias", "key.norm.bias")):  # zero but for rounding
            assert parameter.grad is not None
            size = float(parameter.grad.abs().max())
            torch.testing.assert_close(
                gradients[name], parameter.grad, rtol=1e-3, atol=1e-4 * size + 1e-6, msg=name
            )


def test_weights_are_taken_whole(ccnet_model: CCNet, reference: ReferenceCCNet) -> None:
    ours = sum(p.numel() for p in ccnet_model.detector.parameters())
    assert ours == sum(p.numel() for p in reference.parameters())
