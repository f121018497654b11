"""The words of change and how they are found.

Source of the list: Bannur et al. 2023 (BioViL-T, https://arxiv.org/abs/2301.04558, appendix), as
https://github.com/X-iZhang/Libra (libra/eval/temporal_f1.py) and https://github.com/jbdel/RadEval use it.
"""

from __future__ import annotations

import re

_LIST = (
    "bigger change cleared constant decrease decreased decreasing elevated elevation enlarged enlargement enlarging "
    "expanded greater growing improved improvement improving increase increased increasing larger new persistence "
    "persistent persisting progression progressive reduced removal resolution resolved resolving smaller stability "
    "stable stably unchanged unfolded worse worsen worsened worsening unaltered"
)
WORDS = frozenset(_LIST.split())
PATTERN = re.compile(rf"\b(?:{'|'.join(sorted(WORDS))})\b", re.IGNORECASE)
_LINES, _DASHES, _ODD, _BLANKS = (re.compile(p) for p in (r"\n+", r"[_-]+", r"[^\w\s.,:;()-]", r"\s{2,}"))


def cleaned(text: str) -> str:
    """Return a text as the words are looked for: lines joined, dashes and blanks one blank, odd characters gone.

    A slash goes without a blank in its place, as in the reference implementation: "stable/unchanged" becomes one word.
    """
    text = _ODD.sub("", _DASHES.sub(" ", _LINES.sub(" ", text)))
    return _BLANKS.sub(" ", text).strip()


def found(text: str) -> set[str]:
    """Return the words of change of a text, in lower case."""
    return {match.group().lower() for match in PATTERN.finditer(cleaned(text).lower())}
