"""The data module on layouts other than that of UnAV-100."""

import json

import numpy as np
import pytest

from davezoo.annotations import read_annotations
from davezoo.data.checks import MissingFeaturesError
from davezoo.errors import InputError
from davezoo.structures import FeatureGrid


def test_one_csv_and_a_folder_of_features(folder):
    for index in range(4):
        folder.add(f"v{index}")
    (folder.root / "my.csv").write_text(
        "video,start,end,label,subset\n"
        + "".join(f"v{i},1,{i + 2}.5,{'dog' if i % 2 else 'cat'},train\n" for i in range(4))
    )
    datamodule = folder.open(annotations="my.csv")
    datamodule.setup()
    assert datamodule.class_names == datamodule.detected_class_names == ["cat", "dog"]
    (batch, _) = datamodule.test_dataloader()
    assert batch.durations == [13.44, 13.44]  # where the features end
    assert batch.audio_mask is None


def test_files_alone_are_predicted(folder):
    for video in ("b", "a", "gone"):
        folder.add(video, steps=50)
    folder.path("gone", "rgb").unlink()
    settings = {"annotations": None, "skip_unreadable": True, "predict_split": "all"}
    datamodule = folder.open(**settings)
    with pytest.warns(UserWarning, match=r"no gone_rgb\.npy"):
        datamodule.setup("predict")
    (batch,) = datamodule.predict_dataloader()
    assert batch.video_ids == ["a", "b"]
    assert batch.durations == [16.64, 16.64]
    assert datamodule.ground_truth("all").videos.index.tolist() == ["a", "b", "gone"]
    assert datamodule.video_lengths("predict") == {"a": 50, "b": 50}
    for stage in ("fit", "validate", "test"):
        with pytest.raises(InputError, match="`annotations` to name a file"):
            folder.open(**settings).setup(stage)
    with pytest.raises(InputError, match="`annotations` to name a file"):
        _ = datamodule.class_names


def test_modalities_and_grids_that_the_model_is_linked_to(folder):
    folder.add("v", steps=112, audio_steps=37)
    vggish = {"fps": 100, "stride": 96, "window": 96}
    settings = {"audio_grid": vggish, "resize_to": 160, "protocol": "thumos14-212"}

    def linked(**more):
        data = folder.open(**settings, **more)
        data.setup("test")
        (batch,) = data.test_dataloader()
        assert (batch.visual.shape[1], batch.audio.shape[1]) == (
            data.visual_width,
            data.audio_width,
        )
        assert (data.resize_to, data.protocol) == (160, "thumos14-212")
        assert int(batch.mask.sum()) == 160
        widths = data.visual_width, data.audio_width
        return (data.modalities, *widths, data.grid.stride, data.audio_grid)

    assert linked() == ("both", 5, 4, 8, FeatureGrid(**vggish))
    assert linked(modalities="visual") == ("visual", 5, 0, 8, None)
    assert linked(modalities="audio") == ("audio", 0, 4, 96, None)
    assert linked(audio_files=[], audio_width=0) == ("visual", 5, 0, 8, None)


def test_videos_without_sound_are_used_and_noted(folder):
    for index in range(3):
        folder.add(f"v{index}")
    folder.path("v1", "vggish").unlink()
    with pytest.raises(MissingFeaturesError, match=r"no v1_vggish\.npy"):
        folder.dataset()
    datamodule = folder.open(allow_missing_audio=True, eval_batch_size=3)
    datamodule.setup("test")
    (batch,) = datamodule.test_dataloader()
    assert batch.audio_mask.any(1).tolist() == [True, False, True]
    assert datamodule.notes("test") == ["1 videos of train have no audio."]


def test_class_agnostic(folder):
    folder.add("a", events=[(1, 2, 0), (3, 4, 1)])
    datamodule = folder.open(class_agnostic=True)
    datamodule.setup("test")
    assert datamodule.class_names == datamodule.detected_class_names == ["event"]
    (batch,) = datamodule.test_dataloader()
    assert batch.labels.tolist() == [[0, 0]]
    assert datamodule.ground_truth("train").class_names == ["event"]
    assert datamodule.video_scores is None


def test_video_scores_and_blocked_videos(folder):
    folder.add("a", events=[(1, 2, 0), (3, 4, 1)])
    folder.add("b")
    folder.add("c")
    scores = {"results": {"a": [0.3, 0.7], "b": [1, 0]}, "class": ["class 0", "class 1"]}
    (folder.root / "scores.json").write_text(json.dumps(scores))
    (folder.root / "blocked.json").write_text('["b"]')
    datamodule = folder.open(
        class_agnostic=True, video_scores="scores.json", blocked="blocked.json"
    )
    with pytest.warns(UserWarning, match="1 of 3 videos .* have no scores"):
        datamodule.setup("test")
    assert datamodule.class_names == ["event"]
    assert datamodule.detected_class_names == ["class 0", "class 1"]
    assert datamodule.ground_truth("train").events["label"].tolist() == [0, 1, 0, 0]
    assert datamodule.datasets["test"][0].labels.tolist() == [0, 0]
    assert datamodule.video_scores.top("a", 1)[0].tolist() == [1]
    assert datamodule.blocked_videos == ["b"]
    assert datamodule.notes("test") == [
        "1 videos of train have no external video scores: nothing is detected in them.",
        "1 videos of train are blocked; the protocol leaves them out.",
    ]


def test_real_thumos_annotations(shared, folder):
    """Own frame rates, audio on another grid; features as their extractors would count them."""
    source = shared / "data" / "thumos14" / "thumos14.json.gz"
    videos = read_annotations(source).split("Test").videos.iloc[:6]
    for video, _, duration, fps in videos.itertuples():
        rng = np.random.default_rng(0)
        steps, seconds = int((duration * fps - 16) // 4 + 1), int(duration / 0.96)
        np.save(folder.root / "av_features" / f"{video}.npy", rng.random((steps, 5), np.float32))
        np.save(folder.root / "av_features" / f"{video}_vggish.npy", rng.random((seconds, 4)))
    settings = {
        "annotations": str(source),
        "visual_files": ["{video}.npy"],
        "audio_grid": {"fps": 100, "stride": 96, "window": 96},
        "grid": {"fps": 30, "stride": 4, "window": 16},
        "own_fps": True,
        "skip_unreadable": True,  # the other 206
    }
    datamodule = folder.open(**settings, test_split="test", eval_batch_size=1)
    with pytest.warns(UserWarning, match="Skipped: 20[67] of 21[23]"):
        datamodule.setup("test")
    for batch, (_, row) in zip(datamodule.test_dataloader(), videos.iterrows(), strict=True):
        assert batch.grids[0].fps == pytest.approx(row["fps"])
        end = batch.grids[0].end(int(batch.mask.sum()))
        assert end == pytest.approx(row["duration"], abs=0.5)
