"""Which steps of a batch belong to its videos, and at which of them each stream has content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class StreamMasks:
    """The mask of the videos, and those of the streams that are not there all the time.

    A stream without content, as the audio of a video without an audio track, is zero behind every
    block, and is attended only where nothing else can be. Where all streams are everywhere nothing
    is computed here.

    Args:
        video: True on the steps that belong to the video, (B, T).
        partial: True on the steps of the video where a stream has content, (B, T), by name, of the
            streams that may lack it somewhere.
    """

    video: Tensor
    partial: Mapping[str, Tensor] = field(default_factory=dict)

    def of(self, name: str) -> Tensor:
        """Return the steps where a stream has content, (B, T)."""
        return self.partial.get(name, self.video)

    def keys(self, name: str) -> Tensor:
        """Return the steps of a stream that may be attended, (B, T).

        They are those with content. In a video where there is none, all its steps stand in: a
        softmax over nothing would be NaN, and what is zero tells nothing.
        """
        if name not in self.partial:
            return self.video
        content = self.partial[name]
        return content | (self.video & ~content.any(1, keepdim=True))

    def strided(self, stride: int) -> StreamMasks:
        """Return the masks of a level of every `stride`-th step, (B, T / stride) each.

        A coarse step has content where any of the steps that it stands for has. Of a video these
        are the first ones, so that its mask needs no looking.
        """
        coarse = {
            name: torch.unflatten(x, 1, (-1, stride)).any(2) for name, x in self.partial.items()
        }
        return StreamMasks(self.video[:, ::stride], coarse)
