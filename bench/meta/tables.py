"""What ``bench meta`` prints and writes."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from bench import store
from bench.case_values import CaseColumn
from bench.errors import BenchError
from bench.meta.agreement import Agreement, Ceiling, Difference, Estimate, Measured, Target
from bench.meta.ratings import ALL, Ratings
from bench.rank_correlation import Statistics
from bench.wording import counted

ENDINGS = (".csv", ".json", ".md")
_SHOWN = ("kendall", "spearman", "accuracy")
_HEADINGS = {"kendall": "τ_b", "spearman": "ρ", "accuracy": "accuracy", "accuracy_equal": "accuracy (ties count)"}
_RATERS = "a rater with the others"


def check_out(*files: Path | None, endings: Sequence[str] = ENDINGS) -> None:
    """Raise BenchError, before anything is measured, where a file cannot be written as asked."""
    for file in files:
        if file is not None and file.suffix not in endings:
            raise BenchError(f"{file}: the name must end in {' or '.join(endings)}")
        if file is not None and not file.absolute().parent.is_dir():
            raise BenchError(f"{file}: no folder {file.absolute().parent}")


# ------------------------------------------------------------------ the terminal


def print_measured(
    console: Console, measured: Measured, columns: Mapping[str, CaseColumn], more: Sequence[str] = ()
) -> None:
    """Print a table for each kind of errors, the differences from the baseline, how to read them, and `more` lines."""
    for target in _ordered(measured):
        console.print(_title(measured, target), style="italic", markup=False, highlight=False)
        console.print(_table(measured, target, columns))
        if measured.baseline is not None:
            console.print(_difference_table(measured, target, measured.baseline))
    for line in [*legend(measured), *more]:
        console.print(line, markup=False, highlight=False)


def _ordered(measured: Measured) -> list[Target]:
    """Return the kinds of errors by which candidates differ; the notes tell of the others."""
    return [
        target
        for target in measured.targets
        if any(one.accuracy.value is not None for one in _of(measured.agreements, target))
    ] or list(measured.targets[:1])


def _title(measured: Measured, target: Target) -> str:
    which = "pairs of one reference" if measured.settings.within else "all pairs of candidates"
    candidates, references = counted(measured.n_candidates, "candidate"), counted(measured.n_references, "reference")
    return f"Agreement with fewer {target}: {candidates}, {references}, {which}"


def _table(measured: Measured, target: Target, columns: Mapping[str, CaseColumn]) -> Table:
    """Return a row a column, the interval below each statistic; narrow enough for a terminal of 80."""
    table = Table(header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("", overflow="fold")
    for heading in (*(_HEADINGS[name] for name in _SHOWN), "tied", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in _of(measured.agreements, target):
        tied = "–" if one.tied is None else f"{one.tied:.0%}"
        table.add_row(Text(heading_of(one.column, columns)), *map(_cell, _estimates(one)), tied, f"{one.n:,}")
    for ceiling in _of(measured.ceilings, target):
        table.add_section()
        table.add_row(Text(_RATERS, "italic"), *map(_cell, _estimates(ceiling)), "", "")
    return table


def heading_of(key: str, columns: Mapping[str, CaseColumn]) -> str:
    """Return a column's key, with an arrow where lower is better."""
    return key if columns[key].column.higher_is_better else f"{key} ↓"


def _of(found: Sequence[Any], target: Target) -> list[Any]:
    return [one for one in found if (one.errors, one.category) == (target.errors, target.category)]


def _estimates(one: Agreement | Ceiling) -> list[Estimate]:
    return [getattr(one, name) for name in _SHOWN]


def _cell(estimate: Estimate) -> RenderableType:
    interval = _interval(estimate.ci_low, estimate.ci_high)
    return Text.assemble(_number(estimate.value), (f"\n{interval}", "dim") if interval else "")


def _number(value: float | None, sign: str = "") -> str:
    return "–" if value is None else f"{value:{sign}.3f}".replace("-", "−")


def _interval(low: float | None, high: float | None, sign: str = "") -> str:
    return "" if low is None or high is None else f"{_number(low, sign)} … {_number(high, sign)}"


def _difference_table(measured: Measured, target: Target, baseline: str) -> Table:
    table = Table(header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("", overflow="fold")
    interval = f"{measured.settings.confidence:.0%} interval"
    for heading in (f"τ_b − {baseline}'s", interval, "p", "", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in _of(measured.differences, target):
        if one.statistic == "kendall":
            table.add_row(
                Text(one.column), _number(one.difference, "+"), _interval(one.ci_low, one.ci_high, "+") or "–",
                "–" if one.p_holm is None else f"{one.p_holm:.4f}", "*" * _significant(one, measured), f"{one.n:,}",
            )  # fmt: skip
    return table


def _significant(one: Difference, measured: Measured) -> bool:
    return one.p_holm is not None and one.p_holm < 1 - measured.settings.confidence


def legend(measured: Measured) -> list[str]:
    """Return the lines that say how to read the tables."""
    settings = measured.settings
    lines = [
        "Positive is agreement: a higher value (a lower one where ↓) goes with fewer errors. A paper that correlates "
        "with the number of errors itself prints τ_b and ρ with the other sign.",
        "accuracy: share of the pairs with different counts that the metric orders alike, its ties counting one half; "
        "chance is 0.5. tied: pairs that the metric does not tell apart.",
    ]
    if settings.within:
        lines.append("τ_b and ρ are of the pairs, and of the ranks, within each reference, all references together.")
    if any(one.kendall.value is not None for one in measured.ceilings):
        lines.append(
            f"{_RATERS}: each radiologist's count with the mean of the others', averaged over them: as far as "
            "radiologists agree themselves."
        )
    if any(one.kendall.ci_low is not None for one in measured.agreements):
        what = (
            "references" if measured.n_groups == measured.n_references else f"{measured.n_groups} groups of references"
        )
        lines.append(
            f"Intervals: {settings.confidence:.0%}, {settings.draws:,} resamples of {what}, seed {settings.seed}; the "
            "same for all metrics."
        )
    tests = sum(one.p is not None for one in measured.differences if one.statistic == "kendall")
    if tests:
        lines.append(
            f"p: two-sided, paired bootstrap, corrected for {tests} comparison{'s' * (tests > 1)} (Holm). * below "
            f"{1 - settings.confidence:.3g}"
        )
    return lines + list(measured.notes)


# ------------------------------------------------------------------ files


def write(file: Path, measured: Measured, columns: Mapping[str, CaseColumn], about: Mapping[str, Any]) -> list[Path]:
    """Write all of it as JSON, as Markdown tables, or as CSV, by the file's ending; return the files written.

    CSV has a row a column and kind of errors; differences go to FILE-differences.csv beside it.
    """
    if file.suffix == ".json":
        store.write_json(file, as_json(measured, columns, about))
        return [file]
    if file.suffix == ".md":
        store.write_text(file, _markdown(measured, columns, about))
        return [file]
    rows = [_flat(one, one.column) for one in measured.agreements]
    _write_csv(file, rows + [_flat(one, _RATERS) for one in measured.ceilings])
    if measured.baseline is None:
        return [file]
    beside = file.with_name(f"{file.stem}-differences.csv")
    _write_csv(beside, [asdict(one) for one in measured.differences])
    return [file, beside]


def as_json(measured: Measured, columns: Mapping[str, CaseColumn], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything as a JSON-able mapping."""
    metrics = {
        key: {"metric": one.metric, "signature": one.signature, "higher_is_better": one.column.higher_is_better}
        for key, one in columns.items()
    }
    return {**about, **measured.as_json(), "columns": metrics}


def _flat(one: Agreement | Ceiling, column: str) -> dict[str, Any]:
    row: dict[str, Any] = {"errors": one.errors, "category": one.category, "column": column}
    for name in Statistics._fields:
        estimate = getattr(one, name)
        row |= {name: estimate.value, f"{name}_ci_low": estimate.ci_low, f"{name}_ci_high": estimate.ci_high}
    others = ("tied", "n", "n_left_out", "n_groups")
    return row | {name: getattr(one, name, None) for name in others}


def _write_csv(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, list(rows[0]) if rows else ["column"], lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    store.write_text(file, text.getvalue())


def _markdown(measured: Measured, columns: Mapping[str, CaseColumn], about: Mapping[str, Any]) -> str:
    lines = []
    for target in _ordered(measured):
        lines += [f"{_title(measured, target)}.", ""]
        lines += _rows(["metric", *(_HEADINGS[name] for name in Statistics._fields), "tied", "n"])
        for one in _of(measured.agreements, target):
            tied = "–" if one.tied is None else f"{one.tied:.0%}"
            lines.append(_row([heading_of(one.column, columns), *_with_intervals(one), tied, f"{one.n:,}"]))
        for ceiling in _of(measured.ceilings, target):
            lines.append(_row([f"*{_RATERS}*", *_with_intervals(ceiling), "", ""]))
        if measured.baseline is not None:
            lines += ["", *_rows(["metric", f"τ_b − {measured.baseline}'s", "interval", "p (Holm)"])]
            for one in (d for d in _of(measured.differences, target) if d.statistic == "kendall"):
                p = "–" if one.p_holm is None else f"{one.p_holm:.4f}" + "*" * _significant(one, measured)
                lines.append(
                    _row([one.column, _number(one.difference, "+"), _interval(one.ci_low, one.ci_high, "+"), p])
                )
        lines.append("")
    lines.append(
        "- accuracy (ties count): share of all pairs on which metric and counts agree, tied in both being agreement "
        "(acc_eq of Deutsch et al. 2023, without calibrated ties)."
    )
    lines += [f"- {_escaped(line)}" for line in [*legend(measured), *about.get("read_notes", ())]]
    return "\n".join(lines) + "\n"


def _rows(headings: Sequence[str]) -> list[str]:
    return [_row(headings), "|---|" + "--:|" * (len(headings) - 1)]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_escaped, cells)) + " |"


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _with_intervals(one: Agreement | Ceiling) -> list[str]:
    cells = []
    for name in Statistics._fields:
        estimate = getattr(one, name)
        interval = _interval(estimate.ci_low, estimate.ci_high)
        cells.append(_number(estimate.value) + (f" ({interval})" if interval else ""))
    return cells


def write_values(file: Path, ratings: Ratings, columns: Mapping[str, CaseColumn]) -> None:
    """Write a row a candidate: id, group, mean counts of each severity, and each column's value; no text."""
    counts = {severity: ratings.mean(severity) for severity in ratings.severities()}
    rows = []
    for i, pair in enumerate(ratings.pairs):
        row: dict[str, Any] = {"id": pair.id, "group": pair.group}
        row |= {f"{severity} errors": _plain(counts[severity][i]) for severity in counts}
        rows.append(row | {key: _plain(column.values[i]) for key, column in columns.items()})
    _write_csv(file, rows)


def _plain(value: float) -> float | None:
    return float(value) if value == value else None


def categories(ratings: Ratings, severity: str, by_category: bool) -> list[Target]:
    """Return what is reported: the severity, and below it its categories where asked for."""
    if not by_category:
        return [Target(severity)]
    found = ratings.categories(severity)
    if not found:
        raise BenchError(f"--by-category: the counts of {severity} errors are not told apart by category in this file")
    return [Target(severity), *(Target(severity, category) for category in found if category != ALL)]
