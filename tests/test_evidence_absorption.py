from __future__ import annotations

import numpy as np
import pytest

from systems.sae_rad.evidence import absorption as A
from systems.sae_rad.evidence.columns import Columns
from systems.sae_rad.evidence.labels import Labels

pytest.importorskip("torch")
from systems.sae_rad.trained import Active


def sparse(table: np.ndarray) -> Active:
    there = table > 0
    indptr = np.concatenate([[0], there.sum(1).cumsum()]).astype(np.int64)
    return Active(indptr, np.nonzero(there)[1].astype(np.int32), table[there].astype(np.float32))


def columns(table: np.ndarray) -> Columns:
    return Columns.of(sparse(table), table.shape[1])


def labels(*positive: np.ndarray) -> Labels:
    table = np.column_stack(positive)
    return Labels(tuple("abcdef"[: table.shape[1]]), table, ~table)


# ------------------------------------------------------------------ probes


def test_shrinkage_equals_scikit_learn() -> None:
    covariance = pytest.importorskip("sklearn.covariance")
    rng = np.random.default_rng(0)
    for rows, n in ((20, 30), (200, 10)):
        z = (rng.normal(size=(rows, n)) @ rng.normal(size=(n, n)) + 3).astype(np.float32)
        found, fourth = A._moments(z)
        amount = A.shrinkage(found, fourth, rows)
        assert amount == pytest.approx(covariance.ledoit_wolf_shrinkage(z.astype(np.float64)))
        assert A._shrunk(found, amount) == pytest.approx(covariance.ledoit_wolf(z.astype(np.float64))[0])


def test_the_probe_is_a_linear_discriminant(monkeypatch: pytest.MonkeyPatch) -> None:
    analysis = pytest.importorskip("sklearn.discriminant_analysis")
    rng = np.random.default_rng(1)
    y = rng.random(300) < 0.3
    z = (rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5)) + np.outer(y, [2, 0, 1, 0, 0]) + 5).astype(np.float32)
    monkeypatch.setattr(A, "shrinkage", lambda *_: 0.0)
    (probe,) = A.probes(z, labels(y))
    found = analysis.LinearDiscriminantAnalysis("lsqr").fit(z, y)
    assert probe.direction == pytest.approx(found.coef_[0] / np.linalg.norm(found.coef_[0]), abs=1e-4)
    present, absent = (probe.scores(z[there]).mean() for there in (y, ~y))
    assert present == pytest.approx(-absent, rel=1e-4), "classes weigh the same, whatever their sizes"


def test_a_label_of_which_nothing_is_known_has_no_part_in_the_probe() -> None:
    rng = np.random.default_rng(2)
    y, known = rng.random(200) < 0.5, rng.random(200) < 0.7
    z = (rng.normal(size=(200, 3)) + np.outer(y, [3, 0, 0])).astype(np.float32)
    some = Labels(("a",), (y & known)[:, None], (~y & known)[:, None])
    means = z[y & known].mean(0, dtype=np.float64) - z[~y & known].mean(0, dtype=np.float64)
    found, fourth = A._moments(z)
    expected = np.linalg.solve(A._shrunk(found, A.shrinkage(found, fourth, 200)), means)
    assert A.probes(z, some)[0].weights == pytest.approx(expected)


def test_the_logistic_probe_equals_scikit_learn() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(3)
    x = rng.gamma(2, 3, (200, 3)) * (rng.random((200, 3)) < 0.4)
    y = x[:, 0] + rng.normal(size=200) > 3
    weights = A.balanced(y, ~y)
    found, bias = A.logistic(x, y, weights)
    scale = np.sqrt(np.square(x).mean(0))
    peer = linear.LogisticRegression(C=1.0, class_weight="balanced", tol=1e-10, max_iter=10000).fit(x / scale, y)
    assert found * scale == pytest.approx(peer.coef_[0], rel=1e-4)
    assert bias == pytest.approx(peer.intercept_[0], rel=1e-4)


def test_the_logistic_probe_stays_finite_where_a_feature_decides() -> None:
    y = np.arange(100) < 3
    found, bias = A.logistic(np.column_stack([y * 100.0, np.zeros(100)]), y, A.balanced(y, ~y))
    assert found[0] > 0
    assert found[1] == 0
    assert np.isfinite(bias)


# ------------------------------------------------------------------ splitting


def test_a_label_of_one_feature_is_not_split_and_one_of_two_is() -> None:
    rng = np.random.default_rng(4)
    whole, left, right = (rng.random(400) < p for p in (0.2, 0.15, 0.15))
    table = (rng.random((400, 30)) < 0.1) * rng.uniform(0.5, 1, (400, 30))
    for feature, there in ((7, whole), (11, left), (19, right)):
        table[:, feature] = there * rng.uniform(0.8, 1.2, 400)
    halves = [columns(table[::2]), columns(table[1::2])]
    truth = labels(whole, left | right)
    parts = (truth.rows(slice(None, None, 2)), truth.rows(slice(1, None, 2)))
    assert A.main_features((halves[0], halves[1]), parts, 0) == (7,)
    assert sorted(A.main_features((halves[0], halves[1]), parts, 1)) == [11, 19]


def test_only_features_that_speak_for_a_label_are_taken() -> None:
    y = np.arange(40) < 10
    assert A.sparse_probes(columns((~y)[:, None] * 1.0), y, ~y) == []
    (probe,) = A.sparse_probes(columns(np.column_stack([~y, y]) * 1.0), y, ~y)[:1]
    assert probe.features == (1,)
    assert A.sparse_probes(columns(np.zeros((40, 2))), y, ~y) == []


def test_a_feature_that_helps_little_is_no_split() -> None:
    y = np.arange(200) < 40
    for lost, main in ((1, (0,)), (6, (0, 1))):  # F1 without feature 1: 78/79, and 68/74
        most = y & (np.arange(200) >= lost)
        halves = columns(np.column_stack([most, y & ~most]) * 1.0)
        assert A.main_features((halves, halves), (labels(y), labels(y)), 0) == main


def test_no_feature_is_taken_twice() -> None:
    y = np.arange(40) < 10
    assert [probe.features for probe in A.sparse_probes(columns(y[:, None] * 1.0), y, ~y)] == [(0,)]


def test_patients_are_kept_together() -> None:
    groups = [f"p{k // 3}" for k in range(30)]
    learn = A.split(groups)
    assert all(len({bool(x) for x, g in zip(learn, groups, strict=True) if g == group}) == 1 for group in set(groups))
    assert learn.sum() == 15
    assert A.split(["one"] * 3).all()


# ------------------------------------------------------------------ absorption

AXES = np.eye(6)


def directions(features: object) -> np.ndarray:
    """Feature 0 lies along the label; 1 along another thing and the label; 2 and 3 along other things."""
    mixed = (AXES[1] + 0.8 * AXES[0]) / np.hypot(1, 0.8)
    return np.stack([AXES[0], mixed, AXES[2], AXES[3]])[np.asarray(features, int)]


def world(seed: int, *, absorbs: bool) -> A.Side:
    """Label a is seen along axis 0. Where thing 1 is there too, its feature falls silent if feature 1 absorbs it."""
    rng = np.random.default_rng(seed)
    label, thing, others = rng.random(400) < 0.2, rng.random(400) < 0.3, rng.random((400, 2)) < 0.2
    z = np.zeros((400, 6))
    z[:, 0], z[:, 1], z[:, 2:4] = 3 * label, 3 * thing, others
    table = np.column_stack([3.0 * (label & ~(thing & absorbs)), 3.0 * thing, others * 0.1])
    noisy = (z + 0.1 * rng.normal(size=z.shape)).astype(np.float32)
    return A.Side(noisy, sparse(table), labels(label), [f"p{k}" for k in range(400)])


def test_a_feature_absorbed_by_another_is_found() -> None:
    train, held_out = world(0, absorbs=True), world(1, absorbs=True)
    (found,) = A.measure(train, held_out, 4, directions)
    lost = held_out.labels.positive[:, 0] & (held_out.z[:, 1] > 1.5)
    assert found.probe_auroc > 0.99
    assert found.main == (0,)
    assert found.seen == held_out.labels.positive.sum()
    assert found.absorbed == found.missed == lost.sum() > 10
    assert found.absorbers == (1,)


def test_nothing_is_absorbed_where_the_labels_feature_always_fires() -> None:
    (found,) = A.measure(world(0, absorbs=False), world(1, absorbs=False), 4, directions)
    assert found.main == (0,)
    assert (found.missed, found.absorbed, found.rate) == (0, 0, 0.0)
    assert found.absorbers == ()


def test_absorption_by_hand() -> None:
    """Two images with the label on which its feature is silent: one carried by feature 1, one by none.

    On a fourth the probe does not see the label.
    """
    train = world(0, absorbs=False)
    table = np.array([[3.0, 0, 0, 0], [0, 2, 0.5, 0], [0, 0, 1, 1], [0, 2, 0, 0], [0, 0, 0, 1]])
    z = np.zeros((5, 6))
    z[:3, 0] = 3
    held_out = A.Side(z.astype(np.float32), sparse(table), labels(np.array([1, 1, 1, 1, 0], bool)), list("pqrst"))
    (found,) = A.measure(train, held_out, 4, directions)
    assert (found.seen, found.missed, found.absorbed, found.absorbers) == (3, 2, 1, (1,))
    assert found.rate == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("activations", "cosines", "carried_by"),
    [
        ([1.0, 1.0], [0.5, 0.1], 10),
        ([1.0, 1.0], [0.02, 0.01], None),  # not aligned
        ([1.0, 1.0, 1.0], [0.30, 0.29, 0.28], None),  # no one carries two fifths
        ([1.0, 1.0], [-0.5, 0.1], 11),  # what speaks against the label counts for nothing
        ([5.0, 1.0], [0.1, 0.2], 10),  # activation by cosine
        ([1.0], [-0.3], None),
        ([], [], None),
    ],
)
def test_who_carries_a_label(activations: list[float], cosines: list[float], carried_by: int | None) -> None:
    features = np.arange(10, 10 + len(activations))
    table = {int(f): np.array([c]) for f, c in zip(features, cosines, strict=True)}
    assert A.carrier(features, np.array(activations, np.float32), table, 0) == carried_by


def test_no_labels_no_answer() -> None:
    side = world(0, absorbs=False)
    none = Labels((), np.zeros((400, 0), bool), np.zeros((400, 0), bool))
    empty = A.Side(side.z, side.active, none, side.groups)
    assert A.measure(empty, empty, 4, directions) == []
