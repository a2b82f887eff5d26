"""Targets and choices of tokens against the published code's and against plain loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.nn.token_targets import (
    class_members,
    highest_scored,
    near,
    paper_negatives,
    predicted_members,
    published_negatives,
    published_targets,
)
from tests.nn.tokens import STREAMS, events, features, masked, moved

PUBLISHED_NEGATIVES = {  # best first, video by video
    "visual": [[51, 56, 42], [31], []],
    "audio": [[37], [34, 33], []],
}

ends = st.floats(-6, 14, width=32)
drawn_events = st.lists(st.tuples(ends, ends, st.integers(0, 2)), max_size=4).map(
    lambda rows: [(min(a, b), max(a, b), label) for a, b, label in rows]
)


def slow_published(rows, length, published_grid):
    """Return foreground, category and key of one video, one event after the other."""
    foreground, category, key = [False] * length, [-1] * length, [False] * length
    for start, end, label in rows:
        if published_grid:  # as float32, in which the data come
            scaled = torch.tensor([start, end]) / 1.28
        else:
            scaled = torch.tensor([max(start, 0), max(end, 0)])
        a, b = (math.trunc(x) for x in scaled.tolist())
        for step in range(length)[
            a : b if published_grid else max(b, a + 1)
        ]:  # Python's own slice, negative ends and all
            foreground[step], category[step] = True, label
        for step in range(a, b + 1):
            if -length <= step < length:
                key[step] = True
    return foreground, category, key


def slow_members(rows, length, num_classes):
    inside = [[False] * length for _ in range(num_classes)]
    for start, end, label in rows:
        for step in range(length):
            inside[label][step] = inside[label][step] or start <= step <= end
    return inside


@pytest.mark.parametrize("video", range(3))
def test_targets_equal_those_of_the_published_code(golden_tokens, video):
    """One of the events starts at 0 s, so that its key wraps around."""
    found = published_targets(
        golden_tokens.segments,
        golden_tokens.labels,
        golden_tokens.features["mask"],
        published_grid=True,
    )
    expected = golden_tokens.targets[video]
    category = found.category[video, :, None] == torch.arange(5)
    torch.testing.assert_close(found.foreground[video], expected["score"].bool())
    torch.testing.assert_close(found.key[video], expected["key"].bool())
    torch.testing.assert_close(category, expected["category"].bool())


@pytest.mark.parametrize("name", STREAMS)
def test_hard_negatives_equal_those_of_the_published_code(golden_tokens, name):
    mask = golden_tokens.features["mask"]
    targets = published_targets(golden_tokens.segments, golden_tokens.labels, mask, True)
    scores = golden_tokens.features["scores"][name]
    steps, chosen = published_negatives(
        scores, golden_tokens.features["categories"][name], targets, mask
    )
    found = [row[keep].tolist() for row, keep in zip(steps, chosen, strict=True)]
    assert found == PUBLISHED_NEGATIVES[name]


@settings(max_examples=60, deadline=None)
@given(st.lists(drawn_events, min_size=1, max_size=3), st.integers(1, 12), st.booleans())
def test_published_targets_equal_plain_loops(videos, length, published_grid):
    lengths = [max(1, length - row) for row in range(len(videos))]
    found = published_targets(*events(videos), masked(lengths, length + 1), published_grid)
    for row, (rows, own) in enumerate(zip(videos, lengths, strict=True)):
        for values, expected in zip(found, slow_published(rows, own, published_grid), strict=True):
            assert values[row, :own].tolist() == expected
            assert not (values[row, own:] > 0).any()


@pytest.mark.parametrize(
    ("published_grid", "category", "negatives"), [(False, 2, [9, 10]), (True, -1, [11])]
)
def test_an_event_within_a_step_has_its_class_there(published_grid, category, negatives):
    """Otherwise its negatives would be those of class 0."""
    annotated, mask = events([[(3.9, 3.99, 2)]]), masked([13], 13)  # 3.9 / 1.28 = 3.05
    targets = published_targets(*annotated, mask, published_grid)
    assert targets.key[0].nonzero().flatten().tolist() == [3]
    assert targets.category[0, 3] == category
    assert targets.foreground[0].nonzero().flatten().tolist() == ([] if published_grid else [3])
    predicted = torch.tensor([*[1] * 9, 2, 2, 0, 0])
    categories = torch.nn.functional.one_hot(predicted, 3).float()[None]
    chosen = published_negatives(torch.zeros(1, 13), categories, targets, mask)
    assert sorted(chosen.steps[chosen.chosen].tolist()) == negatives


@settings(max_examples=60, deadline=None)
@given(st.lists(drawn_events, min_size=1, max_size=3), st.integers(1, 12))
def test_members_equal_plain_loops(videos, length):
    lengths = [max(1, length - row) for row in range(len(videos))]
    found = class_members(*events(videos), masked(lengths, length + 1), num_classes=3)
    assert found.shape == (len(videos), 3, length + 1)
    for row, (rows, own) in enumerate(zip(videos, lengths, strict=True)):
        assert found[row, :, :own].tolist() == slow_members(rows, own, 3)
        assert not found[row, :, own:].any()


def test_near_widens_by_four_steps():
    steps = torch.zeros(2, 1, 12, dtype=torch.bool)
    steps[0, 0, 5] = True
    expected = [[False] + [True] * 9 + [False] * 2], [[False] * 12]
    assert near(steps).tolist() == list(expected)


def test_the_highest_scored_candidates_are_chosen():
    scores = torch.tensor([[0.0, 3, 2, 5, 4], [1, 2, 3, 4, 5]])
    candidates = torch.tensor([[1, 1, 1, 0, 1], [0, 0, 0, 0, 0]]).bool()
    steps, chosen = highest_scored(scores, candidates, torch.tensor([[2], [2]]), 3)
    assert steps[0, :2].tolist() == [4, 1]
    assert chosen.tolist() == [[True, True, False], [False] * 3]


@pytest.mark.parametrize(("length", "most"), [(1, 0), (2, 0), (7, 1), (24, 3), (25, 3), (26, 4)])
def test_published_negatives_are_an_eighth_of_all_but_the_last_step(length, most):
    """(L - 1) / 8, rounded up; steps 0 to 4 are the event and its margin."""
    targets = published_targets(*events([[(0, 0.5, 1)]]), masked([length], 30), True)
    scores = torch.arange(30.0)[None]
    categories = torch.zeros(1, 30, 3)  # class 0: as published, the event has no category
    steps, chosen = published_negatives(scores, categories, targets, masked([length], 30))
    best_first = list(range(length - 2, 4, -1))
    assert steps[chosen].tolist() == best_first[:most]
    assert len(best_first[:most]) == most


def test_positives_of_the_paper_fall_back_on_the_annotation():
    members = torch.tensor([[[1, 1, 1, 0]], [[1, 1, 0, 0]]]).bool()
    agrees = torch.tensor([[[1, 0, 1, 1]], [[0, 0, 1, 1]]]).bool()
    scores = torch.tensor([[1.0, 1, -1, 1], [1, 1, 1, 1]])
    found = predicted_members(members, agrees, scores)
    assert found.int().tolist() == [[[1, 0, 0, 0]], [[1, 1, 0, 0]]]


def test_negatives_of_the_paper_prefer_high_scores():
    """Both videos: class on step 0, margin to step 4, 20 steps, at most two negatives."""
    members = torch.zeros(2, 1, 24, dtype=torch.bool)
    members[:, :, 0] = True
    agrees = torch.ones_like(members)
    agrees[:, :, 10] = False
    scores = torch.full((2, 24), -3.0)
    scores[:, 10] = 9  # another class
    scores[:, 4] = 9  # too close
    scores[:, 21] = 9  # padding
    scores[0, 12] = 1
    scores[1, [12, 14, 7]] = torch.tensor([-1.0, -2, -2.5])
    steps, chosen = paper_negatives(members, agrees, scores, masked([20, 20], 24))
    assert steps[0, 0][chosen[0, 0]].tolist() == [12]  # alone above one half
    assert steps[1, 0][chosen[1, 0]].tolist() == [12, 14]  # none is: the best two


def test_targets_need_no_values():
    """On the meta device there are none: no shape may depend on them."""
    inputs = moved(features([9, 4]), "meta")
    segments, labels = (x.to("meta") for x in events([[(0, 3, 1)], []]))
    targets = published_targets(segments, labels, inputs["mask"])
    scores, categories = inputs["scores"]["visual"], inputs["categories"]["visual"]
    chosen = published_negatives(scores, categories, targets, inputs["mask"])
    assert chosen.steps.shape == (2, 1)
