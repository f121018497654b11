"""Writes the demo's images, reports and tables in the layout of MIMIC-CXR-JPG, into place in one step."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from bench.contracts import Ticker
from bench.datasets.demo.findings import Finding
from bench.datasets.demo.plan import Picture, Study, stream
from bench.datasets.demo.radiograph import SIZE, radiograph
from bench.datasets.demo.reports import LABELS, WrittenReport, write_report
from bench.errors import BenchError

TRUTH = "findings_truth.jsonl"
"""One line an image: its ids, split and view, and the findings drawn on it."""

_REPORTS = 200
_QUALITY = 88
_STALE_S = 3600.0

Progress = Callable[[str, int | None, str], AbstractContextManager[Ticker]]


def folder_of(study: Study) -> str:
    """Return a patient's folder, relative to the root."""
    return f"files/p{str(study.subject)[:2]}/p{study.subject}"


def ensure(target: Path, studies: Callable[[], Sequence[Study]], seed: int, progress: Progress) -> Path:
    """Return `target`, written first where it is not there yet.

    Everything goes to a folder beside it that is renamed when it is complete: a killed process leaves nothing that
    looks finished, and of two at once the later finds the other's result and drops its own.
    """
    if target.is_dir():
        return target
    _sweep(target)
    part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    try:
        part.chmod(0o755)
        write(part, studies(), seed, progress)
        _rename(part, target)
    except OSError as err:
        raise BenchError(
            f"the demo dataset cannot be written to {target}: {err}\n  Set BENCH_CACHE elsewhere."
        ) from err
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def _rename(part: Path, target: Path) -> None:
    try:
        os.rename(part, target)
    except OSError:
        if not target.is_dir():
            raise


def _sweep(target: Path) -> None:
    """Remove what killed processes left, if nothing was written to it for an hour."""
    for left in target.parent.glob(f".{target.name}.*.part"):
        newest = max((p.stat().st_mtime for p in (left, *left.glob("files/*"))), default=0.0)
        if time.time() - newest > _STALE_S:
            shutil.rmtree(left, ignore_errors=True)


def write(root: Path, studies: Sequence[Study], seed: int, progress: Progress) -> None:
    """Write images, reports, tables and truth of `studies` into `root`."""
    labels: dict[int, Mapping[str, float]] = {}
    with progress("drawing the demo's radiographs", sum(len(s.pictures) for s in studies), "images") as bar:
        for study in studies:
            report = _write_study(root, study, seed)
            labels[study.id] = report.labels
            bar.advance(len(study.pictures))
    _write_table(root / "mimic-cxr-2.0.0-split.csv.gz", map(_split_row, *_flat(studies)))
    _write_table(root / "mimic-cxr-2.0.0-metadata.csv.gz", map(_metadata_row, *_flat(studies)))
    _write_table(root / "mimic-cxr-2.0.0-chexpert.csv.gz", (_label_row(s, labels[s.id]) for s in studies))
    lines = (json.dumps(_truth_row(study, picture)) + "\n" for study in studies for picture in study.pictures)
    (root / TRUTH).write_text("".join(lines), encoding="utf-8")


def _write_study(root: Path, study: Study, seed: int) -> WrittenReport:
    folder = root / folder_of(study)
    images = folder / f"s{study.id}"
    images.mkdir(parents=True)
    for picture in study.pictures:
        path = images / f"{picture.dicom_id}.jpg"
        radiograph(study, picture, seed).save(path, "JPEG", quality=_QUALITY)
    report = write_report(study, stream(seed, _REPORTS, study.id))
    (folder / f"s{study.id}.txt").write_text(report.text, encoding="utf-8")
    return report


# ------------------------------------------------------------------ tables


def _flat(studies: Sequence[Study]) -> tuple[list[Study], list[Picture]]:
    pairs = [(study, picture) for study in studies for picture in study.pictures]
    return [study for study, _ in pairs], [picture for _, picture in pairs]


def _split_row(study: Study, picture: Picture) -> dict[str, Any]:
    return {"dicom_id": picture.dicom_id, "study_id": study.id, "subject_id": study.subject, "split": study.split}


_VIEW_NAMES = {"AP": "antero-posterior", "PA": "postero-anterior", "LATERAL": "lateral"}


def _metadata_row(study: Study, picture: Picture) -> dict[str, Any]:
    bedside = study.frontal == "AP"
    rows, columns = image_shape(picture.view)
    return {
        "dicom_id": picture.dicom_id,
        "subject_id": study.subject,
        "study_id": study.id,
        "PerformedProcedureStepDescription": "CHEST (PORTABLE AP)" if bedside else "CHEST (PA AND LAT)",
        "ViewPosition": picture.view,
        "Rows": rows,
        "Columns": columns,
        "StudyDate": study.when.strftime("%Y%m%d"),
        "StudyTime": f"{int(study.when.strftime('%H%M%S'))}.{study.when.microsecond // 1000:03d}",
        "ProcedureCodeSequence_CodeMeaning": "CHEST (PORTABLE AP)" if bedside else "CHEST (PA AND LAT)",
        "ViewCodeSequence_CodeMeaning": _VIEW_NAMES[picture.view],
        "PatientOrientationCodeSequence_CodeMeaning": "Recumbent" if bedside else "Erect",
    }


def image_shape(view: str) -> tuple[int, int]:
    """Return (rows, columns) of images of a view."""
    return {"AP": (round(SIZE * 0.86), SIZE), "PA": (SIZE, round(SIZE * 0.88))}.get(view, (SIZE, round(SIZE * 0.8)))


def _label_row(study: Study, labels: Mapping[str, float]) -> dict[str, Any]:
    return {"subject_id": study.subject, "study_id": study.id} | {name: labels.get(name, "") for name in LABELS}


def _write_table(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    text = io.StringIO()
    table = list(rows)
    writer = csv.DictWriter(text, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    path.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


# ------------------------------------------------------------------ truth


def _truth_row(study: Study, picture: Picture) -> dict[str, Any]:
    return {
        "dicom_id": picture.dicom_id,
        "study_id": study.id,
        "subject_id": study.subject,
        "split": study.split,
        "view": picture.view,
        "findings": [{name: getattr(f, name) for name in Finding.__slots__} for f in study.findings],
    }


def read_truth(root: Path) -> Iterator[tuple[str, str, tuple[Finding, ...]]]:
    """Yield (dicom_id, split, findings) of every image below a demo's `root`, in the order they were made."""
    with (root / TRUTH).open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            yield row["dicom_id"], row["split"], tuple(Finding(**f) for f in row["findings"])
