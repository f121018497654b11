"""Round numbers of axes, and how they are written."""

from __future__ import annotations

import math
from collections.abc import Sequence

_NICE = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)


def nice_above(value: float) -> float:
    """Return a round number not below a positive value."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(step * unit for step in _NICE if step * unit >= value * (1 - 1e-12))


_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def tick_text(value: float) -> str:
    """Return a round number in short: "0.25", "−2", "200K", "10⁻⁵"."""
    size = abs(value)
    if size >= 1e15 or 0 < size < 1.5e-3:
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".")
        times = {"1": "", "-1": "-"}.get(mantissa, f"{mantissa}×")
        text = f"{times}10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    else:
        unit, letter = next(
            ((u, c) for u, c in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "K")) if size >= u), (1, "")
        )
        text = f"{value / (1e3 if letter == 'K' else unit):g}{letter}"
    return text.replace("-", "−")


def power_text(exponent: float) -> str:
    """Return 4 as "10⁴"."""
    return f"10{str(int(exponent)).translate(_SUPERSCRIPT)}"


def limits(values: Sequence[float], *, share: float = 0.06) -> tuple[float, float]:
    """Return the ends of an axis that shows all values with some room beside them."""
    low, high = min(values), max(values)
    room = (high - low) * share or abs(high) * 0.1 or 1.0
    return low - room, high + room
