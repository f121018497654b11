"""tf-idf vectors of sentences, learnt from a fixed sample of training reports."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from bench.contracts import Floats
from systems.sae_rad.sentences import NOT, SIDES, split, terms

IDF_REPORTS = 4000
"""Training reports from which term frequencies and positions are learnt."""
BASE_REPORTS = 400
"""Training reports against which a sentence's base rate is measured."""
SIDE_WEIGHT = 1.5
"""Factor on the weight of left and right: the side of a finding is half of its meaning."""


class SentenceSpace:
    """Similarity, base rate and usual place of sentences, against a fixed sample of training reports.

    A sentence is the unit vector of w(t) = tf(t) * ln(1 + N / df(t)) over its terms (negated terms are terms of their
    own), with df the number of sampled reports that hold t. Two sentences that differ only in a negation share no
    term and have similarity 0.
    """

    def __init__(self, reports: Sequence[str], seed: int) -> None:
        sample = _sample(reports, IDF_REPORTS, seed)
        parts = [split(report) for report in sample]
        self._n = len(sample)
        self._df = Counter(term for sentences in parts for term in {t for s in sentences for t in terms(s)})
        self._place = _places(parts)
        self._vectors: dict[str, dict[str, float]] = {}
        self._bases: dict[str, tuple[float, float]] = {}
        self._index_base(parts[:BASE_REPORTS])

    def vector(self, sentence: str) -> Mapping[str, float]:
        """Return term → weight, of unit length; empty for a sentence without content words."""
        if sentence not in self._vectors:
            raw = {t: n * self._weight(t) for t, n in Counter(terms(sentence)).items()}
            norm = math.sqrt(sum(w * w for w in raw.values()))
            self._vectors[sentence] = {t: w / norm for t, w in raw.items()}
        return self._vectors[sentence]

    def _weight(self, term: str) -> float:
        idf = math.log1p(max(self._n, 1) / max(self._df[term], 1))
        return idf * (SIDE_WEIGHT if term.removeprefix(NOT) in SIDES else 1.0)

    def similarity(self, one: Sequence[str], two: Sequence[str]) -> Floats:
        """Return float64 [len(one), len(two)] of cosines in [0, 1]."""
        terms_of = {t: i for i, t in enumerate(dict.fromkeys(t for s in one for t in self.vector(s)))}
        left, right = (np.zeros((len(side), len(terms_of))) for side in (one, two))
        for matrix, side in ((left, one), (right, two)):
            for row, sentence in enumerate(side):
                for term, weight in self.vector(sentence).items():
                    if term in terms_of:
                        matrix[row, terms_of[term]] = weight
        return np.asarray(left @ right.T)

    def base(self, sentence: str) -> tuple[float, float]:
        """Return mean and variance, over the sampled reports, of agreement(best cosine with a sentence of it)."""
        if sentence not in self._bases:
            cosines = np.zeros(self._n_base)
            for term, weight in self.vector(sentence).items():
                if term in self._postings:
                    rows, weights = self._postings[term]
                    cosines[rows] += weight * weights
            best = np.maximum.reduceat(cosines, self._starts) if len(self._starts) else np.zeros(1)
            found = agreement(best)
            self._bases[sentence] = float(found.mean()), float(found.var())
        return self._bases[sentence]

    def _index_base(self, parts: Sequence[Sequence[str]]) -> None:
        parts = [sentences for sentences in parts if sentences]
        self._starts = np.cumsum([0, *(len(sentences) for sentences in parts[:-1])]) if parts else np.zeros(0, int)
        flat = [sentence for sentences in parts for sentence in sentences]
        self._n_base = len(flat)
        found: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for row, sentence in enumerate(flat):
            for term, weight in self.vector(sentence).items():
                found[term].append((row, weight))
        self._postings = {t: (np.array([r for r, _ in p]), np.array([w for _, w in p])) for t, p in found.items()}

    def place(self, sentence: str) -> float:
        """Return where in a report such a sentence usually stands: 0 first, 1 last; 0.5 where nothing is known."""
        known = [(w * w, self._place[t]) for t, w in self.vector(sentence).items() if t in self._place]
        total = sum(w for w, _ in known)
        return sum(w * place for w, place in known) / total if total else 0.5


def agreement(cosine: Floats) -> Floats:
    """Return how much two sentences agree, in [0, 1]: the squared cosine, so that a shared word or two count little."""
    return np.square(cosine)


def _sample(reports: Sequence[str], n: int, seed: int) -> list[str]:
    order = np.random.default_rng(seed).permutation(len(reports))[:n]
    return [reports[i] for i in order]


def _places(parts: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return term → mean relative position of the sentences that hold it."""
    total: dict[str, float] = defaultdict(float)
    count: Counter[str] = Counter()
    for sentences in parts:
        for i, sentence in enumerate(sentences):
            for term in set(terms(sentence)):
                total[term] += i / max(len(sentences) - 1, 1)
                count[term] += 1
    return {term: total[term] / count[term] for term in total}
