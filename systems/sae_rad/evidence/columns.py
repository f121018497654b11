"""Sparse activations by feature: which images each feature fires on, and how strongly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.contracts import Floats

if TYPE_CHECKING:
    from systems.sae_rad.trained import Active

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Columns:
    """The activations of `n_rows` images in compressed sparse column form, each column from its lowest activation up.

    Only activations above the threshold are kept: on every other image the feature counts as 0.
    """

    n_rows: int
    indptr: Ints
    """[m + 1]; feature f's entries are indptr[f] : indptr[f + 1]."""
    rows: Ints
    """[nnz], the image of each entry."""
    activations: Floats
    """[nnz], > 0, ascending within a feature."""

    @classmethod
    def of(cls, active: Active, m: int, *, above: float = 0.0, keep: Bools | None = None) -> Columns:
        """Turn activations by image round; `keep` [n_rows] leaves images out, and the others are numbered anew."""
        rows = np.repeat(np.arange(len(active), dtype=np.int64), np.diff(active.indptr))
        features, activations = active.features.astype(np.int64), active.activations.astype(np.float64)
        n_rows, wanted = len(active), activations > above
        if keep is not None:
            wanted &= keep[rows]
            rows, n_rows = (np.cumsum(keep) - 1)[rows], int(keep.sum())
        rows, features, activations = rows[wanted], features[wanted], activations[wanted]
        order = np.lexsort((rows, activations, features))
        counts = np.bincount(features, minlength=m)
        return cls(n_rows, np.concatenate([[0], np.cumsum(counts)]), rows[order], activations[order])

    @property
    def m(self) -> int:
        """Number of features."""
        return len(self.indptr) - 1

    @property
    def counts(self) -> Ints:
        """Images that each feature fires on: [m]."""
        return np.diff(self.indptr)

    @cached_property
    def features(self) -> Ints:
        """The feature of each entry: [nnz]."""
        return np.repeat(np.arange(self.m), self.counts)

    @cached_property
    def steps(self) -> Ints:
        """Where a new feature or a new value begins among the entries: the first entry of each run of ties."""
        if not len(self.rows):
            return np.zeros(0, np.int64)
        new = (np.diff(self.features) != 0) | (np.diff(self.activations) != 0)
        return np.concatenate([[0], np.flatnonzero(new) + 1])

    def of_feature(self, feature: int) -> tuple[Ints, Floats]:
        """Return rows and activations of one feature, its lowest activation first."""
        part = slice(self.indptr[feature], self.indptr[feature + 1])
        return self.rows[part], self.activations[part]

    def sums(self, values: NDArray[np.float64]) -> Floats:
        """Return the sum of `values` [nnz] over each feature: [m]."""
        return np.asarray(np.bincount(self.features, weights=values, minlength=self.m), np.float64)

    def mean_activations(self) -> Floats:
        """Return the mean activation of each feature over the images it fires on; NaN where there is none: [m]."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.sums(self.activations) / self.counts)
