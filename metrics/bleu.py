"""BLEU over a corpus (Papineni et al. 2002, https://aclanthology.org/P02-1040)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from bench.contracts import OK, Column, Context, Floats, Mark, Pair, SmallTable, Stats
from bench.options import Options
from metrics import text

Tokens = list[str]
Ngrams = Counter[tuple[str, ...]]

SACREBLEU_TOKENIZERS = {
    "13a": "tokenizer_13a:Tokenizer13a",
    "intl": "tokenizer_intl:TokenizerV14International",
    "char": "tokenizer_char:TokenizerChar",
}
SMOOTH_VALUES = {"none": 0.0, "exp": 0.0, "floor": 0.1, "add-k": 1.0}
"""sacrebleu's default values, after Chen and Cherry 2014 (https://aclanthology.org/W14-3346)."""
DEFAULT_TOKENIZERS = {"sacrebleu": "13a", "pycocoevalcap": "none", "nltk": "nltk"}
SMALL, TINY = 1e-9, 1e-15
"""pycocoevalcap's constants, added to denominators and numerators."""


class BLEUOptions(Options):
    """Variants of BLEU; the defaults are sacrebleu's 13a without smoothing."""

    flavour: Literal["sacrebleu", "pycocoevalcap", "nltk"] = "sacrebleu"
    """Whose arithmetic: pycocoevalcap (ViLMedic's too) adds 1e-15 and 1e-9 to the counts instead of smoothing;
    nltk's corpus_bleu counts one n-gram for a candidate that is too short to have any."""
    tokenize: Literal["13a", "none", "intl", "char", "nltk"] | None = None
    """sacrebleu's tokenisers, nltk's word_tokenize, or none (blanks only); default 13a, for pycocoevalcap none, for
    nltk nltk."""
    lowercase: bool = False
    """Lower-case both sides first."""
    smooth: Literal["none", "floor", "add-k", "exp"] = "none"
    """What replaces a precision of 0 (sacrebleu's own default is exp; HF evaluate's bleu has none)."""
    smooth_value: float | None = Field(None, ge=0)
    """Value of floor (default 0.1) and add-k (default 1)."""
    max_order: int = Field(4, ge=1, le=10)
    """Longest n-gram."""

    @model_validator(mode="after")
    def _smoothing_has_a_place(self) -> BLEUOptions:
        if self.flavour != "sacrebleu" and (self.smooth != "none" or self.smooth_value is not None):
            raise ValueError(f"smooth is sacrebleu's: it has no meaning with flavour={self.flavour}")
        if self.smooth_value is not None and self.smooth not in ("floor", "add-k"):
            raise ValueError(f"smooth_value has no meaning with smooth={self.smooth}: use floor or add-k")
        return self

    @property
    def tokenizer(self) -> str:
        """The tokeniser's name, the flavour's default filled in."""
        return self.tokenize or DEFAULT_TOKENIZERS[self.flavour]

    @property
    def added(self) -> float:
        """The smoothing value, the method's default filled in."""
        return SMOOTH_VALUES[self.smooth] if self.smooth_value is None else self.smooth_value


@cache
def tokenizer(name: str) -> Callable[[str], Tokens]:
    """Return text → tokens. The text loses trailing white space first, as in sacrebleu."""
    if name == "nltk":
        return text.word_tokenize
    if name == "none":
        return str.split
    module, _, attribute = SACREBLEU_TOKENIZERS[name].partition(":")
    tokenize: Callable[[str], str] = getattr(import_module(f"sacrebleu.tokenizers.{module}"), attribute)()
    return lambda line: tokenize(line.rstrip()).split()


def ngrams(tokens: Sequence[str], order: int) -> Ngrams:
    """Count the n-grams of one order."""
    return Counter(zip(*(tokens[start:] for start in range(order)), strict=False))


def matches(candidate: Sequence[str], reference: Sequence[str], order: int) -> int:
    """Count the candidate's n-grams that the reference holds, each at most as often as the reference does."""
    return sum((ngrams(candidate, order) & ngrams(reference, order)).values())


def statistics(candidate: Sequence[str], reference: Sequence[str], max_order: int, least: int = 0) -> list[float]:
    """Return [candidate length, reference length, matches of each order, candidate n-grams of each order].

    least: what a candidate counts that is shorter than an order; 1 in nltk.
    """
    orders = range(1, max_order + 1)
    found = [float(matches(candidate, reference, n)) for n in orders]
    return [len(candidate), len(reference), *found, *(float(max(least, len(candidate) - n + 1)) for n in orders)]


def precisions(hits: Floats, totals: Floats, smooth: str, value: float) -> Floats:
    """Return smoothed n-gram precisions; hits, totals, result: [..., max_order]. 0/0 is 0.

    sacrebleu's methods: floor puts `value` for a count of 0; add-k adds `value` to both counts of the orders above 1;
    exp halves again for every order without a match.
    """
    if smooth == "add-k":
        bonus = np.where(np.arange(hits.shape[-1]) > 0, value, 0.0)
        hits, totals = hits + bonus, totals + bonus
    elif smooth == "floor":
        hits = np.where(hits == 0, value, hits)
    elif smooth == "exp":
        missing = (hits == 0) & (totals > 0)
        hits = np.where(missing, 0.5 ** np.cumsum(missing, axis=-1), hits)
    return np.divide(hits, totals, out=np.zeros(totals.shape), where=totals > 0)


def bleu(totals: Floats, max_order: int, smooth: str = "none", value: float = 0.0) -> Floats:
    """Return BLEU in [0, 1] of summed `statistics`, [..., 2 + 2 * max_order] → [...].

    Geometric mean of the precisions times the brevity penalty exp(1 - reference/candidate length) of a candidate
    that is too short. 0 where nothing matches or where one precision is 0, as in sacrebleu and HF evaluate.
    """
    candidate, reference = totals[..., 0], totals[..., 1]
    hits = totals[..., 2 : 2 + max_order]
    p = precisions(hits, totals[..., 2 + max_order :], smooth, value)
    good = hits.any(axis=-1) & (p > 0).all(axis=-1)
    ratio = np.divide(reference, candidate, out=np.ones(candidate.shape), where=candidate > 0)
    with np.errstate(divide="ignore"):
        mean = np.log(p).mean(axis=-1)
    exponent = mean + np.minimum(0.0, 1.0 - ratio)
    scores: Floats = np.exp(exponent, out=np.zeros(candidate.shape), where=good)
    return scores


def coco_bleu(totals: Floats, max_order: int) -> Floats:
    """Return pycocoevalcap's corpus BLEU of summed `statistics`, [..., 2 + 2 * max_order] → [...].

    As its bleu_scorer computes it (https://github.com/tylin/coco-caption): every count carries a small constant, so
    that no precision is 0, and the length ratio too.
    """
    hits, guesses = totals[..., 2 : 2 + max_order], totals[..., 2 + max_order :]
    mean = np.log((hits + TINY) / (guesses + SMALL)).mean(axis=-1)
    ratio = (totals[..., 0] + TINY) / (totals[..., 1] + SMALL)
    scores: Floats = np.exp(mean + np.minimum(0.0, 1.0 - 1.0 / ratio))
    return scores


def coverage(side: Sequence[str], common: Sequence[Ngrams]) -> list[int]:
    """Return for each token the length of the longest matched n-gram that covers it, 0 for none.

    common: matched n-grams of the orders 1, 2, …; of repeated ones only so many count as matched, from the left.
    """
    level = [0] * len(side)
    for order, counts in enumerate(common, start=1):
        left = counts.copy()
        for start in range(len(side) - order + 1):
            gram = tuple(side[start : start + order])
            if left[gram] > 0:
                left[gram] -= 1
                level[start : start + order] = [order] * order
    return level


class BLEU:
    """BLEU-4 of the corpus, by default sacrebleu's with the 13a tokeniser, cased, unsmoothed.

    The default equals ``sacrebleu.corpus_bleu(…, smooth_method="none").score / 100``, which HF evaluate's ``bleu``
    gives too (but for a text that ends in "-" and a line break), and is 0 where a precision is 0. sacrebleu's
    own default smooths (``smooth: exp``). ``flavour: pycocoevalcap`` is the arithmetic of captioning code and ViLMedic
    over text that was tokenised before: pass such text, or name a tokeniser. ``flavour: nltk`` is
    ``corpus_bleu`` over ``word_tokenize``. An empty side is no error and matches nothing.
    """

    Options = BLEUOptions
    group = "nlg"
    table1 = True
    columns = (Column("BL4", "BL4"),)

    def __init__(self, options: BLEUOptions, context: Context) -> None:  # noqa: ARG002 (every plugin is built so)
        self.options = options
        self._tokenize = tokenizer(options.tokenizer)
        if options.max_order != 4:
            self.columns = (Column(f"BL{options.max_order}", f"BL{options.max_order}"),)

    def signature(self) -> str:
        """Return library, tokeniser, case, smoothing, order."""
        o = self.options
        library = o.flavour if o.flavour == "pycocoevalcap" else f"{o.flavour}-{version(o.flavour)}"
        kind = f"nltk-{text.nltk_version()}" if o.tokenizer == "nltk" else o.tokenizer
        smooth = f"{o.smooth}[{o.added:g}]" if o.smooth in ("floor", "add-k") else o.smooth
        case = "lc" if o.lowercase else "mixed"
        return f"bleu-{o.max_order}|lib:{library}|tok:{kind}|case:{case}|smooth:{smooth}|v:1"

    def observe(self, pairs: Sequence[Pair]) -> Stats:
        """Return lengths, matches and totals of each order; an empty side is no error."""
        width = 2 + 2 * self.options.max_order
        rows = [self._statistics(self._tokens(pair.candidate), self._tokens(pair.reference)) for pair in pairs]
        values = np.array(rows, dtype=np.float64).reshape(-1, width)
        return Stats(values, np.full((len(pairs), 1), OK, dtype=np.int8))

    def finish(self, totals: Floats) -> Floats:
        """Return BLEU in [0, 1], [..., 1]."""
        o = self.options
        if o.flavour == "pycocoevalcap":
            return coco_bleu(totals, o.max_order)[..., None]
        return bleu(totals, o.max_order, o.smooth, o.added)[..., None]

    def explain(self, pair: Pair) -> Sequence[Mark | SmallTable]:
        """Mark the tokens that matched n-grams cover, by the longest of them, and list the precisions."""
        candidate, reference = self._tokens(pair.candidate), self._tokens(pair.reference)
        common = [ngrams(candidate, n) & ngrams(reference, n) for n in range(1, self.options.max_order + 1)]
        return [
            *self._marks("candidate", pair.candidate, candidate, common),
            *self._marks("reference", pair.reference, reference, common),
            self._table(candidate, reference),
        ]

    def _statistics(self, candidate: Tokens, reference: Tokens) -> list[float]:
        return statistics(candidate, reference, self.options.max_order, int(self.options.flavour == "nltk"))

    def _tokens(self, given: str) -> Tokens:
        return self._tokenize(given.lower() if self.options.lowercase else given)

    def _marks(
        self, side: Literal["candidate", "reference"], given: str, tokens: Tokens, common: Sequence[Ngrams]
    ) -> Iterator[Mark]:
        kinds = [f"{level}-gram" if level else None for level in coverage(tokens, common)]
        shown = given.lower() if self.options.lowercase and len(given.lower()) == len(given) else given
        for start, end, kind in text.runs(text.spans(shown, tokens), kinds):
            yield Mark(side, start, end, kind, f"covered by matched n-grams of up to {kind.removesuffix('-gram')}")

    def _table(self, candidate: Tokens, reference: Tokens) -> SmallTable:
        order = self.options.max_order
        row = np.array(self._statistics(candidate, reference))
        hits, totals = row[2 : 2 + order], row[2 + order :]
        lines = [(f"{n}-grams", f"{int(h)} of {int(t)}") for n, (h, t) in enumerate(zip(hits, totals, strict=True), 1)]
        lines += [("candidate tokens", str(len(candidate))), ("reference tokens", str(len(reference)))]
        lines += [("BLEU of this pair alone", f"{100 * float(self.finish(row)[0]):.1f}")]
        return SmallTable("Matched n-grams", ("what", "count"), tuple(lines))
