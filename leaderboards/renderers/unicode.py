"""Numbers in formats that have no mathematics."""

from __future__ import annotations

from leaderboards.numbers import split_power

_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def number_text(text: str) -> str:
    """Return "5.3e-3" as "5.3×10⁻³", anything else as it is."""
    parts = split_power(text)
    return f"{parts[0]}×10{parts[1].translate(_SUPERSCRIPT)}" if parts else text
