"""What the files of a subset are like; `plausibility` has the tests of the explanations."""

import numpy as np
import pytest

from davezoo.annotations import read_annotations
from davezoo.data.checks import GridError, MissingFeaturesError, look_at_split
from davezoo.data.features import open_store
from davezoo.structures import FeatureGrid

VGGISH = {"fps": 100, "stride": 96, "window": 96}


def look_at(folder, **settings):
    datamodule = folder.open(**settings)
    path = folder.root / datamodule.annotations
    annotations = read_annotations(path).split("train")
    return look_at_split(
        "train", annotations, datamodule.layout, open_store(datamodule.layout.folder)
    )


def add_videos(folder, count=6, **settings):
    for index in range(count):
        folder.add(f"v{index}", steps=60 + 9 * index, **settings)


def check(folder, **settings):
    split = look_at(folder, **settings)
    split.check(open_store(split.layout.folder).names(), settings.get("skip_unreadable", False))
    return split


def test_what_is_there(folder):
    add_videos(folder, 5)
    folder.path("v1", "flow").unlink()
    folder.path("v2", "vggish").write_bytes(b"")
    folder.path("v3", "vggish").unlink()
    split = look_at(folder, allow_missing_audio=True)
    assert split.missing == {"v1": "no v1_flow.npy"}
    assert list(split.damaged) == ["v2"]
    assert list(split.faults) == ["v1", "v2"]
    assert split.steps == {"v0": 60, "v3": 87, "v4": 96}
    assert split.without_audio == ["v3"]
    assert split.usable.videos.index.tolist() == ["v0", "v3", "v4"]
    assert split.usable.events["video"].tolist() == ["v0", "v3", "v4"]
    assert split.remarks == []


def test_durations_come_from_the_features_where_they_are_not_annotated(folder):
    add_videos(folder, 2)
    folder.database["v0"].pop("duration")
    folder.database["v0"]["annotations"] = []
    durations = look_at(folder).durations
    assert durations.to_dict() == {"v0": (60 * 8 + 16) / 25, "v1": (69 * 8 + 16) / 25}


def test_one_video_is_no_proof(folder):
    folder.add("v", steps=60)
    folder.database["v"]["duration"] = 5.0
    assert check(folder).remarks == []


def test_wrong_frame_rate(folder):
    add_videos(folder)
    with pytest.raises(GridError, match=r"split 'train' .* last 0.833 times .*`grid.fps` 25 with"):
        check(folder, grid=FeatureGrid(fps=30, stride=8, window=24), skip_unreadable=True)
    check(folder)


def test_a_wrong_visual_grid_is_not_laid_on_the_audio(folder):
    for index in range(6):
        steps = 112 + 9 * index
        folder.add(f"v{index}", steps=steps, audio_steps=round((steps * 8 + 16) / 25 / 0.96 - 0.5))
    with pytest.raises(GridError, match=r"`grid.fps` 25 with") as error:
        check(folder, grid=FeatureGrid(fps=12.5, stride=8, window=24), audio_grid=VGGISH)
    assert "audio" not in str(error.value)


def test_times_in_frames(folder):
    add_videos(folder, events=[(100.0, 400.0, 0)])
    for entry in folder.database.values():
        entry["duration"] = None
        entry["annotations"] = []
    datamodule = folder.open()
    table = "video,start,end,label\n" + "".join(f"v{i},1,{150 * 3},dog\n" for i in range(6))
    (folder.root / "events.csv").write_text(table)
    annotations = read_annotations(folder.root / "events.csv")
    store = open_store(datamodule.layout.folder)
    split = look_at_split("", annotations, datamodule.layout, store)
    with pytest.raises(GridError, match="look like frames"):
        split.check(store.names(), False)


def test_vggish_of_usual_hop(folder):
    for index in range(6):
        steps = 112 + 9 * index
        folder.add(f"v{index}", steps=steps, audio_steps=round((steps * 8 + 16) / 25 / 0.96 - 0.5))
    with pytest.raises(GridError, match=r"0.96 s is what VGGish does .* stride: 96, window: 96"):
        check(folder)
    check(folder, audio_grid=VGGISH)
    check(folder, modalities="visual")
    with pytest.raises(GridError, match=r"the durations|`grid.stride`"):  # nobody told the hop
        check(folder, modalities="audio")
    check(folder, modalities="audio", audio_grid=VGGISH)


def test_own_frame_rates(folder):
    for index, fps in enumerate([24.0, 30, 60, 25, 50]):
        folder.add(f"v{index}", steps=100)
        folder.database[f"v{index}"] |= {"fps": fps, "duration": (100 * 8 + 16) / fps}
    split = check(folder, own_fps=True)
    assert split.durations["v1"] == pytest.approx(27.2)
    for entry in folder.database.values():
        entry["duration"] *= 2
    with pytest.raises(GridError, match=r"`grid.stride` 16.2 would fit"):
        check(folder, own_fps=True)


def test_features_of_one_length_are_remarked(folder):
    for index in range(6):
        folder.add(f"v{index}", steps=100)
        folder.database[f"v{index}"]["duration"] = 32.0 + 30 * index
    assert "In train 6 of 6 videos have 100 feature vectors" in check(folder).remarks[0]


@pytest.mark.parametrize("skip", [False, True])
def test_another_pattern_is_said_where_most_files_are_missing(folder, skip):
    add_videos(folder)
    (folder.root / "av_features" / "v0_rgb.npy").unlink()
    patterns = {"visual_files": ["v_{video}_rgb.npy", "{video}_flow.npy"]}
    said = r"Write the pattern '{video}_rgb.npy' instead of 'v_{video}_rgb.npy'"
    split = look_at(folder, **patterns)
    names = open_store(split.layout.folder).names()
    if skip:
        with pytest.warns(UserWarning, match=said):
            split.check(names, True)
    else:
        with pytest.raises(MissingFeaturesError, match=said):
            split.check(names, False)


def test_files_that_another_pattern_finds_are_not_proposed(folder):
    add_videos(folder)
    with pytest.raises(MissingFeaturesError, match=r"Write the pattern '{video}_rgb.npy'"):
        check(folder, visual_files=["{video}_gish.npy", "{video}_flow.npy"])


def test_archives_instead_of_arrays_are_said(folder):
    add_videos(folder)
    for video in folder.database:
        np.savez(folder.root / "av_features" / f"{video}.npz", rgb=np.zeros((60, 5), np.float16))
    with pytest.raises(MissingFeaturesError, match=r"Write the pattern '{video}_rgb.npy'"):
        check(folder, visual_files=["{video}_rgb.npz:rgb"])
