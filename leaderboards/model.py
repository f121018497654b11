"""What a leaderboard is: its definition (a data file) and the finished table that every renderer takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Literal

from pydantic import Field, field_validator, model_validator

from bench.options import Options

Better = Literal["higher", "lower"]
Origin = Literal["published", "measured"]
Style = Literal["number", "count", "compact", "power", "significant"]
Took = Literal["", "train_seconds", "trained_on", "train_cost", "report_seconds", "report_llm_cost", "report_cost"]
Mark = Literal["", "better", "worse", "differs"]
MARKS: Mapping[Mark, str] = {"": "", "better": "‡", "worse": "†", "differs": "§"}
"""What stands behind a number that differs significantly from the baseline's; § where neither is better."""
ABSENT = "–"
"""What stands where there is no number."""

# ------------------------------------------------------------------ definitions


class ColumnSpec(Options):
    """One column of a leaderboard."""

    key: str
    """Name of the column in the published values and in CSV."""
    heading: str
    """Heading where headings stand alone."""
    short: str = ""
    """Heading below the block's; the heading where empty."""
    block: str = ""
    """Neighbouring columns of one block share a spanning heading where the format has them."""
    score: str = ""
    """Key in summary.json's scores that fills the column of a measured row."""
    fact: str = ""
    """Key in facts.json that fills it; without `score`, `fact` and `took`, runs do not measure it."""
    other_fact: str = ""
    """Key in facts.json that fills it where `fact` is not there."""
    absent: str = ""
    """What is said beside where facts.json has neither."""
    took: Took = ""
    """Time and cost that fill it, from resources.json and the stated price (leaderboards/compute.py)."""
    option: str = ""
    """Dotted path in the system's options that fills it where facts.json has no such key."""
    scale: float = 0.0
    """Shown is value * scale; 0: 100 for scores, 1 for facts."""
    decimals: int = Field(1, ge=0, le=12)
    style: Style = "number"
    """count: 239,931. compact: 76M. power: 5.3e-3, rendered as a power of ten. significant: 0.303, three digits."""
    better: Better | None = None
    """Which values are better; None: the column has no best."""
    full: bool = False
    """Shown with ``--columns full`` only."""

    @property
    def factor(self) -> float:
        """What values are multiplied by."""
        return self.scale or (100.0 if self.score else 1.0)

    @property
    def measurable(self) -> bool:
        """Whether runs can fill it."""
        return bool(self.score or self.fact or self.took or self.option)

    @property
    def arrow(self) -> str:
        """↑ or ↓, or nothing where neither is better."""
        return {"higher": " ↑", "lower": " ↓", None: ""}[self.better]


class RowSpec(Options):
    """One published row."""

    label: str
    source: str
    """Publication and table the numbers are from."""
    population: str
    """What they were measured on, as far as it is known."""
    dataset: str = ""
    split: str = ""
    n: int | None = Field(None, ge=1)
    """Cases; None where the source does not say."""
    values: dict[str, str]
    """Column key → number as printed."""
    missing: str = "not in the source"
    """Why there is no number in the other columns."""

    @field_validator("values")
    @classmethod
    def _no_empty_value(cls, values: dict[str, str]) -> dict[str, str]:
        if empty := [key for key, text in values.items() if not text.strip()]:
            raise ValueError(f"empty: {', '.join(empty)}; leave a value that was not printed out")
        return values


class GroupSpec(Options):
    """Published rows that are compared with each other, under one heading."""

    heading: str
    rows: tuple[RowSpec, ...]


class RunSpec(Options):
    """Which runs a leaderboard takes, and what of them."""

    systems: tuple[str, ...] = ()
    """Systems whose runs are shown; empty: all."""
    order: tuple[str, ...] = ()
    """Labels of runs in the order of their rows; others follow, x2 before x10."""
    extra_scores: Literal["none", "variants", "all"] = "none"
    """Scores shown besides the columns with ``--columns full``: labelled variants of them ("x/Ma-14"), or all."""


class Definition(Options):
    """A leaderboard as its data file defines it."""

    name: str
    title: str
    bold: bool = True
    """Whether the best of each group stands in bold."""
    runs: RunSpec = RunSpec()
    columns: tuple[ColumnSpec, ...]
    groups: tuple[GroupSpec, ...] = ()
    """Published rows; none where there is no publication to stand beside."""
    published_notes: tuple[str, ...] = ()
    """Notes on the published rows, shown where these are."""
    notes: tuple[str, ...] = ()

    @field_validator("columns")
    @classmethod
    def _columns_differ(cls, columns: tuple[ColumnSpec, ...]) -> tuple[ColumnSpec, ...]:
        keys = [column.key for column in columns]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise ValueError(f"the same key twice: {', '.join(twice)}")
        if not columns:
            raise ValueError("one column at least is required")
        return columns

    @model_validator(mode="after")
    def _values_have_columns(self) -> Definition:
        keys = {column.key for column in self.columns}
        for row in (row for group in self.groups for row in group.rows):
            if unknown := sorted(row.values.keys() - keys):
                raise ValueError(f"row {row.label!r}: no column {', '.join(unknown)}")
        return self


# ------------------------------------------------------------------ finished tables


@dataclass(frozen=True, slots=True)
class Cell:
    """One number, as shown, or why there is none."""

    text: str
    """As printed: "37.2", "$3.25", "8.0e-3", or `ABSENT`."""
    low: str = ""
    """Lower end of the confidence interval, in the form of `text`; empty where there is none."""
    high: str = ""
    signature: str = ""
    """Recipe of a measured number; cells are compared only where it is the same."""
    n_failed: int = 0
    """Cases for which no verdict came; they are left out of the number."""
    reason: str = ""
    """Why there is no number."""
    remedy: str = ""
    bold: bool = False
    n: int | None = None
    """Cases that a measured score is of: those reported on, less what is undefined or has no verdict."""
    value: float | None = None
    """A measured number in the unit shown, with all its digits."""
    ends: tuple[float, float] | None = None
    """Ends of its interval, likewise."""
    footnote: int = 0
    """Number of its recipe where recipes of its column differ, else 0."""
    mark: Mark = ""
    """How it differs from the baseline's, significantly."""
    difference: float | None = None
    """From the baseline's on the cases of both, in the unit shown."""
    p: float | None = None
    """Of that difference, corrected."""

    @property
    def present(self) -> bool:
        """Whether there is something to show."""
        return self.text != ABSENT

    @property
    def flags(self) -> str:
        """Return what stands behind the number: the mark, and the number of the recipe, raised."""
        return MARKS[self.mark] + raised(self.footnote)

    @property
    def interval(self) -> str:
        """Return "[low, high]", or nothing."""
        return f"[{self.low}, {self.high}]" if self.low and self.high else ""

    @property
    def number(self) -> Decimal | None:
        """What is shown, as a number: equal as printed is equal."""
        try:
            value = Decimal(self.text.replace(",", ""))
        except InvalidOperation:
            return None
        return value if value.is_finite() else None


@dataclass(frozen=True, slots=True)
class Row:
    """One system: published or measured, and on what."""

    label: str
    origin: Origin
    source: str
    """The publication, or the run's folder below the folder searched."""
    population: str
    dataset: str
    split: str
    n: int | None
    cells: tuple[Cell, ...]
    stand_ins: tuple[str, ...] = ()
    """Embedded parts that stand in for real ones in a measured row."""
    n_empty: int = 0
    """Cases without a report of the system's own: it failed or is missing, and is scored as empty."""
    baseline: bool = False
    """Whether the other rows of the group are tested against this one."""

    @property
    def name(self) -> str:
        """The label, and whether it is the baseline."""
        return f"{self.label} (baseline)" if self.baseline else self.label

    @property
    def n_text(self) -> str:
        """Return the number of cases with that of the failed ones: "3,403 (2 failed)"."""
        if self.n is None:
            return ABSENT
        return f"{self.n:,} ({self.n_empty:,} failed)" if self.n_empty else f"{self.n:,}"

    @property
    def images(self) -> tuple[object, ...]:
        """What a published row was measured on; only rows that share it are compared. Groups see to measured ones."""
        return (self.dataset, self.split, self.n, self.population) if self.origin == "published" else ()

    def support(self, cell: Cell) -> str:
        """Return "n=96" where a score is of fewer cases than the row, else nothing."""
        return f"n={cell.n:,}" if cell.present and cell.n is not None and cell.n != self.n else ""

    @property
    def data(self) -> str:
        """Dataset, split and number of cases, as far as they are known."""
        return data_text(self.dataset, self.split, self.n)

    @property
    def origin_text(self) -> str:
        """Return "published" or "measured", with dataset, split and number of cases."""
        return f"{self.origin}: {self.data}" if self.data else self.origin


@dataclass(frozen=True, slots=True)
class Group:
    """Rows among which the best is bold."""

    heading: str
    rows: tuple[Row, ...]

    @property
    def full_heading(self) -> str:
        """The heading, that its rows are published, and what they share of dataset and split."""
        if {row.origin for row in self.rows} != {"published"}:
            return self.heading
        data = {data_text(row.dataset, row.split, None) for row in self.rows}
        of = f": {data.pop()}" if len(data) == 1 and data != {""} else ""
        return f"{self.heading} (published){of}"


@dataclass(frozen=True, slots=True)
class Table:
    """A leaderboard ready to be rendered. Every row has one cell a column."""

    name: str
    title: str
    columns: tuple[ColumnSpec, ...]
    groups: tuple[Group, ...]
    notes: tuple[str, ...]
    """Lines below the table: sources, what is missing and why, signatures, stand-ins, runs that were skipped."""

    def rows(self) -> Iterator[Row]:
        """Yield the rows of all groups."""
        for group in self.groups:
            yield from group.rows

    @property
    def measurable(self) -> bool:
        """Whether runs can fill any of its columns."""
        return any(column.measurable for column in self.columns)

    @property
    def has_n(self) -> bool:
        """Whether the number of cases says something of the rows; what is measured of a model says nothing of cases."""
        if any(column.score for column in self.columns):
            return True
        return any(row.n is not None for row in self.rows() if row.origin == "published")

    def blocks(self) -> Sequence[tuple[str, int]]:
        """Return the spanning headings and how many columns each spans; "" spans those without."""
        spans: list[tuple[str, int]] = []
        for column in self.columns:
            if spans and spans[-1][0] == column.block:
                spans[-1] = (column.block, spans[-1][1] + 1)
            else:
                spans.append((column.block, 1))
        return spans


def data_text(dataset: str, split: str, n: int | None) -> str:
    """Return "demo test, n=100"."""
    where = f"{dataset} {split}".strip()
    return where if n is None else f"{where}, n={n:,}"


_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def raised(number: int) -> str:
    """Return a positive number in raised digits, nothing for 0."""
    return str(number).translate(_RAISED) if number else ""
