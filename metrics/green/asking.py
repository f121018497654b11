"""What GREEN's model is asked, and how its answer is read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

SIGNIFICANT, INSIGNIFICANT = "Clinically Significant Errors", "Clinically Insignificant Errors"
MATCHED, EXPLANATION = "Matched Findings", "Explanation"
ERRORS = (
    "(a) False report of a finding in the candidate",
    "(b) Missing a finding present in the reference",
    "(c) Misidentification of a finding's anatomic location/position",
    "(d) Misassessment of the severity of a finding",
    "(e) Mentioning a comparison that isn't in the reference",
    "(f) Omitting a comparison detailing a change from a prior study",
)
"""Kinds of error, as the model was trained to name them (https://github.com/Stanford-AIMI/GREEN, green_score)."""
_LETTERS, _NUMBERS = re.compile(r"\(([a-f])\) .*"), re.compile(r"\(([1-6])\) .*")
"""A line of a section of errors; other models than GREEN's number the kinds."""
_COUNT, _MATCHED = re.compile(r"(?<=: )\b\d+\b(?=\.)"), re.compile(r"\d+\b(?=\.)")


class Malformed(Exception):
    """An answer that cannot be counted; the text says why."""


@cache
def _template() -> str:
    return (files("metrics.green") / "prompt.txt").read_text(encoding="utf-8")


def prompt(reference: str, candidate: str, max_words: int | None) -> str:
    """Return the question about a pair, word for word as the model was trained with it.

    White space is folded, and what goes beyond `max_words` words of a report is left out, as in the published code.
    """
    return _template().format(reference=_folded(reference, max_words), candidate=_folded(candidate, max_words))


def _folded(text: str, max_words: int | None) -> str:
    return " ".join(text.split()[:max_words])


@dataclass(frozen=True, slots=True)
class Counted:
    """What an answer says of a pair."""

    matched: int
    significant: tuple[int, ...]
    """Errors of the kinds (a) to (f)."""
    insignificant: tuple[int, ...]
    """The same of those that do not matter; zeros where the answer does not list them. Not part of the score."""
    explanation: str
    listed: str
    """The matched findings in the model's words."""

    @property
    def score(self) -> float:
        """Matched / (matched + significant errors), in [0, 1]; 0 where nothing matches."""
        return self.matched / (self.matched + sum(self.significant)) if self.matched else 0.0


def read(answer: str) -> Counted:
    """Return the counts of an answer.

    Where an answer follows the format they equal those of parse_error_counts of the published code. That counts 0 for
    a section that is missing or has no number; here it raises Malformed.
    """
    text = answer.rpartition("<|assistant|>")[2].replace("</s>", "").replace("<unk>", "")
    before, _, text = text.rpartition(f"[{EXPLANATION}]:")
    matched = _body(text, MATCHED)
    return Counted(
        matched=_number(matched),
        significant=_counts(_body(text, SIGNIFICANT)),
        insignificant=_lenient(text, INSIGNIFICANT),
        explanation=" ".join((text if _ else before + text).partition("[")[0].split()),
        listed=" ".join(matched.split()),
    )


def _body(text: str, section: str) -> str:
    """Return what stands under a heading, up to a blank line or the end. Raises Malformed."""
    found = re.search(rf"\[{section}\]:\s*(.*?)(?:\n\s*\n|\Z)", text, re.DOTALL)
    if found is None:
        raise Malformed(f"the answer has no section [{section}]")
    if not found[1].strip() or found[1].startswith("["):
        raise Malformed(f"the section [{section}] is empty")
    return found[1]


def _number(body: str) -> int:
    if body.startswith("No"):
        return 0
    if (found := _MATCHED.match(body)) is None:
        raise Malformed(f"the section [{MATCHED}] does not begin with a number and a period")
    return int(found[0])


def _counts(body: str) -> tuple[int, ...]:
    """Return the errors of each kind: none of one that is not listed, the last of one that is listed twice."""
    if body.startswith("No"):
        return (0,) * len(ERRORS)
    counts = dict.fromkeys(range(len(ERRORS)), 0)
    lines = list(_LETTERS.finditer(body)) or list(_NUMBERS.finditer(body))
    read = [(line[1], int(n[0])) for line in sorted(lines, key=lambda m: m[0]) if (n := _COUNT.search(line[0]))]
    if not read:
        raise Malformed("a section of errors has no line '(a) kind of error: number. …' and does not say that none is")
    counts.update(("abcdef".find(mark) if mark.isalpha() else int(mark) - 1, n) for mark, n in read)
    return tuple(counts.values())


def _lenient(text: str, section: str) -> tuple[int, ...]:
    try:
        return _counts(_body(text, section))
    except Malformed:
        return (0,) * len(ERRORS)
