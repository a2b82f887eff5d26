"""How long a batch must be so that its padding changes nothing."""

from __future__ import annotations


def padded_length(num_steps: int, max_length: int, multiple: int) -> int:
    """Return the least length that gives the same result as padding to `max_length`.

    Inside the published networks padded steps are not zero: they hold relu(bias of a LayerNorm),
    and convolutions of kernel 3 carry it into the last valid step. All padded steps are alike,
    though, so one of them on the coarsest level does what many do, and it must be there exactly
    when the full length has it.

    Args:
        num_steps: steps of the longest video.
        max_length: full length, steps.
        multiple: coarsest stride of the pyramid.

    Returns:
        A multiple of `multiple`: one coarsest step more than the video needs, at most
        `max_length`; for a longer video the next multiple, as published.

    Example:
        >>> [padded_length(n, max_length=224, multiple=32) for n in (1, 32, 100, 200, 230)]
        [64, 64, 160, 224, 256]
    """
    needed = -(-num_steps // multiple) * multiple
    return needed if num_steps > max_length else min(needed + multiple, max_length)
