"""`bench run`: systems report on a split, metrics score the reports, a folder a run keeps all of it.

A run folder holds, in the order they are written: ``run.json`` (resolved configuration, fingerprints, versions),
``cases.jsonl``, ``reports.jsonl`` (appended as reports come), ``stats/`` (a line a pair and metric), ``tables/`` (of
metrics that have any), ``facts.json``, ``problems.jsonl``, ``resources.json`` (time and cost), ``summary.json`` and,
last, ``done.json``; ``usage.jsonl`` has a line for each call of the command that asked a chat model, for reports or for
scores, ``details.json`` what a system tells of how it makes its reports, ``shards/`` what shards of the run made.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np

from bench import cachedir, machine, registry, resources, scoring, shards, store
from bench.config import Config, Entry, RunOptions, digest
from bench.context import RunContext
from bench.contracts import Case, Dataset, Pair, Problem, Report, System
from bench.errors import BenchError
from bench.reporting import Reporting
from bench.run_folder import REPORTING, SCORING, SHOWN, finish, llms, open_run, some, write_usage
from bench.shards import Shard, State
from bench.workers.options import WorkerOptions

_KINDS: Mapping[str, registry.Kind] = {"systems": "system", "annotators": "annotator"}
"""Sections of a configuration whose plugins may run in workers."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One finished run: its folder and what its summary.json holds."""

    folder: Path
    summary: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Share:
    """What became of one system's shard: how far it and the others of the same division are."""

    label: str
    folder: Path
    """Of the run."""
    states: Sequence[State]

    def line(self) -> str:
        """Return how far the shards are, and what to do where all of them are done."""
        told = f"{self.label}: {shards.told(self.states)}"
        return f"{told}; the same command without --shard gathers and scores" if self.done else told

    @property
    def done(self) -> bool:
        """Whether all cases are answered."""
        return all(state.done for state in self.states)


@dataclass(frozen=True)
class DatasetTraining:
    """The training split of a dataset, read on first use (a `bench.contracts.TrainingSet`)."""

    dataset: Dataset
    held_out: frozenset[str]
    """Case ids of the split that is reported on."""

    @cached_property
    def cases(self) -> Sequence[Case]:
        """The training cases, none of which is also reported on."""
        cases = self.dataset.cases("train")
        if shared := self.held_out.intersection(case.id for case in cases):
            raise BenchError(
                f"{len(shared)} cases are in the training split and in the split reported on, e.g. "
                f"{some(sorted(shared))}: choose another split"
            )
        return cases

    @cached_property
    def references(self) -> Mapping[str, str]:
        """Case id → findings."""
        return self.dataset.references("train")

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the training data."""
        return digest([self.dataset.fingerprint(), "train"])


@dataclass(frozen=True, slots=True)
class Split:
    """The cases to report on and their references, checked."""

    dataset: Dataset
    name: str
    split: str
    cases: Sequence[Case]
    references: Mapping[str, str]
    contaminated: frozenset[str] = frozenset()
    """Ids of cases whose image the encoder was trained on, where the dataset can tell."""

    def identity(self) -> dict[str, Any]:
        """Return what run.json says of the dataset."""
        return {
            "dataset": self.name,
            "split": self.split,
            "dataset_fingerprint": self.dataset.fingerprint(),
            "credentialed": self.dataset.credentialed,
            "n_cases": len(self.cases),
            "cases_digest": digest([case.id for case in self.cases]),
        }


# ------------------------------------------------------------------ the parts of a run


def make_context(config: Config, workdir: Path, console: Any = None) -> RunContext:
    """Return the context that a configuration asks for."""
    return RunContext(
        workdir=workdir,
        cache_root=cachedir.cache_root(),
        device=machine.resolve_device(config.run.device),
        seed=config.run.seed,
        parts=config.parts,
        console=console,
        attested=config.run.attest_zero_retention,
    )


def open_dataset(config: Config, context: RunContext) -> Dataset:
    """Build the dataset; where it is credentialed, all that this process writes from now on is private.

    While it is built it may be, and no text leaves the machine.
    """
    context.credentialed = True
    dataset = cast(Dataset, context.build("dataset", config.dataset.use, config.dataset.options, "dataset"))
    context.credentialed = dataset.credentialed
    if dataset.credentialed:
        os.umask(0o077)
        context.console.print(
            "Credentialed data: runs and caches are private to this user and must not be shared.", markup=False
        )
    return dataset


def open_split(config: Config, dataset: Dataset, context: RunContext) -> Split:
    """Read and check the split, and draw `limit` cases of it with the seed."""
    if config.split not in dataset.splits():
        raise BenchError(f"dataset.split: {registry.miss('split', config.split, dataset.splits())}")
    cases = dataset.cases(config.split)
    references = dataset.references(config.split)
    for problem in dataset.problems():
        context.problem(problem)
    _check_cases(cases, references, config)
    flagged = dataset.contaminated(config.split) if hasattr(dataset, "contaminated") else frozenset()
    return Split(dataset, config.dataset.use, config.split, _draw(cases, config.run), references, flagged)


def _check_cases(cases: Sequence[Case], references: Mapping[str, str], config: Config) -> None:
    where = f"dataset {config.dataset.use!r}, split {config.split!r}"
    if not cases:
        raise BenchError(f"{where}: no case to report on; bench doctor shows what was read and left out")
    ids = [case.id for case in cases]
    if len(set(ids)) < len(ids):
        raise BenchError(f"{where}: case ids are not unique: {some(sorted({i for i in ids if ids.count(i) > 1}))}")
    if missing := [case_id for case_id in ids if case_id not in references]:
        raise BenchError(f"{where}: {len(missing)} cases have no reference: {some(missing)}")


def _draw(cases: Sequence[Case], options: RunOptions) -> Sequence[Case]:
    if options.limit is None or options.limit >= len(cases):
        return cases
    rng = np.random.default_rng([options.seed, len(cases)])
    chosen = sorted(rng.permutation(len(cases))[: options.limit].tolist())
    return [cases[i] for i in chosen]


# ------------------------------------------------------------------ running


def default_out(config: Config) -> Path:
    """Return runs/<dataset>-<split>-<12 hex of the resolved configuration>."""
    return Path("runs") / f"{Path(config.dataset.use).name.replace(':', '-')}-{config.split}-{config.digest()}"


def refuse_file(out: Path) -> None:
    """Raise BenchError where ``--out`` is a file, or lies below one."""
    for path in (out, *out.parents):
        if path.exists() and not path.is_dir():
            raise BenchError(f"--out {out}: {'' if path == out else f'{path} '}is a file; name a folder")


def run(config: Config, out: Path, context: RunContext, *, strict: bool, allow_failed: bool) -> list[Outcome]:
    """Run every system of the configuration; what is finished or half done in `out` is continued, not repeated.

    What shards of the same run made is gathered.
    """
    split, train = _opened(config, out, context)
    scoring.check_metrics(config.metrics, context, strict=strict)
    outcomes = []
    for entry in config.systems:
        folder = out / entry.label
        with shards.whole(folder), _accounted(folder, context, SCORING):
            one = OneRun(config, entry, folder, split, train, context.for_run(folder / "work"))
            outcomes.append(one.run(allow_failed=allow_failed))
    if strict:
        refuse_null(outcomes)
    return outcomes


def run_shard(config: Config, out: Path, context: RunContext, shard: Shard, *, allow_failed: bool) -> list[Share]:
    """Let every system of the configuration report on one share of the cases; nothing is scored."""
    split, train = _opened(config, out, context)
    shares = []
    for entry in config.systems:
        folder = out / entry.label
        with store.locked(folder, shared=True):
            one = OneRun(config, entry, folder, split, train, context.for_run(shard.folder(folder) / "work"))
            shares.append(one.run_shard(shard, allow_failed=allow_failed))
    return shares


def _opened(config: Config, out: Path, context: RunContext) -> tuple[Split, DatasetTraining]:
    split = open_split(config, open_dataset(config, context), context)
    if context.problems:
        context.console.print(
            f"Split {split.split}: {len(context.problems):,} entries of the dataset left out or faulty "
            f"(listed in {out}/*/problems.jsonl), e.g. {_problem_line(next(iter(context.problems.values())))}",
            markup=False,
        )
    return split, DatasetTraining(split.dataset, frozenset(case.id for case in split.cases))


@contextmanager
def _accounted(folder: Path, context: RunContext, purpose: str) -> Iterator[None]:
    """Write what questions to chat models took, however the block ends."""
    try:
        yield
    finally:
        write_usage(folder, context, purpose)


def refuse_null(outcomes: Sequence[Outcome]) -> None:
    """Raise BenchError for the first score without a value (``--strict``)."""
    for outcome in outcomes:
        for key, score in outcome.summary["scores"].items():
            if score["value"] is None:
                raise BenchError(f"--strict: {outcome.folder}: {key} has no value: {score['reason']}")


def _problem_line(problem: Problem) -> str:
    return f"{problem.file}: {problem.id}: {problem.why}"


@dataclass(frozen=True)
class OneRun:
    """One system on one split."""

    config: Config
    entry: Entry
    folder: Path
    split: Split
    train: DatasetTraining
    context: RunContext

    def run(self, *, allow_failed: bool) -> Outcome:
        """Go through the stages; each finds what a former call left."""
        system = self._build()
        self._open(system)
        gathered = {str(shard): folder for shard, folder in shards.found(self.folder).items()}
        with _accounted(self.folder, self.context, REPORTING):
            reports = self._reporting(system, self.folder, self.split.cases, shards=gathered).reports()
        failed = [report for report in reports.values() if report.error is not None]
        if failed and not allow_failed:
            raise BenchError(self._failure(failed, len(reports), "scores them as empty reports, counted and shown"))
        resources.finish(self.folder, list(gathered.values()), reports.values())
        summary = self._score(system, reports, len(failed))
        return Outcome(self.folder, summary)

    def run_shard(self, shard: Shard, *, allow_failed: bool) -> Share:
        """Report on a share of the cases, those left out that the run or another shard has answered."""
        system = self._build()
        with store.locked(self.folder, ".opening", wait=True):  # of several that begin at once one writes run.json
            self._open(system)
        folder, cases = shard.folder(self.folder), shard.share(self.split.cases)
        # a run that would gather looks for a moment whether a shard's folder is held
        with store.locked(folder, patience_s=1.0), _accounted(folder, self.context, REPORTING):
            elsewhere = shards.answered_anywhere(self.folder) - shards.answered(folder)
            reports = self._reporting(system, folder, cases, elsewhere=frozenset(elsewhere)).reports()
        failed = [report for report in reports.values() if report.error is not None and report.id not in elsewhere]
        if failed and not allow_failed:
            raise BenchError(self._failure(failed, len(cases), "leaves them to the run that gathers the shards"))
        ids = [case.id for case in self.split.cases]
        return Share(self.entry.label, self.folder, shards.states(self.folder, shard.n, ids))

    def _reporting(self, system: System, folder: Path, cases: Sequence[Case], **more: Any) -> Reporting:
        return Reporting(self.entry.label, system, folder, cases, self.split.dataset, self.train, self.context, **more)

    # -------------------------------------------------------------- run.json

    def _build(self) -> System:
        build = self.context.build
        return cast(System, build("system", self.entry.use, self.entry.options, f"systems.{self.entry.label}"))

    def _open(self, system: System) -> None:
        """Write run.json, or check that what is there is the same run."""
        same = {
            "label": self.entry.label,
            "system": self.entry.use,
            "fingerprint": system.fingerprint(),
            "config": self.config.of_system(self.entry.label),
            **self.split.identity(),
        }
        source = registry.find("system", self.entry.use).source
        more = {"config_source": self.config.source, "system_source": source}
        changed = open_run(self.folder, same, self.context.device, self._free(), **more)
        for what, lines in changed.items():
            self.context.console.print(f"{self.folder}: continued with other {what}: {'; '.join(lines)}", markup=False)
        self._write_cases()

    def _free(self) -> list[str]:
        """Return the keys of the configuration that say where and how workers run, which no report hangs on."""
        config = self.config.of_system(self.entry.label)
        found = []
        for section, kind in _KINDS.items():
            for label, options in config.get(section, {}).items():
                if issubclass(registry.find(kind, options["use"]).plugin.Options, WorkerOptions):
                    found += [f"config.{section}.{label}.{name}" for name in WorkerOptions.model_fields]
        return found

    def _write_cases(self) -> None:
        lines = [
            {
                "id": case.id,
                "group": case.group,
                "images": [str(image.path) for image in case.images if image.role == "current"],
                "prior_images": [str(image.path) for image in case.images if image.role == "prior"],
                "indication": case.indication,
                "reference": self.split.references[case.id],
                "contaminated": case.id in self.split.contaminated,
            }
            for case in self.split.cases
        ]
        store.write_text(self.folder / "cases.jsonl", "".join(store.json_line(line) for line in lines))

    def _failure(self, failed: Sequence[Report], n_cases: int, allowed: str) -> str:
        first = "\n".join(f"  {report.id}: {report.error}" for report in failed[:SHOWN])
        return (
            f"{self.folder}: {len(failed)} of {n_cases} cases have no report:\n{first}\n"
            f"The same command asks them again; --allow-failed {allowed}."
        )

    # -------------------------------------------------------------- scores

    def _score(self, system: System, reports: Mapping[str, Report], n_failed: int) -> dict[str, Any]:
        pairs = [
            Pair(case.id, case.group, reports[case.id].text, self.split.references[case.id])
            for case in self.split.cases
        ]
        scores = scoring.run_metrics(self.config.metrics, pairs, self.folder, self.context, self.config.run)
        summary = {
            "label": self.entry.label,
            "system": self.entry.use,
            "fingerprint": system.fingerprint(),
            **self.split.identity(),
            "n_groups": len({case.group for case in self.split.cases}),
            "n_reports_failed": n_failed,
            "n_reports_empty": sum(not r.text.strip() and r.error is None for r in reports.values()),
            "n_contaminated": sum(case.id in self.split.contaminated for case in self.split.cases),
            "n_problems": len(store.read_lines(self.folder / "problems.jsonl")),
            "stand_ins": list(self.context.stand_ins),
            "llms": llms(self.context),
            "run": self.config.run.model_dump(mode="json"),
            "scores": scores,
        }
        finish(self.folder, summary)
        return summary
