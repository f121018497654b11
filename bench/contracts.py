"""The types that plugins are given and give back.

A *dataset* yields cases and references, a *system* turns cases into reports, a *metric* turns pairs of report and
reference into additive statistics and those into scores. An *encoder* turns images into embeddings, an *annotator*
texts into clinical annotations. Every plugin is built as ``Plugin(options, context)`` where ``Plugin.Options`` is a
subclass of `bench.options.Options` and ``context`` is the `Context` below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Embeddings = NDArray[np.float32]

# ------------------------------------------------------------------ datasets


@dataclass(frozen=True, slots=True)
class Image:
    """One radiograph file."""

    path: Path
    view: str
    """As the dataset says: "AP", "PA", "LATERAL" …"""
    role: Literal["current", "prior"] = "current"


@dataclass(frozen=True, slots=True)
class Prior:
    """An earlier study of the same patient: strictly before the case's own, and of another study id."""

    text: str
    """The whole report."""
    findings: str | None
    minutes_before: int


@dataclass(frozen=True, slots=True)
class Case:
    """One unit to report on: the images and what a radiologist would have at hand, never its own reference."""

    id: str
    """dicom_id where the unit is an image, study_id where it is a study."""
    group: str
    """The patient. Resampling draws patients, since images of one patient are not independent."""
    images: tuple[Image, ...]
    """Frontal first; never empty. Those of an earlier study (`Image.role` "prior") come last."""
    indication: str | None = None
    technique: str | None = None
    comparison: str | None = None
    priors: tuple[Prior, ...] = ()
    """Latest first."""
    study: str | None = None
    """The study the images belong to (several images may share one); None where the dataset has no such level."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something of a dataset that was left out, or could not be used, and why."""

    file: str
    """File (relative to the dataset's root where it is inside) or table that holds the bad entry."""
    id: str
    """Image, study or row concerned."""
    why: str


@dataclass(frozen=True, slots=True)
class Count:
    """One line of a dataset's census, shown by ``bench doctor``."""

    name: str
    found: int
    expected: int | None = None
    """The published number, where there is one."""
    source: str = ""
    """Where `expected` comes from."""


class Dataset(Protocol):
    """Cases and references of the splits of one corpus.

    May also have ``contaminated(split) -> frozenset[str]``: ids of cases whose image an encoder was trained on; and,
    where the dataset knows, ``findings(split) -> Mapping[str, frozenset[str]]``: case id → names of what is truly on
    the image ("effusion"; beside it, where sides are known, "effusion/left"), for measuring and never for learning.
    """

    Options: ClassVar[type]
    credentialed: bool
    """True where the data-use agreement forbids that text or images leave the machine."""

    def fingerprint(self) -> str:
        """Return what identifies content and reading rules; equal fingerprints promise equal cases and references."""
        ...

    def splits(self) -> Sequence[str]:
        """Return the names `cases` accepts."""
        ...

    def cases(self, split: str) -> Sequence[Case]:
        """Return the cases of a split in a fixed order, each with a non-empty reference."""
        ...

    def references(self, split: str) -> Mapping[str, str]:
        """Return case id → the radiologist's findings, for exactly the ids of `cases(split)`."""
        ...

    def problems(self) -> Sequence[Problem]:
        """Return what was left out of the splits asked for so far."""
        ...

    def census(self) -> Sequence[Count]:
        """Return the corpus's counts, for ``bench doctor``."""
        ...


class TrainingSet(Protocol):
    """What a system may learn from. Read on first use: a system that learns nothing costs nothing."""

    @property
    def cases(self) -> Sequence[Case]:
        """The training cases, in the dataset's order."""
        ...

    @property
    def references(self) -> Mapping[str, str]:
        """Case id → findings."""
        ...

    @property
    def fingerprint(self) -> str:
        """Identity of cases and references together (dataset, options, limit)."""
        ...


# ------------------------------------------------------------------ assets


@dataclass(frozen=True, slots=True)
class HubFiles:
    """Files of a repository of the Hugging Face hub: weights, tokenizer, processor."""

    repository: str
    """"microsoft/rad-dino"."""
    revision: str | None = None
    """Branch, tag or commit; None: the hub's main."""
    files: tuple[str, ...] = ()
    """Names or glob patterns; none: all."""
    gated: bool = False
    """Whether its terms are to be accepted on its page first."""


@dataclass(frozen=True, slots=True)
class WorkerScript:
    """A worker: its environment is what is fetched."""

    script: Path


@dataclass(frozen=True, slots=True)
class ServerModel:
    """A model that a server holds, which only its own command can fetch."""

    command: str
    """"ollama pull llama3:70b-instruct"."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file that the configuration names by its path, which nobody fetches: it is carried by hand."""

    path: Path


Asset = HubFiles | WorkerScript | ServerModel | LocalFile
"""What a plugin needs from a network before it can work. Any plugin may have ``assets() -> Sequence[Asset]``; it is
light: nothing is loaded, fetched or asked."""


# ------------------------------------------------------------------ systems


@dataclass(frozen=True, slots=True)
class Evidence:
    """One line of why: an active feature, the neighbour copied, a note. Everything a page needs to draw it."""

    kind: Literal["feature", "neighbour", "note"]
    label: str
    score: float | None
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a system answers to one case.

    `text` may be empty and is then scored as an empty candidate. Where `error` is set the case was not answered: it is
    asked again when the run is continued, and with ``--allow-failed`` scored as empty, counted and shown.
    """

    id: str
    text: str
    evidence: tuple[Evidence, ...] = ()
    error: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class PlanLine:
    """One line of what a part of a run will take, shown by ``--dry-run``: ("LLM calls", 3403, "calls")."""

    what: str
    amount: float
    unit: str
    shared: str = ""
    """Identity of what is made once however many systems need it; "" for what each makes for itself."""


class System(Protocol):
    """Writes the findings of cases.

    May also have

    - ``plan(train, cases) -> Sequence[PlanLine]``: what a run takes, for ``--dry-run``. It spends nothing: no encoding,
      no training, no question to a chat model;
    - ``details() -> Mapping[str, Any]``: once prepared, what a reader of the reports should know beside the options, as
      JSON (versions of its own environment, weights found, how it generates); written to details.json;
    - ``measured() -> Mapping[str, float | str]``: once prepared, what was measured of it and differs each time it is
      done (``train_seconds``, and ``trained_on``: the device); written to resources.json.
    """

    Options: ClassVar[type]

    def fingerprint(self) -> str:
        """Return what identifies options, weights and prompts; kept in run.json."""
        ...

    def prepare(self, train: TrainingSet) -> None:
        """Learn or load. Idempotent, and continues where a killed call stopped."""
        ...

    def generate(self, cases: Sequence[Case]) -> Iterable[Report]:
        """Yield one report a case, as they are done. A report is the same alone or in any batch."""
        ...

    def facts(self) -> Mapping[str, float]:
        """Return numbers about the prepared system (L0, explained variance, parameters …); written to facts.json.

        They must not depend on which cases were asked: a run that was continued asks fewer.
        """
        ...


# ------------------------------------------------------------------ metrics


@dataclass(frozen=True, slots=True)
class Pair:
    """A report beside its reference."""

    id: str
    group: str
    candidate: str
    reference: str


@dataclass(frozen=True, slots=True)
class Column:
    """One score of a metric, as tables show it."""

    key: str
    """"Ma-14"; a metric labelled x in the config reports "x/Ma-14"."""
    heading: str
    scale: float = 100.0
    """Tables show value * scale."""
    decimals: int = 1
    higher_is_better: bool = True


OK, UNDEFINED, FAILED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Stats:
    """Additive statistics of pairs.

    values: float64 [n_pairs, n_stats], finite. status: int8 [n_pairs, n_columns] of OK, UNDEFINED, FAILED.
    A pair that is not OK for a column holds zeros in that column's statistics, denominators included. UNDEFINED (no
    phrase to judge) is left out by the metric's definition, FAILED (no verdict came) is counted and shown. Where the
    reference implementation defines 0 (an F1 of 0/0), the value is 0 and the status OK.
    """

    values: Floats
    status: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Mark:
    """A marked span of one side of a pair, `text[start:end]`, for pages that know no metric."""

    side: Literal["candidate", "reference"]
    start: int
    end: int
    kind: str
    """Spans of one kind are drawn alike: "match", "positive" …"""
    note: str = ""


@dataclass(frozen=True, slots=True)
class SmallTable:
    """A small table that explains a pair's score."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Metric(Protocol):
    """Scores pairs by statistics that add up over pairs.

    Building one is light and asks for no weights or server: `signature` and `observe` may raise Unavailable, `finish`
    works anywhere. May also have

    - ``max_failed: float``: the share of pairs that may be FAILED in a column before its score counts as incomplete;
    - ``plan(references) -> Sequence[PlanLine]``: what scoring a system on these references takes, for ``--dry-run``;
    - ``tables(totals) -> Sequence[SmallTable]``: tables over all pairs, written to ``tables/`` of the run folder.
    """

    Options: ClassVar[type]
    columns: tuple[Column, ...]

    def signature(self) -> str:
        """Return all that moves a score: library and version, tokeniser, case, weights, annotator, judge …"""
        ...

    def observe(self, pairs: Sequence[Pair]) -> Stats:
        """Return statistics of each pair; a pair's row does not depend on the others."""
        ...

    def finish(self, totals: Floats) -> Floats:
        """Turn summed statistics [..., n_stats] into scores [..., n_columns]; 0/0 is NaN unless defined as 0."""
        ...

    def explain(self, pair: Pair) -> Sequence[Mark | SmallTable]:
        """Return what a page shows of how the pair's score came about."""
        ...


# ------------------------------------------------------------------ the parts systems and metrics use


class Encoder(Protocol):
    """Image → embedding.

    May also have ``flops() -> float | None``: floating-point operations of one image, 2 a multiply-accumulate; None
    where they are not known.
    """

    Options: ClassVar[type]

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        ...

    def fingerprint(self) -> str:
        """Return what identifies weights and preprocessing; the key of the embedding store."""
        ...

    def encode(self, images: Sequence[Path]) -> Embeddings:
        """Return float32 [n, dim]; a row of NaN where the file could not be decoded.

        A row does not depend on the other images of the call.
        """
        ...

    def why_unreadable(self, image: Path) -> str | None:
        """Return why a file cannot be decoded, or None where it can."""
        ...


@dataclass(frozen=True, slots=True)
class Unannotated:
    """Stands in the place of an annotation that could not be made; never cached."""

    why: str


class Annotator(Protocol):
    """Single text → clinical annotation, in batches. The harness caches by (fingerprint, text).

    An annotation is a JSON-able mapping. So that metrics can use any annotator, its keys have fixed meanings:

    - ``labels``: the 14 CheXpert observations by name → 1 present, 0 absent, -1 uncertain, None not mentioned;
    - ``entities``: RadGraph's entities, "1", "2" … → {"tokens", "label", "start_ix", "end_ix", "relations"}, as the
      package radgraph returns them, and ``text``, the tokens that the indices count, joined by blanks;
    - ``phrases``: statements of one finding each;
    - ``embedding``: a vector, base64 of float32, little-endian.
    """

    Options: ClassVar[type]

    def fingerprint(self) -> str:
        """Return what identifies code, weights and options."""
        ...

    def annotate(self, texts: Sequence[str]) -> list[Any]:
        """Return one annotation a text, an `Unannotated` in the place of a text that failed alone.

        An annotation does not depend on the other texts of the call. Raises Unavailable where nothing can be annotated
        at all (no weights). Texts come in chunks of at most `chunk` (an optional attribute, default 256), longest
        first, and each chunk is kept before the next is asked for.
        """
        ...


# ------------------------------------------------------------------ language models


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn; part of the key it is cached under."""

    temperature: float = 0.0
    max_tokens: int = 1024
    top_p: float | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a language model."""

    messages: tuple[Message, ...]
    schema: Mapping[str, Any] | None = None
    """JSON Schema of the answer, enforced by the backend's own means where it has any; None: free text."""
    sampling: Sampling = Sampling()
    repeat: int = 0
    """Another number asks the same again, past the cache: for a judge's agreement with itself."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that passed its check."""

    text: str
    data: Any = None
    """The parsed JSON where the question has a schema."""
    input_tokens: int = 0
    output_tokens: int = 0
    attempts: int = 1
    cached: bool = False


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Why a question stayed without an answer: it is never cached, and asked again by the next run."""

    kind: Literal["refused", "empty", "malformed", "too-long", "failed"]
    why: str


Check = Callable[[Question, Answer], str | None]
"""Says what is wrong with an answer (the model is then asked again, with these words), or None where it can count."""


class LLM(Protocol):
    """A chat model behind `Context.llm`: cached, checked, concurrent, accounted for."""

    def fingerprint(self) -> str:
        """Return backend, model, its digest and quantisation: what a signature tells of a judge.

        Raises Unavailable where server or model cannot be reached.
        """
        ...

    def ask(
        self, questions: Sequence[Question], check: Check | None = None, title: str = "questions"
    ) -> list[Answer | NoAnswer]:
        """Return one answer a question, in their order; equal questions are asked once.

        Shows calls per second and time left under `title`. Raises ServerLost where the server went away; what was
        answered before is kept, and not asked again.
        """
        ...

    async def answer(self, question: Question, check: Check | None = None) -> Answer | NoAnswer:
        """Return the answer to one question: the same as `ask`, for callers with a loop of their own."""
        ...

    def missing(self, questions: Sequence[Question], check: Check | None = None) -> int:
        """Return how many calls `ask` would make, each question answered at once: those that have no kept answer."""
        ...

    def cost(self, input_tokens: int, output_tokens: int) -> float | None:
        """Return what so many tokens cost, in USD; None where the prices are not given."""
        ...


class Ticker(Protocol):
    """A progress bar under way."""

    def advance(self, n: int = 1) -> None:
        """Count n more units as done."""
        ...

    def note(self, text: str) -> None:
        """Show a short text beside the bar (a loss, a rate)."""
        ...


@runtime_checkable
class Context(Protocol):
    """A plugin's only door to caches, device, progress, models and shared embeddings."""

    @property
    def workdir(self) -> Path:
        """Folder of this run, or of a shard of it, for the plugin's own files (docs/plugins.md: notes of cases)."""
        ...

    @property
    def device(self) -> str:
        """A torch device string: "cpu", "cuda", "mps"."""
        ...

    @property
    def seed(self) -> int:
        """The run's seed."""
        ...

    def cache(self, kind: str, fingerprint: str) -> Path:
        """Return (made if need be) the shared cache folder of one artefact, e.g. ("sae", "3f…")."""
        ...

    def llm(self, spec: str) -> LLM:
        """Return the chat model "backend/model", or of a label in the configuration's `llms`.

        Raises BenchError where credentialed text would leave the machine without attestation.
        """
        ...

    def annotator(self, spec: str) -> Annotator:
        """Return an annotator by registry name."""
        ...

    def encoder(self, spec: str) -> Encoder:
        """Return an encoder by registry name ("pixels", "rad-dino", "hf:<id or folder>"); built once."""
        ...

    def embeddings(self, encoder: str, cases: Sequence[Case]) -> Embeddings:
        """Return float32 [n_cases, dim], of each case's first image.

        Computed once per encoder and image, shared by all systems. A row of NaN stands where the image cannot be
        decoded; `problems` then holds a line for it.
        """
        ...

    def embedded(self, encoder: str, cases: Sequence[Case]) -> bool:
        """Tell whether `embeddings` would have nothing to encode."""
        ...

    def problem(self, problem: Problem) -> None:
        """Note a problem met on the way; the run counts, lists and keeps it."""
        ...

    def progress(self, title: str, total: int | None, unit: str = "") -> AbstractContextManager[Ticker]:
        """Open a progress bar with rate and time left."""
        ...
