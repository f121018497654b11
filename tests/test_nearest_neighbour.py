from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from bench.context import RunContext
from bench.contracts import Case, Image, Report
from bench.errors import BenchError
from systems import nearest_neighbour as nn
from systems.nearest_neighbour import NearestNeighbour, nearest, products_on

ENCODER = f"{Path(__file__).parent / 'vector_encoder.py'}:VectorEncoder"


@dataclass(frozen=True)
class Training:
    cases: Sequence[Case]
    references: dict[str, str]
    fingerprint: str = "training"


def cases_of(folder: Path, name: str, rows: Sequence[Sequence[float] | str]) -> list[Case]:
    folder.mkdir(exist_ok=True)
    cases = []
    for k, row in enumerate(rows):
        path = folder / f"{name}{k}.txt"
        path.write_text(row if isinstance(row, str) else " ".join(repr(float(x)) for x in row))
        cases.append(Case(f"{name}{k}", f"patient {name}{k}", (Image(path, "AP"),)))
    return cases


def system_on(tmp_path: Path, rows: Sequence[Sequence[float] | str]) -> NearestNeighbour:
    context = RunContext(workdir=tmp_path / "work", cache_root=tmp_path / "cache")
    system = NearestNeighbour(NearestNeighbour.Options(encoder=ENCODER), context)
    cases = cases_of(tmp_path / "train", "t", rows)
    system.prepare(Training(cases, {case.id: f"report of {case.id}" for case in cases}))
    return system


@pytest.mark.parametrize(("n", "k", "d"), [(7, 50, 3), (40, 1000, 17), (1, 1, 1)])
def test_equals_scipy_in_float64(monkeypatch: pytest.MonkeyPatch, n: int, k: int, d: int) -> None:
    monkeypatch.setattr(nn, "TRAIN_ROWS", 64)
    rng = np.random.default_rng(n)
    queries, train = rng.normal(size=(n, d)).astype(np.float32), rng.normal(size=(k, d)).astype(np.float32)
    distances = cdist(queries.astype(float), train.astype(float))
    rows, found = nearest(queries, train, products_on("cpu"))
    assert rows.tolist() == distances.argmin(axis=1).tolist()
    np.testing.assert_allclose(found, distances.min(axis=1), rtol=1e-14)


def test_near_ties_that_float32_cannot_tell_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors far from the origin, whose distances differ less than float32 products resolve."""
    monkeypatch.setattr(nn, "TRAIN_ROWS", 32)
    rng = np.random.default_rng(0)
    base = 100 * rng.normal(size=48)
    queries = (base + 1e-4 * rng.normal(size=(20, 48))).astype(np.float32)
    train = (base + 1e-4 * rng.normal(size=(300, 48))).astype(np.float32)
    distances = cdist(queries.astype(float), train.astype(float))
    product = queries @ train.T
    naive = (np.square(queries).sum(1)[:, None] + np.square(train).sum(1) - 2 * product).argmin(axis=1)
    assert (naive != distances.argmin(axis=1)).any(), "the case is too easy to show anything"
    assert nearest(queries, train, products_on("cpu"))[0].tolist() == distances.argmin(axis=1).tolist()


def test_products_off_by_their_bound_do_not_matter() -> None:
    """Whatever a device's rounding does within its bound, the answer stays: 50 rows are about equally far."""
    rng = np.random.default_rng(1)
    queries = 3 * rng.normal(size=(9, 32))
    steps = rng.normal(size=(9, 50, 32))
    steps /= np.linalg.norm(steps, axis=2, keepdims=True)
    train = (queries[:, None] + steps).reshape(-1, 32).astype(np.float32)
    queries = queries.astype(np.float32)

    def noisy(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        bound = 32 * 2.0**-24 * np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)
        return (a.astype(float) @ b.T.astype(float) + rng.uniform(-1, 1, (len(a), len(b))) * bound).astype(np.float32)

    distances = cdist(queries.astype(float), train.astype(float))
    expected = distances.argmin(axis=1)
    near = np.square(train).sum(axis=1) - 2 * noisy(queries, train)
    assert (near.argmin(axis=1) != expected).any(), "the case is too easy to show anything"
    assert nearest(queries, train, noisy)[0].tolist() == expected.tolist()


def test_equal_distances_go_to_the_first_case(tmp_path: Path) -> None:
    system = system_on(tmp_path, [[9] * 6, [1, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], [-1, 0, 0, 0, 0, 0]])
    (report,) = system.generate(cases_of(tmp_path / "test", "q", [[0] * 6]))
    assert report.text == "report of t1"
    assert [(e.kind, e.label, e.score, e.text) for e in report.evidence] == [("neighbour", "t1", 1.0, report.text)]


def test_a_report_is_the_same_alone_and_in_any_batch(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    system = system_on(tmp_path, rng.normal(size=(60, 6)).tolist())
    cases = cases_of(tmp_path / "test", "q", rng.normal(size=(25, 6)).tolist())
    together = list(system.generate(cases))
    alone = [next(iter(system.generate([case]))) for case in reversed(cases)][::-1]
    assert together == alone
    assert len({report.text for report in together}) > 5


def test_unreadable_images(tmp_path: Path) -> None:
    system = system_on(tmp_path, ["broken", [5] * 6, [0] * 6])
    cases = cases_of(tmp_path / "test", "q", ["broken", [1] * 6])
    bad, good = system.generate(cases)
    assert bad == Report("q0", "", error=f"image file {tmp_path / 'test' / 'q0.txt'}: not a list of numbers")
    assert good.text == "report of t2"
    assert system.facts()["n_train"] == 2
    assert list(system.generate(cases[:1])) == [bad]
    assert list(system.generate([])) == []


def test_no_readable_training_image_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="not one of the training images"):
        system_on(tmp_path, ["broken", "too"])


def test_torch_answers_as_numpy() -> None:
    torch = pytest.importorskip("torch")
    assert torch.get_float32_matmul_precision() == "highest"
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(5, 8)).astype(np.float32), rng.normal(size=(6, 8)).astype(np.float32)
    np.testing.assert_allclose(products_on("cpu:0")(a, b), a @ b.T, rtol=1e-6)
