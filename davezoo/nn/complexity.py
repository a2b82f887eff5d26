"""Parameters and multiply-accumulates of a detector, in the convention of the papers' tables.

The papers count convolution and linear layers only: their weights and biases, and one
multiply-accumulate per weight and output position. Norms, gains and attention products are not in
their figures; here they stand in columns of their own.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from davezoo.nn.detector import Detector
from davezoo.nn.layers import TemporalConv
from davezoo.structures import Batch


@dataclass(frozen=True)
class Complexity:
    """Size and cost of one forward pass over one video.

    Args:
        layer_parameters: weights and biases of the convolution and linear layers that ran.
        parameters: all parameters.
        layer_macs: multiply-accumulates of those layers.
        attention_macs: multiply-accumulates of attention products, of activations with activations,
            counted densely; those of losses are left out.
    """

    layer_parameters: int
    parameters: int
    layer_macs: int
    attention_macs: int


_PRODUCTS = (torch.matmul, Tensor.matmul, Tensor.__matmul__)  # layers call none of them


class _AttentionCounter(TorchFunctionMode):
    """Sums the products of activations with activations, those within attention among them."""

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            query, key = args[0], args[1]
            self.macs += 2 * query.numel() * key.shape[-2]
        result = func(*args, **(kwargs or {}))
        if func in _PRODUCTS:
            self.macs += result.numel() * args[0].shape[-1]
        return result


def count_complexity(detector: Detector, num_steps: int) -> Complexity:
    """Count parameters and multiply-accumulates for one video of `num_steps` steps.

    Runs a copy on the meta device: nothing is computed, nothing is allocated. Layers of the losses
    alone count, as in the papers.

    Args:
        detector: any detector of the zoo; it is not changed.
        num_steps: grid steps, a multiple of the coarsest stride.

    Returns:
        The counts; UnAV with 1536/1536 inputs and 256 steps gives the 140.79 M and 60.28 G of
        LoCo's Table VII as `layer_parameters` and `layer_macs`.
    """
    weights: list[Tensor] = [*detector.parameters(), *detector.buffers()]
    on_meta = {id(x): x.detach().to("meta") for x in weights}
    for name in {id(p) for p in detector.parameters()}:
        on_meta[name] = nn.Parameter(on_meta[name])
    network = copy.deepcopy(detector, memo=on_meta).eval()  # a copy of the structure alone
    counted: dict[int, int] = {}
    macs = 0

    def count(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        nonlocal macs
        own = module.bias.numel() if isinstance(module.bias, Tensor) else 0
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Linear)):
            weight: Tensor = module.weight
            own += weight.numel()
            macs += output.numel() // weight.shape[0] * weight.numel()
        counted[id(module)] = own

    kinds = (nn.Conv1d, nn.Conv2d, nn.Linear, TemporalConv)
    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, kinds)]
    visual = torch.empty(1, detector.visual_width, num_steps, device="meta")
    audio = torch.empty(1, detector.audio_width, num_steps, device="meta")
    mask = torch.ones(1, num_steps, dtype=torch.bool, device="meta")
    nothing = Batch(
        visual=visual,
        audio=audio,
        mask=mask,
        segments=torch.empty(1, 1, 2, device="meta"),
        labels=torch.empty(1, 1, dtype=torch.int64, device="meta"),
        video_ids=["video"],
        durations=[0.0],
        grids=[],
    )
    with torch.no_grad(), _AttentionCounter() as attention:
        predictions = network(visual, audio, mask)
    with torch.no_grad():
        network.auxiliary_losses(predictions, nothing)
    for hook in hooks:
        hook.remove()
    return Complexity(
        layer_parameters=sum(counted.values()),
        parameters=sum(p.numel() for p in detector.parameters()),
        layer_macs=macs,
        attention_macs=attention.macs,
    )
