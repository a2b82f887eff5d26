import pytest
from hypothesis import given
from hypothesis import strategies as st

from davezoo.ops.padding import padded_length


@pytest.mark.parametrize(
    ("longest", "expected"),
    [
        (1, 64),
        (32, 64),
        (33, 96),
        (186, 224),
        (192, 224),
        (193, 224),
        (224, 224),
        (225, 256),
        (256, 256),
    ],
)
def test_padded_length(longest, expected):
    assert padded_length(longest, 224, 32) == expected


@given(
    longest=st.integers(1, 600),
    multiple=st.sampled_from([8, 16, 32]),
    factor=st.integers(1, 10),
)
def test_padding_keeps_what_the_fixed_length_has(longest, multiple, factor):
    max_length = multiple * factor
    steps = padded_length(longest, max_length, multiple)
    assert steps >= longest
    assert steps % multiple == 0
    if longest <= max_length:
        assert steps <= max_length
        fixed_has_padded_point = max_length // multiple > -(-longest // multiple)
        assert (steps // multiple > -(-longest // multiple)) == fixed_has_padded_point
