"""A long video through a network piece by piece: overlapping chunks, stitched into one answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from davezoo.structures import Predictions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor


class Chunk(NamedTuple):
    """A piece of a video that a network reads at once, and the part of it that it answers for.

    Args:
        start: first step that is read.
        end: step behind the last one that is read.
        first: first step that is answered.
        last: step behind the last one that is answered.
    """

    start: int
    end: int
    first: int
    last: int


def cut_chunks(num_steps: int, chunk_length: int, overlap: int, multiple: int) -> list[Chunk]:
    """Cut a video into chunks of equal length, the last one maybe shorter.

    Where two overlap, the border of what they answer is in the middle: every step is answered by
    the chunk in whose inside it lies deepest.

    Args:
        num_steps: steps of the video.
        chunk_length: steps of a chunk.
        overlap: steps that neighbouring chunks share.
        multiple: coarsest stride of the pyramid; all borders are multiples of it.

    Returns:
        The chunks from first to last; a single one if the video fits.

    Raises:
        ValueError: if the lengths are not multiples, or the overlap is not less than a chunk.

    Example:
        >>> cut_chunks(20, chunk_length=12, overlap=4, multiple=2)
        [Chunk(start=0, end=12, first=0, last=10), Chunk(start=8, end=20, first=10, last=20)]
    """
    if num_steps % multiple or chunk_length % multiple or overlap % (2 * multiple):
        raise ValueError(
            f"Expected `num_steps` and `chunk_length` to be multiples of {multiple} and `overlap` "
            f"of {2 * multiple}, got {num_steps}, {chunk_length} and {overlap}; round them."
        )
    if not 0 <= overlap < chunk_length:
        raise ValueError(
            f"Expected `overlap` to be at least 0 and less than `chunk_length` {chunk_length}, got "
            f"{overlap}; lower it."
        )
    starts = range(0, max(num_steps - overlap, 1), chunk_length - overlap)
    half = overlap // 2
    return [
        Chunk(
            start,
            min(start + chunk_length, num_steps),
            start + half if start else 0,
            num_steps if start == starts[-1] else start + chunk_length - half,
        )
        for start in starts
    ]


def predict_in_chunks(
    network: Callable[..., Predictions],
    visual: Tensor,
    audio: Tensor,
    mask: Tensor,
    audio_mask: Tensor | None,
    *,
    strides: Sequence[int],
    chunk_length: int,
    overlap: int,
) -> Predictions:
    """Run a network chunk by chunk, so that memory is bounded by one chunk and the answer.

    Each chunk is read like a video of its own, without those videos of the batch whose end the
    chunk before has read: a video is cut as if it were alone.

    Args:
        network: takes visual, audio, mask and audio mask as `Detector.forward` does.
        visual: visual features, (B, C_v, T), T a multiple of the coarsest stride.
        audio: audio features, (B, C_a, T).
        mask: valid steps, (B, T), at least one of each video, from the first on.
        audio_mask: steps that have sound, (B, T), or None.
        strides: grid steps from one point to the next, one a level.
        chunk_length: steps of a chunk, a multiple of the coarsest stride.
        overlap: steps that neighbouring chunks share, a multiple of twice that.

    Returns:
        Logits, offsets and masks of the whole length, each point from the chunk that `cut_chunks`
        names, zero where there is no video. `features` is empty.
    """
    whole = Predictions([], [], [])
    multiple = strides[-1]
    num_steps = mask.sum(1)
    longest = -(-int(num_steps.max()) // multiple) * multiple  # without padding
    for chunk in cut_chunks(longest, chunk_length, overlap, multiple):
        seen = chunk.start + overlap if chunk.start else 0  # by the chunk before
        rows = (num_steps > seen).nonzero().squeeze(1)
        read = slice(chunk.start, chunk.start + chunk_length)
        sound = None if audio_mask is None else audio_mask[rows, read]
        part = network(visual[rows, :, read], audio[rows, :, read], mask[rows, read], sound)
        for name in ("logits", "offsets", "masks"):
            pieces, levels = getattr(part, name), getattr(whole, name)
            if chunk.start == 0:
                levels += [_blank(x, mask.shape, s) for x, s in zip(pieces, strides, strict=True)]
            for level, piece, stride in zip(levels, pieces, strides, strict=True):
                # To the end of the chunk, for videos that end in it; the next one overwrites.
                first, last, start = (x // stride for x in (chunk.first, chunk.end, chunk.start))
                level[rows, first:last] = piece[:, first - start : last - start]
    return whole


def _blank(piece: Tensor, shape: Sequence[int], stride: int) -> Tensor:
    """Return zeros like a level of one chunk, (B, T_l, ...), for videos of (B, T) steps."""
    return piece.new_zeros(shape[0], shape[1] // stride, *piece.shape[2:])
