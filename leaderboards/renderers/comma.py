"""CSV: wide, a row a system, with numbers as printed; long, a row a number, with all its digits."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from leaderboards.model import Cell, ColumnSpec, Group, Row, Table

FIXED = (
    "group",
    "model",
    "origin",
    "dataset",
    "split",
    "n",
    "n_empty",
    "population",
    "source",
    "stand_ins",
    "baseline",
)
ENDS = ("_low", "_high", "_n", "_failed", "_signature", "_mark")
LONG = (
    *("group", "model", "origin", "dataset", "split", "n_cases", "n_empty", "population", "source", "stand_ins"),
    *("column", "heading", "better", "printed", "value", "ci_low", "ci_high", "n", "n_failed", "signature"),
    *("best", "baseline", "difference", "p", "mark", "reason", "remedy"),
)


def render(table: Table) -> str:
    """Return the table as CSV; an absent number is an empty field, its reason stands in the last column."""
    head = [*FIXED, *(name for column in table.columns for name in _names(column)), "remarks"]
    return _written(head, (_row(group, row, table) for group in table.groups for row in group.rows))


def render_long(table: Table) -> str:
    """Return a row a number, for data frames: measured ones unrounded, published ones as far as they are numbers."""
    rows = (
        _number(group, row, column, cell)
        for group in table.groups
        for row in group.rows
        for column, cell in zip(table.columns, row.cells, strict=True)
    )
    return _written(LONG, rows)


def _written(head: Sequence[str], rows: Iterator[list[str]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return out.getvalue()


def _about(group: Group, row: Row) -> list[str]:
    known = [group.heading, row.label, row.origin, row.dataset, row.split, _text(row.n)]
    return [*known, _empty(row), row.population, row.source, "; ".join(row.stand_ins)]


def _empty(row: Row) -> str:
    return str(row.n_empty) if row.origin == "measured" else ""


def _text(value: float | None) -> str:
    """Return the shortest text that reads back as the number, or nothing."""
    return "" if value is None else repr(value)


def _baseline(group: Group) -> str:
    return next((row.label for row in group.rows if row.baseline), "")


# ------------------------------------------------------------------ wide


def _names(column: ColumnSpec) -> list[str]:
    return [column.key, *(column.key + end for end in (ENDS if column.score else ()))]


def _row(group: Group, row: Row, table: Table) -> list[str]:
    numbers = [text for column, cell in zip(table.columns, row.cells, strict=True) for text in _cells(column, cell)]
    return [*_about(group, row), _baseline(group), *numbers, "; ".join(_remarks(row, table))]


def _cells(column: ColumnSpec, cell: Cell) -> Iterator[str]:
    yield cell.text if cell.present else ""
    if column.score:
        measured = cell.value is not None
        yield from (
            cell.low,
            cell.high,
            _text(cell.n),
            str(cell.n_failed) if measured else "",
            cell.signature,
            cell.mark,
        )


def _remarks(row: Row, table: Table) -> Iterator[str]:
    for column, cell in zip(table.columns, row.cells, strict=True):
        if not cell.present:
            yield f"{column.key}: {cell.reason}{f' ({cell.remedy})' if cell.remedy else ''}"
        elif cell.n_failed:
            yield f"{column.key}: {cell.n_failed} cases have no verdict"


# ------------------------------------------------------------------ long


def _number(group: Group, row: Row, column: ColumnSpec, cell: Cell) -> list[str]:
    about = [column.key, column.heading, column.better or "", cell.text if cell.present else "", _value(cell)]
    low, high = cell.ends or (None, None)
    counts = [_text(cell.n), str(cell.n_failed) if cell.value is not None else "", cell.signature]
    tested = [_text(cell.difference), _text(cell.p), cell.mark]
    return [
        *_about(group, row),
        *(*about, _text(low), _text(high), *counts),
        *(str(cell.bold).lower(), _baseline(group), *tested, cell.reason, cell.remedy),
    ]


def _value(cell: Cell) -> str:
    if cell.value is not None:
        return _text(cell.value)
    return "" if cell.number is None else str(cell.number)
