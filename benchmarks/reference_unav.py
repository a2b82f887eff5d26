"""UnAV written slowly and plainly from the description of the published code.

The side that `benchmarks.model` compares with, and a second opinion on `davezoo.methods.unav`:
sequences are (B, C, T), every convolution is a `Conv1d` followed by the mask, attention is a matrix
product and a softmax, the dependency block and the heads run level by level, labels are assigned by
a loop over points. Names of parameters are those of `UnAVDetector`, so that weights carry over.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from davezoo.structures import Predictions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from davezoo.nn.detector import Detector

_INNER_WIDTH = 128
STRIDES = (1, 2, 2, 2, 2, 2)  # of each level over the one before


class MaskedConv(nn.Conv1d):
    """Convolution with zero padding, then the mask at the resolution of its output."""

    def __init__(
        self,
        in_width: int,
        out_width: int,
        kernel: int = 3,
        stride: int = 1,
        groups: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__(
            in_width, out_width, kernel, stride, padding=kernel // 2, groups=groups, bias=bias
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Convolve (B, C, T) and multiply by the mask, (B, 1, T) before the stride."""
        return super().forward(x) * mask[:, :, :: self.stride[0]]


class ChannelNorm(nn.Module):
    """Normalise every step over its channels, with gain and bias shaped (1, C, 1)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, width, 1))
        self.bias = nn.Parameter(torch.zeros(1, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, T)."""
        centred = x - x.mean(dim=1, keepdim=True)
        variance = (centred**2).mean(dim=1, keepdim=True)
        return centred / torch.sqrt(variance + 1e-5) * self.weight + self.bias


class ScaledPath(nn.Module):
    """Gain of each channel, then stochastic depth: the whole path of a row is kept or dropped."""

    def __init__(self, width: int, drop_path: float) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.scale = nn.Parameter(torch.full((1, width, 1), 1e-4))

    def forward(self, path: Tensor) -> Tensor:
        """Scale (B, C, T)."""
        path = self.scale * path
        if not self.training or self.drop_path == 0:
            return path
        keep = 1 - self.drop_path
        return path / keep * torch.floor(keep + torch.rand(len(path), 1, 1, device=path.device))


class Projection(nn.Module):
    """Depthwise convolution, norm, 1x1 convolution."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.conv = MaskedConv(width, width, stride=stride, groups=width)
        self.norm = ChannelNorm(width)
        self.linear = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Project (B, C, T) to (B, C, T / stride)."""
        out: Tensor = self.linear(self.norm(self.conv(x, mask)))
        return out


class Attention(nn.Module):
    """Attention with its scores and its softmax written out."""

    def __init__(self, width: int, num_heads: int, stride: int) -> None:
        super().__init__()
        self.num_heads, self.stride = num_heads, stride
        self.query, self.key, self.value = (Projection(width, stride) for _ in range(3))
        self.out = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor, y: Tensor, mask: Tensor, mask_keys: bool) -> Tensor:
        """Let `y` ask and `x` answer; rows without a valid step must not mask their keys."""

        def heads(z: Tensor) -> Tensor:  # (B, C, T) to (B, H, T, C / H)
            return z.view(len(z), self.num_heads, -1, z.shape[2]).transpose(2, 3)

        query, key = heads(self.query(y, mask)), heads(self.key(x, mask))
        value = heads(self.value(x, mask))
        mask = mask[:, :, :: self.stride]  # (B, 1, T / stride)
        scores = (query / math.sqrt(query.shape[3])) @ key.transpose(2, 3)
        if mask_keys:
            scores = scores.masked_fill(~mask[:, :, None], -math.inf)
        mixed = scores.softmax(dim=3) @ (value * mask[:, :, :, None])  # (B, H, T, C / H)
        out: Tensor = self.out(mixed.transpose(2, 3).flatten(1, 2))
        return out * mask


class Block(nn.Module):
    """Pre-norm block of attention and perceptron; `x` answers and is carried on."""

    def __init__(
        self, width: int, num_heads: int, stride: int, mlp_width: int, drop_path: float
    ) -> None:
        super().__init__()
        self.stride = stride
        self.norm_x, self.norm_y = ChannelNorm(width), ChannelNorm(width)
        self.norm_mlp = ChannelNorm(width)
        self.attention = Attention(width, num_heads, stride)
        self.mlp = nn.Sequential(
            nn.Conv1d(width, mlp_width, 1),
            nn.GELU(),
            nn.Conv1d(mlp_width, width, 1),
        )
        self.add_attention = ScaledPath(width, drop_path)
        self.add_mlp = ScaledPath(width, drop_path)

    def forward(self, x: Tensor, y: Tensor, mask: Tensor, mask_keys: bool = True) -> Tensor:
        """Return (B, C, T / stride) from two (B, C, T) and the mask (B, 1, T)."""
        mixed = self.attention(self.norm_x(x), self.norm_y(y), mask, mask_keys)
        skip = x if self.stride == 1 else F.max_pool1d(x, 3, self.stride, padding=1)
        mask = mask[:, :, :: self.stride]
        out: Tensor = skip * mask + self.add_attention(mixed)
        added: Tensor = self.add_mlp(self.mlp(self.norm_mlp(out)) * mask)
        return out + added


class Stream(nn.Module):
    """Embedding and self-attention of one modality."""

    def __init__(
        self, in_width: int, width: int, num_heads: int, num_blocks: int, drop_path: float
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList([MaskedConv(in_width, width), MaskedConv(width, width)])
        self.norms = nn.ModuleList([ChannelNorm(width), ChannelNorm(width)])
        self.blocks = nn.ModuleList(
            Block(width, num_heads, 1, 4 * width, drop_path) for _ in range(num_blocks)
        )

    def forward(self, x: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        """Encode (B, C_in, T) to (B, C, T)."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(norm(conv(x, mask)))
        x = x + positions * mask
        for block in self.blocks:
            x = block(x, x, mask)
        return x


class Dependency(nn.Module):
    """Relate the steps of every class and the classes of every step of one level."""

    def __init__(self, width: int, num_classes: int, drop_path: float) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.expand = MaskedConv(width, num_classes * _INNER_WIDTH)
        self.squeeze = MaskedConv(num_classes * _INNER_WIDTH, width)
        self.temporal = Block(_INNER_WIDTH, 1, 1, _INNER_WIDTH, drop_path)
        self.cooccurrence = Block(_INNER_WIDTH, 1, 1, _INNER_WIDTH, drop_path)

    def forward(self, x: Tensor, mask: Tensor, extra: Tensor | None = None) -> Tensor:
        """Replace one level, (B, C, T); `extra`, (B, K, C, T), is added to that of each class."""
        batch, _, steps = x.shape
        x = F.relu(self.expand(x, mask)).view(batch, self.num_classes, _INNER_WIDTH, steps)
        if extra is not None:
            x = x + extra

        rows = x.flatten(0, 1)  # (B K, C, T), one row a class of a video
        temporal = self.temporal(rows, rows, mask.repeat_interleave(self.num_classes, dim=0))

        rows = x.permute(0, 3, 2, 1).flatten(0, 1)  # (B T, C, K), one row a step of a video
        row_mask = mask.flatten()[:, None, None].expand(-1, 1, self.num_classes)
        classes = self.cooccurrence(rows, rows, row_mask, mask_keys=False)
        classes = classes.view(batch, steps, _INNER_WIDTH, self.num_classes).permute(0, 3, 2, 1)
        out: Tensor = self.squeeze((temporal.view_as(x) + classes).flatten(1, 2), mask)
        return out


class Trunk(nn.Module):
    """Three convolutions, two of them with norm and ReLU."""

    def __init__(self, in_width: int, width: int, out_width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList([MaskedConv(in_width, width), MaskedConv(width, width)])
        self.norms = nn.ModuleList([ChannelNorm(width), ChannelNorm(width)])
        self.out = MaskedConv(width, out_width, bias=True)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Convolve one level, (B, C, T)."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(norm(conv(x, mask)))
        out: Tensor = self.out(x, mask)
        return out


class ReferenceUnAV(nn.Module):
    """The network, with the weights of a detector.

    Args:
        detector: a `UnAVDetector` whose sizes and weights are taken; four heads and the
            dependency block are expected.
        drop_path: rate of stochastic depth while training.
    """

    positions: Tensor

    def __init__(self, detector: Detector, drop_path: float = 0.0) -> None:
        super().__init__()
        parts: Any = detector
        blocks = len(parts.encoder.streams["visual"].blocks)
        width, head_width = (
            x.norms[0].weight.numel()
            for x in (parts.encoder.streams["visual"], parts.heads.classification)
        )
        self.num_classes, self.max_length = detector.num_classes, detector.max_length
        self.strides, self.ranges = detector.strides, detector.regression_ranges
        self.register_buffer("positions", _positions(width, self.max_length), persistent=False)
        widths = {"visual": detector.visual_width, "audio": detector.audio_width}
        self.encoder = nn.ModuleDict(
            {name: Stream(w, width, 4, blocks, drop_path) for name, w in widths.items()}
        )
        self.pyramid = nn.ModuleDict(
            {
                name: nn.ModuleList(
                    Block(width, 4, stride, 4 * width, drop_path) for stride in STRIDES
                )
                for name in widths
            }
        )
        self.neck: nn.Module = Dependency(2 * width, self.num_classes, drop_path)
        self.extend(width, drop_path)
        self.heads = nn.ModuleDict(
            {
                "classification": Trunk(2 * width, head_width, self.num_classes),
                "regression": Trunk(2 * width, head_width, 2 * self.num_classes),
            }
        )
        self.heads.scales = nn.Parameter(torch.ones(len(self.strides)))
        self.load_state_dict(self.layout(detector.state_dict()))

    def extend(self, width: int, drop_path: float) -> None:
        """Build what a method adds, before the weights are taken."""

    def layout(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Lay weights or gradients of a `UnAVDetector`, by name, out as this module has them."""
        shapes = {name: parameter.shape for name, parameter in self.named_parameters()}
        ours = (".taps.", "."), ("encoder.streams.", "encoder."), ("pyramid.blocks.", "pyramid.")
        renamed = {
            reduce(lambda text, pair: text.replace(*pair), ours, name): (name, x)
            for name, x in tensors.items()
        }
        return {
            name: _kernel(x, shapes[name]) if ".taps." in old else x.reshape(shapes[name])
            for name, (old, x) in renamed.items()
        }

    def forward(self, visual: Tensor, audio: Tensor, mask: Tensor) -> Predictions:
        """Detect events; inputs and outputs are those of `UnAVDetector.forward`."""
        mask = mask[:, None]
        positions = self.positions[:, :, : visual.shape[2]]
        if visual.shape[2] > self.max_length:
            positions = F.interpolate(self.positions, visual.shape[2], mode="linear")
        visual = self.encoder["visual"](visual, mask, positions)
        audio = self.encoder["audio"](audio, mask, positions)
        levels, masks = [], []
        for level, stride in enumerate(STRIDES):
            visual, audio = self.meet(level, visual, audio, mask)
            mask = mask[:, :, ::stride]
            levels.append(torch.cat([visual, audio], dim=1))
            masks.append(mask)
        return self.answer(self.relate(levels, masks), masks)

    def meet(
        self, level: int, visual: Tensor, audio: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return both streams of a level from those of the level before, (B, C, T)."""
        pyramid: Any = self.pyramid
        return (
            pyramid["visual"][level](visual, audio, mask),
            pyramid["audio"][level](audio, visual, mask),
        )

    def relate(self, levels: list[Tensor], masks: list[Tensor]) -> list[Tensor]:
        """Replace the fused features of each level, (B, 2 C, T)."""
        return [self.neck(x, mask) for x, mask in zip(levels, masks, strict=True)]

    def answer(self, levels: list[Tensor], masks: list[Tensor]) -> Predictions:
        """Let the heads read each level."""
        logits, offsets = [], []
        scales: Any = self.heads.scales
        for fused, mask, scale in zip(levels, masks, scales, strict=True):
            logits.append(self.heads["classification"](fused, mask).transpose(1, 2))
            distances = F.relu(self.heads["regression"](fused, mask) * scale).transpose(1, 2)
            offsets.append(distances.reshape(*distances.shape[:2], self.num_classes, 2))
        return Predictions(logits, offsets, [mask[:, 0] for mask in masks])

    def assign(self, segments: Tensor, labels: Tensor, num_steps: int) -> tuple[Tensor, Tensor]:
        """Return targets of one video, classes (P, K) and offsets (P, K, 2), point after point.

        Args:
            segments: events in grid steps, (N, 2).
            labels: their classes, (N,); -1 where there is none.
            num_steps: steps that the video is padded to.
        """
        segments, classes_of = segments[labels >= 0], labels[labels >= 0].tolist()
        levels = zip(self.ranges, self.strides, strict=True)
        points = [
            (step, bounds, stride)
            for bounds, stride in levels
            for step in range(0, num_steps, stride)
        ]
        classes = torch.zeros(len(points), self.num_classes)
        offsets = torch.zeros(len(points), self.num_classes, 2)
        for p, (step, (low, high), stride) in enumerate(points):
            left, right = step - segments[:, 0], segments[:, 1] - step
            farther = torch.maximum(left, right)
            inside = torch.minimum(left, right) > 0
            for n in (inside & (farther >= low) & (farther <= high)).nonzero()[:, 0].tolist():
                classes[p, classes_of[n]] = 1
                offsets[p, classes_of[n], 0] = left[n] / stride
                offsets[p, classes_of[n], 1] = right[n] / stride
        return classes, offsets


def _positions(width: int, max_length: int) -> Tensor:
    """Return the position table, (1, C, T)."""
    table = torch.zeros(1, width, max_length)
    for channel in range(width):
        rate = 10000 ** (2 * (channel // 2) / width)
        wave = math.cos if channel % 2 else math.sin
        table[0, channel] = torch.tensor([wave(step / rate) for step in range(max_length)])
    return table / math.sqrt(width)


def _kernel(taps: Tensor, shape: torch.Size) -> Tensor:
    """Return the kernel (C_out, C_in, 3) of a `TemporalConv`."""
    out_width, in_width, _ = shape
    if in_width <= out_width:
        return taps.reshape(out_width, 3, in_width).permute(0, 2, 1)
    return taps.reshape(3, out_width, in_width).permute(1, 2, 0)
