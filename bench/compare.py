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
from pydantic import BaseModel, ConfigDict, ValidationError

from bench import registry, scoring, show, store
from bench.config import PARTS, Entry
from bench.contracts import FAILED, OK, UNDEFINED, Column, Floats, Pair, Stats
from bench.errors import BenchError, Unavailable
from bench.run_folder import context_of, differences
from bench.statistics import (
    Finish,
    Pairing,
    Shared,
    approximate_randomization,
    centred,
    checked,
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
    """Columns of one metric that have a value in the same runs, scored alike: statistics on the shared cases."""

    label: str
    finish: Finish
    columns: Sequence[Column]
    """All of the metric's columns."""
    places: Sequence[int]
    """Which of them are compared: those that have a value in each of `runs`."""
    signature: str
    runs: Sequence[int]
    """Indices of the runs."""
    stats: Sequence[Stats]
    """For each of `runs`, a row a shared case."""

    @property
    def compared(self) -> dict[str, int]:
        """Keys of the columns compared, with their places among the metric's columns."""
        return {self.columns[place].key: place for place in self.places}

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
        known = {key: unit.columns[place] for unit in self.units for key, place in unit.compared.items()}
        if key not in known:
            raise BenchError(registry.miss("column compared", key, known))
        return known[key]

    def cases(self, key: str) -> list[CaseValues]:
        """Return what a column says of each case that is compared by it: `finish` of its own statistics."""
        found = []
        for unit in self.units:
            if key not in unit.compared:
                continue
            place = unit.compared[key]
            values = [unit.finish(stats.values)[:, place].tolist() for stats in unit.stats]
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
                {
                    "label": unit.label,
                    "columns": list(unit.compared),
                    "signature": unit.signature,
                    "runs": [self.labels[r] for r in unit.runs],
                }
                for unit in self.units
            ],
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
            "notes": list(self.notes),
        }


# ------------------------------------------------------------------ reading runs


class _Checked(BaseModel):
    """Base of what is asked of a run's files: other keys pass, NaN and infinity do not."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class _MetricEntry(_Checked):
    use: str


class _Config(_Checked):
    metrics: dict[str, _MetricEntry]


class _RunFile(_Checked):
    """What a comparison needs of run.json."""

    config: _Config


class _Score(_Checked):
    value: float | None
    n: int
    n_undefined: int
    n_failed: int
    signature: str = ""
    reason: str = ""


class _SummaryFile(_Checked):
    """What a comparison needs of summary.json."""

    label: str
    dataset: str
    split: str
    n_reports_failed: int = 0
    n_missing_as_empty: int = 0
    stand_ins: list[str] = []
    scores: dict[str, _Score]


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


def read_runs(paths: Sequence[Path], baseline: str | None = None, least: int = 2) -> list[Run]:
    """Read the runs at or below the paths, the baseline first; a run named twice is read once.

    Raises BenchError where one is not finished, where there are less than `least`, or where no run has the baseline's
    label.
    """
    folders = list(dict.fromkeys(folder.resolve() for path in paths for folder in show.find_runs(path)))
    if len(folders) < least:
        raise BenchError(f"{paths[0]}: one run alone; name two or more runs, or a folder that holds them")
    runs = _labelled([read_run(folder) for folder in folders])
    if baseline is None:
        return runs
    labels = [run.label for run in runs]
    if baseline not in labels:
        raise BenchError(f"--baseline: {registry.miss('run', baseline, labels)}")
    return sorted(runs, key=lambda run: run.label != baseline)


def read_run(folder: Path) -> Run:
    """Read one finished run; its folder is left as it is. Raises BenchError naming file and key of what is damaged."""
    run = store.read_json(folder / "run.json")
    if not (folder / "done.json").exists():
        answered = len(store.read_lines(folder / "reports.jsonl"))
        raise BenchError(
            f"{folder}: not finished: {answered} of {run.get('n_cases', '?')} reports. Finish it with the command that "
            "began it, or name the finished runs alone"
        )
    summary = store.read_json(folder / "summary.json")
    _check(_RunFile, run, folder / "run.json")
    _check(_SummaryFile, summary, folder / "summary.json")
    reports = folder / "reports.jsonl"
    texts = {line[0]: line[1] for line in _strings(reports, "id", "text")}
    pairs = {}
    for case_id, group, reference in _strings(folder / "cases.jsonl", "id", "group", "reference"):
        if case_id not in texts:
            raise _damaged(f"{reports}: no report on case {case_id!r}")
        pairs[case_id] = Pair(case_id, group, texts[case_id], reference)
    return Run(folder, summary["label"], run, summary, pairs)


def _check(model: type[_Checked], value: Mapping[str, Any], file: Path) -> None:
    try:
        model.model_validate(value)
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise _damaged(f"{file}: {where}: {first['msg']}") from None


def _strings(file: Path, *keys: str) -> Iterator[tuple[str, ...]]:
    """Yield the strings under `keys` of each line."""
    for number, line in enumerate(store.read_lines(file), 1):
        for key in keys:
            if not isinstance(line.get(key), str):
                raise _damaged(f"{file}, line {number}: {key}: a string is required (given: {line.get(key)!r})")
        yield tuple(line[key] for key in keys)


def _damaged(what: str) -> BenchError:
    return BenchError(f"{what}: the run is damaged; run or score again in another folder")


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
    finish: Finish
    columns: Sequence[Column]
    has_value: Sequence[bool]
    """For each column whether the run's summary has a value of it."""
    signature: str
    stats: Stats
    file: Path
    """Where the statistics were read."""


Built = dict[str, tuple[Finish, Sequence[Column]]]


def units(runs: Sequence[Run], ids: Sequence[str], *, all_pairs: bool, least: int = 2) -> tuple[list[Unit], list[str]]:
    """Return the metrics that can be compared, of the runs scored alike, and notes on what cannot.

    A unit has the baseline among its runs, or, where all pairs are compared, any `least` runs.
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
                finish, columns = _built(label, run, built)
            except BenchError as err:
                reason = err.reason if isinstance(err, Unavailable) else str(err).partition("\n")[0]
                notes.append(f"{label}: not compared with {run.label}: {reason}")
                continue
            lacking = _without_value(run, columns)
            notes += _lacking_notes(label, run, columns, lacking)
            if len(lacking) < len(columns):
                scored.append(_scored(index, run, label, finish, columns, ids))
        classes = _alike(scored)
        notes += _unlike(label, runs, classes)
        for alike in classes:
            _check_widths(alike)
            found += [
                unit for unit in _split(label, alike) if len(unit.runs) >= least and (all_pairs or unit.runs[0] == 0)
            ]
    return found, notes


def _absent(runs: Sequence[Run], labels: Sequence[str]) -> list[str]:
    """Say which metrics of other runs a run was not asked for."""
    lacking = {run.label: [label for label in labels if label not in run.run["config"]["metrics"]] for run in runs}
    return [f"{run} was not scored by {', '.join(names)}" for run, names in lacking.items() if names]


def _built(label: str, run: Run, built: Built) -> tuple[Finish, Sequence[Column]]:
    """Build a metric by a run's configuration, once for equal recipes, and return what is asked of it.

    Raises BenchError where it cannot be built here, whatever its own code raises.
    """
    config = run.run["config"]
    given = config["metrics"][label]
    recipe = json.dumps([label, given, {name: config.get(name) for name in PARTS}], sort_keys=True)
    if recipe not in built:
        entry = Entry(label, given["use"], {key: value for key, value in given.items() if key != "use"})
        file = Path(entry.use.rpartition(":")[0])
        if file.suffix == ".py" and not file.is_file():
            raise BenchError(f"no file {file} here: run bench compare in the folder that the run was started in")
        try:
            default = registry.default_label(registry.find("metric", entry.use))
            metric = context_of(run.folder, run.run).build("metric", entry.use, entry.options, f"metrics.{label}")
            columns = scoring.columns_of(entry, metric, default)
            built[recipe] = _guarded(metric.finish, len(columns), label), columns
        except BenchError:
            raise
        except Exception as err:
            raise BenchError(f"it cannot be built: {type(err).__name__}: {err}") from err
    return built[recipe]


def _guarded(finish: Finish, n_columns: int, label: str) -> Finish:
    """Return a metric's `finish` that raises nothing but BenchError, also where it returns another shape."""
    shaped = checked(finish, n_columns)

    def finish_guarded(totals: Floats) -> Floats:
        try:
            return shaped(totals)
        except BenchError as err:
            raise BenchError(f"metric {label}: {err}") from None
        except Exception as err:
            raise BenchError(f"metric {label}: finish failed: {type(err).__name__}: {err}") from err

    return finish_guarded


def _without_value(run: Run, columns: Sequence[Column]) -> dict[str, str]:
    """Return the columns that have no value in a run's summary, with its reasons: these are not compared."""
    scores = run.summary["scores"]
    lacking = {}
    for key in (column.key for column in columns):
        if key not in scores:
            lacking[key] = "its summary.json has no such column"
        elif scores[key]["value"] is None:
            lacking[key] = f"it has no value there: {scores[key].get('reason') or 'no reason given'}"
    return lacking


def _lacking_notes(label: str, run: Run, columns: Sequence[Column], lacking: Mapping[str, str]) -> list[str]:
    """Return a line a reason: the metric's label stands for all of its columns."""
    notes = [f"{label}: not compared with {run.label}: it has no column"] * (not columns)
    for reason in dict.fromkeys(lacking.values()):
        keys = [key for key, why in lacking.items() if why == reason]
        name = label if len(keys) == len(columns) else ", ".join(keys)
        notes.append(f"{name}: not compared with {run.label}: {reason}")
    return notes


def _scored(index: int, run: Run, label: str, finish: Finish, columns: Sequence[Column], ids: Sequence[str]) -> _Scored:
    """Return a metric's kept statistics of a run, checked against its summary."""
    scores = [run.summary["scores"].get(column.key, {}) for column in columns]
    has_value = [score.get("value") is not None for score in scores]
    signature = str(scores[has_value.index(True)].get("signature", ""))
    file = scoring.stats_file(run.folder, label)
    known = {}
    for number, line in enumerate(store.read_lines(file), 1):
        if not isinstance(line.get("key"), str):
            raise _damaged(f"{file}, line {number}: key: a string is required (given: {line.get('key')!r})")
        known[line["key"]] = line
    keys = {case_id: scoring.key_of(signature, pair) for case_id, pair in run.pairs.items()}
    if missing := sum(key not in known for key in keys.values()):
        raise BenchError(
            f"{file}: no statistics of {missing} of {len(keys)} cases: texts or file were changed after scoring; "
            "score again with the command that made the run"
        )
    whole = scoring.read_stats([known[key] for key in keys.values()], columns, label, file)
    _check_scores(whole, finish, columns, scores, file)
    row = {case_id: number for number, case_id in enumerate(keys)}
    shared = [row[case_id] for case_id in ids]
    stats = Stats(whole.values[shared], whole.status[shared])
    return _Scored(index, finish, columns, has_value, signature, stats, file)


def _check_scores(
    stats: Stats, finish: Finish, columns: Sequence[Column], scores: Sequence[Mapping[str, Any]], file: Path
) -> None:
    """Raise BenchError where the statistics of a run's cases do not give the values and counts of its summary."""
    values = finish(stats.values.sum(axis=0)).tolist()
    for place, (column, score) in enumerate(zip(columns, scores, strict=True)):
        if score.get("value") is None:
            continue
        wrong = [] if math.isclose(values[place], score["value"], rel_tol=1e-9, abs_tol=1e-12) else ["value"]
        found = {"value": values[place]}
        for name, kind in (("n", OK), ("n_undefined", UNDEFINED), ("n_failed", FAILED)):
            found[name] = int((stats.status[:, place] == kind).sum())
            wrong += [name] * (found[name] != score[name])
        if wrong:
            what = ", ".join(f"{name} {found[name]:.10g} instead of {score[name]:.10g}" for name in wrong)
            raise BenchError(
                f"{file}: the statistics do not give the score in summary.json: {column.key}: {what}; score again with "
                "the command that made the run (where the file was edited, delete it first)"
            )


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
            f"{signature_difference(other[0].signature, classes[0][0].signature)}"
        )
    return notes


def signature_difference(one: str, other: str) -> str:
    """Return the parts of two signatures that differ: "case:lc instead of case:mixed"."""
    left, right = one.split("|"), other.split("|")
    mine = [part for part in left if part not in right]
    theirs = [part for part in right if part not in left]
    return f"{' '.join(mine) or 'nothing'} instead of {' '.join(theirs) or 'nothing'}"


def _check_widths(alike: Sequence[_Scored]) -> None:
    """Raise BenchError where runs of one recipe hold different columns or different numbers a pair."""
    first = alike[0]
    for other in alike[1:]:
        shapes = [(one.stats.values.shape[1], [column.key for column in one.columns]) for one in (first, other)]
        if shapes[0] != shapes[1]:
            raise BenchError(
                f"{other.file}: {shapes[1][0]} statistics a pair, columns {', '.join(shapes[1][1])}; but {first.file}: "
                f"{shapes[0][0]}, columns {', '.join(shapes[0][1])}, under the same signature. One of them is damaged; "
                "delete it and score again with the command that made the run"
            )


def _split(label: str, alike: Sequence[_Scored]) -> list[Unit]:
    """Return a unit for the columns that have a value in the same runs."""
    by_runs: dict[tuple[int, ...], list[int]] = {}
    for place in range(len(alike[0].columns)):
        members = tuple(number for number, one in enumerate(alike) if one.has_value[place])
        by_runs.setdefault(members, []).append(place)
    found = []
    for members, places in by_runs.items():
        if chosen := [alike[number] for number in members]:
            runs, stats = [one.run for one in chosen], [one.stats for one in chosen]
            found.append(Unit(label, chosen[0].finish, chosen[0].columns, places, chosen[0].signature, runs, stats))
    return found


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
    places: dict[str, dict[str, int]] = {}
    for unit in found:
        places.setdefault(unit.label, {}).update(unit.compared)
    labels = {label: sorted(keys, key=lambda key: keys[key]) for label, keys in places.items()}
    known = {key: [key] for keys in labels.values() for key in keys} | labels
    names = [name.strip() for name in metrics.split(",")] if metrics is not None else list(labels)
    for name in names:
        if name not in known:
            missed = registry.miss("metric or column compared", name, known)
            raise BenchError("\n  ".join([f"--metrics: {missed}", *notes]))
    chosen = dict.fromkeys(key for name in names for key in known[name])
    keys = show.column_keys([{"scores": chosen}], full or metrics is not None)
    if not keys:
        raise BenchError("\n  ".join([f"Only {', '.join(chosen)} can be compared: pass --columns full", *notes]))
    return keys


def _blocks(unit: Unit, keys: Sequence[str], groups: Sequence[str], settings: Settings) -> list[_Block]:
    """Sum a unit's statistics by group, over the cases that a column has in common."""
    ok = unit.ok()
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    by_cases: dict[bytes, list[int]] = {}
    for key, place in unit.compared.items():
        if key in keys:
            by_cases.setdefault(ok[:, place].tobytes(), []).append(place)
    members = range(len(unit.runs))
    pairs = list(combinations(members, 2)) if settings.all_pairs else [(0, member) for member in members[1:]]
    blocks = []
    for places in by_cases.values():
        kept = ok[:, places[0]]
        sums = np.zeros((len(unit.stats), len(names), unit.stats[0].values.shape[1]))
        for one, stats in zip(sums, unit.stats, strict=True):
            np.add.at(one, index[kept], stats.values[kept])
        shared = Shared(sums, unit.finish)
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
