"""The HTML page of an inspection: one file without scripts or network access.

Labels and ids come from files that anybody may have written, so the template escapes every value,
and the page's policy lets no script run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from davezoo import __version__
from davezoo.inspection.charts import Chart, class_chart, length_chart, level_chart
from davezoo.inspection.proposal import LENGTH_RULE, RANGES_RULE
from davezoo.inspection.tables import (
    class_sentences,
    class_table,
    crop_table,
    feature_notes,
    feature_table,
    length_table,
    level_table,
    oddity_table,
    overlap_table,
    split_table,
)
from davezoo.pages import page_templates
from davezoo.whole_files import whole_file

if TYPE_CHECKING:
    from davezoo.inspection.collect import Inspection

_TEMPLATES = Path(__file__).parent / "templates"


def write_page(path: Path, inspection: Inspection) -> None:
    """Write the page.

    Args:
        path: the HTML file; its folder is made where it is absent.
        inspection: what to show.
    """
    hop, training = inspection.seconds_per_step, inspection.training
    proposed = inspection.proposed_levels
    page = (
        page_templates(_TEMPLATES)
        .get_template("inspection.html")
        .render(
            inspection=inspection,
            splits=split_table(inspection),
            lengths=length_table(inspection),
            length_charts=_length_charts(inspection),
            overlap=overlap_table(inspection),
            crops=crop_table(inspection),
            levels=level_table("Levels as set now", inspection.levels, hop),
            level_chart=level_chart(inspection.levels),
            proposed=proposed and level_table("Levels as proposed", proposed, hop),
            proposed_chart=proposed and level_chart(proposed),
            rules=[LENGTH_RULE, RANGES_RULE],
            oddities=oddity_table(inspection),
            features=feature_table(inspection),
            feature_notes=feature_notes(inspection),
            classes=class_table(inspection),
            class_chart=class_chart(training.class_counts, training.annotations.class_names),
            class_sentences=class_sentences(inspection),
            version=__version__,
        )
    )
    with whole_file(path) as part:
        part.write_text(page, encoding="utf-8", errors="replace")  # ids may hold lone surrogates


def _length_charts(inspection: Inspection) -> list[Chart]:
    """Return the pictures of lengths: videos and events, in seconds and in grid steps."""
    splits, crop = inspection.splits, inspection.crop.max_length
    borders = [(level.low, "") for level in inspection.levels.levels if level.low > 0]
    return [
        length_chart([s.video_seconds for s in splits], "length of videos, s"),
        length_chart(
            [s.video_steps for s in splits],
            "length of videos, grid steps",
            [(crop, "max_length")],
        ),
        length_chart([s.event_seconds for s in splits], "length of events, s"),
        length_chart([s.event_steps for s in splits], "length of events, grid steps", borders),
    ]
