"""Attention to windows that place themselves: the Cross-modal Dynamic Perception of LoCo.

Reference:
    Xing et al., "Locality-aware Cross-modal Correspondence Learning for Dense Audio-Visual Events
    Localization" (LoCo), arXiv 2409.07967, section III-D. What the paper leaves open is decided
    after the works that its first version cites: the unit of sizes and offsets after Zhang et al.,
    "VSA: Learning Varied-Size Window Attention in Vision Transformers", ECCV 2022, the band after
    Beltagy et al., "Longformer: The Long-Document Transformer", arXiv 2004.05150.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from davezoo.errors import InputError
from davezoo.nn.attention import ConvAttention, attend_band


class Windows(NamedTuple):
    """Where each head looks instead of each base window.

    Args:
        sizes: steps of the level that a window covers, (N, H, T / W), at least float32.
        offsets: steps of the level by which its centre is moved, (N, H, T / W), at least float32.
    """

    sizes: Tensor
    offsets: Tensor


class WindowAttention(ConvAttention):
    """Attention to samples of windows whose size and offset each head predicts.

    Keys and values are cut into base windows of W steps. From the mean of its keys each window gets
    a size and an offset per head; W samples, evenly spaced over the window so placed, are
    interpolated from keys and values alike and take the places of its W steps. Step t then attends
    to the samples in places t - W/2 to t + W/2.

    A sample more than half a step outside the video is not attended, nor is one on a masked step or
    of a window that holds no step of the video; a step left without any sample gets zeros. A window
    grows at most to the length of the video, not of the padded level, so that padding changes
    nothing. Size and offset start as those of the base window: untrained, this is attention to the
    W + 1 nearest steps.

    Args:
        width: channels.
        num_heads: heads; must divide the width.
        window_size: steps W of a base window, even.
        stride: 2 halves the number of steps of queries, keys and values alike.
        adaptive: predict sizes and offsets; without it the base windows stay as they are.

    Attributes:
        windows: those of the latest forward pass, detached; None before it and without `adaptive`.
    """

    windows: Windows | None

    def __init__(
        self,
        width: int,
        num_heads: int,
        window_size: int,
        stride: int = 1,
        *,
        adaptive: bool = True,
    ) -> None:
        super().__init__(width, num_heads, stride)
        if window_size < 2 or window_size % 2:
            raise InputError(
                f"Expected `window_size` to be an even number of steps, got {window_size}; half of "
                "a window is attended on either side, choose 4, 8, 16 or 32."
            )
        self.window_size = window_size
        self.windows = None
        self.predictor: nn.Linear | None = None
        if adaptive:
            self.predictor = nn.Linear(width, 2 * num_heads)
            nn.init.zeros_(self.predictor.weight)
            nn.init.zeros_(self.predictor.bias)

    def mix(self, query: Tensor, key: Tensor, value: Tensor, key_mask: Tensor | None) -> Tensor:
        """Return what each query gathers from the samples around it; see the base."""
        num_steps = query.shape[2]
        if key_mask is None:
            key_mask = query.new_ones(len(query), num_steps, dtype=torch.bool)
        missing = -num_steps % self.window_size
        query, key, value = (F.pad(x, (0, 0, 0, missing)) for x in (query, key, value))
        mask = F.pad(key_mask, (0, missing))
        seen = mask.unsqueeze(1)  # (N, 1, S) with S = T rounded up to whole windows
        if self.predictor is not None:
            windows = self._place_windows(self.predictor, key, mask)
            self.windows = Windows(windows.sizes.detach(), windows.offsets.detach())
            key, value, seen = _sample(windows, key, value, mask)
        reach = self.window_size // 2
        return attend_band(query, key, value, seen, reach)[:, :, :num_steps]

    def _place_windows(self, predictor: nn.Linear, key: Tensor, mask: Tensor) -> Windows:
        """Return sizes and offsets from keys (N, H, S, C / H) and their mask (N, S)."""
        size = self.window_size
        present = torch.unflatten(mask, 1, (-1, size))  # (N, S / W, W)
        rows = torch.unflatten(key.transpose(1, 2).flatten(2), 1, (-1, size))  # (N, S / W, W, C)
        total = (rows * present.unsqueeze(-1)).sum(2)
        mean = total / present.sum(2).clamp(min=1).unsqueeze(-1)
        # Half precision cannot tell positions in a long video.
        predicted = predictor(F.leaky_relu(mean)).to(torch.promote_types(key.dtype, torch.float32))
        growth, shift = predicted.transpose(1, 2).chunk(2, dim=1)  # (N, H, S / W) each
        largest = (mask.sum(1) / size).clamp(min=1)[:, None, None]  # the whole video
        sizes = size * (1 + growth).clamp(min=1 / size).minimum(largest)  # at least one step
        return Windows(sizes, 0.5 * size * shift)


def _sample(
    windows: Windows, key: Tensor, value: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the samples of keys and values, and which of them may be attended.

    Args:
        windows: sizes and offsets, (N, H, S / W).
        key: (N, H, S, C / H).
        value: (N, H, S, C / H).
        mask: valid steps, (N, S).

    Returns:
        (N, H, S, C / H) twice, and (N, H, S).
    """
    num_windows = windows.sizes.shape[2]
    size = mask.shape[1] // num_windows
    place = torch.arange(size, device=mask.device) - 0.5 * (size - 1)  # from the centre
    centre = torch.arange(num_windows, device=mask.device) * size + 0.5 * (size - 1)
    spacing = (windows.sizes / size).unsqueeze(-1)
    position = ((centre + windows.offsets).unsqueeze(-1) + spacing * place).flatten(2)  # (N, H, S)
    last = (mask * torch.arange(mask.shape[1], device=mask.device)).amax(1)[:, None, None]
    inside = torch.unflatten(mask, 1, (-1, size)).any(2).repeat_interleave(size, dim=1).unsqueeze(1)
    # Half a step of slack: an untrained window at the border has samples exactly on it, which the
    # first step of the optimiser must not throw out.
    seen = inside & (position > -0.5) & (position < last + 0.5)
    position = position.clamp(min=0).minimum(last)
    # The step after the last one is never read, not even with weight zero: its content would reach
    # the gradient of the position.
    low = position.detach().floor().long().clamp(0, mask.shape[1] - 1)
    high = (low + 1).minimum(last)
    nearest = torch.where(position - low > 0.5, high, low)
    seen = seen & mask.unsqueeze(1).expand_as(low).gather(2, nearest)
    part = (position - low).unsqueeze(-1).to(key.dtype)
    both = torch.cat([key, value], dim=-1)
    shape = (-1, -1, -1, both.shape[-1])
    below, above = (both.gather(2, at.unsqueeze(-1).expand(shape)) for at in (low, high))
    key, value = torch.lerp(below, above, part).chunk(2, dim=-1)
    return key, value, seen
