"""Mistakes that show only over many videos: ids, hops, frame rates and units that do not agree.

One odd video is an oddity of the data set; the same factor in all of them is a wrong setting. Each
function returns an explanation with a remedy, or an empty text where nothing is amiss. The measures
are medians over videos with a bound on their spread, so that the known oddities of the published
files (durations that are too short, audio tracks that end early) raise no alarm.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from davezoo.annotations.naming import find_pattern, find_surplus, videos_found

if TYPE_CHECKING:
    from davezoo.structures import FeatureGrid

FloatArray = NDArray[np.float64]

# A factor is constant when the middle half of the videos spans at most this part of the median.
# Audio vectors are few in short videos, so that rounding moves their number more.
_MOST_SPREAD = 0.1
_MOST_SPREAD_OF_AUDIO = 0.2
# Frame rates of 24 and 25, or a window more or less, differ by less than this.
_LEAST_DEVIATION = 0.1
_FEWEST_VIDEOS = 5
_LEAST_SHARE = 0.25
# Events of videos that end this many times later than the features were not written in seconds.
_FRAMES_FACTOR = 5
_VGGISH_HOP = 0.96


def explain_missing(videos: Sequence[str], pattern: str, present: Iterable[str]) -> str:
    """Say which pattern would find the files of most videos, if one does.

    Args:
        videos: ids of the videos whose file is missing.
        pattern: the pattern in use, with `{video}` for the id.
        present: names of all files, relative to the folder.
    """
    files = set(present)
    best = find_pattern(videos, pattern, files)
    if best:
        video = videos_found(best, videos, files)[0]
        return (
            f"The files are there under other names: {best.replace('{video}', video)!r} for video "
            f"{video!r}. Write the pattern {best!r} instead of {pattern!r}."
        )
    spelt = {name.casefold(): name for name in files}
    small = [video.casefold() for video in videos]
    best = find_pattern(small, pattern.casefold(), set(spelt))
    if best:
        found = videos_found(best, small, set(spelt))[0]
        video, name = videos[small.index(found)], spelt[best.replace("{video}", found)]
        return (
            f"Ids and file names differ in upper and lower case: {name!r} for video {video!r}. "
            "Rename the files, or correct the ids in the annotations."
        )
    surplus, video, bare = find_surplus(videos, pattern, files)
    if surplus:
        return (
            f"All ids of the annotations contain {surplus!r}, which the names of the files lack "
            f"({pattern.replace('{video}', bare)!r} for video {video!r}): remove it from the ids, "
            "or rename the files."
        )
    return ""


def explain_audio(
    visual_seconds: FloatArray, audio_steps: FloatArray, visual: FeatureGrid, audio: FeatureGrid
) -> str:
    """Say what hop the audio features have, if it is not the one of their grid.

    Args:
        visual_seconds: second at which the visual features of each video end.
        audio_steps: audio feature vectors of each video; NaN where there are none.
        visual: grid of the visual features.
        audio: grid that the audio features are read with.
    """
    expected_hop = audio.stride / audio.fps
    expected_steps = (visual_seconds * audio.fps - audio.window) / audio.stride + 1
    ratio = _constant_factor(audio_steps / np.maximum(expected_steps, 1), _MOST_SPREAD_OF_AUDIO)
    if ratio is None:
        return ""
    hop = float(np.nanmedian(visual_seconds / audio_steps))
    visual_hop = visual.stride / visual.fps
    diagnosis = (
        f"There are {ratio:.2f} times as many audio vectors as {expected_hop:.3g} s between them "
        f"would give (median of {_count(audio_steps)} videos): one each {hop:.3g} s, the visual "
        f"ones lie {visual_hop:.3g} s apart."
    )
    if abs(hop / visual_hop - 1) <= 2 * _LEAST_DEVIATION:
        return f"{diagnosis} Both have one hop: set `audio_grid` to null."
    hundredths = round(100 * hop)
    if abs(hop / _VGGISH_HOP - 1) <= 2 * _LEAST_DEVIATION:
        diagnosis += f" {_VGGISH_HOP} s is what VGGish does by itself."
        hundredths = round(100 * _VGGISH_HOP)
    return (
        f"{diagnosis} Extract the audio again with a hop of {visual_hop:.3g} s, or have it "
        "resampled by time stamps: `audio_grid: {fps: 100, stride: "
        f"{hundredths}, window: {hundredths}}}`."
    )


def explain_durations(
    steps: FloatArray, durations: FloatArray, grid: FeatureGrid, own_fps: FloatArray | None
) -> str:
    """Say which frame rate or stride would fit, if the features' lengths contradict the durations.

    Args:
        steps: feature vectors of each video; NaN where unknown.
        durations: annotated seconds of each video; NaN where unknown.
        grid: grid that the features are read with.
        own_fps: frame rate of each video where it stands in for that of the grid.
    """
    fps = np.full(len(steps), grid.fps) if own_fps is None else own_fps
    if describe_one_length(steps, durations * fps):
        return ""
    seconds = ((steps - 1) * grid.stride + grid.window) / fps
    ratio = _constant_factor(seconds / durations, _MOST_SPREAD)
    if ratio is None:
        return ""
    diagnosis = (
        f"The features last {ratio:.3g} times as long as the annotated durations say (median of "
        f"{_count(seconds / durations)} videos)"
    )
    usual_fps = float(np.nanmedian(fps))
    if abs(ratio * usual_fps - 1) <= _LEAST_DEVIATION:
        return (
            f"{diagnosis}, one part in {1 / ratio:.3g}: the durations are frames, not seconds; "
            f"divide the times of the annotations by the frame rate, {usual_fps:.3g}."
        )
    several = steps > 1
    stride = np.nanmedian((durations * fps - grid.window)[several] / (steps - 1)[several])
    fits = [f"`grid.stride` {stride:.3g}"]
    remedy = "set what the features were extracted with"
    if own_fps is None:
        fits = [
            f"`grid.fps` {grid.fps * ratio:.3g} with stride {grid.stride:g}",
            f"{fits[0]} with {grid.fps:g} fps",
        ]
        remedy += ", or `own_fps` if that was at each video's own frame rate"
    return (
        f"{diagnosis}, so every detection would lie at wrong seconds. {' or '.join(fits)} would "
        f"fit; {remedy}."
    )


def explain_units(last_ends: FloatArray, seconds: FloatArray) -> str:
    """Say that times look like frames, if most videos' events end long after the features.

    Args:
        last_ends: end of the last event of each video; NaN where it has none.
        seconds: second at which the features of each video end.
    """
    factors = last_ends / seconds
    factors = factors[np.isfinite(factors)]
    if len(factors) < _FEWEST_VIDEOS or np.median(factors) < _FRAMES_FACTOR:
        return ""
    return (
        f"The last event of a video ends {np.median(factors):.3g} times later than its features "
        f"(median of {len(factors)} videos): the times of the annotations look like frames or "
        "milliseconds; write seconds."
    )


def describe_one_length(steps: FloatArray, lengths: FloatArray) -> str:
    """Say that features seem to be cut or stretched to one length, whatever the duration.

    Args:
        steps: feature vectors of each video; NaN where unknown.
        lengths: annotated length of each video, in seconds or in the frames that the steps count;
            NaN where unknown.
    """
    known = np.isfinite(steps) & np.isfinite(lengths)
    steps, lengths = steps[known], lengths[known]
    if len(steps) < _FEWEST_VIDEOS:
        return ""
    # On a time grid, whatever its stride, videos of as many vectors last equally long, up to one.
    longest = steps == steps.max()
    low, median, high = np.quantile(lengths[longest], [0.1, 0.5, 0.9])
    one_step = median / steps.max()
    if longest.sum() < max(2, _LEAST_SHARE * len(steps)) or high - low <= 2 * one_step:
        return ""
    return (
        f"{longest.sum()} of {len(steps)} videos have {steps.max():g} feature vectors and none has "
        "more, though their durations differ. Features that were cut lack what follows; those that "
        "were stretched to one length lie at wrong seconds: use whole ones of constant stride, "
        "with `resize_to` if one length is wanted."
    )


def _constant_factor(ratios: FloatArray, most_spread: float) -> float | None:
    """Return the median ratio if it is far from 1 and about the same in all videos."""
    ratios = ratios[np.isfinite(ratios)]
    if len(ratios) < _FEWEST_VIDEOS:
        return None
    low, median, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    if abs(median - 1) <= _LEAST_DEVIATION or high - low > most_spread * median:
        return None
    return float(median)


def _count(values: FloatArray) -> int:
    return int(np.isfinite(values).sum())
