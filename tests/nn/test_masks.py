"""The masks of streams: what is there, what may be attended, on every level."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from davezoo.nn.masks import StreamMasks


def masks_of(length, content, steps=8):
    """Return the masks of one video; `content` are the steps with sound."""
    video = torch.arange(steps)[None] < length
    sound = torch.zeros(1, steps, dtype=torch.bool)
    sound[0, list(content)] = True
    return StreamMasks(video, {"audio": sound})


def steps_of(mask):
    return mask[0].nonzero().flatten().tolist()


def test_a_stream_that_is_everywhere_has_the_mask_of_the_video():
    video = torch.ones(2, 8, dtype=torch.bool)
    masks = StreamMasks(video)
    assert masks.of("audio") is masks.keys("audio") is video
    assert masks_of(5, [1]).of("visual").sum() == 5


@pytest.mark.parametrize(("content", "keys"), [([], [0, 1, 2, 3, 4]), ([1, 3], [1, 3]), ([4], [4])])
def test_the_video_stands_in_for_a_stream_without_content(content, keys):
    masks = masks_of(5, content)
    assert steps_of(masks.of("audio")) == content
    assert steps_of(masks.keys("audio")) == keys
    assert steps_of(masks.keys("visual")) == [0, 1, 2, 3, 4]


@given(st.data())
def test_a_coarse_step_has_what_any_of_its_steps_has(data):
    length = data.draw(st.integers(1, 8))
    content = data.draw(st.sets(st.integers(0, length - 1)))
    stride = data.draw(st.sampled_from([1, 2, 4, 8]))
    coarse = masks_of(length, content).strided(stride)
    assert steps_of(coarse.of("audio")) == sorted({step // stride for step in content})
    assert steps_of(coarse.video) == sorted({step // stride for step in range(length)})
    assert coarse.keys("audio").any()
