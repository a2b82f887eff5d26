"""Every method on every data set: fit, test and predict, on simulated features in its layout.

Annotations are real where the real data lie beside the checkout, else drawn.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import davezoo
from davezoo.annotations import Annotations, read_annotations, write_annotations
from davezoo.cli import main
from davezoo.data import EventDataModule, Simulation
from davezoo.data.simulated_layout import read_layout
from davezoo.data.synthetic import write_simulation
from davezoo.recipes import read_data_settings

METHODS = ("unav", "ccnet", "loco", "del")
DATA_SETS = {  # and their real annotations
    "unav100": "unav100/unav100_annotations.json.gz",
    "thumos14": "thumos14/thumos14.json.gz",
    "activitynet13": "activitynet13/derived_activitynet_v1-3.json.gz",
    "epic100_verb": "epic100/derived_epic100_verb.json.gz",
    "epic100_noun": "epic100/derived_epic100_noun.json.gz",
}
SHARED = Path(os.environ.get("DAVEZOO_SHARED", Path(__file__).parents[2] / "shared")) / "data"
VISUAL_WIDTH, AUDIO_WIDTH = 12, 5
SMALL = [
    f"--data.visual_width={VISUAL_WIDTH}",
    f"--data.audio_width={AUDIO_WIDTH}",
    "--data.batch_size=2",
    "--data.num_workers=0",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
]
NARROW = [
    "--model.init_args.width=16",
    "--model.init_args.head_width=16",
    "--model.init_args.num_unimodal_blocks=1",
    "--model.init_args.regression_ranges=[[0,4],[4,16],[16,10000]]",
    "--trainer.max_epochs=1",
    "--trainer.log_every_n_steps=1",
]


@dataclass(frozen=True)
class Simulated:
    """A small data set on disk and the words that name it."""

    name: str
    root: Path
    source: Annotations

    @property
    def words(self) -> list[str]:
        """Data file, schedule and sizes, as a user gives them."""
        words = ["--data", f"data/{self.name}.yaml"]
        if self.name != "unav100":  # the recipes themselves are of UnAV-100
            words += ["--config", f"schedules/{self.name}.yaml"]
        if read_data_settings(self.name)["resize_to"] is None:
            words.append("--data.max_length=128")
        return [*words, f"--data.root={self.root}", *SMALL]


def short_videos(source: Annotations, splits: tuple[str, ...], number: int) -> Annotations:
    """Return the shortest videos with events of each split, none below 20 s, and their classes."""
    videos = source.videos[source.videos.index.isin(source.events["video"])]
    videos = videos[videos["duration"] > 20].sort_values("duration")
    used = videos["subset"].str.lower().isin([split.lower() for split in splits])
    few = source.select(videos[used].groupby("subset").head(number))
    labels, numbers = np.unique(few.events["label"], return_inverse=True)
    names = [few.class_names[label] for label in labels]
    return Annotations(few.videos, few.events.assign(label=numbers), names)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Simulated]:
    """Return what writes a data set, once."""

    @cache
    def write(name: str) -> Simulated:
        root = tmp_path_factory.mktemp(name)
        layout = read_layout(name, VISUAL_WIDTH, AUDIO_WIDTH)
        real = SHARED / DATA_SETS[name]
        path = None
        if real.is_file():
            path = tmp_path_factory.mktemp("annotations") / "few.json"
            write_annotations(short_videos(read_annotations(real), layout.splits, 3), path)
        few = Simulation(
            num_train=3,
            num_validation=3,
            num_test=3,
            min_duration=20.0,
            max_duration=60.0,
            without_audio=0.4,
        )
        write_simulation(root, few, path, layout=layout)
        return Simulated(name, root, read_annotations(root / str(layout.annotations)))

    return write


@pytest.mark.parametrize("name", DATA_SETS)
def test_steps_lie_at_their_seconds(simulated: Callable[[str], Simulated], name: str) -> None:
    """Of every video, resized or of its own frame rate: what is read ends where the video ends."""
    data = simulated(name)
    settings = read_data_settings(name) | {
        "root": str(data.root),
        "visual_width": VISUAL_WIDTH,
        "audio_width": AUDIO_WIDTH,
    }
    datamodule = EventDataModule(**settings)
    datamodule.setup("test")
    for sample in datamodule.datasets["test"]:
        num_steps = sample.visual.shape[1]
        assert sample.audio.shape == (AUDIO_WIDTH, num_steps)
        assert num_steps == (settings["resize_to"] or num_steps)
        duration = data.source.videos.loc[sample.video_id, "duration"]
        hop = settings["grid"]["stride"] / settings["grid"]["fps"]
        assert duration - 3 * hop < sample.grid.end(num_steps) <= duration + 0.01
        events = data.source.events[data.source.events["video"] == sample.video_id]
        np.testing.assert_allclose(
            sample.grid.to_seconds(sample.segments), events[["start", "end"]], atol=1e-3
        )


@pytest.mark.parametrize("name", DATA_SETS)
@pytest.mark.parametrize("method", METHODS)
def test_pair(
    simulated: Callable[[str], Simulated], tmp_path: Path, method: str, name: str
) -> None:
    data = simulated(name)
    run = f"--trainer.default_root_dir={tmp_path}"
    main(["fit", "--config", f"{method}.yaml", *data.words, *NARROW, run, "--test_after_fit=true"])

    settings = read_data_settings(name)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["protocol"]["name"] == settings["protocol"]
    assert 0 <= result["avg_map"] <= 1
    found = json.loads((tmp_path / "detections.json").read_text())["results"]
    videos = data.source.split(settings["test_split"]).videos
    assert set(found) == set(videos.index)
    for video, events in found.items():
        duration = videos.loc[video, "duration"]
        segments = np.array([event["segment"] for event in events])
        scores = np.array([event["score"] for event in events])
        assert np.isfinite(scores).all()
        assert (scores >= 0).all()
        assert (scores <= 1).all()
        assert (segments >= 0).all()
        assert (segments <= np.float32(duration)).all()
        # Untrained, but all over the video: seconds on a wrong grid would end early.
        assert segments[:, 1].max() > 0.6 * duration
    assert_predicts(data, tmp_path / "checkpoints/best.ckpt", next(iter(found)), found)


def test_external_scores_name_the_events_of_one_class(
    simulated: Callable[[str], Simulated], tmp_path: Path
) -> None:
    """ActivityNet-1.3 as in the papers: the best two classes of a video are its events'."""
    data = simulated("activitynet13")
    names = data.source.class_names
    videos = data.source.split("validation").videos.index
    rng = np.random.default_rng(0)
    scores = {video: rng.random(len(names)) for video in videos}
    content = {
        "results": {video: row.tolist() for video, row in scores.items()},
        "class": names,
    }
    path = data.root / read_data_settings("activitynet13_proposals")["video_scores"]
    path.write_text(json.dumps(content))
    words = [
        word.replace("activitynet13.yaml", "activitynet13_proposals.yaml") for word in data.words
    ]
    run = f"--trainer.default_root_dir={tmp_path}"
    main(["fit", "--config", "loco.yaml", *words, *NARROW, run, "--test_after_fit=true"])
    model = davezoo.load(tmp_path / "checkpoints/best.ckpt")
    assert model.class_names == ["event"]
    found = json.loads((tmp_path / "detections.json").read_text())["results"]
    for video in videos:
        best = {names[label] for label in np.argsort(-scores[video])[:2]}
        assert {event["label"] for event in found[video]} == best


def assert_predicts(
    data: Simulated, checkpoint: Path, video: str, found: dict[str, list[dict[str, Any]]]
) -> None:
    """Ask the model for a video from its arrays as they lie on disk: what the test found."""
    layout = read_layout(data.name)
    arrays = {}
    for file in layout.files:
        path = data.root / layout.features / file.name.replace("{video}", video)
        if path.is_file():
            array = np.load(path)
            array = array if file.member is None else array[file.member]
            arrays.setdefault(file.modality, []).append(array)
    visual, audio = (
        np.concatenate(arrays[name], axis=1) if name in arrays else None
        for name in ("visual", "audio")
    )
    model = davezoo.load(checkpoint)
    row = data.source.videos.loc[video]
    grid = replace(model.grid, fps=row["fps"]) if layout.files[0].own_fps else model.grid
    tolerance = read_data_settings(data.name)["length_tolerance"]
    events = model.predict(
        visual, audio, duration=row["duration"], grid=grid, length_tolerance=tolerance
    )
    assert len(events) == len(found[video])
    for event, expected in zip(events[:5], found[video], strict=False):
        assert event.score == pytest.approx(expected["score"], abs=1e-4)
    best, expected = events[0], found[video][0]
    assert (best.start, best.end) == pytest.approx(expected["segment"], abs=0.01)
    assert best.label == expected["label"]
