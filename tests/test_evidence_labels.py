from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from bench.contracts import Unannotated
from bench.errors import BenchError
from systems.sae_rad.evidence import labels as L
from systems.sae_rad.evidence.columns import Columns

pytest.importorskip("torch")
from systems.sae_rad.trained import Active

NAN = np.nan


def sparse(table: np.ndarray) -> Active:
    """Activations [n, m] as a dictionary gives them."""
    there = table > 0
    return Active(
        np.concatenate([[0], there.sum(1).cumsum()]).astype(np.int64),
        np.nonzero(there)[1].astype(np.int32),
        table[there].astype(np.float32),
    )


def columns(table: np.ndarray, **options: object) -> Columns:
    return Columns.of(sparse(table), table.shape[1], **options)  # type: ignore[arg-type]


def labels(positive: np.ndarray, counted: np.ndarray | None = None) -> L.Labels:
    counted = np.ones_like(positive) if counted is None else counted
    return L.Labels(tuple("abcdefgh"[: positive.shape[1]]), positive & counted, ~positive & counted)


def random_world(seed: int, n: int = 60, m: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Sparse activations with many ties, and labels of which some follow them."""
    rng = np.random.default_rng(seed)
    table = np.round(rng.gamma(2, 1, (n, m)), 1 if seed % 2 else 3) * (rng.random((n, m)) < rng.random(m))
    table[:, -1] = 0
    positive = np.column_stack([table[:, 0] > 1, rng.random(n) < 0.3, rng.random(n) < 0.05, rng.random(n) < 2])
    return table, positive


@pytest.mark.parametrize("seed", range(6))
def test_scores_equal_scikit_learn(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    table, positive = random_world(seed)
    counted = np.random.default_rng(seed).random(positive.shape) < 0.9
    found = L.score(columns(table), labels(positive, counted))
    for f in range(table.shape[1]):
        for k in range(positive.shape[1]):
            y, a = positive[counted[:, k], k], table[counted[:, k], f].astype(np.float32)
            if y.all() or not y.any():
                assert np.isnan(found.auroc[f, k])
                assert np.isnan(found.ap[f, k])
            else:
                assert found.auroc[f, k] == pytest.approx(metrics.roc_auc_score(y, a), abs=1e-12)
                assert found.ap[f, k] == pytest.approx(metrics.average_precision_score(y, a), abs=1e-12)


def test_a_feature_that_never_fires_is_chance() -> None:
    found = L.score(columns(np.zeros((10, 2))), labels(np.arange(10)[:, None] < 3))
    assert found.auroc[:, 0].tolist() == [0.5, 0.5]
    assert found.ap[:, 0] == pytest.approx([0.3, 0.3])


def test_by_hand() -> None:
    """Positives at 3, 1 and 0, negatives at 2 and 0: of six pairs 3 > 2, 3 > 0, 1 > 0 and half of 0 = 0."""
    found = L.score(columns(np.array([[3.0], [1], [0], [2], [0]])), labels(np.array([[1], [1], [1], [0], [0]], bool)))
    assert found.auroc[0, 0] == pytest.approx(3.5 / 6)
    assert found.ap[0, 0] == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)


def test_below_the_threshold_a_feature_is_silent() -> None:
    table, positive = random_world(1)
    cut = np.where(table > 1.5, table, 0)
    assert np.array_equal(
        L.score(columns(table, above=1.5), labels(positive)).auroc, L.score(columns(cut), labels(positive)).auroc,
        equal_nan=True,
    )  # fmt: skip


def test_columns_keep_some_rows() -> None:
    table, _ = random_world(2)
    keep = np.arange(len(table)) % 3 > 0
    one, two = columns(table, keep=keep), columns(table[keep])
    assert one.n_rows == two.n_rows == keep.sum()
    assert all(np.array_equal(getattr(one, x), getattr(two, x)) for x in ("indptr", "rows", "activations"))


def test_tens_of_thousands_of_features_take_seconds() -> None:
    rng = np.random.default_rng(0)
    n, m, l0 = 3403, 49152, 15
    features = np.sort(rng.integers(0, m, (n, l0)), axis=1).astype(np.int32).ravel()
    active = Active(np.arange(n + 1, dtype=np.int64) * l0, features, rng.random(n * l0).astype(np.float32))
    found = L.score(Columns.of(active, m), labels(rng.random((n, 8)) < 0.2))
    assert found.auroc.shape == (m, 8)
    assert np.isfinite(found.auroc).all()


@pytest.mark.parametrize(
    ("uncertain", "positive", "negative"),
    [
        ("positive", [1, 0, 1, 0, 0], [0, 1, 0, 1, 0]),
        ("negative", [1, 0, 0, 0, 0], [0, 1, 1, 1, 0]),
        ("skip", [1, 0, 0, 0, 0], [0, 1, 0, 1, 0]),
    ],
)
def test_annotations(uncertain: L.Uncertain, positive: list[int], negative: list[int]) -> None:
    given = [{"labels": {"Edema": value}} for value in (1, 0, -1, None)]
    found = L.from_annotations([*given, Unannotated("too long")], uncertain)
    assert found.names == ("Edema",)
    assert found.positive[:, 0].tolist() == [bool(x) for x in positive]
    assert found.negative[:, 0].tolist() == [bool(x) for x in negative]


def test_an_annotator_without_labels_is_refused() -> None:
    with pytest.raises(BenchError, match="no labels"):
        L.from_annotations([{"phrases": []}, Unannotated("x")], "positive")


def test_a_label_needs_positives_on_both_sides() -> None:
    def of(*counts: int) -> L.Labels:
        return labels(np.arange(20)[:, None] < np.array(counts))

    assert L.measurable(of(10, 9, 10, 20, 10), of(5, 5, 4, 5, 20), least=10, least_held_out=5) == ["a"]


def test_shuffling_hands_every_images_labels_to_another_patient() -> None:
    rng = np.random.default_rng(0)
    groups = [f"p{k}" for k in rng.integers(0, 40, 300)]
    order = L.shuffled(groups, 1)
    assert sorted(order.tolist()) == list(range(300))
    assert np.mean([groups[k] == groups[i] for i, k in enumerate(order)]) < 0.1
    assert np.array_equal(order, L.shuffled(groups, 1))
    assert not np.array_equal(order, L.shuffled(groups, 2))
    by_owner = np.argsort(np.unique(groups, return_inverse=True)[1], kind="stable")
    sources = [groups[k] for k in order[by_owner]]
    assert sum(a != b for a, b in pairwise(sources)) == len(set(groups)) - 1, "kept together"


def test_the_best_of_many_features_is_chance_once_told_on_other_images() -> None:
    rng = np.random.default_rng(3)
    table = rng.random((200, 2000)) * (rng.random((200, 2000)) < 0.1)
    positive = rng.random((200, 1)) < 0.2
    train, held_out = (L.score(columns(table[part]), labels(positive[part])) for part in (slice(100), slice(100, 200)))
    chosen = L.choose(train, columns(table[:100]).counts)
    best = L.at(train.auroc, chosen.feature_of_label, np.arange(1))
    assert best[0] > 0.65, "by chance, on the images it was chosen on"
    later = L.at(held_out.auroc, chosen.feature_of_label, np.arange(1))
    assert later[0] < 0.6


def test_choices_by_hand() -> None:
    scores = L.LabelScores(np.array([[0.9, 0.6], [0.7, 0.7], [0.95, NAN]]), np.full((3, 2), 0.5))
    chosen = L.choose(scores, np.array([5, 5, 0]))
    assert chosen.label_of_feature.tolist() == [0, 0, -1], "feature 2 never fires"
    assert chosen.feature_of_label.tolist() == [0, 1]
    assert L.choose(scores, np.zeros(3, int)).feature_of_label.tolist() == [-1, -1]
    found = L.at(scores.auroc, np.array([0, -1]), np.array([0, 1]))
    assert found[0] == 0.9
    assert np.isnan(found[1])


def test_weighted_auroc_is_that_of_repeated_images() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    table, positive = random_world(3)
    weights = np.random.default_rng(0).integers(0, 4, (5, len(table))).astype(float)
    found = L.weighted_auroc(table[:, 0], positive[:, 1], ~positive[:, 1], weights)
    for value, w in zip(found, weights, strict=True):
        again = np.repeat(np.arange(len(table)), w.astype(int))
        assert value == pytest.approx(metrics.roc_auc_score(positive[again, 1], table[again, 0]))
    assert np.isnan(L.weighted_auroc(table[:, 0], positive[:, 3], ~positive[:, 3], weights[:1]))
