"""Texts of like length go through a model together, so that little of a batch is padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def by_length(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Return the positions 0 … n-1 in batches of like length, longest first, so that the largest batch comes first.

    lengths: tokens of each text. A batch takes at most `budget` tokens, padding to its longest included; a text that
    is longer than the budget is a batch by itself. Equal lengths keep their order.
    """
    batches: list[list[int]] = []
    room = 0
    for position in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not batches or len(batches[-1]) >= room:
            batches.append([])
            room = max(1, budget // max(1, lengths[position]))
        batches[-1].append(position)
    return batches


def in_halves(
    items: Sequence[Item], work: Callable[[Sequence[Item]], list[Result]], too_large: type[Exception]
) -> list[Result]:
    """Return ``work(items)``; where it raises `too_large` (out of memory), do the two halves one after the other.

    A single item that is too large raises.
    """
    try:
        return work(items)
    except too_large:
        if len(items) < 2:
            raise
    middle = len(items) // 2  # outside the except block: the traceback there keeps the failed batch's tensors alive
    return in_halves(items[:middle], work, too_large) + in_halves(items[middle:], work, too_large)
