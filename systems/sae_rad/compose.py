"""From the descriptions of an image's active features to a findings section."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from bench.contracts import Case, NoAnswer
from systems.sae_rad.sentences import claims, contradict, covers, denied_by, drop_denials, split, tidy, widens
from systems.sae_rad.vectors import SentenceSpace

ALIKE = 0.8
"""Cosine from which two sentences say the same."""


@dataclass(frozen=True, slots=True)
class ActiveFeature:
    """A feature that is active on an image."""

    feature: int
    importance: float
    """a_i / max_j a_j over the image's active features, in (0, 1]."""
    description: str
    """Empty where the feature has none."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a report is composed from."""

    case: Case
    features: tuple[ActiveFeature, ...]
    """Most important first."""


class Composer(Protocol):
    """Turns cases' active features into their reports."""

    def compose(self, drafts: Sequence[Draft]) -> list[str | NoAnswer]:
        """Return one findings section a draft, or why there is none; a draft's does not depend on the others."""
        ...


class Concat:
    """The sentences of the descriptions, joined; needs no language model and writes no word of its own.

    A sentence's weight is what the active features that say so weigh together:
    weight(s) = Σ_i importance_i · max over sentences t of description i of cos(s, t). From the heaviest down, a
    sentence is taken unless it only repeats what was taken or contradicts it; a list of denials ("No A, B or C") loses
    just the members that are contradicted or repeated. At most `max_sentences` are taken, and none that weighs less
    than `share` of the heaviest.
    """

    def __init__(
        self, space: SentenceSpace, *, max_sentences: int, share: float, order: Literal["importance", "report"]
    ) -> None:
        self._space, self._max_sentences, self._share, self._order = space, max_sentences, share, order

    def compose(self, drafts: Sequence[Draft]) -> list[str | NoAnswer]:
        """Return the findings sections; "" where no active feature has a description."""
        return [self._joined(draft.features) for draft in drafts]

    def _joined(self, features: Sequence[ActiveFeature]) -> str:
        said = [(active.importance, split(active.description)) for active in features]
        sentences = list(dict.fromkeys(s for _, part in said for s in part))
        chosen = self._choose(self._heaviest_first(sentences, said)) if sentences else []
        if self._order == "report":
            chosen.sort(key=lambda s: round(self._space.place(s), 6))
        return " ".join(tidy(s) for s in chosen)

    def _heaviest_first(self, sentences: list[str], said: Sequence[tuple[float, list[str]]]) -> list[str]:
        weight = np.zeros(len(sentences))
        for importance, part in said:
            if part:
                weight += importance * self._space.similarity(sentences, part).max(axis=1)
        weight = np.round(weight, 9)  # order among equals must not hang on the last bit of a matrix product
        return [sentences[i] for i in np.argsort(-weight, kind="stable") if weight[i] >= self._share * weight.max()]

    def _choose(self, sentences: Sequence[str]) -> list[str]:
        chosen: list[str] = []
        for sentence in sentences:
            if len(chosen) == self._max_sentences:
                break
            kept = self._consistent(chosen, sentence)
            if kept is not None and self._adds(chosen, kept):
                chosen.append(kept)
        return chosen

    def _consistent(self, chosen: list[str], sentence: str) -> str | None:
        """Return the sentence, or what is left of it, that contradicts none of the chosen ones; None for nothing.

        A list of denials also loses the members that were denied before.
        """
        clash = frozenset[str]().union(*(contradict(old, sentence) for old in chosen))
        kept = drop_denials(sentence, clash | (claims(sentence).denied & denied_by(chosen))) or sentence
        return kept if not any(contradict(old, kept) for old in chosen) else None

    def _adds(self, chosen: list[str], sentence: str) -> bool:
        if not chosen:
            return True
        if covers(chosen, sentence) or widens(chosen, sentence):
            return False
        return float(self._space.similarity([sentence], chosen).max()) < ALIKE
