"""Recognition of annotated times that are no seconds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from davezoo.annotations.table import refusal

# Of the 6,365 events of THUMOS14, where five durations are too short, 16 end this many times late.
_FAR_PAST = 2.0
_FEWEST_FRAMES, _MOST_FRAMES = 5, 250  # per second, of videos
_FEWEST_MILLISECONDS = 500


def check_seconds(path: Path, videos: pd.DataFrame, events: pd.DataFrame) -> None:
    """Refuse a file in which most events end far past the duration.

    Args:
        path: the annotation file.
        videos: its videos, and their durations as far as they are known.
        events: its events.

    Raises:
        AnnotationError: telling which unit the times seem to have.
    """
    durations = videos["duration"].reindex(events["video"]).to_numpy()
    times_late = pd.Series(events["end"].to_numpy() / durations).dropna()
    far = times_late > _FAR_PAST
    if far.sum() <= 0.5 * len(far):
        return
    # The last event of a video lies nearest to its end, whose frame number tells the rate best.
    last = times_late.groupby(events["video"].to_numpy()[times_late.index]).max()
    typical = float(last.median())
    rates = videos["fps"].reindex(last.index).dropna().unique()
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
        f"{int(far.sum())} of {len(far)} events ending far past the duration, the last of a video "
        f"typically {typical:.3g} times as late, {unit}",
        remedy,
    )
