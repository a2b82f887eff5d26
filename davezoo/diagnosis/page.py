"""The HTML page of a diagnosis: one file without scripts and without any network access.

Labels, ids and notes come from files that anybody may have written, so the template escapes every
value, and a content security policy lets no script run at all.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from davezoo import __version__
from davezoo.diagnosis.charts import Chart, draw_groups, draw_histogram, draw_stacks
from davezoo.diagnosis.error_types import OUTCOMES
from davezoo.diagnosis.modalities import FOUND_BY
from davezoo.pages import page_templates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from davezoo.diagnosis.diagnose import Diagnosis

_TEMPLATES = Path(__file__).parent / "templates"
_MOST_CONFUSIONS = 20
_KINDS = [(name, name.replace(" ", "-")) for name in OUTCOMES]
_EXPLANATIONS = {
    "double detection": "right, but a better-scored detection has the event",
    "wrong label": "the times of an event of another class",
    "localization": "the right class, the times too far off",
    "confusion": "another class, and the times too far off",
    "background": "overlaps no event",
}


def write_page(path: Path, diagnosis: Diagnosis, title: str, notes: Sequence[str] = ()) -> None:
    """Write the page of one diagnosis, all at once.

    Args:
        path: the HTML file; missing folders are made.
        diagnosis: what was found.
        title: heading of the page.
        notes: sentences that a reader must know, shown as plain text.
    """
    environment = page_templates(_TEMPLATES)
    environment.filters["signed"] = lambda value: f"{value:+.2f}"
    page = environment.get_template("diagnosis.html").render(
        title=title,
        notes=[*notes, *(f"{remark}." for remark in diagnosis.remarks)],
        diagnosis=diagnosis,
        durations=_draw_durations(diagnosis) if diagnosis.durations else None,
        ranks=_draw_ranks(diagnosis),
        kinds=_KINDS,
        gains=sorted(diagnosis.errors.gains.items(), key=lambda entry: -entry[1]),
        explanations=_EXPLANATIONS,
        sensitivities=_draw_sensitivities(diagnosis),
        boundaries=_draw_boundaries(diagnosis),
        confusions=diagnosis.confusions[:_MOST_CONFUSIONS],
        found_by=FOUND_BY,
        version=__version__,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(page, encoding="utf-8", errors="replace")  # names may hold lone surrogates
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _draw_durations(diagnosis: Diagnosis) -> Chart:
    shares = diagnosis.durations
    return draw_groups(
        "Correctly localized events by duration in seconds, %",
        [entry.group for entry in shares],
        [
            ("by any detection", "any-detection", [entry.localized_share for entry in shares]),
            ("by a strong detection", "strong-detection", [entry.found_share for entry in shares]),
        ],
    )


def _draw_ranks(diagnosis: Diagnosis) -> Chart:
    counts = diagnosis.errors.counts
    ranks = [f"{rank + 1}G" for rank in range(len(counts))]
    return draw_stacks("What detections are, by rank, %", ranks, _KINDS, counts)


def _draw_sensitivities(diagnosis: Diagnosis) -> list[Chart]:
    shown = [score.avg_map_n for entry in diagnosis.sensitivities for score in entry.scores]
    return [
        draw_groups(
            entry.name,
            [score.group for score in entry.scores],
            [("average mAP_N", "strong-detection", [score.avg_map_n for score in entry.scores])],
            ("average mAP_N of all events", entry.avg_map_n),
            highest=max(shown),
        )
        for entry in diagnosis.sensitivities
    ]


def _draw_boundaries(diagnosis: Diagnosis) -> list[Chart]:
    errors = diagnosis.boundaries
    return [
        draw_histogram(
            f"{boundary}: detections by signed error", "strong-detection", errors.edges, counts, "s"
        )
        for boundary, counts in errors.histograms.items()
    ]
