"""The lines below a leaderboard: sources, what is missing and why, signatures, stand-ins, runs that gave no row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from leaderboards.model import ABSENT, ColumnSpec, Definition, Group, Origin, Row, raised
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
    defined: Definition,
    columns: Sequence[ColumnSpec],
    groups: Sequence[Group],
    runs: Sequence[Run],
    unused: Unused,
    tests: Sequence[str] = (),
) -> list[str]:
    """Return all lines, in the order they are shown; `tests` explain the marks."""
    published, measured = _named(groups, "published"), _named(groups, "measured")
    return [
        *defined.notes,
        *(defined.published_notes if published.rows else ()),
        *_sources(published),
        *(_comparability(groups) if defined.bold else ()),
        *tests,
        *_intervals(runs, measured),
        *(_populations(measured) if any(c.score for c in columns) else ()),
        *_stand_ins(measured),
        *_missing(published, columns),
        *_missing(measured, columns),
        *_incomplete(runs, measured, columns),
        *_signatures(measured, columns),
        *(_unused(unused, bool(runs), bool(published.rows)) if any(c.measurable for c in columns) else ()),
    ]


@dataclass(frozen=True, slots=True)
class _Named:
    """Rows of one origin, each with the name that lines call it by."""

    rows: tuple[tuple[str, Row], ...]

    def listed(self, names: Sequence[str]) -> str:
        """Return the names, or that it is all of them; a label once where all of its rows are among them."""
        known = dict.fromkeys(name for name, _ in self.rows)
        if self.measured and 1 < len(known) == len(names):
            return "all measured rows"
        apart = {row.label for name, row in self.rows if name not in names}
        labels = {name: name if row.label in apart else row.label for name, row in self.rows}
        return ", ".join(dict.fromkeys(labels[name] for name in names))

    @property
    def measured(self) -> bool:
        """Whether the rows are measured ones."""
        return any(row.origin == "measured" for _, row in self.rows)


def _named(groups: Sequence[Group], origin: Origin) -> _Named:
    """Return the rows of `origin`; where measured rows of two groups share a label, the folder tells them apart."""
    rows = [row for group in groups for row in group.rows if row.origin == origin]
    counts = Counter(row.label for row in rows if row.origin == "measured")
    return _Named(tuple((f"{r.label} ({r.source})" if counts[r.label] > 1 else r.label, r) for r in rows))


def _gather(pairs: Iterable[tuple[KeyT, str]]) -> dict[KeyT, list[str]]:
    """Return key → its texts, each once, in the order they come."""
    texts: dict[KeyT, list[str]] = {}
    for key, text in pairs:
        known = texts.setdefault(key, [])
        if text not in known:
            known.append(text)
    return texts


def _sources(named: _Named) -> Iterator[str]:
    for (source, population), labels in _gather(((r.source, r.population), name) for name, r in named.rows).items():
        yield f"Published: {', '.join(labels)}: {source}; {population}."


def _comparability(groups: Sequence[Group]) -> Iterator[str]:
    """Say among which rows the best is bold, and which stand in a group without being comparable."""
    if len(groups) > 1:
        yield "The best of a column is bold within its group only; nothing is compared across groups."
    for group in groups:
        images = _gather((row.images, row.label) for row in group.rows)
        if len(images) > 1:
            names = "; ".join(", ".join(labels) for labels in images.values())
            yield f"Rows of “{group.heading}” are of different images and compared only within a set: {names}."


def _intervals(runs: Sequence[Run], named: _Named) -> Iterator[str]:
    recipes = {run.folder: run.summary.run for run in runs}
    with_interval = ((recipes[row.source], name) for name, row in named.rows if any(c.interval for c in row.cells))
    ways = _gather(((r.confidence, r.bootstrap, r.cluster), name) for r, name in with_interval)
    for (confidence, draws, cluster), names in ways.items():
        unit = "patients" if cluster == "group" else "cases"
        of = f" of {named.listed(names)}" if len(ways) > 1 else ""
        how = f", from {draws:,} bootstrap resamples of {unit}" if draws else ""
        yield f"Intervals [low, high]{of} are {confidence:.0%} confidence intervals{how}."


def _populations(named: _Named) -> Iterator[str]:
    """Say what rows were measured on beyond dataset, split and n, where their configuration tells."""
    told = _gather(((row.data, row.population), name) for name, row in named.rows if row.population)
    ways = Counter(data for data, _ in told)
    for (data, population), names in told.items():
        of = f" ({named.listed(names)})" if ways[data] > 1 else ""
        yield f"{data}{of}: {population}."


def _stand_ins(named: _Named) -> Iterator[str]:
    parts = _gather((part, name) for name, row in named.rows for part in row.stand_ins)
    for names, shared in _gather((tuple(names), part) for part, names in parts.items()).items():
        yield f"Embedded stand-ins in {named.listed(names)}: {'; '.join(shared)}."


def _missing(named: _Named, columns: Sequence[ColumnSpec]) -> Iterator[str]:
    """Say why numbers are missing: one line a reason, remedy and set of rows."""
    reasons = _gather(
        ((column.heading, cell.reason, cell.remedy), name)
        for name, row in named.rows
        for column, cell in zip(columns, row.cells, strict=True)
        if not cell.present
    )
    by_rows = _gather(((why, how, tuple(names)), heading) for (heading, why, how), names in reasons.items())
    for (why, how, names), headings in by_rows.items():
        remedy = f" Remedy: {_sentence(how)}" if how else ""
        yield f"{ABSENT} {', '.join(headings)} of {named.listed(names)}: {_sentence(why)}{remedy}"


def _sentence(text: str) -> str:
    """Return the text on one line, with a full stop."""
    line = " ".join(text.split())
    return line if line.endswith((".", "!", "?", ":")) else f"{line}."


def _incomplete(runs: Sequence[Run], named: _Named, columns: Sequence[ColumnSpec]) -> Iterator[str]:
    summaries = {run.folder: run.summary for run in runs}
    for name, row in named.rows:
        s = summaries[row.source]
        for column, cell in zip(columns, row.cells, strict=True):
            if cell.present and cell.n_failed:
                of = f"{cell.n_failed:,} of {s.n_cases:,} cases"
                yield f"{column.heading} of {name}: {of} have no verdict and are left out."
        if s.n_reports_failed:
            yield f"{name}: {s.n_reports_failed:,} of {s.n_cases:,} reports failed, scored as empty."
        if s.n_missing_as_empty:
            yield f"{name}: {s.n_missing_as_empty:,} of {s.n_cases:,} candidates were missing, scored as empty."
        if s.n_problems:
            what = "entries of the data, or parts of the system, were left out or faulty"
            yield f"{name}: {s.n_problems:,} {what} (problems.jsonl)."


def _signatures(named: _Named, columns: Sequence[ColumnSpec]) -> Iterator[str]:
    """Name the recipe of each measured column; where recipes differ, each by the number that its scores bear."""
    single: list[tuple[str, str]] = []  # of scores only: a fact's recipe is told where there are several
    numbered: list[tuple[tuple[int, str], str]] = []
    for at, column in enumerate(columns):
        for name, row in named.rows:
            cell = row.cells[at]
            if cell.footnote:
                numbered.append(((cell.footnote, cell.signature), f"{column.heading} of {name}"))
            elif column.score and cell.present:
                single.append((cell.signature, column.heading))
    for recipe, headings in _gather(single).items():
        unsigned = "none is recorded, so that nothing is compared"
        yield f"Signature of {', '.join(headings)}: {recipe or unsigned}"
    if numbered:
        yield "Raised numbers are recipes: numbers of a column are compared only where theirs is the same."
    for (number, recipe), names in sorted(_gather(numbered).items()):
        yield f"{raised(number)} {', '.join(names)}: {recipe or 'no signature recorded'}"


def _unused(unused: Unused, any_row: bool, any_published: bool) -> Iterator[str]:
    if unused.others:
        labels = Counter(run.label for run in unused.others)
        names = ", ".join(f"{label} ({n} times)" if n > 1 else label for label, n in labels.items())
        yield f"Finished runs with nothing to show here: {names}."
    for run in unused.skipped:
        yield f"Skipped {run.folder}: {_sentence(run.why)}"
    if unused.folder is not None and not (any_row or unused.others or unused.skipped):
        yield f"No run below {unused.folder}: {what_remains(any_published)}."


def what_remains(any_published: bool) -> str:
    """Return what a leaderboard without a run shows."""
    return "only published rows are shown" if any_published else "there is nothing to show"
