from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from systems.sae_rad.evidence import matching as M
from systems.sae_rad.evidence.columns import Columns
from systems.sae_rad.evidence.labels import Labels, shuffled

pytest.importorskip("torch")
from systems.sae_rad.trained import Active


def columns(table: np.ndarray, above: float = 0.0) -> Columns:
    there = table > 0
    indptr = np.concatenate([[0], there.sum(1).cumsum()]).astype(np.int64)
    active = Active(indptr, np.nonzero(there)[1].astype(np.int32), table[there].astype(np.float32))
    return Columns.of(active, table.shape[1], above=above)


def labels(positive: np.ndarray, counted: np.ndarray | None = None) -> Labels:
    counted = np.ones_like(positive) if counted is None else counted
    return Labels(tuple("abcdefgh"[: positive.shape[1]]), positive & counted, ~positive & counted)


def world(seed: int, n: int = 50, m: int = 9) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    table = np.round(rng.gamma(2, 1, (n, m)), 1) * (rng.random((n, m)) < rng.random(m))
    table[:, -1] = 0
    return table, np.column_stack([table[:, 0] > 2, rng.random(n) < 0.3, (table[:, 1] > 0) & (rng.random(n) < 0.7)])


@pytest.mark.parametrize("seed", range(4))
def test_counts_and_f1_equal_scikit_learn(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    table, positive = world(seed)
    counted = np.random.default_rng(seed).random(positive.shape) < 0.85
    found = M.fit(columns(table), labels(positive, counted), search=False)
    for f in range(table.shape[1]):
        for k in range(positive.shape[1]):
            keep = counted[:, k]
            expected = metrics.f1_score(positive[keep, k], table[keep, f] > 0, zero_division=0)
            assert found.f1[f, k] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_the_threshold_found_is_the_best_of_all(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    table, positive = world(seed)
    found = M.fit(columns(table), labels(positive), search=True)
    for f in range(table.shape[1]):
        for k in range(positive.shape[1]):
            cuts = np.unique(np.concatenate([[0.0], table[:, f]]))
            scores = [metrics.f1_score(positive[:, k], table[:, f] > cut, zero_division=0) for cut in cuts]
            assert found.f1[f, k] == pytest.approx(max(scores))
            here = table[:, f].astype(np.float32) > found.threshold[f, k]
            assert metrics.f1_score(positive[:, k], here, zero_division=0) == pytest.approx(max(scores))
            assert not (table[:, f].astype(np.float32) == found.threshold[f, k])[here].any()


def test_thresholds_by_hand() -> None:
    table = np.array([[4.0], [3], [2], [1], [0]])
    found = M.fit(columns(table), labels(np.array([[1], [1], [0], [0], [0]], bool)), search=True)
    assert found.threshold[0, 0] == 2.5
    assert found.f1[0, 0] == 1.0
    assert M.fit(columns(table), labels(np.array([[1], [1], [1], [1], [0]], bool)), search=True).threshold[0, 0] == 0.0


def test_a_threshold_holds_on_other_images() -> None:
    table, positive = world(5)
    thresholds = M.fit(columns(table[:25]), labels(positive[:25]), search=True).threshold
    found = M.refit(columns(table[25:]), labels(positive[25:]), thresholds)
    f, k = np.meshgrid(range(table.shape[1]), range(3), indexing="ij")
    counts = M.apply(columns(table[25:]), labels(positive[25:]), f.ravel(), k.ravel(), thresholds.ravel()).sum(0)
    assert np.array_equal(found.hits.ravel(), counts[0])
    assert np.array_equal(found.said.ravel(), counts[1])
    assert np.array_equal(np.tile(found.true, len(found.hits)), counts[2])
    above = table[25:, 0].astype(np.float32) > thresholds[0, 0]
    assert found.hits[0, 0] == (above & positive[25:, 0]).sum()


def test_the_assignment_is_the_best_of_all() -> None:
    values = np.random.default_rng(0).random((5, 3))
    hits = np.round(values * 100)
    found = M.Fit(np.zeros((5, 3)), hits, np.full((5, 3), 100.0), np.full(3, 100.0))
    chosen = M.choose(found)
    best = max(sum(found.f1[f, k] for k, f in enumerate(order)) for order in permutations(range(5), 3))
    assert sum(found.f1[f, k] for k, f in enumerate(chosen.assigned)) == pytest.approx(best)
    assert len(set(chosen.assigned.tolist())) == 3
    assert chosen.feature_of_finding.tolist() == found.f1.argmax(0).tolist()
    assert chosen.finding_of_feature.tolist() == found.f1.argmax(1).tolist()


def test_nothing_is_chosen_where_nothing_fits() -> None:
    table = np.zeros((6, 3))
    table[:2, 0] = 1
    chosen = M.choose(M.fit(columns(table), labels(np.array([[1, 0]] * 2 + [[0, 1]] * 4, bool)), search=False))
    assert chosen.finding_of_feature.tolist() == [0, -1, -1]
    assert chosen.feature_of_finding.tolist() == [0, -1]
    assert chosen.assigned.tolist() == [0, -1]
    found = M.told(M.fit(columns(table), labels(np.ones((6, 2), bool)), search=False), chosen.assigned, np.arange(2))
    assert found.f1.tolist() == [pytest.approx(0.5), 0]
    assert np.isnan(found.precision[1])
    assert found.recall.tolist() == [pytest.approx(1 / 3), 0]


def planted(seed: int, n: int = 300, m: int = 40) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Feature k < 4 fires exactly on finding k; the others fire at random, as often."""
    rng = np.random.default_rng(seed)
    positive = rng.random((n, 4)) < 0.15
    table = (rng.random((n, m)) < 0.15) * rng.uniform(0.5, 2, (n, m))
    table[:, :4] = positive * rng.uniform(0.5, 2, (n, 4))
    return table, positive, [f"p{k // 2}" for k in range(n)]


def test_planted_features_match_and_shuffled_ones_do_not() -> None:
    table, positive, groups = planted(0)
    order = shuffled(groups, 0)
    means = []
    for truth in (positive, positive[order]):
        train, held_out = (slice(150), slice(150, 300))
        chosen = M.choose(M.fit(columns(table[train]), labels(truth[train]), search=False))
        told = M.told(
            M.fit(columns(table[held_out]), labels(truth[held_out]), search=False), chosen.assigned, np.arange(4)
        )
        means.append(told.f1.mean())
        if truth is positive:
            assert chosen.finding_of_feature[:4].tolist() == [0, 1, 2, 3]
            assert told.f1.tolist() == [1, 1, 1, 1]
    assert means[1] < 0.4


def test_always_firing_earns_the_prevalence() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    positive = np.arange(10)[:, None] < np.array([[3, 7]])
    expected = [metrics.f1_score(positive[:, k], np.ones(10)) for k in range(2)]
    assert M.always(labels(positive)) == pytest.approx(expected)
