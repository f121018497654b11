"""Texts cut into pieces for a page: the sentences of a report, the features that led to each, a metric's marks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.contracts import Mark, SmallTable
from bench.pages.marks import Verdict, verdict
from systems.sae_rad.sentences import split

if TYPE_CHECKING:
    from systems.sae_rad.vectors import SentenceSpace

ALIKE = 0.5
"""Cosine from which a sentence counts as saying what a description says."""
SOURCE = 0.2
"""Cosine from which a statement made of a text is put to its most similar sentence: it was taken from one of them."""

Side = Literal["candidate", "reference"]
DIRECTIONS: Mapping[Side, str] = {"candidate": "precision", "reference": "recall"}


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text drawn in one way."""

    text: str
    verdict: Verdict | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Led:
    """A feature whose description says what a sentence says."""

    feature: int
    similarity: float


@dataclass(frozen=True, slots=True)
class Passage:
    """A sentence, or (number None) what stands between two."""

    pieces: tuple[Piece, ...]
    number: int | None = None
    led: tuple[Led, ...] = ()
    """Features, the most similar first."""


def spans(text: str) -> list[tuple[int, int]]:
    """Return where the sentences of `split` stand in a text, [start, end) each, end stop included."""
    found, at = [], 0
    for sentence in split(text):
        pattern = r"\s+".join(re.escape(word) for word in sentence.split())
        match = re.compile(pattern).search(text, at)
        if match is None:  # a sentence that `split` has changed: it stays part of the text around it
            continue
        end = match.end()
        while end < len(text) and text[end] in ".!?":
            end += 1
        found.append((match.start(), end))
        at = end
    return found


def attribute(sentences: Sequence[str], descriptions: Mapping[int, str], space: SentenceSpace) -> list[tuple[Led, ...]]:
    """Return, for each sentence, the features with a description that holds one at least `ALIKE` to it.

    `descriptions` come most important first, which decides between equally similar ones.
    """
    owners = [(feature, part) for feature, text in descriptions.items() for part in split(text)]
    if not sentences or not owners:
        return [() for _ in sentences]
    similarity = space.similarity(sentences, [part for _, part in owners])
    return [_led(row.tolist(), [feature for feature, _ in owners]) for row in similarity]


def _led(similarity: Sequence[float], features: Sequence[int]) -> tuple[Led, ...]:
    best: dict[int, float] = {}
    for feature, value in zip(features, similarity, strict=True):
        best[feature] = max(best.get(feature, 0.0), value)
    alike = [Led(feature, value) for feature, value in best.items() if value >= ALIKE - 1e-9]
    return tuple(sorted(alike, key=lambda led: -round(led.similarity, 6)))


def passages(text: str, marks: Iterable[Mark], led: Sequence[tuple[Led, ...]] | None = None) -> list[Passage]:
    """Cut a text at its sentences and marks; joined, the pieces are the text again.

    led: one entry a sentence of `spans(text)`; None: the sentences are not told apart.
    """
    found = spans(text) if led is not None else []
    pieces = _pieces(text, sorted(marks, key=lambda mark: (mark.start, mark.end)))
    out, at = [], 0
    for number, (start, end) in enumerate(found):
        out.append(Passage(_within(pieces, at, start)))
        out.append(Passage(_within(pieces, start, end), number, led[number] if led else ()))
        at = end
    out.append(Passage(_within(pieces, at, len(text))))
    return [passage for passage in out if passage.pieces]


def _pieces(text: str, marks: Sequence[Mark]) -> list[tuple[int, Piece]]:
    """Return (start, piece) over the whole text; of marks that overlap, the first counts."""
    out, at = [], 0
    for mark in marks:
        start, end = max(mark.start, at), min(mark.end, len(text))
        if start >= end:
            continue
        out.append((at, Piece(text[at:start])))
        out.append((start, Piece(text[start:end], verdict(mark.kind), mark.note or mark.kind)))
        at = end
    out.append((at, Piece(text[at:])))
    return [(start, piece) for start, piece in out if piece.text]


def _within(pieces: Sequence[tuple[int, Piece]], start: int, end: int) -> tuple[Piece, ...]:
    cut = []
    for at, piece in pieces:
        low, high = max(at, start), min(at + len(piece.text), end)
        if low < high:
            cut.append(Piece(piece.text[low - at : high - at], piece.verdict, piece.note))
    return tuple(cut)


def completed(
    text: str, side: Side, marks: Sequence[Mark], table: SmallTable | None, space: SentenceSpace
) -> list[Mark]:
    """Return a side's marks, and one for each sentence without a mark that a judged statement was taken from.

    table: RadFact's statements, (direction, statement, verdict, …) a row. Where a statement does not stand in the text
    in its own words the metric marks no place; it is put to the most similar sentence, if that is at least `SOURCE`
    to it. A sentence with statements of several verdicts is "mixed".
    """
    free = [(a, b) for a, b in spans(text) if not any(mark.start < b and a < mark.end for mark in marks)]
    said = _judged(table, side)
    if not free or not said:
        return list(marks)
    similarity = space.similarity([statement for statement, _ in said], [text[a:b] for a, b in free])
    found: dict[int, list[str]] = {}
    for (_, kind), row in zip(said, similarity, strict=True):
        if row.max() >= SOURCE:
            found.setdefault(int(row.argmax()), []).append(kind)
    more = [
        Mark(side, *free[place], kinds[0] if len(set(kinds)) == 1 else "mixed", ", ".join(kinds))
        for place, kinds in found.items()
    ]
    return [*marks, *more]


def _judged(table: SmallTable | None, side: Side) -> list[tuple[str, str]]:
    """Return (statement, verdict) of one side's statements; [] where the table is not one of statements."""
    if table is None or table.headings[:3] != ("direction", "statement", "verdict"):
        return []
    return [(row[1], row[2]) for row in table.rows if row[0] == DIRECTIONS[side]]


def alike(sentence: str, descriptions: Sequence[str], space: SentenceSpace) -> bool:
    """Return whether a sentence says what one of the descriptions' sentences says."""
    return bool(descriptions) and bool(space.similarity([sentence], descriptions).max() >= ALIKE - 1e-9)
