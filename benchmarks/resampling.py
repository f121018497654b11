"""Times the resampling behind `bench compare`, and races it against RadEval's `compare_systems`.

    python benchmarks/resampling.py [--draws N] [--trials N] [--their-trials N] [--their-bleu-trials N] [--repeats N]

First: two systems, 3,403 cases of 293 patients (MIMIC-CXR's test split as the paper counts it), the 11 columns of the
full Table 1: corpus BLEU-4, three means, RadFact's precision, recall and F1, and CheXbert's four F1s over 14 labels.
CPU seconds of the paired bootstrap and of approximate randomization over patients, from statistics to intervals and
p-values, all columns at once, with the statistics summed by patient before.

Share of the machine's limit: the resampling is matrix products (draws x patients by patients x statistics), so the
limit is the processor's rate of float64 multiply-adds. The peak is that of the BLAS library on two square matrices, in
the same run and with the same threads. "product" is the product alone, "whole" counts the FLOP of the products over
the time of everything (drawing, products, scores, intervals, p-values).

Then RadEval: approximate randomization over single cases (it knows no patients), with the same metric function on both
sides and the same swaps, drawn from its generator. The p-value must be the same: its share of trials k/n is recovered
from our (1 + k)/(1 + n). Their time is measured on few trials and given per trial; ours on the full number, and a
ratio is of both at the full number (theirs extrapolated: each trial does the same work). Both sides take turns in
one process; ours includes making the statistics. Two metric functions:

- "bleu": corpus BLEU-4 from the reports' texts, the way `compare_systems` is meant to be used;
- "kept f1": macro F1 over 14 labels that are known beforehand for each report, so that a call only adds up: the
  cheapest metric function there can be.

RadEval is no dependency. To have it in the environment of this package:

    pip install --no-deps radeval==2.2.1
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from nlg_metrics import synthetic_reports

from bench.contracts import Floats, Pair
from bench.statistics import (
    Shared,
    approximate_randomization,
    centred,
    p_value,
    paired_bootstrap,
    percentiles,
    sum_by_group,
    swaps,
)
from metrics.bleu import BLEU, BLEUOptions
from metrics.means import mean

CASES, PATIENTS, LABELS = 3403, 293, 14
FIVE = [1, 4, 5, 7, 9]
PAIR = [(0, 1)]
INSTALL = "RadEval is not installed here: pip install --no-deps radeval==2.2.1"


# ------------------------------------------------------------------ metrics


def label_f1(totals: Floats) -> Floats:
    """Return Ma-5, Ma-14, Mi-5, Mi-14 of [..., 3 * 14] hits, extras, misses; 0/0 is 0."""
    counts = totals.reshape(*totals.shape[:-1], 3, LABELS)
    five = counts[..., FIVE]
    macro = [_f1(chosen).mean(axis=-1) for chosen in (five, counts)]
    micro = [_f1(chosen.sum(axis=-1, keepdims=True))[..., 0] for chosen in (five, counts)]
    return np.stack([*macro, *micro], axis=-1)


def _f1(counts: Floats) -> Floats:
    hit, extra, missed = counts[..., 0, :], counts[..., 1, :], counts[..., 2, :]
    total = 2 * hit + extra + missed
    return np.divide(2 * hit, total, out=np.zeros(total.shape), where=total > 0)


def radfact(totals: Floats) -> Floats:
    """Return precision, recall and their harmonic mean of [..., 4] sums and counts."""
    precision, recall = totals[..., 0] / totals[..., 1], totals[..., 2] / totals[..., 3]
    return np.stack([precision, recall, 2 * precision * recall / (precision + recall)], axis=-1)


def label_statistics(rng: np.random.Generator, skill: float) -> Floats:
    """Return [CASES, 3 * LABELS] hits, extras and misses of a system that is right with the chance `skill`."""
    true = np.random.default_rng(5).random((CASES, LABELS)) < np.linspace(0.05, 0.4, LABELS)
    said = np.where(rng.random((CASES, LABELS)) < skill, true, rng.random((CASES, LABELS)) < 0.2)
    return np.concatenate([true & said, ~true & said, true & ~said], axis=1).astype(float)


def fractions(rng: np.random.Generator, level: float, n: int) -> Floats:
    """Return [CASES, 2 * n]: n times a value in [0, 1] and 1."""
    values = np.clip(rng.normal(level, 0.15, (CASES, n)), 0, 1)
    return np.stack([values, np.ones_like(values)], axis=-1).reshape(CASES, -1)


def bleu_pairs(systems: int) -> list[list[Pair]]:
    """Return the pairs of systems that copy another report, each system other ones."""
    reports = synthetic_reports((systems + 1) * CASES)
    references, others = reports[:CASES], reports[CASES:]
    texts = [others[k * CASES : (k + 1) * CASES] for k in range(systems)]
    return [[Pair(str(i), str(i), text, references[i]) for i, text in enumerate(one)] for one in texts]


def table_1(groups: Sequence[str]) -> list[Shared]:
    """Return the statistics of two systems in the 11 columns."""
    bleu = BLEU(BLEUOptions(), None)  # type: ignore[arg-type]
    systems = [np.random.default_rng(seed) for seed in (1, 2)]
    metrics = [([bleu.observe(pairs).values for pairs in bleu_pairs(2)], bleu.finish)]
    metrics += [([fractions(rng, 0.3 + 0.01 * k, 1) for k, rng in enumerate(systems)], mean) for _ in range(3)]
    metrics += [([fractions(rng, 0.4, 2) for rng in systems], radfact)]
    metrics += [([label_statistics(rng, 0.5 + 0.01 * k) for k, rng in enumerate(systems)], label_f1)]
    return [Shared(np.stack([sum_by_group(v, groups) for v in values]), finish) for values, finish in metrics]


# ------------------------------------------------------------------ our time


def bootstrapped(metrics: Sequence[Shared], draws: int) -> list[tuple[float, float, float]]:
    """Return interval and p-value of each column."""
    found = []
    for metric, drawn in zip(metrics, paired_bootstrap(metrics, draws, 0), strict=True):
        scores = metric.scores()
        for column in range(drawn.shape[-1]):
            differences, seen = drawn[:, 1, column] - drawn[:, 0, column], scores[:, column]
            low, high = percentiles(differences, 0.95)
            found.append((low, high, p_value(centred(differences), seen[1] - seen[0], seen.max())))
    return found


def randomized(metrics: Sequence[Shared], swapped: Iterable[Floats]) -> list[float]:
    """Return the p-value of each column."""
    found = []
    for metric, trials in zip(metrics, approximate_randomization(metrics, [PAIR] * len(metrics), swapped), strict=True):
        scores = metric.scores()
        found += [
            p_value(trials[:, 0, column], scores[1, column] - scores[0, column], scores[:, column].max())
            for column in range(trials.shape[-1])
        ]
    return found


def seconds(work: Callable[[], Any]) -> float:
    """Return the CPU seconds of a call, all threads together."""
    before = time.process_time()
    work()
    return time.process_time() - before


def peak_rate(size: int = 1024, repeats: int = 5) -> float:
    """Return float64 FLOP per CPU second of the best of some products of square matrices."""
    one = np.random.default_rng(0).random((size, size))
    return max(2 * size**3 / seconds(lambda: one @ one) for _ in range(repeats))


def product_rate(draws: int, n: int, width: int) -> float:
    """Return float64 FLOP per CPU second of the product that resampling is, in its shapes, block by block."""
    counts, side = np.random.default_rng(0).random((1024, n)), np.random.default_rng(1).random((n, width))
    blocks = max(1, draws // 1024)
    return 2 * 1024 * n * width * blocks / seconds(lambda: [counts @ side for _ in range(blocks)])


def our_lines(draws: int, trials: int) -> Iterator[str]:
    """Time both tests over patients."""
    patients = [f"p{i % PATIENTS}" for i in range(CASES)]
    metrics = table_1(patients)
    n_columns = sum(metric.scores().shape[-1] for metric in metrics)
    width = sum(metric.sums.shape[2] for metric in metrics)
    peak = peak_rate()
    boot = seconds(lambda: bootstrapped(metrics, draws))
    swap = seconds(lambda: randomized(metrics, swaps(PATIENTS, trials, 0, 2 * width)))
    rng = np.random.default_rng(0)
    drawing = seconds(lambda: rng.multinomial(PATIENTS, np.full(PATIENTS, 1 / PATIENTS), size=draws))
    tossing = seconds(lambda: list(swaps(PATIENTS, trials, 0, 2 * width)))
    yield f"two systems, {CASES:,} cases of {PATIENTS} patients, {n_columns} columns; peak {peak / 1e9:.1f} GFLOP/s"
    rows = (
        ("paired bootstrap", draws, boot, drawing, 2 * width),
        ("randomization", trials, swap, tossing, width),
    )
    for name, n, spent, random_s, wide in rows:
        flop, product = 2 * n * PATIENTS * wide, product_rate(n, PATIENTS, wide)
        yield (
            f"{name:17} {n:7,} resamples {spent:6.2f} s CPU  product {product / 1e9:5.1f} GFLOP/s = "
            f"{product / peak:4.0%} of peak  whole {flop / spent / 1e9:5.1f} GFLOP/s = {flop / spent / peak:4.0%}  "
            f"random numbers {random_s / spent:4.0%} of the time"
        )


# ------------------------------------------------------------------ RadEval


def load_radeval() -> Any:
    """Return RadEval's module of significance tests, or None. Its import would download a tokeniser, unused here."""
    import nltk

    download, nltk.download = nltk.download, lambda *_, **__: True
    try:
        from radeval import utils
    except ImportError:
        return None
    finally:
        nltk.download = download
    return utils


def their_swaps(seed: int, trials: int) -> Floats:
    """Return the swaps that RadEval makes with a seed, [trials, CASES]."""
    rng = random.Random(seed)
    return np.array([[rng.random() >= 0.5 for _ in range(CASES)] for _ in range(trials)], dtype=float)


@dataclass(frozen=True)
class Task:
    """A metric and what it is given: texts of two systems, references, and the column looked at."""

    observe: Callable[[Sequence[str], Sequence[str]], Floats]
    """Texts and references → statistics [n, n_stats]."""
    finish: Callable[[Floats], Floats]
    systems: tuple[list[str], list[str]]
    references: list[str]
    column: int

    def score(self, texts: Sequence[str], references: Sequence[str]) -> float:
        """Return the corpus score: what RadEval calls a metric."""
        return float(self.finish(self.observe(texts, references).sum(axis=0))[self.column])

    def shared(self) -> Shared:
        """Return the statistics of both systems, a group a case."""
        return Shared(np.stack([self.observe(texts, self.references) for texts in self.systems]), self.finish)


def bleu_task() -> Task:
    """Return BLEU-4 from texts."""
    metric = BLEU(BLEUOptions(), None)  # type: ignore[arg-type]
    one, two = bleu_pairs(2)

    def observe(texts: Sequence[str], references: Sequence[str]) -> Floats:
        return metric.observe([Pair("", "", t, r) for t, r in zip(texts, references, strict=True)]).values

    systems = [pair.candidate for pair in one], [pair.candidate for pair in two]
    return Task(observe, metric.finish, systems, [pair.reference for pair in one], 0)


def f1_task() -> Task:
    """Return macro F1 over labels that are known of each report."""
    known = np.concatenate([label_statistics(np.random.default_rng(k), 0.5 + 0.02 * k) for k in range(2)])
    place = {f"report {i}": i for i in range(2 * CASES)}
    names = list(place)

    def observe(texts: Sequence[str], references: Sequence[str]) -> Floats:  # noqa: ARG001 (known beforehand)
        return known[[place[text] for text in texts]]

    return Task(observe, label_f1, (names[:CASES], names[CASES:]), names[:CASES], 1)


def race(theirs: Any, name: str, task: Task, their_trials: int, trials: int, seed: int) -> str:
    """Run both in turn with one metric function, assert equal p-values on equal swaps, and return the line."""
    answers: dict[str, float] = {}

    def they() -> None:
        both = dict(zip(("a", "b"), task.systems, strict=True))
        given = {"n_samples": their_trials, "seed": seed, "print_results": False}
        _, scores = theirs.compare_systems(both, {name: task.score}, task.references, **given)
        answers["theirs"] = scores["b"][f"{name}_pvalue"]

    def we() -> None:
        shared = task.shared()
        answers["ours"] = randomized([shared], swaps(CASES, trials, seed, shared.sums.shape[2]))[task.column]

    their_s, our_s = seconds(they), seconds(we)
    same = randomized([task.shared()], [their_swaps(seed, their_trials)])[task.column]
    share = (round(same * (1 + their_trials)) - 1) / their_trials
    assert answers["theirs"] == share, f"{name}: p {answers['theirs']} and {share} on equal swaps"
    whole = their_s / their_trials * trials
    return (
        f"{name:8} RadEval {their_trials} trials, {1e3 * their_s / their_trials:.1f} ms each: {whole:,.0f} s for "
        f"{trials:,}  ours {our_s:.2f} s  ratio {whole / our_s:,.0f}x  p {share:.4f} on both sides on equal swaps "
        f"({answers['ours']:.4f} at {trials:,})"
    )


def main() -> None:
    """Print times, shares of the limit, and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--their-trials", type=int, default=300, help="of RadEval, with labels known beforehand")
    parser.add_argument("--their-bleu-trials", type=int, default=5, help="of RadEval, with BLEU from texts")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    theirs = load_radeval()
    for repeat in range(given.repeats):
        for line in our_lines(given.draws, given.trials):
            print(line, flush=True)
        if theirs is not None:
            print(race(theirs, "bleu", bleu_task(), given.their_bleu_trials, given.trials, repeat), flush=True)
            print(race(theirs, "kept f1", f1_task(), given.their_trials, given.trials, repeat), flush=True)
    if theirs is None:
        print(INSTALL)


if __name__ == "__main__":
    main()
