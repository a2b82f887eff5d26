"""Recognition of annotated times that are no seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from davezoo.annotations.table import refusal

# Of the 412 videos of THUMOS14, five of which have a duration that is too short, one alone has an
# event that ends more than twice as late.
_FAR_PAST = 2.0
_FEWEST_FRAMES, _MOST_FRAMES = 5, 250  # per second, of videos
_FEWEST_MILLISECONDS = 500


def check_seconds(path: Path, videos: pd.DataFrame, events: pd.DataFrame) -> None:
    """Refuse a file in which the events of most videos end far past the duration.

    Args:
        path: the annotation file.
        videos: its videos, and their durations as far as they are known.
        events: its events.

    Raises:
        AnnotationError: telling which unit the times seem to have.
    """
    last = events.groupby("video")["end"].max()
    ratio = (last / videos["duration"].reindex(last.index)).dropna()
    far = ratio > _FAR_PAST
    if far.mean() <= 0.5 or ratio.empty:
        return
    typical = float(ratio.median())
    rates = videos["fps"].reindex(ratio.index).dropna().unique()
    if _FEWEST_FRAMES <= typical <= _MOST_FRAMES:
        rate = f"{rates[0]:g}, the `fps` of the videos," if len(rates) == 1 else f"{typical:.0f}"
        unit = f"like frame numbers at about {rate} frames per second"
        remedy = "divide them by the frame rate"
    elif typical >= _FEWEST_MILLISECONDS:
        unit, remedy = "like milliseconds", "divide them by 1000"
    else:
        unit, remedy = "in no unit that is known", "correct the times or the durations"
    raise refusal(
        f"the times in {path}",
        "be seconds",
        f"events that end past the duration in {int(far.sum())} of {np.size(ratio)} videos, "
        f"typically {typical:.3g} times as late, {unit}",
        remedy,
    )
