"""The table on a terminal, drawn with rich."""

from __future__ import annotations

from rich import box
from rich.console import Group as Stack
from rich.console import RenderableType
from rich.table import Table as Drawn
from rich.text import Text

from leaderboards.model import Cell, Group, Table
from leaderboards.renderers.unicode import number_text


def drawn(table: Table) -> RenderableType:
    """Return what a rich console prints. A group's heading says what its rows are, which saves a column."""
    grid = Drawn(title=Text(table.title, "bold"), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    grid.add_column("Model", overflow="fold")
    for column in table.columns:
        grid.add_column(Text(column.heading + column.arrow), justify="right", overflow="fold")
    for group in table.groups:
        grid.add_row(Text(group.heading, "italic cyan"))
        for row in group.rows:
            grid.add_row(Text(row.label), *map(_cell, row.cells))
        grid.add_section()
    heads = (Text(line, "dim") for line in map(_origin, table.groups))
    return Stack(grid, *heads, *(Text(f"- {note}", "dim") for note in table.notes))


def _origin(group: Group) -> str:
    """Return "Current study: published: MIMIC-CXR test, n=3,403"."""
    texts = dict.fromkeys(row.origin_text for row in group.rows)
    return f"{group.heading}: {'; '.join(texts)}"


def _cell(cell: Cell) -> Text:
    text = Text(number_text(cell.text), "bold green" if cell.bold else "")
    return text.append(f"\n{cell.interval}", "dim") if cell.interval else text
