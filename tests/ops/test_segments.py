import torch
from hypothesis import given
from hypothesis import strategies as st

from davezoo.ops.segments import pairwise_tiou, tiou
from tests.ops import reference

edges = st.integers(-8, 8).map(lambda x: x / 2)
segment = st.tuples(edges, edges).map(sorted)


@given(st.lists(st.tuples(segment, segment), min_size=1, max_size=8))
def test_equals_the_reference_one_by_one_and_pairwise(pairs):
    first, second = (torch.tensor(x, dtype=torch.float64) for x in zip(*pairs, strict=True))
    expected = [reference.tiou(a, b) for a, b in pairs]
    assert tiou(first, second).tolist() == expected
    expected = [[reference.tiou(a, b) for _, b in pairs] for a, _ in pairs]
    assert pairwise_tiou(first, second).tolist() == expected


def test_empty_segments_give_zero_not_nan():
    empty = torch.tensor([3.0, 3.0])
    assert tiou(empty, empty) == 0
    assert tiou(empty, torch.tensor([0.0, 5.0])) == 0


def test_batched_shapes():
    assert pairwise_tiou(torch.rand(2, 3, 2), torch.rand(2, 5, 2)).shape == (2, 3, 5)
    assert pairwise_tiou(torch.rand(0, 2), torch.rand(5, 2)).shape == (0, 5)
