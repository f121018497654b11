"""A leaderboard as a picture: a panel a column, a point a number, with its interval where it was measured."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from bench.plots import forest, picture
from leaderboards.model import Cell, ColumnSpec, Group, Row, Table

WIDTH = picture.DOUBLE
"""Of the picture, in mm: the two columns of a journal's page."""
SPREAD = 100.0
"""Ratio of the largest to the smallest number from which a column's axis is logarithmic, unless it is of scores."""
_NUMBER = re.compile(r"[$€£]?\s*([-−+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?)\s*([KMBT]?)", re.IGNORECASE)
_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


def write(table: Table, file: Path) -> None:
    """Draw a table into a file .png, .pdf or .svg, and say what its fonts lack.

    Raises Unavailable where matplotlib is missing, BenchError for another suffix.
    """
    picture.check_picture(file)
    found = of_table(table)
    picture.write(file, None, (), lambda: forest.draw(found, WIDTH), table.title, f"a leaderboard as {file.suffix[1:]}")
    for line in picture.lacking([*found.texts(), *found.notes]):
        click.echo(line, err=True)


def of_table(table: Table) -> forest.Forest:
    """Return what is drawn of a table: its groups as blocks, columns with no number in any row left out."""
    columns = [at for at in range(len(table.columns)) if any(_value(row.cells[at]) is not None for row in table.rows())]
    blocks = tuple(_block(group, columns) for group in table.groups if group.rows)
    panels = tuple(_panel(table, at) for at in columns)
    left = [column.heading for at, column in enumerate(table.columns) if at not in columns]
    lost = [f"Not drawn, without a number: {', '.join(left)}."] * bool(left)
    notes = (*_about(table), *lost, *table.notes)
    return forest.Forest(panels, blocks, notes, (), table.title, table.title)


def _about(table: Table) -> Iterator[str]:
    """Yield what the picture's signs mean, of those that it has."""
    origins = {row.origin for row in table.rows()}
    signs = ["squares: published"] * ("published" in origins) + ["circles: measured"] * ("measured" in origins)
    signs += ["bars: confidence intervals"] * any(cell.interval for row in table.rows() for cell in row.cells)
    signs += ["diamonds, dashed lines: the baseline"] * any(row.baseline for row in table.rows())
    signs += ["larger: the best of its block (bold in a table)"] * any(
        cell.bold for row in table.rows() for cell in row.cells
    )
    signs += ["hollow: not comparable with the filled of its block"] * any(
        _otherwise(group, row, at) for group in table.groups for row in group.rows for at in range(len(table.columns))
    )
    if signs:
        line = "; ".join(signs)
        yield f"{line[0].upper()}{line[1:]}."
    if len([group for group in table.groups if group.rows]) > 1:
        yield "Numbers are compared within a block only."


def _panel(table: Table, at: int) -> forest.Panel:
    column = table.columns[at]
    heading = f"{column.block}: {column.heading}" if _ambiguous(table.columns, column) else column.heading
    return forest.Panel(heading, column.better, log=_wide(table, at))


def _ambiguous(columns: Sequence[ColumnSpec], column: ColumnSpec) -> bool:
    """Whether the heading needs its block's to be told from another."""
    return bool(column.block) and [other.heading for other in columns].count(column.heading) > 1


def _wide(table: Table, at: int) -> bool:
    """Whether a column's numbers span so much that only a logarithmic axis shows them."""
    values = [value for row in table.rows() if (value := _value(row.cells[at])) is not None]
    return not table.columns[at].score and min(values) > 0 and max(values) / min(values) >= SPREAD


def _block(group: Group, columns: Sequence[int]) -> forest.Block:
    """Return a group's rows under its heading; published rows on different images say in their labels on which."""
    published = [row for row in group.rows if row.origin == "published"]
    alike = len({row.images for row in published}) == 1
    heading = group.full_heading
    if published and alike and (about := _population(published[0])):
        heading = f"{heading} – {about}"
    data = len({row.data for row in published}) > 1
    rows = tuple(
        forest.Row(
            row.name if alike or row.origin == "measured" else _label(row, data=data),
            tuple(_point(group, row, at) for at in columns),
            row.baseline,
        )
        for row in group.rows
    )
    return forest.Block(heading, rows)


def _population(row: Row) -> str:
    """Return on what a published row was measured, as far as it is known: "2,461 frontal images"."""
    n = "" if row.n is None or f"{row.n:,}" in row.population else f"n={row.n:,}"
    return ", ".join(part for part in (n, row.population) if part)


def _label(row: Row, *, data: bool) -> str:
    """Return a row's label with what tells its images from those of the group's others."""
    about = row.data if data else row.population
    return f"{row.name} ({about})" if about else row.name


def _point(group: Group, row: Row, at: int) -> forest.Point:
    cell = row.cells[at]
    value = _value(cell)
    if value is None:
        return forest.Point(None, absent=cell.text)
    low, high = cell.ends if cell.ends and cell.interval else (_parsed(cell.low), _parsed(cell.high))
    published = row.origin == "published"
    return forest.Point(value, low, high, cell.flags, _otherwise(group, row, at), published, cell.bold)


def _otherwise(group: Group, row: Row, at: int) -> bool:
    """Whether a number is by another recipe, or on other images, than the group's first in its column."""
    first = next((other for other in group.rows if _value(other.cells[at]) is not None), row)
    if _value(row.cells[at]) is None:
        return False
    return (row.cells[at].signature, row.images) != (first.cells[at].signature, first.images)


def _value(cell: Cell) -> float | None:
    return cell.value if cell.value is not None else _parsed(cell.text)


def _parsed(text: str) -> float | None:
    """Return a printed number: "37.2", "$3.25", "239,931", "76M", "8.0e-3"; None where it is none."""
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        return None
    return float(match[1].replace(",", "").replace("−", "-")) * _UNITS[match[2].upper()]
