"""What a run of RadFact will ask, estimated from the references before anything is spent."""

from __future__ import annotations

from collections.abc import Sequence

from bench.contracts import LLM, PlanLine, Sampling
from metrics.radfact.prompting import Task

CHARS_A_TOKEN = 4
"""English prose in the usual tokenisers, roughly."""
ANSWER_TOKENS = {"statements": 150, "verdicts": 60}
"""Length of an answer, roughly: a report's statements, or a verdict with its evidence."""


def lines(llm: LLM, task: Task, kind: str, calls: int, query_chars: int) -> list[PlanLine]:
    """Return calls, tokens and cost of `calls` questions whose own part has `query_chars` characters on average."""
    before = sum(len(message.content) for message in task.question("", Sampling()).messages)
    tokens_in = calls * (before + query_chars) // CHARS_A_TOKEN
    tokens_out = calls * ANSWER_TOKENS[kind]
    found = [
        PlanLine(f"{kind}: questions, about", calls, "calls"),
        PlanLine(f"{kind}: prompt tokens, about", tokens_in, "tokens"),
        PlanLine(f"{kind}: answer tokens, about", tokens_out, "tokens"),
    ]
    cost = llm.cost(tokens_in, tokens_out)
    return found if cost is None else [*found, PlanLine(f"{kind}: cost, about", round(cost, 2), "USD")]


def mean_length(texts: Sequence[str]) -> int:
    """Return the mean number of characters of some texts, 0 of none."""
    return sum(map(len, texts)) // max(1, len(texts))
