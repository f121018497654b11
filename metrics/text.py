"""Tokens of texts, as nltk makes them, and where in the text they stand."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Any

from metrics.data_files import lines

Span = tuple[int, int]

PLAIN = re.compile(r"(?:[A-Za-z0-9]+(?:[-./][A-Za-z0-9]+)*,? )*[A-Za-z0-9]+(?:[-./][A-Za-z0-9]+)*\.?")
"""Words and numbers with single blanks, commas before a blank, at most one period at the end."""
CONTRACTED = re.compile("cannot|gimme|gonna|gotta|lemme|wanna", re.IGNORECASE)
"""Words that nltk's tokeniser takes apart though they hold no apostrophe."""

_QUOTES = {"``": '"', "''": '"'}
"""What nltk's word tokeniser writes for a double quote that opens or closes."""


@cache
def sentence_splitter() -> Any:
    """Return nltk's Punkt sentence tokeniser with the English parameters of this package (no nltk_data needed)."""
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer

    tables: defaultdict[str, list[list[str]]] = defaultdict(list)
    for line in lines("punkt-english"):
        table, *fields = line.split("\t")
        tables[table].append(fields)
    parameters = PunktParameters()
    parameters.abbrev_types = {word for (word,) in tables["abbreviation"]}
    parameters.sent_starters = {word for (word,) in tables["starter"]}
    parameters.collocations = {(first, second) for first, second in tables["collocation"]}
    parameters.ortho_context = defaultdict(int, {word: int(flags) for word, flags in tables["context"]})
    splitter = PunktSentenceTokenizer()
    splitter._params = parameters  # what nltk's own PunktTokenizer does after reading the same tables
    return splitter


@cache
def _word_splitter() -> Callable[[str], list[str]]:
    from nltk.tokenize.destructive import NLTKWordTokenizer

    split: Callable[[str], list[str]] = NLTKWordTokenizer().tokenize
    return split


@lru_cache(maxsize=1 << 16)
def _words(sentence: str) -> tuple[str, ...]:
    """Return the tokens of one sentence; cached, since reports share most of their sentences.

    Of nltk's some forty substitutions a plain sentence meets only those for commas and for the final period.
    """
    if PLAIN.fullmatch(sentence) and not CONTRACTED.search(sentence):
        body, period = (sentence[:-1], (".",)) if sentence.endswith(".") else (sentence, ())
        return (*body.replace(",", " ,").split(" "), *period)
    return tuple(_word_splitter()(sentence))


def word_tokenize(text: str) -> list[str]:
    """Return what ``nltk.word_tokenize(text)`` returns, without its data folder and with sentences cached."""
    return [token for sentence in sentence_splitter().tokenize(text) for token in _words(sentence)]


@cache
def _stemmer() -> Callable[[str], str]:
    from nltk.stem.porter import PorterStemmer

    stem: Callable[[str], str] = PorterStemmer().stem
    return stem


@lru_cache(maxsize=1 << 17)
def stem(word: str) -> str:
    """Return nltk's Porter stem (its default mode with extensions), cached."""
    return _stemmer()(word)


@cache
def nltk_version() -> str:
    """Return the installed nltk's version, for signatures: its tokeniser and stemmer are used as they are."""
    return version("nltk")


def spans(text: str, tokens: Sequence[str]) -> list[Span | None]:
    """Return where each token stands in `text`, searched from left to right; None where it cannot be found.

    A token that its tokeniser rewrote (an opening quote, an HTML entity) may have no place; the others keep theirs.
    """
    found: list[Span | None] = []
    cursor = 0
    for token in tokens:
        places = [(text.find(form, cursor), len(form)) for form in {token, _QUOTES.get(token, token)}]
        start, length = min((place for place in places if place[0] >= 0), default=(-1, 0))
        found.append((start, start + length) if start >= 0 else None)
        cursor = start + length if start >= 0 else cursor
    return found


def runs(places: Sequence[Span | None], groups: Sequence[str | None]) -> Iterable[tuple[int, int, str]]:
    """Yield (start, end, group) of each maximal run of neighbouring tokens of one group; group None is left out.

    `places`, `groups`: one entry a token.
    """
    start = end = 0
    current: str | None = None
    for place, group in zip(places, groups, strict=True):
        if place is not None and group is not None and group == current:
            end = place[1]
            continue
        if current is not None:
            yield start, end, current
        current = group if place is not None else None
        start, end = place or (0, 0)
    if current is not None:
        yield start, end, current
