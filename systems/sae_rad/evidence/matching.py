"""Features against findings: does a feature fire on the images that show one finding, and on no others?

What a feature stands for is chosen by F1 on training images and told on held-out ones: with tens of thousands of
features the best of them fits any finding well by chance on the images it was chosen on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.contracts import Floats
from systems.sae_rad.evidence.columns import Bools, Columns, Ints
from systems.sae_rad.evidence.labels import Labels


def f1(hits: Floats, said: Floats, true: Floats | float) -> Floats:
    """F1 in [0, 1] of hits among what was said and what is true; 0 where both are empty, as scikit-learn defines it."""
    return ratio(2 * hits, said + true)


def ratio(part: Floats, whole: Floats) -> Floats:
    """Return part / whole, 0 for 0/0."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(part, whole, out=np.zeros(whole.shape), where=whole > 0)


@dataclass(frozen=True)
class Fit:
    """How well features that fire above `threshold` tell the images of findings; each [m, k]."""

    threshold: Floats
    """A feature fires where its activation is above it; 0: wherever it is active."""
    hits: Floats
    said: Floats
    """Images it fires on, among those that count for the finding."""
    true: Floats
    """Images with the finding: [k]."""

    @property
    def f1(self) -> Floats:
        """F1 of each feature and finding."""
        return f1(self.hits, self.said, self.true)


def fit(columns: Columns, labels: Labels, *, search: bool) -> Fit:
    """Count hits of every feature and finding: at activation above 0, or (`search`) at each pair's best threshold.

    A threshold lies half-way between the lowest activation that counts and the next lower one, and is 0 where all
    count; of thresholds with the same F1 the lowest is taken.
    """
    one = _best if search else _active
    found = [one(columns, positive, negative) for positive, negative in labels]
    threshold, hits, said = _stacked(found, columns.m)
    return Fit(threshold, hits, said, labels.positive.sum(axis=0).astype(np.float64))


def _stacked(found: Sequence[tuple[Floats, Floats, Floats]], m: int) -> tuple[Floats, Floats, Floats]:
    threshold, hits, said = (np.array([one[part] for one in found]).reshape(len(found), m).T for part in range(3))
    return threshold, hits, said


def _active(columns: Columns, positive: Bools, negative: Bools) -> tuple[Floats, Floats, Floats]:
    hits, misses = (columns.sums(there[columns.rows].astype(np.float64)) for there in (positive, negative))
    return np.zeros(columns.m), hits, hits + misses


def _best(columns: Columns, positive: Bools, negative: Bools) -> tuple[Floats, Floats, Floats]:
    """Return threshold, hits and images said at the best F1 of each feature: [m] each."""
    threshold, best_hits, best_said = (np.zeros(columns.m) for _ in range(3))
    if not len(columns.rows):
        return threshold, best_hits, best_said
    feature, hits = columns.features[columns.steps], _from_here(columns, positive)
    said = hits + _from_here(columns, negative)
    score = np.round(f1(hits, said, float(positive.sum())), 12)
    order = np.lexsort((np.arange(len(score)), -score, feature))
    best = order[np.concatenate([[0], np.flatnonzero(np.diff(feature[order])) + 1])]
    chosen = feature[best]
    threshold[chosen], best_hits[chosen], best_said[chosen] = _cuts(columns)[best], hits[best], said[best]
    return threshold, best_hits, best_said


def _from_here(columns: Columns, there: Bools) -> Floats:
    """Return, for each run of ties, how many of `there` are in it and in the feature's higher runs."""
    feature = columns.features[columns.steps]
    counts = np.add.reduceat(there[columns.rows].astype(np.float64), columns.steps)
    totals = np.bincount(feature, weights=counts, minlength=columns.m)
    return np.asarray(np.cumsum(totals)[feature] - (np.cumsum(counts) - counts))


def _cuts(columns: Columns) -> Floats:
    """Return, for each run of ties, the threshold that it and higher ones are above."""
    values, feature = columns.activations[columns.steps], columns.features[columns.steps]
    lower = np.concatenate([[0.0], values[:-1]])
    cuts = (lower + values) / 2
    cuts[np.flatnonzero(np.diff(feature, prepend=-1))] = 0.0
    return cuts


def apply(columns: Columns, labels: Labels, features: Ints, findings: Ints, thresholds: Floats) -> Floats:
    """Return hits, images said and images true of pairs (feature, finding, threshold) by image: [n, 3, pairs].

    Sums over any images, a patient's or a resample's, are its counts. A pair with feature -1 says nothing.
    """
    counts = np.zeros((columns.n_rows, 3, len(features)))
    for p, (feature, finding, threshold) in enumerate(zip(features, findings, thresholds, strict=True)):
        if finding < 0:
            continue
        positive, negative = labels.positive[:, finding], labels.negative[:, finding]
        rows, activations = columns.of_feature(int(feature)) if feature >= 0 else (np.zeros(0, np.int64), np.zeros(0))
        fires = np.zeros(columns.n_rows, bool)
        fires[rows[activations > threshold]] = True
        counts[:, 0, p] = fires & positive
        counts[:, 1, p] = fires & (positive | negative)
        counts[:, 2, p] = positive
    return counts


@dataclass(frozen=True)
class Choice:
    """What the training images say: each feature's finding, each finding's feature, and a one-to-one assignment."""

    finding_of_feature: Ints
    """[m]; -1 where the feature fires on no image with any finding."""
    feature_of_finding: Ints
    """[k]; -1 where no feature fires on any image with it."""
    assigned: Ints
    """[k], each feature at most once, the sum of training F1 the highest there is; -1 where none is left."""


def choose(train: Fit) -> Choice:
    """Choose by training F1, equals by the first finding and the first feature."""
    from scipy.optimize import linear_sum_assignment

    values = train.f1
    m, k = values.shape
    if not m or not k:
        return Choice(np.full(m, -1), np.full(k, -1), np.full(k, -1))
    some = values.max(axis=1) > 0
    assigned = np.full(k, -1)
    features, findings = linear_sum_assignment(values, maximize=True)
    real = values[features, findings] > 0
    assigned[findings[real]] = features[real]
    return Choice(
        np.where(some, values.argmax(axis=1), -1), np.where(values.max(axis=0) > 0, values.argmax(axis=0), -1), assigned
    )


@dataclass(frozen=True)
class Told:
    """Held-out precision, recall and F1 of pairs, [pairs] each; precision is NaN where the feature never fires."""

    precision: Floats
    recall: Floats
    f1: Floats

    @classmethod
    def of(cls, hits: Floats, said: Floats, true: Floats) -> Told:
        """Take counts [pairs]."""
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(said > 0, hits / said, np.nan)
        return cls(precision, ratio(hits, true), f1(hits, said, true))


def told(held_out: Fit, features: Ints, findings: Ints) -> Told:
    """Return the held-out scores of pairs, from counts of all pairs; NaN and 0 where a pair has -1."""
    there = (features >= 0) & (findings >= 0)
    picked = [np.where(there, part[features, findings], 0.0) for part in (held_out.hits, held_out.said)]
    return Told.of(picked[0], picked[1], np.where(findings >= 0, held_out.true[findings], 0.0))


def refit(columns: Columns, labels: Labels, thresholds: Floats) -> Fit:
    """Count hits of every feature and finding on other images, with thresholds [m, k] chosen before."""
    hits, said = (np.zeros((columns.m, len(labels.names))) for _ in range(2))
    for k, (positive, negative) in enumerate(labels):
        above = columns.activations > thresholds[columns.features, k]
        hits[:, k] = columns.sums((above & positive[columns.rows]).astype(np.float64))
        said[:, k] = hits[:, k] + columns.sums((above & negative[columns.rows]).astype(np.float64))
    return Fit(thresholds, hits, said, labels.positive.sum(axis=0).astype(np.float64))


def always(labels: Labels) -> Floats:
    """Return the F1 of a feature that fires on every image, [k]: what a finding's prevalence alone earns."""
    counted = (labels.positive | labels.negative).sum(axis=0).astype(np.float64)
    true = labels.positive.sum(axis=0).astype(np.float64)
    return f1(true, counted, true)
