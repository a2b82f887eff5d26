import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jsonargparse import ArgumentParser

from davezoo.annotations import read_annotations
from davezoo.data.simulated_layout import read_layout
from davezoo.data.simulation import Simulation
from davezoo.data.synthetic import is_simulated, simulate, write_simulation
from davezoo.errors import InputError

SMALL = {
    "num_train": 5,
    "num_validation": 2,
    "num_test": 3,
    "rgb_width": 6,
    "flow_width": 5,
    "vggish_width": 4,
}


def files(folder: Path):
    return {p.name: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_layout(tmp_path, capsys):
    simulate(tmp_path / "new" / "folder", **SMALL)
    root = tmp_path / "new" / "folder"
    annotations = read_annotations(root / "annotations" / "unav100_annotations.json")
    assert annotations.videos["subset"].value_counts().to_dict() == {
        "train": 5,
        "validation": 2,
        "test": 3,
    }
    assert len(annotations.class_names) == 5
    assert not any(annotations.repairs.values())
    for video, duration in annotations.videos["duration"].items():
        rgb, flow, vggish = (
            np.load(root / "av_features" / f"{video}_{kind}.npy", allow_pickle=False)
            for kind in ("rgb", "flow", "vggish")
        )
        steps = (int(duration * 25 + 1e-6) - 24) // 8 + 1
        assert rgb.shape == (steps, 6)
        assert flow.shape == (steps, 5)
        assert abs(len(vggish) - steps) <= 2
        assert rgb.dtype == flow.dtype == vggish.dtype == np.float16
        assert np.isfinite(rgb).all()
    assert len(list((root / "av_features").iterdir())) == 30
    out = capsys.readouterr().out
    assert "10 videos" in out
    assert f"unav.yaml --data.root {root} --data.visual_width 11 --data.audio_width 4" in out
    assert is_simulated(root)
    assert not is_simulated(tmp_path)


def test_distractors_are_kept_apart_from_events_of_their_class(tmp_path):
    write_simulation(tmp_path, Simulation(**SMALL, distractors=5, num_classes=2))
    annotations = read_annotations(tmp_path / "annotations" / "unav100_annotations.json")
    content = json.loads((tmp_path / "annotations" / "distractors.json").read_text())
    assert list(content) == annotations.videos.index.tolist()
    kinds = set()
    for video, distractors in content.items():
        events = annotations.events[annotations.events["video"] == video]
        for distractor in distractors:
            kinds.add(distractor["kind"])
            start, end = distractor["segment"]
            same = events[events["label"] == distractor["label_id"]]
            assert distractor["label"] == annotations.class_names[distractor["label_id"]]
            assert ((same["end"] < start) | (same["start"] > end)).all()
            assert 0 <= start < end <= annotations.videos.loc[video, "duration"] + 0.005
    assert kinds == {"visual", "audio"}


def test_same_seed_same_bytes_in_any_order_of_work(tmp_path):
    write_simulation(tmp_path / "a", Simulation(**SMALL))
    write_simulation(tmp_path / "b", Simulation(**SMALL), splits=["test"])
    write_simulation(tmp_path / "b", Simulation(**SMALL), splits=["validation", "train"])
    write_simulation(tmp_path / "c", Simulation(**SMALL, seed=1))
    a, b, c = (files(tmp_path / name) for name in "abc")
    assert a == b
    assert a["train_00000_rgb.npy"] != c["train_00000_rgb.npy"]


def test_broken_run_is_continued(tmp_path, capsys):
    simulation = Simulation(**SMALL)
    write_simulation(tmp_path, simulation)
    before = files(tmp_path)
    (tmp_path / "av_features" / "train_00001_vggish.npy").unlink()
    times = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*_rgb.npy")}
    assert write_simulation(tmp_path, simulation) == (1, 9)
    assert files(tmp_path) == before
    rewritten = [p.name for p, when in times.items() if p.stat().st_mtime_ns != when]
    assert rewritten == ["train_00001_rgb.npy"]


def test_other_settings_are_refused(tmp_path):
    write_simulation(tmp_path, Simulation(**SMALL))
    with pytest.raises(FileExistsError, match=f"{re.escape(str(tmp_path))}.*same settings"):
        write_simulation(tmp_path, Simulation(**SMALL, seed=1))


def test_other_files_are_refused(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(FileExistsError, match="other files"):
        write_simulation(tmp_path, Simulation(**SMALL))


def test_a_folder_made_before_a_setting_existed_is_continued(tmp_path):
    simulation = Simulation(**SMALL)
    write_simulation(tmp_path, simulation)
    marker = tmp_path / "simulation.json"
    content = json.loads(marker.read_text())
    del content["longest_event"]
    marker.write_text(json.dumps(content))
    assert write_simulation(tmp_path, simulation) == (0, 10)
    with pytest.raises(FileExistsError, match="same settings"):
        write_simulation(tmp_path, Simulation(**SMALL, longest_event=9.0))


def test_limits(tmp_path):
    assert write_simulation(tmp_path, Simulation(**SMALL), None, ["test"], 2) == (2, 0)
    annotations = read_annotations(tmp_path / "annotations" / "unav100_annotations.json")
    assert annotations.videos.index.tolist() == [
        "train_00000",
        "train_00001",
        "validation_00000",
        "validation_00001",
        "test_00000",
        "test_00001",
    ]
    names = {path.name[:10] for path in (tmp_path / "av_features").iterdir()}
    assert names == {"test_00000", "test_00001"}


def measure(root, signal_to_noise, **more):
    """Project the features on the class's prototype, taken from the mean over its events."""
    simulation = Simulation(
        num_train=40,
        num_classes=1,
        rgb_width=64,
        flow_width=64,
        vggish_width=64,
        signal_to_noise=signal_to_noise,
        **more,
    )
    write_simulation(root, simulation, splits=["train"])
    annotations = read_annotations(root / "annotations" / "unav100_annotations.json")
    distractors = json.loads((root / "annotations" / "distractors.json").read_text())
    found = {"rgb": {}, "vggish": {}}
    for kind, levels in found.items():
        rows = {"event": [], "visual": [], "audio": [], "nothing": []}
        for video in annotations.split("train").videos.index:
            features = np.load(root / "av_features" / f"{video}_{kind}.npy").astype(np.float32)
            seconds = (np.arange(len(features)) * 8 + 12) / 25
            busy = np.zeros(len(features), dtype=bool)
            spans = [
                ("event", e.start, e.end)
                for e in annotations.events[annotations.events["video"] == video].itertuples()
            ] + [(d["kind"], *d["segment"]) for d in distractors[video]]
            for name, start, end in spans:
                rows[name].append(features[(seconds > start + 0.5) & (seconds < end - 0.5)])
                busy |= (seconds > start - 1.5) & (seconds < end + 1.5)
            rows["nothing"].append(features[~busy])
        means = {name: np.concatenate(parts).mean(0) for name, parts in rows.items()}
        direction = means["event"] / np.linalg.norm(means["event"])
        for name, mean in means.items():
            levels[name] = float(mean @ direction)
        levels["noise"] = float((np.concatenate(rows["nothing"]) @ direction).std())
    return found


def test_events_are_in_both_modalities_and_distractors_in_one(tmp_path):
    levels = measure(tmp_path, signal_to_noise=6.0, distractors=3.0)
    for kind, seen, hidden in (("rgb", "visual", "audio"), ("vggish", "audio", "visual")):
        assert levels[kind]["event"] == pytest.approx(6, rel=0.1)
        assert levels[kind][seen] == pytest.approx(6, rel=0.1)
        assert abs(levels[kind][hidden]) < 0.6
        assert abs(levels[kind]["nothing"]) < 0.6
        assert levels[kind]["noise"] == pytest.approx(1, rel=0.1)


def test_one_modality_cannot_tell_events_from_distractors(tmp_path):
    levels = measure(tmp_path, signal_to_noise=6.0, distractors=3.0)
    assert levels["rgb"]["visual"] == pytest.approx(levels["rgb"]["event"], rel=0.1)
    assert levels["vggish"]["audio"] == pytest.approx(levels["vggish"]["event"], rel=0.1)


def test_command_line_has_the_settings_of_the_simulation():
    parser = ArgumentParser()
    parser.add_function_arguments(simulate, as_positional=False)
    arguments = parser.parse_args(["--output", "x", "--splits", "[test]", "--rgb_width", "3"])
    assert arguments.output == Path("x")
    assert arguments.splits == ["test"]
    assert arguments.rgb_width == 3
    assert arguments.signal_to_noise == Simulation().signal_to_noise


def test_real_annotations_at_real_lengths(shared, tmp_path):
    path = shared / "data" / "unav100" / "unav100_annotations.json.gz"
    simulation = Simulation(rgb_width=1, flow_width=1, vggish_width=1)
    assert write_simulation(tmp_path, simulation, path, max_videos=4) == (12, 0)
    real = read_annotations(path)
    written = read_annotations(tmp_path / "annotations" / "unav100_annotations.json")
    for video in written.videos.index:
        duration = real.videos.loc[video, "duration"]
        steps = len(np.load(tmp_path / "av_features" / f"{video}_rgb.npy"))
        assert (steps - 1) * 8 + 24 <= duration * 25 + 1e-6
        assert steps * 8 + 24 > int(duration * 25)
        events = real.events[real.events["video"] == video].reset_index(drop=True)
        copied = written.events[written.events["video"] == video].reset_index(drop=True)
        assert copied.equals(events)


# Layouts of other data sets -----------------------------------------------------------------------

NARROW = {"visual_width": 4, "audio_width": 3}


def steps_of(duration, fps, stride, window):
    """Count windows one by one."""
    count = 0
    while count * stride + window <= int(duration * fps + 1e-6):
        count += 1
    return max(count, 1)


def test_videos_have_their_own_frame_rate_in_thumos14(tmp_path, capsys):
    simulate(tmp_path / "t", "thumos14", num_train=4, num_validation=3, **NARROW)
    source = read_annotations(tmp_path / "t/annotations/thumos14.json")
    assert source.videos["subset"].value_counts().to_dict() == {"validation": 4, "test": 3}
    assert set(source.videos["fps"]) == {30, 25, 29.97}
    for video, duration, fps in source.videos[["duration", "fps"]].itertuples():
        visual = np.load(tmp_path / f"t/i3d_features/{video}.npy")
        assert visual.shape == (steps_of(duration, fps, 4, 16), 4)
    out = capsys.readouterr().out
    words = "--data data/thumos14.yaml --config schedules/thumos14.yaml"
    assert f"{words} --data.root {tmp_path}/t --data.visual_width 4" in out


def test_audio_has_its_own_grid_and_may_be_missing(tmp_path):
    settings = {"num_train": 30, "num_validation": 0, "without_audio": 0.3}
    layout = read_layout("activitynet13", 4, 3)
    write_simulation(tmp_path, Simulation(**settings), layout=layout)
    source = read_annotations(tmp_path / "annotations/anet1.3_i3d_filtered.json")
    assert len(list((tmp_path / "i3d_features").iterdir())) == 30
    paths = {path.name: path for path in (tmp_path / "vggish_features").iterdir()}
    assert 15 <= len(paths) <= 27
    for video, duration in source.videos["duration"].items():
        if f"v_{video}.npy" in paths:
            audio = np.load(paths[f"v_{video}.npy"])
            assert abs(len(audio) - steps_of(duration, 1 / 0.96, 1, 1)) <= 3
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert write_simulation(tmp_path, Simulation(**settings), layout=layout) == (0, 30)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")} == times


def test_archives_hold_named_arrays(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        'visual_files: ["{video}.npz", "{video}.npz:flow"]\naudio_files: []\n'
        "visual_width: 5\naudio_width: 0\n"
    )
    layout = read_layout(str(tmp_path / "mine.yaml"))
    small = Simulation(num_train=1, num_validation=0, num_test=0)
    write_simulation(tmp_path / "data", small, layout=layout)
    (path,) = (tmp_path / "data/av_features").iterdir()
    with np.load(path, allow_pickle=False) as archive:
        shapes = {name: array.shape for name, array in archive.items()}
    assert set(shapes) == {"feats", "flow"}
    assert shapes["feats"][0] == shapes["flow"][0]
    assert (shapes["feats"][1], shapes["flow"][1]) == (3, 2)


def test_a_folder_of_one_layout_is_not_continued_in_another(tmp_path):
    small = Simulation(num_train=1, num_validation=1, num_test=0)
    write_simulation(tmp_path, small, layout=read_layout("thumos14", 4, 3))
    with pytest.raises(FileExistsError, match="same settings"):
        write_simulation(tmp_path, small, layout=read_layout("activitynet13", 4, 3))
    with pytest.raises(FileExistsError, match="same settings"):
        write_simulation(tmp_path, small, layout=read_layout("thumos14", 5, 3))


def test_widths_come_from_one_place(tmp_path):
    with pytest.raises(InputError, match=r"`rgb_width` without `like`.* use `visual_width`"):
        simulate(tmp_path, "thumos14", rgb_width=3)
    with pytest.raises(InputError, match="with `like`, got them alone"):
        simulate(tmp_path, visual_width=3)
    with pytest.raises(InputError, match="`max_videos` to be at least 1, got -1"):
        simulate(tmp_path, max_videos=-1)


def test_csv_layouts_need_real_files(tmp_path):
    with pytest.raises(InputError, match="name the folder of EPIC_100_train"):
        simulate(tmp_path, "epic100_verb_csv")
    (tmp_path / "a.csv").touch()
    with pytest.raises(InputError, match=r"to be the folder of .*, got the file .*a\.csv"):
        simulate(tmp_path, "epic100_verb_csv", annotations=tmp_path / "a.csv")
    with pytest.raises(FileNotFoundError, match=r"EPIC_100_train\.csv in .*copy it there"):
        simulate(tmp_path, "epic100_verb_csv", annotations=tmp_path)


def test_annotations_of_another_data_set_are_refused(tmp_path):
    write_simulation(tmp_path / "a", Simulation(**SMALL))
    path = tmp_path / "a/annotations/unav100_annotations.json"
    with pytest.raises(InputError, match=r"subsets \['training', 'validation'\], got \['test', "):
        simulate(tmp_path / "b", "activitynet13", annotations=path)


REAL = {
    "thumos14": ("thumos14/thumos14.json.gz", 200 + 212),
    "activitynet13": ("activitynet13/derived_activitynet_v1-3.json.gz", 14950),
    "epic100_verb": ("epic100/derived_epic100_verb.json.gz", 495 + 138),
    "epic100_noun": ("epic100/derived_epic100_noun.json.gz", 495 + 138),
}


@pytest.mark.parametrize("like", REAL)
def test_real_annotations_in_every_layout(shared, tmp_path, like):
    file, num_videos = REAL[like]
    real = read_annotations(shared / "data" / file)
    used = real.videos["subset"].str.lower() != "testing"
    assert used.sum() == num_videos
    layout = read_layout(like, 1, 1)
    written = write_simulation(
        tmp_path, Simulation(), shared / "data" / file, max_videos=2, layout=layout
    )
    assert written == (4, 0)
    copied = read_annotations(tmp_path / layout.annotations)
    for video in copied.videos.index:
        events = real.events[real.events["video"] == video].reset_index(drop=True)
        rows = copied.events[copied.events["video"] == video].reset_index(drop=True)
        assert rows.equals(events)


def test_real_csv_files_are_cut_to_size(shared, tmp_path):
    folder = shared / "data" / "thumos14"
    layout = read_layout("thumos14_tsp", 1, 1)
    assert write_simulation(tmp_path, Simulation(), folder, max_videos=3, layout=layout) == (6, 0)
    names = {path.stem for path in (tmp_path / "i3d_features").iterdir()}
    tables = {
        subset: pd.read_csv(tmp_path / f"annotations/thumos14_{subset}_tsp_groundtruth.csv")
        for subset in ("valid", "test")
    }
    assert {name for table in tables.values() for name in table["video-name"]} == names
    real = pd.read_csv(folder / "thumos14_test_tsp_groundtruth.csv.gz")
    kept = real[real["video-name"].isin(names)].reset_index(drop=True)
    assert tables["test"].equals(kept)
