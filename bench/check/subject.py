"""The plugin under check: found, its options resolved, built as often as need be."""

from __future__ import annotations

import dataclasses
import io
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

from rich.console import Console

from bench import registry
from bench.config import SECTIONS, Choices, Config, Entry, base, checked, embedded
from bench.context import RunContext
from bench.contracts import Dataset
from bench.errors import BenchError
from bench.options import Options
from bench.run import DatasetTraining, Split, make_context, open_dataset, open_split
from bench.workers.options import WorkerOptions

SMALL_DEMO = {"use": "demo", "images": 60, "test_images": 16, "split": "test"}
"""What a system is tried on where nothing else is said: drawn in seconds."""
LIMIT = 6


@dataclass(frozen=True)
class Request:
    """What is to be checked, and on what; plain values, so that another process can be told."""

    kind: Literal["system", "metric"]
    spec: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the plugin on top of the configuration's: JSON-able values by name, dotted where nested."""
    config: str | None = None
    """Configuration file, or the embedded demo or paper; None: a small demo."""
    dataset: str | None = None
    split: str | None = None
    limit: int = LIMIT
    """Cases that are reported on."""
    seed: int | None = None
    assignments: Sequence[str] = ()
    """As with ``--set``: ``section.key=value`` of the configuration, or ``key=value`` of the plugin."""

    def told(self) -> dict[str, Any]:
        """Return the request as JSON-able values."""
        return dataclasses.asdict(self)


class Subject:
    """The plugin of a request. Raises BenchError where there is none, or its options are wrong."""

    def __init__(self, request: Request, folder: Path) -> None:
        self.request, self.folder = request, folder
        self.config = self._config()
        entries = self.config.systems if request.kind == "system" else self.config.metrics
        self.entry: Entry = entries[0]
        self.found = registry.find(request.kind, self.entry.use)
        where = f"{request.kind}s.{self.entry.label}"
        self.options = cast(Options, registry.options_of(self.found, self.entry.options, where))
        placement = WorkerOptions.model_fields if isinstance(self.options, WorkerOptions) else ()
        self.fixed = frozenset([*self.found.preset, *placement])
        """Options that are not tried with other values: those that the spec fills, and where and how a worker runs."""
        self._contexts = 0

    def _config(self) -> Config:
        request = self.request
        _refuse_other_options(request.kind, request.spec)
        own = f"{request.kind}s.*"
        assignments = [a if _of_config(a) else f"{own}.{a}" for a in request.assignments]
        assignments += [f"{own}.{name}={json.dumps(value)}" for name, value in request.options.items()]
        choices = Choices(
            systems=request.spec if request.kind == "system" else None,
            metrics=request.spec if request.kind == "metric" else None,
            dataset=request.dataset,
            split=request.split,
            seed=request.seed,
            limit=request.limit,
            assignments=assignments,
        )
        try:
            return checked(*self._sections(), choices)
        except BenchError as err:
            hint = "\n  --set KEY=VALUE gives the plugin a value" if "a value is required" in str(err) else ""
            raise BenchError(f"{err}{hint}") from None

    def _sections(self) -> tuple[str, dict[str, Any]]:
        demo = {**embedded("demo.yaml"), "dataset": dict(SMALL_DEMO)}
        if self.request.config is None:
            return "configs/demo.yaml (embedded, with fewer images)", demo
        source, given = base(Path(self.request.config))
        if self.request.kind == "metric":  # it is tried on texts: neither dataset nor systems of the file are looked at
            given = {**given, "dataset": demo["dataset"], "systems": demo["systems"]}
        else:
            given = {**given, "metrics": {}}
        return source, given

    def context(self, work: Path | None = None) -> RunContext:
        """Return a context of its own work folder; caches are the user's, progress is shown nowhere."""
        self._contexts += 1
        return make_context(self.config, work or self.folder / f"work{self._contexts}", Console(file=io.StringIO()))

    def build(self, options: Options | None = None, work: Path | None = None) -> Any:
        """Return a new instance, with the request's options or others, in a work folder of its own or this one."""
        context = self.context(work)
        context.credentialed = self.request.kind == "system" and self.split.dataset.credentialed
        return self.found.plugin(options or self.options, context)

    # -------------------------------------------------------------- what a system is tried on

    @cached_property
    def split(self) -> Split:
        """The cases to report on."""
        context = self.context()
        dataset: Dataset = open_dataset(self.config, context)
        return open_split(self.config, dataset, context)

    @property
    def train(self) -> DatasetTraining:
        """What the system may learn from, read anew by each instance."""
        return DatasetTraining(self.split.dataset, frozenset(case.id for case in self.split.cases))


def _of_config(assignment: str) -> bool:
    section, dot, _ = assignment.partition("=")[0].partition(".")
    return bool(dot) and section.strip() in SECTIONS


def _refuse_other_options(kind: registry.Kind, spec: str) -> None:
    """Raise BenchError where the class has no options of ours; a label of a configuration is found later."""
    try:
        found = registry.find(kind, spec)
    except BenchError:
        return
    options = getattr(found.plugin, "Options", None)
    if not (isinstance(options, type) and issubclass(options, Options)):
        raise BenchError(
            f"{found.kind} {found.spec!r}: a plugin is a class with an attribute Options, a subclass of "
            f"bench.options.Options; its Options is {options!r}"
        )


@contextmanager
def opened(request: Request) -> Iterator[Subject]:
    """Open a request with a folder for its files, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-check-") as folder:
        yield Subject(request, Path(folder))
