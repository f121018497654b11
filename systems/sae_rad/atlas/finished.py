"""A finished run folder, as the report pages read it: cases, reports, each case's own scores, metrics' explanations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bench import scoring, show, store
from bench.config import Entry
from bench.contracts import Column, Mark, Metric, Pair, Report, SmallTable
from bench.errors import BenchError, ServerLost, Unavailable
from bench.run_folder import report_from_line

PREFERRED = ("radfact", "rger", "rouge-l")
"""Metrics whose marks say what was found and missed, the clinical ones first."""


@dataclass(frozen=True, slots=True)
class Explained:
    """What one metric says of a pair."""

    metric: str
    marks: tuple[Mark, ...]
    tables: tuple[SmallTable, ...]
    fault: str = ""
    """Why there is no explanation."""


@dataclass(frozen=True, slots=True)
class OwnScore:
    """A score of one case alone."""

    column: Column
    value: float | None

    @property
    def shown(self) -> str:
        """The value as tables show it."""
        return "–" if self.value is None else f"{self.value * self.column.scale:.{self.column.decimals}f}"


@dataclass(frozen=True)
class FinishedRun:
    """One system's run on one split."""

    folder: Path
    recorded: Mapping[str, Any]
    """run.json."""

    @property
    def split(self) -> str:
        """The split that was reported on."""
        return str(self.recorded.get("split", "test"))

    @cached_property
    def digest(self) -> str:
        """What the pages of this run depend on."""
        return str(store.read_json(self.folder / "done.json").get("summary_digest", ""))

    @cached_property
    def cases(self) -> list[dict[str, Any]]:
        """The lines of cases.jsonl. Raises BenchError where one is no case."""
        file = self.folder / "cases.jsonl"
        return [_case(line, file) for line in store.read_lines(file)]

    @cached_property
    def reports(self) -> dict[str, Report]:
        """Case id → report."""
        file = self.folder / "reports.jsonl"
        return {r.id: r for r in (report_from_line(line, file) for line in store.read_lines(file))}

    @cached_property
    def metrics(self) -> list[tuple[Entry, Metric, list[Column]]]:
        """The run's metrics, where their packages are installed."""
        return show.metrics_of(self.folder)

    def explaining(self, asked: Sequence[str]) -> list[str]:
        """Return the labels of the metrics that are to explain pairs; by default one with marks, and CheXbert's table.

        Raises BenchError where a label that was asked for has no scores in this run.
        """
        known = {entry.label: entry.use for entry, _, _ in self.metrics}
        for label in asked:
            if label not in known:
                raise BenchError(f"--explain {label!r}: {self.folder} has {', '.join(known) or 'no metric'}")
        if asked:
            return list(dict.fromkeys(asked))
        by_use = {use: label for label, use in reversed(known.items())}
        first = next((by_use[use] for use in PREFERRED if use in by_use), None)
        return [label for label in (first, by_use.get("chexbert-f1")) if label is not None]

    def explain(self, label: str, pair: Pair) -> Explained:
        """Return a metric's marks and tables; a part that cannot work here is said, and ends nothing."""
        metric = next(metric for entry, metric, _ in self.metrics if entry.label == label)
        try:
            found = metric.explain(pair)
        except ServerLost:
            raise
        except Unavailable as err:
            return Explained(label, (), (), f"{err.reason}; {err.remedy}")
        marks = tuple(item for item in found if isinstance(item, Mark))
        return Explained(label, marks, tuple(item for item in found if isinstance(item, SmallTable)))

    @cached_property
    def own_scores(self) -> dict[str, list[OwnScore]]:
        """Case id → what each metric says of the case alone: `finish` of its own statistics."""
        found: dict[str, list[OwnScore]] = {}
        for entry, metric, columns in self.metrics:
            file = scoring.stats_file(self.folder, entry.label)
            lines = {line["id"]: line for line in store.read_lines(file)}  # the last line of a case counts
            if not lines:
                continue
            stats = scoring.read_stats(list(lines.values()), metric.columns, entry.label, file)
            for case_id, row in zip(lines, metric.finish(stats.values), strict=True):
                values = [float(v) if np.isfinite(v) else None for v in row]
                found.setdefault(case_id, []).extend(map(OwnScore, columns, values))
        return found


def _case(line: dict[str, Any], file: Path) -> dict[str, Any]:
    match line:
        case {"id": str(), "group": str(), "reference": str(), "images": [*images], "indication": str() | None} if all(
            isinstance(image, str) for image in images
        ):
            return line
    raise BenchError(f"{file}: a line is no case: delete the run folder, and run bench run again")  # fmt: skip


def find_run(path: Path, label: str | None) -> FinishedRun:
    """Return the finished run at or below a folder; where there are several, the one labelled `label`.

    Raises BenchError where there is none, where it is not clear which is meant, or where it is not finished.
    """
    folders = show.find_runs(path)
    runs = [FinishedRun(folder, store.read_json(folder / "run.json")) for folder in folders]
    if label is not None or len(runs) > 1:
        wanted = label or "sae-rad"
        runs = [run for run in runs if run.recorded.get("label") == wanted] or (runs if label is None else [])
    if len(runs) != 1:
        names = ", ".join(str(folder) for folder in folders)
        raise BenchError(f"{path}: give the folder of one run, or its label by --system; found {names}")
    if not (runs[0].folder / "done.json").exists():
        raise BenchError(f"{runs[0].folder}: the run is not finished (no done.json): bench run continues it")
    config = runs[0].recorded.get("config")
    if not (isinstance(config, Mapping) and config.get("systems") and isinstance(runs[0].recorded.get("label"), str)):
        raise BenchError(f"{runs[0].folder}: is no run of bench run: its run.json names no system")
    return runs[0]
