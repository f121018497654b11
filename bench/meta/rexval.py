"""ReXVal (https://physionet.org/content/rexval-dataset/1.0.0/, https://doi.org/10.13026/2fp8-qr71).

Two files. ``50_samples_gt_and_candidates.csv`` has a row a reference (column gt_report) and a column a candidate:
radgraph, bertscore, s_emb and bleu, the metric by which it was retrieved.
``6_valid_raters_per_rater_error_categories.csv`` has a row a reference, candidate, rater, category and significance,
with the number of errors; its study_number counts the rows of the other file from 0.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from bench import registry
from bench.contracts import Pair
from bench.errors import BenchError
from bench.meta.ratings import ALL, INSIGNIFICANT, SIGNIFICANT, TOTAL, Kind, Rating, Ratings, Sheet, count, place
from bench.meta.ratings import reference as reference_of
from bench.meta.ratings import text as text_of
from bench.prediction_formats import Row, Table, read_table

REPORTS, COUNTS = "50_samples_gt_and_candidates.csv", "6_valid_raters_per_rater_error_categories.csv"
SHAPE = f"ReXVal's folder, with {REPORTS} and {COUNTS}"
_REFERENCE = "gt_report"
_COUNTED = ("study_number", "candidate_type", "rater_index", "error_category", "clinically_significant", "num_errors")
CATEGORIES = {
    "1": "false prediction of a finding",
    "2": "omission of a finding",
    "3": "wrong location of a finding",
    "4": "wrong severity of a finding",
    "5": "comparison that the reference does not make",
    "6": "omission of a comparison with an earlier study",
}
"""Yu et al. 2023 (https://doi.org/10.1016/j.patter.2023.100802), in their order."""
_TRUE, _FALSE = ("true", "1", "1.0", "yes"), ("false", "0", "0.0", "no")
_CREDENTIALED = (
    "ReXVal's reports are MIMIC-CXR's, which are credentialed. Leave the option out and judge on this machine, or name "
    "a host that you attest zero retention for: --set 'run.attest_zero_retention=[HOST]'"
)


def one_of_its_files(columns: Collection[str]) -> bool:
    """Tell whether these are the columns of one of ReXVal's two files."""
    return _is_reports(columns) or _is_counts(columns)


def _is_reports(columns: Collection[str]) -> bool:
    return _REFERENCE in columns


def _is_counts(columns: Collection[str]) -> bool:
    return set(_COUNTED) <= set(columns)


def read(path: Path) -> Ratings:
    """Read ReXVal from its folder or one of its files. Raises BenchError naming file, line and column."""
    reports_file, counts_file = _files(path)
    counts = read_table(counts_file, _COUNTED)
    types = list(dict.fromkeys(text_of(counts, row, "candidate_type") for row in counts.rows))
    reports = read_table(reports_file, {_REFERENCE, "study_number", "study_id", *types})
    for name in types:
        if name not in reports.columns:
            where = f"{counts_file}, column 'candidate_type'"
            raise BenchError(f"{where}: {registry.miss(f'column in {reports_file}', name, reports.columns)}")
    sheet = Sheet("ReXVal", credentialed=_CREDENTIALED)
    numbers = {text_of(counts, row, "study_number"): row for row in reversed(counts.rows)}
    for number, row in _studies(reports, counts, numbers).items():
        reference = reference_of(reports, row, _REFERENCE)
        for name in types:
            case_id = f"{number}-{name}"
            sheet.pairs[case_id] = Pair(case_id, number, text_of(reports, row, name), reference)
    _count(sheet, counts)
    return sheet.finish(counts_file)


def _files(path: Path) -> tuple[Path, Path]:
    """Return the file of reports and the file of counts: by their names, else by their columns."""
    folder = path if path.is_dir() else path.parent
    given = {} if path.is_dir() else {path: read_table(path, ()).columns}
    headers = {**_headers(folder), **given}
    found = []
    for name, fits, columns in ((REPORTS, _is_reports, (_REFERENCE,)), (COUNTS, _is_counts, _COUNTED)):
        fitting = [file for file, has in headers.items() if fits(has)]
        named = (
            [file for file in fitting if file in given] or [file for file in fitting if file.name == name] or fitting
        )
        if not named:
            raise BenchError(
                f"{folder}: no file with the column{'s' if len(columns) > 1 else ''} {', '.join(columns)} (ReXVal's "
                f"{name}); the folder must hold both of ReXVal's files{_beside(headers)}"
            )
        if len(named) > 1:
            raise BenchError(f"{folder}: {', '.join(file.name for file in named)} could each be ReXVal's {name}")
        found.append(named[0])
    return found[0], found[1]


def _headers(folder: Path) -> dict[Path, tuple[str, ...]]:
    """Return the columns of the CSV files of a folder; what cannot be read is none of ReXVal's."""
    headers = {}
    for file in sorted(folder.glob("*.csv")):
        try:
            headers[file] = read_table(file, ()).columns
        except BenchError:
            if file.name in (REPORTS, COUNTS):
                raise
    return headers


def _beside(headers: Mapping[Path, Sequence[str]]) -> str:
    names = ", ".join(file.name for file in headers)
    return f". CSV files found: {names}" if names else ". No CSV file found"


def _studies(reports: Table, counts: Table, numbers: Mapping[str, Row]) -> dict[str, Row]:
    """Return study_number → row of the reports: by a column of that name, else by place, counted from 0 or from 1."""
    if "study_number" in reports.columns:
        found: dict[str, Row] = {}
        for row in reports.rows:
            number = text_of(reports, row, "study_number")
            if number in found:
                raise BenchError(f"{place(reports, row, 'study_number')}: {number!r} occurs twice")
            found[number] = row
    else:
        first = 1 if "0" not in numbers and str(len(reports.rows)) in numbers else 0
        found = {str(number): row for number, row in enumerate(reports.rows, first)}
    for number, row in numbers.items():
        if number not in found:
            raise BenchError(
                f"{place(counts, row, 'study_number')}: no study {number!r} in {reports.file}, which has "
                f"{len(found)}: {next(iter(found))} … {list(found)[-1]}"
            )
    return found


def _count(sheet: Sheet, table: Table) -> None:
    """Add up the rows of each candidate and rater.

    Where the file has rows of zero errors, a rater without any row on a candidate did not rate it; where it has none,
    such a rater found nothing.
    """
    kinds: list[Kind] = [
        (severity, category)
        for severity in (TOTAL, SIGNIFICANT, INSIGNIFICANT)
        for category in (ALL, *CATEGORIES.values())
    ]
    seen: dict[tuple[str, ...], Row] = {}
    sums: dict[tuple[str, str], dict[Kind, float]] = {}
    zeros = False
    for row in table.rows:
        number, name, rater = (text_of(table, row, column) for column in _COUNTED[:3])
        category, severity = _category(table, row), _severity(table, row)
        key = (number, name, rater, category, severity)
        if key in seen:
            raise BenchError(
                f"{table.file}, {row.where}: study {number}, {name}, rater {rater}, {category}, {severity} occurs "
                f"twice, first in {seen[key].where}"
            )
        seen[key] = row
        n = count(table, row, "num_errors")
        if n is None:
            raise BenchError(f"{place(table, row, 'num_errors')}: no value")
        zeros |= n == 0
        own = sums.setdefault((f"{number}-{name}", rater), dict.fromkeys(kinds, 0.0))
        for k in ((TOTAL, ALL), (TOTAL, category), (severity, ALL), (severity, category)):
            own[k] += n
    if not zeros:
        raters = dict.fromkeys(rater for _, rater in sums)
        for case_id in sheet.pairs:
            for rater in raters:
                sums.setdefault((case_id, rater), dict.fromkeys(kinds, 0.0))
        sheet.notes.append(
            f"{table.file.name} has no row of 0 errors: who has no row on a candidate found nothing in it"
        )
    for (case_id, rater), own in sums.items():
        sheet.ratings[case_id, f"rater {rater}"] = Rating(case_id, f"rater {rater}", own)


def _category(table: Table, row: Row) -> str:
    value = text_of(table, row, "error_category").strip().removesuffix(".0")
    if value not in CATEGORIES:
        raise BenchError(f"{place(table, row, 'error_category')}: {value!r} is none of ReXVal's six, 1 … 6")
    return CATEGORIES[value]


def _severity(table: Table, row: Row) -> str:
    cell = row.cells.get("clinically_significant")
    value = str(cell).strip().lower()
    if value not in (*_TRUE, *_FALSE):
        raise BenchError(f"{place(table, row, 'clinically_significant')}: {cell!r} is neither True nor False")
    return SIGNIFICANT if value in _TRUE else INSIGNIFICANT
