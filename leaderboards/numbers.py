"""Numbers as a column shows them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

from leaderboards.model import ColumnSpec, Style

_POWER = re.compile(r"(-?\d+(?:\.\d+)?)e([+-]?\d+)")
_UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))


def format_value(column: ColumnSpec, value: float) -> str:
    """Return `value`, in its own unit, as the column shows it."""
    scaled = value * column.factor
    if column.style == "number":
        return f"{scaled:.{column.decimals}f}"
    return _STYLES[column.style](scaled)


def count(value: float) -> str:
    """Return 239931 as "239,931"; what is no whole number keeps up to six digits."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.6g}"


def compact(value: float) -> str:
    """Return 75.6e6 as "76M": two digits and a unit from a thousand on."""
    if abs(value) < 1000:
        return count(value)
    rounded = float(f"{value:.2g}")
    size, unit = next((size, unit) for size, unit in _UNITS if abs(rounded) >= size)
    return f"{rounded / size:.3g}{unit}"


def power(value: float) -> str:
    """Return 0.008 as "8e-3": up to three digits."""
    if value == 0:
        return "0"
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    digits = mantissa.rstrip("0").rstrip(".")
    return f"{digits}e{int(exponent)}"


def significant(value: float) -> str:
    """Return 0.30315 as "0.303" and 61847.5 as "61,848": three digits, or all before the point."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = 2 - math.floor(math.log10(abs(float(f"{value:.3g}"))))
    return f"{value:,.{max(0, min(decimals, 15))}f}"


def split_power(text: str) -> tuple[str, str] | None:
    """Return mantissa and exponent of "5.3e-3" → ("5.3", "-3"); None where the text is of another form."""
    match = _POWER.fullmatch(text)
    return (match[1], str(int(match[2]))) if match else None


_STYLES: Mapping[Style, Callable[[float], str]] = {
    "count": count,
    "compact": compact,
    "power": power,
    "significant": significant,
}
