"""The paper's baseline: the report of the closest training image (appendix B.6)."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bench.contracts import Asset, Case, Context, Embeddings, Evidence, Floats, PlanLine, Report, TrainingSet
from bench.errors import BenchError, missing_package
from bench.options import Options
from systems.readable import finite_rows, unreadable
from systems.sae_rad import compute

METHOD = "nearest-neighbour/1"
TRAIN_ROWS, QUERY_ROWS = 16_384, 512
"""Rows of training images and of queries in one block of distances (32 MiB of float32)."""

Products = Callable[[Embeddings, Embeddings], Embeddings]
"""(a [n, d], b [k, d]) → a·bᵀ [n, k] in float32."""


class NearestNeighbourOptions(Options):
    """Options of the system nearest-neighbour."""

    encoder: str = "rad-dino"
    """Image encoder in whose space distances are measured."""


class NearestNeighbour:
    """The findings of the training image with the closest embedding, word for word (the paper's baseline, B.6).

    The distance is L2 and exact, equal distances go to the first case in the dataset's order.
    """

    Options = NearestNeighbourOptions

    def __init__(self, options: NearestNeighbourOptions, context: Context) -> None:
        self.options, self._context = options, context

    def fingerprint(self) -> str:
        """Return what identifies method and encoder."""
        encoder = self._context.encoder(self.options.encoder).fingerprint()
        return hashlib.sha256(json.dumps([METHOD, encoder]).encode()).hexdigest()[:16]

    def assets(self) -> Sequence[Asset]:
        """Name the encoder to the context; what it needs it says itself."""
        self._context.encoder(self.options.encoder)
        return ()

    def plan(self, train: TrainingSet, cases: Sequence[Case]) -> Sequence[PlanLine]:
        """Return what a run takes, images to encode left to the harness."""
        return [PlanLine("distances", float(len(train.cases)) * len(cases), "pairs")]

    def prepare(self, train: TrainingSet) -> None:
        """Read the training images' embeddings; nothing is learnt."""
        self._train = train
        z = self._context.embeddings(self.options.encoder, train.cases)
        self._rows = np.flatnonzero(finite_rows(z))
        if not len(self._rows):
            raise BenchError("nearest-neighbour: not one of the training images could be read; bench doctor lists them")
        self._z = z if len(self._rows) == len(z) else z[self._rows]

    def generate(self, cases: Sequence[Case]) -> Iterator[Report]:
        """Yield one report a case; a case whose image cannot be read yields an error that names the file."""
        z = self._context.embeddings(self.options.encoder, cases)
        readable = finite_rows(z)
        for start in range(0, len(cases), QUERY_ROWS):
            part = slice(start, start + QUERY_ROWS)
            rows, distances = nearest(z[part][readable[part]], self._z, products_on(self._context.device))
            found = iter(zip(rows, distances, strict=True))
            for case, ok in zip(cases[part], readable[part], strict=True):
                if ok:
                    yield self._report(case, *next(found))
                else:
                    yield unreadable(self._context, self.options.encoder, case)

    def _report(self, case: Case, row: int, distance: float) -> Report:
        neighbour = self._train.cases[self._rows[row]]
        text = self._train.references[neighbour.id]
        return Report(case.id, text, (Evidence("neighbour", neighbour.id, float(distance), text),))

    def facts(self) -> Mapping[str, float]:
        """Return the number of training images searched, the length of an embedding, and operations.

        Nothing is trained; a report takes the image's embedding and its product with those of all training images.
        """
        n_train, dim = self._z.shape
        flops = getattr(self._context.encoder(self.options.encoder), "flops", None)
        encoder = flops() if flops is not None else None
        return {
            "n_train": float(n_train),
            "dim": float(dim),
            **compute.UNTRAINED,
            **compute.encoding(encoder, n_train, compute.product(1, dim, n_train), 0.0),
        }

    def measured(self) -> Mapping[str, float | str]:
        """Return that training takes no time."""
        return {"train_seconds": 0.0}


# ------------------------------------------------------------------ exact search


def nearest(queries: Embeddings, train: Embeddings, products: Products) -> tuple[NDArray[np.int64], Floats]:
    """Return the row of `train` closest to each query, and its L2 distance: int64 [n] and float64 [n].

    Float32 products screen: they only rule out rows that are farther than the closest by more than their rounding
    error. Among the rest distances are worked out in float64 from the differences, one pair at a time, so the answer
    depends neither on the device nor on the other queries; the first of equals wins.
    """
    screen = _Screen(queries, train, products)
    for start in range(0, len(train), TRAIN_ROWS):
        screen.look(start)
    found = [_closest(query, train, rows) for query, rows in zip(queries, screen.candidates(), strict=True)]
    return np.array([row for row, _ in found], np.int64), np.array([distance for _, distance in found], np.float64)


def _closest(query: Embeddings, train: Embeddings, rows: NDArray[np.int64]) -> tuple[int, float]:
    """Return the first of the closest among `rows` (ascending) and its distance."""
    best, least = -1, np.inf
    for start in range(0, len(rows), TRAIN_ROWS):
        part = rows[start : start + TRAIN_ROWS]
        squares = np.square(train[part].astype(np.float64) - query.astype(np.float64)).sum(axis=1)
        if (first := int(squares.argmin())) >= 0 and squares[first] < least:
            best, least = int(part[first]), float(squares[first])
    return best, float(np.sqrt(least))


class _Screen:
    """For each query, the training rows that may be the closest.

    Rows are ranked by ‖x‖² - 2q·x, which is the squared distance less ‖q‖², of embeddings less the training mean
    (shorter vectors, smaller errors). In float32, with unit roundoff u = 2⁻²⁴, the norm and the product of length d err
    by at most about d·u·(‖x‖² + 2‖q‖‖x‖), and rounding the shifted vectors and the sum by a few u·(‖q‖ + ‖x‖)²; `slack`
    is about twice as much.
    """

    def __init__(self, queries: Embeddings, train: Embeddings, products: Products) -> None:
        self._train, self._products = train, products
        self._mean = train[: 4 * TRAIN_ROWS].mean(axis=0, dtype=np.float64).astype(np.float32)
        self._queries = queries - self._mean
        self._norms = np.linalg.norm(self._queries, axis=1)
        self._least = np.full(len(queries), np.inf, np.float32)
        self._kept: list[tuple[NDArray[np.int64], NDArray[np.int64], Embeddings]] = []

    def look(self, start: int) -> None:
        """Keep what may be the closest of the block of rows from `start`."""
        block = self._train[start : start + TRAIN_ROWS] - self._mean
        squares = np.einsum("ij,ij->i", block, block)
        slack = 2 * (block.shape[1] + 16) * 2.0**-24 * np.square(self._norms + np.sqrt(squares.max()))
        near = self._products(self._queries, block)
        near *= -2
        near += squares
        self._least = np.minimum(self._least, near.min(axis=1) + slack)
        queries, rows = np.nonzero(near <= (self._least + slack)[:, None])
        self._kept.append((queries, rows + start, near[queries, rows] - slack[queries]))

    def candidates(self) -> Iterator[NDArray[np.int64]]:
        """Yield for each query the rows, ascending, that are not ruled out."""
        queries, rows, low = (np.concatenate(part) for part in zip(*self._kept, strict=True))
        order = np.lexsort((rows, queries))
        order = order[low[order] <= self._least[queries[order]]]
        ends = np.searchsorted(queries[order], np.arange(len(self._queries) + 1))
        for begin, end in itertools.pairwise(ends):
            yield rows[order[begin:end]]


def products_on(device: str) -> Products:
    """Return how to multiply: NumPy on the CPU, so that the baseline runs without torch; torch on any other device."""
    if device == "cpu":
        return lambda a, b: np.asarray(a @ b.T, np.float32)
    try:
        import torch
    except ModuleNotFoundError:
        raise missing_package(f"nearest-neighbour on {device}", "torch", "sae") from None

    def on_device(a: Embeddings, b: Embeddings) -> Embeddings:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")  # TensorFloat-32 would break the bound on rounding errors
        try:
            left, right = torch.from_numpy(a).to(device), torch.from_numpy(b).to(device)
            return np.asarray((left @ right.T).cpu().numpy(), np.float32)
        finally:
            torch.set_float32_matmul_precision(before)

    return on_device
