"""Comparing runs: differences of scores on the cases that all runs share, with intervals and corrected p-values.

Reads run folders only: cases, reports, and the statistics that scoring kept; no metric observes anything again, so that
neither weights nor a server are needed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench import registry, scoring, show, store
from bench.config import PARTS, Entry
from bench.contracts import FAILED, OK, UNDEFINED, Column, Floats, Metric, Pair, Stats
from bench.errors import BenchError, Unavailable
from bench.run_folder import context_of, differences
from bench.statistics import (
    Pairing,
    Shared,
    approximate_randomization,
    centred,
    holm,
    p_value,
    paired_bootstrap,
    percentiles,
    swaps,
)

Cluster = Literal["group", "case"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How runs are compared."""

    draws: int = 10_000
    """Paired resamples behind intervals and the first p-value; 0: none."""
    trials: int = 10_000
    """Swaps behind the second p-value; 0: none."""
    seed: int = 0
    confidence: float = 0.95
    """Level of the intervals; a corrected p-value below 1 - confidence is marked."""
    cluster: Cluster = "group"
    """What is drawn and swapped: patients, or single cases."""
    all_pairs: bool = False
    """Compare every run with every other one, not only with the first."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One column of two runs on the cases that are OK in every run compared; values as fractions, not times scale.

    None stands where there is nothing to tell: a score that is 0/0, no resampling asked for, a single patient.
    """

    column: str
    baseline: str
    run: str
    baseline_value: float | None
    run_value: float | None
    difference: float | None
    """Run minus baseline."""
    n: int
    """Cases compared."""
    n_left_out: int
    """Shared cases that are not OK in one of the runs compared."""
    n_groups: int
    """Patients (or cases, where these are drawn) with a case compared."""
    draws_undefined: int
    """Resamples without a score (0/0), left out of interval and p-value."""
    trials_undefined: int
    """Swaps without a score, left out of the p-value."""
    ci_low: float | None = None
    ci_high: float | None = None
    p_bootstrap: float | None = None
    p_randomization: float | None = None
    p_bootstrap_holm: float | None = None
    p_randomization_holm: float | None = None
    significant: bool = False
    """By the corrected p of approximate randomization, or of the bootstrap where no trial was asked for."""


@dataclass(frozen=True, slots=True)
class CaseValues:
    """What a column says of one case alone, in each run that is compared by it; None where it is undefined."""

    id: str
    group: str
    values: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Unit:
    """One metric of the runs that were scored alike: their statistics on the shared cases."""

    label: str
    metric: Metric
    columns: Sequence[Column]
    signature: str
    runs: Sequence[int]
    """Indices of the runs."""
    stats: Sequence[Stats]
    """For each of `runs`, a row a shared case."""

    def ok(self) -> NDArray[np.bool_]:
        """Return which cases are OK in every run, [n_cases, n_columns]."""
        bad = np.stack([stats.status != OK for stats in self.stats]).sum(axis=0)
        ok: NDArray[np.bool_] = np.asarray(bad == 0)
        return ok


@dataclass(frozen=True)
class Compared:
    """The runs side by side and what came of it."""

    runs: Sequence[Run]
    ids: Sequence[str]
    """Cases that all runs share, in the first run's order."""
    groups: Sequence[str]
    units: Sequence[Unit]
    settings: Settings
    comparisons: Sequence[Comparison]
    notes: Sequence[str]

    @property
    def labels(self) -> list[str]:
        """Names of the runs, each once."""
        return [run.label for run in self.runs]

    def column(self, key: str) -> Column:
        """Return a compared column; raises BenchError with the near misses."""
        known = {column.key: column for unit in self.units for column in unit.columns}
        if key not in known:
            raise BenchError(registry.miss("column compared", key, known))
        return known[key]

    def cases(self, key: str) -> list[CaseValues]:
        """Return what a column says of each case that is compared by it: `finish` of its own statistics."""
        found = []
        for unit in self.units:
            keys = [column.key for column in unit.columns]
            if key not in keys:
                continue
            place = keys.index(key)
            values = [unit.metric.finish(stats.values)[:, place].tolist() for stats in unit.stats]
            labels = [self.labels[r] for r in unit.runs]
            for i in np.flatnonzero(unit.ok()[:, place]).tolist():
                own = {label: _number(one[i]) for label, one in zip(labels, values, strict=True)}
                found.append(CaseValues(self.ids[i], self.groups[i], own))
        return found

    def worst(self, key: str, baseline: str, run: str) -> list[tuple[CaseValues, float]]:
        """Return the cases by run minus baseline, those first where the run falls furthest behind; ties by id."""
        sign = 1 if self.column(key).higher_is_better else -1
        both = []
        for case in self.cases(key):
            ours, theirs = case.values.get(run), case.values.get(baseline)
            if ours is not None and theirs is not None:
                both.append((case, ours - theirs))
        return sorted(both, key=lambda item: (sign * item[1], item[0].id))

    def as_json(self) -> dict[str, Any]:
        """Return all but the cases as a JSON-able mapping."""
        return {
            "runs": [{"label": run.label, "folder": str(run.folder)} for run in self.runs],
            "n_cases": len(self.ids),
            "n_groups": len(set(self.groups)),
            "settings": asdict(self.settings),
            "metrics": [
                {"label": unit.label, "signature": unit.signature, "runs": [self.labels[r] for r in unit.runs]}
                for unit in self.units
            ],
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
            "notes": list(self.notes),
        }


# ------------------------------------------------------------------ reading runs


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run folder."""

    folder: Path
    label: str
    run: Mapping[str, Any]
    """What run.json holds."""
    summary: Mapping[str, Any]
    pairs: Mapping[str, Pair]
    """Case id → report beside reference, in the run's order."""


def read_runs(paths: Sequence[Path], baseline: str | None = None) -> list[Run]:
    """Read the runs at or below the paths, the baseline first; a run named twice is read once.

    Raises BenchError where one is not finished, where there are less than two, or where no run has the baseline's
    label.
    """
    folders = list(dict.fromkeys(folder.resolve() for path in paths for folder in show.find_runs(path)))
    if len(folders) < 2:
        raise BenchError(f"{paths[0]}: one run alone; name two or more runs, or a folder that holds them")
    runs = _labelled([read_run(folder) for folder in folders])
    if baseline is None:
        return runs
    labels = [run.label for run in runs]
    if baseline not in labels:
        raise BenchError(f"--baseline: {registry.miss('run', baseline, labels)}")
    return sorted(runs, key=lambda run: run.label != baseline)


def read_run(folder: Path) -> Run:
    """Read one finished run."""
    run = store.read_json(folder / "run.json")
    if not (folder / "done.json").exists():
        answered = len(store.read_lines(folder / "reports.jsonl"))
        raise BenchError(
            f"{folder}: not finished: {answered} of {run.get('n_cases', '?')} reports. Finish it with the command that "
            "began it, or name the finished runs alone"
        )
    summary = store.read_json(folder / "summary.json")
    try:
        texts = {line["id"]: line["text"] for line in store.read_lines(folder / "reports.jsonl")}
        pairs = {
            line["id"]: Pair(line["id"], line["group"], texts[line["id"]], line["reference"])
            for line in store.read_lines(folder / "cases.jsonl")
        }
        _ = run["config"]["metrics"], summary["scores"]
        return Run(folder, str(summary["label"]), run, summary, pairs)
    except (KeyError, TypeError) as err:
        raise BenchError(
            f"{folder}: damaged: {err} not found in run.json, cases.jsonl, reports.jsonl or summary.json; run or score "
            "again in another folder"
        ) from None


def _labelled(runs: Sequence[Run]) -> list[Run]:
    """Give runs of one label the shortest ends of their paths that tell them apart."""
    labels = [run.label for run in runs]
    depth = 1
    while len(set(labels)) < len(labels) and depth < 20:
        depth += 1
        again = {label for label in labels if labels.count(label) > 1}
        labels = [
            "/".join(run.folder.parts[-depth:]) if label in again or "/" in label else label
            for run, label in zip(runs, labels, strict=True)
        ]
    return [replace(run, label=label) for run, label in zip(runs, labels, strict=True)]


def shared_cases(runs: Sequence[Run]) -> tuple[list[str], list[str], list[str]]:
    """Return ids and patients of the cases that all runs hold, and notes on the others.

    Raises BenchError where the runs are of other data: another dataset, split, reference text or patient.
    """
    first = runs[0]
    for run in runs[1:]:
        _check_dataset(first, run)
    ids = [case_id for case_id in first.pairs if all(case_id in run.pairs for run in runs)]
    if not ids:
        raise BenchError(f"{first.label} and the others share no case: runs are compared on the cases they share")
    for run in runs[1:]:
        _check_references(first, run, ids)
    notes = [
        f"{run.label}: {len(run.pairs) - len(ids)} of {len(run.pairs)} cases are not in every run, left out"
        for run in runs
        if len(run.pairs) > len(ids)
    ]
    return ids, _patients(runs, ids, notes), notes


def _check_dataset(first: Run, other: Run) -> None:
    """Raise where both runs say what data they are on and say different things; a scored file does not say."""
    if not (first.run.get("dataset_fingerprint") and other.run.get("dataset_fingerprint")):
        return
    names = ("dataset", "split", "dataset_fingerprint")
    if changed := differences({n: first.run.get(n) for n in names}, {n: other.run.get(n) for n in names}):
        options = differences(first.run["config"].get("dataset"), other.run["config"].get("dataset"), "dataset")
        raise BenchError(
            f"{first.label} and {other.label} are not on the same data: {'; '.join(options or changed)}. "
            "Compare runs on one dataset and split"
        )


def _check_references(first: Run, other: Run, ids: Sequence[str]) -> None:
    changed = [i for i in ids if first.pairs[i].reference != other.pairs[i].reference]
    if changed:
        raise BenchError(
            f"{first.label} and {other.label} have different references for {len(changed)} of {len(ids)} cases, e.g. "
            f"{changed[0]}: scores against different references cannot be compared"
        )


def _patients(runs: Sequence[Run], ids: Sequence[str], notes: list[str]) -> list[str]:
    """Return the patient of each case; a run in which each case is its own patient knows none, and is not asked."""
    found: dict[str, str] | None = None
    by = ""
    for run in runs:
        groups = {i: run.pairs[i].group for i in ids}
        if all(case_id == group for case_id, group in groups.items()):
            continue
        if found is None:
            found, by = groups, run.label
        elif changed := [i for i in ids if groups[i] != found[i]]:
            raise BenchError(
                f"{by} and {run.label} name different patients for {len(changed)} cases, e.g. {changed[0]}"
            )
    if found is None:
        notes.append("No run names patients: every case is drawn and swapped alone")
        return list(ids)
    return [found[i] for i in ids]


# ------------------------------------------------------------------ metrics of the runs


@dataclass(frozen=True, slots=True)
class _Scored:
    """A metric of one run: its recipe, and its statistics on the shared cases."""

    run: int
    metric: Metric
    columns: Sequence[Column]
    signature: str
    stats: Stats


Built = dict[str, tuple[Metric, Sequence[Column]]]


def units(runs: Sequence[Run], ids: Sequence[str], *, all_pairs: bool) -> tuple[list[Unit], list[str]]:
    """Return the metrics that can be compared, of the runs scored alike, and notes on what cannot.

    A unit has the baseline among its runs, or, where all pairs are compared, any two runs.
    """
    found: list[Unit] = []
    labels = list(dict.fromkeys(label for run in runs for label in run.run["config"]["metrics"]))
    notes = _absent(runs, labels)
    built: Built = {}
    for label in labels:
        scored: list[_Scored] = []
        for index, run in enumerate(runs):
            if label not in run.run["config"]["metrics"]:
                continue
            try:
                scored.append(_scored(index, run, label, ids, built))
            except Unavailable as err:
                notes.append(f"{label}: not compared with {run.label}: {err.reason}")
        classes = _alike(scored)
        notes += _unlike(label, runs, classes)
        for alike in classes:
            if len(alike) > 1 and (all_pairs or alike[0].run == 0):
                found.append(_unit(label, alike))
    return found, notes


def _absent(runs: Sequence[Run], labels: Sequence[str]) -> list[str]:
    """Say which metrics of other runs a run was not asked for."""
    lacking = {run.label: [label for label in labels if label not in run.run["config"]["metrics"]] for run in runs}
    return [f"{run} was not scored by {', '.join(names)}" for run, names in lacking.items() if names]


def _scored(index: int, run: Run, label: str, ids: Sequence[str], built: Built) -> _Scored:
    """Return a metric's kept statistics of a run; raises Unavailable saying why there are none."""
    try:
        metric, columns = _built(label, run.run["config"]["metrics"][label], run, built)
    except BenchError as err:
        raise Unavailable(str(err).partition("\n")[0], "") from None
    score = run.summary["scores"].get(columns[0].key, {})
    signature = score.get("signature", "")
    file = scoring.stats_file(run.folder, label)
    known = {line.get("key"): line for line in store.read_lines(file)} if signature else {}
    keys = [scoring.key_of(signature, run.pairs[i]) for i in ids]
    if missing := sum(key not in known for key in keys):
        if score.get("value") is None and score.get("reason"):
            raise Unavailable(f"it has no value there: {score['reason']}", "")
        raise BenchError(
            f"{file}: no statistics of {missing} of {len(ids)} cases: texts or file were changed after scoring; "
            "score again with the command that made the run"
        )
    return _Scored(
        index, metric, columns, signature, scoring.read_stats([known[k] for k in keys], columns, label, file)
    )


def _built(label: str, given: Mapping[str, Any], run: Run, built: Built) -> tuple[Metric, Sequence[Column]]:
    """Build a metric by a run's configuration, once for equal recipes. Only its `finish` will be asked."""
    config = run.run["config"]
    recipe = json.dumps([label, given, {name: config.get(name) for name in PARTS}], sort_keys=True)
    if recipe not in built:
        entry = Entry(label, given["use"], {key: value for key, value in given.items() if key != "use"})
        context = context_of(run.folder, run.run)
        found = registry.find("metric", entry.use)
        metric: Metric = context.build("metric", entry.use, entry.options, f"metrics.{label}")
        built[recipe] = metric, scoring.columns_of(entry, metric, registry.default_label(found))
    return built[recipe]


def _alike(scored: Iterable[_Scored]) -> list[list[_Scored]]:
    """Sort runs into classes of equal signatures, in the order of their first runs."""
    classes: dict[str, list[_Scored]] = {}
    for one in scored:
        classes.setdefault(one.signature, []).append(one)
    return list(classes.values())


def _unlike(label: str, runs: Sequence[Run], classes: Sequence[Sequence[_Scored]]) -> list[str]:
    """Say which runs were scored otherwise than the first, and what differs."""
    notes = []
    for other in classes[1:]:
        names = ", ".join(runs[one.run].label for one in other)
        first = runs[classes[0][0].run].label
        notes.append(
            f"{label}: {names} not compared with {first}, scored otherwise: "
            f"{_signature_difference(other[0].signature, classes[0][0].signature)}"
        )
    return notes


def _signature_difference(one: str, other: str) -> str:
    """Return the parts of two signatures that differ: "case:lc instead of case:mixed"."""
    left, right = one.split("|"), other.split("|")
    mine = [part for part in left if part not in right]
    theirs = [part for part in right if part not in left]
    return f"{' '.join(mine) or 'nothing'} instead of {' '.join(theirs) or 'nothing'}"


def _unit(label: str, alike: Sequence[_Scored]) -> Unit:
    first = alike[0]
    return Unit(
        label, first.metric, first.columns, first.signature, [one.run for one in alike], [one.stats for one in alike]
    )


# ------------------------------------------------------------------ comparing


@dataclass(frozen=True, slots=True)
class _Block:
    """Columns of a unit that have the same cases in common: what is resampled at once."""

    unit: Unit
    places: Sequence[int]
    """The columns' places among the metric's columns."""
    pairs: Sequence[Pairing]
    """What is compared: places among the unit's runs."""
    shared: Shared
    n: int
    n_groups: int


def compare(runs: Sequence[Run], settings: Settings, *, metrics: str | None = None, full: bool = False) -> Compared:
    """Compare runs in every column they share, or in those of `metrics` (labels or columns, with commas between).

    full: also the columns that tables leave out by default. The first run is the baseline.
    """
    ids, patients, notes = shared_cases(runs)
    found, more = units(runs, ids, all_pairs=settings.all_pairs)
    notes += more
    if not found:
        raise BenchError("\n  ".join(["The runs share no metric that was computed alike:", *notes]))
    keys = _keys(found, metrics, full, notes)
    drawn = patients if settings.cluster == "group" else ids
    blocks = [block for unit in found for block in _blocks(unit, keys, drawn, settings)]
    labels = [run.label for run in runs]
    order = {label: place for place, label in enumerate(labels)}
    comparisons = sorted(
        _resampled(labels, blocks, settings), key=lambda c: (order[c.baseline], order[c.run], keys.index(c.column))
    )
    notes += _left_out(labels, blocks) + _undefined(comparisons, settings) + _origins(runs)
    return Compared(runs, ids, patients, found, settings, _corrected(comparisons, settings), notes)


def _keys(found: Sequence[Unit], metrics: str | None, full: bool, notes: Sequence[str]) -> list[str]:
    """Return the columns to compare, in the order of Table 1; raises BenchError for an unknown name."""
    labels = {unit.label: [column.key for column in unit.columns] for unit in found}
    known = {key: [key] for keys in labels.values() for key in keys} | labels
    names = [name.strip() for name in metrics.split(",")] if metrics is not None else list(labels)
    for name in names:
        if name not in known:
            missed = registry.miss("metric or column compared", name, known)
            raise BenchError("\n  ".join([f"--metrics: {missed}", *notes]))
    chosen = dict.fromkeys(key for name in names for key in known[name])
    return show.column_keys([{"scores": chosen}], full or metrics is not None)


def _blocks(unit: Unit, keys: Sequence[str], groups: Sequence[str], settings: Settings) -> list[_Block]:
    """Sum a unit's statistics by group, over the cases that a column has in common."""
    ok = unit.ok()
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    by_cases: dict[bytes, list[int]] = {}
    for place, column in enumerate(unit.columns):
        if column.key in keys:
            by_cases.setdefault(ok[:, place].tobytes(), []).append(place)
    members = range(len(unit.runs))
    pairs = list(combinations(members, 2)) if settings.all_pairs else [(0, member) for member in members[1:]]
    blocks = []
    for places in by_cases.values():
        kept = ok[:, places[0]]
        sums = np.zeros((len(unit.stats), len(names), unit.stats[0].values.shape[1]))
        for one, stats in zip(sums, unit.stats, strict=True):
            np.add.at(one, index[kept], stats.values[kept])
        shared = Shared(sums, unit.metric.finish)
        blocks.append(_Block(unit, places, pairs, shared, int(kept.sum()), len(np.unique(index[kept]))))
    return blocks


def _resampled(labels: Sequence[str], blocks: Sequence[_Block], settings: Settings) -> list[Comparison]:
    """Resample all blocks at once; return their comparisons, not corrected yet."""
    shared = [block.shared for block in blocks]
    n_groups, width = shared[0].sums.shape[1], sum(one.sums.size // one.sums.shape[1] for one in shared)
    nothing = [np.empty((0, len(block.unit.runs), len(block.unit.columns))) for block in blocks]
    drawn = paired_bootstrap(shared, settings.draws, settings.seed) if settings.draws else nothing
    swapped = [np.empty((0, len(block.pairs), len(block.unit.columns))) for block in blocks]
    if settings.trials:
        signs = swaps(n_groups, settings.trials, settings.seed, width)
        swapped = approximate_randomization(shared, [block.pairs for block in blocks], signs)
    return [
        comparison
        for block, boot, swap in zip(blocks, drawn, swapped, strict=True)
        for comparison in _compare_block(labels, block, boot, swap, settings)
    ]


def _compare_block(
    labels: Sequence[str], block: _Block, drawn: Floats, swapped: Floats, settings: Settings
) -> Iterator[Comparison]:
    """Yield the comparisons of a block. drawn: [draws, n_runs, n_columns]; swapped: [trials, n_pairs, n_columns]."""
    scores = block.shared.scores()
    n_cases = len(block.unit.stats[0].values)
    for number, (first, second) in enumerate(block.pairs):
        for place in block.places:
            a, b = float(scores[first, place]), float(scores[second, place])
            boot, swap = drawn[:, second, place] - drawn[:, first, place], swapped[:, number, place]
            comparison = Comparison(
                column=block.unit.columns[place].key,
                baseline=labels[block.unit.runs[first]],
                run=labels[block.unit.runs[second]],
                baseline_value=_number(a),
                run_value=_number(b),
                difference=_number(b - a),
                n=block.n,
                n_left_out=n_cases - block.n,
                n_groups=block.n_groups,
                draws_undefined=int((~np.isfinite(boot)).sum()),
                trials_undefined=int((~np.isfinite(swap)).sum()),
            )
            tested = block.n_groups > 1 and comparison.difference is not None
            yield _tested(comparison, boot, swap, max(abs(a), abs(b)), settings.confidence) if tested else comparison


def _tested(comparison: Comparison, drawn: Floats, swapped: Floats, scale: float, confidence: float) -> Comparison:
    """Fill in interval and p-values of a difference of scores of the size `scale`."""
    assert comparison.difference is not None
    low, high = percentiles(drawn, confidence)
    return replace(
        comparison,
        ci_low=_number(low),
        ci_high=_number(high),
        p_bootstrap=_number(p_value(centred(drawn), comparison.difference, scale)),
        p_randomization=_number(p_value(swapped, comparison.difference, scale)),
    )


def _corrected(comparisons: Sequence[Comparison], settings: Settings) -> list[Comparison]:
    """Fill in Holm's corrected p-values over all comparisons, and mark what is significant."""
    boot = holm([_or_nan(c.p_bootstrap) for c in comparisons])
    swap = holm([_or_nan(c.p_randomization) for c in comparisons])
    deciding = swap if settings.trials else boot
    return [
        replace(
            comparison,
            p_bootstrap_holm=_number(one),
            p_randomization_holm=_number(other),
            significant=bool(decided < 1 - settings.confidence),
        )
        for comparison, one, other, decided in zip(comparisons, boot, swap, deciding, strict=True)
    ]


def _left_out(labels: Sequence[str], blocks: Sequence[_Block]) -> list[str]:
    """Say for which columns some shared cases do not count, and in which runs they are not OK."""
    notes = []
    for block in blocks:
        n_cases = len(block.unit.stats[0].values)
        if block.n == n_cases:
            continue
        columns = ", ".join(block.unit.columns[place].key for place in block.places)
        why = []
        for run, stats in zip(block.unit.runs, block.unit.stats, strict=True):
            status = stats.status[:, block.places[0]]
            failed, undefined = int((status == FAILED).sum()), int((status == UNDEFINED).sum())
            counts = [f"{failed} failed"] * (failed > 0) + [f"{undefined} undefined"] * (undefined > 0)
            why += [f"{labels[run]} ({', '.join(counts)})"] * bool(counts)
        notes.append(f"{columns}: {block.n} of {n_cases} cases compared; the others are not OK in {', '.join(why)}")
    return notes


def _undefined(comparisons: Sequence[Comparison], settings: Settings) -> list[str]:
    """Say where there is no interval, and how many resamples had no score."""
    notes = []
    unit = "patient" if settings.cluster == "group" else "case"
    for c in comparisons:
        where = f"{c.column}, {c.run} against {c.baseline}"
        if c.difference is None:
            notes.append(f"{where}: no score in one of them on the {c.n} cases compared")
        elif c.n_groups == 1:
            notes.append(f"{where}: all {c.n} cases are of one {unit}: no interval and no p-value can be had")
        elif c.draws_undefined or c.trials_undefined:
            notes.append(
                f"{where}: {c.draws_undefined:,} resamples and {c.trials_undefined:,} swaps are 0/0 and left out"
            )
    return notes


def _origins(runs: Sequence[Run]) -> list[str]:
    """Say what belongs to the runs themselves: failed reports scored as empty, stand-ins."""
    notes = []
    for run in runs:
        empty = run.summary.get("n_reports_failed", 0) + run.summary.get("n_missing_as_empty", 0)
        notes += [f"{run.label}: {empty} failed or missing reports scored as empty"] * (empty > 0)
    parts = dict.fromkeys(part for run in runs for part in run.summary.get("stand_ins", ()))
    return [*notes, *[f"Stand-ins: {'; '.join(parts)}"] * bool(parts)]


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
