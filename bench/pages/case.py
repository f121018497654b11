"""What a case's page shows: images, texts with marks, the metrics' tables, the systems' evidence, the case's scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.contracts import FAILED, OK, Evidence, Mark, SmallTable
from bench.pages.explain import Explained, Explainer
from bench.pages.marks import Legend, Stretch, clipped, cut, legend
from bench.pages.overview import flags_of
from bench.pages.pictures import Copy
from bench.pages.reading import CaseLine, Runs


def case_page(number: int) -> str:
    """Return the path of a case's page, counted from 1. Case ids stay out of file names: they may hold anything."""
    return f"cases/{number:05d}.html"


@dataclass(frozen=True, slots=True)
class Film:
    """An image on a page."""

    copy: Copy
    alt: str
    caption: str
    file: str


@dataclass(frozen=True, slots=True)
class OwnScore:
    """What a column says of the case alone."""

    heading: str
    value: str
    difference: str = ""
    """To the first run's, where both are computed alike."""
    worse: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """Report and reference with one metric's marks."""

    label: str
    report: Sequence[Stretch]
    reference: Sequence[Stretch]
    legend: Sequence[Legend]
    tables: Sequence[SmallTable]
    fault: str = ""
    warning: str = ""
    beside: int = 0
    """Marks that lie beside the text, or are empty: they are not drawn."""


@dataclass(frozen=True, slots=True)
class EvidenceView:
    """A line of evidence."""

    item: Evidence
    score: str
    share: float | None
    """The score as a share of the largest one of its kind, for a bar; None where it cannot be drawn as one."""


@dataclass(frozen=True, slots=True)
class RunView:
    """One run's answer to the case."""

    letter: str
    label: str
    empty: str
    """Why there is no text; "" where there is."""
    seconds: float | None
    scores: Sequence[OwnScore]
    comparisons: Sequence[Comparison]
    evidence: Sequence[EvidenceView]


@dataclass(frozen=True, slots=True)
class CaseView:
    """A case's page."""

    number: int
    n: int
    case: CaseLine
    flags: Sequence[str]
    films: Sequence[Film]
    runs: Sequence[RunView]
    labels: Sequence[str]
    """Metrics that mark or explain something, for the choice above the texts."""
    before: int | None
    after: int | None


def view(
    runs: Runs,
    place: int,
    explainers: Sequence[Sequence[Explainer]],
    films: Sequence[Film],
    steps: tuple[int | None, int | None],
) -> CaseView:
    """Return the page of the case at a place. explainers: those of each run; steps: numbers before and after."""
    case_id = runs.ids[place]
    shown = [_run(runs, k, place, explainers[k]) for k in range(len(runs.runs))]
    labels = list(dict.fromkeys(c.label for run in shown for c in run.comparisons if c.label))
    flags = flags_of(runs, place)
    return CaseView(place + 1, len(runs.ids), runs.case(case_id), flags, films, shown, labels, *steps)


def _run(runs: Runs, k: int, place: int, explainers: Sequence[Explainer]) -> RunView:
    one, case_id = runs.runs[k], runs.ids[place]
    pair, report = runs.pair(k, case_id), one.reports[case_id]
    working = [explainer for explainer in explainers if not explainer.why_not]
    explained = [explainer.explain(pair) for explainer in working] or [Explained("")]
    empty = "" if report.text.strip() else "The report is empty."
    if report.error is not None:
        empty = f"The system gave no report: {report.error}"
    return RunView(
        one.letter,
        one.label,
        empty,
        report.seconds,
        own_scores(runs, k, place),
        [comparison(pair.candidate, pair.reference, found) for found in explained],
        evidence_views(report.evidence),
    )


def comparison(candidate: str, reference: str, found: Explained) -> Comparison:
    """Return both texts of a pair with the marks of one metric."""
    marks: dict[str, list[Mark]] = {"candidate": [], "reference": []}
    for mark in found.marks:
        marks[mark.side].append(mark)
    drawn = {
        side: clipped(marks[side], len(text)) for side, text in (("candidate", candidate), ("reference", reference))
    }
    return Comparison(
        found.label,
        cut(candidate, drawn["candidate"]),
        cut(reference, drawn["reference"]),
        legend(drawn["candidate"], drawn["reference"]),
        found.tables,
        found.fault,
        found.warning,
        len(found.marks) - sum(map(len, drawn.values())),
    )


def own_scores(runs: Runs, k: int, place: int) -> list[OwnScore]:
    """Return what each column of a run says of a case alone."""
    found = []
    for key in runs.by_case():
        if key not in runs.runs[k].columns:
            continue
        of = runs.runs[k].columns[key]
        value, decimals = of.values[place] * of.column.scale, of.column.decimals
        if not np.isfinite(value):
            word = {OK: "–", FAILED: "failed"}.get(int(of.status[place]), "undefined")
            found.append(OwnScore(of.column.heading, word))
            continue
        fell = runs.differences.get((k, key))
        by = fell[place] * of.column.scale if fell is not None else np.nan
        text = f"{by:+.{decimals}f}".replace("-", "−") if np.isfinite(by) and by != 0 else ""
        worse = bool(by < 0) == of.column.higher_is_better
        found.append(OwnScore(of.column.heading, f"{value:.{decimals}f}", text, worse and bool(text)))
    return found


def evidence_views(evidence: Sequence[Evidence]) -> list[EvidenceView]:
    """Return lines of evidence; scores of one kind have bars where none is negative."""
    scores: dict[str, list[float]] = {}
    for item in evidence:
        if item.score is not None and np.isfinite(item.score):
            scores.setdefault(item.kind, []).append(float(item.score))
    return [_evidence(item, scores.get(item.kind, [])) for item in evidence]


def _evidence(item: Evidence, scores: Sequence[float]) -> EvidenceView:
    if item.score is None or not np.isfinite(item.score):
        return EvidenceView(item, "", None)
    drawn = len(scores) > 1 and min(scores) >= 0 and max(scores) > 0
    share = item.score / max(scores) if drawn else None
    return EvidenceView(item, f"{item.score:.3g}", share)


def image_files(case: CaseLine) -> list[tuple[Path, str, str]]:
    """Return (file, alternative text, caption) of the images of a case, the first one first, earlier ones last."""
    n = len(case.images)
    own = [
        (Path(file), f"Chest radiograph, image {k} of {n}", "The first image" if k == 1 else f"Image {k}")
        for k, file in enumerate(case.images, 1)
    ]
    if n == 1:
        own = [(file, "Chest radiograph", "") for file, _, _ in own]
    earlier = [(Path(file), "Earlier chest radiograph", "Earlier image") for file in case.prior_images]
    return own + earlier


def films(case: CaseLine, copies: Mapping[Path, Copy]) -> list[Film]:
    """Return the images of a case as its page shows them."""
    return [Film(copies[file], alt, caption, str(file)) for file, alt, caption in image_files(case)]
