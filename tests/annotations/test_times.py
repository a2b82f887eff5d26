from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from davezoo.annotations import AnnotationError
from davezoo.annotations.content import make_videos
from davezoo.annotations.times import check_seconds


def check(ends, durations, fps=None):
    """One event a video, in a file that gives these durations and one frame rate."""
    ids = [f"v{index}" for index in range(len(ends))]
    videos = make_videos(ids, [""] * len(ids), durations, [fps] * len(ids))
    check_seconds(Path("x.json"), videos, pd.DataFrame({"video": ids, "end": ends}))


def test_seconds():
    check([9, 10, 100, 100], [10, 10, 10, 10])  # half of the durations wrong
    check([300], [None])
    check([], [])
    check([20], [10])


@pytest.mark.parametrize(
    ("factor", "fps", "message"),
    [
        (
            27,
            None,
            "4 of 4 events ending far.*typically 27 times as late, like frame numbers at about 27",
        ),
        (27, 30, "like frame numbers at about 30, the `fps` of the videos,"),
        (900, None, "milliseconds.*divide them by 1000"),
        (3, None, "in no unit that is known"),
        (300, None, "in no unit that is known"),
    ],
)
def test_other_units(factor, fps, message):
    durations = np.array([10.0, 20, 30, 40])
    with pytest.raises(AnnotationError, match=rf"x\.json to be seconds.*{message}"):
        check(durations * factor, durations, fps)
