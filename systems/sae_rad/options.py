"""Options of SAE-Rad; imports nothing heavy.

Defaults are the paper's ("An X-Ray Is Worth 15 Features", sections 5.1, B.1, B.3).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from bench.options import Options
from systems.sae_rad.features import Distinct

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
    steps: int = Field(200_000, ge=1, le=1_000_000_000)
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


class DescribeOptions(Options):
    """How a feature gets its description."""

    by: Literal["consensus", "llm"] = "consensus"
    """consensus: sentences that the feature's reports agree on, no language model (appendix F); llm: appendix B.4."""
    llm: str | None = None
    """The language model, "backend/model" or a label of `llms`; for `by: llm` only."""
    template: Path | None = None
    """A prompt of your own (docs/sae-rad-prompts.md); None: ours. For `by: llm` only."""
    max_tokens: int = Field(2048, ge=16)
    """Most tokens of an answer, reasoning included; for `by: llm` only."""
    max_failed: float = Field(0.05, ge=0, le=1)
    """Share of the features asked about at once that a language model may leave without a description; above it the run
    stops and says why."""
    images: int = Field(10, ge=1, le=100)
    """Training images of highest activation whose reports are read (paper: 10)."""
    distinct: Distinct = "image"
    """What may be among them once only: the image (the paper says no more), the study or the patient."""
    sentences: int = Field(2, ge=1, le=10)
    """Most sentences of a consensus description."""
    further: float = Field(0.6, gt=0, le=1)
    """A second sentence must score this share of the first's."""
    least: float = Field(0.0, ge=0)
    """Standard errors by which a sentence's support must exceed its base rate; a feature without such a sentence stays
    without a description."""

    @model_validator(mode="after")
    def _llm_where_used(self) -> Self:
        _check_llm(self)
        return self


class ComposeOptions(Options):
    """How the descriptions of an image's active features become a report."""

    by: Literal["concat", "llm"] = "concat"
    """concat: the descriptions joined, repeats and contradictions left out (appendix F); llm: appendix B.5."""
    llm: str | None = None
    """The language model, "backend/model" or a label of `llms`; for `by: llm` only."""
    template: Path | None = None
    """A prompt of your own (docs/sae-rad-prompts.md); None: ours. For `by: llm` only."""
    max_tokens: int = Field(2048, ge=16)
    """Most tokens of an answer, a model's thinking included; for `by: llm` only."""
    threshold: float = Field(0.0, ge=0)
    """τ of eq. 10, in scaled embedding space: a feature counts as active above it."""
    context: tuple[Literal["indication", "priors"], ...] = ()
    """What a language model is told beside the features; for `by: llm` only."""
    priors: int = Field(3, ge=1)
    """Most earlier reports told, the latest first (paper: 3); for a context with priors only."""
    max_sentences: int = Field(6, ge=1, le=50)
    """Most sentences of a report (appendix B.5 asks for no more than 5 to 6)."""
    share: float = Field(0.0, ge=0, le=1)
    """A sentence of `concat` that weighs less than this share of the report's heaviest is left out."""
    order: Literal["importance", "report"] = "report"
    """Sentences of `concat` by importance, or in the order that training reports usually have."""

    @model_validator(mode="after")
    def _llm_where_used(self) -> Self:
        if self.by == "concat" and self.context:
            raise ValueError("context is read by a language model only: set by: llm, or leave context out")
        if len(set(self.context)) < len(self.context):
            raise ValueError("context names something twice")
        _check_llm(self)
        return self


def _check_llm(options: DescribeOptions | ComposeOptions) -> None:
    if options.by == "llm" and not options.llm:
        raise ValueError("by: llm needs llm: backend/model")
    for name in ("llm", "template"):
        if options.by != "llm" and getattr(options, name):
            raise ValueError(f"{name} is not read with by: {options.by}: set by: llm, or leave {name} out")


class SAERadOptions(Options):
    """Options of the system sae-rad."""

    encoder: str = "rad-dino"
    """Image encoder whose embeddings the autoencoder is trained on."""
    sae: SAEOptions = Field(default_factory=lambda: SAEOptions.model_validate({}))
    """The sparse autoencoder and its training."""
    describe: DescribeOptions = Field(default_factory=lambda: DescribeOptions.model_validate({}))
    """How a feature gets its description."""
    compose: ComposeOptions = Field(default_factory=lambda: ComposeOptions.model_validate({}))
    """How descriptions become a report."""
