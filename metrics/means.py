"""Statistics of a metric that is the mean over pairs of a value: the value and one."""

from __future__ import annotations

import numpy as np

from bench.contracts import OK, Floats, Stats


def mean_stats(values: list[float]) -> Stats:
    """Return statistics [n_pairs, 2] of one column whose pairs are all OK."""
    table = np.array([[value, 1.0] for value in values], dtype=np.float64).reshape(-1, 2)
    return Stats(table, np.full((len(values), 1), OK, dtype=np.int8))


def mean(totals: Floats) -> Floats:
    """Return sum / count, [..., 2] → [..., 1]; NaN where nothing was counted."""
    total, count = totals[..., 0], totals[..., 1]
    means: Floats = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return means[..., None]
