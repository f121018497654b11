"""ROUGE-L: the longest common subsequence of words (Lin 2004, https://aclanthology.org/W04-1013)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal

from pydantic import Field, model_validator

from bench.contracts import Column, Context, Floats, Mark, Pair, SmallTable, Stats
from bench.options import Options
from metrics import text
from metrics.means import mean, mean_stats

WORD = re.compile("[a-z0-9]+")
"""rouge-score's tokens, in lower-cased text."""
Ids = tuple[int, ...]


class ROUGELOptions(Options):
    """Variants of ROUGE-L; the defaults are rouge-score's with its stemmer."""

    flavour: Literal["rouge-score", "pycocoevalcap"] = "rouge-score"
    """Whose tokens and F: pycocoevalcap (ViLMedic's too) splits at single blanks, keeps case, and has beta 1.2."""
    stemmer: bool | None = None
    """Compare Porter stems of words of four letters and more; default on (HF evaluate: off), pycocoevalcap has none."""
    lowercase: bool | None = None
    """Lower-case first; rouge-score always does, pycocoevalcap does not by default."""
    beta: float | None = Field(None, gt=0)
    """Weight of recall in the F measure; default 1, for pycocoevalcap 1.2."""
    statistic: Literal["fmeasure", "precision", "recall"] = "fmeasure"
    """Which of the three is averaged over pairs."""

    @model_validator(mode="after")
    def _the_flavour_has_it(self) -> ROUGELOptions:
        if self.flavour == "rouge-score" and self.lowercase is False:
            raise ValueError("lowercase=false: rouge-score always lower-cases; use flavour pycocoevalcap")
        if self.flavour == "pycocoevalcap" and self.stemmer:
            raise ValueError("stemmer=true: pycocoevalcap has no stemmer; use flavour rouge-score")
        if self.beta is not None and self.statistic != "fmeasure":
            raise ValueError(f"beta has no meaning with statistic={self.statistic}")
        return self

    @property
    def stems(self) -> bool:
        """The stemmer's switch, the flavour's default filled in."""
        return self.flavour == "rouge-score" if self.stemmer is None else self.stemmer

    @property
    def lowers(self) -> bool:
        """The case switch, the flavour's default filled in."""
        return self.flavour == "rouge-score" if self.lowercase is None else self.lowercase

    @property
    def weight(self) -> float:
        """Beta, the flavour's default filled in."""
        return self.beta or (1.0 if self.flavour == "rouge-score" else 1.2)


def words(given: str) -> list[str]:
    """Return rouge-score's tokens before stemming: runs of a–z and 0–9 of the lower-cased text."""
    return WORD.findall(given.lower())


def stemmed(word: str) -> str:
    """Return rouge-score's form of a token: the stem of words longer than three characters."""
    return text.stem(word) if len(word) > 3 else word


def f_measure(precision: float, recall: float, beta: float) -> float:
    """Return (1 + beta²)PR / (R + beta²P), 0 where both are 0; with beta 1 in rouge-score's order of operations."""
    if precision == 0 or recall == 0:
        return 0.0
    if beta == 1:
        return 2 * precision * recall / (precision + recall)
    return ((1 + beta**2) * precision * recall) / (recall + beta**2 * precision)


class ROUGEL:
    """ROUGE-L F1, mean over pairs: rouge-score's numbers, with its stemmer by default.

    The default equals the mean of ``RougeScorer(["rougeL"], use_stemmer=True).score(…)["rougeL"].fmeasure``. HF
    evaluate's ``rouge`` differs from it by default in two ways: it does not stem (``stemmer: false`` gives its tokens),
    and it reports the median of an unseeded bootstrap, not the mean. Per-pair values are bit-identical to rouge-score;
    the subsequence is found by rapidfuzz and texts are tokenised once. An empty side scores 0; in the
    flavour pycocoevalcap an empty text is one empty token, so that two empty texts score 1, as they do there.
    """

    Options = ROUGELOptions
    group = "nlg"
    table1 = True
    columns = (Column("RG-L", "RG-L"),)

    def __init__(self, options: ROUGELOptions, context: Context) -> None:  # noqa: ARG002 (every plugin is built so)
        self.options = options
        self._vocabulary: dict[str, int] = {}
        self._ids = lru_cache(maxsize=1 << 15)(self._encode)

    def signature(self) -> str:
        """Return library, stemmer, case, beta, statistic."""
        o = self.options
        library = "rouge-score-0.1.2" if o.flavour == "rouge-score" else o.flavour
        stemmer = f"porter-nltk-{text.nltk_version()}" if o.stems else "no"
        case = "lc" if o.lowers else "mixed"
        return f"rouge-l|lib:{library}|stem:{stemmer}|case:{case}|beta:{o.weight:g}|stat:{o.statistic}|v:1"

    def observe(self, pairs: Sequence[Pair]) -> Stats:
        """Return [value, 1] of each pair."""
        return mean_stats([self._score(self._ids(pair.candidate), self._ids(pair.reference)) for pair in pairs])

    def finish(self, totals: Floats) -> Floats:
        """Return the mean over pairs, [..., 1]."""
        return mean(totals)

    def explain(self, pair: Pair) -> Sequence[Mark | SmallTable]:
        """Mark one longest common subsequence on both sides and list precision, recall and F."""
        candidate, reference = self._tokens(pair.candidate), self._tokens(pair.reference)
        kept = common_positions(self._ids(pair.candidate), self._ids(pair.reference))
        return [
            *self._marks("candidate", pair.candidate, candidate, {i for i, _ in kept}),
            *self._marks("reference", pair.reference, reference, {j for _, j in kept}),
            self._table(len(kept), len(candidate), len(reference)),
        ]

    def _tokens(self, given: str) -> list[str]:
        """Return the tokens before stemming."""
        if self.options.flavour == "rouge-score":
            return words(given)
        return (given.lower() if self.options.lowers else given).split(" ")

    def _encode(self, given: str) -> Ids:
        """Return one number a token, equal where the compared forms are equal."""
        tokens = self._tokens(given)
        forms = map(stemmed, tokens) if self.options.stems else tokens
        return tuple(self._vocabulary.setdefault(form, len(self._vocabulary)) for form in forms)

    def _score(self, candidate: Ids, reference: Ids) -> float:
        from rapidfuzz.distance import LCSseq

        if not candidate or not reference:
            return 0.0
        common = LCSseq.similarity(reference, candidate)
        return self._statistic(common, len(candidate), len(reference))

    def _statistic(self, common: int, n_candidate: int, n_reference: int) -> float:
        precision, recall = common / n_candidate, common / n_reference
        if self.options.statistic == "fmeasure":
            return f_measure(precision, recall, self.options.weight)
        return precision if self.options.statistic == "precision" else recall

    def _marks(
        self, side: Literal["candidate", "reference"], given: str, tokens: Sequence[str], kept: set[int]
    ) -> Iterator[Mark]:
        lowered, origin = lowered_with_origin(given) if self.options.lowers else (given, range(len(given)))
        kinds = ["match" if number in kept else None for number in range(len(tokens))]
        for start, end, kind in text.runs(text.spans(lowered, tokens), kinds):
            if end > start:
                yield Mark(side, origin[start], origin[end - 1] + 1, kind, "in the longest common subsequence")

    def _table(self, common: int, n_candidate: int, n_reference: int) -> SmallTable:
        precision = common / n_candidate if n_candidate else 0.0
        recall = common / n_reference if n_reference else 0.0
        rows = (
            ("common subsequence", f"{common} words"),
            ("precision", f"{common} of {n_candidate}"),
            ("recall", f"{common} of {n_reference}"),
            ("F", f"{100 * f_measure(precision, recall, self.options.weight):.1f}"),
        )
        return SmallTable("Longest common subsequence", ("what", "value"), rows)


def common_positions(candidate: Ids, reference: Ids) -> list[tuple[int, int]]:
    """Return the index pairs of one longest common subsequence."""
    from rapidfuzz.distance import LCSseq

    pairs: list[tuple[int, int]] = []
    for block in LCSseq.opcodes(candidate, reference):
        if block.tag == "equal":
            pairs += zip(range(block.src_start, block.src_end), range(block.dest_start, block.dest_end), strict=True)
    return pairs


def lowered_with_origin(given: str) -> tuple[str, Sequence[int]]:
    """Return the lower-cased text and, for each of its characters, the index it came from (İ becomes two)."""
    pieces = [(low, index) for index, character in enumerate(given) for low in character.lower()]
    return "".join(low for low, _ in pieces), [index for _, index in pieces]
