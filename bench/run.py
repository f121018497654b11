"""`bench run`: systems report on a split, metrics score the reports, a folder a run keeps all of it.

A run folder holds, in the order they are written: ``run.json`` (resolved configuration, fingerprints, versions),
``cases.jsonl``, ``reports.jsonl`` (appended as reports come), ``stats/`` (a line a pair and metric), ``tables/`` (of
metrics that have any), ``facts.json``, ``problems.jsonl``, ``summary.json`` and, last, ``done.json``; ``usage.jsonl``
has a line for each call of the command that asked a chat model.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np

from bench import cachedir, machine, registry, scoring, store
from bench.config import Config, Entry, RunOptions, digest
from bench.context import RunContext
from bench.contracts import Case, Dataset, Evidence, Pair, Problem, Report, System
from bench.errors import BenchError
from bench.run_folder import SHOWN, finish, llms, open_run, write_usage


@dataclass(frozen=True, slots=True)
class Outcome:
    """One finished run: its folder and what its summary.json holds."""

    folder: Path
    summary: Mapping[str, Any]


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
                f"{_some(sorted(shared))}: choose another split"
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
        raise BenchError(f"{where}: case ids are not unique: {_some(sorted({i for i in ids if ids.count(i) > 1}))}")
    if missing := [case_id for case_id in ids if case_id not in references]:
        raise BenchError(f"{where}: {len(missing)} cases have no reference: {_some(missing)}")


def _draw(cases: Sequence[Case], options: RunOptions) -> Sequence[Case]:
    if options.limit is None or options.limit >= len(cases):
        return cases
    rng = np.random.default_rng([options.seed, len(cases)])
    chosen = sorted(rng.permutation(len(cases))[: options.limit].tolist())
    return [cases[i] for i in chosen]


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return ", ".join(ids[:SHOWN]) + more


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
    """Run every system of the configuration; what is finished or half done in `out` is continued, not repeated."""
    split = open_split(config, open_dataset(config, context), context)
    scoring.check_metrics(config.metrics, context, strict=strict)
    if context.problems:
        context.console.print(
            f"Split {split.split}: {len(context.problems):,} entries of the dataset left out or faulty "
            f"(listed in {out}/*/problems.jsonl), e.g. {_problem_line(next(iter(context.problems.values())))}",
            markup=False,
        )
    train = DatasetTraining(split.dataset, frozenset(case.id for case in split.cases))
    outcomes = []
    for entry in config.systems:
        folder = out / entry.label
        with store.locked(folder):
            one = OneRun(config, entry, folder, split, train, context.for_run(folder / "work"))
            try:
                outcomes.append(one.run(allow_failed=allow_failed))
            finally:
                write_usage(folder, context)
    if strict:
        refuse_null(outcomes)
    return outcomes


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
        self._write_cases()
        reports = self._reports(system)
        failed = [report for report in reports.values() if report.error is not None]
        if failed and not allow_failed:
            raise BenchError(self._failure(failed))
        summary = self._score(system, reports, len(failed))
        return Outcome(self.folder, summary)

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
        if changed := open_run(self.folder, same, self.context.device, **more):
            self.context.console.print(
                f"{self.folder}: continued with other package versions: {'; '.join(changed)}", markup=False
            )

    def _write_cases(self) -> None:
        lines = [
            {
                "id": case.id,
                "group": case.group,
                "images": [str(image.path) for image in case.images],
                "indication": case.indication,
                "reference": self.split.references[case.id],
                "contaminated": case.id in self.split.contaminated,
            }
            for case in self.split.cases
        ]
        store.write_text(self.folder / "cases.jsonl", "".join(store.json_line(line) for line in lines))

    # -------------------------------------------------------------- reports.jsonl

    def _reports(self, system: System) -> dict[str, Report]:
        """Return case id → report, in the order of the cases; only what is not answered yet is asked."""
        file = self.folder / "reports.jsonl"
        asked = {case.id for case in self.split.cases}
        reports = {r.id: r for r in (report_from_line(line, file) for line in store.read_lines(file))}
        if strange := sorted(set(reports) - asked):
            raise BenchError(f"{file}: reports on cases that were not asked: {_some(strange)}")
        todo = [c for c in self.split.cases if c.id not in reports or reports[c.id].error is not None]
        if todo:
            self._prepare(system)
            with store.Appender(file) as out:
                self._guard(f"generating with {self.entry.label}", lambda: self._generate(system, todo, reports, out))
        if todo or not (self.folder / "facts.json").exists():
            self._learned(system, prepared=bool(todo))
        ordered = {case.id: reports[case.id] for case in self.split.cases}
        if todo:
            store.write_text(file, "".join(store.json_line(asdict(report)) for report in ordered.values()))
        return ordered

    def _prepare(self, system: System) -> None:
        self._guard(f"preparing {self.entry.label}", lambda: system.prepare(self.train))

    def _learned(self, system: System, *, prepared: bool) -> None:
        """Keep what is known once the system is prepared: its facts, and what it could not use."""
        if not prepared:
            self._prepare(system)
        for problem in self.split.dataset.problems():
            self.context.problem(problem)
        problems = [asdict(problem) for problem in self.context.problems.values()]
        store.write_text(self.folder / "problems.jsonl", "".join(store.json_line(line) for line in problems))
        store.write_json(self.folder / "facts.json", dict(system.facts()))

    def _generate(self, system: System, todo: Sequence[Case], reports: dict[str, Report], out: store.Appender) -> None:
        waiting = {case.id for case in todo}
        with self.context.progress(self.entry.label, len(self.split.cases), "reports") as bar:
            bar.advance(len(self.split.cases) - len(todo))
            for report in _timed(system.generate(todo)):
                if report.id not in waiting:
                    raise BenchError(f"system {self.entry.label!r} reported on {report.id!r}, not asked or asked once")
                waiting.remove(report.id)
                out.write(asdict(report))
                reports[report.id] = report
                bar.advance()
        for case_id in sorted(waiting):
            report = Report(case_id, "", error="the system gave no report")
            out.write(asdict(report))
            reports[case_id] = report

    def _guard(self, doing: str, work: Callable[[], None]) -> None:
        """Run a plugin's code; an exception of its own becomes one message, its traceback a file."""
        try:
            work()
        except (BenchError, OSError):
            raise
        except Exception as err:
            log = self.folder / "error.log"
            store.write_text(log, traceback.format_exc())
            raise BenchError(
                f"{doing} failed: {type(err).__name__}: {err}\n  The traceback is in {log}. "
                "Reports made so far are kept; the same command continues."
            ) from err

    def _failure(self, failed: Sequence[Report]) -> str:
        first = "\n".join(f"  {report.id}: {report.error}" for report in failed[:SHOWN])
        return (
            f"{self.folder}: {len(failed)} of {len(self.split.cases)} cases have no report:\n{first}\n"
            "The same command asks them again; --allow-failed scores them as empty reports, counted and shown."
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


def report_from_line(line: Mapping[str, Any], file: Path) -> Report:
    """Return the report of a line of reports.jsonl."""
    try:
        if not isinstance(line["text"], str) or not isinstance(line["id"], str):
            raise TypeError("id and text are strings")
        evidence = tuple(Evidence(**item) for item in line.get("evidence", ()))
        return Report(line["id"], line["text"], evidence, line.get("error"), line.get("seconds"))
    except (KeyError, TypeError) as err:
        raise BenchError(f"{file}: a line is no report ({err}); delete it to ask the case again") from None


def _timed(reports: Iterable[Report]) -> Iterable[Report]:
    """Fill in the seconds between one report and the next where the system does not say."""
    last = time.perf_counter()
    for report in reports:
        now = time.perf_counter()
        yield report if report.seconds is not None else replace(report, seconds=round(now - last, 4))
        last = time.perf_counter()
