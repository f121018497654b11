"""Step 2: does a statement follow from the statements of the other report?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ValidationError, field_validator

from bench.contracts import LLM, Annotator, Answer, NoAnswer, Sampling
from metrics.radfact import schemas
from metrics.radfact.asking import ask
from metrics.radfact.prompting import Malformed, Task
from metrics.radfact.texts import by_fold, fold


@dataclass(frozen=True, slots=True)
class Query:
    """A statement and the set of statements it is checked against, each once and in sorted order.

    The order is the set's, not the report's: so the same question is asked once, and a verdict cannot depend on the
    order in which a report says things.
    """

    phrase: str
    premises: tuple[str, ...]

    @staticmethod
    def of(phrase: str, others: Iterable[str]) -> Query:
        """Return the query of `phrase` against `others`."""
        return Query(phrase, premises(others))


def premises(others: Iterable[str]) -> tuple[str, ...]:
    """Return statements each once and in sorted order."""
    return tuple(sorted(set(others), key=lambda text: (fold(text), text)))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a statement is entailed, and the premises that decide it, word for word."""

    entailed: bool
    evidence: tuple[str, ...]
    attempts: int = 1
    cached: bool = False


@dataclass(frozen=True, slots=True)
class NoVerdict:
    """Why there is no verdict: the direction of the study counts as failed, never as not entailed."""

    kind: str
    why: str


Judged = Verdict | NoVerdict


class Judge(Protocol):
    """What decides entailment."""

    def fingerprint(self) -> str:
        """Return what identifies it."""
        ...

    def judge(self, queries: Sequence[Query], repeat: int = 0) -> list[Judged]:
        """Return a verdict, or why there is none, for each query; equal queries are asked once.

        Without premises nothing can be entailed, so that is not asked.
        """
        ...


class _Raw(BaseModel):
    phrase: str
    evidence: list[str]
    status: Literal["entailment", "not_entailment"]

    @field_validator("evidence", mode="before")
    @classmethod
    def _nothing_is_empty(cls, given: Any) -> Any:
        return [] if given is None else given


def read_verdict(data: Any, query: Query) -> tuple[bool, tuple[str, ...]]:
    """Return whether an answer says "entailed", and its evidence as the premises write it. Raises Malformed.

    The answer must be about the query's statement; every piece of evidence must be a premise (case, white space and the
    punctuation at the end aside); and "entailed" needs evidence.
    """
    try:
        raw = _Raw.model_validate(data)
    except ValidationError as err:
        first = err.errors()[0]
        raise Malformed(f"{'.'.join(map(str, first['loc'])) or 'the answer'}: {first['msg']}") from None
    if fold(raw.phrase) != fold(query.phrase):
        raise Malformed(f'"phrase" must be the hypothesis, word for word: {query.phrase}')
    known = by_fold(query.premises)
    for quoted in raw.evidence:
        if fold(quoted) not in known:
            raise Malformed(f'"evidence" must be copied from the reference, word for word; this is not in it: {quoted}')
    entailed = raw.status == schemas.ENTAILED
    if entailed and not raw.evidence:
        raise Malformed('"entailment" needs evidence: copy the reference statements that show it')
    return entailed, tuple(dict.fromkeys(known[fold(quoted)] for quoted in raw.evidence))


def _split_trivial(queries: Sequence[Query]) -> tuple[list[Query], dict[Query, Judged]]:
    """Return the different queries to ask, and the verdicts of those without premises."""
    different = dict.fromkeys(queries)
    asked = [query for query in different if query.premises]
    return asked, {query: Verdict(False, ()) for query in different if not query.premises}


class LLMJudge:
    """A chat model as the judge."""

    def __init__(self, llm: LLM, task: Task, sampling: Sampling) -> None:
        self.llm, self._task, self._sampling = llm, task, sampling

    def fingerprint(self) -> str:
        """Return model and prompt. Raises Unavailable where the model cannot be reached."""
        return f"{self.llm.fingerprint()}/{self._task.digest()}"

    def judge(self, queries: Sequence[Query], repeat: int = 0) -> list[Judged]:
        """Return verdicts. Raises ServerLost; what was answered before is kept by the model's cache."""
        asked, verdicts = _split_trivial(queries)
        answers = ask(
            self.llm,
            self._task,
            self._sampling,
            [self._task.write({"reference": list(q.premises), "hypothesis": q.phrase}) for q in asked],
            lambda i, data: read_verdict(data, asked[i]),
            "RadFact: verdicts",
            repeat,
        )
        verdicts |= {query: _judged(answer) for query, answer in zip(asked, answers, strict=True)}
        return [verdicts[query] for query in queries]


def _judged(answer: tuple[tuple[bool, tuple[str, ...]], Answer] | NoAnswer) -> Judged:
    if isinstance(answer, NoAnswer):
        return NoVerdict(answer.kind, answer.why)
    (entailed, evidence), given = answer
    return Verdict(entailed, evidence, given.attempts, given.cached)


class RulesJudge:
    """The rule-based report reader as the judge: the stand-in that needs no model."""

    def __init__(self, reader: Annotator) -> None:
        self._reader = reader

    def fingerprint(self) -> str:
        """Return the reader's fingerprint."""
        return self._reader.fingerprint()

    def judge(self, queries: Sequence[Query], repeat: int = 0) -> list[Judged]:  # noqa: ARG002 (rules do not waver)
        """Return verdicts; rules always have one."""
        from metrics.rules.entail import entails

        asked, verdicts = _split_trivial(queries)
        for query in asked:
            entailed, evidence = entails(query.phrase, query.premises)
            verdicts[query] = Verdict(entailed, tuple(evidence))
        return [verdicts[query] for query in queries]
