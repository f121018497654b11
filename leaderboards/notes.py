"""The lines below a leaderboard: sources, what is missing and why, signatures, stand-ins, runs that gave no row."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from leaderboards.model import ColumnSpec, Definition, Group, Row
from leaderboards.runs import Run, Skipped

KeyT = TypeVar("KeyT", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Unused:
    """What was found below the folder of the runs and gives no row."""

    folder: Path | None
    others: Sequence[Run]
    """Finished runs that have nothing to say in this leaderboard."""
    skipped: Sequence[Skipped]


def compose(
    defined: Definition, columns: Sequence[ColumnSpec], groups: Sequence[Group], runs: Sequence[Run], unused: Unused
) -> list[str]:
    """Return all lines, in the order they are shown."""
    rows = [row for group in groups for row in group.rows]
    measured = [row for row in rows if row.origin == "measured"]
    return [
        *defined.notes,
        *_sources(row for row in rows if row.origin == "published"),
        *_intervals(runs, measured),
        *_measured_on(measured),
        *_stand_ins(measured),
        *_missing(rows, columns),
        *_incomplete(runs, measured, columns),
        *_signatures(measured, columns),
        *_unused(unused, bool(runs)),
    ]


def _gather(pairs: Iterable[tuple[KeyT, str]]) -> dict[KeyT, list[str]]:
    """Return key → its texts, each once, in the order they come."""
    texts: dict[KeyT, list[str]] = {}
    for key, text in pairs:
        known = texts.setdefault(key, [])
        if text not in known:
            known.append(text)
    return texts


def _sources(rows: Iterable[Row]) -> Iterator[str]:
    for (source, population), labels in _gather(((r.source, r.population), r.label) for r in rows).items():
        yield f"Published: {', '.join(labels)}: {source}; {population}."


def _intervals(runs: Sequence[Run], rows: Sequence[Row]) -> Iterator[str]:
    with_interval = {row.label for row in rows if any(cell.interval for cell in row.cells)}
    recipes = ((run.summary.run, run.label) for run in runs if run.label in with_interval)
    ways = _gather(((r.confidence, r.bootstrap, r.cluster), label) for r, label in recipes)
    for (confidence, draws, cluster), labels in ways.items():
        unit = "patients" if cluster == "group" else "cases"
        of = f" of {', '.join(labels)}" if len(ways) > 1 else ""
        how = f", {draws:,} bootstrap resamples of {unit}" if draws else ""
        yield f"Intervals [low, high]{of} hold {confidence:.0%} confidence{how}."


def _measured_on(rows: Sequence[Row]) -> Iterator[str]:
    """Say what rows were measured on beyond dataset, split and n, where their configuration tells."""
    told = (((row.data, row.population), row.label) for row in rows if row.population)
    for (data, population), labels in _gather(told).items():
        yield f"Measured on {data} ({population}): {', '.join(labels)}."


def _stand_ins(rows: Sequence[Row]) -> Iterator[str]:
    for parts, labels in _gather((row.stand_ins, row.label) for row in rows if row.stand_ins).items():
        yield f"Embedded stand-ins in {', '.join(labels)}: {'; '.join(parts)}."


def _missing(rows: Sequence[Row], columns: Sequence[ColumnSpec]) -> Iterator[str]:
    """Say why numbers are missing: one line a reason, remedy and set of rows."""
    reasons = _gather(
        ((row.origin, column.heading, cell.reason, cell.remedy), row.label)
        for row in rows
        for column, cell in zip(columns, row.cells, strict=True)
        if not cell.present
    )
    by_rows = _gather(((origin, why, how, tuple(rows)), c) for (origin, c, why, how), rows in reasons.items())
    for (_, why, how, labels), headings in by_rows.items():
        remedy = f" Remedy: {_sentence(how)}" if how else ""
        yield f"– {', '.join(headings)} of {', '.join(labels)}: {_sentence(why)}{remedy}"


def _sentence(text: str) -> str:
    """Return the text on one line, with a full stop."""
    line = " ".join(text.split())
    return line if line.endswith((".", "!", "?", ":")) else f"{line}."


def _incomplete(runs: Sequence[Run], rows: Sequence[Row], columns: Sequence[ColumnSpec]) -> Iterator[str]:
    for row in rows:
        for column, cell in zip(columns, row.cells, strict=True):
            if cell.present and cell.n_failed:
                of = f"{cell.n_failed:,} of {row.n:,} cases"
                yield f"{column.heading} of {row.label}: {of} have no verdict, left out."
    for run in runs:
        s = run.summary
        if s.n_reports_failed:
            yield f"{run.label}: {s.n_reports_failed:,} of {s.n_cases:,} reports failed, scored as empty."
        if s.n_missing_as_empty:
            yield f"{run.label}: {s.n_missing_as_empty:,} of {s.n_cases:,} candidates were missing, scored as empty."
        if s.n_problems:
            yield f"{run.label}: {s.n_problems:,} entries of the dataset were left out or faulty (problems.jsonl)."


def _signatures(rows: Sequence[Row], columns: Sequence[ColumnSpec]) -> Iterator[str]:
    """Name the recipe of each measured column, and where recipes differ the rows of each."""
    recipes: list[tuple[tuple[tuple[str, tuple[str, ...]], ...], str]] = []
    for at, column in enumerate(columns):
        if column.score:
            signed = ((row.cells[at].signature, row.label) for row in rows if row.cells[at].present)
            recipes.append((tuple((s, tuple(labels)) for s, labels in _gather(signed).items()), column.heading))
    for recipe, headings in _gather(recipes).items():
        of = ", ".join(headings)
        if len(recipe) == 1:
            yield f"{of}: {recipe[0][0] or 'no signature recorded'}"
        elif recipe:
            each = " · ".join(f"{', '.join(labels)}: {signature or 'none recorded'}" for signature, labels in recipe)
            yield f"{of}: measured in several ways, compared only where the way is the same: {each}"


def _unused(unused: Unused, any_row: bool) -> Iterator[str]:
    if unused.others:
        names = ", ".join(f"{run.label} ({run.folder})" for run in unused.others)
        yield f"Finished runs with nothing to show here: {names}."
    for run in unused.skipped:
        yield f"Skipped {run.folder}: {_sentence(run.why)}"
    if unused.folder is not None and not (any_row or unused.others or unused.skipped):
        yield f"No run below {unused.folder}: only published rows are shown."
