"""The pages of features and the rows of their table, worked out from activations, descriptions and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.contracts import Case, Mark
from systems.sae_rad.atlas.activity import ByFeature, Ints, histogram
from systems.sae_rad.atlas.passages import Passage, alike, passages, spans
from systems.sae_rad.atlas.scores import Scores
from systems.sae_rad.atlas.site import title_of
from systems.sae_rad.atlas.thumbnails import Thumbnails
from systems.sae_rad.atlas.views import FeatureView, PartnerView, Picture, SourceReport, Tile, Told
from systems.sae_rad.sentences import split
from systems.sae_rad.system import SAERad

PARTNERS = 12
LABELS = 8
HELD_OUT_IMAGES = 8
SHOWN_SCORES = ("detection", "fuzzing", "monosemanticity")
"""Scores with a column of their own in the table; by the others it is sorted and filtered."""


@dataclass(frozen=True)
class HeldOut:
    """A split that nothing was learnt from, seen through the features."""

    split: str
    cases: Sequence[Case]
    by_feature: ByFeature
    n_readable: int


@dataclass(frozen=True)
class FeaturePages:
    """What the pages of features show."""

    system: SAERad
    training: ByFeature
    held_out: HeldOut | None
    labels: Mapping[str, NDArray[np.bool_]]
    """Label → bool [n_train], of the training reports."""
    told: Mapping[int, Told]
    """Feature → description; empty for a public atlas."""
    scores: Scores
    thumbnails: Thumbnails | None
    """None for a public atlas: no image, no report."""
    chosen: Sequence[int]
    """The features that have a page, ascending."""
    n_images: int
    """Images in a gallery."""

    @cached_property
    def _places(self) -> Mapping[int, int]:
        return {feature: place for place, feature in enumerate(self.chosen)}

    # -------------------------------------------------------------- images

    def _training_rows(self, feature: int) -> tuple[Ints, NDArray[np.float32]]:
        rows, activations = self.training.images(feature)
        return rows[: self.n_images], activations[: self.n_images]

    def _held_out_rows(self, feature: int) -> tuple[Ints, NDArray[np.float32]]:
        if self.held_out is None:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        rows, activations = self.held_out.by_feature.images(feature)
        most = min(self.n_images, HELD_OUT_IMAGES)
        return rows[:most], activations[:most]

    def images(self, feature: int) -> list[Path]:
        """Return the image files that a feature's page shows; none in a public atlas."""
        if self.thumbnails is None:
            return []
        described, _ = self.system.top.of(feature)
        rows = [*self._training_rows(feature)[0].tolist(), *described.tolist()]
        cases = [self.system.train_cases[row] for row in dict.fromkeys(rows)]
        if self.held_out is not None:
            cases += [self.held_out.cases[row] for row in self._held_out_rows(feature)[0].tolist()]
        return [case.images[0].path for case in cases]

    def _picture(self, case: Case, what: str) -> Picture:
        image = case.images[0]
        return picture(self.thumbnails, image.path, f"{what}: chest radiograph, {image.view} view")

    # -------------------------------------------------------------- a page

    def view(self, feature: int) -> FeatureView:
        """Return a feature's page."""
        rows, activations = self.training.images(feature)
        described = frozenset(self.system.top.of(feature)[0].tolist())
        held = self.held_out
        shown = self.thumbnails is not None
        place = self._places[feature]
        return FeatureView(
            feature=feature,
            told=self.told.get(feature, Told("")),
            count=len(rows),
            n_images=self.training.n_images,
            held_out_count=None if held is None else int(held.by_feature.counts[feature]),
            n_held_out=0 if held is None else held.n_readable,
            split="" if held is None else held.split,
            scores=self.scores.of(feature),
            histogram=histogram(activations, None if held is None else held.by_feature.images(feature)[1]),
            tiles=self._tiles(self.system.train_cases, *self._training_rows(feature), described) if shown else (),
            held_out_tiles=self._tiles(held.cases, *self._held_out_rows(feature)) if shown and held else (),
            sources=self._sources(feature) if shown else (),
            partners=tuple(self._partners(feature)),
            labels=tuple(self.training.labels(feature, self.labels)[:LABELS]),
            before=self.chosen[place - 1] if place else None,
            after=self.chosen[place + 1] if place + 1 < len(self.chosen) else None,
        )

    def _tiles(
        self, cases: Sequence[Case], rows: Ints, activations: NDArray[np.float32], read: frozenset[int] = frozenset()
    ) -> tuple[Tile, ...]:
        pairs = zip(rows.tolist(), activations.tolist(), strict=True)
        return tuple(
            Tile(
                self._picture(cases[row], f"Rank {rank}"), rank, value, cases[row].id, cases[row].images[0].view,
                row in read,
            )
            for rank, (row, value) in enumerate(pairs, 1)
        )  # fmt: skip

    def _sources(self, feature: int) -> tuple[SourceReport, ...]:
        rows, activations = self.system.top.of(feature)
        told = split(self.told[feature].text) if feature in self.told else []
        return tuple(
            SourceReport(
                self._picture(self.system.train_cases[row], f"Report {rank}"),
                value,
                self.system.train_cases[row].id,
                tuple(self._marked(self.system.train_reports[row], told)),
            )
            for rank, (row, value) in enumerate(zip(rows.tolist(), activations.tolist(), strict=True), 1)
        )

    def _marked(self, report: str, told: Sequence[str]) -> list[Passage]:
        """Mark the sentences of a report that say what the description says."""
        note = "says what the description says"
        places = [
            Mark("reference", a, b, "match", note)
            for a, b in spans(report)
            if alike(report[a:b], told, self.system.space)
        ]
        return passages(report, places)

    def _partners(self, feature: int) -> list[PartnerView]:
        return [
            PartnerView(
                p.feature,
                self.told[p.feature].text if p.feature in self.told else "",
                p.together,
                p.share,
                p.lift,
                p.feature in self._places,
            )
            for p in self.training.partners(feature, PARTNERS)
        ]

    # -------------------------------------------------------------- the table

    def table(self) -> dict[str, Any]:
        """Return columns and data of the table of features, as ``table.js`` reads them.

        A column with "after" is shown in the cells of the column of that key, one with "hidden" is only sorted and
        filtered by.
        """
        counts = self.training.counts[list(self.chosen)]
        columns = [_column("feature", "Feature", "feature", list(self.chosen))]
        if self.thumbnails is not None:
            texts = [self.told[f].text if f in self.told else "" for f in self.chosen]
            columns.append(_column("description", "Description", "text", texts))
        shares = (counts / max(self.training.n_images, 1)).round(6).tolist()
        columns.append(_column("count", "Training images", "count", counts.tolist()))
        columns.append(_column("share", "Frequency", "share", shares, after="count"))
        if self.held_out is not None:
            held = self.held_out.by_feature.counts[list(self.chosen)].tolist()
            columns.append(_column("held_out", f"Images of {self.held_out.split}", "count", held))
        columns += [*self._score_columns(), *self._label_columns()]
        return {"noun": "features", "sort": "count", "hide": "count", "hideTitle": "never active", "columns": columns}

    def _score_columns(self) -> list[dict[str, Any]]:
        scores = [self.scores.of(feature) for feature in self.chosen]
        found = []
        for name in self.scores.names:
            values = [_short(s.values.get(name)) for s in scores]
            found.append(_column(f"score:{name}", title_of(name), "score", values, hidden=name not in SHOWN_SCORES))
        if any(s.chosen for s in scores):
            labels = [s.chosen.label if s.chosen else None for s in scores]
            values = [_short(s.chosen.auroc) if s.chosen else None for s in scores]
            found.append(_categories("told", "Label it tells", labels))
            found.append(_column("auroc", "AUROC of the label it tells", "score", values, after="told"))
        if any(s.matched for s in scores):
            findings = [s.matched.finding.replace("_", " ") if s.matched else None for s in scores]
            values = [_short(s.matched.f1) if s.matched else None for s in scores]
            found.append(_categories("matched", "Matched finding", findings))
            found.append(_column("f1", "F1 of the matched finding", "score", values, after="matched"))
        return found

    def _label_columns(self) -> list[dict[str, Any]]:
        if not self.labels:
            return []
        best = [next((k for k in self.training.labels(f, self.labels) if k.phi > 0), None) for f in self.chosen]
        values = [_short(k.phi) if k else None for k in best]
        return [
            _categories("label", "Label of its reports", [k.label if k else None for k in best]),
            _column("phi", "Correlation φ with that label", "score", values, after="label"),
        ]


def picture(thumbnails: Thumbnails | None, image: Path, alt: str) -> Picture:
    """Return an image as a page shows it; a placeholder's reason where it could not be copied."""
    if thumbnails is None:
        return Picture(None, alt, "left out")
    if thumbnails.there(image):
        return Picture(thumbnails.name(image), alt)
    return Picture(None, alt, thumbnails.unreadable.get(image, "not copied"))


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _column(key: str, title: str, kind: str, data: Sequence[Any], **more: Any) -> dict[str, Any]:
    return {"key": key, "title": title, "kind": kind, "data": data, **more}


def _categories(key: str, title: str, values: Sequence[str | None]) -> dict[str, Any]:
    """Return a column of names, each written once."""
    names = sorted({value for value in values if value is not None})
    place = {name: k for k, name in enumerate(names)}
    return _column(key, title, "category", [None if v is None else place[v] for v in values], names=names)
