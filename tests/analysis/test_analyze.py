"""The command: numbers and a picture of each of the four."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from davezoo.analysis.analyze import analyze
from davezoo.analysis.similarity import StepPairs
from davezoo.analysis.views import AnalysisError, read_gates, read_streams
from davezoo.checkpoints import write_checkpoint
from davezoo.cli import main
from davezoo.data import EventDataModule, Simulation
from davezoo.structures import FeatureGrid
from tests.methods.zoo import build_strong, make_batch, with_sound

VIDEOS = [
    replace(make_batch([64], [[]]), video_ids=["a"]),
    replace(make_batch([20], [[(0.0, 10.0, 1)]], padded=32, seed=3), video_ids=["b"]),
    replace(make_batch([24], [[]], padded=32, seed=2), video_ids=["c\x1b[2J"]),
]
SILENT = with_sound(replace(make_batch([30], [[]], padded=32), video_ids=["silent"]), [(0, 0)])


class FakeData:
    """Stands for a data module."""

    def __init__(self, videos: list = VIDEOS) -> None:
        self.videos = videos
        self.datasets = {}

    def setup(self, stage: str) -> None:
        assert self.eval_batch_size == 1
        self.datasets[stage] = SimpleNamespace(video_ids=[v.video_ids[0] for v in self.videos])

    def split_of(self, stage: str) -> str:
        return {"test": "test", "validate": "validation"}[stage]

    def notes(self, stage: str) -> list[str]:
        return [f"2 videos of {self.split_of(stage)} were skipped."]

    def test_dataloader(self) -> list:
        return self.videos

    def val_dataloader(self) -> list:
        return self.videos[2:]


def run(tmp_path: Path, what: str, model, videos: list = VIDEOS, **options: object) -> dict:
    write_checkpoint(tmp_path / "x.ckpt", model, {"max_length": 64})
    analyze(what, FakeData(videos), tmp_path / "x.ckpt", output=tmp_path / "out", **options)
    assert (tmp_path / f"out/{what}.png").stat().st_size > 1000
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"{what}.json", f"{what}.png"}
    return json.loads((tmp_path / f"out/{what}.json").read_text())


def test_coherence(tmp_path):
    model = build_strong("UnAV")
    numbers = run(tmp_path, "coherence", model)
    pairs = StepPairs()
    for video in VIDEOS:
        pairs.add(*read_streams(model, video), 8 / 25)
    assert {name: numbers[name] for name in pairs.by_distance()} == pairs.by_distance()
    assert numbers["num_videos"] == 3
    assert numbers["num_pairs"][0] == 64 + 20 + 24
    assert numbers["checkpoint"] == str(tmp_path / "x.ckpt")


def test_coherence_of_videos_with_steps_of_other_lengths(tmp_path):
    slow = replace(VIDEOS[2], grids=[FeatureGrid(fps=12.5, stride=8, window=24)])
    numbers = run(tmp_path, "coherence", build_strong("UnAV"), [VIDEOS[1], slow])
    assert numbers["seconds"][-1] == pytest.approx(23 * 2 * 8 / 25)


def test_similarity(tmp_path, capsys):
    model = build_strong("LoCo")
    numbers = run(tmp_path, "similarity", model, stage="validate")
    pairs = StepPairs()
    pairs.add(*read_streams(model, VIDEOS[2]), 8 / 25)
    assert numbers["mean_of_std"] == pytest.approx(pairs.stds[0])
    assert (numbers["video"], numbers["split"]) == ("c\x1b[2J", "validation")
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert f"mean_of_std: {pairs.stds[0]:.4g}\n" in printed


def test_gates_of_a_named_video(tmp_path, capsys):
    model = build_strong("CCNet")
    numbers = run(tmp_path, "gates", model, video="b")
    expected = [read_gates(model, video).values["gate from audio"] for video in VIDEOS]
    assert numbers["curves"]["gate from audio"][1] == pytest.approx(expected[1][1].tolist())
    assert numbers["seconds"][1] == pytest.approx([(16 * n + 12) / 25 for n in range(10)])
    mean = float(torch.stack([levels[0].mean() for levels in expected]).mean())
    assert numbers["mean_over_videos"]["gate from audio, level 1"] == pytest.approx(mean)
    assert "gate from audio, level 1: 0." in capsys.readouterr().out


def test_windows(tmp_path):
    numbers = run(tmp_path, "windows", build_strong("LoCo"), video="b")
    for name in ("steps that visual windows cover", "steps that audio windows move"):
        assert [len(level) for level in numbers["curves"][name]] == [3, 2, 1, 1]
    assert [len(level) for level in numbers["seconds"]] == [3, 2, 1, 1]
    assert numbers["num_videos"] == 3


@pytest.mark.parametrize("what", ["similarity", "windows"])
def test_what_is_left_out_is_counted_and_said(tmp_path, capsys, what):
    model = build_strong("LoCo", chunk_length=32, chunk_overlap=16)
    numbers = run(tmp_path, what, model, [SILENT, *VIDEOS])
    counts = [numbers[name] for name in ("num_videos", "num_without_sound", "num_in_chunks")]
    assert counts == [2, 1, 1]
    assert numbers["video"] == "b"
    assert numbers["notes"] == ["2 videos of test were skipped."]
    printed = capsys.readouterr().out
    assert "num_without_sound: 1\nnum_in_chunks: 1\n" in printed
    assert "2 videos of test were skipped.\n" in printed
    message = "'a' of split 'test' to have sound and to be read in one piece, got none .1 videos"
    with pytest.raises(AnalysisError, match=message):
        run(tmp_path, what, model, [SILENT, *VIDEOS], video="a")


def test_refusals(tmp_path):
    with pytest.raises(AnalysisError, match=r"`--data` to name a data set, got none"):
        analyze("coherence")
    with pytest.raises(AnalysisError, match=r"`--ckpt_path` for gates, got none"):
        analyze("gates", FakeData(), output=tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(AnalysisError, match=r"`--output` to name a folder, got the file .*file;"):
        analyze("coherence", FakeData(), output=tmp_path / "file")


def test_an_unknown_video_is_refused_before_the_network_runs(tmp_path):
    data = FakeData()
    data.test_dataloader = None
    with pytest.raises(AnalysisError, match=r"one of the 3 videos of split 'test' .*'bb'; .* 'b',"):
        analyze("coherence", data, video="bb", output=tmp_path)


SIMULATION = {"num_train": 1, "num_validation": 1, "num_test": 2, "max_duration": 20}
SIMULATION |= {"without_audio": 0, "flow_width": 2, "vggish_width": 4}


def test_command_reads_features_without_a_checkpoint(tmp_path, capsys):
    simulation = SIMULATION | {"rgb_width": 2}
    words = [f"--data.simulation.{name}={value}" for name, value in simulation.items()]
    words += [f"--data.root={tmp_path}/data", "--data.visual_width=4", "--data.audio_width=4"]
    words += ["--data.num_workers=0"]
    main(["analyze", "--what=coherence", *words, f"--output={tmp_path}/out"])
    numbers = json.loads((tmp_path / "out" / "coherence.json").read_text())
    assert numbers["num_videos"] == 2
    assert numbers["checkpoint"] is None
    assert all(-1 <= value <= 1 for value in numbers["mean_cosine"])
    printed = capsys.readouterr().out
    assert "num_videos: 2\n" in printed
    assert "simulated: they say nothing about real videos" in printed


def test_a_checkpoint_knows_its_data(tmp_path):
    data = EventDataModule(
        str(tmp_path / "data"),
        simulation=Simulation(rgb_width=4, **SIMULATION),
        visual_width=6,
        audio_width=4,
        max_length=64,
        length_multiple=8,
        num_workers=0,
    )
    data.prepare_data()
    write_checkpoint(tmp_path / "x.ckpt", build_strong("LoCo"), dict(data.hparams))
    words = ["analyze", "--what=windows", f"--ckpt_path={tmp_path}/x.ckpt"]
    main([*words, f"--output={tmp_path}/out"])
    assert json.loads((tmp_path / "out/windows.json").read_text())["num_videos"] == 2
    with pytest.raises(SystemExit, match="elsewhere"):
        main([*words, f"--data.root={tmp_path}/elsewhere"])
    assert not (tmp_path / "elsewhere").exists()
