"""The tables of MIMIC-CXR-JPG 2.1: which image belongs to which study, patient and split, and when it was taken."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from bench.contracts import Problem
from bench.errors import BenchError

LAYOUT = (
    "expected the folder of MIMIC-CXR-JPG 2.1: mimic-cxr-2.0.0-metadata.csv.gz, mimic-cxr-2.0.0-split.csv.gz and "
    "files/p10/p10000032/s50414267/<dicom_id>.jpg"
)
_COLUMNS = {
    "metadata": ("dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime"),
    "split": ("dicom_id", "study_id", "subject_id", "split"),
}
_DAY = 86_400


class ImageRow(NamedTuple):
    """One image of the tables."""

    dicom: str
    study: str
    subject: str
    split: str
    """The value in the split table, as it stands."""
    view: str
    when: float | None
    """Seconds on the patient's shifted time line; None where date or time cannot be read."""

    @property
    def file(self) -> str:
        """Path of the image below the dataset's root."""
        return f"files/p{self.subject[:2]}/p{self.subject}/s{self.study}/{self.dicom}.jpg"


class Study(NamedTuple):
    """The images of one study, in the order of their ids."""

    id: str
    subject: str
    images: tuple[ImageRow, ...]
    when: float | None
    """When its earliest image was taken, in seconds; None where no image says."""


@dataclass(frozen=True, slots=True)
class Tables:
    """What the tables say: the studies of each patient in the order of the ids, and the rows that are unusable."""

    patients: dict[str, tuple[Study, ...]]
    problems: tuple[tuple[str, Problem], ...]
    """Each with the split it belongs to, "" where that is not known."""
    digest: str
    """Identity of the tables' contents, compressed or not."""

    def images(self) -> Iterator[ImageRow]:
        """All images, by subject_id, study_id, dicom_id."""
        return (image for study in self.studies() for image in study.images)

    def studies(self) -> Iterator[Study]:
        """All studies, by subject_id and study_id."""
        return (study for studies in self.patients.values() for study in studies)


def seconds(study_date: str, study_time: str) -> float | None:
    """Return a point in time in seconds from StudyDate (YYYYMMDD) and StudyTime (HHMMSS.fff less leading zeros).

    None where either is no such date or time.
    """
    day, (clock, _, fraction) = _day(study_date), study_time.partition(".")
    if day is None or not f"{clock}{fraction}".isdecimal() or not 0 < len(clock) <= 6:
        return None
    h, m, s = int(clock[:-4] or 0), int(clock[-4:-2] or 0), int(clock[-2:])
    if h > 23 or m > 59 or s > 60:
        return None
    return day * _DAY + h * 3600 + m * 60 + s + float(f"0.{fraction}")


@cache
def _day(study_date: str) -> int | None:
    digits = study_date.partition(".")[0]
    if len(digits) != 8 or not digits.isdecimal():
        return None
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).toordinal()
    except ValueError:
        return None


def by_id(value: str) -> tuple[int, str]:
    """Sort key that puts ids of digits in the order of their numbers."""
    return len(value), value


def read_tables(root: Path) -> Tables:
    """Read the metadata and split tables below `root`. Raises BenchError naming the file or column that is missing."""
    paths = {kind: _find(root, kind) for kind in _COLUMNS}
    raw = {kind: _content(path) for kind, path in paths.items()}
    digest = hashlib.sha256(b"".join(hashlib.sha256(raw[kind]).digest() for kind in sorted(raw))).hexdigest()
    notes: list[Problem] = []
    tables = {kind: _unique(_cells(path, raw[kind], _COLUMNS[kind]), path.name, notes) for kind, path in paths.items()}
    rows = list(_join(tables["metadata"], tables["split"], {kind: path.name for kind, path in paths.items()}, notes))
    splits = {dicom: cells[2] for dicom, cells in tables["split"].items()}
    return Tables(
        _grouped(rows), tuple((splits.get(note.id, ""), note) for note in sorted(notes, key=_note_order)), digest
    )


def _find(root: Path, kind: str) -> Path:
    stems = [f"mimic-cxr-{version}-{kind}.csv" for version in ("2.0.0", "2.1.0")]
    for path in (root / f"{stem}{ending}" for stem in stems for ending in (".gz", "")):
        if path.is_file():
            return path
    if not root.is_dir():
        raise BenchError(f"dataset.root: {root} is no folder; {LAYOUT}")
    raise BenchError(f"dataset.root: {root / stems[0]}.gz is missing (nor is it there as .csv); {LAYOUT}{_hint(root)}")


def _hint(root: Path) -> str:
    """Where the right folder seems to be, for the two usual slips: a folder too low, or too high."""
    above = [folder for folder in root.parents if next(folder.glob("mimic-cxr-*-split.csv*"), None)]
    below = [] if next(root.glob("p1?"), None) else [p for n in range(1, 5) for p in _split_tables(root, n)]
    found = above or [path.parent for path in below]
    return f"\n  Did you mean {found[0]}?" if found else ""


def _split_tables(root: Path, depth: int) -> list[Path]:
    # A MIMIC tree is too wide to search in full: only the folders a download makes around it.
    steps = ("*/", "files/*/", "*/files/*/", "*/files/*/*/")
    return sorted(root.glob(steps[depth - 1] + "mimic-cxr-*-split.csv*"))


def _content(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as err:
        raise BenchError(f"{path}: cannot be read: {err}\n  Download it again.") from None


def _cells(path: Path, raw: bytes, columns: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield (line, the cells of `columns`) of each row that is not blank; () where the row is too short."""
    try:
        reader = csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline=""))
        header = [name.strip() for name in next(reader, [])]
        if missing := [column for column in columns if column not in header]:
            found = ", ".join(header[:12]) or "no header"
            raise BenchError(f"{path}: no column {', '.join(missing)} (it has {found}); {LAYOUT}")
        pick = itemgetter(*(header.index(column) for column in columns))
        for row in reader:
            if row:
                yield reader.line_num, tuple(map(str.strip, pick(row))) if len(row) == len(header) else ()
    except (csv.Error, UnicodeDecodeError) as err:
        raise BenchError(f"{path}: not a readable CSV table: {err}") from None


def _unique(rows: Iterable[tuple[int, tuple[str, ...]]], name: str, notes: list[Problem]) -> dict[str, tuple[str, ...]]:
    """Return dicom_id → its other cells, of the first row of each dicom_id."""
    first: dict[str, tuple[str, ...]] = {}
    for line, cells in rows:
        if not cells:
            notes.append(Problem(name, f"line {line}", "not as many cells as the header"))
        elif not cells[0]:
            notes.append(Problem(name, f"line {line}", "no dicom_id"))
        elif cells[0] in first:
            notes.append(Problem(name, cells[0], f"dicom_id occurs again on line {line}: only its first row counts"))
        else:
            first[cells[0]] = cells[1:]
    return first


def _join(
    meta: dict[str, tuple[str, ...]], split: dict[str, tuple[str, ...]], names: dict[str, str], notes: list[Problem]
) -> Iterator[ImageRow]:
    """Yield the images both tables agree on; what does not match goes to the notes."""
    for dicom in meta.keys() - split.keys():
        notes.append(Problem(names["split"], dicom, "named by the metadata table, but without a split"))
    for dicom, (study, subject, value) in split.items():
        if dicom not in meta:
            notes.append(Problem(names["metadata"], dicom, "named by the split table, but without a metadata row"))
            continue
        its_subject, its_study, view, day, time = meta[dicom]
        if not value:
            notes.append(Problem(names["split"], dicom, "no split given"))
        elif (subject, study) != (its_subject, its_study):
            why = "study_id or subject_id differ between the split and the metadata table"
            notes.append(Problem(names["split"], dicom, why))
        else:
            when = seconds(day, time)
            if when is None:
                why = f"StudyDate {day!r} or StudyTime {time!r} cannot be read: it takes no part in finding priors"
                notes.append(Problem(names["metadata"], dicom, why))
            yield ImageRow(dicom, study, subject, value, view, when)


def _note_order(problem: Problem) -> tuple[str, str, str]:
    return problem.file, problem.id, problem.why


def _grouped(rows: Sequence[ImageRow]) -> dict[str, tuple[Study, ...]]:
    patients: dict[str, dict[str, list[ImageRow]]] = {}
    # One padded string as the key: numbers in their order, and several times faster than tuples.
    for row in sorted(rows, key=lambda r: f"{r.subject:0>12} {r.study:0>12} {r.dicom}"):
        patients.setdefault(row.subject, {}).setdefault(row.study, []).append(row)
    return {
        subject: tuple(_study(tuple(images)) for images in studies.values()) for subject, studies in patients.items()
    }


def _study(images: tuple[ImageRow, ...]) -> Study:
    when = min((image.when for image in images if image.when is not None), default=None)
    return Study(images[0].study, images[0].subject, images, when)
