"""The metric: one answer a pair, read into counts, and the share of what matches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from bench.contracts import (
    FAILED,
    LLM,
    OK,
    Annotator,
    Answer,
    Column,
    Context,
    Floats,
    Mark,
    Message,
    NoAnswer,
    Pair,
    PlanLine,
    Question,
    Sampling,
    SmallTable,
    Stats,
    Unannotated,
)
from bench.errors import BenchError
from bench.options import Options
from metrics.green.asking import ERRORS, Counted, Malformed, prompt, read
from metrics.means import mean

WORKER = "worker"
CHARS_A_TOKEN, ANSWER_TOKENS = 4, 300
"""Rough measures for a plan: English prose, and an answer with its explanation."""


class GREENOptions(Options):
    """Options of GREEN."""

    judge: str = WORKER
    """worker: GREEN's own model, by the annotator `green`. Or a chat model, "backend/model" or a label of `llms`, that
    is asked the same: a server with GREEN's weights, or another model (then it is another metric: the signature tells).
    """
    annotator: str = "green"
    """Label of the annotator, where the judge is the worker."""
    max_words: int | None = Field(300, ge=1)
    """Words of a report that are shown, as in the published code (200 before 2025); None: all."""
    max_tokens: int = Field(1024, ge=1)
    """Longest answer of a chat model, in tokens."""
    max_failed: float = Field(0.01, ge=0, le=1)
    """Share of pairs that may stay without counts before the score is incomplete."""


class _Worker:
    """Answers of the annotator."""

    def __init__(self, name: str, annotator: Annotator) -> None:
        self.name, self.annotator = name, annotator

    def fingerprint(self) -> str:
        return self.annotator.fingerprint()

    def counted(self, questions: Sequence[str]) -> list[Counted | str]:
        """Return the counts of each question's answer, or why there are none."""
        return [self._one(annotation) for annotation in self.annotator.annotate(questions)]

    def _one(self, annotation: Any) -> Counted | str:
        if isinstance(annotation, Unannotated):
            return annotation.why
        if not isinstance(annotation, Mapping) or not isinstance(annotation.get("answer"), str):
            raise BenchError(f"annotator {self.name!r} gives no answers: use green")
        try:
            return read(annotation["answer"])
        except Malformed as fault:
            return str(fault)


class _Chat:
    """Answers of a chat model, asked again where one cannot be read."""

    def __init__(self, llm: LLM, max_tokens: int) -> None:
        self.llm, self.sampling = llm, Sampling(max_tokens=max_tokens)

    def fingerprint(self) -> str:
        return f"{self.llm.fingerprint()}|max-tokens:{self.sampling.max_tokens}"

    def questions(self, texts: Sequence[str]) -> list[Question]:
        return [Question((Message("user", text),), None, self.sampling) for text in texts]

    def counted(self, questions: Sequence[str]) -> list[Counted | str]:
        """Return the counts of each question's answer, or why there are none."""
        answers = self.llm.ask(self.questions(questions), _complaint, "GREEN") if questions else []
        return [f"{a.kind}: {a.why}" if isinstance(a, NoAnswer) else read(a.text) for a in answers]


def _complaint(question: Question, answer: Answer) -> str | None:  # noqa: ARG001
    try:
        read(answer.text)
    except Malformed as fault:
        return f"{fault}. Follow the format exactly, even if no errors are found"
    return None


class GREEN:
    """GREEN (Ostmeier et al. 2024, arXiv 2405.03595): matched findings / (matched findings + significant errors).

    0 where nothing matches. A pair whose answer cannot be read is FAILED, where the published code counts 0.
    Statistics: score and 1, then matched findings and significant errors of the kinds (a) to (f).
    """

    Options = GREENOptions
    group = "clinical"
    columns: ClassVar[tuple[Column, ...]] = (Column("GREEN", "GREEN"),)

    def __init__(self, options: GREENOptions, context: Context) -> None:
        self.options, self.max_failed = options, options.max_failed
        self._judge: _Worker | _Chat
        if options.judge == WORKER:
            self._judge = _Worker(options.annotator, context.annotator(options.annotator))
        else:
            self._judge = _Chat(context.llm(options.judge), options.max_tokens)

    def signature(self) -> str:
        """Return judge, prompt and how much of a report is shown. Raises Unavailable where the judge is not there."""
        return f"green|judge:{self._judge.fingerprint()}|prompt:published|max-words:{self.options.max_words}|v:1"

    def plan(self, references: Sequence[str]) -> Sequence[PlanLine]:
        """Return about what a system's reports will ask, taking them to be like the references."""
        lines = [PlanLine("GREEN: questions, about", len(references), "calls")]
        if isinstance(self._judge, _Chat):
            tokens_in = sum(len(prompt(text, text, self.options.max_words)) for text in references) // CHARS_A_TOKEN
            tokens_out = len(references) * ANSWER_TOKENS
            lines += [
                PlanLine("GREEN: prompt tokens, about", tokens_in, "tokens"),
                PlanLine("GREEN: answer tokens, about", tokens_out, "tokens"),
            ]
            if (cost := self._judge.llm.cost(tokens_in, tokens_out)) is not None:
                lines.append(PlanLine("GREEN: cost, about", round(cost, 2), "USD"))
        return lines

    # -------------------------------------------------------------- scoring

    def observe(self, pairs: Sequence[Pair]) -> Stats:
        """Return [score, 1, matched, (a) … (f)] of each pair; zeros and FAILED where the answer has no counts."""
        values, status = np.zeros((len(pairs), 3 + len(ERRORS))), np.full((len(pairs), 1), OK, np.int8)
        for row, counted in enumerate(self._counted(pairs)):
            if isinstance(counted, str):
                status[row] = FAILED
            else:
                values[row] = [counted.score, 1.0, counted.matched, *counted.significant]
        return Stats(values, status)

    def finish(self, totals: Floats) -> Floats:
        """Return the mean score over pairs, [..., 9] → [..., 1]."""
        return mean(totals[..., :2])

    def tables(self, totals: Floats) -> Sequence[SmallTable]:
        """Return matched findings and significant errors, and how many there are a report. totals: [9]."""
        n = totals[1]
        names = ("matched findings", *ERRORS)
        rows = tuple(
            (name, f"{count:.0f}", f"{count / n:.2f}" if n else "–")
            for name, count in zip(names, totals[2:], strict=True)
        )
        return [SmallTable("findings and errors", ("kind", "number", "a report"), rows)]

    def explain(self, pair: Pair) -> Sequence[Mark | SmallTable]:
        """List the counts and the model's explanation."""
        counted = self._counted([pair])[0]
        if isinstance(counted, str):
            return [SmallTable("GREEN", ("no counts", ""), (("why", counted),))]
        rows = (
            ("matched findings", str(counted.matched), "", counted.listed),
            *(
                (k, str(s), str(i), "")
                for k, s, i in zip(ERRORS, counted.significant, counted.insignificant, strict=True)
            ),
            ("score", f"{counted.score:.3f}", "", counted.explanation),
        )
        return [SmallTable("GREEN", ("kind", "significant", "insignificant", "in the model's words"), rows)]

    def _counted(self, pairs: Sequence[Pair]) -> list[Counted | str]:
        return self._judge.counted([prompt(p.reference, p.candidate, self.options.max_words) for p in pairs])
