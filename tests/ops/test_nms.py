import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.ops.decoding import decode
from davezoo.ops.nms import NmsSettings, suppress
from davezoo.structures import FeatureGrid
from tests.ops import reference

GOLDEN = Path(__file__).parent.parent / "golden"


def load_nms():
    arrays = np.load(GOLDEN / "metrics" / "golden_nms.npz", allow_pickle=False)
    arrays = {name: arrays[name] for name in arrays.files}
    return arrays, json.loads(arrays["manifest"].tobytes())["cases"]


ARRAYS, CASES = load_nms()


def suppress_one(segments, scores, labels, nms):
    segments, scores, labels = map(torch.as_tensor, (segments, scores, labels))
    valid = torch.ones(1, len(labels), dtype=torch.bool)
    return suppress(segments[None], scores[None], labels[None], valid, nms)[0]


def settings_of(case, voting_weight="score"):
    return NmsSettings(
        method="gaussian" if case["soft"] else "hard",
        sigma=case["sigma"] or 0.5,
        iou_threshold=case["iou_threshold"],
        min_score=case["min_score"],
        max_events=case["max_seg_num"],
        multiclass=case["multiclass"],
        voting_threshold=case["voting_thresh"] or None,
        voting_weight=voting_weight,
    )


def is_tied(case):
    """Whether the published order of equal scores, which comes from internal swaps, decides."""
    return case["input"] == "ties" and case["soft"]


@pytest.mark.parametrize("case", [x for x in CASES if not is_tied(x)], ids=lambda case: case["tag"])
def test_equals_the_published_routine(case):
    segments, scores, labels = (
        ARRAYS[f"{case['input']}/{x}"] for x in ("in_segs", "in_scores", "in_labels")
    )
    index, expected = ARRAYS[f"{case['tag']}/index"], ARRAYS[f"{case['tag']}/scores"]
    found = suppress_one(segments, scores, labels, settings_of(case))
    np.testing.assert_allclose(found.scores, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(found.labels, ARRAYS[f"{case['tag']}/labels"])
    if f"{case['tag']}/segs_voted_unav" not in ARRAYS:
        np.testing.assert_array_equal(found.segments, segments[index])
        return
    weighted = suppress_one(segments, scores, labels, settings_of(case, "score_times_iou"))
    for events, name in ((found, "unav"), (weighted, "actionformer")):
        voted = ARRAYS[f"{case['tag']}/segs_voted_{name}"]
        # The published mean of a segment of length zero is 0 / 0; ours leaves the segment alone.
        voted = np.where(np.isnan(voted), segments[index], voted)
        np.testing.assert_allclose(events.segments, voted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", [x for x in CASES if is_tied(x)], ids=lambda case: case["tag"])
def test_only_the_order_of_equal_scores_differs_from_the_published_routine(case):
    segments, scores, labels = (ARRAYS[f"ties/{x}"] for x in ("in_segs", "in_scores", "in_labels"))
    index = ARRAYS[f"{case['tag']}/index"]
    scores = scores.copy()
    scores[index] += np.float32(1e-6) * np.arange(len(index), 0, -1)  # break ties as published
    found = suppress_one(segments, scores, labels, settings_of(case))
    np.testing.assert_array_equal(found.labels, labels[index])
    np.testing.assert_allclose(found.scores, ARRAYS[f"{case['tag']}/scores"], rtol=0, atol=1e-5)


VARIANTS = {
    "b1_v0/v0": ("v0", NmsSettings()),
    "b1_v1/v1": ("v1", NmsSettings()),
    "b1_v2/v2": ("v2", NmsSettings()),
    "b1_long/long": ("long", NmsSettings()),
    "b3/v0": ("v0", NmsSettings()),
    "post_tight": ("v0", NmsSettings(sigma=0.5, min_score=0.05, max_events=15)),
    "post_hard": ("v0", NmsSettings(method="hard", iou_threshold=0.5)),
    "post_agnostic_vote": ("v0", NmsSettings(multiclass=False, voting_threshold=0.75)),
    "post_none": ("v0", NmsSettings(method="none")),
}


def check_detections(found, arrays, prefix, video):
    """Compare in seconds, clipped to the video, as published."""
    seconds = FeatureGrid(fps=25, stride=8, window=24).to_seconds(found.segments)
    seconds = seconds.clamp(0, float(arrays[f"in/{video}/duration"]))
    np.testing.assert_allclose(found.scores, arrays[f"{prefix}/det_score"], rtol=0, atol=1e-4)
    np.testing.assert_array_equal(found.labels, arrays[f"{prefix}/det_label"])
    np.testing.assert_allclose(seconds, arrays[f"{prefix}/det_seg"], rtol=0, atol=1e-3)


@pytest.mark.parametrize("variant", VARIANTS)
def test_detections_equal_the_published_ones(golden, variant):
    arrays = np.load(golden / "unav" / "golden_small.npz", allow_pickle=False)
    video, nms = VARIANTS[variant]
    segments, scores, labels = (arrays[f"{variant}/cand_{x}"] for x in ("seg", "score", "label"))
    found = suppress_one(segments, scores, labels.astype(np.int64), nms)
    check_detections(found, arrays, variant, video)


@pytest.mark.parametrize(
    ("run", "videos"),
    [("b3", ["v0", "v1", "v2"]), *((f"b1_{v}", [v]) for v in ["v0", "v1", "v2", "long"])],
)
def test_decoding_and_suppression_together_give_the_published_detections(golden, run, videos):
    arrays = np.load(golden / "unav" / "golden_small.npz", allow_pickle=False)
    logits, offsets, masks = (
        [torch.from_numpy(arrays[f"{run}/{x}_l{i}"]) for i in range(6)]
        for x in ("cls", "off", "mask")
    )
    candidates = decode(logits, offsets, masks, [1, 2, 4, 8, 16, 32])
    for video, found in zip(videos, suppress(*candidates, NmsSettings()), strict=True):
        check_detections(found, arrays, f"{run}/{video}", video)


def draw_candidates(seed, batch, places, num_classes, grid):
    """Random candidates; on a coarse grid many segments touch, coincide or have equal scores."""
    generator = np.random.default_rng(seed)
    starts = generator.uniform(0, 20, (batch, places))
    lengths = generator.uniform(0.1, 12, (batch, places))
    scores = generator.uniform(0.001, 1, (batch, places))
    if grid:
        starts, lengths = starts.round() / 2, lengths.round() / 2
        scores = (scores * 8).round() / 8
    segments = np.stack([starts, starts + lengths], axis=-1).astype(np.float32)
    labels = generator.integers(0, num_classes, (batch, places))
    return [torch.from_numpy(x) for x in (segments, scores.astype(np.float32), labels)]


nms_settings = st.builds(
    NmsSettings,
    method=st.sampled_from(["gaussian", "linear", "hard", "none"]),
    sigma=st.sampled_from([0.001, 0.4, 0.9]),
    iou_threshold=st.sampled_from([0.1, 0.5, 0.7, 1.0]),
    min_score=st.sampled_from([0.0, 0.001, 0.125, 0.5]),
    max_events=st.sampled_from([1, 3, 17, 100]),
    multiclass=st.booleans(),
    voting_threshold=st.sampled_from([None, 0.5, 0.75]),
    voting_weight=st.sampled_from(["score", "score_times_iou"]),
)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 4),
    st.integers(0, 30),
    st.integers(1, 5),
    st.booleans(),
    nms_settings,
)
def test_equals_the_reference_in_a_padded_batch(seed, batch, places, num_classes, grid, nms):
    segments, scores, labels = draw_candidates(seed, batch, places, num_classes, grid)
    valid = torch.from_numpy(np.random.default_rng(seed + 1).random((batch, places)) < 0.7)
    found = suppress(segments, scores, labels, valid, nms)
    assert len(found) == batch
    for b, events in enumerate(found):
        keep = valid[b]
        one = segments[b, keep], scores[b, keep], labels[b, keep]
        index, expected_scores, expected_segments = reference.suppress(*one, nms)
        assert events.labels.tolist() == one[2][index].tolist()
        np.testing.assert_allclose(events.scores, expected_scores, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(
            events.segments, np.reshape(expected_segments, (-1, 2)), rtol=1e-5, atol=1e-5
        )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5), nms_settings)
def test_videos_do_not_influence_each_other(seed, batch, nms):
    candidates = draw_candidates(seed, batch, 25, 4, grid=False)
    valid = torch.from_numpy(np.random.default_rng(seed + 1).random((batch, 25)) < 0.7)
    together = suppress(*candidates, valid, nms)
    order = torch.from_numpy(np.random.default_rng(seed + 2).permutation(batch))
    permuted = suppress(*(x[order] for x in candidates), valid[order], nms)
    for place, video in enumerate(order.tolist()):
        alone = suppress(*(x[video, None] for x in candidates), valid[video, None], nms)[0]
        for other in (alone, permuted[place]):
            assert torch.equal(together[video].labels, other.labels)
            assert torch.equal(together[video].scores, other.scores)
            torch.testing.assert_close(together[video].segments, other.segments)


@pytest.mark.parametrize(
    ("method", "multiclass", "expected"),
    [
        ("gaussian", True, [0.0005, 0.0003, 0.0002]),
        ("gaussian", False, [0.0005]),
        ("linear", True, [0.0005, 0.0003, 0.0002]),
        ("hard", True, []),
    ],
)
def test_the_best_of_a_class_survives_soft_methods_below_min_score(method, multiclass, expected):
    segments = torch.tensor([[0.0, 1.0], [10.0, 11.0], [20.0, 21.0], [30.0, 31.0]])
    scores, labels = torch.tensor([0.0005, 0.0004, 0.0003, 0.0002]), torch.tensor([0, 0, 1, 2])
    nms = NmsSettings(method=method, multiclass=multiclass)
    found = suppress_one(segments, scores, labels, nms)
    np.testing.assert_array_equal(found.scores, np.float32(expected))


@pytest.mark.parametrize(("method", "count"), [("gaussian", 3), ("linear", 3), ("hard", 2)])
def test_a_score_equal_to_min_score_stays_in_soft_methods_only(method, count):
    segments = torch.tensor([[0.0, 1.0], [10.0, 11.0], [20.0, 21.0], [30.0, 31.0]])
    scores = torch.tensor([0.5, 0.25, 0.1, 0.0999])
    nms = NmsSettings(method, min_score=0.1)
    found = suppress_one(segments, scores, torch.zeros(4).long(), nms)
    assert len(found) == count


@pytest.mark.parametrize(
    ("method", "expected"),
    [("linear", [0.8, 0.2]), ("hard", [0.8]), ("gaussian", [0.8, 0.4 * math.exp(-0.5)])],
)
def test_an_overlap_equal_to_the_threshold_counts(method, expected):
    segments = torch.tensor([[0.0, 64.0], [0.0, 32.0]])  # long enough for 1e-6 to be rounded away
    scores = torch.tensor([0.8, 0.4])
    nms = NmsSettings(method, sigma=0.5, iou_threshold=0.5)
    found = suppress_one(segments, scores, torch.tensor([1, 1]), nms)
    assert found.scores.tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("weight", "end"), [("score", 9.6), ("score_times_iou", 9.625)])
def test_voting_means_over_all_near_candidates(weight, end):
    nms = NmsSettings(multiclass=False, voting_threshold=0.75, voting_weight=weight)
    segments, scores = torch.tensor([[0.0, 10.0], [0.0, 9.0]]), torch.tensor([0.9, 0.6])
    found = suppress_one(segments, scores, torch.tensor([3, 8]), nms)
    assert found.segments[0].tolist() == pytest.approx([0, end])
    assert found.labels.tolist() == [3, 8]


def test_voting_is_not_used_with_multiclass():
    segments, scores = torch.tensor([[0.0, 10.0], [0.0, 9.0]]), torch.tensor([0.9, 0.6])
    found = suppress_one(segments, scores, torch.tensor([1, 1]), NmsSettings(voting_threshold=0.5))
    assert torch.equal(found.segments, segments)


def test_equal_scores_come_by_class_then_in_given_order():
    segments = torch.arange(5.0)[:, None] * 10 + torch.tensor([0.0, 5.0])
    labels = torch.tensor([2, 0, 1, 0, 2])
    found = suppress_one(segments, torch.full((5,), 0.5), labels, NmsSettings())
    assert torch.equal(found.segments, segments[[1, 3, 2, 0, 4]])


def test_gaps_between_checks_do_not_cut_or_lengthen_the_list():
    for count in (15, 16, 17, 33):
        segments = torch.arange(float(count))[:, None] * 10 + torch.tensor([0.0, 5.0])
        nms = NmsSettings(max_events=1000)
        found = suppress_one(segments, torch.rand(count) + 0.1, torch.arange(count) % 3, nms)
        assert len(found) == count
        assert (found.scores.diff() <= 0).all()


def test_inputs_are_left_as_they_were():
    candidates = draw_candidates(0, 2, 20, 3, grid=False)
    copies = [x.clone() for x in candidates]
    suppress(*candidates, torch.ones(2, 20, dtype=torch.bool), NmsSettings())
    assert all(torch.equal(x, y) for x, y in zip(candidates, copies, strict=True))


def test_autocast_changes_nothing():
    candidates = draw_candidates(0, 2, 40, 3, grid=False)
    valid = torch.ones(2, 40, dtype=torch.bool)
    nms = NmsSettings(multiclass=False, voting_threshold=0.5)
    expected = suppress(*candidates, valid, nms)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = suppress(*candidates, valid, nms)
    for one, other in zip(expected, found, strict=True):
        assert torch.equal(one.segments, other.segments)
        assert torch.equal(one.scores, other.scores)


@pytest.mark.parametrize(("batch", "places"), [(0, 0), (0, 5), (2, 0), (2, 5)])
@pytest.mark.parametrize("method", ["gaussian", "hard", "none"])
def test_nothing_in_nothing_out(batch, places, method):
    valid = torch.zeros(batch, places, dtype=torch.bool)
    segments, scores = torch.zeros(batch, places, 2), torch.zeros(batch, places)
    found = suppress(segments, scores, scores.long(), valid, NmsSettings(method))
    assert [len(events) for events in found] == [0] * batch
    assert all(events.segments.shape == (0, 2) for events in found)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("method", ["gaussian", "linear", "hard"])
def test_the_gpu_finds_the_same(method):
    candidates = draw_candidates(3, 4, 300, 6, grid=False)
    valid = torch.ones(4, 300, dtype=torch.bool)
    nms = NmsSettings(method)
    on_gpu = suppress(*(x.cuda() for x in candidates), valid.cuda(), nms)
    for expected, found in zip(suppress(*candidates, valid, nms), on_gpu, strict=True):
        assert found.labels.device.type == "cuda"
        torch.testing.assert_close(found.scores.cpu(), expected.scores, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "soft"}, "Expected `method` to be one of"),
        ({"voting_weight": "iou"}, "Expected `voting_weight` to be one of"),
        ({"sigma": 0.0}, "Expected `sigma` to be positive, got 0.0"),
        ({"iou_threshold": 0.0}, "Expected `iou_threshold` to be in"),
        ({"min_score": -0.1}, "Expected `min_score` to be at least 0"),
        ({"max_events": 0}, "Expected `max_events` to be at least 1"),
        ({"voting_threshold": 0.0}, "Expected `voting_threshold` to be in"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        NmsSettings(**wrong)


def test_shapes_that_disagree_are_refused():
    with pytest.raises(ValueError, match=r"Expected `segments` to be \(B, M, 2\)"):
        suppress(
            torch.zeros(3, 2), torch.zeros(3), torch.zeros(3), torch.ones(3).bool(), NmsSettings()
        )
