"""CSV: a row a system, numbers as printed, interval ends in columns of their own."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from leaderboards.model import ColumnSpec, Group, Row, Table

FIXED = ("group", "model", "origin", "dataset", "split", "n", "population", "source", "stand_ins")


def render(table: Table) -> str:
    """Return the table as CSV; an absent number is an empty field, its reason stands in the last column."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*FIXED, *(name for column in table.columns for name in _names(column)), "remarks"])
    for group in table.groups:
        for row in group.rows:
            writer.writerow(_row(group, row, table))
    return out.getvalue()


def _names(column: ColumnSpec) -> list[str]:
    ends = ("_low", "_high", "_signature") if column.score else ()
    return [column.key, *(column.key + end for end in ends)]


def _row(group: Group, row: Row, table: Table) -> list[str]:
    n = "" if row.n is None else str(row.n)
    about = [group.heading, row.label, row.origin, row.dataset, row.split, n, row.population, row.source]
    return [*about, "; ".join(row.stand_ins), *_numbers(row, table), "; ".join(_remarks(row, table))]


def _numbers(row: Row, table: Table) -> Iterator[str]:
    for column, cell in zip(table.columns, row.cells, strict=True):
        yield cell.text if cell.present else ""
        if column.score:
            yield from (cell.low, cell.high, cell.signature)


def _remarks(row: Row, table: Table) -> Iterator[str]:
    for column, cell in zip(table.columns, row.cells, strict=True):
        if not cell.present:
            yield f"{column.key}: {cell.reason}{f' ({cell.remedy})' if cell.remedy else ''}"
        elif cell.n_failed:
            yield f"{column.key}: {cell.n_failed} cases have no verdict"
