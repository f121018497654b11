"""How well each feature's activation tells images with a label from images without: AUROC and average precision.

Both are exact with ties and equal scikit-learn's `roc_auc_score` and `average_precision_score`. Only activations above
zero are sorted; the images a feature does not fire on are one group of ties below them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.contracts import Case, Floats, Unannotated
from bench.errors import BenchError
from systems.sae_rad.evidence.columns import Bools, Columns, Ints

Uncertain = Literal["positive", "negative", "skip"]


@dataclass(frozen=True)
class Labels:
    """What is on images: one row an image, one column a label."""

    names: tuple[str, ...]
    positive: Bools
    """[n, k]."""
    negative: Bools
    """[n, k]; an image that is neither is left out of the label's scores."""

    def __len__(self) -> int:
        return len(self.positive)

    @property
    def prevalence(self) -> Floats:
        """Share of positives among the images that count, [k]; NaN where none counts."""
        counted = (self.positive | self.negative).sum(axis=0)
        with np.errstate(invalid="ignore"):
            return np.asarray(self.positive.sum(axis=0) / counted)

    def rows(self, rows: NDArray[Any]) -> Labels:
        """Return the labels of some rows (indices or a mask)."""
        return replace(self, positive=self.positive[rows], negative=self.negative[rows])

    def only(self, names: Sequence[str]) -> Labels:
        """Return some of the labels, in the order asked for."""
        columns = [self.names.index(name) for name in names]
        return Labels(tuple(names), self.positive[:, columns], self.negative[:, columns])

    def __iter__(self) -> Iterator[tuple[Bools, Bools]]:
        """Yield (positive, negative) [n] of each label."""
        return iter(list(zip(self.positive.T, self.negative.T, strict=True)))


def from_annotations(annotations: Sequence[Any], uncertain: Uncertain) -> Labels:
    """Turn an annotator's `labels` (1 present, 0 absent, -1 uncertain, None not mentioned) into columns.

    0 and None are negative; -1 is as `uncertain` says; a text that could not be annotated is left out everywhere.
    Raises BenchError where the annotator gives no labels.
    """
    given = [None if isinstance(one, Unannotated) else one.get("labels") for one in annotations]
    names = tuple(dict.fromkeys(name for labels in given for name in labels or ()))
    if not names:
        raise BenchError("the annotator gave no labels for any report: choose one that does (chexbert, rules)")
    values = np.array([[_value(labels, name) for name in names] for labels in given], np.float64)
    values = values.reshape(len(given), len(names))
    positive = (values == 1) | ((values == -1) & (uncertain == "positive"))
    negative = (values == 0) | ((values == -1) & (uncertain == "negative"))
    return Labels(names, positive, negative)


def _value(labels: Mapping[str, int | None] | None, name: str) -> float:
    return np.nan if labels is None else float(labels.get(name) or 0)


def from_findings(found: Sequence[frozenset[str]], names: Sequence[str]) -> Labels:
    """Turn the true findings of images into columns, one a name."""
    positive = np.array([[name in one for name in names] for one in found], bool).reshape(len(found), len(names))
    return Labels(tuple(names), positive, ~positive)


def measurable(train: Labels, held_out: Labels, *, least: int, least_held_out: int) -> list[str]:
    """Return the names, in `train`'s order, that have enough positives and at least one negative on both sides."""
    kept = []
    for name in train.names:
        if name in held_out.names:
            a, b = train.only([name]), held_out.only([name])
            enough = a.positive.sum() >= least and b.positive.sum() >= least_held_out
            if enough and a.negative.any() and b.negative.any():
                kept.append(name)
    return kept


def shuffled(groups: Sequence[str], seed: int | Sequence[int]) -> Ints:
    """Return a permutation [n] that gives images the labels of other patients' images.

    Patients are put in a random order and their images laid end to end beside the images as they are: what belongs to
    one patient mostly stays together, as it does in the data, and every image's labels are used once.
    """
    names, owner = np.unique(np.asarray(groups), return_inverse=True)
    place = np.random.default_rng(seed).permutation(len(names))
    permutation = np.empty(len(groups), np.int64)
    permutation[np.argsort(owner, kind="stable")] = np.argsort(place[owner], kind="stable")
    return permutation


# ------------------------------------------------------------------ scores


@dataclass(frozen=True)
class LabelScores:
    """Each [m, k]: features by labels; NaN where a label has no positive or no negative image."""

    auroc: Floats
    """Chance that an image with the label has the higher activation, ties half; 0.5 for a feature that never fires."""
    ap: Floats
    """Average precision: Σ (R_n - R_n-1) P_n over distinct activations; the prevalence where a feature never fires."""


def score(columns: Columns, labels: Labels) -> LabelScores:
    """Score every feature against every label, in O(nnz · k)."""
    auroc, ap = (np.empty((columns.m, len(labels.names))) for _ in range(2))
    for k, (positive, negative) in enumerate(labels):
        auroc[:, k], ap[:, k] = _score(columns, positive, negative)
    return LabelScores(auroc, ap)


def _score(columns: Columns, positive: Bools, negative: Bools) -> tuple[Floats, Floats]:
    """Return AUROC and average precision of each feature against one label: [m] each."""
    total, others = float(positive.sum()), float(negative.sum())
    if not total or not others:
        return np.full(columns.m, np.nan), np.full(columns.m, np.nan)
    ties = _Ties.of(columns, positive, negative)
    zero_pos, zero_neg = total - ties.pos_of_feature, others - ties.neg_of_feature
    wins = ties.sums(ties.pos * (ties.neg_below + ties.neg / 2))
    wins += ties.pos_of_feature * zero_neg + zero_pos * zero_neg / 2
    above = ties.pos_from + ties.neg_from
    precision = np.divide(ties.pos_from, above, out=np.zeros_like(above), where=above > 0)
    ap = (ties.sums(ties.pos * precision) + zero_pos * total / (total + others)) / total
    return wins / (total * others), ap


@dataclass(frozen=True)
class _Ties:
    """Positives and negatives by run of equal activations; runs ascend within a feature."""

    feature: Ints
    m: int
    pos: Floats
    neg: Floats
    neg_below: Floats
    """Negatives among the feature's lower activations above zero."""
    pos_from: Floats
    """Positives in this run and the feature's higher ones."""
    neg_from: Floats
    pos_of_feature: Floats
    """[m]."""
    neg_of_feature: Floats

    @classmethod
    def of(cls, columns: Columns, positive: Bools, negative: Bools) -> _Ties:
        feature = columns.features[columns.steps]
        pos, neg = (_by_run(columns, there) for there in (positive, negative))
        total_pos, total_neg = (_totals(feature, x, columns.m) for x in (pos, neg))
        pos_below, neg_below = (_below(feature, x, total) for x, total in ((pos, total_pos), (neg, total_neg)))
        pos_from, neg_from = total_pos[feature] - pos_below, total_neg[feature] - neg_below
        return cls(feature, columns.m, pos, neg, neg_below, pos_from, neg_from, total_pos, total_neg)

    def sums(self, values: Floats) -> Floats:
        return _totals(self.feature, values, self.m)


def _totals(feature: Ints, values: Floats, m: int) -> Floats:
    return np.asarray(np.bincount(feature, weights=values, minlength=m), np.float64)


def _by_run(columns: Columns, there: Bools) -> Floats:
    if not len(columns.rows):
        return np.zeros(0)
    return np.add.reduceat(there[columns.rows].astype(np.float64), columns.steps)


def _below(feature: Ints, values: Floats, totals: Floats) -> Floats:
    """Return the sum of `values` over earlier runs of the same feature; exact, since these are counts."""
    before = np.concatenate([[0.0], np.cumsum(totals)])[feature]
    return np.asarray(np.cumsum(values) - values - before)


# ------------------------------------------------------------------ chosen on one set, told on another


@dataclass(frozen=True)
class Chosen:
    """Choices made on training images, told on held-out ones."""

    label_of_feature: Ints
    """[m], the label that a feature's training AUROC is highest for; -1 for a feature that no training image fires."""
    feature_of_label: Ints
    """[k], the feature of highest training AUROC; -1 where there is none."""


def choose(train: LabelScores, counts: Ints) -> Chosen:
    """Choose by training AUROC, ties by average precision; `counts` [m] tells which features fire at all."""
    if not train.auroc.size:
        return Chosen(np.full(len(counts), -1), np.full(train.auroc.shape[1], -1))
    fires = counts > 0
    key = np.where(fires[:, None], np.nan_to_num(np.round(train.auroc, 12) + 1e-6 * train.ap, nan=-1.0), -1.0)
    label, feature = key.argmax(axis=1), key.argmax(axis=0)
    label = np.where(key.max(axis=1) >= 0, label, -1)
    return Chosen(label, np.where(key.max(axis=0) >= 0, feature, -1))


def at(values: Floats, features: Ints, columns: Ints) -> Floats:
    """Return values[feature, column] of each pair; NaN where one of the two is -1."""
    there = (features >= 0) & (columns >= 0)
    found = np.full(len(features), np.nan)
    found[there] = values[features[there], columns[there]]
    return found


def weighted_auroc(activations: Floats, positive: Bools, negative: Bools, weights: Floats) -> Floats:
    """Return the AUROC of one feature's dense activations [n] under each row of `weights` [draws, n]; NaN for 0/0.

    With weights that count how often a patient was drawn, this is the AUROC of the resample.
    """
    order = np.argsort(activations, kind="stable")
    starts = np.concatenate([[0], np.flatnonzero(np.diff(activations[order])) + 1])
    pos, neg = (np.add.reduceat((weights * there)[:, order], starts, axis=1) for there in (positive, negative))
    below = np.cumsum(neg, axis=1) - neg
    pairs = pos.sum(axis=1) * neg.sum(axis=1)
    wins = (pos * (below + neg / 2)).sum(axis=1)
    return np.asarray(np.divide(wins, pairs, out=np.full(len(weights), np.nan), where=pairs > 0))


def groups_of(cases: Sequence[Case]) -> list[str]:
    """Return the patient of each case."""
    return [case.group for case in cases]
