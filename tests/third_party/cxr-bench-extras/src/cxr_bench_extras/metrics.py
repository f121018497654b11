"""A metric of one ratio."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.contracts import Column, Context, Floats, Mark, Pair, SmallTable, Stats
from bench.options import Options


class LengthRatio:
    """Words of all reports over words of all references: above 1, too much is said."""

    Options = Options
    columns = (Column("Length", "Length", scale=1.0, decimals=2),)

    def __init__(self, options: Options, context: Context) -> None:
        self.options = options

    def signature(self) -> str:
        """Return what moves the ratio."""
        return "length-ratio|v:1|tok:split"

    def observe(self, pairs: Sequence[Pair]) -> Stats:
        """Return the words of report and reference."""
        values = np.array([[len(p.candidate.split()), len(p.reference.split())] for p in pairs], float)
        return Stats(values, np.zeros((len(pairs), 1), np.int8))

    def finish(self, totals: Floats) -> Floats:
        """Return the ratio; NaN where no reference has a word."""
        said, true = totals[..., 0], totals[..., 1]
        return np.divide(said, true, out=np.full(np.shape(said), np.nan), where=true > 0)[..., None]

    def explain(self, pair: Pair) -> Sequence[Mark | SmallTable]:
        """Return the two counts."""
        rows = tuple((side, str(len(getattr(pair, side).split()))) for side in ("candidate", "reference"))
        return [SmallTable("words", ("side", "words"), rows)]
