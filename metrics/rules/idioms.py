"""The phrases of a sentence: those of the lexicon, and turns of speech that follow a pattern rather than a list.

Patterns come first where both fit: "no appreciable change in" is no denial, "not seen on the prior study" neither, and
"right upper and left lower lobe" names two lobes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from metrics.rules.tables import Match, Roles, load
from metrics.rules.words import bag

_PSEUDO: Roles = {"trigger": "pseudo"}
_HIDDEN: Roles = {}
"""Of a phrase whose words must not be read one by one."""
_CHANGE_NOUNS = bag(
    "change increase decrease improvement worsening progression resolution reduction growth clearing difference "
    "regression deterioration"
)
_ASPECTS = bag(
    "appearance size extent position degree amount severity volume distribution number configuration burden "
    "conspicuity prominence location"
)
_JOINS = frozenset({",", "and", "or", "nor", "with", "but", ":", ";", ".", "(", ")", "/", "&"})
_LONGEST_DENIAL = 8
_COMPARED = bag("larger greater worse bigger smaller less more")
_HOW = bag("prominent extensive severe marked pronounced confluent conspicuous so")
_SIDES = frozenset({"left", "right"})
_LEVELS = {"upper": "upper_lung", "mid": "mid_lung", "middle": "mid_lung", "lower": "lower_lung"}
_LEVEL_NAMES = {"upper": "upper lobe", "mid": "mid lung", "middle": "middle lobe", "lower": "lower lobe"}
_LEVEL_NOUNS = frozenset({"lobe", "lung", "zone", "field", "lobar"})
_PARTLY = bag("largely mostly mainly substantially partially partly nearly almost incompletely predominantly")
_WHOLLY = frozenset({"completely", "entirely", "fully", "yet"})
_GONE = frozenset({"resolved", "cleared", "resolution", "clearing"})
_FIT = frozenset({"right", "appropriate", "correct", "proper"})
_CONTEXT = frozenset({"context", "setting", "circumstance", "scenario", "picture"})
_ON_A_STUDY = bag("on in at the a any that this most recent immediate immediately")
_EARLIER = bag("prior previous previously earlier before preceding")
_MOVED = frozenset({"withdrawn", "pulled", "retracted", "removed"})
_PARTWAY = bag("by slightly to into back somewhat about approximately")
_MODALS = bag("should could can may might must to would")
_UNITS = {"mm": 0.1, "millimeter": 0.1, "cm": 1.0, "centimeter": 1.0}
"""Unit → its centimetres."""

_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?)([a-z]*)")

Lemmas = tuple[str, ...]


def match(lemmas: Lemmas) -> list[Match]:
    """Return the phrases found from left to right, the longest at each word; no two overlap."""
    found: list[Match] = []
    at, n = 0, len(lemmas)
    while at < n:
        pattern = _PATTERNS.get(lemmas[at])
        here = (pattern(lemmas, at) if pattern else None) or _phrase(lemmas, at) or _size(lemmas, at)
        if here is None:
            at += 1
        else:
            found.append(here)
            at = here.end
    return found


def _phrase(lemmas: Lemmas, at: int) -> Match | None:
    """Return the lexicon's longest phrase at a word, its reach put right by what stands around it."""
    for rest, roles in load().phrases.get(lemmas[at], ()):
        end = at + 1 + len(rest)
        if lemmas[at + 1 : end] == rest:
            return _in_context(lemmas, Match(at, end, roles))
    return None


def _in_context(lemmas: Lemmas, m: Match) -> Match:
    if m.roles.get("trigger") != "neg<":
        return m
    if lemmas[m.start] in ("not", "absent") and (end := _earlier(lemmas, m.end)):
        return Match(m.start, end, _PSEUDO)
    if lemmas[m.end - 1] in _MOVED and _stays(lemmas, m):
        return Match(m.start, m.end, _PSEUDO)
    return m


def _earlier(lemmas: Lemmas, at: int) -> int:
    """Return the end of "on the prior", "previously" at a word, else 0."""
    while at < len(lemmas) and lemmas[at] in _ON_A_STUDY:
        at += 1
    return at + 1 if at < len(lemmas) and lemmas[at] in _EARLIER else 0


def _stays(lemmas: Lemmas, m: Match) -> bool:
    """Tell whether what was moved is still there ("withdrawn by 3 cm") or only to be moved ("should be removed")."""
    after = lemmas[m.end : m.end + 1]
    if lemmas[m.end - 1] != "removed" and after and (after[0] in _PARTWAY or after[0].isdigit()):
        return True
    before = [word for word in lemmas[max(m.start - 2, 0) : m.end] if word in _MODALS or word in ("be", "partially")]
    return len(before) > 1 or "partially" in before


def _no(lemmas: Lemmas, at: int) -> Match | None:
    """Read "no appreciable change in the size of", and "no" as the answer in "effusion: no"."""
    after = lemmas[at + 1 : at + 2]
    if (
        lemmas[at] == "no"
        and at
        and (not after or after[0] in (".", ";") or (after[0] == "," and _answers(lemmas, at)))
    ):
        return Match(at, at + 1, {"trigger": "neg<"})
    end = at + 1
    while end < min(at + _LONGEST_DENIAL, len(lemmas)) and lemmas[end] not in _JOINS:
        if lemmas[end] in _CHANGE_NOUNS and lemmas[end + 1 : end + 2] in (("in",), ("of",)):
            same = {"change": "same"} if lemmas[end] in ("change", "difference") else {}
            return Match(at, _aspect(lemmas, end + 2), {**_PSEUDO, **same})
        if _names(lemmas, end):
            return None
        end += 1
    return None


def _answers(lemmas: Lemmas, at: int) -> bool:
    return lemmas[at - 1] == ":"


def _names(lemmas: Lemmas, at: int) -> bool:
    """Tell whether a finding, an anatomy or a side begins at a word."""
    m = _phrase(lemmas, at)
    return m is not None and bool({"finding", "anatomy", "side"} & m.roles.keys())


def _aspect(lemmas: Lemmas, at: int) -> int:
    """Return the end of "the size of" at a word, or the word."""
    end = at + 1 if lemmas[at : at + 1] == ("the",) else at
    while end < len(lemmas) and lemmas[end] in _ASPECTS:
        end += 1
        if lemmas[end : end + 1] == ("of",):
            return end + 1
        if lemmas[end : end + 1] in (("and",), ("or",)):
            end += 1
    return at


def _compared(lemmas: Lemmas, at: int) -> Match | None:
    """Read "larger on the left" and "greater than the left", which compare sides and not studies."""
    end = at + 2 if lemmas[at + 1 : at + 2] and lemmas[at + 1] in _HOW else at + 1
    if lemmas[end : end + 1] not in (("on",), ("than",), ("at",)):
        return None
    end += 1
    while lemmas[end : end + 1] in (("on",), ("the",)):
        end += 1
    if not lemmas[end : end + 1] or lemmas[end] not in _SIDES:
        return None
    following = lemmas[end + 1 : end + 2]
    if following == ("side",):
        end += 1
    elif following == ("than",):
        rest = end + 2
        while lemmas[rest : rest + 1] in (("on",), ("the",)):
            rest += 1
        if lemmas[rest : rest + 1] and lemmas[rest] in _SIDES:
            end = rest
    elif following and _names(lemmas, end + 1):
        return None
    return Match(at, end + 1, {"side": "bilateral"})


def _elided(lemmas: Lemmas, at: int) -> Match | None:
    """Read the first "lobe" in "right upper and left lower lobe"."""
    end = at + 1
    if lemmas[end : end + 1] not in (("and",), ("or",), ("/",), (",",)):
        return None
    end += 1
    if lemmas[end : end + 1] and lemmas[end] in _SIDES:
        end += 1
    if not lemmas[end : end + 1] or lemmas[end] not in _LEVELS:
        return None
    if (lemmas[end + 1 : end + 2] and lemmas[end + 1] in _LEVEL_NOUNS) or _elided(lemmas, end):
        return Match(at, at + 1, {"anatomy": _LEVELS[lemmas[at]], "text": _LEVEL_NAMES[lemmas[at]]})
    return None


def _partly(lemmas: Lemmas, at: int) -> Match | None:
    """Read "largely resolved", "almost completely cleared", "not yet resolved": what is said of is still there."""
    end = at + 1
    if lemmas[at] == "not" and not (lemmas[end : end + 1] and lemmas[end] in _WHOLLY):
        return None
    while end < len(lemmas) and lemmas[end] in _WHOLLY:
        end += 1
    if end >= len(lemmas) or lemmas[end] not in _GONE:
        return None
    end += 2 if lemmas[end + 1 : end + 2] == ("of",) else 1
    return Match(at, end, _PSEUDO if lemmas[at] == "not" else {**_PSEUDO, "change": "better"})


def _fitting(lemmas: Lemmas, at: int) -> Match | None:
    """Read "right clinical context", which is no side."""
    if lemmas[at + 1 : at + 2] == ("clinical",) and lemmas[at + 2 : at + 3] and lemmas[at + 2] in _CONTEXT:
        return Match(at, at + 3, _HIDDEN)
    return None


_PATTERNS: Mapping[str, Callable[[Lemmas, int], Match | None]] = {
    **dict.fromkeys(("no", "without"), _no),
    **dict.fromkeys(_COMPARED, _compared),
    **dict.fromkeys(_LEVELS, _elided),
    **dict.fromkeys((*_PARTLY, "not"), _partly),
    **dict.fromkeys(_FIT, _fitting),
}
"""First word → pattern."""


# ------------------------------------------------------------------ sizes


def _number(lemmas: Lemmas, at: int) -> tuple[float, str, int] | None:
    """Return a decimal number at a word, the unit written onto it or after it (or "") and their end."""
    text, end = "", at
    for word in lemmas[at : at + 3]:
        if word == "." and not (text.isdigit() and lemmas[end + 1 : end + 2] and lemmas[end + 1][0].isdigit()):
            break
        if word != "." and (not word[0].isdigit() or (text and text[-1] != ".")):
            break
        text, end = text + word, end + 1
    parts = _NUMBER.fullmatch(text)
    if parts is None:
        return None
    digits, unit = parts.groups()
    if not unit and lemmas[end : end + 1] and lemmas[end] in _UNITS:
        unit, end = lemmas[end], end + 1
    return (float(digits), unit, end) if not unit or unit in _UNITS else None


def _size(lemmas: Lemmas, at: int) -> Match | None:
    """Read a length or extent: "9 mm", "2.5 x 1 cm", "4 cm above the carina". Its value is in centimetres."""
    if not lemmas[at][0].isdigit():
        return None
    numbers: list[tuple[float, str]] = []
    end = at
    while len(numbers) < 3 and (read := _number(lemmas, end)):
        numbers.append(read[:2])
        end = read[2]
        if lemmas[end : end + 1] not in (("x",), ("by",), ("×",)):
            break
        end += 1
    unit = numbers[-1][1] if numbers else ""
    if not unit:
        return None
    lengths = sorted((value * _UNITS[own or unit] for value, own in numbers), reverse=True)
    size = " x ".join(f"{length:.4g}" for length in lengths) + " cm"
    after = tuple(word for word in lemmas[end : end + 3] if word != "the")[:2]
    if after in (("above", "carina"), ("from", "carina")):
        size += " above the carina"
        return Match(at, lemmas.index("carina", end) + 1, {"kind": size, "distance": size})
    return Match(at, end, {"kind": size, "size": size})
