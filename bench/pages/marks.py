"""Texts cut at the marks of a metric, whatever they are: overlapping, nested, empty, or beside the text."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from bench.contracts import Mark

Verdict = Literal["agree", "differ", "partly", "unknown"]
_VERDICTS: Mapping[str, Verdict] = {
    "entailed": "agree",
    "match": "agree",
    "exact": "agree",
    "stem": "agree",
    "synonym": "agree",
    "not entailed": "differ",
    "unmatched": "differ",
    "extra": "differ",
    "missed": "differ",
    "mixed": "partly",
    "partial": "partly",
}
HUES = 6
"""Ways to draw kinds whose names say nothing of a verdict."""


def verdict(kind: str) -> Verdict:
    """Return how a mark of a kind is drawn: agreed by the other text, not found there, partly, or no verdict."""
    if kind.endswith("-gram"):
        return "partly" if kind == "1-gram" else "agree"
    return _VERDICTS.get(kind, "unknown")


def style(kind: str) -> str:
    """Return the class of a kind's marks: by its verdict, or one of `HUES` that is the same on every page."""
    if (found := verdict(kind)) != "unknown":
        return f"v-{found}"
    return f"v-unknown hue-{hashlib.sha256(kind.encode(errors='surrogatepass')).digest()[0] % HUES}"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A piece of a text that the same marks cover."""

    text: str
    marks: tuple[Mark, ...] = ()
    """The narrowest first."""
    begins: bool = False
    """Whether the narrowest one begins here, and does not only go on."""

    @property
    def classes(self) -> str:
        """The classes it is drawn by: the narrowest mark's, and "more" where others lie below it."""
        return style(self.marks[0].kind) + (" more" if len(self.marks) > 1 else "") + (" begins" * self.begins)

    @property
    def notes(self) -> str:
        """What its marks say, a line each."""
        return "\n".join(dict.fromkeys(mark.note or mark.kind for mark in self.marks))


def clipped(marks: Iterable[Mark], n: int) -> list[Mark]:
    """Return the marks within a text of n characters, cut where they reach over its ends; empty ones are left out."""
    found = [Mark(m.side, max(m.start, 0), min(m.end, n), m.kind, m.note) for m in marks]
    return [mark for mark in found if mark.start < mark.end]


def cut(text: str, marks: Iterable[Mark]) -> list[Stretch]:
    """Cut a text wherever a mark begins or ends; joined, the stretches are the text. O(n marks · stretches)."""
    inside = sorted(clipped(marks, len(text)), key=lambda m: (m.end - m.start, m.start))
    places = sorted({0, len(text), *(m.start for m in inside), *(m.end for m in inside)})
    stretches = []
    for start, end in pairwise(places):
        over = tuple(m for m in inside if m.start <= start and end <= m.end)
        stretches.append(Stretch(text[start:end], over, bool(over) and over[0].start == start))
    return stretches


@dataclass(frozen=True, slots=True)
class Legend:
    """What the marks of one kind are, and how many there are on each side."""

    kind: str
    classes: str
    candidate: int
    reference: int


def legend(candidate: Sequence[Mark], reference: Sequence[Mark]) -> list[Legend]:
    """Return the kinds of marks in the order they first stand in the texts, the report's first."""
    counts = [Counter(mark.kind for mark in side) for side in (candidate, reference)]
    ordered = [mark.kind for side in (candidate, reference) for mark in sorted(side, key=lambda m: m.start)]
    return [Legend(kind, style(kind), counts[0][kind], counts[1][kind]) for kind in dict.fromkeys(ordered)]
