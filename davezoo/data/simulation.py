"""What simulated videos hold: their settings, events and distractors; files are `synthetic`'s.

Events of several classes may overlap. Distractors have the looks or the sound of an event, never
both, and no annotation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from davezoo.annotations import Annotations
from davezoo.errors import InputError

Event = tuple[float, float, int]  # start and end in seconds, class index
Distractors = dict[str, list[tuple[str, float, float, int]]]  # by video; `visual` or `audio` first

_FRAME_RATES = (30, 25, 29.97)
_CLASSES = ("dog bark", "drum solo", "man speech", "rain", "church bell", "skateboarding", "piano")


@dataclass(frozen=True)
class Simulation:
    """What to simulate.

    Args:
        num_train: training videos (of generated annotations).
        num_validation: validation videos (of generated annotations).
        num_test: test videos (of generated annotations).
        num_classes: classes (of generated annotations).
        min_duration: shortest video in seconds (of generated annotations).
        max_duration: longest video in seconds (of generated annotations).
        max_events: most events in a video (of generated annotations).
        shortest_event: least length of events and distractors in seconds.
        longest_event: greatest length in seconds; null for half of each video.
        distractors: mean number of distractors in a video, heard but not seen or the reverse.
        signal_to_noise: amplitude of an event along its prototype, in standard deviations of the
            noise along it; lower is harder. Every event varies around it by up to 30 %.
        without_audio: share of videos without audio files, in data sets that may lack them.
        rgb_width: channels of UnAV-100's `<id>_rgb.npy`.
        flow_width: channels of its `<id>_flow.npy`.
        vggish_width: channels of its `<id>_vggish.npy`.
        dtype: number format on disk.
        seed: same seed, same data; each video has its own stream, whatever is made before it.
    """

    num_train: int = 64
    num_validation: int = 24
    num_test: int = 24
    num_classes: int = 5
    min_duration: float = 15.0
    max_duration: float = 40.0
    max_events: int = 4
    shortest_event: float = 1.5
    longest_event: float | None = None
    distractors: float = 1.5
    signal_to_noise: float = 4.0
    without_audio: float = 0.1
    rgb_width: int = 1024
    flow_width: int = 1024
    vggish_width: int = 128
    dtype: Literal["float16", "float32"] = "float16"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that describe no data.

        Raises:
            ValueError: if a number is out of bounds.
        """
        at_least_0 = ["num_train", "num_validation", "num_test", "distractors", "signal_to_noise"]
        at_least_1 = ["num_classes", "max_events", "rgb_width", "flow_width", "vggish_width"]
        bounds = dict.fromkeys(at_least_0, 0) | dict.fromkeys(at_least_1, 1)
        for name, least in bounds.items():
            if not least <= getattr(self, name) < np.inf:
                raise InputError(
                    f"Expected `{name}` to be a number of at least {least}, got "
                    f"{getattr(self, name)}; correct it."
                )
        times = (2 * self.shortest_event, self.min_duration, self.max_duration)
        if not 0 < times[0] <= times[1] <= times[2] < np.inf:
            raise InputError(
                "Expected 0 < 2 `shortest_event` <= `min_duration` <= `max_duration`, got "
                f"{self.shortest_event}, {self.min_duration} and {self.max_duration} seconds; "
                "correct them."
            )
        if self.longest_event is not None and self.longest_event < self.shortest_event:
            raise InputError(
                f"Expected `longest_event` to be at least `shortest_event`, got "
                f"{self.longest_event} and {self.shortest_event} seconds; correct them."
            )
        if not 0 <= self.without_audio <= 1:
            raise InputError(
                f"Expected `without_audio` to be a share from 0 to 1, got {self.without_audio}; "
                "correct it."
            )


def random_stream(*key: object) -> np.random.Generator:
    """Return the random stream of a key: the same in every process and order of work."""
    digest = hashlib.sha256("\n".join(map(str, key)).encode()).digest()
    return np.random.Generator(np.random.SFC64(int.from_bytes(digest)))


def draw_annotations(
    simulation: Simulation, subsets: Sequence[str] = ("train", "validation", "test")
) -> Annotations:
    """Draw videos and their events.

    Args:
        simulation: what to draw.
        subsets: names of the subsets to train, validate and test on; of those that are equal only
            the first has videos.

    Returns:
        The annotations; each video with one of the usual frame rates.
    """
    num_videos = (simulation.num_train, simulation.num_validation, simulation.num_test)
    subset_sizes: dict[str, int] = {}
    for subset, number in zip(subsets, num_videos, strict=True):
        subset_sizes.setdefault(subset, number)
    names = [*_CLASSES, *(f"class {index}" for index in range(len(_CLASSES), 10_000))]
    videos, events = [], []
    for subset, number in subset_sizes.items():
        for index in range(number):
            video = f"{subset}_{index:05d}"
            rng = random_stream(simulation.seed, "annotations", video)
            duration = round(rng.uniform(simulation.min_duration, simulation.max_duration), 2)
            videos.append((video, subset, duration, float(_FRAME_RATES[index % 3])))
            # The first events go through all classes: none stays without an event.
            first = [index % simulation.num_classes]
            placed = _place_events(simulation, rng, 1, duration, first, [])
            more = int(rng.integers(simulation.max_events))
            labels = range(simulation.num_classes)
            placed += _place_events(simulation, rng, more, duration, labels, placed)
            events += [(video, *event) for event in sorted(placed)]
    table = pd.DataFrame(videos, columns=["video", "subset", "duration", "fps"]).set_index("video")
    return Annotations(
        table,
        pd.DataFrame(events, columns=["video", "start", "end", "label"]),
        names[: simulation.num_classes],
    )


def _place_events(
    simulation: Simulation,
    rng: np.random.Generator,
    wanted: int,
    duration: float,
    labels: Sequence[int],
    taken: Iterable[Event],
) -> list[Event]:
    """Draw (start, end, label) so that equal labels stay a second apart, also from `taken`.

    Events of different classes may overlap, as in UnAV-100. An event that finds no place in ten
    trials is not planted.
    """
    shortest = simulation.shortest_event
    longest = min(simulation.longest_event or duration / 2, duration)
    log_lengths = np.log(shortest), np.log(max(longest, shortest))
    placed: list[Event] = []
    for _ in range(wanted):
        for _ in range(10):
            length = np.exp(rng.uniform(*log_lengths))  # as many of 2 to 4 s as of 10 to 20 s
            start = rng.uniform(0, max(duration - length, 0))
            label = labels[int(rng.integers(len(labels)))]
            start, end = round(start, 2), round(min(start + length, duration), 2)
            apart = all(
                label != other or end + 1 < other_start or other_end + 1 < start
                for other_start, other_end, other in [*placed, *taken]
            )
            if apart and end > start:
                placed.append((start, end, label))
                break
    return placed


def draw_distractors(simulation: Simulation, source: Annotations) -> Distractors:
    """Draw (kind, start, end, label) of each video's distractors; kind is `visual` or `audio`."""
    if not source.class_names:
        return {video: [] for video in source.videos.index}
    taken = events_by_video(source)
    labels = range(len(source.class_names))
    distractors = {}
    for video, duration in source.videos["duration"].items():
        rng = random_stream(simulation.seed, "distractors", video)
        wanted = int(rng.poisson(simulation.distractors))
        placed = _place_events(simulation, rng, wanted, duration, labels, taken[str(video)])
        kinds = ["visual" if seen else "audio" for seen in rng.random(len(placed)) < 0.5]
        distractors[str(video)] = [(k, *event) for k, event in zip(kinds, placed, strict=True)]
    return distractors


def describe_distractors(
    distractors: Distractors, class_names: list[str]
) -> dict[str, list[dict[str, Any]]]:
    """Return the distractors in the form of annotations, with their `kind`."""
    return {
        video: [
            {"kind": kind, "segment": [start, end], "label": class_names[label], "label_id": label}
            for kind, start, end, label in events
        ]
        for video, events in distractors.items()
    }


def events_by_video(source: Annotations) -> dict[str, list[Event]]:
    """Return (start, end, label) of each video's events."""
    found: dict[str, list[Event]] = {v: [] for v in source.videos.index}
    columns = (source.events[name].tolist() for name in ("video", "start", "end", "label"))
    for video, *event in zip(*columns, strict=True):
        found[video].append(tuple(event))
    return found
