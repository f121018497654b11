"""The pages of reports: what a run composed, the features behind each sentence, the reference beside it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.contracts import Case, Column, Evidence, Mark, Pair, Prior, Report
from systems.sae_rad.atlas.features import picture
from systems.sae_rad.atlas.finished import Explained, FinishedRun
from systems.sae_rad.atlas.passages import Led, Passage, Side, attribute, completed, passages, spans
from systems.sae_rad.atlas.thumbnails import Thumbnails
from systems.sae_rad.atlas.views import ActiveView, Comparison, PriorView, ReportView
from systems.sae_rad.options import ComposeOptions
from systems.sae_rad.vectors import SentenceSpace

SHOWN_SCORES = ("RadFact", "RGER", "BL4", "RG-L", "MTR")
"""Scores with a column of their own in the table: those that mean something for one case."""
_NUMBER = re.compile("[0-9]{1,9}")
MINUTES = (("year", 365 * 1440), ("day", 1440), ("hour", 60), ("minute", 1))


@dataclass(frozen=True)
class ReportPages:
    """What the pages of reports show."""

    run: FinishedRun
    space: SentenceSpace
    compose: ComposeOptions
    thumbnails: Thumbnails
    explain: Sequence[str]
    """Labels of the metrics whose explanations are shown."""
    linked: frozenset[int]
    """Features that have a page."""
    priors: Mapping[str, Sequence[Prior]] = field(default_factory=dict)
    """Case id → earlier reports, where the composer was shown them."""

    def __len__(self) -> int:
        return len(self.run.cases)

    def images(self, number: int) -> list[Path]:
        """Return the image files that a report's page shows."""
        return [Path(image) for image in self.run.cases[number]["images"]]

    def view(self, number: int) -> ReportView:
        """Return a report's page."""
        case = self.run.cases[number]
        report = self.run.reports.get(case["id"]) or Report(case["id"], "", error="the run holds no report of it")
        features = features_of(report.evidence)
        sentences = [report.text[a:b] for a, b in spans(report.text)]
        led = attribute(sentences, {f: item.text for f, item in features.items()}, self.space)
        said = {feature: [k for k, by in enumerate(led) if feature in {x.feature for x in by}] for feature in features}
        active = [
            ActiveView(f, item.score or 0.0, item.text, tuple(said[f]), f in self.linked)
            for f, item in features.items()
        ]
        return ReportView(
            number=number,
            case_id=case["id"],
            group=case["group"],
            pictures=tuple(
                picture(self.thumbnails, image, f"Image {k} of {len(case['images'])}: chest radiograph")
                for k, image in enumerate(self.images(number), 1)
            ),
            indication=case["indication"],
            indication_used="indication" in self.compose.context,
            priors=tuple(self._priors(case["id"])),
            empty="" if report.text.strip() else (report.error or "The report is empty."),
            comparisons=tuple(self._comparisons(case, report, led)),
            active=tuple(active),
            notes=tuple(f"{e.label}: {e.text}" for e in report.evidence if e.kind == "note"),
            unsaid=sum(bool(a.description) and not a.sentences for a in active),
            scores=tuple(self.run.own_scores.get(case["id"], ())),
            before=number - 1 if number else None,
            after=number + 1 if number + 1 < len(self) else None,
        )

    def _priors(self, case_id: str) -> list[PriorView]:
        shown = self.priors.get(case_id, ())[: self.compose.priors]
        return [PriorView(ago(prior.minutes_before), prior.text) for prior in shown]

    def _comparisons(self, case: Mapping[str, Any], report: Report, led: Sequence[tuple[Led, ...]]) -> list[Comparison]:
        pair = Pair(case["id"], case["group"], report.text, case["reference"])
        explained = [self.run.explain(label, pair) for label in self.explain]
        return [compared(pair, found, led, self.space) for found in explained or [Explained("", (), ())]]

    def table(self) -> dict[str, Any]:
        """Return columns and data of the table of reports, as ``table.js`` reads them."""
        reports = [self.run.reports.get(case["id"]) for case in self.run.cases]
        active = [len(features_of(report.evidence)) if report else None for report in reports]
        columns: list[dict[str, Any]] = [
            {"key": "report", "title": "Case", "kind": "report", "data": list(range(len(self)))},
            {
                "key": "case",
                "title": "Identifier",
                "kind": "text",
                "hidden": True,
                "data": [case["id"] for case in self.run.cases],
            },
            {"key": "text", "title": "Report", "kind": "text", "data": [r.text if r else "" for r in reports]},
            {"key": "active", "title": "Active features", "kind": "count", "data": active},
            *self._score_columns(),
        ]
        return {"noun": "reports", "columns": columns}

    def _score_columns(self) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for number, case in enumerate(self.run.cases):
            for own in self.run.own_scores.get(case["id"], ()):
                column = found.setdefault(own.column.key, _score_column(own.column, len(self)))
                if own.value is not None:
                    column["data"][number] = round(own.value * own.column.scale, own.column.decimals + 2)
        return [
            found[key] for key in [*(k for k in SHOWN_SCORES if k in found), *sorted(found.keys() - set(SHOWN_SCORES))]
        ]


def _score_column(column: Column, n: int) -> dict[str, Any]:
    hidden = column.key not in SHOWN_SCORES
    return {
        "key": f"score:{column.key}",
        "title": column.heading,
        "kind": "scaled",
        "decimals": column.decimals,
        "hidden": hidden,
        "data": [None] * n,
    }


def features_of(evidence: Sequence[Evidence]) -> dict[int, Evidence]:
    """Return feature → its line of evidence, in the order of the report."""
    return {int(e.label): e for e in evidence if e.kind == "feature" and _NUMBER.fullmatch(e.label)}


def compared(pair: Pair, explained: Explained, led: Sequence[tuple[Led, ...]], space: SentenceSpace) -> Comparison:
    """Return both texts of a pair with the marks of one metric, and how many places got each verdict."""
    statements = next(iter(explained.tables), None)

    def marks(side: Side, text: str) -> list[Mark]:
        own = [mark for mark in explained.marks if mark.side == side]
        return completed(text, side, own, statements, space)

    report = tuple(passages(pair.candidate, marks("candidate", pair.candidate), led))
    reference = tuple(passages(pair.reference, marks("reference", pair.reference)))
    counted = [(side, v, n) for side, part in (("report", report), ("reference", reference))
               for v, n in sorted(_verdicts(part).items())]  # fmt: skip
    return Comparison(explained.metric, report, reference, explained.tables, counted, explained.fault)


def _verdicts(part: Sequence[Passage]) -> Counter[str]:
    """Count marks; one that runs over the end of a sentence is one for each."""
    return Counter(piece.verdict for passage in part for piece in passage.pieces if piece.verdict is not None)


def ago(minutes: int) -> str:
    """Return a time span in the two largest units it has: "1 year and 3 days before"."""
    parts, rest = [], max(minutes, 0)
    for name, size in MINUTES:
        n, rest = divmod(rest, size)
        if n:
            parts.append(f"{n} {name}{'s' * (n != 1)}")
    return f"{' and '.join(parts[:2]) or 'less than a minute'} before"


def priors_of(cases: Sequence[Case], compose: ComposeOptions) -> dict[str, Sequence[Prior]]:
    """Return case id → earlier reports, where the composer is shown any."""
    return {case.id: case.priors for case in cases if case.priors} if "priors" in compose.context else {}
