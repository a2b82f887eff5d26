"""`davezoo inspect`: what a data set looks like, in the terminal and as a page."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from davezoo.errors import InputError
from davezoo.evaluation.results import printable
from davezoo.inspection.collect import Inspection, collect
from davezoo.inspection.page import write_page
from davezoo.inspection.proposal import LENGTH_RULE, RANGES_RULE
from davezoo.inspection.tables import (
    class_sentences,
    crop_table,
    feature_notes,
    feature_table,
    length_table,
    level_table,
    oddity_table,
    overlap_table,
    split_table,
)
from davezoo.nn.two_stream import REGRESSION_RANGES

if TYPE_CHECKING:
    from davezoo.data.datamodule import EventDataModule


def inspect(
    data: EventDataModule | None = None,
    output: Path = Path("inspection"),
    regression_ranges: list[tuple[float, float]] | None = None,
    verify: bool = True,
) -> None:
    """Show what a data set looks like, in the terminal and as an HTML page with pictures.

    Counts and lengths of videos and events, classes, overlaps, what the pyramid's levels and the
    training crops make of the events, missing and damaged features, oddities of the annotations,
    and settings that would fit. Annotations are enough: without features the steps of the grid
    follow from the durations.

    Args:
        data: data set to inspect, as in `davezoo fit`: a file, and settings such as `--data.root`.
        output: folder to write `inspection.html` to.
        regression_ranges: ranges of the levels in use, in grid steps; by default those of all
            methods.
        verify: compare every byte of packed features with its checksum.

    Raises:
        InputError: if no data set is given.
        AnnotationError: if the annotations are damaged or lack a split.
    """
    if data is None:
        raise InputError(
            "Expected `--data` to name a data set, got none; give a data file, such as "
            "data/unav100.yaml, and where it lies with `--data.root`."
        )
    ranges = [*REGRESSION_RANGES] if regression_ranges is None else regression_ranges
    inspection = collect(data, [(low, high) for low, high in ranges], verify)
    path = output / "inspection.html"
    write_page(path, inspection)
    sys.stdout.write("\n".join(_sections(inspection)))
    sys.stdout.write(f"\nWrote {path}\n")


def _sections(inspection: Inspection) -> Iterator[str]:
    """Yield the parts of the page in the terminal, each with an end of line."""
    facts = "".join(f"{name}: {value}\n" for name, value in inspection.facts)
    yield printable_lines(f"{inspection.name}\n{facts}")
    if inspection.findings:
        yield printable_lines("".join(f"! {finding}\n" for finding in inspection.findings))
    hop, proposal = inspection.seconds_per_step, inspection.proposal
    splits = split_table(inspection)
    levels = level_table("Levels as set now, training split", inspection.levels, hop)
    tables = [
        splits,
        length_table(inspection),
        overlap_table(inspection),
        levels,
        crop_table(inspection),
        oddity_table(inspection),
        feature_table(inspection),
    ]
    for table in filter(None, tables):
        hint = table.hint if table in (splits, levels) else ""
        yield table.format() + (printable_lines(f"{hint}\n") if hint else "")
    sentences = [*feature_notes(inspection), *class_sentences(inspection)]
    yield printable_lines("".join(f"{sentence}\n" for sentence in sentences))
    if proposal is None:
        yield "No settings are proposed: no training video or event has a known length.\n"
    else:
        yield f"# Proposed\n{proposal.options}\n{LENGTH_RULE}\n{RANGES_RULE}\n"


def printable_lines(text: str) -> str:
    """Replace what would steer a terminal, but for the ends of lines."""
    return "\n".join(map(printable, text.split("\n")))
