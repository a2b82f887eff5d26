"""The figures of a diagnosis for a report: what they show, what their captions say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.diagnosis.diagnose import diagnose_detections
from davezoo.diagnosis.figures import draw_figures
from tests.diagnosis.reference import read_svg
from tests.evaluation.report_pages import HOSTILE
from tests.evaluation.tables import as_predictions, make_annotations, make_predictions

EVENTS = [("v", 0, (0, 4)), ("v", 1, (2, 30)), ("w", 0, (5, 9)), ("w", 2, (0, 90))]
DETECTIONS = [
    ("v", 0, (0, 5), 0.9),
    ("v", 1, (3, 29), 0.8),
    ("v", 2, (0, 4), 0.95),
    ("w", 0, (7, 9), 0.6),
    ("elsewhere", 0, (0, 4), 0.5),
]
DURATIONS, RANKS, COSTS, BOUNDARIES, CONFUSIONS, HARD = (
    "Correctly localized events by duration",
    "What detections are, by rank",
    "What each type of false positive costs",
    "Where the boundaries lie",
    "Which classes are taken for which",
    "Which events are hard",
)


def figures(events, detections, names=("a", "b", "c")):
    annotations = make_annotations(events, class_names=names)
    table = make_predictions(detections, class_names=names)
    diagnosis = diagnose_detections(annotations, table)
    return {figure.title: figure for figure in draw_figures(diagnosis)}, diagnosis


def words_of(figure):
    """All texts of a picture."""
    return [text for name, text in read_svg(figure.image) if name == "text"]


def test_captions_say_the_numbers():
    found, diagnosis = figures(EVENTS, DETECTIONS)
    assert list(found) == [DURATIONS, RANKS, COSTS, BOUNDARIES, CONFUSIONS, HARD]
    assert "(0, 5]: 50.0 and 100.0 % of 2; (20, 60]: 100.0 and 100.0 % of 1; over 60: 0.0 and" in (
        found[DURATIONS].caption
    )
    # Of the first G, 4 detections: two of class a, one of b, one of c.
    assert "true positive 75.0 %, double detection 0.0 %, wrong label 25.0 %" in (
        found[RANKS].caption
    )
    gain = diagnosis.errors.gains["wrong label"]
    assert f"wrong label {100 * gain:+.2f}" in found[COSTS].caption
    assert "of the 3 true positives at tIoU 0.5" in found[BOUNDARIES].caption
    assert "onset +1.00 s" in found[BOUNDARIES].caption  # of 0, 1 and 2 s
    assert "the 1 most frequent of 1 pairs" in found[CONFUSIONS].caption
    assert "Most often (1) \u201ca\u201d is detected as \u201cc\u201d." in (
        found[CONFUSIONS].caption
    )
    whole = [entry.avg_map_n for entry in diagnosis.sensitivities[0].scores]
    assert f"by duration, s: {100 * min(whole):.1f} at over 60, " in found[HARD].caption


def test_pictures_show_what_captions_say():
    found, _ = figures(EVENTS, DETECTIONS)
    assert words_of(found[DURATIONS])[:6] == [
        "(0, 5]",
        "50.0",
        "100.0",
        "(20, 60]",
        "100.0",
        "100.0",
    ]
    assert words_of(found[CONFUSIONS])[:2] == ["a as c", "1"]
    assert "(0, 5] (2)" in words_of(found[HARD])


def test_what_is_empty_is_left_out():
    found, _ = figures(EVENTS, [])
    assert list(found) == [DURATIONS, RANKS, COSTS, HARD]
    perfect = diagnose_detections(
        make_annotations(EVENTS), as_predictions(make_annotations(EVENTS))
    )
    titles = [figure.title for figure in draw_figures(perfect)]
    assert titles == [DURATIONS, RANKS, COSTS, BOUNDARIES, HARD]


@pytest.mark.parametrize("hostile", [*HOSTILE, "dog\ud800\u202e\ufffe\x0b"])
def test_hostile_labels_stay_text(hostile):
    found, _ = figures(EVENTS, DETECTIONS, (hostile, "b", "c"))
    plain, _ = figures(EVENTS, DETECTIONS)
    for title, figure in found.items():
        names = [name for name, _ in read_svg(figure.image)]
        assert names == [name for name, _ in read_svg(plain[title].image)]
        assert figure.caption.isprintable()  # nothing turns the rest of the words around


def test_many_classes_do_not_make_large_pictures():
    """A protocol such as epic100-action has thousands of classes."""
    count = 800
    events = [(f"{label}", label, (0.0, 1.0)) for label in range(count)]
    detections = [(f"{label}", (label + 1) % count, (0.0, 1.0), 0.5) for label in range(count)]
    found, diagnosis = figures(events, detections, [f"class {label}" for label in range(count)])
    assert len(diagnosis.confusions) == count
    assert sum(len(figure.image) for figure in found.values()) < 60_000


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_every_picture_is_a_document_without_nan(seed):
    rng = np.random.default_rng(seed)

    def segments(count):
        starts = rng.integers(0, 50, count)
        ends = starts + rng.integers(0, 40, count)
        return np.stack([starts, ends], axis=1).tolist()

    events = [("v", int(rng.integers(3)), segment) for segment in segments(rng.integers(1, 9))]
    detections = [
        ("v", int(rng.integers(3)), segment, float(rng.integers(9)) / 8)
        for segment in segments(rng.integers(0, 9))
    ]
    for figure in figures(events, detections)[0].values():
        read_svg(figure.image)
        assert b"nan" not in figure.image
        assert "nan" not in figure.caption
