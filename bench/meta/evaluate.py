"""From a file of counts to each metric's value of each candidate, by way of a run folder as ``bench score`` writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import case_values, score_file
from bench.case_values import CaseColumn
from bench.config import ScoringConfig
from bench.errors import BenchError
from bench.meta.ratings import Ratings, read_ratings
from bench.predictions import PairsTable
from bench.run import Outcome
from bench.wording import counted

HOME = Path("meta")
"""Where statistics are kept: apart from runs, which tables and pictures find in their folder."""


def read(file: Path, errors: str | None, console: Console) -> Ratings:
    """Read a file of counts and tell what was read."""
    ratings = read_ratings(file, errors)
    raters = f", {len(ratings.raters)} raters" if len(ratings.raters) > 1 else ""
    candidates = counted(len(ratings.pairs), "candidate")
    references = counted(len({(pair.group, pair.reference) for pair in ratings.pairs}), "reference")
    said = f"{file}: {candidates} of {references}{raters}, read as {ratings.layout}"
    for line in (said, *ratings.notes):
        console.print(line, markup=False, highlight=False)
    return ratings


def score(
    ratings: Ratings,
    config: ScoringConfig,
    *,
    file: Path,
    out: Path | None,
    strict: bool,
    public: bool,
    console: Console,
) -> tuple[Outcome, Mapping[str, CaseColumn]]:
    """Score the pairs, or go on where a killed call stopped; return the run and its columns, case by case.

    Raises BenchError where no column has a value, and where credentialed texts are said to be public.
    """
    if public and ratings.credentialed:
        raise BenchError(f"--public: {ratings.credentialed}")
    table = PairsTable(ratings.pairs, ratings.layout, tuple(ratings.notes), 0)
    label = file.resolve().name if file.is_dir() else file.stem
    scored = score_file.score(
        table, config, out=out, label=label, strict=strict, public=public, console=console, home=HOME
    )
    if all(one["value"] is None for one in scored.summary["scores"].values()):
        raise BenchError("no metric has a value:\n" + "\n".join(f"  {line}" for line in notes_of(scored)))
    return scored, case_values.read(scored.folder).columns


def notes_of(scored: Outcome) -> list[str]:
    """Return what has no value and why, and which parts stand in for the real ones."""
    missing: dict[tuple[str, str], list[str]] = {}
    for key, one in scored.summary["scores"].items():
        if one["value"] is None:
            missing.setdefault((one["reason"], one["remedy"]), []).append(key)
    lines = [f"– {', '.join(keys)}: {reason}; {remedy}." for (reason, remedy), keys in missing.items()]
    stand_ins = scored.summary.get("stand_ins", ())
    return lines + [f"Stand-ins: {'; '.join(stand_ins)}"] * bool(stand_ins)


def about(file: Path, ratings: Ratings, scored: Outcome) -> dict[str, Any]:
    """Return what a reader of the written tables should know of where they come from."""
    return {
        "file": file.name,
        "read_as": ratings.layout,
        "raters": list(ratings.raters),
        "read_notes": [*ratings.notes, *notes_of(scored)],
        "orientation": "positive: a better value goes with fewer errors",
    }
