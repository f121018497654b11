"""The contract of a system, rule by rule (`bench.contracts.System`)."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

from bench import store
from bench.check import common, other
from bench.check.outcome import Advice, Broken, Checked, Ledger, Outcome, difference, quoted, require
from bench.check.subject import LIMIT, Request, Subject, opened
from bench.check.vary import moved
from bench.contracts import Case, Evidence, Image, Report
from bench.errors import BenchError
from bench.options import Options
from bench.run_folder import report_from_line

Reports = Mapping[str, Report]


def check_system(
    spec: str,
    options: Mapping[str, Any] | None = None,
    *,
    config: str | None = None,
    dataset: str | None = None,
    split: str | None = None,
    limit: int = LIMIT,
    seed: int | None = None,
    assignments: Sequence[str] = (),
) -> Checked:
    """Check a system, by name or as ``./file.py:Class``, on `limit` cases: of a small demo where nothing else is said.

    `assignments` are as with ``--set``. Raises BenchError where there is no such system, or its options are wrong.
    """
    request = Request("system", spec, dict(options or {}), config, dataset, split, limit, seed, tuple(assignments))
    with opened(request) as subject:
        return Checked("system", spec, _SystemChecks(subject).run())


class _SystemChecks:
    """Runs the checks of one system; `first` is the instance that most of them ask."""

    def __init__(self, subject: Subject) -> None:
        self.subject, self.ledger = subject, Ledger()
        self.cases = list(subject.split.cases)
        if len(self.cases) < 2:
            raise BenchError(f"{len(self.cases)} case is too few to check a system on: --limit 2 or more")
        self.half = len(self.cases) // 2
        self.first: Any = None
        self.expected: Reports = {}
        self.fingerprints: dict[str, Any] = {}
        """When it was asked for → fingerprint."""
        self.facts: Mapping[str, float] = {}
        """After all reports."""
        self.halves = subject.folder / "halves"
        """Work folder of a run that is stopped halfway by one instance and continued by another process."""

    def run(self) -> list[Outcome]:
        """Run all checks, those that others build on first."""
        common.declared(self.ledger, self.subject)
        self._of_one_instance()
        self.first = None
        gc.collect()  # a model may hold most of the memory, and the next instance loads its own
        self._of_several()
        return self.ledger.outcomes

    def _of_one_instance(self) -> None:
        check = self.ledger.check
        check("build", "it is built with these options, and has a fingerprint", self._build)
        check("assets", "what it needs from a network can be told", lambda: common.assets(self.first), ["build"])
        check("plan", "a dry run can be told before anything is prepared", self._plan, ["build"])
        check("prepare", "it can be prepared, and once more", self._prepare, ["build"])
        check("reports", "one report for each case asked, and no other", self._reports, ["prepare"])
        check("again", "the same reports when asked again", self._again, ["reports"])
        check("order", "the same reports in any order of the cases", self._order, ["again"])
        check("alone", "the same report alone and in a batch", self._alone, ["order"])
        check("no case", "no report where no case is asked", self._no_case, ["prepare"])
        check("bare case", "a case without indication and earlier reports is answered", self._bare_case, ["reports"])
        check("bad image", "an unreadable image costs its own case only", self._bad_image, ["alone"])
        check("facts", "facts are finite numbers", self._facts, ["reports"])
        check("details", "details can be written as JSON", self._details, ["prepare"])

    def _of_several(self) -> None:
        check = self.ledger.check
        check("new instance", "a new instance writes the same reports", self._new_instance, ["alone"])
        check("import", "finding it imports no heavy package", lambda: common.light(self.other))
        check("resume", "another process goes on with the same reports", self._resume, ["new instance"])
        check(
            "facts of a part", "a run that was continued has the same facts", self._facts_of_a_part, ["facts", "resume"]
        )
        check("fingerprint", "the fingerprint is the same at any time, in any process", self._fingerprint, ["build"])
        check("options told", "an option that moves a report moves the fingerprint", self._options, ["new instance"])

    @cached_property
    def other(self) -> other.Other:
        """What another process finds, asked for the second half of the cases as after a kill."""
        asked = {"ids": [case.id for case in self.cases[self.half :]], "work": str(self.halves)}
        return other.ask(self.subject.request.told(), self.subject.entry.use, self.subject.folder, **asked)

    # -------------------------------------------------------------- one instance

    def _build(self) -> None:
        self.first = self.subject.build()
        common.methods(self.first, "fingerprint", "prepare", "generate", "facts")
        self.fingerprints["at first"] = common.identity(self.first.fingerprint(), "fingerprint")

    def _plan(self) -> str:
        if not hasattr(self.first, "plan"):
            return "it has none"
        common.plan(self.first.plan(self.subject.train, self.cases))
        return ""

    def _prepare(self) -> None:
        self.first.prepare(self.subject.train)
        self.first.prepare(self.subject.train)

    def _reports(self) -> str:
        self.expected = answers(self.first, self.cases)
        self.fingerprints["once it has reported"] = self.first.fingerprint()
        self.facts = self.first.facts()
        failed = [report for report in self.expected.values() if report.error is not None]
        if failed:
            raise Advice(f"{len(failed)} of {len(self.cases)} cases have no report: {quoted(str(failed[0].error))}")
        empty = sum(not report.text.strip() for report in self.expected.values())
        return f"{len(self.cases)} cases" + (f", {empty} of the reports empty" if empty else "")

    def _again(self) -> None:
        same(self.expected, answers(self.first, self.cases), "when asked again")

    def _order(self) -> None:
        same(self.expected, answers(self.first, self.cases[::-1]), "when asked in reverse order")

    def _alone(self) -> None:
        for case in self.cases[:: max(1, len(self.cases) // 3)]:  # a worker may load its model for each call
            same(self.expected, answers(self.first, [case]), "when asked alone")

    def _no_case(self) -> None:
        found = list(self.first.generate([]))
        require(not found, f"{len(found)} reports came where no case was asked")

    def _bare_case(self) -> None:
        answers(self.first, [Case(case.id, case.group, case.images[:1]) for case in self.cases[:2]])

    def _bad_image(self) -> str:
        """Two cases keep their ids, which a system may know, and get an image that is damaged, or not there."""
        damaged, missing = self.subject.folder / "not-an-image.png", self.subject.folder / "no-such-file.png"
        damaged.write_bytes(b"\x89PNG\r\n\x1a\nthese bytes are no image")
        files = zip(self.cases, (damaged, missing), strict=False)
        bad = [replace(case, images=(Image(file, "PA"),)) for case, file in files]
        others = self.cases[len(bad) :]
        found = answers(self.first, [bad[0], *others, *bad[1:]])
        same(self.expected, {case.id: found[case.id] for case in others}, "beside a case with a bad image")
        errors = sum(found[case.id].error is not None for case in bad)
        return "an error that names it" if errors else "it is answered all the same"

    def _facts(self) -> str:
        return common.names(sorted(common.numbers(self.facts, "facts")))

    def _details(self) -> str:
        if not hasattr(self.first, "details"):
            return "it has none"
        details = self.first.details()
        require(isinstance(details, Mapping), f"details must be a mapping, not {type(details).__name__}")
        common.writable(dict(details), "details")
        return ""

    # -------------------------------------------------------------- several instances and processes

    def _new_instance(self) -> None:
        """A second instance stops halfway, as a killed run does."""
        second = self.subject.build(work=self.halves)
        second.prepare(self.subject.train)
        begun = iter(second.generate(self.cases))
        same(self.expected, by_id(itertools.islice(begun, self.half)), "from a new instance")

    def _resume(self) -> None:
        lines = self.other.get("reports")
        found = by_id(report_from_line(line, self.subject.folder) for line in lines)
        exactly(self.cases[self.half :], found, "another process, asked for the second half,")
        same(self.expected, found, "in another process, asked for the second half only")

    def _facts_of_a_part(self) -> None:
        continued = self.other.get("facts")
        for name in sorted({*self.facts, *continued}):
            whole, halves = self.facts.get(name), continued.get(name)
            require(
                whole == halves,
                f"{name} is {whole}, but {halves} where one process made the first half of the reports and another "
                "the second: keep in context.workdir what is counted over reports",
            )

    def _fingerprint(self) -> None:
        self.fingerprints["of a new instance"] = self.subject.build().fingerprint()
        self.fingerprints["in another process"] = self.other.get("identity")
        first = self.fingerprints["at first"]
        for when, seen in self.fingerprints.items():
            require(seen == first, f"{difference(first, str(seen))} {when}")

    def _options(self) -> str:
        found = moved(self.subject.options, self.subject.fixed, lambda o: str(self.subject.build(o).fingerprint()))
        return common.told_by_options(found, self.subject.options, self._with_options, "fingerprint", "reports")

    def _with_options(self, options: Options) -> str | None:
        """Return how a report with other options differs, or None."""
        changed = self.subject.build(options)
        changed.prepare(self.subject.train)
        try:
            same(self.expected, answers(changed, self.cases), "with it")
        except Broken as err:
            return str(err)
        return None


# ------------------------------------------------------------------ reports


def answers(system: Any, cases: Sequence[Case]) -> Reports:
    """Ask for reports, check that they are reports on these cases, and return them by id."""
    found = by_id(system.generate(cases))
    exactly(cases, found, "it")
    return found


def by_id(reports: Any) -> Reports:
    """Check reports one by one and return them by id."""
    found: dict[str, Report] = {}
    for report in reports:
        well_formed(report)
        require(report.id not in found, f"two reports on the case {report.id!r}")
        found[report.id] = report
    return found


def exactly(cases: Sequence[Case], found: Reports, who: str) -> None:
    """Check that every case has its report and no other case has one."""
    asked = {case.id for case in cases}
    missing, strange = sorted(asked - set(found)), sorted(set(found) - asked)
    require(not strange, f"{who} reported on {common.names(strange)}, which was not asked")
    require(not missing, f"{who} gave no report on {common.names(missing)}, of {len(cases)} cases asked")


def well_formed(report: Any) -> None:
    """Check one report: its types, and that it can be written into a run folder."""
    require(isinstance(report, Report), f"generate must yield Reports, not {quoted(repr(report))}")
    require(isinstance(report.id, str) and isinstance(report.text, str), f"id and text are texts: {report!r}")
    require(report.error is None or isinstance(report.error, str), f"error is a text or None: {report.error!r}")
    odd = [item for item in report.evidence if not isinstance(item, Evidence)]
    require(not odd, f"evidence holds Evidence, not {quoted(repr(odd[:1]))}")
    try:
        store.json_line(asdict(report))
    except (TypeError, ValueError) as err:
        raise Broken(f"the report on {report.id!r} cannot be written as JSON: {err}") from None


def same(expected: Reports, found: Reports, when: str) -> None:
    """Check that reports on cases that were asked before say the same: text, error or none, names of the evidence."""
    for case_id, first in expected.items():
        report = found.get(case_id, first)
        if first.text != report.text:
            raise Broken(f"{case_id}: {difference(first.text, report.text)} {when}")
        both = [(r.error, [(e.kind, e.label, e.text) for e in r.evidence]) for r in (first, report)]
        require(both[0] == both[1], f"{case_id}: {difference(repr(both[0]), repr(both[1]))} {when}")
