"""``bench run --dry-run``: every part of a configuration resolved, with counts, disk and hours; nothing is spent."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench import cachedir, scoring
from bench.config import Config, Entry
from bench.context import RunContext
from bench.contracts import Case, Encoder, PlanLine
from bench.errors import BenchError, Unavailable
from bench.run import DatasetTraining, Split, open_dataset, open_split
from bench.shards import Shard, answered_anywhere

SAMPLE = 16
"""Images encoded to measure an encoder's rate."""


def print_plan(console: Console, config: Config, out: Path, context: RunContext, shard: Shard | None = None) -> None:
    """Resolve and print. Raises BenchError where the run itself would; a metric that cannot run is only named.

    With a shard, what its share of the cases takes, and nothing of scores.
    """
    dataset = open_dataset(config, context)
    split = open_split(config, dataset, context)
    train = DatasetTraining(dataset, frozenset(case.id for case in split.cases))
    rows: list[tuple[str, str, str]] = [("dataset", config.dataset.use, _dataset(split, train, context))]
    missing: list[str] = []
    seen: set[tuple[str, str]] = set()
    cases = split.cases if shard is None else shard.share(split.cases)
    for entry in config.systems:
        share = [] if shard is None else _share(shard, cases, out / entry.label)
        what, why = _system(entry, train, cases, context, seen)
        missing += [entry.label] if why else []
        rows.append(("system", entry.label, "\n".join([*share, *([f"– {why}"] if why else []), *what])))
    for spec, encoder in context.built("encoder").items():
        rows.append(("encoder", spec, _encoder(encoder, spec, [*train.cases, *cases], context)))
    if shard is not None:
        rows.append(("metric", "–", "none: the run that gathers the shards scores"))
    for entry in config.metrics if shard is None else ():
        metric, _ = scoring.build(entry, context)
        if isinstance(metric, scoring.Missing):
            rows.append(("metric", entry.label, f"– {metric.reason}"))
            continue
        planned = metric.plan([split.references[case.id] for case in split.cases]) if hasattr(metric, "plan") else ()
        rows.append(("metric", entry.label, "\n".join([metric.signature(), *map(_line, planned)])))
    rows.append(("disk", "", _disk(out)))
    _print(console, rows)
    if missing:
        raise BenchError(
            f"the run would stop: {', '.join(missing)} cannot work here; the reasons are in the table above"
        )


def _print(console: Console, rows: Sequence[tuple[str, str, str]]) -> None:
    table = Table(header_style="bold", show_lines=False)
    for heading in ("part", "name", "what it takes"):
        table.add_column(heading, no_wrap=heading != "what it takes")
    for row in rows:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))
    console.print(table)
    console.print("Dry run: no report was made and nothing was trained.")


def _share(shard: Shard, cases: Sequence[Case], run: Path) -> list[str]:
    done = len(answered_anywhere(run).intersection(case.id for case in cases))
    return [f"shard {shard}: {len(cases):,} cases, {done:,} of them answered"]


def _dataset(split: Split, train: DatasetTraining, context: RunContext) -> str:
    for problem in split.dataset.problems():
        context.problem(problem)
    return "\n".join(
        (
            f"split {split.split}: {len(split.cases):,} cases of {len({c.group for c in split.cases}):,} patients",
            f"training: {len(train.cases):,} cases",
            f"left out or faulty: {len(context.problems):,} entries",
            f"credentialed: {'yes' if split.dataset.credentialed else 'no'}",
        )
    )


def _system(
    entry: Entry, train: DatasetTraining, cases: Sequence[Case], context: RunContext, seen: set[tuple[str, str]]
) -> tuple[list[str], str]:
    """Return what a system takes, and why it cannot work here ("" where it can).

    What it takes is told as far as it is known even where a server is down; `seen` holds what systems above share with
    it, and gets what it adds.
    """
    described: list[str] = []
    why = ""
    try:
        system = context.build("system", entry.use, entry.options, f"systems.{entry.label}")
    except Unavailable as err:
        return described, str(err)
    try:
        described.append(f"fingerprint {system.fingerprint()}")
    except Unavailable as err:
        why = str(err)
    try:
        planned = system.plan(train, cases) if hasattr(system, "plan") else ()
    except Unavailable as err:
        return described, why or str(err)
    for line in planned:
        key = (line.shared, f"{line.what} {line.unit}")
        described.append(f"{line.what}: made once, counted above" if key in seen else _with_hours(line, context))
        if line.shared:
            seen.add(key)
    return list(dict.fromkeys(described)), why


def _with_hours(line: PlanLine, context: RunContext) -> str:
    hours = f" (at most about {_duration(line.amount / _teraflops(context.device))})" if line.unit == "TFLOP" else ""
    return f"{_line(line)}{hours}"


def _line(line: PlanLine) -> str:
    amount = f"{line.amount:,.0f}" if line.amount >= 1e5 else f"{line.amount:,.6g}"
    return f"{line.what}: {amount} {line.unit}"


def _encoder(encoder: Encoder, spec: str, cases: Sequence[Case], context: RunContext) -> str:
    try:
        store = context.embedding_store(spec)
        todo = store.missing([case.images[0].path for case in cases])
        size = len(todo) * encoder.dim * 4 / 1e9
        rate = _rate(encoder, todo[:SAMPLE])
    except Unavailable as err:
        return f"– {err.reason}\n  {err.remedy}"
    line = f"{len(todo):,} of {len(cases):,} images to encode, {size:.3g} GB of embeddings"
    return f"{line}, about {_duration(len(todo) / rate)}" if rate else line


def _rate(encoder: Encoder, sample: Sequence[Path]) -> float:
    """Return images per second on a small sample, the model's loading left out; 0 where there is nothing to encode."""
    if not sample:
        return 0.0
    encoder.encode(sample[:1])
    start = time.perf_counter()
    encoder.encode(sample)
    return len(sample) / (time.perf_counter() - start)


def _teraflops(device: str) -> float:
    """Return the measured rate of a float32 matrix product on the device, in TFLOP/s."""
    n = 1024
    a = _ones(n, device)
    float((a @ a)[0, 0])
    start = time.perf_counter()
    for _ in range(4):
        float((a @ a)[0, 0])  # reading an element waits for the device
    return 4 * 2 * n**3 / (time.perf_counter() - start) / 1e12


def _ones(n: int, device: str) -> Any:
    if device == "cpu":
        return np.ones((n, n), np.float32)
    import torch

    return torch.ones((n, n), device=device)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _disk(out: Path) -> str:
    return f"runs {disk(out)}\ncache {disk(cachedir.cache_root())}"


def disk(path: Path) -> str:
    """Return a path and how much is free where it is, or will be made."""
    existing = next((p for p in (path.absolute(), *path.absolute().parents) if p.exists()), None)
    if existing is None:
        raise BenchError(f"{path}: no such disk")
    return f"{path}: {shutil.disk_usage(existing).free / 1e9:,.0f} GB free"
