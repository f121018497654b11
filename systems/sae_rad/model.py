"""The sparse autoencoder of SAE-Rad and its three comparators, as one module.

Symbols are the paper's: n is the length of an embedding z, m the number of features, h the code, ẑ the reconstruction.
The paper's W_dec is [n, m] with a feature a column; here it is kept transposed, [m, n], so that a feature's direction
is one contiguous row. All inputs are in scaled space (E‖z‖ = √n, appendix B.3).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from systems.sae_rad.options import Architecture

_GATED = frozenset({"gated", "sae-rad"})
_CONSTRAINED = frozenset({"standard", "gated"})
_MOST = 0.6
"""Share of firing features above which picking them out costs more than it saves."""


class Parts(NamedTuple):
    """What a loss is made of: means over the batch, detached."""

    mse: Tensor
    """‖z - ẑ(h)‖², summed over dimensions: scalar."""
    penalty: Tensor
    """The sparsity penalty before λ: scalar."""
    aux: Tensor
    """‖z - ẑ(ReLU(π))‖²; 0 without a gate: scalar."""
    h: Tensor
    """The code of the features that were looked at, [batch, <= m]; 0 for the others."""

    def l0(self) -> float:
        """Return the mean number of active features of the batch."""
        return int(torch.count_nonzero(self.h)) / len(self.h)


class _Rows(NamedTuple):
    """Weights of some features, k of them, or of all."""

    W_enc: Tensor
    """[k, n]."""
    b_enc: Tensor
    W_dec: Tensor
    """[k, n]."""
    r_mag: Tensor | None
    b_mag: Tensor | None


class SAE(nn.Module):
    """A sparse autoencoder over embeddings of length n with m features.

    Two choices make the four architectures. *Gated* (gated, sae-rad): a gate decides which features fire and a
    magnitude path, with rows exp(r_mag) times the gate's, how much; a second reconstruction from the gate's
    pre-activations is an auxiliary loss. *Constrained* (standard, gated): the input is centred on b_dec, decoder
    directions have unit norm, and the auxiliary loss sees a frozen decoder; otherwise decoder norms are free and weigh
    the penalty, and the auxiliary loss trains the decoder too (the paper's four differences, end of section 4.1).

    Parameters: W_enc [m, n] (with a gate: W_gate), b_enc [m] (b_gate), W_dec [m, n], b_dec [n]; with a gate also
    r_mag [m] and b_mag [m].
    """

    def __init__(self, architecture: Architecture, n: int, m: int) -> None:
        super().__init__()
        self.architecture, self.n, self.m = architecture, n, m
        self.gated = architecture in _GATED
        self.constrained = architecture in _CONSTRAINED
        self.W_enc = nn.Parameter(torch.zeros(m, n))
        self.b_enc = nn.Parameter(torch.zeros(m))
        self.W_dec = nn.Parameter(torch.zeros(m, n))
        self.b_dec = nn.Parameter(torch.zeros(n))
        if self.gated:
            self.r_mag = nn.Parameter(torch.zeros(m))
            self.b_mag = nn.Parameter(torch.zeros(m))

    def _rows(self, features: Tensor | None = None) -> _Rows:
        """Return the weights of features (indices [k]), or of all."""

        def pick(w: Tensor) -> Tensor:
            return w if features is None else w.index_select(0, features)

        gate = (pick(self.r_mag), pick(self.b_mag)) if self.gated else (None, None)
        return _Rows(pick(self.W_enc), pick(self.b_enc), pick(self.W_dec), *gate)

    def _centred(self, z: Tensor) -> Tensor:
        return z - self.b_dec if self.constrained else z

    def h(self, z: Tensor) -> Tensor:
        """Return the code [batch, m] >= 0 of embeddings [batch, n] (eq. 1, 4, 6 or 8)."""
        return _fire(self._centred(z), self._rows())[0]

    def decoder_norms(self) -> Tensor:
        """Return ‖W_dec,i‖ of each feature: [m]."""
        norms: Tensor = torch.linalg.vector_norm(self.W_dec, dim=1)
        return norms

    def activations(self, z: Tensor) -> Tensor:
        """Return feature activations h_i·‖W_dec,i‖ [batch, m] of embeddings [batch, n] (eq. 10)."""
        return self.h(z) * self.decoder_norms()

    def decode(self, h: Tensor) -> Tensor:
        """Return reconstructions [batch, n] of codes [batch, m] (eq. 2)."""
        return torch.addmm(self.b_dec, h, self.W_dec)

    def loss(self, z: Tensor, sparsity: float) -> tuple[Tensor, Parts]:
        """Return the training loss of embeddings [batch, n] and its parts (eq. 3, 5, 7 or 9), means over the batch.

        Features that fire on no row of the batch add nothing to the loss and have gradient zero, so that only the
        others are computed with: once the code is sparse, one of eight matrix products is left in full.
        """
        x = self._centred(z)
        rows = self._rows(self._firing(x))
        h, fired = _fire(x, rows)
        mse = self._error(z, h, rows.W_dec, self.b_dec)
        penalty = self._penalty(fired, rows.W_dec)
        loss = mse + sparsity * penalty
        aux = torch.zeros_like(mse)
        if self.gated:
            decoder = (rows.W_dec, self.b_dec)
            frozen = (rows.W_dec.detach(), self.b_dec.detach())
            aux = self._error(z, fired, *(frozen if self.constrained else decoder))
            loss = loss + aux
        return loss, Parts(mse.detach(), penalty.detach(), aux.detach(), h.detach())

    @torch.no_grad()
    def _firing(self, x: Tensor) -> Tensor | None:
        """Return the indices of features whose pre-activation is above zero on any row, None where most are."""
        silent = (F.linear(x, self.W_enc, self.b_enc) <= 0).all(0)  # a NaN is not silent
        features = torch.nonzero(~silent).squeeze(1)
        return features if len(features) < _MOST * self.m else None

    def _error(self, z: Tensor, h: Tensor, W_dec: Tensor, b_dec: Tensor) -> Tensor:
        return F.mse_loss(torch.addmm(b_dec, h, W_dec), z, reduction="sum") / len(z)

    def _penalty(self, fired: Tensor, W_dec: Tensor) -> Tensor:
        """Return the mean over the batch of Σ_i fired_i (·‖W_dec,i‖ where norms are free)."""
        total = fired.sum(0)  # first over the batch: no weighted copy of [batch, m]
        return (total.sum() if self.constrained else total @ torch.linalg.vector_norm(W_dec, dim=1)) / len(fired)

    @torch.no_grad()
    def project_gradient(self) -> None:
        """Remove from W_dec's gradient what is parallel to W_dec; nothing where norms are free.

        As Bricken et al. (2023): otherwise Adam's moments hold a part that `project_decoder` takes back at once.
        """
        if self.constrained and self.W_dec.grad is not None:
            along = (self.W_dec.grad * self.W_dec).sum(1, keepdim=True)
            self.W_dec.grad.addcmul_(along, self.W_dec, value=-1)

    @torch.no_grad()
    def project_decoder(self) -> None:
        """Give every decoder direction unit norm; nothing where norms are free."""
        if self.constrained:
            self.W_dec.div_(self.decoder_norms().unsqueeze(1))


def _fire(x: Tensor, w: _Rows) -> tuple[Tensor, Tensor]:
    """Return the code h and what the penalty sees, ReLU(π) with a gate and h itself without: both [batch, k].

    x is [batch, n], centred where that is asked for.
    """
    if w.r_mag is None or w.b_mag is None:
        h = F.linear(x, w.W_enc, w.b_enc).relu_()
        return h, h
    a = F.linear(x, w.W_enc)
    gate = a + w.b_enc
    closed = gate <= 0
    # In place from here on: at m = 49,152 and 2,048 rows each [batch, m] costs 400 MB.
    h = torch.addcmul(w.b_mag, a, w.r_mag.exp()).masked_fill_(closed, 0.0).relu_()
    return h, gate.relu_()


def build(architecture: Architecture, n: int, m: int, generator: torch.Generator) -> SAE:
    """Return an SAE at its start: W_enc rows random unit vectors, W_dec its transpose, all else 0 (appendix B.3).

    `generator` is a CPU generator, so that every device starts from the same weights.
    """
    sae = SAE(architecture, n, m)
    directions = F.normalize(torch.randn(m, n, generator=generator), dim=1)
    with torch.no_grad():
        sae.W_enc.copy_(directions)
        sae.W_dec.copy_(directions)
    return sae
