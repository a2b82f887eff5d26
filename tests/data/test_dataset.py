import json
import math
import pickle

import numpy as np
import pandas as pd
import pytest
import torch

from davezoo.annotations import Annotations, read_annotations
from davezoo.data import EventDataset, FeatureLayout
from davezoo.data.features import FeatureError
from davezoo.errors import InputError
from davezoo.structures import ONE_PEACE_GRID, UNAV100_GRID, FeatureGrid

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


@pytest.mark.parametrize(("name", "grid"), [("unav", UNAV100_GRID), ("ccnet", ONE_PEACE_GRID)])
def test_published_tiny_data(shared, name, grid):
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
        grid=grid,
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
        fps, stride, window = np.float32([grid.fps, grid.stride, grid.window])
        expected = (segments * fps - np.float32(0.5) * window) / stride
        np.testing.assert_array_equal(sample.segments, expected)
        assert math.isfinite(float(sample.visual.sum() + sample.audio.sum()))


def heads_of(dataset):
    return dataset.read_heads().drop(columns="fault").to_dict("index")


def build(folder, **settings):
    """Open the folder as a data set without the data module."""
    folder.open()
    annotations = read_annotations(folder.root / "annotations" / "unav100_annotations.json")
    names = {"visual_files": ["{video}_rgb.npy", "{video}_flow.npy"], "visual_width": 5}
    names |= {"audio_files": ["{video}_vggish.npy"], "audio_width": 4, "grid": UNAV_GRID}
    own = {key: settings.pop(key) for key in ("training", "max_length") if key in settings}
    if "frame_rates" in settings:
        annotations.videos["fps"] = settings.pop("frame_rates")
    return EventDataset(
        annotations, FeatureLayout(folder.root / "av_features", **names | settings), **own
    )


def test_heads_tell_lengths_and_faults(folder):
    folder.add("good", steps=40, audio_steps=38)
    folder.add("apart", steps=40, audio_steps=13)
    folder.add("damaged", steps=40)
    folder.path("damaged", "vggish").write_bytes(b"")
    heads = build(folder).read_heads()
    assert heads.index.tolist() == ["good", "apart", "damaged"]
    assert heads.loc["good"].tolist() == [40, 38, 38, True, ""]
    assert heads.loc["apart"].tolist()[:4] == [40, 13, 0, True]
    assert "13 audio steps" in heads.loc["apart", "fault"]
    assert heads.loc["damaged"].tolist()[:4] == [40, 0, 0, False]
    assert "damaged_vggish.npy" in heads.loc["damaged", "fault"]


def test_heads_of_many_videos_keep_their_order(folder):
    for index in range(150):
        folder.add(f"v{index}", steps=20 + index)
    heads = build(folder).read_heads()
    assert heads.index.tolist() == [f"v{index}" for index in range(150)]
    assert heads["steps"].tolist() == [20 + index for index in range(150)]


def test_no_heads(folder):
    heads = build(folder).read_heads()
    assert len(heads) == 0
    assert list(heads) == ["visual_steps", "audio_steps", "steps", "has_audio", "fault"]


def test_videos_without_sound(folder):
    folder.add("heard", steps=40)
    folder.add("silent", steps=30)
    folder.path("silent", "vggish").unlink()
    dataset = build(folder, allow_missing_audio=True)
    heard, silent = dataset[0], dataset[1]
    assert (heard.has_audio, silent.has_audio) == (True, False)
    assert torch.equal(silent.audio, torch.zeros(4, 30))
    assert silent.visual.shape == (5, 30)
    assert dataset.read_heads()["has_audio"].tolist() == [True, False]
    assert heads_of(dataset)["silent"]["audio_steps"] == 0
    folder.path("heard", "vggish").unlink()  # there when the data set was made: no silence
    with pytest.raises(FeatureError, match=r"heard_vggish\.npy"):
        dataset[0]
    with pytest.raises(FeatureError, match=r"silent_vggish\.npy"):
        build(folder)[1]


def test_empty_audio_is_damage_not_silence(folder):
    folder.add("v")
    folder.save("v", "vggish", np.zeros((0, 4), np.float32))
    with pytest.raises(FeatureError, match=r"v_vggish\.npy.*non-empty"):
        build(folder, allow_missing_audio=True)[0]


@pytest.mark.parametrize("modality", ["visual", "audio"])
def test_only_the_files_of_the_chosen_modality_are_opened(folder, modality):
    folder.add("v", steps=40)
    for kind in ("vggish",) if modality == "visual" else ("rgb", "flow"):
        folder.path("v", kind).unlink()
    dataset = build(folder, modalities=modality)
    sample = dataset[0]
    assert sample.visual.shape == (5 if modality == "visual" else 0, 40)
    assert sample.audio.shape == (4 if modality == "audio" else 0, 40)
    assert sample.has_audio == (modality == "audio")
    steps = {"visual_steps": 40, "audio_steps": 0}
    if modality == "audio":
        steps = {"visual_steps": 0, "audio_steps": 40}
    assert heads_of(dataset)["v"] == steps | {"steps": 40, "has_audio": modality == "audio"}


def test_events_lie_on_the_grid_of_their_own_video(folder):
    for video in "abc":
        folder.add(video, events=[(2.0, 5.0, 0)])
    dataset = build(folder, own_fps=True, frame_rates=[25.0, 29.97, 30.0])
    samples = [dataset[index] for index in range(3)]
    assert [sample.grid.fps for sample in samples] == [25.0, 29.97, 30.0]
    for sample in samples:
        assert sample.grid.to_seconds(sample.segments)[0].tolist() == pytest.approx([2, 5])
    assert samples[2].segments[0].tolist() == pytest.approx([(60 - 12) / 8, (150 - 12) / 8])


@pytest.mark.parametrize("bad", [math.nan, 0.0, -25.0])
def test_own_frame_rates_must_be_known(folder, bad):
    for video in "abc":
        folder.add(video)
    with pytest.raises(InputError, match="none for 2 of 3, the first 'b'; name a file"):
        build(folder, own_fps=True, frame_rates=[25.0, bad, bad])


@pytest.mark.parametrize("training", [False, True])
def test_resized_videos_are_not_cropped(folder, training):
    folder.add("a", steps=40, events=[(2.0, 5.0, 0)])
    folder.add("b", steps=90, events=[(0.0, 20.0, 0)])
    dataset = build(folder, resize_to=64, training=training, max_length=64)
    for index, steps in enumerate((40, 90)):
        sample = dataset[index]
        assert sample.visual.shape == (5, 64)
        assert sample.audio.shape == (4, 64)
        assert sample.grid == UNAV_GRID.resized(steps, 64)
    assert sample.grid.to_seconds(sample.segments)[0].tolist() == pytest.approx([0, 20], abs=1e-4)
    assert dataset.read_heads()["steps"].tolist() == [64, 64]


def test_resized_videos_longer_than_the_crop_are_cropped(folder):
    folder.add("a", steps=40, events=[(2.0, 5.0, 0)])
    dataset = build(folder, resize_to=64, training=True, max_length=32)
    sample, whole = dataset[0], build(folder, resize_to=64)[0]
    assert sample.visual.shape == (5, 32)
    starts = [
        start
        for start in range(33)
        if torch.equal(whole.audio[:, start : start + 32], sample.audio)
    ]
    assert len(starts) == 1
    expected = whole.segments.clamp(starts[0], starts[0] + 32)
    torch.testing.assert_close(sample.segments + starts[0], expected)


def test_missing_duration_of_a_resized_video(folder):
    folder.add("v", steps=40, events=())
    del folder.database["v"]["duration"]
    assert build(folder, resize_to=64)[0].duration == pytest.approx((39 * 8 + 24) / 25)


# Real features -----------------------------------------------------------------------------------

# Of bmt_style_rgb_flow_vggish.npz: stacks of 64 frames at 25 a second; VGGish each 0.96 s.
STACKS = FeatureGrid(fps=25, stride=64, window=64)
VGGISH = FeatureGrid(fps=100, stride=96, window=96)


def real_features(shared, videos, **settings):
    videos = pd.DataFrame({"subset": "test", "duration": math.nan}, index=pd.Index(videos))
    events = pd.DataFrame({"video": [], "start": [], "end": [], "label": []})
    events = events.astype({"video": str, "label": np.int64})
    annotations = Annotations(videos, events, ["nothing"], {})
    archive = "bmt_style_rgb_flow_vggish.npz:{video}__"
    files = {
        "visual_files": [archive + "rgb", archive + "flow"],
        "audio_files": [archive + "vggish"],
        "visual_width": 2048,
        "audio_width": 128,
        "grid": STACKS,
    }
    layout = FeatureLayout(shared / "data" / "features", **files | settings)
    return EventDataset(annotations, layout)


def test_real_audio_lies_at_the_seconds_of_the_real_visual_features(shared):
    dataset = real_features(shared, ["test__uppenantha"], audio_grid=VGGISH, length_tolerance=1)
    sample = dataset[0]
    assert heads_of(dataset)["test__uppenantha"] == {
        "visual_steps": 121,
        "audio_steps": 325,
        "steps": 121,
        "has_audio": True,
    }
    assert sample.visual.shape == (2048, 121)
    assert sample.audio.shape == (128, 121)
    assert sample.duration == pytest.approx(121 * 2.56)
    with np.load(shared / "data" / "features" / "bmt_style_rgb_flow_vggish.npz") as arrays:
        vggish = arrays["test__uppenantha__vggish"]
        np.testing.assert_array_equal(sample.visual[1024:].T, arrays["test__uppenantha__flow"])
    seconds = np.arange(121) * 2.56 + 1.28
    stamps = np.arange(325) * 0.96 + 0.48
    expected = [np.interp(seconds, stamps, channel) for channel in vggish.T]
    np.testing.assert_allclose(sample.audio, expected, atol=1e-5)


def test_real_features_that_do_not_fit_are_told(shared):
    """One of the 15 videos has as many audio as visual vectors; in the others both end together."""
    name = "bmt_style_rgb_flow_vggish.npz"
    with np.load(shared / "data" / "features" / name) as arrays:
        videos = sorted(key.removesuffix("__rgb") for key in arrays if key.endswith("__rgb"))
    assert len(videos) == 15
    heads = real_features(shared, videos, audio_grid=VGGISH, length_tolerance=1).read_heads()
    faults = heads["fault"][heads["fault"] != ""]
    assert faults.index.tolist() == ["sample__women_long_jump"]
    assert "36 visual steps to 92.16 s and 36 audio steps to 34.56 s" in faults.iloc[0]
    same_grid = real_features(shared, videos).read_heads()
    assert same_grid.index[same_grid["fault"] == ""].tolist() == ["sample__women_long_jump"]


def test_members_of_a_real_archive_by_pattern(shared):
    archive = "{video}_i3d_vggish.npz:"
    dataset = real_features(
        shared,
        ["v_GGSY1Qvo990"],
        visual_files=[archive + "rgb_24_12_15", archive + "flow_raft_24_12_15"],
        audio_files=[archive + "vggish"],
        grid=FeatureGrid(fps=15, stride=12, window=24),
        audio_grid=VGGISH,
    )
    sample = dataset[0]
    assert sample.visual.shape == (2048, 21)
    assert sample.audio.shape == (128, 21)
    assert sample.duration == pytest.approx(17.6)  # of 18.07 s
    stamps = sample.grid.to_seconds(torch.arange(21.0))
    with np.load(shared / "data" / "features" / "v_GGSY1Qvo990_i3d_vggish.npz") as arrays:
        ends = arrays["timestamps_ms_24_12_15"] / 1000
    np.testing.assert_allclose(stamps + 0.8, ends, atol=0.08)  # its tool tells when windows end
