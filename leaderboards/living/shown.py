"""What a site shows of each entry: what may be published, what was verified, which cells are the best."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import compare, show, store
from bench.errors import BenchError
from leaderboards.living import checked as checks
from leaderboards.living import public
from leaderboards.living.cases import standing
from leaderboards.living.checked import ColumnCheck, EntryCheck, Overall, State
from leaderboards.living.entries import ABOUT, Entry, is_credentialed
from leaderboards.living.verify import read_runs

Group = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Shown:
    """One entry as it is published; nothing else of it is read afterwards, but for reports that may be."""

    name: str
    overall: Overall
    summary: Mapping[str, Any]
    """In the form of summary.json; without scores where the check failed."""
    about: Mapping[str, Any]
    """In the form of run.json."""
    facts: Mapping[str, float]
    group: Group | None
    """Dataset, split, fingerprint and hash of the cases; None where the entry cannot be read."""
    credentialed: bool
    digest: str
    states: Mapping[str, State]
    """Column → whether it was verified."""
    details: Mapping[str, str]
    """Column → why it was not, in words that tell nothing of the data."""
    checked: Sequence[Mapping[str, Any]] = ()
    """When, with what and by which versions the metrics were scored again."""
    notes: Sequence[str] = ()
    n_faults: int = 0
    reports: Sequence[Mapping[str, str]] = ()
    """Ids and texts, where these were asked for and may be published."""


def collect(folder: Path, entries: Sequence[Entry], *, texts: bool) -> list[Shown]:
    """Return what may be published of each entry, with what is known of its being right."""
    kept = checks.read(folder)
    runs, damaged = read_runs(entries)
    places = standing(runs)
    found = []
    for entry in entries:
        check = kept.of(entry.name, entry.digest)
        if entry.name in damaged:
            found.append(_damaged(entry, damaged[entry.name]))
            continue
        place = places[entry.name]
        if check is not None and place.faults:  # another entry came since, which shows that this one's cases are others
            check = check.model_copy(update={"faults": tuple(dict.fromkeys([*check.faults, *place.faults]))})
        found.append(_shown(entry, runs[entry.name], check, place.group, place.notes, texts=texts))
    return found


def _damaged(entry: Entry, check: EntryCheck) -> Shown:
    return Shown(entry.name, "failed", {}, {}, {}, None, True, entry.digest, {}, {}, n_faults=len(check.faults))


def _shown(
    entry: Entry, run: compare.Run, check: EntryCheck | None, group: Group, notes: Sequence[str], *, texts: bool
) -> Shown:
    private = is_credentialed(run.run, run.summary, _about(entry))
    summary = {**public.summary(run), "credentialed": private}
    columns = check.columns() if check is not None else {}
    overall: Overall = check.overall if check is not None else "unchecked"
    if overall == "failed":
        summary["scores"] = {}
    states: dict[str, State] = {}
    details = {}
    for key in run.summary["scores"]:
        one = columns.get(key, ColumnCheck(state="unasked"))
        states[public.name_of(key)] = one.state
        details[public.name_of(key)] = _detail(one, private=private)
    return Shown(
        name=entry.name,
        overall=overall,
        summary=summary,
        about={**public.about(run), "credentialed": private},
        facts=public.facts(_facts(run.folder)),
        group=group,
        credentialed=private,
        digest=entry.digest,
        states=states,
        details=details,
        checked=list(_checked(check)) if check is not None else [],
        notes=[str(note) for note in notes],
        n_faults=len(check.faults) if check is not None else 0,
        reports=_reports(run) if texts and not private else (),
    )


def _about(entry: Entry) -> Mapping[str, Any]:
    try:
        return store.read_json(entry.folder / ABOUT)
    except BenchError:
        return {}


def _facts(folder: Path) -> Mapping[str, Any]:
    file = folder / "facts.json"
    return store.read_json(file) if file.exists() else {}


def _reports(run: compare.Run) -> list[Mapping[str, str]]:
    return [{"id": pair.id, "text": pair.candidate} for pair in run.pairs.values()]


def _detail(one: ColumnCheck, *, private: bool) -> str:
    """Say why a column was not verified; of credentialed data in our own words, for a reason may name a case."""
    if one.state == "recipe":
        return public.without_paths(one.detail)
    if one.state == "unable":
        return "the metric could not work where the entry was checked" if private else public.without_paths(one.detail)
    return {"unasked": "not scored again", "differs": "scoring again gave something else"}.get(one.state, "")


def _checked(check: EntryCheck) -> Iterator[Mapping[str, Any]]:
    """Yield what was scored again at one time by the same versions, together."""
    together: dict[tuple[str, str, str], list[str]] = {}
    for label, one in check.metrics.items():
        if any(column.state in ("verified", "differs", "recipe") for column in one.columns.values()):
            versions = ", ".join(f"{k} {v}" for k, v in sorted(public.versions(one.versions).items()))
            together.setdefault((one.when, one.device, versions), []).append(public.name_of(label))
    for (when, device, versions), labels in together.items():
        yield {"when": when, "device": device, "versions": versions, "metrics": labels}


# ------------------------------------------------------------------ tables


@dataclass(frozen=True, slots=True)
class Cell:
    """One score of a table."""

    text: str
    interval: str
    sort: float | None
    state: State
    why: str
    recipe: str
    """A letter, where the entries of a table were scored by several recipes."""
    best: bool


@dataclass(frozen=True, slots=True)
class Block:
    """The entries on one set of cases."""

    heading: str
    about: str
    columns: Sequence[tuple[str, str, bool]]
    """Key, heading, whether higher is better."""
    rows: Sequence[tuple[Shown, Sequence[Cell | None]]]
    recipes: Sequence[tuple[str, str]]
    """Columns, each with its letter where there are several recipes, and the signature they share."""
    notes: Sequence[str] = field(default=())


def blocks(entries: Sequence[Shown]) -> list[Block]:
    """Return a table for each set of cases, larger fields first; entries whose check failed are in none."""
    by_group: dict[Group, list[Shown]] = {}
    for entry in entries:
        if entry.group is not None and entry.overall != "failed":
            by_group.setdefault(entry.group, []).append(entry)
    ordered = sorted(by_group.items(), key=lambda item: (item[0][:2], -len(item[1]), item[0]))
    headings = [_heading(own[0]) for _, own in ordered]
    return [
        _block(own, heading + (f"; cases {group[3]}" if headings.count(heading) > 1 else ""))
        for (group, own), heading in zip(ordered, headings, strict=True)
    ]


def _heading(entry: Shown) -> str:
    return f"{entry.summary['dataset']}, {entry.summary['split']}"


def _block(own: Sequence[Shown], heading: str) -> Block:
    first = own[0].summary
    told = {key: one for entry in reversed(own) for key, one in entry.summary["scores"].items()}
    keys = show.column_keys([entry.summary for entry in own], full=True)
    letters = {key: _letters([e.summary["scores"][key] for e in own if key in e.summary["scores"]]) for key in keys}
    best = {key: _best(own, key, higher=told[key]["higher_is_better"]) for key in keys}
    rows = [(e, [_cell(e, key, letters[key], e.name in best[key]) for key in keys]) for e in own]
    named = [
        (f"{told[key]['heading'] or key} {letter}".strip(), signature)
        for key in keys
        for signature, letter in letters[key].items()
    ]
    notes = [f"{entry.name}: {note}" for entry in own for note in entry.notes]
    about = f"{first.get('n_cases', 0):,} cases of {first.get('n_groups', 0):,} patients"
    columns = [(key, told[key]["heading"] or key, told[key]["higher_is_better"]) for key in keys]
    return Block(heading, about, columns, rows, recipes(named), notes)


def recipes(named: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Put the columns that share a signature on one line: (columns, signature)."""
    together: dict[str, list[str]] = {}
    for name, signature in named:
        if signature:
            together.setdefault(signature, []).append(name)
    return [(", ".join(names), signature) for signature, names in together.items()]


def _letters(scores: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return signature → letter; no letter where there is one recipe only."""
    signatures = list(dict.fromkeys(score["signature"] for score in scores if score["value"] is not None))
    if len(signatures) < 2:
        return dict.fromkeys(signatures, "")
    return {one: chr(ord("a") + at) if at < 26 else str(at) for at, one in enumerate(signatures)}


def _best(own: Sequence[Shown], key: str, *, higher: bool) -> set[str]:
    """Return the entries that are best in a column, as printed, among the verified ones of one recipe."""
    rivals: dict[str, dict[str, float]] = {}
    for entry in own:
        score = entry.summary["scores"].get(key)
        if score is not None and score["value"] is not None and entry.states.get(key) == "verified":
            rivals.setdefault(score["signature"], {})[entry.name] = float(show.number(score))
    choose = max if higher else min
    return {
        name
        for values in rivals.values()
        if len(values) > 1
        for name, value in values.items()
        if value == choose(values.values())
    }


def _cell(entry: Shown, key: str, letters: Mapping[str, str], best: bool) -> Cell | None:
    score = entry.summary["scores"].get(key)
    if score is None:
        return None
    sort = None if score["value"] is None else score["value"] * score["scale"]
    why = score["reason"] if score["value"] is None else entry.details.get(key, "")
    low_high = interval(score)
    state = entry.states.get(key, "unasked")
    return Cell(show.number(score), low_high, sort, state, why, letters.get(score["signature"], ""), best)


def interval(score: Mapping[str, Any]) -> str:
    """Return "[low, high]" of a score, or nothing."""
    ends = show.interval(score).split("\n")
    return f"[{ends[0]}, {ends[1]}]" if len(ends) == 2 else ""
