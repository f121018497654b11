"""The tables of MIMIC-CXR-JPG 2.1: which image belongs to which study, patient and split, and when it was taken."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from bench.contracts import Problem
from bench.errors import BenchError

if TYPE_CHECKING:
    import pandas as pd

LAYOUT = (
    "expected the folder of MIMIC-CXR-JPG 2.1: mimic-cxr-2.0.0-metadata.csv.gz, mimic-cxr-2.0.0-split.csv.gz and "
    "files/p10/p10000032/s50414267/<dicom_id>.jpg"
)
_COLUMNS = {
    "metadata": ("dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime"),
    "split": ("dicom_id", "study_id", "subject_id", "split"),
}
_DAY = 86_400
_Note = Callable[[str, str], None]
"""Takes the dicom_id and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class ImageRow:
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


@dataclass(frozen=True, slots=True)
class Study:
    """The images of one study, in the order of their ids."""

    id: str
    subject: str
    images: tuple[ImageRow, ...]

    @property
    def when(self) -> float | None:
        """When its earliest image was taken, in seconds; None where no image says."""
        return min((image.when for image in self.images if image.when is not None), default=None)


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
    day = re.fullmatch(r"(\d{4})(\d\d)(\d\d)(?:\.0*)?", study_date)
    time = re.fullmatch(r"(\d{1,6})(\.\d*)?", study_time)
    if not day or not time:
        return None
    clock = time[1].zfill(6)
    h, m, s = int(clock[:2]), int(clock[2:4]), int(clock[4:])
    if h > 23 or m > 59 or s > 60:
        return None
    try:
        days = date(int(day[1]), int(day[2]), int(day[3])).toordinal()
    except ValueError:
        return None
    return days * _DAY + h * 3600 + m * 60 + s + float(f"0{time[2] or ''}")


def by_id(value: str) -> tuple[int, str]:
    """Sort key that puts ids of digits in the order of their numbers."""
    return len(value), value


def read_tables(root: Path) -> Tables:
    """Read the metadata and split tables below `root`. Raises BenchError naming the file or column that is missing."""
    paths = {kind: _find(root, kind) for kind in _COLUMNS}
    raw = {kind: _content(path) for kind, path in paths.items()}
    digest = hashlib.sha256(b"".join(hashlib.sha256(raw[kind]).digest() for kind in sorted(raw))).hexdigest()
    frames = {kind: _parse(path, raw[kind], _COLUMNS[kind]) for kind, path in paths.items()}
    rows, problems = _join(frames["metadata"], frames["split"], {kind: path.name for kind, path in paths.items()})
    return Tables(_grouped(rows), tuple(problems), digest)


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


def _parse(path: Path, raw: bytes, columns: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    try:
        frame = pd.read_csv(io.BytesIO(raw), dtype=str, keep_default_na=False)
    except (ValueError, UnicodeDecodeError) as err:  # pandas' parser errors are ValueErrors
        raise BenchError(f"{path}: not a readable CSV table: {err}") from None
    if missing := [column for column in columns if column not in frame.columns]:
        found = ", ".join(map(str, frame.columns[:12]))
        raise BenchError(f"{path}: no column {', '.join(missing)} (it has {found}); {LAYOUT}")
    return pd.DataFrame({column: frame[column].str.strip() for column in columns})


def _join(
    meta: pd.DataFrame, split: pd.DataFrame, names: dict[str, str]
) -> tuple[list[ImageRow], list[tuple[str, Problem]]]:
    """Join the two tables by dicom_id; what does not match goes to the problems."""
    problems: list[tuple[str, Problem]] = []
    split_of = dict(zip(split["dicom_id"], split["split"], strict=True))

    def note(kind: str, dicom: str, why: str) -> None:
        problems.append((split_of.get(dicom, ""), Problem(names[kind], dicom, why)))

    meta = _unique(meta, lambda dicom, why: note("metadata", dicom, why))
    split = _unique(split, lambda dicom, why: note("split", dicom, why))
    both = split.merge(meta, on="dicom_id", how="outer", suffixes=("", "_meta"), indicator=True)
    for dicom in both.loc[both["_merge"] == "left_only", "dicom_id"]:
        note("metadata", dicom, "named by the split table, but without a metadata row")
    for dicom in both.loc[both["_merge"] == "right_only", "dicom_id"]:
        note("split", dicom, "named by the metadata table, but without a split")
    both = both[both["_merge"] == "both"]
    for dicom in both.loc[both["split"] == "", "dicom_id"]:
        note("split", dicom, "no split given")
    both = both[both["split"] != ""]
    differs = (both["study_id"] != both["study_id_meta"]) | (both["subject_id"] != both["subject_id_meta"])
    for dicom in both.loc[differs, "dicom_id"]:
        note("split", dicom, "study_id or subject_id differ between the split and the metadata table")
    rows = list(_rows(both[~differs], lambda dicom, why: note("metadata", dicom, why)))
    return rows, problems


def _unique(frame: pd.DataFrame, note: _Note) -> pd.DataFrame:
    """Keep the first row of each dicom_id, and none without."""
    blank = frame["dicom_id"] == ""
    for row in frame.index[blank]:
        note(f"row {row + 2}", "no dicom_id")
    again = frame["dicom_id"].duplicated() & ~blank
    for dicom in frame.loc[again, "dicom_id"]:
        note(dicom, "dicom_id occurs again: only its first row counts")
    return frame[~blank & ~again]


def _rows(both: pd.DataFrame, note: _Note) -> Iterator[ImageRow]:
    columns = ("dicom_id", "study_id", "subject_id", "split", "ViewPosition", "StudyDate", "StudyTime")
    for dicom, study, subject, split, view, day, time in zip(*(both[c].tolist() for c in columns), strict=True):
        when = seconds(day, time)
        if when is None:
            note(dicom, f"StudyDate {day!r} or StudyTime {time!r} cannot be read: it takes no part in finding priors")
        yield ImageRow(dicom, study, subject, split, view, when)


def _grouped(rows: Iterable[ImageRow]) -> dict[str, tuple[Study, ...]]:
    patients: dict[str, dict[str, list[ImageRow]]] = {}
    for row in sorted(rows, key=lambda r: (by_id(r.subject), by_id(r.study), r.dicom)):
        patients.setdefault(row.subject, {}).setdefault(row.study, []).append(row)
    return {
        subject: tuple(Study(study, subject, tuple(images)) for study, images in studies.items())
        for subject, studies in patients.items()
    }
