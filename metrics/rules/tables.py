"""The lexicon's tables, parsed and indexed by the lemmas of their phrases; built on first use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from metrics.rules import lexicon
from metrics.rules.words import lemma, words

Roles = Mapping[str, str]
"""What a phrase can stand for: "finding", "anatomy", "state", "side", "grade", "change", "kind", "trigger" → which."""


@dataclass(frozen=True, slots=True)
class Concept:
    """A finding of the lexicon."""

    name: str
    """Its first phrase."""
    labels: tuple[str, ...]
    above: frozenset[str]
    """More general findings, itself included."""


@dataclass(frozen=True, slots=True)
class Lexicon:
    """All phrases, and what hangs on their ids."""

    phrases: Mapping[str, tuple[tuple[tuple[str, ...], Roles], ...]]
    """First lemma → (further lemmas, roles), the longest first."""
    concepts: Mapping[str, Concept]
    regions: Mapping[str, str]
    """Anatomy → the finding that a statement of its normality denies."""
    abnormal: Mapping[tuple[str, str], str]
    """(anatomy, state) → finding."""
    verbs: frozenset[str]
    closers: frozenset[str]


def _rows(table: str) -> Iterator[tuple[list[str], list[str]]]:
    """Yield a table's cells but the last, and the phrases of the last."""
    for line in table.strip().splitlines():
        if not line.startswith("#"):
            cells = [cell.strip() for cell in line.replace("||", "| |").split("|")]
            yield cells[:-1], [phrase.strip() for phrase in cells[-1].split(",") if phrase.strip()]


def _ancestors(parents: Mapping[str, tuple[str, ...]], name: str) -> frozenset[str]:
    return frozenset({name}).union(*(_ancestors(parents, parent) for parent in parents[name]))


def _split(cell: str, mark: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in cell.split(mark) if part.strip())


def _concepts() -> dict[str, Concept]:
    rows = list(_rows(lexicon.FINDINGS))
    parents = {cells[0]: _split(cells[2], ",") for cells, _ in rows}
    return {
        cells[0]: Concept(phrases[0].rstrip("+"), _split(cells[1], "+"), _ancestors(parents, cells[0]))
        for cells, phrases in rows
    }


def _entries() -> Iterator[tuple[str, str, str]]:
    """Yield (phrase, role, value) of every table."""
    for cells, phrases in _rows(lexicon.FINDINGS):
        for phrase in phrases:
            yield phrase.rstrip(lexicon.PLAIN_LABEL), "finding", cells[0]
            if phrase.endswith(lexicon.PLAIN_LABEL):
                yield phrase.rstrip(lexicon.PLAIN_LABEL), "also", "Lung Opacity"
    for cells, phrases in _rows(lexicon.ANATOMY):
        yield from ((phrase, "anatomy", cells[0]) for phrase in phrases)
    for cells, phrases in _rows(lexicon.STATES):
        yield from ((phrase, "state", cells[0]) for phrase in phrases)
    for cells, phrases in _rows(lexicon.QUALIFIERS):
        kind, value = cells[0].split(":")
        yield from ((phrase, kind, value) for phrase in phrases)
    for cells, phrases in _rows(lexicon.TRIGGERS):
        yield from ((phrase, "trigger", cells[0]) for phrase in phrases)
        if cells[0].endswith("<"):
            yield from ((phrase, "post", cells[0]) for phrase in phrases)
    for organ in lexicon.ORGANS:
        yield from ((f"{organ} {lesion}", "finding", "elsewhere") for lesion in lexicon.LESIONS)


@lru_cache(maxsize=1)
def load() -> Lexicon:
    """Return the indexed lexicon."""
    merged: dict[tuple[str, ...], dict[str, str]] = {}
    for phrase, role, value in _entries():
        merged.setdefault(words(phrase).lemmas, {}).setdefault(role, value)
    index: dict[str, list[tuple[tuple[str, ...], Roles]]] = {}
    for lemmas, roles in merged.items():
        index.setdefault(lemmas[0], []).append((lemmas[1:], roles))
    for entries in index.values():
        entries.sort(key=lambda entry: -len(entry[0]))
    abnormal = {
        (cells[0], state): finding
        for cells, pairs in _rows(lexicon.ABNORMAL_STATES)
        for state, finding in (pair.split("=") for pair in " ".join(pairs).split())
    }
    return Lexicon(
        {first: tuple(entries) for first, entries in index.items()},
        _concepts(),
        {cells[0]: cells[1] for cells, _ in _rows(lexicon.ANATOMY) if cells[1]},
        abnormal,
        frozenset(map(lemma, lexicon.VERBS)),
        frozenset(map(lemma, lexicon.CLOSERS)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """A phrase of the lexicon in a sentence, `lemmas[start:end]`."""

    start: int
    end: int
    roles: Roles
