"""The common shape of UnAV and its kin: parts in order, lengths refused where they are fixed."""

import pytest
import torch

from davezoo.errors import InputError
from davezoo.nn.heads import DetectionHeads
from davezoo.nn.pyramid import CrossModalPyramid
from davezoo.nn.two_stream import TwoStreamDetector


class Doubled(torch.nn.Module):
    def forward(self, x, mask, lengths):
        return 2 * x


def make(neck=None, modalities="both", **correspondence):
    torch.manual_seed(0)
    detector = TwoStreamDetector(
        3,
        2,
        4,
        max_length=8,
        width=6,
        num_heads=2,
        num_unimodal_blocks=1,
        regression_ranges=[(0, 4), (4, 100)],
        drop_path=0.0,
        modalities=modalities,
        **correspondence,
    )
    detector.pyramid = CrossModalPyramid(detector.streams, 6, 2, 2, 0.0)
    detector.neck = neck
    detector.heads = DetectionHeads(detector.fused_width, 5, 4, 2)
    return detector.eval()


def inputs(steps):
    torch.manual_seed(1)
    return torch.randn(2, 3, steps), torch.randn(2, 2, steps), torch.ones(2, steps).bool()


def test_shapes():
    predictions = make()(*inputs(8))
    assert [x.shape for x in predictions.logits] == [(2, 8, 4), (2, 4, 4)]
    assert [x.shape for x in predictions.offsets] == [(2, 8, 4, 2), (2, 4, 4, 2)]
    assert predictions.features["fused"].shape == (2, 12, 12)


def test_neck_stands_between_pyramid_and_heads():
    plain, doubled = make()(*inputs(8)), make(Doubled())(*inputs(8))
    torch.testing.assert_close(doubled.features["fused"], 2 * plain.features["fused"])
    for name in ("visual", "audio"):
        torch.testing.assert_close(doubled.features["levels"][name], plain.features["levels"][name])
    assert not torch.allclose(doubled.logits[0], plain.logits[0])


@pytest.mark.parametrize("weight", [-1.0, float("nan")])
def test_weight_of_the_correspondence_is_not_negative(weight):
    with pytest.raises(InputError, match=f"at least 0, got {weight}; .*correspondence=none"):
        make(correspondence="diagonal", correspondence_weight=weight)
    assert make(correspondence="diagonal", correspondence_weight=0.0).correspondence is not None


def test_fixed_length_is_a_matter_of_the_subclass():
    detector = make()
    detector(*inputs(16))
    detector.fixed_length = True
    full = detector(*inputs(8))
    with pytest.raises(ValueError, match=r"T to be at most 8.*got 16; cut longer videos"):
        detector(*inputs(16))
    visual, audio, mask = inputs(8)
    mask[:, 4:] = False
    padded = detector(visual * mask[:, None], audio * mask[:, None], mask)
    short = detector(visual[..., :4], audio[..., :4], mask[:, :4])
    assert [x.shape for x in short.logits] == [x.shape for x in full.logits]
    torch.testing.assert_close(short.logits, padded.logits)
    assert torch.equal(short.features["mask"], mask)


@pytest.mark.parametrize("name", ["visual", "audio"])
def test_one_modality_is_all_that_is_read(name):
    detector = make(modalities=name)
    visual, audio, mask = inputs(8)
    read = {"visual": visual, "audio": audio}
    found = detector(visual, audio, mask)
    assert found.features["fused"].shape == (2, 12, 6)
    assert list(found.features["encoded"]) == [name]
    nothing = {"visual": torch.empty(2, 0, 8), "audio": torch.empty(2, 0, 8), name: read[name]}
    torch.testing.assert_close(detector(**nothing, mask=mask).logits, found.logits)


@pytest.mark.parametrize("fixed_length", [False, True])
def test_correspondence_is_a_weighted_loss_of_the_encoded_streams(fixed_length):
    detector = make(correspondence="diagonal", correspondence_weight=0.3)
    detector.fixed_length = fixed_length
    predictions = detector(*inputs(4))
    features = predictions.features
    expected = 0.3 * detector.correspondence(features["encoded"], features["mask"])
    losses = detector.auxiliary_losses(predictions, None)
    torch.testing.assert_close(losses, {"loss_correspondence": expected})


def test_correspondence_leaves_steps_without_sound_out():
    detector = make(correspondence="diagonal")
    visual, audio, mask = inputs(8)
    heard = torch.arange(8) < torch.tensor([[5], [0]])
    predictions = detector(visual, audio, mask, heard)
    found = detector.auxiliary_losses(predictions, None)["loss_correspondence"]
    encoded = {name: x[:1] for name, x in predictions.features["encoded"].items()}
    torch.testing.assert_close(found, 0.1 * detector.correspondence(encoded, heard[:1]))
    predictions = detector(visual, audio, mask, torch.zeros_like(mask))
    assert detector.auxiliary_losses(predictions, None)["loss_correspondence"] == 0


@pytest.mark.parametrize("settings", [{}, {"modalities": "audio", "correspondence": "diagonal"}])
def test_without_correspondence_or_partner_nothing_is_built(settings):
    detector = make(**settings)
    assert detector.correspondence is None
    assert detector.auxiliary_losses(detector(*inputs(8)), None) == {}
