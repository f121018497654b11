"""Sentences, tokens and lemmas of report text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache


def bag(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


TOKEN = re.compile(r"\w+|[^\w\s]")
"""A token: a run of letters and digits, or one other mark. Joined by blanks, tokens are an annotation's `text`."""

LONGEST = 256
"""Tokens that a sentence has at most."""

_END = re.compile(r"(?<=[.!?;])(?<!\bvs\.)(?<!\bDr\.)(?<!\bdr\.)\s+|(?<=[a-z)]\.)(?=[A-Z])|\n\s*\n")

_IRREGULAR = {
    "apices": "apex", "pneumothoraces": "pneumothorax", "hydropneumothoraces": "hydropneumothorax",
    "vertebrae": "vertebra", "sulci": "sulcus", "hila": "hilum", "bronchi": "bronchus", "bullae": "bulla",
    "metastases": "metastasis", "atelectases": "atelectasis", "hemithoraces": "hemithorax", "bases": "base",
    "prostheses": "prosthesis", "emphysemas": "emphysema", "vertebras": "vertebra", "pleurae": "pleura",
    "opacites": "opacity", "sequelae": "sequela", "discs": "disc", "lungs": "lung", "oedema": "edema",
    "tumour": "tumor", "tumours": "tumor", "haemothorax": "hemothorax", "fibroses": "fibrosis", "axis": "axis",
    "cardio": "cardio", "diaphragms": "diaphragm", "apexes": "apex", "plates": "plate", "dilatation": "dilatation",
    "tuberculous": "tuberculosis", "scarlike": "scarlike", "abscesses": "abscess", "calcifications": "calcification",
    "pneumonias": "pneumonia", "hemidiaphragms": "hemidiaphragm", "centimeters": "cm", "millimeters": "mm",
    "oesophagus": "esophagus", "colour": "color",
}  # fmt: skip
_KEPT = bag("is was has as this his its us plus versus vs does less across always")


@lru_cache(maxsize=1 << 15)
def lemma(word: str) -> str:
    """Return a word in lower case, a plural as its singular."""
    word = word.lower()
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) < 4 or not word.endswith("s") or word in _KEPT or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("sses", "xes")) else word[:-1]


def sentences(text: str) -> Iterator[str]:
    """Yield a text's sentences; together they hold all its tokens, in order.

    What goes on for more than `LONGEST` tokens is cut there: reading takes the square of a sentence's length.
    """
    start = 0
    for found in _END.finditer(text):
        if part := text[start : found.start()].strip():
            yield from _cut(part)
        start = found.end()
    if part := text[start:].strip():
        yield from _cut(part)


def _cut(sentence: str) -> Iterator[str]:
    if len(sentence) <= LONGEST:
        yield sentence
        return
    starts = [token.start() for token in TOKEN.finditer(sentence)][::LONGEST]
    for start, end in zip(starts, [*starts[1:], len(sentence)], strict=True):
        yield sentence[start:end].strip()


@dataclass(frozen=True, slots=True)
class Words:
    """A sentence without its hyphens."""

    tokens: tuple[str, ...]
    """All tokens as written."""
    lemmas: tuple[str, ...]
    at: tuple[int, ...]
    """Word → token."""


def words(sentence: str) -> Words:
    """Take a sentence apart."""
    tokens = tuple(TOKEN.findall(sentence))
    at = tuple(i for i, token in enumerate(tokens) if token != "-")
    return Words(tokens, tuple(lemma(tokens[i]) for i in at), at)
