"""Which videos the names of feature files tell of."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from davezoo.annotations import Annotations
from davezoo.errors import InputError

if TYPE_CHECKING:
    from davezoo.data.features import FeatureLayout


def videos_of_files(layout: FeatureLayout, present: set[str], subset: str) -> Annotations:
    """Return every video that has files, as annotations without events or durations.

    Args:
        layout: what the feature files are called.
        present: names of all files.
        subset: what to call the subset.

    Returns:
        The videos in alphabetical order; one that lacks some of its files is there, too, and will
        be missed.

    Raises:
        InputError: if a pattern names one file for all videos: its name tells of none.
    """
    for pattern in _patterns(layout):
        if "{video}" not in pattern.partition(".npz:")[0]:
            raise InputError(
                f"Expected `{{video}}` in the name of each feature file, as there are no "
                f"annotations to tell the videos, got {pattern!r}; save the members of that "
                "archive as files of their own, or write an annotation file with the ids."
            )
    videos = sorted(ids_in_names(layout, present))
    table = pd.DataFrame(
        {"subset": subset, "duration": np.nan, "fps": np.nan},
        index=pd.Index(videos, name="video", dtype="str"),
    ).astype({"subset": "str"})
    events = pd.DataFrame(
        {
            "video": pd.Series([], dtype="str"),
            "start": np.empty(0),
            "end": np.empty(0),
            "label": np.empty(0, dtype=np.int64),
        }
    )
    return Annotations(table, events, [])


def ids_in_names(layout: FeatureLayout, present: set[str]) -> set[str]:
    """Return the ids that the names of feature files hold.

    `{video}.npy` fits `a_vggish.npy` as well as `{video}_vggish.npy` does: a name is read with the
    longest pattern that fits it. Ids never lead into another folder.
    """
    patterns = sorted(_patterns(layout), key=len, reverse=True)
    forms = [_form(pattern) for pattern in patterns]
    fits = (next(filter(None, (f.fullmatch(name) for f in forms)), None) for name in present)
    return {fit["video"] for fit in fits if fit is not None}


def stray_files(layout: FeatureLayout, videos: Iterable[str], present: set[str]) -> list[str]:
    """Return the files that look like features of videos that are not among those given."""
    forms = [_form(pattern) for pattern in _patterns(layout)]
    unused = layout.unused(videos, present)
    return [name for name in unused if any(form.fullmatch(name) for form in forms)]


def _patterns(layout: FeatureLayout) -> list[str]:
    """Return all file patterns, whichever modalities are read."""
    return [*layout.visual_files, *layout.audio_files]


def _form(pattern: str) -> re.Pattern[str]:
    """Return what a file's name looks like, whether it is told with a member or without."""
    file, archive, member = pattern.partition(".npz:")
    first, *others = map(re.escape, (file + ".npz" if archive else file).split("{video}"))
    form = first + r"(?P<video>[^/\\]+)" + "(?P=video)".join(others)
    return re.compile(form + (f"(:{re.escape(member)})?" if archive else ""))
