"""`bench leaderboard rexrank`: submissions of ids and reports alone; tables and predictions read as they are."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench import store
from bench.config import digest
from leaderboards import rexrank
from leaderboards.tables import build, definition

Bench = Callable[..., Any]
HEADER = "Rank,Date,Model Name,Institution,Model URL,BLEU,BertScore,SembScore,RadGraph,1/RadCliQ-v1,RaTEScore,GREEN"
TABLE = f"""{HEADER},1/FineRadScore
7,2024,MedVersa,Harvard,https://huggingface.co/hyzhou/MedVersa/tree/main,0.209,0.448,0.466,0.273,1.103,0.55,0.374,0.365
16,2024,MAIRA-2,Microsoft,https://huggingface.co/microsoft/maira-2,0.088,0.308,0.339,0.131,0.694,0.517,0.224,0.359
25,2025,UniRG-CXR,Microsoft Research,https://www.microsoft.com,0.262,0.492,0.496,0.269,1.233,0.602,0.36
30,2026,MedGemma 1.5 4B, Google,,0.113,0.24,0.355,0.18,0.678,0.565,0.284
"""
"""Rows of results/findings_result_mimiccxr.csv: the last two are a field shorter than the header, as published."""


# ------------------------------------------------------------------ tables


def test_a_results_table_becomes_a_leaderboard(bench: Bench) -> None:
    Path("findings_result_mimiccxr.csv").write_text(TABLE)
    answer = bench("leaderboard", "rexrank", "import", "findings_result_mimiccxr.csv", "--out", "rexrank.yaml")
    assert answer.code == 0, answer.err
    assert "4 models, 8 scores written" in answer.err
    defined = definition("rexrank.yaml")
    rows = {row.label: row for row in defined.groups[0].rows}
    assert rows["MedVersa"].values["1/FineRadScore"] == "0.365"
    assert rows["UniRG-CXR"].values["GREEN"] == "0.36"
    assert "1/FineRadScore" not in rows["UniRG-CXR"].values
    assert (rows["MAIRA-2"].dataset, rows["MAIRA-2"].split) == ("MIMIC-CXR", "test")
    assert "findings alone" in rows["MAIRA-2"].population
    assert any("2 rows of the source are shorter" in note for note in defined.notes)
    better = {column.key: column.better for column in defined.columns}
    assert set(better.values()) == {"higher"}
    table = build("rexrank.yaml")
    keys = [column.key for column in table.columns]
    bold = {(row.label, key) for row in table.rows() for key, cell in zip(keys, row.cells, strict=True) if cell.bold}
    assert bold == {
        *(("UniRG-CXR", key) for key in ("BLEU", "BertScore", "SembScore", "1/RadCliQ-v1", "RaTEScore")),
        *(("MedVersa", key) for key in ("RadGraph", "GREEN", "1/FineRadScore")),
    }
    assert "0.262" in bench("leaderboard", "./rexrank.yaml").out


def test_older_tables_and_unknown_scores(bench: Bench) -> None:
    """RadCliQ-v1 as it is, where lower is better; CRIMSON, of which nothing tells which is better; NaN."""
    head = "Rank,Date,Model Name,Institution,Model URL,BLEU,RadCliQ-v1,CRIMSON"
    Path("result_iu_xray.csv").write_text(
        f"{head}\r\n1,2024,A,x,u,0.1,1.137,-0.052\r\n2,2024,A,y,u,nan,0.884,\r\n\r\n3,2023,B,z,u,.5,2,1e-3\r\n"
    )
    assert bench("leaderboard", "rexrank", "import", "result_iu_xray.csv", "--out", "old.yaml", "--n", "590").code == 0
    defined = definition("old.yaml")
    assert [column.better for column in defined.columns] == ["higher", "lower", None]
    assert [row.label for row in defined.groups[0].rows] == ["A (x, 2024)", "A (y, 2024)", "B"]
    assert dict(defined.groups[0].rows[1].values) == {"RadCliQ-v1": "0.884"}
    assert {row.n for row in defined.groups[0].rows} == {590}
    assert "findings and impression" in defined.groups[0].rows[0].population


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("a,b\n1,2\n", "no column 'Model Name'"),
        (f"{HEADER}\n", "a header, but no model"),
        ("Model Name,BLEU\nA,good\n", "line 2, BLEU: 'good' is no number"),
        ("Model Name,BLEU\nA,0.1,0.2\n", "line 2: 3 fields, but the header has 2"),
        ("Model Name,BLEU\n,0.1\n", "line 2: no Model Name"),
        ("Model Name,BLEU,BLEU\nA,1,2\n", "the column 'BLEU' occurs twice"),
        ("Model Name,Rank\nA,1\n", "no column of scores"),
        ('Model Name,BLEU\n"A,0.1\n', "line"),
    ],
)
def test_what_is_no_results_table_is_refused(bench: Bench, text: str, said: str) -> None:
    Path("result_mimiccxr.csv").write_text(text)
    answer = bench("leaderboard", "rexrank", "import", "result_mimiccxr.csv", "--out", "x.yaml")
    assert answer.code == 2
    assert said in answer.err
    assert not Path("x.yaml").exists()


def test_wrong_names_are_refused(bench: Bench) -> None:
    Path("mine.csv").write_text("Model Name,BLEU\nA,0.1\n")
    call = ("leaderboard", "rexrank", "import")
    assert "its name tells no dataset" in bench(*call, "mine.csv", "--out", "x.yaml").err
    assert bench(*call, "mine.csv", "--out", "x.yaml", "--dataset", "Ours", "--split", "all").code == 0
    assert yaml.safe_load(Path("x.yaml").read_text())["groups"][0]["rows"][0]["population"] == "as the user says"
    assert "must end in .yaml" in bench(*call, "mine.csv", "--out", "x.md").err
    assert "there is no folder" in bench(*call, "mine.csv", "--out", "no/x.yaml").err
    assert "no such file" in bench(*call, "no.csv", "--out", "x.yaml").err.lower()
    assert "--reference" in bench(*call, "mine.csv", "--out", "x.yaml", "--reference", "joined").err
    assert "(.csv) or predictions (.json)" in bench(*call, "mine.txt", "--out", "x.yaml").err


# ------------------------------------------------------------------ predictions

STUDIES: dict[str, Any] = {
    "50051329": {
        "image_path": ["/p10/p10046166/s50051329/aa.jpg", "/p10/p10046166/s50051329/bb.jpg"],
        "key_image_path": "/p10/p10046166/s50051329/bb.jpg",
        "section_findings": "Lungs are clear.",
        "section_impression": "No change.",
        "subject_id": 10046166,
        "model_prediction": "Clear lungs.",
    },
    "50051330": {
        "key_image_path": "/p10/p10046166/s50051330/cc.jpg",
        "section_findings": float("nan"),
        "section_impression": "Effusion.",
        "subject_id": 10046166,
        "model_prediction": float("nan"),
    },
}


def test_predictions_are_scored_as_rexrank_joins_its_references(bench: Bench) -> None:
    Path("p.json").write_text(json.dumps(STUDIES))
    answer = bench("leaderboard", "rexrank", "import", "p.json", "--out", "pairs.jsonl")
    assert answer.code == 0, answer.err
    pairs = store.read_lines(Path("pairs.jsonl"))
    assert [pair["reference"] for pair in pairs] == [
        "Findings: Lungs are clear. Impression: No change.",
        "Findings: None Impression: Effusion.",
    ]
    assert [(pair["candidate"], pair["group"]) for pair in pairs] == [("Clear lungs.", "10046166"), (None, "10046166")]
    assert "1 studies have no prediction" in answer.err
    assert stat.S_IMODE(Path("pairs.jsonl").stat().st_mode) == 0o600
    scored = bench("score", "pairs.jsonl", "--metrics", "bleu-4", "--missing", "empty", "--out", "o")
    assert scored.code == 0, scored.err
    assert bench("leaderboard", "rexrank", "import", "p.json", "--out", "f.jsonl", "--reference", "findings").code == 0
    assert [pair["reference"] for pair in store.read_lines(Path("f.jsonl"))] == ["Lungs are clear."]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([{"id": 1}], "an object of studies"),
        ({"1": {"section_findings": "x"}}, "an object of studies with model_prediction"),
        ({"1": {"model_prediction": "x"}}, "predictions without references"),
        ({"1": {"model_prediction": 3, "section_findings": "x"}}, "model_prediction: a text is wanted"),
        ({"1": {"model_prediction": "x", "section_findings": None}}, "no study has a reference"),
    ],
)
def test_what_are_no_predictions_is_refused(bench: Bench, value: Any, said: str) -> None:
    Path("p.json").write_text(json.dumps(value))
    answer = bench("leaderboard", "rexrank", "import", "p.json", "--out", "x.jsonl")
    assert answer.code == 2
    assert said in answer.err
    assert not Path("x.jsonl").exists()


# ------------------------------------------------------------------ submissions


def make_run(
    cases: Mapping[str, str],
    *,
    credentialed: bool = False,
    dataset: Mapping[str, Any] | None = None,
    failed: str = "",
    said: str = "Clear lungs of {}.",
    evidence: tuple[Mapping[str, Any], ...] = (),
    **more: Any,
) -> Path:
    """Write a finished run of cases: id → image; without metrics, as a run whose scores do not matter here."""
    folder = Path("run")
    folder.mkdir()
    lines = [
        {
            "id": i,
            "group": "p",
            "images": [image] if image else [],
            "indication": "why",
            "reference": f"The secret of {i}",
        }
        for i, image in cases.items()
    ]
    reports = [
        {"id": i, "text": said.format(i), "evidence": list(evidence), "error": "no answer" if i == failed else None}
        for i in cases
    ]
    (folder / "cases.jsonl").write_text("".join(map(store.json_line, lines)))
    (folder / "reports.jsonl").write_text("".join(map(store.json_line, reports)))
    same = {"label": "run", "system": "s", "dataset": "d", "split": "test", "credentialed": credentialed}
    store.write_json(folder / "run.json", {**same, "config": {"metrics": {}, "dataset": dataset or {}}, **more})
    summary = {**same, "scores": {}}
    store.write_json(folder / "summary.json", summary)
    store.write_json(folder / "done.json", {"summary_digest": digest(summary)})
    return folder


def mimic(study: str, image: str) -> str:
    return f"/data/files/p10/p10046166/s{study}/{image}.jpg"


def export(bench: Bench, *more: object) -> Any:
    return bench("leaderboard", "rexrank", "export", "run", "--out", "out.json", *more)


def submission() -> dict[str, str]:
    return {study: entry["model_prediction"] for study, entry in json.loads(Path("out.json").read_text()).items()}


def test_a_run_by_study_is_written_as_it_is(bench: Bench) -> None:
    make_run({"50051329": mimic("50051329", "aa"), "50051330": mimic("50051330", "cc")}, credentialed=True)
    answer = export(bench)
    assert answer.code == 0, answer.err
    assert submission() == {"50051329": "Clear lungs of 50051329.", "50051330": "Clear lungs of 50051330."}
    text = Path("out.json").read_text()
    assert "Secret" not in text
    assert "/data" not in text
    assert "why" not in text
    assert stat.S_IMODE(Path("out.json").stat().st_mode) == 0o600
    assert "private to this user" in answer.err
    references = {study: {"section_findings": "Lungs are clear."} for study in STUDIES}
    Path("references.json").write_text(json.dumps(references))  # it can be scored with ReXrank's own file
    scored = bench("score", "out.json", "--references", "references.json", "--metrics", "bleu-4", "--out", "o")
    assert scored.code == 0, scored.err


def test_of_a_run_by_image_the_key_image_counts(bench: Bench) -> None:
    cases = {"aa": mimic("50051329", "aa"), "bb": mimic("50051329", "bb"), "cc": mimic("50051330", "cc")}
    make_run(cases)
    refused = export(bench)
    assert refused.code == 2
    assert "1 of 2 studies have several reports, one an image (e.g. 50051329)" in refused.err
    assert not Path("out.json").exists()
    Path("data.json").write_text(json.dumps(STUDIES))
    answer = export(bench, "--data", "data.json")
    assert answer.code == 0, answer.err
    assert submission() == {"50051329": "Clear lungs of bb.", "50051330": "Clear lungs of cc."}
    Path("data.json").write_text(json.dumps({**STUDIES, "50051329": {"key_image_path": "x/zz.jpg"}}))
    assert "none is on the image that ReXrank's file names" in export(bench, "--data", "data.json").err


def test_studies_missing_or_unknown(bench: Bench) -> None:
    make_run({"cc": mimic("50051330", "cc"), "dd": mimic("50059999", "dd")}, failed="dd")
    assert "1 cases have no report: dd. --partial" in export(bench).err
    Path("data.json").write_text(json.dumps(STUDIES))
    refused = export(bench, "--data", "data.json", "--partial")
    assert refused.code == 0
    assert "1 of ReXrank's 2 studies have no report" in refused.err
    assert list(submission()) == ["50051330"]
    Path("data.json").write_text(json.dumps({"1": {"key_image_path": "x"}}))
    assert "holds none of the run's studies" in export(bench, "--data", "data.json", "--partial").err


def test_open_i_studies_are_named_as_rexrank_names_them(bench: Bench) -> None:
    make_run({"3030": "NLMCXR_png/CXR3030_IM-1405-1001.png", "38": "images/38_IM-1911-1001.dcm.png"})
    assert export(bench).code == 0
    assert list(submission()) == ["CXR3030_IM-1405", "CXR38_IM-1911"]
    names = ("CXR3030_IM-1405", "CXR38_IM-1911")
    Path("data.json").write_text(json.dumps({name: {"key_image_path": f"{name}/0.png"} for name in names}))
    assert export(bench, "--data", "data.json").code == 0
    assert list(submission()) == list(names)


def test_cases_that_name_no_study_are_refused(bench: Bench) -> None:
    make_run({"a": "images/a.png"})
    answer = export(bench)
    assert answer.code == 2
    assert "nothing tells the study of case 'a'" in answer.err
    Path("data.json").write_text(json.dumps({"a": {"key_image_path": "images/a.png"}}))
    assert export(bench, "--data", "data.json").code == 0


def test_a_dataset_by_study_and_rexranks_own_predictions_name_theirs(bench: Bench) -> None:
    make_run({"a": "images/a.png"}, dataset={"use": "mine", "unit": "study"})
    assert export(bench).code == 0
    Path("run").rename("elsewhere")
    make_run({"b": ""}, read_as="ReXrank's JSON")
    assert export(bench).code == 0
    assert list(submission()) == ["b"]


LONG = " ".join(f"word{i}" for i in range(30))


@pytest.mark.parametrize(
    "evidence",
    [
        ({"kind": "neighbour", "label": "train7", "score": 0.1, "text": "x"},),
        ({"kind": "note", "label": "prior", "score": None, "text": "x"},),
    ],
)
def test_copies_of_credentialed_reports_are_not_written(bench: Bench, evidence: Any) -> None:
    make_run({"50051329": mimic("50051329", "aa")}, credentialed=True, evidence=evidence)
    answer = export(bench)
    assert answer.code == 2
    assert "copies of reports of credentialed data" in answer.err
    assert not Path("out.json").exists()


def test_a_reference_in_the_place_of_a_report_is_not_written(bench: Bench) -> None:
    folder = make_run({"50051329": mimic("50051329", "aa")}, credentialed=True, said=LONG)
    assert export(bench).code == 0
    (line,) = store.read_lines(folder / "cases.jsonl")
    (folder / "cases.jsonl").write_text(store.json_line({**line, "reference": LONG.upper()}))
    assert "copies of reports" in export(bench).err


def test_wrong_input_is_refused(bench: Bench) -> None:
    folder = make_run({"50051329": mimic("50051329", "aa")})
    call = ("leaderboard", "rexrank", "export")
    assert "must end in .json" in bench(*call, "run", "--out", "x.txt").err
    assert "no such folder" in bench(*call, "no", "--out", "x.json").err
    assert "is the file that is read" in bench(*call, "run", "--out", "x.json", "--data", "x.json").err
    Path("d.json").write_text("[]")
    assert "d.json" in bench(*call, "run", "--out", "x.json", "--data", "d.json").err
    Path("d.json").write_text('{"a": {"b": 1}}')
    assert "key_image_path" in bench(*call, "run", "--out", "x.json", "--data", "d.json").err
    (folder / "done.json").unlink()
    assert "not finished" in bench(*call, "run", "--out", "x.json").err
    assert not Path("x.json").exists()


def test_names_of_studies_with_more_in_them_are_found() -> None:
    studies = {"p10_p10046166_s50051329": rexrank._Study("bb"), "CXR3030_IM-1405": rexrank._Study("0")}
    assert rexrank._by_digits(studies)["50051329"] == "p10_p10046166_s50051329"
