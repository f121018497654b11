"""The SAE family against a NumPy transcription of eq. 1-9, numbers worked by hand, and its invariants."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch

from systems.sae_rad import model
from systems.sae_rad.model import SAE, build
from systems.sae_rad.options import Architecture

ARCHITECTURES = get_args(Architecture)
GATED = ("gated", "sae-rad")
CONSTRAINED = ("standard", "gated")
LAMBDA = 0.3


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def example(architecture: Architecture, n: int = 5, m: int = 8, rows: int = 6) -> tuple[SAE, torch.Tensor]:
    """An SAE in float64 with nothing at its starting value, and embeddings."""
    g = torch.Generator().manual_seed(7)
    sae = SAE(architecture, n, m).double()
    with torch.no_grad():
        for p in sae.parameters():
            p.copy_(0.6 * torch.randn(p.shape, generator=g, dtype=torch.float64))
    return sae, torch.randn(rows, n, generator=g, dtype=torch.float64)


# ------------------------------------------------------------------ the paper's equations, one row at a time


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def paper_loss(
    architecture: str, X: np.ndarray, p: dict[str, np.ndarray], frozen: dict[str, np.ndarray] | None = None
) -> float:
    """Eq. 3, 5, 7 or 9 with W_dec as in the paper, [n, m]; `frozen` is the fixed decoder copy of eq. 5."""
    W_dec, b_dec = p["W_dec"].T, p["b_dec"]
    losses = []
    for x in X:
        if architecture == "standard":
            h = relu(p["W_enc"] @ (x - b_dec) + p["b_enc"])
            losses.append(np.sum((x - (W_dec @ h + b_dec)) ** 2) + LAMBDA * np.sum(np.abs(h)))
        elif architecture == "conerly":
            h = relu(p["W_enc"] @ x + p["b_enc"])
            norms = np.sqrt((W_dec**2).sum(axis=0))
            losses.append(np.sum((x - (W_dec @ h + b_dec)) ** 2) + LAMBDA * np.sum(h * norms))
        else:
            centred = x - b_dec if architecture == "gated" else x
            W_mag = np.exp(p["r_mag"])[:, None] * p["W_enc"]
            pi = p["W_enc"] @ centred + p["b_enc"]
            h = (pi > 0) * relu(W_mag @ centred + p["b_mag"])
            RA = relu(pi)
            reconstruct = np.sum((x - (W_dec @ h + b_dec)) ** 2)
            if architecture == "gated":
                fixed = frozen or p
                aux = np.sum((x - (fixed["W_dec"].T @ RA + fixed["b_dec"])) ** 2)
                losses.append(reconstruct + LAMBDA * np.sum(RA) + aux)
            else:
                aux = np.sum((x - (W_dec @ RA + b_dec)) ** 2)
                losses.append(reconstruct + LAMBDA * np.sum(RA * np.linalg.norm(W_dec, axis=0)) + aux)
    return float(np.mean(losses))


def parameters(sae: SAE) -> dict[str, np.ndarray]:
    return {name: p.detach().numpy().copy() for name, p in sae.named_parameters()}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_loss_is_the_papers(architecture: Architecture) -> None:
    sae, z = example(architecture)
    loss, parts = sae.loss(z, LAMBDA)
    assert loss.item() == pytest.approx(paper_loss(architecture, z.numpy(), parameters(sae)), rel=1e-13)
    assert loss.item() == pytest.approx((parts.mse + LAMBDA * parts.penalty + parts.aux).item(), rel=1e-13)


@pytest.mark.parametrize("most", [0.0, 2.0], ids=["all features", "firing features"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_are_finite_differences_of_the_papers_loss(
    architecture: Architecture, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "_MOST", most)
    sae, z = example(architecture)
    with torch.no_grad():
        sae.b_enc[1::2] = -100.0
    loss, parts = sae.loss(z, LAMBDA)
    assert 0 < parts.h.shape[1] <= 4 if most else parts.h.shape[1] == 8
    assert parts.l0() == pytest.approx(torch.count_nonzero(sae.h(z)).item() / len(z))
    loss.backward()
    values, step = parameters(sae), 1e-6
    frozen = {name: value.copy() for name, value in values.items()}
    for name, p in sae.named_parameters():
        expected = np.zeros(p.shape)
        for index in np.ndindex(*p.shape):
            kept = values[name][index]
            sides = []
            for sign in (1, -1):
                values[name][index] = kept + sign * step
                sides.append(paper_loss(architecture, z.numpy(), values, frozen))
            values[name][index] = kept
            expected[index] = (sides[0] - sides[1]) / (2 * step)
        assert p.grad is not None
        np.testing.assert_allclose(p.grad.numpy(), expected, rtol=1e-6, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_float32_agrees_with_float64(architecture: Architecture) -> None:
    sae, z = example(architecture, n=40, m=160, rows=30)
    exact = sae.loss(z, LAMBDA)[0].item()
    assert sae.float().loss(z.float(), LAMBDA)[0].item() == pytest.approx(exact, rel=1e-5)


# ------------------------------------------------------------------ n = 2, m = 3, by hand

# z = (1, 2), W_enc·z = (1, 2, 3); centred on b_dec = (½, 0): (½, 2, 2½). Decoder norms 1, 2, 5. λ = ½.
BY_HAND = [
    # architecture, h, reconstruction, activations, loss
    # pre (½, 1, -7½): ẑ exact; ½·(½ + 1)
    ("standard", [0.5, 1.0, 0.0], [1.0, 2.0], [0.5, 2.0, 0.0], 0.75),
    # pre (1, 1, -7): ¼ + ½·(1·1 + 1·2)
    ("conerly", [1.0, 1.0, 0.0], [1.5, 2.0], [1.0, 2.0, 0.0], 1.75),
    # gate (½, 1, -7½), magnitude (1, 2½, 2½): (¼ + 9) + ½·(½ + 1) + aux 0
    ("gated", [1.0, 2.5, 0.0], [1.5, 5.0], [1.0, 5.0, 0.0], 10.0),
    # gate (1, 1, -7), magnitude (2, 2½, 3): (2¼ + 9) + ½·(1·1 + 1·2) + aux ¼
    ("sae-rad", [2.0, 2.5, 0.0], [2.5, 5.0], [2.0, 5.0, 0.0], 13.0),
]


def tiny(architecture: Architecture) -> SAE:
    sae = SAE(architecture, 2, 3).double()
    values = {
        "W_enc": [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]],
        "b_enc": [0.0, -1.0, -10.0],
        "r_mag": [np.log(2.0), 0.0, 0.0],
        "b_mag": [0.0, 0.5, 0.0],
        "W_dec": [[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]],
        "b_dec": [0.5, 0.0],
    }
    with torch.no_grad():
        for name, p in sae.named_parameters():
            p.copy_(torch.tensor(values[name], dtype=torch.float64))
    return sae


@pytest.mark.parametrize(("architecture", "h", "reconstruction", "activations", "loss"), BY_HAND)
def test_tiny_sae_by_hand(
    architecture: Architecture, h: list[float], reconstruction: list[float], activations: list[float], loss: float
) -> None:
    sae, z = tiny(architecture), torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    with torch.no_grad():
        assert sae.h(z)[0].tolist() == pytest.approx(h)
        assert sae.decode(sae.h(z))[0].tolist() == pytest.approx(reconstruction)
        assert sae.activations(z)[0].tolist() == pytest.approx(activations)
        found, parts = sae.loss(z, 0.5)
    assert found.item() == pytest.approx(loss)
    assert parts.l0() == 2


@pytest.mark.parametrize(
    ("b_enc", "b_mag", "h"),
    [(-1.5, 5.0, 0.0), (0.5, -2.0, 0.0), (-1.0, 5.0, 0.0), (0.5, 1.0, 2.0)],
    ids=["closed gate", "open gate, negative magnitude", "gate at zero is closed", "both"],
)
def test_gate_and_magnitude_must_both_be_positive(b_enc: float, b_mag: float, h: float) -> None:
    sae = SAE("sae-rad", 1, 1)
    with torch.no_grad():
        for name, value in {"W_enc": 1.0, "b_enc": b_enc, "b_mag": b_mag, "W_dec": 1.0}.items():
            getattr(sae, name).fill_(value)
    assert sae.h(torch.ones(1, 1)).item() == h


# ------------------------------------------------------------------ the four differences of section 4.1


def decoder_gradient(sae: SAE, loss: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(loss, sae.W_dec, retain_graph=True)[0]


@pytest.mark.parametrize(("architecture", "trains"), [("gated", False), ("sae-rad", True)])
def test_auxiliary_loss_trains_the_decoder_of_sae_rad_only(architecture: Architecture, trains: bool) -> None:
    sae, z = example(architecture)
    whole = decoder_gradient(sae, sae.loss(z, 0.0)[0])
    reconstruction = decoder_gradient(sae, (sae.decode(sae.h(z)) - z).square().sum() / len(z))
    assert torch.allclose(whole, reconstruction) is not trains


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_centring_only_where_constrained(architecture: Architecture) -> None:
    sae, z = example(architecture)
    before = sae.h(z).detach()
    with torch.no_grad():
        sae.b_dec.add_(1.0)
    assert torch.equal(sae.h(z), before) is (architecture not in CONSTRAINED)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_decoder_norms_stay_one_only_where_constrained(architecture: Architecture) -> None:
    sae = build(architecture, 6, 24, torch.Generator().manual_seed(0))
    adam = torch.optim.Adam(sae.parameters(), lr=0.05)
    z = torch.randn(32, 6, generator=torch.Generator().manual_seed(1))
    for _ in range(20):
        adam.zero_grad()
        sae.loss(z, 0.1)[0].backward()
        sae.project_gradient()
        if architecture in CONSTRAINED:
            along = (sae.W_dec.grad * sae.W_dec).sum(1)  # type: ignore[operator]
            assert along.abs().max() < 1e-5
        adam.step()
        sae.project_decoder()
    off = (sae.decoder_norms() - 1).abs().max().item()
    assert off < 1e-6 if architecture in CONSTRAINED else off > 0.05


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_batch_on_which_nothing_fires(architecture: Architecture) -> None:
    sae, z = example(architecture)
    with torch.no_grad():
        sae.b_enc.fill_(-100.0)
    loss, parts = sae.loss(z, LAMBDA)
    loss.backward()
    terms = 2 if architecture in GATED else 1
    assert loss.item() == pytest.approx(terms * (z - sae.b_dec).square().sum(1).mean().item())
    assert parts.l0() == 0
    assert not sae.W_enc.grad.any()  # type: ignore[union-attr]


def test_nan_weights_are_not_taken_for_silent_features() -> None:
    sae, z = example("sae-rad")
    with torch.no_grad():
        sae.b_enc.fill_(-100.0)
        sae.W_enc[3, 1] = torch.nan
    assert sae.loss(z, LAMBDA)[0].isnan()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_loss_is_a_mean_over_rows(architecture: Architecture) -> None:
    sae, z = example(architecture)
    rows = [sae.loss(row[None], LAMBDA)[0].item() for row in z]
    assert sae.loss(z, LAMBDA)[0].item() == pytest.approx(np.mean(rows), rel=1e-12)


# ------------------------------------------------------------------ the start (appendix B.3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_start(architecture: Architecture) -> None:
    sae = build(architecture, 16, 64, torch.Generator().manual_seed(3))
    named = dict(sae.named_parameters())
    weights = [named.pop("W_enc"), named.pop("W_dec")]
    assert torch.equal(*weights)
    assert torch.allclose(weights[0].norm(dim=1), torch.ones(64))
    assert set(named) == {"b_enc", "b_dec"} | ({"r_mag", "b_mag"} if architecture in GATED else set())
    assert all(not p.any() for p in named.values())
    assert weights[0].data_ptr() != weights[1].data_ptr()
    again = build(architecture, 16, 64, torch.Generator().manual_seed(3))
    other = build(architecture, 16, 64, torch.Generator().manual_seed(4))
    assert torch.equal(weights[0], again.W_enc)
    assert not torch.equal(weights[0], other.W_enc)


def test_start_points_in_all_directions() -> None:
    directions = build("sae-rad", 3, 20_000, torch.Generator().manual_seed(0)).W_enc
    assert directions.mean(0).abs().max() < 0.02
    assert (directions.T @ directions / 20_000 - torch.eye(3) / 3).abs().max() < 0.02
