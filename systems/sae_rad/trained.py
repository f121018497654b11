"""A trained SAE in use: loading it, measuring it, and reading which features fire."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from bench.contracts import Embeddings, Floats
from bench.errors import BenchError
from bench.store import read_json
from systems.sae_rad.checkpoint import read_tensors
from systems.sae_rad.model import SAE

SAE_FILE, TRAINING_FILE, TIME_FILE = "sae.safetensors", "training.json", "training-time.json"

_BLOCK_ELEMENTS = 2**25
"""Elements of a [rows, m] block that is held at once (128 MiB of float32)."""
_PAIR_ELEMENTS = 2**22
"""Elements of a [pairs, n] block of float64 (32 MiB)."""


@dataclass(frozen=True)
class TrainedSAE:
    """An SAE with what belongs to it."""

    sae: SAE
    scale: float
    """z_scaled = z * scale, so that E‖z_scaled‖ = √n over the training set."""
    facts: dict[str, float]
    """What `evaluate` says of the training set, and n, features, n_parameters, n_train, steps, scale; and
    features_per_step, the mean number of features that a step computed with, of trainings that counted it."""
    took: Mapping[str, Any] = field(default_factory=dict)
    """What training took: "seconds" of all its steps, whichever process made them (None where not all were timed), and
    "device"; empty for a training that was not timed at all."""

    @cached_property
    def readout(self) -> Readout:
        """The per-feature constants of `encode`."""
        return Readout.of(self.sae)


@dataclass(frozen=True)
class Readout:
    """Per-feature constants in float64, each [m]."""

    b_enc: Floats
    norms: Floats
    """‖W_dec,i‖."""
    magnitude: Floats | None
    """exp(r_mag); None without a gate."""
    b_mag: Floats | None
    largest_row: float
    """max_i ‖W_enc,i‖."""

    @classmethod
    @torch.no_grad()
    def of(cls, sae: SAE) -> Readout:
        """Take the constants from an SAE."""
        rows, norms = (torch.linalg.vector_norm(w, dim=1, dtype=torch.float64) for w in (sae.W_enc, sae.W_dec))
        return cls(
            b_enc=_float64(sae.b_enc),
            norms=_float64(norms),
            magnitude=np.exp(_float64(sae.r_mag)) if sae.gated else None,
            b_mag=_float64(sae.b_mag) if sae.gated else None,
            largest_row=float(rows.max()),
        )

    def activations(self, a: Floats, features: NDArray[np.intp]) -> Floats:
        """Return h_i·‖W_dec,i‖ >= 0 of the given features, where a_i = W_enc,i·x: all [k]."""
        h = np.maximum(a + self.b_enc[features], 0.0)
        if self.magnitude is not None and self.b_mag is not None:
            h = np.where(h > 0, np.maximum(self.magnitude[features] * a + self.b_mag[features], 0.0), 0.0)
        return np.asarray(h * self.norms[features], dtype=np.float64)


@dataclass(frozen=True)
class Active:
    """The active features of rows, in compressed sparse row form."""

    indptr: NDArray[np.int64]
    """[n_rows + 1]; row k's entries are indptr[k] : indptr[k + 1]."""
    features: NDArray[np.int32]
    """[nnz], ascending within a row."""
    activations: NDArray[np.float32]
    """[nnz], a_i = h_i·‖W_dec,i‖ > 0 in scaled space."""

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def row(self, k: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the feature ids (ascending) and activations of row k."""
        part = slice(self.indptr[k], self.indptr[k + 1])
        return self.features[part], self.activations[part]

    def rows(self) -> NDArray[np.int64]:
        """Return the row of each entry, [nnz]."""
        return np.repeat(np.arange(len(self)), np.diff(self.indptr))

    def spread(self, there: NDArray[np.bool_]) -> Active:
        """Return the same entries over more rows: row k goes to the k-th True of `there`; the others are empty.

        Raises ValueError unless `there` has as many True as there are rows.
        """
        if int(there.sum()) != len(self):
            raise ValueError(f"{int(there.sum())} places for {len(self)} rows")
        counts = np.zeros(len(there), np.int64)
        counts[there] = np.diff(self.indptr)
        return Active(np.concatenate([[0], counts.cumsum()]), self.features, self.activations)

    @classmethod
    def joined(cls, parts: Sequence[Active]) -> Active:
        """Return the rows of all parts, one after the other; no row of no parts."""
        counts = np.concatenate([np.zeros(0, np.int64), *(np.diff(part.indptr) for part in parts)])
        return cls(
            np.concatenate([[0], counts.cumsum()]).astype(np.int64),
            np.concatenate([np.zeros(0, np.int32), *(part.features for part in parts)]),
            np.concatenate([np.zeros(0, np.float32), *(part.activations for part in parts)]),
        )


@contextmanager
def matmul_precision(precision: Literal["float32", "tf32"]) -> Iterator[None]:
    """Hold torch's float32 matrix products at a precision while the block runs."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def load(folder: Path, device: str) -> TrainedSAE:
    """Load what `train` left in a folder. Raises BenchError where there is no finished training, or a broken one."""
    if not (folder / TRAINING_FILE).exists():
        raise BenchError(f"{folder}: no finished SAE training here ({TRAINING_FILE} is missing)")
    about: dict[str, Any] = read_json(folder / TRAINING_FILE)
    recipe, facts = about["recipe"], about["facts"]
    sae = SAE(recipe["architecture"], recipe["n"], recipe["m"])
    try:
        sae.load_state_dict(read_tensors(folder / SAE_FILE)[0])
    except RuntimeError as err:
        raise BenchError(f"{folder / SAE_FILE}: does not fit {TRAINING_FILE} beside it: {err}") from err
    took = read_json(folder / TIME_FILE) if (folder / TIME_FILE).exists() else {}
    return TrainedSAE(sae.to(device).requires_grad_(False), facts["scale"], facts, took)


def check_rows(z: NDArray[Any], n: int | None, what: str) -> None:
    """Raise BenchError unless z is [rows, n] with n >= 1 (n None: of any length)."""
    if z.ndim != 2 or z.shape[1] == 0 or (n is not None and z.shape[1] != n):
        wanted = "[rows, n >= 1]" if n is None else f"[rows, {n}]"
        raise BenchError(f"{what}: embeddings of shape {wanted} were expected, not {list(z.shape)}")


def blocks(z: NDArray[Any], size: int, what: str) -> Iterator[tuple[int, Embeddings]]:
    """Yield (first row, float32 [<= size, n]) over z. Raises BenchError that names rows that are not finite."""
    for start in range(0, len(z), size):
        block = np.ascontiguousarray(z[start : start + size], dtype=np.float32)
        bad = np.flatnonzero(~np.isfinite(block).all(axis=1)) + start
        if len(bad):
            raise BenchError(
                f"{what}: {len(bad)} of rows {start} to {start + len(block) - 1} hold NaN or infinity, first rows "
                f"{bad[:5].tolist()}: leave out images that could not be encoded"
            )
        yield start, block


def _ignore(rows: int) -> None:
    """Count nothing."""


@torch.no_grad()
def evaluate(trained: TrainedSAE, z: NDArray[Any], on_rows: Callable[[int], object] = _ignore) -> dict[str, float]:
    """Measure an SAE over a whole split of embeddings [rows, n], in scaled space.

    Returns L0 (mean number of features with h > 0), mse (mean of ‖z - ẑ‖²), explained_variance (1 - SSE/SST about the
    mean of the whole split; NaN where all rows are equal) and dead_features (never active on any row). `on_rows` is
    told how many rows each block had.
    Raises BenchError on rows of another length, no rows, or rows that are not finite.
    """
    sae, device = trained.sae, trained.sae.b_dec.device
    check_rows(z, sae.n, "evaluating the SAE")
    if not len(z):
        raise BenchError("evaluating the SAE: there are no embeddings")
    total, squares = np.zeros(sae.n), 0.0
    sse, active = 0.0, 0
    alive = torch.zeros(sae.m, dtype=torch.bool, device=device)
    with matmul_precision("float32"):
        for _, block in blocks(z, _block_rows(sae), "evaluating the SAE"):
            x = torch.from_numpy(block).to(device) * trained.scale
            h = sae.h(x)
            sse += float((sae.decode(h) - x).square().sum(dtype=torch.float64))
            fires = h > 0
            active += int(torch.count_nonzero(fires))
            alive |= fires.any(0)
            scaled = block.astype(np.float64) * trained.scale
            total += scaled.sum(0)
            squares += float(np.square(scaled).sum())
            on_rows(len(block))
    sst = squares - float(total @ total) / len(z)
    return {
        "L0": active / len(z),
        "mse": sse / len(z),
        "explained_variance": 1 - sse / sst if sst > 1e-12 * squares else math.nan,
        "dead_features": float(sae.m - int(alive.sum())),
    }


def encode(trained: TrainedSAE, z: NDArray[Any], on_rows: Callable[[int], object] = _ignore) -> Active:
    """Return the active features of embeddings [rows, n] (unscaled), with activations in scaled space.

    Which features fire, and how much, is worked out in float64, one (row, feature) pair at a time, so a row's answer
    is the same alone and in any batch, bit for bit, and does not hang on a device's matrix kernels. A float32 product
    only screens: it leaves out pairs that are below zero by more than its rounding error. `on_rows` is told how many
    rows each block had.
    Raises BenchError on rows of another length or rows that are not finite.
    """
    sae, what = trained.sae, "reading SAE features"
    check_rows(z, sae.n, what)
    counts, features, activations = [np.zeros(1, np.int64)], [], []
    with matmul_precision("float32"):
        for _, block in blocks(z, _block_rows(sae), what):
            x = _centred(trained, block)
            rows, ids = _screen(trained, x)
            values = _exact(trained, x, rows, ids).astype(np.float32)
            fires = values > 0
            counts.append(np.bincount(rows[fires], minlength=len(block)))
            features.append(ids[fires].astype(np.int32))
            activations.append(values[fires])
            on_rows(len(block))
    empty = np.zeros(0, np.int32)
    return Active(
        np.concatenate(counts).cumsum(dtype=np.int64),
        np.concatenate([empty, *features]),
        np.concatenate([empty.astype(np.float32), *activations]),
    )


def _block_rows(sae: SAE) -> int:
    return max(1, _BLOCK_ELEMENTS // max(sae.m, sae.n))


def _float64(tensor: Tensor) -> Floats:
    return tensor.detach().cpu().double().numpy()


def _centred(trained: TrainedSAE, block: Embeddings) -> Floats:
    """Return what W_enc is applied to: float64 [rows, n]."""
    x = block.astype(np.float64) * trained.scale
    return x - _float64(trained.sae.b_dec) if trained.sae.constrained else x


@torch.no_grad()
def _screen(trained: TrainedSAE, x: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return (rows, features), by row then feature, of all pairs whose pre-activation may be above zero.

    A float32 product of length n errs by at most about n·2⁻²⁴·‖w‖·‖x‖ (Cauchy-Schwarz on the usual bound), and the
    bias of a pair near zero is no larger than the product; the slack is four times that.
    """
    sae = trained.sae
    slack = 4 * (sae.n + 2) * 2.0**-24 * trained.readout.largest_row * np.linalg.norm(x, axis=1)
    inputs, floor = (torch.from_numpy(v.astype(np.float32)).to(sae.b_enc.device) for v in (x, -slack))
    pairs = torch.nonzero(F.linear(inputs, sae.W_enc, sae.b_enc) > floor[:, None]).cpu().numpy()
    return pairs[:, 0], pairs[:, 1]


@torch.no_grad()
def _exact(trained: TrainedSAE, x: Floats, rows: NDArray[np.intp], ids: NDArray[np.intp]) -> Floats:
    """Return the activations of pairs, [k]; each depends on its own row and feature only."""
    sae, a = trained.sae, np.zeros(len(rows))
    step = max(1, _PAIR_ELEMENTS // sae.n)
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        weights = _float64(sae.W_enc[torch.from_numpy(ids[part]).to(sae.W_enc.device)])
        a[part] = (weights * x[rows[part]]).sum(axis=1)  # along a contiguous row: its order is fixed by n alone
    return trained.readout.activations(a, ids)
