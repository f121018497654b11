"""Qualifies a judge before a long run: bundled cases with known answers, asked as a run would ask them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Protocol, TypeVar, cast

from bench.contracts import LLM, Answer, Check, Context, NoAnswer, Question
from metrics.radfact.entailment import Judged, NoVerdict, Query
from metrics.radfact.metric import RadFact, RadFactOptions
from metrics.radfact.phrases import NoPhrases, Split
from metrics.radfact.prompting import data_file
from metrics.radfact.texts import fold, matching, words

LEAST_VERDICTS = 0.85
"""Least share of right verdicts."""
LEAST_EACH = 0.8
"""Least share of right verdicts among the entailed questions and among the others: no leaning to one side."""
LEAST_SPLITS = 0.75
"""Least share of reports split rightly."""
MOST_MISSING = 0.05
"""Greatest share of questions without an answer that can count, in either step."""
LEAST_AGREEMENT = 0.95
"""Least share of equal answers when a question is asked again."""
SPARE = 1
"""Statements beyond the expected ones that a right split may have."""
_Z = 1.959963984540054
"""97.5 % point of the normal distribution: for 95 % intervals."""


class Known(Protocol):
    """A case with a known answer."""

    @property
    def kind(self) -> str:
        """What the case tries."""
        ...

    @property
    def side(self) -> str:
        """The answer's class, where classes are looked at one by one, else ""."""
        ...


@dataclass(frozen=True, slots=True)
class VerdictCase:
    """An entailment question, and the evidence a right "entailed" must cite; None: it is not entailed."""

    kind: str
    query: Query
    evidence: frozenset[str] | None

    @property
    def side(self) -> str:
        """Which of the two answers is right."""
        return "not entailed" if self.evidence is None else "entailed"

    def right(self, judged: Judged) -> bool:
        """Tell whether a verdict is the known one."""
        if isinstance(judged, NoVerdict):
            return False
        return judged.entailed == (self.evidence is not None) and (self.evidence or frozenset()) <= {*judged.evidence}

    def show(self, judged: Judged) -> str:
        """Return the case and what was answered, on one line."""
        said = judged.why if isinstance(judged, NoVerdict) else "entailed" if judged.entailed else "not entailed"
        return f"{' '.join(self.query.premises)} ⊢ {self.query.phrase} is {self.side}; answered: {said}"


@dataclass(frozen=True, slots=True)
class Expected:
    """A statement that must be found: these very words, or one with every word of `facts` (each a choice of words)."""

    phrase: str
    facts: tuple[frozenset[str], ...]

    def found_in(self, text: str) -> bool:
        """Tell whether a statement is this one."""
        return fold(text) == fold(self.phrase) or all(choice & words(text) for choice in self.facts)


@dataclass(frozen=True, slots=True)
class SplitCase:
    """A report and the statements it makes."""

    kind: str
    report: str
    expected: tuple[Expected, ...]
    absent: frozenset[str]
    """Words that no statement may hold."""
    side: str = ""

    def right(self, split: Split) -> bool:
        """Tell whether each expected statement is there by itself, none is forbidden, and at most one is spare."""
        if isinstance(split, NoPhrases):
            return False
        texts = [phrase.text for phrase in split]
        if len(texts) > len(self.expected) + SPARE or any(self.absent & words(text) for text in texts):
            return False
        edges = {i: [j for j, t in enumerate(texts) if e.found_in(t)] for i, e in enumerate(self.expected)}
        return matching(edges) == len(self.expected)

    def show(self, split: Split) -> str:
        """Return the case and what was answered, on one line."""
        said = split.why if isinstance(split, NoPhrases) else " | ".join(phrase.text for phrase in split) or "nothing"
        return f"{self.report} states {' | '.join(e.phrase for e in self.expected)}; answered: {said}"


def verdict_cases() -> list[VerdictCase]:
    """Return the bundled entailment questions."""
    return [
        VerdictCase(
            case["kind"],
            Query.of(case["hypothesis"], case["reference"]),
            frozenset(case["evidence"]) if "evidence" in case else None,
        )
        for case in data_file("cases/entailment.yaml")
    ]


def split_cases() -> list[SplitCase]:
    """Return the bundled reports."""
    return [
        SplitCase(
            case["kind"],
            case["report"],
            tuple(
                Expected(e["phrase"], tuple(frozenset(fact.split("|")) for fact in e["facts"]))
                for e in case["expected"]
            ),
            frozenset(case.get("absent", ())),
        )
        for case in data_file("cases/phrases.yaml")
    ]


C = TypeVar("C", bound=Known)


def spread(cases: Sequence[C], limit: int | None) -> list[C]:
    """Return at most `limit` cases, evenly from the list's order, which goes by kind."""
    if limit is None or limit >= len(cases):
        return list(cases)
    return [cases[(2 * i + 1) * len(cases) // (2 * limit)] for i in range(limit)]


# ------------------------------------------------------------------ counting


@dataclass
class Counted:
    """A chat model with what its questions took."""

    llm: LLM
    answered: int = 0
    attempts: int = 0
    cached: int = 0
    unanswered: int = 0
    seconds: float = 0.0

    @property
    def calls(self) -> int:
        """Replies of the model, unusable ones included: more than answers where it was asked again."""
        usage = getattr(self.llm, "usage", None)
        return int(usage()["calls"]) if usage else self.attempts + self.unanswered

    def fingerprint(self) -> str:
        """Return the model's fingerprint."""
        return self.llm.fingerprint()

    def ask(
        self, questions: Sequence[Question], check: Check | None = None, title: str = "questions"
    ) -> list[Answer | NoAnswer]:
        """Ask the model, and count."""
        started = time.perf_counter()
        answers = self.llm.ask(questions, check, title)
        self.seconds += time.perf_counter() - started
        for answer in answers:
            self._count(answer)
        return answers

    async def answer(self, question: Question, check: Check | None = None) -> Answer | NoAnswer:
        """Ask one question, and count."""
        answer = await self.llm.answer(question, check)
        self._count(answer)
        return answer

    def missing(self, questions: Sequence[Question], check: Check | None = None) -> int:
        """Return how many of the questions have no kept answer."""
        return self.llm.missing(questions, check)

    def cost(self, input_tokens: int, output_tokens: int) -> float | None:
        """Return what so many tokens cost, in USD."""
        return self.llm.cost(input_tokens, output_tokens)

    def _count(self, answer: Answer | NoAnswer) -> None:
        if isinstance(answer, NoAnswer):
            self.unanswered += 1
        elif answer.cached:
            self.cached += 1
        else:
            self.answered += 1
            self.attempts += answer.attempts

    def describe(self) -> str:
        """Return one line on questions, calls and time."""
        asked = self.answered + self.unanswered
        rate = f" ({asked / self.seconds:.1f}/s)" if asked and self.seconds else ""
        return (
            f"{asked} questions asked in {self.seconds:.1f} s{rate}, {self.cached} more answered from the cache; "
            f"{self.calls} calls, {self.answered} answers; {self.unanswered} questions stayed without one"
        )


class _CountingContext:
    """A context whose chat models are counted."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.counted: dict[str, Counted] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def llm(self, spec: str) -> LLM:
        if spec not in self.counted:
            self.counted[spec] = Counted(self._context.llm(spec))
        return self.counted[spec]


# ------------------------------------------------------------------ results


def wilson(right: int, n: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share (Wilson 1927), in [0, 1]; (0, 1) of nothing."""
    if n == 0:
        return 0.0, 1.0
    share, z2 = right / n, _Z * _Z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True, slots=True)
class Tally:
    """How one step went."""

    title: str
    least: float
    """Least share of right answers to pass."""
    kinds: tuple[str, ...]
    sides: tuple[str, ...]
    right: tuple[bool, ...]
    missing: tuple[str, ...]
    """Why there was no answer that can count, one entry a question without one."""
    same: int
    """Answers given again that were the same."""
    again: int
    """Questions asked again."""
    wrong: tuple[str, ...]
    """A line a wrong answer."""

    @property
    def n(self) -> int:
        """Number of cases."""
        return len(self.right)

    def by_kind(self) -> Mapping[str, tuple[int, int]]:
        """Return kind → (right, cases)."""
        return {
            k: (sum(r for r, o in zip(self.right, self.kinds, strict=True) if o == k), self.kinds.count(k))
            for k in dict.fromkeys(self.kinds)
        }

    def faults(self) -> list[str]:
        """Return in what the step falls short; nothing where it passes."""
        found = []
        if sum(self.right) < self.least * self.n:
            found.append(f"{self.title}: {sum(self.right)} of {self.n} right, below {self.least:.0%}")
        for side in filter(None, dict.fromkeys(self.sides)):
            of_side = [r for r, s in zip(self.right, self.sides, strict=True) if s == side]
            if sum(of_side) < LEAST_EACH * len(of_side):
                found.append(f"{self.title}, {side}: {sum(of_side)} of {len(of_side)} right, below {LEAST_EACH:.0%}")
        if len(self.missing) > MOST_MISSING * self.n:
            found.append(f"{self.title}: {len(self.missing)} of {self.n} without an answer, above {MOST_MISSING:.0%}")
        if self.same < LEAST_AGREEMENT * self.again:
            found.append(
                f"{self.title}: {self.same} of {self.again} the same when asked again, below {LEAST_AGREEMENT:.0%}"
            )
        return found

    def describe(self) -> list[str]:
        """Return the step's result in lines."""
        low, high = wilson(sum(self.right), self.n)
        kinds = ", ".join(f"{kind} {n}" for kind, n in sorted(Counter(self.missing).items()))
        share = sum(self.right) / self.n
        lines = [
            f"{self.title}: {sum(self.right)} of {self.n} right: {share:.1%}, 95 % interval {low:.1%}–{high:.1%}",
            f"  without an answer that can count: {len(self.missing)}{f' ({kinds})' if kinds else ''}",
        ]
        if self.again:
            lines.append(f"  the same when asked again: {self.same} of {self.again}")
        return lines


@dataclass(frozen=True, slots=True)
class Qualification:
    """What the check of a judge found."""

    signature: str
    tallies: tuple[Tally, ...]
    counted: Mapping[str, Counted]
    stand_in: bool
    """Whether the rules stood in for the judge."""

    def faults(self) -> list[str]:
        """Return in what the judge falls short; nothing where it passes."""
        return [fault for tally in self.tallies for fault in tally.faults()]


def _verdict_key(judged: Judged) -> Hashable:
    """Return what must be equal for two verdicts to agree; None, equal to nothing, where there is no verdict."""
    return None if isinstance(judged, NoVerdict) else judged.entailed


def _split_key(split: Split) -> Hashable:
    return None if isinstance(split, NoPhrases) else tuple(sorted(fold(phrase.text) for phrase in split))


def _tally(
    title: str,
    least: float,
    cases: Sequence[Any],
    passes: Sequence[Sequence[Any]],
    key: Callable[[Any], Hashable],
) -> Tally:
    """Count the answers of the first pass, and in how many the others agree with it."""
    first, others = passes[0], passes[1:]
    right = tuple(case.right(answer) for case, answer in zip(cases, first, strict=True))
    keys = [key(answer) for answer in first]
    same = sum(key(b) is not None and key(b) == a for other in others for a, b in zip(keys, other, strict=True))
    return Tally(
        title,
        least,
        tuple(case.kind for case in cases),
        tuple(case.side for case in cases),
        right,
        tuple(answer.kind for answer in first if isinstance(answer, NoVerdict | NoPhrases)),
        same,
        len(others) * len(cases),
        tuple(case.show(answer) for case, answer, ok in zip(cases, first, right, strict=True) if not ok),
    )


def qualify(options: RadFactOptions, context: Context, repeat: int = 1, limit: int | None = None) -> Qualification:
    """Ask the bundled cases of both steps, and all of them `repeat` times more, past the cache of answers.

    limit: cases of each step at most; None: all. Raises Unavailable or ServerLost where the model is not there.
    """
    counting = _CountingContext(context)
    metric = RadFact(options, cast(Context, counting))
    signature = metric.signature()
    splits, verdicts = spread(split_cases(), limit), spread(verdict_cases(), limit)
    rounds = range(1 + repeat)
    reports, queries = [case.report for case in splits], [case.query for case in verdicts]
    split = [metric.splitter.split(reports, r) for r in rounds]
    judged = [metric.judge.judge(queries, r) for r in rounds]
    tallies = (
        _tally("statements", LEAST_SPLITS, splits, split, _split_key),
        _tally("entailment", LEAST_VERDICTS, verdicts, judged, _verdict_key),
    )
    return Qualification(signature, tallies, counting.counted, metric.stand_in is not None)
