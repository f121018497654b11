"""Pairs of report and reference, and how many errors of which kind each radiologist counted in each.

Layouts are recognised by their columns: ReXVal's two files, RadEvalExpert's one, and a table of the user's own.
"""

from __future__ import annotations

import difflib
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench import registry
from bench.contracts import Floats, Pair
from bench.errors import BenchError
from bench.prediction_formats import KEY, Row, Table, kind, read_table
from bench.run_folder import some

TOTAL, SIGNIFICANT, INSIGNIFICANT = "total", "significant", "insignificant"
KNOWN = (TOTAL, SIGNIFICANT, INSIGNIFICANT)
ALL = ""
"""The category of a count of errors of all categories."""
Kind = tuple[str, str]
"""What is counted: severity (`TOTAL`, `SIGNIFICANT`, `INSIGNIFICANT`, or a column of the user's) and category."""


@dataclass(frozen=True, slots=True)
class Rating:
    """What one radiologist counted in one candidate; None where a count cannot be read."""

    id: str
    rater: str
    counts: Mapping[Kind, float | None]


@dataclass(frozen=True)
class Ratings:
    """Candidates that have counts, and the counts."""

    pairs: Sequence[Pair]
    """A group is a reference: its candidates are not independent."""
    counts: Mapping[Kind, Floats]
    """[n_pairs, n_raters] of each kind, NaN where this radiologist did not count."""
    raters: Sequence[str]
    layout: str
    """The layout that was recognised, in words."""
    notes: Sequence[str]
    credentialed: str = ""
    """Why the texts are not public, whatever is said of them; empty where that is not known."""

    def severities(self) -> list[str]:
        """Return what `choose` accepts."""
        return list(dict.fromkeys(severity for severity, _ in self.counts))

    def choose(self, errors: str | None) -> str:
        """Return the severity asked for; without a word the total, or else what there is.

        Raises BenchError with the near misses.
        """
        known = self.severities()
        if errors is None:
            return next((severity for severity in (TOTAL, SIGNIFICANT) if severity in known), known[0])
        if errors not in known:
            raise BenchError(f"--errors: {registry.miss('kind of errors', errors, known)}")
        return errors

    def categories(self, severity: str) -> list[str]:
        """Return the categories that errors of a severity are told apart by."""
        return [category for of, category in self.counts if of == severity and category != ALL]

    def mean(self, severity: str, category: str = ALL) -> Floats:
        """Return the mean count of each candidate over those who counted, [n_pairs]; NaN where nobody did."""
        return mean_of(self.counts[severity, category])


def mean_of(counts: Floats) -> Floats:
    """Return the means of rows without their NaN; NaN where nothing is left."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        means: Floats = np.nanmean(counts, axis=1)
    return means


@dataclass
class Sheet:
    """Collects what a layout's file holds."""

    layout: str
    pairs: dict[str, Pair] = field(default_factory=dict)
    ratings: dict[tuple[str, str], Rating] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    credentialed: str = ""
    references: dict[str, str] = field(default_factory=dict)

    def group_of(self, reference: str) -> str:
        """Return a name for the candidates of one reference text; it shows no text."""
        return self.references.setdefault(reference, f"reference {len(self.references) + 1}")

    def finish(self, where: Path) -> Ratings:
        """Return the candidates that have counts. Raises BenchError where less than two have."""
        kinds = list(dict.fromkeys(k for rating in self.ratings.values() for k in rating.counts))
        raters = sorted({rater for _, rater in self.ratings})
        row = {case_id: i for i, case_id in enumerate(self.pairs)}
        counts = {k: np.full((len(row), len(raters)), np.nan) for k in kinds}
        for (case_id, rater), rating in self.ratings.items():
            for k, value in rating.counts.items():
                if value is not None:
                    counts[k][row[case_id], raters.index(rater)] = value
        counted = np.zeros(len(row), dtype=bool)
        for table in counts.values():
            counted |= np.isfinite(table).any(axis=1)
        if counted.sum() < 2:
            raise BenchError(f"{where}: {int(counted.sum())} of {len(row)} candidates have counts; two are the least")
        kept = [pair for pair, there in zip(self.pairs.values(), counted, strict=True) if there]
        if left := [case_id for case_id, there in zip(self.pairs, counted, strict=True) if not there]:
            self.notes.append(f"{len(left)} of {len(row)} candidates have no count and are left out: {some(left)}")
        found = {k: table[counted] for k, table in counts.items()}
        found = {k: table for k, table in found.items() if np.isfinite(table).any()}
        self.notes += _about_raters(raters, np.stack([np.isfinite(table) for table in found.values()]).any(axis=0))
        return Ratings(kept, found, raters, self.layout, self.notes, self.credentialed)


def _about_raters(raters: Sequence[str], did: Any) -> list[str]:
    """Say so where radiologists counted different candidates, [n_pairs, n_raters]."""
    if did.all():
        return []
    each = ", ".join(f"{rater} {n}" for rater, n in zip(raters, did.sum(axis=0), strict=True))
    return [
        f"The raters counted different candidates ({each} of {len(did)}; {int(did.all(axis=1).sum())} were "
        f"counted by all {len(raters)}): each count is the mean over those who counted, stricter or milder as they are"
    ]


# ------------------------------------------------------------------ reading


def read_ratings(path: Path, errors: str | None = None) -> Ratings:
    """Read what radiologists counted: the folder of ReXVal or one of its files, RadEvalExpert's file, or a table.

    errors: a column of the user's own table that holds counts, where it is none of the known ones. Raises BenchError
    naming file, entry and column.
    """
    from bench.meta import own_table, radeval_expert, rexval

    if path.is_dir():
        return rexval.read(path)
    table = read_table(path, ())
    if rexval.one_of_its_files(table.columns):
        return rexval.read(path)
    if radeval_expert.fits(table.columns):
        return radeval_expert.read(path)
    if own_table.fits(table.columns):
        return own_table.read(path, errors)
    raise BenchError(_unknown(table, own_table.WANTED, (rexval.SHAPE, radeval_expert.SHAPE, own_table.SHAPE)))


def _unknown(table: Table, wanted: Sequence[str], shapes: Sequence[str]) -> str:
    found = [name for name in table.columns if name != KEY]
    lines = [f"{table.file}: no known layout of radiologists' counts. Columns found: {', '.join(found) or 'none'}."]
    near = [f"no column {name!r}{did_you_mean(name, found)}" for name in wanted if name not in found]
    if len(near) < len(wanted) or any("meant" in line for line in near):
        lines.append(f"  Nearest is a table of your own: {', '.join(near)}.")
    return "\n".join([*lines, "  Known:", *(f"    {shape}" for shape in shapes)])


def did_you_mean(name: str, columns: Iterable[str]) -> str:
    """Return a question that names the column nearest to `name`, or nothing."""
    bare = {column.strip().lower().replace(" ", "_"): column for column in columns}
    close = difflib.get_close_matches(name.lower(), bare, 1, 0.7)
    return f" (is {bare[close[0]]!r} meant? rename it)" if close else ""


def text(table: Table, row: Row, name: str) -> str:
    """Return a cell's text, "" where it has no value; whole numbers become their digits."""
    value = row.cells.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is not None and not isinstance(value, str):
        raise BenchError(f"{place(table, row, name)}: {kind(value)} where a text was expected")
    return value or ""


def reference(table: Table, row: Row, name: str) -> str:
    """Return a reference, which may not be blank."""
    found = text(table, row, name)
    if not found.strip():
        raise BenchError(f"{place(table, row, name)}: the reference is blank; nothing can be scored against it")
    return found


def count(table: Table, row: Row, name: str) -> float | None:
    """Return a number of errors, None where the cell is blank. Raises BenchError where it is none."""
    value = row.cells.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise BenchError(
            f"{place(table, row, name)}: {value!r} is no count of errors; a number of 0 or more was expected, or a "
            "blank cell where nobody counted"
        )
    return number


def place(table: Table, row: Row, name: str) -> str:
    """Return "file, line 3, column 'errors'"."""
    return f"{table.file}, {row.where}, column {name!r}"
