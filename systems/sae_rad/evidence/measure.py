"""The statistics of one dictionary of features: the same for SAE-Rad and for each of its controls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.contracts import Floats
from systems.sae_rad.evidence import absorption, matching, monosemanticity
from systems.sae_rad.evidence import labels as labelled
from systems.sae_rad.evidence.columns import Bools, Columns, Ints
from systems.sae_rad.evidence.labels import Labels, LabelScores

if TYPE_CHECKING:
    from systems.sae_rad.trained import Active

LEAST, LEAST_HELD_OUT = 10, 5
"""Positives that a label needs among training and held-out images to be measured."""
F1_BARS = (0.5, 0.7)
"""F1 from which a feature is said to match a finding."""
AUROC_BAR = 0.7
"""AUROC from which a feature is said to tell a label."""
LIKENESS, ACROSS = "monosemanticity", "monosemanticity_across"
"""As published; and about the mean embedding, over pairs of images of different patients."""


@dataclass(frozen=True)
class Targets:
    """Labels of one kind on training and held-out images, those that can be measured."""

    train: Labels
    held_out: Labels

    @classmethod
    def of(cls, train: Labels, held_out: Labels) -> Targets:
        """Keep the labels with enough positives on both sides."""
        names = labelled.measurable(train, held_out, least=LEAST, least_held_out=LEAST_HELD_OUT)
        return cls(train.only(names), held_out.only(names))

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return self.train.names

    def rows(self, train: NDArray[Any], held_out: NDArray[Any]) -> Targets:
        """Return the labels of some images, those that can still be measured."""
        return Targets.of(self.train.rows(train), self.held_out.rows(held_out))


@dataclass(frozen=True)
class Seen:
    """The images of one side that a system could read: their features, embeddings, patients."""

    rows: Ints
    """Their places among all images of the side."""
    active: Active
    z: NDArray[Any]
    groups: Sequence[str]


@dataclass(frozen=True)
class Subject:
    """A dictionary with what it makes of the images."""

    m: int
    directions: absorption.Directions
    train: Seen
    held_out: Seen
    above: float
    """τ: below it a feature counts as silent."""

    @cached_property
    def columns(self) -> tuple[Columns, Columns]:
        """The activations of training and held-out images by feature: sorted once for all shuffles of the labels."""
        train, held_out = (Columns.of(seen.active, self.m, above=self.above) for seen in (self.train, self.held_out))
        return train, held_out


@dataclass(frozen=True, slots=True)
class Value:
    """An aggregate with its percentile interval over patients; None where it was not measured, or has no interval."""

    value: float | None
    ci_low: float | None = None
    ci_high: float | None = None

    @classmethod
    def of(cls, value: float, draws: Floats | None, confidence: float) -> Value:
        """Take the interval from resamples [draws]."""
        if not np.isfinite(value):
            return cls(None)
        if draws is None or not np.isfinite(draws).any():
            return cls(float(value))
        low, high = np.nanpercentile(draws, [50 * (1 - confidence), 50 * (1 + confidence)])
        return cls(float(value), float(low), float(high))


@dataclass(frozen=True)
class Measured:
    """What was found of one dictionary."""

    values: Mapping[str, Value]
    """Aggregates by name."""
    features: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Per-feature arrays [m] by name; NaN or -1 where there is nothing."""
    label_scores: Mapping[str, LabelScores] = field(default_factory=dict)
    """Held-out scores of every feature by kind of target."""
    tables: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    """A line a finding or label, by what it is about."""


def resamples(groups: Sequence[str], draws: int, seed: int) -> Floats | None:
    """Return how often each image is drawn when patients are drawn with replacement: [draws, n]; None for 0 draws.

    None also where there is one patient only: nothing is known of how others differ.
    """
    names, owner = np.unique(np.asarray(groups), return_inverse=True)
    if not draws or len(names) < 2:
        return None
    counts = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    return np.asarray(counts[:, owner], np.float64)


# ------------------------------------------------------------------ one dictionary


@dataclass(frozen=True)
class Yardsticks:
    """What dictionaries are measured against, over all images of each side."""

    labels: Targets | None
    """An annotator's reading of the reports."""
    findings: Targets | None
    """What is truly on the images, where the dataset knows."""
    units: Mapping[str, Floats]
    """Held-out embeddings of the independent encoder, rows of length 1, for `LIKENESS` and (centred) `ACROSS`; rows of
    NaN where an image cannot be read."""
    weights: Floats | None
    """Resamples of the held-out images, [draws, n]."""
    confidence: float

    def targets(self, train: NDArray[Any], held_out: NDArray[Any]) -> dict[str, Targets]:
        """Return the targets on some images by kind, kinds without any left out."""
        given = {"findings": self.findings, "labels": self.labels}
        there = {kind: targets.rows(train, held_out) for kind, targets in given.items() if targets is not None}
        return {kind: targets for kind, targets in there.items() if targets.names}


def measure(subject: Subject, against: Yardsticks, seed: int) -> Measured:
    """Measure a dictionary."""
    rows = subject.held_out.rows
    run = _Run(subject, None if against.weights is None else against.weights[:, rows], against.confidence)
    targets = against.targets(subject.train.rows, rows)
    parts = [run.activity(), run.likeness(against.units, seed)]
    parts += [run.telling(kind, given) for kind, given in targets.items()]
    if "findings" in targets:
        parts.append(run.matches(targets["findings"]))
    if targets:
        parts.append(run.absorbed(next(iter(targets.values()))))
    return joined(parts)


def activity(subject: Subject) -> Measured:
    """Return how often features fire, and nothing more."""
    return _Run(subject, None, 0.95).activity()


def joined(parts: Sequence[Measured]) -> Measured:
    """Put parts of one dictionary together."""

    def all_of(pick: Callable[[Measured], Mapping[str, Any]]) -> dict[str, Any]:
        return {key: value for part in parts for key, value in pick(part).items()}

    return Measured(
        all_of(lambda p: p.values), all_of(lambda p: p.features), all_of(lambda p: p.label_scores),
        all_of(lambda p: p.tables),
    )  # fmt: skip


class _Run:
    def __init__(self, subject: Subject, weights: Floats | None, confidence: float) -> None:
        self.subject, self.weights, self.confidence = subject, weights, confidence
        self.train, self.held_out = subject.columns

    def value(self, value: float, draws: Floats | None = None) -> Value:
        return Value.of(value, draws, self.confidence)

    # -------------------------------------------------------------- activity

    def activity(self) -> Measured:
        train, held_out = self.train, self.held_out
        alive = train.counts > 0
        values = {"alive": self.value(float(alive.sum()))}
        for name, columns in (("L0", held_out), ("L0_train", train)):
            values[name] = self.value(len(columns.rows) / columns.n_rows if columns.n_rows else np.nan)
        values["L0_alive"] = self.value(held_out.counts[alive].sum() / held_out.n_rows if held_out.n_rows else np.nan)
        counts = {"train_count": train.counts, "heldout_count": held_out.counts}
        return Measured(values, {**counts, "mean_activation": held_out.mean_activations()})

    # -------------------------------------------------------------- labels

    def telling(self, kind: str, targets: Targets) -> Measured:
        """AUROC and average precision, labels chosen on training images."""
        train, held_out = (
            labelled.score(columns, labels)
            for columns, labels in ((self.train, targets.train), (self.held_out, targets.held_out))
        )
        chosen = labelled.choose(train, self.train.counts)
        every = np.arange(len(targets.names))
        auroc, ap = (labelled.at(part, chosen.feature_of_label, every) for part in (held_out.auroc, held_out.ap))
        own = labelled.at(held_out.auroc, np.where(chosen.label_of_feature >= 0, np.arange(self.train.m), -1),
                          chosen.label_of_feature)  # fmt: skip
        values = {
            f"auroc_{kind}": self.value(_mean(auroc), self._auroc_draws(targets.held_out, chosen.feature_of_label)),
            f"ap_{kind}": self.value(_mean(ap)),
            f"telling_{kind}": self.value(float((own >= AUROC_BAR).sum())),
        }
        table = [
            {"label": name, "feature": _index(f), "auroc": _number(a), "ap": _number(p), "prevalence": float(share)}
            for name, f, a, p, share in zip(
                targets.names, chosen.feature_of_label, auroc, ap, targets.held_out.prevalence, strict=True
            )
        ]
        features = {f"label_{kind}": chosen.label_of_feature, f"auroc_{kind}": own}
        return Measured(values, features, {kind: held_out}, {f"auroc_{kind}": table})

    def _auroc_draws(self, labels: Labels, features: Ints) -> Floats | None:
        """Return the mean AUROC over labels of each resample: [draws]."""
        if self.weights is None or not len(features):
            return None
        draws = []
        for feature, (positive, negative) in zip(features.tolist(), labels, strict=True):
            if feature >= 0:
                activations = absorption.dense(self.held_out, [feature])[:, 0]
                draws.append(labelled.weighted_auroc(activations, positive, negative, self.weights))
        return _mean_over_defined(np.stack(draws)) if draws else None

    # -------------------------------------------------------------- matching

    def matches(self, targets: Targets) -> Measured:
        """Features against findings, wherever they are active and at the threshold that training images say."""
        plain = self._matches(targets, search=False)
        at_threshold = self._matches(targets, search=True)
        suffixed = {f"{name}_at_threshold": value for name, value in at_threshold.values.items()}
        features = {f"{name}_at_threshold": value for name, value in at_threshold.features.items()}
        tables = {"matching_at_threshold": at_threshold.tables["matching"]}
        return joined([plain, replace(at_threshold, values=suffixed, features=features, tables=tables)])

    def _matches(self, targets: Targets, *, search: bool) -> Measured:
        train = matching.fit(self.train, targets.train, search=search)
        held_out = matching.refit(self.held_out, targets.held_out, train.threshold)
        choice = matching.choose(train)
        k = np.arange(len(targets.names))
        best, single = (matching.told(held_out, f, k) for f in (choice.feature_of_finding, choice.assigned))
        every = np.arange(self.train.m)
        own = matching.told(held_out, every, choice.finding_of_feature)
        draws = [self._f1_draws(train, targets.held_out, f) for f in (choice.feature_of_finding, choice.assigned)]
        values = {
            "best_f1": self.value(_mean(best.f1), draws[0]),
            "one_to_one_f1": self.value(_mean(single.f1), draws[1]),
        }
        values |= self._matched(targets.held_out, choice.finding_of_feature, own.f1)
        there = choice.finding_of_feature >= 0
        features = {
            "finding": choice.finding_of_feature,
            **{name: np.where(there, getattr(own, name), np.nan) for name in ("precision", "recall", "f1")},
            "threshold": np.where(there, train.threshold[every, choice.finding_of_feature], np.nan),
        }
        return Measured(values, features, {}, {"matching": _findings_table(targets.held_out, choice, best, single)})

    def _f1_draws(self, train: matching.Fit, labels: Labels, features: Ints) -> Floats | None:
        """Return the mean F1 over findings of each resample: [draws]."""
        if self.weights is None or not len(features):
            return None
        k = np.arange(len(features))
        counts = matching.apply(self.held_out, labels, features, k, train.threshold[features, k])
        sums = (self.weights @ counts.reshape(len(counts), -1)).reshape(len(self.weights), 3, -1)
        return np.asarray(matching.f1(sums[:, 0], sums[:, 1], sums[:, 2]).mean(axis=1))

    def _matched(self, labels: Labels, findings: Ints, f1: Floats) -> dict[str, Value]:
        """Return how many features match their finding, and how many findings are matched, at each bar.

        A feature that fires on every image has an F1 of 0.54 for a finding that 0.37 of them have: a match is better
        than that, too. There are no intervals: resampling adds noise, which lifts more features over a bar than it
        takes down, so that percentiles of such a count lie off its value.
        """
        found: dict[str, Value] = {}
        beats = f1 > np.where(findings >= 0, matching.always(labels)[findings], np.inf)
        for bar in F1_BARS:
            matched, name = beats & (f1 >= bar), f"{100 * bar:.0f}"
            found[f"matched_{name}"] = self.value(float(matched.sum()))
            found[f"findings_matched_{name}"] = self.value(float(len(np.unique(findings[matched]))))
        return found

    # -------------------------------------------------------------- monosemanticity

    def likeness(self, units: Mapping[str, Floats], seed: int) -> Measured:
        """Monosemanticity, and the same with the images shuffled."""
        values, features = dict[str, Value](), dict[str, NDArray[Any]]()
        seen = self.subject.held_out
        patients = np.unique(np.asarray(seen.groups), return_inverse=True)[1].astype(np.int64)
        for name, all_rows in units.items():
            there: Bools = np.asarray(np.isfinite(all_rows[seen.rows]).all(axis=1))
            rows = all_rows[seen.rows][there]
            columns = Columns.of(seen.active, self.subject.m, above=self.subject.above, keep=there)
            owner = patients[there] if name == ACROSS else None
            order = np.random.default_rng([seed, 3]).permutation(len(rows))
            features[name] = monosemanticity.scores(columns, rows, owner)
            values[name] = self.value(_mean(features[name]))
            values[f"{name}_shuffled"] = self.value(_mean(monosemanticity.scores(columns, rows[order], owner)))
        return Measured(values, features)

    # -------------------------------------------------------------- absorption

    def absorbed(self, targets: Targets) -> Measured:
        """Splitting and absorption."""
        train, held_out = (
            absorption.Side(seen.z, seen.active, labels, seen.groups)
            for seen, labels in ((self.subject.train, targets.train), (self.subject.held_out, targets.held_out))
        )
        s = self.subject
        found = absorption.measure(train, held_out, s.m, s.directions, above=s.above)
        counted = [one for one in found if one.seen >= LEAST_HELD_OUT]  # a rate of fewer images is next to none
        main = [one for one in counted if one.main]
        values = {
            "absorption": self.value(_mean(np.array([one.absorbed / one.seen for one in main]))),
            "missed": self.value(_mean(np.array([one.missed / one.seen for one in counted]))),
            "split": self.value(_mean(np.array([len(one.main) for one in main], float))),
            "absorption_labels": self.value(float(len(counted))),
        }
        return Measured(values, {}, {}, {"absorption": [_absorbed_line(one) for one in found]})


def _findings_table(
    labels: Labels, choice: matching.Choice, best: matching.Told, single: matching.Told
) -> list[dict[str, Any]]:
    return [
        {
            "finding": name,
            "prevalence": float(labels.prevalence[k]),
            "always_f1": float(matching.always(labels)[k]),
            "feature": _index(choice.feature_of_finding[k]),
            "precision": _number(best.precision[k]),
            "recall": _number(best.recall[k]),
            "f1": _number(best.f1[k]),
            "assigned_feature": _index(choice.assigned[k]),
            "assigned_f1": _number(single.f1[k]),
        }
        for k, name in enumerate(labels.names)
    ]


def _absorbed_line(one: absorption.Absorbed) -> dict[str, Any]:
    return {
        "label": one.label,
        "main_features": list(one.main),
        "probe_auroc": _number(one.probe_auroc),
        "seen": one.seen,
        "missed": one.missed,
        "absorbed": one.absorbed,
        "absorbing_features": list(one.absorbers[:10]),
        "rate": one.rate if one.main else None,
    }


# ------------------------------------------------------------------ the same with shuffled labels


def measure_shuffled(subject: Subject, against: Yardsticks, seed: int, permutation: int) -> dict[str, float]:
    """Return the aggregates that labels make, with every patient's labels given to another patient, on both sides."""
    rows = [
        seen.rows[labelled.shuffled(seen.groups, [seed, permutation, side])]
        for side, seen in enumerate((subject.train, subject.held_out))
    ]
    run = _Run(subject, None, against.confidence)
    targets = against.targets(*rows)
    parts = [run.telling(kind, given) for kind, given in targets.items()]
    if "findings" in targets:
        parts.append(run.matches(targets["findings"]))
    found = joined(parts) if parts else Measured({})
    return {name: value.value for name, value in found.values.items() if value.value is not None}


def chance(real: Mapping[str, Value], shuffled: Sequence[Mapping[str, float]], confidence: float) -> dict[str, Any]:
    """Return, for each aggregate, what shuffled labels give: mean, bounds, and p, the share of shuffles that reach it.

    p = (1 + shuffles that reach the real value) / (1 + shuffles) (Phipson and Smyth 2010), never 0.
    """
    found: dict[str, Any] = {}
    for name, value in real.items():
        draws = np.array([one[name] for one in shuffled if name in one])
        if value.value is not None and len(draws):
            low, high = np.percentile(draws, [50 * (1 - confidence), 50 * (1 + confidence)])
            reached = int((draws >= value.value - 1e-12).sum())
            found[name] = {
                "value": float(draws.mean()), "ci_low": float(low), "ci_high": float(high),
                "p": (1 + reached) / (1 + len(draws)),
            }  # fmt: skip
    return found


# ------------------------------------------------------------------ numbers


def _mean(values: Floats) -> float:
    """Return the mean of what is defined; NaN where nothing is."""
    there = values[np.isfinite(values)]
    return float(there.mean()) if len(there) else float("nan")


def _mean_over_defined(values: Floats) -> Floats:
    """Return the mean over rows of what is defined, [columns]; NaN where nothing is."""
    there = np.isfinite(values)
    counts = there.sum(axis=0)
    sums = np.where(there, values, 0.0).sum(axis=0)
    return np.asarray(np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0))


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _index(value: int) -> int | None:
    return int(value) if value >= 0 else None
