"""Queries put to a chat model, each answer read or refused by the same function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from bench.contracts import LLM, Answer, Message, NoAnswer, Question, Sampling
from metrics.radfact.prompting import Malformed, Task

T = TypeVar("T")


def ask(
    llm: LLM,
    task: Task,
    sampling: Sampling,
    queries: Sequence[str],
    read: Callable[[int, Any], T],
    title: str,
    repeat: int = 0,
) -> list[tuple[T, Answer] | NoAnswer]:
    """Return, for each of different queries, what `read` makes of its answer, or why there is none.

    read(i, data) turns the parsed answer to queries[i] into a result or raises Malformed; the model is then asked again
    with these words. Raises ServerLost where the server went away.
    """
    index = {query: i for i, query in enumerate(queries)}

    def check(question: Question, answer: Answer) -> str | None:
        which = _which(question.messages, index)
        try:
            if which is not None:
                read(which, task.read(answer))
        except Malformed as fault:
            return str(fault)
        return None

    questions = [task.question(query, sampling, repeat) for query in queries]
    answers = llm.ask(questions, check, title) if questions else []
    return [_result(i, answer, task, read) for i, answer in enumerate(answers)]


def _which(messages: Sequence[Message], index: Mapping[str, int]) -> int | None:
    """Return which query a chat asks: its last turn that is one, as complaints about an answer may follow it.

    None where a model's client has altered the turns: the answer is then read once it is given.
    """
    return next((index[message.content] for message in reversed(messages) if message.content in index), None)


def _result(
    i: int, answer: Answer | NoAnswer, task: Task, read: Callable[[int, Any], T]
) -> tuple[T, Answer] | NoAnswer:
    if isinstance(answer, NoAnswer):
        return answer
    try:
        return read(i, task.read(answer)), answer
    except Malformed as fault:
        return NoAnswer("malformed", str(fault))
