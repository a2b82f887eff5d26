import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.ops.fusion import label_proposals

# Quarters, so that products are exact and ties occur.
quarters = st.integers(0, 8).map(lambda number: number / 4)


def slow_labels(segments, scores, video_labels, video_scores, max_proposals):
    """Each class with each proposal, sorted by score; Python's sort keeps the order of ties."""
    best = sorted(range(len(scores)), key=lambda index: -scores[index])[:max_proposals]
    segments, scores = ([column[index] for index in sorted(best)] for column in (segments, scores))
    events = [
        (segment, label, math.sqrt(video_score * score))
        for label, video_score in zip(video_labels, video_scores, strict=True)
        for segment, score in zip(segments, scores, strict=True)
    ]
    return sorted(events, key=lambda event: -event[2])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(quarters, quarters, quarters), max_size=6),
    st.lists(st.tuples(st.integers(0, 9), quarters), max_size=3),
    st.integers(0, 8),
)
def test_equals_the_slow_rule(proposals, classes, max_proposals):
    segments = [[start, start + length] for start, length, _ in proposals]
    scores = [score for *_, score in proposals]
    labels, video_scores = [label for label, _ in classes], [score for _, score in classes]
    found = label_proposals(
        torch.tensor(segments, dtype=torch.float64).reshape(-1, 2),
        torch.tensor(scores, dtype=torch.float64),
        torch.tensor(labels, dtype=torch.int64),
        torch.tensor(video_scores, dtype=torch.float64),
        max_proposals,
    )
    expected = slow_labels(segments, scores, labels, video_scores, max_proposals)
    assert found.segments.tolist() == [segment for segment, *_ in expected]
    assert found.labels.tolist() == [label for _, label, _ in expected]
    assert found.scores.tolist() == pytest.approx([score for *_, score in expected], abs=1e-15)


def test_two_classes_double_the_proposals():
    segments, scores = torch.tensor([[0.0, 4.0], [2.0, 3.0]]), torch.tensor([0.81, 0.01])
    found = label_proposals(segments, scores, torch.tensor([5, 2]), torch.tensor([0.64, 0.04]), 9)
    assert found.labels.tolist() == [5, 2, 5, 2]
    assert found.segments.tolist() == [[0, 4], [0, 4], [2, 3], [2, 3]]
    torch.testing.assert_close(found.scores, torch.tensor([0.72, 0.18, 0.08, 0.02]))


def test_types_of_the_proposals_are_kept():
    found = label_proposals(
        torch.zeros(1, 2), torch.ones(1), torch.tensor([1]), torch.ones(1).double(), 1
    )
    assert (found.scores.dtype, found.labels.dtype) == (torch.float32, torch.int64)
