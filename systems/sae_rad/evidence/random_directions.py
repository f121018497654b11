"""Control: random directions in the place of learnt features, as many active an image as the SAE has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.contracts import Embeddings, Floats
from systems.sae_rad.controls import _Fixed
from systems.sae_rad.system import need_torch

if TYPE_CHECKING:
    from systems.sae_rad.dictionary import Dictionary, Projections
    from systems.sae_rad.trained import Active


@dataclass(frozen=True)
class RandomDirections:
    """The k largest projections of an embedding, about the training mean, on random unit directions.

    An SAE before training projects embeddings as they are, and the directions nearest to their mean are active on
    almost any image; about the mean every direction has its chance. What these features score, chance and the sheer
    number of directions earn.
    """

    projections: Projections
    mean: Floats
    """Of the training embeddings, [n]."""

    @property
    def m(self) -> int:
        """Number of features."""
        return self.projections.m

    def encode(self, z: Embeddings) -> Active:
        """Return the k largest positive projections of each row of z [rows, n]."""
        return self.projections.encode((z - self.mean).astype(np.float32))

    def directions(self, features: Sequence[int]) -> Floats:
        """Return the unit directions, float64 [k, n]."""
        return self.projections.directions(features)


def draw(z: Embeddings, m: int, k: int, seed: int) -> RandomDirections:
    """Draw m directions for training embeddings [rows, n], scaled so that E‖z - mean‖ = √n."""
    from systems.sae_rad.dictionary import untrained
    from systems.sae_rad.train import survey_rows

    mean = z.mean(axis=0, dtype=np.float64)
    scale = survey_rows((z - mean).astype(np.float32)).scale
    drawn = untrained(z.shape[1], m, scale, k, seed=seed + 1_000_003)  # other directions than the untrained SAE's
    return RandomDirections(replace(drawn, scale=scale), mean)


class RandomDirectionsSystem(_Fixed):
    """Control: SAE-Rad with random directions for features; all else as in SAE-Rad."""

    def _learn(self, z: Embeddings, folder: Path) -> Dictionary:  # noqa: ARG002
        need_torch()
        return draw(z, self.options.sae.expansion * z.shape[1], self.options.active, self._context.seed)
