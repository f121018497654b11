"""MIMIC-CXR-JPG 2.1 with the reports of MIMIC-CXR: frontal radiographs, their findings, and what came before."""

from __future__ import annotations

import csv
import difflib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field

from bench.contracts import Case, Context, Count, Image, Prior, Problem
from bench.datasets.bulk import without_collector
from bench.datasets.mimic_reports import LAYOUT as REPORTS_LAYOUT
from bench.datasets.mimic_reports import ReportKey, ReportStore, StoredReport, find_source
from bench.datasets.mimic_tables import LAYOUT, ImageRow, Study, Tables, by_id, read_tables
from bench.datasets.sections import RULES, TIERS
from bench.errors import BenchError
from bench.options import Options

READER = "mimic-cxr-reader-2"
"""Name of this version of the reading rules; part of the fingerprint."""

FRONTAL = frozenset({"AP", "PA"})
LATERAL = frozenset({"LATERAL", "LL"})
PAPER, OFFICIAL = "SAE-Rad, section 5.1", "MIMIC-CXR-JPG 2.1"
_PAPER_TRAIN, _PAPER_TEST = 239_931, 3_403
_OFFICIAL_COUNTS: Mapping[str, tuple[int, int, int]] = {
    "train": (368_960, 222_758, 64_586),
    "validate": (2_991, 1_808, 500),
    "test": (5_159, 3_269, 293),
}
"""Images, studies, patients of each official split."""


class MimicCXROptions(Options):
    """What to read of MIMIC-CXR, and how."""

    root: Path
    """Folder of MIMIC-CXR-JPG 2.1: its csv.gz tables and files/."""
    reports_root: Path | None = None
    """Folder with files/p10/…/s….txt, or mimic-cxr-reports.zip (or the folder that holds it); default: root."""
    unit: Literal["image", "study"] = "image"
    """One case a frontal image (as in the paper), or one a study."""
    population: Literal["all", "findings"] = "all"
    """All reports that say anything, or only those with a findings section."""
    views: tuple[str, ...] = Field(("AP", "PA"), min_length=1)
    """ViewPosition of the images reported on, exactly."""
    validation: Literal["train", "held-out"] = "train"
    """Whether the validation images are training data (as in the paper) or a split "validate" of their own."""
    priors: int = Field(3, ge=0)
    """How many of the patient's latest earlier reports a case carries at most; with the latest comes that study's first
    frontal image (AP or PA), where it has one."""
    exclude: Path | None = None
    """Text file of dicom_ids and study_ids to leave out, one a line."""
    check_files: bool = True
    """Look whether each image file is there; a missing one is a problem, and its case left out."""
    contamination: Path | None = None
    """RAD-DINO's training_images.csv: cases whose image it was trained on are flagged."""


@dataclass
class _Split:
    """A split as read."""

    cases: list[Case] = field(default_factory=list)
    references: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    tiers: Counter[str] = field(default_factory=Counter)
    """Images reported on, by where the report's reference comes from; "none" where it says nothing."""
    asked: list[ImageRow] = field(default_factory=list)
    """Images of the right view and split, excluded ones left out."""
    contaminated: set[str] = field(default_factory=set)


class MimicCXR:
    """MIMIC-CXR-JPG 2.1 with the reports of MIMIC-CXR (credentialed; give dataset.root)."""

    Options = MimicCXROptions
    credentialed = True

    def __init__(self, options: MimicCXROptions, context: Context) -> None:
        self.options = options
        self.context = context
        self.root = options.root.expanduser()
        self._read: dict[str, _Split] = {}
        self._there: dict[str, bool] = {}

    # -------------------------------------------------------------- what the harness asks

    def fingerprint(self) -> str:
        """Return the identity of options (paths apart), tables, reports and, where checked, of the missing images."""
        chosen = self.options.model_dump(mode="json", exclude={"root", "reports_root", "exclude", "contamination"})
        with without_collector():
            reports = self._store.digest()
        missing = sorted(row.dicom for row in self._used_images() if not self._is_there(row))
        identity = [READER, RULES, chosen, sorted(self._excluded), self.tables.digest, reports, missing]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    def splits(self) -> Sequence[str]:
        """Return train, validate (where held out), test, then whatever else the split table names."""
        merged = {"validate"} if self.options.validation == "train" and "train" in self._values else set()
        usual = [name for name in ("train", "validate", "test") if name in self._values - merged]
        return [*usual, *sorted(self._values - {"train", "validate", "test"})]

    def cases(self, split: str) -> Sequence[Case]:
        """Return the cases in the order of subject_id, study_id, dicom_id. Raises BenchError where none is left."""
        return self._nonempty(split).cases

    def references(self, split: str) -> Mapping[str, str]:
        """Return case id → findings, else impression, else last paragraph."""
        return self._nonempty(split).references

    def problems(self) -> Sequence[Problem]:
        """Return what was left out of the splits asked for so far."""
        asked = {value for split in self._read for value in self._values_of(split)}
        of_tables = [p for value, p in self.tables.problems if not value or value in asked] if asked else []
        strangers = self._unknown_exclusions if asked else []
        return [*of_tables, *strangers, *(p for split in self._read.values() for p in split.problems)]

    def contaminated(self, split: str) -> frozenset[str]:
        """Return the ids of cases whose frontal image is in `contamination`'s list; empty without one."""
        return frozenset(self._split(split).contaminated)

    def census(self) -> Sequence[Count]:
        """Return the counts of the tables and of each split read, beside the published ones."""
        lines = [*self._table_counts(), *self._frontal_counts()]
        for split in self.splits():
            lines += self._split_counts(split)
        excluded = [Count("ids excluded", len(self._excluded))] if self.options.exclude else []
        return [*lines, *excluded, Count("problems", len(self.problems()))]

    # -------------------------------------------------------------- tables, reports and lists

    @cached_property
    def tables(self) -> Tables:
        """The metadata and split tables."""
        with without_collector():
            return read_tables(self.root)

    @cached_property
    def _store(self) -> ReportStore:
        root = (self.options.reports_root or self.root).expanduser()
        source = find_source(root)
        studies = [(s.images[0].split, ReportKey(s.subject, s.id)) for s in self.tables.studies()]
        key = hashlib.sha256(f"{RULES}|{self.tables.digest}|{source.location.resolve()}".encode()).hexdigest()[:24]
        return ReportStore(source, studies, lambda: self._private_cache(key), self.context.progress)

    def _private_cache(self, key: str) -> Path:
        folder = self.context.cache("mimic-sections", key)
        folder.chmod(0o700)  # report texts of a credentialed corpus
        return folder

    @cached_property
    def _values(self) -> set[str]:
        return {row.split for row in self.tables.images()}

    def _values_of(self, split: str) -> set[str]:
        """Return the values of the split table that make up a split."""
        return {"train", "validate"} if split == "train" and self.options.validation == "train" else {split}

    @cached_property
    def _excluded(self) -> frozenset[str]:
        if self.options.exclude is None:
            return frozenset()
        path = self.options.exclude.expanduser()
        lines = _lines(path, "dataset.exclude")
        return frozenset(_bare(line.strip()) for line in lines if line.strip())

    @cached_property
    def _unknown_exclusions(self) -> list[Problem]:
        known = {name for row in self.tables.images() for name in (row.dicom, row.study)}
        why = "excluded, but no dicom_id or study_id of the tables"
        return [Problem(str(self.options.exclude), name, why) for name in sorted(self._excluded - known)]

    @cached_property
    def _contamination(self) -> frozenset[str]:
        """File stems in any cell of the list: its column names are not relied on."""
        if self.options.contamination is None:
            return frozenset()
        path = self.options.contamination.expanduser()
        rows = csv.reader(_lines(path, "dataset.contamination"))
        return frozenset(PurePosixPath(cell.strip()).stem for row in rows for cell in row)

    # -------------------------------------------------------------- image files

    def _is_there(self, row: ImageRow) -> bool:
        if not self.options.check_files:
            return True
        if row.dicom not in self._there:
            self._there[row.dicom] = os.path.isfile(f"{self.root}/{row.file}")
        return self._there[row.dicom]

    def _used_images(self) -> Iterator[ImageRow]:
        views = {*self.options.views, *LATERAL, *(FRONTAL if self.options.priors else ())}
        return (row for row in self.tables.images() if row.view in views)

    # -------------------------------------------------------------- reading a split

    def _split(self, name: str) -> _Split:
        if name not in self.splits():
            close = difflib.get_close_matches(name, self.splits())
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise BenchError(f"no split {name!r} in the dataset.{hint} Known: {', '.join(self.splits())}.")
        if name not in self._read:
            with without_collector():
                self._read[name] = self._read_split(name)
        return self._read[name]

    def _nonempty(self, name: str) -> _Split:
        """Return a split that has cases; the error says which part of the data is not where it was looked for."""
        split = self._split(name)
        if split.cases:
            return split
        n = len(split.asked)
        if split.asked and not any(map(self._is_there, split.asked)):
            first = self.root / split.asked[0].file
            raise BenchError(f"dataset.root: none of the {n} images of split {name!r} is there ({first} …); {LAYOUT}")
        if split.tiers["none"] == n > 0:
            where = self.options.reports_root or self.root
            first_why = f"{split.problems[0].file}: {split.problems[0].why}"
            raise BenchError(
                f"dataset.reports_root: no report of split {name!r} at {where} can be used ({first_why}); "
                f"{REPORTS_LAYOUT}"
            )
        raise BenchError(
            f"split {name!r} has no case: {n} images of views {self.options.views}, {self._why_none(split)}"
        )

    def _why_none(self, split: _Split) -> str:
        told = "; ".join(f"{p.file} {p.id}: {p.why}" for p in split.problems[:3])
        return f"population {self.options.population!r}" + (f"; problems: {told}" if told else "")

    def _read_split(self, name: str) -> _Split:
        split = _Split()
        values = self._values_of(name)
        patients = [(studies, self._asked(studies, values)) for studies in self.tables.patients.values()]
        patients = [(studies, asked) for studies, asked in patients if asked]
        split.asked = [row for _, asked in patients for rows in asked.values() for row in rows]
        reports = self._store.load({study for studies, asked in patients for study in self._needed(studies, asked)})
        with self.context.progress(f"cases of {name}", len(patients), "patients") as bar:
            for studies, asked in patients:
                past = sorted((s for s in studies if s.when is not None), key=_latest_first)
                for study in studies:
                    if study.id in asked:
                        self._add_study(split, study, asked[study.id], past, reports)
                bar.advance()
        return split

    def _asked(self, studies: Sequence[Study], values: set[str]) -> dict[str, list[ImageRow]]:
        """Study id → its images to report on."""
        views, excluded = self.options.views, self._excluded
        found = {
            study.id: [r for r in study.images if r.view in views and r.split in values and r.dicom not in excluded]
            for study in studies
            if study.id not in excluded
        }
        return {study: rows for study, rows in found.items() if rows}

    def _needed(self, studies: Sequence[Study], asked: Mapping[str, object]) -> list[str]:
        """Return the studies whose reports cases of this patient can show."""
        return [study.id for study in studies] if self.options.priors else list(asked)

    def _add_study(
        self,
        split: _Split,
        study: Study,
        frontals: Sequence[ImageRow],
        past: Sequence[Study],
        reports: Mapping[str, StoredReport],
    ) -> None:
        """Add the cases of one study, or the problems that forbid them; `past`: the patient's studies, latest first."""
        report = reports[study.id]
        sections = report.sections
        tier, reference = sections.tier or "none", sections.reference
        split.tiers[tier] += len(frontals)
        split.problems += _report_problems(report, ReportKey(study.subject, study.id), bool(reference))
        images = self._present(split, frontals)
        if not reference or not images or (self.options.population == "findings" and tier != "findings"):
            return
        laterals = [r for r in study.images if r.view in LATERAL and r.dicom not in self._excluded]
        extra = self._present(split, laterals)
        priors, before = self._priors(study, past, reports)
        for name, own in self._units(study, images):
            case = Case(
                id=name,
                group=study.subject,
                images=(*(Image(self.root / row.file, row.view) for row in (*own, *extra)), *before),
                indication=sections.indication or sections.history,
                technique=sections.technique,
                comparison=sections.comparison,
                priors=priors,
                study=study.id,
            )
            split.cases.append(case)
            split.references[name] = reference
            if any(row.dicom in self._contamination for row in own):
                split.contaminated.add(name)

    def _units(self, study: Study, images: Sequence[ImageRow]) -> list[tuple[str, Sequence[ImageRow]]]:
        """Return (case id, frontal images) of each case of a study."""
        if self.options.unit == "study":
            return [(study.id, images)]
        return [(row.dicom, (row,)) for row in images]

    def _present(self, split: _Split, rows: Sequence[ImageRow]) -> list[ImageRow]:
        missing = [row for row in rows if not self._is_there(row)]
        split.problems += [Problem(row.file, row.dicom, "image file missing") for row in missing]
        return [row for row in rows if self._is_there(row)]

    def _priors(
        self, study: Study, past: Sequence[Study], reports: Mapping[str, StoredReport]
    ) -> tuple[tuple[Prior, ...], tuple[Image, ...]]:
        """Return the latest strictly earlier reports, latest first, and the frontal image of the first one's study.

        None where the study's time is not known.
        """
        now = study.when
        if now is None or not self.options.priors:
            return (), ()
        earlier = ((s, now - s.when, reports[s.id]) for s in past if s.when is not None and s.when < now)
        told = (
            (s, Prior(report.text, report.sections.findings, int(before) // 60))
            for s, before, report in earlier
            if report.text and not report.text.isspace()
        )
        shown = list(islice(told, self.options.priors))
        return tuple(prior for _, prior in shown), self._frontal_of(shown[0][0]) if shown else ()

    def _frontal_of(self, study: Study) -> tuple[Image, ...]:
        """Return the first frontal image of an earlier study that is there; a missing file is no fault of the case."""
        rows = (r for r in study.images if r.view in FRONTAL and r.dicom not in self._excluded and self._is_there(r))
        return tuple(Image(self.root / row.file, row.view, "prior") for row in islice(rows, 1))

    # -------------------------------------------------------------- counts

    def _table_counts(self) -> Iterator[Count]:
        for value in sorted(self._values, key=_split_order):
            rows = [row for row in self.tables.images() if row.split == value]
            found = (len(rows), len({r.study for r in rows}), len({r.subject for r in rows}))
            expected = _OFFICIAL_COUNTS.get(value, (None, None, None))
            for what, n, known in zip(("images", "studies", "patients"), found, expected, strict=True):
                yield Count(f"{value}: {what}", n, known, OFFICIAL if known else "")

    def _frontal_counts(self) -> list[Count]:
        views = self.options.views
        frontal = Counter(row.split for row in self.tables.images() if row.view in views)
        train, test = frontal["train"] + frontal["validate"], frontal["test"]
        known = set(views) == {"AP", "PA"}
        label = "/".join(views)
        counts = {
            f"{label} images, train + validate": (train, _PAPER_TRAIN),
            f"{label} images, test": (test, _PAPER_TEST),
            f"{label} images, all splits": (frontal.total(), _PAPER_TRAIN + _PAPER_TEST),
        }
        return [Count(name, n, paper if known else None, PAPER if known else "") for name, (n, paper) in counts.items()]

    def _split_counts(self, name: str) -> list[Count]:
        split = self._split(name)
        lines = [Count(f"{name}: images, reference from {tier}", split.tiers[tier]) for tier in TIERS]
        lines.append(Count(f"{name}: images, report without usable text", split.tiers["none"]))
        if self.options.check_files:
            lines.append(Count(f"{name}: images, file missing", sum(not self._is_there(r) for r in split.asked)))
        lines.append(Count(f"{name}: cases", len(split.cases)))
        if self.options.contamination:
            lines.append(Count(f"{name}: cases the encoder was trained on", len(split.contaminated)))
        return lines


def _report_problems(report: StoredReport, key: ReportKey, usable: bool) -> list[Problem]:
    """Return what is wrong with a report: its file, or that it says nothing."""
    if report.problem:
        return [Problem(key.file, key.study, report.problem)]
    if usable:
        return []
    empty = not (report.text or "").strip()
    why = "report is empty" if empty else "report has neither findings, impression nor a last paragraph"
    return [Problem(key.file, key.study, why)]


def _latest_first(study: Study) -> tuple[float, tuple[int, str]]:
    """Sort key of a patient's studies; of two at one moment the smaller id comes first."""
    return -(study.when or 0), by_id(study.id)


def _split_order(value: str) -> tuple[int, str]:
    usual = ("train", "validate", "test")
    return (usual.index(value) if value in usual else len(usual)), value


def _bare(name: str) -> str:
    """A study id as reports' files write it ("s50414267") without its letter."""
    return name[1:] if name[:1] == "s" and name[1:].isdigit() else name


def _lines(path: Path, key: str) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise BenchError(f"{key}: {path} cannot be read: {err}") from None
