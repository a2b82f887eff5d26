"""Events found and lost through each modality."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

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


def found_by_loops(events, detections, threshold):
    """Events that the G best-scored detections of their class with G events find."""
    num_events, hits, rank = Counter(event[1] for event in events), set(), Counter()
    ranked = reference.rank(events, detections)
    found = reference.find(events, ranked, threshold)
    for detection, event in zip(ranked, found, strict=True):
        if rank[detection[1]] < num_events[detection[1]]:
            hits.add(event)
        rank[detection[1]] += 1
    return hits


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**30))
def test_counts_are_those_of_plain_loops(seed):
    events, both = reference.make_problem(seed)
    runs = [both, *(reference.make_problem(seed + place)[1] for place in (1, 2))]
    arrays = reference.to_arrays(events)
    matches = [match(arrays, reference.to_arrays(run), (0.3, 0.5)) for run in runs]
    joint, audio, visual = (found_by_loops(events, run, 0.5) for run in runs)
    table = {label: ([0] * 4, [0] * 4) for label in ("all", *(NAMES[e[1]] for e in events))}
    for index, event in enumerate(events):
        for label in ("all", NAMES[event[1]]):
            column = (index in audio) + 2 * (index in visual)
            table[label][index not in joint][column] += 1
    counts = compare_modalities(*matches, 1, NAMES)
    assert {c.label: (c.num_found, c.num_lost) for c in counts} == table
    assert counts[0].num_events == len(events)
