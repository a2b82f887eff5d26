"""The HTML page of a diagnosis: one file without scripts and without any network access.

Labels, ids and notes come from files that anybody may have written, so the template escapes every
value, and a content security policy lets no script run at all.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from davezoo import __version__
from davezoo.diagnosis.error_types import OUTCOMES
from davezoo.diagnosis.figures import (
    draw_boundaries,
    draw_costs,
    draw_durations,
    draw_ranks,
    draw_sensitivities,
)
from davezoo.diagnosis.modalities import FOUND_BY
from davezoo.pages import page_templates
from davezoo.whole_files import whole_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from davezoo.diagnosis.diagnose import Diagnosis

_TEMPLATES = Path(__file__).parent / "templates"
_MOST_CONFUSIONS = 20
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
        durations=draw_durations(diagnosis.durations),
        ranks=draw_ranks(diagnosis.errors),
        costs=draw_costs(diagnosis.errors),
        outcomes=OUTCOMES,
        explanations=_EXPLANATIONS,
        sensitivities=draw_sensitivities(diagnosis.sensitivities),
        boundaries=draw_boundaries(diagnosis.boundaries) if diagnosis.boundaries.summary else None,
        confusions=diagnosis.confusions[:_MOST_CONFUSIONS],
        found_by=FOUND_BY,
        version=__version__,
    )
    with whole_file(path) as part:
        part.write_text(page, encoding="utf-8", errors="replace")  # names may hold lone surrogates
