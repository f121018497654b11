"""Reading predictions that exist already, for ``bench score``.

CSV, TSV, JSON, JSONL and Parquet files of five layouts, recognised by their columns: the ending of the name tells the
container only. Everything is read as text exactly as written, so that ids such as ``007`` and reports such as ``None``
survive.

Layouts of other projects: RadFact's from microsoft/RadFact, CXR-Report-Metric's and ReXrank's from
rajpurkarlab/CXR-Report-Metric and rajpurkarlab/ReXrank.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from bench.contracts import Pair
from bench.errors import BenchError
from bench.prediction_formats import KEY, Row, Table, kind, read_table

SHOWN = 20
"""Ids listed in one message."""


@dataclass(frozen=True, slots=True)
class PairsTable:
    """The pairs of a file: in its order, or in that of the file of references."""

    pairs: Sequence[Pair]
    format: str
    """The layout that was recognised, in words."""
    notes: tuple[str, ...]
    """What the user should know about how the file was read."""
    n_missing: int
    """Pairs that had no prediction and are scored as empty."""


def read_pairs(
    file: Path, references: Path | None = None, missing: Literal["error", "empty"] | str = "error"
) -> PairsTable:
    """Read predictions and their references.

    file: holds both, or the predictions only where `references` names the other file. missing: what becomes of ids
    without a prediction (no entry, null, NaN, or an entry of a run that carries an error): an error that lists them,
    or an empty candidate, counted. An empty text is an empty report, never a missing one.

    Raises BenchError naming file, entry and column: unknown layout, duplicate or empty id, prediction without a
    reference, reference that is blank, cell that is no text, file that cannot be read.
    """
    if missing not in ("error", "empty"):
        raise BenchError(f"missing: 'error' or 'empty' was expected, not {missing!r}")
    layout, entries = _single(file) if references is None else _joined(file, references)
    scored = {case_id: entry for case_id, entry in entries.items() if entry.reference is not None}
    if not scored:
        raise BenchError(f"{references or file}: no entry has a reference ({layout.reference!r} is empty in all)")
    lacking = {case_id: entry.why for case_id, entry in scored.items() if entry.candidate is None}
    if lacking and missing == "error":
        raise BenchError(
            f"{file}: {len(lacking)} of {len(scored)} ids have no prediction:\n{_listed(lacking)}\n"
            "  Add them, or score them as empty predictions with --missing empty."
        )
    pairs = [_pair(case_id, entry) for case_id, entry in scored.items()]
    notes = _notes(layout, entries, scored, lacking)
    return PairsTable(pairs, layout.name, tuple(notes), len(lacking))


# ------------------------------------------------------------------ layouts


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a kind of file keeps what."""

    name: str
    id: str
    candidate: str | None
    reference: str | None
    error: str | None = None
    """Column that is filled where there is no prediction."""
    sparse: bool = False
    """Entries without a reference belong to the format: they are left out and counted."""

    def columns(self) -> tuple[str, ...]:
        return tuple(name for name in (self.id, self.candidate, self.reference) if name is not None)

    def shape(self) -> str:
        """Return the columns as a user would write them."""
        if self.id == KEY:
            return f"JSON object of studies, each with {', '.join(self.columns()[1:])}"
        return ", ".join(self.columns())


_BOTH = (
    _Layout("id, candidate, reference", "id", "candidate", "reference"),
    _Layout("RadFact's example_id, prediction, target", "example_id", "prediction", "target"),
    _Layout("ReXrank's JSON", KEY, "model_prediction", "section_findings", sparse=True),
)
_PREDICTIONS = (
    _Layout("CXR-Report-Metric's study_id, report", "study_id", "report", None),
    _Layout("a run's reports (id, text)", "id", "text", None, error="error"),
    *(replace(layout, reference=None) for layout in _BOTH),
)
_REFERENCES = (
    _Layout("CXR-Report-Metric's study_id, report", "study_id", None, "report"),
    *(replace(layout, candidate=None) for layout in _BOTH),
)
_GROUP = "group"
_WANTED = {name for layout in (*_BOTH, *_PREDICTIONS, *_REFERENCES) for name in (*layout.columns(), _GROUP, "error")}


def _recognise(table: Table, layouts: Sequence[_Layout], what: str) -> _Layout:
    fitting = [layout for layout in layouts if set(layout.columns()) <= set(table.columns)]
    if KEY in table.columns:  # studies may have columns such as study_id beside
        fitting = [layout for layout in fitting if layout.id == KEY] or fitting
    if not fitting:
        raise BenchError(_unknown(table, layouts, what))
    if len(fitting) > 1:
        raise BenchError(
            f"{table.file}: its columns fit more than one layout of {what}: "
            f"{'; '.join(layout.shape() for layout in fitting)}. Delete or rename the columns not meant."
        )
    return fitting[0]


def _unknown(table: Table, layouts: Sequence[_Layout], what: str) -> str:
    """Say which columns were found, what the nearest layout lacks, and what is known."""
    found = [name for name in table.columns if name != KEY]
    nearest = max(layouts, key=lambda layout: _nearness(layout, table.columns))
    lacking = [name for name in nearest.columns() if name not in table.columns]
    lines = [f"{table.file}: no known layout of {what}. Columns found: {', '.join(map(repr, found)) or 'none'}."]
    if _nearness(nearest, table.columns) > 0 and KEY not in lacking:
        near = [f"no column {name!r}{_did_you_mean(name, found)}" for name in lacking]
        lines.append(f"  Nearest is {nearest.shape()}: {', '.join(near)}.")
    if len(found) == 1 and any(mark in found[0] for mark in ",;\t"):
        lines.append("  The fields seem to be separated otherwise: .csv wants commas, .tsv tabs.")
    known = [layout.shape() for layout in layouts]
    if layouts is _BOTH:
        known += [f"{layout.shape()} (with --references FILE)" for layout in _PREDICTIONS]
    return "\n".join([*lines, "  Known:", *(f"    {shape}" for shape in known)])


def _nearness(layout: _Layout, columns: Sequence[str]) -> float:
    """Return how many of the layout's columns are there, a near miss counting half."""
    return sum(1.0 if name in columns else 0.5 * bool(_near(name, columns)) for name in layout.columns())


def _near(name: str, columns: Iterable[str]) -> str | None:
    bare = {column.strip().lower(): column for column in columns}
    matches = difflib.get_close_matches(name, bare, 1, 0.7)
    return bare[matches[0]] if matches else None


def _did_you_mean(name: str, columns: Iterable[str]) -> str:
    near = _near(name, columns)
    return f" (is {near!r} meant? rename it)" if near is not None else ""


# ------------------------------------------------------------------ entries


@dataclass(frozen=True, slots=True)
class _Entry:
    """What a file says of one id."""

    where: str
    group: str | None
    candidate: str | None
    reference: str | None
    why: str = ""
    """Why there is no candidate."""


def _single(file: Path) -> tuple[_Layout, dict[str, _Entry]]:
    table = read_table(file, _WANTED)
    if not any(set(layout.columns()) <= set(table.columns) for layout in _BOTH):
        _refuse_lone_predictions(table)
    layout = _recognise(table, _BOTH, "predictions with references")
    return layout, _entries(table, layout)


def _refuse_lone_predictions(table: Table) -> None:
    for layout in _PREDICTIONS:
        if set(layout.columns()) <= set(table.columns):
            own = next((both.reference for both in _BOTH if both.id == layout.id), None)
            add = f", or add a column {own!r}" if own and layout.candidate != "text" else ""
            raise BenchError(
                f"{table.file}: predictions without references ({layout.shape()}). "
                f"Name the file of the references with --references FILE{add}."
            )


def _joined(file: Path, references: Path) -> tuple[_Layout, dict[str, _Entry]]:
    table, others = read_table(file, _WANTED), read_table(references, _WANTED)
    layout = _recognise(table, _PREDICTIONS, "predictions")
    whole = next((both for both in _BOTH if both.id == layout.id and both.candidate == layout.candidate), None)
    if whole is not None and whole.reference in table.columns:
        raise BenchError(
            f"{file}: has references of its own (column {whole.reference!r}) and --references was given too. "
            f"Leave --references out, or delete the column."
        )
    other = _recognise(others, _REFERENCES, "references")
    predicted, true = _entries(table, layout), _entries(others, other)
    _refuse_strangers(file, references, predicted, true)
    name = f"{layout.name} with references of {references}"
    joined = replace(other, name=name, candidate=layout.candidate)
    nothing = _Entry("", None, None, None, f"no entry in {file}")
    return joined, {case_id: _merged(predicted.get(case_id, nothing), entry) for case_id, entry in true.items()}


def _merged(predicted: _Entry, true: _Entry) -> _Entry:
    return replace(predicted, group=true.group or predicted.group, reference=true.reference)


def _refuse_strangers(
    file: Path, references: Path, predicted: Mapping[str, _Entry], true: Mapping[str, _Entry]
) -> None:
    strangers = {case_id: entry.where for case_id, entry in predicted.items() if case_id not in true}
    if not strangers:
        return
    known = ", ".join(repr(case_id) for case_id in list(true)[:3])
    hint = f"\n  No id is in both files; those of the references are written {known} …" * (
        len(strangers) == len(predicted)
    )
    raise BenchError(
        f"{file}: {len(strangers)} of {len(predicted)} predictions have no reference in {references}:\n"
        f"{_listed(strangers)}{hint}\n  Add the references, or delete the predictions."
    )


def _entries(table: Table, layout: _Layout) -> dict[str, _Entry]:
    entries: dict[str, _Entry] = {}
    for row in table.rows:
        case_id = _label(table, row, layout.id)
        if case_id in entries:
            raise BenchError(
                f"{table.file}, {row.where}{_column(layout.id)}: the id {case_id!r} occurs twice, "
                f"first in {entries[case_id].where}"
            )
        entries[case_id] = _entry(table, row, layout)
    return entries


def _entry(table: Table, row: Row, layout: _Layout) -> _Entry:
    group = _label(table, row, _GROUP) if _GROUP in table.columns else None
    reference = _reference(table, row, layout)
    if layout.candidate is None:
        return _Entry(row.where, group, None, reference)
    candidate, why = _cell(table, row, layout.candidate), f"{row.where}, {layout.candidate!r}: no value"
    if layout.error is not None and (failure := _cell(table, row, layout.error)):
        candidate, why = None, f"{row.where}, error: {' '.join(failure.split())}"
    return _Entry(row.where, group, candidate, reference, why)


def _reference(table: Table, row: Row, layout: _Layout) -> str | None:
    """Return the reference, None where the layout has none or leaves the entry out."""
    if layout.reference is None:
        return None
    reference = _cell(table, row, layout.reference)
    if reference is not None and reference.strip():
        return reference
    if layout.sparse:
        return None
    what = "no reference (null)" if reference is None else "the reference is blank"
    raise BenchError(
        f"{table.file}, {row.where}{_column(layout.reference)}: {what}; nothing can be scored against it. "
        "Fill it in, or delete the entry."
    )


def _cell(table: Table, row: Row, name: str) -> str | None:
    """Return a text, or None where there is no value."""
    value = row.cells.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise BenchError(f"{table.file}, {row.where}{_column(name)}: {kind(value)} where a text was expected")
    return _whole(table, row, name, value)


def _whole(table: Table, row: Row, name: str, text: str) -> str:
    """Refuse what JSON's escapes allow and no file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as err:
        raise BenchError(
            f"{table.file}, {row.where}{_column(name)}: half a surrogate pair, which is no character, "
            f"at position {err.start}"
        ) from None
    return text


def _label(table: Table, row: Row, name: str) -> str:
    """Return an id or a group as text; whole numbers become their digits."""
    value: Any = row.cells.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        raise BenchError(
            f"{table.file}, {row.where}{_column(name)}: the number {value!r}; write it as text or whole number, "
            "as decimals lose digits and leading zeros"
        )
    text = _cell(table, row, name)
    if text is None or not text.strip():
        what = "group" if name == _GROUP else "id"
        raise BenchError(f"{table.file}, {row.where}{_column(name)}: the {what} is empty")
    return text


def _column(name: str) -> str:
    return "" if name == KEY else f", column {name!r}"


# ------------------------------------------------------------------ pairs and notes


def _pair(case_id: str, entry: _Entry) -> Pair:
    assert entry.reference is not None
    return Pair(case_id, case_id if entry.group is None else entry.group, entry.candidate or "", entry.reference)


def _notes(
    layout: _Layout, entries: Mapping[str, _Entry], scored: Mapping[str, _Entry], lacking: Mapping[str, str]
) -> list[str]:
    notes = []
    if layout.sparse:
        notes.append("The references are section_findings alone; ReXrank itself scores findings and impression joined.")
    if left := [case_id for case_id in entries if case_id not in scored]:
        notes.append(f"{len(left)} of {len(entries)} studies have no section_findings and are left out: {_some(left)}")
    if lacking:
        notes.append(f"{len(lacking)} ids have no prediction and are scored as empty: {_some(lacking)}")
    blank = [i for i, entry in scored.items() if entry.candidate is not None and not entry.candidate.strip()]
    if blank:
        notes.append(f"{len(blank)} predictions are empty texts and scored as such: {_some(blank)}")
    single = sum(entry.group is None for entry in scored.values())
    if single == len(scored):
        notes.append(f"No column {_GROUP!r}: every id is its own group, as if no two were of one patient.")
    elif single:
        notes.append(f"{single} ids have no entry with a {_GROUP!r} and are groups of their own")
    return notes


def _listed(why: Mapping[str, str]) -> str:
    lines = [f"  {case_id!r} ({reason})" for case_id, reason in list(why.items())[:SHOWN]]
    return "\n".join([*lines, *([f"  … and {len(why) - SHOWN} more"] if len(why) > SHOWN else [])])


def _some(ids: Iterable[str]) -> str:
    listed = list(ids)
    more = f" … and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return ", ".join(map(repr, listed[:SHOWN])) + more
