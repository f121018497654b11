"""What training SAE-Rad's autoencoder and reading it cost, in floating-point operations: pure arithmetic.

Counted are matrix products, at 2 operations a multiply-accumulate. What is done element by element (biases, ReLU,
norms, Adam) is left out, as `torch.utils.flop_counter` leaves it out: against products of length n it is one part in
several hundred.

A product here is one of [batch, n] with [n, k], in any of its three orders: 2·batch·n·k operations. Symbols are the
paper's: n is the length of an embedding, m the number of features. docs/compute.md has the conventions in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from systems.sae_rad.options import Architecture


class Products(NamedTuple):
    """Matrix products of one training step of an architecture."""

    forward: int
    """The encoder's and the decoder's; with a gate the decoder's again for the auxiliary loss."""
    backward: int
    """One for each gradient of a factor: W_enc, then W_dec and code of each decoding.

    Less one where a frozen decoder has no gradient (gated), plus one where the input has (constrained: it is centred
    on b_dec, which is trained).
    """

    @property
    def total(self) -> int:
        """Forward and backward."""
        return self.forward + self.backward


PRODUCTS: Mapping[Architecture, Products] = {
    "sae-rad": Products(3, 1 + 2 + 2),
    "conerly": Products(2, 1 + 2),
    "gated": Products(3, 1 + 2 + 1 + 1),
    "standard": Products(2, 1 + 2 + 1),
}


def product(rows: float, n: float, k: float) -> float:
    """Return the operations of a product of [rows, n] with [n, k]: 2·rows·n·k."""
    return 2.0 * rows * n * k


def forward_flops(n: int, m: int, batch: int, steps: int) -> float:
    """Return training operations counted as the paper does: one encoding and one decoding a step, nothing backward.

    2 · 2·batch·n·m · steps. With n = 768, m = 49,152, batches of 2,048 and 200,000 steps (appendix B.3) that is
    6.18e16, the 60,000 Tera-FLOPs of Table 4 (appendix F); the auxiliary loss's decoding is not among them.
    """
    return 2 * product(batch, n, m) * steps


def dense_flops(architecture: Architecture, n: int, m: int, batch: int, steps: int) -> float:
    """Return training operations of a trainer that computes with all features: P · 2·batch·n·m · steps.

    P is `PRODUCTS` of the architecture, forward and backward, the auxiliary loss included (8 for sae-rad).
    """
    return PRODUCTS[architecture].total * product(batch, n, m) * steps


def step_flops(architecture: Architecture, n: int, m: int, batch: int, steps: int, features: float) -> float:
    """Return training operations of the step of `model.SAE.loss`: 2·batch·n · (m + P·k) · steps.

    k is `features`, the mean over the steps of the number of features that were computed with: one product of all m
    finds those that fire on the batch, all others take only these (or all m, where most fire).
    """
    return (product(batch, n, m) + PRODUCTS[architecture].total * product(batch, n, features)) * steps


def training(
    architecture: Architecture, n: int, m: int, batch: int, steps: int, features: float | None
) -> dict[str, float]:
    """Return train_flops_forward, train_flops_dense and, where `features` is known, train_flops_step."""
    found = {
        "train_flops_forward": forward_flops(n, m, batch, steps),
        "train_flops_dense": dense_flops(architecture, n, m, batch, steps),
    }
    if features is not None:
        found["train_flops_step"] = step_flops(architecture, n, m, batch, steps, features)
    return found


UNTRAINED: Mapping[str, float] = {
    "n_parameters": 0.0,
    "train_flops_forward": 0.0,
    "train_flops_dense": 0.0,
    "train_flops_step": 0.0,
}
"""The same of a control that trains nothing."""


def encoding(encoder: float | None, n_train: int, read: float, exact: float) -> dict[str, float]:
    """Return encoder_flops, train_encode_flops, report_flops and report_flops_step; nothing where `encoder` is unknown.

    encoder: operations of one image's embedding (`flops` of the encoder). read: those of its features as the equations
    are written. exact: what is computed besides (the activations of the features found, once more in float64).
    Nothing goes backward in a report: forward only and dense total are the same number. A language model's operations
    are not among them.
    """
    if encoder is None:
        return {}
    return {
        "encoder_flops": encoder,
        "train_encode_flops": n_train * encoder,
        "report_flops": encoder + read,
        "report_flops_step": encoder + read + exact,
    }
