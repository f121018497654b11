"""What each column of a run says of each case alone, read from the statistics that scoring kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import compare, show
from bench.contracts import OK, Column, Floats


@dataclass(frozen=True, slots=True)
class CaseColumn:
    """One column of a run over its cases."""

    column: Column
    metric: str
    """Label of the metric that reports it."""
    signature: str
    values: Floats
    """`finish` of a case's own statistics, [n_cases], as fractions; NaN where the case is not OK or 0/0."""
    status: NDArray[np.int8]
    """OK, UNDEFINED or FAILED, [n_cases]."""


@dataclass(frozen=True, slots=True)
class CaseTable:
    """A finished run, case by case."""

    run: compare.Run
    columns: Mapping[str, CaseColumn]
    """By column key, in the order of tables."""

    @property
    def ids(self) -> Sequence[str]:
        """Ids of the cases, in the run's order; rows of every column."""
        return list(self.run.pairs)


def read(folder: Path) -> CaseTable:
    """Read a finished run; columns without a value in its summary, or whose metric cannot be built here, are left out.

    Raises BenchError where the run is not finished or damaged.
    """
    run = compare.read_run(folder)
    found, _ = compare.units([run], list(run.pairs), all_pairs=True, least=1)
    columns = {}
    for unit in found:
        alone = unit.finish(unit.stats[0].values)
        for key, place in unit.compared.items():
            status = unit.stats[0].status[:, place]
            values = np.where(status == OK, alone[:, place], np.nan)
            columns[key] = CaseColumn(unit.columns[place], unit.label, unit.signature, values, status)
    order = show.column_keys([{"scores": columns}], full=True)
    return CaseTable(run, {key: columns[key] for key in order})
