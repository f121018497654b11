"""How statements and reports are compared: folded, so that what a model copies may differ in case and spacing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from bench.llm.schema import encodable

_END = ".:;,!? "
_WORD = re.compile(r"\w+", re.UNICODE)


def fold(text: str) -> str:
    """Return a text without case, runs of white space, the punctuation at its end, and lone surrogates."""
    return " ".join(encodable(text).casefold().split()).rstrip(_END)


def letters(text: str) -> str:
    """Return the letters and digits of a text alone, without case: what a copied sentence must keep."""
    return "".join(_WORD.findall(text.casefold())).replace("_", "")


def by_fold(texts: Iterable[str]) -> dict[str, str]:
    """Return folded text → text, the first of equal ones."""
    found: dict[str, str] = {}
    for text in texts:
        found.setdefault(fold(text), text)
    return found


def words(text: str) -> frozenset[str]:
    """Return the words of a text, without case."""
    return frozenset(_WORD.findall(text.casefold()))


def locate(part: str, text: str) -> tuple[int, int] | None:
    """Return where `part` stands in `text`, its case, spacing and last punctuation aside; None where it does not."""
    bare, text = encodable(part).strip().rstrip(_END), encodable(text)
    if not bare:
        return None
    found = re.search(r"\s+".join(re.escape(word) for word in bare.split()), text, re.IGNORECASE)
    return found.span() if found else None


def covered(parts: Iterable[str], text: str) -> float:
    """Return the share of a text's letters and digits that stand in `parts`, cut out of it; 1 for a text without any.

    A part that stands in the text several times covers one place each time it is given.
    """
    whole = letters(text)
    taken = bytearray(len(whole))
    after: dict[str, int] = {}
    for part in filter(None, map(letters, parts)):
        start = whole.find(part, after.get(part, 0))
        while start >= 0 and taken.find(0, start, start + len(part)) < 0:
            free = taken.find(0, start + len(part))
            start = -1 if free < 0 else whole.find(part, free - len(part) + 1)
        after[part] = len(whole) if start < 0 else start + 1  # what is taken stays so: no place before counts again
        if start >= 0:
            taken[start : start + len(part)] = b"\1" * len(part)
    return sum(taken) / len(whole) if whole else 1.0


def matching(edges: Mapping[int, Sequence[int]]) -> int:
    """Return the size of a largest matching of a bipartite graph, left → rights (augmenting paths)."""
    partner: dict[int, int] = {}

    def place(left: int, seen: set[int]) -> bool:
        for right in edges[left]:
            if right not in seen:
                seen.add(right)
                if right not in partner or place(partner[right], seen):
                    partner[right] = left
                    return True
        return False

    return sum(place(left, set()) for left in edges)
