"""The reports of one system on cases: what was answered before is taken, from shards too; only the rest is asked."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import resources, store
from bench.context import RunContext
from bench.contracts import Case, Dataset, Evidence, Report, System, TrainingSet
from bench.errors import BenchError
from bench.run_folder import DETAILS, SHOWN, differences, keep_details, report_from_line, some
from bench.shards import REPORTS


@dataclass(frozen=True)
class Reporting:
    """One system on cases; all of it is kept in one folder, that of a run or of a shard."""

    label: str
    system: System
    folder: Path
    cases: Sequence[Case]
    dataset: Dataset
    train: TrainingSet
    context: RunContext
    shards: Mapping[str, Path] = field(default_factory=dict)
    """Shards ("2/4") by folder whose reports count as this folder's own; the first that answered a case is taken."""
    elsewhere: frozenset[str] = frozenset()
    """Ids of cases that are answered in another folder: they are not asked."""

    def reports(self) -> dict[str, Report]:
        """Return case id → report, in the order of the cases; only what is not answered yet is asked."""
        reports = self._read(self.folder)
        taken = self._take(reports)
        todo = [case for case in self.cases if case.id not in self.elsewhere and not _answered(reports, case.id)]
        if todo:
            self._prepare()
            with store.Appender(self.folder / REPORTS) as out:
                self._guard(f"generating with {self.label}", lambda: self._generate(todo, reports, out))
            self._details("continued", told=True)
            self._took()
        if todo or taken or (reports and not (self.folder / "facts.json").exists()):
            self._learned(prepared=bool(todo))
        ordered = {case.id: reports[case.id] for case in self.cases if case.id in reports}
        if todo or taken:
            lines = (store.json_line(asdict(report)) for report in ordered.values())
            store.write_text(self.folder / REPORTS, "".join(lines))
        return ordered

    def _read(self, folder: Path) -> dict[str, Report]:
        file = folder / REPORTS
        reports = {r.id: r for r in (report_from_line(line, file) for line in store.read_lines(file))}
        if strange := sorted(reports.keys() - {case.id for case in self.cases}):
            raise BenchError(f"{file}: reports on cases that were not asked: {some(strange)}")
        return reports

    def _take(self, reports: dict[str, Report]) -> bool:
        """Add the reports that shards have and `reports` lacks; tell whether there were any."""
        taken = False
        for folder in self.shards.values():
            for report in self._read(folder).values():
                if report.error is None and not _answered(reports, report.id):
                    reports[report.id] = report
                    taken = True
        for shard, folder in self.shards.items():
            if taken and (folder / DETAILS).exists():
                self._keep(store.read_json(folder / DETAILS), f"shard {shard}")
        return taken

    # -------------------------------------------------------------- asking

    def _prepare(self) -> None:
        self._guard(f"preparing {self.label}", lambda: self.system.prepare(self.train))
        self._details("continued")

    def _details(self, source: str, *, told: bool = False) -> None:
        """Keep what the system tells of how it reports, where it does."""
        if hasattr(self.system, "details"):
            found: dict[str, Any] = {}
            self._guard(f"asking {self.label} for details", lambda: found.update(self.system.details()))  # type: ignore[attr-defined]
            self._keep(found, source, told=told)

    def _keep(self, details: Mapping[str, Any], source: str, *, told: bool = False) -> None:
        """Keep details; say so where they are not those told first, unless that was `told` already."""
        try:
            changed = keep_details(self.folder, details, source)
        except (TypeError, ValueError) as err:
            raise BenchError(f"system {self.label!r}: details() is no JSON object: {err}") from None
        if changed and not told:
            more = f"; {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
            self.context.console.print(
                f"{self.folder}: {source} with other details: {'; '.join(changed[:SHOWN])}{more} (both are kept)",
                markup=False,
                highlight=False,
            )

    def _generate(self, todo: Sequence[Case], reports: dict[str, Report], out: store.Appender) -> None:
        waiting = {case.id for case in todo}
        with self.context.progress(self.label, len(self.cases), "reports") as bar:
            bar.advance(len(self.cases) - len(todo))
            for report in _timed(self.system.generate(todo), self.context):
                if report.id not in waiting:
                    raise BenchError(f"system {self.label!r} reported on {report.id!r}, not asked or asked once")
                _check(report, self.label)
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

    # -------------------------------------------------------------- what is known afterwards

    def _took(self) -> None:
        """Keep what making reports took, apart from the reports."""
        found: list[Any] = []
        if hasattr(self.system, "measured"):
            self._guard(f"asking {self.label} what it measured", lambda: found.append(self.system.measured()))  # type: ignore[attr-defined]
        try:
            resources.note(self.folder, self.context, resources.checked(found[0]) if found else None)
        except TypeError as err:
            raise BenchError(f"system {self.label!r}: {err}") from None

    def _learned(self, *, prepared: bool) -> None:
        """Keep what is known once the system is prepared: its facts, and what it could not use.

        Where shards made all reports, a shard's facts are those of the run, and the system need not be prepared. Where
        it noted something of each case in its work folder, the notes are joined and it is asked for its facts anew.
        """
        joined = self._join_notes()
        facts = None if prepared or joined else self._facts_of_shards()
        if facts is None:
            if not prepared:
                self._prepare()
            facts = dict(self.system.facts())
        store.write_text(self.folder / "problems.jsonl", "".join(map(store.json_line, self._problems())))
        store.write_json(self.folder / "facts.json", facts)

    def _problems(self) -> Iterable[Mapping[str, Any]]:
        for problem in self.dataset.problems():
            self.context.problem(problem)
        problems = {key: asdict(problem) for key, problem in self.context.problems.items()}
        for folder in self.shards.values():
            for line in store.read_lines(folder / "problems.jsonl"):
                problems.setdefault((str(line.get("file")), str(line.get("id"))), line)
        return problems.values()

    def _join_notes(self) -> bool:
        """Add what the system noted of cases in the shards' work folders (``*.jsonl``) to the notes in its own."""
        files = [file for folder in self.shards.values() for file in sorted((folder / "work").glob("*.jsonl"))]
        for file in files:
            own = self.context.workdir / file.name
            known = {store.json_line(line) for line in store.read_lines(own)}
            with store.Appender(own) as out:
                out.write(*(line for line in store.read_lines(file) if store.json_line(line) not in known))
        return bool(files)

    def _facts_of_shards(self) -> dict[str, Any] | None:
        """Return the facts of the first shard that has any; say where another's differ."""
        files = {shard: folder / "facts.json" for shard, folder in self.shards.items()}
        told = {shard: store.read_json(file) for shard, file in files.items() if file.exists()}
        if not told:
            return None
        first, facts = next(iter(told.items()))
        for shard, other in told.items():
            if changed := differences(facts, other):
                self.context.console.print(
                    f"{self.folder}: shard {shard} has other facts than {first}, whose are kept: "
                    f"{'; '.join(changed[:SHOWN])}",
                    markup=False,
                    highlight=False,
                )
        return facts


def _check(report: Any, label: str) -> None:
    """Raise BenchError for a report that could not be read again; nothing of it is kept."""
    if not isinstance(report.text, str):
        raise BenchError(f"system {label!r} gave {report.id!r} the text {report.text!r}, which is no string")
    if not isinstance(report.evidence, tuple | list) or not all(isinstance(e, Evidence) for e in report.evidence):
        raise BenchError(f"system {label!r} gave {report.id!r} the evidence {report.evidence!r}, no tuple of Evidence")


def _answered(reports: Mapping[str, Report], case_id: str) -> bool:
    return case_id in reports and reports[case_id].error is None


def _timed(reports: Iterable[Report], context: RunContext) -> Iterable[Report]:
    """Fill in the seconds between one report and the next where the system does not say.

    Those in which images were encoded are left out: another system of the run may have encoded them before.
    """
    last, encoding = time.perf_counter(), context.encoding_s
    for report in reports:
        seconds = time.perf_counter() - last - (context.encoding_s - encoding)
        yield report if report.seconds is not None else replace(report, seconds=round(max(seconds, 0.0), 6))
        last, encoding = time.perf_counter(), context.encoding_s
