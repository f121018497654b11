"""The table on a terminal, drawn with rich."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from leaderboards.model import Cell, Group, Row, Table
from leaderboards.renderers.unicode import number_text

LABELS = (10, 36)
"""Least and greatest width of the first column."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """What a rich console prints of a table.

    Where the terminal is too narrow, headings and intervals are broken at their blanks.
    """

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Yield title, header, groups and notes."""
        layout = _fitting(self.table, options.max_width)
        headings = ("Model", *(column.heading + column.arrow for column in self.table.columns), "n")
        yield Text(self.table.title, "bold")
        yield _grid(layout, headings)
        for group in self.table.groups:
            yield Text(group.full_heading, "italic cyan")
            yield _rows(group, layout)
        yield Text()
        yield from (Text(f"- {note}", "dim") for note in self.table.notes)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Widths of the columns, the label's first, and the blanks between two."""

    widths: tuple[int, ...]
    gap: int


def _fitting(table: Table, available: int) -> _Layout:
    """Return a layout with whole intervals where that fits, and one with intervals broken at blanks elsewhere."""
    labels = max((cell_len(row.name) for row in table.rows()), default=0)
    wanted = min(max(labels, LABELS[0]), LABELS[1])
    whole = _widths(table, "\n")
    if wanted + sum(whole) + 2 * (len(whole) + 1) <= available:
        return _Layout((wanted, *whole), 2)
    broken = _widths(table, None)
    left = available - sum(broken) - len(broken)
    return _Layout((min(wanted, max(LABELS[0], left)), *broken), 1)


def _grid(layout: _Layout, headings: Sequence[str] | None = None) -> Grid:
    grid = Grid(box=box.SIMPLE_HEAD, show_edge=False, show_header=headings is not None)
    grid.padding = (0, layout.gap - 1, 0, 0)
    for at, width in enumerate(layout.widths):
        heading = Text(headings[at] if headings else "")
        grid.add_column(heading, justify="right" if at else "left", width=width, overflow="fold")
    return grid


def _rows(group: Group, layout: _Layout) -> Grid:
    grid = _grid(layout)
    for row in group.rows:
        grid.add_row(*_texts(row)[: len(layout.widths)])
    return grid


def _texts(row: Row) -> list[Text]:
    """Return the name, the numbers and the number of cases."""
    return [Text(row.name), *(_cell(cell, row.support(cell)) for cell in row.cells), Text(row.n_text)]


def _widths(table: Table, separator: str | None) -> list[int]:
    """Return the widths of the numbers' columns, where texts are broken at `separator` (None: any blank)."""
    headings = [*(column.heading + column.arrow for column in table.columns), *(["n"] if table.has_n else [])]
    texts = [_texts(row) for row in table.rows()]
    return [
        max(cell_len(part) for text in (heading, *(row[at].plain for row in texts)) for part in text.split(separator))
        for at, heading in enumerate(headings, 1)
    ]


def _cell(cell: Cell, support: str) -> Text:
    number = Text(number_text(cell.text), "bold green" if cell.bold else "")
    number.append(cell.flags, "yellow" if cell.mark else "dim")
    for small in filter(None, (cell.interval, support)):
        number.append(f"\n{small}", "dim")
    return number
