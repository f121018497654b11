"""``bench doctor``: what is installed, what the configured dataset holds, and which parts can work here."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench import cachedir, machine, plan, scoring
from bench import run as runner
from bench.config import Config
from bench.context import RunContext
from bench.contracts import Count, Dataset
from bench.errors import BenchError, Unavailable

OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HOME", "BENCH_CACHE")


def print_checks(console: Console, config: Config) -> None:
    """Print all checks; raises BenchError after the last where the dataset cannot be read."""
    context = runner.make_context(config, cachedir.cache_root() / "doctor")
    _print(console, "installation", _installation(context))
    _print(console, f"metrics of {config.source}", _metrics(config, context))
    _print(console, f"systems of {config.source}", _systems(config, context))
    dataset = runner.open_dataset(config, context)
    _print(console, f"dataset {config.dataset.use}", map(_count_row, dataset.census()))
    _print_problems(console, dataset)


def _print(console: Console, title: str, rows: Iterable[Sequence[str]]) -> None:
    table = Table(title=title, title_justify="left", show_header=False)
    for row in rows:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))
    console.print(table)


def _installation(context: RunContext) -> Iterable[tuple[str, str]]:
    yield from machine.versions().items()
    yield "device", context.device
    yield "cache", plan.disk(cachedir.cache_root())
    yield "runs", plan.disk(Path("runs"))
    for name in OFFLINE_VARIABLES:
        yield name, os.environ.get(name, "(not set)")


def _metrics(config: Config, context: RunContext) -> Iterable[tuple[str, str]]:
    for entry in config.metrics:
        metric, _ = scoring.build(entry, context)
        if isinstance(metric, scoring.Missing):
            yield entry.label, f"– {metric.reason}\n  {metric.remedy}"
        else:
            yield entry.label, metric.signature()


def _systems(config: Config, context: RunContext) -> Iterable[tuple[str, str]]:
    for entry in config.systems:
        try:
            system = context.build("system", entry.use, entry.options, f"systems.{entry.label}")
            yield entry.label, f"ready, fingerprint {system.fingerprint()}"
        except Unavailable as err:
            yield entry.label, f"– {err.reason}\n  {err.remedy}"
        except BenchError as err:
            yield entry.label, f"– {err}"


def _count_row(count: Count) -> tuple[str, str, str]:
    if count.expected is None:
        return count.name, f"{count.found:,}", count.source
    verdict = "as published" if count.found == count.expected else "differs from the published"
    return count.name, f"{count.found:,}", f"{verdict} {count.expected:,} ({count.source})"


def _print_problems(console: Console, dataset: Dataset) -> None:
    problems = dataset.problems()
    kinds = Counter(problem.why.partition(":")[0] for problem in problems)
    console.print(f"{len(problems):,} entries left out or faulty", markup=False)
    for why, n in kinds.most_common(10):
        first = next(problem for problem in problems if problem.why.startswith(why))
        console.print(f"  {n:,} × {why}, e.g. {first.file}: {first.id}", markup=False, highlight=False)
