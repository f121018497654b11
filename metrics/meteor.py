"""METEOR with exact, stem and synonym matches, as nltk and HF evaluate compute it.

After Lavie and Agarwal 2007 (https://aclanthology.org/W07-0734); the alignment is nltk's greedy one, not the search
for the fewest crossings of the original.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from pydantic import Field

from bench.contracts import Column, Context, Floats, Mark, Pair, SmallTable, Stats
from bench.options import Options
from metrics import text
from metrics.means import mean, mean_stats
from metrics.wordnet import wordnet

Words = Sequence[tuple[int, str]]
"""Words that are still unmatched, each with its position in the text, ascending."""
Matches = dict[int, int]
"""Position in the candidate → position in the reference."""
Synonyms = Callable[[str], Set[str]]
STAGES = ("exact", "stem", "synonym")


class METEOROptions(Options):
    """Variants of METEOR; the defaults are HF evaluate's."""

    alpha: float = Field(0.9, ge=0, le=1)
    """Weight of recall in the harmonic mean (1: recall alone)."""
    beta: float = Field(3.0, ge=0)
    """Exponent of the fragmentation."""
    gamma: float = Field(0.5, ge=0, le=1)
    """Greatest share that fragmentation takes away."""
    wordnet: bool = True
    """Match synonyms of WordNet 3.0; off leaves exact words and stems."""
    lowercase: bool = True
    """Lower-case tokens first, as nltk does by default."""


def match_equal(left: Words, right: Words) -> Matches:
    """Pair equal words from the end: each candidate word with the last reference word that is still free."""
    free: dict[str, list[int]] = {}
    for position, word in right:
        free.setdefault(word, []).append(position)
    found: Matches = {}
    for position, word in reversed(left):
        places = free.get(word)
        if places:
            found[position] = places.pop()
    return found


def match_synonyms(left: Words, right: Words, synonyms: Synonyms) -> Matches:
    """Pair words from the end: each candidate word with the last free reference word among its synonyms.

    A word is its own synonym to nltk, but the stages before left no two equal words on the two sides.
    """
    free: dict[str, list[int]] = {}
    for position, word in right:
        free.setdefault(word, []).append(position)
    found: Matches = {}
    for position, word in reversed(left):
        last, best = -1, ""
        for name in free.keys() & synonyms(word):
            if free[name][-1] > last:
                last, best = free[name][-1], name
        if best:
            found[position] = free[best].pop()
            if not free[best]:
                del free[best]
    return found


def unmatched(left: Words, right: Words, found: Matches) -> tuple[Words, Words]:
    """Return both sides without the words that `found` pairs."""
    taken = set(found.values())
    return [word for word in left if word[0] not in found], [word for word in right if word[0] not in taken]


def align(candidate: Sequence[str], reference: Sequence[str], synonyms: Synonyms | None) -> tuple[Matches, ...]:
    """Return the matches of each of `STAGES`.

    The stages follow each other on what is left, and the third compares and looks up *stems*, as nltk does.
    """
    left: Words = list(enumerate(candidate))
    right: Words = list(enumerate(reference))
    exact = match_equal(left, right)
    left, right = unmatched(left, right, exact)
    left = [(position, text.stem(word)) for position, word in left]
    right = [(position, text.stem(word)) for position, word in right]
    stems = match_equal(left, right)
    if synonyms is None:
        return exact, stems, {}
    left, right = unmatched(left, right, stems)
    return exact, stems, match_synonyms(left, right, synonyms)


def count_chunks(matches: Mapping[int, int]) -> int:
    """Count maximal runs of matches that are neighbours on both sides, in the same order."""
    ordered = sorted(matches.items())
    breaks = sum(b != (a[0] + 1, a[1] + 1) for a, b in pairwise(ordered))
    return breaks + 1 if ordered else 0


def score(matched: int, chunks: int, n_candidate: int, n_reference: int, options: METEOROptions) -> float:
    """Return METEOR of one pair in [0, 1]; 0 without a match, an empty side included.

    F = PR / (alpha P + (1 - alpha) R), times 1 - gamma (chunks / matched)^beta; operations in nltk's order, so that
    the result is the same to the last bit.
    """
    if matched == 0:
        return 0.0
    precision, recall = matched / n_candidate, matched / n_reference
    fmean = (precision * recall) / (options.alpha * precision + (1 - options.alpha) * recall)
    penalty: float = options.gamma * (chunks / matched) ** options.beta
    return (1 - penalty) * fmean


class METEOR:
    """METEOR as HF evaluate computes it (nltk, WordNet 3.0), mean over pairs; works offline.

    Per-pair values are bit-identical to ``nltk.translate.meteor_score.single_meteor_score`` over
    ``nltk.word_tokenize`` and the full WordNet 3.0, whose tables come with this package; sentences, stems and synonyms
    are looked up once. An empty side scores 0, as in nltk. The Java METEOR 1.5 of pycocoevalcap is another metric.
    """

    Options = METEOROptions
    group = "nlg"
    table1 = True
    columns = (Column("MTR", "MTR"),)

    def __init__(self, options: METEOROptions, context: Context) -> None:  # noqa: ARG002 (every plugin is built so)
        self.options = options
        self._synonyms: Synonyms | None = wordnet().synonyms if options.wordnet else None
        self._tokens = lru_cache(maxsize=1 << 15)(self._tokenize)

    def signature(self) -> str:
        """Return library, tokeniser, case, parameters, WordNet."""
        o = self.options
        case = "lc" if o.lowercase else "mixed"
        stages = "wordnet-3.0" if o.wordnet else "no"
        parameters = f"alpha:{o.alpha:g}|beta:{o.beta:g}|gamma:{o.gamma:g}"
        return f"meteor|lib:nltk-{text.nltk_version()}|tok:punkt-treebank|case:{case}|{parameters}|syn:{stages}|v:1"

    def observe(self, pairs: Sequence[Pair]) -> Stats:
        """Return [value, 1] of each pair."""
        return mean_stats([self._score(self._tokens(pair.candidate), self._tokens(pair.reference)) for pair in pairs])

    def finish(self, totals: Floats) -> Floats:
        """Return the mean over pairs, [..., 1]."""
        return mean(totals)

    def explain(self, pair: Pair) -> Sequence[Mark | SmallTable]:
        """Mark the matched tokens by stage and list precision, recall and fragmentation."""
        candidate, reference = self._tokens(pair.candidate), self._tokens(pair.reference)
        stages = dict(zip(STAGES, align(candidate, reference, self._synonyms), strict=True))
        left = {i: stage for stage, found in stages.items() for i in found}
        right = {j: stage for stage, found in stages.items() for j in found.values()}
        return [
            *_marks("candidate", pair.candidate, left),
            *_marks("reference", pair.reference, right),
            self._table(stages, candidate, reference),
        ]

    def _tokenize(self, given: str) -> tuple[str, ...]:
        tokens = text.word_tokenize(given)
        return tuple(map(str.lower, tokens)) if self.options.lowercase else tuple(tokens)

    def _score(self, candidate: Sequence[str], reference: Sequence[str]) -> float:
        exact, stems, synonyms = align(candidate, reference, self._synonyms)
        matches = exact | stems | synonyms
        return score(len(matches), count_chunks(matches), len(candidate), len(reference), self.options)

    def _table(self, stages: Mapping[str, Matches], candidate: Sequence[str], reference: Sequence[str]) -> SmallTable:
        matches = {i: j for found in stages.values() for i, j in found.items()}
        rows = [(f"{stage} matches", str(len(found))) for stage, found in stages.items()]
        rows += [
            ("precision", f"{len(matches)} of {len(candidate)}"),
            ("recall", f"{len(matches)} of {len(reference)}"),
            ("chunks", str(count_chunks(matches))),
            ("METEOR", f"{100 * self._score(candidate, reference):.1f}"),
        ]
        rows += [(f"{stage} match", f"{candidate[i]} = {reference[j]}") for stage, i, j in _inexact(stages)]
        return SmallTable("Alignment", ("what", "value"), tuple(rows))


def _inexact(stages: Mapping[str, Matches]) -> Iterator[tuple[str, int, int]]:
    for stage in STAGES[1:]:
        for i, j in sorted(stages[stage].items()):
            yield stage, i, j


def _marks(side: Literal["candidate", "reference"], given: str, stage: Mapping[int, str]) -> Iterator[Mark]:
    tokens = text.word_tokenize(given)
    kinds = [stage.get(position) for position in range(len(tokens))]
    for start, end, kind in text.runs(text.spans(given, tokens), kinds):
        yield Mark(side, start, end, kind, f"{kind} match")
