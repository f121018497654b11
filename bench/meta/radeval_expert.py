"""RadEvalExpert (https://huggingface.co/datasets/IAMJB/RadEvalExpertDataset; Xu et al. 2025,
https://aclanthology.org/2025.emnlp-demos.40): one CSV, a row a reference with three candidates.

Columns: annotator, type (the section), ground_truth, images_path, prediction1 … prediction3 and annotation1 …
annotation3. An annotation is text: a line "Significant:" and one "Insignificant:", below each seven numbered lines
"2. Omission of finding: 1".
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from bench.contracts import Pair
from bench.errors import BenchError
from bench.meta.ratings import ALL, INSIGNIFICANT, SIGNIFICANT, TOTAL, Kind, Rating, Ratings, Sheet
from bench.meta.ratings import reference as reference_of
from bench.meta.ratings import text as text_of
from bench.prediction_formats import Row, Table, read_table
from bench.run_folder import some

SHAPE = "annotator, type, ground_truth, images_path, prediction1 …, annotation1 …   RadEvalExpert's CSV"
CATEGORIES = (
    "false prediction of a finding",
    "omission of a finding",
    "incorrect location of a finding",
    "incorrect severity of a finding",
    "mention of a comparison that the reference does not make",
    "omission of a change from an earlier study",
    "inarticulate report",
)
"""In the order of their numbers. A line must begin with the first word of its category."""
_HEADER = re.compile(r"\W*(?:clinically\s+)?(significant|insignificant)(?:\s+errors?)?\W*", re.IGNORECASE)
_LINE = re.compile(r"\W*([1-7])\s*[.)]\W*(\w+)[^:]*:[\s*]*(\d+)[\s*.;]*", re.ASCII)
_PATIENT = re.compile(r"(?:^|[/\\])(p\d{6,}|patient\d+)(?=[/\\]|$)")


def fits(columns: Collection[str]) -> bool:
    """Tell whether these are RadEvalExpert's columns."""
    return {"ground_truth", "prediction1", "annotation1"} <= set(columns)


def read(file: Path) -> Ratings:
    """Read RadEvalExpert's file. Raises BenchError where no annotation can be read."""
    columns = read_table(file, ()).columns
    slots = sorted(name[len("prediction") :] for name in columns if re.fullmatch(r"prediction\d+", name))
    slots = [slot for slot in slots if f"annotation{slot}" in columns]
    names = [f"{kind}{slot}" for slot in slots for kind in ("prediction", "annotation")]
    table = read_table(file, {"annotator", "type", "ground_truth", "images_path", *names})
    sheet = Sheet("RadEvalExpert")
    ids: dict[tuple[str, ...], str] = {}
    for number, row in enumerate(table.rows, 1):
        for slot in slots:
            _add(sheet, ids, table, row, f"{number}-{slot}", slot)
    unread = [
        f"{case_id} ({rater})" for (case_id, rater), rating in sheet.ratings.items() if None in rating.counts.values()
    ]
    if len(unread) == len(sheet.ratings):
        raise BenchError(
            f"{file}: no annotation can be read in full: a line 'Significant:' and one 'Insignificant:' were expected, "
            "below each the lines '1. False prediction of finding: 0' to '7. …'"
        )
    if unread:
        sheet.notes.append(
            f"{len(unread)} annotations hold a count that cannot be read, which is no zero: {some(unread)}"
        )
    return sheet.finish(file)


def _add(sheet: Sheet, ids: dict[tuple[str, ...], str], table: Table, row: Row, case_id: str, slot: str) -> None:
    """Add a candidate of a row; rows that differ by their annotator only are one candidate, rated twice."""
    reference = reference_of(table, row, "ground_truth")
    candidate, path = text_of(table, row, f"prediction{slot}"), text_of(table, row, "images_path")
    case_id = ids.setdefault((path, text_of(table, row, "type"), reference, slot, candidate), case_id)
    sheet.pairs.setdefault(case_id, Pair(case_id, _group(path) or sheet.group_of(reference), candidate, reference))
    annotation = text_of(table, row, f"annotation{slot}")
    if not annotation.strip():
        return
    rater = text_of(table, row, "annotator") or "the annotator"
    if (case_id, rater) in sheet.ratings:
        raise BenchError(f"{table.file}, {row.where}: {rater!r} annotated this candidate before, as {case_id}")
    sheet.ratings[case_id, rater] = Rating(case_id, rater, counts_of(annotation))


def _group(path: str) -> str:
    """Return the patient that a path of MIMIC-CXR or CheXpert names, else the path: its references belong together."""
    named = _PATIENT.search(path)
    return named[1] if named else path.strip()


def counts_of(annotation: str) -> dict[Kind, float | None]:
    """Return the counts of an annotation's text; None where one is not there once, or is no number."""
    found: dict[tuple[str, str], list[float]] = {}
    severity = None
    for line in annotation.splitlines():
        if header := _HEADER.fullmatch(line):
            severity = header[1].lower()
        elif severity is not None and (item := _LINE.fullmatch(line)):
            category = CATEGORIES[int(item[1]) - 1]
            if category.split()[0] == item[2].lower():
                found.setdefault((severity, category), []).append(float(item[3]))
    counts: dict[Kind, float | None] = {}
    for category in CATEGORIES:
        both = [found.get((of, category), []) for of in (SIGNIFICANT, INSIGNIFICANT)]
        one, other = (values[0] if len(values) == 1 else None for values in both)
        counts[SIGNIFICANT, category], counts[INSIGNIFICANT, category] = one, other
        counts[TOTAL, category] = None if one is None or other is None else one + other
    for of in (TOTAL, SIGNIFICANT, INSIGNIFICANT):
        parts = [counts[of, category] for category in CATEGORIES]
        counts[of, ALL] = None if None in parts else sum(value for value in parts if value is not None)
    return counts
