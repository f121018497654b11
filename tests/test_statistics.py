"""Statistics: sums, intervals by patient, tests of differences, and the guards on what a metric returns."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap, permutation_test

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


def test_one_group_gives_no_interval() -> None:
    """Resamples of one patient are all alike: their interval would have no width."""
    stats = as_stats(np.array([1.0, 2.0, 4.0]))
    one = statistics.score(stats, ["a", "a", "a"], mean, draws=50, confidence=0.95, seed=0)[0]
    assert (one.value, one.ci_low, one.ci_high) == (pytest.approx(7 / 3), None, None)
    two = statistics.score(stats, ["a", "a", "b"], mean, draws=50, confidence=0.95, seed=0)[0]
    assert two.ci_low is not None
    stats.status[2], stats.values[2] = 2, 0
    failed = statistics.score(stats, ["a", "a", "b"], mean, draws=50, confidence=0.95, seed=0)[0]
    assert (failed.value, failed.ci_low, failed.n_failed) == (pytest.approx(1.5), None, 1)


@pytest.mark.parametrize("finish", [lambda t: t[..., 0], lambda t: t, lambda t: np.zeros(1)])
def test_a_finish_of_another_shape_is_refused(finish: statistics.Finish) -> None:
    with pytest.raises(BenchError, match="finish must turn totals"):
        statistics.score(as_stats(np.arange(3.0)), ["a", "b", "c"], finish, draws=5, confidence=0.95, seed=0)


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


# ------------------------------------------------------------------ comparing


def ratio(totals: np.ndarray) -> np.ndarray:
    """A score that is no mean: two columns of [..., 3] sums."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack([totals[..., 0] / totals[..., 1], totals[..., 0] ** 2 / totals[..., 2]], axis=-1)


def two_systems(n_groups: int, seed: int = 0) -> statistics.Shared:
    return statistics.Shared(np.random.default_rng(seed).integers(1, 9, (2, n_groups, 3)).astype(float), ratio)


def all_swaps(n: int) -> np.ndarray:
    return np.array(list(itertools.product((0.0, 1.0), repeat=n)))


def test_swapping_agrees_with_a_loop_that_swaps() -> None:
    shared = two_systems(5)
    (found,) = statistics.approximate_randomization([shared], [[(0, 1)]], [all_swaps(5)])
    for row, swap in zip(found[:, 0], all_swaps(5), strict=True):
        one, two = np.zeros(3), np.zeros(3)
        for group, moved in enumerate(swap):
            a, b = shared.sums[:, group] if not moved else shared.sums[::-1, group]
            one, two = one + a, two + b
        assert row == pytest.approx(ratio(two) - ratio(one), abs=1e-12)


def test_p_over_all_swaps_is_scipys_exact_permutation_test() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(0, 1, 9), rng.normal(0.8, 1, 9)
    exact = permutation_test(
        (b, a), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples", n_resamples=np.inf
    ).pvalue
    shared = statistics.Shared(np.stack([np.stack([x, np.ones(9)], axis=1) for x in (a, b)]), mean)
    seen = float(b.mean() - a.mean())
    (every,) = statistics.approximate_randomization([shared], [[(0, 1)]], [all_swaps(9)])
    k = statistics.p_value(every[:, 0, 0], seen, 1.0) * (1 + 2**9) - 1
    assert k / 2**9 == pytest.approx(exact)
    (drawn,) = statistics.approximate_randomization([shared], [[(0, 1)]], statistics.swaps(9, 20_000, 0))
    assert statistics.p_value(drawn[:, 0, 0], seen, 1.0) == pytest.approx(exact, abs=0.01)
    assert 0.01 < exact < 0.5


def test_by_hand_three_patients_leave_a_quarter() -> None:
    """Each of three patients gains: of eight swaps only none and all give a difference as great."""
    shared = statistics.Shared(np.array([[[1.0, 1], [2, 1], [3, 1]], [[2.0, 1], [4, 1], [7, 1]]]), mean)
    (found,) = statistics.approximate_randomization([shared], [[(0, 1)]], [all_swaps(3)])
    assert sorted(np.round(3 * found[:, 0, 0], 9)) == [-7, -5, -3, -1, 1, 3, 5, 7]
    assert statistics.p_value(found[:, 0, 0], 7 / 3, 1.0) == pytest.approx((1 + 2) / (1 + 8))


def test_swaps_are_fair_coins_and_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = np.concatenate(list(statistics.swaps(13, 4000, 1)))
    assert set(np.unique(drawn)) == {0.0, 1.0}
    assert np.abs(drawn.mean(axis=0) - 0.5).max() < 0.04
    assert np.abs(np.corrcoef(drawn.T) - np.eye(13)).max() < 0.08
    monkeypatch.setattr(statistics, "_BLOCK", 77)
    assert np.array_equal(np.concatenate(list(statistics.swaps(13, 4000, 1))), drawn)


def test_paired_bootstrap_agrees_with_a_loop_over_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = two_systems(7), statistics.Shared(np.random.default_rng(9).random((3, 7, 2)), mean)
    found = statistics.paired_bootstrap([one, other], 40, seed=4)
    counts = np.random.default_rng(4).multinomial(7, [1 / 7] * 7, size=40)
    for draw in range(40):
        chosen = [group for group in range(7) for _ in range(counts[draw, group])]
        for shared, scores in zip((one, other), found, strict=True):
            naive = [shared.finish(sum(sums[group] for group in chosen)) for sums in shared.sums]
            assert scores[draw] == pytest.approx(np.array(naive), abs=1e-12)
    monkeypatch.setattr(statistics, "_BLOCK", 7)
    for blocks, whole in zip(statistics.paired_bootstrap([one, other], 40, seed=4), found, strict=True):
        assert blocks == pytest.approx(whole, abs=1e-12)


def test_a_runs_own_interval_comes_from_the_same_draws() -> None:
    values = np.random.default_rng(1).random((30, 2))
    groups = [f"g{i % 11}" for i in range(30)]
    by_group = statistics.sum_by_group(values, groups)
    (both,) = statistics.paired_bootstrap([statistics.Shared(by_group[None], mean)], 50, seed=8)
    assert both[:, 0] == pytest.approx(statistics.resample(values, groups, mean, 50, seed=8), abs=1e-12)


def test_paired_interval_agrees_with_scipy() -> None:
    rng = np.random.default_rng(2)
    a = rng.gamma(2.0, size=120)
    b = a + rng.normal(0.1, 0.3, size=120)
    theirs = bootstrap(
        (a, b), lambda x, y, axis=-1: y.mean(axis) - x.mean(axis), paired=True, n_resamples=20_000,
        method="percentile", rng=np.random.default_rng(5),
    ).confidence_interval  # fmt: skip
    shared = statistics.Shared(np.stack([np.stack([x, np.ones(120)], axis=1) for x in (a, b)]), mean)
    (scores,) = statistics.paired_bootstrap([shared], 20_000, seed=0)
    low, high = statistics.percentiles(scores[:, 1, 0] - scores[:, 0, 0], 0.95)
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.004)
    assert high - low < 0.3  # not paired it would be about 0.75


def test_p_of_the_bootstrap_is_sacrebleus() -> None:
    from sacrebleu.significance import _compute_p_value

    differences = np.random.default_rng(0).normal(0.5, 0.4, 999)
    ours = statistics.p_value(statistics.centred(differences), 0.5, 1.0)
    assert ours == pytest.approx(_compute_p_value(np.abs(differences - differences.mean()), 0.5))
    assert 0.1 < ours < 0.4


def test_p_value_counts_ties_and_leaves_undefined_draws_out() -> None:
    differences = np.array([0.3, -(0.1 + 0.2), 0.1, np.nan, 0.0])
    assert statistics.p_value(differences, 0.3, 1.0) == pytest.approx((1 + 2) / (1 + 4))
    assert statistics.p_value(differences, 0.0, 1.0) == 1.0
    assert np.isnan(statistics.p_value(np.array([np.nan]), 0.3, 1.0))
    assert np.isnan(statistics.percentiles(np.array([np.nan]), 0.95)).all()


@pytest.mark.parametrize(
    ("given_p", "expected"),
    [
        ([0.01, 0.02, 0.03, 0.04, 0.05], [0.05, 0.08, 0.09, 0.09, 0.09]),  # R: p.adjust(…, "holm")
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.9, 0.6], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_holm_by_hand(given_p: list[float], expected: list[float]) -> None:
    assert statistics.holm(given_p) == pytest.approx(expected)


def test_holm_does_not_count_what_was_not_tested() -> None:
    assert statistics.holm([0.01, float("nan"), 0.03]) == pytest.approx([0.02, float("nan"), 0.03], nan_ok=True)
