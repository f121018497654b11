"""How far metrics order candidates as radiologists do, with intervals and differences, and how far radiologists do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from bench import registry
from bench.case_values import CaseColumn
from bench.contracts import Floats
from bench.errors import BenchError
from bench.meta.ratings import ALL, KNOWN, Ratings, mean_of
from bench.rank_correlation import Association, Integers, Statistics
from bench.statistics import centred, holm, p_value, percentiles

ROUNDED = 12
"""Decimals of a metric's values: those that differ by less are equal, by rounding and not in fact."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How agreement is measured."""

    draws: int = 10_000
    """Resamples of groups behind the intervals and p-values; 0: none."""
    seed: int = 0
    confidence: float = 0.95
    within: bool = False
    """Only pairs of candidates of one reference count."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A statistic and the interval of its resamples; None where undefined, or where nothing was resampled."""

    value: float | None
    ci_low: float | None = None
    ci_high: float | None = None


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far one column orders candidates as the radiologists' error counts do.

    All four statistics are turned so that more is better: that of the column's value (negated where lower is better)
    with the negated number of errors.
    """

    errors: str
    category: str
    column: str
    kendall: Estimate
    spearman: Estimate
    accuracy: Estimate
    accuracy_equal: Estimate
    tied: float | None
    """Share of the pairs that the column does not tell apart."""
    n: int
    """Candidates that have a value and a count."""
    n_left_out: int
    """Candidates that lack one of them."""
    n_groups: int
    """Groups of references they belong to."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A column's agreement minus the baseline's, on the candidates that both have a value for."""

    errors: str
    category: str
    column: str
    baseline: str
    statistic: str
    difference: float | None
    ci_low: float | None
    ci_high: float | None
    p: float | None
    """Two-sided, of the paired bootstrap, as if there were no difference."""
    p_holm: float | None
    """Corrected for the number of comparisons by this statistic."""
    n: int


@dataclass(frozen=True, slots=True)
class Ceiling:
    """How far each radiologist orders candidates as the mean of the others does, averaged over radiologists."""

    errors: str
    category: str
    kendall: Estimate
    spearman: Estimate
    accuracy: Estimate
    accuracy_equal: Estimate
    n_raters: int


@dataclass(frozen=True, slots=True)
class Target:
    """A kind of errors: severity and category."""

    errors: str
    category: str = ALL

    def __str__(self) -> str:
        severity = f"{self.errors} errors" if self.errors in KNOWN else self.errors
        return severity if self.category == ALL else f"{severity}: {self.category}"


@dataclass(frozen=True)
class Measured:
    """All that came of it."""

    targets: Sequence[Target]
    agreements: Sequence[Agreement]
    ceilings: Sequence[Ceiling]
    differences: Sequence[Difference]
    notes: Sequence[str]
    settings: Settings
    baseline: str | None
    n_candidates: int
    n_references: int
    n_groups: int
    """What is resampled: patients where the file tells them, else references."""

    def as_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        return {
            "settings": asdict(self.settings),
            "n_candidates": self.n_candidates,
            "n_references": self.n_references,
            "n_groups": self.n_groups,
            "agreements": [asdict(one) for one in self.agreements],
            "raters": [asdict(one) for one in self.ceilings],
            "baseline": self.baseline,
            "differences": [asdict(one) for one in self.differences],
            "notes": list(self.notes),
        }


# ------------------------------------------------------------------ measuring


@dataclass(frozen=True)
class _Sample:
    """One column beside one count of errors: the statistics of the sample and of its resamples."""

    x: Floats
    y: Floats
    association: Association
    point: Statistics
    drawn: Statistics | None


@dataclass(frozen=True)
class _Measure:
    groups: Integers
    n_groups: int
    units: Integers | None
    settings: Settings

    def __call__(self, x: Floats, y: Floats) -> _Sample:
        association = Association.of(x, y, self.groups, self.n_groups, units=self.units)
        point = association.statistics(np.ones((1, self.n_groups)))
        several = association.n_groups > 1 and self.settings.draws
        drawn = association.bootstrap(self.settings.draws, self.settings.seed) if several else None
        return _Sample(x, y, association, point, drawn)

    def estimates(self, point: Statistics, drawn: Statistics | None) -> dict[str, Estimate]:
        found = {}
        for name in Statistics._fields:
            value = _number(getattr(point, name)[0])
            low = high = float("nan")
            if value is not None and drawn is not None:
                low, high = percentiles(getattr(drawn, name), self.settings.confidence)
            found[name] = Estimate(value, _number(low), _number(high))
        return found


def measure(
    ratings: Ratings,
    columns: Mapping[str, CaseColumn],
    targets: Sequence[Target],
    settings: Settings,
    baseline: str | None = None,
) -> Measured:
    """Compare each column's values of the pairs of `ratings` with each target's mean counts.

    Raises BenchError where `baseline` is no column.
    """
    if baseline is not None and baseline not in columns:
        raise BenchError(f"--baseline: {registry.miss('column with values', baseline, columns)}")
    groups, references = _numbered(ratings)
    n_groups, n_references = int(groups.max()) + 1, int(references.max()) + 1
    one = _Measure(groups, n_groups, references if settings.within else None, settings)
    agreements, ceilings, differences, notes = [], [], [], _about_groups(n_groups, settings)
    for target in targets:
        errors = ratings.mean(target.errors, target.category)
        notes += _about_counts(target, errors)
        samples = {key: one(_turned(column), -errors) for key, column in columns.items()}
        agreements += [_agreement(one, target, key, sample, len(errors)) for key, sample in samples.items()]
        ceilings += _ceiling(one, target, ratings.counts[target.errors, target.category])
        if baseline is not None:
            others = [key for key in columns if key != baseline]
            differences += [d for key in others for d in _differences(one, target, key, baseline, samples)]
    notes += _about_columns(agreements)
    return Measured(
        targets=targets,
        agreements=agreements,
        ceilings=ceilings,
        differences=_corrected(differences),
        notes=notes,
        settings=settings,
        baseline=baseline,
        n_candidates=len(groups),
        n_references=n_references,
        n_groups=n_groups,
    )


def _numbered(ratings: Ratings) -> tuple[Integers, Integers]:
    """Return the numbers of each pair's group and reference."""
    groups: dict[str, int] = {}
    references: dict[tuple[str, str], int] = {}
    found = []
    for pair in ratings.pairs:
        key = (pair.group, pair.reference)
        found.append((groups.setdefault(pair.group, len(groups)), references.setdefault(key, len(references))))
    both = np.array(found, dtype=np.int64)
    return both[:, 0], both[:, 1]


def _turned(column: CaseColumn) -> Floats:
    values = column.values if column.column.higher_is_better else -column.values
    return np.round(values, ROUNDED)


def _agreement(one: _Measure, target: Target, key: str, sample: _Sample, n: int) -> Agreement:
    association = sample.association
    return Agreement(
        target.errors,
        target.category,
        key,
        **one.estimates(sample.point, sample.drawn),
        tied=_number(association.tied),
        n=association.n,
        n_left_out=n - association.n,
        n_groups=association.n_groups,
    )


def _ceiling(one: _Measure, target: Target, counts: Floats) -> list[Ceiling]:
    """Return the agreement among raters, nothing where no candidate was counted by two."""
    samples = []
    for rater in range(counts.shape[1]):
        others = mean_of(np.delete(counts, rater, axis=1)) if counts.shape[1] > 1 else np.full(len(counts), np.nan)
        sample = one(-counts[:, rater], -others)
        if np.isfinite(sample.point.kendall[0]):
            samples.append(sample)
    if not samples:
        return []
    point = _averaged([sample.point for sample in samples])
    drawn = [sample.drawn for sample in samples if sample.drawn is not None]
    estimates = one.estimates(point, _averaged(drawn) if len(drawn) == len(samples) else None)
    return [Ceiling(target.errors, target.category, **estimates, n_raters=len(samples))]


def _averaged(found: Sequence[Statistics]) -> Statistics:
    """Return the means over raters; a resample in which one of them is undefined is so."""
    return Statistics(*(np.mean(np.stack(part), axis=0) for part in zip(*found, strict=True)))


def _differences(
    one: _Measure, target: Target, key: str, baseline: str, samples: Mapping[str, _Sample]
) -> Iterator[Difference]:
    ours, theirs = samples[key], samples[baseline]
    if (np.isfinite(ours.x) != np.isfinite(theirs.x)).any():
        both = np.isfinite(ours.x) & np.isfinite(theirs.x)
        ours, theirs = (one(np.where(both, sample.x, np.nan), sample.y) for sample in (ours, theirs))
    for name in Statistics._fields:
        first, second = (getattr(sample.point, name)[0] for sample in (ours, theirs))
        observed, low, high, p = first - second, float("nan"), float("nan"), float("nan")
        if np.isfinite(observed) and ours.drawn is not None and theirs.drawn is not None:
            drawn = getattr(ours.drawn, name) - getattr(theirs.drawn, name)
            low, high = percentiles(drawn, one.settings.confidence)
            p = p_value(centred(drawn), observed, 1.0)
        yield Difference(
            errors=target.errors,
            category=target.category,
            column=key,
            baseline=baseline,
            statistic=name,
            difference=_number(observed),
            ci_low=_number(low),
            ci_high=_number(high),
            p=_number(p),
            p_holm=None,
            n=ours.association.n,
        )


def _corrected(differences: Sequence[Difference]) -> list[Difference]:
    """Correct the p-values of each statistic for their number."""
    found = list(differences)
    for name in Statistics._fields:
        places = [i for i, one in enumerate(differences) if one.statistic == name]
        p_values = [differences[i].p for i in places]
        corrected = holm([float("nan") if p is None else p for p in p_values])
        for i, p in zip(places, corrected, strict=True):
            found[i] = replace(differences[i], p_holm=_number(p))
    return found


# ------------------------------------------------------------------ notes


FEW = 20
"""References below which intervals of resampling are told to be too narrow: our choice, there is no sharp bound."""


def _about_groups(n: int, settings: Settings) -> list[str]:
    if not settings.draws:
        return ["no resampling, so no interval"]
    if n == 1:
        return ["One group of references: nothing to resample, so no interval"]
    return [f"Only {n} groups of references: intervals and p-values of so few are too narrow and too small"] * (n < FEW)


def _about_counts(target: Target, errors: Floats) -> list[str]:
    known = errors[np.isfinite(errors)]
    if len(known) and (known == known[0]).all():
        return [f"{target}: every candidate has {known[0]:g}: there is no order to agree with"]
    return []


def _about_columns(agreements: Sequence[Agreement]) -> list[str]:
    constant = dict.fromkeys(one.column for one in agreements if one.tied == 1.0)
    notes = [f"{', '.join(constant)}: one and the same value for all candidates: no rank correlation"] * bool(constant)
    left = {one.column: one.n_left_out for one in agreements if one.n_left_out and one.category == ALL}
    return notes + [f"{key}: {n} candidates without a value or a count left out" for key, n in left.items()]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
