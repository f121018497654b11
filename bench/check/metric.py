"""The contract of a metric, rule by rule (`bench.contracts.Metric`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from bench import statistics
from bench.check import common, other
from bench.check.outcome import Advice, Broken, Checked, Ledger, Outcome, difference, quoted, require, told
from bench.check.subject import Request, Subject, opened
from bench.check.texts import odd_pairs, pairs
from bench.check.vary import moved
from bench.contracts import OK, Column, Floats, Mark, Pair, SmallTable, Stats
from bench.errors import BenchError, ServerLost, StorageFault, Unavailable
from bench.options import Options

MANY = 1e6
"""How often a corpus is repeated to see whether a score hangs on how many pairs there are."""


def check_metric(
    spec: str,
    options: Mapping[str, Any] | None = None,
    *,
    config: str | None = None,
    seed: int | None = None,
    assignments: Sequence[str] = (),
) -> Checked:
    """Check a metric, by name or as ``./file.py:Class``, on texts of this package.

    `assignments` are as with ``--set``. Raises BenchError where there is no such metric, or its options are wrong.
    """
    request = Request("metric", spec, dict(options or {}), config, seed=seed, assignments=tuple(assignments))
    with opened(request) as subject:
        return Checked("metric", spec, _MetricChecks(subject).run())


class _MetricChecks:
    """Runs the checks of one metric."""

    def __init__(self, subject: Subject) -> None:
        self.subject, self.ledger = subject, Ledger()
        self.pairs, self.odd = pairs(), odd_pairs()
        self.metric: Any = None
        self.stats: Stats = Stats(np.zeros((0, 0)), np.zeros((0, 0), np.int8))
        self.signatures: dict[str, Any] = {}
        """When it was asked for → signature."""

    def run(self) -> list[Outcome]:
        """Run all checks, those that others build on first."""
        check = self.ledger.check
        common.declared(self.ledger, self.subject)
        check("import", "finding it imports no heavy package", lambda: common.light(self.other))
        check("build", "it is built with these options, and has a signature", self._build)
        check("columns", "columns have names of their own", self._columns, ["build"])
        check("assets", "what it needs from a network can be told", lambda: common.assets(self.metric), ["build"])
        check("plan", "a dry run can be told before anything is observed", self._plan, ["build"])
        check("observe", "a row of statistics and of statuses for each pair", self._observe, ["columns"])
        check("again", "the same statistics when asked again", self._again, ["observe"])
        check("order", "the same statistics in any order of the pairs", self._order, ["again"])
        check("alone", "the same statistics alone and in a batch", self._alone, ["order"])
        check("odd texts", "empty, strange and very long texts are observed", self._odd_texts, ["observe"])
        check("finish", "scores of totals of any shape, a column each", self._finish, ["observe"])
        check("no totals", "totals of nothing give NaN or a finite score", self._no_totals, ["finish"])
        check("left out", "a pair that is not OK moves no score", self._left_out, ["finish", "odd texts"])
        check("adds up", "a score does not grow with the number of pairs", self._adds_up, ["finish"])
        check("sense", "the reference itself scores no less than an empty report", self._sense, ["finish", "odd texts"])
        check("explain", "marks lie inside the texts", self._explain, ["observe"])
        check("tables", "tables have a cell for each heading", self._tables, ["observe"])
        check("new instance", "another process observes the same", self._new_instance, ["alone"])
        check("signature", "the signature is the same at any time, in any process", self._signature, ["build"])
        check("options told", "an option that moves a score moves the signature", self._options, ["new instance"])
        return self.ledger.outcomes

    @cached_property
    def other(self) -> other.Other:
        """What another process finds on the ordinary pairs."""
        asked = [[pair.id, pair.group, pair.candidate, pair.reference] for pair in self.pairs]
        return other.ask(self.subject.request.told(), self.subject.entry.use, self.subject.folder, pairs=asked)

    # -------------------------------------------------------------- what it is

    def _build(self) -> None:
        self.metric = self.subject.build()
        common.methods(self.metric, "signature", "observe", "finish", "explain")
        self.signatures["at first"] = common.identity(self.metric.signature(), "signature")

    def _columns(self) -> str:
        columns = getattr(self.metric, "columns", None)
        ok = isinstance(columns, Sequence) and columns and all(isinstance(c, Column) for c in columns)
        require(ok, f"columns must be a tuple of at least one Column, not {quoted(repr(columns))}")
        keys = [column.key for column in self.metric.columns]
        require(len(set(keys)) == len(keys), f"two columns have one key: {', '.join(keys)}")
        require(all(key and "/" not in key for key in keys), f"a key is not empty, and has no /: {keys}")
        declared = getattr(self.subject.found.plugin, "columns", ())
        if isinstance(declared, Sequence) and not declared:
            raise Advice("the class itself has no columns: where it cannot work, no table shows what is missing")
        return ", ".join(keys)

    def _plan(self) -> str:
        if not hasattr(self.metric, "plan"):
            return "it has none"
        common.plan(self.metric.plan([pair.reference for pair in self.pairs]))
        return ""

    # -------------------------------------------------------------- statistics

    def _observe(self) -> str:
        self.stats = self._statistics(self.pairs)
        self.signatures["once it has observed"] = self.metric.signature()
        return f"{len(self.pairs)} pairs, {self.stats.values.shape[1]} statistics"

    def _statistics(self, asked: Sequence[Pair], metric: Any = None) -> Stats:
        """Observe pairs and check what came."""
        stats = (metric or self.metric).observe(list(asked))
        require(isinstance(stats, Stats), f"observe must return Stats, not {quoted(repr(stats))}")
        arrays = isinstance(stats.values, np.ndarray) and isinstance(stats.status, np.ndarray)
        require(arrays, "values and status must be numpy arrays")
        try:
            statistics.check(stats, len(asked), self.metric.columns, self.subject.entry.label)
        except BenchError as err:
            raise Broken(str(err)) from None
        require(stats.status.dtype == np.int8, f"status must be int8, not {stats.status.dtype}")
        for pair, values, status in zip(asked, stats.values, stats.status, strict=True):
            counted = (status == OK).any() or not values.any()
            require(counted, f"the pair {pair.id!r} is OK for no column, but its statistics are {values.tolist()}")
        return Stats(stats.values, stats.status)

    def _again(self) -> None:
        self._equal(self.stats, self._statistics(self.pairs), self.pairs, "when asked again")

    def _order(self) -> None:
        turned = self._statistics(self.pairs[::-1])
        back = Stats(turned.values[::-1], turned.status[::-1])
        self._equal(self.stats, back, self.pairs, "when asked in reverse order")

    def _alone(self) -> None:
        for row, pair in enumerate(self.pairs):
            first = Stats(self.stats.values[row : row + 1], self.stats.status[row : row + 1])
            self._equal(first, self._statistics([pair]), [pair], "when asked alone")

    def _equal(self, expected: Stats, found: Stats, asked: Sequence[Pair], when: str) -> None:
        require(
            expected.values.shape == found.values.shape,
            f"{expected.values.shape[1]} statistics became {found.values.shape[1]} {when}",
        )
        for row, pair in enumerate(asked):
            same = _close(expected.values[row], found.values[row])
            same = same and np.array_equal(expected.status[row], found.status[row])
            require(same, f"pair {pair.id!r}: {_row(expected, row)} became {_row(found, row)} {when}")

    def _odd_texts(self) -> str:
        for pair in self.odd:
            try:
                found = self._statistics([pair])
            except Broken as err:
                raise Broken(f"{pair.id}: {err}") from None
            except (Unavailable, ServerLost, StorageFault):
                raise
            except Exception as err:
                raise Broken(f"{pair.id}: {told(err)}") from err
            width = found.values.shape[1], self.stats.values.shape[1]
            require(width[0] == width[1], f"{pair.id}: {width[0]} statistics, where other pairs have {width[1]}")
        return f"{len(self.odd)} pairs"

    # -------------------------------------------------------------- scores

    def _scores(self, totals: Floats) -> Floats:
        """Finish totals, and check that they are left as they were."""
        given = totals.copy()
        scores = np.asarray(self.metric.finish(given), float)
        require(np.array_equal(given, totals), "finish changed the totals it was given")
        shape = (*totals.shape[:-1], len(self.metric.columns))
        require(
            scores.shape == shape, f"totals {list(totals.shape)} gave scores {list(scores.shape)}, not {list(shape)}"
        )
        return scores

    def _finish(self) -> None:
        values = self.stats.values
        single = np.stack([self._scores(row) for row in values])
        for shape in ((-1, values.shape[1]), (2, -1, values.shape[1])):
            found = self._scores(values.reshape(shape)).reshape(single.shape)
            row = next((i for i in range(len(single)) if not _close(single[i], found[i])), None)
            if row is not None:
                raise Broken(
                    f"the totals of {self.pairs[row].id!r} give {single[row].tolist()}, but "
                    f"{found[row].tolist()} among the totals of others"
                )
        total = self._scores(values.sum(axis=0))
        require(not np.isinf(total).any(), f"the score of all pairs is {total.tolist()}")

    def _no_totals(self) -> None:
        for leading in ((), (2,)):
            found = self._scores(np.zeros((*leading, self.stats.values.shape[1])))
            require(not np.isinf(found).any(), f"totals of nothing give {found.tolist()}")

    def _left_out(self) -> str:
        """Add to all pairs those that a column leaves out: its score stays."""
        stats = self._statistics([*self.pairs, *self.odd])
        left = 0
        for number, column in enumerate(self.metric.columns):
            counted = stats.status[:, number] == OK
            left += int((~counted).sum())
            alone, all_ = (
                self._scores(stats.values[rows].sum(axis=0))[number] for rows in (counted, np.ones_like(counted))
            )
            require(
                _close(alone, all_),
                f"{column.key} is {alone:g} over the pairs that are OK, but {all_:g} with those that are not: their "
                "statistics for this column are not zero",
            )
        return f"{left} left out" if left else "none is left out"

    def _adds_up(self) -> None:
        total = self.stats.values.sum(axis=0)
        once, twice = self._scores(MANY * total), self._scores(2 * MANY * total)
        for column, a, b in zip(self.metric.columns, once, twice, strict=True):
            require(
                _close(a, b, rtol=1e-4),
                f"{column.key} is {a:g}, and {b:g} over twice as many pairs: keep what it is to be divided by (a 1 a "
                "pair for a mean) among the statistics, and divide in finish",
            )

    def _sense(self) -> str:
        same = [pair for pair in self.pairs if pair.candidate == pair.reference]
        nothing = [replace(pair, candidate="") for pair in same]
        best, worst = (self._scores(self._statistics(p).values.sum(axis=0)) for p in (same, nothing))
        for column, a, b in zip(self.metric.columns, best, worst, strict=True):
            if (a < b) if column.higher_is_better else (a > b):
                raise Advice(f"{column.key} is {a:g} for the references themselves, and {b:g} for empty reports")
        return ", ".join(f"{c.key} {a:g}" for c, a in zip(self.metric.columns, best, strict=True))[:60]

    # -------------------------------------------------------------- what a page shows

    def _explain(self) -> str:
        marks = 0
        for pair in [*self.pairs, *self.odd]:
            for item in self.metric.explain(pair):
                require(isinstance(item, Mark | SmallTable), f"explain must return Marks and SmallTables, not {item!r}")
                marks += isinstance(item, Mark)
                _inside(item, pair) if isinstance(item, Mark) else _table(item)
        return f"{marks} marks"

    def _tables(self) -> str:
        if not hasattr(self.metric, "tables"):
            return "it has none"
        for totals in (self.stats.values.sum(axis=0), np.zeros(self.stats.values.shape[1])):
            for table in self.metric.tables(totals):
                require(isinstance(table, SmallTable), f"tables must return SmallTables, not {table!r}")
                _table(table)
        return ""

    # -------------------------------------------------------------- other instances

    def _new_instance(self) -> None:
        values, status = self.other.get("values"), self.other.get("status")
        found = Stats(np.array(values, float), np.array(status, np.int8))
        self._equal(self.stats, found, self.pairs, "in another process")

    def _signature(self) -> None:
        self.signatures["of a new instance"] = self.subject.build().signature()
        self.signatures["in another process"] = self.other.get("identity")
        first = self.signatures["at first"]
        for when, seen in self.signatures.items():
            require(seen == first, f"{difference(first, str(seen))} {when}")

    def _options(self) -> str:
        found = moved(self.subject.options, self.subject.fixed, lambda o: str(self.subject.build(o).signature()))
        return common.told_by_options(found, self.subject.options, self._with_options, "signature", "scores")

    def _with_options(self, options: Options) -> str | None:
        """Return how a score with other options differs, or None."""
        changed = self.subject.build(options)
        totals = [m.observe(self.pairs).values.sum(axis=0) for m in (self.metric, changed)]
        a, b = self.metric.finish(totals[0]), changed.finish(totals[1])
        return None if _close(a, b) else f"{np.asarray(a).tolist()} became {np.asarray(b).tolist()}"


def _close(a: Any, b: Any, rtol: float = 1e-6) -> bool:
    """Tell whether numbers are equal but for rounding, which may differ in another batch; NaN equals NaN."""
    return bool(np.allclose(a, b, rtol=rtol, atol=1e-9, equal_nan=True))


# ------------------------------------------------------------------ marks and tables


def _inside(mark: Mark, pair: Pair) -> None:
    require(mark.side in ("candidate", "reference"), f"a mark's side is candidate or reference, not {mark.side!r}")
    text = getattr(pair, mark.side)
    require(
        0 <= mark.start <= mark.end <= len(text),
        f"pair {pair.id!r}: a mark {mark.start}:{mark.end} of kind {mark.kind!r} in a {mark.side} of {len(text)} "
        "characters",
    )


def _table(table: SmallTable) -> None:
    for row in table.rows:
        cells = len(row) == len(table.headings) and all(isinstance(cell, str) for cell in row)
        require(cells, f"table {table.title!r}: a row is a text for each of {list(table.headings)}, not {row!r}")


def _row(stats: Stats, row: int) -> str:
    return f"{stats.values[row].tolist()} (status {stats.status[row].tolist()})"
