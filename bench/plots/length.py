"""Scores of single cases against the length of the report or the reference, with the mean along the length."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench import case_values, registry
from bench.contracts import Floats
from bench.errors import BenchError
from bench.plots import runs as reading
from bench.plots import scales
from bench.plots.picture import inches
from bench.plots.runs import Scored
from bench.rank_correlation import Association
from bench.statistics import percentiles, resample
from bench.wording import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Side = Literal["report", "reference"]
FEWEST = 5
"""Cases of a bin; with fewer there are fewer bins."""

# ------------------------------------------------------------------ data


@dataclass(frozen=True, slots=True)
class Bin:
    """Cases of neighbouring lengths: their mean, with its interval where they are of several patients."""

    shortest: int
    longest: int
    middle: float
    """Their mean length."""
    mean: float
    low: float | None
    high: float | None
    n: int
    n_groups: int


@dataclass(frozen=True, slots=True)
class Trend:
    """One run: its cases, the means along the length, and how far length and score go together."""

    label: str
    words: NDArray[np.int64]
    """[n_cases]; sorted, so that the order tells nothing of the cases."""
    values: Floats
    """[n_cases], as tables show them."""
    n_groups: int
    n_lost: int
    """Cases without a value."""
    bins: tuple[Bin, ...]
    rho: float | None
    """Spearman's, of length and value as it is."""
    rho_low: float | None
    rho_high: float | None
    heading: str = ""
    """What the run is on, where the runs are on different cases."""
    mark: str = ""
    """Letter of what is scored otherwise than in the first run."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """All that is drawn."""

    column: str
    heading: str
    higher_is_better: bool
    side: Side
    points: bool
    trends: tuple[Trend, ...]
    notes: tuple[str, ...]
    title: str = "Score against length"

    def texts(self) -> list[str]:
        """Return all text that users chose."""
        return [self.heading, *(text for trend in self.trends for text in (trend.label, trend.heading))]

    @property
    def numbers(self) -> tuple[Mapping[str, Any], ...]:
        """Rows for CSV: the bins, then, where points are drawn, the cases, without their ids."""
        return tuple(self._numbers())

    def _numbers(self) -> Iterator[dict[str, Any]]:
        for trend in self.trends:
            about = {"run": trend.label, "column": self.column, "length_of": self.side}
            yield {**about, "what": "spearman", "value": trend.rho, "ci_low": trend.rho_low, "ci_high": trend.rho_high,
                   "n": len(trend.words), "n_groups": trend.n_groups}  # fmt: skip
            for one in trend.bins:
                yield {**about, "what": "bin", "words": one.middle, "words_from": one.shortest, "words_to": one.longest,
                       "value": one.mean, "ci_low": one.low, "ci_high": one.high, "n": one.n,
                       "n_groups": one.n_groups}  # fmt: skip
            if self.points:
                for words, value in zip(trend.words.tolist(), trend.values.tolist(), strict=True):
                    yield {**about, "what": "case", "words": words, "value": value}


def of_runs(
    runs: Sequence[Scored],
    column: str,
    *,
    side: Side = "report",
    points: bool = True,
    bins: int = 6,
    draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Lengths:
    """Return what a column says of each case alone, against the words (between blanks) of its report or reference.

    Raises BenchError where no run has a value of single cases in the column.
    """
    present = dict.fromkeys(key for run in runs for key in run.scores)
    if column not in present:
        raise BenchError(f"--metric: {registry.miss('column', column, present)}")
    heading = reading.heading(runs, column)
    tables = [case_values.read(run.run.folder) for run in runs]
    having = [(run, table) for run, table in zip(runs, tables, strict=True) if column in table.columns]
    if not having:
        raise BenchError(
            f"--metric {column}: no run has values of single cases: it has no score in the summary, or its metric is "
            "not installed here"
        )
    drawn = [run for run, _ in having]
    blocks = reading.by_cases(drawn)
    on = {b[0].cases: name for b, name in zip(blocks, reading.block_names(blocks), strict=True)}
    recipes = list(dict.fromkeys(run.scores[column].signature for run in drawn))
    settings = _Settings(side, bins, draws, confidence, seed)
    names = {run.run.folder: name for b in blocks for run, name in zip(b, reading.row_names(b), strict=True)}
    trends = []
    for run, table in having:
        where = on[run.cases] if len(blocks) > 1 else ""
        kind = recipes.index(run.scores[column].signature)
        trends.append(
            _trend(names[run.run.folder], table, column, settings, where, "" if kind == 0 else chr(ord("a") + kind - 1))
        )
    notes = _notes(column, trends, settings, points=points)
    if len(blocks) == 1:
        notes.append(f"{next(iter(on.values()))}.")
    else:
        notes.append("The pictures are of different cases or references.")
    for number, other in enumerate(recipes[1:]):
        what = reading.signature_difference(other, recipes[0])
        notes.append(f"({chr(ord('a') + number)}) scored otherwise than {drawn[0].label}, not comparable: {what}.")
    lost = [run.label for run in runs if run not in drawn]
    notes += [f"Left out, without values of single cases: {', '.join(lost)}."] * bool(lost)
    notes += reading.origins([run.run for run in drawn])
    up = having[0][1].columns[column].column.higher_is_better
    return Lengths(column, heading, up, side, points, tuple(trends), tuple(notes))


@dataclass(frozen=True, slots=True)
class _Settings:
    side: Side
    bins: int
    draws: int
    confidence: float
    seed: int


def _notes(column: str, trends: Sequence[Trend], settings: _Settings, *, points: bool) -> list[str]:
    interval = f"{settings.confidence * 100:g}% intervals ({settings.draws:,} resamples of patients)"
    line = f"{'Grey: a case. ' * points}Blue: mean {column} of cases of neighbouring lengths"
    line += f", with {interval}" * bool(settings.draws)
    line += f"; ρ: Spearman's, of length and {column}{', with its interval' * bool(settings.draws)}."
    lost = [f"{t.label} {counted(t.n_lost, 'case')}" for t in trends if t.n_lost]
    return [line, *[f"Without a value: {', '.join(lost)}."] * bool(lost)]


def _trend(label: str, table: case_values.CaseTable, key: str, settings: _Settings, heading: str, mark: str) -> Trend:
    column = table.columns[key]
    pairs = list(table.run.pairs.values())
    texts = [pair.candidate if settings.side == "report" else pair.reference for pair in pairs]
    words = np.array([len(text.split()) for text in texts], dtype=np.int64)
    there = np.isfinite(column.values)
    values = column.values[there] * column.column.scale
    names = np.array([pair.group for pair in pairs])[there]
    words = words[there]
    order = np.lexsort((values, words))
    words, values, names = words[order], values[order], names[order]
    rho, low, high = _rho(words, values, names, settings)
    bins = tuple(_bins(words, values, names, settings)) if len(words) else ()
    lost = int((~there).sum())
    return Trend(label, words, values, len(np.unique(names)), lost, bins, rho, low, high, heading, mark)


def _rho(
    words: NDArray[np.int64], values: Floats, names: NDArray[np.str_], settings: _Settings
) -> tuple[float | None, float | None, float | None]:
    """Return Spearman's ρ of length and value, and its interval; None where it is undefined."""
    distinct, groups = np.unique(names, return_inverse=True)
    n = max(1, len(distinct))
    pairs = Association.of(words.astype(np.float64), values, groups.astype(np.int64), n)
    rho = float(pairs.statistics(np.ones((1, n))).spearman[0])
    if not math.isfinite(rho):
        return None, None, None
    if n < 2 or not settings.draws:
        return rho, None, None
    return rho, *percentiles(pairs.bootstrap(settings.draws, settings.seed).spearman, settings.confidence)


def _bins(words: NDArray[np.int64], values: Floats, names: NDArray[np.str_], settings: _Settings) -> Iterator[Bin]:
    """Yield bins of about equal numbers of cases; cases of one length stay together. words: sorted."""
    place = _places(words, settings.bins)
    n = int(place.max()) + 1
    stats = np.zeros((len(words), 2 * n))
    rows = np.arange(len(words))
    stats[rows, place], stats[rows, n + place] = values, 1
    drawn = resample(stats, names.tolist(), _means, settings.draws, settings.seed) if settings.draws else None
    for number in range(n):
        inside = place == number
        several = len(np.unique(names[inside]))
        ends: tuple[float | None, float | None] = (None, None)
        if drawn is not None and several > 1:
            ends = percentiles(drawn[:, number], settings.confidence)
        own = words[inside]
        mean = float(values[inside].mean())
        yield Bin(int(own[0]), int(own[-1]), float(own.mean()), mean, *ends, int(inside.sum()), several)


def _places(words: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return the bin of each case, 0 …, from sorted lengths: quantiles, moved to where the length changes."""
    n = max(1, min(most, len(words) // FEWEST))
    changes = [0, *(np.flatnonzero(np.diff(words)) + 1).tolist(), len(words)]
    cuts = []
    last = 0
    for number in range(1, n):
        wanted = len(words) * number / n
        cut = min(changes, key=lambda at: (abs(at - wanted), at))
        if cut - last >= FEWEST and len(words) - cut >= FEWEST:
            cuts.append(cut)
            last = cut
    return np.searchsorted(np.asarray(cuts, dtype=np.int64), np.arange(len(words)), side="right").astype(np.int64)


def _means(totals: Floats) -> Floats:
    """Return means of sums and counts, [..., 2 n] -> [..., n]; NaN where nothing is."""
    n = totals.shape[-1] // 2
    total, count = totals[..., :n], totals[..., n:]
    means: Floats = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return means


# ------------------------------------------------------------------ drawing

_LEAST = 1.3
"""Inches of the narrowest picture."""
_HEIGHT = 1.15
_GAP = 0.14
_BELOW = 0.2
"""Inches below a picture for the numbers of its axis."""
_MANY = 1000
"""Points from which they are drawn as an image within a PDF or SVG, whose size they would make unwieldy."""


def draw(found: Lengths, width_mm: float) -> Figure:
    """Return a picture a run, all on the same axes."""
    from bench.plots import style

    width = inches(width_mm)
    ends = _ends(found)
    marks = style.ticks(*ends[1], _HEIGHT, 1.0)
    numbers = max((style.width_of(scales.tick_text(mark), style.TINY) for mark in marks), default=0.0)
    left = style.MARGIN + style.height_of(1, style.SMALL) + 0.06 + numbers + 0.05
    room = width - left - style.MARGIN - 0.06
    across = min(len(found.trends), max(1, int((room + _GAP) / (_LEAST + _GAP))))
    across = math.ceil(len(found.trends) / math.ceil(len(found.trends) / across))
    panel = min((room + _GAP) / across - _GAP, 3.2)
    titles = [_title(trend, panel) for trend in found.trends]
    heights = [sum(style.height_of(1, size) for _, size, _ in lines) + 0.04 for lines in titles]
    heads = [max(heights[start : start + across]) for start in range(0, len(titles), across)]
    tops = [style.MARGIN + sum(heads[:at]) + at * (_HEIGHT + _BELOW) for at in range(len(heads) + 1)]
    notes = style.folded_notes(found.notes, width)
    foot = style.height_of(1, style.SMALL) + 0.08
    sheet = style.Sheet(width, tops[-1] + foot + style.notes_height(notes) + style.MARGIN)
    for number, trend in enumerate(found.trends):
        x = left + (number % across) * (panel + _GAP)
        y = tops[number // across] + heads[number // across]
        at = y - heights[number]
        for line, size, weight in titles[number]:
            sheet.text(x + panel / 2, at, [line], size, ha="center", weight=weight)
            at += style.height_of(1, size)
        axes = sheet.axes(x, y, panel, _HEIGHT)
        axes.set_label(trend.label)
        _draw_trend(axes, trend, ends, panel, points=found.points)
        axes.set_yticks(marks, [scales.tick_text(mark) for mark in marks] if number % across == 0 else [])
    arrow = "↑" if found.higher_is_better else "↓"
    middle = tops[-1] / 2
    name = style.fold(f"{found.heading} {arrow}", tops[-1], style.SMALL, most=1)[0]
    at = (style.MARGIN + style.height_of(1, style.SMALL) / 2) / width
    look: dict[str, Any] = {"rotation": 90, "ha": "center", "va": "center", "size": style.SMALL}
    sheet.figure.text(at, 1 - middle / sheet.height, name, **look)
    across_middle = left + (across * (panel + _GAP) - _GAP) / 2
    sheet.text(across_middle, tops[-1], [f"words of the {found.side}"], style.SMALL, ha="center")
    style.put_notes(sheet, notes)
    return sheet.figure


def _title(trend: Trend, width: float) -> list[tuple[str, float, str]]:
    """Return the lines above a picture: text, points, weight."""
    from bench.plots import style

    mark = f" ({trend.mark})" if trend.mark else ""
    lines = [(line, style.SIZE, "bold") for line in style.fold(trend.label + mark, width, style.SIZE, "bold")]
    if trend.heading:
        lines += [(line, style.TINY, "normal") for line in style.fold(trend.heading, width, style.TINY)]
    return [*lines, *((line, style.TINY, "normal") for line in style.fold(_told(trend), width, style.TINY))]


def _told(trend: Trend) -> str:
    """Return "n = 100, ρ = −0.21 [−0.30, −0.12]"."""
    n = f"n = {len(trend.words):,}"
    if trend.rho is None:
        return f"{n}, ρ undefined"
    text = f"{n}, ρ = {trend.rho:.2f}"
    if trend.rho_low is not None and trend.rho_high is not None:
        text += f" [{trend.rho_low:.2f}, {trend.rho_high:.2f}]"
    return text.replace("-", "−")


def _ends(found: Lengths) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the ends of both axes, which all pictures share."""
    words = [float(v) for t in found.trends for v in (t.words if found.points else [b.middle for b in t.bins])]
    values = [float(v) for t in found.trends for v in (t.values if found.points else [b.mean for b in t.bins])]
    values += [end for t in found.trends for b in t.bins for end in (b.low, b.high) if end is not None]
    return scales.limits(words or [0.0]), scales.limits(values or [0.0])


def _draw_trend(
    axes: Axes, trend: Trend, ends: tuple[tuple[float, float], tuple[float, float]], panel: float, *, points: bool
) -> None:
    from bench.plots import style

    axes.set_xlim(*ends[0])
    axes.set_ylim(*ends[1])
    marks = style.ticks(*ends[0], panel, _GAP / 2 - 0.02)
    axes.set_xticks(marks, [scales.tick_text(mark) for mark in marks])
    if points and len(trend.words):
        dots = axes.plot(trend.words, trend.values, ls="", marker="o", ms=1.8, mfc=style.SOFT, mec="none", alpha=0.35)
        dots[0].set_rasterized(len(trend.words) > _MANY)
        dots[0].set_gid("cases")
    x = [one.middle for one in trend.bins]
    axes.plot(x, [one.mean for one in trend.bins], color=style.COLOURS[0], lw=1.0, marker="o", ms=3.0, gid="trend")
    for one in trend.bins:
        if one.low is not None and one.high is not None:
            axes.vlines([one.middle], one.low, one.high, colors=style.COLOURS[0], linewidth=1.1)
