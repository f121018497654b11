"""Splitting and absorption: is a label one feature's, several features', or hidden in features of other things?

After Chanin et al. 2024 ("A is for Absorption", arXiv 2409.14507) and their code, with SAEBench's criterion that needs
no ablation of a language model. A label's *main features* are chosen by k-sparse probing: the label is *split* over as
many features as each raise the probe's F1 by more than 0.03. A feature *absorbs* the label on an image where the label
is present and a linear probe sees it, no main feature fires, and another active feature, aligned with the probe (cosine
of at least 0.025), carries the most of what the features say along the probe's direction, at least 0.4 of it.

What differs from theirs, and why:

- The probe on embeddings is linear discriminant analysis with Ledoit and Wolf's shrinkage, not logistic regression by
  gradient descent: closed, the same on any machine, one factorisation for all labels.
- The k features are found forward, each by the score test against the logistic probe of those before it, not as the
  largest weights of one L1 probe over all features; k is chosen on training patients that the probe did not learn from.
- The share of 0.4 is of the sum of all positive contributions a_f·cos(d_f, p), not of the embedding's own projection:
  embeddings of images are not centred, so that their projection has no zero to count from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.contracts import Floats
from systems.sae_rad.evidence.columns import Bools, Columns, Ints
from systems.sae_rad.evidence.labels import Labels, weighted_auroc
from systems.sae_rad.evidence.matching import f1

if TYPE_CHECKING:
    from systems.sae_rad.trained import Active

MOST_FEATURES = 5
"""Largest k of the k-sparse probes (Chanin et al.)."""
JUMP = 0.03
"""By how much F1 must rise for one feature more to count as a split (Chanin et al.)."""
LEAST_COSINE = 0.025
"""Between an absorbing feature's direction and the probe (Chanin et al.)."""
LEAST_SHARE = 0.4
"""Of the contributions along the probe, carried by an absorbing feature (SAEBench)."""
_BLOCK = 4096
_NEWTON_STEPS = 50

Directions = Callable[[Sequence[int]], Floats]
"""Features → unit directions in embedding space, float64 [k, n]."""


# ------------------------------------------------------------------ the probe on embeddings


@dataclass(frozen=True)
class Probe:
    """A linear probe of one label: score(z) = z·weights + bias, positive where the label is seen."""

    weights: Floats
    """[n]."""
    bias: float

    @property
    def direction(self) -> Floats:
        """The unit vector that the label lies along: [n]; zeros where the probe has none."""
        norm = np.linalg.norm(self.weights)
        return self.weights / norm if norm > 0 else self.weights

    def scores(self, z: NDArray[Any]) -> Floats:
        """Return scores of embeddings [rows, n]: [rows]."""
        return np.asarray(z.astype(np.float64) @ self.weights + self.bias)


def probes(z: NDArray[Any], labels: Labels) -> list[Probe]:
    """Learn one probe a label from embeddings [rows, n]: linear discriminants with equal priors.

    weights = (S + δ(tr S/n · I - S))⁻¹ (μ₁ - μ₀), S the covariance of all rows. That of the rows about their class's
    mean would give the same direction (Sherman and Morrison), and this one serves all labels.
    """
    if not labels.names:
        return []
    covariance, fourth = _moments(z)
    shrunk = _shrunk(covariance, shrinkage(covariance, fourth, len(z)))
    means = np.array([[z[there].mean(axis=0, dtype=np.float64) for there in label] for label in labels])  # [k, 2, n]
    weights = np.linalg.lstsq(shrunk, (means[:, 0] - means[:, 1]).T, rcond=None)[0].T
    return [Probe(w, -float((pair @ w).mean())) for w, pair in zip(weights, means, strict=True)]


def _moments(z: NDArray[Any]) -> tuple[Floats, float]:
    """Return the covariance [n, n] and the mean of ‖z - mean‖⁴, a block of rows at a time."""
    mean, covariance, fourth = z.mean(axis=0, dtype=np.float64), np.zeros((z.shape[1], z.shape[1])), 0.0
    for start in range(0, len(z), _BLOCK):
        x = z[start : start + _BLOCK].astype(np.float64) - mean
        covariance += x.T @ x
        fourth += float(np.square(np.square(x).sum(axis=1)).sum())
    return covariance / len(z), fourth / len(z)


def _shrunk(covariance: Floats, amount: float) -> Floats:
    n = len(covariance)
    return np.asarray((1 - amount) * covariance + amount * np.trace(covariance) / n * np.eye(n))


def shrinkage(covariance: Floats, fourth: float, rows: int) -> float:
    """Return how far to shrink a covariance [n, n] towards a multiple of the identity, in [0, 1].

    Ledoit and Wolf 2004; fourth: the mean over the rows of ‖z - mean‖⁴.
    """
    squares = float(np.square(covariance).sum())
    distance = squares - float(np.trace(covariance)) ** 2 / len(covariance)
    noise = (fourth - squares) / rows
    return min(max(noise, 0.0), distance) / distance if distance > 0 else 0.0


# ------------------------------------------------------------------ k-sparse probing


@dataclass(frozen=True)
class Logistic:
    """A logistic probe on a few features' activations."""

    features: tuple[int, ...]
    weights: Floats
    bias: float

    def scores(self, columns: Columns) -> Floats:
        """Return the log odds of each image: [n_rows]."""
        return np.asarray(dense(columns, self.features) @ self.weights + self.bias)


def dense(columns: Columns, features: Sequence[int]) -> Floats:
    """Return the activations of some features: [n_rows, k]."""
    table = np.zeros((columns.n_rows, len(features)))
    for k, feature in enumerate(features):
        rows, activations = columns.of_feature(feature)
        table[rows, k] = activations
    return table


def balanced(positive: Bools, negative: Bools) -> Floats:
    """Return weights by which both classes weigh half of the labelled images: [n], 0 where neither."""
    n = float(positive.sum() + negative.sum())
    return np.asarray(positive * (n / 2 / positive.sum()) + negative * (n / 2 / negative.sum()))


def logistic(x: Floats, positive: Bools, weights: Floats) -> tuple[Floats, float]:
    """Fit weights [k] and bias of a logistic probe on x [n, k], by Newton's method.

    Least is Σ w·log loss + ‖coefficients‖²/2 with x scaled to a root mean square of 1 (scikit-learn's
    LogisticRegression with C = 1 on the scaled x).
    """
    scale = np.sqrt(np.square(x).mean(axis=0))
    scale[scale == 0] = 1.0
    design = np.column_stack([x / scale, np.ones(len(x))])
    ridge = np.diag([1.0] * x.shape[1] + [0.0])
    beta = np.zeros(design.shape[1])
    for _ in range(_NEWTON_STEPS):
        p = _sigmoid(design @ beta)
        gradient = design.T @ (weights * (positive - p)) - ridge @ beta
        curvature = (design * (weights * p * (1 - p))[:, None]).T @ design + ridge
        step = np.linalg.solve(curvature + 1e-9 * np.eye(len(beta)), gradient)
        beta = beta + step * min(1.0, 4.0 / max(float(np.abs(step).max()), 1e-300))  # no leap where p is nearly 0 or 1
        if np.abs(step).max() < 1e-9:
            break
    return beta[:-1] / scale, float(beta[-1])


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(x / 2)))


def sparse_probes(columns: Columns, positive: Bools, negative: Bools, most: int = MOST_FEATURES) -> list[Logistic]:
    """Return the probes on 1, 2 … up to `most` features, each with one feature more than the one before it.

    The next feature is the one whose activation best explains what the probe so far leaves unexplained, by the
    standardised score test; only features that speak for the label are taken.
    """
    weights, chosen, found = balanced(positive, negative), list[int](), list[Logistic]()
    log_odds = np.zeros(columns.n_rows)
    for _ in range(most):
        gain = _score_test(columns, positive, weights, log_odds)
        gain[chosen] = -np.inf
        best = int(gain.argmax()) if len(gain) else -1
        if best < 0 or gain[best] <= 1e-9:
            break
        chosen.append(best)
        fitted, bias = logistic(dense(columns, chosen), positive, weights)
        found.append(Logistic(tuple(chosen), fitted, bias))
        log_odds = found[-1].scores(columns)
    return found


def _score_test(columns: Columns, positive: Bools, weights: Floats, log_odds: Floats) -> Floats:
    """Return the gradient of the log likelihood by each feature's weight, by its standard deviation: [m]."""
    p = _sigmoid(log_odds)
    residual, spread = weights * (positive - p), weights * p * (1 - p)
    a, rows = columns.activations, columns.rows
    gradient = columns.sums(a * residual[rows])
    variance = columns.sums(a**2 * spread[rows]) - columns.sums(a * spread[rows]) ** 2 / max(spread.sum(), 1e-300)
    enough = variance > 1e-12 * columns.sums(a**2 * spread[rows])
    gain = np.divide(gradient, np.sqrt(np.maximum(variance, 0)), out=np.zeros(columns.m), where=enough)
    return np.asarray(np.round(gain, 9))


def split(groups: Sequence[str]) -> Bools:
    """Return which images the sparse probes learn from: those of every other patient, by name."""
    names, owner = np.unique(np.asarray(groups), return_inverse=True)
    return np.asarray(owner % 2 == 0) if len(names) > 1 else np.ones(len(groups), bool)


def main_features(columns: tuple[Columns, Columns], labels: tuple[Labels, Labels], label: int) -> tuple[int, ...]:
    """Return the features that a label is split over; () where no feature speaks for it.

    The first of each pair is learnt from, the second chooses k: the probe with one feature more is taken as long as its
    F1 rises by more than `JUMP`.
    """
    taken: tuple[int, ...] = ()
    best = -math.inf
    positive, negative = (part[:, label] for part in (labels[1].positive, labels[1].negative))
    for probe in sparse_probes(columns[0], labels[0].positive[:, label], labels[0].negative[:, label]):
        said = (probe.scores(columns[1]) > 0) & (positive | negative)
        counts = (np.float64(count) for count in ((said & positive).sum(), said.sum(), positive.sum()))
        score = float(f1(*(np.asarray(c) for c in counts)))
        if score <= best + JUMP:
            break
        taken, best = probe.features, score
    return taken


# ------------------------------------------------------------------ absorption


@dataclass(frozen=True)
class Absorbed:
    """What became of one label on held-out images."""

    label: str
    main: tuple[int, ...]
    """Features the label is split over, the first the strongest."""
    probe_auroc: float
    """Of the linear probe, held out: whether the label can be seen in the embedding at all."""
    seen: int
    """Images with the label that the probe is right about."""
    missed: int
    """Of these, images on which no main feature fires."""
    absorbed: int
    """Of these, images on which another feature carries the label."""
    absorbers: tuple[int, ...]
    """The features that do, the most frequent first."""

    @property
    def rate(self) -> float | None:
        """Absorbed among seen; None where the probe sees the label on no image."""
        return self.absorbed / self.seen if self.seen else None


@dataclass(frozen=True)
class Side:
    """Images with their activations and labels."""

    z: NDArray[Any]
    active: Active
    labels: Labels
    groups: Sequence[str]


def measure(train: Side, held_out: Side, m: int, directions: Directions, *, above: float = 0.0) -> list[Absorbed]:
    """Return what becomes of each label on the held-out images; main features and probes come from the training ones.

    Labels need positives and negatives among the images of both halves of `split` to have main features.
    """
    if not train.labels.names:
        return []
    learn = split(train.groups)
    halves = [Columns.of(train.active, m, above=above, keep=part) for part in (learn, ~learn)]
    labels = [train.labels.rows(part) for part in (learn, ~learn)]
    found = probes(train.z, train.labels)
    cosines = _cosines(held_out.active, directions, np.stack([probe.direction for probe in found]))
    return [_one(held_out, k, probe, _main(halves, labels, k), cosines, above) for k, probe in enumerate(found)]


def _main(halves: Sequence[Columns], labels: Sequence[Labels], label: int) -> tuple[int, ...]:
    both = [part.positive[:, label].any() and part.negative[:, label].any() for part in labels]
    if not both[0]:
        return ()
    other = 1 if both[1] else 0
    return main_features((halves[0], halves[other]), (labels[0], labels[other]), label)


def _cosines(active: Active, directions: Directions, along: Floats) -> dict[int, Floats]:
    """Return feature → cosines with each label's probe [k], for the features that are active."""
    features = np.unique(active.features)
    found: dict[int, Floats] = {}
    for start in range(0, len(features), _BLOCK):
        part = features[start : start + _BLOCK].tolist()
        found.update(zip(part, directions(part) @ along.T, strict=True))
    return found


def _one(
    held_out: Side, label: int, probe: Probe, main: tuple[int, ...], cosines: dict[int, Floats], above: float
) -> Absorbed:
    positive, negative = held_out.labels.positive[:, label], held_out.labels.negative[:, label]
    scores = probe.scores(held_out.z)
    auroc = float(weighted_auroc(scores, positive, negative, np.ones((1, len(scores))))[0])
    seen = np.flatnonzero(positive & (scores > 0))
    carriers: list[int | None] = []
    for row in seen.tolist():
        features, activations = held_out.active.row(row)
        fires = activations > above
        if not np.isin(main, features[fires]).any():
            carriers.append(carrier(features[fires], activations[fires], cosines, label))
    took = [c for c in carriers if c is not None]
    return Absorbed(
        held_out.labels.names[label], main, auroc, len(seen), len(carriers), len(took), _most_frequent_first(took)
    )


def carrier(features: NDArray[Any], activations: NDArray[Any], cosines: dict[int, Floats], label: int) -> int | None:
    """Return the feature that carries the label on an image, given its active features; None where none does."""
    if not len(features):
        return None
    aligned = np.array([cosines[int(feature)][label] for feature in features])
    contributions = activations.astype(np.float64) * aligned
    top = int(contributions.argmax())
    whole = float(np.maximum(contributions, 0).sum())
    if aligned[top] < LEAST_COSINE or whole <= 0 or contributions[top] < LEAST_SHARE * whole:
        return None
    return int(features[top])


def _most_frequent_first(features: Sequence[int]) -> tuple[int, ...]:
    names, counts = np.unique(np.asarray(features, np.int64), return_counts=True)
    order: Ints = np.lexsort((names, -counts))
    return tuple(names[order].tolist())
