"""A table of the user's own: a row a candidate, or a row a candidate and rater."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import registry
from bench.contracts import Pair
from bench.errors import BenchError
from bench.meta.ratings import ALL, SIGNIFICANT, TOTAL, Kind, Rating, Ratings, Sheet, count, did_you_mean, place
from bench.meta.ratings import reference as reference_of
from bench.meta.ratings import text as text_of
from bench.prediction_formats import Row, Table, read_table

WANTED = ("reference", "candidate", "errors")
SHAPE = (
    "reference, candidate, errors and/or significant_errors [, errors/CATEGORY …, group, id, rater]   a table of your "
    "own; --errors COLUMN names another column of counts"
)
_SEVERITIES = {"errors": TOTAL, "significant_errors": SIGNIFICANT}
_ONLY = "the rater"
"""Name of who counted, where the table has no column for it."""


def fits(columns: Sequence[str]) -> bool:
    """Tell whether these are the columns of such a table; whether it has counts is seen when it is read."""
    return {"reference", "candidate"} <= set(columns)


def read(file: Path, errors: str | None) -> Ratings:
    """Read a table; `errors` may name a further column of counts."""
    columns = read_table(file, ()).columns
    kinds = _kinds(file, columns, errors)
    table = read_table(file, {"reference", "candidate", "group", "id", "rater", *kinds})
    sheet = Sheet("a table of your own")
    ids: dict[tuple[str, str, str], str] = {}
    for number, row in enumerate(table.rows, 1):
        _add(sheet, ids, table, row, number, kinds)
    if "group" not in columns:
        sheet.notes.append("No column 'group': candidates of the same reference text are one group")
    return sheet.finish(file)


def _kinds(file: Path, columns: Sequence[str], errors: str | None) -> dict[str, Kind]:
    """Return the columns of counts and what they count."""
    kinds: dict[str, Kind] = {}
    for name in columns:
        base, slash, category = name.partition("/")
        if base in _SEVERITIES and bool(slash) == bool(category):
            kinds[name] = (_SEVERITIES[base], category)
    if errors is not None and errors in columns:
        kinds[errors] = (errors, ALL)
    known = list(dict.fromkeys([severity for severity, _ in kinds.values()]))
    if errors is not None and errors not in known:
        miss = registry.miss("kind of errors or column of counts", errors, [*known, *columns])
        raise BenchError(f"{file}: --errors: {miss}")
    if not kinds:
        near = next((hint for name in _SEVERITIES if (hint := did_you_mean(name, columns))), "")
        raise BenchError(
            f"{file}: no column of counts: 'errors' or 'significant_errors' was expected{near}; --errors COLUMN names "
            f"another one. Columns found: {', '.join(columns)}"
        )
    return kinds


def _add(
    sheet: Sheet, ids: dict[tuple[str, str, str], str], table: Table, row: Row, number: int, kinds: Mapping[str, Kind]
) -> None:
    """Add a row; without ids, rows of equal texts by different raters are one candidate."""
    reference, candidate = reference_of(table, row, "reference"), text_of(table, row, "candidate")
    group = _label(table, row, "group") if "group" in table.columns else sheet.group_of(reference)
    rater = _label(table, row, "rater") if "rater" in table.columns else _ONLY
    case_id = str(number)
    if "id" in table.columns:
        case_id = _label(table, row, "id")
    elif "rater" in table.columns:
        case_id = ids.setdefault((group, reference, candidate), case_id)
    pair = Pair(case_id, group, candidate, reference)
    if sheet.pairs.setdefault(case_id, pair) != pair:
        raise BenchError(
            f"{table.file}, {row.where}: the id {case_id!r} occurs before with another reference, candidate or group; "
            "one id is one candidate, rated by whoever rated it"
        )
    if (case_id, rater) in sheet.ratings:
        who = f" of rater {rater!r}" if "rater" in table.columns else ""
        hint = "" if "rater" in table.columns else "; a column 'rater' tells raters apart"
        raise BenchError(f"{table.file}, {row.where}: a second row{who} on the id {case_id!r}{hint}")
    sheet.ratings[case_id, rater] = Rating(case_id, rater, _counts(table, row, kinds))


def _counts(table: Table, row: Row, kinds: Mapping[str, Kind]) -> dict[Kind, float | None]:
    found = {k: count(table, row, name) for name, k in kinds.items()}
    for severity in dict.fromkeys(severity for severity, _ in found):
        parts = [value for (of, category), value in found.items() if of == severity and category != ALL]
        if (severity, ALL) not in found:
            found[severity, ALL] = None if None in parts else sum(value for value in parts if value is not None)
    return found


def _label(table: Table, row: Row, name: str) -> str:
    value = text_of(table, row, name)
    if not value.strip():
        raise BenchError(f"{place(table, row, name)}: no value; fill it in, or delete the column")
    return value
