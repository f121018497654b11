"""Forest plots: a panel a column, a row a system, a point a score with its interval; the incomparable stands apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bench import compare
from bench.errors import BenchError
from bench.plots import runs as reading
from bench.plots import scales
from bench.plots.picture import inches
from bench.plots.runs import Scored
from bench.wording import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Better = Literal["higher", "lower"]

# ------------------------------------------------------------------ data


@dataclass(frozen=True, slots=True)
class Point:
    """One value in the numbers of its panel's axis."""

    value: float | None
    low: float | None = None
    high: float | None = None
    mark: str = ""
    """What stands above it and is told below the picture: within a block only points of one mark are compared."""
    hollow: bool = False
    square: bool = False
    """A number from elsewhere, not a run's."""
    best: bool = False
    """Drawn larger."""
    absent: str = "–"
    """What stands where there is no value."""


@dataclass(frozen=True, slots=True)
class Row:
    """One system; a point for each panel."""

    label: str
    points: tuple[Point, ...]
    strong: bool = False
    """The baseline: a line through its points."""


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that are compared with each other, under what they have in common."""

    heading: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One axis."""

    heading: str
    better: Better | None = None
    log: bool = False
    zero: bool = False
    """Whether a line at 0 is drawn."""


@dataclass(frozen=True, slots=True)
class Forest:
    """All that is drawn."""

    panels: tuple[Panel, ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]
    numbers: tuple[Mapping[str, Any], ...]
    """Rows for CSV."""
    title: str = "Scores"
    caption: str = ""
    """Stands above all."""

    def texts(self) -> list[str]:
        """Return all text that users chose."""
        rows = [row.label for block in self.blocks for row in block.rows]
        return [
            self.caption,
            *rows,
            *(panel.heading for panel in self.panels),
            *(block.heading for block in self.blocks),
        ]


# ------------------------------------------------------------------ scores of runs


def of_runs(
    runs: Sequence[Scored], *, baseline: str | None = None, metrics: str | None = None, full: bool = False
) -> Forest:
    """Return the scores of runs: a block for each set of cases, a mark where a score was made by another recipe.

    The baseline of a block is its run of that name; without a name its first run, where it has two or more.
    Raises BenchError where the runs' intervals are of different kinds.
    """
    ordered = reading.baseline_first(runs, baseline)
    keys = reading.columns(ordered, metrics, full)
    blocks = reading.by_cases(ordered)
    names = reading.block_names(blocks)
    interval = reading.about_intervals(ordered, keys)
    strong = [_baseline(block, baseline) for block in blocks]
    kinds = [{key: _kinds(block, key) for key in keys} for block in blocks]
    drawn = tuple(
        Block(name, tuple(_rows(block, keys, base, its)))
        for name, block, base, its in zip(names, blocks, strong, kinds, strict=True)
    )
    panels = tuple(Panel(reading.heading(ordered, key), "higher" if _higher(ordered, key) else "lower") for key in keys)
    told = list(dict.fromkeys(row.label for block in drawn for row in block.rows if row.strong))
    scale = _scale(ordered, keys)
    notes = [f"Points: scores{scale}{f'; bars: {interval}' if interval else ''}."]
    if told:
        notes[0] += f" Dashed line: {', '.join(told)}."
    if len(blocks) > 1:
        notes.append("The blocks are of different cases or references: compare within a block only.")
    notes += _otherwise(kinds)
    notes += reading.missing(ordered, keys) + reading.origins([run.run for run in ordered])
    rows = tuple(_numbers(blocks, names, keys, strong, kinds))
    return Forest(panels, drawn, tuple(notes), rows)


def _higher(runs: Sequence[Scored], key: str) -> bool:
    return next(run.scores[key].higher_is_better for run in runs if key in run.scores)


def _scale(runs: Sequence[Scored], keys: Sequence[str]) -> str:
    """Return " × 100", or which columns have which scale where they differ."""
    scales = {key: next(run.scores[key].scale for run in runs if key in run.scores) for key in keys}
    if len(set(scales.values())) == 1:
        only = next(iter(scales.values()))
        return "" if only == 1 else f" × {only:g}"
    told = [
        f"{', '.join(key for key in keys if scales[key] == scale)} × {scale:g}"
        for scale in sorted(set(scales.values()))
    ]
    return f" ({'; '.join(told)})"


def _baseline(block: Sequence[Scored], name: str | None) -> Scored | None:
    if name is not None:
        return next((run for run in block if reading.named(run, name)), None)
    return block[0] if len(block) > 1 else None


def _kinds(block: Sequence[Scored], key: str) -> dict[str, int]:
    """Return signature → kind, in the order of the block's runs."""
    present = [run.scores[key].signature for run in block if key in run.scores and run.scores[key].value is not None]
    return {signature: kind for kind, signature in enumerate(dict.fromkeys(present))}


def _rows(
    block: Sequence[Scored], keys: Sequence[str], baseline: Scored | None, kinds: Mapping[str, Mapping[str, int]]
) -> Iterator[Row]:
    for name, run in zip(reading.row_names(block), block, strict=True):
        yield Row(name, tuple(_point(run, key, kinds[key]) for key in keys), run is baseline)


def _point(run: Scored, key: str, kinds: Mapping[str, int]) -> Point:
    score = run.scores.get(key)
    if score is None or score.value is None:
        return Point(None)
    low, high = score.interval or (None, None)
    kind = kinds[score.signature]
    return Point(score.shown, low, high, kind_mark(kind), hollow=kind > 0)


def kind_mark(kind: int) -> str:
    """Return the letter beside a point that is not compared with the others of its block: nothing, a, b …"""
    return "" if kind == 0 else chr(ord("a") + (kind - 1) % 26)


def _otherwise(kinds: Sequence[Mapping[str, Mapping[str, int]]]) -> list[str]:
    """Say which points were scored otherwise than the first of their block."""
    told: dict[str, None] = {}
    for its in kinds:
        for key, by_signature in its.items():
            first, *others = by_signature or [""]
            for number, other in enumerate(others, 1):
                what = reading.signature_difference(other, first)
                told[f"Hollow {kind_mark(number)}: {key} scored otherwise, not comparable with filled: {what}."] = None
    return list(told)


def _numbers(
    blocks: Sequence[Sequence[Scored]],
    names: Sequence[str],
    keys: Sequence[str],
    strong: Sequence[Scored | None],
    kinds: Sequence[Mapping[str, Mapping[str, int]]],
) -> Iterator[dict[str, Any]]:
    for block, name, base, its in zip(blocks, names, strong, kinds, strict=True):
        for label, run in zip(reading.row_names(block), block, strict=True):
            for key in keys:
                score = run.scores.get(key)
                point = _point(run, key, its[key])
                row: dict[str, Any] = {"block": name, "run": label, "baseline": run is base, "column": key}
                row |= {"value": point.value, "ci_low": point.low, "ci_high": point.high}
                row |= {"scale": None, "higher_is_better": None, "n": None, "n_undefined": None, "n_failed": None}
                if score is not None:
                    row |= {name: getattr(score, name) for name in ("scale", "higher_is_better", "n", "n_undefined")}
                    row |= {"n_failed": score.n_failed}
                row |= {"not_comparable": point.mark, "signature": score.signature if score else ""}
                yield {**row, "reason": "not among the run's metrics" if score is None else score.reason}


# ------------------------------------------------------------------ differences


def differences(
    runs: Sequence[Scored],
    settings: compare.Settings,
    *,
    baseline: str | None = None,
    metrics: str | None = None,
    full: bool = False,
) -> Forest:
    """Return each run minus the baseline (by default the first) on the cases that all share, as `bench compare` does.

    Filled points are significant after Holm's correction. Raises BenchError where the runs cannot be compared.
    """
    if len(runs) < 2:
        raise BenchError(f"{runs[0].label}: one run alone has no difference; name two or more runs")
    ordered = reading.baseline_first(runs, baseline)
    found = compare.compare([run.run for run in ordered], settings, metrics=metrics, full=full)
    keys = list(dict.fromkeys(c.column for c in found.comparisons))
    columns = [found.column(key) for key in keys]
    first = ordered[0].label
    by_place = {(c.run, c.column): c for c in found.comparisons}
    rows = tuple(
        Row(run.label, tuple(_difference(by_place.get((run.label, c.key)), c.scale) for c in columns))
        for run in ordered[1:]
    )
    panels = tuple(Panel(c.heading, "higher" if c.higher_is_better else "lower", zero=True) for c in columns)
    heading = f"{ordered[0].data}: change from {first}, "
    heading += counted(len(found.ids), "shared case")
    numbers = [
        {
            "run": c.run,
            "baseline": c.baseline,
            "column": c.column,
            "difference": _times(c.difference, found.column(c.column).scale),
            "ci_low": _times(c.ci_low, found.column(c.column).scale),
            "ci_high": _times(c.ci_high, found.column(c.column).scale),
            "scale": found.column(c.column).scale,
            "higher_is_better": found.column(c.column).higher_is_better,
            "n": c.n,
            "n_groups": c.n_groups,
            "p_bootstrap_holm": c.p_bootstrap_holm,
            "p_randomization_holm": c.p_randomization_holm,
            "significant": c.significant,
        }
        for c in found.comparisons
    ]
    notes = [_about_differences(found), *found.notes]
    return Forest(panels, (Block(heading, rows),), tuple(notes), tuple(numbers), "Differences of scores")


def _difference(c: compare.Comparison | None, scale: float) -> Point:
    if c is None or c.difference is None:
        return Point(None)
    low, high = _times(c.ci_low, scale), _times(c.ci_high, scale)
    return Point(c.difference * scale, low, high, hollow=not c.significant)


def _times(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale


def _about_differences(found: compare.Compared) -> str:
    settings = found.settings
    unit = "patients" if settings.cluster == "group" else "cases"
    scales = {column.scale for unit_ in found.units for column in unit_.columns}
    scale = f" × {scales.pop():g}" if len(scales) == 1 else ", times each column's scale"
    line = f"Points: differences{scale}"
    if settings.draws:
        level = f"{settings.confidence * 100:g}%"
        line += f"; bars: {level} intervals (paired bootstrap, {settings.draws:,} resamples of {unit})"
    if settings.trials or settings.draws:
        test = f"{settings.trials:,} swaps of {unit}" if settings.trials else "the bootstrap"
        line += f". Filled: significant at {1 - settings.confidence:.3g} by {test}, corrected by Holm; hollow: not"
    return f"{line}. Seed {settings.seed}."


# ------------------------------------------------------------------ drawing

_LEAST = 0.82
"""Inches of the narrowest panel."""
_GAP = 0.16
_ROW = 0.155
_FOOT = 0.30
"""Inches below a panel for the labels of its axis and the side that is better."""
_BETWEEN = 0.08
"""Inches between panels and those below."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """Places in inches; heights count from the top of the rows."""

    width: float
    labels: float
    panel: float
    across: int
    rows: float
    """Height of all rows and headings."""
    label_lines: tuple[tuple[str, ...], ...]
    middles: tuple[float, ...]
    """Of all rows."""
    headings: tuple[tuple[float, tuple[str, ...]], ...]
    """Top and lines of each block's heading."""
    spans: tuple[tuple[float, float], ...]
    """Upper and lower end of each block's rows."""


def draw(forest: Forest, width_mm: float) -> Figure:
    """Return the figure; panels that do not fit beside each other stand below."""
    from bench.plots import style

    width = inches(width_mm)
    layout = _layout(forest, width)
    bands = math.ceil(len(forest.panels) / layout.across)
    titles = [_title(panel, layout.panel + _GAP * 0.7) for panel in forest.panels]
    heads = [
        style.height_of(max(map(len, titles[band * layout.across : (band + 1) * layout.across]))) + 0.03
        for band in range(bands)
    ]
    notes = style.folded_notes(forest.notes, width)
    caption = style.fold(forest.caption, width - 2 * style.MARGIN, style.SIZE, "bold") if forest.caption else []
    first = style.MARGIN + style.height_of(len(caption)) + 0.06 * bool(caption)
    total = first + sum(heads) + bands * (layout.rows + _FOOT) + (bands - 1) * _BETWEEN + style.notes_height(notes)
    sheet = style.Sheet(width, total + style.MARGIN)
    sheet.text(style.MARGIN, style.MARGIN, caption, weight="bold")
    top = first
    for band in range(bands):
        top += heads[band]
        _draw_labels(sheet, forest, layout, top)
        for place in range(layout.across):
            number = band * layout.across + place
            if number >= len(forest.panels):
                break
            left = style.MARGIN + layout.labels + place * (layout.panel + _GAP)
            lines = titles[number]
            middle = left + layout.panel / 2
            sheet.text(middle, top - style.height_of(len(lines)) - 0.02, lines, ha="center", weight="bold")
            axes = sheet.axes(left, top, layout.panel, layout.rows)
            axes.set_label(forest.panels[number].heading)
            _draw_panel(axes, forest, layout, number)
            _draw_better(sheet, forest.panels[number], middle, top + layout.rows + 0.15)
        top += layout.rows + _FOOT + _BETWEEN
    style.put_notes(sheet, notes)
    return sheet.figure


def _title(panel: Panel, width: float) -> list[str]:
    """Return the lines above a panel, the arrow behind the last word."""
    from bench.plots import style

    arrow = {"higher": " ↑", "lower": " ↓", None: ""}[panel.better]
    lines = style.fold(panel.heading, width - style.width_of(arrow, style.SIZE, "bold"), style.SIZE, "bold")
    return [*lines[:-1], lines[-1] + arrow]


def _layout(forest: Forest, width: float) -> _Layout:
    from bench.plots import style

    rows = [row for block in forest.blocks for row in block.rows]
    weights = ["bold" if row.strong else "normal" for row in rows]
    widest = max(style.width_of(style.shown(row.label), style.SIZE, w) for row, w in zip(rows, weights, strict=True))
    labels = min(widest + 0.02, max(0.36 * width, 0.9))
    lines = tuple(tuple(style.fold(row.label, labels, style.SIZE, w)) for row, w in zip(rows, weights, strict=True))
    room = width - 2 * style.MARGIN - labels - 0.14 + _GAP
    fit = max(1, int((room - 0.08) / (_LEAST + _GAP)))
    bands = math.ceil(len(forest.panels) / fit)
    across = math.ceil(len(forest.panels) / bands)
    panel = (room - 0.08) / across - _GAP
    at = 0.0
    middles: list[float] = []
    headings: list[tuple[float, tuple[str, ...]]] = []
    spans: list[tuple[float, float]] = []
    texts = iter(lines)
    for block in forest.blocks:
        heading = tuple(style.fold(block.heading, width - 2 * style.MARGIN, style.SMALL, "bold"))
        at += 0.05 * bool(headings)
        headings.append((at, heading))
        raised = any(point.mark for point in block.rows[0].points)
        at += style.height_of(len(heading), style.SMALL) * bool(block.heading) + (0.06 if raised else 0.03)
        first = at
        for _ in block.rows:
            high = max(_ROW, style.height_of(len(next(texts))) + 0.03)
            middles.append(at + high / 2)
            at += high
        spans.append((first, at))
    return _Layout(width, labels + 0.14, panel, across, at + 0.03, lines, tuple(middles), tuple(headings), tuple(spans))


def _draw_labels(sheet: Any, forest: Forest, layout: _Layout, top: float) -> None:
    from bench.plots import style

    for at, heading in layout.headings:
        sheet.text(style.MARGIN, top + at, heading, style.SMALL, weight="bold", color=style.SOFT)
    rows = [row for block in forest.blocks for row in block.rows]
    for row, lines, middle in zip(rows, layout.label_lines, layout.middles, strict=True):
        height = style.height_of(len(lines))
        weight = "bold" if row.strong else "normal"
        sheet.text(style.MARGIN, top + middle - height / 2, lines, weight=weight)


def _draw_better(sheet: Any, panel: Panel, middle: float, top: float) -> None:
    from bench.plots import style

    if panel.better is not None:
        text = "better →" if panel.better == "higher" else "← better"
        sheet.text(middle, top, [text], style.TINY, ha="center", color=style.SOFT)


def _draw_panel(axes: Axes, forest: Forest, layout: _Layout, number: int) -> None:
    from bench.plots import style

    panel = forest.panels[number]
    points = [[row.points[number] for row in block.rows] for block in forest.blocks]
    put: Callable[[float], float] = math.log10 if panel.log else float
    values = [
        put(v) for block in points for p in block for v in (p.value, p.low, p.high) if v is not None and _fits(panel, v)
    ]
    low, high = scales.limits([*values, *([0.0] * panel.zero)] or [0.0, 1.0])
    axes.set_xlim(low, high)
    axes.set_ylim(layout.rows, 0)
    axes.spines["left"].set_visible(False)
    axes.set_yticks([])
    choose, text = (style.powers, scales.power_text) if panel.log else (style.ticks, scales.tick_text)
    marks = choose(low, high, layout.panel, _GAP / 2 - 0.02) if values else []
    axes.set_xticks(marks, [text(mark) for mark in marks])
    for block, (upper, lower) in zip(forest.blocks, layout.spans, strict=True):
        axes.vlines(marks, upper, lower, colors=style.FAINT, linewidth=0.6, zorder=0)
        if panel.zero:
            axes.vlines([0.0], upper, lower, colors=style.INK, linewidth=0.7, zorder=1)
        for row in block.rows:
            point = row.points[number]
            if row.strong and point.value is not None and _fits(panel, point.value):
                at = put(point.value)
                axes.vlines([at], upper, lower, colors=style.SOFT, linestyles=(0, (3, 2)), linewidth=0.7, zorder=1)
    rows = [row for block in forest.blocks for row in block.rows]
    for row, middle in zip(rows, layout.middles, strict=True):
        point = row.points[number]
        if point.value is None or not _fits(panel, point.value):
            absent = point.absent if point.value is None else scales.tick_text(point.value)
            _draw_absent(axes, absent, middle)
        else:
            _draw_point(axes, point, middle, put, strong=row.strong)


def _fits(panel: Panel, value: float) -> bool:
    """Whether a value has a place on the axis."""
    return math.isfinite(value) and (value > 0 or not panel.log)


def _draw_absent(axes: Axes, text: str, middle: float) -> None:
    """Write what stands where a point has no place."""
    from bench.plots import style

    place = axes.get_yaxis_transform()
    look: dict[str, Any] = {"ha": "center", "va": "center_baseline", "color": style.SOFT, "size": style.TINY}
    axes.text(0.5, middle, style.shown(text), transform=place, **look)


def _draw_point(axes: Axes, point: Point, middle: float, put: Callable[[float], float], *, strong: bool) -> None:
    from bench.plots import style

    assert point.value is not None
    colour = style.INK if strong else style.COLOURS[0]
    at = put(point.value)
    if point.low is not None and point.high is not None:
        ends = put(point.low), put(point.high)
        axes.hlines([middle], *ends, colors=colour, linewidth=1.1, zorder=2, gid="interval")
    face = "white" if point.hollow else colour
    marker = "D" if strong else "s" if point.square else "o"
    size = (3.8 if marker == "o" else 3.0) * (1.5 if point.best else 1.0)
    axes.plot([at], [middle], marker=marker, ls="", ms=size, mfc=face, mec=colour, mew=0.9, zorder=3, clip_on=False)
    if point.mark:
        axes.annotate(
            point.mark,
            (at, middle),
            (0, size / 2 + 0.6),
            textcoords="offset points",
            ha="center",
            va="bottom",
            size=5.5,
        )
