from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bench.contracts import Case, Image
from bench.errors import BenchError
from systems.sae_rad import features
from systems.sae_rad.features import TopImages, Triples, owners, top_images


def pairs_of(dense: np.ndarray, rows: int) -> Iterator[Triples]:
    """The active pairs of a dense matrix [n_images, n_features], `rows` images a chunk."""
    for start in range(0, len(dense), rows):
        r, f = np.nonzero(dense[start : start + rows])
        yield r + start, f, dense[start : start + rows][r, f].astype(np.float32)


def by_hand(dense: np.ndarray, k: int, owner: np.ndarray) -> list[list[int]]:
    """The same by sorting whole columns."""
    found = []
    for column in dense.T:
        seen: dict[int, int] = {}
        for row in sorted(np.flatnonzero(column), key=lambda row: (-column[row], row)):
            seen.setdefault(int(owner[row]), int(row))
        found.append(list(seen.values())[:k])
    return found


@pytest.mark.parametrize("distinct", [1, 3, 10])
@pytest.mark.parametrize(("chunk", "merge_at"), [(1, 1), (7, 40), (1000, 10**6)])
def test_equals_sorting_the_dense_matrix(
    monkeypatch: pytest.MonkeyPatch, distinct: int, chunk: int, merge_at: int
) -> None:
    monkeypatch.setattr(features, "MERGE_AT", merge_at)
    rng = np.random.default_rng(distinct)
    dense = np.round(rng.random((120, 23)), 1) * (rng.random((120, 23)) < 0.4)  # many ties
    dense[:, 5] = 0
    owner = rng.permutation(120) // distinct
    top = top_images(pairs_of(dense, chunk), 23, 4, owner)
    for feature, rows in enumerate(by_hand(dense, 4, owner)):
        found, activations = top.of(feature)
        assert found.tolist() == rows
        np.testing.assert_array_equal(activations, dense[rows, feature].astype(np.float32))
    assert top.counts.tolist() == np.count_nonzero(dense, axis=0).tolist()


def test_no_active_pair_at_all() -> None:
    top = top_images(pairs_of(np.zeros((4, 3)), 2), 3, 2, np.arange(4))
    assert [len(top.of(feature)[0]) for feature in range(3)] == [0, 0, 0]


def case(name: str, patient: str, study: str | None) -> Case:
    return Case(name, patient, (Image(Path(name), "AP"),), study=study)


STUDIES = [("p1", "s1"), ("p1", "s1"), ("p1", "s2"), ("p2", "s1"), ("p2", None), ("p2", None)]
IMAGES = [case(name, *study) for name, study in zip("abcdef", STUDIES, strict=True)]


@pytest.mark.parametrize(
    ("distinct", "expected"),
    [
        ("image", ["d", "b", "a", "e", "c", "f"]),  # activations .9 .8 .7 .6 .5 .4
        ("study", ["d", "b", "e", "c", "f"]),  # a is of b's study; e and f have none and stand alone
        ("patient", ["d", "b"]),
    ],
)
def test_what_may_be_among_the_top_once_only(distinct: features.Distinct, expected: list[str]) -> None:
    dense = np.array([[0.7], [0.8], [0.5], [0.9], [0.6], [0.4]])
    top = top_images(pairs_of(dense, 2), 1, 6, owners(IMAGES, distinct))
    assert [IMAGES[row].id for row in top.of(0)[0]] == expected


def test_saved_and_read_again(tmp_path: Path) -> None:
    dense = np.random.default_rng(0).random((9, 4))
    top = top_images(pairs_of(dense, 3), 4, 3, np.arange(9))
    top.save(tmp_path / "top.npz")
    again = TopImages.load(tmp_path / "top.npz")
    for name in ("rows", "activations", "counts"):
        np.testing.assert_array_equal(getattr(top, name), getattr(again, name))
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["top.npz"]


def test_nothing_half_written_where_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(features.np, "savez", full)
    with pytest.raises(OSError, match=r"No space left.*top\.npz"):
        top_images(pairs_of(np.ones((2, 2)), 2), 2, 1, np.arange(2)).save(tmp_path / "top.npz")
    assert not [file for file in tmp_path.iterdir() if file.is_file()]


@pytest.mark.parametrize("length", [0, 200, 900])
def test_a_damaged_index_is_named(tmp_path: Path, length: int) -> None:
    path = tmp_path / "top.npz"
    table = np.arange(200, dtype=np.int64).reshape(20, 10)
    TopImages(table, table.astype(np.float32), table[:, 0]).save(path)
    assert TopImages.load(path).rows.tolist() == table.tolist()
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(BenchError, match=r"top.npz: damaged .* delete it"):
        TopImages.load(path)
