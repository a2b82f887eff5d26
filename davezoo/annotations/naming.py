"""How the ids of videos differ from names that should go with them: of files, or other ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import takewhile

_VIDEOS_LOOKED_AT = 50  # each is sought in all names


def find_pattern(videos: Sequence[str], pattern: str, names: set[str]) -> str:
    """Return the pattern most like the given one that finds most videos, or nothing.

    Ids are sought inside the names; what stands around them is a candidate, and every candidate is
    tried on all videos.

    Args:
        videos: ids whose names are sought.
        pattern: the pattern that finds none of them, with `{video}` for the id.
        names: all names that there are.
    """
    sought = videos[:: max(1, len(videos) // _VIDEOS_LOOKED_AT)]
    candidates = Counter(
        "{video}".join(name.rpartition(video)[::2])
        for video in sought
        for name in sorted(names)
        if video in name
    )
    likely = [text for text, _ in candidates.most_common(20)]
    count = {text: len(videos_found(text, videos, names)) for text in likely}
    good = [text for text in likely if 2 * count[text] > len(videos)]
    return max(good, key=lambda text: SequenceMatcher(None, text, pattern).ratio(), default="")


def videos_found(pattern: str, videos: Sequence[str], names: set[str]) -> list[str]:
    """Return the videos that have a name under a pattern."""
    return [video for video in videos if pattern.replace("{video}", video) in names]


def find_surplus(videos: Sequence[str], pattern: str, names: set[str]) -> tuple[str, str, str]:
    """Return what all ids start or end with and the names of most lack; empty if nothing is.

    Args:
        videos: ids whose names are sought.
        pattern: the pattern of the names, with `{video}` for the id.
        names: all names that there are.

    Returns:
        The surplus, a video whose name is there, and the id of that video without the surplus.
    """
    first = _common_start(videos)
    last = _common_start([video[::-1] for video in videos])[::-1]
    # The shared part may be longer than what is too much: three ids may all start with `v_a`.
    cuts = [(first[:end], [v[end:] for v in videos]) for end in range(1, len(first) + 1)]
    cuts += [(last[start:], [v[: start - len(last)] for v in videos]) for start in range(len(last))]
    for surplus, bare in cuts:
        found = videos_found(pattern, bare, names)
        if 2 * len(found) > len(videos) > 1:
            return surplus, videos[bare.index(found[0])], found[0]
    return "", "", ""


def find_other_id(videos: Sequence[str], ids: Sequence[str]) -> tuple[str, str]:
    """Return a video and its other id, where most videos go by another one; else empty texts.

    Args:
        videos: ids that are not among the others.
        ids: the others: longer or shorter by the same text, or in other letters.
    """
    spelt = {other.casefold(): other for other in ids}
    small = [video.casefold() for video in videos]
    pattern = find_pattern(small, "{video}", set(spelt))
    if pattern:
        video = videos_found(pattern, small, set(spelt))[0]
        other = pattern.replace("{video}", video)
    else:
        _, video, other = find_surplus(small, "{video}", set(spelt))
    return (videos[small.index(video)], spelt[other]) if other else ("", "")


def _common_start(texts: Sequence[str]) -> str:
    """Return what all texts start with: what the first and last in alphabetical order share."""
    pairs = zip(min(texts, default=""), max(texts, default=""), strict=False)
    return "".join(letter for letter, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
