"""SAE training: schedules, data order, exact resume after a kill, measures of a whole split, and reading features."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bench.errors import BenchError
from systems.sae_rad import checkpoint, trained
from systems.sae_rad import train as training
from systems.sae_rad.model import SAE, build
from systems.sae_rad.options import SAEOptions
from systems.sae_rad.schedule import lr_at, rows_at, sparsity_at
from systems.sae_rad.train import TrainedSAE, encode, evaluate, load, train

SMALL: dict[str, Any] = {
    "squared_error": "sum",
    "expansion": 4,
    "steps": 40,
    "batch_size": 16,
    "lr": 3e-3,
    "sparsity": 0.2,
    "log_every": 8,
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Bars:
    """Stands in for `Context.progress` and keeps what it was told."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}
        self.totals: dict[str, int | None] = {}
        self.notes: list[str] = []

    @contextmanager
    def __call__(self, title: str, total: int | None, unit: str = "") -> Iterator[Any]:
        self.totals[title] = total
        bars = self

        class Bar:
            def advance(self, n: int = 1) -> None:
                bars.done[title] = bars.done.get(title, 0) + n

            def note(self, text: str) -> None:
                bars.notes.append(text)

        yield Bar()


def embeddings(rows: int = 50, n: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(1.0, 2.0, (rows, n)).astype(np.float32)


def fit(folder: Path, z: np.ndarray, seed: int = 0, **options: Any) -> TrainedSAE:
    chosen = SAEOptions(**{**SMALL, **options})
    return train(z, chosen, folder=folder, device="cpu", seed=seed, progress=Bars())


def planted(rows: int, n: int, atoms: int, active: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings that are sparse positive sums of unit directions, and the directions [atoms, n]."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(atoms, n))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    code = np.zeros((rows, atoms))
    for row in code:
        row[rng.choice(atoms, active, replace=False)] = rng.uniform(0.5, 1.5, active)
    return (code @ directions + 0.01 * rng.normal(size=(rows, n))).astype(np.float32), directions


def by_hand(architecture: Any = "sae-rad", n: int = 24, m: int = 96, scale: float = 0.7) -> TrainedSAE:
    """An SAE with nothing at its starting value."""
    g = torch.Generator().manual_seed(5)
    sae = build(architecture, n, m, g)
    with torch.no_grad():
        for name, p in sae.named_parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=g) - (0.4 if name == "b_enc" else 0))
    return TrainedSAE(sae.requires_grad_(False), scale, {})


# ------------------------------------------------------------------ schedules and order


@pytest.mark.parametrize(
    ("step", "lr", "sparsity"),
    [
        (0, 0.1, 0.02),
        (4, 0.5, 0.1),
        (9, 1.0, 0.2),
        (10, 1.0, 0.22),
        (49, 1.0, 1.0),
        (500, 1.0, 1.0),
        (800, 1.0, 1.0),
        (801, 0.995, 1.0),
        (900, 0.5, 1.0),
        (999, 0.005, 1.0),
    ],
)
def test_schedule_of_a_thousand_steps(step: int, lr: float, sparsity: float) -> None:
    options = SAEOptions(steps=1000, lr=2e-4, sparsity=3e-3)
    assert lr_at(step, options) == pytest.approx(2e-4 * lr, rel=1e-12)
    assert sparsity_at(step, options) == pytest.approx(3e-3 * sparsity, rel=1e-12)


def test_schedule_without_ramps_is_constant() -> None:
    options = SAEOptions(steps=5, lr_warmup=0, lr_decay=0, sparsity_warmup=0)
    assert {lr_at(t, options) for t in range(5)} == {options.lr}
    assert {sparsity_at(t, options) for t in range(5)} == {options.sparsity}


def test_options_refuse_a_schedule_that_does_not_fit() -> None:
    with pytest.raises(ValidationError, match="add up to more than 1"):
        SAEOptions(lr_warmup=0.5, lr_decay=0.6)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 80), st.integers(-3, 2**40))
def test_every_row_is_used_once_an_epoch(n_rows: int, batch_size: int, seed: int) -> None:
    size = min(n_rows, batch_size)
    batches = [rows_at(step, n_rows, batch_size, seed) for step in range(3 * n_rows)]
    assert all(len(rows) == size and (np.diff(rows) >= 0).all() for rows in batches)
    counts = np.zeros(n_rows, int)
    for done, rows in enumerate(batches, 1):
        np.add.at(counts, rows, 1)
        assert counts.max() - counts.min() <= (1 if done * size % n_rows else 0) + (size > n_rows)


def test_order_depends_on_seed_and_epoch() -> None:
    def epoch(first: int, seed: int) -> list[list[int]]:
        return [rows_at(step, 40, 10, seed).tolist() for step in range(first, first + 4)]

    assert epoch(0, 0) == epoch(0, 0)
    assert epoch(0, 0) != epoch(0, 1)
    assert epoch(0, 0) != epoch(4, 0)


def test_fewer_rows_than_a_batch_are_taken_whole() -> None:
    assert rows_at(3, 5, 2048, 0).tolist() == [0, 1, 2, 3, 4]


# ------------------------------------------------------------------ training


def test_scale_makes_the_mean_norm_root_n(tmp_path: Path) -> None:
    z = np.array([[1, 0, 0, 0], [0, 0, 3, 0], [0, 2, 0, 0]], np.float32)  # mean norm 2, √4 = 2
    assert fit(tmp_path, z).scale == pytest.approx(1.0, rel=1e-15)
    assert fit(tmp_path / "b", z * 5).scale == pytest.approx(0.2, rel=1e-15)


@pytest.mark.parametrize("architecture", ["standard", "gated", "conerly", "sae-rad"])
def test_training_recovers_planted_directions(tmp_path: Path, architecture: str) -> None:
    z, directions = planted(rows=1000, n=16, atoms=24, active=2)
    penalty = {"standard": 2.0, "conerly": 2.0}.get(architecture, 3.0)
    done = fit(
        tmp_path, z, architecture=architecture, expansion=3, steps=600, batch_size=100, lr=8e-3, sparsity=penalty
    )

    def mmcs(found: torch.Tensor) -> float:
        rows = torch.nn.functional.normalize(found.double(), dim=1).numpy()
        return float((directions @ rows.T).max(axis=1).mean())

    start = build("sae-rad", 16, 48, torch.Generator().manual_seed(0))
    assert mmcs(start.W_dec.detach()) < 0.7
    assert mmcs(done.sae.W_dec) > 0.93
    assert 1 < done.facts["L0"] < 5
    assert done.facts["explained_variance"] > (0.8 if architecture in ("standard", "conerly") else 0.88)  # shrinkage


def test_first_steps_are_adams(tmp_path: Path) -> None:
    """Three steps against Adam written out in float64 on gradients by autograd."""
    z = embeddings(rows=8, n=4)
    done = fit(tmp_path, z, steps=3, lr=0.01, sparsity_warmup=1.0, lr_warmup=0.0, lr_decay=0.0, squared_error="mean")
    sae = build("sae-rad", 4, 16, torch.Generator().manual_seed(0)).double()
    x = torch.from_numpy(z).double()
    x *= 2 / x.norm(dim=1).mean()
    m, v = ([torch.zeros_like(p) for p in sae.parameters()] for _ in range(2))
    for t in (1, 2, 3):
        loss, _ = sae.loss(x, 4 * 0.2 * t / 3)
        gradients = torch.autograd.grad(loss, list(sae.parameters()))
        with torch.no_grad():
            for p, g, mean, square in zip(sae.parameters(), gradients, m, v, strict=True):
                mean.mul_(0.9).add_(g, alpha=0.1)
                square.mul_(0.999).add_(g * g, alpha=0.001)
                p -= 0.01 * (mean / (1 - 0.9**t)) / ((square / (1 - 0.999**t)).sqrt() + 1e-8)
    for name, p in sae.named_parameters():
        np.testing.assert_allclose(done.sae.get_parameter(name), p.detach(), atol=2e-5, err_msg=name)


def test_facts_and_files(tmp_path: Path) -> None:
    z, bars = embeddings(), Bars()
    done = train(z, SAEOptions(**SMALL), folder=tmp_path, device="cpu", seed=0, progress=bars)
    assert {p.name for p in tmp_path.iterdir() if p.is_file()} == {
        ".lock",
        "sae.safetensors",
        "training-time.json",
        "training.json",
        "training.jsonl",
    }
    assert set(bars.totals.values()) == {40, 50}
    assert all(bars.done[title] == total for title, total in bars.totals.items())
    assert len(bars.notes) == 5
    assert done.facts["n_parameters"] == 2 * 48 * 12 + 3 * 48 + 12
    measured = evaluate(done, z)
    assert measured == {name: done.facts[name] for name in measured}
    curve = [json.loads(line) for line in (tmp_path / "training.jsonl").read_text().splitlines()]
    assert [point["step"] for point in curve] == [8, 16, 24, 32, 40]
    assert curve[1]["lr"] == pytest.approx(3e-3)
    assert curve[1]["loss"] == pytest.approx(
        curve[1]["mse"] + curve[1]["aux"] + curve[1]["sparsity"] * curve[1]["penalty"]
    )


def test_second_call_and_load_give_the_same_without_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    z = embeddings()
    first = fit(tmp_path, z)
    monkeypatch.delattr(training._State, "advance")
    for again in (fit(tmp_path, z), fit(tmp_path, z, checkpoint_every_s=1.0), load(tmp_path, "cpu")):
        assert (again.scale, again.facts) == (first.scale, first.facts)
        assert all(torch.equal(p, q) for p, q in zip(first.sae.parameters(), again.sae.parameters(), strict=True))


def test_mean_squared_error_is_sum_with_n_times_lambda(tmp_path: Path) -> None:
    z = embeddings()
    mean = fit(tmp_path / "a", z, squared_error="mean", sparsity=0.01)
    total = fit(tmp_path / "b", z, squared_error="sum", sparsity=0.12)
    for p, q in zip(mean.sae.parameters(), total.sae.parameters(), strict=True):
        torch.testing.assert_close(p, q, atol=1e-5, rtol=1e-4)


def test_memory_map_and_half_precision_train_like_an_array(tmp_path: Path) -> None:
    z = embeddings().astype(np.float16)
    np.save(tmp_path / "z.npy", z)
    mapped = np.load(tmp_path / "z.npy", mmap_mode="r")
    assert fit(tmp_path / "a", mapped).facts == fit(tmp_path / "b", z.astype(np.float32)).facts


@pytest.mark.parametrize(
    ("z", "message"),
    [
        (np.zeros((0, 4), np.float32), "training split is empty"),
        (np.zeros((3, 4), np.float32), "all 3 embeddings are zero"),
        (np.ones(4, np.float32), r"shape \[rows, n >= 1\] were expected, not \[4\]"),
        (np.ones((4, 0), np.float32), r"not \[4, 0\]"),
        (np.where(np.arange(40).reshape(10, 4) == 25, np.nan, 1.0), r"first rows \[6\]"),
        (np.where(np.arange(40).reshape(10, 4) == 25, np.inf, 1.0), "NaN or infinity"),
    ],
)
def test_bad_embeddings_are_refused(tmp_path: Path, z: np.ndarray, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        fit(tmp_path, z)


def test_a_loss_that_is_not_finite_names_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "lr_at", lambda step, options: float("nan") if step == 9 else options.lr)
    with pytest.raises(BenchError, match=r"no longer finite at step 11 of 40 .*lower sae.lr \(now 0.003\)"):
        fit(tmp_path, embeddings(), log_every=20)
    assert not (tmp_path / "training.json").exists()


def test_another_training_in_the_folder_is_refused(tmp_path: Path) -> None:
    z = embeddings()
    fit(tmp_path, z)
    with pytest.raises(BenchError, match=r"(?s)another SAE training.*lr: 0.003 there, 0.004 asked for") as err:
        fit(tmp_path, z, lr=4e-3)
    assert "steps" not in str(err.value)
    with pytest.raises(BenchError, match="seed: 0 there, 1 asked for"):
        fit(tmp_path, z, seed=1)
    with pytest.raises(BenchError, match="embeddings: "):
        fit(tmp_path, z[::-1])


# ------------------------------------------------------------------ exact resume


class Stop(Exception):
    """A cut."""


def stop_after(calls: int, function: Callable[..., Any]) -> Callable[..., Any]:
    left = [calls]

    def wrapped(*args: Any, **named: Any) -> Any:
        if left[0] == 0:
            raise Stop
        left[0] -= 1
        return function(*args, **named)

    return wrapped


def cut_short(monkeypatch: pytest.MonkeyPatch, name: str, after: int, folder: Path, **options: Any) -> None:
    """Train with a checkpoint at every step until `train`'s function `name` is called for the (after + 1)-th time."""
    with monkeypatch.context() as patch:
        patch.setattr(training, name, stop_after(after, getattr(training, name)))
        with pytest.raises(Stop):
            fit(folder, embeddings(), checkpoint_every_s=0, **options)


def results(folder: Path) -> list[bytes]:
    names = ("sae.safetensors", "training.jsonl", "training.json")
    return [(folder / name).read_bytes() for name in names]


@pytest.mark.parametrize("architecture", ["sae-rad", "standard"])
@pytest.mark.parametrize("cuts", [(1,), (17,), (23,), (5, 20, 9)])
def test_resume_is_bit_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str, cuts: tuple[int, ...]
) -> None:
    z = embeddings()
    fit(tmp_path / "whole", z, architecture=architecture, checkpoint_every_s=0)
    for cut in cuts:
        cut_short(monkeypatch, "_save", cut, tmp_path / "cut", architecture=architecture)
    fit(tmp_path / "cut", z, architecture=architecture)
    assert results(tmp_path / "cut") == results(tmp_path / "whole")


def test_resume_takes_no_step_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    z, bars = embeddings(), Bars()
    cut_short(monkeypatch, "_save", 25, tmp_path)
    steps = []
    taken = training._Fit.batch
    monkeypatch.setattr(training._Fit, "batch", lambda self, step: (steps.append(step), taken(self, step))[1])
    train(z, SAEOptions(**SMALL), folder=tmp_path, device="cpu", seed=0, progress=bars)
    assert steps == list(range(25, 40))
    assert max(bars.done.values()) == 50
    assert 40 in bars.done.values()


def test_checkpoints_are_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, saves = [0.0], []
    monkeypatch.setattr(training.time, "monotonic", lambda: now[0])
    taken = training._Fit.batch

    def batch(self: Any, step: int) -> Any:
        now[0] += 3.0
        return taken(self, step)

    monkeypatch.setattr(training._Fit, "batch", batch)
    monkeypatch.setattr(training, "_save", lambda state, fit: saves.append(state.step))
    fit(tmp_path, embeddings(), checkpoint_every_s=30.0)
    assert saves == [10, 20, 30, 40]


def test_checkpoint_of_other_options_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_short(monkeypatch, "_save", 3, tmp_path)
    with pytest.raises(BenchError, match=r"sparsity: 0\.2 there, 0\.3 asked for"):
        fit(tmp_path, embeddings(), sparsity=0.3)


def test_killed_after_the_last_step_only_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    z = embeddings()
    fit(tmp_path / "whole", z)
    cut_short(monkeypatch, "write_json", 0, tmp_path / "cut")
    monkeypatch.delattr(training._State, "advance")
    fit(tmp_path / "cut", z)
    assert results(tmp_path / "cut") == results(tmp_path / "whole")


KILLED = """
import contextlib, os, signal, sys
from pathlib import Path
from unittest.mock import MagicMock
import numpy as np, torch
from systems.sae_rad import checkpoint
from systems.sae_rad.options import SAEOptions
from systems.sae_rad.train import train
torch.set_num_threads(1)
folder = Path(sys.argv[1])
whole, calls = checkpoint.save_file, []
def half(tensors, path, metadata):
    calls.append(path)
    whole(tensors, path, metadata)
    if len(calls) == 14:
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)
checkpoint.save_file = half
options = SAEOptions.model_validate_json(sys.argv[2])
train(np.load(folder / "z.npy"), options, folder=folder, device="cpu", seed=0, progress=MagicMock())
"""


def test_sigkill_while_a_checkpoint_is_written(tmp_path: Path) -> None:
    cut, z = tmp_path / "cut", embeddings()
    cut.mkdir()
    np.save(cut / "z.npy", z)
    options = SAEOptions(**SMALL, checkpoint_every_s=0).model_dump_json()
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(cut), options],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (cut / ".checkpoint.safetensors.part").exists()
    assert checkpoint.read_tensors(cut / "checkpoint.safetensors")[1]["step"] == 13
    fit(cut, z)
    fit(tmp_path / "whole", z)
    assert results(cut) == results(tmp_path / "whole")
    assert not list(cut.glob(".*.part"))


def test_full_disk_keeps_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint.write_tensors(path, {"a": torch.ones(3)}, {"step": 1})

    def full(tensors: Any, part: Path, metadata: Any) -> None:
        part.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(BenchError, match=r"c\.safetensors: cannot be written: .*No space left"):
        checkpoint.write_tensors(path, {"a": torch.zeros(3)}, {"step": 2})
    assert checkpoint.read_tensors(path)[1] == {"step": 1}
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["c.safetensors"]


def test_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no finished SAE training here"):
        load(tmp_path, "cpu")
    fit(tmp_path, embeddings())
    (tmp_path / "sae.safetensors").write_bytes(b"\x80\x04not safetensors")
    with pytest.raises(BenchError, match=r"sae\.safetensors: cannot be read"):
        load(tmp_path, "cpu")
    checkpoint.write_tensors(tmp_path / "sae.safetensors", {"W_enc": torch.zeros(2, 2)}, {})
    with pytest.raises(BenchError, match=r"sae\.safetensors: does not fit"):
        load(tmp_path, "cpu")


def test_silent_features_leave_no_denormals(tmp_path: Path) -> None:
    state = training._State.start(
        training._Fit(embeddings(), 1.0, SAEOptions(**SMALL), 0, {"n": 12, "m": 48}, tmp_path, "cpu")
    )
    state.advance(training._Fit(embeddings(), 1.0, SAEOptions(**SMALL), 0, {"n": 12, "m": 48}, tmp_path, "cpu"))
    moments = state.adam.state[state.sae.W_enc]["exp_avg"]
    moments[0], moments[1], moments[2] = 1e-40, -1e-40, 2e-38
    state.drop_denormals()
    assert [moments[i].abs().max().item() for i in range(2)] == [0, 0]
    assert moments[2].min() == pytest.approx(2e-38, rel=1e-6)


# ------------------------------------------------------------------ measuring


def test_explained_variance_is_of_the_whole_split(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.normal(5, 1, (40, 24)), rng.normal(-5, 1, (40, 24))]).astype(np.float32)
    done = by_hand()
    monkeypatch.setattr(trained, "_BLOCK_ELEMENTS", 96 * 20)  # four blocks, each of one half
    x = z.astype(np.float64) * done.scale
    with torch.no_grad():
        h = done.sae.h(torch.from_numpy(x.astype(np.float32)))
        errors = ((done.sae.decode(h).numpy() - x) ** 2).sum(axis=1)
    whole = 1 - errors.sum() / ((x - x.mean(axis=0)) ** 2).sum()
    by_block = np.mean(
        [1 - e.sum() / ((b - b.mean(0)) ** 2).sum() for b, e in zip(np.split(x, 4), np.split(errors, 4), strict=True)]
    )
    found = evaluate(done, z)
    assert found["explained_variance"] == pytest.approx(whole, rel=1e-6)
    assert abs(whole - by_block) > 1
    assert found["mse"] == pytest.approx(errors.mean(), rel=1e-6)
    assert found["L0"] == pytest.approx((h > 0).sum(1).double().mean().item())
    assert found["dead_features"] == ((h > 0).sum(0) == 0).sum().item()


def test_measures_by_hand() -> None:
    """One feature along the first axis, identity: rows (2, 0), (0, 1), (-3, 0) give h = 2, 0, 0."""
    sae = SAE("conerly", 2, 2)
    with torch.no_grad():
        sae.W_enc[0, 0] = sae.W_dec[0, 0] = 1.0
    found = evaluate(TrainedSAE(sae, 1.0, {}), np.array([[2, 0], [0, 1], [-3, 0]], np.float32))
    # SSE = 0 + 1 + 9; the mean is (-1/3, 1/3): SST = 14 - 3 * 2/9
    assert found == pytest.approx(
        {"L0": 1 / 3, "mse": 10 / 3, "explained_variance": 1 - 10 / (14 - 2 / 3), "dead_features": 1.0}
    )


def test_explained_variance_of_equal_rows_is_undefined(tmp_path: Path) -> None:
    assert np.isnan(evaluate(by_hand(), np.full((9, 24), 0.3, np.float32))["explained_variance"])
    assert "explained_variance" not in fit(tmp_path, np.full((9, 24), 0.3, np.float32)).facts


@pytest.mark.parametrize("shape", [(0, 24), (3, 23), (24,)])
def test_evaluate_refuses(shape: tuple[int, ...]) -> None:
    with pytest.raises(BenchError, match="evaluating the SAE"):
        evaluate(by_hand(), np.ones(shape, np.float32))


# ------------------------------------------------------------------ reading features


@pytest.mark.parametrize("architecture", ["standard", "gated", "conerly", "sae-rad"])
def test_encode_is_the_models_activations(architecture: str) -> None:
    done, z = by_hand(architecture), embeddings(rows=70, n=24)
    with torch.no_grad():
        dense = by_hand(architecture).sae.double().activations(torch.from_numpy(z.astype(np.float64) * 0.7)).numpy()
    active = encode(done, z)
    assert len(active) == 70
    assert 5 < active.indptr[-1] / 70 < 60
    for k, row in enumerate(dense):
        features, values = active.row(k)
        assert features.tolist() == np.flatnonzero(row).tolist()
        np.testing.assert_allclose(values, row[features], rtol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 33, 64, 100])
@pytest.mark.parametrize("architecture", ["sae-rad", "standard"])
def test_encode_is_the_same_alone_or_in_any_batch(architecture: str, size: int) -> None:
    done, z = by_hand(architecture, n=67, m=301), embeddings(rows=101, n=67)
    whole = encode(done, z)
    for start in range(0, len(z), size):
        part = encode(done, z[start : start + size])
        for k in range(len(part)):
            for found, expected in zip(part.row(k), whole.row(start + k), strict=True):
                assert found.tobytes() == expected.tobytes()


def test_encode_does_not_hang_on_block_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    done, z = by_hand(), embeddings(rows=50, n=24)
    whole = encode(done, z)
    monkeypatch.setattr(trained, "_BLOCK_ELEMENTS", 96 * 7)
    monkeypatch.setattr(trained, "_PAIR_ELEMENTS", 24 * 11)
    again = encode(done, z)
    assert (again.indptr == whole.indptr).all()
    assert (again.features == whole.features).all()
    assert again.activations.tobytes() == whole.activations.tobytes()


def test_encode_screens_by_the_rounding_error_only() -> None:
    """A pair above zero in float64 that float32 rounds below is still found, and few others are looked at."""
    rng = np.random.default_rng(0)
    n = 512
    sae = SAE("conerly", n, 400)
    with torch.no_grad():
        sae.W_enc.copy_(torch.from_numpy(rng.normal(size=(400, n))))
        sae.W_dec.fill_(1.0)
        z = rng.normal(size=(1, n)).astype(np.float32)
        exact = sae.W_enc.numpy().astype(np.float64) @ z[0].astype(np.float64)
        sae.b_enc.copy_(torch.from_numpy(-exact))  # rounded to float32: each pair a hair above or below zero
    truth = exact + sae.b_enc.detach().numpy().astype(np.float64) > 0
    rounded = (torch.from_numpy(z) @ sae.W_enc.T + sae.b_enc)[0].detach().numpy() > 0
    assert (truth & ~rounded).any()
    assert encode(TrainedSAE(sae, 1.0, {}), z).features.tolist() == np.flatnonzero(truth).tolist()
    far, others = by_hand("conerly"), embeddings(rows=200, n=24)
    rows, _ = trained._screen(far, others.astype(np.float64) * far.scale)
    assert encode(far, others).indptr[-1] <= len(rows) < 1.01 * encode(far, others).indptr[-1]


def test_encode_of_no_rows_and_of_bad_rows() -> None:
    done = by_hand()
    nothing = encode(done, np.zeros((0, 24), np.float32))
    assert (len(nothing), len(nothing.features), len(nothing.activations)) == (0, 0, 0)
    with pytest.raises(BenchError, match=r"shape \[rows, 24\] were expected, not \[2, 5\]"):
        encode(done, np.ones((2, 5), np.float32))
    with pytest.raises(BenchError, match=r"first rows \[1\]"):
        encode(done, np.array([[1.0] * 24, [np.nan] * 24], np.float32))


def test_training_precision_is_put_back() -> None:
    before = torch.get_float32_matmul_precision()
    with trained.matmul_precision("tf32"):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before
