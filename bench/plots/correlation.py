"""Heat maps of how far metrics order the same cases alike: rank correlation of what each says of each case alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench import case_values
from bench.contracts import OK, Floats
from bench.errors import BenchError
from bench.plots import runs as reading
from bench.plots.picture import inches, too_narrow
from bench.plots.runs import Scored
from bench.rank_correlation import Association, Statistics
from bench.statistics import percentiles
from bench.wording import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Coefficient = Literal["spearman", "kendall"]
NAMES: Mapping[Coefficient, str] = {"spearman": "Spearman's ρ", "kendall": "Kendall's τ_b"}

# ------------------------------------------------------------------ data


@dataclass(frozen=True, slots=True)
class Cell:
    """The correlation of two columns; None where it is undefined."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    """Cases that have a value in both."""
    n_groups: int
    draws_undefined: int


@dataclass(frozen=True, slots=True)
class Correlation:
    """All that is drawn."""

    coefficient: Coefficient
    headings: tuple[str, ...]
    turned: tuple[bool, ...]
    """Which columns are lower-is-better and were turned."""
    cells: Mapping[tuple[int, int], Cell]
    """(row, column) of the lower triangle, row > column."""
    interval: str
    """What the intervals are; empty where there is none."""
    notes: tuple[str, ...]
    numbers: tuple[Mapping[str, Any], ...]
    title: str = "Correlation of metrics over cases"

    def texts(self) -> list[str]:
        """Return all text that users chose."""
        return list(self.headings)


@dataclass(frozen=True, slots=True)
class Pool:
    """What columns say of the cases of all runs together."""

    values: Floats
    """[n_columns, n_cases], higher is better; NaN where there is none."""
    groups: NDArray[np.int64]
    n_groups: int


def of_runs(
    runs: Sequence[Scored],
    *,
    coefficient: Coefficient = "spearman",
    metrics: str | None = None,
    full: bool = False,
    draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Correlation:
    """Return the correlation of each two columns over the cases of all runs, with intervals over patients.

    Columns that are lower-is-better are turned. Raises BenchError where a column was scored otherwise in some runs, or
    where less than two columns have values of single cases.
    """
    keys = reading.columns(runs, metrics, full)
    headings = {key: reading.heading(runs, key) for key in keys}
    apart = "Their cases are not put together: draw them apart, or leave it out by --metrics"
    reading.check_recipes(runs, keys, "A correlation", apart)
    tables = [case_values.read(run.run.folder) for run in runs]
    kept = [key for key in keys if any(key in table.columns for table in tables)]
    if len(kept) < 2:
        raise BenchError(
            f"A correlation needs two columns with values of single cases, and here is {', '.join(kept) or 'none'}: a "
            "column without a score, or whose metric is not installed here, has none"
        )
    up = {key: next(t.columns[key].column.higher_is_better for t in tables if key in t.columns) for key in kept}
    pool = _pool(runs, tables, kept, up)
    cells, numbers = {}, []
    for i in range(1, len(kept)):
        for j in range(i):
            cells[i, j] = cell = _cell(pool, i, j, coefficient, draws, confidence, seed)
            numbers.append(_numbers(kept[j], kept[i], coefficient, cell, up))
    notes = _notes(runs, pool, coefficient, kept, up)
    notes += _left_out(keys, kept) + _undefined(cells, kept, pool) + _not_ok(tables, runs, kept)
    notes += reading.origins([run.run for run in runs])
    turned = tuple(not up[key] for key in kept)
    interval = f"{confidence * 100:g}% interval ({draws:,} resamples of patients)" * bool(draws)
    shown = tuple(headings[key] for key in kept)
    return Correlation(coefficient, shown, turned, cells, interval, tuple(notes), tuple(numbers))


def _pool(
    runs: Sequence[Scored], tables: Sequence[case_values.CaseTable], keys: Sequence[str], up: Mapping[str, bool]
) -> Pool:
    """Put the cases of all runs side by side; a patient is one group in all runs on the same cases or dataset."""
    parts, names = [], []
    for table, source in zip(tables, _sources(runs), strict=True):
        empty = np.full(len(table.ids), np.nan)
        rows = [table.columns[key].values if key in table.columns else empty for key in keys]
        parts.append(np.stack(rows))
        names += [f"{source}\n{pair.group}" for pair in table.run.pairs.values()]
    values = np.concatenate(parts, axis=1)
    values[[not up[key] for key in keys]] *= -1
    _, groups = np.unique(np.asarray(names), return_inverse=True)
    return Pool(values, groups.astype(np.int64), int(groups.max()) + 1)


def _sources(runs: Sequence[Scored]) -> list[int]:
    """Return for each run the first one whose patients it shares: the ids of other data may be alike by chance."""
    found: list[int] = []
    for number, run in enumerate(runs):
        data = run.run.summary["dataset"]
        alike = (k for k, o in enumerate(runs[:number]) if o.cases == run.cases or o.run.summary["dataset"] == data)
        found.append(next((found[k] for k in alike), number))
    return found


def _cell(pool: Pool, i: int, j: int, coefficient: Coefficient, draws: int, confidence: float, seed: int) -> Cell:
    pairs = Association.of(pool.values[i], pool.values[j], pool.groups, pool.n_groups)
    value = _of(pairs.statistics(np.ones((1, pool.n_groups))), coefficient)[0]
    if not math.isfinite(value) or pairs.n_groups < 2 or not draws:
        return Cell(float(value) if math.isfinite(value) else None, None, None, pairs.n, pairs.n_groups, 0)
    drawn = _of(pairs.bootstrap(draws, seed), coefficient)
    low, high = percentiles(drawn, confidence)
    undefined = int((~np.isfinite(drawn)).sum())
    return Cell(float(value), low, high, pairs.n, pairs.n_groups, undefined)


def _of(statistics: Statistics, coefficient: Coefficient) -> Floats:
    return statistics.spearman if coefficient == "spearman" else statistics.kendall


def _numbers(one: str, other: str, coefficient: Coefficient, cell: Cell, up: Mapping[str, bool]) -> dict[str, Any]:
    return {
        "column": one,
        "other": other,
        "coefficient": coefficient,
        "value": cell.value,
        "ci_low": cell.low,
        "ci_high": cell.high,
        "n": cell.n,
        "n_groups": cell.n_groups,
        "draws_undefined": cell.draws_undefined,
        "column_turned": not up[one],
        "other_turned": not up[other],
    }


def _notes(
    runs: Sequence[Scored],
    pool: Pool,
    coefficient: Coefficient,
    keys: Sequence[str],
    up: Mapping[str, bool],
) -> list[str]:
    """Say what is drawn, over which cases, and which columns are turned."""
    labels = ", ".join(run.label for run in runs)
    blocks = reading.by_cases(runs)
    on = "; ".join(reading.block_names(blocks))
    lines = [f"{NAMES[coefficient]} over {counted(pool.values.shape[1], 'report')} of {labels} ({on})."]
    if len(runs) > 1:
        lines.append("Reports of several runs are put together, so that differences between systems count too.")
    if turned := [key for key in keys if not up[key]]:
        lines.append(
            f"Turned, since lower is better: {', '.join(turned)}. Positive: both agree which report is better."
        )
    return lines


def _left_out(keys: Sequence[str], kept: Sequence[str]) -> list[str]:
    lost = [key for key in keys if key not in kept]
    return [f"Left out, without values of single cases here: {', '.join(lost)}."] if lost else []


def _undefined(cells: Mapping[tuple[int, int], Cell], keys: Sequence[str], pool: Pool) -> list[str]:
    """Say which correlations are undefined and why."""
    flat = [key for key, row in zip(keys, pool.values, strict=True) if len(np.unique(row[np.isfinite(row)])) < 2]
    notes = [f"– undefined: all cases have the same value in {', '.join(flat)}."] * bool(flat)
    others = [
        f"{keys[j]} with {keys[i]}"
        for (i, j), cell in cells.items()
        if cell.value is None and keys[i] not in flat and keys[j] not in flat
    ]
    few = "less than two cases with both, or all alike among them"
    return notes + [f"– undefined: {', '.join(others)}: {few}."] * bool(others)


def _not_ok(tables: Sequence[case_values.CaseTable], runs: Sequence[Scored], keys: Sequence[str]) -> list[str]:
    """Say for which columns cases are left out."""
    notes = []
    for run, table in zip(runs, tables, strict=True):
        lost: dict[int, list[str]] = {}
        for key in keys:
            n = int((table.columns[key].status != OK).sum()) if key in table.columns else len(table.ids)
            lost.setdefault(n, []).append(key)
        notes += [
            f"{run.label}: {', '.join(names)}: {counted(n, 'case')} without a value." for n, names in lost.items() if n
        ]
    return notes


# ------------------------------------------------------------------ drawing

_INTERVAL = 5.0
"""Points of the text of intervals."""
_BAR = (1.75, 0.42)
"""Width and height of the scale of colours with its name, in inches."""


def draw(found: Correlation, width_mm: float) -> Figure:
    """Return the lower triangle as a heat map, each cell with its number and, where it fits, its interval.

    Raises BenchError where not even the numbers fit.
    """
    from bench.plots import style

    width = inches(width_mm)
    arrows = ["" if not turned else " ↓" for turned in found.turned]
    names = [heading + arrow for heading, arrow in zip(found.headings, arrows, strict=True)]
    n = len(names) - 1
    widest = max(style.width_of(style.shown(name)) for name in names[1:])
    labels = min(widest + 0.02, max(0.3 * width, 0.7))
    cell = min((width - 2 * style.MARGIN - labels - 0.08) / n, 0.62)
    texts = {place: _texts(one) for place, one in found.cells.items()}
    if cell < max(style.width_of(value, style.TINY) for value, _ in texts.values()) + 0.03:
        raise too_narrow(f"{len(names)} columns do not fit in a heat map", width)
    both = any(interval for _, interval in texts.values()) and all(
        style.width_of(interval, _INTERVAL) + 0.04 <= cell for _, interval in texts.values()
    )
    rows = [style.fold(name, labels, most=max(1, int(cell / style.height_of(1)))) for name in names[1:]]
    turned = any(style.width_of(style.shown(name)) > cell - 0.03 for name in names[:-1])
    feet = [style.fold(name, 1.2 if turned else cell, most=1)[0] for name in names[:-1]]
    foot = 0.08 + (max(map(style.width_of, feet)) if turned else style.height_of(1))
    about = f"In each cell the correlation and its {found.interval}." if both else ""
    notes = style.folded_notes([*found.notes[:1], *[about] * bool(about), *found.notes[1:]], width)
    left, side = style.MARGIN + labels + 0.06, cell * n
    beside = cell * (1 + int(_BAR[1] / cell))  # cells of the rows that the scale of colours would stand beside
    within = side - beside - 0.15 >= _BAR[0]
    top = style.MARGIN + (0 if within else _BAR[1] + 0.08)
    sheet = style.Sheet(width, top + side + foot + 0.06 + style.notes_height(notes) + style.MARGIN)
    axes = sheet.axes(left, top, side, side)
    axes.set_xlim(0, n)
    axes.set_ylim(n, 0)
    axes.set_axis_off()
    for (i, j), one in found.cells.items():
        _draw_cell(axes, j, i - 1, one, texts[i, j] if both else (texts[i, j][0], ""))
    for number, lines in enumerate(rows):
        middle = top + (number + 0.5) * cell - style.height_of(len(lines)) / 2
        sheet.text(left - 0.06, middle, lines, ha="right")
    for number, name in enumerate(feet):
        middle = left + (number + 0.5) * cell
        if turned:
            look: dict[str, Any] = {"rotation": 90, "ha": "center", "va": "top", "size": style.SIZE}
            sheet.figure.text(middle / width, 1 - (top + side + 0.04) / sheet.height, name, **look)
        else:
            sheet.text(middle, top + side + 0.03, [name], ha="center")
    _draw_bar(sheet, found.coefficient, left + side if within else width - style.MARGIN - 0.06)
    style.put_notes(sheet, notes)
    return sheet.figure


def _texts(cell: Cell) -> tuple[str, str]:
    """Return a correlation and its interval as a cell shows them."""
    if cell.value is None:
        return "–", ""
    if cell.low is None or cell.high is None:
        return _short(cell.value), ""
    return _short(cell.value), f"{_short(cell.low)} … {_short(cell.high)}"


def _short(value: float) -> str:
    text = f"{value:.2f}".replace("-", "−")
    return text if text not in ("−0.00",) else "0.00"


def _colour(value: float) -> tuple[float, float, float]:
    """Return the colour of a correlation: purple below 0, orange above (PuOr's ends), darker the further from 0."""
    end = (0.70, 0.35, 0.02) if value > 0 else (0.33, 0.15, 0.53)
    share = min(1.0, abs(value))
    red, green, blue = (1 + (part - 1) * share for part in end)
    return red, green, blue


def _ink(colour: tuple[float, float, float]) -> str:
    """Return the colour of text on `colour`, dark or white, whichever has more contrast (WCAG 2's luminance)."""
    from bench.plots import style

    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return style.INK if (luminance + 0.05) ** 2 > 1.05 * 0.06 else "white"  # 0.06: that of INK, and 0.05


def _draw_cell(axes: Axes, x: int, y: int, cell: Cell, texts: tuple[str, str]) -> None:
    from matplotlib.patches import Rectangle

    from bench.plots import style

    look: dict[str, Any] = {"lw": 0.8, "edgecolor": "white"}
    if cell.value is None:
        look = {"lw": 0.8, "edgecolor": style.FAINT, "facecolor": "white", "hatch": "////"}
    else:
        look["facecolor"] = _colour(cell.value)
    axes.add_patch(Rectangle((x, y), 1, 1, gid=f"cell-{y}-{x}", **look))
    ink = style.INK if cell.value is None else _ink(_colour(cell.value))
    value, interval = texts
    text: dict[str, Any] = {"ha": "center", "va": "center_baseline", "color": ink}
    if cell.value is None:
        text["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
    axes.text(x + 0.5, y + (0.36 if interval else 0.5), value, size=style.TINY, **text)
    if interval:
        axes.text(x + 0.5, y + 0.7, interval, size=_INTERVAL, **text)


def _draw_bar(sheet: Any, coefficient: Coefficient, right: float) -> None:
    """Draw the scale of colours, its right end at `right` inches."""
    from bench.plots import style

    left, top = right - _BAR[0], style.MARGIN + style.height_of(1, style.SMALL) + 0.02
    axes = sheet.axes(left, top, _BAR[0] - 0.06, 0.08)
    steps = 40
    for step in range(steps):
        ends = -1 + 2 * step / steps, -1 + 2 * (step + 1) / steps
        axes.axvspan(*ends, color=_colour(sum(ends) / 2), lw=0)
    axes.set_xlim(-1, 1)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xticks([-1, -0.5, 0, 0.5, 1], ["−1", "−0.5", "0", "0.5", "1"])
    sheet.text(left + _BAR[0] / 2 - 0.03, style.MARGIN, [NAMES[coefficient]], style.SMALL, ha="center")
