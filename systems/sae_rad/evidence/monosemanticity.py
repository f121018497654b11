"""Are the images that activate a feature alike, in the eyes of an encoder the feature does not come from?

The MonoSemanticity score of Pach et al. 2025 ("Sparse Autoencoders Learn Monosemantic Features in Vision-Language
Models", arXiv 2504.02821): MS_f = Σ_{i<j} ã_i ã_j s_ij / Σ_{i<j} ã_i ã_j over pairs of images, with ã the feature's
activation scaled to [0, 1] over the images and s the cosine of the images' embeddings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.contracts import Floats
from systems.sae_rad.evidence.columns import Columns

_BLOCK = 4096
"""Features whose weighted sums [features, d] are held at once."""


def unit_rows(embeddings: NDArray[Any], *, centred: bool = False) -> Floats:
    """Return rows of length 1, float64 [n, d]; `centred`: about their mean. A row of zeros stays one (cosine 0)."""
    rows = np.asarray(embeddings, np.float64)
    if centred:
        rows = rows - rows.mean(axis=0)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0))


def scores(columns: Columns, units: Floats) -> Floats:
    """Return MS in [-1, 1] of each feature, [m]; NaN where fewer than two images weigh anything.

    units: [n, d], rows of length 1 in the independent encoder. No pair is formed: with e_i these rows,
    Σ_{i<j} ã_i ã_j s_ij = (‖Σ ã_i e_i‖² - Σ ã_i² ‖e_i‖²) / 2 and Σ_{i<j} ã_i ã_j = ((Σ ã_i)² - Σ ã_i²) / 2.
    """
    from scipy.sparse import csr_array

    weights = _scaled(columns)
    squares = (units * units).sum(axis=1)
    table = csr_array((weights, columns.rows, columns.indptr), shape=(columns.m, columns.n_rows))
    together = np.concatenate(
        [np.square(table[start : start + _BLOCK] @ units).sum(axis=1) for start in range(0, columns.m, _BLOCK)]
    )
    alike = together - columns.sums(weights**2 * squares[columns.rows])
    pairs = columns.sums(weights) ** 2 - columns.sums(weights**2)
    several = columns.sums((weights > 0).astype(np.float64)) >= 2
    return np.asarray(np.divide(alike, pairs, out=np.full(columns.m, np.nan), where=several))


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
