"""What the first page of a run shows: scores, distributions, and the list of cases as its script reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench import show
from bench.compare import Comparison
from bench.contracts import FAILED, UNDEFINED, Floats
from bench.pages.reading import RunData, Runs

BINS = 20
SHOWN_AT_FIRST, SHOWN_OF_SEVERAL = 9, 5
"""Columns of the list of cases before others are chosen: of one run, and of several, whose cells are wider."""


@dataclass(frozen=True, slots=True)
class ScoreCell:
    """A run's score, as tables show it."""

    value: str
    interval: str
    n: int
    n_failed: int
    n_undefined: int
    why: str
    """Why there is no value."""


@dataclass(frozen=True, slots=True)
class Delta:
    """How a run's score differs from the first run's, on the cases compared."""

    value: str
    interval: str
    p: str
    significant: bool
    look: Literal["better", "worse", ""]
    """"" where the scores are equal."""


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One column over the runs."""

    key: str
    heading: str
    higher_is_better: bool
    cells: tuple[ScoreCell | None, ...]
    deltas: tuple[Delta | None, ...]
    """For each run; None for the first one, and where nothing is compared."""


def score_rows(runs: Runs) -> list[ScoreRow]:
    """Return a row a column."""
    compared = runs.compared.comparisons if runs.compared else ()
    by_run = {(c.run, c.column): c for c in compared}
    rows = []
    for key in runs.keys:
        shown = next(one.scores[key] for one in runs.runs if key in one.scores)
        cells = tuple(_cell(one.scores[key]) if key in one.scores else None for one in runs.runs)
        deltas = tuple(_delta(by_run.get((one.label, key)), shown) if k else None for k, one in enumerate(runs.runs))
        rows.append(ScoreRow(key, str(shown["heading"]), bool(shown["higher_is_better"]), cells, deltas))
    return rows


def _cell(score: Mapping[str, Any]) -> ScoreCell:
    why = "" if score["value"] is not None else f"{score.get('reason', '')}; {score.get('remedy', '')}".strip("; ")
    between = show.interval(score).replace("\n", " to ") if score["value"] is not None else ""
    return ScoreCell(show.number(score), between, score["n"], score["n_failed"], score["n_undefined"], why)


def _delta(comparison: Comparison | None, shown: Mapping[str, Any]) -> Delta | None:
    if comparison is None or comparison.difference is None:
        return None
    scale, decimals = shown["scale"], shown["decimals"]

    def number(value: float) -> str:
        return f"{value * scale:+.{decimals}f}".replace("-", "−")

    low, high = comparison.ci_low, comparison.ci_high
    between = f"{number(low)} to {number(high)}" if low is not None and high is not None else ""
    p = comparison.p_randomization_holm
    p = comparison.p_bootstrap_holm if p is None else p
    better = (comparison.difference > 0) == bool(shown["higher_is_better"])
    look: Literal["better", "worse", ""] = "" if comparison.difference == 0 else "better" if better else "worse"
    said = "" if p is None else "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    return Delta(number(comparison.difference), between, said, comparison.significant, look)


@dataclass(frozen=True, slots=True)
class Signature:
    """How the columns of a metric were computed, in the runs that say the same."""

    columns: str
    signature: str
    letters: str


def signatures(runs: Runs) -> list[Signature]:
    """Return a line a different recipe."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for one in runs.runs:
        by_recipe: dict[str, list[str]] = {}
        for key in runs.keys:
            if said := one.scores.get(key, {}).get("signature"):
                by_recipe.setdefault(said, []).append(key)
        for said, keys in by_recipe.items():
            found.setdefault((", ".join(keys), said), {})[one.letter] = None
    return [Signature(keys, said, " ".join(letters)) for (keys, said), letters in found.items()]


# ------------------------------------------------------------------ distributions


@dataclass(frozen=True, slots=True)
class Strip:
    """How a column's values spread over the cases of one run."""

    place: int
    letter: str
    counts: tuple[int, ...]
    n: int
    mean: float
    missing: int
    """Cases without a value."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """A column over the cases of each run, in bins they share."""

    key: str
    heading: str
    decimals: int
    edges: tuple[float, ...]
    strips: tuple[Strip, ...]

    @property
    def most(self) -> int:
        """The highest count: all strips have its scale."""
        return max(1, *(n for strip in self.strips for n in strip.counts))

    @property
    def missing(self) -> str:
        """How many cases have no value, for each run where they differ."""
        counts = {strip.missing for strip in self.strips}
        if len(counts) == 1:
            return f"{counts.pop():,} without a value" if counts != {0} else ""
        return ", ".join(f"{strip.letter}: {strip.missing:,}" for strip in self.strips) + " without a value"

    def edge(self, place: int) -> str:
        """Return an edge as text."""
        return f"{self.edges[place]:.{self.decimals}f}"


def histograms(runs: Runs) -> list[Histogram]:
    """Return a histogram a column that has values by case."""
    return [made for key in runs.by_case() if (made := _histogram(runs, key)) is not None]


def _histogram(runs: Runs, key: str) -> Histogram | None:
    column = runs.column(key)
    values = {
        place: one.columns[key].values * column.scale for place, one in enumerate(runs.runs) if key in one.columns
    }
    known = {place: found[np.isfinite(found)] for place, found in values.items()}
    every = np.concatenate(list(known.values()))
    if not len(every):
        return None
    low, high = float(every.min()), float(every.max())
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    strips = tuple(
        Strip(
            place,
            runs.runs[place].letter,
            tuple(np.histogram(found, edges)[0].tolist()),
            len(found),
            float(found.mean()) if len(found) else 0.0,
            len(values[place]) - len(found),
        )
        for place, found in known.items()
    )
    return Histogram(key, column.heading, column.decimals, tuple(edges.tolist()), strips)


# ------------------------------------------------------------------ the list of cases


def case_list(runs: Runs, pages: Mapping[str, int], title: str) -> dict[str, Any]:
    """Return the list of cases as ``table.js`` and ``run.js`` read it. pages: case id → number of its page."""
    shown = show.column_keys([{"scores": dict.fromkeys(runs.by_case())}], full=False)
    columns: list[dict[str, Any]] = [
        {"key": "case", "title": "Case", "kind": "count", "first": "low", "unranged": True,
         "data": list(range(1, len(runs.ids) + 1))},
        *_texts(runs),
        {"key": "page", "title": "", "kind": "none", "unsorted": True, "hidden": True,
         "data": [pages.get(case_id, 0) for case_id in runs.ids]},
        *(column for place, one in enumerate(runs.runs) for column in _scores(runs, place, one)),
        *(column for place in range(1, len(runs.runs)) for column in _falls(runs, place)),
        *(_words(place, one, runs) for place, one in enumerate(runs.runs)),
        _status(runs),
    ]  # fmt: skip
    first = next((f"score:0:{key}" for key in [*shown, *runs.by_case()] if key in runs.runs[0].columns), "case")
    return {
        "noun": "cases",
        "sort": first,
        "title": title,
        "columns": columns,
        "runs": [{"letter": one.letter, "label": one.label} for one in runs.runs],
        "metrics": [{"key": key, "heading": runs.column(key).heading} for key in runs.by_case()],
        "shown": shown[: SHOWN_AT_FIRST if len(runs.runs) == 1 else SHOWN_OF_SEVERAL],
    }


def _texts(runs: Runs) -> list[dict[str, Any]]:
    cases = [runs.case(case_id) for case_id in runs.ids]
    found = [
        ("id", "Identifier", list(runs.ids)),
        ("group", "Patient", list(runs.groups)),
        ("reference", "Reference", [case.reference for case in cases]),
        *(
            (f"report:{place}", f"Report {_of(runs, place)}", [one.run.pairs[i].candidate for i in runs.ids])
            for place, one in enumerate(runs.runs)
        ),
    ]
    return [
        {"key": key, "title": title, "kind": "text", "hidden": True, "unsorted": key != "id", "data": data}
        for key, title, data in found
    ]


def _of(runs: Runs, place: int) -> str:
    """Return how a run is named in lists: nothing where it is the only one."""
    return f"of {runs.runs[place].label}" if len(runs.runs) > 1 else ""


def _scores(runs: Runs, place: int, one: RunData) -> list[dict[str, Any]]:
    group = f"{one.letter} · {one.label}" if len(runs.runs) > 1 else "Scores"
    return [
        {
            "key": f"score:{place}:{key}",
            "title": one.columns[key].column.heading,
            "group": group,
            "kind": "scaled",
            "hidden": True,
            "decimals": one.columns[key].column.decimals,
            "first": "low" if one.columns[key].column.higher_is_better else "high",
            "data": _rounded(one.columns[key].values * one.columns[key].column.scale, one.columns[key].column.decimals),
        }
        for key in runs.by_case()
        if key in one.columns
    ]


def _falls(runs: Runs, place: int) -> list[dict[str, Any]]:
    """Return the columns of a run's values minus the first run's."""
    first, one = runs.runs[0], runs.runs[place]
    found = []
    for key in runs.by_case():
        if (place, key) not in runs.differences:
            continue
        column = one.columns[key].column
        found.append(
            {
                "key": f"difference:{place}:{key}",
                "title": f"{column.heading}: {one.letter} − {first.letter}",
                "group": f"{one.label} − {first.label}",
                "kind": "scaled",
                "signed": True,
                "hidden": True,
                "decimals": column.decimals,
                "first": "low" if column.higher_is_better else "high",
                "data": _rounded(runs.differences[place, key] * column.scale, column.decimals),
            }
        )
    return found


def _rounded(values: Floats, decimals: int) -> list[float | None]:
    return [round(v, decimals + 2) + 0.0 if np.isfinite(v) else None for v in values.tolist()]


def _words(place: int, one: RunData, runs: Runs) -> dict[str, Any]:
    return {
        "key": f"words:{place}",
        "title": f"Words in the report {_of(runs, place)}".rstrip(),
        "group": "Length",
        "kind": "count",
        "first": "low",
        "hidden": True,
        "data": [len(one.run.pairs[case_id].candidate.split()) for case_id in runs.ids],
    }


def _status(runs: Runs) -> dict[str, Any]:
    """Return what is out of the ordinary with each case, as lists of places among the names that occur."""
    flags = [flags_of(runs, place) for place in range(len(runs.ids))]
    names = sorted({name for one in flags for name in one}, key=_rank)
    place = {name: k for k, name in enumerate(names)}
    return {
        "key": "status",
        "title": "Status",
        "kind": "flags",
        "first": "high",
        "hidden": True,
        "names": names,
        "data": [[place[name] for name in one] for one in flags],
    }


def _rank(name: str) -> tuple[int, str]:
    kinds = ("no report", "empty report", "failed", "undefined")
    return next((k for k, kind in enumerate(kinds) if kind in name), len(kinds)), name


def flags_of(runs: Runs, place: int) -> list[str]:
    """Return what is out of the ordinary with a case: errors, empty reports, scores that failed or are undefined."""
    case_id = runs.ids[place]
    found = []
    for one in runs.runs:
        who = f"{one.letter}: " if len(runs.runs) > 1 else ""
        report = one.reports[case_id]
        if report.error is not None:
            found.append(f"{who}no report: error")
        elif not report.text.strip():
            found.append(f"{who}empty report")
        for status, word in ((FAILED, "failed"), (UNDEFINED, "undefined")):
            found += [f"{who}{name} {word}" for name in _having(one, place, status)]
    if runs.case(case_id).contaminated:
        found.append("image seen in training of the encoder")
    return found


def _having(one: RunData, place: int, status: int) -> list[str]:
    """Return the columns that have a status in a case; where all of a metric's have it, the metric's label alone."""
    by_metric: dict[str, list[str]] = {}
    for key, column in one.columns.items():
        by_metric.setdefault(column.metric, []).append(key)
    found = []
    for label, keys in by_metric.items():
        having = [key for key in keys if one.columns[key].status[place] == status]
        found += [label] if len(having) == len(keys) > 1 else having
    return found


def facts(runs: Runs) -> list[tuple[str, str]]:
    """Return what the head of the page tells of the runs' data."""
    first = runs.runs[0].run
    stand_ins = dict.fromkeys(part for one in runs.runs for part in one.run.summary.get("stand_ins", ()))
    found = [
        ("Dataset", dataset_of(runs)),
        ("Split", str(first.summary["split"])),
        ("Cases", f"{len(runs.ids):,}"),
        ("Patients", f"{len(set(runs.groups)):,}"),
    ]
    if stand_ins:
        found.append(("Stand-ins", "; ".join(stand_ins)))
    return found


def dataset_of(runs: Runs) -> str:
    """Return the dataset's name; of a plugin in a file, without the folder."""
    return Path(str(runs.runs[0].run.summary["dataset"])).name


_COUNTED = (
    ("n_reports_failed", "failed reports, scored as empty"),
    ("n_missing_as_empty", "missing predictions, scored as empty"),
    ("n_reports_empty", "empty reports"),
    ("n_contaminated", "cases whose image the encoder was trained on"),
    ("n_problems", "entries of the data, or parts of a system, left out or faulty (problems.jsonl)"),
)


def run_notes(runs: Runs) -> list[str]:
    """Return what the scores leave unsaid: what is compared, failed and empty reports, scores that are missing."""
    lines = [note for note in runs.notes if not note.startswith("Stand-ins") and not note.endswith("scored as empty")]
    for one in runs.runs:
        who = f"{one.label}: " if len(runs.runs) > 1 else ""
        lines += [f"{who}{what}: {one.run.summary[key]:,}" for key, what in _COUNTED if one.run.summary.get(key)]
        missing: dict[str, list[str]] = {}
        for key, score in one.scores.items():
            if score["value"] is None:
                missing.setdefault(f"{score.get('reason', '')}; {score.get('remedy', '')}".strip("; "), []).append(key)
        lines += [f"{who}– {', '.join(keys)}: {why}" for why, keys in missing.items()]
    return list(dict.fromkeys(lines))
