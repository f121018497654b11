"""The context of a run: the one implementation of `bench.contracts.Context`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from bench import progress as bars
from bench import registry
from bench.annotations import CachedAnnotator
from bench.contracts import LLM, Annotator, Case, Embeddings, Encoder, Problem, Ticker
from bench.embeddings import EmbeddingStore
from bench.errors import BenchError
from bench.kept import Kept
from bench.llm.backend import Backend
from bench.llm.client import Client
from bench.llm.gate import Gate, place_of_plugin
from bench.machine import device_name


class RunContext:
    """Builds the parts that a config names, each once, and hands out caches, embeddings and progress bars.

    `parts` maps "encoders", "annotators" and "llms" to label → {"use": spec, option: value …}, for parts whose options
    are not the default; a spec that is no label there is looked up in the registry.
    """

    def __init__(
        self,
        *,
        workdir: Path,
        cache_root: Path,
        device: str = "cpu",
        seed: int = 0,
        parts: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
        console: Console | None = None,
        attested: Sequence[str] = (),
    ) -> None:
        self._workdir, self._cache_root = workdir, cache_root
        self._device, self._seed = device, seed
        self._parts = parts or {}
        self.console = console or Console(stderr=True)
        self._built: dict[tuple[str, str], Any] = {}
        self.problems: dict[tuple[str, str], Problem] = {}
        self.stand_ins: dict[str, None] = {}
        self._clients: dict[str, LLM] = {}
        self._annotators: dict[str, CachedAnnotator] = {}
        self._gate = Gate(attested)
        self.usage_written: dict[str, dict[str, Any]] = {}
        """What each chat model's use was when it was last written to a run's usage.jsonl."""
        self.encoding_s = 0.0
        """Seconds that `embeddings` took so far."""
        self._encoded_by: dict[str, None] = {}

    @property
    def credentialed(self) -> bool:
        """Whether the run's text must stay on this machine; one answer for all contexts of `for_run`."""
        return bool(self._gate.held)

    @credentialed.setter
    def credentialed(self, value: bool) -> None:
        self._gate.held = "the dataset is credentialed" if value else ""

    def hold(self, why: str) -> None:
        """Keep text on this machine for another reason than a credentialed dataset."""
        self._gate.held = why

    @property
    def workdir(self) -> Path:
        """Folder of this run for the plugin's own files, made on first use."""
        self._workdir.mkdir(parents=True, exist_ok=True)
        return self._workdir

    @property
    def device(self) -> str:
        """A torch device string."""
        return self._device

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self._seed

    def for_run(self, workdir: Path) -> RunContext:
        """Return a context with another work folder that shares what was built and noted so far."""
        other = RunContext(
            workdir=workdir,
            cache_root=self._cache_root,
            device=self._device,
            seed=self._seed,
            parts=self._parts,
            console=self.console,
        )
        other._built, other._clients, other._gate = self._built, self._clients, self._gate
        other._annotators, other.usage_written = self._annotators, self.usage_written
        other.stand_ins = dict(self.stand_ins)
        other.problems = dict(self.problems)
        return other

    def cache(self, kind: str, fingerprint: str) -> Path:
        """Return (made if need be) the shared cache folder of one artefact."""
        folder = self._cache_root / kind / fingerprint
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def build(self, kind: registry.Kind, spec: str, options: Mapping[str, Any], where: str) -> Any:
        """Build the plugin `spec` with checked options and this context; note where it is a stand-in."""
        found = registry.find(kind, spec)
        plugin = found.plugin(registry.options_of(found, options, where), self)
        self.note_stand_in(kind, spec, plugin)
        return plugin

    def note_stand_in(self, kind: str, name: str, plugin: Any) -> None:
        """Record that a part stands in for the real one (its attribute `stand_in` says for which)."""
        if real := getattr(plugin, "stand_in", None):
            self.stand_ins[f"{kind} {name} ({real})"] = None

    def _part(self, kind: registry.Kind, spec: str) -> Any:
        key = (kind, spec)
        if key not in self._built:
            entry = dict(self._parts.get(f"{kind}s", {}).get(spec, {}))
            self._built[key] = self.build(kind, entry.pop("use", spec), entry, f"{kind}s.{spec}")
        part = self._built[key]
        self.note_stand_in(kind, spec, part)
        return part

    def llm(self, spec: str) -> LLM:
        """Return the chat model "backend/model", or of a label; refused where credentialed text would leave.

        A backend comes behind cache, checks and accounting (`bench.llm.client.Client`), which passes the gate again
        before every question; a plugin that is a whole `LLM` itself is returned as it is.
        """
        part = self._part("llm", spec)
        self._gate.check(spec, place_of_plugin(part))
        if spec not in self._clients:
            kept = Kept(self.cache("answers", "v1") / "answers.sqlite")
            backend = isinstance(part, Backend)
            self._clients[spec] = Client(spec, part, self._gate, kept, self.progress) if backend else part
        return self._clients[spec]

    def llms_used(self) -> list[dict[str, Any]]:
        """Return, for each chat model handed out so far, where it ran, what it was and what it took."""
        return [client.record() for client in self._clients.values() if isinstance(client, Client)]

    def annotator(self, spec: str) -> Annotator:
        """Return an annotator by label or registry name, behind the cache of annotations."""
        part = self._part("annotator", spec)
        if spec not in self._annotators:
            kept = Kept(self.cache("annotations", "v1") / "annotations.sqlite")
            use = self._parts.get("annotators", {}).get(spec, {}).get("use", spec)
            identity = registry.find("annotator", use).identity
            self._annotators[spec] = CachedAnnotator(spec, part, identity, kept, self.progress)
        return cast(Annotator, self._annotators[spec])

    def encoder(self, spec: str) -> Encoder:
        """Return an encoder by label or registry name; built once."""
        return cast(Encoder, self._part("encoder", spec))

    def embeddings(self, encoder: str, cases: Sequence[Case]) -> Embeddings:
        """Return float32 [n_cases, dim] of each case's first image; NaN rows where it cannot be decoded."""
        for case in cases:
            if not case.images:
                raise BenchError(f"case {case.id!r} has no image: the dataset must not yield such a case")
        images = [case.images[0].path for case in cases]
        self._encoded_by[encoder] = None
        started = time.perf_counter()
        try:
            device = device_name(self.device)
            return self.embedding_store(encoder).get(self.encoder(encoder), images, self.progress, self.problem, device)
        finally:
            self.encoding_s += time.perf_counter() - started

    def seconds_per_image(self) -> dict[str, float | None]:
        """Return encoder → mean seconds an image on this device, of those that `embeddings` was asked for.

        Over all images that were ever encoded into the shared store; None where that was elsewhere.
        """
        device = device_name(self.device)
        return {spec: self.embedding_store(spec).seconds_per_image(device) for spec in self._encoded_by}

    def embedded(self, encoder: str, cases: Sequence[Case]) -> bool:
        """Tell whether `embeddings` would have nothing to encode."""
        return not self.embedding_store(encoder).missing([case.images[0].path for case in cases if case.images])

    def embedding_store(self, encoder: str) -> EmbeddingStore:
        """Return the store of an encoder's embeddings."""
        return EmbeddingStore(self.cache("embeddings", self.encoder(encoder).fingerprint()))

    def built(self, kind: registry.Kind) -> dict[str, Any]:
        """Return spec → part of the kind's parts built so far."""
        return {spec: part for (of, spec), part in self._built.items() if of == kind}

    def problem(self, problem: Problem) -> None:
        """Note a problem; the same file and id are noted once."""
        self.problems.setdefault((problem.file, problem.id), problem)

    def progress(self, title: str, total: int | None, unit: str = "") -> AbstractContextManager[Ticker]:
        """Open a progress bar with rate and time left."""
        return bars.progress(self.console, title, total, unit)
