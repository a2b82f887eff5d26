"""Proposed settings: training length, levels and regression ranges that fit a data set.

Imports neither torch nor lightning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from davezoo.inspection.coverage import OPEN_END

if TYPE_CHECKING:
    from davezoo.inspection.coverage import Ranges
    from davezoo.inspection.statistics import FloatArray

COVERED_VIDEOS, COVERED_EVENTS = 0.95, 0.99
SHORT_EVENTS, LONG_EVENTS = 0.1, 0.99
LONGEST_CROP = 2304  # steps: the longest that the published recipes train with
MOST_LEVELS = 8
_FINEST_BORDER = 4  # steps: what the finest level of the published codes answers for

LENGTH_RULE = (
    f"The length covers {100 * COVERED_VIDEOS:.0f} % of the training videos, but is at most "
    f"{LONGEST_CROP:,} steps unless {100 * COVERED_EVENTS:.0f} % of the events need more; rounded "
    "up to a multiple of the coarsest stride. Videos that are resized have the length they are "
    "resized to."
)
RANGES_RULE = (
    "Borders of the ranges are powers of two and double from level to level. The first is the "
    f"largest that {100 * (1 - SHORT_EVENTS):.0f} % of the training events reach in length (at "
    f"least {_FINEST_BORDER} steps), the last the largest that {100 * (1 - LONG_EVENTS):.0f} % "
    "reach, but at most half the training length: no middle of an event lies farther from its "
    f"ends. The last range is open. At most {MOST_LEVELS} levels."
)


@dataclass(frozen=True)
class Proposal:
    """Settings for a data set.

    Args:
        max_length: training length in grid steps, a multiple of the coarsest stride.
        length_multiple: the coarsest stride, to which batches are padded.
        regression_ranges: least and greatest distance that each level answers for, in grid steps.
    """

    max_length: int
    length_multiple: int
    regression_ranges: Ranges

    @property
    def options(self) -> str:
        """What to write behind `davezoo fit --config ... --data ...`."""
        ranges = ",".join(f"[{low:g},{high:g}]" for low, high in self.regression_ranges)
        return (
            f"--data.max_length={self.max_length} --data.length_multiple={self.length_multiple} "
            f"'--model.init_args.regression_ranges=[{ranges}]'"  # a shell reads brackets
        )


def propose(
    video_steps: FloatArray, event_steps: FloatArray, resize_to: int | None = None
) -> Proposal | None:
    """Propose settings by `LENGTH_RULE` and `RANGES_RULE`.

    Args:
        video_steps: lengths of the training videos in grid steps.
        event_steps: lengths of the training events in grid steps; NaN and zero are not looked at.
        resize_to: steps that every video is stretched or squeezed to; None if they keep their own.

    Returns:
        None if no video or no event has a known length.

    Example:
        >>> import numpy as np
        >>> propose(np.array([100.0, 180.0]), np.array([4.0, 20.0, 40.0])).regression_ranges
        [(0, 4), (4, 8), (8, 16), (16, 32), (32, 10000)]
    """
    videos = video_steps[np.isfinite(video_steps)]
    events = event_steps[np.isfinite(event_steps) & (event_steps > 0)]
    if not len(videos) or not len(events):
        return None
    if resize_to is None:
        covering = float(np.quantile(videos, COVERED_VIDEOS))
        longest = max(LONGEST_CROP, float(np.quantile(events, COVERED_EVENTS)))
        length = max(math.ceil(min(covering, longest)), 1)
    else:
        length = resize_to
    ranges = propose_ranges(events, length)
    stride = 2 ** (len(ranges) - 1)
    return Proposal(math.ceil(length / stride) * stride, stride, ranges)


def propose_ranges(event_steps: FloatArray, max_length: int) -> Ranges:
    """Propose one range a level by `RANGES_RULE`.

    Args:
        event_steps: lengths of events in grid steps, above zero; at least one.
        max_length: steps of the longest crop.
    """
    short, long = np.quantile(event_steps, [SHORT_EVENTS, LONG_EVENTS])
    first = max(_largest_power_up_to(short), int(math.log2(_FINEST_BORDER)))
    last = min(max(_largest_power_up_to(long), first), _largest_power_up_to(max_length / 2))
    borders = [2**power for power in range(first, last + 1)][: MOST_LEVELS - 1]
    beyond_all = 2 ** (_largest_power_up_to(float(event_steps.max())) + 1)
    edges = [0, *borders, max(OPEN_END, beyond_all)]
    return list(pairwise(edges))


def _largest_power_up_to(steps: float) -> int:
    """Return the exponent of the largest power of two that is not above a length."""
    return math.frexp(steps)[1] - 1
