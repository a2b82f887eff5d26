"""What all detectors check and offer."""

import pytest
import torch

from davezoo.errors import InputError
from davezoo.nn.detector import Detector
from davezoo.structures import Predictions
from tests.nn.tiny import TinyDetector


def test_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Detector(1, 1, 1, 2, [1, 2], [(0, 4), (4, 8)])


def test_settings_are_kept():
    detector = TinyDetector()
    assert (detector.visual_width, detector.audio_width, detector.num_classes) == (3, 2, 4)
    assert detector.max_length == 8
    assert detector.strides == [1, 2]
    assert detector.regression_ranges == [(0.0, 4.0), (4.0, 100.0)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strides": []}, r"`regression_ranges` to have one entry a level, got 2 for 0 levels"),
        ({"regression_ranges": [(0, 4)]}, r"`regression_ranges` .* got 1 for 2 levels"),
        (
            {"regression_ranges": [(8, 4), (4, 8)]},
            r"increasing distances .* got \(8, 4\); give the",
        ),
        ({"regression_ranges": [(0, 4), (4, 4)]}, r"increasing distances .* got \(4, 4\)"),
        ({"regression_ranges": [(-1, 4), (4, 8)]}, r"of at least 0, got \(-1, 4\)"),
        ({"num_classes": 0}, r"`num_classes` to be at least 1, got 0"),
        ({"max_length": 7}, r"`max_length` to be a multiple of the coarsest stride 2, got 7"),
        ({"modalities": "text"}, r"`modalities` to be one of .*'visual'\], got 'text'; choose one"),
        ({"audio_width": 0}, r"audio features for modalities='both', got .*`audio_width` 0; name"),
        ({"max_length": 0}, r"`max_length` to be a multiple of the coarsest stride 2, got 0"),
    ],
)
def test_settings_that_contradict(changes, message):
    with pytest.raises(ValueError, match=message):
        TinyDetector(**changes)


@pytest.mark.parametrize(
    ("visual", "audio", "mask", "message"),
    [
        ((1, 2, 8), (1, 2, 8), (1, 8), r"`visual` to be \(B, 3, T\), got \(1, 2, 8\)"),
        ((3, 8), (1, 2, 8), (1, 8), r"`visual` to be \(B, 3, T\), got \(3, 8\)"),
        ((1, 3, 8), (1, 8, 2), (1, 8), r"`audio` to be \(B, 2, T\), got \(1, 8, 2\)"),
        ((2, 3, 8), (1, 2, 8), (1, 8), r"`visual` and `mask` to agree in B and T, got \(2, 3, 8\)"),
        ((1, 3, 8), (1, 2, 6), (1, 8), r"agree in B and T"),
        ((1, 3, 8), (1, 2, 8), (1, 1, 8), r"agree in B and T"),
        ((1, 3, 7), (1, 2, 7), (1, 7), r"T to be a multiple of the coarsest stride 2, got 7"),
    ],
)
def test_inputs_that_do_not_fit(visual, audio, mask, message):
    detector = TinyDetector()
    with pytest.raises(InputError, match=message):  # shown alone by the command line
        detector(torch.zeros(visual), torch.zeros(audio), torch.ones(mask, dtype=torch.bool))


def test_a_mask_of_the_sound_that_does_not_fit():
    mask = torch.ones(1, 8, dtype=torch.bool)
    message = r"`audio_mask` to have the shape of `mask`, got \(1, 6\) and \(1, 8\); leave it out"
    with pytest.raises(InputError, match=message):
        TinyDetector()(torch.zeros(1, 3, 8), torch.zeros(1, 2, 8), mask, mask[:, :6])


@pytest.mark.parametrize("fixed", [False, True])
def test_sound_is_zero_where_there_is_none(fixed):
    detector = TinyDetector()
    detector.fixed_length = fixed
    mask = torch.arange(6) < torch.tensor([[6], [3]])
    audio_mask = torch.tensor([[0, 0, 1, 1, 0, 0], [0, 1, 1, 1, 1, 1]], dtype=torch.bool)
    audio = torch.ones(2, 2, 6).masked_fill(~audio_mask.unsqueeze(1), torch.nan)
    streams, masks = detector.prepare(torch.ones(2, 3, 6), audio, mask, audio_mask)
    heard = torch.zeros(2, 8 if fixed else 6)
    heard[0, 2:4] = heard[1, 1:3] = 1  # within the video alone
    assert torch.equal(masks.of("audio"), heard.bool())
    assert torch.equal(streams["audio"], heard.unsqueeze(-1).expand(-1, -1, 2))
    assert masks.of("visual") is masks.video
    assert torch.equal(streams["visual"][:, :6], torch.ones(2, 6, 3))


def test_without_a_mask_of_the_sound_nothing_is_computed():
    detector, mask = TinyDetector(), torch.ones(1, 8, dtype=torch.bool)
    audio = torch.randn(1, 2, 8)
    streams, masks = detector.prepare(torch.ones(1, 3, 8), audio, mask)
    assert masks.of("audio") is masks.keys("audio") is mask
    assert streams["audio"].data_ptr() == audio.data_ptr()
    alone = TinyDetector(modalities="visual").prepare(torch.ones(1, 3, 8), audio, mask, ~mask)
    assert not alone[1].partial  # nobody listens


@pytest.mark.parametrize("steps", [2, 8, 20])
def test_inputs_that_fit(steps):
    mask = torch.ones(2, steps, dtype=torch.bool)
    predictions = TinyDetector()(torch.randn(2, 3, steps), torch.randn(2, 2, steps), mask)
    assert predictions.logits[0].shape == (2, steps, 4)


def test_no_losses_of_its_own():
    assert TinyDetector().auxiliary_losses(Predictions([], [], []), None) == {}


@pytest.mark.parametrize(
    ("fixed", "batching", "message"),
    [
        (False, (3, 8), "coarsest stride 2, got 3"),
        (True, (2, 16), "got 16; set --data.max_length=8"),
    ],
)
def test_data_that_do_not_fit(fixed, batching, message):
    detector = TinyDetector()
    detector.fixed_length = fixed
    with pytest.raises(ValueError, match=message):
        detector.check_batching(*batching)


def test_videos_that_are_too_long():
    detector = TinyDetector()
    detector.check_length("the steps of video 'v'", 9)
    detector.fixed_length = True
    detector.check_length("the steps of video 'v'", 8)
    message = r"Expected the steps of video 'v' to be at most 8, .* got 9; .* with a larger `max_le"
    with pytest.raises(InputError, match=message):
        detector.check_length("the steps of video 'v'", 9)


def test_data_that_fit():
    detector = TinyDetector()
    detector.check_batching(4, 16)
    detector.fixed_length = True
    detector.check_batching(2, 8)
