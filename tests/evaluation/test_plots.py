"""Pictures: what is drawn and written, read back from the figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from davezoo.evaluation.plots import precision_recall, timeline

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = [
    {"segment": [5.0, 9.0], "label": "dog"},
    {"segment": [1.0, 4.0], "label": "cat"},
]
DETECTIONS = [
    {"segment": [1.5, 4.0], "label": "cat", "score": 0.4},
    {"segment": [6.0, 7.0], "label": "bell", "score": 0.9},
    {"segment": [0.0, 9.5], "label": "dog", "score": 0.1},
]


def labels(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_yticklabels()]


def bars(figure: Any) -> list[tuple[float, float]]:
    return [(p.get_x(), p.get_x() + p.get_width()) for p in figure.axes[0].patches]


def test_timeline_rows_and_bars() -> None:
    figure = timeline(DETECTIONS, 10.0, EVENTS, min_score=0.3, title="video 0")
    assert labels(figure) == ["cat", "dog", "bell"]  # by first start, then by score
    assert bars(figure) == [(1.0, 4.0), (5.0, 9.0), (6.0, 7.0), (1.5, 4.0)]
    assert figure.axes[0].get_xlim() == (0.0, 10.0)
    assert figure.axes[0].get_title(loc="left").startswith("video 0: 2 of 3 detections")


@pytest.mark.parametrize(("min_score", "count"), [(0.0, 3), (0.4, 2), (0.5, 1), (1.0, 0)])
def test_min_score_is_inclusive(min_score: float, count: int) -> None:
    assert len(bars(timeline(DETECTIONS, 10.0, min_score=min_score))) == count


def test_detections_lie_below_events_of_their_class_and_fade_with_score() -> None:
    patches: Any = timeline(DETECTIONS, 10.0, EVENTS, min_score=0.0).axes[0].patches
    cat_event, dog_event, bell, cat, dog = patches
    assert cat_event.get_y() + cat_event.get_height() < cat.get_y() < 1.0
    assert dog_event.get_y() + dog_event.get_height() < dog.get_y() < 2.0
    alphas = [patch.get_facecolor()[3] for patch in (bell, cat, dog)]
    assert alphas == sorted(alphas, reverse=True)
    assert len(set(alphas)) == 3


def test_timeline_of_nothing_draws(tmp_path: Path) -> None:
    timeline([], 3.0, path=tmp_path / "empty.png")
    assert (tmp_path / "empty.png").stat().st_size > 0


@pytest.mark.parametrize("label", ["$\\nosuch{$", "<script>alert(1)</script>", "a_b^c", "x" * 300])
def test_labels_are_taken_literally(tmp_path: Path, label: str) -> None:
    path = tmp_path / "new" / "picture.svg"
    figure = timeline([{"segment": [0.0, 1.0], "label": label, "score": 1.0}], 2.0, path=path)
    assert labels(figure)[0].removesuffix("…") in label
    assert len(labels(figure)[0]) <= 40
    assert "<script>" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")]
)
def test_format_follows_the_suffix(tmp_path: Path, suffix: str, start: bytes) -> None:
    path = tmp_path / f"curve{suffix}"
    timeline(DETECTIONS, 10.0, EVENTS, path=path)
    assert path.read_bytes().startswith(start)


def test_no_global_state_is_left_behind() -> None:
    import matplotlib.pyplot as plt

    timeline(DETECTIONS, 10.0, EVENTS)
    assert plt.get_fignums() == []


def test_curve_of_each_threshold(tmp_path: Path) -> None:
    path = tmp_path / "new/curves.png"
    figure = precision_recall([0.0, 0.5, 1.0], {0.5: [1.0, 0.5, 0.0], 0.1: [1.0, 1.0, 0.7]}, path)
    lines = figure.axes[0].get_lines()
    assert [line.get_label() for line in lines] == ["tIoU 0.1 (area 90.0)", "tIoU 0.5 (area 50.0)"]
    assert list(lines[1].get_ydata()) == [1.0, 0.5, 0.0]
    assert path.read_bytes().startswith(b"\x89PNG")
