"""Verifying an entry: its reports are scored again as its run.json configures the metrics, and all is compared."""

from __future__ import annotations

import io
import json
import math
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from rich.console import Console

from bench import cachedir, compare, machine, registry, scoring, store
from bench.config import PARTS, RunOptions, digest
from bench.config import Entry as MetricEntry
from bench.context import RunContext
from bench.contracts import LLM, Ticker
from bench.errors import BenchError, ServerLost, Unavailable
from leaderboards.living.cases import Standing, standing
from leaderboards.living.checked import Checked, ColumnCheck, EntryCheck, MetricCheck
from leaderboards.living.entries import Entry, is_credentialed, is_signed
from leaderboards.living.foreign import tame
from leaderboards.living.public import is_number

SAME = ("label", "system", "fingerprint", "dataset", "split", "dataset_fingerprint", "credentialed", "cases_digest")
"""What run.json and summary.json both say."""
NUMBERS = ("value", "ci_low", "ci_high")
EXACT = ("n", "n_undefined", "n_failed", "heading", "scale", "decimals", "higher_is_better")


@dataclass(frozen=True, slots=True)
class Settings:
    """How entries are checked."""

    metrics: str | None = None
    """Labels with commas between, `nlg`, or `all`; None: all but those that ask a chat model."""
    tolerance: float = 1e-6
    """Numbers that differ by less than this share count as the same: another processor rounds otherwise."""
    device: str = "auto"
    attested: Sequence[str] = ()
    """Hosts for which the user attests zero retention; what an entry's run.json attests counts for nothing here."""
    run_code: Sequence[Path] = ()
    """Files of code that entries name and that may be run."""


class Context(RunContext):
    """A run's context whose bars are notes of one bar over all entries, and which may keep chat models from asking."""

    def __init__(self, bar: _Bar, ask: bool, **settings: Any) -> None:
        super().__init__(**settings)
        self._bar, self._ask = bar, ask

    def llm(self, spec: str) -> LLM:
        """Return a chat model where it may be asked."""
        if not self._ask:
            raise Unavailable(f"it asks a chat model, {spec}", "bench leaderboard check --rescore all asks it")
        return super().llm(spec)

    @contextmanager
    def progress(self, title: str, total: int | None, unit: str = "") -> Iterator[Ticker]:
        """Note the progress beside the one bar."""
        yield _Within(self._bar, title, total, unit)


@dataclass
class _Bar:
    """The bar over all entries, in pairs scored."""

    ticker: Ticker
    entry: str = ""
    within: int = 0
    """Pairs of the metric under way that are counted."""

    def finish(self, n: int) -> None:
        """Count what is left of a metric's `n` pairs."""
        self.ticker.advance(n - self.within)
        self.within = 0


@dataclass
class _Within:
    bar: _Bar
    title: str
    total: int | None
    unit: str
    done: int = 0

    def advance(self, n: int = 1) -> None:
        """Count n more units."""
        self.done += n
        if self.unit == "pairs":
            self.bar.ticker.advance(n)
            self.bar.within += n
        of = f"/{self.total}" if self.total else ""
        self.bar.ticker.note(f"{self.bar.entry}: {self.title} {self.done}{of}")

    def note(self, text: str) -> None:
        """Show a text."""
        self.bar.ticker.note(f"{self.bar.entry}: {self.title} {text}")


@dataclass
class Checker:
    """Checks entries one after another; what a metric loads is loaded once for equal configurations."""

    settings: Settings
    bar: _Bar
    home: Path
    """Folder for what scoring writes; nothing of it is kept."""
    contexts: dict[str, Context] = field(default_factory=dict)
    device: str = ""

    def __post_init__(self) -> None:
        self.device = machine.resolve_device(self.settings.device)

    def check(self, entry: Entry, run: compare.Run, place: Standing, before: EntryCheck | None) -> EntryCheck:
        """Return what is found of an entry; metrics not scored again keep what `before` says of them."""
        self.bar.entry = entry.name
        when = _now()
        kept = dict(before.metrics) if before is not None else {}
        tamed = tame(run, self.settings.run_code)
        lost = list(tamed.refused)
        """Metrics of which nothing tells here which columns they report."""
        for label in metrics_of(run):
            if label in tamed.refused:
                kept.setdefault(label, _check_of(when, _claimed(label, run, tamed.why(label))))
            elif not self._asked(label, tamed.run):
                kept.setdefault(label, self._unasked(label, tamed.run, when))
            else:
                columns = self._metric(label, tamed.run)
                kept[label] = _check_of(when, columns, machine.versions(), self.device)
            if label not in lost and not _is_found(metrics_of(run)[label]["use"]):
                lost.append(label)
            self.bar.finish(len(run.pairs))
        faults = [*faults_of(run), *place.faults]
        if strangers := _strangers(run, kept):
            if lost:  # it may be theirs: nothing was verified of them
                kept[lost[0]] = _with_strangers(kept[lost[0]], strangers, run)
            else:
                faults.append(f"{', '.join(strangers)}: no metric of run.json reports it")
        return EntryCheck(digest=entry.digest, when=when, faults=tuple(faults), notes=tuple(place.notes), metrics=kept)

    def _asked(self, label: str, run: compare.Run) -> bool:
        wanted = self.settings.metrics
        if wanted is None or wanted == "all":
            return True
        if wanted != "nlg":
            return label in _names(wanted)
        use = metrics_of(run)[label]["use"]
        try:
            return getattr(registry.find("metric", use).plugin, "group", None) == "nlg"
        except BenchError:
            return False

    def _unasked(self, label: str, run: compare.Run, when: str) -> MetricCheck:
        entry, scores = _metric_entry(label, run), run.summary["scores"]
        columns = {key: ColumnCheck(state="unasked", entry=scores[key]["value"]) for key in _keys(entry, scores)}
        return _check_of(when, columns)

    def _metric(self, label: str, run: compare.Run) -> dict[str, ColumnCheck]:
        """Score one metric again, in a folder of its own, and compare."""
        entry, scores = _metric_entry(label, run), run.summary["scores"]
        with tempfile.TemporaryDirectory(dir=self.home) as name:
            scratch = Path(name)
            try:
                context = self._context(run)
                options = RunOptions.model_validate(run.run["config"].get("run") or {})
                here = scoring.run_metric(entry, list(run.pairs.values()), scratch, context, options)
            except ValidationError as err:
                first = err.errors()[0]
                return _unable(entry, scores, f"run.json: config.run.{first['loc'][0]}: {first['msg']}")
            except ServerLost as err:
                return _unable(entry, scores, str(err))
            except BenchError as err:  # no such metric or options here, or it cannot be built
                return _unable(entry, scores, str(err).partition("\n")[0])
            columns = {key: self._column(scores.get(key), here[key]) for key in here}
            return self._with_files(columns, label, run, scratch, here)

    def _context(self, run: compare.Run) -> Context:
        """Return a context for a run's configuration, shared by all runs whose parts are configured alike."""
        config = run.run["config"]
        parts = {name: config.get(name) or {} for name in PARTS}
        private = is_credentialed(run.run, run.summary)
        seed = (config.get("run") or {}).get("seed", 0)
        key = json.dumps([parts, private, seed], sort_keys=True)
        if key not in self.contexts:
            context = Context(
                self.bar,
                self.settings.metrics is not None,
                workdir=self.home / "work",
                cache_root=cachedir.cache_root(),
                device=self.device,
                seed=seed if isinstance(seed, int) else 0,
                parts=parts,
                console=Console(file=io.StringIO()),
                attested=self.settings.attested,
            )
            context.credentialed = private
            self.contexts[key] = context
        return self.contexts[key]

    # -------------------------------------------------------------- comparing

    def _column(self, there: Mapping[str, Any] | None, here: Mapping[str, Any]) -> ColumnCheck:
        """Compare a column's entry of summary.json with the one made here."""
        if there is None:
            return ColumnCheck(state="differs", detail="summary.json lacks the column", here=here["value"])
        values = {"entry": there["value"], "here": here["value"]}
        if there["value"] is None:
            return ColumnCheck(state="nothing", detail=str(there.get("reason") or ""), **values)
        if _not_computed(here):
            return ColumnCheck(state="unable", detail=str(here.get("reason") or "no reason given"), **values)
        wrong = self._wrong(there, here)
        if here["signature"] != there.get("signature"):
            told = _signature_difference(str(there.get("signature")), here["signature"])
            more = f"; the numbers differ: {'; '.join(wrong)}" if wrong else "; the numbers are the same"
            return ColumnCheck(state="recipe", detail=told + more, **values)
        return ColumnCheck(state="differs" if wrong else "verified", detail="; ".join(wrong), **values)

    def _wrong(self, there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
        """Say which numbers are other here than in the entry, and by how much."""
        wrong: list[str] = []
        for name in NUMBERS:
            told, found = there.get(name), here[name]
            if (told is None and found is None) or (wrong and name != "value"):  # another value has other bounds
                continue
            if told is None or found is None or not is_number(told):
                wrong.append(f"{name} {told} in the entry, {found} here")
            elif not self._close(told, found):
                wrong.append(f"{name} {told:.6g} in the entry, {found:.6g} here ({told - found:+.3g})")
        wrong += [
            f"{name} {there.get(name)!r} in the entry, {here[name]!r} here"
            for name in EXACT
            if there.get(name) != here[name]
        ]
        return wrong

    def _close(self, one: float, other: float) -> bool:
        return math.isclose(one, other, rel_tol=self.settings.tolerance, abs_tol=1e-9)

    def _with_files(
        self,
        columns: dict[str, ColumnCheck],
        label: str,
        run: compare.Run,
        scratch: Path,
        here: Mapping[str, Mapping[str, Any]],
    ) -> dict[str, ColumnCheck]:
        """Return the columns, those of a verified metric marked where the entry's statistics or tables are others."""
        if not any(one.state in ("verified", "differs") for one in columns.values()):
            return columns
        signature = next(one["signature"] for one in here.values())
        said = [*self._statistics(label, run, scratch, signature), *_tables(label, run, scratch)]
        if not said:
            return columns
        return {
            key: one.model_copy(update={"state": "differs", "detail": "; ".join(filter(None, [one.detail, *said]))})
            if one.state in ("verified", "differs")
            else one
            for key, one in columns.items()
        }

    def _statistics(self, label: str, run: compare.Run, scratch: Path, signature: str) -> list[str]:
        """Say how many cases have other statistics in the entry than here."""
        mine = _by_key(scoring.stats_file(scratch, label))
        try:
            theirs = _by_key(scoring.stats_file(run.folder, label))
        except BenchError as err:
            return [f"its statistics cannot be read: {str(err).rpartition('/')[2]}"]
        missing = other = 0
        for pair in run.pairs.values():
            key = scoring.key_of(signature, pair)
            if key not in theirs:
                missing += 1
            elif not self._same_row(mine[key], theirs[key]):
                other += 1
        n = len(run.pairs)
        said = [f"no statistics of {missing} of {n} cases: texts or file were changed after scoring"] * bool(missing)
        return said + [f"the statistics of {other} of {n} cases are others"] * bool(other)

    def _same_row(self, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
        try:
            one, other = (np.array(row["values"], dtype=np.float64) for row in (mine, theirs))
        except (KeyError, TypeError, ValueError, OverflowError):
            return False
        return bool(
            one.shape == other.shape
            and np.allclose(one, other, rtol=self.settings.tolerance, atol=1e-9)
            and mine["status"] == theirs.get("status")
        )


def _by_key(file: Path) -> dict[str, Mapping[str, Any]]:
    return {key: line for line in store.read_lines(file) if isinstance(key := line.get("key"), str)}


def _tables(label: str, run: compare.Run, scratch: Path) -> list[str]:
    """Say which of the metric's tables are others in the entry."""
    stem = label.replace("/", "__")
    return [
        f"tables/{file.name} is another"
        for file in sorted((scratch / "tables").glob("*.csv"))
        if file.stem.partition("@")[0] == stem and _text(file) != _text(run.folder / "tables" / file.name)
    ]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _not_computed(here: Mapping[str, Any]) -> bool:
    """Tell a metric that could not work here, or found no verdict, from one whose score is 0/0."""
    return here["value"] is None and not (here["n_undefined"] and not here["n_failed"])


def _unable(entry: MetricEntry, scores: Mapping[str, Any], why: str) -> dict[str, ColumnCheck]:
    return {key: _unverified(scores[key], why) for key in _keys(entry, scores)}


def _keys(entry: MetricEntry, scores: Mapping[str, Any]) -> list[str]:
    """Return the columns of a summary that a metric reports, as far as its class tells."""
    try:
        found = registry.find("metric", entry.use)
    except BenchError:
        prefix = f"{entry.label}/"
        return [key for key in scores if key.startswith(prefix)]
    columns = scoring.columns_of(entry, found.plugin, registry.default_label(found))
    return [column.key for column in columns if column.key in scores]


def _signature_difference(entry: str, here: str) -> str:
    left, right = entry.split("|"), here.split("|")
    mine, theirs = ([p for p in a if p not in b] for a, b in ((left, right), (right, left)))
    return f"{' '.join(mine) or 'nothing'} in the entry, {' '.join(theirs) or 'nothing'} here"


# ------------------------------------------------------------------ what the files say of each other


def metrics_of(run: compare.Run) -> Mapping[str, Mapping[str, Any]]:
    """Return the metrics that a run's run.json configures, by label."""
    found: Mapping[str, Mapping[str, Any]] = run.run["config"]["metrics"]
    return found


def _metric_entry(label: str, run: compare.Run) -> MetricEntry:
    given = metrics_of(run)[label]
    return MetricEntry(label, given["use"], {key: value for key, value in given.items() if key != "use"})


def faults_of(run: compare.Run) -> list[str]:
    """Say what an entry's files claim that its cases and reports do not bear out."""
    told, summary = run.run, run.summary
    faults = [
        f"{name}: run.json says {told[name]!r}, summary.json {summary[name]!r}"
        for name in SAME
        if name in told and name in summary and told[name] != summary[name]
    ]
    if not is_signed(run.folder, summary):
        faults.append("summary.json was changed after the run was finished (done.json has another digest)")
    if (options := summary.get("run")) != (recorded := told["config"].get("run")) and None not in (options, recorded):
        faults.append("the options of resampling: run.json and summary.json say different things")
    faults += [
        f"{name} is {summary[name]} in summary.json, and {found} by its cases and reports"
        for name, found in _counted(run).items()
        if name in summary and summary[name] != found
    ]
    return faults


def _counted(run: compare.Run) -> dict[str, Any]:
    """Return what of summary.json can be counted again."""
    pairs = list(run.pairs.values())
    found: dict[str, Any] = {"n_cases": len(pairs), "n_groups": len({pair.group for pair in pairs})}
    if run.summary.get("system") == "predictions":  # bench score: the data are known by their texts alone
        texts = [[pair.id, pair.group, pair.candidate, pair.reference] for pair in pairs]
        references = [[pair.id, pair.reference] for pair in pairs]
        return {**found, "fingerprint": digest(texts), "dataset": f"file:{digest(references)}"}
    reports = {line.get("id"): line for line in store.read_lines(run.folder / "reports.jsonl")}
    mine = [reports[pair.id] for pair in pairs]
    cases = store.read_lines(run.folder / "cases.jsonl")
    return {
        **found,
        "cases_digest": digest([pair.id for pair in pairs]),
        "n_reports_failed": sum(line.get("error") is not None for line in mine),
        "n_reports_empty": sum(not line["text"].strip() and line.get("error") is None for line in mine),
        "n_contaminated": sum(line.get("contaminated") is True for line in cases),
    }


def _strangers(run: compare.Run, checks: Mapping[str, MetricCheck]) -> list[str]:
    """Return the columns of a summary that no metric of its run.json reports, as far as metrics are found here."""
    known = {key for check in checks.values() for key in check.columns}
    return [key for key in run.summary["scores"] if key not in known]


def _with_strangers(check: MetricCheck, keys: Sequence[str], run: compare.Run) -> MetricCheck:
    """Return what became of a metric that is not known here, the columns that may be its own among it."""
    why = "nothing here tells which metric of run.json reports it"
    more = {key: _unverified(run.summary["scores"][key], why) for key in keys}
    return check.model_copy(update={"columns": {**check.columns, **more}})


def _claimed(label: str, run: compare.Run, why: str) -> dict[str, ColumnCheck]:
    """Return the columns that carry a metric's label, none of them verified."""
    return {key: _unverified(one, why) for key, one in run.summary["scores"].items() if key.startswith(f"{label}/")}


def _unverified(told: Mapping[str, Any], why: str) -> ColumnCheck:
    return ColumnCheck(state="unable" if told["value"] is not None else "nothing", detail=why, entry=told["value"])


def _check_of(
    when: str, columns: Mapping[str, ColumnCheck], versions: Mapping[str, str] | None = None, device: str = ""
) -> MetricCheck:
    return MetricCheck(when=when, versions=versions or {}, device=device, columns=columns)


def _is_found(use: str) -> bool:
    try:
        registry.find("metric", use)
    except BenchError:
        return False
    return True


# ------------------------------------------------------------------ all entries


def check_all(
    entries: Sequence[Entry],
    before: Checked,
    settings: Settings,
    progress: Callable[[int], Any],
    keep: Callable[[str, EntryCheck], None] = lambda name, check: None,  # noqa: ARG005
) -> Checked:
    """Check all entries; one that cannot be read is a fault of its own.

    progress(total) opens the bar, in pairs. keep(name, check) is called once an entry is checked: a killed check
    loses one entry at most.
    """
    runs, damaged = read_runs(entries)
    _check_labels(settings.metrics, runs.values())
    places = standing(runs)
    found = {}
    total = sum(len(run.pairs) * len(metrics_of(run)) for run in runs.values())
    with tempfile.TemporaryDirectory(prefix="bench-check-") as home, progress(total) as ticker:  # mode 700
        checker = Checker(settings, _Bar(ticker), Path(home))
        for entry in entries:
            if entry.name in damaged:
                found[entry.name] = damaged[entry.name]
            else:
                old = before.of(entry.name, entry.digest)
                found[entry.name] = checker.check(entry, runs[entry.name], places[entry.name], old)
            keep(entry.name, found[entry.name])
    return Checked(entries=found)


def read_runs(entries: Sequence[Entry]) -> tuple[dict[str, compare.Run], dict[str, EntryCheck]]:
    """Return the entries that can be read as runs, and what is to be said of the others."""
    runs: dict[str, compare.Run] = {}
    damaged: dict[str, EntryCheck] = {}
    for entry in entries:
        try:
            run = compare.read_run(entry.folder)
            if not run.pairs:
                raise BenchError("cases.jsonl has no case")
            runs[entry.name] = run
        except BenchError as err:
            why = str(err).replace(f"{entry.folder}/", "").replace(str(entry.folder), entry.name)
            damaged[entry.name] = EntryCheck(digest=entry.digest, when=_now(), faults=(f"cannot be read: {why}",))
    return runs, damaged


def _names(wanted: str) -> list[str]:
    return [name.strip() for name in wanted.split(",")]


def _check_labels(wanted: str | None, runs: Collection[compare.Run]) -> None:
    if wanted is None or wanted in ("all", "nlg"):
        return
    known = {label for run in runs for label in metrics_of(run)}
    for name in _names(wanted):
        if name not in known:
            raise BenchError(f"--rescore: {registry.miss('metric of an entry', name, {*known, 'nlg', 'all'})}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
