"""DEL's losses on tokens against the published code's and against plain loops."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.nn.contrast import TokenLosses
from tests.nn import slow_contrast
from tests.nn.tokens import NUM_CLASSES, STREAMS, events, features, moved

OBJECTIVES = ["published", "paper"]
ONES = {f"{name}_weight": 1.0 for name in ("inter", "intra", "score", "category")}
GOLDEN_TERMS = {  # before weights; those of both modalities together
    "loss_score": 33.32038879394531 + 75.40412139892578,
    "loss_inter": 4.861881256103516,
    "loss_intra": 0.8994340300559998,
}

ends = st.floats(-3, 30, width=32)
drawn_events = st.lists(
    st.tuples(ends, st.floats(0, 12, width=32), st.integers(0, NUM_CLASSES - 1)), max_size=4
).map(lambda rows: [(start, start + length, label) for start, length, label in rows])
drawn_videos = st.lists(st.tuples(st.integers(1, 28), drawn_events), min_size=1, max_size=3)
seeds = st.integers(0, 1000)


def make(objective="published", streams=STREAMS, **settings):
    return TokenLosses(streams, NUM_CLASSES, objective=objective, **{**ONES, **settings})


def decisive(inputs):
    """Make many tokens agree on a class: contrast needs tokens that are wrong about it."""
    for logits in inputs["categories"].values():
        logits[..., 0] += 1.5
    return inputs


def reversed_rows(value):
    if isinstance(value, dict):
        return {name: reversed_rows(item) for name, item in value.items()}
    return value.flip(0)


def as_numbers(losses):
    return {name: x.item() for name, x in losses.items()}


def require_grad(inputs):
    leaves = [x for kind, value in inputs.items() if kind != "mask" for x in value.values()]
    return [x.requires_grad_() for x in leaves]


def test_losses_equal_those_of_the_published_code(golden_tokens):
    losses = TokenLosses(STREAMS, 5, published_token_grid=True, **ONES)
    scales = {f"log_scales.{name}": x for name, x in golden_tokens.log_scales.items()}
    losses.load_state_dict(scales)
    found = losses(golden_tokens.features, golden_tokens.segments, golden_tokens.labels)
    assert {name: found[name].item() for name in GOLDEN_TERMS} == pytest.approx(
        GOLDEN_TERMS, rel=1e-6
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("streams", [STREAMS, ["visual"], ["audio"]])
@settings(max_examples=25, deadline=None)
@given(videos=drawn_videos, seed=seeds, log_scale=st.floats(0.1, 3))
def test_losses_equal_plain_loops(objective, streams, videos, seed, log_scale):
    losses = make(objective, streams)
    with torch.no_grad():
        for number, scale in enumerate(losses.log_scales.values()):
            scale.fill_(log_scale + number / 2)
    inputs = decisive(features([length for length, _ in videos], streams=streams, seed=seed))
    annotated = events([rows for _, rows in videos])
    slow = {"published": slow_contrast.published, "paper": slow_contrast.paper}[objective]
    scales = {name: x.item() for name, x in losses.log_scales.items()}
    expected = {f"loss_{name}": x for name, x in slow(inputs, *annotated, scales).items()}
    found = as_numbers(losses(inputs, *annotated))
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_loops_meet_every_branch(objective):
    """The comparison above would prove little on videos without a contrast."""
    inputs = decisive(features([40, 33, 28], seed=3))
    annotated = events([[(2, 9, 0), (5, 12, 1)], [(0, 3, 0)], [(11, 15.5, 0), (12, 30, 2)]])
    losses = make(objective)
    scales = {name: x.item() for name, x in losses.log_scales.items()}
    slow = {"published": slow_contrast.published, "paper": slow_contrast.paper}[objective]
    expected = {f"loss_{name}": x for name, x in slow(inputs, *annotated, scales).items()}
    assert min(expected.values()) > 0.1
    assert as_numbers(losses(inputs, *annotated)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES)
@settings(max_examples=25, deadline=None)
@given(videos=drawn_videos, seed=seeds, padding=st.integers(0, 9))
def test_padding_and_the_order_of_the_batch_change_nothing(objective, videos, seed, padding):
    losses = make(objective)
    lengths = [length for length, _ in videos]
    inputs = decisive(features(lengths, max(lengths) + padding, seed=seed))
    segments, labels = events([rows for _, rows in videos])
    expected = as_numbers(losses(inputs, segments, labels))

    cut = max(lengths)
    shorter = {
        kind: {n: x if kind == "summary" else x[:, :cut] for n, x in value.items()}
        for kind, value in inputs.items()
        if kind != "mask"
    }
    shorter["mask"] = inputs["mask"][:, :cut]
    found = as_numbers(losses(shorter, segments, labels))
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)

    found = as_numbers(losses(reversed_rows(inputs), segments.flip(0), labels.flip(0)))
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(
    "videos",
    [
        [(9, [])],
        [(1, [(0, 0, 0)])],
        [(1, []), (1, [(0, 3, 1)])],
        [(12, [(0, 12, 0)]), (3, [])],
        [(24, [(3, 4, 1)]), (24, [(6, 9, 1)])],
        [(24, [(3.2, 3.3, 0)])],
        [(24, [(30, 40, 0)])],
    ],
    ids=["no event", "a step", "steps", "all event", "same class", "between steps", "beyond"],
)
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_values_and_gradients_are_finite(objective, videos, scale):
    losses = make(objective)
    inputs = features([length for length, _ in videos])
    leaves = require_grad(moved(inputs, torch.float32))
    inputs = {
        kind: value if kind == "mask" else {name: scale * x for name, x in value.items()}
        for kind, value in inputs.items()
    }
    found = losses(inputs, *events([rows for _, rows in videos]))
    assert set(found) == {"loss_inter", "loss_intra", "loss_score", "loss_category"}
    torch.stack(list(found.values())).sum().backward()
    assert all(x.isfinite() for x in found.values())
    assert all(x.grad.isfinite().all() for x in [*leaves, *losses.parameters()])
