from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from systems.sae_rad.dictionary import Learnt, Neurons, Projections, untrained  # noqa: E402
from systems.sae_rad.model import build  # noqa: E402
from systems.sae_rad.trained import Active, TrainedSAE  # noqa: E402

RNG = np.random.default_rng(0)


def dense(active: Active, m: int) -> np.ndarray:
    found = np.zeros((len(active), m), np.float32)
    found[active.rows(), active.features] = active.activations
    return found


def largest(values: np.ndarray, k: int) -> np.ndarray:
    """Keep the k largest positive values of each row, by brute force; equals by index."""
    kept = np.zeros_like(values)
    for row, line in enumerate(values):
        for i in sorted(range(len(line)), key=lambda i: (-line[i], i))[:k]:
            kept[row, i] = max(line[i], 0)
    return kept


def test_untrained_is_the_sae_before_its_first_step_with_its_largest_features() -> None:
    z = RNG.normal(size=(50, 8)).astype(np.float32)
    dictionary = untrained(8, 32, 1.7, 5, seed=3)
    sae = build("sae-rad", 8, 32, torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = largest(sae.activations(torch.from_numpy(z) * 1.7).numpy(), 5)
    np.testing.assert_allclose(dense(dictionary.encode(z), 32), expected, rtol=1e-5, atol=1e-6)
    assert (np.diff(dictionary.encode(z).indptr) == 5).all()


def test_a_row_is_the_same_alone_and_in_a_batch() -> None:
    z = RNG.normal(size=(40, 8)).astype(np.float32)
    for dictionary in (untrained(8, 64, 1.0, 7, seed=0), Neurons.of(z, 3)):
        whole = dictionary.encode(z)
        for k in range(len(z)):
            for one, two in zip(dictionary.encode(z[k : k + 1]).row(0), whole.row(k), strict=True):
                assert one.tobytes() == two.tobytes()


def test_fewer_positive_projections_than_kept() -> None:
    dictionary = Projections(np.eye(4, dtype=np.float32), 1.0, 3)
    active = dictionary.encode(np.array([[1, -1, 0, -2], [1, 1, 1, 1]], np.float32))
    assert [part.tolist() for part in active.row(0)] == [[0], [1.0]]
    assert [part.tolist() for part in active.row(1)] == [[0, 1, 2], [1.0, 1.0, 1.0]]  # equals by feature number


def test_neurons_are_standardised_and_have_two_sides() -> None:
    z = RNG.normal(2.0, 3.0, size=(200, 6)).astype(np.float32)
    z[:, 5] = 1.0  # never varies
    neurons = Neurons.of(z, 2)
    x = (z.astype(np.float64) - z.astype(np.float64).mean(0)) / np.where(z.std(0) > 0, z.astype(np.float64).std(0), 1)
    expected = largest(np.concatenate([x, -x], axis=1), 2)
    np.testing.assert_allclose(dense(neurons.encode(z), 12), expected, rtol=1e-6, atol=1e-7)
    assert neurons.m == 12


def test_directions_are_unit_and_raise_their_own_feature() -> None:
    z = RNG.normal(size=(100, 6)).astype(np.float32)
    neurons, fixed = Neurons.of(z, 6), untrained(6, 20, 1.0, 20, seed=1)
    sae = build("sae-rad", 6, 20, torch.Generator().manual_seed(1))
    with torch.no_grad():
        sae.W_dec.mul_(3.0)
    learnt = Learnt(TrainedSAE(sae, 1.0, {}))
    for dictionary, ids in ((neurons, [0, 5, 6, 11]), (fixed, [0, 19]), (learnt, [0, 19])):
        directions = dictionary.directions(ids)
        np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
        for feature, direction in zip(ids, directions, strict=True):
            there = dense(dictionary.encode((10 * direction[None]).astype(np.float32)), dictionary.m)[0]
            assert there[feature] > 0
    np.testing.assert_allclose(learnt.directions([4]), fixed.directions([4]), atol=1e-6)


def test_spread_and_joined() -> None:
    part = Active(np.array([0, 2, 3]), np.array([1, 4, 0], np.int32), np.array([1, 2, 3], np.float32))
    there = np.array([False, True, False, True])
    spread = part.spread(there)
    assert [spread.row(k)[0].tolist() for k in range(4)] == [[], [1, 4], [], [0]]
    assert spread.rows().tolist() == [1, 1, 3]
    with pytest.raises(ValueError, match="1 places for 2 rows"):
        part.spread(np.array([True, False]))
    both = Active.joined([part, spread])
    assert both.indptr.tolist() == [0, 2, 3, 3, 5, 5, 6]
    assert both.activations.tolist() == [1, 2, 3, 1, 2, 3]
