"""Chunks: every point answered once and by the right one; stitched as if it were one piece."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.ops.chunks import cut_chunks, predict_in_chunks
from davezoo.structures import Predictions

STRIDES = [1, 2, 4]


@st.composite
def cuts(draw):
    """Draw the arguments of `cut_chunks`."""
    multiple = draw(st.sampled_from([1, 2, 8]))
    chunk = draw(st.integers(1, 12))
    overlap = draw(st.integers(0, (chunk - 1) // 2))
    num_steps = draw(st.integers(1, 60))
    return num_steps * multiple, chunk * multiple, 2 * overlap * multiple, multiple


def depth(chunk, step, num_steps):
    """Return the way from a step to the nearest border that cuts the video."""
    left = step - chunk.start if chunk.start > 0 else num_steps
    right = chunk.end - step if chunk.end < num_steps else num_steps
    return min(left, right)


@given(cuts())
def test_every_step_is_answered_once_by_the_chunk_in_which_it_lies_deepest(arguments):
    num_steps, chunk_length, _, multiple = arguments
    chunks = cut_chunks(*arguments)
    assert [chunk.first for chunk in chunks[1:]] == [chunk.last for chunk in chunks[:-1]]
    assert (chunks[0].first, chunks[-1].last) == (0, num_steps)
    for chunk in chunks:
        assert all(border % multiple == 0 for border in chunk)
        assert chunk.start <= chunk.first < chunk.last <= chunk.end <= chunk.start + chunk_length
        for step in range(chunk.first, chunk.last):
            depths = [depth(c, step, num_steps) for c in chunks if c.start <= step < c.end]
            assert depth(chunk, step, num_steps) == max(depths)
    assert all(chunk.end - chunk.start == chunk_length for chunk in chunks[:-1])
    if num_steps <= chunk_length:
        assert len(chunks) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((30, 8, 0, 4), "multiples of 4 .* got 30, 8 and 0"),
        ((32, 10, 0, 4), "got 32, 10 and 0"),
        ((32, 8, 4, 4), "`overlap` of 8, got 32, 8 and 4"),
        ((32, 8, 8, 4), "less than `chunk_length` 8, got 8"),
        ((32, 8, -8, 4), "at least 0 .* got -8"),
    ],
)
def test_chunks_that_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        cut_chunks(*arguments)


def smooth(x, reach):
    """Weigh the steps around each step, (B, C, T)."""
    kernel = torch.arange(1.0, 2 * reach + 2, dtype=x.dtype).expand(x.shape[1], 1, -1)
    return F.conv1d(x, kernel, padding=reach, groups=x.shape[1])


def network(reach, calls=None, padded=0):
    """Return a network whose points see `reach` steps on either side; zero on padding."""

    def run(visual, audio, mask, audio_mask):
        if calls is not None:
            calls.append((mask.shape, mask.any(1).all().item()))
        if audio_mask is not None:
            audio = audio * audio_mask[:, None]
        joined = smooth(torch.cat([visual, audio], dim=1) * mask[:, None], reach)
        mask = F.pad(mask, (0, padded))
        joined = F.pad(joined, (0, padded))
        masks = [mask[:, ::stride] for stride in STRIDES]
        logits = [joined[..., ::s].mT * m[..., None] for s, m in zip(STRIDES, masks, strict=True)]
        offsets = [torch.stack([x, 2 * x], dim=-1) for x in logits]
        return Predictions(logits, offsets, masks, {"joined": joined})

    return run


def draw(lengths, num_steps, seed):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(num_steps) < torch.tensor(lengths)[:, None]
    audio_mask = mask & (torch.rand(mask.shape, generator=generator) < 0.5)
    visual, audio = (
        torch.randn(len(lengths), width, num_steps, generator=generator, dtype=torch.float64)
        for width in (2, 1)
    )
    return visual, audio, mask, audio_mask


def assert_equal(found, expected):
    for name in ("logits", "offsets", "masks"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=1e-6, rtol=0)


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 100), min_size=1, max_size=3),
    overlap=st.sampled_from([8, 16]),
    extra=st.integers(0, 5),
    sound=st.booleans(),
    seed=st.integers(0, 100),
)
def test_chunks_give_what_the_whole_gives(lengths, overlap, extra, sound, seed):
    """A network that sees no farther than half of the overlap, and pads what it is given."""
    num_steps = -(-max(lengths) // 4) * 4
    visual, audio, mask, audio_mask = draw(lengths, num_steps, seed)
    inputs = (visual, audio, mask, audio_mask if sound else None)
    expected = network(overlap // 2)(*inputs)
    found = predict_in_chunks(
        network(overlap // 2, padded=4 * extra),
        *inputs,
        strides=STRIDES,
        chunk_length=overlap + 12,
        overlap=overlap,
    )
    assert_equal(found, expected)
    assert found.features == {}


def test_what_sees_farther_than_half_of_the_overlap_is_cut_off():
    inputs = draw([64], 64, 0)
    whole = network(12)(*inputs)
    chunked = predict_in_chunks(network(12), *inputs, strides=STRIDES, chunk_length=32, overlap=16)
    differs = (whole.logits[0] - chunked.logits[0]).abs().sum(-1)[0] > 1e-9
    steps = differs.nonzero().flatten().tolist()
    # Chunks start at 0, 16, 32: borders at 24 and 40; steps within 12 of what a chunk lacks.
    assert steps
    assert all(20 <= step < 28 or 36 <= step < 44 for step in steps)


def test_videos_that_have_ended_are_not_run():
    """The second chunk starts at step 24, but the first one has read the end of step 30 already."""
    calls = []
    inputs = draw([64, 30, 9, 33], 64, 0)
    predict_in_chunks(network(2, calls), *inputs, strides=STRIDES, chunk_length=32, overlap=8)
    assert calls == [((4, 32), True), ((2, 32), True), ((1, 16), True)]


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(1, 100), min_size=2, max_size=4), seed=st.integers(0, 100))
def test_the_answer_to_a_video_does_not_depend_on_its_batch(lengths, seed):
    """Of a network that sees farther than half of the overlap: the cuts must be the video's own."""
    inputs = draw(lengths, -(-max(lengths) // 4) * 4, seed)
    how = {"strides": STRIDES, "chunk_length": 32, "overlap": 16}
    together = predict_in_chunks(network(12), *inputs, **how)
    for row, length in enumerate(lengths):
        own = [x[row : row + 1, ..., : -(-length // 4) * 4] for x in inputs]
        alone = predict_in_chunks(network(12), *own, **how)
        for found, expected in zip(together.logits, alone.logits, strict=True):
            steps = expected.shape[1]
            torch.testing.assert_close(found[row, :steps], expected[0], atol=1e-6, rtol=0)
            assert not found[row, steps:].any()


def test_padding_makes_no_chunk():
    """What fits into one chunk is read in one piece, whatever it was padded to."""
    calls = []
    inputs = draw([30], 64, 0)
    chunked = predict_in_chunks(
        network(12, calls), *inputs, strides=STRIDES, chunk_length=32, overlap=8
    )
    assert calls == [((1, 32), True)]
    assert_equal(chunked, network(12)(*inputs))
