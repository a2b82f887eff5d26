"""What is there and what is missing, split by split: a table to read and a record to keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

_NAMED = 3  # how many of a longer list a line of text names


@dataclass(frozen=True)
class SplitManifest:
    """What is there of one split.

    Args:
        split: name of the subset.
        stages: what it is used for, of `fit`, `validate`, `test` and `predict`.
        videos: videos that the annotations name.
        events: their events.
        hours: their length together; where the annotations do not tell it, the features do.
        missing: what each video without all of its files lacks.
        damaged: what is wrong with the files of each video that cannot be loaded.
        without_audio: videos that are used without sound.
        without_scores: videos that the external video scores lack, so that nothing can be
            detected in them.
        blocked: videos that the protocol's list leaves out of the score.
        left_out: what training leaves out, by reason; see `EventDataset`.
        oddities: what the annotations hold that is odd, by kind.
        remarks: what looks wrong with the split as a whole.
    """

    split: str
    stages: list[str]
    videos: int
    events: int
    hours: float
    missing: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    without_audio: list[str] = field(default_factory=list)
    without_scores: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    oddities: dict[str, int] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @property
    def usable(self) -> int:
        """Videos that can be loaded."""
        return self.videos - len(self.missing) - len(self.damaged)

    def notes(self) -> list[str]:
        """Return where the split falls short of what its annotations promise, a sentence each."""
        skipped = len(self.missing) + len(self.damaged)
        of_split = f"videos of {self.split}"
        counts = {
            f"{of_split} were skipped and count as missed.": skipped,
            f"{of_split} have no audio.": len(self.without_audio),
            f"{of_split} have no external video scores: nothing is detected in them.": len(
                self.without_scores
            ),
            f"{of_split} are blocked; the protocol leaves them out.": len(self.blocked),
        }
        notes = [f"{count:,} {what}" for what, count in counts.items() if count]
        odd = {what: count for what, count in self.oddities.items() if count}
        notes += [f"The annotations of {self.split} hold {odd[what]:,} {what}." for what in odd]
        return notes + self.remarks


@dataclass(frozen=True)
class Manifest:
    """What is there of a data set.

    Args:
        features: folder of the features.
        splits: the splits in use.
        stray_files: feature files of videos that the annotations do not name.
    """

    features: str
    splits: list[SplitManifest]
    stray_files: list[str] = field(default_factory=list)

    def format_table(self) -> str:
        """Return a table with one row a split, and below it what must not be overlooked."""
        header = ["split", "for", "videos", "usable", "missing", "damaged", "no audio"]
        header += ["events", "hours"]
        rows = [header]
        for split in self.splits:
            faults = [len(split.missing), len(split.damaged), len(split.without_audio)]
            numbers = [split.videos, split.usable, *faults, split.events]
            texts = [f"{number:,}" for number in numbers]
            rows.append([split.split, ", ".join(split.stages), *texts, f"{split.hours:.1f}"])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [_line(row, widths) for row in rows]
        for split in self.splits:
            lines += split.notes()
            left_out = [f"{n:,} {what}" for what, n in split.left_out.items() if n]
            if left_out:
                lines.append(f"Left out of training on {split.split}: {', '.join(left_out)}.")
            for what, videos in (("Missing", split.missing), ("Damaged", split.damaged)):
                if videos:
                    lines.append(f"{what} in {split.split}: {_first(list(videos))}.")
        if self.stray_files:
            lines.append(
                f"{len(self.stray_files):,} feature files belong to no video of the annotations: "
                f"{_first(self.stray_files)}."
            )
        return f"Data in {self.features}\n" + "".join(f"{line}\n" for line in lines)

    def to_dict(self) -> dict[str, Any]:
        """Return everything, with all ids, as `manifest.json` holds it."""
        splits = [
            {**vars(split), "usable": split.usable, "hours": round(split.hours, 4)}
            for split in self.splits
        ]
        return {"features": self.features, "splits": splits, "stray_files": self.stray_files}


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Return a row of the table: two columns of words, then numbers."""
    words = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
    numbers = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True)]
    return "  ".join([*words, *numbers])


def _first(names: Sequence[str]) -> str:
    """Name the first of a list and say how many there are more."""
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
