"""Rank correlation and pairwise accuracy, exact with ties, and their bootstrap over groups.

Kendall's τ_b and the accuracies come from sums over ordered pairs of items. With s the sum of sign(x_i - x_j) times
sign(y_i - y_j), u_x and u_y the numbers of pairs not tied in x and in y, τ_b is s / √(u_x u_y) (Kendall 1945,
https://doi.org/10.1093/biomet/33.3.239), and the share of the pairs ordered by y that x orders alike, a tie in x
counting one half, is (1 + s / u_y) / 2. A resample that draws group g w_g times has the sums wᵀ A w, with A the sums of
each two groups, so that no pair is counted again: two copies of an item are tied in both samples and add nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.contracts import Floats

Integers = NDArray[np.int64]
_BLOCK_NUMBERS = 1 << 22
"""Most numbers of one matrix of a block."""


class Statistics(NamedTuple):
    """How far x orders items as y does: arrays of one shape, NaN where undefined."""

    kendall: Floats
    """τ_b, -1 … 1."""
    spearman: Floats
    """ρ: Pearson's correlation of mid-ranks, -1 … 1."""
    accuracy: Floats
    """Share of the pairs ordered by y that x orders alike, a tie in x counting one half: 0 … 1, chance is 0.5."""
    accuracy_equal: Floats
    """Share of all pairs on which x and y agree, tied in both being agreement: acc_eq of Deutsch et al. 2023
    (https://aclanthology.org/2023.emnlp-main.798), without its calibration of ties in x. 0 … 1."""


def kendall_tau_b(x: ArrayLike, y: ArrayLike) -> float:
    """Return Kendall's τ_b of two samples [n]; items with a NaN are left out.

    NaN where x or y is constant, or less than two items are left.
    """
    return float(_alone(x, y).kendall[0])


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Return Spearman's ρ of two samples [n]; left out and undefined as for `kendall_tau_b`."""
    return float(_alone(x, y).spearman[0])


def pairwise_accuracy(x: ArrayLike, y: ArrayLike, *, equal: bool = False) -> float:
    """Return the share of pairs that x orders as y does: `Statistics.accuracy`, or `accuracy_equal` where `equal`.

    Items with a NaN are left out; NaN where no pair counts.
    """
    found = _alone(x, y)
    return float((found.accuracy_equal if equal else found.accuracy)[0])


def _alone(x: ArrayLike, y: ArrayLike) -> Statistics:
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    return Association.of(first, second, np.zeros(len(first), dtype=np.int64), 1).statistics(np.ones((1, 1)))


def resamples(n_groups: int, draws: int, seed: int) -> Iterator[Floats]:
    """Yield blocks of how often each group is drawn with replacement, [some draws, n_groups]; together `draws` rows.

    Equal arguments give equal draws, so that statistics of several pairs of samples are paired.
    """
    rng = np.random.default_rng(seed)
    most = max(1, _BLOCK_NUMBERS // n_groups)
    for start in range(0, draws, most):
        size = min(most, draws - start)
        yield rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=size).astype(np.float64)


# ------------------------------------------------------------------ sums of pairs


@dataclass(frozen=True, slots=True)
class Association:
    """Two samples of items in groups, ready for any number of resamples of the groups."""

    inner: Floats | None
    """Where only pairs of one unit count: how many ordered pairs each group holds, [n_groups]."""
    sums: Floats
    """Of ordered pairs, [4, n_groups, n_groups], or [4, n_groups] where there is `inner`: Σ sign·sign, Σ |sign·sign|,
    pairs not tied in x, pairs not tied in y."""
    sizes: Floats
    """Items of each group, [n_groups]."""
    x: Floats
    """Of the items that have both values; where there is `inner` their ranks in the unit, about the unit's mean."""
    y: Floats
    groups: Integers
    """Of the same items."""

    @classmethod
    def of(cls, x: Floats, y: Floats, groups: Integers, n_groups: int, *, units: Integers | None = None) -> Association:
        """Return the association of x and y [n]; groups [n] are numbers below `n_groups`.

        units [n]: only pairs of one unit count, and those of one copy of it where its group is drawn more than once; a
        unit lies in one group. Items with a NaN are left out. Raises ValueError where the lengths differ.
        """
        if not x.shape == y.shape == groups.shape or x.ndim != 1:
            raise ValueError(f"x, y and groups must be of one length, not {x.shape}, {y.shape}, {groups.shape}")
        there = np.isfinite(x) & np.isfinite(y)
        order = np.flatnonzero(there)[
            np.lexsort((units[there], groups[there]) if units is not None else (groups[there],))
        ]
        x, y, groups = x[order], y[order], groups[order]
        sizes = np.bincount(groups, minlength=n_groups).astype(np.float64)
        if units is None:
            return cls(None, _sums(x, y, groups, n_groups), sizes, x, y, groups)
        found = np.zeros((5, n_groups))
        ranks = np.zeros((2, len(x)))
        for unit in np.split(np.arange(len(x)), np.flatnonzero(np.diff(units[order])) + 1):
            if len(unit):
                found[:, groups[unit[0]]] += _sums_within(x[unit], y[unit])
                ranks[:, unit] = _centred_ranks(x[unit]), _centred_ranks(y[unit])
        return cls(found[4], found[:4], sizes, ranks[0], ranks[1], groups)

    @property
    def n(self) -> int:
        """Items that have both values."""
        return len(self.x)

    @property
    def n_groups(self) -> int:
        """Groups that have such an item."""
        return int((self.sizes > 0).sum())

    @property
    def tied(self) -> float:
        """Share of the pairs that are tied in x; NaN where there is no pair."""
        pairs = self._pairs(np.ones((1, len(self.sizes))))[0]
        untied = self.sums[2].sum()
        return float(1 - untied / pairs) if pairs else float("nan")

    def statistics(self, counts: Floats) -> Statistics:
        """Return the statistics of resamples that hold each group so often, counts [draws, n_groups] -> [draws]."""
        if self.inner is not None:
            same, both, x, y = self.sums @ counts.T
        else:
            same, both, x, y = (np.einsum("dg,dg->d", counts @ matrix, counts) for matrix in self.sums)
        pairs = self._pairs(counts)
        agreed = (both + same) / 2 + (pairs - x - y + both)  # concordant, and tied in both
        return Statistics(
            kendall=_ratio(same, np.sqrt(x * y)),
            spearman=self._spearman(counts),
            accuracy=_ratio(same + y, 2 * y),
            accuracy_equal=_ratio(agreed, pairs),
        )

    def bootstrap(self, draws: int, seed: int) -> Statistics:
        """Return the statistics of `draws` resamples of the groups, [draws]; paired where all arguments are equal."""
        parts = [self.statistics(counts) for counts in resamples(len(self.sizes), draws, seed)]
        return Statistics(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def _pairs(self, counts: Floats) -> Floats:
        """Return the numbers of ordered pairs of different items, [draws]: copies of one item are no pair."""
        if self.inner is not None:
            return counts @ self.inner
        return (counts @ self.sizes) ** 2 - counts**2 @ self.sizes

    def _spearman(self, counts: Floats) -> Floats:
        most = max(1, _BLOCK_NUMBERS // max(1, self.n))
        blocks = [counts[start : start + most, self.groups] for start in range(0, len(counts), most)]
        return np.concatenate([self._spearman_of(weights) for weights in blocks])

    def _spearman_of(self, weights: Floats) -> Floats:
        """weights: how often each item is there, [draws, n]."""
        if self.inner is not None:
            x, y = self.x[None], self.y[None]
        else:
            x, y = _about_mean(_ranks(self.x, weights), weights), _about_mean(_ranks(self.y, weights), weights)
        xx, yy, xy = ((weights * a * b).sum(axis=1) for a, b in ((x, x), (y, y), (x, y)))
        return _ratio(xy, np.sqrt(xx * yy))


def _sums(x: Floats, y: Floats, groups: Integers, n_groups: int) -> Floats:
    """Return the sums over ordered pairs of each two groups, [4, n_groups, n_groups]; items sorted by group."""
    found = np.zeros((4, n_groups, n_groups))
    if not len(x):
        return found
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    most = max(1, _BLOCK_NUMBERS // len(x))
    for start in range(0, len(x), most):
        rows = slice(start, start + most)
        for total, signs in zip(found, _signs(x[rows], y[rows], x, y), strict=True):
            by_group = np.add.reduceat(signs, starts, axis=1, dtype=np.float64)
            part = np.zeros((len(by_group), n_groups))
            part[:, groups[starts]] = by_group
            np.add.at(total, groups[rows], part)
    return found


def _sums_within(x: Floats, y: Floats) -> Floats:
    """Return the sums over all ordered pairs of items, and how many pairs there are, [5]."""
    return np.array([*(signs.sum(dtype=np.float64) for signs in _signs(x, y, x, y)), len(x) * (len(x) - 1)])


def _signs(x: Floats, y: Floats, others_x: Floats, others_y: Floats) -> tuple[NDArray[np.int8], ...]:
    """Return for each pair of an item and another sign·sign, its size, and whether x and whether y is not tied."""
    sx, sy = _sign(x, others_x), _sign(y, others_y)
    return sx * sy, np.abs(sx * sy), np.abs(sx), np.abs(sy)


def _sign(values: Floats, others: Floats) -> NDArray[np.int8]:
    return (values[:, None] > others).astype(np.int8) - (values[:, None] < others).astype(np.int8)


def _ranks(values: Floats, weights: Floats) -> Floats:
    """Return the mid-ranks of items of which weights [draws, n] are there, [draws, n]; also of those not drawn."""
    order = np.argsort(values, kind="stable")
    distinct, place = np.unique(values, return_inverse=True)
    if not len(distinct):
        return np.zeros_like(weights)
    mass = np.add.reduceat(weights[:, order], np.searchsorted(values[order], distinct), axis=1)
    ranks: Floats = (np.cumsum(mass, axis=1) - mass + (mass + 1) / 2)[:, place]
    return ranks


def _centred_ranks(values: Floats) -> Floats:
    weights = np.ones((1, len(values)))
    ranks: Floats = _about_mean(_ranks(values, weights), weights)[0]
    return ranks


def _about_mean(ranks: Floats, weights: Floats) -> Floats:
    """Mid-ranks of W items have the mean (W + 1) / 2, whatever is tied."""
    centred: Floats = ranks - (weights.sum(axis=1, keepdims=True) + 1) / 2
    return centred


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.full_like(below, np.nan), where=below > 0)
