"""The metric `bertscore`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.contracts import FAILED, OK, Asset, Column, Context, Floats, Mark, Pair, SmallTable, Stats
from metrics.bertscore.options import BERTScoreOptions
from metrics.bertscore.scorer import Scorer, is_text

if TYPE_CHECKING:
    from metrics.bertscore.network import Pieces

WORST = 8
"""Pieces a side that the page lists."""


class BERTScore:
    """BERTScore: F of the tokens' best matches by cosine, mean over pairs; rescaled distilroberta-base by default.

    Equal to bert-score 0.3.13 with idf off: `idf` would let a pair's score depend on the other references of a run.
    Where the package pads a batch a token without any similar one gets 0; here it keeps its true, negative cosine,
    which trained models do not have. An empty side scores 0 before rescaling, which is far below 0 after it. A text is
    cut after 512 tokens. Statistics: F, precision, recall, and 1 for the pair.
    """

    Options = BERTScoreOptions
    table1 = False
    columns = (
        Column("BERTScore", "BERTScore"),
        Column("BERTScore-P", "BERTScore P"),
        Column("BERTScore-R", "BERTScore R"),
    )

    def __init__(self, options: BERTScoreOptions, context: Context) -> None:
        self.options = options
        self._scorer = Scorer(options, context, "metric bertscore")

    def assets(self) -> Sequence[Asset]:
        """Return weights and tokeniser, where they are the hub's."""
        return self._scorer.assets()

    def signature(self) -> str:
        """Return whose definition, the model with its weights, the layer, and the baseline."""
        return f"bertscore|of:bert-score-0.3.13|model:{self._scorer.fingerprint()}|v:1"

    def observe(self, pairs: Sequence[Pair]) -> Stats:
        """Return [F, precision, recall, 1] of each pair; FAILED where a side is no text."""
        p, r, f = self._scorer.scores([(pair.candidate, pair.reference) for pair in pairs]).T
        values = np.stack([f, p, r, np.ones(len(pairs))], axis=1)
        failed = ~np.isfinite(values).all(axis=1)
        values[failed] = 0
        status = np.where(failed[:, None], FAILED, OK).repeat(len(self.columns), axis=1).astype(np.int8)
        return Stats(values, status)

    def finish(self, totals: Floats) -> Floats:
        """Return the means of F, precision and recall, [..., 4] → [..., 3]; NaN where nothing was counted."""
        count = totals[..., 3:]
        means: Floats = np.divide(totals[..., :3], count, out=np.full(totals[..., :3].shape, np.nan), where=count > 0)
        return means

    # -------------------------------------------------------------- pages

    def explain(self, pair: Pair) -> Sequence[Mark | SmallTable]:
        """Mark the pieces of both sides by whether their best match is the same piece; list the worst matched."""
        broken = [(side, "not a text") for side in ("candidate", "reference") if not is_text(getattr(pair, side))]
        if broken:
            return [SmallTable("Not scored", ("side", "why"), tuple(broken))]
        said, true, similar = self._scorer.matches(pair.candidate, pair.reference)
        return [
            *_marks("candidate", said, true, similar),
            *_marks("reference", true, said, similar.T),
            self._summary(pair),
            SmallTable(
                "Worst matched pieces",
                ("side", "piece", "best match", "cosine"),
                (*_worst("candidate", said, true, similar), *_worst("reference", true, said, similar.T)),
            ),
        ]

    def _summary(self, pair: Pair) -> SmallTable:
        texts = [(pair.candidate, pair.reference)]
        raw, shown = self._scorer.raw(texts)[0], self._scorer.scores(texts)[0]
        names = ("precision", "recall", "F")
        rows = tuple(
            (name, f"{before:.4f}", f"{after:.4f}") for name, before, after in zip(names, raw, shown, strict=True)
        )
        rescaled = "rescaled" if self.options.rescale else "not rescaled"
        return SmallTable("BERTScore of this pair", ("what", "cosine", rescaled), rows)


def _marks(side: Literal["candidate", "reference"], own: Pieces, other: Pieces, similar: Floats) -> Iterator[Mark]:
    for place, (start, end) in enumerate(own.spans):
        if end > start:
            best = int(similar[place].argmax())
            same = own.ids[place] == other.ids[best]
            note = f"best match {other.words[best] or 'none'}, cosine {similar[place, best]:.2f}"
            yield Mark(side, start, end, "match" if same else "partial", note)


def _worst(side: str, own: Pieces, other: Pieces, similar: Floats) -> Iterator[tuple[str, ...]]:
    places = [place for place, (start, end) in enumerate(own.spans) if end > start]
    for place in sorted(places, key=lambda place: float(similar[place].max()))[:WORST]:
        best = int(similar[place].argmax())
        yield side, own.words[place], other.words[best] or "(none)", f"{similar[place, best]:.3f}"
