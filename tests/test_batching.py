"""Batches under a token budget, and halving where one is too large."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.batching import by_length, in_halves


def test_batches_by_hand() -> None:
    assert by_length([3, 9, 2, 3, 5], budget=10) == [[1], [4, 0], [3, 2]]
    assert by_length([0, 0, 40], budget=4) == [[2], [0, 1]]
    assert by_length([], budget=8) == []


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 120))
def test_every_text_once_and_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = by_length(lengths, budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget
    longest = [lengths[i] for batch in batches for i in batch]
    assert longest == sorted(longest, reverse=True)
    for this, _ in pairwise(batches):  # no batch but the last could have taken one more
        assert (len(this) + 1) * max(1, lengths[this[0]]) > budget


class TooLargeError(Exception):
    pass


def test_halving_keeps_order_and_goes_on() -> None:
    asked: list[int] = []

    def work(items: list[int]) -> list[int]:
        asked.append(len(items))
        if len(items) > 2:
            raise TooLargeError
        return [item * 10 for item in items]

    assert in_halves([1, 2, 3, 4, 5], work, TooLargeError) == [10, 20, 30, 40, 50]
    assert asked == [5, 2, 3, 1, 2]


def test_a_single_item_that_is_too_large_raises() -> None:
    def work(items: list[int]) -> list[int]:
        raise TooLargeError

    with pytest.raises(TooLargeError):
        in_halves([1, 2], work, TooLargeError)
