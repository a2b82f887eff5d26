"""Layers over time. Sequences are (B, T, C): channels last, so that 1x1 convolutions are products.

A pyramid travels as one sequence (B, P, C) with its levels one after the other and `lengths`, the
number of steps of each level. One product over all points replaces a small convolution per level.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

_Result = TypeVar("_Result")

# Rows at a time of what looks at all steps; the usual 224 and 256 steps are one block.
BLOCK_ROWS = 320


def without_autocast(x: Tensor) -> torch.autocast:
    """Return a context in which the operations on the device of a tensor keep their dtype.

    For sums of many terms, which half precision would spoil. The meta device knows no autocast.
    """
    device = x.device.type
    known = device if torch.amp.is_autocast_available(device) else "cpu"
    return torch.autocast(known, enabled=False)


def in_blocks(rows_of: Callable[[slice], Tensor], num_rows: int) -> Tensor:
    """Compute a tensor block by block of its rows, so that what each block needs is held alone.

    A row that looks at all steps needs a number for each of them. Kept for all rows at once, memory
    would grow with the square of the number of steps; the backward pass computes each block again.

    Args:
        rows_of: returns the given rows, (..., rows, C).
        num_rows: rows in all.

    Returns:
        All rows, (..., `num_rows`, C).
    """
    return torch.cat(each_block(rows_of, num_rows, BLOCK_ROWS), dim=-2)


def each_block(
    function: Callable[[slice], _Result], num_rows: int, block_rows: int
) -> list[_Result]:
    """Call a function for one block of rows after the other; see `in_blocks`.

    Args:
        function: what is called, without random draws.
        num_rows: rows in all.
        block_rows: rows of a block.
    """
    if num_rows <= block_rows:
        return [function(slice(0, num_rows))]
    return [
        checkpoint(
            function,
            slice(start, min(start + block_rows, num_rows)),
            use_reentrant=False,
            preserve_rng_state=False,
        )
        for start in range(0, num_rows, block_rows)
    ]


def zero_bias_linear(in_width: int, out_width: int) -> nn.Linear:
    """Return a linear layer whose bias starts at zero."""
    layer = nn.Linear(in_width, out_width)
    nn.init.zeros_(layer.bias)
    return layer


def _previous(x: Tensor) -> Tensor:
    """Return at each step the step before it, zero at the first."""
    return F.pad(x, (0, 0, 1, -1))


def _next(x: Tensor) -> Tensor:
    """Return at each step the step after it, zero at the last."""
    return F.pad(x, (0, 0, -1, 1))


class TemporalConv(nn.Module):
    """Masked convolution over time with kernel 3, computed as one matrix product.

    The three taps are laid side by side on the narrower of input and output, so that the wide side
    is never copied: neighbours are gathered before the product, or shifted and summed after it.
    Levels of a pyramid do not see each other; beyond both ends of a level stand zeros.

    Args:
        in_width: channels of the input.
        out_width: channels of the output.
        bias: learn an additive bias.
        stride: 1, or 2 to halve the number of steps of every level.
    """

    def __init__(
        self, in_width: int, out_width: int, *, bias: bool = False, stride: int = 1
    ) -> None:
        super().__init__()
        self.stride = stride
        self.gathers_input = in_width <= out_width
        shape = (3 * in_width, out_width) if self.gathers_input else (in_width, 3 * out_width)
        self.taps = nn.Linear(*shape, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_width)) if bias else None
        bound = 1 / math.sqrt(3 * in_width)  # PyTorch's own initialisation of a convolution
        nn.init.uniform_(self.taps.weight, -bound, bound)

    def forward(self, x: Tensor, mask: Tensor, lengths: Sequence[int]) -> Tensor:
        """Convolve (B, P, C) within each level and zero what `mask` excludes.

        Args:
            x: levels one after the other.
            mask: valid points after the stride, (B, P / stride).
            lengths: steps of each level before the stride.
        """
        every = slice(None, None, self.stride)
        if self.gathers_input:
            levels = torch.split(x, list(lengths), dim=1)
            taps = [
                torch.cat([z[:, every] for z in (_previous(y), y, _next(y))], dim=-1)
                for y in levels
            ]
            out = self.taps(torch.cat(taps, dim=1))
        else:
            levels = torch.split(self.taps(x), list(lengths), dim=1)
            triples = (y.chunk(3, dim=-1) for y in levels)
            summed = [_previous(a) + b + _next(c) for a, b, c in triples]
            out = torch.cat([y[:, every] for y in summed], dim=1)
        if self.bias is not None:
            out = out + self.bias
        masked: Tensor = out * mask.unsqueeze(-1)
        return masked

    @staticmethod
    def taps_of(kernel: Tensor) -> Tensor:
        """Lay the kernel of a `Conv1d`, (C_out, C_in, 3), out as the weight of `taps`."""
        out_width, in_width, _ = kernel.shape
        if in_width <= out_width:
            return kernel.permute(0, 2, 1).reshape(out_width, 3 * in_width)
        return kernel.permute(2, 0, 1).reshape(3 * out_width, in_width)


class DepthwiseConv(nn.Conv2d):
    """Depthwise convolution over time, kernel 3, no bias.

    (B, T, C) read as an image of height 1 in channels-last order: on short sequences oneDNN is
    several times faster on it than on a 1-D convolution over (B, C, T), and nothing is copied.

    Args:
        width: channels.
        stride: 1, or 2 to halve the number of steps.
    """

    def __init__(self, width: int, stride: int = 1) -> None:
        super().__init__(width, width, (1, 3), (1, stride), (0, 1), groups=width, bias=False)

    def forward(self, x: Tensor, lengths: Sequence[int] | None = None) -> Tensor:
        """Convolve (B, T, C) to (B, ceil(T / stride), C).

        Args:
            x: (B, T, C), or a pyramid (B, P, C).
            lengths: steps of each level of a pyramid; they do not see each other.
        """
        if lengths is None:
            return self._convolve(x)
        levels = torch.split(x, list(lengths), dim=1)
        return torch.cat([self._convolve(level) for level in levels], dim=1)

    def _convolve(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2).unsqueeze(2)).squeeze(2).transpose(1, 2)


class ScaledResidual(nn.Module):
    """Add a path with a gain per channel; while training drop it for whole rows at random.

    Args:
        width: channels.
        drop_path: probability that the path of one row (first axis) is dropped while training.
        initial_scale: start of the gain; small, so that a block starts near the identity.

    Reference:
        Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016; Touvron et al., "Going
        deeper with Image Transformers", ICCV 2021 (LayerScale).
    """

    def __init__(self, width: int, drop_path: float = 0.0, initial_scale: float = 1e-4) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.scale = nn.Parameter(torch.full((width,), initial_scale))

    def forward(self, residual: Tensor, path: Tensor) -> Tensor:
        """Return `residual + scale * path`, both (N, T, C)."""
        gain: Tensor = self.scale
        if self.training and self.drop_path > 0:
            keep = 1 - self.drop_path
            draw = torch.rand((len(path), 1, 1), dtype=gain.dtype, device=gain.device)
            gain = gain * ((keep + draw).floor() / keep)  # (N, 1, C): the path is read only once
        return torch.addcmul(residual, path, gain)


class SinusoidalPositions(nn.Module):
    """Sine and cosine code of the time step, divided by the square root of the width.

    A video longer than the table has it stretched over its padded length by linear interpolation,
    each video by its own length, so that its batch does not change its code.

    Args:
        width: channels.
        max_length: steps of the table.
        length_multiple: videos are padded to a multiple of this many steps.

    Reference:
        Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.5.
    """

    table: Tensor

    def __init__(self, width: int, max_length: int, length_multiple: int) -> None:
        super().__init__()
        self.max_length = max_length
        self.length_multiple = length_multiple
        channel = torch.arange(width, dtype=torch.float64)
        rate = 10000 ** (2 * (channel // 2) / width)
        angle = torch.arange(max_length, dtype=torch.float64)[:, None] / rate
        table = torch.where(channel % 2 == 0, angle.sin(), angle.cos()) / math.sqrt(width)
        self.register_buffer("table", table.float(), persistent=False)

    def forward(self, mask: Tensor) -> Tensor:
        """Return the code of each step, (B, T, C) or (1, T, C), zero nowhere.

        Args:
            mask: True on the steps that belong to the video, (B, T).
        """
        num_steps = mask.shape[1]
        if num_steps <= self.max_length:
            return self.table[None, :num_steps]
        multiple = self.length_multiple
        padded = (mask.sum(1, keepdim=True) + multiple - 1) // multiple * multiple
        ratio = self.max_length / padded.clamp(min=self.max_length)  # (B, 1)
        steps = torch.arange(num_steps, device=mask.device)
        position = ((steps + 0.5) * ratio - 0.5).clamp(0, self.max_length - 1)  # (B, T)
        low = position.floor().long()
        high = (low + 1).clamp(max=self.max_length - 1)
        part = (position - low).to(self.table).unsqueeze(-1)
        return torch.lerp(self.table[low], self.table[high], part)
