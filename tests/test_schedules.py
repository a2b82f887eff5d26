"""The learning rate; tests/methods/test_unav.py compares it with the published one."""

from itertools import pairwise

import pytest
import torch

from davezoo.schedules import warmup_cosine


def rates(warmup_steps: int, num_steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = warmup_cosine(optimizer, warmup_steps, num_steps)
    found = []
    for _ in range(num_steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_rises_to_the_peak_and_falls() -> None:
    found = rates(5, 20)
    assert found[0] == pytest.approx(1e-8)
    assert found[4] == found[5] == pytest.approx(1.0)
    assert all(a > b for a, b in pairwise(found[5:]))


@pytest.mark.parametrize(("warmup", "steps"), [(0, 5), (1, 5), (5, 5), (9, 3), (2, 1), (0, 1)])
def test_short_trainings_have_a_rate(warmup: int, steps: int) -> None:
    found = rates(warmup, steps)
    assert len(found) == steps
    assert all(0 < rate <= 1.0 + 1e-9 for rate in found)
