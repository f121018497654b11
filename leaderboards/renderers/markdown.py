"""GitHub's Markdown, aligned so that it reads as plain text too."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from unicodedata import combining, east_asian_width

from leaderboards.model import Cell, Row, Table
from leaderboards.renderers.unicode import number_text

_SPECIAL = re.compile(r"[\\*`]|<(?=[A-Za-z/!?])|&(?=#?\w+;)|~(?=~)|(?<=\])[(\[:]|(?<![^\W_])_|_(?![^\W_])")
"""What Markdown would read as markup: emphasis, code, HTML, entities, strike-through, links."""
_AT_START = re.compile(r"^(\d+(?=[.)](?:\s|$))|(?=[#>]|--|[-+](?:\s|$)))")


def render(table: Table) -> str:
    """Return a title, the table, and its notes as a list."""
    parts = [f"**{escape(table.title)}**", "\n".join(_table(table))]
    if table.notes:
        parts.append("\n".join(f"- {escape(note)}" for note in table.notes))
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> Iterator[str]:
    """Yield the lines; headings of groups stand in rows of their own, which widen no column."""
    last = ["n"] if table.has_n else []
    head = ["Model", *(escape_cell(column.heading + column.arrow) for column in table.columns), *last]
    body = [[_row(row, table) for row in group.rows] for group in table.groups]
    widths = [max(3, *map(_width, texts)) for texts in zip(head, *(row for rows in body for row in rows), strict=True)]
    yield _line(head, widths)
    yield f"| {' | '.join(('-' * (w - 1) + ':') if at else '-' * w for at, w in enumerate(widths))} |"
    for group, rows in zip(table.groups, body, strict=True):
        yield f"| *{escape_cell(group.full_heading)}* |{' |' * (len(head) - 1)}"
        yield from (_line(row, widths) for row in rows)


def _row(row: Row, table: Table) -> list[str]:
    cells = (_cell(cell, row.support(cell)) for cell in row.cells)
    return [escape_cell(row.name), *cells, *([row.n_text] if table.has_n else [])]


def _cell(cell: Cell, support: str) -> str:
    text = escape_cell(number_text(cell.text))
    text = (f"**{text}**" if cell.bold else text) + cell.flags
    return " ".join(filter(None, (text, cell.interval, support)))


def _line(texts: Sequence[str], widths: Sequence[int]) -> str:
    """Return a line of the table: the first column to the left, numbers to the right."""
    padded = (
        text + " " * (w - _width(text)) if at == 0 else " " * (w - _width(text)) + text
        for at, (text, w) in enumerate(zip(texts, widths, strict=True))
    )
    return f"| {' | '.join(padded)} |"


def _width(text: str) -> int:
    """Return how many columns of a terminal the text takes."""
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def escape(text: str) -> str:
    """Return the text on one line, showing as it is."""
    line = _SPECIAL.sub(lambda match: "\\" + match[0], " ".join(text.split()))
    return _AT_START.sub(lambda match: match[1] + "\\", line)


def escape_cell(text: str) -> str:
    """Return the text for a cell of a table, where a bar would end it."""
    return escape(text).replace("|", "\\|")
