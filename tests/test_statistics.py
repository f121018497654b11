"""Statistics: sums, intervals by patient, and the guards on what a metric returns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap

from bench import statistics
from bench.contracts import Column, Stats
from bench.errors import BenchError


def mean(totals: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return (totals[..., 0] / totals[..., 1])[..., None]


def as_stats(values: np.ndarray) -> Stats:
    return Stats(np.stack([values, np.ones_like(values)], axis=1), np.zeros((len(values), 1), np.int8))


def test_interval_of_a_mean_agrees_with_scipy() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=80)
    groups = [str(i) for i in range(80)]
    ours = statistics.score(as_stats(values), groups, mean, draws=20_000, confidence=0.9, seed=0)[0]
    theirs = bootstrap(
        (values,), np.mean, n_resamples=20_000, confidence_level=0.9, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    assert ours.ci_low == pytest.approx(theirs.low, abs=0.02)
    assert ours.ci_high == pytest.approx(theirs.high, abs=0.02)


def test_images_of_one_patient_are_drawn_together() -> None:
    """Ten copies of each of eight values: by patient the interval is that of eight values, not of eighty."""
    values = np.repeat(np.arange(8.0), 10)
    patients = [str(int(v)) for v in values]
    wide = statistics.score(as_stats(values), patients, mean, draws=4000, confidence=0.95, seed=0)[0]
    narrow = statistics.score(as_stats(values), [str(i) for i in range(80)], mean, draws=4000, confidence=0.95, seed=0)[
        0
    ]
    assert wide.ci_low is not None
    assert wide.ci_high is not None
    assert narrow.ci_low is not None
    assert narrow.ci_high is not None
    ratio = (wide.ci_high - wide.ci_low) / (narrow.ci_high - narrow.ci_low)
    assert ratio == pytest.approx(np.sqrt(10), rel=0.15)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5), st.sampled_from("abcd")), min_size=1, max_size=30), st.randoms())
def test_order_of_pairs_does_not_matter(rows: list[tuple[float, str]], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    def run(pairs: list[tuple[float, str]]) -> statistics.Score:
        values = np.array([value for value, _ in pairs])
        return statistics.score(as_stats(values), [g for _, g in pairs], mean, draws=50, confidence=0.95, seed=3)[0]

    one, two = run(rows), run(shuffled)
    assert (one.value, one.ci_low, one.ci_high) == pytest.approx((two.value, two.ci_low, two.ci_high), abs=1e-9)


def test_a_resample_is_the_finish_of_summed_groups() -> None:
    values = np.array([[1.0, 1.0], [3.0, 1.0], [5.0, 1.0]])
    draws = statistics.resample(values, ["a", "a", "b"], mean, 200, seed=0)[:, 0]
    assert set(np.round(draws, 6)) == {2.0, 3.0, 5.0}  # (a,a) 2, (a,b) 3, (b,b) 5


def test_undefined_score_is_none() -> None:
    stats = Stats(np.zeros((3, 2)), np.ones((3, 1), np.int8))
    score = statistics.score(stats, ["a", "b", "c"], mean, draws=20, confidence=0.95, seed=0)[0]
    assert (score.value, score.ci_low, score.n, score.n_undefined) == (None, None, 0, 3)


@pytest.mark.parametrize(
    ("values", "status", "word"),
    [
        (np.zeros((2, 1)), np.zeros((3, 1), np.int8), "values must be"),
        (np.zeros((3, 1)), np.zeros((3, 2), np.int8), "status must be"),
        (np.full((3, 1), np.nan), np.zeros((3, 1), np.int8), "not finite"),
        (np.zeros((3, 1)), np.full((3, 1), 7, np.int8), "other values"),
        (np.zeros((3, 1), np.float32), np.zeros((3, 1), np.int8), "float64"),
    ],
)
def test_broken_statistics_are_refused(values: np.ndarray, status: np.ndarray, word: str) -> None:
    with pytest.raises(BenchError, match=word):
        statistics.check(Stats(values, status), 3, (Column("x", "x"),), "mine")
