"""DEL's losses on tokens against the published code's and against plain loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.errors import InputError
from davezoo.nn import contrast
from davezoo.nn.contrast import TokenLosses
from tests.nn import slow_contrast
from tests.nn.tokens import NUM_CLASSES, STREAMS, events, features, moved, silenced

MASKS = ("mask", "stream_masks")
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
    leaves = [x for k, value in inputs.items() if k not in MASKS for x in value.values()]
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
@given(
    videos=drawn_videos,
    seed=seeds,
    log_scale=st.floats(0.1, 3),
    sound=st.none() | st.tuples(*[st.sets(st.integers(0, 27))] * 3),
)
def test_losses_equal_plain_loops(objective, streams, videos, seed, log_scale, sound):
    """Also where a step or a whole video has no sound."""
    losses = make(objective, streams)
    with torch.no_grad():
        for number, scale in enumerate(losses.log_scales.values()):
            scale.fill_(log_scale + number / 2)
    inputs = decisive(features([length for length, _ in videos], streams=streams, seed=seed))
    if sound is not None and "audio" in streams:
        heard = [[step in own for step in range(inputs["mask"].shape[1])] for own in sound]
        inputs = silenced(inputs, torch.tensor(heard[: len(videos)]))
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
        kind: value if kind in MASKS else {name: scale * x for name, x in value.items()}
        for kind, value in inputs.items()
    }
    found = losses(inputs, *events([rows for _, rows in videos]))
    assert set(found) == {"loss_inter", "loss_intra", "loss_score", "loss_category"}
    with torch.autograd.set_detect_anomaly(True):  # also where a mask would hide it
        torch.stack(list(found.values())).sum().backward()
    assert all(x.isfinite() for x in found.values())
    assert all(x.grad.isfinite().all() for x in [*leaves, *losses.parameters()])


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_what_cannot_be_contrasted_costs_nothing(objective):
    losses = make(objective)
    inputs = decisive(features([20]))
    found = losses(inputs, *events([[(2, 9, 1)]]))
    assert found["loss_inter"].item() == 0  # no other video
    assert make(objective)(inputs, *events([[]]))["loss_intra"].item() == 0  # no event
    tokens = inputs["tokens"]["visual"].requires_grad_()
    everywhere = losses(inputs, *events([[(0, 20, 0)]]))["loss_intra"]  # no negatives
    everywhere.backward()
    assert everywhere.item() == 0
    assert not tokens.grad.any()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_video_without_sound_is_contrasted_with_nothing(objective):
    """Neither anchor nor negative: the others lose the same, and nothing reaches it."""
    annotated = events([[(2, 9, 0), (5, 12, 1)], [(0, 3, 0)], [(11, 15.5, 0)]])
    heard = torch.tensor([[True], [True], [False]])
    inputs = silenced(decisive(features([40, 33, 28], seed=3)), heard)
    leaves = require_grad(inputs)
    losses = make(objective)
    found = losses(inputs, *annotated)
    first = {
        kind: value[:2] if kind == "mask" else {name: x[:2] for name, x in value.items()}
        for kind, value in inputs.items()
    }
    expected = as_numbers(losses(first, *(x[:2] for x in annotated)))
    if objective == "published":  # a mean over all videos, also those without a key step
        expected["loss_intra"] *= 2 / 3
    for name in ("loss_inter", "loss_intra"):
        assert found[name].item() == pytest.approx(expected[name], rel=1e-5)
    (found["loss_inter"] + found["loss_intra"]).backward()
    reached = [x.grad for x in leaves if x.grad is not None]
    assert reached
    assert not any(grad[2].any() for grad in reached)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_batch_without_any_sound_is_finite(objective):
    inputs = silenced(decisive(features([40, 33])), torch.tensor([[False], [False]]))
    leaves, losses = require_grad(inputs), make(objective)
    found = losses(inputs, *events([[(2, 9, 0)], [(0, 3, 0)]]))
    assert found["loss_inter"].item() == found["loss_intra"].item() == 0
    assert found["loss_score"].item() > 0
    with torch.autograd.set_detect_anomaly(True):
        torch.stack(list(found.values())).sum().backward()
    gradients = [x.grad for x in [*leaves, *losses.parameters()]]
    assert all(grad is not None and grad.isfinite().all() for grad in gradients)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_choices_carry_no_gradient_but_tokens_do(objective):
    inputs = decisive(features([40, 33], seed=3))
    require_grad(inputs)
    losses = make(objective)
    losses(inputs, *events([[(2, 9, 0)], [(0, 3, 0)]]))["loss_intra"].backward()
    for name in STREAMS:
        assert inputs["tokens"][name].grad.any()
        assert inputs["scores"][name].grad is None
        assert inputs["categories"][name].grad is None
    used = {"published": {"visual", "audio"}, "paper": {"intra"}}[objective]
    assert {name for name, x in losses.log_scales.items() if x.grad is not None} == used


def test_temperatures_of_the_paper_have_limits():
    inputs, annotated = decisive(features([30, 30])), events([[(2, 9, 0)], [(0, 3, 0)]])
    losses = make("paper")

    def at(temperature):
        with torch.no_grad():
            for scale in losses.log_scales.values():
                scale.fill_(-math.log(temperature))
        return as_numbers(losses(inputs, *annotated))

    assert at(0.001) == pytest.approx(at(0.01))
    assert at(10.0) == pytest.approx(at(1.0))
    assert at(0.1)["loss_intra"] != pytest.approx(at(1.0)["loss_intra"])


def test_weights_multiply_and_zero_leaves_a_loss_out():
    inputs, annotated = features([20, 12]), events([[(2, 9, 1)], [(1, 3, 0)]])
    plain = as_numbers(make()(inputs, *annotated))
    changed = {"inter_weight": 0.5, "score_weight": 2.0, "category_weight": 0.0}
    expected = {name: plain[name] for name in ("loss_inter", "loss_intra", "loss_score")}
    expected["loss_inter"] *= 0.5
    expected["loss_score"] *= 2
    assert as_numbers(make(**changed)(inputs, *annotated)) == pytest.approx(expected)
    assert make(**dict.fromkeys(ONES, 0.0))(inputs, *annotated) == {}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_one_stream_has_no_contrast_and_no_scale(objective):
    losses = make(objective, ["audio"])
    assert list(losses.parameters()) == []
    found = losses(features([9], streams=["audio"]), *events([[(2, 5, 1)]]))
    assert set(found) == {"loss_score", "loss_category"}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_losses_are_float32_under_autocast(objective):
    losses, annotated = make(objective), events([[(2, 9, 0)], [(0, 3, 0)]])
    half = moved(decisive(features([30, 12])), torch.bfloat16)
    exact = moved(half, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = losses(half, *annotated)
    assert {x.dtype for x in found.values()} == {torch.float32}
    assert as_numbers(found) == pytest.approx(as_numbers(losses(exact, *annotated)), rel=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_no_shape_depends_on_the_data(objective):
    inputs, annotated = decisive(features([20, 12])), events([[(2, 9, 0)], []])
    losses = make(objective)
    compiled = torch.compile(losses, fullgraph=True, backend="eager")
    assert as_numbers(compiled(inputs, *annotated)) == as_numbers(losses(inputs, *annotated))
    on_meta = losses.to("meta")(moved(inputs, "meta"), *(x.to("meta") for x in annotated))
    assert {x.shape for x in on_meta.values()} == {()}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "both"}, "Expected `objective` to be one of"),
        ({"objective": "paper", "published_token_grid": True}, "Expected `published_token_grid`"),
        ({"inter_weight": -1}, "`inter_weight` to be at least 0, got -1; choose 0"),
        ({"intra_weight": -0.5}, "`intra_weight` to be at least 0, got -0.5"),
        ({"score_weight": float("nan")}, "`score_weight` to be at least 0, got nan"),
        ({"category_weight": -1}, "`category_weight` to be at least 0, got -1"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        TokenLosses(STREAMS, 3, **settings)


def test_pairs_of_long_videos_are_held_for_one_event_class_at_a_time(monkeypatch):
    """Else their memory would grow with the events times the square of the length."""
    annotated = events([[(4 * i, 4 * i + 3, i % 3) for i in range(12)], [(5, 40, 1)]])
    found = []
    for most_pairs in (contrast._MOST_PAIRS, 1):
        monkeypatch.setattr(contrast, "_MOST_PAIRS", most_pairs)
        losses = make("paper")
        inputs = decisive(features([48, 40], seed=3))
        leaves = require_grad(inputs)
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x, saved=saved: saved.append(x.numel()) or x, lambda x: x
        ):
            total = losses(inputs, *annotated)["loss_intra"]
        total.backward()
        gradients = [x.grad for x in [*leaves, *losses.parameters()] if x.grad is not None]
        found.append((total.detach(), gradients, max(saved)))
    (whole, gradients, most), (blocks, gradients_of_blocks, most_of_blocks) = found
    assert whole > 0
    torch.testing.assert_close(blocks, whole)
    torch.testing.assert_close(gradients_of_blocks, gradients)
    assert most == 12 * most_of_blocks == 12 * 2 * 48 * 48


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_numbers_of_chosen_steps_are_noted(objective):
    losses = make(objective)
    assert losses.chosen == {}
    inputs = decisive(features([28, 20]))
    losses(inputs, *events([[(2.0, 5.0, 0)], []]))
    names = {f"{kind}_{name}" for kind in ("positives", "negatives") for name in STREAMS}
    assert losses.chosen.keys() == names
    assert not any(x.requires_grad for x in losses.chosen.values())
    if objective == "published":
        assert losses.chosen["positives_visual"] == 2  # steps 2 to 5 of one of two videos
    assert 0 < losses.chosen["negatives_audio"] <= (4 + 3) / 2  # ceil((L - 1) / 8) of a video
