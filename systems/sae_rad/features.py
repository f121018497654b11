"""Which training images activate each feature most, found in one pass over sparse activations."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from bench.contracts import Case
from bench.errors import BenchError
from bench.store import replacing

Distinct = Literal["image", "study", "patient"]
Ints = NDArray[np.int64]
Activations = NDArray[np.float32]
Triples = tuple[Ints, Ints, Activations]
"""Row, feature and activation (> 0) of every active pair of some rows, each [n_active]."""

MERGE_AT = 1_000_000
"""Active pairs that may wait before they are merged into the running lists: bounds memory to a few dozen MB."""


@dataclass(frozen=True)
class TopImages:
    """The most activating training images of every feature, highest first.

    rows: int64 [n_features, k], positions in the training set, -1 where fewer images activate the feature.
    activations: float32 [n_features, k], a_i = h_i * ||W_dec,i||, 0 where there is no image.
    counts: int64 [n_features], training images that activate the feature at all.
    """

    rows: Ints
    activations: Activations
    counts: Ints

    def of(self, feature: int) -> tuple[Ints, Activations]:
        """Return the rows and activations of one feature; empty where no training image activates it."""
        there = self.rows[feature] >= 0
        return self.rows[feature][there], self.activations[feature][there]

    def save(self, path: Path) -> None:
        """Write the file in one step."""
        with replacing(path) as file:
            np.savez(file, rows=self.rows, activations=self.activations, counts=self.counts)

    @classmethod
    def load(cls, path: Path) -> TopImages:
        """Read a file that `save` wrote. Raises BenchError naming it where it is damaged."""
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(file["rows"], file["activations"], file["counts"])
        except (BadZipFile, EOFError, KeyError, ValueError, zlib.error) as err:
            raise BenchError(f"{path}: damaged ({err}); delete it, and the same command makes it anew") from None


def owners(cases: Sequence[Case], distinct: Distinct) -> Ints:
    """Return int64 [n_cases]: equal numbers for images that count as one, the first of each in case order.

    image: every image for itself; study: images of one study (a case without a study id for itself); patient: images
    of one group.
    """
    if distinct == "image":
        return np.arange(len(cases), dtype=np.int64)
    keys = [_study_key(case) if distinct == "study" else (case.group,) for case in cases]
    numbers: dict[tuple[str, ...], int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def _study_key(case: Case) -> tuple[str, ...]:
    return (case.group, "study", case.study) if case.study is not None else (case.group, "case", case.id)


def top_images(chunks: Iterable[Triples], n_features: int, k: int, owner: Ints) -> TopImages:
    """Return each feature's k highest images, at most one an owner (its highest); equal activations by lower row.

    chunks must come in ascending order of rows. Memory is O(n_features * k + MERGE_AT), whatever the training set's
    size. Keeping k owners a feature is exact: an owner's highest activation only grows, so one that was dropped
    returns by the image that lifts it.
    """
    running = _Running(n_features, k, owner)
    for rows, features, activations in chunks:
        running.add(rows, features, activations)
    running.merge()
    return running.result()


class _Running:
    """The k best (row, activation) of every feature so far, and the active pairs that wait to be merged."""

    def __init__(self, n_features: int, k: int, owner: Ints) -> None:
        self.n_features, self.k, self.owner = n_features, k, owner
        self.kept: Triples = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
        self.counts = np.zeros(n_features, np.int64)
        self.bar = np.zeros(n_features, np.float32)  # a feature's k-th activation: only above it can anything change
        self.waiting: list[Triples] = []
        self.n_waiting = 0

    def add(self, rows: Ints, features: Ints, activations: Activations) -> None:
        self.counts += np.bincount(features, minlength=self.n_features)
        better = activations > self.bar[features]
        self.waiting.append((rows[better], features[better], activations[better]))
        self.n_waiting += int(better.sum())
        if self.n_waiting >= MERGE_AT:
            self.merge()

    def merge(self) -> None:
        rows, features, activations = (np.concatenate(part) for part in zip(self.kept, *self.waiting, strict=True))
        self.waiting, self.n_waiting = [], 0
        order = np.lexsort((rows, -activations, features))
        order = order[self._first_of_owner(features[order], self.owner[rows[order]])]
        rank = self._rank(features[order])
        order, rank = order[rank < self.k], rank[rank < self.k]
        self.kept = (rows[order], features[order], activations[order])
        last = order[rank == self.k - 1]
        self.bar[features[last]] = activations[last]

    def _first_of_owner(self, features: Ints, owner: Ints) -> Ints:
        _, first = np.unique(features * (self.owner.max(initial=0) + 1) + owner, return_index=True)
        return np.sort(first)

    def _rank(self, features: Ints) -> Ints:
        starts = np.searchsorted(features, np.arange(self.n_features))
        return np.arange(len(features)) - starts[features]

    def result(self) -> TopImages:
        rows, features, activations = self.kept
        table = np.full((self.n_features, self.k), -1, np.int64)
        heights = np.zeros((self.n_features, self.k), np.float32)
        rank = self._rank(features)
        table[features, rank] = rows
        heights[features, rank] = activations
        return TopImages(table, heights, self.counts)
