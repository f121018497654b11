"""GitHub's Markdown, aligned so that it reads as plain text too."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from unicodedata import combining, east_asian_width

from leaderboards.model import Cell, Table
from leaderboards.renderers.unicode import number_text

_SPECIAL = re.compile(r"[\\*`]|<(?=[A-Za-z/!?])|&(?=#?\w+;)|~(?=~)|(?<=\])[(\[:]|(?<![^\W_])_|_(?![^\W_])")
"""What Markdown would read as markup: emphasis, code, HTML, entities, strike-through, links."""
_AT_START = re.compile(r"^(\d+(?=[.)](?:\s|$))|(?=[#>]|--|[-+](?:\s|$)))")


def render(table: Table) -> str:
    """Return a title, the table, and its notes as a list."""
    head = ["Model", *(escape_cell(column.heading + column.arrow) for column in table.columns), "Origin"]
    body: list[list[str]] = []
    for group in table.groups:
        body.append([f"*{escape_cell(group.heading)}*", *("" for _ in head[1:])])
        body.extend([escape_cell(r.label), *map(_cell, r.cells), escape_cell(r.origin_text)] for r in group.rows)
    aligned = "\n".join(_aligned(head, body))
    parts = [f"**{escape(table.title)}**", aligned]
    if table.notes:
        parts.append("\n".join(f"- {escape(note)}" for note in table.notes))
    return "\n\n".join(parts) + "\n"


def _cell(cell: Cell) -> str:
    text = escape_cell(number_text(cell.text))
    text = f"**{text}**" if cell.bold else text
    return f"{text} {cell.interval}" if cell.interval else text


def _aligned(head: Sequence[str], body: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the table's lines: first and last column to the left, numbers to the right."""
    widths = [max(3, *(_width(row[at]) for row in (head, *body))) for at in range(len(head))]
    last = len(head) - 1
    rule = [("-" * w) if at in (0, last) else ("-" * (w - 1) + ":") for at, w in enumerate(widths)]
    for line in (head, rule, *body):
        padded = (
            text + " " * (w - _width(text)) if at in (0, last) else " " * (w - _width(text)) + text
            for at, (text, w) in enumerate(zip(line, widths, strict=True))
        )
        yield f"| {' | '.join(padded)} |"


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
