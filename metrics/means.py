"""Statistics of a metric that is the mean over pairs of a value: the value and one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.contracts import FAILED, OK, Floats, Stats


def mean_stats(values: Sequence[float | None]) -> Stats:
    """Return statistics [n_pairs, 2] of one column; a pair without a value is FAILED."""
    table = np.array([[0.0, 0.0] if value is None else [value, 1.0] for value in values], dtype=np.float64)
    status = np.array([[FAILED if value is None else OK] for value in values], dtype=np.int8)
    return Stats(table.reshape(-1, 2), status.reshape(-1, 1))


def mean(totals: Floats) -> Floats:
    """Return sum / count, [..., 2] → [..., 1]; NaN where nothing was counted."""
    total, count = totals[..., 0], totals[..., 1]
    means: Floats = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return means[..., None]
