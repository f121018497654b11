"""WordNet 3.0's synonyms, read from this package's own tables: the part of WordNet that METEOR asks for.

The tables load in a fraction of a second and answer exactly as nltk's WordNet reader over the full database does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from metrics.data_files import lines

POS = "nvar"
"""Noun, verb, adjective (satellites included), adverb: the order does not matter, synonyms are a set."""

SUFFIXES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "n": (
        ("s", ""),
        ("ses", "s"),
        ("ves", "f"),
        ("xes", "x"),
        ("zes", "z"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("men", "man"),
        ("ies", "y"),
    ),
    "v": (("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")),
    "a": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "r": (),
}
"""Rules of detachment, WordNet's morphy(7WN), with nltk's "ves"."""


class WordNet:
    """Synonyms of words.

    `synsets`: lines "n00001740 entity", `exceptions`: lines "n aardwolves aardwolf" (see data/build.py).
    """

    def __init__(self, synsets: Iterable[str], exceptions: Iterable[str]) -> None:
        self._names: list[tuple[str, ...]] = []
        self._index: defaultdict[str, list[int]] = defaultdict(list)
        for number, line in enumerate(synsets):
            key, *words = line.split(" ")
            self._names.append(tuple(word for word in words if "_" not in word))
            for word in words:
                self._index[key[0] + word.lower()].append(number)
        self._bases = {(pos, form): bases for pos, form, *bases in map(str.split, exceptions)}
        self._known: dict[str, frozenset[str]] = {}

    def synonyms(self, word: str) -> frozenset[str]:
        """Return the one-word names, as WordNet spells them, of every synset of every base form of `word`."""
        found = self._known.get(word)
        if found is None:
            found = self._known[word] = frozenset(self._look_up(word.lower()))
        return found

    def _look_up(self, word: str) -> Iterator[str]:
        for pos in POS:
            for form in {word, *self._base_forms(pos, word)}:
                for number in self._index.get(pos + form, ()):
                    yield from self._names[number]

    def _base_forms(self, pos: str, word: str) -> Iterable[str]:
        """Return candidates for the base form; those that are no lemma are harmless."""
        bases = self._bases.get((pos, word))
        if bases is not None:
            return bases
        return [word[: -len(old)] + new for old, new in SUFFIXES[pos] if word.endswith(old)]


@cache
def wordnet() -> WordNet:
    """Return WordNet 3.0, read on first use."""
    return WordNet(lines("wordnet-synsets"), lines("wordnet-exceptions"))
