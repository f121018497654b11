"""The metric: words of change on both sides, an F1 a pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, ClassVar, Literal

from bench.contracts import Column, Context, Floats, Mark, Pair, SmallTable, Stats, Unannotated
from bench.errors import BenchError
from bench.options import Options
from metrics.means import mean, mean_stats
from metrics.temporal_f1 import words

Side = Literal["candidate", "reference"]
OBSERVATIONS = frozenset({"OBSERVATION", "OBSERVATION_MODIFIER"})
"""Types of Stanza's radiology model whose entities may be words of change."""
EPSILON = 1e-10
"""Keeps the reference implementation's quotients finite; kept here so that its values come out."""


class TemporalF1Options(Options):
    """Options of Temporal F1."""

    entities: Literal["stanza", "keywords"] = "stanza"
    """stanza: words found by the pattern or tagged by Stanza, as published. keywords: by the pattern alone, without a
    model. They differ only where cleaning glues a word to another ("stable/unchanged")."""
    annotator: str = "stanza-radiology"
    """Annotator of the entities, where they are asked for."""


def _score(candidate: Set[str] | Unannotated, reference: Set[str] | Unannotated) -> float | None:
    """Return the F1, or None where a side could not be read."""
    if isinstance(candidate, Unannotated) or isinstance(reference, Unannotated):
        return None
    return score(candidate, reference)


def score(candidate: Set[str], reference: Set[str]) -> float:
    """Return the F1 of two sets of words, in [0, 1]; 1 where both are empty, next to 0 where one is."""
    if not reference:
        return EPSILON if candidate else 1.0
    hits = len(candidate & reference) + EPSILON
    precision, recall = hits / (len(candidate) + EPSILON), hits / (len(reference) + EPSILON)
    return 2 * precision * recall / (precision + recall + EPSILON)


class TemporalF1:
    """Temporal F1: the F1 of the words of change (new, stable, worsened …) of both sides, averaged over pairs.

    A pair in which neither side tells of a change counts 1, so an empty report gains where references tell of none.
    """

    Options = TemporalF1Options
    group = "clinical"
    columns: ClassVar[tuple[Column, ...]] = (Column("Temporal-F1", "Temporal-F1"),)

    def __init__(self, options: TemporalF1Options, context: Context) -> None:
        self.options = options
        self._annotator = context.annotator(options.annotator) if options.entities == "stanza" else None

    def signature(self) -> str:
        """Return how words are found. Raises Unavailable where the annotator cannot work here."""
        how = "keywords" if self._annotator is None else f"annotator:{self._annotator.fingerprint()}"
        return f"temporal-f1|{how}|words:{len(words.WORDS)}|v:1"

    def observe(self, pairs: Sequence[Pair]) -> Stats:
        """Return [F1, 1] of each pair; FAILED where a side could not be read."""
        found = self._words([text for pair in pairs for text in (pair.candidate, pair.reference)])
        return mean_stats([_score(*sides) for sides in zip(found[::2], found[1::2], strict=True)])

    def finish(self, totals: Floats) -> Floats:
        """Return the mean over pairs, [..., 2] → [..., 1]."""
        return mean(totals)

    def explain(self, pair: Pair) -> Sequence[Mark | SmallTable]:
        """Mark the words of change by whether the other side has them, and list them."""
        texts: dict[Side, str] = {"candidate": pair.candidate, "reference": pair.reference}
        made = dict(zip(texts, self._words(list(texts.values())), strict=True))
        if failed := tuple((side, one.why) for side, one in made.items() if isinstance(one, Unannotated)):
            return [SmallTable("Words of change", ("side", "not read"), failed)]
        candidate, reference = made["candidate"], made["reference"]
        assert not isinstance(candidate, Unannotated)
        assert not isinstance(reference, Unannotated)
        marks = [mark for side, text in texts.items() for mark in _marks(side, text, candidate & reference)]
        rows = tuple(
            (word, "yes" if word in candidate else "–", "yes" if word in reference else "–")
            for word in sorted(candidate | reference)
        )
        value = ("F1", f"{score(candidate, reference):.3f}", "")
        return [*marks, SmallTable("Words of change", ("word", "candidate", "reference"), (*rows, value))]

    def _words(self, texts: Sequence[str]) -> list[set[str] | Unannotated]:
        by_pattern = [words.found(text) for text in texts]
        if self._annotator is None:
            return list(by_pattern)
        tagged = self._annotator.annotate(texts)
        return [
            one if isinstance(one, Unannotated) else pattern | self._tagged(one)
            for pattern, one in zip(by_pattern, tagged, strict=True)
        ]

    def _tagged(self, annotation: Any) -> set[str]:
        """Return the entities that are a word of change as a whole."""
        if not isinstance(annotation, Mapping) or "spans" not in annotation:
            raise BenchError(
                f"annotator {self.options.annotator!r} finds no named entities: use stanza-radiology, or set entities "
                "to keywords"
            )
        said = {str(text).lower() for text, kind, *_ in annotation["spans"] if kind in OBSERVATIONS}
        return said & words.WORDS


def _marks(side: Side, text: str, shared: Set[str]) -> Iterator[Mark]:
    for match in words.PATTERN.finditer(text):
        kind = "match" if match.group().lower() in shared else "other"
        yield Mark(side, match.start(), match.end(), kind, match.group().lower())
