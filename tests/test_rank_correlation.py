"""Rank correlation against scipy, by hand, and its bootstrap against resampling for real."""

from __future__ import annotations

import time
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from bench.rank_correlation import Association, kendall_tau_b, pairwise_accuracy, resamples, spearman

SAMPLES = np.random.default_rng(5)
CASES = {
    "no ties": (SAMPLES.normal(size=40), SAMPLES.normal(size=40)),
    "many ties": (SAMPLES.integers(0, 4, 60).astype(float), SAMPLES.integers(0, 5, 60).astype(float)),
    "related": (np.arange(30.0) // 3, np.arange(30.0) // 3 + SAMPLES.integers(0, 9, 30)),
    "reversed": (np.arange(9.0), -np.arange(9.0)),
    "two": (np.array([1.0, 2.0]), np.array([5.0, 5.5])),
}


def by_pairs(x: np.ndarray, y: np.ndarray, groups: np.ndarray | None = None) -> tuple[float, float]:
    """Both accuracies, pair by pair; with groups the pairs of one group only."""
    half = ordered = agreed = n = 0.0
    for i, j in combinations(range(len(x)), 2):
        if groups is not None and groups[i] != groups[j]:
            continue
        mine, theirs = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
        n += 1
        agreed += mine == theirs
        if theirs:
            ordered += 1
            half += 0.5 if mine == 0 else float(mine == theirs)
    return half / ordered, agreed / n


@pytest.mark.parametrize("name", CASES)
def test_equals_scipy(name: str) -> None:
    x, y = CASES[name]
    assert kendall_tau_b(x, y) == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-12)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert (pairwise_accuracy(x, y), pairwise_accuracy(x, y, equal=True)) == pytest.approx(by_pairs(x, y), abs=1e-12)


def test_by_hand() -> None:
    """Four reports: the pairs are 12 tied in x, 34 tied in y, 13 14 24 alike, 23 otherwise."""
    x, y = [1, 1, 2, 3], [1, 3, 2, 2]
    # s: 13 +, 14 +, 23 -, 24 - ; u_x = 5, u_y = 5
    assert kendall_tau_b(x, y) == pytest.approx(0 / 5)
    assert pairwise_accuracy(x, y) == pytest.approx((2 + 0.5) / 5)
    assert pairwise_accuracy(x, y, equal=True) == pytest.approx(2 / 6)
    assert kendall_tau_b([1, 2, 3], [1, 2, 2]) == pytest.approx(2 / np.sqrt(3 * 2))


def test_undefined_and_left_out() -> None:
    assert np.isnan(kendall_tau_b([1, 1, 1], [1, 2, 3]))
    assert np.isnan(spearman([1, 2, 3], [4, 4, 4]))
    assert pairwise_accuracy([1, 1, 1], [1, 2, 3]) == 0.5
    assert np.isnan(pairwise_accuracy([1, 2, 3], [1, 1, 1]))
    assert np.isnan([kendall_tau_b([], []), spearman([1.0], [2.0]), pairwise_accuracy([], [])]).all()
    nan = float("nan")
    assert kendall_tau_b([1, nan, 2, 3], [1, 7, nan, 3]) == 1.0
    with pytest.raises(ValueError, match="one length"):
        kendall_tau_b([1, 2], [1, 2, 3])


@pytest.mark.parametrize("within", [False, True])
def test_a_resample_is_what_counting_it_again_gives(within: bool) -> None:
    """Statistics of weights equal scipy's on the sample written out, copy by copy."""
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(6), [1, 4, 3, 4, 2, 5])
    x, y = rng.integers(0, 6, 19).astype(float), rng.integers(0, 4, 19).astype(float)
    x[2] = np.nan
    one = Association.of(x, y, groups, 6, units=groups if within else None)
    counts = np.concatenate(list(resamples(6, 40, seed=3)))
    found = one.statistics(counts)
    for d, count in enumerate(counts.astype(int)):
        copies = [(g, k) for g in range(6) for k in range(count[g])]
        item = np.concatenate([np.flatnonzero((groups == g) & np.isfinite(x)) for g, _ in copies])
        copy = np.concatenate([np.full(((groups == g) & np.isfinite(x)).sum(), n) for n, (g, _) in enumerate(copies)])
        xs, ys = x[item], y[item]
        if within:
            half, _ = by_pairs(xs, ys, copy)
            parts = [(stats.rankdata(xs[copy == c]), stats.rankdata(ys[copy == c])) for c in np.unique(copy)]
            ranks = [np.concatenate([r - r.mean() for r in side]) for side in zip(*parts, strict=True)]
            rho = np.corrcoef(*ranks)[0, 1]
        else:
            half, _ = by_pairs(xs, ys)
            rho = stats.spearmanr(xs, ys).statistic
            assert found.kendall[d] == pytest.approx(stats.kendalltau(xs, ys).statistic, abs=1e-12)
        assert found.accuracy[d] == pytest.approx(half, abs=1e-12)
        assert found.spearman[d] == pytest.approx(rho, abs=1e-12)


def test_copies_of_one_item_are_no_pair_that_agrees() -> None:
    """acc_eq of a sample drawn twice is that of the sample."""
    x, y = CASES["many ties"]
    one = Association.of(x, y, np.arange(60), 60)
    once, twice = one.statistics(np.array([np.ones(60), np.full(60, 2.0)])).accuracy_equal
    assert (once, twice) == pytest.approx([by_pairs(x, y)[1]] * 2, abs=1e-12)


def test_pairs_within_groups_only() -> None:
    x, y = CASES["many ties"]
    groups = np.arange(60) % 15
    one = Association.of(x, y, groups, 15, units=groups).statistics(np.ones((1, 15)))
    assert (one.accuracy[0], one.accuracy_equal[0]) == pytest.approx(by_pairs(x, y, groups), abs=1e-12)


def test_units_lie_in_groups() -> None:
    """What is drawn may be larger than what is compared: patients with several references."""
    x, y = CASES["many ties"]
    units = np.arange(60) % 15
    one = Association.of(x, y, units % 5, 5, units=units)
    alone = Association.of(x, y, units, 15, units=units)
    for found, expected in zip(one.statistics(np.ones((1, 5))), alone.statistics(np.ones((1, 15))), strict=True):
        assert found == pytest.approx(expected, abs=1e-12)
    counts = np.array([[2.0, 0, 1, 1, 1]])
    for found, expected in zip(one.statistics(counts), alone.statistics(np.tile(counts, 3)), strict=True):
        assert found == pytest.approx(expected, abs=1e-12)


def test_what_is_tied() -> None:
    x = np.array([1.0, 1.0, 2.0, 3.0])
    assert Association.of(x, x[::-1].copy(), np.arange(4), 4).tied == pytest.approx(1 / 6)
    assert Association.of(x, x, np.array([0, 0, 1, 1]), 2, units=np.array([0, 0, 1, 1])).tied == pytest.approx(1 / 2)


def test_interval_is_near_the_normal_one() -> None:
    """400 pairs of normal variables: the standard error of ρ of Bonett & Wright 2000."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    y = x + rng.normal(size=400)
    drawn = Association.of(x, y, np.arange(400), 400).bootstrap(2000, seed=0)
    rho = spearman(x, y)
    expected = (1 - rho**2) * np.sqrt((1 + rho**2 / 2) / (400 - 3))
    assert drawn.spearman.std() == pytest.approx(expected, rel=0.15)


def test_draws_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = CASES["many ties"]
    one = Association.of(x, y, np.arange(60) % 20, 20)
    whole = one.bootstrap(100, seed=7)
    monkeypatch.setattr("bench.rank_correlation._BLOCK_NUMBERS", 90)
    again = Association.of(x, y, np.arange(60) % 20, 20)
    for a, b, c in zip(whole, one.bootstrap(100, seed=7), again.bootstrap(100, seed=7), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
        np.testing.assert_allclose(a, c, atol=1e-12)


def test_eleven_metrics_take_seconds() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(50), 4)
    began = time.process_time()
    for _ in range(11):
        Association.of(rng.normal(size=200), rng.integers(0, 9, 200).astype(float), groups, 50).bootstrap(1000, seed=0)
    assert time.process_time() - began < 5
