"""Reading predictions that exist already, for ``bench score``.

CSV, TSV, JSON, JSONL and Parquet files of five layouts, recognised by their columns: the ending of the name tells the
container only. Everything is read as text exactly as written, so that ids such as ``007`` and reports such as ``None``
survive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.contracts import Pair


@dataclass(frozen=True, slots=True)
class PairsTable:
    """The pairs of a file, in its order."""

    pairs: Sequence[Pair]
    format: str
    """The layout that was recognised, in words."""
    notes: tuple[str, ...]
    """What the user should know about how the file was read."""
    n_missing: int
    """Pairs that had no prediction and are scored as empty."""
