"""SAE-Rad: radiology reports from the features of a sparse autoencoder (Abdulaal et al. 2024, sections 4.1-4.2)."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from bench.contracts import Case, Context, Embeddings, Evidence, PlanLine, Report, TrainingSet
from bench.errors import BenchError, Unavailable, missing_package
from bench.options import Options
from bench.store import Appender, read_lines
from systems.readable import finite_rows, unreadable
from systems.sae_rad.compose import ActiveFeature, Composer, Concat
from systems.sae_rad.describe import Consensus, Describer
from systems.sae_rad.features import Distinct, TopImages, Triples, owners, top_images
from systems.sae_rad.options import BOOKKEEPING, SAEOptions
from systems.sae_rad.vectors import SentenceSpace

if TYPE_CHECKING:
    from systems.sae_rad.train import TrainedSAE

METHOD = "sae-rad/1"
"""Counts up when the same options and weights would give other reports."""
ROWS_AT_ONCE = 2048
"""Training rows whose active features are held together while the index is built."""
CASES_AT_ONCE = 64


class DescribeOptions(Options):
    """How a feature gets its description."""

    by: Literal["consensus", "llm"] = "consensus"
    """consensus: sentences that the feature's reports agree on, no language model (appendix F); llm: appendix B.4."""
    llm: str | None = None
    """The language model, "backend/model"; for `by: llm` only."""
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
    """The language model, "backend/model"; for `by: llm` only."""
    threshold: float = Field(0.0, ge=0)
    """τ of eq. 10, in scaled embedding space: a feature counts as active above it."""
    context: tuple[Literal["indication", "priors"], ...] = ()
    """What a language model is told beside the features; for `by: llm` only."""
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
        _check_llm(self)
        return self


def _check_llm(options: DescribeOptions | ComposeOptions) -> None:
    if options.by == "llm" and not options.llm:
        raise ValueError("by: llm needs llm: backend/model")
    if options.by != "llm" and options.llm:
        raise ValueError(f"llm is not read with by: {options.by}: set by: llm, or leave llm out")


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


class SAERad:
    """Reports composed of what a sparse autoencoder's active features stand for (Abdulaal et al. 2024).

    `prepare` trains the autoencoder on the training images' embeddings (or loads it) and finds the images that
    activate each feature most; `generate` describes the features active on the cases asked for, from the reports of
    those images, and composes the descriptions. A description depends on training data and feature only, so a report
    is the same alone or in any batch. A case without an active feature gets an empty report and a note, no invented
    normality.
    """

    Options = SAERadOptions
    stand_in = "features described and reports composed without a language model"

    def __init__(self, options: SAERadOptions, context: Context) -> None:
        self.options, self._context = options, context
        for section, by, without in (
            ("describe", options.describe.by, "consensus"),
            ("compose", options.compose.by, "concat"),
        ):
            if by == "llm":
                raise Unavailable(
                    f"sae-rad: {section}.by: llm is not available in this version", f"set {section}.by: {without}"
                )
        self._train: TrainingSet | None = None
        self._descriptions: dict[int, str] = {}

    def fingerprint(self) -> str:
        """Return what identifies options, encoder and seed."""
        options = self.options.model_dump(mode="json", exclude={"sae": set(BOOKKEEPING)})
        encoder = self._context.encoder(self.options.encoder).fingerprint()
        return _digest([METHOD, options, encoder, self._context.seed])

    def plan(self, n_train: int, n_cases: int) -> Sequence[PlanLine]:
        """Return what a run takes, images to encode left to the harness."""
        sae = self.options.sae
        n, rows = self._context.encoder(self.options.encoder).dim, min(sae.batch_size, max(n_train, 1))
        products = 8 * 2 * rows * n * (sae.expansion * n) * sae.steps  # dense: 3 forward, 5 back
        return [
            PlanLine("SAE training", products / 1e12, "TFLOP"),
            PlanLine("SAE training", sae.steps, "steps"),
            PlanLine("SAE training batches", sae.steps * min(sae.batch_size, max(n_train, 1)), "embeddings"),
            PlanLine("reports composed without a language model", n_cases, "reports"),
        ]

    # -------------------------------------------------------------- learning

    def prepare(self, train: TrainingSet) -> None:
        """Train or load the autoencoder and the index of top images; both stay in the shared cache."""
        self._train = train
        z = self._context.embeddings(self.options.encoder, train.cases)
        self._rows = np.flatnonzero(finite_rows(z))
        if not len(self._rows):
            raise BenchError("sae-rad: not one of the training images could be read; bench doctor lists them")
        z = z if len(self._rows) == len(z) else z[self._rows]
        folder = self._folder(train)
        self._trained = self._train_sae(z, folder)
        self._top = self._index(z, train.cases, folder)

    def _folder(self, train: TrainingSet) -> Path:
        sae = self.options.sae.model_dump(mode="json", exclude=set(BOOKKEEPING))
        encoder = self._context.encoder(self.options.encoder).fingerprint()
        left_out = sorted(set(range(len(train.cases))) - set(self._rows.tolist()))
        return self._context.cache("sae", _digest([train.fingerprint, encoder, sae, self._context.seed, *left_out]))

    def _train_sae(self, z: Embeddings, folder: Path) -> TrainedSAE:
        try:
            from systems.sae_rad import train
        except ModuleNotFoundError as err:
            if err.name in ("torch", "safetensors"):
                raise missing_package("sae-rad", str(err.name), "sae") from None
            raise
        context = self._context
        return train.train(
            z, self.options.sae, folder=folder, device=context.device, seed=context.seed, progress=context.progress
        )

    def _index(self, z: Embeddings, cases: Sequence[Case], folder: Path) -> TopImages:
        describe = self.options.describe
        file = folder / f"top-{describe.images}-{describe.distinct}.npz"
        if not file.exists():
            owner = owners([cases[row] for row in self._rows.tolist()], describe.distinct)
            chunks = self._active_pairs(z)
            top_images(chunks, self._trained.sae.m, describe.images, owner).save(file)
        return TopImages.load(file)

    def _active_pairs(self, z: Embeddings) -> Iterator[Triples]:
        from systems.sae_rad.train import encode

        with self._context.progress("features' top images", len(z), "images") as bar:
            for start in range(0, len(z), ROWS_AT_ONCE):
                active = encode(self._trained, z[start : start + ROWS_AT_ONCE])
                rows = np.repeat(np.arange(len(active)), np.diff(active.indptr)) + start
                yield rows, active.features.astype(np.int64), active.activations
                bar.advance(len(active))

    # -------------------------------------------------------------- reporting

    def generate(self, cases: Sequence[Case]) -> Iterator[Report]:
        """Yield one report a case; a case whose image cannot be read yields an error that names the file."""
        z = self._context.embeddings(self.options.encoder, cases)
        readable = finite_rows(z)
        for start in range(0, len(cases), CASES_AT_ONCE):
            part = slice(start, start + CASES_AT_ONCE)
            yield from self._block(cases[part], z[part], readable[part])

    def _block(self, cases: Sequence[Case], z: Embeddings, readable: NDArray[np.bool_]) -> Iterator[Report]:
        from systems.sae_rad.train import encode

        codes = iter(self._important(*row) for row in _rows_of(encode(self._trained, z[readable])))
        found = [next(codes) if ok else None for ok in readable]
        self._count(cases, found)
        for case, features in zip(cases, found, strict=True):
            if features is None:
                yield unreadable(self._context, self.options.encoder, case)
            else:
                yield self._report(case, features)

    def _important(self, features: NDArray[np.int32], activations: NDArray[np.float32]) -> list[tuple[int, float]]:
        """Return (feature, importance) of the features above τ, highest first, equals by feature number."""
        above = activations > self.options.compose.threshold
        features, activations = features[above], activations[above].astype(np.float64)
        order = np.lexsort((features, -activations))
        return [(int(features[i]), float(activations[i] / activations.max())) for i in order]

    def _report(self, case: Case, features: Sequence[tuple[int, float]]) -> Report:
        if not features:
            text = f"No feature exceeds the threshold {self.options.compose.threshold:g}: nothing was composed."
            return Report(case.id, "", (Evidence("note", "no active feature", None, text),))
        active = [ActiveFeature(feature, importance, self.description(feature)) for feature, importance in features]
        evidence = tuple(Evidence("feature", str(a.feature), a.importance, a.description) for a in active)
        return Report(case.id, self._composer.compose(case, active), evidence)

    def description(self, feature: int) -> str:
        """Return a feature's description, made on first use; "" where no training image activates it."""
        if feature not in self._descriptions:
            rows, activations = self._top.of(feature)
            reports = [self._reference(self._rows[row]) for row in rows]
            text = self._describer.describe(reports, activations.tolist()) if reports else ""
            self._descriptions[feature] = text
        return self._descriptions[feature]

    def _reference(self, row: int) -> str:
        assert self._train is not None
        return self._train.references[self._train.cases[row].id]

    @cached_property
    def _space(self) -> SentenceSpace:
        assert self._train is not None
        return SentenceSpace([self._train.references[case.id] for case in self._train.cases], self._context.seed)

    @cached_property
    def _describer(self) -> Describer:
        o = self.options.describe
        return Consensus(self._space, sentences=o.sentences, further=o.further, least=o.least)

    @cached_property
    def _composer(self) -> Composer:
        o = self.options.compose
        return Concat(self._space, max_sentences=o.max_sentences, share=o.share, order=o.order)

    # -------------------------------------------------------------- facts

    def _count(self, cases: Sequence[Case], found: Sequence[Sequence[Any] | None]) -> None:
        """Keep the number of active features of each case, so that a continued run knows those of all its cases."""
        lines = [{"id": case.id, "active": len(f)} for case, f in zip(cases, found, strict=True) if f is not None]
        with Appender(self._context.workdir / "active.jsonl") as file:
            file.write(*lines)

    def facts(self) -> Mapping[str, float]:
        """Return numbers about the autoencoder on the training set, and L0 (features above τ) on the cases so far."""
        sae = self.options.sae
        facts = {**self._trained.facts, "expansion": float(sae.expansion), "sparsity": sae.sparsity}
        per_case = {line["id"]: line["active"] for line in read_lines(self._context.workdir / "active.jsonl")}
        if per_case:
            facts["L0_reported"] = sum(per_case.values()) / len(per_case)
            facts["no_active_feature"] = float(sum(n == 0 for n in per_case.values()))
        return {name: value for name, value in facts.items() if math.isfinite(value)}


def _rows_of(active: Any) -> Iterable[tuple[NDArray[np.int32], NDArray[np.float32]]]:
    return (active.row(k) for k in range(len(active)))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
