"""SAE-Rad: radiology reports from the features of a sparse autoencoder (Abdulaal et al. 2024, sections 4.1-4.2)."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.contracts import (
    Asset,
    Case,
    Context,
    Embeddings,
    Evidence,
    NoAnswer,
    PlanLine,
    Problem,
    Report,
    Sampling,
    TrainingSet,
)
from bench.errors import BenchError, missing_package
from bench.store import Appender, read_lines
from systems.readable import finite_rows, unreadable
from systems.sae_rad import compute
from systems.sae_rad.compose import ActiveFeature, Composer, Concat, Draft
from systems.sae_rad.describe import Consensus, Describer, Description, TopReports
from systems.sae_rad.features import TopImages, Triples, owners, top_images
from systems.sae_rad.options import BOOKKEEPING, SAERadOptions
from systems.sae_rad.vectors import SentenceSpace

if TYPE_CHECKING:
    from systems.sae_rad.dictionary import Dictionary
    from systems.sae_rad.trained import Active, TrainedSAE

METHOD = "sae-rad/2"
"""Counts up when the same options and weights would give other reports."""
ROWS_AT_ONCE = 2048
"""Training rows whose active features are held together while the index is built."""
_OUTSIDE: Any = {"sae": set(BOOKKEEPING), "describe": {"template"}, "compose": {"template"}}
"""Options that a fingerprint leaves out: they move no report, or their content is told in another way."""
Important = list[tuple[int, float]]
"""Features and their importance in (0, 1], highest first."""


class SAERad:
    """Reports composed of what a sparse autoencoder's active features stand for (Abdulaal et al. 2024).

    `prepare` trains the autoencoder on the training images' embeddings (or loads it) and finds the images that
    activate each feature most; `generate` describes the features active on the cases asked for, from the reports of
    those images, and composes the descriptions. A description depends on training data and feature only, so a report
    is the same alone or in any batch. A case without an active feature gets an empty report and a note, no invented
    normality.
    """

    Options: ClassVar[type[SAERadOptions]] = SAERadOptions
    cases_at_once = 64
    """Cases whose reports are composed together."""

    def __init__(self, options: SAERadOptions, context: Context) -> None:
        self.options, self._context = options, context
        self._train: TrainingSet | None = None
        self._known: dict[int, Description | NoAnswer] = {}
        self.trained: TrainedSAE | None = None
        """The autoencoder, once prepared; None where the features are not those of a trained one."""

    @property
    def stand_in(self) -> str:
        """Return what of the paper's parts is replaced by one that needs no language model; "" for none."""
        by = {"features described": self.options.describe.by, "reports composed": self.options.compose.by}
        without = [what for what, how in by.items() if how != "llm"]
        return f"{' and '.join(without)} without a language model" if without else ""

    def fingerprint(self) -> str:
        """Return what identifies options, prompts, encoder, language models and seed; may raise Unavailable."""
        options = self.options.model_dump(mode="json", exclude=_OUTSIDE)
        encoder = self._context.encoder(self.options.encoder).fingerprint()
        models = [self._context.llm(spec).fingerprint() for spec in self._llms()]
        return _digest([METHOD, type(self).__name__, options, encoder, models, self._prompts(), self._context.seed])

    def assets(self) -> Sequence[Asset]:
        """Name encoder and language models to the context; what they need they say themselves."""
        self._context.encoder(self.options.encoder)
        for spec in self._llms():
            self._context.llm(spec)
        return ()

    def _llms(self) -> list[str]:
        return [part.llm for part in (self.options.describe, self.options.compose) if part.llm is not None]

    def _prompts(self) -> list[str]:
        from systems.sae_rad import prompting

        found = []
        if self.options.describe.by == "llm":
            found.append(prompting.load("describe", self.options.describe.template).digest())
        if self.options.compose.by == "llm":
            found.append(prompting.load("compose", self.options.compose.template).digest())
        return found

    def plan(self, train: TrainingSet, cases: Sequence[Case]) -> Sequence[PlanLine]:
        """Return what a run takes, images to encode left to the harness."""
        from systems.sae_rad import planning

        if self.known(train, cases):
            return planning.lines(self, train, cases)
        return [*self._plan_features(train), *planning.bounds(self, train, len(cases))]

    def encoder_dim(self) -> int:
        """Return the length of an embedding."""
        return self._context.encoder(self.options.encoder).dim

    def most_features(self) -> int:
        """Return a bound of the number of features, known before anything is learnt."""
        n = self.encoder_dim()
        return max(self.options.sae.expansion, 2) * n  # raw neurons are two features a dimension

    def known(self, train: TrainingSet, cases: Sequence[Case]) -> bool:
        """Tell whether the features of cases can be read without training or encoding anything."""
        embedded = self._context.embedded
        if not (embedded(self.options.encoder, train.cases) and embedded(self.options.encoder, cases)):
            return False
        self._read(train)
        return self._learnt(self._folder)

    def _learnt(self, folder: Path) -> bool:
        """Tell whether `_learn` has nothing left to learn."""
        return (folder / "training.json").exists()

    def _plan_features(self, train: TrainingSet) -> list[PlanLine]:
        sae = self.options.sae
        n, rows = self.encoder_dim(), min(sae.batch_size, max(len(train.cases), 1))
        flops = compute.dense_flops(sae.architecture, n, sae.expansion * n, rows, sae.steps)
        amounts = {"TFLOP": flops / 1e12, "steps": sae.steps, "embeddings": sae.steps * rows}
        shared = self._shared(train, leaving={"compose", "describe"})
        return [PlanLine("SAE training", amount, unit, shared) for unit, amount in amounts.items()]

    def shared(self, train: TrainingSet) -> str:
        """Return the identity of features and their descriptions, which systems that differ elsewhere share."""
        return self._shared(train, leaving={"compose"})

    def _shared(self, train: TrainingSet, leaving: set[str]) -> str:
        left_out: dict[str, Any] = {"sae": set(BOOKKEEPING), **dict.fromkeys(leaving, True)}
        options = self.options.model_dump(mode="json", exclude=left_out)
        encoder = self._context.encoder(self.options.encoder).fingerprint()
        learning = type(self)._learn.__qualname__  # what features are: a control's own are not those of sae-rad
        return _digest([train.fingerprint, encoder, options, learning, self._context.seed])

    # -------------------------------------------------------------- learning

    def prepare(self, train: TrainingSet) -> None:
        """Train or load the autoencoder and the index of top images; both stay in the shared cache."""
        self._read(train)
        self.dictionary: Dictionary = self._learn(self._z, self._folder)
        self.top: TopImages = self._index(self._folder)

    def _read(self, train: TrainingSet) -> None:
        """Take the embeddings of the training images that can be read."""
        self._train = train
        z = self._context.embeddings(self.options.encoder, train.cases)
        self._rows = np.flatnonzero(finite_rows(z))
        if not len(self._rows):
            raise BenchError("sae-rad: not one of the training images could be read; bench doctor lists them")
        self._z = z if len(self._rows) == len(z) else z[self._rows]
        self._folder = self._context.cache("sae", _digest(self._identity(train)))

    def _identity(self, train: TrainingSet) -> list[Any]:
        """Return what the features depend on: the key of their folder in the cache."""
        sae = self.options.sae.model_dump(mode="json", exclude=set(BOOKKEEPING))
        encoder = self._context.encoder(self.options.encoder).fingerprint()
        left_out = sorted(set(range(len(train.cases))) - set(self._rows.tolist()))
        return [train.fingerprint, encoder, sae, self._context.seed, *left_out]

    def _learn(self, z: Embeddings, folder: Path) -> Dictionary:
        """Return the features of the trained autoencoder; a control has others."""
        need_torch()
        from systems.sae_rad import train
        from systems.sae_rad.dictionary import Learnt

        context = self._context
        self.trained = train.train(
            z, self.options.sae, folder=folder, device=context.device, seed=context.seed, progress=context.progress
        )
        return Learnt(self.trained)

    @cached_property
    def train_cases(self) -> Sequence[Case]:
        """The training cases whose image could be read; the rows of `top` and `train_active`."""
        assert self._train is not None
        cases = self._train.cases
        return cases if len(self._rows) == len(cases) else [cases[row] for row in self._rows.tolist()]

    @cached_property
    def train_reports(self) -> Sequence[str]:
        """Findings of `train_cases`."""
        assert self._train is not None
        references = self._train.references
        return [references[case.id] for case in self.train_cases]

    def _index(self, folder: Path) -> TopImages:
        describe = self.options.describe
        file = folder / f"top-{describe.images}-{describe.distinct}.npz"
        if not file.exists():
            owner = owners(self.train_cases, describe.distinct)
            top_images(self._active_pairs(), self.dictionary.m, describe.images, owner).save(file)
        return TopImages.load(file)

    def _active_pairs(self) -> Iterator[Triples]:
        start = 0
        for active in self._train_blocks("features' top images"):
            yield active.rows() + start, active.features.astype(np.int64), active.activations
            start += len(active)

    def _train_blocks(self, title: str) -> Iterator[Active]:
        with self._context.progress(title, len(self._z), "images") as bar:
            for start in range(0, len(self._z), ROWS_AT_ONCE):
                active = self.dictionary.encode(self._z[start : start + ROWS_AT_ONCE])
                yield active
                bar.advance(len(active))

    @cached_property
    def train_active(self) -> Active:
        """The active features of all `train_cases`."""
        from systems.sae_rad.trained import Active

        return Active.joined(list(self._train_blocks("features of the training images")))

    # -------------------------------------------------------------- reporting

    def generate(self, cases: Sequence[Case]) -> Iterator[Report]:
        """Yield one report a case; a case whose image cannot be read yields an error that names the file."""
        active, readable = self.active(cases)
        found = [self.features_of(case, *active.row(k)) if readable[k] else None for k, case in enumerate(cases)]
        self._count(cases, found)
        self.describe(feature for features in found if features for feature, _ in features)
        for start in range(0, len(cases), self.cases_at_once):
            part = slice(start, start + self.cases_at_once)
            yield from self._block(cases[part], found[part])

    def active(self, cases: Sequence[Case]) -> tuple[Active, NDArray[np.bool_]]:
        """Return the active features of cases, a row each, and bool [n_cases]: False where the image cannot be read.

        Such a row is empty.
        """
        z = self._context.embeddings(self.options.encoder, cases)
        readable = finite_rows(z)
        return self.dictionary.encode(z[readable]).spread(readable), readable

    def features_of(
        self,
        case: Case,  # noqa: ARG002 (controls differ)
        features: NDArray[np.int32],
        activations: NDArray[np.float32],
    ) -> Important:
        """Return the features that the report of a case is composed from, given the active ones of its image."""
        return self.important(features, activations)

    def important(self, features: NDArray[np.int32], activations: NDArray[np.float32]) -> Important:
        """Return (feature, importance) of the features above τ, highest first, equals by feature number."""
        above = activations > self.options.compose.threshold
        features, activations = features[above], activations[above].astype(np.float64)
        order = np.lexsort((features, -activations))
        return [(int(features[i]), float(activations[i] / activations.max())) for i in order]

    def _block(self, cases: Sequence[Case], found: Sequence[Important | None]) -> Iterator[Report]:
        drafts = {k: self.draft(cases[k], f) for k, f in enumerate(found) if f is not None and self._composed(f)}
        texts = dict(zip(drafts, self.compose(list(drafts.values())), strict=True))
        for k, case in enumerate(cases):
            if found[k] is None:
                yield unreadable(self._context, self.options.encoder, case)
            elif k in texts:
                yield self._report(case, drafts[k], texts[k])
            else:
                yield Report(case.id, "", (self._silence(),))

    def _composed(self, features: Important) -> bool:
        """Tell whether a case with these features has a report to compose."""
        return bool(features)

    def _silence(self) -> Evidence:
        text = f"No feature exceeds the threshold {self.options.compose.threshold:g}: nothing was composed."
        return Evidence("note", "no active feature", None, text)

    def _report(self, case: Case, draft: Draft, text: str | NoAnswer) -> Report:
        evidence = (*self._notes(case), *(self._evidence(active) for active in draft.features))
        if isinstance(text, NoAnswer):
            return Report(case.id, "", evidence, error=f"no report was composed: {text.kind}: {text.why}")
        if draft.features and not any(active.description for active in draft.features):
            said = "No active feature has a description: nothing was composed."
            return Report(case.id, text, (Evidence("note", "no description", None, said), *evidence))
        return Report(case.id, text, evidence)

    def _notes(self, case: Case) -> Sequence[Evidence]:  # noqa: ARG002 (controls have some)
        """Return what a report's evidence says before its features."""
        return ()

    def _evidence(self, active: ActiveFeature) -> Evidence:
        known = self._known.get(active.feature)
        missing = f"(no description: {known.kind}: {known.why})" if isinstance(known, NoAnswer) else ""
        return Evidence("feature", str(active.feature), active.importance, active.description or missing)

    # -------------------------------------------------------------- describing, composing

    def top_reports(self, feature: int) -> TopReports:
        """Return the reports of a feature's most activating training images; none where no image activates it."""
        rows, activations = self.top.of(feature)
        return TopReports(feature, tuple(self.train_reports[row] for row in rows), tuple(activations.tolist()))

    def describe(self, features: Iterable[int]) -> dict[int, Description | NoAnswer]:
        """Return each feature's description, or why a language model gave none; "" where no training image has it.

        Each is made once. Raises BenchError where more than `describe.max_failed` of those not known yet have none.
        """
        wanted = list(dict.fromkeys(features))
        todo = [self.top_reports(feature) for feature in wanted if feature not in self._known]
        asked = [top for top in todo if top.reports]
        made = dict(zip((top.feature for top in asked), self.describer.describe(asked) if asked else [], strict=True))
        self._check_described(made)
        self._known.update({top.feature: made.get(top.feature, Description("")) for top in todo})
        return {feature: self._known[feature] for feature in wanted}

    def _check_described(self, made: Mapping[int, Description | NoAnswer]) -> None:
        failed = {feature: found for feature, found in made.items() if isinstance(found, NoAnswer)}
        if len(failed) > self.options.describe.max_failed * len(made):
            kind, count = Counter(found.kind for found in failed.values()).most_common(1)[0]
            feature, example = next((f, found) for f, found in failed.items() if found.kind == kind)
            raise BenchError(
                f"sae-rad: {len(failed)} of {len(made)} features got no description (describe.max_failed: "
                f"{self.options.describe.max_failed:g}); {count} {kind}, e.g. feature {feature}: {example.why}. "
                "What was answered is kept: the same command asks only the others again"
            )
        for feature, found in failed.items():
            self._context.problem(Problem("features", str(feature), f"not described: {found.kind}: {found.why}"))

    def description(self, feature: int) -> str:
        """Return the text of a feature's description; "" where it has none."""
        found = self.describe([feature])[feature]
        return found.text if isinstance(found, Description) else ""

    def draft(self, case: Case, features: Important) -> Draft:
        """Return what the report of a case is composed from; features are described on demand."""
        self.describe(feature for feature, _ in features)
        active = (ActiveFeature(feature, importance, self._said(feature)) for feature, importance in features)
        return Draft(case, tuple(active))

    def _said(self, feature: int) -> str:
        """Return a description as the composer takes it: `concat` without the words that lead a language model's in."""
        from systems.sae_rad.describe_llm import statement

        text = self.description(feature)
        return statement(text) if self.options.compose.by == "concat" and self.options.describe.by == "llm" else text

    def compose(self, drafts: Sequence[Draft]) -> list[str | NoAnswer]:
        """Return the report of each draft, or why a language model gave none."""
        return self.composer.compose(drafts) if drafts else []

    @cached_property
    def space(self) -> SentenceSpace:
        """Similarity of sentences, learnt from training reports."""
        return SentenceSpace(self.train_reports, self._context.seed)

    @cached_property
    def describer(self) -> Describer:
        """What describes features, as the options say."""
        o = self.options.describe
        if o.llm is not None:
            from systems.sae_rad import prompting
            from systems.sae_rad.describe_llm import LLMDescriber

            sampling = Sampling(max_tokens=o.max_tokens)
            return LLMDescriber(self._context.llm(o.llm), prompting.load("describe", o.template), sampling)
        return Consensus(self.space, sentences=o.sentences, further=o.further, least=o.least)

    @cached_property
    def composer(self) -> Composer:
        """What composes reports, as the options say."""
        o = self.options.compose
        if o.llm is None:
            return Concat(self.space, max_sentences=o.max_sentences, share=o.share, order=o.order)
        from systems.sae_rad import prompting
        from systems.sae_rad.compose_llm import LLMComposer

        return LLMComposer(
            self._context.llm(o.llm),
            prompting.load("compose", o.template),
            Sampling(max_tokens=o.max_tokens),
            indication="indication" in o.context,
            priors=o.priors if "priors" in o.context else 0,
            max_sentences=o.max_sentences,
        )

    # -------------------------------------------------------------- facts

    def _count(self, cases: Sequence[Case], found: Sequence[Sequence[Any] | None]) -> None:
        """Keep the number of features of each case, so that a continued run knows those of all its cases."""
        lines = [{"id": case.id, "active": len(f)} for case, f in zip(cases, found, strict=True) if f is not None]
        with Appender(self._context.workdir / "active.jsonl") as file:
            file.write(*lines)

    def facts(self) -> Mapping[str, float]:
        """Return numbers about the autoencoder on the training set, and L0 (features above τ) on the cases so far."""
        facts = dict(self._feature_facts())
        per_case = {line["id"]: line["active"] for line in read_lines(self._context.workdir / "active.jsonl")}
        if per_case:
            facts["L0_reported"] = sum(per_case.values()) / len(per_case)
            facts["no_active_feature"] = float(sum(n == 0 for n in per_case.values()))
        return {name: value for name, value in facts.items() if math.isfinite(value)}

    def _feature_facts(self) -> Mapping[str, float]:
        assert self.trained is not None
        return {
            **self.trained.facts,
            "expansion": float(self.options.sae.expansion),
            "sparsity": self.options.sae.sparsity,
            **self._compute_facts(self.trained),
        }

    def _compute_facts(self, trained: TrainedSAE) -> Mapping[str, float]:
        """Return the operations of training and of a report (docs/compute.md)."""
        sae, options, n_train = trained.sae, self.options.sae, len(self._z)
        batch, features = min(options.batch_size, n_train), trained.facts.get("features_per_step")
        training = compute.training(sae.architecture, sae.n, sae.m, batch, options.steps, features)
        read = compute.product(1, sae.n, sae.m)
        return training | self._encoding_facts(read, compute.product(1, sae.n, trained.facts["L0"]))

    def _encoding_facts(self, read: float, exact: float = 0.0) -> dict[str, float]:
        """Return the operations of embedding images and of reading features, where the encoder tells its own."""
        flops = getattr(self._context.encoder(self.options.encoder), "flops", None)
        return compute.encoding(flops() if flops is not None else None, len(self._z), read, exact)

    def measured(self) -> Mapping[str, float | str]:
        """Return what training the autoencoder took, and on what: its first time, however often it is loaded."""
        took = self.trained.took if self.trained is not None else {}
        names = {"seconds": "train_seconds", "device": "trained_on"}
        return {name: took[key] for key, name in names.items() if took.get(key) is not None}


def need_torch() -> None:
    """Raise Unavailable that names the missing package where the autoencoder cannot work."""
    try:
        from systems.sae_rad import train  # noqa: F401 - imports torch and safetensors
    except ModuleNotFoundError as err:
        if err.name in ("torch", "safetensors"):
            raise missing_package("sae-rad", str(err.name), "sae") from None
        raise


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
