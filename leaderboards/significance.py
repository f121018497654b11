"""Significance marks: which numbers of a group of runs differ from a baseline's by more than chance.

The test is that of ``bench compare``: approximate randomization of whole patients on the cases that are OK in every run
of the group, corrected by Holm's method over all comparisons that the group shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench import compare
from bench.errors import BenchError
from bench.registry import miss
from bench.statistics import holm
from bench.wording import counted
from leaderboards.model import MARKS, Cell, ColumnSpec, Group, Mark, Row

TRIALS = 10_000
"""Swaps behind a p-value, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class PairedTest:
    """What is tested, and how."""

    baseline: str
    """Label of the measured run that the others are tested against, in each group that has it."""
    trials: int = TRIALS
    seed: int = 0
    level: float = 0.05
    """Corrected p-values below it are marked."""


@dataclass(frozen=True, slots=True)
class _Tested:
    """A number of a row against the baseline's: values as fractions, p corrected within the group."""

    row: str
    column: str
    difference: float | None
    p: float
    n: int
    n_groups: int


def mark(
    groups: Sequence[Group], columns: Sequence[ColumnSpec], runs_dir: Path | None, test: PairedTest
) -> tuple[list[Group], list[str]]:
    """Return the groups with their marks, and the lines that explain them.

    Raises BenchError where no measured row, or more than one of a group, bears the baseline's label, where nothing of
    the table can be tested, and where a run is damaged.
    """
    if not any(column.score for column in columns):
        raise BenchError("--baseline: this table has no score of cases, so there is nothing to test in pairs")
    baselines = [_baseline(group, test.baseline) for group in groups]
    if runs_dir is None or not any(baselines):
        raise BenchError(_unknown(groups, test.baseline))
    done = [_mark(group, row, columns, runs_dir, test) for group, row in zip(groups, baselines, strict=True)]
    tested = {one.group.heading: one.tested for one in done if one.tested}
    lines = [line for one in done for line in one.lines]
    if any(row.origin == "published" for group in groups for row in group.rows):
        lines.append("Published rows have no marks: there are no reports of theirs to test in pairs.")
    return [one.group for one in done], [*_legend(tested, columns, test), *lines]


# ------------------------------------------------------------------ the baseline


def _baseline(group: Group, name: str) -> Row | None:
    """Return the measured row of that label; where two runs share a label, each is called "label (folder)"."""
    rows = [row for row in group.rows if row.origin == "measured"]
    if exact := [row for row in rows if row.label == name]:
        return exact[0]
    alike = [row for row in rows if row.label == f"{name} ({row.source})"]
    if len(alike) > 1:
        raise BenchError(
            f"--baseline {name}: {len(alike)} runs of “{group.heading}” have this label; name one of them: "
            + ", ".join(f"“{row.label}”" for row in alike)
        )
    return alike[0] if alike else None


def _unknown(groups: Sequence[Group], name: str) -> str:
    rows = [row for group in groups for row in group.rows]
    measured = dict.fromkeys(row.label for row in rows if row.origin == "measured")
    if name in {row.label for row in rows if row.origin == "published"}:
        return (
            f"--baseline {name}: a published row; a test in pairs needs its reports case by case, so only a measured "
            f"run can be the baseline. Measured: {', '.join(measured) or 'none (name their folder with --runs)'}"
        )
    return f"--baseline: {miss('measured run', name, measured)}"


# ------------------------------------------------------------------ one group


@dataclass(frozen=True, slots=True)
class _Done:
    """A group with its marks, the comparisons behind them, and what is to be said besides."""

    group: Group
    tested: Sequence[_Tested] = ()
    lines: Sequence[str] = ()


def _mark(group: Group, baseline: Row | None, columns: Sequence[ColumnSpec], runs_dir: Path, test: PairedTest) -> _Done:
    if all(row.origin == "published" for row in group.rows):
        return _Done(group)
    if baseline is None:
        return _Done(group, lines=[f"No marks in “{group.heading}”: no run {test.baseline} on its cases."])
    named = replace(group, rows=tuple(replace(row, baseline=True) if row is baseline else row for row in group.rows))
    rivals = [row for row in group.rows if row is not baseline and any(_comparable(baseline, row, columns))]
    if not rivals:
        why = "it is the only run on these cases" if len(group.rows) == 1 else "no other row shares a recipe with it"
        return _Done(named, lines=[f"No marks against {test.baseline} in “{group.heading}”: {why}."])
    tested = _compare([baseline, *rivals], columns, runs_dir, test)
    rows = tuple(_marked(row, tested, columns, test) for row in named.rows)
    return _Done(replace(named, rows=rows), tested, list(_unmarked(baseline, group, tested, columns)))


def _comparable(baseline: Row, row: Row, columns: Sequence[ColumnSpec]) -> Iterator[bool]:
    """Yield for each column whether the row's number can be tested: a score of the baseline's recipe."""
    for column, ours, theirs in zip(columns, row.cells, baseline.cells, strict=True):
        same = ours.signature == theirs.signature != ""
        yield bool(column.score) and ours.present and theirs.present and same


def _compare(rows: Sequence[Row], columns: Sequence[ColumnSpec], runs_dir: Path, test: PairedTest) -> list[_Tested]:
    """Test the runs of the rows against that of the first; Holm's family is what the table shows."""
    runs = [replace(compare.read_run(runs_dir / row.source), label=row.label) for row in rows]
    settings = compare.Settings(draws=0, trials=test.trials, seed=test.seed, confidence=1 - test.level)
    shown = {column.score for column in columns if column.score}
    found = [c for c in compare.compare(runs, settings, full=True).comparisons if c.column in shown]
    corrected = holm([math.nan if c.p_randomization is None else c.p_randomization for c in found])
    return [_Tested(c.run, c.column, c.difference, p, c.n, c.n_groups) for c, p in zip(found, corrected, strict=True)]


def _marked(row: Row, tested: Sequence[_Tested], columns: Sequence[ColumnSpec], test: PairedTest) -> Row:
    known = {one.column: one for one in tested if one.row == row.label}
    cells = tuple(
        _marked_cell(cell, known[column.score], column, test) if column.score in known else cell
        for column, cell in zip(columns, row.cells, strict=True)
    )
    return replace(row, cells=cells)


def _marked_cell(cell: Cell, tested: _Tested, column: ColumnSpec, test: PairedTest) -> Cell:
    if tested.difference is None or not math.isfinite(tested.p):
        return cell
    kind = _kind(column, tested.difference) if tested.p < test.level else ""
    return replace(cell, mark=kind, difference=tested.difference * column.factor, p=tested.p)


def _kind(column: ColumnSpec, difference: float) -> Mark:
    if column.better is None:
        return "differs"
    return "better" if (difference > 0) == (column.better == "higher") else "worse"


# ------------------------------------------------------------------ what is said of it


def _legend(tested: Mapping[str, Sequence[_Tested]], columns: Sequence[ColumnSpec], test: PairedTest) -> Iterator[str]:
    """Say what the marks mean: test, trials, level, correction with its family, and the pairs of each group."""
    if not tested:
        return
    signs = f"{MARKS['worse']} significantly worse, {MARKS['better']} significantly better than {test.baseline}"
    if any(column.better is None and column.score for column in columns):
        signs += f", {MARKS['differs']} significantly other where neither is better"
    of = "; ".join(f"“{heading}”: {_pairs(found)}" for heading, found in tested.items())
    yield (
        f"{signs}: two-sided approximate randomization in pairs, patient by patient, {test.trials:,} trials (seed "
        f"{test.seed}), p < {test.level:g} after Holm's correction over the comparisons that a group shows. {of}."
    )
    family = max(_family(found) for found in tested.values())
    if family / (test.trials + 1) >= test.level:
        yield (
            f"{test.trials:,} trials are too few for a mark among {family:,} comparisons: pass --trials "
            f"{math.ceil(family / test.level)} or more."
        )
    for heading, found in tested.items():
        patients = max(one.n_groups for one in found)
        least = math.ldexp(2, -patients)  # of all swaps, the one made and its mirror image are as extreme
        if max(1, _family(found)) * least >= test.level:
            few = counted(patients, "patient")
            yield f"“{heading}”: too few for a mark with {few}: no p-value can be below {least:.2g}."


def _family(tested: Sequence[_Tested]) -> int:
    """Return over how many comparisons the correction was made."""
    return sum(math.isfinite(one.p) for one in tested)


def _pairs(tested: Sequence[_Tested]) -> str:
    """Return "36 comparisons on 100 paired cases of 48 patients", and the columns that have fewer."""
    most = max(tested, key=lambda one: one.n)
    fewer = {one.column: one.n for one in tested if one.n < most.n}
    less = f" ({', '.join(f'{column} {n:,}' for column, n in fewer.items())})" if fewer else ""
    of = f" of {counted(most.n_groups, 'patient')}" if most.n_groups < most.n else ""
    made = counted(_family(tested), "comparison")
    return f"{made} on {counted(most.n, 'paired case')}{of}{less}"


def _unmarked(baseline: Row, group: Group, tested: Sequence[_Tested], columns: Sequence[ColumnSpec]) -> Iterator[str]:
    """Name the numbers that stand without a test, and why."""
    done = {(one.row, one.column) for one in tested if math.isfinite(one.p)}
    why: dict[str, list[str]] = {}
    for row in group.rows:
        if row is baseline:
            continue
        for column, cell, theirs in zip(columns, row.cells, baseline.cells, strict=True):
            if cell.present and (row.label, column.score) not in done:
                why.setdefault(_reason(column, cell, theirs, baseline), []).append(f"{column.heading} of {row.label}")
    for reason, names in why.items():
        yield f"Not tested: {', '.join(names)}: {reason}."


def _reason(column: ColumnSpec, cell: Cell, theirs: Cell, baseline: Row) -> str:
    if not column.score:
        return "no score of cases"
    if not theirs.present:
        return f"{baseline.label} has no number there"
    if not (cell.signature and theirs.signature):
        return "no recipe is recorded"
    if cell.signature != theirs.signature:
        return f"another recipe than {baseline.label}'s"
    return "no p-value can be had (see bench compare)"
