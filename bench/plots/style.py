"""How pictures look: fonts, colours, and text that is measured, folded and never taken for mathematics.

Sizes are in inches and points of the printed page; nothing is scaled afterwards. Needs matplotlib.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from typing import Any

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import MaxNLocator

from bench.plots.scales import power_text, tick_text

INK, SOFT, FAINT = "#1b1f24", "#59636e", "#dfe3e8"
COLOURS = ("#004488", "#bb5566", "#ddaa33", "#000000")
"""Paul Tol's high-contrast scheme (https://personal.sron.nl/~pault): told apart by the colour-blind, and in grey."""
MARKERS = ("o", "s", "^", "D")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
SIZE, SMALL, TINY = 7.0, 6.5, 6.0
"""Points of text: what is read first, headings of a scale, the lines below."""
LINE = 1.25
"""Height of a line of text, in font sizes."""
MARGIN = 0.05
"""Inches left free at the figure's edges."""
FAMILY = "DejaVu Sans"
"""Comes with matplotlib, so that pictures are alike on all machines."""
OTHER_FAMILIES = (
    "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Source Han Sans", "Droid Sans Fallback",
    "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo",
    "Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari",
    "Noto Sans Bengali", "Noto Sans Tamil", "Noto Sans Thai", "Arial Unicode MS", "Unifont",
)  # fmt: skip
"""Asked, where they are installed, for characters that `FAMILY` lacks."""


@contextmanager
def styled() -> Iterator[None]:
    """Draw and write within this: matplotlib's own defaults and ours, whatever the user's matplotlibrc says."""
    backend = ("backend", "backend_fallback", "interactive", "toolbar", "webagg.", "timezone")
    defaults: dict[Any, Any] = {key: value for key, value in mpl.rcParamsDefault.items() if not key.startswith(backend)}
    ours: dict[Any, Any] = {
        "axes.edgecolor": SOFT,
        "axes.formatter.use_mathtext": False,
        "axes.labelcolor": INK,
        "axes.linewidth": 0.6,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "font.family": list(families()),
        "font.size": SIZE,
        "hatch.linewidth": 0.5,
        "pdf.fonttype": 42,
        "savefig.dpi": 300,
        "svg.fonttype": "none",
        "svg.hashsalt": "cxr-report-bench",
        "text.color": INK,
        "text.parse_math": False,
        "xtick.color": SOFT,
        "xtick.labelcolor": INK,
        "xtick.labelsize": TINY,
        "xtick.major.pad": 2.0,
        "xtick.major.size": 2.0,
        "xtick.major.width": 0.6,
        "ytick.color": SOFT,
        "ytick.labelcolor": INK,
        "ytick.labelsize": TINY,
        "ytick.major.pad": 2.0,
        "ytick.major.size": 2.0,
        "ytick.major.width": 0.6,
    }
    with mpl.rc_context({**defaults, **ours}):
        yield


@cache
def families() -> tuple[str, ...]:
    """Return the font families that are here, in the order in which they are asked for a character."""
    here = {font.name for font in font_manager.fontManager.ttflist}
    return (FAMILY, *(name for name in OTHER_FAMILIES if name in here))


@cache
def _characters() -> frozenset[int]:
    """Return the characters that the fonts have."""
    found: set[int] = set()
    for name in families():
        found.update(font_manager.get_font(font_manager.findfont(name)).get_charmap())
    return frozenset(found)


def unknown_characters(texts: Sequence[str]) -> list[str]:
    """Return the characters that no font here has, each once."""
    return [char for char in dict.fromkeys("".join(map(shown, texts))) if ord(char) not in _characters()]


# ------------------------------------------------------------------ text


def shown(text: str) -> str:
    """Return a user's text on one line; what has no look of its own (control characters, surrogates) as U+FFFD."""
    line = " ".join(text.split())
    return "".join("\ufffd" if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Cn", "Co") else char for char in line)


@cache
def _renderer() -> Any:
    make: Any = RendererAgg
    return make(16, 16, 300)


@cache
def _font(size: float, weight: str) -> FontProperties:
    return FontProperties(family=list(families()), size=size, weight=weight)


@cache
def width_of(text: str, size: float = SIZE, weight: str = "normal") -> float:
    """Return the width of one line of text in inches."""
    if not text:
        return 0.0
    width, _, _ = _renderer().get_text_width_height_descent(text, _font(size, weight), ismath=False)
    return float(width) / 300


def height_of(lines: int, size: float = SIZE) -> float:
    """Return the height of lines of text in inches."""
    return lines * size * LINE / 72


_PIECES = re.compile(r"[^\s/_,;|-]*[\s/_,;|-]+|[^\s/_,;|-]+")


def fold(text: str, width: float, size: float = SIZE, weight: str = "normal", most: int = 3) -> list[str]:
    """Return the text in at most `most` lines no wider than `width` inches; what does not fit goes out of its middle.

    Lines break behind blanks and -_/,;| where that can be, and anywhere in a longer word.
    """
    line = shown(text)
    lines = _folded(line, width, size, weight)
    if len(lines) <= most:
        return lines
    least, top = 0, len(line) // 2
    while least < top:  # the most characters of either end that fit
        kept = (least + top + 1) // 2
        least, top = (
            (kept, top) if len(_folded(_middle_out(line, kept), width, size, weight)) <= most else (least, kept - 1)
        )
    return _folded(_middle_out(line, least), width, size, weight)


def _middle_out(text: str, kept: int) -> str:
    return f"{text[:kept]}…{text[len(text) - kept :]}"


def _folded(text: str, width: float, size: float, weight: str) -> list[str]:
    lines = [""]
    for piece in _PIECES.findall(text):
        if width_of((lines[-1] + piece).rstrip(), size, weight) <= width:
            lines[-1] += piece
        else:
            first, *more = _broken(piece, width, size, weight)
            lines = [*lines, first, *more] if lines[-1] else [first, *more]
    return [line.rstrip() for line in lines]


def _broken(piece: str, width: float, size: float, weight: str) -> list[str]:
    """Cut a piece that is wider than a line; a combining character stays with the one before it."""
    lines = [""]
    for char in piece:
        if (
            lines[-1]
            and not unicodedata.combining(char)
            and width_of((lines[-1] + char).rstrip(), size, weight) > width
        ):
            lines.append("")
        lines[-1] += char
    return lines


# ------------------------------------------------------------------ layout


class Sheet:
    """A figure whose parts are placed in inches from its upper left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height), facecolor="white")

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Return axes whose frame has this place; they are drawn without a background."""
        bottom = self.height - top - height
        place = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(place)
        axes.set_facecolor("none")
        return axes

    def text(self, left: float, top: float, lines: Sequence[str], size: float = SIZE, **settings: Any) -> None:
        """Write lines of text, the first of them just below `top`."""
        for number, line in enumerate(lines):
            middle = top + height_of(1, size) * (number + 0.5)
            self.figure.text(
                left / self.width,
                1 - middle / self.height,
                line,
                **{"size": size, "va": "center_baseline", "ha": "left", **settings},
            )


def notes_height(lines: Sequence[str]) -> float:
    """Return what the lines below a picture take."""
    return height_of(len(lines), TINY) + 0.06 * bool(lines)


def folded_notes(notes: Sequence[str], width: float) -> list[str]:
    """Return the lines below a picture, folded to its width."""
    return [line for note in notes for line in fold(note, width - 2 * MARGIN, TINY, most=20)]


def put_notes(sheet: Sheet, lines: Sequence[str]) -> None:
    """Write the lines below a picture at its lower edge."""
    sheet.text(MARGIN, sheet.height - notes_height(lines), lines, TINY, color=SOFT)


# ------------------------------------------------------------------ scales


def ticks(low: float, high: float, length: float, beyond: float = 0.05) -> list[float]:
    """Return round values of an axis of `length` inches whose labels fit side by side.

    No label reaches further than `beyond` inches over the axis's ends.
    """
    for most in (6, 5, 4, 3, 2, 1):
        found = [
            float(v) for v in MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high) if low <= v <= high
        ]
        kept = _fitting(found, low, high, length, beyond)
        if kept is not None:
            return kept
    return []


def powers(low: float, high: float, length: float, beyond: float = 0.05) -> list[float]:
    """Return the powers of ten of a logarithmic axis whose labels fit side by side; the ends are exponents."""
    for step in range(1, 20):
        found = [float(v) for v in range(math.ceil(low), math.floor(high) + 1) if v % step == 0]
        kept = _fitting(found, low, high, length, beyond, power=True)
        if kept is not None:
            return kept
    return []


def _fitting(
    values: Sequence[float], low: float, high: float, length: float, beyond: float, *, power: bool = False
) -> list[float] | None:
    """Return the values whose labels stay within the axis; None where two of them meet."""
    text = power_text if power else tick_text
    spans = []
    for value in values:
        middle, half = (value - low) / (high - low) * length, width_of(text(value), TINY) / 2
        if middle - half >= -beyond and middle + half <= length + beyond:
            spans.append((middle - half, middle + half, value))
    if any(after[0] - before[1] < 0.05 for before, after in pairwise(spans)):
        return None
    return [value for _, _, value in spans]
