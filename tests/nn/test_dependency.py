"""The dependency block: who sees whom."""

import pytest
import torch

from davezoo.nn.dependency import DependencyBlock
from tests.nn.plain import randomise

LENGTHS = [8, 4]


@pytest.fixture
def block():
    torch.manual_seed(0)
    return randomise(DependencyBlock(6, 3, inner_width=4).double()).eval()


def inputs(lengths):
    torch.manual_seed(1)
    mask = torch.arange(8) < torch.tensor(lengths)[:, None]
    mask = torch.cat([mask, mask[:, ::2]], dim=1)
    return torch.randn(len(lengths), 12, 6, dtype=torch.float64) * mask[..., None], mask


def test_shape_and_mask(block):
    x, mask = inputs([8, 3])
    out = block(x, mask, LENGTHS)
    assert out.shape == x.shape
    assert not out[~mask].any()


def test_each_video_has_its_own_mask(block):
    """The fault of the published codes: there, a batch changes its videos."""
    x, mask = inputs([8, 3, 1])
    together = block(x, mask, LENGTHS)
    for row in range(3):
        alone = block(x[row : row + 1], mask[row : row + 1], LENGTHS)
        torch.testing.assert_close(together[row : row + 1], alone)


def test_levels_do_not_see_each_other(block):
    x, mask = inputs([8])
    changed = torch.cat([x[:, :8], x[:, 8:] + 1], dim=1)
    before, after = block(x, mask, LENGTHS), block(changed, mask, LENGTHS)
    torch.testing.assert_close(before[:, :8], after[:, :8])
    assert not torch.allclose(before[:, 8:], after[:, 8:])


def test_extra_features_are_added_by_class(block):
    x, mask = inputs([8, 3])
    nothing = [torch.zeros(2, steps, 3, 4, dtype=torch.float64) for steps in LENGTHS]
    plain = block(x, mask, LENGTHS)
    torch.testing.assert_close(block(x, mask, LENGTHS, nothing), plain)
    something = [nothing[0], nothing[1] + 1]
    changed = block(x, mask, LENGTHS, something)
    torch.testing.assert_close(changed[:, :8], plain[:, :8])
    assert not torch.allclose(changed[:, 8:], plain[:, 8:])


def test_window_of_the_temporal_branch(block):
    """Wide enough it changes nothing; a narrow one cuts off steps, not classes."""
    x, mask = inputs([8, 3])
    wide, narrow = (DependencyBlock(6, 3, 4, window=window).double() for window in (15, 3))
    for other in (wide, narrow):
        other.load_state_dict(block.state_dict())
    torch.testing.assert_close(wide(x, mask, LENGTHS), block(x, mask, LENGTHS))
    changed = x.clone()
    changed[0, 0] += 1
    differs = (narrow(x, mask, LENGTHS) - narrow(changed, mask, LENGTHS)).abs().sum(-1)[0] > 1e-9
    # One step each: expansion, depthwise convolution, window, squeeze.
    assert differs.nonzero().flatten().tolist() == [0, 1, 2, 3, 4]
