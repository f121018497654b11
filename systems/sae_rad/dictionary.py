"""What turns embeddings into features: the trained SAE, and the stand-ins of its controls.

Every dictionary gives activations that depend on the row alone, so that a report is the same in any batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from bench.contracts import Embeddings, Floats
from systems.sae_rad.model import build
from systems.sae_rad.trained import Active, TrainedSAE, blocks, check_rows, encode, matmul_precision

_ROWS = 1024
"""Rows of dense activations that are held at once."""
_SPARE = 32
"""Features beyond the largest k that a float32 product may have put in the wrong order."""


class Dictionary(Protocol):
    """Features of embeddings, and the directions they stand for."""

    @property
    def m(self) -> int:
        """Number of features."""
        ...

    def encode(self, z: Embeddings) -> Active:
        """Return the active features of embeddings [rows, n] (unscaled). Raises BenchError on rows that do not fit."""
        ...

    def directions(self, features: Sequence[int]) -> Floats:
        """Return unit directions in embedding space, float64 [k, n], of the given features."""
        ...


@dataclass(frozen=True)
class Learnt:
    """The features of a trained SAE: h_i·‖W_dec,i‖ above zero (eq. 8 and 10), directions W_dec,i/‖W_dec,i‖ (eq. 7)."""

    trained: TrainedSAE

    @property
    def m(self) -> int:
        """Number of features."""
        return self.trained.sae.m

    def encode(self, z: Embeddings) -> Active:
        """Return the active features."""
        return encode(self.trained, z)

    def directions(self, features: Sequence[int]) -> Floats:
        """Return unit decoder directions, float64 [k, n]."""
        rows = self.trained.sae.W_dec[torch.as_tensor(np.asarray(features, np.int64))]
        return F.normalize(rows.detach().cpu().double(), dim=1).numpy()


@dataclass(frozen=True)
class Projections:
    """The `k` largest positive projections of a row on fixed unit directions [m, n], as its active features.

    What an SAE is before its first step (W_enc rows random unit vectors, biases 0, norms 1: h_i = ReLU(W_i·x)), but for
    the k: without training half of its features fire on any image, so that only as many as a trained one's are kept.
    Equal projections go by feature number.
    """

    weights: NDArray[np.float32]
    """Unit directions, [m, n]."""
    scale: float
    """Embeddings are multiplied by it first."""
    k: int
    """Features kept a row."""

    @property
    def m(self) -> int:
        """Number of features."""
        return len(self.weights)

    def directions(self, features: Sequence[int]) -> Floats:
        """Return the unit directions, float64 [k, n]."""
        rows = self.weights[np.asarray(features, np.int64)].astype(np.float64)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))

    def encode(self, z: Embeddings) -> Active:
        """Return the k largest activations of each row, worked out in float64 pair by pair."""
        check_rows(z, self.weights.shape[1], "reading features")
        weights = torch.from_numpy(self.weights)
        parts = []
        with matmul_precision("float32"):
            for _, block in blocks(z, _ROWS, "reading features"):
                x = block.astype(np.float64) * self.scale
                taken = min(self.k + _SPARE, self.m)
                near = torch.topk(torch.from_numpy(x.astype(np.float32)) @ weights.T, taken, dim=1).indices.numpy()
                near.sort(axis=1)
                exact = np.stack(
                    [(self.weights[ids].astype(np.float64) * row).sum(1) for ids, row in zip(near, x, strict=True)]
                )
                parts.append(_largest(near, exact, self.k))
        return Active.joined(parts)


def untrained(n: int, m: int, scale: float, k: int, seed: int) -> Projections:
    """Return the SAE-Rad autoencoder of n dimensions and m features before its first step, k features kept a row."""
    sae = build("sae-rad", n, m, torch.Generator().manual_seed(seed))
    return Projections(sae.W_enc.detach().numpy(), scale, k)


@dataclass(frozen=True)
class Neurons:
    """The encoder's own dimensions, each as two features: above its training mean, and below it.

    Feature i < n is active with (z_i - mean_i)/std_i where that is positive, feature n + i with its negative; of all of
    them the `k` largest of a row are kept.
    """

    mean: Floats
    """Over the training images, [n]."""
    std: Floats
    """Over the training images, [n]; 1 where a dimension never varies."""
    k: int
    """Features kept a row."""

    @classmethod
    def of(cls, z: NDArray[Any], k: int) -> Neurons:
        """Take mean and standard deviation from training embeddings [rows, n]."""
        n, total, squares = z.shape[1], np.zeros(z.shape[1]), np.zeros(z.shape[1])
        for _, block in blocks(z, _ROWS, "reading neurons"):
            total += block.sum(0, dtype=np.float64)
        mean = total / len(z)
        for _, block in blocks(z, _ROWS, "reading neurons"):
            squares += np.square(block.astype(np.float64) - mean).sum(0)
        std = np.sqrt(squares / len(z))
        return cls(mean, np.where(std > 0, std, 1.0), min(k, n))

    @property
    def m(self) -> int:
        """Number of features: two a dimension."""
        return 2 * len(self.mean)

    def directions(self, features: Sequence[int]) -> Floats:
        """Return plus or minus the axes of embedding space, float64 [k, n]."""
        n, ids = len(self.mean), np.asarray(features, np.int64)
        axes = np.zeros((len(ids), n))
        axes[np.arange(len(ids)), ids % n] = np.where(ids < n, 1.0, -1.0)
        return axes

    def encode(self, z: Embeddings) -> Active:
        """Return the k largest deviations of each row."""
        n = len(self.mean)
        check_rows(z, n, "reading neurons")
        parts = []
        for _, block in blocks(z, _ROWS, "reading neurons"):
            x = (block.astype(np.float64) - self.mean) / self.std
            ids = np.where(x > 0, np.arange(n), np.arange(n) + n)
            order = np.argsort(ids, axis=1)
            parts.append(_largest(np.take_along_axis(ids, order, 1), np.take_along_axis(np.abs(x), order, 1), self.k))
        return Active.joined(parts)


def _largest(ids: NDArray[Any], values: Floats, k: int) -> Active:
    """Return the k largest positive values of each row; ids [rows, c] ascend within a row, equals go by id."""
    place = np.argsort(np.argsort(-values, axis=1, kind="stable"), axis=1, kind="stable")
    kept = (place < k) & (values.astype(np.float32) > 0)
    indptr = np.concatenate([[0], kept.sum(1).cumsum()]).astype(np.int64)
    return Active(indptr, ids[kept].astype(np.int32), values[kept].astype(np.float32))
