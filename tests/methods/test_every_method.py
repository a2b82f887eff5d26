"""What must hold of every method of the zoo, with both modalities and with one."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from davezoo.ops.padding import padded_length
from davezoo.structures import Batch, Predictions
from tests.methods.zoo import (
    LENGTH,
    MAIN,
    METHODS,
    NO_TRACK,
    ODD,
    SILENT,
    SOME_SOUND,
    USUAL,
    VARIANTS,
    build,
    build_strong,
    build_with_weights_of,
    losses_of,
    make_batch,
    rows_of,
    total_loss,
    with_sound,
)

every_variant = pytest.mark.parametrize("variant", VARIANTS)
# One modality changes the network; it is tried where that is not simply a part of another one.
ALONE = [(variant, name) for variant in MAIN for name in ("audio", "visual")]
every_reading = pytest.mark.parametrize(
    ("variant", "modalities"), [*((variant, "both") for variant in VARIANTS), *ALONE]
)
one_modality = pytest.mark.parametrize(("variant", "modalities"), ALONE)
TWO_LEVELS = {"regression_ranges": [(0, 8), (8, 10000)]}  # to be quick
ANY_LENGTH = [v for v in VARIANTS if not build(v).detector.fixed_length]


def outputs(predictions: Predictions) -> Iterator[Tensor]:
    """Yield logits and offsets of all levels."""
    yield from predictions.logits
    yield from predictions.offsets


def predict(model: torch.nn.Module, batch: Batch) -> Predictions:
    with torch.no_grad():
        predictions: Predictions = model(*batch.inputs)
    return predictions


@every_reading
@pytest.mark.parametrize("case", ODD)
def test_a_training_step_is_finite_and_reaches_every_parameter(
    variant: str, modalities: str, case: str
) -> None:
    """Training in several processes refuses a parameter without a gradient that is not frozen."""
    model = build(variant, modalities=modalities, drop_path=0.1)
    total = total_loss(model, ODD[case])
    total.backward()
    assert total.isfinite()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert gradients
    assert [name for name, grad in gradients.items() if grad is None] == []
    wrong = [n for n, g in gradients.items() if g is not None and not g.isfinite().all()]
    assert wrong == []


@every_reading
def test_predictions_are_zero_on_padding(variant: str, modalities: str) -> None:
    model = build_strong(variant, modalities=modalities)
    predictions = predict(model, USUAL)
    levels = zip(predictions.logits, predictions.offsets, predictions.masks, strict=True)
    for stride, (logits, distances, mask) in zip(model.detector.strides, levels, strict=True):
        assert mask.shape == (3, LENGTH // stride)
        assert logits.shape == (*mask.shape, 3)
        assert distances.shape == (*mask.shape, 3, 2)
        assert (distances >= 0).all()
        assert not logits[~mask].any()
        assert not distances[~mask].any()


@every_reading
def test_order_of_the_batch_does_not_matter(variant: str, modalities: str) -> None:
    model, order = build_strong(variant, modalities=modalities), [2, 0, 1]
    expected, found = predict(model, USUAL), predict(model, rows_of(USUAL, order))
    for ours, theirs in zip(outputs(found), outputs(expected), strict=True):
        torch.testing.assert_close(ours, theirs[order], atol=1e-4, rtol=1e-4)
    losses = (total_loss(model, batch) for batch in (USUAL, rows_of(USUAL, order)))
    torch.testing.assert_close(*losses, atol=0, rtol=1e-5)


@every_reading
@pytest.mark.parametrize("row", [1, 2])
def test_a_video_alone_and_in_a_batch_give_the_same_events(
    variant: str, modalities: str, row: int
) -> None:
    """Alone it has less padding, too, if its weights do not hold a length."""
    model = build_strong(variant, modalities=modalities)
    padded = padded_length(int(USUAL.mask[row].sum()), LENGTH, model.detector.strides[-1])
    assert padded < LENGTH or variant == "DEL, seven levels"
    alone = rows_of(USUAL, [row], padded)
    together = model.detect(predict(model, USUAL), USUAL)[row]
    (found,) = model.detect(predict(model, alone), alone)
    assert len(together) > 4
    assert found.scores is not None
    assert together.scores is not None
    # Beyond the first events of many, rounding may change the order of equals.
    best = slice(min(50, len(together)))
    torch.testing.assert_close(found.scores[best], together.scores[best], atol=1e-4, rtol=0)
    torch.testing.assert_close(found.segments[best], together.segments[best], atol=1e-3, rtol=0)
    assert torch.equal(found.labels[best], together.labels[best])


@settings(max_examples=25, deadline=None)
@given(
    variant=st.sampled_from(ANY_LENGTH),
    lengths=st.lists(st.integers(1, LENGTH), min_size=1, max_size=3),
    seed=st.integers(0, 100),
    ends=st.none() | st.tuples(*[st.integers(0, LENGTH)] * 3),
)
def test_padding_does_not_matter(
    variant: str, lengths: list[int], seed: int, ends: tuple[int, int, int] | None
) -> None:
    """Nor where the sound of each video ends."""
    model = build_strong(variant)
    batch = make_batch(lengths, [[] for _ in lengths], seed=seed)
    if ends is not None:
        batch = with_sound(batch, [(0, end) for end in ends[: len(lengths)]])
    steps = padded_length(max(lengths), LENGTH, model.detector.strides[-1])
    expected = predict(model, batch)
    found = predict(model, rows_of(batch, list(range(len(lengths))), steps))
    for ours, theirs in zip(outputs(found), outputs(expected), strict=True):
        torch.testing.assert_close(ours, theirs[:, : ours.shape[1]], atol=1e-3, rtol=1e-3)


@one_modality
def test_the_other_modality_is_never_looked_at(variant: str, modalities: str) -> None:
    model, hidden = build_strong(variant, modalities=modalities), rows_of(USUAL, [0, 1, 2])
    setattr(
        hidden, "audio" if modalities == "visual" else "visual", torch.full((3, 1, 64), torch.nan)
    )
    expected, found = predict(model, USUAL), predict(model, hidden)
    for ours, theirs in zip(outputs(found), outputs(expected), strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(total_loss(model, hidden), total_loss(model, USUAL))


@every_variant
def test_both_modalities_are_looked_at(variant: str) -> None:
    model = build_strong(variant)
    expected = predict(model, USUAL)
    for name in ("visual", "audio"):
        changed = rows_of(USUAL, [0, 1, 2])
        setattr(changed, name, -getattr(changed, name))
        found = predict(model, changed)
        assert not torch.allclose(found.logits[0], expected.logits[0], atol=1e-3)


@every_reading
def test_low_precision_is_finite(variant: str, modalities: str) -> None:
    model = build(variant, modalities=modalities)
    for case in ("usual", "one video of one step without an event", "sound in some"):
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            total = total_loss(model, ODD[case])
        total.backward()
        assert total.dtype == torch.float32
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert all(gradient.isfinite().all() for gradient in gradients)


# Videos without sound -----------------------------------------------------------------------------


@every_reading
def test_a_video_with_sound_does_not_notice_those_without(variant: str, modalities: str) -> None:
    model = build_strong(variant, modalities=modalities)
    expected, found = predict(model, rows_of(USUAL, [0])), predict(model, SOME_SOUND)
    for ours, theirs in zip(outputs(found), outputs(expected), strict=True):
        assert ours.isfinite().all()
        torch.testing.assert_close(ours[:1], theirs, atol=1e-4, rtol=1e-4)


@every_reading
def test_what_stands_where_there_is_no_sound_is_not_heard(variant: str, modalities: str) -> None:
    model, noisy = build_strong(variant, modalities=modalities), replace(SOME_SOUND)
    noisy.audio = noisy.audio.nan_to_num(1e3)  # in the others stands NaN
    expected, found = predict(model, SOME_SOUND), predict(model, noisy)
    for ours, theirs in zip(outputs(found), outputs(expected), strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(total_loss(model, noisy), total_loss(model, SOME_SOUND))


@every_reading
def test_sound_everywhere_is_no_mask_at_all(variant: str, modalities: str) -> None:
    model, masked = build_strong(variant, modalities=modalities), replace(USUAL)
    masked.audio_mask = masked.mask
    expected, found = predict(model, USUAL), predict(model, masked)
    for ours, theirs in zip(outputs(found), outputs(expected), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)
    losses = losses_of(model, masked), losses_of(model, USUAL)
    torch.testing.assert_close(*losses, atol=1e-6, rtol=1e-6)


@every_variant
def test_a_stream_without_content_is_zero(variant: str) -> None:
    """And the visual stream is not."""
    features = predict(build_strong(variant), SOME_SOUND).features
    audio_mask = SOME_SOUND.audio_mask
    assert audio_mask is not None
    assert torch.equal(features["stream_masks"]["audio"], audio_mask)
    assert not features["encoded"]["audio"][~audio_mask].any()
    assert features["encoded"]["audio"][audio_mask].any()
    for audio, visual in zip(*(features["levels"][x] for x in ("audio", "visual")), strict=True):
        assert not audio[1].any()
        assert visual[1].any()


@every_variant
def test_no_audio_track_is_not_the_same_as_zeros(variant: str) -> None:
    """Zeros that are heard become biases and positions; a mask keeps them out."""
    model, zeros = build_strong(variant), rows_of(SILENT, [1])
    expected = predict(model, zeros)
    found = predict(model, with_sound(zeros, [NO_TRACK]))
    assert not torch.allclose(found.logits[0], expected.logits[0], atol=1e-3)


@every_variant
def test_without_an_audio_track_no_pair_of_modalities_is_compared(variant: str) -> None:
    model = build_strong(variant).train()
    losses = losses_of(model, ODD["no audio track in any"])
    pairs = {"loss_correspondence", "loss_inter", "loss_intra"} & set(losses)
    assert {name: float(losses[name].detach()) for name in pairs} == dict.fromkeys(pairs, 0.0)
    assert float(losses["loss_cls"].detach()) > 0


@pytest.mark.parametrize("variant", MAIN)
def test_no_shape_depends_on_the_sound(variant: str) -> None:
    model, batch = build(variant).to("meta"), SOME_SOUND.to("meta")
    assert {x.shape for x in losses_of(model, batch).values()} == {()}


@pytest.mark.slow
@pytest.mark.parametrize("batch", [USUAL, SOME_SOUND], ids=["usual", "sound in some"])
@pytest.mark.parametrize("variant", MAIN)
def test_compiled_without_a_graph_break(variant: str, batch: Batch) -> None:
    """The whole of a training step's loss; `eager` traces and leaves the kernels alone."""
    torch.compiler.reset()
    model = build_strong(variant, **TWO_LEVELS)

    def loss(visual: Tensor, audio: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        predictions = model(visual, audio, batch.mask, batch.audio_mask)
        return predictions.logits, list(model.losses(predictions, batch).values())

    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    expected, found = (f(batch.visual, batch.audio) for f in (loss, compiled))
    torch.testing.assert_close(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_two_hundred_steps_in_low_precision(method: str) -> None:
    """The loss stays finite and falls; one batch, learned by heart."""
    model = build(method, **TWO_LEVELS, max_length=16, initial_normalizer=10.0)
    batch = make_batch([16, 9], [[(1.0, 5.0, 0), (3.0, 14.0, 1)], [(0.5, 6.0, 2)]], padded=16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, fused=True)
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            total = total_loss(model, batch)
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        losses.append(total.detach())
    assert torch.stack(losses).isfinite().all()
    assert torch.stack(losses[-10:]).mean() < 0.5 * torch.stack(losses[:10]).mean()


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v.endswith("windows")])
def test_windows_as_wide_as_the_video_change_nothing(variant: str) -> None:
    """And narrow ones do; the networks have the same weights."""
    full = build_strong(variant, attention_window=None)
    wide, narrow = (
        build_with_weights_of(full, variant, attention_window=window) for window in (127, 5)
    )
    expected, found = predict(full, USUAL), predict(wide, USUAL)
    for ours, theirs in zip(outputs(found), outputs(expected), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(predict(narrow, USUAL).logits[0], expected.logits[0], atol=1e-3)


def test_del_is_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its alignment and gates hold all steps for a block of rows alone; values and gradients."""
    results = []
    for num_rows in (320, 10):
        monkeypatch.setattr("davezoo.nn.layers.BLOCK_ROWS", num_rows)
        for modalities in ("both", "visual"):
            model = build_strong("DEL, length-free", modalities=modalities)
            total_loss(model, USUAL).backward()
            gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
            results.append((list(outputs(predict(model, USUAL))), gradients))
    for whole, blocks in zip(results[:2], results[2:], strict=True):
        torch.testing.assert_close(blocks, whole, atol=1e-4, rtol=1e-3)
