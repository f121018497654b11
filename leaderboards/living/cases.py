"""Whether entries on one dataset are on the same cases: none may shine on easier ones unseen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench import compare
from bench.config import digest


@dataclass(frozen=True, slots=True)
class Standing:
    """What an entry's cases are among those of the others."""

    group: tuple[str, str, str, str]
    """Dataset, split, fingerprint of the dataset, and hash of the cases with their references and patients: only
    entries that share it stand in one table."""
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def standing(runs: Mapping[str, compare.Run]) -> dict[str, Standing]:
    """Return name → what the entry's cases are, compared with those of the others on the same dataset and split."""
    found = {name: Standing(_group(run)) for name, run in runs.items()}
    by_data: dict[tuple[str, str], list[str]] = {}
    for name, one in found.items():
        by_data.setdefault(one.group[:2], []).append(name)
    for names in by_data.values():
        _compare(names, runs, found)
    return found


def _group(run: compare.Run) -> tuple[str, str, str, str]:
    cases = digest([[p.id, p.group, p.reference] for p in sorted(run.pairs.values(), key=lambda p: p.id)])
    told = run.summary
    return str(told["dataset"]), str(told["split"]), str(told.get("dataset_fingerprint") or ""), cases


def _compare(names: Sequence[str], runs: Mapping[str, compare.Run], found: Mapping[str, Standing]) -> None:
    """Compare each entry with the standard of its data: the cases most entries have, of these the most cases."""
    if len({found[name].group for name in names}) == 1:
        return
    by_group: dict[tuple[str, str, str, str], list[str]] = {}
    for name in names:
        by_group.setdefault(found[name].group, []).append(name)
    ranked = sorted(by_group.values(), key=lambda own: (-len(own), -len(runs[own[0]].pairs), own))
    tie = len(ranked[0]) == len(ranked[1])
    standard = ranked[0]
    for own in ranked[1:]:
        faults, notes = _differences(runs[own[0]], runs[standard[0]], standard[0])
        for name in own:
            found[name].faults.extend(faults)
            found[name].notes.extend(notes)
        if tie and faults and len(own) == len(standard):  # nothing tells which of the two was changed
            back, _ = _differences(runs[standard[0]], runs[own[0]], own[0])
            for name in standard:
                found[name].faults.extend(back)


def _differences(run: compare.Run, other: compare.Run, name: str) -> tuple[list[str], list[str]]:
    """Return what cannot be so on one dataset, and what should be known, of a run beside another."""
    if run.summary.get("dataset_fingerprint") != other.summary.get("dataset_fingerprint"):
        return [], [f"another version or population of the dataset than {name} has: not compared with it"]
    shared = [case_id for case_id in run.pairs if case_id in other.pairs]
    faults = []
    for what in ("reference", "group"):
        changed = sum(getattr(run.pairs[i], what) != getattr(other.pairs[i], what) for i in shared)
        if changed:
            said = "reference" if what == "reference" else "patient"
            faults.append(f"{changed} of {len(shared)} cases have another {said} than in {name}, on the same dataset")
    notes = []
    here, there = len(run.pairs), len(other.pairs)
    if len(shared) < max(here, there):
        counts = f"{len(shared)} shared, of {here} here and {there} there"
        notes.append(f"other cases than {name} has ({counts}): not compared with it")
    return faults, notes
