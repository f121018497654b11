"""Options of the sparse autoencoder and its training; imports nothing heavy.

Defaults are the paper's ("An X-Ray Is Worth 15 Features", sections 5.1, B.1, B.3).
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from bench.options import Options

Architecture = Literal["sae-rad", "standard", "gated", "conerly"]

BOOKKEEPING = frozenset({"checkpoint_every_s"})
"""Fields of `SAEOptions` that move no number: left out of fingerprints."""


class SAEOptions(Options):
    """The sparse autoencoder (SAE) and how it is trained."""

    architecture: Architecture = "sae-rad"
    """sae-rad: eq. 8-9. standard: eq. 1-3 (Bricken et al. 2023). gated: eq. 4-5 (Rajamanoharan et al. 2024).
    conerly: eq. 6-7 (Conerly et al. 2024)."""
    expansion: int = Field(64, ge=1, le=4096)
    """Features per embedding dimension: m = expansion * n."""
    steps: int = Field(200_000, ge=1)
    """Optimiser steps."""
    batch_size: int = Field(2048, ge=1)
    """Embeddings a step; a training set that holds fewer is taken whole at every step."""
    lr: float = Field(5e-5, gt=0, le=1)
    """Peak learning rate of Adam."""
    sparsity: float = Field(8e-3, ge=0)
    """Peak λ, the weight of the sparsity penalty; see `squared_error` for its unit. The paper's: 8e-3 for sae-rad,
    5.3e-3 for conerly."""
    squared_error: Literal["sum", "mean"] = "mean"
    """The squared error that λ is weighed against: summed over the n dimensions, as eq. 3-9 are written, or their mean;
    "mean" with λ trains as "sum" with n·λ. The paper's λ fit its L0 of 12 to 28 with "mean" only: on the demo's
    embeddings (n = 768) λ = 8e-3 leaves 459 features active with "sum" and 11 with "mean"."""
    lr_warmup: float = Field(0.01, ge=0, le=1)
    """Fraction of the steps over which the learning rate rises linearly to `lr`."""
    lr_decay: float = Field(0.2, ge=0, le=1)
    """Fraction of the steps, the last ones, over which the learning rate falls linearly to zero."""
    sparsity_warmup: float = Field(0.05, ge=0, le=1)
    """Fraction of the steps over which λ rises linearly to `sparsity`."""
    beta1: float = Field(0.9, ge=0, lt=1)
    """Decay of Adam's mean of gradients."""
    beta2: float = Field(0.999, ge=0, lt=1)
    """Decay of Adam's mean of squared gradients."""
    precision: Literal["float32", "tf32"] = "float32"
    """Matrix products in training: IEEE float32, or TensorFloat-32 on NVIDIA GPUs that have it. Weights, Adam and
    everything after training stay float32."""
    log_every: int = Field(100, ge=1, le=100_000)
    """Steps between two points of the training curve."""
    checkpoint_every_s: float = Field(60.0, ge=0)
    """Seconds between two checkpoints (three times the model's size on disk); 0: after every step."""

    @model_validator(mode="after")
    def _schedule_fits(self) -> Self:
        if self.lr_warmup + self.lr_decay > 1:
            raise ValueError(f"lr_warmup={self.lr_warmup} and lr_decay={self.lr_decay} add up to more than 1")
        return self
