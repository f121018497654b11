"""What a run of SAE-Rad will ask of language models, before anything is spent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.contracts import LLM, Case, PlanLine, Question, TrainingSet
from systems.sae_rad.compose import Draft
from systems.sae_rad.describe import TopReports

if TYPE_CHECKING:
    from systems.sae_rad.system import SAERad

CHARS_A_TOKEN = 4
"""English prose in the usual tokenisers, roughly."""
ANSWER_TOKENS = {"describe": 600, "compose": 150}
"""Length of an answer, roughly: reasoning over ten reports and a sentence, or a findings section."""


def lines(system: SAERad, train: TrainingSet, cases: Sequence[Case]) -> list[PlanLine]:
    """Return descriptions to make and reports to compose: exact where the features of the cases are known already."""
    if not system.known(train, cases):
        return _unknown(system, len(cases))
    system.prepare(train)
    active, readable = system.active(cases)
    found = {k: system.features_of(case, *active.row(k)) for k, case in enumerate(cases) if readable[k]}
    wanted = list(dict.fromkeys(f for features in found.values() for f, _ in features))
    described = describing(system, [system.top_reports(feature) for feature in wanted])
    composed = {k: features for k, features in found.items() if features}
    if system.options.compose.by != "llm":
        return [*described, PlanLine("reports composed without a language model", len(composed), "reports")]
    if any(line.what == CALLS["describe"] and line.amount for line in described):
        # Their prompts hold descriptions that are still to be made, so that none can have been answered before.
        return [*described, PlanLine(CALLS["compose"], len(composed), "calls")]
    return [*described, *composing(system, [system.draft(cases[k], features) for k, features in composed.items()])]


CALLS = {
    "describe": "features described: questions to the language model",
    "compose": "reports composed: questions to the language model",
}


def _unknown(system: SAERad, n_cases: int) -> list[PlanLine]:
    """Return bounds: how many features are active is known once the autoencoder is trained and the cases encoded."""
    found = []
    if system.options.describe.by == "llm":
        dim = system.encoder_dim()
        most = system.options.sae.expansion * dim
        found.append(PlanLine("features described: questions to the language model, at most", most, "calls"))
    if system.options.compose.by == "llm":
        return [*found, PlanLine("reports composed: questions to the language model, at most", n_cases, "calls")]
    return [*found, PlanLine("reports composed without a language model", n_cases, "reports")]


def describing(system: SAERad, tops: Sequence[TopReports]) -> list[PlanLine]:
    """Return what describing these features takes; nothing without a language model."""
    from systems.sae_rad.describe_llm import LLMDescriber

    describer = system.describer
    if not isinstance(describer, LLMDescriber):
        return []
    questions = describer.questions([top for top in tops if top.reports])
    return _asked(describer.llm, questions, "describe")


def composing(system: SAERad, drafts: Sequence[Draft]) -> list[PlanLine]:
    """Return what composing these drafts takes; nothing without a language model."""
    from systems.sae_rad.compose_llm import LLMComposer

    composer = system.composer
    return _asked(composer.llm, composer.questions(drafts), "compose") if isinstance(composer, LLMComposer) else []


def _asked(llm: LLM, questions: Sequence[Question], kind: str) -> list[PlanLine]:
    todo = llm.missing(questions)
    total = sum(len(m.content) for question in questions for m in question.messages)
    mean = total / max(1, len(questions))
    tokens_in, tokens_out = int(todo * mean / CHARS_A_TOKEN), todo * ANSWER_TOKENS[kind]
    found = [
        PlanLine(CALLS[kind], todo, "calls"),
        PlanLine(f"{kind}: prompt tokens, about", tokens_in, "tokens"),
        PlanLine(f"{kind}: answer tokens, about", tokens_out, "tokens"),
    ]
    cost = llm.cost(tokens_in, tokens_out)
    return found if cost is None else [*found, PlanLine(f"{kind}: cost, about", round(cost, 2), "USD")]
