"""Floors: systems that see no image, so that a score can be read; and a file of predictions as a system."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from pydantic import Field

from bench.contracts import Case, Context, Evidence, Report, TrainingSet
from bench.errors import BenchError
from bench.options import Options

NORMAL = (
    "The lungs are clear. There is no focal consolidation, pleural effusion, or pneumothorax. "
    "The cardiac silhouette is normal in size. The mediastinal contours are normal. No acute osseous abnormality."
)


def _digest(*values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


Opts = TypeVar("Opts", bound=Options)


class _Floor(Generic[Opts]):
    """What the floors share: nothing to learn, no facts."""

    def __init__(self, options: Opts, context: Context) -> None:
        self.options, self._context = options, context

    def prepare(self, train: TrainingSet) -> None:
        """Learn nothing."""

    def facts(self) -> Mapping[str, float]:
        """Return no facts."""
        return {}


# ------------------------------------------------------------------ constant


class ConstantOptions(Options):
    """Options of the system constant."""

    text: str = NORMAL
    """What every case is answered."""


class Constant(_Floor[ConstantOptions]):
    """The same normal report for every case."""

    Options = ConstantOptions

    def fingerprint(self) -> str:
        """Return what identifies the text."""
        return _digest("constant/1", self.options.text)

    def generate(self, cases: Sequence[Case]) -> Iterator[Report]:
        """Yield the text for every case."""
        return (Report(case.id, self.options.text) for case in cases)


# ------------------------------------------------------------------ random report


class RandomReportOptions(Options):
    """Options of the system random-report."""


class RandomReport(_Floor[RandomReportOptions]):
    """The findings of a random training case; which one hangs on the seed and the case's id only."""

    Options = RandomReportOptions

    def fingerprint(self) -> str:
        """Return what identifies the draw."""
        return _digest("random-report/1", self._context.seed)

    def prepare(self, train: TrainingSet) -> None:
        """Keep the training cases to draw from."""
        if not train.cases:
            raise BenchError("random-report: the training split has no case to draw from")
        self._train = train

    def generate(self, cases: Sequence[Case]) -> Iterator[Report]:
        """Yield a training case's findings for every case, with that case's id as evidence."""
        for case in cases:
            drawn = self._train.cases[self._draw(case.id)]
            text = self._train.references[drawn.id]
            yield Report(case.id, text, (Evidence("neighbour", drawn.id, None, "drawn at random"),))

    def _draw(self, case_id: str) -> int:
        key = hashlib.sha256(f"{self._context.seed}:{case_id}".encode()).digest()
        return int(np.random.default_rng(list(key)).integers(len(self._train.cases)))


# ------------------------------------------------------------------ copy prior


class CopyPriorOptions(Options):
    """Options of the system copy-prior."""

    otherwise: Literal["empty", "constant"] = "constant"
    """What a case without an earlier study is answered: nothing, or `text`."""
    text: str = NORMAL
    """The answer to a case without an earlier study, with `otherwise: constant`."""


class CopyPrior(_Floor[CopyPriorOptions]):
    """The patient's latest earlier report, word for word: its findings, else all of it."""

    Options = CopyPriorOptions

    def fingerprint(self) -> str:
        """Return what identifies the options."""
        return _digest("copy-prior/1", self.options.model_dump())

    def generate(self, cases: Sequence[Case]) -> Iterator[Report]:
        """Yield one report a case; a note says which prior it was, or that there is none."""
        return (self._report(case) for case in cases)

    def _report(self, case: Case) -> Report:
        if not case.priors:
            text = self.options.text if self.options.otherwise == "constant" else ""
            note = "no earlier study of this patient" + (": the constant normal report" if text else "")
            return Report(case.id, text, (Evidence("note", "no prior", None, note),))
        prior = case.priors[0]
        what = "findings" if prior.findings else "whole report, it has no findings section"
        note = f"{what}, {prior.minutes_before} minutes before"
        return Report(case.id, prior.findings or prior.text, (Evidence("note", "prior", None, note),))


# ------------------------------------------------------------------ predictions

ID_KEYS = ("id", "example_id", "study_id", "dicom_id")
TEXT_KEYS = ("candidate", "prediction", "report", "text", "model_prediction")


class PredictionsOptions(Options):
    """Options of the system predictions."""

    file: Path = Field()
    """A .csv, .tsv, .json or .jsonl file with an id and a text an entry. The id is named id, example_id, study_id or
    dicom_id; the text candidate, prediction, report, text or model_prediction. JSON may also map id → text, or
    id → object with the text."""


class Predictions(_Floor[PredictionsOptions]):
    """Reports read from a file of id and text, made by any other program.

    A case whose id is not in the file is an error of that case, an id that occurs twice or a text that is none (NaN,
    null) an error of the file. An empty text is an empty report. Ids beside those of the cases are left alone, as a
    run may be limited or continued, but a file of which no id is known is refused.
    """

    Options = PredictionsOptions

    def fingerprint(self) -> str:
        """Return what identifies the file's content."""
        return _digest("predictions/1", hashlib.sha256(self._content).hexdigest())

    @cached_property
    def _content(self) -> bytes:
        try:
            return self.options.file.read_bytes()
        except OSError as err:
            raise BenchError(f"predictions: {self.options.file}: cannot be read: {err.strerror}") from None

    @cached_property
    def _texts(self) -> Mapping[str, str]:
        return read_predictions(self.options.file, self._content)

    def generate(self, cases: Sequence[Case]) -> Iterator[Report]:
        """Yield the file's text for every case."""
        texts, file = self._texts, self.options.file
        if cases and not any(case.id in texts for case in cases):
            raise BenchError(
                f"predictions: {file}: none of its {len(texts)} ids (e.g. {', '.join(list(texts)[:3])}) is a case of "
                f"this run (e.g. {', '.join(case.id for case in cases[:3])})"
            )
        for case in cases:
            if case.id in texts:
                yield Report(case.id, texts[case.id])
            else:
                yield Report(case.id, "", error=f"{file}: no entry with id {case.id!r}")

    def facts(self) -> Mapping[str, float]:
        """Return the number of entries of the file."""
        return {"entries": float(len(self._texts))}


def read_predictions(file: Path, content: bytes) -> dict[str, str]:
    """Return id → text of a predictions file. Raises BenchError naming file, row and key."""
    readers = {".csv": _csv_rows, ".tsv": _csv_rows, ".json": _json_rows, ".jsonl": _jsonl_rows}
    if file.suffix.lower() not in readers:
        raise BenchError(f"predictions: {file}: the name must end in {', '.join(readers)}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        raise BenchError(f"predictions: {file}: not UTF-8 text: {err}") from None
    found: dict[str, str] = {}
    for where, row in readers[file.suffix.lower()](file, text):
        case_id, report = _id_of(row, where), _text_of(row, where)
        if case_id in found:
            raise BenchError(f"{where}: the id {case_id!r} occurs twice")
        found[case_id] = report
    if not found:
        raise BenchError(f"predictions: {file}: no entry")
    return found


Rows = Iterable[tuple[str, Mapping[str, Any]]]


def _csv_rows(file: Path, text: str) -> Rows:
    delimiter = "\t" if file.suffix.lower() == ".tsv" else ","
    reader = csv.DictReader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            where = f"predictions: {file}, line {reader.line_num}"
            if None in row or None in row.values():
                raise BenchError(f"{where}: {len(reader.fieldnames or [])} fields were expected, as in the header")
            yield where, row
    except csv.Error as err:
        raise BenchError(f"predictions: {file}, line {reader.line_num}: {err}") from None


def _jsonl_rows(file: Path, text: str) -> Rows:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            where = f"predictions: {file}, line {number}"
            yield where, _object(_parse(line, where), where)


def _json_rows(file: Path, text: str) -> Rows:
    where = f"predictions: {file}"
    value = _parse(text, where)
    if isinstance(value, list):
        for number, entry in enumerate(value, 1):
            yield f"{where}, entry {number}", _object(entry, f"{where}, entry {number}")
        return
    for key, entry in _object(value, where).items():
        fields = entry if isinstance(entry, dict) else {"text": entry}
        yield f"{where}, key {key!r}", {**fields, "id": key}


def _parse(text: str, where: str) -> Any:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in items]
        if twice := sorted({key for key in keys if keys.count(key) > 1}) if len(set(keys)) < len(keys) else []:
            raise BenchError(f"{where}: the key {twice[0]!r} occurs twice")
        return dict(items)

    try:
        return json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as err:
        raise BenchError(f"{where}: not valid JSON: {err}") from None


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BenchError(f"{where}: a JSON object was expected, not {type(value).__name__}")
    return value


def _id_of(row: Mapping[str, Any], where: str) -> str:
    key = _pick(row, ID_KEYS, where)
    if not isinstance(row[key], str | int) or not str(row[key]).strip():
        raise BenchError(f"{where}, {key}: not an id: {row[key]!r}")
    return str(row[key]).strip()


def _text_of(row: Mapping[str, Any], where: str) -> str:
    key = _pick(row, TEXT_KEYS, where)
    value = row[key]
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    if missing or not isinstance(value, str) or value.strip().lower() == "nan":
        raise BenchError(f'{where}, {key}: not a text: {value!r}; write "" where the system answered nothing')
    return value.strip()


def _pick(row: Mapping[str, Any], keys: Sequence[str], where: str) -> str:
    known = [key for key in keys if key in row]
    if not known:
        raise BenchError(f"{where}: none of {', '.join(keys)} among {', '.join(map(str, row)) or 'no fields'}")
    return known[0]
