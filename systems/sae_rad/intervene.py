"""Interventions on features, and what they do to a re-encoded embedding (paper: section 5.3, appendix D, eq. 13-14).

``do(i, β)`` sets feature i of an embedding's code to β and leaves all other entries alone. The paper decodes the edited
code into z̃ and adds δ, the autoencoder's error on z; with δ = z - ẑ (not ẑ - z, which would give 2ẑ - z with nothing
edited) setting a feature to the value it has returns z. The decoder is linear, so that

    z̃ + δ = (ẑ + (β - h_i)·W_dec,i) + (z - ẑ) = z + (β - h_i)·W_dec,i ,

divided by the scale outside scaled space. An intervention is thus a step along one decoder direction. Whether the
encoder reads that step as β in feature i, and as nothing in any other, is what `measure` asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.contracts import Embeddings, Floats
from bench.errors import BenchError
from systems.sae_rad.trained import Active, TrainedSAE, blocks, check_rows, encode

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_WHAT = "intervening on features"
_STILL = 1e-6
"""A step of β - h_i smaller than this share of the larger of the two moves nothing, and is not measured."""


# ------------------------------------------------------------------ do(i, β)


def do(trained: TrainedSAE, z: NDArray[Any], feature: int, beta: float | Floats) -> Embeddings:
    """Return z̃ + δ: embeddings [rows, n] (unscaled) with one feature set to β (eq. 13-14).

    β is in units of h, one number or one a row, and never negative, as h is not. A row whose feature has that value
    already is returned as it is, bit for bit; `code` tells the value. Worked out in float64, a row on its own.
    Raises BenchError on a feature or β that cannot be, and on rows of another length or that are not finite.
    """
    rows = _rows(trained, z)
    step = _targets(trained, feature, beta, len(rows)) - code(trained, rows, feature)
    return _stepped(trained, rows, step[:, None] * _direction(trained, feature))


def code(trained: TrainedSAE, z: NDArray[Any], feature: int) -> Floats:
    """Return h_i >= 0 of embeddings [rows, n] (unscaled) for one feature, float64 [rows]: what `do` counts β in."""
    check_feature(trained, feature)
    sae, norm = trained.sae, trained.readout.norms[feature]
    x = _rows(trained, z).astype(np.float64) * trained.scale
    if sae.constrained:
        x = x - _float64(sae.b_dec)
    a = (_float64(sae.W_enc[feature]) * x).sum(axis=1)
    activations = trained.readout.activations(a, np.full(len(x), feature))
    return np.asarray(activations / norm if norm > 0 else np.zeros(len(x)))


def gain(trained: TrainedSAE, feature: int) -> float:
    """Return W_mag,i·W_dec,i: by how much h_i, where it is above zero, answers a step of one along its own direction.

    1 is perfect. (W_mag = exp(r_mag) times the gate's row; without a gate it is W_enc.)
    """
    check_feature(trained, feature)
    along = float(_float64(trained.sae.W_enc[feature]) @ _direction(trained, feature))
    magnitude = trained.readout.magnitude
    return along if magnitude is None else along * float(magnitude[feature])


def check_feature(trained: TrainedSAE, feature: int) -> None:
    """Raise BenchError unless there is such a feature."""
    if not 0 <= feature < trained.sae.m:
        raise BenchError(f"feature {feature}: the autoencoder has features 0 to {trained.sae.m - 1:,}")


def _targets(trained: TrainedSAE, feature: int, beta: float | Floats, n_rows: int) -> Floats:
    """Return β of each row."""
    check_feature(trained, feature)
    target = np.asarray(beta, np.float64)
    if target.shape not in ((), (n_rows,)):
        raise BenchError(f"{_WHAT}: β is one number or one a row ({n_rows}), not of shape {list(target.shape)}")
    if not (np.isfinite(target) & (target >= 0)).all():
        raise BenchError(f"{_WHAT}: β must be finite and not negative (h is a ReLU's), not {float(target.min()):g}")
    return np.broadcast_to(target, (n_rows,))


def _rows(trained: TrainedSAE, z: NDArray[Any]) -> Embeddings:
    """Return embeddings as float32 [rows, n], checked."""
    check_rows(z, trained.sae.n, _WHAT)
    found = [block for _, block in blocks(z, max(1, len(z)), _WHAT)]
    return found[0] if found else np.zeros((0, trained.sae.n), np.float32)


def _stepped(trained: TrainedSAE, z: Embeddings, step: Floats) -> Embeddings:
    """Return z moved by steps [rows, n] of scaled space."""
    return (z.astype(np.float64) + step / trained.scale).astype(np.float32)


def _direction(trained: TrainedSAE, feature: int) -> Floats:
    return _float64(trained.sae.W_dec[feature])


def _float64(tensor: torch.Tensor) -> Floats:
    return np.asarray(tensor.detach().cpu().double().numpy())


# ------------------------------------------------------------------ how one code differs from another


@dataclass(frozen=True)
class Change:
    """How the activations of two embeddings differ, row by row; a feature apart from all others."""

    own: Floats
    """|Δa_i| of the feature, [rows]."""
    others: Floats
    """Σ_{j≠i} |Δa_j|, [rows]."""
    switched_on: Floats
    """Other features at zero before and above zero after, [rows]."""
    switched_off: Floats
    """Other features above zero before and at zero after, [rows]."""
    same: Floats
    """Of all features active in either, the share active in both, [rows]; 1 where none is active."""

    @property
    def share(self) -> Floats:
        """The feature's share of all change, in [0, 1]; NaN where nothing changed."""
        return _ratio(self.own, self.own + self.others)


def change(before: Active, after: Active, feature: int) -> Change:
    """Compare the activations of as many rows before and after."""
    width = 1 + max((int(a.features.max(initial=0)) for a in (before, after)), default=0)
    width = max(width, feature + 1)
    keys, a, b = _aligned(before, after, width)
    rows, n = keys // width, len(before)
    mine = keys % width == feature

    def total(values: NDArray[Any]) -> Floats:
        return np.asarray(np.bincount(rows, weights=values, minlength=n), np.float64)

    moved = np.abs(b - a)
    return Change(
        own=total(moved * mine),
        others=total(moved * ~mine),
        switched_on=total((a == 0) & (b > 0) & ~mine),
        switched_off=total((a > 0) & (b == 0) & ~mine),
        same=np.nan_to_num(_ratio(total((a > 0) & (b > 0)), total(np.ones(len(keys)))), nan=1.0),
    )


def _aligned(before: Active, after: Active, width: int) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Return keys row * width + feature of all that is active in either, and the two activations of each."""
    codes = [(active.rows() * width + active.features, active.activations) for active in (before, after)]
    keys = np.union1d(*(key for key, _ in codes))
    found = [np.zeros(len(keys)), np.zeros(len(keys))]
    for values, (key, activations) in zip(found, codes, strict=True):
        values[np.searchsorted(keys, key)] = activations
    return keys, found[0], found[1]


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Return part / whole; NaN where the whole is zero."""
    return np.asarray(np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole != 0))


# ------------------------------------------------------------------ the three tests


@dataclass(frozen=True)
class Control:
    """The same step, as long, along a direction that is not the feature's: each [rows]."""

    moved: Floats
    """|change of h_i| over |β - h_i|, >= 0: 0 is perfect, and |`reached`| what the feature's own direction does."""
    side: Floats
    """Σ_{j≠i} |Δa_j| over the length of the step, >= 0: what any step of that length does to the other features."""
    switched: Floats
    """Other features switched on or off."""


@dataclass(frozen=True)
class Effects:
    """What do(i, β) did to embeddings, re-encoded; each [rows]. Rows that have β already are left out of all."""

    on: NDArray[np.bool_]
    """Whether the feature was active before."""
    reached: Floats
    """Effectiveness: (h_i(z̃) - h_i(z)) / (β - h_i(z)). 1 is perfect, 0 no effect, above 1 too much."""
    missed: Floats
    """Effectiveness: |h_i(z̃) - β| in units of h, >= 0; 0 is perfect."""
    share: Floats
    """Only it moves: |Δa_i| over Σ_j |Δa_j|, in [0, 1]; 1 is perfect. NaN where nothing changed."""
    side: Floats
    """Only it moves: Σ_{j≠i} |Δa_j| over the change |β - h_i|·‖W_dec,i‖ that was asked for; 0 is perfect."""
    switched_on: Floats
    """Only it moves: other features switched on; 0 is perfect."""
    switched_off: Floats
    """Only it moves: other features switched off; 0 is perfect."""
    active: Floats
    """Features active before, to judge the two counts by."""
    returned: Floats
    """Reversibility: 1 - ‖z' - z‖/‖z̃ - z‖ with z' = do(i, h_i(z)) of z̃; 1 is perfect, 0 as far off as before."""
    returned_code: Floats
    """Reversibility: 1 - Σ_j |a_j(z') - a_j(z)| / Σ_j |a_j(z̃) - a_j(z)|; 1 is perfect. NaN where nothing changed."""
    same: Floats
    """Reversibility: of the features active on z or z', the share active on both; 1 is perfect."""
    residue: Floats
    """Reversibility: h_i of do(i, 0) of z̃, over β; 0 is perfect. NaN for β = 0."""
    random: Control
    """Steps along random unit vectors, one a row."""
    other: Control | None
    """Steps along the decoder directions of other features, one a row; None where there is no other."""


def measure(
    trained: TrainedSAE,
    z: NDArray[Any],
    feature: int,
    beta: float | Floats,
    *,
    seed: int = 0,
    others: Sequence[int] | NDArray[Any] = (),
) -> Effects:
    """Set a feature of embeddings [rows, n] (unscaled) to β, encode the result again, and say what moved.

    The effect of a step along W_dec,i is known beforehand up to the thresholds: each pre-activation j moves by
    W_enc,j·W_dec,i times the step. Where row i's own product, times the gate's exp(r_mag), is not 1 (`gain`), the
    feature does not arrive at β; where another's is not 0, that feature moves with it, and by crossing its threshold
    goes on or off.

    Taking the edit back uses nothing but the edited embedding: h_i is read from z̃, and one more step sets it to what it
    was on z. It leaves (β - h_i(z̃))·W_dec,i, so that `returned` = 1 - |1 - reached|; `returned_code` and `same` say
    what that remainder does to the code. The paper's cycle, do(i, 0) after do(i, β), leaves the same remainder beside
    do(i, 0) of z; `residue` says whether the feature is off after it.

    `others` are the features whose directions serve as a control. `seed` and the feature choose controls, so that a
    feature's numbers do not depend on which were measured before. Raises BenchError as `do` does.
    """
    rows = _rows(trained, z)
    target, before = _targets(trained, feature, beta, len(rows)), code(trained, rows, feature)
    moves = np.abs(target - before) > _STILL * np.maximum(target, before)
    rows, target, before = rows[moves], target[moves], before[moves]
    step, length = target - before, (target - before) * trained.readout.norms[feature]
    edited = do(trained, rows, feature, target)
    back = do(trained, edited, feature, before)
    sham = [_stepped(trained, rows, length[:, None] * u) for u in _sham(trained, len(rows), feature, seed, others)]
    found = [rows, edited, back, *sham]
    codes = _split(encode(trained, np.concatenate(found)), len(found))
    moved, left = change(codes[0], codes[1], feature), change(codes[0], codes[2], feature)
    after = [code(trained, e, feature) for e in found]
    controls = [
        _control(change(codes[0], codes[k], feature), np.abs((after[k] - before) / step), np.abs(length))
        for k in range(3, len(found))
    ]
    return Effects(
        on=before > 0,
        reached=(after[1] - before) / step,
        missed=np.abs(after[1] - target),
        share=moved.share,
        side=_ratio(moved.others, np.abs(length)),
        switched_on=moved.switched_on,
        switched_off=moved.switched_off,
        active=np.diff(codes[0].indptr).astype(np.float64),
        returned=1 - _ratio(_distance(back, rows), _distance(edited, rows)),
        returned_code=1 - _ratio(left.own + left.others, moved.own + moved.others),
        same=left.same,
        residue=_ratio(code(trained, do(trained, edited, feature, 0.0), feature), target),
        random=controls[0],
        other=controls[1] if len(controls) > 1 else None,
    )


def _distance(a: Embeddings, b: Embeddings) -> Floats:
    return np.asarray(np.linalg.norm(a.astype(np.float64) - b, axis=1))


def _control(changed: Change, moved: Floats, length: Floats) -> Control:
    return Control(moved, _ratio(changed.others, length), changed.switched_on + changed.switched_off)


def _sham(
    trained: TrainedSAE, n_rows: int, feature: int, seed: int, others: Sequence[int] | NDArray[Any]
) -> list[Floats]:
    """Return unit vectors of the controls, each [n_rows, n]: random ones, and decoder directions drawn from `others`.

    The latter are left out where there is no other feature with a direction.
    """
    stream = np.random.default_rng([seed, feature])
    random = stream.standard_normal((n_rows, trained.sae.n))
    found = [np.asarray(random / np.linalg.norm(random, axis=1, keepdims=True))]
    known, norms = np.asarray(others, np.int64), trained.readout.norms
    usable = known[(known != feature) & (norms[known] > 0)]
    if len(usable):
        drawn = stream.choice(usable, n_rows)
        weights = _float64(trained.sae.W_dec[torch.as_tensor(drawn, device=trained.sae.W_dec.device)])
        found.append(np.asarray(weights / norms[drawn][:, None]))
    return found


def _split(active: Active, parts: int) -> list[Active]:
    """Return the rows in equal parts."""
    size = len(active) // parts
    found = []
    for part in range(parts):
        indptr = active.indptr[part * size : (part + 1) * size + 1]
        entries = slice(indptr[0], indptr[-1])
        found.append(Active(indptr - indptr[0], active.features[entries], active.activations[entries]))
    return found


# ------------------------------------------------------------------ in few numbers


def summary(effects: Effects) -> dict[str, Any]:
    """Return, for each measure, {"n", "mean", "q05", "q25", "median", "q75", "q95"} over rows; None without a row.

    `reached_on` and `reached_off` are `reached` on the rows where the feature was active before, and where not; the
    controls' are one level down, under "random" and "other".
    """
    found: dict[str, Any] = {}
    for name in (field.name for field in fields(effects)):
        value = getattr(effects, name)
        if isinstance(value, Control):
            found[name] = {inner.name: spread(getattr(value, inner.name)) for inner in fields(value)}
        elif name != "on":
            found[name] = None if value is None else spread(value)
    parts = {"reached_on": effects.reached[effects.on], "reached_off": effects.reached[~effects.on]}
    return found | {name: spread(value) for name, value in parts.items()}


def spread(values: Floats) -> dict[str, float] | None:
    """Return number, mean and quantiles of what is not NaN; None where all is."""
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    names = ("q05", "q25", "median", "q75", "q95")
    quantiles = np.quantile(known, QUANTILES)
    return {"n": len(known), "mean": float(known.mean()), **dict(zip(names, quantiles.tolist(), strict=True))}


def rows_of(active: Active, feature: int, most: int, seed: int, *, off: bool = True) -> NDArray[np.intp]:
    """Return at most `most` rows to measure a feature on, ascending: half with it on, half with it off.

    Where fewer than half are on, all of them are taken; without `off` only rows where it is on. Drawn with the seed and
    the feature.
    """
    stream = np.random.default_rng([seed, feature, len(active)])
    there = np.zeros(len(active), bool)
    there[active.rows()[active.features == feature]] = True
    on, rest = np.flatnonzero(there), np.flatnonzero(~there)
    n_on = min(len(on), most - most // 2 if off else most)
    n_off = min(len(rest), most // 2) if off else 0
    return np.sort(np.concatenate([stream.permutation(on)[:n_on], stream.permutation(rest)[:n_off]]))
