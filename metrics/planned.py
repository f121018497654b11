"""Metrics of Table 1 that are known by name, columns and options, and follow in a later version.

A configuration that names them is valid; building one says how to get the number today.
"""

from __future__ import annotations

from typing import ClassVar, Literal, NoReturn

from pydantic import Field

from bench.contracts import Column, Context, Floats, Mark, Pair, SmallTable, Stats
from bench.errors import Unavailable
from bench.options import Options

MEANWHILE = "score a run's reports.jsonl with {package}; --metrics nlg asks for the metrics that work now"


class Planned:
    """A metric that cannot be built yet: shown as "–" with reason and remedy, the others still run."""

    name: ClassVar[str]
    package: ClassVar[str]
    """What computes the number today."""

    def __init__(self, options: Options, context: Context) -> None:  # noqa: ARG002 (every plugin is built so)
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise Unavailable(f"{self.name} is not implemented in this version", MEANWHILE.format(package=self.package))

    def signature(self) -> str:
        """Raise Unavailable."""
        self._refuse()

    def observe(self, pairs: list[Pair]) -> Stats:  # noqa: ARG002
        """Raise Unavailable."""
        self._refuse()

    def finish(self, totals: Floats) -> Floats:  # noqa: ARG002
        """Raise Unavailable."""
        self._refuse()

    def explain(self, pair: Pair) -> list[Mark | SmallTable]:  # noqa: ARG002
        """Raise Unavailable."""
        self._refuse()


class RGEROptions(Options):
    """Options of RGER."""

    annotator: str = "radgraph-xl"
    """What draws the entity-relation graph of a report: radgraph-xl, or radgraph as in older papers."""


class RGER(Planned):
    """RGER: F1 of RadGraph entities with their relations (radgraph's reward "partial"); follows in a later version."""

    Options = RGEROptions
    group = "clinical"
    table1 = True
    name = "rger"
    package = 'the package radgraph (F1RadGraph, reward_level="partial")'
    columns = (Column("RGER", "RGER"),)


class CheXbertF1Options(Options):
    """Options of CheXbert F1."""

    annotator: str = "chexbert"
    """What labels a report's 14 observations."""
    uncertain: Literal["positive", "negative"] = "positive"
    """What an uncertain mention counts as: positive as in f1chexbert, negative as in LLaVA-Rad's evaluation."""


class CheXbertF1(Planned):
    """CheXbert F1, macro and micro, over 5 and 14 observations; follows in a later version."""

    Options = CheXbertF1Options
    group = "clinical"
    table1 = True
    name = "chexbert-f1"
    package = "the package f1chexbert (F1CheXbert)"
    columns = (
        Column("Ma-5", "Ma-5"),
        Column("Ma-14", "Ma-14"),
        Column("Mi-5", "Mi-5"),
        Column("Mi-14", "Mi-14"),
    )


class RadFactOptions(Options):
    """Options of RadFact."""

    annotator: str | None = None
    """What splits a report into phrases; None: the judge."""
    judge: str = "ollama/llama3:70b-instruct"
    """LLM that decides entailment, "backend/model" (the paper: Llama3-70B-Instruct)."""
    max_failed: float = Field(0.01, ge=0, le=1)
    """Share of pairs that may stay without a verdict before there is no score."""


class RadFact(Planned):
    """RadFact precision, recall and F1: phrases entailed by the other report, as an LLM judges; follows later."""

    Options = RadFactOptions
    group = "clinical"
    table1 = True
    name = "radfact"
    package = "microsoft/RadFact (input: CSV example_id,prediction,target)"
    columns = (
        Column("RadFact-P", "RadFact-P"),
        Column("RadFact-R", "RadFact-R"),
        Column("RadFact", "RadFact"),
    )
