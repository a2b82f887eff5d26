"""Counts of a network that can be counted by hand."""

import pytest
import torch

from davezoo.nn.complexity import count_complexity
from tests.nn.tiny import TinyDetector


@pytest.mark.parametrize("steps", [2, 6])
def test_counts_by_hand(steps):
    count = count_complexity(TinyDetector(), steps)
    wide, narrow, depthwise, linear = 3 * 3 * 6, 3 * 6 * 2, 2 * 3, 2 * 4
    bias_of_wide, bias_of_linear, norm, unused = 6, 4, 2 * 2, 7 * 7 + 7
    weights = wide + narrow + depthwise + linear
    assert count.layer_parameters == weights + bias_of_wide + bias_of_linear
    assert count.parameters == count.layer_parameters + norm + unused
    assert count.layer_macs == steps * weights
    # `steps` queries of width 2 meet half as many keys, and then half as many values.
    assert count.attention_macs == 2 * steps * (steps // 2) * 2


def test_the_detector_is_left_alone():
    detector = TinyDetector()
    before = {name: x.clone() for name, x in detector.state_dict().items()}
    count_complexity(detector, 4)
    assert detector.training
    assert not any(module._forward_hooks for module in detector.modules())
    for name, x in detector.state_dict().items():
        assert x.device.type == "cpu"
        assert torch.equal(x, before[name])
