"""What all HTML pages share: the template engine and the looks.

Labels, ids and notes come from files that anybody may have written: the engine escapes every value.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

_SHARED = Path(__file__).parent / "templates"


def page_templates(folder: Path) -> Environment:
    """Return the template engine: everything escaped, unknown names refused, strict JSON.

    `page.css`, which all pages include, is found beside the templates of the folder. Filters:
    `percent` of a share, with 2 digits or as many as are asked for, and `count` of a whole number.

    Args:
        folder: where the templates of a page lie.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([folder, _SHARED]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.filters["percent"] = lambda value, digits=2: f"{100 * value:.{digits}f}"
    environment.filters["count"] = lambda value: f"{value:,}"
    return environment
