"""The command: numbers and a picture of each of the four."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from davezoo.analysis.analyze import analyze
from davezoo.analysis.similarity import StepPairs
from davezoo.analysis.views import AnalysisError, read_gates, read_streams
from davezoo.checkpoints import write_checkpoint
from davezoo.cli import main
from tests.methods.zoo import build_strong, make_batch

BATCHES = [
    replace(make_batch([64, 40], [[], []]), video_ids=["a", "b"]),
    replace(make_batch([24], [[]], seed=2), video_ids=["c\x1b[2J"]),
]


class Videos:
    """Stands for a data module."""

    def setup(self, stage: str) -> None:
        assert stage in ("test", "validate")

    def test_dataloader(self) -> list:
        return BATCHES

    def val_dataloader(self) -> list:
        return BATCHES[1:]


def run(tmp_path: Path, what: str, variant: str, **options: object) -> tuple[dict, object]:
    model = build_strong(variant)
    write_checkpoint(tmp_path / "x.ckpt", model, {"max_length": 64})
    analyze(what, Videos(), tmp_path / "x.ckpt", output=tmp_path / "out", **options)
    assert (tmp_path / f"out/{what}.png").stat().st_size > 1000
    return json.loads((tmp_path / f"out/{what}.json").read_text()), model


def test_coherence(tmp_path):
    numbers, model = run(tmp_path, "coherence", "UnAV")
    pairs = StepPairs.empty()
    for batch in BATCHES:
        for video in zip(*read_streams(model, batch), strict=True):
            pairs.add(*video)
    assert numbers["num_videos"] == 3
    assert numbers["mean_cosine"] == pytest.approx(pairs.means)
    assert numbers["seconds"][:2] == pytest.approx([0, 8 / 25])
    assert numbers["num_pairs"][0] == 64 + 40 + 24


def test_similarity(tmp_path, capsys):
    numbers, model = run(tmp_path, "similarity", "LoCo", stage="validate")
    pairs = StepPairs.empty()
    pairs.add(*(stream[0] for stream in read_streams(model, BATCHES[1])))
    assert numbers["mean_of_std"] == pytest.approx(pairs.stds[0])
    assert numbers["video"] == "c\x1b[2J"
    assert "\x1b" not in capsys.readouterr().out


def test_gates_of_a_named_video(tmp_path, capsys):
    numbers, model = run(tmp_path, "gates", "CCNet", video="b")
    gates = read_gates(model, BATCHES[0])
    lengths = [40, 20, 10, 5]
    assert {name: [len(c) for c in of] for name, of in numbers["curves"].items()} == {
        "visual": lengths,
        "audio": lengths,
    }
    assert numbers["curves"]["audio"][1] == pytest.approx(gates["audio"][1][1, :20].tolist())
    assert numbers["level_seconds"] == pytest.approx([0.32, 0.64, 1.28, 2.56])
    other = read_gates(model, BATCHES[1])["audio"][0][0, :24].mean()
    means = [gates["audio"][0][0].mean(), gates["audio"][0][1, :40].mean(), other]
    mean = float(torch.stack(means).mean())
    assert numbers["mean_over_videos"]["audio, level 1"] == pytest.approx(mean)
    assert "audio, level 1: 0." in capsys.readouterr().out


def test_windows(tmp_path):
    numbers, _ = run(tmp_path, "windows", "LoCo", video="b")
    assert [len(c) for c in numbers["curves"]["visual"]] == [5, 3, 2, 1]  # windows of 8 steps
    assert numbers["num_videos"] == 3


def test_refusals(tmp_path):
    with pytest.raises(AnalysisError, match=r"`--data` to name a data set, got none"):
        analyze("coherence")
    with pytest.raises(AnalysisError, match=r"`--ckpt_path` for gates, got none"):
        analyze("gates", Videos())
    with pytest.raises(AnalysisError, match=r"Expected video 'z' .* got none; .*--stage"):
        run(tmp_path, "windows", "LoCo", video="z")


def test_command_reads_features_without_a_checkpoint(tmp_path, capsys):
    simulation = {"num_train": 1, "num_validation": 1, "num_test": 2, "max_duration": 20}
    simulation |= {"rgb_width": 2, "flow_width": 2, "vggish_width": 4, "without_audio": 0}
    words = [f"--data.simulation.{name}={value}" for name, value in simulation.items()]
    words += [f"--data.root={tmp_path}/data", "--data.visual_width=4", "--data.audio_width=4"]
    words += ["--data.num_workers=0"]
    main(["analyze", "--what=coherence", *words, f"--output={tmp_path}/out"])
    numbers = json.loads((tmp_path / "out" / "coherence.json").read_text())
    assert (numbers["num_videos"], numbers["num_videos_skipped"]) == (2, 0)
    assert all(-1 <= value <= 1 for value in numbers["mean_cosine"])
    assert "num_videos: 2\n" in capsys.readouterr().out
