"""Radar plots: an axis a column with its scale printed at its end, outwards always better, intervals as bands."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from bench.errors import BenchError
from bench.plots import runs as reading
from bench.plots.picture import inches, too_narrow
from bench.plots.runs import Scored

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Scale = Literal["own", "common"]
OVERLAID = 4
"""Runs that share one picture; more of them stand side by side, each with the first."""
LEAST = 3
"""Axes without which there is no area."""
RINGS = 4

# ------------------------------------------------------------------ data


@dataclass(frozen=True, slots=True)
class Spoke:
    """One axis: linear from the centre to the rim."""

    key: str
    heading: str
    centre: float
    rim: float
    higher_is_better: bool

    def place(self, value: float) -> float:
        """Return where a value stands: 0 at the centre, 1 at the rim."""
        return (value - self.centre) / (self.rim - self.centre)

    @property
    def arrow(self) -> str:
        """The direction that is better, as in tables."""
        return "↑" if self.higher_is_better else "↓"


@dataclass(frozen=True, slots=True)
class Radar:
    """All that is drawn."""

    spokes: tuple[Spoke, ...]
    labels: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    """[n_runs][n_spokes], as tables show them; None where there is no value."""
    intervals: tuple[tuple[tuple[float, float] | None, ...], ...]
    notes: tuple[str, ...]
    numbers: tuple[Mapping[str, Any], ...]
    title: str = "Scores"

    def texts(self) -> list[str]:
        """Return all text that users chose."""
        return [*self.labels, *(spoke.heading for spoke in self.spokes)]


def of_runs(
    runs: Sequence[Scored],
    *,
    baseline: str | None = None,
    metrics: str | None = None,
    full: bool = False,
    scale: Scale = "own",
) -> Radar:
    """Return the scores of runs on the same cases, by the same recipes.

    scale: "own" gives each axis its own numbers, from 0 to a round number above all intervals (below 0 where a score
    is), turned where lower is better; "common" gives all axes the same. Raises BenchError where runs cannot be
    compared, where less than three columns have a value, and where "common" is not to be had.
    """
    ordered = reading.baseline_first(runs, baseline)
    keys = reading.columns(ordered, metrics, full)
    reading.check_same(ordered, keys, "A radar plot")
    drawn = [key for key in keys if any(_value(run, key) is not None for run in ordered)]
    if len(drawn) < LEAST:
        raise BenchError(
            f"A radar plot needs {LEAST} columns with a value, and here is {', '.join(drawn) or 'none'}: name more by "
            "--metrics, or draw them by bench plot forest"
        )
    interval = reading.about_intervals(ordered, drawn)
    spokes = tuple(_spokes(ordered, drawn, scale))
    values = tuple(tuple(_value(run, key) for key in drawn) for run in ordered)
    intervals = tuple(tuple(_interval(run, key) for key in drawn) for run in ordered)
    labels = tuple(reading.row_names(ordered))
    notes = [f"{ordered[0].population}."]
    how = "Outwards is better; the numbers of an axis are those at centre and rim."
    notes.append(f"{how} Bands: {interval}." if interval else how)
    notes += reading.missing(ordered, keys) + reading.origins([run.run for run in ordered])
    return Radar(spokes, labels, values, intervals, tuple(notes), tuple(_numbers(ordered, labels, spokes)))


def _value(run: Scored, key: str) -> float | None:
    return run.scores[key].shown if key in run.scores else None


def _interval(run: Scored, key: str) -> tuple[float, float] | None:
    return run.scores[key].interval if key in run.scores else None


def _spokes(runs: Sequence[Scored], keys: Sequence[str], scale: Scale) -> Iterator[Spoke]:
    scores = {key: next(run.scores[key] for run in runs if key in run.scores) for key in keys}
    headings = {key: reading.heading(runs, key) for key in keys}
    ends = {key: _ends(list(_ends_of(runs, key))) for key in keys}
    if scale == "common":
        if len({(score.scale, score.higher_is_better) for score in scores.values()}) > 1:
            raise BenchError(
                "--scale common: the columns are of different scales or directions: choose alike ones by --metrics, or "
                "leave --scale out"
            )
        ends = dict.fromkeys(keys, _ends([end for both in ends.values() for end in both]))
    for key in keys:
        low, high = ends[key]
        up = scores[key].higher_is_better
        yield Spoke(key, headings[key], low if up else high, high if up else low, up)


def _ends_of(runs: Sequence[Scored], key: str) -> Iterator[float]:
    for run in runs:
        if (value := _value(run, key)) is not None:
            yield from (value, *(_interval(run, key) or ()))


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """Return round ends about the values; 0 is one of them, or lies between."""
    from bench.plots.scales import nice_above

    low, high = 0.0 - nice_above(-min(values)), nice_above(max(values))
    return low, high if high > low else low + 1.0


def _numbers(runs: Sequence[Scored], labels: Sequence[str], spokes: Sequence[Spoke]) -> Iterator[dict[str, Any]]:
    for label, run in zip(labels, runs, strict=True):
        for spoke in spokes:
            score = run.scores.get(spoke.key)
            low, high = _interval(run, spoke.key) or (None, None)
            row: dict[str, Any] = {"run": label, "column": spoke.key, "value": _value(run, spoke.key)}
            row |= {"ci_low": low, "ci_high": high, "centre": spoke.centre, "rim": spoke.rim}
            row |= {"higher_is_better": spoke.higher_is_better, "n": score.n if score else None}
            row |= {"signature": score.signature if score else ""}
            yield {**row, "reason": "not among the run's metrics" if score is None else score.reason}


# ------------------------------------------------------------------ drawing


@dataclass(frozen=True, slots=True)
class _Label:
    """Text at the end of an axis; offsets in inches from the centre at radius 1 are its direction."""

    x: float
    y: float
    lines: tuple[str, ...]
    width: float
    height: float

    def box(self, radius: float) -> tuple[float, float, float, float]:
        """Return left, right, lower and upper end, in inches from the centre."""
        x, y = self.x * (radius + _AWAY), self.y * (radius + _AWAY)
        left = x - self.width * _before(self.x)
        lower = y - self.height * _before(self.y)
        return left, left + self.width, lower, lower + self.height


_AWAY = 0.06
"""Inches from the rim to a label."""


def _before(direction: float) -> float:
    """Return the share of a label that lies before its anchor, from 0 (pointing up or right) to 1, without a jump."""
    return min(1.0, max(0.0, 0.5 - 0.5 * direction / 0.35))


def draw(radar: Radar, width_mm: float) -> Figure:
    """Return the figure: all runs in one picture, or, of more than `OVERLAID`, one each with the first run in grey."""
    if len(radar.labels) <= OVERLAID:
        return _draw_overlaid(radar, inches(width_mm))
    return _draw_apart(radar, inches(width_mm))


def _draw_overlaid(radar: Radar, width: float) -> Figure:
    from bench.plots import style

    names = _labels(radar, scale=True, most=width * 0.3)
    radius = _radius(names, width / 2 - style.MARGIN, 1.9, width)
    upper = max(name.box(radius)[3] for name in names)
    lower = min(name.box(radius)[2] for name in names)
    legend = [style.fold(label, width - 0.5, style.SIZE) for label in radar.labels]
    legend_height = sum(style.height_of(len(lines)) + 0.02 for lines in legend) + 0.08
    notes = style.folded_notes(radar.notes, width)
    top = style.MARGIN
    height = top + upper - lower + 0.08 + legend_height + style.notes_height(notes) + style.MARGIN
    sheet = style.Sheet(width, height)
    axes = _grid(sheet, names, width / 2, top + upper, radius)
    for number in reversed(range(len(radar.labels))):
        _draw_run(axes, radar, number, style.COLOURS[number], style.MARKERS[number], style.DASHES[number])
    _draw_legend(sheet, legend, top + upper - lower + 0.1)
    style.put_notes(sheet, notes)
    return sheet.figure


def _draw_apart(radar: Radar, width: float) -> Figure:
    from bench.plots import style

    shown = range(1, len(radar.labels))
    across, names, radius = _cells(radar, len(shown), width)
    told = "" if across == 1 else f" {_all_scales(radar.spokes)}"
    notes = style.folded_notes([f"Grey, dashed: {radar.labels[0]}.{told}", *radar.notes], width)
    cell = (width - 2 * style.MARGIN) / across
    upper, lower = max(n.box(radius)[3] for n in names), min(n.box(radius)[2] for n in names)
    titles = {number: style.fold(radar.labels[number], cell - 0.08, style.SIZE, "bold") for number in shown}
    head = style.height_of(max(map(len, titles.values()))) + 0.04
    bands = math.ceil(len(shown) / across)
    band = head + upper - lower + 0.1
    sheet = style.Sheet(width, style.MARGIN + bands * band + style.notes_height(notes) + style.MARGIN)
    for place, number in enumerate(shown):
        top = style.MARGIN + (place // across) * band
        middle = style.MARGIN + (place % across + 0.5) * cell
        sheet.text(middle, top, titles[number], ha="center", weight="bold")
        axes = _grid(sheet, names, middle, top + head + upper, radius)
        _draw_run(axes, radar, 0, "#8a939d", "", style.DASHES[1], band=False)
        _draw_run(axes, radar, number, style.COLOURS[0], "o", "-")
    style.put_notes(sheet, notes)
    return sheet.figure


def _all_scales(spokes: Sequence[Spoke]) -> str:
    """Return the numbers at centre and rim of all axes, where there is no room for them at the axes."""
    texts = [_scale_text(spoke) for spoke in spokes]
    if len(set(texts)) == 1:
        return f"Centre → rim of all axes: {texts[0]}."
    told = "; ".join(f"{spoke.heading} {text}" for spoke, text in zip(spokes, texts, strict=True))
    return f"Centre → rim: {told}."


def _cells(radar: Radar, n: int, width: float) -> tuple[int, list[_Label], float]:
    """Return how many pictures stand side by side, the names of their axes and their radius: as many as have room."""
    from bench.plots import style

    fit = min(n, max(1, int((width - 2 * style.MARGIN) / 1.55)))
    for across in range(fit, 0, -1):
        cell = (width - 2 * style.MARGIN) / across
        names = _labels(radar, scale=across == 1, most=cell * 0.3)
        try:
            return across, names, _radius(names, cell / 2 - 0.02, 1.2, width)
        except BenchError:
            if across == 1:
                raise
    raise AssertionError("unreachable")


def _angle(number: int, total: int) -> float:
    """Return the direction of an axis: the first upwards, the others clockwise."""
    return math.pi / 2 - 2 * math.pi * number / total


def _scale_text(spoke: Spoke) -> str:
    from bench.plots.scales import tick_text

    return f"{tick_text(spoke.centre)} → {tick_text(spoke.rim)}"


def _labels(radar: Radar, *, scale: bool, most: float) -> list[_Label]:
    """Return the texts at the ends of the axes, each no wider than `most` inches."""
    from bench.plots import style

    found = []
    for number, spoke in enumerate(radar.spokes):
        angle = _angle(number, len(radar.spokes))
        lines = style.fold(f"{spoke.heading} {spoke.arrow}", most, style.TINY)
        lines += [_scale_text(spoke)] if scale else []
        widest = max(style.width_of(line, style.TINY) for line in lines)
        found.append(
            _Label(math.cos(angle), math.sin(angle), tuple(lines), widest, style.height_of(len(lines), style.TINY))
        )
    return found


def _radius(names: Sequence[_Label], half: float, most: float, width: float) -> float:
    """Return the greatest radius at which all labels lie within `half` inches of the centre to either side.

    Raises BenchError where that leaves no room, or two labels meet.
    """
    radius = most
    while radius > 0.3 and any(-n.box(radius)[0] > half or n.box(radius)[1] > half for n in names):
        radius -= 0.01
    boxes = [name.box(radius) for name in names]
    if radius <= 0.3 or any(_meet(a, b) for i, a in enumerate(boxes) for b in boxes[:i]):
        raise too_narrow(f"The names of {len(names)} axes do not fit round a radar plot", width)
    return radius


def _meet(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]


def _grid(sheet: Any, names: Sequence[_Label], middle: float, centre: float, radius: float) -> Axes:
    """Return axes in units of the radius, with rings, axes and their names; centre: inches from the figure's top."""
    from bench.plots import style

    axes: Axes = sheet.axes(middle - radius, centre - radius, 2 * radius, 2 * radius)
    axes.set_xlim(-1, 1)
    axes.set_ylim(-1, 1)
    axes.set_axis_off()
    for ring in range(1, RINGS + 1):
        share = ring / RINGS
        axes.plot(
            [name.x * share for name in (*names, names[0])],
            [name.y * share for name in (*names, names[0])],
            color=style.SOFT if ring == RINGS else style.FAINT,
            lw=0.6,
            zorder=0,
            clip_on=False,
        )
    for name in names:
        axes.plot([0, name.x], [0, name.y], color=style.FAINT, lw=0.6, zorder=0)
        left, right, _, upper = name.box(radius)
        for number, line in enumerate(name.lines):
            look: dict[str, Any] = {"ha": "center", "size": style.TINY, "color": style.SOFT if number else style.INK}
            sheet.text(
                (left + right) / 2 + middle, centre - upper + style.height_of(number, style.TINY), [line], **look
            )
    return axes


def _draw_run(
    axes: Axes, radar: Radar, number: int, colour: str, marker: str, dashes: Any, *, band: bool = True
) -> None:
    total = len(radar.spokes)
    places = [
        math.nan if value is None else spoke.place(value)
        for spoke, value in zip(radar.spokes, radar.values[number], strict=True)
    ]
    directions = [(math.cos(_angle(i, total)), math.sin(_angle(i, total))) for i in range(total)]
    closed = [*range(total), 0]
    axes.plot(
        [places[i] * directions[i][0] for i in closed],
        [places[i] * directions[i][1] for i in closed],
        color=colour,
        ls=dashes,
        lw=1.1,
        marker=marker,
        ms=3.2,
        mew=0,
        zorder=3,
        clip_on=False,
        gid=f"run-{number}",
    )
    for i, j in pairwise(closed):
        first, second = radar.intervals[number][i], radar.intervals[number][j]
        if band and first is not None and second is not None:
            inner = [radar.spokes[k].place(ends[0]) for k, ends in ((i, first), (j, second))]
            outer = [radar.spokes[k].place(ends[1]) for k, ends in ((i, first), (j, second))]
            corners = [(inner[0], i), (outer[0], i), (outer[1], j), (inner[1], j)]
            axes.fill(
                [share * directions[k][0] for share, k in corners],
                [share * directions[k][1] for share, k in corners],
                color=colour,
                alpha=0.15,
                lw=0,
                zorder=1,
                clip_on=False,
                gid=f"band-{number}-{i}",
            )


def _draw_legend(sheet: Any, legend: Sequence[Sequence[str]], top: float) -> None:
    """Write the runs' names below, each behind its line and mark."""
    from matplotlib.lines import Line2D

    from bench.plots import style

    for number, lines in enumerate(legend):
        middle = 1 - (top + style.height_of(1) / 2) / sheet.height
        ends = [(style.MARGIN + at) / sheet.width for at in (0.0, 0.16, 0.32)]
        sheet.figure.add_artist(
            Line2D(
                ends,
                [middle] * 3,
                color=style.COLOURS[number],
                ls=style.DASHES[number],
                lw=1.1,
                marker=style.MARKERS[number],
                markevery=[1],
                ms=3.2,
                mew=0,
                transform=sheet.figure.transFigure,
            )
        )
        sheet.text(style.MARGIN + 0.4, top, lines)
        top += style.height_of(len(lines)) + 0.02
