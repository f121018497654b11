from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from systems.sae_rad.evidence import monosemanticity as S
from systems.sae_rad.evidence.columns import Columns

pytest.importorskip("torch")
from systems.sae_rad.trained import Active


def columns(table: np.ndarray) -> Columns:
    there = table > 0
    indptr = np.concatenate([[0], there.sum(1).cumsum()]).astype(np.int64)
    active = Active(indptr, np.nonzero(there)[1].astype(np.int32), table[there].astype(np.float32))
    return Columns.of(active, table.shape[1])


def pair_by_pair(activations: np.ndarray, embeddings: np.ndarray, owner: np.ndarray) -> float:
    """The published definition, read off: activations scaled to [0, 1], cosine over all pairs."""
    a = (activations - activations.min()) / max(activations.max() - activations.min(), 1e-300)
    top = bottom = 0.0
    for i, j in combinations(range(len(a)), 2):
        if owner[i] == owner[j]:
            continue
        one, two = embeddings[i], embeddings[j]
        top += a[i] * a[j] * (one @ two) / (np.linalg.norm(one) * np.linalg.norm(two))
        bottom += a[i] * a[j]
    return top / bottom if bottom else np.nan


@pytest.mark.parametrize("patients", [25, 7])
def test_equal_to_the_sum_over_pairs(patients: int) -> None:
    rng = np.random.default_rng(0)
    table = (rng.gamma(2, 1, (25, 30)) * (rng.random((25, 30)) < rng.random(30))).astype(np.float32)
    table[:, 1] = rng.uniform(1, 2, 25)  # active on every image: its lowest counts as 0
    table[:, 2] = 0
    table[1:, 3], table[0, 3] = 0, 1
    table[:, 4] = 1.5  # the same everywhere: no range to scale
    embeddings = rng.normal(size=(25, 6)) + 1
    owner = rng.permutation(25) % patients
    found = S.scores(columns(table), S.unit_rows(embeddings), None if patients == 25 else owner)
    expected = [pair_by_pair(column.astype(np.float64), embeddings, owner) for column in table.T]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert np.isnan(found[[2, 3, 4]]).all()
    assert np.isfinite(found).sum() > 20


def test_blocks_move_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    table, embeddings = rng.random((12, 11)) * (rng.random((12, 11)) < 0.5), rng.normal(size=(12, 4))
    whole = S.scores(columns(table), S.unit_rows(embeddings))
    monkeypatch.setattr(S, "_BLOCK", 3)
    np.testing.assert_allclose(S.scores(columns(table), S.unit_rows(embeddings)), whole, equal_nan=True)


def test_a_feature_of_one_kind_of_image_scores_high_and_a_shuffled_one_does_not() -> None:
    rng = np.random.default_rng(2)
    kind = rng.integers(0, 4, 200)
    embeddings = np.eye(4)[kind] + 0.05 * rng.normal(size=(200, 4))
    table = np.eye(4)[kind] * rng.uniform(0.5, 1, (200, 1))
    units = S.unit_rows(embeddings)
    real = S.mean_of_alive(S.scores(columns(table), units))
    control = S.mean_of_alive(S.scores(columns(table), units[rng.permutation(200)]))
    assert real is not None
    assert control is not None
    assert real > 0.95
    assert control < 0.4


def test_rows() -> None:
    rows = S.unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
    assert rows.tolist() == [[0.6, 0.8], [0.0, 0.0]]
    assert S.unit_rows(np.array([[1.0, 5.0], [3.0, 5.0]]), centred=True).tolist() == [[-1, 0], [1, 0]]
    assert S.mean_of_alive(np.array([np.nan])) is None
