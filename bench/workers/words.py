"""The last words of a process: what its log ends with."""

from __future__ import annotations

SHOWN_LINES, SHOWN_WIDTH = 12, 300


def last_words(log: str) -> str:
    """Return the last lines of a log, indented: of a line that was drawn over (a progress bar) only its last state."""
    lines = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in log.split("\n")]
    shown = [line[-SHOWN_WIDTH:] for line in lines if line.strip()][-SHOWN_LINES:]
    return "\n".join(f"    {_printable(line)}" for line in shown) or "    (nothing)"


def _printable(line: str) -> str:
    return "".join(character if character.isprintable() or character == "\t" else "?" for character in line)
