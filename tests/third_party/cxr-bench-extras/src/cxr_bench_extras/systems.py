"""A baseline that looks at no image."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from pydantic import Field

from bench.contracts import Case, Context, Report, TrainingSet
from bench.options import Options


class FirstSentencesOptions(Options):
    """Options of the system first-sentences."""

    sentences: int = Field(2, ge=1, le=20)
    """How many sentences a report has."""


class FirstSentences:
    """The sentences that training reports begin with most often."""

    Options = FirstSentencesOptions

    def __init__(self, options: FirstSentencesOptions, context: Context) -> None:
        self.options, self.context = options, context

    def fingerprint(self) -> str:
        """Return what identifies code and options."""
        return f"first-sentences-1|{self.options.sentences}"

    def prepare(self, train: TrainingSet) -> None:
        """Count what reports begin with."""
        first = [re.split(r"(?<=[.!?])\s+", train.references[case.id].strip())[0] for case in train.cases]
        counted = sorted(Counter(first).items(), key=lambda item: (-item[1], item[0]))
        self.text = " ".join(sentence for sentence, _ in counted[: self.options.sentences])
        self.distinct = len(counted)

    def generate(self, cases: Sequence[Case]) -> Iterator[Report]:
        """Yield the same report for every case."""
        for case in cases:
            yield Report(case.id, self.text)

    def facts(self) -> Mapping[str, float]:
        """Return how many beginnings there are."""
        return {"distinct_beginnings": float(self.distinct)}
