"""What is collected of simulated features, broken ones, and the real annotations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from davezoo.annotations import AnnotationError
from davezoo.data import EventDataModule
from davezoo.data.packer import write_pack
from davezoo.inspection.collect import collect, time_videos
from davezoo.recipes import read_data_settings
from davezoo.structures import FeatureGrid
from tests.inspection.sets import USUAL, inspect_events, open_data


def test_steps_are_those_that_training_sees(root: Path) -> None:
    data = open_data(root)
    data.setup("fit")
    inspection = collect(data, USUAL, check_pack=True)
    assert inspection.findings == ["The features are simulated."]
    dataset = data.datasets["fit"]
    dataset.training = False  # whole videos
    samples = [dataset[index] for index in range(len(dataset))]
    assert inspection.training.video_steps.tolist() == [s.visual.shape[1] for s in samples]
    segments = np.concatenate([sample.segments.numpy() for sample in samples])
    np.testing.assert_allclose(inspection.training.event_segments, segments, rtol=1e-5)


@pytest.mark.parametrize("resize_to", [None, 32])
def test_steps_without_features_are_those_of_features(root: Path, resize_to: int | None) -> None:
    settings = {"resize_to": resize_to, "modalities": "visual"}  # the audio ends a step earlier
    with_files = collect(open_data(root, **settings), USUAL, check_pack=True)
    without = collect(open_data(root, **settings, features="none"), USUAL, check_pack=True)
    assert "There are no feature files" in without.findings[-1]
    assert (with_files.manifest is None, without.manifest is None) == (False, True)
    for split, other in zip(with_files.splits, without.splits, strict=True):
        pd.testing.assert_frame_equal(split.timing, other.timing)
        if resize_to is not None:
            assert set(split.timing["steps"]) == {32}


def test_own_frame_rates_and_audio_alone() -> None:
    videos = pd.DataFrame({"duration": [8.0, 8.0], "fps": [50.0, np.nan]}, index=["a", "b"])
    grid, audio = FeatureGrid(25, 4, 4), FeatureGrid(1, 2, 2)
    data = EventDataModule(own_fps=True, grid=grid, audio_grid=audio)
    timing = time_videos(videos, data.layout, None)
    assert timing["steps"].tolist() == [100, 50]
    assert timing["hop"].tolist() == [0.08, 0.16]
    assert timing["first"].tolist() == [0.04, 0.08]
    alone = EventDataModule(own_fps=True, grid=grid, audio_grid=audio, modalities="audio")
    assert time_videos(videos, alone.layout, None)["steps"].tolist() == [4, 4]


def test_missing_damaged_and_stray_files_are_told(root: Path) -> None:
    features = sorted((root / "av_features").glob("*_rgb.npy"))
    features[0].unlink()
    features[1].write_bytes(features[1].read_bytes()[:-1])
    (root / "av_features/nobody_rgb.npy").write_bytes(b"")
    inspection = collect(open_data(root), USUAL, check_pack=True)
    assert inspection.manifest is not None
    splits = inspection.manifest.splits
    assert sum(len(split.missing) for split in splits) == 1
    assert sum(len(split.damaged) for split in splits) == 1
    assert inspection.manifest.stray_files == ["nobody_rgb.npy"]
    assert any("cannot be used" in finding for finding in inspection.findings)
    assert inspection.whole.num_videos == 9  # lengths of the two follow from durations
    assert inspection.whole.num_unknown_lengths == 0


def test_a_wrong_grid_is_told_instead_of_stopping(root: Path) -> None:
    wrong = FeatureGrid(fps=25, stride=24, window=24)
    inspection = collect(open_data(root, grid=wrong), USUAL, check_pack=True)
    assert sum("got a contradiction" in finding for finding in inspection.findings) == 1


def test_packed_features_are_verified(root: Path) -> None:
    write_pack(root / "av_features", root / "packed")
    data = open_data(root, features="packed")
    assert "all checksums are right" in collect(data, USUAL, check_pack=True).pack
    assert collect(data, USUAL, check_pack=False).pack == ""
    shard = root / "packed/features-00001.safetensors"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(bytes(content))
    inspection = collect(open_data(root, features="packed"), USUAL, check_pack=True)
    assert any("Packed features are damaged" in finding for finding in inspection.findings)


def test_another_grid_than_when_packing_is_told(root: Path) -> None:
    write_pack(root / "av_features", root / "packed", grid=FeatureGrid(fps=25, stride=4, window=24))
    inspection = collect(open_data(root, features="packed"), USUAL, check_pack=False)
    assert sum("was packed, got" in finding for finding in inspection.findings) == 1
    assert inspection.manifest is not None


def test_an_unfinished_pack_is_told(root: Path) -> None:
    write_pack(root / "av_features", root / "packed")
    (root / "packed/pack.json").unlink()
    inspection = collect(open_data(root, features="packed"), USUAL, check_pack=True)
    assert "finish the packing" in inspection.findings[-1]
    assert inspection.manifest is None


def test_unknown_frame_rates_are_told(tmp_path: Path) -> None:
    events = [("a", 1.0, 20.0, 0), ("b", 3.0, 4.0, 1)]
    findings = inspect_events(tmp_path, events, own_fps=True).findings
    assert "The frame rate of 2 videos is unknown" in findings[-1]


def test_a_split_that_is_not_there_is_refused(root: Path) -> None:
    with pytest.raises(AnnotationError, match="training"):
        collect(open_data(root, train_split="training"), USUAL, check_pack=True)


def test_one_split_for_everything(tmp_path: Path) -> None:
    inspection = inspect_events(tmp_path, [("a", 1, 20, 0), ("b", 3, 4, 1)])
    assert len(inspection.splits) == len(inspection.tables) == 1
    assert list(inspection.training.stages) == ["fit", "validate", "test", "predict"]


def test_no_events_give_no_proposal(tmp_path: Path) -> None:
    inspection = inspect_events(tmp_path, [])
    assert inspection.proposal is None
    assert inspection.proposed_crop is None


REAL = {  # annotations; videos, events and classes with events of each split
    "unav100": (
        "unav100/unav100_annotations.json",
        [(6489, 18123, 100), (2134, 6036, 100), (2167, 5900, 100)],
    ),
    "thumos14": ("thumos14/thumos14.json", [(200, 3007, 20), (212, 3358, 20)]),
    "activitynet13": (
        "activitynet13/derived_activitynet_v1-3.json",
        [(10024, 15410, 200), (4926, 7654, 200)],
    ),
    "epic100_verb": ("epic100/derived_epic100_verb.json", [(495, 67217, 97), (138, 9668, 78)]),
    "epic100_noun": ("epic100/derived_epic100_noun.json", [(495, 67217, 289), (138, 9668, 211)]),
}


@pytest.mark.parametrize("name", REAL)
def test_real_annotations(shared: Path, name: str) -> None:
    annotations, counts = REAL[name]
    root = {"root": str(shared / "data"), "annotations": annotations}
    data = EventDataModule(**(read_data_settings(name) | root))
    inspection = collect(data, USUAL, check_pack=True)
    assert [
        (split.num_videos, split.num_events, split.num_classes) for split in inspection.splits
    ] == counts
    assert inspection.whole.num_unknown_lengths == 0
    assert inspection.levels.outside_ranges == 0
    assert sum(level.points for level in inspection.levels.levels) > 0
    if name == "unav100":
        assert inspection.whole.hours == pytest.approx(126.3, abs=0.05)
        assert inspection.whole.overlap.num_videos == 3041
        assert inspection.whole.event_seconds.mean() == pytest.approx(13.9, abs=0.05)
    if name == "thumos14":  # every CliffDiving event is also labelled Diving
        assert inspection.whole.overlap.other_class >= 2 * 360
    if name == "activitynet13":
        assert inspection.other_subsets == {"testing": 5044}
        assert (inspection.whole.event_seconds == 0).sum() == 12
    if name == "epic100_noun":
        assert inspection.whole.num_classes == 293
    if not name.startswith("epic"):  # the published levels follow from the lengths of the events
        assert inspection.proposal is not None
        assert inspection.proposal.regression_ranges == USUAL
