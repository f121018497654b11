"""Builds a leaderboard: published rows from data files, measured ones from run folders, the best of each group bold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.wording import counted
from leaderboards import compute, notes, numbers
from leaderboards.definitions import definition as definition
from leaderboards.definitions import names as names
from leaderboards.footnotes import number_recipes
from leaderboards.model import ABSENT, Cell, ColumnSpec, Definition, Group, Row, RowSpec, Table
from leaderboards.runs import Run, Score, find

if TYPE_CHECKING:
    from leaderboards.significance import PairedTest

Columns = Literal["default", "full"]

# ------------------------------------------------------------------ building


def build(
    name: str,
    runs_dir: Path | None = None,
    columns: Columns = "default",
    *,
    published: bool = True,
    intervals: bool = True,
    test: PairedTest | None = None,
    price: compute.Price | None = None,
) -> Table:
    """Return leaderboard `name`, or that of a file, with the runs at or below `runs_dir` (None: none).

    `published` rows and `intervals` can be left out; `test` marks what differs from its baseline; costs are at `price`.
    Raises BenchError where there is no such leaderboard, folder, baseline or cost. A run that cannot be read is named
    in the notes.
    """
    defined = definition(name)
    found, skipped = find(runs_dir) if runs_dir is not None else ([], [])
    chosen, others = _choose(defined, found)
    shown = _columns(defined, chosen, full=columns == "full")
    said = [Group(g.heading, tuple(_published(r, shown) for r in g.rows)) for g in defined.groups if published]
    measured = _measured_groups(chosen, shown, price, intervals=intervals)
    groups = [mark_best(group, shown) if defined.bold else group for group in (*said, *measured)]
    groups, _ = number_recipes(groups, shown)
    groups, tests = _tested(groups, shown, runs_dir, test)
    lines = notes.compose(defined, shown, groups, chosen, notes.Unused(runs_dir, others, skipped), tests)
    lines += compute.notes(chosen, shown, price)
    return Table(defined.name, defined.title, shown, tuple(groups), tuple(lines))


def _tested(
    groups: list[Group], columns: Sequence[ColumnSpec], runs_dir: Path | None, test: PairedTest | None
) -> tuple[list[Group], list[str]]:
    if test is None:
        return groups, []
    from leaderboards.significance import mark  # numpy: only where something is tested

    return mark(groups, columns, runs_dir, test)


def _choose(defined: Definition, found: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Return the runs that have something to say in this leaderboard, and the others.

    Where two runs on the same cases share a label, the folder is added to it.
    """
    wanted = [run for run in found if _belongs(defined, run)]
    labels = Counter((run.cases, run.label) for run in wanted)
    named = [replace(r, label=f"{r.label} ({r.folder})") if labels[r.cases, r.label] > 1 else r for r in wanted]
    rank = {label: at for at, label in enumerate(defined.runs.order)}
    ordered = sorted(named, key=lambda run: (rank.get(run.summary.label, len(rank)), _natural(run.label), run.folder))
    return ordered, [run for run in found if not _belongs(defined, run)]


def _natural(label: str) -> tuple[tuple[str, int], ...]:
    """Return what sorts x2 before x10: each part of text with the number that follows it."""
    return tuple((text, int(digits or -1)) for text, digits in re.findall(r"(\D*)(\d*)", label))


def _belongs(defined: Definition, run: Run) -> bool:
    if defined.runs.systems and run.summary.system not in defined.runs.systems:
        return False
    keys = {column.score for column in defined.columns} - {""}
    bases = {key.rpartition("/")[2] for key in run.summary.scores}
    if defined.runs.extra_scores == "all" or keys & bases:
        return True
    return any(key in run.facts for column in defined.columns for key in (column.fact, column.other_fact) if key)


def _columns(defined: Definition, chosen: Sequence[Run], *, full: bool) -> tuple[ColumnSpec, ...]:
    if not full:
        return tuple(column for column in defined.columns if not column.full)
    return (*defined.columns, *_extra_columns(defined, chosen))


def _extra_columns(defined: Definition, chosen: Sequence[Run]) -> list[ColumnSpec]:
    """Return columns for what runs measured besides: variants ("x/Ma-14") and, where wanted, scores of any name."""
    known = {column.score: column for column in defined.columns if column.score}
    scores: dict[str, Score] = {}
    for run in chosen:
        for key, score in run.summary.scores.items():
            scores.setdefault(key, score)
    extra = []
    for key in sorted(scores.keys() - known.keys()):
        base = known.get(key.rpartition("/")[2])
        wanted = defined.runs.extra_scores == "all" or (base is not None and defined.runs.extra_scores == "variants")
        if wanted:
            extra.append(_extra_column(key, scores[key], base))
    return extra


def _extra_column(key: str, score: Score, base: ColumnSpec | None) -> ColumnSpec:
    if base is not None:
        return base.model_copy(update={"key": key, "heading": key, "short": "", "block": "", "score": key})
    better = {True: "higher", False: "lower", None: None}[score.higher_is_better]
    decimals = 1 if score.decimals is None else score.decimals
    scale = 100.0 if score.scale is None else score.scale
    known = {"heading": score.heading or key, "better": better, "decimals": decimals, "scale": scale}
    return ColumnSpec.model_validate({"key": key, "score": key, "full": True, **known})


# ------------------------------------------------------------------ rows


def _published(row: RowSpec, columns: Sequence[ColumnSpec]) -> Row:
    missing = Cell(ABSENT, reason=row.missing)
    cells = (Cell(row.values[c.key]) if c.key in row.values else missing for c in columns)
    return Row(row.label, "published", row.source, row.population, row.dataset, row.split, row.n, tuple(cells))


def _measured_groups(
    chosen: Sequence[Run], columns: Sequence[ColumnSpec], price: compute.Price | None, *, intervals: bool
) -> list[Group]:
    """Return a group for each set of cases that runs reported on."""
    by_cases: dict[tuple[str, str, int, int, str, str], list[Run]] = {}
    for run in chosen:
        by_cases.setdefault(run.cases, []).append(run)
    ordered = [by_cases[key] for key in sorted(by_cases)]
    headings = Counter(_heading(runs[0]) for runs in ordered)
    groups = []
    for runs in ordered:
        heading = _heading(runs[0])
        if headings[heading] > 1:
            heading += f"; cases {'/'.join(part for part in runs[0].cases[4:] if part)[:32] or 'unidentified'}"
        rows = (_measured(run, columns, price) for run in runs)
        groups.append(Group(heading, tuple(rows if intervals else map(_without_intervals, rows))))
    return groups


def _without_intervals(row: Row) -> Row:
    return replace(row, cells=tuple(replace(cell, low="", high="", ends=None) for cell in row.cells))


def _heading(run: Run) -> str:
    s = run.summary
    of = f" of {counted(s.n_groups, 'patient')}" if s.n_groups else ""
    return f"Measured: {s.dataset} {s.split}, {counted(s.n_cases, 'case')}{of}"


def _measured(run: Run, columns: Sequence[ColumnSpec], price: compute.Price | None) -> Row:
    s = run.summary
    cells = tuple(_measured_cell(run, column, price) for column in columns)
    data = (run.population, s.dataset, s.split, s.n_cases)
    empty = s.n_reports_failed + s.n_missing_as_empty
    return Row(run.label, "measured", run.folder, *data, cells, run.stand_ins, n_empty=empty)


def _measured_cell(run: Run, column: ColumnSpec, price: compute.Price | None) -> Cell:
    if column.score:
        return _score_cell(run.summary.scores.get(column.score), column)
    if column.took:
        return compute.cell(run, column, price)
    if not column.measurable:
        return Cell(ABSENT, reason="runs do not measure it")
    value = run.fact(column.fact, column.option)
    if value is None:
        value = run.facts.get(column.other_fact)
    if value is None:
        where = "facts.json does not have it" if column.fact else f"options have no {column.option}"
        return Cell(ABSENT, reason=f"the run's {where}{column.absent and f': {column.absent}'}")
    return Cell(numbers.format_value(column, value), signature=run.learnt_from, value=value * column.factor)


def _score_cell(score: Score | None, column: ColumnSpec) -> Cell:
    if score is None:
        return Cell(ABSENT, reason="not among the run's metrics", remedy="name its metric with bench run --metrics")
    if score.value is None:
        reason = score.reason or "no value, and the run does not say why"
        return Cell(ABSENT, signature=score.signature, reason=reason, remedy=score.remedy)
    low, high = ("" if end is None else numbers.format_value(column, end) for end in (score.ci_low, score.ci_high))
    ends = None if score.ci_low is None or score.ci_high is None else (score.ci_low, score.ci_high)
    return Cell(
        numbers.format_value(column, score.value),
        low,
        high,
        signature=score.signature,
        n_failed=score.n_failed,
        n=score.n or None,
        value=score.value * column.factor,
        ends=ends and (ends[0] * column.factor, ends[1] * column.factor),
    )


# ------------------------------------------------------------------ the best


def mark_best(group: Group, columns: Sequence[ColumnSpec]) -> Group:
    """Return the group with the best of each column bold.

    Only cells of one signature are compared, scores without one with none, published ones only where their rows are of
    the same images; a cell with nothing to be compared with is not the best. Ties as printed are all bold.
    """
    best = {(r, c) for c, column in enumerate(columns) if column.better for r in _best_rows(group, c, column)}
    rows = (
        replace(row, cells=tuple(replace(cell, bold=(r, c) in best) for c, cell in enumerate(row.cells)))
        for r, row in enumerate(group.rows)
    )
    return replace(group, rows=tuple(rows))


def _best_rows(group: Group, at: int, column: ColumnSpec) -> list[int]:
    """Return the rows that are best in column `at` among those of their signature and images."""
    rivals: dict[tuple[object, ...], dict[int, Decimal]] = {}
    for r, row in enumerate(group.rows):
        unsigned = row.origin == "measured" and column.score and not row.cells[at].signature
        if not unsigned and (number := row.cells[at].number) is not None:
            rivals.setdefault((row.cells[at].signature, *row.images), {})[r] = number
    choose: Callable[[Iterable[Decimal]], Decimal] = max if column.better == "higher" else min
    comparable = [by_row for by_row in rivals.values() if len(by_row) > 1]
    return [r for by_row in comparable for r, number in by_row.items() if number == choose(by_row.values())]
