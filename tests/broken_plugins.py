"""Plugins that each break one rule of their contract, and the sound ones they derive from."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from plugins import TinyDataset, text
from pydantic import ConfigDict

from bench.contracts import (
    FAILED,
    OK,
    UNDEFINED,
    Case,
    Column,
    Evidence,
    HubFiles,
    Image,
    Mark,
    Pair,
    PlanLine,
    Prior,
    Report,
    SmallTable,
    Stats,
    TrainingSet,
)
from bench.errors import Unavailable
from bench.options import Options

HERE = Path(__file__)


class Cases(TinyDataset):
    """Cases with an image file that is there, an indication and an earlier report."""

    def cases(self, split: str) -> Sequence[Case]:
        return [
            replace(case, images=(Image(HERE, "PA"),), indication=f"Cough {i}.", priors=(Prior(text(i), None, 9),))
            for i, case in enumerate(super().cases(split))
        ]


# ------------------------------------------------------------------ systems


class SoundOptions(Options):
    """Options of a sound system."""

    prefix: str = "Chest."
    """Said first."""
    loud: bool = False
    """Whether it is said in capitals."""
    batch: int = 2
    """Moves nothing."""


class Sound:
    """Keeps every rule."""

    Options: ClassVar[type[Options]] = SoundOptions

    def __init__(self, options: Any, context: Any) -> None:
        self.options, self.context = options, context

    def fingerprint(self) -> str:
        return f"sound|{self.options.prefix}|{self.options.loud}"

    def plan(self, train: TrainingSet, cases: Sequence[Case]) -> Sequence[PlanLine]:
        return [PlanLine("reports", len(cases), "cases")]

    def assets(self) -> Sequence[Any]:
        return [HubFiles("someone/something")]

    def prepare(self, train: TrainingSet) -> None:
        self.known = len(train.cases)

    def generate(self, cases: Sequence[Case]) -> Iterable[Any]:
        for case in cases:
            if case.images[0].path.exists():
                yield Report(case.id, self.say(case), (Evidence("note", "how", 1.0, "why"),))
            else:
                yield Report(case.id, "", error="no such image")

    def say(self, case: Case) -> str:
        said = f"{self.options.prefix} {case.id} {case.indication} {len(case.priors)}"
        return said.upper() if self.options.loud else said

    def facts(self) -> Mapping[str, float]:
        return {"known": float(self.known)}

    def details(self) -> Mapping[str, Any]:
        return {"how": "by hand"}


class LaxOptions(SoundOptions):
    """Options that take anything."""

    model_config = ConfigDict(extra="ignore")


class Lax(Sound):
    """options"""

    Options = LaxOptions


class NoFacts(Sound):
    """build"""

    facts: Any = None


class NumberForFingerprint(Sound):
    """build"""

    def fingerprint(self) -> Any:
        return 7


class WrongAssets(Sound):
    """assets"""

    def assets(self) -> Sequence[Any]:
        return ["someone/something"]


class PlanNeedsPrepare(Sound):
    """plan"""

    def plan(self, train: TrainingSet, cases: Sequence[Case]) -> Sequence[PlanLine]:
        return [PlanLine("known", self.known, "cases")]


class PlanOfTuples(Sound):
    """plan"""

    def plan(self, train: TrainingSet, cases: Sequence[Case]) -> Sequence[Any]:
        return [("reports", 3, "cases")]


class PreparesOnce(Sound):
    """prepare"""

    def prepare(self, train: TrainingSet) -> None:
        if hasattr(self, "known"):
            raise RuntimeError("prepared already")
        super().prepare(train)


class LeavesOut(Sound):
    """reports"""

    def generate(self, cases: Sequence[Case]) -> Iterable[Any]:
        return itertools.islice(super().generate(cases), max(0, len(cases) - 1))


class Stranger(Sound):
    """reports"""

    def generate(self, cases: Sequence[Case]) -> Iterable[Any]:
        yield from super().generate(cases)
        if cases:
            yield Report("stranger", "Hello.")


class Twice(Sound):
    """reports"""

    def generate(self, cases: Sequence[Case]) -> Iterable[Any]:
        for report in super().generate(cases):
            yield report
            yield report


class Strings(Sound):
    """reports"""

    def generate(self, cases: Sequence[Case]) -> Iterable[Any]:
        return (self.say(case) for case in cases)


class NaNEvidence(Sound):
    """reports"""

    def generate(self, cases: Sequence[Case]) -> Iterable[Any]:
        for report in super().generate(cases):
            yield replace(report, evidence=(Evidence("note", "how", float("nan"), "why"),))


class Counts(Sound):
    """again"""

    calls = 0

    def generate(self, cases: Sequence[Case]) -> Iterable[Any]:
        self.calls += bool(cases)
        return [replace(r, text=f"{r.text} {self.calls}") for r in super().generate(cases)]


class Numbers(Sound):
    """order"""

    def generate(self, cases: Sequence[Case]) -> Iterable[Any]:
        return [replace(r, text=f"{i}. {r.text}") for i, r in enumerate(super().generate(cases))]


class KnowsTheBatch(Sound):
    """alone"""

    def generate(self, cases: Sequence[Case]) -> Iterable[Any]:
        return [replace(r, text=f"{r.text} of {len(cases)}") for r in super().generate(cases)]


class NeedsACase(Sound):
    """no case"""

    def generate(self, cases: Sequence[Case]) -> Iterable[Any]:
        longest = max(len(case.id) for case in cases)
        return super().generate(cases) if longest else []


class NeedsAnIndication(Sound):
    """bare case"""

    def say(self, case: Case) -> str:
        return super().say(case) + str(case.indication.lower())  # type: ignore[union-attr]


class NeedsAPrior(Sound):
    """bare case"""

    def say(self, case: Case) -> str:
        return super().say(case) + case.priors[0].text


class NeedsAnImage(Sound):
    """bad image"""

    def generate(self, cases: Sequence[Case]) -> Iterable[Any]:
        for case in cases:
            yield Report(case.id, f"{self.say(case)} {case.images[0].path.stat().st_size}")


class SpoilsTheBatch(Sound):
    """bad image"""

    def generate(self, cases: Sequence[Case]) -> Iterable[Any]:
        bad = any(not case.images[0].path.exists() for case in cases)
        return [replace(r, error="one was bad" if bad else None) for r in super().generate(cases)]


class NaNFacts(Sound):
    """facts"""

    def facts(self) -> Mapping[str, float]:
        return {"loss": float("nan")}


class TextFacts(Sound):
    """facts"""

    def facts(self) -> Any:
        return {"model": "large"}


class PathInDetails(Sound):
    """details"""

    def details(self) -> Mapping[str, Any]:
        return {"weights": HERE}


class Dice(Sound):
    """new instance"""

    def prepare(self, train: TrainingSet) -> None:
        super().prepare(train)
        if not hasattr(self, "thrown"):
            self.thrown = random.random()

    def say(self, case: Case) -> str:
        return f"{super().say(case)} {self.thrown}"


class Hashes(Sound):
    """resume"""

    def say(self, case: Case) -> str:
        return f"{super().say(case)} {hash(case.id)}"


class CountsInFacts(Sound):
    """facts of a part"""

    written = 0

    def generate(self, cases: Sequence[Case]) -> Iterable[Any]:
        for report in super().generate(cases):
            self.written += 1
            yield report

    def facts(self) -> Mapping[str, float]:
        return {"written": float(self.written)}


class HashForFingerprint(Sound):
    """fingerprint"""

    def fingerprint(self) -> str:
        return f"{hash(super().fingerprint())}"


class FingerprintOfAnObject(Sound):
    """fingerprint"""

    kept: ClassVar[list[Any]] = []

    def fingerprint(self) -> str:
        self.kept.append(self)  # so that no later instance has its address
        return f"{super().fingerprint()}|{id(self)}"


class FingerprintOnceLearnt(Sound):
    """fingerprint"""

    def fingerprint(self) -> str:
        return f"{super().fingerprint()}|{getattr(self, 'known', 0)}"


class SilentOption(Sound):
    """options told"""

    def fingerprint(self) -> str:
        return f"silent|{self.options.prefix}"


class NotHere(Sound):
    """No weights."""

    def prepare(self, train: TrainingSet) -> None:
        raise Unavailable("the weights are not here", "fetch the weights")


class Undocumented(Sound):
    __doc__ = None


class AllFail(Sound):
    """Answers no case."""

    def generate(self, cases: Sequence[Case]) -> Iterable[Any]:
        return (Report(case.id, "", error="no answer came") for case in cases)


# ------------------------------------------------------------------ metrics


class FairOptions(Options):
    """Options of a sound metric."""

    lower: bool = True
    """Whether case is folded."""
    batch: int = 4
    """Moves nothing."""


class Fair:
    """Share of the reference's words that the candidate has; undefined where the reference has none."""

    Options: ClassVar[type[Options]] = FairOptions
    columns: Any = (Column("Fair", "Fair"),)

    def __init__(self, options: Any, context: Any) -> None:
        self.options = options

    def signature(self) -> str:
        return f"fair|{self.options.lower}"

    def plan(self, references: Sequence[str]) -> Sequence[PlanLine]:
        return [PlanLine("words", sum(map(len, references)), "words")]

    def row(self, pair: Pair) -> tuple[float, ...]:
        said, true = (set((t.lower() if self.options.lower else t).split()) for t in (pair.candidate, pair.reference))
        return len(said & true), len(true)

    def observe(self, pairs: Sequence[Pair]) -> Any:
        values = np.array([self.row(pair) for pair in pairs], float)
        return Stats(values, np.where(values.any(axis=1), OK, UNDEFINED).astype(np.int8)[:, None])

    def finish(self, totals: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return totals[..., :1] / totals[..., 1:2]

    def explain(self, pair: Pair) -> Sequence[Any]:
        return [Mark("candidate", 0, len(pair.candidate), "all"), SmallTable("t", ("a", "b"), (("1", "2"),))]

    def tables(self, totals: np.ndarray) -> Sequence[Any]:
        return [SmallTable("t", ("a", "b"), (("1", "2"),))]


class LaxFairOptions(FairOptions):
    """Options that take anything."""

    model_config = ConfigDict(extra="ignore")


class LaxFair(Fair):
    """options"""

    Options = LaxFairOptions


class EmptySignature(Fair):
    """build"""

    def signature(self) -> str:
        return ""


class WrongAssetsOfAMetric(Fair):
    """assets"""

    def assets(self) -> Sequence[Any]:
        return [HERE]


class OneKeyTwice(Fair):
    """columns"""

    columns = (Column("Fair", "Fair"), Column("Fair", "Fairer"))


class NoColumns(Fair):
    """columns"""

    columns = ()


class InfinitePlan(Fair):
    """plan"""

    def plan(self, references: Sequence[str]) -> Sequence[PlanLine]:
        return [PlanLine("words", float("inf"), "words")]


class Float32(Fair):
    """observe"""

    def observe(self, pairs: Sequence[Pair]) -> Any:
        stats = super().observe(pairs)
        return Stats(stats.values.astype(np.float32), stats.status)  # type: ignore[arg-type]


class WideStatus(Fair):
    """observe"""

    def observe(self, pairs: Sequence[Pair]) -> Any:
        stats = super().observe(pairs)
        return Stats(stats.values, stats.status.astype(np.int64))  # type: ignore[arg-type]


class NaNStats(Fair):
    """observe"""

    def row(self, pair: Pair) -> tuple[float, ...]:
        return float("nan"), 1.0


class Lists(Fair):
    """observe"""

    def observe(self, pairs: Sequence[Pair]) -> Any:
        return [self.row(pair) for pair in pairs]


class FailedWithNumbers(Fair):
    """observe"""

    def observe(self, pairs: Sequence[Pair]) -> Any:
        stats = super().observe(pairs)
        stats.status[0] = FAILED
        return stats


class Remembers(Fair):
    """again"""

    calls = 0

    def row(self, pair: Pair) -> tuple[float, ...]:
        self.calls += 1
        return (*super().row(pair), self.calls)


class WeighsByPlace(Fair):
    """order"""

    def observe(self, pairs: Sequence[Pair]) -> Any:
        stats = super().observe(pairs)
        return Stats(stats.values * (1 + np.arange(len(pairs)))[:, None], stats.status)


class WeighsByBatch(Fair):
    """alone"""

    def observe(self, pairs: Sequence[Pair]) -> Any:
        stats = super().observe(pairs)
        return Stats(stats.values * len(pairs), stats.status)


class StumblesOverNothing(Fair):
    """odd texts"""

    def row(self, pair: Pair) -> tuple[float, ...]:
        said, true = super().row(pair)
        return said, true, said / len(pair.candidate.split())


class OneCorpusOnly(Fair):
    """finish"""

    def finish(self, totals: np.ndarray) -> np.ndarray:
        return np.array([totals[0] / totals[1]]) if totals[1].all() else np.array([np.nan])


class SharesAmongRows(Fair):
    """finish"""

    def finish(self, totals: np.ndarray) -> np.ndarray:
        return super().finish(totals) / max(1, totals[..., 0].size)


class SpoilsTotals(Fair):
    """finish"""

    def finish(self, totals: np.ndarray) -> np.ndarray:
        scores = super().finish(totals)
        totals[..., 0] = 0
        return scores


class DividesByNothing(Fair):
    """no totals"""

    def finish(self, totals: np.ndarray) -> np.ndarray:
        if totals.ndim == 1:
            return np.array([float(totals[0]) / float(totals[1])])
        return super().finish(totals)


class CountsTheUndefined(Fair):
    """left out"""

    columns = (Column("Fair", "Fair"), Column("Length", "Length"))

    def observe(self, pairs: Sequence[Pair]) -> Any:
        values = np.array([[*self.row(pair), len(pair.candidate.split()), 1] for pair in pairs], float)
        undefined = [not pair.reference.split() for pair in pairs]
        values[undefined, 1] += 1  # counts for the first column, which leaves these pairs out
        status = np.zeros((len(pairs), 2), np.int8)
        status[undefined, 0] = UNDEFINED
        return Stats(values, status)

    def finish(self, totals: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.stack([totals[..., 0] / totals[..., 1], totals[..., 2] / totals[..., 3]], axis=-1)


class Sums(Fair):
    """adds up"""

    def row(self, pair: Pair) -> tuple[float, ...]:
        said, true = super().row(pair)
        return (said / max(true, 1),)

    def finish(self, totals: np.ndarray) -> np.ndarray:
        return totals[..., :1]


class MarksTooFar(Fair):
    """explain"""

    def explain(self, pair: Pair) -> Sequence[Any]:
        return [Mark("reference", 0, len(pair.reference) + 1, "all")]


class RaggedTable(Fair):
    """tables"""

    def tables(self, totals: np.ndarray) -> Sequence[Any]:
        return [SmallTable("t", ("a", "b"), (("1",),))]


class HashesWords(Fair):
    """new instance"""

    def row(self, pair: Pair) -> tuple[float, ...]:
        return (*super().row(pair), hash(pair.reference) % 1000)


class HashForSignature(Fair):
    """signature"""

    def signature(self) -> str:
        return f"fair|{hash(str(self.options))}"


class SilentChoice(Fair):
    """options told"""

    def signature(self) -> str:
        return "fair"


class WrongWay(Fair):
    """Better where less is said."""

    def finish(self, totals: np.ndarray) -> np.ndarray:
        return 1 - super().finish(totals)


class NoDictionary(Fair):
    """Cannot work here."""

    def signature(self) -> str:
        raise Unavailable("the dictionary is not here", "fetch the dictionary")
