"""Making an atlas: descriptions, then pages and their images block by block, then the tables; a stopped one goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.config import digest
from bench.contracts import Annotator, NoAnswer
from bench.errors import BenchError, Unavailable
from bench.store import Appender, read_lines
from systems.sae_rad.atlas.activity import ByFeature
from systems.sae_rad.atlas.features import FeaturePages, HeldOut
from systems.sae_rad.atlas.finished import FinishedRun
from systems.sae_rad.atlas.reports import ReportPages, priors_of
from systems.sae_rad.atlas.scores import Scores, read_scores
from systems.sae_rad.atlas.site import Site, feature_page, look, report_page, title_of
from systems.sae_rad.atlas.thumbnails import Thumbnails
from systems.sae_rad.atlas.views import Told
from systems.sae_rad.opened import Opened

ASK_AT_ONCE = 1024
"""Features whose descriptions are asked of a language model together."""
MAKE_AT_ONCE = 16
PAGES_AT_ONCE = 32
NO_LABELS = "none"
TRAINING = "train"


@dataclass(frozen=True, slots=True)
class Choices:
    """What the command line chooses."""

    out: Path
    features: int | None = None
    """Pages for this many features, the most active; None: all."""
    images: int = 16
    side: int = 512
    split: str | None = None
    """The split beside the training images; None: test, where the dataset has one."""
    scores: Path | None = None
    scores_required: bool = False
    run: FinishedRun | None = None
    explain: tuple[str, ...] = ()
    labels: str | None = None
    """Annotator that labels the training reports; None: that of the configuration's CheXbert metric."""
    public: bool = False


@dataclass(frozen=True, slots=True)
class Made:
    """What an atlas came to."""

    index: Path
    n_features: int
    n_reports: int
    n_written: int
    """Pages written by this call; the others were there."""
    n_images: int
    """Image files the atlas holds."""
    unreadable: Mapping[str, str]
    """Image file → why it could not be shown."""
    undescribed: int
    """Features whose description a language model did not give."""


def make(opened: Opened, choices: Choices) -> Made:
    """Write the atlas, or what of it is missing. Raises BenchError where folder, run or scores do not fit."""
    return _Atlas(opened, choices).make()


class _Atlas:
    def __init__(self, opened: Opened, choices: Choices) -> None:
        self.opened, self.choices = opened, choices
        self.system, self.public = opened.system, choices.public
        self.credentialed = bool(opened.dataset.credentialed)
        self.notes: list[str] = []
        """What the atlas lacks and why; shown on its first page."""

    def make(self) -> Made:
        self._check_run()
        site = Site(self.choices.out, self._shared())
        site.claim(public=self.public, private=self.credentialed and not self.public)
        pages = self._feature_pages()
        reports = self._report_pages(pages)
        recipe, facts = self._recipe(pages), {"public": self.public, "credentialed": self.credentialed}
        site.begin(recipe, facts)
        written = self._write_features(site, pages)
        written += self._write_reports(site, reports) if reports else 0
        self._write_tables(site, pages, reports)
        made = self._made(pages, reports, written)
        site.page("index.html", "index.html", **self._summary(pages, reports, made))
        site.finish(recipe, {**facts, "features": made.n_features, "reports": made.n_reports, "images": made.n_images})
        return made

    # -------------------------------------------------------------- what it is made of

    def _check_run(self) -> None:
        run = self.choices.run
        if run is None or self.public:
            return
        if run.recorded.get("fingerprint") != self.system.fingerprint():
            raise BenchError(
                f"{run.folder}: was made by another system than {self.opened.entry.label!r} of "
                f"{self.opened.settings.source}: its feature numbers would mean other features. Leave out --config and "
                "--set to use the run's own configuration, or run bench run again"
            )
        told = [run.recorded.get(key) for key in ("dataset_fingerprint", "credentialed")]
        if told != [self.opened.dataset.fingerprint(), self.credentialed]:
            raise BenchError(
                f"{run.folder}: reports on other data than {self.opened.settings.dataset.use} of "
                f"{self.opened.settings.source}, or the data were changed since. Leave out --config, --set and "
                "--dataset to use the run's own configuration, or run bench run again"
            )

    def _shared(self) -> dict[str, Any]:
        """Return what every page knows."""
        settings = self.opened.settings
        return {
            "label": self.opened.entry.label,
            "dataset": Path(settings.dataset.use).name,
            "credentialed": self.credentialed,
            "public": self.public,
            "has_reports": self.choices.run is not None and not self.public,
        }

    @cached_property
    def thumbnails(self) -> Thumbnails | None:
        if self.public:
            return None
        return Thumbnails(self.choices.out, self.choices.side, self.opened.dataset.fingerprint())

    @cached_property
    def scores(self) -> Scores:
        """What was measured about these features; another system's numbers are never shown."""
        found = read_scores(self.choices.scores, required=self.choices.scores_required)
        why = self._foreign(found)
        if not why:
            return found
        if self.choices.scores_required:
            raise BenchError(f"--scores {found.folder}: {why}: run bench sae-rad evaluate with this configuration")
        self.notes.append(f"The folder of scores {why}: its scores are left out.")
        return Scores()

    def _foreign(self, scores: Scores) -> str:
        """Return why scores are not of these features; "" where they are, or do not say."""
        if scores.system not in ("", self.system.fingerprint()):
            return f"measures the features of another system than {self.opened.entry.label!r}"
        if scores.dataset not in ("", self.opened.dataset.fingerprint()):
            return f"measures features on other data than {Path(self.opened.settings.dataset.use).name}"
        return ""

    def _feature_pages(self) -> FeaturePages:
        training = ByFeature.of(self.system.train_active, self.system.dictionary.m)
        chosen = chosen_features(training, self.choices.features)
        return FeaturePages(
            system=self.system,
            training=training,
            held_out=self._held_out(),
            labels=self._labels(),
            told={} if self.public else self._told(chosen, training),
            scores=self.scores,
            thumbnails=self.thumbnails,
            chosen=chosen,
            n_images=self.choices.images,
        )

    def _held_out(self) -> HeldOut | None:
        splits = self.opened.dataset.splits()
        split = self.choices.split or ("test" if "test" in splits else None)
        if split is None:
            return None
        if split == TRAINING:
            raise BenchError(f"--split {split}: the features were learnt from it; the held-out splits are "
                             f"{', '.join(self.opened.held_out()) or 'none'}")  # fmt: skip
        cases = self.opened.cases(split)
        active, readable = self.system.active(cases)
        return HeldOut(split, cases, ByFeature.of(active, self.system.dictionary.m), int(readable.sum()))

    # -------------------------------------------------------------- labels

    def _labels(self) -> dict[str, NDArray[np.bool_]]:
        """Return the labels of the training reports; {} with a note where there are none to be had."""
        spec = self.choices.labels or self._annotator()
        if spec is None or spec == NO_LABELS:
            return {}
        try:
            return positives(self.opened.context.annotator(spec), self.system.train_reports)
        except Unavailable as err:
            self.notes.append(f"Labels of the reports: {err.reason}; {err.remedy}.")
            return {}

    def _annotator(self) -> str | None:
        """Return the annotator that the configuration names for its CheXbert metric."""
        metrics = self.opened.settings.resolved.get("metrics", {})
        named = [options.get("annotator") for options in metrics.values() if options.get("use") == "chexbert-f1"]
        return next((str(spec) for spec in named if spec), None)

    # -------------------------------------------------------------- descriptions

    def _told(self, chosen: Sequence[int], training: ByFeature) -> dict[int, Told]:
        """Return the descriptions of the chosen features; what a former call was told is read back."""
        active = [feature for feature in chosen if training.counts[feature]]
        file = self.choices.out / "state" / f"descriptions-{self._describing()}.jsonl"
        told = dict(_told_before(line, file) for line in read_lines(file))
        file.parent.mkdir(parents=True, exist_ok=True)
        with Appender(file) as out:
            for part in self._blocks(active, told):
                found = {f: _told_of(description) for f, description in self.system.describe(part).items()}
                out.write(*(_line(f, one) for f, one in found.items() if f not in told and not one.fault))
                told.update(found)
        return {feature: told[feature] for feature in active}

    def _describing(self) -> str:
        return digest([self.system.fingerprint(), self.opened.train.fingerprint])

    def _blocks(self, active: Sequence[int], told: Mapping[int, Told]) -> Iterator[Sequence[int]]:
        """Yield the features without a description block by block; a language model shows its own progress.

        What a language model answered before is kept, so that a block goes to it as a whole: the share that stays
        without a description, above which it is an error, is then the same in every call of the command.
        """
        if self.system.options.describe.by == "llm":
            parts = (active[start : start + ASK_AT_ONCE] for start in range(0, len(active), ASK_AT_ONCE))
            yield from (part for part in list(parts) if any(feature not in told for feature in part))
            return
        todo = [feature for feature in active if feature not in told]
        with self.opened.context.progress("descriptions", len(todo), "features") as bar:
            for start in range(0, len(todo), MAKE_AT_ONCE):
                part = todo[start : start + MAKE_AT_ONCE]
                yield part
                bar.advance(len(part))

    # -------------------------------------------------------------- reports

    def _report_pages(self, pages: FeaturePages) -> ReportPages | None:
        run, compose = self.choices.run, self.system.options.compose
        if run is None or self.thumbnails is None:
            return None
        cases = self.opened.cases(run.split) if "priors" in compose.context else ()
        return ReportPages(
            run=run,
            space=self.system.space,
            compose=compose,
            thumbnails=self.thumbnails,
            explain=run.explaining(self.choices.explain),
            linked=frozenset(pages.chosen),
            priors=priors_of(cases, compose),
        )

    # -------------------------------------------------------------- writing

    def _recipe(self, pages: FeaturePages) -> dict[str, Any]:
        """Return all that the pages depend on: as long as it is the same, a page that is there is right."""
        run, choices = self.choices.run, self.choices
        return {
            "look": look(),
            "shared": digest(self._shared()),
            "features": self._describing(),
            "dataset": digest(self.opened.dataset.fingerprint()),
            "descriptions": digest({str(f): [t.text, t.reasoning, t.fault] for f, t in pages.told.items()}),
            "chosen": digest(list(pages.chosen)),
            "images": choices.images,
            "side": choices.side,
            "split": "" if pages.held_out is None else pages.held_out.split,
            "labels": digest({name: int(found.sum()) for name, found in pages.labels.items()}),
            "scores": pages.scores.digest,
            "run": "" if run is None or self.public else digest([str(run.folder), run.digest, list(choices.explain)]),
            "public": self.public,
        }

    def _write_features(self, site: Site, pages: FeaturePages) -> int:
        written = 0
        with self.opened.context.progress("feature pages", len(pages.chosen), "pages") as bar:
            for start in range(0, len(pages.chosen), PAGES_AT_ONCE):
                block = pages.chosen[start : start + PAGES_AT_ONCE]
                images = {feature: pages.images(feature) for feature in block}
                for feature in self._to_write(site, {feature_page(f): (f, images[f]) for f in block}):
                    site.page(feature_page(feature), "feature.html", view=pages.view(feature))
                    written += 1
                bar.advance(len(block))
        return written

    def _write_reports(self, site: Site, reports: ReportPages) -> int:
        written = 0
        with self.opened.context.progress("report pages", len(reports), "pages") as bar:
            for start in range(0, len(reports), PAGES_AT_ONCE):
                block = range(start, min(start + PAGES_AT_ONCE, len(reports)))
                for number in self._to_write(site, {report_page(k): (k, reports.images(k)) for k in block}):
                    site.page(report_page(number), "report.html", view=reports.view(number))
                    written += 1
                bar.advance(len(block))
        return written

    def _to_write(self, site: Site, wanted: Mapping[str, tuple[int, Sequence[Path]]]) -> list[int]:
        """Copy the images of pages, and return the pages to write: those not there, or there without an image."""
        if self.thumbnails is None:
            return [number for page, (number, _) in wanted.items() if not site.there(page)]
        whole = {page: all(self.thumbnails.there(image) for image in images) for page, (_, images) in wanted.items()}
        self.thumbnails.make(image for _, images in wanted.values() for image in images)
        return [number for page, (number, _) in wanted.items() if not (whole[page] and site.there(page))]

    def _write_tables(self, site: Site, pages: FeaturePages, reports: ReportPages | None) -> None:
        site.data("data/features.js", "atlasTable", pages.table())
        if reports:
            site.data("data/reports.js", "atlasTable", reports.table())
            site.page("reports.html", "reports.html", n_reports=len(reports), run=reports.run)

    # -------------------------------------------------------------- summing up

    def _made(self, pages: FeaturePages, reports: ReportPages | None, written: int) -> Made:
        unreadable = self.thumbnails.unreadable if self.thumbnails else {}
        return Made(
            index=self.choices.out / "index.html",
            n_features=len(pages.chosen),
            n_reports=len(reports) if reports else 0,
            n_written=written,
            n_images=self.thumbnails.prune() if self.thumbnails else 0,
            unreadable={str(image): why for image, why in unreadable.items()},
            undescribed=sum(bool(told.fault) for told in pages.told.values()),
        )

    def _summary(self, pages: FeaturePages, reports: ReportPages | None, made: Made) -> dict[str, Any]:
        """Return what the first page shows."""
        counts = pages.training.counts
        return {
            "m": self.system.dictionary.m,
            "alive": int((counts > 0).sum()),
            "n_train": pages.training.n_images,
            "facts": [(title_of(name), shown(value)) for name, value in self.system.facts().items()],
            "describer": self._describer(),
            "made": made,
            "n_reports": len(reports) if reports else 0,
            "held_out": pages.held_out,
            "scores": pages.scores,
            "has_labels": bool(pages.labels),
            "notes": self.notes,
        }

    def _describer(self) -> str:
        options = self.system.options.describe
        return f"the language model {options.llm}" if options.by == "llm" else "the consensus of their reports"


def chosen_features(training: ByFeature, most: int | None) -> list[int]:
    """Return the features that get a page, ascending: all, or those active on the most training images."""
    counts = training.counts
    if most is None or most >= len(counts):
        return list(range(len(counts)))
    order = np.lexsort((np.arange(len(counts)), -counts))[:most]
    return sorted(order.tolist())


def positives(annotator: Annotator, reports: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Return label → bool [n_reports]: True where a report states it as present (uncertain is no).

    A report that could not be labelled has none. Raises BenchError where the annotator gives no labels.
    """
    found: dict[str, NDArray[np.bool_]] = {}
    for row, annotation in enumerate(annotator.annotate(list(reports))):
        labels = annotation.get("labels") if isinstance(annotation, Mapping) else {}
        if not isinstance(labels, Mapping):
            raise BenchError(f"--labels: {annotator.fingerprint()} gives no labels (chexbert and rules do)")
        for name, value in labels.items():
            found.setdefault(name, np.zeros(len(reports), bool))[row] = value == 1
    return found


def _told_of(found: Any) -> Told:
    if isinstance(found, NoAnswer):
        return Told("", fault=f"{found.kind}: {found.why}")
    return Told(found.text, found.reasoning)


def _told_before(line: Mapping[str, Any], file: Path) -> tuple[int, Told]:
    match line:
        case {"feature": int(feature), "text": str(text), "reasoning": str(reasoning)}:
            return feature, Told(text, reasoning)
    raise BenchError(f"{file}: a line is no description: delete the file, and what it held is described again")


def _line(feature: int, told: Told) -> dict[str, Any]:
    return {"feature": feature, "text": told.text, "reasoning": told.reasoning}


def shown(value: float) -> str:
    """Return a number as the page of facts shows it."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"
