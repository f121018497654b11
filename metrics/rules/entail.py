"""Whether statements of one side bear out a statement of the other: the rule-based judge.

A statement follows from another where that one is of the same finding or a less general one (a denial: or a more
general one), of the same status, and where the statement is nowhere more specific than what it follows from. "Effusion"
follows from "small left effusion", and not the other way round; "no consolidation" follows from "the lungs are clear",
"no large effusion" from "no effusion". What is only possible follows from what is possible or there, and what is there
does not follow from what is only possible; what is unlikely follows only from what is unlikely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from metrics.rules.reading import Statement, read
from metrics.rules.scope import ABSENT, PRESENT, UNCERTAIN
from metrics.rules.tables import load
from metrics.rules.words import bag, words

_EMPTY = bag("the a an is are was there of in and or , . : ; seen noted present this be been")
_DENIALS = bag("no not without none")


@lru_cache(maxsize=1 << 15)
def statements(text: str) -> tuple[Statement, ...]:
    """Return the statements of a phrase or text, in order."""
    return tuple(dict.fromkeys(s for sentence in read(text) for s in sentence.statements))


def follows(claim: Statement, basis: Statement) -> bool:
    """Tell whether a statement follows from another one alone."""
    if claim.status == ABSENT:
        return basis.status == ABSENT and _narrower(claim, basis) and basis.finding in _above(claim.finding)
    if claim.unlikely or basis.unlikely:
        return claim.unlikely and basis.unlikely and claim.finding in _above(basis.finding) and _narrower(basis, claim)
    allowed = (PRESENT,) if claim.status == PRESENT else (PRESENT, UNCERTAIN)
    return basis.status in allowed and claim.finding in _above(basis.finding) and _narrower(basis, claim)


def _above(finding: str) -> frozenset[str]:
    return load().concepts[finding].above


def _narrower(narrow: Statement, wide: Statement) -> bool:
    """Tell whether `narrow` has every qualifier of `wide`."""
    return (
        wide.side in ("", narrow.side)
        or (narrow.side == "bilateral" and wide.side in ("left", "right") and narrow.status != ABSENT)
        or (wide.side == "bilateral" and narrow.side in ("left", "right") and narrow.status == ABSENT)
    ) and (
        wide.grade in ("", narrow.grade)
        and wide.change in ("", narrow.change)
        and wide.kinds <= narrow.kinds
        and wide.places <= narrow.places
    )


def _one(claim: Statement, others: Sequence[str]) -> list[str]:
    """Return the phrases that bear out a statement, the fewest that do."""
    for other in others:
        if any(follows(claim, basis) for basis in statements(other)):
            return [other]
    if claim.side == "bilateral" or (claim.side == "" and claim.status == ABSENT):
        halves = [_one(replace(claim, side=side), others) for side in ("left", "right")]
        if all(halves):
            return [*halves[0], *halves[1]]
    return []


def entails(phrase: str, others: Sequence[str]) -> tuple[bool, tuple[str, ...]]:
    """Return whether `others` bear out `phrase`, and those of them that do, as given and in their order.

    A phrase with several statements is borne out where each of them is. One in which the reader finds no statement is
    borne out by a phrase that holds all its words.
    """
    claims = statements(phrase)
    if not claims:
        found = [other for other in others if _same_words(phrase, other)][:1]
        return bool(found), tuple(found)
    evidence: set[str] = set()
    for claim in claims:
        one = _one(claim, others)
        if not one:
            return False, ()
        evidence.update(one)
    return True, tuple(other for other in dict.fromkeys(others) if other in evidence)


@lru_cache(maxsize=1 << 15)
def _content(phrase: str) -> frozenset[str]:
    return frozenset(words(phrase).lemmas) - _EMPTY


def _same_words(phrase: str, other: str) -> bool:
    mine, theirs = _content(phrase), _content(other)
    return bool(mine) and mine <= theirs and (mine & _DENIALS == theirs & _DENIALS)
