"""One table model, one function a format."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench.errors import BenchError
from bench.registry import miss
from leaderboards.model import Table
from leaderboards.renderers import comma, html, latex, markdown

FORMATS: Mapping[str, Callable[[Table], str]] = {
    "md": markdown.render,
    "csv": comma.render,
    "csv-long": comma.render_long,
    "tex": latex.render,
    "html": html.render,
}


def render(table: Table, fmt: str) -> str:
    """Return the table as text in one of `FORMATS`, ending in a line break. Raises BenchError for another format."""
    if fmt not in FORMATS:
        raise BenchError(miss("format", fmt, FORMATS))
    return FORMATS[fmt](table)
