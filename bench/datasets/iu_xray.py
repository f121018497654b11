"""Indiana University chest X-rays (Open-i), from Open-i's XML reports or from the Kaggle CSV form of the same."""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple
from xml.etree import ElementTree

from pydantic import Field

from bench.contracts import Case, Context, Count, Image, Problem
from bench.errors import BenchError
from bench.options import Options

READER = "iu-xray-reader-1"
"""Name of this version of the reading rules; part of the fingerprint."""

LAYOUT = (
    "expected ecgen-radiology/*.xml (Open-i) or indiana_reports.csv and indiana_projections.csv (Kaggle), and the "
    "images under NLMCXR_png/ or images*/"
)
REPORTS_CSV, PROJECTIONS_CSV = "indiana_reports.csv", "indiana_projections.csv"
_XML_FOLDERS = ("ecgen-radiology", "NLMCXR_reports/ecgen-radiology")
_REPORT_COLUMNS = ("uid", "indication", "comparison", "findings", "impression")
_PROJECTION_COLUMNS = ("uid", "filename", "projection")
_IMAGE_ENDINGS = frozenset({".png", ".jpg", ".jpeg"})
_NAME = re.compile(r"(?:CXR)?(\d+)_(?:\1_)?(IM-[^.]+)(?:\.\w+)*")
_PUBLISHED = {"xml": (3_955, 7_470, "Open-i"), "csv": (3_851, 7_466, "Kaggle form of Open-i")}
"""Form → reports, images, source."""

View = Literal["Frontal", "Lateral"]
VIEWS: Mapping[str, View] = {"Frontal": "Frontal", "Lateral": "Lateral"}
"""The projections table's words for them."""


class IUXrayOptions(Options):
    """What to read of IU X-Ray, and how."""

    root: Path
    """Folder with Open-i's ecgen-radiology/ or Kaggle's two CSV files, and with the images."""
    form: Literal["auto", "xml", "csv"] = "auto"
    """Where the reports come from; auto takes the XML files where there are any."""
    unit: Literal["image", "study"] = "image"
    """One case a frontal image, or one a study."""
    population: Literal["all", "findings"] = "all"
    """All reports that say anything, or only those with findings."""
    test_fraction: float = Field(0.2, gt=0, lt=1)
    """Share of the studies that make up the split "test", drawn by the SHA-256 of the uid: none is official."""


class ImageKey(NamedTuple):
    """An image by what both forms call it: ("1", "IM-0001-4001") of CXR1_1_IM-0001-4001 and 1_IM-0001-4001.dcm.png."""

    uid: str
    name: str

    @property
    def id(self) -> str:
        """The name that cases and problems use: "1_IM-0001-4001"."""
        return f"{self.uid}_{self.name}"


@dataclass(frozen=True, slots=True)
class Study:
    """One report and the images it names; texts verbatim ("XXXX" marks removed words) but for whitespace."""

    uid: str
    file: str
    findings: str | None
    impression: str | None
    indication: str | None
    comparison: str | None
    images: tuple[ImageKey, ...]

    @property
    def reference(self) -> str | None:
        """The findings, else the impression."""
        return self.findings or self.impression


@dataclass
class _Corpus:
    """Everything read, before any split or option."""

    studies: dict[str, Study] = field(default_factory=dict)
    views: dict[ImageKey, View] = field(default_factory=dict)
    guessed: set[ImageKey] = field(default_factory=set)
    problems: list[tuple[str, Problem]] = field(default_factory=list)
    """Each with the uid it belongs to, "" where there is none."""

    def note(self, uid: str, file: str, name: str, why: str) -> None:
        """Keep a problem."""
        self.problems.append((uid, Problem(file, name, why)))


class IUXray:
    """IU X-Ray from Open-i (give dataset.root); split by hash of the uid, since no split is official.

    The split "test" holds the studies whose SHA-256 of the uid, as a fraction of its range, is below `test_fraction`;
    patients are not named, so each study is its own group. Cases are the frontal images, with the study's lateral ones
    attached. Which image is frontal says indiana_projections.csv; without it (Open-i's XML does not say) the names
    tell: see `guess_views`.
    """

    Options = IUXrayOptions
    credentialed = False

    def __init__(self, options: IUXrayOptions, context: Context) -> None:
        self.options = options
        self.context = context
        self.root = options.root.expanduser()
        self._read: dict[str, _Split] = {}

    def fingerprint(self) -> str:
        """Return the identity of options (root apart), reports, views and of which images are there."""
        chosen = self.options.model_dump(mode="json", exclude={"root", "form"})
        studies = [
            (s.uid, s.findings, s.impression, s.indication, s.comparison, s.images)
            for s in self._corpus.studies.values()
        ]
        identity = [READER, chosen, studies, sorted(self._corpus.views.items()), sorted(self._files)]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    def splits(self) -> Sequence[str]:
        """Return train and test."""
        return ["train", "test"]

    def cases(self, split: str) -> Sequence[Case]:
        """Return the cases in the order of uid and image name. Raises BenchError where none is left."""
        return self._nonempty(split).cases

    def references(self, split: str) -> Mapping[str, str]:
        """Return case id → findings, else impression."""
        return self._nonempty(split).references

    def problems(self) -> Sequence[Problem]:
        """Return what was left out of the splits asked for so far."""
        of_corpus = [p for uid, p in self._corpus.problems if not uid or self._split_of(uid) in self._read]
        return [*(of_corpus if self._read else []), *(p for split in self._read.values() for p in split.problems)]

    def census(self) -> Sequence[Count]:
        """Return the counts of reports, images and cases, how views were told, and how the split is drawn."""
        reports, images, source = _PUBLISHED[self._form]
        corpus, named = self._corpus, [key for study in self._corpus.studies.values() for key in study.images]
        views = Counter(corpus.views[key] for key in named if key in self._files and key in corpus.views)
        lines = [
            Count(f"reports ({self._form})", len(corpus.studies), reports, source),
            Count("images named by reports", len(named), images, source),
            Count("images there", sum(key in self._files for key in named)),
            Count("frontal images there", views["Frontal"]),
            Count("lateral images there", views["Lateral"]),
            Count(f"images whose view {PROJECTIONS_CSV} tells", len(corpus.views) - len(corpus.guessed)),
            Count("images whose view is guessed from the names (9 of 10 right)", len(corpus.guessed)),
            Count(
                "reports with neither findings nor impression", sum(not s.reference for s in corpus.studies.values())
            ),
        ]
        how = f"no official split: SHA-256 of the uid, test fraction {self.options.test_fraction}"
        for split in self.splits():
            lines.append(Count(f"{split}: cases", len(self._split(split).cases), None, how))
        return [*lines, Count("problems", len(self.problems()))]

    # -------------------------------------------------------------- reading

    @cached_property
    def _form(self) -> Literal["xml", "csv"]:
        """The form of the reports that is there, or the one asked for."""
        if not self.root.is_dir():
            raise BenchError(f"dataset.root: {self.root} is no folder; {LAYOUT}")
        has_xml, has_csv = self._xml_folder is not None, (self.root / REPORTS_CSV).is_file()
        if self.options.form != "csv" and has_xml:
            return "xml"
        if self.options.form != "xml" and has_csv:
            return "csv"
        asked = "" if self.options.form == "auto" else f" in the form {self.options.form!r} (dataset.form)"
        above = any((self.root.parent / name).exists() for name in (REPORTS_CSV, *_XML_FOLDERS))
        hint = f"\n  Did you mean {self.root.parent}?" if above else ""
        raise BenchError(f"dataset.root: no reports{asked} in {self.root}; {LAYOUT}{hint}")

    @cached_property
    def _xml_folder(self) -> Path | None:
        return next((self.root / name for name in _XML_FOLDERS if (self.root / name).is_dir()), None)

    @cached_property
    def _corpus(self) -> _Corpus:
        corpus = _Corpus()
        told = self._projections(corpus)
        studies = self._xml_studies(corpus) if self._form == "xml" else self._csv_studies(corpus, told)
        for study in sorted(studies, key=lambda s: int(s.uid)):
            if study.uid in corpus.studies:
                corpus.note(study.uid, study.file, study.uid, "uid occurs again: only its first report counts")
                continue
            corpus.studies[study.uid] = study
            guess = guess_views(study.images)
            corpus.views |= {key: told.get(key, guess[key]) for key in study.images}
            corpus.guessed.update(key for key in study.images if key not in told)
        for key in sorted(self._files.keys() - corpus.views.keys()):
            path = self._files[key]
            corpus.note(key.uid, self._relative(path), path.name, "no report names this image")
        return corpus

    def _xml_studies(self, corpus: _Corpus) -> Iterator[Study]:
        folder = self._xml_folder
        paths = sorted(folder.glob("*.xml")) if folder else []
        if not paths:
            raise BenchError(f"{folder}: no XML reports in it; {LAYOUT}")
        for path in paths:
            file = self._relative(path)
            try:
                yield _study_of_xml(path.read_bytes(), file)
            except (OSError, ElementTree.ParseError, ValueError) as err:
                corpus.note("", file, path.stem, f"report cannot be read: {err}")

    def _csv_studies(self, corpus: _Corpus, told: Mapping[ImageKey, View]) -> Iterator[Study]:
        if not (self.root / PROJECTIONS_CSV).is_file():
            raise BenchError(f"{self.root / PROJECTIONS_CSV} is missing: it names the images of each report; {LAYOUT}")
        images: dict[str, list[ImageKey]] = {}
        for key in told:
            images.setdefault(key.uid, []).append(key)
        for line, row in _rows(self.root / REPORTS_CSV, _REPORT_COLUMNS):
            uid, *texts = (" ".join(cell.split()) or None for cell in row)
            if not (uid or "").isdecimal():
                corpus.note("", REPORTS_CSV, f"line {line}", f"uid {uid or ''!r} is no number")
                continue
            indication, comparison, findings, impression = texts
            keys = tuple(sorted(images.pop(uid or "", ())))
            yield Study(uid or "", REPORTS_CSV, findings, impression, indication, comparison, keys)
        for uid, keys_left in images.items():
            for key in keys_left:
                corpus.note(uid, PROJECTIONS_CSV, key.id, f"no report with uid {uid} in {REPORTS_CSV}")

    def _projections(self, corpus: _Corpus) -> dict[ImageKey, View]:
        """Image → view as the projections table says; {} where there is no such table."""
        told: dict[ImageKey, View] = {}
        if not (self.root / PROJECTIONS_CSV).is_file():
            return told
        for line, (uid, filename, projection) in _rows(self.root / PROJECTIONS_CSV, _PROJECTION_COLUMNS):
            key = image_key(filename)
            if key is None or key.uid != uid.strip():
                corpus.note("", PROJECTIONS_CSV, f"line {line}", f"filename {filename!r} is no image of uid {uid!r}")
            elif key in told:
                corpus.note(key.uid, PROJECTIONS_CSV, key.id, f"image occurs again on line {line}")
            elif view := VIEWS.get(projection.strip()):
                told[key] = view
            else:
                why = f"projection {projection!r} is neither Frontal nor Lateral"
                corpus.note(key.uid, PROJECTIONS_CSV, key.id, why)
        return told

    @cached_property
    def _files(self) -> dict[ImageKey, Path]:
        """The image files that are there."""
        folders = [p for p in sorted(self.root.iterdir()) if p.is_dir() and _holds_images(p.name)]
        if not folders:
            raise BenchError(f"dataset.root: no folder NLMCXR_png/ or images*/ in {self.root}; {LAYOUT}")
        found: dict[ImageKey, Path] = {}
        for path in sorted(path for folder in folders for path in _walk(folder)):
            found.setdefault(image_key(path.name) or ImageKey("", path.name), path)  # the first of several copies
        return found

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    # -------------------------------------------------------------- splits

    def _split_of(self, uid: str) -> str:
        """Return "test" for the share of uids whose hash is lowest, whichever other studies there are."""
        place = int(hashlib.sha256(uid.encode()).hexdigest()[:12], 16) / 16**12
        return "test" if place < self.options.test_fraction else "train"

    def _split(self, name: str) -> _Split:
        if name not in self.splits():
            close = difflib.get_close_matches(name, self.splits())
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise BenchError(f"no split {name!r} in the dataset.{hint} Known: {', '.join(self.splits())}.")
        if name not in self._read:
            split = _Split()
            for study in self._corpus.studies.values():
                if self._split_of(study.uid) == name:
                    self._add_study(split, study)
            self._read[name] = split
        return self._read[name]

    def _nonempty(self, name: str) -> _Split:
        split = self._split(name)
        if split.cases:
            return split
        told = "; ".join(f"{p.file} {p.id}: {p.why}" for p in split.problems[:3]) or "none of its studies qualifies"
        raise BenchError(f"split {name!r} of {self.root} has no case ({told}); {LAYOUT}")

    def _add_study(self, split: _Split, study: Study) -> None:
        """Add the cases of one study, or the problems that forbid them."""
        missing = [key for key in study.images if key not in self._files]
        split.problems += [Problem(study.file, key.id, "image file missing") for key in missing]
        if not study.images:
            split.problems.append(Problem(study.file, study.uid, "report names no image"))
        if not study.reference:
            split.problems.append(Problem(study.file, study.uid, "report has neither findings nor impression"))
            return
        if self.options.population == "findings" and not study.findings:
            return
        views = self._corpus.views
        there = {view: [k for k in study.images if k in self._files and views[k] == view] for view in VIEWS}
        for name, frontals in self._units(study, there["Frontal"]):
            split.references[name] = study.reference
            split.cases.append(
                Case(
                    id=name,
                    group=study.uid,
                    images=tuple(Image(self._files[k], views[k]) for k in (*frontals, *there["Lateral"])),
                    indication=study.indication,
                    comparison=study.comparison,
                    study=study.uid,
                )
            )

    def _units(self, study: Study, frontals: Sequence[ImageKey]) -> list[tuple[str, Sequence[ImageKey]]]:
        """Return (case id, frontal images) of each case of a study."""
        if self.options.unit == "study":
            return [(study.uid, frontals)] if frontals else []
        return [(key.id, (key,)) for key in frontals]


@dataclass
class _Split:
    """A split as read."""

    cases: list[Case] = field(default_factory=list)
    references: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def image_key(filename: str) -> ImageKey | None:
    """Return the image a file name of either form means; None where it is no such name."""
    match = _NAME.fullmatch(filename.strip())
    return ImageKey(match[1], match[2]) if match else None


def guess_views(images: Sequence[ImageKey]) -> dict[ImageKey, View]:
    """Tell frontal from lateral by the last number of the names of one study's images.

    Series 4004 is the frontal one of its study; elsewhere it is the first image that does not end in 2001, 1002 or
    3003, which are laterals. All others are lateral. Counted against Kaggle's projections over all 3,851 studies this
    is right for 6,695 of 7,466 images (90 %), and 91 % of the images it calls frontal are.
    """
    ordered = sorted(images)
    last = {key: re.split(r"\D", key.name)[-1] for key in ordered}
    frontals = [key for key in ordered if last[key] == "4004"]
    frontals = frontals or [key for key in ordered if last[key] not in ("2001", "1002", "3003")][:1]
    return {key: "Frontal" if key in frontals else "Lateral" for key in ordered}


def _study_of_xml(raw: bytes, file: str) -> Study:
    """Read one report of Open-i. Raises ParseError, or ValueError where it has no uid."""
    tree = ElementTree.fromstring(raw)
    uid_element = tree.find("uId")
    uid = (uid_element.get("id") or "").removeprefix("CXR") if uid_element is not None else ""
    if not uid.isdecimal():
        raise ValueError("no uId like CXR123")
    texts = {(e.get("Label") or "").upper(): " ".join("".join(e.itertext()).split()) for e in tree.iter("AbstractText")}
    findings, impression, indication, comparison = (
        texts.get(label) or None for label in ("FINDINGS", "IMPRESSION", "INDICATION", "COMPARISON")
    )
    named = {element.get("id") or "" for element in tree.iter("parentImage")}
    images = tuple(sorted(image_key(name) or ImageKey(uid, name) for name in named))  # an odd name has no file: told
    return Study(uid, file, findings, impression, indication, comparison, images)


def _rows(path: Path, columns: tuple[str, ...]) -> Iterable[tuple[int, tuple[str, ...]]]:
    """Return (line, cells of `columns`) of each row; short rows are filled up with empty cells."""
    try:
        reader = csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""), restval="")
        missing = [column for column in columns if column not in (reader.fieldnames or [])]
        if missing:
            found = ", ".join(reader.fieldnames or []) or "no header"
            raise BenchError(f"{path}: no column {', '.join(missing)} (it has {found}); {LAYOUT}")
        return [(reader.line_num, tuple(row[column] for column in columns)) for row in reader]
    except (OSError, csv.Error, UnicodeDecodeError) as err:
        raise BenchError(f"{path}: not a readable CSV table: {err}") from None


def _holds_images(folder: str) -> bool:
    return folder == "NLMCXR_png" or folder.startswith("images")


def _walk(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names if Path(name).suffix.lower() in _IMAGE_ENDINGS)
