"""A report's sentences as SRR-BERT's evaluation takes them: numbers of lists away, then Punkt."""

from __future__ import annotations

import re

from metrics.text import sentence_splitter

_NUMBER = r"\d+\.(?!\d)"
"""A number with a period that is no decimal point: "2." but not "3.5"."""
_RULES = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        (rf"^\s*{_NUMBER}\s*", ""),  # at the beginning
        (rf"(\w)\.{_NUMBER}\s*", r"\1. "),  # "word.2. "
        (rf"(\w){_NUMBER}\s*", r"\1. "),  # "word2. "
        (rf"(\w)\s+{_NUMBER}\s*", r"\1. "),  # "word 2. "
        (rf"([.!?])\s*{_NUMBER}\s*", r"\1 "),  # ". 2. word"
        (r"\.([A-Z])", r". \1"),  # a sentence that begins without a blank
    )
)
"""Source of the substitutions and their order: srr_bert_parse_sentences of https://github.com/jbdel/RadEval."""


def sentences(text: str) -> list[str]:
    """Return the sentences of a report, at least one: an empty text is the sentence "."."""
    for pattern, instead in _RULES:
        text = pattern.sub(instead, text)
    if not text.strip().endswith((".", "!", "?")):
        text = f"{text.strip()}."
    found: list[str] = sentence_splitter().tokenize(text)
    return found
