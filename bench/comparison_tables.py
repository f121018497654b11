"""What ``bench compare`` prints and writes: a table for each two runs, the cases that differ most, files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench import registry, store
from bench.compare import CaseValues, Compared, Comparison, Run
from bench.contracts import Column
from bench.errors import BenchError

SHOWN_CHARACTERS = 220
"""Of a report in the list of the worst cases."""

FEW = 20
"""Patients below which the table warns of resampling them: our choice, there is no sharp bound."""


def print_compared(console: Console, compared: Compared) -> None:
    """Print a table for each two runs, and the notes below them."""
    groups = len(set(compared.groups))
    first = compared.runs[0].summary
    console.print(
        f"{first['dataset']}, split {first['split']}: {len(compared.ids)} cases of {groups} patients in all "
        f"{len(compared.runs)} runs (× 100)",
        style="italic",
        markup=False,
        highlight=False,
    )
    for (baseline, run), rows in groupby(compared.comparisons, key=lambda c: (c.baseline, c.run)):
        console.print(Text.assemble((run, "bold"), " against ", (baseline, "bold")))
        console.print(_table(list(rows), compared))
    for line in [*compared.notes, *_legend(compared)]:
        console.print(line, markup=False, highlight=False)


def _table(rows: Sequence[Comparison], compared: Compared) -> Table:
    """Return one row a column; narrow enough for a terminal of 80."""
    settings = compared.settings
    table = Table(header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("", overflow="fold")
    headings = ["baseline", "run", "change", f"{settings.confidence:.0%} interval", "p boot", "p swap", "", "n"]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        column = compared.column(row.column)
        table.add_row(
            Text(column.heading + ("" if column.higher_is_better else " ↓")),
            _value(row.baseline_value, column),
            _value(row.run_value, column),
            _value(row.difference, column, sign="+"),
            _interval(row, column),
            _p(row.p_bootstrap_holm),
            _p(row.p_randomization_holm),
            "*" if row.significant else "",
            f"{row.n:,}",
        )
    return table


def _value(value: float | None, column: Column, sign: str = "") -> str:
    """Return a score or difference with one more decimal than tables of scores have."""
    if value is None:
        return "–"
    text = f"{value * column.scale:{sign}.{column.decimals + 1}f}"
    return text.replace("-", "−")


def _interval(row: Comparison, column: Column) -> str:
    if row.ci_low is None or row.ci_high is None:
        return "–"
    return f"{_value(row.ci_low, column, '+')} … {_value(row.ci_high, column, '+')}"


def _p(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _legend(compared: Compared) -> list[str]:
    """Return the lines that say how to read the table."""
    settings = compared.settings
    if not (settings.draws or settings.trials):
        return ["no resampling"]
    unit = "patients" if settings.cluster == "group" else "cases"
    ways = []
    if settings.draws:
        ways.append(f"p boot and intervals: paired bootstrap, {settings.draws:,} resamples of {unit}")
    if settings.trials:
        ways.append(f"p swap: approximate randomization, {settings.trials:,} swaps of {unit}")
    lines = [f"{'; '.join(ways)}; seed {settings.seed}"]
    fewest = min((c.n_groups for c in compared.comparisons), default=FEW)
    if 1 < fewest < FEW:
        lines.append(
            f"Only {fewest} {unit}: intervals and p boot of so few are too narrow and too small; p swap is never below "
            f"{2 ** (1 - fewest):.2g} with them"
        )
    boot = sum(c.p_bootstrap is not None for c in compared.comparisons)
    swap = sum(c.p_randomization is not None for c in compared.comparisons)
    if boot or swap:
        n_tests = f"{boot} (boot) and {swap} (swap)" if boot and swap and boot != swap else f"{boot or swap}"
        comparisons = "comparison" if n_tests == "1" else "comparisons"
        mark = f"* corrected {'p swap' if settings.trials else 'p boot'} below {1 - settings.confidence:.3g}"
        lines.append(f"p-values are two-sided and corrected for {n_tests} {comparisons} (Holm). {mark}")
    return lines


# ------------------------------------------------------------------ worst cases


def print_worst(console: Console, compared: Compared, key: str, top: int) -> None:
    """Print the cases in which each run falls furthest behind its baseline by one column, with both reports."""
    column = compared.column(key)
    runs = {run.label: run for run in compared.runs}
    for baseline, run in _pairs_of(compared, key):
        found = compared.worst(key, baseline, run)
        console.print(
            Text.assemble((run, "bold"), " against ", (baseline, "bold"), f": {len(found)} cases by {key}, worst first")
        )
        for place, (case, difference) in enumerate(found[:top], 1):
            _print_case(console, place, case, difference, column, runs[baseline], runs[run])
        console.print(f"Whole: bench show {runs[run].folder} --case ID", markup=False, highlight=False)


def _pairs_of(compared: Compared, key: str) -> list[tuple[str, str]]:
    return [(c.baseline, c.run) for c in compared.comparisons if c.column == key]


def check_request(compared: Compared, worst: str | None, out: Path | None) -> None:
    """Raise BenchError, before anything is printed, where the column or the file cannot be had."""
    if worst is not None and not _pairs_of(compared, worst):
        raise BenchError(
            f"--worst: {registry.miss('column compared', worst, {c.column for c in compared.comparisons})}"
        )
    if out is not None and out.suffix not in (".csv", ".json"):
        raise BenchError(f"--out {out}: the name must end in .csv or .json")


def _print_case(
    console: Console, place: int, case: CaseValues, difference: float, column: Column, baseline: Run, run: Run
) -> None:
    before, after = _value(case.values[baseline.label], column), _value(case.values[run.label], column)
    change = f"{_value(difference, column, '+')} ({before} → {after})"
    console.print(Text.assemble((f"{place}. {change}", "bold"), f"  {case.id}"))
    texts = (
        ("patient", case.group),
        ("reference", run.pairs[case.id].reference),
        (baseline.label, baseline.pairs[case.id].candidate),
        (run.label, run.pairs[case.id].candidate),
    )
    for name, text in texts:
        console.print(Text.assemble(("   " + name, "dim"), ": ", shortened(text) or "(empty)"))


def shortened(text: str) -> str:
    """Return a report on one line, cut at a blank after `SHOWN_CHARACTERS` at most."""
    line = " ".join(text.split())
    if len(line) <= SHOWN_CHARACTERS:
        return line
    cut = line.rfind(" ", 0, SHOWN_CHARACTERS)
    return f"{line[: cut if cut > 0 else SHOWN_CHARACTERS]} …"


# ------------------------------------------------------------------ files


def as_json(compared: Compared, worst: str | None, top: int | None) -> dict[str, Any]:
    """Return everything as a JSON-able mapping, with the `top` worst cases of each two runs by the column `worst`."""
    found = compared.as_json()
    if worst is not None:
        pairs = _pairs_of(compared, worst)
        found["worst"] = [line for pair in pairs for line in _worst_lines(compared, worst, pair, top)]
    return found


def _worst_lines(compared: Compared, key: str, pair: tuple[str, str], top: int | None) -> list[dict[str, Any]]:
    baseline, run = pair
    return [
        {
            "column": key,
            "baseline": baseline,
            "run": run,
            "id": case.id,
            "group": case.group,
            "baseline_value": case.values[baseline],
            "run_value": case.values[run],
            "difference": difference,
        }
        for case, difference in compared.worst(key, baseline, run)[:top]
    ]


def write(file: Path, compared: Compared, worst: str | None) -> list[Path]:
    """Write a comparison as JSON or CSV, by the file's ending; return the files written.

    JSON holds all of it. A CSV file has a row a comparison; the cases of `worst` go to FILE-worst.csv beside it. All
    cases are written, with their values and no text.
    """
    if file.suffix == ".json":
        store.write_json(file, as_json(compared, worst, None))
        return [file]
    names = [field.name for field in fields(Comparison)]
    _write_csv(file, names, [asdict(comparison) for comparison in compared.comparisons])
    if worst is None:
        return [file]
    beside = file.with_name(f"{file.stem}-worst.csv")
    lines = as_json(compared, worst, None)["worst"]
    _write_csv(beside, list(lines[0]) if lines else ["column"], lines)
    return [file, beside]


def _write_csv(file: Path, names: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, names, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    store.write_text(file, text.getvalue())
