"""Totals, scores, confidence intervals and tests of differences from additive statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bench.contracts import FAILED, OK, UNDEFINED, Column, Floats, Stats
from bench.errors import BenchError

Finish = Callable[[Floats], Floats]
Pairing = tuple[int, int]
"""Two runs by index: what is compared with what."""
_BLOCK = 1024
_BLOCK_NUMBERS = 1 << 23
"""Most float64 numbers of one block's matrices (64 MiB)."""
TIE = 1e-9
"""Differences of scores that lie closer than this share of the scores are taken as equal: rounding, not a fact."""


@dataclass(frozen=True, slots=True)
class Score:
    """One column over all pairs. `value` is None where it is 0/0.

    The interval is None where none was asked for, and where all pairs that are OK belong to one group.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    n_undefined: int
    n_failed: int


def check(stats: Stats, n_pairs: int, columns: Sequence[Column], who: str) -> None:
    """Raise BenchError where a metric's statistics break the contract."""
    values, status = stats.values, stats.status
    if values.ndim != 2 or len(values) != n_pairs or values.dtype != np.float64:
        raise BenchError(
            f"metric {who}: values must be float64 [{n_pairs}, n_stats], not {values.dtype} {values.shape}"
        )
    if status.shape != (n_pairs, len(columns)):
        raise BenchError(f"metric {who}: status must be [{n_pairs}, {len(columns)}], not {list(status.shape)}")
    if not np.isin(status, (OK, UNDEFINED, FAILED)).all():
        raise BenchError(f"metric {who}: status holds other values than OK, UNDEFINED, FAILED")
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise BenchError(f"metric {who}: statistics of pair {row} are not finite: {values[row].tolist()}")


def checked(finish: Finish, n_columns: int) -> Finish:
    """Return `finish` with the shape of what it returns checked. The result raises BenchError where it is not right."""

    def finish_checked(totals: Floats) -> Floats:
        scores = np.asarray(finish(totals), dtype=np.float64)
        if scores.shape != (*totals.shape[:-1], n_columns):
            raise BenchError(
                f"finish must turn totals {list(totals.shape)} into {[*totals.shape[:-1], n_columns]}, "
                f"not {list(scores.shape)}"
            )
        return scores

    return finish_checked


def resample(values: Floats, groups: Sequence[str], finish: Finish, draws: int, seed: int) -> Floats:
    """Bootstrap over groups: sum by group, draw as many groups with replacement. -> [draws, n_columns].

    values: [n_pairs, n_stats]. A resample's totals are one row of a matrix product of draw counts and group sums
    (Efron & Tibshirani 1993, section 6; the cluster is the unit drawn), so any number of metrics share one formula.
    """
    by_group = sum_by_group(values, groups)
    return np.concatenate([finish(counts @ by_group) for counts in _drawn(len(by_group), draws, seed)])


def _drawn(n: int, draws: int, seed: int, width: int = 0) -> Iterator[Floats]:
    """Yield blocks of how often each of n groups is drawn, [some draws, n]; the block's size does not move a draw.

    width: numbers that the caller makes of each draw, for the bound on memory.
    """
    rng = np.random.default_rng(seed)
    for size in _blocks(draws, n + width):
        yield rng.multinomial(n, np.full(n, 1 / n), size=size).astype(np.float64)


def _blocks(rows: int, width: int) -> Iterator[int]:
    """Yield block sizes that add up to `rows`."""
    most = max(1, min(_BLOCK, _BLOCK_NUMBERS // max(width, 1)))
    for start in range(0, rows, most):
        yield min(most, rows - start)


def sum_by_group(values: Floats, groups: Sequence[str]) -> Floats:
    """Return [n_groups, n_stats], groups in sorted order."""
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.zeros((index.max() + 1, values.shape[1]))
    np.add.at(sums, index, values)
    return sums


def score(
    stats: Stats,
    groups: Sequence[str],
    finish: Finish,
    *,
    draws: int,
    confidence: float,
    seed: int,
) -> list[Score]:
    """Return a `Score` for each column: value, percentile interval, and how many pairs had which status."""
    if not len(stats.values):
        raise BenchError("there is no pair to score")
    finish = checked(finish, stats.status.shape[1])
    point = finish(stats.values.sum(axis=0))
    low, high = _interval(stats, groups, finish, draws, confidence, seed)
    counts = {kind: (stats.status == kind).sum(axis=0) for kind in (OK, UNDEFINED, FAILED)}
    return [
        Score(
            value=_number(point[c]),
            ci_low=_number(low[c]),
            ci_high=_number(high[c]),
            n=int(counts[OK][c]),
            n_undefined=int(counts[UNDEFINED][c]),
            n_failed=int(counts[FAILED][c]),
        )
        for c in range(len(point))
    ]


def _interval(
    stats: Stats, groups: Sequence[str], finish: Finish, draws: int, confidence: float, seed: int
) -> tuple[Floats, Floats]:
    """Return the bounds of each column; NaN where nothing is drawn, or where one group has all pairs that are OK."""
    n_columns = stats.status.shape[1]
    names = np.asarray(groups)
    several = np.array([len(np.unique(names[stats.status[:, c] == OK])) > 1 for c in range(n_columns)])
    bounds = np.full((n_columns, 2), np.nan)
    if draws and several.any():
        samples = resample(stats.values, groups, finish, draws, seed)
        for c in np.flatnonzero(several):
            bounds[c] = percentiles(samples[:, c], confidence)
    return bounds[:, 0], bounds[:, 1]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


# ------------------------------------------------------------------ comparing


@dataclass(frozen=True, slots=True)
class Shared:
    """One metric's statistics of several runs on the same cases.

    sums: float64 [n_runs, n_groups, n_stats], of the same groups in all `Shared` that are resampled together.
    """

    sums: Floats
    finish: Finish

    def scores(self) -> Floats:
        """Return the scores of the runs, [n_runs, n_columns]."""
        return self.finish(self.sums.sum(axis=1))


def paired_bootstrap(metrics: Sequence[Shared], draws: int, seed: int) -> list[Floats]:
    """Return each metric's scores of all runs on the same resamples of groups, [draws, n_runs, n_columns].

    One matrix of draw counts serves all metrics and runs, in one product (the paired bootstrap of Koehn 2004,
    https://aclanthology.org/W04-3250, with the patient as the unit drawn).
    """
    side = np.concatenate([_beside(metric.sums) for metric in metrics], axis=1)
    parts: list[list[Floats]] = [[] for _ in metrics]
    for counts in _drawn(len(side), draws, seed, side.shape[1]):
        totals = counts @ side
        for metric, part, own in zip(metrics, parts, _split(totals, metrics), strict=True):
            n_runs, _, n_stats = metric.sums.shape
            part.append(metric.finish(own.reshape(-1, n_runs, n_stats)))
    return [np.concatenate(part) for part in parts]


def _beside(sums: Floats) -> Floats:
    """Return [n_runs, n_groups, n_stats] as [n_groups, n_runs * n_stats]."""
    return sums.transpose(1, 0, 2).reshape(sums.shape[1], -1)


def _split(totals: Floats, metrics: Sequence[Shared]) -> list[Floats]:
    """Cut columns of totals into those of each metric."""
    widths = [metric.sums.shape[0] * metric.sums.shape[2] for metric in metrics]
    return np.split(totals, np.cumsum(widths)[:-1], axis=1)


def swaps(n: int, trials: int, seed: int, width: int = 0) -> Iterator[Floats]:
    """Yield blocks [some trials, n] of 1 where a group changes sides and 0 where it stays, each with chance 1/2.

    A trial takes whole words of the generator, so that the block's size, which `width` (the numbers that the caller
    makes of a trial) bounds, does not move it.
    """
    rng = np.random.default_rng([seed, 1])
    for size in _blocks(trials, n + width):
        words = rng.integers(0, 1 << 64, size=(size, -(-n // 64)), dtype=np.uint64).astype("<u8")
        yield np.unpackbits(words.view(np.uint8), axis=1, count=n).astype(np.float64)


def approximate_randomization(
    metrics: Sequence[Shared], pairs: Sequence[Sequence[Pairing]], swapped: Iterable[Floats]
) -> list[Floats]:
    """Return each metric's differences, second run of a pair minus first, in trials that swap whole groups.

    pairs: for each metric the runs to compare, by their indices. swapped: blocks [some trials, n_groups] as `swaps`
    makes them. -> [trials, n_pairs, n_columns] for each metric.

    Where systems do not differ, a group's outputs could as well be the other's (Noreen 1989, Computer-Intensive Methods
    for Testing Hypotheses; for system comparison Riezler & Maxwell 2005, https://aclanthology.org/W05-0908). With A and
    B the totals of a pair and m the swaps, a trial's totals are A + m(b - a) and B - m(b - a): again one matrix product
    for all metrics and pairs.
    """
    sides = [np.array(chosen).T for chosen in pairs]
    moved = [
        Shared(m.sums[second] - m.sums[first], m.finish) for m, (first, second) in zip(metrics, sides, strict=True)
    ]
    side = np.concatenate([_beside(metric.sums) for metric in moved], axis=1)
    totals = [metric.sums.sum(axis=1) for metric in metrics]
    parts: list[list[Floats]] = [[] for _ in metrics]
    for block in swapped:
        shifts = _split(block @ side, moved)
        for metric, (first, second), part, total, own in zip(moved, sides, parts, totals, shifts, strict=True):
            shift = own.reshape(len(block), *total[first].shape)
            part.append(metric.finish(total[second] - shift) - metric.finish(total[first] + shift))
    return [np.concatenate(part) for part in parts]


def p_value(differences: Floats, observed: float, scale: float) -> float:
    """Return the two-sided p-value (1 + #{|difference| >= |observed|}) / (1 + n); NaN where n is 0.

    differences: as they come where the null hypothesis holds; those that are NaN are left out. scale: the size of the
    scores, for `TIE`. The observed arrangement counts as one of those possible, so that p is never 0 and the test keeps
    its level at any n (Davison & Hinkley 1997, section 4.2; Phipson & Smyth 2010,
    https://doi.org/10.2202/1544-6115.1585).
    """
    defined = np.abs(differences[np.isfinite(differences)])
    if not len(defined):
        return float("nan")
    return float((1 + (defined >= abs(observed) - TIE * scale).sum()) / (1 + len(defined)))


def centred(differences: Floats) -> Floats:
    """Return bootstrapped differences moved to a mean of 0, as if there were no difference (Noreen's shift method)."""
    defined = differences[np.isfinite(differences)]
    return defined - defined.mean() if len(defined) else defined


def percentiles(samples: Floats, confidence: float) -> tuple[float, float]:
    """Return the percentile interval of samples, those that are NaN left out; NaN where none is left."""
    defined = samples[np.isfinite(samples)]
    if not len(defined):
        return float("nan"), float("nan")
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(defined, [tail, 100 - tail])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Holm's step-down method; NaN stays, and does not count.

    The k-th smallest of m is multiplied by m - k + 1, none may be smaller than one before it, none exceeds 1
    (Holm 1979, https://www.jstor.org/stable/4615733). Holds whatever the dependence between the tests.
    """
    order = sorted((i for i, p in enumerate(p_values) if np.isfinite(p)), key=lambda i: p_values[i])
    corrected = [float("nan")] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[i]))
        corrected[i] = highest
    return corrected
