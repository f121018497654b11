"""Words of messages and tables."""

from __future__ import annotations


def counted(n: int, thing: str) -> str:
    """Return "1 case", "3,403 cases"; for what takes an s."""
    return f"{n:,} {thing}{'' if n == 1 else 's'}"
