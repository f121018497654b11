"""The metric: the mean over pairs of what the package RaTEScore gives a pair."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from bench.contracts import Column, Context, Floats, Mark, Pair, SmallTable, Stats, Unannotated
from bench.errors import BenchError
from bench.options import Options
from metrics.means import mean, mean_stats

Side = Literal["candidate", "reference"]
SIDES: tuple[Side, ...] = ("candidate", "reference")


class RaTEScoreOptions(Options):
    """Options of RaTEScore."""

    annotator: str = "ratescore-pairs"
    """Annotator that scores pairs: the package in a worker, or a label of it with other options."""


class RaTEScore:
    """RaTEScore (Zhao et al. 2024, arXiv 2406.16845): how far the entities of both sides agree.

    As the package has it, a pair of which a side has no entity scores 0.5; so does an empty report.
    """

    Options = RaTEScoreOptions
    group = "clinical"
    columns: ClassVar[tuple[Column, ...]] = (Column("RaTEScore", "RaTEScore"),)

    def __init__(self, options: RaTEScoreOptions, context: Context) -> None:
        self.options = options
        self._annotator = context.annotator(options.annotator)

    def signature(self) -> str:
        """Return package, weights and matrix. Raises Unavailable where they cannot be had."""
        return f"ratescore|annotator:{self._annotator.fingerprint()}|v:1"

    def observe(self, pairs: Sequence[Pair]) -> Stats:
        """Return [score, 1] of each pair; FAILED where the package failed on it."""
        found = [self._read(annotation) for annotation in self._annotator.annotate([_text(pair) for pair in pairs])]
        return mean_stats([None if one is None else float(one["score"]) for one in found])

    def finish(self, totals: Floats) -> Floats:
        """Return the mean over pairs, [..., 2] → [..., 1]."""
        return mean(totals)

    def explain(self, pair: Pair) -> Sequence[Mark | SmallTable]:
        """Mark the entities of both sides by their types, and list them."""
        (annotation,) = self._annotator.annotate([_text(pair)])
        if isinstance(annotation, Unannotated):
            return [SmallTable("RaTEScore", ("no score", ""), (("why", annotation.why),))]
        found = self._read(annotation)
        assert found is not None
        texts: dict[Side, str] = {"candidate": pair.candidate, "reference": pair.reference}
        marks = [mark for side in SIDES for mark in _marks(side, texts[side], found[side])]
        rows = [(side, str(entity), str(kind).lower()) for side in SIDES for entity, kind in found[side]]
        return [
            *marks,
            SmallTable("Entities", ("side", "entity", "type"), tuple(rows)),
            SmallTable("RaTEScore", ("", ""), (("score", f"{found['score']:.3f}"),)),
        ]

    def _read(self, annotation: Any) -> Mapping[str, Any] | None:
        if isinstance(annotation, Unannotated):
            return None
        if not isinstance(annotation, Mapping) or "rate" not in annotation:
            raise BenchError(f"annotator {self.options.annotator!r} gives no RaTEScore: use ratescore-pairs")
        found: Mapping[str, Any] = annotation["rate"]
        return found


def _text(pair: Pair) -> str:
    return json.dumps({"candidate": pair.candidate, "reference": pair.reference}, ensure_ascii=False)


def _marks(side: Side, text: str, entities: Sequence[Sequence[str]]) -> Iterator[Mark]:
    """Yield a mark for each entity that stands in the text as it was read, in their order."""
    end, folded = 0, text.lower()
    if len(folded) != len(text):  # a letter whose small form is two: places would not be those of the text
        return
    for entity, kind in entities:
        start = folded.find(entity.strip().lower(), end)
        if entity.strip() and start >= 0:
            end = start + len(entity.strip())
            yield Mark(side, start, end, kind.lower(), kind.lower())
