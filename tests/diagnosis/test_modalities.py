"""Events found and lost through each modality."""

from __future__ import annotations

from davezoo.diagnosis.matches import match
from davezoo.diagnosis.modalities import FOUND_BY, compare_modalities
from tests.diagnosis import reference

NAMES = ["dog", "cat", "bell"]
EVENTS = [(video, 0, (0.0, 4.0)) for video in range(8)] + [(8, 2, (0.0, 4.0))]


def run(videos):
    """Matches of a run that finds the events of some videos, and looks into one without."""
    rows = [(video, 0 if video < 8 else 2, (0.0, 4.0), 0.9) for video in videos]
    rows.append((99, 0, (0.0, 4.0), 0.1))
    return match(reference.to_arrays(EVENTS), reference.to_arrays(rows), (0.5,))


def test_all_eight_combinations():
    """Video 0 is found by no run, 1 by audio, 2 by visual, 3 by both alone; 4 to 7 also jointly."""
    both, audio, visual = run([4, 5, 6, 7, 8]), run([1, 3, 5, 7]), run([2, 3, 6, 7])
    whole, dog, bell = compare_modalities(both, audio, visual, 0, NAMES)
    assert FOUND_BY == ("neither alone", "audio alone", "visual alone", "each alone")
    assert (dog.label, dog.num_found, dog.num_lost) == ("dog", [1, 1, 1, 1], [1, 1, 1, 1])
    assert (bell.label, bell.num_found, bell.num_lost) == ("bell", [1, 0, 0, 0], [0, 0, 0, 0])
    assert (whole.label, whole.num_found, whole.num_lost) == ("all", [2, 1, 1, 1], [1, 1, 1, 1])
    assert (whole.num_events, whole.num_gained, whole.num_lost_by_joining) == (9, 2, 3)


def test_a_run_without_detections_finds_nothing():
    nothing = run([])
    whole, *_ = compare_modalities(run(range(9)), nothing, nothing, 0, NAMES)
    assert (whole.num_found, whole.num_lost) == ([9, 0, 0, 0], [0, 0, 0, 0])
