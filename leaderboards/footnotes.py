"""Numbers for recipes: where numbers of a column were made in different ways, each says in which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from leaderboards.model import Cell, ColumnSpec, Group, Row


def number_recipes(groups: Sequence[Group], columns: Sequence[ColumnSpec]) -> tuple[list[Group], dict[str, int]]:
    """Return the groups with the number of its recipe in each number whose column has several, and the numbers.

    Of columns that are compared: scores, and facts of which one is better.

    Recipes are numbered in the order in which the table shows them, the same recipe of two columns once.
    """
    mixed = {
        at for at, column in enumerate(columns) if (column.score or column.better) and len(_recipes(groups, at)) > 1
    }
    numbers: dict[str, int] = {}
    for group in groups:
        for row in group.rows:
            for at in sorted(mixed):
                if _signed(row, row.cells[at]):
                    numbers.setdefault(row.cells[at].signature, len(numbers) + 1)
    return [replace(g, rows=tuple(_numbered(row, mixed, numbers) for row in g.rows)) for g in groups], numbers


def _recipes(groups: Sequence[Group], at: int) -> set[str]:
    return {row.cells[at].signature for group in groups for row in group.rows if _signed(row, row.cells[at])}


def _signed(row: Row, cell: Cell) -> bool:
    """Return whether the number is one whose recipe is known, be it that none was recorded."""
    return row.origin == "measured" and cell.present


def _numbered(row: Row, mixed: set[int], numbers: dict[str, int]) -> Row:
    cells = tuple(
        replace(cell, footnote=numbers[cell.signature]) if at in mixed and _signed(row, cell) else cell
        for at, cell in enumerate(row.cells)
    )
    return replace(row, cells=cells)
