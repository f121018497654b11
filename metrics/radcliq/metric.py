"""The metric `radcliq-v1`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import Field

from bench.contracts import FAILED, OK, Asset, Column, Context, Floats, Mark, Pair, SmallTable, Stats, Unannotated
from bench.errors import Unavailable
from bench.options import Options
from metrics.bertscore.options import BERTScoreOptions
from metrics.bertscore.scorer import Scorer
from metrics.bleu import statistics
from metrics.chexbert.embedding import vector_of
from metrics.radcliq.coefficients import PARTS, Coefficients, read
from metrics.radgraph import RadGraphF1

SMOOTHED = 0.1
"""What counts as a match where there is none (method 1 of Chen and Cherry 2014, fast_bleu's default)."""
REMEDY = (
    "on a connected machine run `bench assets pull --metrics radcliq-v1`, and carry what it fetched here (bench assets "
    "export and import); or set annotators.radgraph.archive and encoder, annotators.chexbert.checkpoint and tokenizer, "
    "and metrics.radcliq-v1.bertscore.model to files and folders of yours"
)
"""Where more than one of the models is missing."""
NAMES = {
    "radgraph": "RadGraph F1",
    "bertscore": "BERTScore F",
    "semb": "SembScore",
    "bleu": "BLEU-2",
}


class RadCliQOptions(Options):
    """Options of RadCliQ-v1."""

    radgraph: str = Field("radgraph", min_length=1)
    """Annotator of the graphs; RadCliQ was fitted on the original radgraph."""
    embeddings: str = Field("chexbert-embedding", min_length=1)
    """Annotator of the vectors whose cosine is the SembScore."""
    bertscore: BERTScoreOptions = BERTScoreOptions.model_validate({})
    """Options of the BERTScore, as the metric bertscore has them; RadCliQ was fitted on its defaults."""
    coefficients: Path | None = None
    """YAML file of other coefficients, in the form of metrics/radcliq/coefficients.yaml."""


def bleu_tokens(text: str) -> list[str]:
    """Return the words of a text as CXR-Report-Metric cuts them: lower case, periods apart, blanks only."""
    return [token for token in text.lower().replace(".", " .").split(" ") if token]


def bleu_2(candidate: str, reference: str) -> float:
    """Return the BLEU-2 of one pair in [0, 1], as fast_bleu computes it: without shared words 0, else smoothed."""
    said, true, words, two_words, n_words, n_two = statistics(bleu_tokens(candidate), bleu_tokens(reference), 2, 1)
    if words == 0:
        return 0.0
    precisions = words / n_words, (two_words or SMOOTHED) / n_two
    return min(1.0, math.exp(1 - true / said)) * math.sqrt(math.prod(precisions))


def cosine(a: Floats, b: Floats) -> float:
    """Return the cosine of two vectors; NaN where one has no length."""
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length else math.nan


class RadCliQ:
    """RadCliQ-v1 (Yu et al. 2023): predicted errors, normalised; lower is better.

    A linear composite of the F1 of RadGraph's entities and relations, BERTScore, the cosine of CheXbert's embeddings
    and BLEU-2, mean over pairs. ReXrank shows 1 / that mean. A pair with a part that failed is failed. Statistics:
    value and 1 of each column.
    """

    Options = RadCliQOptions
    group = "clinical"
    table1 = False
    columns = (
        Column("RadCliQ-v1", "RadCliQ-v1", scale=1.0, decimals=3, higher_is_better=False),
        Column("RadCliQ-RadGraph", "RadCliQ: RadGraph F1"),
        Column("RadCliQ-BERTScore", "RadCliQ: BERTScore"),
        Column("SembScore", "SembScore"),
        Column("BLEU-2", "BLEU-2"),
    )

    def __init__(self, options: RadCliQOptions, context: Context) -> None:
        self.options = options
        self._graphs = RadGraphF1(RadGraphF1.Options(annotator=options.radgraph), context)
        self._vectors = context.annotator(options.embeddings)
        self._scorer = Scorer(options.bertscore, context, "metric radcliq-v1")
        self._coefficients: Coefficients = read(options.coefficients)

    def assets(self) -> Sequence[Asset]:
        """Return BERTScore's model, where it is the hub's; the annotators speak for themselves."""
        return self._scorer.assets()

    def signature(self) -> str:
        """Return the coefficients, and what each part is computed with. Unavailable names all that is missing."""
        return self._signature

    @cached_property
    def _signature(self) -> str:
        told: dict[str, Callable[[], str]] = {
            "radgraph": self._graphs.signature,
            "bertscore": self._scorer.fingerprint,
            "semb": self._vectors.fingerprint,
        }
        parts, missing = [], []
        for name, tell in told.items():
            try:
                parts.append(f"{name}:[{tell()}]")
            except Unavailable as err:
                missing.append((f"{NAMES[name]}: {err.reason}", err.remedy))
        if missing:
            reasons, remedies = zip(*missing, strict=True)
            packages = dict.fromkeys(remedy for remedy in remedies if remedy.startswith("pip install"))
            raise Unavailable("; ".join(reasons), remedies[0] if len(missing) == 1 else "; ".join(packages) or REMEDY)
        numbers = self._coefficients.digest()
        return f"radcliq-v1|coefficients:{numbers}|{'|'.join(parts)}|bleu:fast-bleu-2-smoothed|v:1"

    def observe(self, pairs: Sequence[Pair]) -> Stats:
        """Return value and 1 of each column, [n_pairs, 10]; FAILED where a part could not be computed."""
        parts = self.parts(pairs)
        table = np.column_stack([self._coefficients.score(parts), parts])
        good = np.isfinite(table)
        values = np.stack([np.where(good, table, 0.0), good], axis=-1)
        return Stats(values.reshape(len(pairs), -1), np.where(good, OK, FAILED).astype(np.int8))

    def parts(self, pairs: Sequence[Pair]) -> Floats:
        """Return radgraph, bertscore, semb and bleu of each pair, [n_pairs, 4]; NaN where one failed."""
        graphs = self._graphs.observe(pairs)
        texts = [(_spaced(pair.candidate), _spaced(pair.reference)) for pair in pairs]
        found = (
            np.where(graphs.status[:, 0] == OK, graphs.values[:, 0], np.nan),
            self._scorer.scores(texts)[:, 2],
            np.array(self._semb(pairs), np.float64),
            np.array([bleu_2(pair.candidate, pair.reference) for pair in pairs], np.float64),
        )
        return np.column_stack(found)

    def _semb(self, pairs: Sequence[Pair]) -> list[float]:
        found = self._vectors.annotate([text for pair in pairs for text in (pair.candidate, pair.reference)])
        name = self.options.embeddings
        vectors = [None if isinstance(one, Unannotated) else vector_of(one, name) for one in found]
        return [
            math.nan if said is None or true is None else cosine(said, true)
            for said, true in zip(vectors[::2], vectors[1::2], strict=True)
        ]

    def finish(self, totals: Floats) -> Floats:
        """Return the mean of each column, [..., 10] → [..., 5]; NaN where nothing was counted."""
        by_column = totals.reshape(*totals.shape[:-1], len(self.columns), 2)
        total, count = by_column[..., 0], by_column[..., 1]
        means: Floats = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
        return means

    def explain(self, pair: Pair) -> Sequence[Mark | SmallTable]:
        """List the four parts, each as it is, normalised, and with what it adds to the score."""
        values = self.parts([pair])[0]
        normalised, added = self._coefficients.normalised(values), self._coefficients.contributions(values)
        rows = [
            (NAMES[name], *(_number(number) for number in numbers))
            for name, *numbers in zip(PARTS, values, normalised, added, strict=True)
        ]
        rows.append(("intercept", "", "", _number(self._coefficients.intercept)))
        rows.append(("RadCliQ-v1 (lower is better)", "", "", _number(float(self._coefficients.score(values)))))
        return [SmallTable("RadCliQ-v1 of this pair", ("part", "value", "normalised", "adds"), tuple(rows))]


def _spaced(text: str) -> str:
    """Return a text with runs of blanks made one, as CXR-Report-Metric does before BERTScore."""
    return re.sub(" +", " ", text)


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "failed"
