"""Are the images that activate a feature alike, in the eyes of an encoder the feature does not come from?

The MonoSemanticity score of Pach et al. 2025 ("Sparse Autoencoders Learn Monosemantic Features in Vision-Language
Models", arXiv 2504.02821): MS_f = Σ_{i<j} ã_i ã_j s_ij / Σ_{i<j} ã_i ã_j over pairs of images, with ã the feature's
activation scaled to [0, 1] over the images and s the cosine of the images' embeddings.

Two images of one patient are alike whatever they show, so that a feature that fires on few patients scores high for
knowing the patient. We also give the score over pairs of different patients only.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.contracts import Floats
from systems.sae_rad.evidence.columns import Columns, Ints

_BLOCK = 512
"""Features whose weighted sums are held at once."""


def unit_rows(embeddings: NDArray[Any], *, centred: bool = False) -> Floats:
    """Return rows of length 1, float64 [n, d]; `centred`: about their mean. A row of zeros stays one (cosine 0)."""
    rows = np.asarray(embeddings, np.float64)
    if centred:
        rows = rows - rows.mean(axis=0)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0))


def scores(columns: Columns, units: Floats, owner: Ints | None = None) -> Floats:
    """Return MS in [-1, 1] of each feature, [m]; NaN where no pair of images weighs anything.

    units: [n, d], rows of length 1 in the independent encoder. owner: [n], what patient an image is of; pairs of one
    patient's images are then left out. Without it every image is one by itself, as published.

    No pair is formed. With e_i the rows, P the patients, and S_p the sum of ã_i e_i over the images of p,
    Σ_{pairs} ã_i ã_j s_ij = (‖Σ_p S_p‖² - Σ_p ‖S_p‖²) / 2, and the sum of weights is the same with 1 for e_i.
    """
    weights = _scaled(columns)
    part = columns.rows if owner is None else owner[columns.rows]
    feature, starts, order = _runs(columns.features, part)
    rows, weights = columns.rows[order], weights[order]
    alike, pairs = np.zeros(columns.m), np.zeros(columns.m)
    bounds = np.searchsorted(feature, np.arange(0, columns.m + _BLOCK, _BLOCK))
    for low, high in pairwise(bounds.tolist()):
        if low < high:
            end = starts[high] if high < len(starts) else len(rows)
            sums = _sums(rows[starts[low] : end], weights[starts[low] : end], starts[low:high] - starts[low], units)
            _add(alike, pairs, feature[low:high], sums)
    return np.asarray(np.divide(alike, pairs, out=np.full(columns.m, np.nan), where=pairs > 1e-9))


def _runs(feature: Ints, part: Ints) -> tuple[Ints, Ints, Ints]:
    """Sort entries by feature and part; return each run's feature, its start, and the order."""
    order = np.lexsort((part, feature))
    new = (np.diff(feature[order], prepend=-1) != 0) | (np.diff(part[order], prepend=-1) != 0)
    starts = np.flatnonzero(new)
    return feature[order][starts], starts, order


def _sums(rows: Ints, weights: Floats, starts: Ints, units: Floats) -> Floats:
    """Return Σ ã_i e_i and, as the last column, Σ ã_i of each run: [runs, d + 1]."""
    from scipy.sparse import csr_array

    table = csr_array((weights, rows, np.append(starts, len(rows))), shape=(len(starts), len(units)))
    return np.column_stack([table @ units, np.add.reduceat(weights, starts)])


def _add(alike: Floats, pairs: Floats, feature: Ints, sums: Floats) -> None:
    """Add twice the sums over pairs to the features that the runs are of."""
    first = np.flatnonzero(np.diff(feature, prepend=-1))
    totals, own = np.add.reduceat(sums, first, axis=0), np.square(sums)
    own_alike, own_pairs = np.add.reduceat(own[:, :-1].sum(axis=1), first), np.add.reduceat(own[:, -1], first)
    alike[feature[first]] = np.square(totals[:, :-1]).sum(axis=1) - own_alike
    pairs[feature[first]] = np.square(totals[:, -1]) - own_pairs


def _scaled(columns: Columns) -> Floats:
    """Return activations scaled to [0, 1] by each feature's range over all images: [nnz].

    The lowest is 0 unless the feature is active on every image.
    """
    low, high = np.zeros(columns.m), np.ones(columns.m)
    some = columns.counts > 0
    first, last = columns.indptr[:-1], columns.indptr[1:] - 1
    high[some] = columns.activations[last[some]]
    everywhere = some & (columns.counts == columns.n_rows)
    low[everywhere] = columns.activations[first[everywhere]]
    span = np.where(high > low, high - low, 1.0)
    return np.asarray((columns.activations - low[columns.features]) / span[columns.features])


def mean_of_alive(values: Floats) -> float | None:
    """Return the mean over features that have a score; None where none has."""
    there = np.isfinite(values)
    return float(values[there].mean()) if there.any() else None
