"""The metric: statements of both sides, each judged against the other side, counted a study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from bench.contracts import (
    FAILED,
    OK,
    UNDEFINED,
    Asset,
    Column,
    Context,
    Floats,
    Mark,
    Pair,
    PlanLine,
    Sampling,
    SmallTable,
    Stats,
)
from bench.options import Options
from metrics.means import mean
from metrics.radfact import planning, prompting
from metrics.radfact.entailment import Judge, Judged, LLMJudge, NoVerdict, Query, RulesJudge, Verdict, premises
from metrics.radfact.phrases import AnnotatorPhrases, LLMPhrases, NoPhrases, Phrase, PhraseSource, Split
from metrics.radfact.texts import locate

RULES = "rules"
Side = Literal["candidate", "reference"]
DIRECTIONS: dict[Side, str] = {"candidate": "precision", "reference": "recall"}


class RadFactOptions(Options):
    """Options of RadFact."""

    judge: str = "ollama/llama3:70b-instruct"
    """LLM that decides entailment, "backend/model" (the paper: Llama3-70B-Instruct), or a label of `llms`; `rules`: the
    rule-based stand-in, without a model."""
    annotator: str | None = None
    """Annotator that splits a report into statements (its annotations have `phrases`); None: an LLM does, or `rules`
    where that is the judge."""
    phrases_llm: str | None = None
    """LLM that splits a report into statements (the paper: GPT-4); None: the judge."""
    prompts: Path | None = None
    """Folder of a copy of microsoft/RadFact whose messages and examples are used unchanged; None: ours."""
    max_failed: float = Field(0.01, ge=0, le=1)
    """Share of studies that may stay without a verdict before the score counts as incomplete."""
    max_tokens: int = Field(1024, ge=1)
    """Longest answer, in tokens."""
    temperature: float = Field(0.0, ge=0)
    """0: the likeliest answer, as in the paper."""

    @model_validator(mode="after")
    def _one_splitter(self) -> RadFactOptions:
        if self.annotator is not None and self.phrases_llm is not None:
            raise ValueError("annotator and phrases_llm both split reports: give one of them")
        return self


@dataclass(frozen=True, slots=True)
class Direction:
    """The statements of one side of a study and how each was judged against the other side."""

    phrases: tuple[Phrase, ...]
    judged: tuple[Judged, ...]
    failure: str | None = None
    """Why nothing could be judged: a side was not split."""

    @property
    def status(self) -> int:
        """FAILED where a verdict is missing, UNDEFINED where there is nothing to judge, else OK."""
        if self.failure is not None or any(isinstance(verdict, NoVerdict) for verdict in self.judged):
            return FAILED
        return OK if self.judged else UNDEFINED

    @property
    def stats(self) -> tuple[float, float]:
        """Fraction entailed and 1; zeros where the status is not OK."""
        if self.status != OK:
            return 0.0, 0.0
        return sum(isinstance(v, Verdict) and v.entailed for v in self.judged) / len(self.judged), 1.0


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one direction of a study will ask."""

    phrases: tuple[Phrase, ...]
    queries: tuple[Query, ...]
    failure: str | None = None


def plan(own: Split, other: Split) -> _Plan:
    """Return the queries of the statements `own` against those of the other side.

    A side without statements asks nothing, even where the other side could not be split.
    """
    if isinstance(own, NoPhrases):
        return _Plan((), (), f"not split into statements ({own.kind}): {own.why}")
    if not own:
        return _Plan((), ())
    if isinstance(other, NoPhrases):
        return _Plan(own, (), f"the other side was not split into statements ({other.kind}): {other.why}")
    against = premises(phrase.text for phrase in other)
    return _Plan(own, tuple(Query(phrase.text, against) for phrase in own))


def f1_status(precision: int, recall: int) -> int:
    """Return the F1's status: FAILED where a direction is, UNDEFINED where both are, else OK.

    A study in which one direction is undefined still counts in the other's mean, and so in the F1 of the means.
    """
    if FAILED in (precision, recall):
        return FAILED
    return UNDEFINED if precision == recall == UNDEFINED else OK


def harmonic(precision: Floats, recall: Floats) -> Floats:
    """Return the harmonic mean, of any shape; 0 where both are 0, NaN where one is."""
    total = precision + recall
    found: Floats = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total != 0)
    return found


class RadFact:
    """RadFact precision, recall and F1 (Bannur et al. 2024, arXiv 2406.04449).

    Precision is the share of the candidate's statements that follow from the reference's, recall the reverse; both are
    averaged over the studies that have statements, without weights, and RadFact is the harmonic mean of the two means.
    """

    Options = RadFactOptions
    group = "clinical"
    table1 = True
    columns: ClassVar[tuple[Column, ...]] = (
        Column("RadFact-P", "RadFact-P"),
        Column("RadFact-R", "RadFact-R"),
        Column("RadFact", "RadFact"),
    )

    def __init__(self, options: RadFactOptions, context: Context) -> None:
        self.options, self._context = options, context
        self.max_failed = options.max_failed
        self.stand_in: str | None = "judged by the rules, without a language model" if options.judge == RULES else None

    # -------------------------------------------------------------- the parts

    @cached_property
    def prompts(self) -> prompting.Prompts:
        """The prompts of both steps. Raises BenchError where the folder given is not RadFact's."""
        return prompting.own() if self.options.prompts is None else prompting.official(self.options.prompts)

    @cached_property
    def judge(self) -> Judge:
        """What decides entailment."""
        if self.options.judge == RULES:
            return RulesJudge(self._context.annotator(RULES))
        return LLMJudge(self._context.llm(self.options.judge), self.prompts.entailment, self._sampling)

    @cached_property
    def splitter(self) -> PhraseSource:
        """What splits reports."""
        o = self.options
        spec = o.annotator or (RULES if o.judge == RULES and o.phrases_llm is None else None)
        if spec is not None:
            return AnnotatorPhrases(spec, self._context.annotator(spec))
        return LLMPhrases(self._context.llm(o.phrases_llm or o.judge), self.prompts.phrases, self._sampling)

    @property
    def _sampling(self) -> Sampling:
        return Sampling(temperature=self.options.temperature, max_tokens=self.options.max_tokens)

    def assets(self) -> Sequence[Asset]:
        """Name judge and splitter to the context; what they need they say themselves."""
        _ = self.judge, self.splitter
        return ()

    def signature(self) -> str:
        """Return judge, splitter, prompts and sampling.

        Raises Unavailable where a model cannot be reached, BenchError where the prompts given are not RadFact's.
        """
        o = self.options
        if o.prompts is not None:
            _ = self.prompts  # a wrong folder is told, also where nothing is asked
        asks = not (isinstance(self.judge, RulesJudge) and isinstance(self.splitter, AnnotatorPhrases))
        said = f"|prompts:{self.prompts.source}|t:{o.temperature:g}|max-tokens:{o.max_tokens}" if asks else ""
        return f"radfact|judge:{self.judge.fingerprint()}|phrases:{self.splitter.fingerprint()}{said}|v:1"

    def plan(self, references: Sequence[str]) -> Sequence[PlanLine]:
        """Return about what a system's reports will ask, taking them to be like the references.

        The rule-based reader counts the statements. Equal questions are asked once, and kept answers are not asked
        again: it is an upper bound for a second system.
        """
        found: list[PlanLine] = []
        different = list(dict.fromkeys(references))
        if isinstance(self.splitter, LLMPhrases):
            calls = len(different) + len(references)
            length = planning.mean_length(references)
            found += planning.lines(self.splitter.llm, self.prompts.phrases, "statements", calls, length)
        if isinstance(self.judge, LLMJudge):
            read = AnnotatorPhrases(RULES, self._context.annotator(RULES)).split(references)
            counts = [0 if isinstance(split, NoPhrases) else len(split) for split in read]
            length = planning.mean_length(references)
            found += planning.lines(self.judge.llm, self.prompts.entailment, "verdicts", 2 * sum(counts), length)
        return found

    # -------------------------------------------------------------- scoring

    def observe(self, pairs: Sequence[Pair]) -> Stats:
        """Return [precision, 1, recall, 1] of each pair; zeros where a direction is undefined or failed."""
        values = np.zeros((len(pairs), 4))
        status = np.zeros((len(pairs), 3), np.int8)
        for row, (precision, recall) in enumerate(self.studies(pairs)):
            values[row] = (*precision.stats, *recall.stats)
            status[row] = (precision.status, recall.status, f1_status(precision.status, recall.status))
        return Stats(values, status)

    def finish(self, totals: Floats) -> Floats:
        """Return precision, recall and F1 of the means, [..., 4] → [..., 3]."""
        precision, recall = mean(totals[..., :2]), mean(totals[..., 2:])
        return np.concatenate([precision, recall, harmonic(precision, recall)], axis=-1)

    def studies(self, pairs: Sequence[Pair]) -> list[tuple[Direction, Direction]]:
        """Return the judged statements of candidate and reference of each pair, all asked in two rounds."""
        texts = list(dict.fromkeys(text for pair in pairs for text in (pair.candidate, pair.reference)))
        split = dict(zip(texts, self.splitter.split(texts), strict=True))
        plans = [
            plan(split[one], split[other])
            for pair in pairs
            for one, other in ((pair.candidate, pair.reference), (pair.reference, pair.candidate))
        ]
        verdicts = iter(self.judge.judge([query for p in plans for query in p.queries]))
        directions = [Direction(p.phrases, tuple(next(verdicts) for _ in p.queries), p.failure) for p in plans]
        return list(zip(directions[::2], directions[1::2], strict=True))

    # -------------------------------------------------------------- explaining

    def explain(self, pair: Pair) -> Sequence[Mark | SmallTable]:
        """Mark where the statements stand, and list them with verdict and evidence."""
        precision, recall = self.studies([pair])[0]
        sides: tuple[tuple[Side, str, Direction], ...] = (
            ("candidate", pair.candidate, precision),
            ("reference", pair.reference, recall),
        )
        marks = [mark for side, text, direction in sides for mark in _marks(side, text, direction)]
        rows = [row for side, _, direction in sides for row in _rows(DIRECTIONS[side], direction)]
        return [*marks, SmallTable("Statements", ("direction", "statement", "verdict", "evidence"), tuple(rows))]


# ------------------------------------------------------------------ what a page shows


def _word(judged: Judged) -> str:
    if isinstance(judged, NoVerdict):
        return f"no verdict ({judged.kind})"
    return "entailed" if judged.entailed else "not entailed"


def _rows(name: str, direction: Direction) -> Iterator[tuple[str, str, str, str]]:
    if direction.failure is not None:
        yield name, "–", "failed", direction.failure
    elif not direction.phrases:
        yield name, "–", "undefined", "no statement"
    for phrase, judged in zip(direction.phrases, direction.judged, strict=False):
        shown = judged.why if isinstance(judged, NoVerdict) else " · ".join(judged.evidence)
        yield name, phrase.text, _word(judged), shown


def _marks(side: Side, text: str, direction: Direction) -> Iterator[Mark]:
    """Yield a mark for each place that makes statements: their own words where they stand, else their sentence.

    Places that overlap one marked before are left out.
    """
    places: dict[tuple[int, int], list[str]] = {}
    for phrase, judged in zip(direction.phrases, direction.judged, strict=False):
        if place := locate(phrase.text, text) or locate(phrase.origin, text):
            places.setdefault(place, []).append(_word(judged))
    end = 0
    for (start, stop), said in sorted(places.items()):
        if start >= end:
            kind = said[0] if len(set(said)) == 1 else "mixed"
            yield Mark(side, start, stop, kind, f"{DIRECTIONS[side]}: {', '.join(said)}")
            end = stop
