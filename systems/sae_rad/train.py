"""Training the sparse autoencoder on embeddings, with exact resume (appendix B.1 and B.3).

A folder holds, while training, ``checkpoint.safetensors`` (weights, Adam's moments, and what is trained on what) and
``training.jsonl`` (the curve); once done, the curve, ``sae.safetensors``, ``training-time.json`` (what it took, which
differs each time it is done, as nothing else here does) and, written last, ``training.json``.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from bench.contracts import Ticker
from bench.errors import BenchError
from bench.machine import device_name, versions
from bench.store import Appender, json_line, locked, read_json, read_lines, write_json, write_text
from systems.sae_rad.checkpoint import read_tensors, write_tensors
from systems.sae_rad.model import SAE, Parts, build
from systems.sae_rad.options import BOOKKEEPING, SAEOptions
from systems.sae_rad.schedule import lr_at, rows_at, sparsity_at
from systems.sae_rad.trained import (
    SAE_FILE,
    TIME_FILE,
    TRAINING_FILE,
    Active,
    TrainedSAE,
    blocks,
    check_rows,
    encode,
    evaluate,
    load,
    matmul_precision,
)

__all__ = ["Active", "TrainedSAE", "encode", "evaluate", "load", "train"]

CHECKPOINT_FILE, CURVE_FILE = "checkpoint.safetensors", "training.jsonl"
_FORMAT = 1
_MOMENTS = ("exp_avg", "exp_avg_sq")
_SURVEY_ROWS = 8192
_TINY = float(np.finfo(np.float32).tiny)

Progress = Callable[[str, int | None, str], AbstractContextManager[Ticker]]
"""`Context.progress`."""


def train(
    z: NDArray[Any], options: SAEOptions, *, folder: Path, device: str, seed: int, progress: Progress
) -> TrainedSAE:
    """Train an SAE on embeddings [n_train, n] (an array or a memory map; never copied whole), or load it if done.

    Continues from `folder`'s checkpoint: with the same number of threads on one device the result is, bit for bit, that
    of an uninterrupted training. With fewer rows than `options.batch_size` every step takes all of them.
    Raises BenchError on embeddings that are empty, all zero or not finite, on a folder that holds another training
    (saying what differs), and on a loss that is no longer finite (naming the step).
    """
    survey = survey_rows(z)
    recipe = _recipe(options, survey, seed)
    if (done := _finished(folder, recipe, device)) is not None:  # without the lock: shards of a run load at once
        return done
    with locked(folder):
        if (done := _finished(folder, recipe, device)) is not None:
            return done
        with matmul_precision(options.precision):
            state = _fit(_Fit(z, survey.scale, options, seed, recipe, folder, device), progress)
        return _finish(state, z, survey, options, recipe, folder, progress)


def _finished(folder: Path, recipe: Mapping[str, Any], device: str) -> TrainedSAE | None:
    """Return the training that a folder holds, of which the file that is asked for here was written last."""
    if not (folder / TRAINING_FILE).exists():
        return None
    _same_recipe(read_json(folder / TRAINING_FILE)["recipe"], recipe, folder)
    return load(folder, device)


# ------------------------------------------------------------------ what is trained on what


@dataclass(frozen=True)
class Survey:
    """What one pass over the training set tells."""

    n_train: int
    n: int
    scale: float
    """√n / mean ‖z‖."""
    digest: str
    """Of all rows, as float32."""


def survey_rows(z: NDArray[Any]) -> Survey:
    """Read the training set once, checking it. Raises BenchError where it cannot be trained on."""
    what = "training the SAE"
    check_rows(z, None, what)
    if not len(z):
        raise BenchError(f"{what}: there are no embeddings: the training split is empty")
    total, digest = 0.0, hashlib.blake2b(digest_size=16)
    for _, block in blocks(z, _SURVEY_ROWS, what):
        total += float(np.linalg.norm(block.astype(np.float64), axis=1).sum())
        digest.update(block.data)
    if total == 0:
        raise BenchError(f"{what}: all {len(z)} embeddings are zero")
    return Survey(len(z), z.shape[1], math.sqrt(z.shape[1]) * len(z) / total, digest.hexdigest())


def _recipe(options: SAEOptions, survey: Survey, seed: int) -> dict[str, Any]:
    """Return all that the weights depend on, device and thread count apart."""
    return {
        "format": _FORMAT,
        "architecture": options.architecture,
        "n": survey.n,
        "m": options.expansion * survey.n,
        "n_train": survey.n_train,
        "embeddings": survey.digest,
        "seed": seed,
        "options": options.model_dump(exclude=set(BOOKKEEPING)),
    }


def _same_recipe(found: Mapping[str, Any], wanted: Mapping[str, Any], folder: Path) -> None:
    """Raise BenchError that says what differs unless the two are equal."""
    flat = [{**recipe, **recipe.get("options", {}), "options": None} for recipe in (found, wanted)]
    differing = sorted(key for key in flat[0].keys() | flat[1].keys() if flat[0].get(key) != flat[1].get(key))
    if differing:
        lines = [f"  {key}: {flat[0].get(key)!r} there, {flat[1].get(key)!r} asked for" for key in differing]
        raise BenchError("\n".join([f"{folder}: holds another SAE training; use another folder or delete it", *lines]))


# ------------------------------------------------------------------ the loop


@dataclass(frozen=True)
class _Fit:
    """What one call of `train` works with."""

    z: NDArray[Any]
    scale: float
    options: SAEOptions
    seed: int
    recipe: dict[str, Any]
    folder: Path
    device: str

    def batch(self, step: int) -> Tensor:
        """Return the scaled embeddings of a step, on the device: float32 [batch, n]."""
        rows = rows_at(step, len(self.z), self.options.batch_size, self.seed)
        picked = np.ascontiguousarray(self.z[rows], dtype=np.float32)
        # The product is torch's own memory on every device: aligned alike each time, so kernels round alike.
        return torch.from_numpy(picked).to(self.device) * self.scale


@dataclass
class _State:
    """Model and optimiser after `step` steps."""

    sae: SAE
    adam: torch.optim.Adam
    step: int = 0
    losses: list[Tensor] = field(default_factory=list)
    """Losses since they were last checked: read in bulk, so that a GPU need not be waited for at each step."""
    features: int | None = 0
    """Features that steps computed with, added up over the steps; None where some step's were not counted."""
    seconds: float | None = 0.0
    """What the steps took; None where some step was not timed."""
    devices: list[str] = field(default_factory=list)
    """Names of what took the steps."""

    @classmethod
    def start(cls, fit: _Fit) -> _State:
        """Return the state before the first step."""
        generator = torch.Generator().manual_seed(fit.seed)
        sae = build(fit.options.architecture, fit.recipe["n"], fit.recipe["m"], generator).to(fit.device)
        adam = torch.optim.Adam(
            sae.parameters(),
            lr=fit.options.lr,
            betas=(fit.options.beta1, fit.options.beta2),
            fused=torch.device(fit.device).type in ("cpu", "cuda") or None,  # 6-9 times faster than the default on CPU
        )
        return cls(sae, adam)

    def advance(self, fit: _Fit) -> Parts:
        """Take one step and return the parts of its loss, as they were before it."""
        for group in self.adam.param_groups:
            group["lr"] = lr_at(self.step, fit.options)
        loss, parts = self.sae.loss(fit.batch(self.step), _weight(self.step, fit))
        self.adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.sae.project_gradient()
        self.adam.step()
        self.sae.project_decoder()
        self.losses.append(loss.detach())
        if self.features is not None:
            self.features += parts.h.shape[1]
        self.step += 1
        return parts

    def drop_denormals(self) -> None:
        """Set moments below float32's normal range to 0.

        Those of features that stay silent decay into it and never leave, and many CPUs handle it slowly. By hand, since
        ``torch.set_flush_denormal`` reaches only the calling thread, so that results would depend on who computes what.
        """
        for moments in self.adam.state.values():
            for name in _MOMENTS:
                moments[name].copy_(F.hardshrink(moments[name], _TINY))

    def tensors(self) -> dict[str, Tensor]:
        """Return weights and moments by name."""
        named = dict(self.sae.named_parameters())
        moments = {f"{m}.{name}": self.adam.state[p][m] for name, p in named.items() for m in _MOMENTS}
        return {name: p.detach() for name, p in named.items()} | moments

    def about(self) -> dict[str, Any]:
        """Return what is no tensor."""
        return {"step": self.step, "features": self.features, "seconds": self.seconds, "devices": self.devices}

    def restore(self, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
        """Become the state that `tensors` and `about` were taken of."""
        step = about["step"]
        for name, p in self.sae.named_parameters():
            p.data.copy_(tensors[name])
            moments = {m: tensors[f"{m}.{name}"].to(p.device, copy=True) for m in _MOMENTS}
            self.adam.state[p] = {"step": torch.tensor(float(step), device=p.device), **moments}
        self.step, self.features, self.seconds = step, about.get("features"), about.get("seconds")
        self.devices = list(about.get("devices", ()))


@dataclass
class _Watch:
    """Adds the time since it last looked to a state's seconds."""

    state: _State
    looked: float = field(default_factory=lambda: time.monotonic())

    def look(self) -> float:
        """Bring the state's seconds up to now, which is returned."""
        now = time.monotonic()
        if self.state.seconds is not None:
            self.state.seconds += now - self.looked
        self.looked = now
        return now


def _weight(step: int, fit: _Fit) -> float:
    """Return λ of a step against the summed squared error."""
    return sparsity_at(step, fit.options) * (fit.recipe["n"] if fit.options.squared_error == "mean" else 1)


def _fit(fit: _Fit, progress: Progress) -> _State:
    """Take all steps that are still to be taken, leaving a checkpoint after the last."""
    state = _State.start(fit)
    _resume(state, fit)
    state.devices = list(dict.fromkeys([*state.devices, device_name(fit.device)]))
    watch = _Watch(state)
    saved = watch.looked
    steps, every = fit.options.steps, fit.options.log_every
    title = f"Training the SAE ({fit.options.architecture}, {fit.recipe['m']} features)"
    with progress(title, steps, "steps") as bar, Appender(fit.folder / CURVE_FILE) as curve:
        bar.advance(state.step)
        while state.step < steps:
            parts = state.advance(fit)
            if state.step % every == 0 or state.step == steps:
                _check_losses(state, fit)
                state.drop_denormals()
                curve.write(point := _point(state, parts, fit))
                bar.note(f"loss {point['loss']:.4g}, L0 {point['L0']:.3g}")
            if time.monotonic() - saved >= fit.options.checkpoint_every_s or state.step == steps:
                _check_losses(state, fit)  # a GPU has done the steps by then
                watch.look()
                _save(state, fit)
                saved = time.monotonic()
            bar.advance()
    return state


def _point(state: _State, parts: Parts, fit: _Fit) -> dict[str, float]:
    """Return a point of the curve: the batch of the step just taken, before its update."""
    step = state.step - 1
    weight = _weight(step, fit)
    mse, penalty, aux = float(parts.mse), float(parts.penalty), float(parts.aux)
    return {
        "step": state.step,
        "loss": mse + weight * penalty + aux,
        "mse": mse,
        "aux": aux,
        "penalty": penalty,
        "L0": parts.l0(),
        "lr": lr_at(step, fit.options),
        "sparsity": sparsity_at(step, fit.options),
    }


def _check_losses(state: _State, fit: _Fit) -> None:
    """Raise BenchError that names the first step whose loss is not finite."""
    if not state.losses:
        return
    bad = torch.nonzero(~torch.isfinite(torch.stack(state.losses)))
    if len(bad):
        step = state.step - len(state.losses) + int(bad[0])
        raise BenchError(
            f"{fit.folder}: the SAE's loss was no longer finite at step {step + 1} of {fit.options.steps} (learning "
            f"rate {lr_at(step, fit.options):.3g}): lower sae.lr (now {fit.options.lr:g}) or raise sae.lr_warmup"
        )
    state.losses.clear()


def _save(state: _State, fit: _Fit) -> None:
    write_tensors(fit.folder / CHECKPOINT_FILE, state.tensors(), {"recipe": fit.recipe, **state.about()})


def _resume(state: _State, fit: _Fit) -> None:
    """Take up the checkpoint, if there is one, and cut the curve back to it."""
    path = fit.folder / CHECKPOINT_FILE
    if path.exists():
        tensors, about = read_tensors(path)
        _same_recipe(about["recipe"], fit.recipe, fit.folder)
        state.restore(tensors, about)
    curve = fit.folder / CURVE_FILE
    kept = [line for line in read_lines(curve) if line["step"] <= state.step]
    write_text(curve, "".join(json_line(line) for line in kept))


def _finish(
    state: _State,
    z: NDArray[Any],
    survey: Survey,
    options: SAEOptions,
    recipe: dict[str, Any],
    folder: Path,
    progress: Progress,
) -> TrainedSAE:
    """Measure the SAE on its training set, write it, and only then remove the checkpoint."""
    sae = state.sae.requires_grad_(False)
    with progress("Measuring the SAE", len(z), "embeddings") as bar:
        measured = evaluate(TrainedSAE(sae, survey.scale, {}), z, bar.advance)
    facts = {name: value for name, value in measured.items() if math.isfinite(value)} | {
        "n": float(sae.n),
        "features": float(sae.m),
        "n_parameters": float(sum(p.numel() for p in sae.parameters())),
        "n_train": float(survey.n_train),
        "steps": float(options.steps),
        "scale": survey.scale,
    }
    if state.features is not None:
        facts["features_per_step"] = state.features / options.steps
    took = {"device": " and ".join(state.devices), "seconds": state.seconds}
    write_json(folder / TIME_FILE, took)
    write_tensors(folder / SAE_FILE, sae.state_dict(), {"architecture": sae.architecture, "scale": survey.scale})
    machine = {"device": str(sae.b_dec.device), "threads": torch.get_num_threads(), "versions": versions()}
    write_json(folder / TRAINING_FILE, {"recipe": recipe, "facts": facts, "machine": machine})
    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)
    return TrainedSAE(sae, survey.scale, facts, took)
