"""Totals, scores and confidence intervals from additive statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.contracts import FAILED, OK, UNDEFINED, Column, Floats, Stats
from bench.errors import BenchError

Finish = Callable[[Floats], Floats]
_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Score:
    """One column over all pairs. `value` is None where it is 0/0; the interval is None where none was asked for."""

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    n_undefined: int
    n_failed: int


def check(stats: Stats, n_pairs: int, columns: Sequence[Column], who: str) -> None:
    """Raise BenchError where a metric's statistics break the contract."""
    values, status = stats.values, stats.status
    if values.ndim != 2 or len(values) != n_pairs or values.dtype != np.float64:
        raise BenchError(
            f"metric {who}: values must be float64 [{n_pairs}, n_stats], not {values.dtype} {values.shape}"
        )
    if status.shape != (n_pairs, len(columns)):
        raise BenchError(f"metric {who}: status must be [{n_pairs}, {len(columns)}], not {list(status.shape)}")
    if not np.isin(status, (OK, UNDEFINED, FAILED)).all():
        raise BenchError(f"metric {who}: status holds other values than OK, UNDEFINED, FAILED")
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise BenchError(f"metric {who}: statistics of pair {row} are not finite: {values[row].tolist()}")


def resample(values: Floats, groups: Sequence[str], finish: Finish, draws: int, seed: int) -> Floats:
    """Bootstrap over groups: sum by group, draw as many groups with replacement. -> [draws, n_columns].

    values: [n_pairs, n_stats]. A resample's totals are one row of a matrix product of draw counts and group sums
    (Efron & Tibshirani 1993, section 6; the cluster is the unit drawn), so any number of metrics share one formula.
    """
    by_group = sum_by_group(values, groups)
    n = len(by_group)
    rng = np.random.default_rng(seed)
    blocks = []
    for start in range(0, draws, _BLOCK):
        counts = rng.multinomial(n, np.full(n, 1 / n), size=min(_BLOCK, draws - start))
        blocks.append(finish(counts.astype(np.float64) @ by_group))
    return np.concatenate(blocks)


def sum_by_group(values: Floats, groups: Sequence[str]) -> Floats:
    """Return [n_groups, n_stats], groups in sorted order."""
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.zeros((index.max() + 1, values.shape[1]))
    np.add.at(sums, index, values)
    return sums


def score(
    stats: Stats,
    groups: Sequence[str],
    finish: Finish,
    *,
    draws: int,
    confidence: float,
    seed: int,
) -> list[Score]:
    """Return a `Score` for each column: value, percentile interval, and how many pairs had which status."""
    if not len(stats.values):
        raise BenchError("there is no pair to score")
    point = finish(stats.values.sum(axis=0))
    low, high = _interval(stats, groups, finish, draws, confidence, seed)
    counts = {kind: (stats.status == kind).sum(axis=0) for kind in (OK, UNDEFINED, FAILED)}
    return [
        Score(
            value=_number(point[c]),
            ci_low=_number(low[c]),
            ci_high=_number(high[c]),
            n=int(counts[OK][c]),
            n_undefined=int(counts[UNDEFINED][c]),
            n_failed=int(counts[FAILED][c]),
        )
        for c in range(len(point))
    ]


def _interval(
    stats: Stats, groups: Sequence[str], finish: Finish, draws: int, confidence: float, seed: int
) -> tuple[Floats, Floats]:
    n_columns = stats.status.shape[1]
    if draws == 0:
        nothing = np.full(n_columns, np.nan)
        return nothing, nothing
    samples = resample(stats.values, groups, finish, draws, seed)
    tail = 100 * (1 - confidence) / 2
    bounds = np.full((2, n_columns), np.nan)
    for c in range(n_columns):
        defined = samples[np.isfinite(samples[:, c]), c]
        if len(defined):
            bounds[:, c] = np.percentile(defined, [tail, 100 - tail])
    return bounds[0], bounds[1]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
