"""``bench leaderboard rexrank``: runs as submissions to ReXrank; its tables and predictions as ours.

Layouts from rajpurkarlab/ReXrank: ``example_files/prediction.json`` and ``evaluation_script.md`` (predictions),
``data/READMD.md`` (the studies), ``results/*.csv`` (the published scores).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from bench.errors import BenchError

SHOWN = 5
COPIED_WORDS = 20
"""A report of credentialed data of at least so many words that is one of the references, word for word, is a copy."""
_MIMIC = re.compile(r"/p\d{2}/p\d{8}/s(\d{8})/[^/]+$")
_OPEN_I = re.compile(r"(?:CXR)?(\d+)_(?:\1_)?(IM-\d+)[^/]*$")


@click.group()
def rexrank() -> None:
    """Exchange with ReXrank (rexrank.ai): write a submission, read its tables and predictions."""


@rexrank.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", "-o", metavar="FILE.json", required=True, type=click.Path(path_type=Path))
@click.option(
    "--data",
    metavar="FILE.json",
    type=click.Path(path_type=Path),
    help="ReXrank's file of the studies: it names the one image of a study that counts. Only ids and paths are read.",
)
@click.option("--partial", is_flag=True, help="Leave out studies without a report, instead of refusing.")
def export_command(run: Path, out: Path, data: Path | None, partial: bool) -> None:
    """Write a run's reports as a submission: study → model_prediction, and nothing else.

    ReXrank scores a study once. A run with a case a study (unit: study) is written as it is. Of a run with a case an
    image, the report counts whose image is the study's key_image_path in ReXrank's own file, given with --data; where
    each study has one case only, no file is needed.
    """
    for note in export(run, out, data, partial=partial):
        click.echo(note, err=True)


@rexrank.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", "-o", metavar="FILE", required=True, type=click.Path(path_type=Path))
@click.option(
    "--reference",
    type=click.Choice(["findings", "joined"]),
    help="Of predictions: score against section_findings, or as ReXrank's script joins findings and impression. "
    "Default: joined.",
)
@click.option("--dataset", help="Of a table: the dataset. Default: as the file's name tells.")
@click.option("--split", help="Of a table: the split. Default: as the file's name tells.")
@click.option("--n", type=click.IntRange(min=1), help="Of a table: studies scored, where you know it.")
@click.option("--source", help="Of a table: what is said of where it is from. Default: ReXrank and the file's name.")
def import_command(
    file: Path,
    out: Path,
    reference: Literal["findings", "joined"] | None,
    dataset: str | None,
    split: str | None,
    n: int | None,
    source: str | None,
) -> None:
    """Read a results table (.csv) as a leaderboard, or predictions (.json) as pairs for bench score.

    \b
    bench leaderboard rexrank import findings_result_mimiccxr.csv --out rexrank.yaml
    bench leaderboard ./rexrank.yaml
    bench leaderboard rexrank import predictions.json --out pairs.jsonl
    bench score pairs.jsonl
    """
    if file.suffix.lower() == ".csv":
        if reference is not None:
            raise BenchError("--reference: is for predictions (.json); a results table has none")
        notes = import_table(file, out, About(dataset, split, n, source))
    elif file.suffix.lower() == ".json":
        if any(value is not None for value in (dataset, split, n, source)):
            raise BenchError("--dataset, --split, --n and --source: are for a results table (.csv)")
        notes = import_predictions(file, out, reference or "joined")
    else:
        raise BenchError(f"{file}: a results table (.csv) or predictions (.json) of ReXrank are wanted")
    for note in notes:
        click.echo(note, err=True)


# ------------------------------------------------------------------ a submission


@dataclass(frozen=True, slots=True)
class _Case:
    """A case of a run, as far as a submission needs it."""

    id: str
    study: str
    image: str
    """Name of its first image, without folder and ending."""
    text: str


def export(folder: Path, out: Path, data: Path | None, *, partial: bool = False) -> list[str]:
    """Write the reports of a finished run as a submission; return what the user should know.

    Raises BenchError where cases name no study, several reports of a study are there and nothing tells which counts,
    reports or studies are missing (unless `partial`), or credentialed data would be written as reports.
    """
    from bench import compare
    from leaderboards.living.entries import is_credentialed

    _check_out(out, ".json", *([data] if data else []))
    run = compare.read_run(_one_run(folder))
    private = is_credentialed(run.run, run.summary)
    if private:
        _refuse_copies(run)
    studies = _read_studies(data) if data is not None else None
    cases, failed = _cases(run, studies)
    if failed and not partial:
        raise BenchError(f"{folder}: {len(failed)} cases have no report: {_some(failed)}. --partial leaves them out")
    chosen = _chosen(cases, studies, folder)
    notes = [f"{len(chosen)} {'study' if len(chosen) == 1 else 'studies'} written to {out}"]
    notes += [f"{len(failed)} cases without a report are left out"] * bool(failed)
    notes += _coverage(chosen, studies, data, partial=partial)
    _write(out, json.dumps(_submission(chosen), indent=1, ensure_ascii=True) + "\n", private=private)
    if private:
        notes.append(
            "Reports on credentialed data: the file is private to this user; share it as your data use agreement allows"
        )
    return notes


def _one_run(folder: Path) -> Path:
    from bench.show import find_runs

    runs = find_runs(folder)
    if len(runs) > 1:
        raise BenchError(f"{folder}: holds several runs; choose one of {', '.join(map(str, runs[:SHOWN]))}")
    return runs[0]


def _submission(chosen: Mapping[str, _Case]) -> dict[str, dict[str, str]]:
    return {study: {"model_prediction": case.text} for study, case in sorted(chosen.items())}


def _refuse_copies(run: Any) -> None:
    """Raise BenchError where reports of credentialed data are themselves reports of that data."""
    from bench import store

    known = {_words(pair.reference) for pair in run.pairs.values()}
    for line in store.read_lines(run.folder / "reports.jsonl"):
        kinds = {(item.get("kind"), item.get("label")) for item in line.get("evidence") or ()}
        copied = any(kind == "neighbour" for kind, _ in kinds) or ("note", "prior") in kinds
        words = _words(line["text"])
        if copied or (len(words) >= COPIED_WORDS and words in known):
            raise BenchError(
                f"{run.folder}: not written: its reports are copies of reports of credentialed data (e.g. on "
                f"{line['id']}); a submission must not hold these"
            )


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.lower().split())


def _cases(run: Any, studies: Mapping[str, _Study] | None) -> tuple[list[_Case], list[str]]:
    """Return the answered cases with their studies, and the ids of the others."""
    from bench import store

    unanswered = {
        line["id"] for line in store.read_lines(run.folder / "reports.jsonl") if line.get("error") is not None
    }
    by_digits = _by_digits(studies) if studies is not None else {}
    found, failed = [], []
    for line in store.read_lines(run.folder / "cases.jsonl"):
        if line["id"] in unanswered:
            failed.append(line["id"])
            continue
        images = [str(image) for image in line.get("images") or ()]
        image = Path(images[0]).stem if images else ""
        study = _study(run, line["id"], images, studies)
        found.append(_Case(line["id"], by_digits.get(study, study), image, run.pairs[line["id"]].candidate))
    return found, failed


def _study(run: Any, case_id: str, images: Sequence[str], studies: Mapping[str, Any] | None) -> str:
    """Return the study of a case, as ReXrank names it."""
    if studies is not None and case_id in studies:
        return case_id
    for image in images[:1]:
        if match := _MIMIC.search(image):
            return match[1]
        if match := _OPEN_I.search(image):
            return f"CXR{match[1]}_{match[2]}"
    told = run.run["config"].get("dataset")
    if isinstance(told, Mapping) and told.get("unit") == "study":
        return case_id
    if str(run.run.get("read_as", "")).startswith("ReXrank's JSON"):
        return case_id
    raise BenchError(
        f"{run.folder}: nothing tells the study of case {case_id!r}: ReXrank scores studies. Runs on mimic-cxr, "
        "iu-xray and demo name theirs, and so do predictions read from ReXrank's own JSON; --data FILE gives its ids"
    )


def _chosen(cases: Sequence[_Case], studies: Mapping[str, _Study] | None, folder: Path) -> dict[str, _Case]:
    """Return study → the case that counts."""
    by_study: dict[str, list[_Case]] = {}
    for case in cases:
        by_study.setdefault(case.study, []).append(case)
    several = {study: own for study, own in by_study.items() if len(own) > 1}
    if several and studies is None:
        raise BenchError(
            f"{folder}: {len(several)} of {len(by_study)} studies have several reports, one an image (e.g. "
            f"{_some(list(several))}), and ReXrank scores a study once: give its file of the studies with --data, "
            "whose key_image_path tells which image counts; or run with unit: study"
        )
    chosen = {study: own[0] for study, own in by_study.items() if len(own) == 1}
    unknown = []
    for study, own in several.items():
        key = studies[study].key_image if studies is not None and study in studies else ""
        matching = [case for case in own if case.image == key]
        if matching:
            chosen[study] = matching[0]
        elif studies is not None and study in studies:
            unknown.append(study)
    if unknown:
        raise BenchError(
            f"{folder}: of {len(unknown)} studies with several reports none is on the image that ReXrank's file names "
            f"(key_image_path): {_some(unknown)}; run with unit: study"
        )
    return chosen


def _coverage(
    chosen: dict[str, _Case], studies: Mapping[str, _Study] | None, data: Path | None, *, partial: bool
) -> Iterator[str]:
    """Leave out studies that ReXrank does not score; refuse, or tell, where some of its own are missing."""
    if studies is None:
        yield "Not checked against ReXrank's list of studies; --data FILE does"
        return
    strangers = [study for study in chosen if study not in studies]
    for study in strangers:
        del chosen[study]
    if not chosen:
        raise BenchError(f"{data}: holds none of the run's studies: is it of another dataset or split?")
    if strangers:
        yield f"{len(strangers)} studies that {data} does not hold are left out"
    missing = [study for study in studies if study not in chosen]
    if missing and not partial:
        raise BenchError(
            f"{data}: {len(missing)} of its {len(studies)} studies have no report in the run: {_some(missing)}. Run on "
            "all of them (population: all), or pass --partial"
        )
    if missing:
        yield f"{len(missing)} of ReXrank's {len(studies)} studies have no report: the file is not a whole submission"


@dataclass(frozen=True, slots=True)
class _Study:
    """What is read of a study in ReXrank's own file: no text."""

    key_image: str
    """Name of the image for models that take one, without folder and ending."""


def _read_studies(file: Path) -> dict[str, _Study]:
    from bench.prediction_formats import KEY, read_table

    table = read_table(file, {KEY, "key_image_path"})
    if KEY not in table.columns or "key_image_path" not in table.columns:
        raise BenchError(f"{file}: no file of studies of ReXrank: an object of studies with key_image_path is wanted")
    found = {}
    for row in table.rows:
        key = row.cells.get("key_image_path")
        found[str(row.cells[KEY])] = _Study(Path(key).stem if isinstance(key, str) else "")
    return found


def _by_digits(studies: Mapping[str, _Study]) -> dict[str, str]:
    """Return study number → ReXrank's name of the study: for names with more in them than the number MIMIC-CXR gives.

    Of IU X-Ray: the patient's part of the name as well, where one study has it.
    """
    found: dict[str, str] = {}
    for pattern in (r"(?:^|\D)(\d{8})$", r"^(CXR\d+_IM-\d+)"):
        matched = [(match[1], name) for name in studies if (match := re.search(pattern, name))]
        counts = Counter(short for short, _ in matched)
        found.update({short: name for short, name in matched if counts[short] == 1})
    return found


# ------------------------------------------------------------------ a results table


@dataclass(frozen=True, slots=True)
class About:
    """What the user says of a results table; None leaves it to the file's name."""

    dataset: str | None = None
    split: str | None = None
    n: int | None = None
    source: str | None = None


ABOUT_ROW = ("Rank", "Date", "Model Name", "Institution", "Model URL")
"""Columns of a results table that are no scores."""
HIGHER, LOWER = "higher", "lower"
SCORES: Mapping[str, tuple[str, str]] = {
    "BLEU": (HIGHER, ""),
    "BertScore": (HIGHER, "BERTScore"),
    "SembScore": (HIGHER, ""),
    "RadGraph": (HIGHER, ""),
    "RadCliQ-v0": (LOWER, ""),
    "RadCliQ-v1": (LOWER, "RadCliQ-v1"),
    "1/RadCliQ-v1": (HIGHER, ""),
    "RaTEScore": (HIGHER, "RaTEScore"),
    "GREEN": (HIGHER, "GREEN"),
    "FineRadScore": (LOWER, ""),
    "1/FineRadScore": (HIGHER, ""),
}
"""Heading → which values are better, and the score of ours that is the same metric."""
DATASETS: Mapping[str, tuple[str, str, int | None, str]] = {
    "mimiccxr": ("MIMIC-CXR", "test", None, "studies of the official test split"),
    "mimic-cxr": ("MIMIC-CXR", "test", None, "studies of the official test split"),
    "mimic-cxr-valid": ("MIMIC-CXR", "validate", None, "studies of the official validation split"),
    "iu_xray": ("IU X-Ray", "test", None, "studies of R2Gen's test split"),
    "iu_xray-valid": ("IU X-Ray", "validate", None, "studies of R2Gen's validation split"),
    "chexpertplus": ("CheXpert Plus", "valid", None, "studies of the official valid split"),
    "chexpert_plus-valid": ("CheXpert Plus", "valid", None, "studies of the official valid split"),
    "gradienthealth": ("ReXGradient", "private test", 10_000, "ReXrank's private test set of 10,000 studies"),
}
"""End of a file's name → dataset, split, studies (rexrank.ai) and population."""
_NAME = re.compile(r"(?P<findings>findings_)?result_(?P<data>.+)")
_NUMBER = re.compile(r"-?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?", re.IGNORECASE)
_NOTHING = ("", "nan", "none", "-", "–", "n/a")


def import_table(file: Path, out: Path, about: About) -> list[str]:
    """Write a results table of ReXrank as a leaderboard's definition; return what the user should know.

    Raises BenchError naming file, line and column of what is no such table.
    """
    import yaml
    from pydantic import ValidationError

    from leaderboards.model import Definition

    _check_out(out, ".yaml", file)
    content = _read_text(file)
    scores, rows, notes = _parse(file, content)
    told = _told(file, about)
    source = about.source or f"ReXrank (rajpurkarlab/ReXrank), results/{file.name}"
    digest = hashlib.sha256(content.encode()).hexdigest()[:12]
    made = {
        "name": out.stem,
        "title": f"ReXrank: {told['dataset']} {told['split']}".strip(),
        "runs": {"extra_scores": "none"},
        "columns": [_column(name) for name in scores],
        "groups": [{"heading": told["heading"], "rows": [_row(row, source, told) for row in rows]}],
        "notes": [*_table_notes(scores, digest), *notes],
    }
    try:
        Definition.model_validate(made)
    except ValidationError as err:
        first = err.errors()[0]
        raise BenchError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    text = f"# From ReXrank's {file.name}, sha256 {digest}.\n"
    _write(out, text + yaml.safe_dump(made, sort_keys=False, allow_unicode=True, width=110), private=False)
    return [
        f"{len(rows)} models, {len(scores)} scores written to {out}",
        *notes,
        f"Show: bench leaderboard {_dot(out)}",
    ]


def _dot(out: Path) -> str:
    return str(out) if "/" in str(out) else f"./{out}"


def _read_text(file: Path) -> str:
    from bench import store

    if file.is_dir():
        raise BenchError(f"{file}: a folder; name a file")
    text = store.read_text(file)
    if not text.strip():
        raise BenchError(f"{file}: the file is empty")
    return text


@dataclass(frozen=True, slots=True)
class _Model:
    """A row of a results table."""

    label: str
    institution: str
    date: str
    values: Mapping[str, str]


def _parse(file: Path, content: str) -> tuple[list[str], list[_Model], list[str]]:
    """Return the names of the scores, the models, and what is odd."""
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in record]) for record in reader if any(record)]
    except csv.Error as err:
        raise BenchError(f"{file}, line {reader.line_num}: {err}") from None
    header = lines[0][1]
    scores = _scores(file, header)
    models, short = [], []
    for number, record in lines[1:]:
        if len(record) > len(header):
            raise BenchError(f"{file}, line {number}: {len(record)} fields, but the header has {len(header)}")
        if len(record) < len(header):
            short.append(number)
        models.append(_model(file, number, dict(zip(header, record, strict=False)), scores))
    if not models:
        raise BenchError(f"{file}: a header, but no model")
    notes = []
    if short:
        notes.append(
            f"{len(short)} rows of the source are shorter than its header; the scores that their ends lack are absent."
        )
    return scores, _distinct(models), notes


def _scores(file: Path, header: Sequence[str]) -> list[str]:
    if "Model Name" not in header:
        raise BenchError(
            f"{file}: no results table of ReXrank: no column 'Model Name' (found: {', '.join(header[:8])}). Its tables "
            "are results/*.csv of rajpurkarlab/ReXrank"
        )
    if twice := [name for name, count in Counter(header).items() if count > 1]:
        raise BenchError(f"{file}: the column {twice[0]!r} occurs twice")
    scores = [name for name in header if name and name not in ABOUT_ROW]
    if not scores:
        raise BenchError(f"{file}: no column of scores beside {', '.join(header)}")
    return scores


def _model(file: Path, number: int, cells: Mapping[str, str], scores: Sequence[str]) -> _Model:
    name = cells.get("Model Name", "")
    if not name:
        raise BenchError(f"{file}, line {number}: no Model Name")
    values = {}
    for score in scores:
        text = cells.get(score, "")
        if text.lower() in _NOTHING:
            continue
        if not _NUMBER.fullmatch(text):
            raise BenchError(f"{file}, line {number}, {score}: {text!r} is no number")
        values[score] = text
    return _Model(name, cells.get("Institution", ""), cells.get("Date", ""), values)


def _distinct(models: Sequence[_Model]) -> list[_Model]:
    """Give models of one name their institution and date too."""
    counts = Counter(model.label for model in models)
    return [
        model
        if counts[model.label] == 1
        else _Model(f"{model.label} ({model.institution}, {model.date})", model.institution, model.date, model.values)
        for model in models
    ]


def _told(file: Path, about: About) -> dict[str, Any]:
    """Return dataset, split, n and population: as the user says, else as the file's name tells."""
    match = _NAME.fullmatch(file.stem)
    dataset, split, n, population = DATASETS.get(match["data"] if match else "", ("", "", None, ""))
    if not (about.dataset or dataset):
        known = ", ".join(f"result_{name}.csv" for name in DATASETS)
        raise BenchError(f"{file}: its name tells no dataset (known: {known}); say --dataset, and --split")
    said = about.dataset or about.split
    scored = ""
    if match:
        scored = "findings alone" if match["findings"] else "findings and impression"
    parts = ["as the user says" if said else population, f"scored: {scored}" if scored else ""]
    return {
        "dataset": about.dataset or dataset,
        "split": about.split or split,
        "n": about.n or (None if said else n),
        "population": "; ".join(filter(None, parts)),
        "heading": f"ReXrank, {scored}" if scored else "ReXrank",
    }


def _column(name: str) -> dict[str, Any]:
    better, score = SCORES.get(name, (None, ""))
    column: dict[str, Any] = {"key": name, "heading": name, "decimals": 3, "scale": 1.0}
    if score:
        column["score"] = score
    if better:
        column["better"] = better
    return column


def _row(model: _Model, source: str, told: Mapping[str, Any]) -> dict[str, Any]:
    row = {"label": model.label, "source": source, "population": told["population"] or "not stated"}
    row |= {"dataset": told["dataset"], "split": told["split"]}
    return row | ({"n": told["n"]} if told["n"] else {}) | {"values": dict(model.values)}


def _table_notes(scores: Sequence[str], digest: str) -> list[str]:
    notes = [
        "Numbers as ReXrank prints them (fractions, not times 100). BLEU is BLEU-2, RadGraph the mean of its entity "
        "and relation F1, SembScore CheXbert's vector similarity (CXR-Report-Metric): runs have no such score.",
        "ReXrank scores a study once, against its own references: rows of runs are not comparable with it, unless they "
        f"are scored on its file. Read from a file with sha256 {digest}.",
    ]
    if unknown := [name for name in scores if name not in SCORES]:
        notes.append(f"Not known here, so that nothing tells which values are better: {', '.join(unknown)}.")
    return notes


# ------------------------------------------------------------------ predictions


def import_predictions(file: Path, out: Path, reference: Literal["findings", "joined"]) -> list[str]:
    """Write ReXrank's predictions as pairs (id, candidate, reference, group) for ``bench score``; return notes.

    joined: the reference is "Findings: … Impression: …", put together as ReXrank's evaluation script does; where one
    of the two is missing, the script puts the word None there.
    """
    from bench import store
    from bench.prediction_formats import KEY, read_table

    _check_out(out, ".jsonl", file)
    wanted = {KEY, "model_prediction", "subject_id", *_SECTIONS["findings"], *_SECTIONS["impression"]}
    table = read_table(file, wanted)
    if KEY not in table.columns or "model_prediction" not in table.columns:
        raise BenchError(f"{file}: no predictions of ReXrank: an object of studies with model_prediction is wanted")
    if not set(_SECTIONS["findings"]) & set(table.columns):
        raise BenchError(
            f"{file}: predictions without references; score it with ReXrank's own file: bench score {file} "
            "--references FILE"
        )
    lines, without = [], 0
    for row in table.rows:
        findings, impression = (_section(file, row, name) for name in ("findings", "impression"))
        if (findings if reference == "findings" else findings or impression) is None:
            without += 1
            continue
        true = findings if reference == "findings" else f"Findings: {findings} Impression: {impression}"
        said = _cell(file, row, "model_prediction")
        subject = row.cells.get("subject_id")
        group = {} if subject is None else {"group": str(subject)}
        lines.append({"id": str(row.cells[KEY]), "candidate": said, "reference": true, **group})
    if not lines:
        raise BenchError(f"{file}: no study has a reference")
    _write(out, "".join(map(store.json_line, lines)), private=True)
    notes = [f"{len(lines)} pairs written to {out}"]
    notes += [f"{without} studies without a reference are left out"] * bool(without)
    silent = sum(line["candidate"] is None for line in lines)
    notes += [f"{silent} studies have no prediction (null or NaN): bench score --missing empty scores them"] * (
        silent > 0
    )
    return [*notes, f"Score: bench score {out}"]


_SECTIONS = {"findings": ("section_findings", "findings"), "impression": ("section_impression", "impression")}
"""Names of today's file, and of ReXrank's older sample."""


def _section(file: Path, row: Any, name: str) -> str | None:
    for key in _SECTIONS[name]:
        if (text := _cell(file, row, key)) is not None and text.strip():
            return text
    return None


def _cell(file: Path, row: Any, name: str) -> str | None:
    value = row.cells.get(name)
    if value is None or isinstance(value, str):
        return value
    raise BenchError(f"{file}, {row.where}, {name}: a text is wanted (given: {type(value).__name__})")


# ------------------------------------------------------------------ files


def _check_out(out: Path, suffix: str, *read: Path) -> None:
    """Raise BenchError where the file cannot be written there."""
    if out.suffix.lower() != suffix and not (suffix == ".yaml" and out.suffix.lower() == ".yml"):
        raise BenchError(f"--out {out}: the name must end in {suffix}")
    if out.is_dir():
        raise BenchError(f"--out {out}: is a folder; name a file")
    if not out.parent.is_dir():
        raise BenchError(f"--out {out}: there is no folder {out.parent}")
    if any(out.resolve() == file.resolve() for file in read):
        raise BenchError(f"--out {out}: is the file that is read; name another")


def _write(out: Path, text: str, *, private: bool) -> None:
    from bench import store

    before = os.umask(0o077) if private else None
    try:
        store.write_text(out, text)
    finally:
        if before is not None:
            os.umask(before)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
