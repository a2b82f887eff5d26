"""Named scoring protocols: everything that two programs must agree on to print the same number.

The rules were read from, and checked against, the evaluators of the UnAV-100 kit (Geng et al., CVPR
2023), ActionFormer (Zhang et al., ECCV 2022), ActivityNet (Caba Heilbron et al., CVPR 2015) and
EPIC-Kitchens C2-Action-Detection (Damen et al., IJCV 2022).
"""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from davezoo.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

# Rules that all protocols of this package share; written beside every score.
_SHARED_RULES = {
    "match": "tIoU >= threshold; a taken event passes a detection on to the next best free one",
    "average_precision": "all points, mean over the classes that occur in the annotations",
    "ties": "last listed first, for scores and for tIoU; videos in the order of the annotations",
    "unknown_labels": "detections of classes without annotated events are dropped and counted",
    "unknown_videos": "detections in videos outside the split are false positives and counted",
    "zero_length": "a zero-length event matches only a detection with the same two times",
}


class ProtocolError(InputError):
    """A protocol is unknown or its values contradict each other; the message lists the choices."""


@dataclass(frozen=True)
class Protocol:
    """A way to score detections, fixed by name and version.

    Args:
        name: short name, for example `unav100`.
        version: changes whenever a score could change.
        source: the official evaluator whose rules these are.
        tiou_thresholds: the thresholds as exact doubles, ascending.
        threshold_recipe: how the doubles come about; `linspace` and decimal literals differ in the
            last digit, which decides tIoUs that lie exactly on a threshold.
        near_duplicate_tolerance: seconds; an event is removed when an earlier kept event of the
            same video and class has both ends within this distance. None keeps all.
        min_event_duration: seconds; shorter events are removed. 0 removes events of zero length,
            None keeps all.
        default_split: the subset that published results are about.
        headline_tious: thresholds printed in the summary, as decimals.
        num_videos: videos of the default split that published results are about, blocked ones
            counted; None where there is no such number.
        excluded_videos: ids that are left out with their events and detections.
        expected_videos: ids that others leave out and this protocol does not.
        blocked_list: what the official list of videos to leave out is called, which must be handed
            to the scorer; None where a list is refused.
        labels: which label of an EPIC-Kitchens event counts; None where events have one.

    Raises:
        ProtocolError: if the thresholds are not ascending within (0, 1], or a limit is negative.
    """

    name: str
    version: str
    source: str
    tiou_thresholds: tuple[float, ...]
    threshold_recipe: str
    near_duplicate_tolerance: float | None
    min_event_duration: float | None
    default_split: str
    headline_tious: tuple[float, ...]
    num_videos: int | None = None
    excluded_videos: tuple[str, ...] = ()
    expected_videos: tuple[str, ...] = ()
    blocked_list: str | None = None
    labels: Literal["verb", "noun", "action"] | None = None

    def __post_init__(self) -> None:
        """Refuse values that no evaluator could follow."""
        tious = self.tiou_thresholds
        ascending = all(low < high for low, high in pairwise(tious))
        if not tious or not ascending or tious[0] <= 0 or tious[-1] > 1:
            raise ProtocolError(
                f"Expected `tiou_thresholds` to be ascending within (0, 1], got {tious}; "
                "list each threshold once."
            )
        for rule in ("near_duplicate_tolerance", "min_event_duration"):
            value = getattr(self, rule)
            if value is not None and not value >= 0:
                raise ProtocolError(
                    f"Expected `{rule}` to be seconds >= 0 or None, got {value}; use None to keep "
                    "all events."
                )

    def check_blocked(self, blocked: Collection[str]) -> None:
        """Refuse a list of blocked videos where the protocol has none, and its absence otherwise.

        Raises:
            ProtocolError: if the list does not go with the protocol; the message names the one
                that it goes with.
        """
        if blocked and self.blocked_list is None:
            raise ProtocolError(
                f"Expected no list of blocked videos with protocol {self.name!r}, got "
                f"{len(blocked)} ids; leave the list out, or choose a protocol with one: "
                f"{[name for name, other in PROTOCOLS.items() if other.blocked_list]}."
            )
        if not blocked and self.blocked_list is not None:
            raise ProtocolError(
                f"Expected a list of blocked videos with protocol {self.name!r}, got none; give "
                f"the JSON list ({self.blocked_list}), or choose 'activitynet13-full'."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return name, version, thresholds and rules, as they are written beside a score."""
        return {
            "name": self.name,
            "version": self.version,
            "source": self.source,
            "tiou_thresholds": list(self.tiou_thresholds),
            "threshold_recipe": self.threshold_recipe,
            "headline_tious": list(self.headline_tious),
            "rules": {
                **_SHARED_RULES,
                "near_duplicate_tolerance_seconds": self.near_duplicate_tolerance,
                "min_event_duration_seconds": self.min_event_duration,
                "num_videos": self.num_videos,
                "excluded_videos": list(self.excluded_videos),
                "blocked_list": self.blocked_list,
                "labels": self.labels,
            },
        }


def digest_of_ids(ids: Collection[str]) -> str:
    """Return a short hash of a set of video ids, whatever their order or file.

    Args:
        ids: video ids.

    Returns:
        The first 12 hexadecimal digits of the SHA-256 of the sorted ids, one a line.

    Example:
        >>> digest_of_ids(["b", "a"]) == digest_of_ids(["a", "b", "a"])
        True
    """
    listed = "\n".join(sorted(set(ids)))
    return hashlib.sha256(listed.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _linspace(start: float, stop: float, num: int) -> tuple[float, ...]:
    return tuple(np.linspace(start, stop, num).tolist())


_UNAV100 = Protocol(
    name="unav100",
    version="1",
    source="UnAV kit, ANETdetection (Geng et al., CVPR 2023)",
    tiou_thresholds=_linspace(0.1, 0.9, 9),
    threshold_recipe="numpy.linspace(0.1, 0.9, 9)",
    near_duplicate_tolerance=1e-3,
    min_event_duration=None,
    default_split="test",
    headline_tious=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    num_videos=2167,
)

# Two of the 213 temporally annotated test videos are the reason why papers count differently: one
# has only segments called Ambiguous, which leave it without an event, and the other has segments
# that lie long after its end.
_AMBIGUOUS_ONLY = "video_test_0001292"
_WRONG_TIMES = "video_test_0000270"

_THUMOS14_212 = Protocol(
    name="thumos14-212",
    version="1",
    source="ActionFormer kit, ANETdetection and the videos of thumos14.json (Zhang et al., "
    "ECCV 2022)",
    tiou_thresholds=_linspace(0.3, 0.7, 5),
    threshold_recipe="numpy.linspace(0.3, 0.7, 5)",
    near_duplicate_tolerance=1e-3,
    min_event_duration=1e-3,
    default_split="test",
    headline_tious=(0.3, 0.4, 0.5, 0.6, 0.7),
    num_videos=212,
    excluded_videos=(_AMBIGUOUS_ONLY,),
    expected_videos=(_WRONG_TIMES,),
)
_THUMOS14_213 = replace(
    _THUMOS14_212,
    name="thumos14-213",
    source="ActionFormer kit, ANETdetection, on all test videos of the THUMOS14 challenge",
    num_videos=213,
    excluded_videos=(),
    expected_videos=(_WRONG_TIMES, _AMBIGUOUS_ONLY),
)
_THUMOS14_211 = replace(
    _THUMOS14_212,
    name="thumos14-211",
    source="ActionFormer kit, ANETdetection, on the videos of G-TAD, VSGN and OpenTAD (Liu et al., "
    "2025)",
    num_videos=211,
    excluded_videos=(_WRONG_TIMES, _AMBIGUOUS_ONLY),
    expected_videos=(),
)

_ACTIVITYNET13_FULL = Protocol(
    name="activitynet13-full",
    version="1",
    source="ActivityNet kit, eval_detection (Caba Heilbron et al., CVPR 2015)",
    tiou_thresholds=_linspace(0.5, 0.95, 10),
    threshold_recipe="numpy.linspace(0.5, 0.95, 10)",
    near_duplicate_tolerance=None,
    min_event_duration=None,
    default_split="validation",
    headline_tious=(0.5, 0.75, 0.95),
    num_videos=4926,
)
_ACTIVITYNET13_BLOCKED = replace(
    _ACTIVITYNET13_FULL,
    name="activitynet13-blocked",
    blocked_list="ActivityNet server, action get_blocked",
)

_EPIC100_VERB = Protocol(
    name="epic100-verb",
    version="1",
    source="EPIC-Kitchens C2-Action-Detection (Damen et al., IJCV 2022)",
    tiou_thresholds=_linspace(0.1, 0.5, 5),
    threshold_recipe="numpy.linspace(0.1, 0.5, 5)",
    near_duplicate_tolerance=None,
    min_event_duration=None,
    default_split="validation",
    headline_tious=(0.1, 0.2, 0.3, 0.4, 0.5),
    num_videos=138,
    labels="verb",
)
_EPIC100_NOUN = replace(_EPIC100_VERB, name="epic100-noun", labels="noun")
_EPIC100_ACTION = replace(_EPIC100_VERB, name="epic100-action", labels="action")

PROTOCOLS: Mapping[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        _UNAV100,
        _THUMOS14_211,
        _THUMOS14_212,
        _THUMOS14_213,
        _ACTIVITYNET13_FULL,
        _ACTIVITYNET13_BLOCKED,
        _EPIC100_VERB,
        _EPIC100_NOUN,
        _EPIC100_ACTION,
    )
}


def get_protocol(protocol: str | Protocol) -> Protocol:
    """Return the protocol of a name; a `Protocol` is handed through.

    Args:
        protocol: a key of `PROTOCOLS`, or a protocol of one's own.

    Raises:
        ProtocolError: if there is no protocol of this name.

    Example:
        >>> get_protocol("thumos14-212").tiou_thresholds
        (0.3, 0.39999999999999997, 0.5, 0.6, 0.7)
    """
    if isinstance(protocol, Protocol):
        return protocol
    if protocol not in PROTOCOLS:
        near = difflib.get_close_matches(protocol, PROTOCOLS, n=3, cutoff=0.6)
        raise ProtocolError(
            f"Expected `protocol` to be one of {list(PROTOCOLS)}, got {protocol!r}; "
            f"choose one of {near or 'them'}."
        )
    return PROTOCOLS[protocol]
