"""Finished runs as a page reads them: cases, reports, scores and per-case values, all on the cases that they share."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench import case_values, compare, show, store
from bench.case_values import CaseColumn
from bench.contracts import Column, Floats, Pair, Report
from bench.errors import BenchError
from bench.run_folder import is_credentialed, report_from_line

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class CaseLine:
    """A line of cases.jsonl."""

    id: str
    group: str
    reference: str
    indication: str | None
    images: tuple[str, ...]
    prior_images: tuple[str, ...]
    contaminated: bool


@dataclass(frozen=True, slots=True)
class CsvTable:
    """A table of a run's folder ``tables/``."""

    name: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class RunData:
    """One run; arrays and lists have a place a shared case."""

    run: compare.Run
    letter: str
    """By which the page's narrow places name it."""
    columns: Mapping[str, CaseColumn]
    """Columns by case, on the shared cases."""
    not_by_case: Sequence[str]
    """Keys of columns that have a score, but whose metric cannot be built here."""
    cases: Mapping[str, CaseLine]
    reports: Mapping[str, Report]
    tables: Sequence[CsvTable]

    @property
    def label(self) -> str:
        """The run's name among those shown."""
        return self.run.label

    @property
    def scores(self) -> Mapping[str, Mapping[str, Any]]:
        """The scores of summary.json, over all of the run's own cases."""
        found: Mapping[str, Mapping[str, Any]] = self.run.summary["scores"]
        return found


@dataclass(frozen=True)
class Runs:
    """The runs of a page."""

    runs: Sequence[RunData]
    ids: Sequence[str]
    """Cases that all of them hold, in the first one's order."""
    groups: Sequence[str]
    compared: compare.Compared | None
    """How the others differ from the first; None for one run, or where no metric was computed alike."""
    notes: Sequence[str]
    """What a reader must know of cases and columns."""
    keys: Sequence[str]
    """All columns, in the order of tables."""
    differences: Mapping[tuple[int, str], Floats] = field(default_factory=dict)
    """(place of a run, column key) → its values minus the first run's, where both are computed alike."""

    @property
    def credentialed(self) -> bool:
        """Whether anything shown may be under a data-use agreement; a run that does not say is."""
        return any(is_credentialed(one.run.run) for one in self.runs)

    def case(self, case_id: str) -> CaseLine:
        """Return a case as the first run that knows its images tells of it."""
        lines = [one.cases[case_id] for one in self.runs]
        return next((line for line in lines if line.images), lines[0])

    def pair(self, place: int, case_id: str) -> Pair:
        """Return a run's report beside the reference."""
        return self.runs[place].run.pairs[case_id]

    def column(self, key: str) -> Column:
        """Return how a column is shown, as the first run that has it does. Raises BenchError for an unknown one."""
        return next(one.columns[key].column for one in self.runs if key in one.columns)

    def by_case(self) -> list[str]:
        """Return the columns that have values by case in some run."""
        return [key for key in self.keys if any(key in one.columns for one in self.runs)]


def read(paths: Sequence[Path], baseline: str | None, settings: compare.Settings) -> Runs:
    """Read finished runs, the baseline first.

    Raises BenchError where one is unfinished or damaged, or where they are of different data.
    """
    read_runs = compare.read_runs(paths, baseline, least=1)
    if len(read_runs) > len(LETTERS):
        raise BenchError(f"{len(read_runs)} runs are too many for a page: name {len(LETTERS)} at most")
    ids, groups, notes = compare.shared_cases(read_runs)
    runs = [_run_data(run, letter, ids) for run, letter in zip(read_runs, LETTERS, strict=False)]
    compared, more = _compared(read_runs, ids, settings)
    keys = show.column_keys([run.summary for run in read_runs], full=True)
    notes = [*notes, *more]
    for one in runs:
        if one.not_by_case:
            notes.append(f"{one.label}: no values by case of {', '.join(one.not_by_case)}: not available here")
    return Runs(runs, ids, groups, compared, list(dict.fromkeys(notes)), keys, _differences(runs))


def _compared(
    runs: Sequence[compare.Run], ids: Sequence[str], settings: compare.Settings
) -> tuple[compare.Compared | None, list[str]]:
    """Compare the others with the first; where no metric is alike, say so: the runs are shown all the same."""
    if len(runs) == 1:
        return None, []
    found, notes = compare.units(runs, ids, all_pairs=False)
    if not found:
        return None, ["The runs share no metric that was computed alike, so nothing is compared", *notes]
    compared = compare.compare(runs, settings, full=True)
    return compared, list(compared.notes)


def _run_data(run: compare.Run, letter: str, ids: Sequence[str]) -> RunData:
    table = case_values.read(run.folder)
    row = {case_id: place for place, case_id in enumerate(table.ids)}
    places = [row[case_id] for case_id in ids]
    columns = {
        key: CaseColumn(c.column, c.metric, c.signature, c.values[places], c.status[places])
        for key, c in table.columns.items()
    }
    scored = [key for key, score in run.summary["scores"].items() if score["value"] is not None]
    lacking = [key for key in scored if key not in columns]
    return RunData(run, letter, columns, lacking, _cases(run), _reports(run), _tables(run.folder))


def _cases(run: compare.Run) -> dict[str, CaseLine]:
    file = run.folder / "cases.jsonl"
    lines = (_case(line, f"{file}, line {n}") for n, line in enumerate(store.read_lines(file), 1))
    return {line.id: line for line in lines}


def _case(line: Mapping[str, Any], where: str) -> CaseLine:
    images, priors = line.get("images", []), line.get("prior_images") or []
    told = line.get("indication")
    for key, value in (("images", images), ("prior_images", priors)):
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise BenchError(f"{where}: {key}: a list of file names is required: the run is damaged")
    if not isinstance(told, str | None):
        raise BenchError(f"{where}: indication: a string is required (given: {told!r}): the run is damaged")
    named = line["id"], line["group"], line["reference"]
    return CaseLine(*named, told, tuple(images), tuple(priors), bool(line.get("contaminated")))


def _reports(run: compare.Run) -> dict[str, Report]:
    file = run.folder / "reports.jsonl"
    return {r.id: r for r in (report_from_line(line, file) for line in store.read_lines(file))}


def _tables(folder: Path) -> list[CsvTable]:
    """Return the tables of a run. Raises BenchError where one is no table."""
    return [_table(file) for file in sorted((folder / "tables").glob("*.csv"))]


def _table(file: Path) -> CsvTable:
    try:
        rows = list(csv.reader(io.StringIO(store.read_text(file), newline="")))
    except csv.Error as err:
        raise BenchError(f"{file}: no CSV table: {err}") from None
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        raise BenchError(f"{file}: no table: its rows are of different lengths. Score again in another folder")
    return CsvTable(file.stem.replace("__", "/"), tuple(rows[0]), tuple(map(tuple, rows[1:])))


def _differences(runs: Sequence[RunData]) -> dict[tuple[int, str], Floats]:
    first = runs[0].columns
    return {
        (place, key): column.values - first[key].values
        for place, one in enumerate(runs[1:], 1)
        for key, column in one.columns.items()
        if key in first and first[key].signature == column.signature
    }


def worst(runs: Runs, key: str | None) -> list[int]:
    """Return the places of the cases, the worst of the first run by a column first; those without a value last.

    None: by the first column. Raises BenchError where a column has no values by case.
    """
    known = [k for k in runs.by_case() if k in runs.runs[0].columns]
    if key is None:
        key = known[0] if known else None
    if key is None:
        return list(range(len(runs.ids)))
    if key not in known:
        from bench import registry

        raise BenchError(f"--worst: {registry.miss('column by case', key, known)}")
    found = runs.runs[0].columns[key]
    values = found.values if found.column.higher_is_better else -found.values
    order = np.argsort(values, kind="stable")  # NaN comes last
    return [int(place) for place in order]
