"""Tables on the terminal: scores of runs, one case of a run, lists of plugins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bench import registry, scoring, store
from bench.config import Entry
from bench.contracts import Column, Mark, Metric, Pair, SmallTable
from bench.errors import BenchError, Unavailable
from bench.run_folder import context_of, details_of
from bench.shards import answered_anywhere

COLUMN_ORDER = ("RadFact-P", "RadFact-R", "RadFact", "BL4", "RG-L", "MTR", "RGER", "Ma-5", "Ma-14", "Mi-5", "Mi-14")
"""Columns of the paper's Table 1, in its order."""
FULL_ONLY = ("RadFact-P", "RadFact-R")
NAMES = "system"
"""Heading of the runs' labels, never broken."""
LONGEST_NAME = 17
"""Characters of a run's label on one line; longer ones are folded."""


def number(score: Mapping[str, Any]) -> str:
    """Return a score as tables show it: value times scale, "–" where there is none."""
    return "–" if score["value"] is None else f"{score['value'] * score['scale']:.{score['decimals']}f}"


def interval(score: Mapping[str, Any]) -> str:
    """Return the bounds, the lower one above, or nothing."""
    if score["ci_low"] is None or score["ci_high"] is None:
        return ""
    low, high = (score[key] * score["scale"] for key in ("ci_low", "ci_high"))
    return f"{low:.{score['decimals']}f}\n{high:.{score['decimals']}f}"


def column_keys(summaries: Iterable[Mapping[str, Any]], full: bool) -> list[str]:
    """Return the columns to show: Table 1's in its order, then the others as they come."""
    present = dict.fromkeys(key for summary in summaries for key in summary["scores"])
    known = [key for key in COLUMN_ORDER if key in present and (full or key not in FULL_ONLY)]
    return known + [key for key in present if key not in COLUMN_ORDER]


def score_tables(summaries: Sequence[Mapping[str, Any]], *, width: int, full: bool = False) -> list[Table]:
    """Return tables with a row a run and a column a score; intervals stand below the values.

    As many tables as it takes for none to be wider than `width`: Table 1's nine columns fit on a terminal of 80.
    """
    columns = {key: _column_width(summaries, key) + 2 for key in column_keys(summaries, full)}
    room = max(LONGEST_NAME, width - 3 - sum(columns.values()))  # a name is folded only where it has to be
    names = min(room, max(len(text) for text in (NAMES, *(s["label"] for s in summaries))))
    blocks: list[list[str]] = [[]]
    used = first = names + 3  # padding and separator of each column, and the left edge
    for key, own in columns.items():
        if blocks[-1] and used + own > width:
            blocks.append([])
            used = first
        blocks[-1].append(key)
        used += own
    return [_score_table(summaries, keys, names) for keys in blocks]


def _heading(summaries: Sequence[Mapping[str, Any]], key: str) -> str:
    return str(next(s["scores"][key]["heading"] for s in summaries if key in s["scores"]))


def _column_width(summaries: Sequence[Mapping[str, Any]], key: str) -> int:
    scores = [s["scores"][key] for s in summaries if key in s["scores"]]
    cells = [line for score in scores for line in (number(score), *interval(score).split("\n"))]
    return max(map(len, [_heading(summaries, key), *cells]))


def _score_table(summaries: Sequence[Mapping[str, Any]], keys: Sequence[str], names: int) -> Table:
    table = Table(header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(NAMES, min_width=names, max_width=names, overflow="fold")
    for key in keys:
        table.add_column(escape(_heading(summaries, key)), justify="right", no_wrap=True)
    for summary in summaries:
        cells: list[RenderableType] = [Text(summary["label"])]
        for key in keys:
            score = summary["scores"].get(key)
            cells.append("" if score is None else Text.assemble(number(score), (f"\n{interval(score)}", "dim")))
        table.add_row(*cells)
    return table


def _title(summaries: Sequence[Mapping[str, Any]]) -> str:
    first = summaries[0]
    return (
        f"{first['dataset']}, split {first['split']}: {first['n_cases']} cases of {first['n_groups']} patients (× 100)"
    )


def notes(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines below a table: what has no value and why, failures, stand-ins, intervals."""
    lines: dict[str, None] = {}
    missing: dict[tuple[str, str], list[str]] = {}
    for summary in summaries:
        for key, score in summary["scores"].items():
            if score["value"] is None:
                keys = missing.setdefault((score["reason"], score["remedy"]), [])
                keys.extend([key] if key not in keys else [])
                continue
            for n, why in ((score["n_failed"], "without a verdict"), (score["n_undefined"], "undefined")):
                if n:
                    lines[f"{summary['label']}: {key}: {n} of {_n_pairs(score)} cases {why}, left out"] = None
        if summary["n_reports_failed"]:
            lines[f"{summary['label']}: {summary['n_reports_failed']} failed reports scored as empty"] = None
        if summary.get("n_reports_empty"):
            lines[f"{summary['label']}: {summary['n_reports_empty']} of {summary['n_cases']} reports are empty"] = None
        if summary.get("n_contaminated"):
            lines[
                f"{summary['label']}: {summary['n_contaminated']} cases are images that the encoder was trained on"
            ] = None
        if summary.get("n_missing_as_empty"):
            lines[f"{summary['label']}: {summary['n_missing_as_empty']} missing predictions scored as empty"] = None
    for (reason, remedy), keys in missing.items():
        lines[f"– {', '.join(keys)}: {reason}; {remedy}."] = None
    if problems := max(summary.get("n_problems", 0) for summary in summaries):
        lines[f"{problems:,} entries of the data, or parts of a system, left out or faulty (problems.jsonl)"] = None
    stand_ins = dict.fromkeys(part for summary in summaries for part in summary.get("stand_ins", ()))
    if stand_ins:
        lines[f"Stand-ins: {'; '.join(stand_ins)}"] = None
    return [*lines, *_about_intervals(summaries)]


def _n_pairs(score: Mapping[str, Any]) -> int:
    return int(score["n"] + score["n_undefined"] + score["n_failed"])


def _about_intervals(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say how the intervals were made, and which scores have none since all their cases are of one patient."""
    run = summaries[0]["run"]
    if not run["bootstrap"]:
        return []
    unit = "patient" if run["cluster"] == "group" else "case"
    scores = [(key, score) for summary in summaries for key, score in summary["scores"].items()]
    alone = dict.fromkeys(key for key, score in scores if score["value"] is not None and score["ci_low"] is None)
    lines = [f"{', '.join(alone)}: one {unit}: no interval"] * bool(alone)
    if any(score["ci_low"] is not None for _, score in scores):
        how = f"{run['bootstrap']} resamples of {unit}s, seed {run['seed']}"
        lines.append(f"Below each score its interval: {run['confidence']:.0%}, {how}")
    return lines


def print_scores(console: Console, summaries: Sequence[Mapping[str, Any]], *, full: bool = False) -> None:
    """Print the table and the lines below it."""
    console.print(_title(summaries), style="italic", markup=False, highlight=False)
    for table in score_tables(summaries, width=console.width, full=full):
        console.print(table)
    for line in notes(summaries):
        console.print(line, markup=False, highlight=False)


# ------------------------------------------------------------------ bench show


def find_runs(path: Path) -> list[Path]:
    """Return the run folders at or below `path`, finished or not."""
    if not path.is_dir():
        raise BenchError(f"{path}: no such folder")
    runs = sorted(file.parent for file in path.rglob("run.json"))
    if not runs:
        raise BenchError(f"{path}: holds no run (no run.json at or below it)")
    return runs


def print_runs(console: Console, path: Path, *, full: bool) -> None:
    """Print the scores of the finished runs at or below `path`, and how far the others are."""
    finished: dict[tuple[Any, ...], list[tuple[Path, Mapping[str, Any]]]] = {}
    for folder in find_runs(path):
        if (folder / "done.json").exists():
            summary: Mapping[str, Any] = store.read_json(folder / "summary.json")
            finished.setdefault((summary["dataset"], summary["split"], summary["n_cases"]), []).append(
                (folder, summary)
            )
        else:
            answered = len(answered_anywhere(folder))
            total = store.read_json(folder / "run.json").get("n_cases", "?")
            console.print(f"{folder}: not finished: {answered} of {total} reports", markup=False)
    for runs in finished.values():
        print_scores(console, [summary for _, summary in runs], full=full)
        for folder, summary in runs:
            console.print(f"{summary['label']}: {folder}", markup=False, highlight=False)
            for line in made_by(folder):
                console.print(f"  {line}", markup=False, highlight=False)
        console.print(f"One case: bench show {folder} --case {_first_case(folder)}", markup=False, highlight=False)


SHOWN_VERSIONS = ("torch", "transformers")
"""Packages of a system's own environment that its line in `bench show` names; details.json has all."""
LONGEST_SETTING = 48
"""Characters of a setting that its line in `bench show` has room for."""


def made_by(folder: Path) -> list[str]:
    """Return how a run's reports were made, as far as its system tells: weights, settings, its own environment."""
    return list(dict.fromkeys(f"{source}: {line}" if source else line for source, line in _told(folder)))


def _told(folder: Path) -> Iterable[tuple[str, str]]:
    for source, given in details_of(folder):
        details = _mapping(given)
        if told := "; ".join(filter(None, (tell(details) for tell in (_weights, _settings, _environment, _notes)))):
            yield source, told


def _weights(details: Mapping[str, Any]) -> str:
    named = (_mapping(one) for one in _mapping(details.get("weights")).values())
    places = ((str(one.get("model")), one.get("commit") or one.get("revision")) for one in named)
    return ", ".join(f"{model}@{at}" if at else model for model, at in places)


def _notes(details: Mapping[str, Any]) -> str:
    notes = details.get("notes")
    return "; ".join(map(str, notes)) if isinstance(notes, list) else ""


def _settings(details: Mapping[str, Any]) -> str:
    settings = sorted(_mapping(details.get("settings")).items())
    return f"generated with {', '.join(f'{key}={_short(value)}' for key, value in settings)}" if settings else ""


def _short(value: Any) -> str:
    """Return a setting on one line, cut where it is a prompt, a template or a table: details.json has all of it."""
    text = " ".join(str(value).split())
    return text if len(text) <= LONGEST_SETTING else f"{text[: LONGEST_SETTING - 1]}…"


def _environment(details: Mapping[str, Any]) -> str:
    versions = _mapping(details.get("versions"))
    parts = [f"python {details['python']}"] if details.get("python") else []
    parts += [f"{name} {versions[name]}" for name in SHOWN_VERSIONS if versions.get(name)]
    parts += [f"on {details['device']}"] if details.get("device") else []
    return ", ".join(parts)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _first_case(folder: Path) -> str:
    return next((str(line["id"]) for line in store.read_lines(folder / "cases.jsonl")), "ID")


def print_case(console: Console, folder: Path, case_id: str, explained: str | None = None) -> None:
    """Print one case of a run: image, indication, reference, report, evidence, and the case's own scores.

    `explained` names a metric whose marks (matched words …) are drawn on reference and report.
    """
    runs = find_runs(folder)
    if len(runs) > 1:
        names = ", ".join(str(run) for run in runs)
        raise BenchError(f"{folder}: holds several runs; choose one of {names}")
    case = _by_id(runs[0] / "cases.jsonl", case_id)
    report = _by_id(runs[0] / "reports.jsonl", case_id)
    pair = Pair(case_id, case["group"], report["text"], case["reference"])
    metrics = metrics_of(runs[0])
    notes = _explanation(metrics, explained, pair)
    said = Text(report["text"] or (f"(failed: {report['error']})" if report["error"] else "(empty)"))
    true = Text(case["reference"])
    for mark in notes:
        if isinstance(mark, Mark):
            (said if mark.side == "candidate" else true).stylize("bold underline", mark.start, mark.end)
    parts = (
        ("case", Text(case_id)),
        ("patient", Text(case["group"])),
        ("images", Text(", ".join(case["images"]) or "–")),
        *((("prior images", Text(", ".join(prior))),) if (prior := case.get("prior_images")) else ()),
        ("indication", Text(case["indication"] or "–")),
        ("reference", true),
        ("report", said),
    )
    for name, text in parts:
        console.print(Text.assemble((f"{name}: ", "bold"), text))
    _print_evidence(console, report["evidence"])
    _print_own_scores(console, runs[0], metrics, case_id)
    if explained is not None and (warning := _other_recipe(runs[0], *_named(metrics, explained))):
        console.print(warning, markup=False, highlight=False)
    for note in notes:
        if isinstance(note, SmallTable):
            console.print(_small_table(note))


def metrics_of(folder: Path) -> list[tuple[Entry, Metric, list[Column]]]:
    """Return the metrics of a run whose packages are installed here; no weights or server are asked for."""
    recorded = store.read_json(folder / "run.json")
    context = context_of(folder, recorded)
    found = []
    for label, given in recorded["config"]["metrics"].items():
        entry = Entry(label, given["use"], {key: value for key, value in given.items() if key != "use"})
        try:
            metric: Metric = context.build("metric", entry.use, entry.options, f"metrics.{label}")
        except Unavailable:
            continue
        default = registry.default_label(registry.find("metric", entry.use))
        found.append((entry, metric, scoring.columns_of(entry, metric, default)))
    return found


def _explanation(
    metrics: Sequence[tuple[Entry, Metric, list[Column]]], explained: str | None, pair: Pair
) -> Sequence[Mark | SmallTable]:
    if explained is None:
        return ()
    return _named(metrics, explained)[0].explain(pair)


def _named(metrics: Sequence[tuple[Entry, Metric, list[Column]]], explained: str) -> tuple[Metric, list[Column]]:
    by_label = {entry.label: (metric, columns) for entry, metric, columns in metrics}
    if explained not in by_label:
        raise BenchError(f"--explain: {registry.miss('metric with scores in this run', explained, by_label)}")
    return by_label[explained]


def _other_recipe(folder: Path, metric: Metric, columns: Sequence[Column]) -> str | None:
    """Return a warning where a metric explains otherwise than it scored: with another judge, annotator or package."""
    scores = store.read_json(folder / "summary.json")["scores"] if (folder / "summary.json").exists() else {}
    scored = next((scores[c.key].get("signature") for c in columns if c.key in scores), None)
    now = metric.signature()
    return None if not scored or scored == now else f"Explained by {now}, but scored by {scored}: these may differ."


def _print_own_scores(
    console: Console, folder: Path, metrics: Sequence[tuple[Entry, Metric, list[Column]]], case_id: str
) -> None:
    """Print what each metric says of this case alone: `finish` of its own statistics."""
    cells = []
    for entry, metric, columns in metrics:
        file = scoring.stats_file(folder, entry.label)
        own = [line for line in store.read_lines(file) if line["id"] == case_id]
        if not own:
            continue
        values = metric.finish(scoring.read_stats(own[-1:], metric.columns, entry.label, file).values[0])
        cells += [
            f"{column.key} {value * column.scale:.{column.decimals}f}" if np.isfinite(value) else f"{column.key} –"
            for column, value in zip(columns, values, strict=True)
        ]
    if cells:
        console.print(Text.assemble(("this case alone: ", "bold"), " · ".join(cells)))


def _small_table(table: SmallTable) -> Table:
    drawn = Table(title=Text(table.title), title_justify="left", header_style="bold")
    for heading in table.headings:
        drawn.add_column(Text(heading))
    for row in table.rows:
        drawn.add_row(*(Text(cell) for cell in row))
    return drawn


def _by_id(file: Path, case_id: str) -> dict[str, Any]:
    lines = {line["id"]: line for line in store.read_lines(file)}
    if case_id not in lines:
        some = ", ".join(list(lines)[:3])
        raise BenchError(f"{file}: no case {case_id!r} (ids look like {some})")
    return lines[case_id]


def _print_evidence(console: Console, evidence: Sequence[Mapping[str, Any]]) -> None:
    if not evidence:
        return
    table = Table(title="evidence", title_justify="left", header_style="bold")
    for heading in ("kind", "label", "score", "text"):
        table.add_column(heading, justify="right" if heading == "score" else "left")
    for item in evidence:
        score = "" if item["score"] is None else f"{item['score']:.3f}"
        table.add_row(Text(item["kind"]), Text(item["label"]), score, Text(item["text"]))
    console.print(table)
