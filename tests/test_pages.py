"""The template engine of the pages."""

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from davezoo.pages import page_templates


def render(folder: Path, template: str, **values: object) -> str:
    (folder / "page.html").write_text(template)
    return page_templates(folder).get_template("page.html").render(**values)


def test_every_value_is_escaped(tmp_path: Path) -> None:
    page = render(tmp_path, '<a title="{{ x }}">{{ x }}</a>', x='"><script>')
    assert page == '<a title="&#34;&gt;&lt;script&gt;">&#34;&gt;&lt;script&gt;</a>'


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError, match="y"):
        render(tmp_path, "{{ y }}")


def test_json_is_strict(tmp_path: Path) -> None:
    assert render(tmp_path, "{{ x | tojson }}", x=["</script>", 1]) == (
        '["\\u003c/script\\u003e",1]'
    )
    with pytest.raises(ValueError, match="JSON"):
        render(tmp_path, "{{ x | tojson }}", x=float("nan"))


def test_numbers(tmp_path: Path) -> None:
    page = render(tmp_path, "{{ 0.12345 | percent }} {{ 0.5 | percent(0) }} {{ 12345 | count }}")
    assert page == "12.35 50 12,345"


def test_shared_looks_are_found(tmp_path: Path) -> None:
    assert "prefers-color-scheme: dark" in render(tmp_path, '{% include "page.css" %}')
