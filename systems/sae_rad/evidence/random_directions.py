"""Control: random directions in the place of learnt features, each firing as often as one of the SAE's.

How well a feature can do hangs on how often it fires: one that fires on 7 images cannot find the 80 that have a label.
So the control has a direction for each live feature of the SAE, and the direction fires on as many training images as
the feature does. What is left between the two is where they fire.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.contracts import Embeddings, Floats
from systems.sae_rad.controls import FixedOptions, _Fixed
from systems.sae_rad.system import need_torch

if TYPE_CHECKING:
    from systems.sae_rad.dictionary import Dictionary
    from systems.sae_rad.trained import Active

_ROWS = 1024
"""Rows that are projected at once."""
_AT_ONCE = 256
"""Directions whose thresholds are looked for at once."""


@dataclass(frozen=True)
class RandomDirections:
    """By how much an embedding's projection, about the training mean, on a unit direction exceeds its threshold."""

    weights: NDArray[np.float32]
    """Directions of length 1, [m, n]."""
    mean: Floats
    """Of the training embeddings, [n]."""
    cuts: Floats
    """Threshold of each direction, [m], in units of the embeddings."""
    scale: float
    """Activations are multiplied by it."""

    @property
    def m(self) -> int:
        """Number of features."""
        return len(self.weights)

    def directions(self, features: Sequence[int]) -> Floats:
        """Return the unit directions, float64 [k, n]."""
        rows = self.weights[np.asarray(features, np.int64)].astype(np.float64)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))

    def encode(self, z: Embeddings) -> Active:
        """Return what is above its threshold in each row of z [rows, n], the same alone and in any batch.

        As in `trained.encode`: a float32 product screens, and what it lets pass is worked out pair by pair in float64.
        """
        from systems.sae_rad.trained import Active, blocks, check_rows

        check_rows(z, self.weights.shape[1], "reading random directions")
        parts = []
        for _, block in blocks(z, _ROWS, "reading random directions"):
            x = block.astype(np.float64) - self.mean
            rows, features, values = self._above(x)
            counts = np.bincount(rows, minlength=len(x))
            indptr = np.concatenate([[0], counts.cumsum()]).astype(np.int64)
            parts.append(Active(indptr, features.astype(np.int32), values))
        return Active.joined(parts)

    def _above(self, x: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """Return (row, feature, activation > 0) of centred rows [rows, n], by row, then feature."""
        slack = 4 * (x.shape[1] + 2) * 2.0**-24 * np.linalg.norm(x, axis=1)
        near = _product(x, self.weights) > (self.cuts - slack[:, None])
        rows, features = np.nonzero(near)
        exact = np.concatenate([np.zeros(0), *self._exact(x, rows, features)])
        values = ((exact - self.cuts[features]) * self.scale).astype(np.float32)
        fires = values > 0
        return rows[fires], features[fires], values[fires]

    def _exact(self, x: Floats, rows: NDArray[Any], features: NDArray[Any]) -> Iterator[Floats]:
        for start in range(0, len(rows), _ROWS):
            part = slice(start, start + _ROWS)
            yield (self.weights[features[part]].astype(np.float64) * x[rows[part]]).sum(axis=1)


def draw(z: Embeddings, counts: Sequence[int], seed: int, *, above: float = 0.0) -> RandomDirections:
    """Draw a direction for each of `counts`, to fire on as many of the training embeddings [rows, n] (ties apart).

    A threshold lies half-way between the lowest projection that counts and the next. above: τ, from which on a feature
    counts as firing; activations are scaled so that E‖z - mean‖ = √n, as an autoencoder's input is.
    """
    from systems.sae_rad.train import survey_rows

    mean = z.mean(axis=0, dtype=np.float64)
    scale = survey_rows((z - mean).astype(np.float32)).scale
    weights = np.random.default_rng([seed, 1_000_003]).standard_normal((len(counts), z.shape[1])).astype(np.float32)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    parts = range(0, len(counts), _AT_ONCE)
    cuts = [_cuts(z, mean, weights[k : k + _AT_ONCE], np.asarray(counts[k : k + _AT_ONCE])) for k in parts]
    return RandomDirections(weights, mean, np.concatenate([np.zeros(0), *cuts]) - above / scale, scale)


def _cuts(z: Embeddings, mean: Floats, weights: NDArray[np.float32], counts: NDArray[Any]) -> Floats:
    """Return the projection that as many rows as counted are above, one a direction."""
    starts = range(0, len(z), _ROWS)
    along = weights.astype(np.float64).T
    found = np.sort(np.concatenate([(z[start : start + _ROWS] - mean) @ along for start in starts]), axis=0)[::-1]
    found = np.vstack([found, found[-1] - 1])  # below the lowest, for a direction that always fires
    k = np.arange(len(counts))
    # rounded: a threshold must not hang on the last bit of a matrix product
    return np.asarray(np.round((found[counts - 1, k] + found[counts, k]) / 2, 9))


def _product(x: NDArray[Any], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(x.astype(np.float32) @ weights.T)


class RandomDirectionsOptions(FixedOptions):
    """Options of the control; `active` is not read."""

    counts: tuple[int, ...]
    """Training images that each direction fires on."""


class RandomDirectionsSystem(_Fixed):
    """Control: SAE-Rad with random directions for features; all else as in SAE-Rad."""

    Options: ClassVar[type[FixedOptions]] = RandomDirectionsOptions
    options: RandomDirectionsOptions

    def _identity(self, train: Any) -> list[Any]:
        return [*self.options.counts, self.options.compose.threshold, *super()._identity(train)]

    def _learn(self, z: Embeddings, folder: Path) -> Dictionary:  # noqa: ARG002
        need_torch()
        return draw(z, self.options.counts, self._context.seed, above=self.options.compose.threshold)
