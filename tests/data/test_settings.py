import pytest

from davezoo.data import EventDataModule
from davezoo.data.settings import check_settings
from davezoo.errors import InputError

SETTINGS = dict(EventDataModule().hparams)


def test_defaults_are_fine():
    check_settings(SETTINGS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_length": 100}, "`max_length` to be a multiple of 32, got 100"),
        ({"crop_ratio": [0.9, 1.1]}, r"`crop_ratio` .* got \(0.9, 1.1\)"),
        ({"crop_ratio": [0.9, 0.5]}, "`crop_ratio`"),
        ({"bucket_ratio": 1.0}, "`bucket_ratio` to be more than 1, got 1.0"),
        ({"bucket_ratio": float("nan")}, "`bucket_ratio`"),
        ({"batch_size": 0}, "`batch_size` to be at least 1, got 0"),
        ({"eval_batch_size": -1}, "`eval_batch_size` to be at least 1"),
        ({"resize_to": 0}, "`resize_to` to be at least 1"),
        ({"visual_files": ["rgb.npy"]}, "'rgb.npy'"),
        ({"audio_files": []}, "`audio_width` to be 0 if and only if"),
        ({"audio_width": 0}, "`audio_width` to be 0 if and only if"),
        (
            {"audio_files": [], "audio_width": 0, "visual_files": [], "visual_width": 0},
            "`visual_files` or `audio_files` to name files, got none",
        ),
        ({"modalities": "sound"}, "`modalities` to be one of"),
        (
            {"modalities": "audio", "audio_files": [], "audio_width": 0},
            "`audio_files` to name files for modalities='audio'",
        ),
        ({"video_scores": "scores.json"}, "only with `class_agnostic: true`"),
    ],
)
def test_settings_that_cannot_work(changes, message):
    with pytest.raises(InputError, match=message):
        check_settings(SETTINGS | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"crop_ratio": None, "bucket_ratio": None, "eval_batch_size": None, "resize_to": None},
        {"bucket_ratio": 1.5, "eval_batch_size": 1, "resize_to": 192},
        {"modalities": "visual", "audio_files": [], "audio_width": 0},
        {"modalities": "audio"},
        {"class_agnostic": True, "video_scores": "scores.json"},
    ],
)
def test_settings_that_work(changes):
    check_settings(SETTINGS | changes)
