"""What a run of SAE-Rad will ask of language models, before anything is spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.contracts import LLM, Case, PlanLine, Question, TrainingSet
from systems.sae_rad.compose import ActiveFeature, Draft
from systems.sae_rad.describe import TopReports

if TYPE_CHECKING:
    from systems.sae_rad.system import Important, SAERad

CHARS_A_TOKEN = 4
"""English prose in the usual tokenisers, roughly."""
CHARS = 130
"""Length of a description, roughly."""
ANSWER_TOKENS = {"describe": 600, "compose": 150}
"""Length of an answer, roughly: reasoning over ten reports and a sentence, or a findings section."""
CALLS = {
    "describe": "features described: questions to the language model",
    "compose": "reports composed: questions to the language model",
}


def lines(system: SAERad, train: TrainingSet, cases: Sequence[Case]) -> list[PlanLine]:
    """Return descriptions to make and reports to compose, exactly; for a system that has nothing left to learn."""
    system.prepare(train)
    active, readable = system.active(cases)
    every = (system.features_of(case, *active.row(k)) if readable[k] else [] for k, case in enumerate(cases))
    found = {k: features for k, features in enumerate(every) if features}
    tops = [system.top_reports(feature) for feature in dict.fromkeys(f for fs in found.values() for f, _ in fs)]
    described = [replace(line, shared=_identity(system, train, tops)) for line in describing(system, tops)]
    if system.options.compose.by != "llm":
        return [*described, PlanLine("reports composed without a language model", len(found), "reports")]
    unknown = _unanswered(system, tops) if any(line.amount for line in described) else frozenset()
    late = {k for k, features in found.items() if any(feature in unknown for feature, _ in features)}
    drafts = [system.draft(cases[k], features) for k, features in found.items() if k not in late]
    return [*described, *composing(system, drafts, [_foreseen(cases[k], found[k]) for k in late])]


def _identity(system: SAERad, train: TrainingSet, tops: Sequence[TopReports]) -> str:
    """Return what the descriptions of these features are shared under: other systems that need the same ones."""
    return f"{system.shared(train)} {sorted(top.feature for top in tops)}"


def _foreseen(case: Case, features: Important) -> Draft:
    """Return a draft of the length it will have once its features are described, each in its own words."""
    return Draft(case, tuple(ActiveFeature(feature, x, f"{feature} ".ljust(CHARS, "x")) for feature, x in features))


def _unanswered(system: SAERad, tops: Sequence[TopReports]) -> frozenset[int]:
    """Return the features whose description is still to be asked for."""
    from systems.sae_rad.describe_llm import LLMDescriber

    describer = system.describer
    assert isinstance(describer, LLMDescriber)
    return frozenset(top.feature for top in tops if describer.missing([top]))


def bounds(system: SAERad, train: TrainingSet, n_cases: int) -> list[PlanLine]:
    """Return bounds: how many features are active is known once the autoencoder is trained and the cases encoded."""
    found = described_at_most(system, train)
    if system.options.compose.by == "llm":
        return [*found, PlanLine("reports composed: questions to the language model, at most", n_cases, "calls")]
    return [*found, PlanLine("reports composed without a language model", n_cases, "reports")]


def described_at_most(system: SAERad, train: TrainingSet, features: int | None = None) -> list[PlanLine]:
    """Return a bound of what describing so many features takes (None: all); nothing without a language model."""
    if system.options.describe.by != "llm":
        return []
    most = system.most_features()
    return [
        PlanLine(
            f"{CALLS['describe']}, at most",
            most if features is None else min(features, most),
            "calls",
            system.shared(train),
        )
    ]


def describing(system: SAERad, tops: Sequence[TopReports]) -> list[PlanLine]:
    """Return what describing these features takes; nothing without a language model."""
    from systems.sae_rad.describe_llm import LLMDescriber

    describer = system.describer
    if not isinstance(describer, LLMDescriber):
        return []
    return _asked(describer.llm, "describe", describer.missing(tops), describer.questions(tops))


def composing(system: SAERad, drafts: Sequence[Draft], later: Sequence[Draft] = ()) -> list[PlanLine]:
    """Return what composing these drafts takes; nothing without a language model.

    `later`: drafts whose features are still to be described, so that their questions cannot have been asked before;
    where features turn out to have the same description, two of them may be one question after all.
    """
    from systems.sae_rad.compose_llm import LLMComposer

    composer = system.composer
    if not isinstance(composer, LLMComposer):
        return []
    foreseen = composer.questions(later)
    todo = composer.missing(drafts) + len({question.messages for question in foreseen})
    return _asked(composer.llm, "compose", todo, [*composer.questions(drafts), *foreseen])


def _asked(llm: LLM, kind: str, todo: int, every: Sequence[Question]) -> list[PlanLine]:
    """Return `todo` calls, their tokens by the mean length of all questions, and their cost."""
    chars = sum(len(message.content) for question in every for message in question.messages)
    tokens_in, tokens_out = todo * chars // max(1, len(every)) // CHARS_A_TOKEN, todo * ANSWER_TOKENS[kind]
    found = [
        PlanLine(CALLS[kind], todo, "calls"),
        PlanLine(f"{kind}: prompt tokens, about", tokens_in, "tokens"),
        PlanLine(f"{kind}: answer tokens, about", tokens_out, "tokens"),
    ]
    cost = llm.cost(tokens_in, tokens_out)
    return found if cost is None else [*found, PlanLine(f"{kind}: cost, about", round(cost, 2), "USD")]
