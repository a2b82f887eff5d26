"""The correspondence loss against Algorithm 1 of the paper written out, and its properties."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from davezoo.nn.correspondence import CorrespondenceCorrection

OBJECTIVES = ["adjustable_gaussian", "fixed_gaussian", "softened", "diagonal"]
D = {"dtype": torch.float64}


def make(objective="adjustable_gaussian", width=8, seed=0):
    torch.manual_seed(seed)
    correction = CorrespondenceCorrection(width, objective)
    for parameter in correction.projectors.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return correction


def inputs(lengths, steps, width=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(steps) < torch.tensor(lengths)[:, None]
    shape = (len(lengths), steps, width)
    names = ("visual", "audio")
    return {name: torch.randn(shape, generator=generator) for name in names}, mask


def gaussian(num_steps, sigma):
    """`Gaussian` of Algorithm 1."""
    distance = (torch.arange(num_steps)[:, None] - torch.arange(num_steps)[None]) / math.sqrt(2)
    return 1 / (sigma * math.sqrt(2 * math.pi)) * torch.exp(-(distance**2) / 2.0 / sigma**2)


def target(objective, mask, sigma):
    """The whole target, (M, M) over the valid steps of the batch."""
    total = int(mask.sum())
    if objective == "diagonal":
        return torch.eye(total, **D)
    if objective == "softened":
        return 0.8 * torch.eye(total, **D) + 0.2 / max(total - 1, 1)
    blocks = [gaussian(len(row), sigma).double()[row][:, row] for row in mask]
    return torch.block_diag(*blocks)


def algorithm_1(visual, audio, tau, goal):
    """`Calculate_LCC` of Algorithm 1 on steps without padding, (M, C) each."""
    sim_v2a = visual @ audio.T / tau
    sim_a2v = audio @ visual.T / tau
    v2a = -(torch.log_softmax(sim_v2a, dim=1) * goal).sum(1).mean()
    a2v = -(torch.log_softmax(sim_a2v, dim=1) * goal).sum(1).mean()
    return (v2a + a2v) / 2


def reference(correction, streams, mask):
    vectors = []
    for name in ("visual", "audio"):
        rows = correction.projectors[name](streams[name][mask])
        vectors.append(torch.nn.functional.normalize(rows, dim=-1).double())
    sigma = 1.0 if correction.log_sigma is None else float(correction.log_sigma.detach().exp())
    goal = target(correction.objective, mask, sigma)
    return algorithm_1(*vectors, correction.log_temperature.exp().double(), goal)


@settings(max_examples=40, deadline=None)
@given(
    objective=st.sampled_from(OBJECTIVES),
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    temperature=st.sampled_from([0.01, 0.07, 0.5]),
    sigma=st.sampled_from([0.2, 1.0, 3.0]),
    seed=st.integers(0, 100),
    gaps=st.sets(st.integers(1, 8)),
)
def test_equals_algorithm_1(objective, lengths, temperature, sigma, seed, gaps):
    """Also on steps with gaps between them, in which there is no sound."""
    correction = make(objective, seed=seed)
    correction.log_temperature.data.fill_(math.log(temperature))
    if correction.log_sigma is not None:
        correction.log_sigma.data.fill_(math.log(sigma))
    streams, mask = inputs(lengths, 9, seed=seed)
    mask = mask & torch.tensor([step not in gaps for step in range(9)])
    expected = reference(correction, streams, mask)
    found = correction(streams, mask).double()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_gradients_are_those_of_algorithm_1(objective):
    """Except for sigma, which the target of the reference holds as a number."""
    correction = make(objective)
    streams, mask = inputs([9, 4, 1], 9)
    gradients = []
    for loss in (correction(streams, mask), reference(correction, streams, mask)):
        correction.zero_grad()
        loss.backward()
        named = correction.named_parameters()
        gradients.append({n: p.grad.clone() for n, p in named if n != "log_sigma"})
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5)


# The target --------------------------------------------------------------------------------------


def test_rows_of_the_target_are_not_normalised():
    """A row in the middle sums to sqrt(2), one at the end to little more than half of it."""
    rows = make()._gaussian(slice(64), 64).sum(1)
    assert float(rows[32].detach()) == pytest.approx(math.sqrt(2), abs=1e-4)
    assert float(rows[0].detach()) == pytest.approx(0.91, abs=0.005)


@pytest.mark.parametrize(("sigma", "expected"), [(0.2, 2.0005), (0.3, 1.50), (0.5, 1.414)])
def test_rows_grow_as_sigma_shrinks(sigma, expected):
    """What keeps sigma from collapsing to the diagonal."""
    correction = make()
    correction.log_sigma.data.fill_(math.log(sigma))
    row = float(correction._gaussian(slice(64), 64)[32].sum().detach())
    assert row == pytest.approx(expected, abs=0.01)


def test_sigma_learns_through_the_target():
    """Where all similarities are alike, a wider sigma costs less."""
    correction = make()
    mask = torch.ones(1, 64).bool()
    same = {name: torch.ones(1, 64, 8) for name in ("visual", "audio")}
    correction(same, mask).backward()
    assert float(correction.log_sigma.grad) < 0

    def loss_at(sigma):
        correction.log_sigma.data.fill_(math.log(sigma))
        return float(correction(same, mask).detach())

    slope = (loss_at(math.exp(0.01)) - loss_at(math.exp(-0.01))) / 0.02
    assert float(correction.log_sigma.grad) == pytest.approx(slope, rel=1e-2)


def test_parameters_stay_within_their_limits_while_training():
    correction = make()
    streams, mask = inputs([9], 9)
    for value, temperature, sigma in ((9.0, 0.5, 8.0), (-9.0, 0.001, 0.2)):
        correction.log_temperature.data.fill_(value)
        correction.log_sigma.data.fill_(value)
        correction.train()(streams, mask)
        assert float(correction.log_temperature.detach().exp()) == pytest.approx(temperature)
        assert float(correction.log_sigma.detach().exp()) == pytest.approx(sigma)


def test_start_and_what_is_learned():
    scalars = {
        objective: {
            n: float(p.detach().exp()) for n, p in make(objective).named_parameters() if not p.ndim
        }
        for objective in OBJECTIVES
    }
    temperature = {"log_temperature": pytest.approx(0.07)}
    assert scalars.pop("adjustable_gaussian") == {**temperature, "log_sigma": 1.0}
    assert all(found == temperature for found in scalars.values())


def test_start_of_the_loss():
    """About sqrt(2) ln M: with a weight of 0.1 it is of the size of the other losses."""
    torch.manual_seed(0)
    correction = CorrespondenceCorrection(512)
    streams, mask = inputs([128, 128], 128, width=512)
    found = float(correction(streams, mask).detach())
    assert found == pytest.approx(math.sqrt(2) * math.log(256), rel=0.1)


# Padding, batches, precision ---------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    objective=st.sampled_from(OBJECTIVES),
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    more=st.integers(0, 7),
    seed=st.integers(0, 100),
)
def test_padding_does_not_matter(objective, lengths, more, seed):
    correction = make(objective, seed=seed)
    streams, mask = inputs(lengths, 9, seed=seed)
    pad = torch.nn.functional.pad
    grown = {name: pad(x, (0, 0, 0, more), value=9.0) for name, x in streams.items()}
    results = []
    for rows, valid in ((streams, mask), (grown, pad(mask, (0, more)))):
        correction.zero_grad()
        loss = correction(rows, valid)
        loss.backward()
        results.append([loss.detach(), *(p.grad.clone() for p in correction.parameters())])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(3)), objective=st.sampled_from(OBJECTIVES))
def test_order_of_the_batch_does_not_matter(order, objective):
    correction = make(objective)
    streams, mask = inputs([9, 4, 1], 9)
    other = correction({name: x[order] for name, x in streams.items()}, mask[order])
    torch.testing.assert_close(other, correction(streams, mask))


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("lengths", [[1], [1, 1], [0]])
def test_gradients_are_finite_with_hardly_a_step(objective, lengths):
    correction = make(objective)
    streams, mask = inputs(lengths, 4)
    loss = correction(streams, mask)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in correction.parameters())


def test_half_precision_is_left_outside():
    correction = make()
    streams, mask = inputs([9, 4], 9)
    expected = correction(streams, mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(correction(streams, mask), expected)
    halves = {name: x.bfloat16() for name, x in streams.items()}
    assert correction(halves, mask).dtype == torch.float32
    assert correction.bfloat16()(halves, mask).dtype == torch.float32


def test_exception_of_the_objective():
    with pytest.raises(ValueError, match=r"`correspondence` to be one of .*'none'.*got 'gauss'"):
        CorrespondenceCorrection(8, "gauss")


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_rows_at_a_time_give_the_whole(objective, monkeypatch):
    """Value and gradients; the last block is shorter, and one is padding alone."""
    results = []
    for rows, steps in ((1024, 320), (7, 3)):
        monkeypatch.setattr("davezoo.nn.correspondence._BLOCK_ROWS", rows)
        monkeypatch.setattr("davezoo.nn.layers.BLOCK_ROWS", steps)
        correction = make(objective)
        torch.manual_seed(1)
        streams = {name: torch.randn(2, 20, 8) for name in ("visual", "audio")}
        mask = torch.arange(20) < torch.tensor([20, 4])[:, None]
        loss = correction(streams, mask)
        loss.backward()
        gradients = {name: p.grad for name, p in correction.named_parameters()}
        results.append((loss.detach(), gradients))
    torch.testing.assert_close(*results, atol=1e-5, rtol=1e-4)
