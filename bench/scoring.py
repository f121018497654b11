"""The metrics of a run over its pairs: observed in chunks, kept line by line, finished into scores."""

from __future__ import annotations

import csv
import hashlib
import io
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import registry, statistics, store
from bench.config import Entry, RunOptions
from bench.context import RunContext
from bench.contracts import FAILED, OK, UNDEFINED, Column, Floats, Metric, Pair, SmallTable, Stats
from bench.errors import BenchError, ServerLost, StorageFault, Unavailable
from bench.run_folder import write_usage

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
    """Build a metric and ask for its signature; where it cannot work here, say why, with the columns it would fill."""
    found = registry.find("metric", entry.use)
    label = registry.default_label(found)
    columns = columns_of(entry, found.plugin, label)
    try:
        metric: Metric = context.build("metric", entry.use, entry.options, f"metrics.{entry.label}")
        columns = columns_of(entry, metric, label)
        metric.signature()
    except Unavailable as err:
        return Missing(err.reason, err.remedy), columns
    except (BenchError, OSError):
        raise
    except Exception as err:
        raise BenchError(f"metric {entry.label!r} cannot be built: {type(err).__name__}: {err}") from err
    return metric, columns


def check_metrics(entries: Sequence[Entry], context: RunContext, *, strict: bool) -> None:
    """Build every metric before anything is spent or written: a fault ends the run here, what cannot work is said."""
    owner: dict[str, str] = {}
    for entry in entries:
        metric, columns = build(entry, context)
        for column in columns:
            if column.key in owner:
                raise BenchError(
                    f"metrics {owner[column.key]!r} and {entry.label!r} both report a column {column.key!r}: give "
                    "one a label of its own in the configuration, metrics: {label: {use: name}}"
                )
            owner[column.key] = entry.label
        if not isinstance(metric, Missing):
            continue
        if strict:
            raise BenchError(f"--strict: metric {entry.label!r} cannot run: {metric.reason}\n  {metric.remedy}")
        keys = ", ".join(column.key for column in columns)
        context.console.print(f"{keys} will have no value: {metric.reason}", markup=False, highlight=False)


def stats_file(folder: Path, label: str) -> Path:
    """Return the file of a run folder that holds a metric's statistics, a line a pair."""
    return folder / "stats" / f"{label.replace('/', '__')}.jsonl"


def observe(metric: Metric, entry: Entry, pairs: Sequence[Pair], folder: Path, context: RunContext) -> Stats:
    """Return the statistics of all pairs, observing only those that the metric's file in `folder` does not hold yet.

    The file has a line a pair, with the hash of signature and texts: a pair whose text or recipe changed is observed
    again, and so is one that failed. Written chunk by chunk, so that a kill loses at most one; the last line of a key
    counts.
    """
    file, signature = stats_file(folder, entry.label), metric.signature()
    keys = [key_of(signature, pair) for pair in pairs]
    known = {line.get("key"): line for line in store.read_lines(file)}
    known = {key: line for key, line in known.items() if FAILED not in line.get("status", ())}
    todo = [(key, pair) for key, pair in zip(keys, pairs, strict=True) if key not in known]
    if todo:
        file.parent.mkdir(parents=True, exist_ok=True)
        with store.Appender(file) as out, context.progress(entry.label, len(pairs), "pairs") as bar:
            bar.advance(len(pairs) - len(todo))
            for start in range(0, len(todo), CHUNK):
                chunk = todo[start : start + CHUNK]
                try:
                    lines = _observe_chunk(metric, entry.label, chunk)
                finally:
                    write_usage(folder, context)
                if (now := metric.signature()) != signature:
                    raise ServerLost(
                        f"metric {entry.label!r} changed while it was asked: it was {signature} and is {now}. The same "
                        "command starts over with what it is now"
                    )
                out.write(*lines)
                known.update((line["key"], line) for line in lines)
                bar.advance(len(chunk))
    return read_stats([known[key] for key in keys], metric.columns, entry.label, file)


def read_stats(lines: Sequence[Mapping[str, Any]], columns: Sequence[Column], label: str, file: Path) -> Stats:
    """Return the statistics that lines of `file` hold. Raises BenchError where they are not a metric's statistics."""
    try:
        raw = np.array([line["values"] for line in lines]), np.array([line["status"] for line in lines])
        if raw[0].dtype.kind not in "fi" or raw[1].dtype.kind != "i":
            raise ValueError("values are numbers, statuses whole numbers")
        if not np.isin(raw[1], (OK, UNDEFINED, FAILED)).all():
            raise ValueError("a status is none of OK, UNDEFINED, FAILED")
        values, status = raw[0].astype(np.float64), raw[1].astype(np.int8)
        statistics.check(Stats(values, status), len(lines), columns, label)
    except (BenchError, KeyError, TypeError, ValueError, OverflowError) as err:
        raise BenchError(f"{file}: damaged: {err}; delete the file to have the pairs observed again") from None
    return Stats(values, status)


def key_of(signature: str, pair: Pair) -> str:
    """Return the key of a pair's statistics: they are valid for these texts and this signature only."""
    text = "\0".join((signature, pair.id, pair.candidate, pair.reference))
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:24]


def _observe_chunk(metric: Metric, label: str, chunk: Sequence[tuple[str, Pair]]) -> list[dict[str, Any]]:
    stats = metric.observe([pair for _, pair in chunk])
    statistics.check(stats, len(chunk), metric.columns, label)
    if (stats.values[(stats.status != OK).all(axis=1)] != 0).any():
        raise BenchError(f"metric {label}: a pair that is OK for no column has statistics, which would count")
    rows = zip(chunk, stats.values.tolist(), stats.status.tolist(), strict=True)
    return [{"key": key, "id": pair.id, "values": values, "status": status} for (key, pair), values, status in rows]


def run_metrics(
    entries: Sequence[Entry], pairs: Sequence[Pair], folder: Path, context: RunContext, options: RunOptions
) -> dict[str, dict[str, Any]]:
    """Score all metrics: column key → the entry of summary.json.

    Raises ServerLost only after the other metrics have been observed: their statistics are kept, and the same command
    goes on with what the lost server has not answered.
    """
    scores: dict[str, dict[str, Any]] = {}
    lost: ServerLost | None = None
    for entry in entries:
        try:
            scores.update(run_metric(entry, pairs, folder, context, options))
        except ServerLost as err:
            lost = lost or err
    if lost is not None:
        raise lost
    return scores


def run_metric(
    entry: Entry,
    pairs: Sequence[Pair],
    folder: Path,
    context: RunContext,
    options: RunOptions,
) -> dict[str, dict[str, Any]]:
    """Score one metric: column key → the entry of summary.json. Raises for nothing that a metric alone suffers.

    ServerLost is raised all the same, since a run that goes on later will have the score.
    """
    metric, columns = build(entry, context)
    if isinstance(metric, Missing):
        return _nothing(columns, metric, len(pairs))
    try:
        stats = observe(metric, entry, pairs, folder, context)
        groups = [pair.group if options.cluster == "group" else pair.id for pair in pairs]
        scores = statistics.score(
            stats,
            groups,
            metric.finish,
            draws=options.bootstrap,
            confidence=options.confidence,
            seed=options.seed,
        )
        _write_tables(metric, entry.label, stats.values.sum(axis=0), folder)
    except Unavailable as err:
        return _nothing(columns, Missing(err.reason, err.remedy, metric.signature()), len(pairs))
    except (OSError, KeyboardInterrupt, ServerLost, StorageFault):
        raise
    except BenchError as err:
        return _nothing(
            columns,
            Missing(str(err), "once that is mended the same command tries again", metric.signature()),
            len(pairs),
        )
    except Exception as err:
        log = folder / f"error-{entry.label.replace('/', '__')}.log"
        store.write_text(log, traceback.format_exc())
        why = f"{type(err).__name__}: {err}"
        return _nothing(columns, Missing(why, f"the traceback is in {log}", metric.signature()), len(pairs))
    limit = getattr(metric, "max_failed", 1.0)
    return {c.key: _entry(c, s, metric.signature(), limit, folder) for c, s in zip(columns, scores, strict=True)}


def _write_tables(metric: Metric, label: str, totals: Floats, folder: Path) -> None:
    """Write a metric's tables over all pairs, where it has any, as tables/<label>.csv (numbered from the second on)."""
    tables: Sequence[SmallTable] = metric.tables(totals) if hasattr(metric, "tables") else ()
    for number, table in enumerate(tables, 1):
        name = label.replace("/", "__") + (f"@{number}" if number > 1 else "")
        (folder / "tables").mkdir(parents=True, exist_ok=True)
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows([table.headings, *table.rows])
        store.write_text(folder / "tables" / f"{name}.csv", text.getvalue())


def _entry(column: Column, score: statistics.Score, signature: str, max_failed: float, folder: Path) -> dict[str, Any]:
    entry = {**asdict(score), **_display(column), "signature": signature}
    n_pairs = score.n + score.n_undefined + score.n_failed
    if score.n_failed > max_failed * n_pairs:
        entry.update(dict.fromkeys(("value", "ci_low", "ci_high")))
        entry["reason"] = (
            f"incomplete: {score.n_failed} of {n_pairs} cases have no verdict, more than max_failed = {max_failed:g}"
        )
        entry["remedy"] = f"the same command asks for them again; bench show {folder} --case ID shows one"
    elif score.value is None:
        entry["reason"] = (
            f"undefined on these {n_pairs} cases: {score.n_undefined} have nothing to score, {score.n_failed} failed"
        )
        entry["remedy"] = f"bench show {folder} --case ID shows one"
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
