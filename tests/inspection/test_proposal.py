"""The rules of the proposed settings."""

from __future__ import annotations

import math
import shlex
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davezoo.cli import main
from davezoo.inspection.proposal import MOST_LEVELS, Proposal, propose
from tests.nn.tiny import TinyDetector

lengths = st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=30).map(np.array)


@given(lengths.map(np.ceil), lengths, st.none() | st.integers(1, 5000))
def test_proposals_are_valid(videos: np.ndarray, events: np.ndarray, resize_to: int | None) -> None:
    proposal = propose(videos, events, resize_to)
    assert proposal is not None
    ranges = proposal.regression_ranges
    assert ranges[0][0] == 0
    assert all(low < high for low, high in ranges)
    assert all(low[1] == high[0] for low, high in pairwise(ranges))
    assert all(math.log2(low).is_integer() for low, _ in ranges[1:])
    assert 1 <= len(ranges) <= MOST_LEVELS
    assert ranges[-1][1] > events.max()  # every event lies in some range
    assert proposal.length_multiple == 2 ** (len(ranges) - 1)
    assert proposal.max_length % proposal.length_multiple == 0
    assert proposal.max_length >= max(proposal.length_multiple, resize_to or 1)


@given(lengths.map(np.ceil), lengths)
def test_detectors_accept_proposals(videos: np.ndarray, events: np.ndarray) -> None:
    proposal = propose(videos, events)
    assert proposal is not None
    detector = TinyDetector(
        strides=[2**level for level in range(len(proposal.regression_ranges))],
        regression_ranges=proposal.regression_ranges,
        max_length=proposal.max_length,
    )
    detector.check_batching(proposal.length_multiple, proposal.max_length)


def test_published_ranges_follow_from_events_like_those_of_unav100() -> None:
    videos = np.full(100, 160.0)
    events = np.geomspace(3, 180, 1000)
    proposal = propose(videos, events)
    assert proposal is not None
    assert proposal.max_length == 160
    assert proposal.regression_ranges == [
        (0, 4), (4, 8), (8, 16), (16, 32), (32, 64), (64, 10000)
    ]  # fmt: skip


def test_long_videos_are_cropped_unless_events_need_more() -> None:
    videos = np.full(10, 9000.0)
    assert propose(videos, np.full(10, 20.0)).max_length == 2304  # type: ignore[union-attr]
    assert propose(videos, np.full(10, 3000.0)).max_length >= 3000  # type: ignore[union-attr]


def test_resized_videos_have_the_length_they_are_resized_to() -> None:
    proposal = propose(np.full(10, 192.0), np.full(10, 60.0), resize_to=192)
    assert proposal is not None
    assert proposal.max_length == 192


def test_nothing_is_proposed_from_nothing() -> None:
    nothing, one = np.array([np.nan]), np.array([10.0])
    assert propose(nothing, one) is None
    assert propose(one, np.zeros(3)) is None


def test_options_can_be_pasted() -> None:
    words = shlex.split(Proposal(64, 2, [(0, 4), (4, 10000)]).options)
    assert words == [
        "--data.max_length=64",
        "--data.length_multiple=2",
        "--model.init_args.regression_ranges=[[0,4],[4,10000]]",
    ]


def test_a_recipe_accepts_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    proposal = propose(np.full(10, 100.0), np.geomspace(1, 90, 50))
    assert proposal is not None
    main(["complexity", "--config", "unav.yaml", *shlex.split(proposal.options)])
    assert capsys.readouterr().out.splitlines()[-1].split()[:2] == ["UnAV", "112"]
