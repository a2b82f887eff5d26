"""The result of scoring: numbers, what they were computed from, as JSON and as a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from davezoo.errors import InputError
from davezoo.json_files import read_json, write_json


class ResultError(InputError):
    """A result file cannot be used; the message names the file and the remedy."""


@dataclass(frozen=True)
class ClassResult:
    """Average precision of one class.

    Args:
        label: name of the class.
        num_events: annotated events of the class.
        average_precision: one value for each threshold of the protocol, 0 to 1.
    """

    label: str
    num_events: int
    average_precision: list[float]


@dataclass(frozen=True)
class EvaluationResult:
    """Scores of a set of detections, with everything needed to read them.

    All scores are fractions, 0 to 1; `format_table` prints them in percent.

    Args:
        protocol: name, version, `tiou_thresholds` and rules; see `Protocol.to_dict`.
        split: subsets of the scored videos, as spelt in the annotations.
        avg_map: mean of `map` over the thresholds.
        map: mean average precision at each threshold.
        classes: average precision of each class with annotated events.
        num_events: annotated events that were scored.
        num_expected_videos: videos of the split, without blocked ones.
        num_scored_videos: videos of the split that the detections cover, if only by an empty list.
        missing_videos: ids of the other ones; their events count as missed.
        num_blocked_videos: videos of the split that were left out by the blocked list.
        num_near_duplicate_events: annotated events removed as near duplicates.
        num_short_events: annotated events removed as too short.
        num_predictions: detections handed in.
        num_blocked_predictions: detections left out because their video is blocked.
        unknown_labels: how many detections were dropped for each class without annotated events.
        num_unknown_video_predictions: detections in videos outside the split, of known classes;
            they count as false positives.
        num_excluded_videos: videos of the split that the protocol leaves out.
        num_excluded_predictions: detections left out with them.
        num_protocol_videos: how many videos of this split published results are about, blocked ones
            counted; None where nothing is published.
        absent_videos: ids that the protocol counts and the annotations lack.
        blocked_list: name, number of ids and a short hash of the given list; None without one.
        other_id: a missing video and what the detections call it, where they call most missing
            videos otherwise; None where they do not.
    """

    protocol: dict[str, Any]
    split: str
    avg_map: float
    map: list[float]
    classes: list[ClassResult]
    num_events: int
    num_expected_videos: int
    num_scored_videos: int
    missing_videos: list[str]
    num_blocked_videos: int
    num_near_duplicate_events: int
    num_short_events: int
    num_predictions: int
    num_blocked_predictions: int
    unknown_labels: dict[str, int]
    num_unknown_video_predictions: int
    num_excluded_videos: int = 0
    num_excluded_predictions: int = 0
    num_protocol_videos: int | None = None
    absent_videos: list[str] = field(default_factory=list)
    blocked_list: dict[str, Any] | None = None
    other_id: list[str] | None = None

    @property
    def remarks(self) -> list[str]:
        """What was left out, one phrase each, and the `differences`."""
        some = ", ".join(printable(video) for video in self.missing_videos[:5])
        more = ", ..." if len(self.missing_videos) > 5 else ""
        counts = [
            (len(self.missing_videos), f"videos without detections count as missed: {some}{more}"),
            (self.num_unknown_label_predictions, "detections of unknown classes dropped"),
            (self.num_unknown_video_predictions, "detections in unknown videos: false positives"),
            (self.num_excluded_videos, "videos left out by the protocol"),
            (self.num_excluded_predictions, "detections in left-out videos dropped"),
            (self.num_blocked_videos, "videos blocked"),
            (self.num_blocked_predictions, "detections in blocked videos dropped"),
            (self.num_near_duplicate_events, "near-duplicate events removed"),
            (self.num_short_events, "events removed as too short"),
        ]
        remarks = [f"{count} {what}" for count, what in counts if count]
        if self.other_id is not None:
            video, other = map(printable, self.other_id)
            remarks.append(
                f"the detections call most missing videos otherwise, such as {other!r} for "
                f"{video!r}: give them the ids of the annotations"
            )
        return remarks + self.differences

    @property
    def differences(self) -> list[str]:
        """How the annotations differ from the videos that published results are about."""
        differences = []
        num_videos = self.num_expected_videos + self.num_blocked_videos
        if self.num_protocol_videos not in (None, num_videos):
            differences.append(
                f"the annotations have {num_videos} videos where published results are about "
                f"{self.num_protocol_videos}"
            )
        if self.absent_videos:
            absent = ", ".join(printable(video) for video in self.absent_videos)
            differences.append(f"the annotations lack {absent}")
        return differences

    @property
    def protocol_name(self) -> str:
        """Name and version of the protocol, with its list of blocked videos where it has one."""
        name = f"{self.protocol['name']} v{self.protocol['version']}"
        if self.blocked_list is not None:
            name += " ({name}, {num_videos} ids, sha256 {sha256})".format(**self.blocked_list)
        return printable(name)

    @property
    def num_unknown_label_predictions(self) -> int:
        """Detections that were dropped because their class has no annotated events."""
        return sum(self.unknown_labels.values())

    @property
    def tiou_thresholds(self) -> list[float]:
        """Thresholds of `map`, as exact doubles."""
        return list(self.protocol["tiou_thresholds"])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types; the inverse of `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> EvaluationResult:
        """Rebuild a result.

        Raises:
            ResultError: if the entries are not those of `to_dict`.
        """
        try:
            classes = [ClassResult(**entry) for entry in content["classes"]]
            result = cls(**{**content, "classes": classes})
            num_thresholds = len(result.tiou_thresholds)
            _ = result.protocol_name, result.remarks  # damaged entries show here
        except (KeyError, TypeError, ValueError) as error:
            raise ResultError(
                f"Expected the entries of a result of `davezoo evaluate`, got an error at {error}; "
                "evaluate again."
            ) from error
        if any(len(values) != num_thresholds for values in _threshold_lists(result)):
            raise ResultError(
                f"Expected {num_thresholds} values for the {num_thresholds} thresholds in `map` "
                "and in each class, got another number; evaluate again."
            )
        return result

    def write(self, path: Path) -> None:
        """Write the result to a JSON file, all at once."""
        write_json(path, self.to_dict(), indent=1)

    @classmethod
    def read(cls, path: Path) -> EvaluationResult:
        """Read a result file.

        Raises:
            FileNotFoundError: if there is no such file.
            ResultError: if it is not a result file.
        """
        content = read_json(path, ResultError)
        if not isinstance(content, dict):
            raise ResultError(f"Expected {path} to be a result file, got a list; evaluate again.")
        try:
            return cls.from_dict(content)
        except ResultError as error:
            raise ResultError(f"{path}: {error}") from error

    def format_table(self, per_class: bool = False) -> str:
        """Return the scores in percent as plain text, with what they were computed from.

        Args:
            per_class: also list every class, lowest mean first.
        """
        shown = [
            index
            for index, threshold in enumerate(self.tiou_thresholds)
            if round(threshold, 6) in {round(t, 6) for t in self.protocol["headline_tious"]}
        ]
        thresholds = [f"{self.tiou_thresholds[index]:g}" for index in shown]
        columns = [*(f"mAP@{threshold}" for threshold in thresholds), "Avg"]
        scores = [*(self.map[index] for index in shown), self.avg_map]
        widths = [max(len(column), 6) for column in columns]
        lines = [
            _row(columns, widths),
            _row([f"{100 * score:.2f}" for score in scores], widths),
            f"protocol {self.protocol_name}, "
            f"split {printable(self.split) or '(all videos)'}: "
            f"{self.num_expected_videos} videos expected, {self.num_scored_videos} scored, "
            f"{len(self.missing_videos)} missing",
            f"{self.num_events} events of {len(self.classes)} classes, "
            f"{self.num_predictions} detections",
            *self.remarks,
        ]
        if per_class:
            lines += ["", *self._class_table(shown, ["events", *columns])]
        return "\n".join(lines) + "\n"

    def _class_table(self, shown: list[int], columns: list[str]) -> list[str]:
        """Return the rows of the table of classes."""
        mean = {c.label: sum(c.average_precision) / len(c.average_precision) for c in self.classes}
        ranked = sorted(self.classes, key=lambda c: mean[c.label])
        widths = [max(len(column), 6) for column in columns]
        name_width = max(len("class"), *(len(printable(c.label)) for c in ranked))
        rows = [f"{'class':<{name_width}}  {_row(columns, widths)}"]
        for c in ranked:
            values = [*(c.average_precision[index] for index in shown), mean[c.label]]
            cells = [str(c.num_events), *(f"{100 * value:.2f}" for value in values)]
            rows.append(f"{printable(c.label):<{name_width}}  {_row(cells, widths)}")
        return rows


def printable(text: str) -> str:
    """Return text from a file with control characters, which could steer a terminal, replaced."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def shortened(text: str, most_letters: int) -> str:
    """Return text without what does not fit; only for display."""
    return text if len(text) <= most_letters else f"{text[: most_letters - 1]}…"


def _threshold_lists(result: EvaluationResult) -> list[list[float]]:
    return [result.map, *(c.average_precision for c in result.classes)]


def _row(cells: list[str], widths: list[int]) -> str:
    return "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
