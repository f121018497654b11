"""Which rows, which learning rate and which λ a training step uses: functions of the step alone.

Nothing here keeps state, so that a training continued at step t does what an uninterrupted one does.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from systems.sae_rad.options import SAEOptions


def ramp(step: int, steps: int, fraction: float) -> float:
    """Return the linear rise to 1 over the first `fraction` of `steps`, in (0, 1]; `step` counts from 0.

    The first step has 1/w and the w-th 1, where w = fraction * steps; 1 throughout where fraction is 0.
    """
    rise = fraction * steps
    return min(1.0, (step + 1) / rise) if rise > 0 else 1.0


def lr_at(step: int, options: SAEOptions) -> float:
    """Return the learning rate of a step: linear warm-up, constant, linear fall that would reach 0 at step `steps`."""
    rise = ramp(step, options.steps, options.lr_warmup)
    fall = ramp(options.steps - step - 1, options.steps, options.lr_decay)
    return options.lr * min(rise, fall)


def sparsity_at(step: int, options: SAEOptions) -> float:
    """Return λ of a step, in the unit of `options.squared_error`."""
    return options.sparsity * ramp(step, options.steps, options.sparsity_warmup)


@lru_cache(maxsize=2)
def _permutation(n_rows: int, seed: int, epoch: int) -> NDArray[np.int64]:
    # Raw Philox numbers, not Generator.permutation: numpy keeps only the former the same over its versions.
    bits = np.random.Philox(key=np.array([seed % 2**64, epoch], dtype=np.uint64))
    order = np.argsort(bits.random_raw(n_rows), kind="stable")
    order.flags.writeable = False  # shared by all who ask
    return order


def rows_at(step: int, n_rows: int, batch_size: int, seed: int) -> NDArray[np.int64]:
    """Return the rows of a step's batch, ascending: int64 [min(batch_size, n_rows)].

    Shuffled epochs laid end to end, each a permutation drawn by (seed, epoch), are cut into batches: every row is used
    once before any is used twice, and no row is left out at an epoch's end. A batch across an epoch's end may hold a
    row twice. With fewer rows than `batch_size` every batch is the whole set.
    """
    size = min(batch_size, n_rows)
    epoch, offset = divmod(step * size, n_rows)
    rows = _permutation(n_rows, seed, epoch)[offset : offset + size]
    if len(rows) < size:
        rows = np.concatenate([rows, _permutation(n_rows, seed, epoch + 1)[: size - len(rows)]])
    return np.sort(rows)  # ascending: a memory-mapped file is then read forwards
