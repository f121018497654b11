from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.context import RunContext
from bench.contracts import Case, Image, Prior, Report
from bench.errors import BenchError
from systems.floors import NORMAL, Constant, CopyPrior, Predictions, RandomReport


@dataclass(frozen=True)
class Training:
    cases: Sequence[Case]
    references: dict[str, str]
    fingerprint: str = "training"


def case(name: str, *priors: Prior) -> Case:
    return Case(name, f"patient of {name}", (Image(Path(f"{name}.png"), "AP"),), priors=priors)


CASES = [case(f"c{k}") for k in range(40)]
TRAINING = Training(CASES, {c.id: f"text of {c.id}" for c in CASES})


def build(plugin: Any, folder: Path, seed: int = 0, **options: Any) -> Any:
    context = RunContext(workdir=folder / "work", cache_root=folder / "cache", seed=seed)
    system = plugin(plugin.Options(**options), context)
    system.prepare(TRAINING)
    return system


def predictions_in(folder: Path) -> dict[str, Any]:
    file = folder / "p.jsonl"
    file.write_text("".join(json.dumps({"id": c.id, "text": f"on {c.id}"}) + "\n" for c in CASES))
    return {"file": file}


PRIOR = Prior("FINDINGS: old.", "old.", 90)


@pytest.mark.parametrize("plugin", [Constant, RandomReport, CopyPrior, Predictions])
def test_a_report_is_the_same_alone_and_in_any_batch(plugin: Any, tmp_path: Path) -> None:
    system = build(plugin, tmp_path, **(predictions_in(tmp_path) if plugin is Predictions else {}))
    cases = [case("x", PRIOR), *CASES[3:]] if plugin is CopyPrior else CASES
    together = list(system.generate(cases))
    assert [report.id for report in together] == [c.id for c in cases]
    assert together == [next(iter(system.generate([c]))) for c in cases]


def test_constant() -> None:
    system = Constant(Constant.Options(text="All well."), None)  # type: ignore[arg-type]
    assert list(system.generate(CASES[:1])) == [Report("c0", "All well.")]
    assert Constant.Options().text == NORMAL


def test_random_report_hangs_on_the_seed_and_names_its_source(tmp_path: Path) -> None:
    texts = {seed: [r.text for r in build(RandomReport, tmp_path, seed).generate(CASES)] for seed in (0, 1)}
    assert texts[0] != texts[1]
    assert len(set(texts[0])) > 15  # not one report for all
    report = next(iter(build(RandomReport, tmp_path).generate(CASES)))
    assert report.text == f"text of {report.evidence[0].label}"


def test_random_report_without_training_cases(tmp_path: Path) -> None:
    system = build(RandomReport, tmp_path)
    with pytest.raises(BenchError, match="no case to draw from"):
        system.prepare(Training([], {}))


@pytest.mark.parametrize(
    ("priors", "options", "text", "note"),
    [
        ((PRIOR, Prior("older", "older", 900)), {}, "old.", "findings, 90 minutes before"),
        ((Prior("IMPRESSION: so.", None, 5),), {}, "IMPRESSION: so.", "whole report"),
        ((), {}, NORMAL, "no earlier study of this patient: the constant"),
        ((), {"text": "Fine."}, "Fine.", "no earlier study"),
        ((), {"otherwise": "empty"}, "", "no earlier study of this patient"),
    ],
)
def test_copy_prior(priors: tuple[Prior, ...], options: dict[str, Any], text: str, note: str, tmp_path: Path) -> None:
    (report,) = build(CopyPrior, tmp_path, **options).generate([case("x", *priors)])
    assert (report.text, report.error) == (text, None)
    assert report.evidence[0].text.startswith(note)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.csv", 'id,candidate\na,"Heart, normal."\nb,\n'),
        ("p.CSV", '﻿example_id,prediction,target\na,"Heart, normal.",x\nb,"",y\n'),
        ("p.tsv", "study_id\treport\na\tHeart, normal.\nb\t\n"),
        ("p.jsonl", '{"id": "a", "text": "Heart, normal."}\n\n{"id": "b", "text": ""}\n'),
        ("p.json", '[{"id": "a", "text": " Heart, normal.\\n"}, {"id": "b", "text": ""}]'),
        ("p.json", '{"a": "Heart, normal.", "b": ""}'),
        ("p.json", '{"a": {"model_prediction": "Heart, normal.", "context": null}, "b": {"model_prediction": ""}}'),
    ],
)
def test_predictions_in_every_form(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    system = build(Predictions, tmp_path, file=tmp_path / name)
    a, b, missing = system.generate([case("a"), case("b"), case("c")])
    assert (a.text, a.error) == ("Heart, normal.", None)
    assert (b.text, b.error) == ("", None)
    assert missing == Report("c", "", error=f"{tmp_path / name}: no entry with id 'c'")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.csv", "id,text\na,x\na,y\n", "line 3: the id 'a' occurs twice"),
        ("p.csv", "id,text\na,NaN\n", r"line 2, text: not a text: 'NaN'"),
        ("p.csv", "id,text\na\n", "line 2: 2 fields were expected"),
        ("p.csv", "id,text\na,x,y\n", "line 2: 2 fields were expected"),
        (
            "p.csv",
            "id,txt\na,x\n",
            "line 2: none of candidate, prediction, report, text, model_prediction among id, txt",
        ),
        ("p.csv", "name,text\na,x\n", "none of id, example_id"),
        ("p.csv", "id,text\n ,x\n", "id: not an id"),
        ("p.csv", "id,text\n", "no entry"),
        ("p.csv", "id,text\nz,x\n", "none of its 1 ids .e.g. z. is a case of this run .e.g. c0, c1, c2"),
        ("p.json", '{"a": "x", "a": "y"}', "the key 'a' occurs twice"),
        ("p.json", '{"a": NaN}', r"key 'a', text: not a text: nan"),
        ("p.json", '[{"id": "a", "text": null}]', r"entry 1, text: not a text: None"),
        ("p.json", "[1]", "entry 1: a JSON object was expected, not int"),
        ("p.json", "{", "not valid JSON"),
        ("p.jsonl", '{"id": "a", "text": "x"}\n{"id": "b"\n', "line 2: not valid JSON"),
        ("p.txt", "", "the name must end in .csv, .tsv, .json, .jsonl"),
    ],
)
def test_predictions_that_are_refused(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(BenchError, match=message):
        list(build(Predictions, tmp_path, file=tmp_path / name).generate(CASES))


def test_predictions_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"none\.csv: cannot be read: No such file"):
        build(Predictions, tmp_path, file=tmp_path / "none.csv").fingerprint()


def test_predictions_fingerprint_follows_the_content(tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    found = []
    for text in ("one", "two"):
        file.write_text(f"id,text\na,{text}\n")
        found.append(build(Predictions, tmp_path, file=file).fingerprint())
    assert found[0] != found[1]
