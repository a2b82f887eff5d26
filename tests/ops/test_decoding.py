import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.ops.decoding import decode
from tests.ops import reference

STRIDES = [1, 2, 4, 8, 16, 32]
RUNS = [
    *((("b3"), v, i) for i, v in enumerate(["v0", "v1", "v2"])),
    *((f"b1_{v}", v, 0) for v in ["v0", "v1", "v2", "long"]),
]


def load_levels(arrays, run, what):
    return [torch.from_numpy(arrays[f"{run}/{what}_l{i}"]) for i in range(6)]


def as_rows(segments, scores, labels):
    """Sort candidates by class, then by start and end: scores differ by rounding, these do not."""
    rows = np.column_stack([labels, segments, scores]).astype(np.float64)
    return rows[np.lexsort((rows[:, 2].round(3), rows[:, 1].round(3), rows[:, 0]))]


def check(found, video, arrays, prefix):
    keep = found.valid[video]
    rows = as_rows(
        found.segments[video, keep], found.scores[video, keep], found.labels[video, keep]
    )
    names = ("cand_seg", "cand_score", "cand_label")
    expected = as_rows(*(arrays[f"{prefix}/{name}"] for name in names))
    assert len(rows) == len(expected)
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("run", "video", "row"), RUNS)
def test_candidates_equal_the_published_ones(golden, run, video, row):
    arrays = np.load(golden / "unav" / "golden_small.npz", allow_pickle=False)
    levels = [load_levels(arrays, run, what) for what in ("cls", "off", "mask")]
    check(decode(*levels, STRIDES), row, arrays, f"{run}/{video}")


def test_candidates_with_tight_limits_equal_the_published_ones(golden):
    arrays = np.load(golden / "unav" / "golden_small.npz", allow_pickle=False)
    manifest = json.loads((golden / "unav" / "golden_small.json").read_text())
    limits = manifest["post_variants"]["tight"]
    found = decode(
        *(load_levels(arrays, "b1_v0", what) for what in ("cls", "off", "mask")),
        STRIDES,
        score_threshold=limits["test_pre_nms_thresh"],
        max_candidates_per_level=limits["test_pre_nms_topk"],
    )
    check(found, 0, arrays, "post_tight")


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 3),
    st.integers(1, 4),
    st.sampled_from([1, 5, 1000]),
    st.sampled_from([0.0, 0.3, 0.7]),
    st.sampled_from([0.05, 1.5]),
)
def test_equals_the_reference_video_by_video(seed, batch, num_classes, most, threshold, min_length):
    generator = torch.Generator().manual_seed(seed)
    strides, lengths = [1, 2], [6, 3]
    logits = [torch.randn(batch, n, num_classes, generator=generator) for n in lengths]
    offsets = [torch.randn(batch, n, num_classes, 2, generator=generator).relu() for n in lengths]
    masks = [torch.rand(batch, n, generator=generator) > 0.3 for n in lengths]
    found = decode(logits, offsets, masks, strides, threshold, most, min_length)
    for b in range(batch):
        one = [[level[b] for level in levels] for levels in (logits, offsets, masks)]
        expected = reference.decode(*one, strides, threshold, most, min_length)
        keep = found.valid[b]
        rows = torch.cat(
            [
                found.segments[b, keep].double(),
                found.scores[b, keep, None].double(),
                found.labels[b, keep, None].double(),
            ],
            dim=1,
        )
        assert len(rows) == len(expected)
        np.testing.assert_allclose(rows, np.array(expected).reshape(-1, 4), rtol=1e-6, atol=1e-6)


def test_thresholds_must_be_exceeded():
    logits = torch.zeros(1, 4, 1)  # probability exactly 0.5
    offsets = torch.tensor([0.25, 0.5, 0.0, 1.0]).view(1, 4, 1, 1).expand(-1, -1, -1, 2)
    mask = torch.ones(1, 4, dtype=torch.bool)
    assert not decode([logits], [offsets], [mask], [1], score_threshold=0.5).valid.any()
    found = decode([logits], [offsets], [mask], [1], score_threshold=0.4, min_length=0.5)
    lengths = found.segments[..., 1] - found.segments[..., 0]
    assert sorted(lengths[found.valid].tolist()) == [1.0, 2.0]  # not the one of exactly 0.5


def test_a_masked_video_yields_nothing():
    found = decode(
        [torch.full((2, 3, 2), 5.0)],
        [torch.ones(2, 3, 2, 2)],
        [torch.tensor([[True] * 3, [False] * 3])],
        strides=[1],
    )
    assert found.valid.sum(dim=1).tolist() == [6, 0]


def test_bfloat16_outputs_are_decoded_in_float32():
    logits, offsets = torch.randn(1, 3, 2).bfloat16(), torch.rand(1, 3, 2, 2).bfloat16()
    found = decode([logits], [offsets], [torch.ones(1, 3, dtype=torch.bool)], [1])
    assert found.scores.dtype == found.segments.dtype == torch.float32


def test_error_says_what_was_expected():
    with pytest.raises(ValueError, match="one entry a level, got 1, 1, 1 and 2"):
        decode([torch.zeros(1, 1, 1)], [torch.zeros(1, 1, 1, 2)], [torch.ones(1, 1).bool()], [1, 2])
