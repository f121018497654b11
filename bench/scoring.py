"""One metric over the pairs of a run: observed in chunks, kept line by line, finished into scores."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import registry, statistics, store
from bench.config import Entry, RunOptions
from bench.context import RunContext
from bench.contracts import Column, Metric, Pair, Stats
from bench.errors import BenchError, Unavailable

CHUNK = 256


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a metric gave no score, and what to do about it."""

    reason: str
    remedy: str
    signature: str = ""


def columns_of(entry: Entry, plugin: Any, default_label: str) -> list[Column]:
    """Return a metric's columns as this run reports them: a labelled variant's keys start with its label."""
    prefix = "" if entry.label in (entry.use, default_label) else f"{entry.label}/"
    return [
        Column(prefix + c.key, prefix + c.heading, c.scale, c.decimals, c.higher_is_better)
        for c in getattr(plugin, "columns", ())
    ]


def build(entry: Entry, context: RunContext) -> tuple[Metric | Missing, list[Column]]:
    """Build a metric; where it cannot work here, say why, with the columns it would have filled."""
    found = registry.find("metric", entry.use)
    label = registry.default_label(found)
    try:
        metric: Metric = context.build("metric", entry.use, entry.options, f"metrics.{entry.label}")
    except Unavailable as err:
        return Missing(err.reason, err.remedy), columns_of(entry, found.plugin, label)
    return metric, columns_of(entry, metric, label)


def stats_file(folder: Path, label: str) -> Path:
    """Return the file of a run folder that holds a metric's statistics, a line a pair."""
    return folder / "stats" / f"{label.replace('/', '__')}.jsonl"


def observe(metric: Metric, entry: Entry, pairs: Sequence[Pair], file: Path, context: RunContext) -> Stats:
    """Return the statistics of all pairs, observing only those that `file` does not hold yet.

    The file has a line a pair, with the hash of signature and texts: a pair whose text or recipe changed is observed
    again. Written chunk by chunk, so that a kill loses at most one.
    """
    signature = metric.signature()
    keys = [_key(signature, pair) for pair in pairs]
    known = {line.get("key"): line for line in store.read_lines(file)}
    todo = [(key, pair) for key, pair in zip(keys, pairs, strict=True) if key not in known]
    if todo:
        file.parent.mkdir(parents=True, exist_ok=True)
        with store.Appender(file) as out, context.progress(entry.label, len(pairs), "pairs") as bar:
            bar.advance(len(pairs) - len(todo))
            for start in range(0, len(todo), CHUNK):
                chunk = todo[start : start + CHUNK]
                lines = _observe_chunk(metric, entry.label, chunk)
                out.write(*lines)
                known.update((line["key"], line) for line in lines)
                bar.advance(len(chunk))
    values = np.array([known[key]["values"] for key in keys], dtype=np.float64)
    status = np.array([known[key]["status"] for key in keys], dtype=np.int8)
    return Stats(values, status)


def _key(signature: str, pair: Pair) -> str:
    text = "\0".join((signature, pair.id, pair.candidate, pair.reference))
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:24]


def _observe_chunk(metric: Metric, label: str, chunk: Sequence[tuple[str, Pair]]) -> list[dict[str, Any]]:
    stats = metric.observe([pair for _, pair in chunk])
    statistics.check(stats, len(chunk), metric.columns, label)
    rows = zip(chunk, stats.values.tolist(), stats.status.tolist(), strict=True)
    return [{"key": key, "id": pair.id, "values": values, "status": status} for (key, pair), values, status in rows]


def run_metric(
    entry: Entry,
    pairs: Sequence[Pair],
    folder: Path,
    context: RunContext,
    options: RunOptions,
) -> dict[str, dict[str, Any]]:
    """Score one metric: column key → the entry of summary.json. Never raises for what one metric alone suffers."""
    metric, columns = build(entry, context)
    if isinstance(metric, Missing):
        return _nothing(columns, metric, len(pairs))
    try:
        stats = observe(metric, entry, pairs, stats_file(folder, entry.label), context)
        groups = [pair.group if options.cluster == "group" else pair.id for pair in pairs]
        scores = statistics.score(
            stats,
            groups,
            metric.finish,
            draws=options.bootstrap,
            confidence=options.confidence,
            seed=options.seed,
        )
    except Unavailable as err:
        return _nothing(columns, Missing(err.reason, err.remedy, metric.signature()), len(pairs))
    except (OSError, KeyboardInterrupt):
        raise
    except BenchError as err:
        return _nothing(columns, Missing(str(err), "mend the metric", metric.signature()), len(pairs))
    except Exception as err:
        log = folder / f"error-{entry.label.replace('/', '__')}.log"
        store.write_text(log, traceback.format_exc())
        why = f"{type(err).__name__}: {err}"
        return _nothing(columns, Missing(why, f"the traceback is in {log}", metric.signature()), len(pairs))
    return {c.key: _entry(c, s, metric.signature()) for c, s in zip(columns, scores, strict=True)}


def _entry(column: Column, score: statistics.Score, signature: str) -> dict[str, Any]:
    entry = {**asdict(score), **_display(column), "signature": signature}
    if score.value is None:
        entry["reason"] = f"undefined: {score.n_undefined} pairs undefined, {score.n_failed} failed, {score.n} OK"
        entry["remedy"] = "look at the reports: bench show RUN --case ID"
    return entry


def _nothing(columns: Sequence[Column], missing: Missing, n_pairs: int) -> dict[str, dict[str, Any]]:
    entry = {
        "value": None,
        "ci_low": None,
        "ci_high": None,
        "n": 0,
        "n_undefined": 0,
        "n_failed": n_pairs,
        **asdict(missing),
    }
    return {column.key: {**entry, **_display(column)} for column in columns}


def _display(column: Column) -> dict[str, Any]:
    return {
        "heading": column.heading,
        "scale": column.scale,
        "decimals": column.decimals,
        "higher_is_better": column.higher_is_better,
    }
