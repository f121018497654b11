"""What a feature stands for, told from the reports of the training images that activate it most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bench.contracts import Floats, NoAnswer
from systems.sae_rad.sentences import blemish, contradict, covers, split, tidy, widens, without_change
from systems.sae_rad.vectors import SentenceSpace, agreement

CAUTION = 0.05
"""Added to a standard error: how far support may exceed the base rate by the looseness of word overlap alone."""


@dataclass(frozen=True, slots=True)
class TopReports:
    """The reports of a feature's most activating training images, highest activation first."""

    feature: int
    reports: tuple[str, ...]
    activations: tuple[float, ...]
    """a_i > 0 of each report's image."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a feature stands for."""

    text: str
    """Empty where the reports have nothing in common."""
    reasoning: str = ""
    """What a language model said before its description."""


class Describer(Protocol):
    """Turns the reports of features' most activating images into descriptions."""

    def describe(self, features: Sequence[TopReports]) -> list[Description | NoAnswer]:
        """Return one description a feature, or why there is none; a feature's does not depend on the others."""
        ...


class Consensus:
    """The sentences that the reports agree on beyond what any reports would agree on; needs no language model.

    For a candidate sentence s, taken from one of the reports r_1 … r_K with activations a_k:

    - agree(s, r) = max over sentences t of r of cos²(s, t), cos being that of `SentenceSpace`;
    - support(s) = Σ w_k · agree(s, r_k) over the reports that s was not taken from, w_k proportional to a_k with sum 1:
      the expected agreement of s with the feature's reports (the choice of minimum Bayes risk), which no sentence
      gains by being its own witness;
    - score(s) = (support(s) - μ) / √(σ² · Σ w_k² + c²) · blemish(s), with μ and σ² the mean and variance of agree(s, r)
      over a fixed random sample of training reports and c = `CAUTION`: by how many standard errors the support exceeds
      the base rate. `blemish` is below 1 for sentences about earlier images, dates, technique or removed words.

    The best sentence is taken; then, up to `sentences` in all, the best of the remaining ones that add something, do
    not contradict the ones taken, and score at least `further` of the best.
    """

    def __init__(self, space: SentenceSpace, *, sentences: int, further: float, least: float) -> None:
        self._space, self._most, self._further, self._least = space, sentences, further, least

    def describe(self, features: Sequence[TopReports]) -> list[Description | NoAnswer]:
        """Return one to `sentences` sentences of each feature's reports; "" where none scores more than `least`."""
        return [Description(self._sentences_of(top.reports, top.activations)) for top in features]

    def _sentences_of(self, reports: Sequence[str], activations: Sequence[float]) -> str:
        parts = [[without_change(s) for s in split(report)] for report in reports]
        source: dict[str, int] = {}
        for k, part in enumerate(parts):
            for sentence in part:
                if self._space.vector(sentence):
                    source.setdefault(sentence, k)
        if not source:
            return ""
        scores = self._scores(source, parts, np.asarray(activations, np.float64))
        return " ".join(tidy(s) for s in self._choose(list(source), scores))

    def _scores(self, source: Mapping[str, int], parts: Sequence[Sequence[str]], activations: Floats) -> Floats:
        candidates = list(source)
        agree = np.stack([self._agree(candidates, part) for part in parts], axis=1)
        weights = np.tile(activations, (len(candidates), 1))
        if len(parts) > 1:
            weights[np.arange(len(candidates)), list(source.values())] = 0.0
        weights /= weights.sum(axis=1, keepdims=True)
        mean, variance = np.array([self._space.base(s) for s in candidates]).T
        error = np.sqrt(variance * np.square(weights).sum(axis=1) + CAUTION**2)
        scores = ((agree * weights).sum(axis=1) - mean) / error * np.array([blemish(s) for s in candidates])
        return np.asarray(np.round(scores, 9))  # order among equals must not hang on the last bit of a matrix product

    def _agree(self, candidates: Sequence[str], part: Sequence[str]) -> Floats:
        if not part:
            return np.zeros(len(candidates))
        return agreement(self._space.similarity(candidates, part).max(axis=1))

    def _choose(self, candidates: Sequence[str], scores: Floats) -> list[str]:
        order = np.argsort(-scores, kind="stable")
        least = max(self._least, self._further * scores[order[0]])
        chosen: list[str] = []
        for i in order:
            if len(chosen) == self._most or scores[i] < least or scores[i] <= self._least:
                break
            if self._adds(chosen, candidates[i]):
                chosen.append(candidates[i])
        return chosen

    def _adds(self, chosen: list[str], sentence: str) -> bool:
        if not chosen:
            return True
        if covers(chosen, sentence) or widens(chosen, sentence) or any(contradict(old, sentence) for old in chosen):
            return False
        return bool(self._space.similarity([sentence], chosen).max() < 0.7)
