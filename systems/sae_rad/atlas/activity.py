"""Activations looked up by feature: a feature's images, its histogram, what fires with it, which labels go with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from systems.sae_rad.trained import Active

Ints = NDArray[np.int64]
BINS = 20


@dataclass(frozen=True, slots=True)
class Partner:
    """A feature that is active on some of another one's images."""

    feature: int
    together: int
    """Images on which both are active."""
    share: float
    """together / images of the feature asked about."""
    lift: float
    """share / the partner's frequency over all images: 1 where the two have nothing to do with each other."""


@dataclass(frozen=True, slots=True)
class LabelLink:
    """How a feature's activity goes with a label of the images' reports."""

    label: str
    together: int
    rate: float
    """Share of the feature's images that have the label."""
    base: float
    """Share of all images that have it."""
    phi: float
    """Correlation of the two yes/no variables, in [-1, 1]."""


@dataclass(frozen=True)
class ByFeature:
    """The activations of n images, by feature."""

    active: Active
    entries: Ints
    """[nnz], the entries of `active` ordered by feature, then highest activation, then image."""
    rows: Ints
    """[nnz], the image of each entry of `active`."""
    starts: Ints
    """[m + 1], where each feature's part of `entries` begins."""

    @classmethod
    def of(cls, active: Active, m: int) -> ByFeature:
        """Sort the entries once; O(nnz log nnz)."""
        rows = active.rows()
        entries = np.lexsort((rows, -active.activations, active.features)).astype(np.int64)
        starts = np.zeros(m + 1, np.int64)
        np.cumsum(np.bincount(active.features, minlength=m), out=starts[1:])
        return cls(active, entries, rows, starts)

    @property
    def n_images(self) -> int:
        """Images, active or not."""
        return len(self.active)

    @property
    def counts(self) -> Ints:
        """[m], images on which each feature is active."""
        return np.diff(self.starts)

    def images(self, feature: int) -> tuple[Ints, NDArray[np.float32]]:
        """Return (image rows, activations) of a feature, highest first, equals by row."""
        part = self.entries[self.starts[feature] : self.starts[feature + 1]]
        return self.rows[part], self.active.activations[part]

    def partners(self, feature: int, most: int) -> list[Partner]:
        """Return the features that fire with this one, by overlap (Jaccard index of the two sets of images)."""
        rows, _ = self.images(feature)
        if not len(rows):
            return []
        begins, ends = self.active.indptr[rows], self.active.indptr[rows + 1]
        fired = np.concatenate([self.active.features[a:b] for a, b in zip(begins, ends, strict=True)])
        others, together = np.unique(fired, return_counts=True)
        others, together = others[others != feature], together[others != feature]
        counts = self.counts[others]
        overlap = together / (len(rows) + counts - together)
        order = np.lexsort((others, -overlap))[:most]
        return [self._partner(int(others[i]), int(together[i]), len(rows)) for i in order]

    def _partner(self, feature: int, together: int, n: int) -> Partner:
        share = together / n
        return Partner(feature, together, share, share * self.n_images / int(self.counts[feature]))

    def labels(self, feature: int, labels: Mapping[str, NDArray[np.bool_]]) -> list[LabelLink]:
        """Return how activity goes with labels (each bool [n_images]), strongest first; constant ones are left out."""
        rows, _ = self.images(feature)
        n, k = self.n_images, len(rows)
        found = []
        for label, positive in labels.items():
            have, both = int(positive.sum()), int(positive[rows].sum())
            spread = math.sqrt(k * (n - k) * have * (n - have))
            if spread > 0:
                found.append(LabelLink(label, both, both / k, have / n, (n * both - k * have) / spread))
        return sorted(found, key=lambda link: (-abs(link.phi), link.label))


@dataclass(frozen=True, slots=True)
class Histogram:
    """Activations of a feature, in bins of one width from 0 up."""

    edges: tuple[float, ...]
    """n_bins + 1; the last is the highest training activation."""
    training: tuple[int, ...]
    held_out: tuple[int, ...]
    """Higher values than the last edge count in the last bin; empty where no other split was looked at."""


def histogram(training: NDArray[Any], held_out: NDArray[Any] | None) -> Histogram | None:
    """Return the histogram of activations above zero; None where there are none."""
    top = max((float(np.max(v)) for v in (training, held_out) if v is not None and len(v)), default=0.0)
    if top <= 0:
        return None
    if len(training):
        top = float(np.max(training))
    edges = np.linspace(0.0, top, BINS + 1)
    counted = [
        np.histogram(np.minimum(np.asarray(v, np.float64), top), edges)[0] if v is not None else np.zeros(0, int)
        for v in (training, held_out)
    ]
    return Histogram(tuple(edges.tolist()), tuple(counted[0].tolist()), tuple(counted[1].tolist()))
