import json
import math
import pickle

import numpy as np
import pytest
import torch

from davezoo.data.features import FeatureError
from davezoo.structures import FeatureGrid

UNAV_GRID = FeatureGrid(fps=25, stride=8, window=24)
VIDEOS = ["v0", "v1", "v2", "long"]


@pytest.mark.parametrize("video", VIDEOS)
def test_features_and_events_equal_the_published_loader(folder, official, video):
    seconds = official[f"gt/{video}/segments_sec"]
    labels = official[f"gt/{video}/labels"]
    folder.add(video)
    for kind in ("rgb", "flow", "vggish"):
        folder.save(video, kind, official[f"in/{video}/{kind}"])
    folder.database[video]["duration"] = float(official[f"in/{video}/duration"])
    folder.database[video]["annotations"] = [
        {"segment": segment.tolist(), "label": str(label), "label_id": int(label)}
        for segment, label in zip(seconds, labels, strict=True)
    ]
    sample = folder.dataset(visual_width=24, audio_width=16)[0]
    np.testing.assert_array_equal(sample.visual, official[f"in/{video}/V"], strict=True)
    np.testing.assert_array_equal(sample.audio, official[f"in/{video}/A"], strict=True)
    np.testing.assert_array_equal(
        sample.segments, official[f"gt/{video}/segments_grid"], strict=True
    )
    np.testing.assert_array_equal(sample.labels, labels, strict=True)
    assert (sample.video_id, sample.duration) == (video, official[f"in/{video}/duration"])
    assert sample.grid == UNAV_GRID


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_number_formats(folder, dtype):
    folder.add("v")
    array = np.arange(160).reshape(40, 4).astype(dtype)
    folder.save("v", "vggish", array)
    audio = folder.dataset()[0].audio
    assert audio.dtype == torch.float32
    np.testing.assert_array_equal(audio, array.T)


@pytest.mark.parametrize(("audio_steps", "length"), [(38, 38), (42, 40), (32, 32), (48, 40)])
def test_cut_to_the_shorter(folder, audio_steps, length):
    folder.add("v", steps=40, audio_steps=audio_steps)
    sample = folder.dataset()[0]
    assert sample.visual.shape == (5, length)
    assert sample.audio.shape == (4, length)
    np.testing.assert_array_equal(
        sample.visual[:3].T, np.load(folder.path("v", "rgb"))[:length].astype(np.float32)
    )


def with_value(value):
    array = np.zeros((40, 4), np.float32)
    array[7, 2] = value
    return array


DAMAGE = {
    "nan": (with_value(np.nan), "finite"),
    "infinite": (with_value(-np.inf), "finite"),
    "infinite in float32": (with_value(0).astype(np.float64) + 1e300, "finite"),
    "width": (np.zeros((40, 6)), r"\(time, 4\).*\(40, 6\).*audio_width"),
    "transposed": (np.zeros((4, 40)), "transposed; save `array.T`"),
    "no steps": (np.zeros((0, 4)), "got"),
    "one axis": (np.zeros(40), r"shape \(40,\)"),
    "three axes": (np.zeros((1, 40, 4)), r"shape \(1, 40, 4\)"),
    "integers": (np.zeros((40, 4), np.uint8), "uint8"),
    "pickled": (np.array([{"a": 1}]), "pickled"),
    "too short": (np.zeros((31, 4)), r"got 40 visual and 31 audio steps.*0\.32 s"),
    "too long": (np.zeros((49, 4)), r"got 40 visual and 49 audio steps.*length_tolerance"),
}


@pytest.mark.parametrize(("array", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_audio(folder, array, message):
    folder.add("v")
    folder.save("v", "vggish", array)
    with pytest.raises(FeatureError, match=message) as caught:
        folder.dataset()[0]
    assert "'v'" in str(caught.value) or str(folder.path("v", "vggish")) in str(caught.value)
    assert "; " in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"text", pickle.dumps([1]), b"\x93NUMPY\x01\x00v\x00{'descr': 'cut"],
    ids=["empty", "text", "pickle", "cut header"],
)
def test_file_that_is_no_array(folder, content):
    folder.add("v")
    folder.path("v", "rgb").write_bytes(content)
    with pytest.raises(FeatureError, match=r"v_rgb\.npy.*again"):
        folder.dataset()


def test_cut_file(folder):
    folder.add("v")
    path = folder.path("v", "rgb")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FeatureError, match=r"v_rgb\.npy.*again"):
        folder.dataset()


def test_archive_instead_of_array(folder):
    folder.add("v")
    with folder.path("v", "rgb").open("wb") as file:
        np.savez(file, a=np.zeros((40, 3)))
    with pytest.raises(FeatureError, match=r"v_rgb\.npy.*npz"):
        folder.dataset()


def test_file_that_vanishes_after_the_check(folder):
    folder.add("v")
    dataset = folder.dataset()
    folder.path("v", "rgb").unlink()
    with pytest.raises(FeatureError, match=r"v_rgb\.npy"):
        dataset[0]


def test_visual_parts_of_unequal_length(folder):
    folder.add("v")
    folder.save("v", "flow", np.zeros((39, 2)))
    with pytest.raises(FeatureError, match=r"v_rgb\.npy \+ .*v_flow\.npy.*equally long"):
        folder.dataset()


def test_transposed_visual_parts(folder):
    folder.add("v")
    folder.save("v", "rgb", np.zeros((3, 40)))
    folder.save("v", "flow", np.zeros((2, 40)))
    with pytest.raises(FeatureError, match="transposed"):
        folder.dataset()


def test_training_leaves_out_and_counts(folder):
    folder.add("no_events", events=())
    folder.add("only_zero_length", events=[(1, 1, 0)])
    folder.add("mixed", events=[(1, 1, 0), (1, 4, 1), (500, 501, 2), (13, 30, 3)])
    with pytest.warns(UserWarning, match="2 zero-length events, 1 events starting past"):
        dataset = folder.dataset("fit", crop_ratio=None)
    assert dataset.video_ids == ["mixed"]
    assert dataset.left_out == {
        "zero-length events": 2,
        "events starting past the duration": 1,
        "videos without events": 2,
    }
    assert dataset[0].labels.tolist() == [1, 3]


def test_evaluation_keeps_everything(folder):
    folder.add("no_events", events=())
    folder.add("odd", events=[(1, 1, 0), (500, 501, 2)])
    dataset = folder.dataset()
    assert dataset.video_ids == ["no_events", "odd"]
    assert dataset[0].labels.shape == (0,)
    assert dataset[0].segments.shape == (0, 2)
    assert dataset[1].labels.tolist() == [0, 2]


def test_missing_duration_is_taken_from_the_features(folder):
    folder.add("v", steps=40, events=())
    del folder.database["v"]["duration"]
    assert folder.dataset()[0].duration == pytest.approx((39 * 8 + 24) / 25)


def test_events_follow_their_video_in_any_file_order(folder):
    for index in range(5):
        folder.add(f"v{index}", events=[(index, index + 1.5, index), (0, 1, 0)])
    dataset = folder.dataset()
    dataset_of_events = [dataset[index] for index in range(5)]
    assert [s.labels.tolist() for s in dataset_of_events] == [[i, 0] for i in range(5)]
    for index, sample in enumerate(dataset_of_events):
        seconds = UNAV_GRID.to_seconds(sample.segments)[0]
        assert seconds.tolist() == pytest.approx([index, index + 1.5])


def test_training_crop_follows_from_seed_epoch_and_video(folder):
    for index in range(3):
        folder.add(f"v{index}", steps=200)
    dataset = folder.dataset("fit", crop_ratio=(0.5, 1.0))
    again = folder.dataset("fit", crop_ratio=(0.5, 1.0))
    other_seed = folder.dataset("fit", crop_ratio=(0.5, 1.0), seed=1)

    def lengths(dataset, epoch):
        return [dataset[epoch, index].visual.shape[1] for index in range(3)]

    again[7, 2]  # what was loaded before must not matter
    assert lengths(dataset, 0) == lengths(again, 0)
    assert lengths(dataset, 0) != lengths(dataset, 1)
    assert lengths(dataset, 0) != lengths(other_seed, 0)


def test_training_crop_cuts_the_very_steps_of_the_files(folder):
    folder.add("v", steps=100, events=[(0, 30, 0)])
    sample = folder.dataset("fit", max_length=32, length_multiple=32)[3, 0]
    whole = folder.dataset("test", max_length=32)[0]
    starts = [s for s in range(69) if torch.equal(whole.visual[:, s : s + 32], sample.visual)]
    assert len(starts) == 1
    assert torch.equal(whole.audio[:, starts[0] : starts[0] + 32], sample.audio)


@pytest.mark.parametrize("name", ["unav", "ccnet"])
def test_published_tiny_data(shared, name):
    from davezoo.data import EventDataModule

    root = shared / "official_tiny" / name / "dataset_tiny"
    kinds = {
        "unav": (["{video}_rgb.npy", "{video}_flow.npy"], ["{video}_vggish.npy"]),
        "ccnet": (["{video}_one_peace_video_finetune.npy"], ["{video}_one_peace_audio.npy"]),
    }
    visual_files, audio_files = kinds[name]
    database = json.loads((root / "annotations/unav100_annotations.json").read_text())["database"]
    some = next(iter(database))
    files = {
        pattern: np.load(root / "av_features" / pattern.replace("{video}", some))
        for pattern in visual_files + audio_files
    }
    datamodule = EventDataModule(
        str(root),
        visual_files=visual_files,
        audio_files=audio_files,
        visual_width=sum(files[p].shape[1] for p in visual_files),
        audio_width=sum(files[p].shape[1] for p in audio_files),
        num_workers=0,
    )
    datamodule.setup()
    counts = [len(datamodule.datasets[stage]) for stage in ("fit", "validate", "test")]
    assert counts == [60, 20, 20]
    assert len(datamodule.class_names) == 5
    for sample in (datamodule.datasets["test"][i] for i in range(20)):
        folder = root / "av_features"
        lengths = {
            pattern: len(np.load(folder / pattern.replace("{video}", sample.video_id)))
            for pattern in files
        }
        assert sample.visual.shape[1] == sample.audio.shape[1] == min(lengths.values())
        entry = database[sample.video_id]
        assert sample.duration == entry["duration"]
        segments = np.array([a["segment"] for a in entry["annotations"]], dtype=np.float32)
        expected = (segments * np.float32(25) - np.float32(12)) / np.float32(8)
        np.testing.assert_array_equal(sample.segments, expected)
        assert math.isfinite(float(sample.visual.sum() + sample.audio.sum()))
