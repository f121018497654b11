"""Leaderboards: the published numbers, what is bold, rows of runs, and the formats."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from itertools import pairwise, product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from pydantic import ValidationError
from rich.console import Console

import leaderboards
from bench.contracts import FAILED, OK, Column, Pair, Stats
from bench.errors import BenchError
from bench.options import Options
from leaderboards import numbers, runs
from leaderboards.command import leaderboard
from leaderboards.model import Cell, ColumnSpec, Definition, Group, Row, Table
from leaderboards.renderers import FORMATS, latex, markdown
from leaderboards.renderers.terminal import Drawing
from leaderboards.significance import PairedTest
from leaderboards.tables import definition, mark_best

# ------------------------------------------------------------------ the paper, typed in again; * is bold there

TABLE1 = """
Current study
Baseline      | 30.0  | 3.1   | 18.6  | 23.5  | 14.9  | 38.3  | 25.5  | 45.0  | 42.8
CheXagent     | 36.9  | 3.7*  | 21.5* | 21.1  | 18.0  | 31.5  | 22.5  | 38.6  | 38.1
SAE-Rad (x64) | 37.2* | 1.9   | 17.1  | 29.1* | 18.2* | 47.2* | 34.3* | 54.4* | 53.2*
Upper bound models
MAIRA-1       | 47.8  | 14.2  | 28.9  | 33.3  | 29.6  | 47.7  | 38.6  | 56.0  | 55.7
MAIRA-2       | 50.4* | 23.1* | 38.4* | 41.7* | 39.6* | 50.4* | 41.6* | 59.1* | 58.1*
"""
TABLE2 = """
Expansion and sparsity
×128         | 34.83  | 29.91  | 32.18
×64          | 35.95* | 31.95* | 33.83*
×32          | 31.22  | 27.89  | 29.46
×128 dense   | 32.57  | 27.06  | 29.56
×64 dense    | 31.15  | 28.46  | 29.74
×32 dense    | 32.02  | 28.61  | 30.22
With the indication and earlier reports
×64 /w inds  | 38.78* | 28.22  | 32.67
×64 /w inds  | 38.45  | 32.42  | 35.18
×64 /w inds + prev. reps | 37.32 | 39.83* | 38.45*
"""
TABLE3 = """
×64, batches of 2,048, 200,000 steps
Conerly et al. (2024) SAE | 5.3e-3 | 15.7  | 81.3
SAE-Rad                   | 8.0e-3 | 13.6* | 84.3*
"""
TABLE4 = """
Estimates
SAE-Rad   | 239,931   | 76M | 60,000      | $3.25 | 0.1 | $0.00005
cheXagent | 1,100,000 | 8B  | NA          | NA    | 8   | $0.001
MAIRA 2   | 510,848   | 7B  | 100,000,000 | $4000 | 7   | $0.001
"""
TABLE5 = """
200,000 steps, batches of 2,048
×128       | 128 | 6e-3    | 12.0 | 90.9
×64        | 64  | 8e-3    | 13.6 | 84.3
×32        | 32  | 9e-3    | 15.1 | 79.2
×128 dense | 128 | 3.75e-3 | 26.0 | 93.2
×64 dense  | 64  | 5e-3    | 28.4 | 88.5
×32 dense  | 32  | 5.63e-3 | 31.8 | 84.7
"""
TODAY = """
SAE-Rad's study
Baseline      | 30.0  | 3.1   | 18.6  | 23.5  | 14.9  | 38.3  | 25.5  | 45.0  | 42.8
CheXagent     | 36.9  | 3.7*  | 21.5* | 21.1  | 18.0  | 31.5  | 22.5  | 38.6  | 38.1
SAE-Rad (x64) | 37.2* | 1.9   | 17.1  | 29.1* | 18.2* | 47.2* | 34.3* | 54.4* | 53.2*
MAIRA's study
MAIRA-1       | 47.8  | 14.2  | 28.9  | 33.3  | 29.6  | 47.7  | 38.6  | 56.0  | 55.7
MAIRA-2       | 50.4* | 23.1* | 38.4* | 41.7* | 39.6* | 50.4* | 41.6* | 59.1* | 58.1*
Libra's study
Libra-7b       | – | 24.5 | 36.7 | 48.9 | 37.6 | –    | –    | –    | –
CheXagent-2's study
CheXagent-2-3b | – | –    | –    | –    | –    | 55.3 | 44.9 | 62.5 | 58.0
Radar's study
Radar          | – | 26.2 | 39.7 | –    | –    | –    | 46.0 | 62.7 | –
"""
READER_STUDY = """
By model
Baseline       | 4.4 | 35  | 79.5 | 19 | 54.3 | 11 | 31.4 | 5  | 14.2 | 1.51 ± 0.62
CheXagent      | 6.2 | 52  | 83.8 | 31 | 59.6 | 13 | 25.0 | 8  | 15.3 | 1.35 ± 0.71
SAE-Rad        | 5.9 | 45  | 76.3 | 31 | 68.8 | 11 | 24.4 | 3  | 6.6  | 1.56 ± 0.62
All three
All 30 reports | 5.5 | 132 | 80   | 81 | 61   | 35 | 26.5 | 16 | 12.1 | 1.46 ± 0.67
"""
PAPER = {"table1": TABLE1, "table2": TABLE2, "table3": TABLE3, "table4": TABLE4, "table5": TABLE5}
PRINTED = {"reader-study": READER_STUDY, **PAPER, "today": TODAY}
"""What has published rows."""
KNOWN = sorted(["controls", *PRINTED])


def as_typed(table: Table) -> list[list[str]]:
    """Return the table's groups and rows as the texts above split into them."""
    lines = []
    for group in table.groups:
        lines.append([group.heading])
        lines += [[row.label, *(cell.text + "*" * cell.bold for cell in row.cells)] for row in group.rows]
    return lines


@pytest.mark.parametrize("name", PRINTED)
def test_numbers_and_bold_are_those_printed(name: str) -> None:
    printed = [[part.strip() for part in line.split("|")] for line in PRINTED[name].strip().splitlines()]
    assert as_typed(leaderboards.build(name)) == printed


def test_radfact_precision_and_recall_of_maira_are_shown_in_full() -> None:
    table = leaderboards.build("table1", columns="full")
    assert [column.key for column in table.columns][:3] == ["RadFact-P", "RadFact-R", "RadFact"]
    by_label = {row.label: [cell.text for cell in row.cells[:3]] for row in table.rows()}
    assert by_label["MAIRA-1"] == ["48.3", "47.2", "47.8"]
    assert by_label["MAIRA-2"] == ["52.9", "48.2", "50.4"]
    assert by_label["Baseline"] == ["–", "–", "30.0"]
    assert any("RadFact-P, RadFact-R of Baseline" in note for note in table.notes)


def test_columns_of_table_1_stand_in_the_papers_order() -> None:
    keys = [column.key for column in leaderboards.build("table1").columns]
    assert keys == ["RadFact", "BL4", "RG-L", "MTR", "RGER", "Ma-5", "Ma-14", "Mi-5", "Mi-14"]


@pytest.mark.parametrize("name", PRINTED)
def test_published_rows_say_where_they_are_from(name: str) -> None:
    rows = list(leaderboards.build(name).rows())
    assert all(row.origin == "published" and "arXiv 2" in row.source and row.population for row in rows)


@pytest.mark.parametrize(("label", "n"), [("SAE-Rad (x64)", 3403), ("MAIRA-2", 2461)])
def test_the_two_populations_of_table_1(label: str, n: int) -> None:
    (row,) = (row for row in leaderboards.build("table1").rows() if row.label == label)
    assert (row.dataset, row.split, row.n) == ("MIMIC-CXR", "test", n)
    assert row.origin_text == f"published: MIMIC-CXR test, n={n:,}"


def test_f1_of_table_2_is_the_harmonic_mean_except_where_the_notes_say_so() -> None:
    table = leaderboards.build("table2")
    odd = []
    for row in table.rows():
        p, r, f1 = (float(cell.text) for cell in row.cells)
        if abs(2 * p * r / (p + r) - f1) > 0.01:
            odd.append((row.label, f"{2 * p * r / (p + r):.2f}"))
    assert odd == [("×64 /w inds + prev. reps", "38.53")]
    assert any("38.53" in note for note in table.notes)


def counts_of_the_reader_study() -> dict[str, dict[str, str]]:
    table = leaderboards.build("reader-study", columns="full")
    keys = [column.key for column in table.columns]
    return {row.label: dict(zip(keys, (c.text for c in row.cells), strict=True)) for row in table.rows()}


def test_counts_of_the_reader_study_add_up_and_its_percentages_are_theirs_but_for_the_last_digit() -> None:
    rows = counts_of_the_reader_study()
    total = rows.pop("All 30 reports")
    for key in ("edits", "none", "minor", "significant"):
        assert sum(int(row[key]) for row in rows.values()) == int(total[key])
    for row in rows.values():
        sentences = round(10 * float(row["sentences"]))
        assert 0 <= 100 * int(row["edits"]) / sentences - float(row["edits_pct"]) + 0.05 < 0.15
        for key in ("none", "minor", "significant"):
            assert 0 <= 100 * int(row[key]) / int(row["edits"]) - float(row[f"{key}_pct"]) + 0.05 < 0.15


def fisher(a: int, b: int, c: int, d: int) -> float:
    """Two-sided p of Fisher's exact test, by the sum over all tables with the same margins."""
    n, row, column = a + b + c + d, a + b, a + c
    p = {x: math.comb(row, x) * math.comb(n - row, column - x) / math.comb(n, column) for x in range(column + 1)}
    return sum(one for one in p.values() if one <= p[a] * (1 + 1e-9))


def test_what_the_notes_of_the_reader_study_work_out() -> None:
    rows = counts_of_the_reader_study()
    notes = " ".join(leaderboards.build("reader-study").notes)
    categories = sum(
        int(rows["All 30 reports"][k]) for k in ("omission", "misclassification", "overspecific", "location", "other")
    )
    assert (categories, f"{categories / 132:.2f}") == (198, "1.50")
    by_model = sum(
        float(r["categories"][:4]) * int(r["edits"]) for label, r in rows.items() if not label.startswith("All")
    )
    assert (f"{by_model:.0f}", f"{by_model / 132:.2f}") == ("193", "1.46")
    ours, others = 45 / 59, 87 / 106
    assert (f"{others:.1%}", f"{100 * (others - ours):.1f}", f"{1 - ours / others:.0%}") == ("82.1%", "5.8", "7%")
    for p in (fisher(3, 42, 13, 74), fisher(45, 14, 87, 19)):
        assert f"p = {p:.2f}" in notes


# ------------------------------------------------------------------ runs


def score(value: float | None, signature: str = "s", **more: Any) -> dict[str, Any]:
    ends = {} if value is None else {"ci_low": value - 0.01, "ci_high": value + 0.02}
    return {"value": value, "n": 100, "n_undefined": 0, "n_failed": 0, "signature": signature, **ends, **more}


def write_run(
    folder: Path,
    scores: dict[str, Any],
    *,
    label: str = "mine",
    system: str = "sae-rad",
    facts: dict[str, float] | None = None,
    config: dict[str, Any] | None = None,
    **summary: Any,
) -> Path:
    """Write a finished run folder as the harness does."""
    folder.mkdir(parents=True)
    about = {"label": label, "system": system, "dataset": "demo", "split": "test", "n_cases": 100}
    files = {
        "run.json": {**about, "config": config or {}, "created": "2026-11-23T00:00:00+00:00"},
        "facts.json": facts or {},
        "summary.json": {
            **about,
            "fingerprint": "f",
            "n_groups": 64,
            "n_reports_failed": 0,
            "scores": scores,
            **summary,
        },
        "done.json": {},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def measured(table: Table) -> list[Row]:
    return [row for row in table.rows() if row.origin == "measured"]


def cell(table: Table, label: str, key: str) -> Cell:
    (row,) = (row for row in table.rows() if row.label == label)
    return row.cells[[column.key for column in table.columns].index(key)]


def test_a_run_becomes_a_row_that_says_it_is_measured(tmp_path: Path) -> None:
    scores = {"BL4": score(0.0312), "Ma-14": score(0.5), "RG-L": score(None, reason="no luck", remedy="try again")}
    write_run(tmp_path / "deep" / "er" / "mine", scores, stand_ins=["encoder pixels (rad-dino)"])
    table = leaderboards.build("table1", tmp_path)
    (row,) = measured(table)
    assert row.origin_text == "measured: demo test, n=100"
    assert (row.source, row.stand_ins) == ("deep/er/mine", ("encoder pixels (rad-dino)",))
    assert table.groups[-1].heading == "Measured: demo test, 100 cases of 64 patients"
    shown = cell(table, "mine", "BL4")
    assert (shown.text, shown.low, shown.high, shown.signature, shown.n) == ("3.1", "2.1", "5.1", "s", 100)
    assert (shown.value, shown.ends) == (pytest.approx(3.12), pytest.approx((2.12, 5.12)))
    assert cell(table, "mine", "Ma-14").text == "50.0"
    assert cell(table, "mine", "RG-L").text == "–"
    assert "– RG-L of mine: no luck. Remedy: try again." in table.notes
    assert any(note.startswith("– RadFact, MTR, RGER, Ma-5, Mi-5, Mi-14 of mine: not among") for note in table.notes)
    assert "Embedded stand-ins in mine: encoder pixels (rad-dino)." in table.notes
    assert "Signature of BL4, Ma-14: s" in table.notes


def test_published_rows_can_be_left_out(tmp_path: Path) -> None:
    write_run(tmp_path / "mine", {"BL4": score(0.1)})
    table = leaderboards.build("table1", tmp_path, published=False)
    assert [row.label for row in table.rows()] == ["mine"]
    assert not any("MAIRA-1" in note for note in table.notes)
    for name in ("table2", "table3", "today"):  # what is said of published rows stands with these alone
        told, alone = (leaderboards.build(name, tmp_path, published=published).notes for published in (True, False))
        assert (set(told) & set(definition(name).published_notes)) == set(definition(name).published_notes) != set()
        assert not set(alone) & set(definition(name).published_notes)


def test_stand_ins_are_told_once_for_all_rows_that_share_them(tmp_path: Path) -> None:
    write_run(tmp_path / "a", {"BL4": score(0.1)}, label="a", stand_ins=["dataset demo", "encoder pixels"])
    write_run(tmp_path / "b", {"BL4": score(0.1)}, label="b", stand_ins=["dataset demo"])
    told = [note for note in leaderboards.build("table1", tmp_path).notes if note.startswith("Embedded")]
    assert told == [
        "Embedded stand-ins in all measured rows: dataset demo.",
        "Embedded stand-ins in a: encoder pixels.",
    ]


def test_only_four_files_of_a_run_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_run(tmp_path / "mine", {"BL4": score(0.1)})
    (folder / "reports.jsonl").write_text("text of patients")
    read: set[str] = set()
    original = Path.read_text

    def spy(self: Path, *args: Any, **kwargs: Any) -> str:
        read.add(self.name)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", spy)
    runs.find(tmp_path)
    assert read == {"run.json", "summary.json", "facts.json"}


def best(tmp_path: Path, key: str = "BL4", name: str = "table1") -> list[str]:
    table = leaderboards.build(name, tmp_path)
    return [row.label for row in measured(table) if cell(table, row.label, key).bold]


def test_the_best_of_runs_on_the_same_cases_is_bold(tmp_path: Path) -> None:
    for label, value in [("a", 0.10), ("b", 0.30), ("c", 0.20)]:
        write_run(tmp_path / label, {"BL4": score(value)}, label=label)
    assert best(tmp_path) == ["b"]


def test_ties_as_printed_are_all_bold(tmp_path: Path) -> None:
    for label, value in [("a", 0.30004), ("b", 0.29996), ("c", 0.20)]:
        write_run(tmp_path / label, {"BL4": score(value)}, label=label)
    assert best(tmp_path) == ["a", "b"]


@pytest.mark.parametrize(
    "other",
    [
        {"split": "test-novel"},
        {"dataset": "iu-xray"},
        {"n_cases": 99},
        {"n_groups": 63},
        {"cases_digest": "other"},
        {"dataset_fingerprint": "other"},
    ],
)
def test_runs_on_other_cases_are_not_compared(tmp_path: Path, other: dict[str, Any]) -> None:
    write_run(tmp_path / "a", {"BL4": score(0.1)}, label="a")
    write_run(tmp_path / "b", {"BL4": score(0.2)}, label="b", **other)
    table = leaderboards.build("table1", tmp_path, published=False)
    assert best(tmp_path) == []
    assert len({group.heading for group in table.groups}) == len(table.groups) == 2


def test_scores_of_different_signatures_are_not_compared(tmp_path: Path) -> None:
    for label, value, signature in [("a", 0.1, "old"), ("b", 0.2, "old"), ("c", 0.9, "new")]:
        write_run(tmp_path / label, {"BL4": score(value, signature), "MTR": score(value)}, label=label)
    assert best(tmp_path) == ["b"]
    assert best(tmp_path, "MTR") == ["c"]
    table = leaderboards.build("table1", tmp_path)
    assert [cell(table, label, "BL4").flags for label in "abc"] == ["¹", "¹", "²"]
    assert [cell(table, label, "MTR").flags for label in "abc"] == ["", "", ""]
    at = table.notes.index(
        "Raised numbers are recipes: numbers of a column are compared only where theirs is the same."
    )
    assert table.notes[at + 1 :] == ("¹ BL4 of a, BL4 of b: old", "² BL4 of c: new")
    assert "Signature of MTR: s" in table.notes


def test_a_recipe_of_several_columns_has_one_number(tmp_path: Path) -> None:
    for label, signature in [("a", "x"), ("b", "y")]:
        scores = {key: score(0.1, signature) for key in ("Ma-5", "Mi-5")}
        write_run(tmp_path / label, {**scores, "BL4": score(0.2, f"{label}-bleu")}, label=label)
    table = leaderboards.build("table1", tmp_path)
    numbers = {(label, key): cell(table, label, key).footnote for label in "ab" for key in ("BL4", "Ma-5", "Mi-5")}
    assert numbers == {
        ("a", "BL4"): 1, ("a", "Ma-5"): 2, ("a", "Mi-5"): 2, ("b", "BL4"): 3, ("b", "Ma-5"): 4, ("b", "Mi-5"): 4
    }  # fmt: skip
    assert "⁴ Ma-5 of b, Mi-5 of b: y" in table.notes
    assert "20.0¹ [19.0, 22.0]" in leaderboards.render(table, "md")
    assert r"20.0\textsuperscript{1}" in leaderboards.render(table, "tex")
    assert ("sup", "1") in read_page(table).texts


@pytest.mark.parametrize("fmt", ["md", "tex", "html", "csv", "csv-long"])
def test_cases_and_failures_stand_in_every_format(tmp_path: Path, fmt: str) -> None:
    scores = {"BL4": score(0.1), "RadFact": score(0.2, n=95, n_failed=4)}
    write_run(tmp_path / "a", scores, n_cases=1234, n_reports_failed=2, n_missing_as_empty=1)
    text = leaderboards.render(leaderboards.build("table1", tmp_path), fmt)
    if fmt == "csv":
        (row,) = (row for row in csv.DictReader(io.StringIO(text)) if row["model"] == "mine")
        assert (row["n"], row["n_empty"], row["RadFact_n"], row["RadFact_failed"]) == ("1234", "3", "95", "4")
    elif fmt == "csv-long":
        rows = {row["column"]: row for row in csv.DictReader(io.StringIO(text)) if row["model"] == "mine"}
        assert (rows["RadFact"]["n_cases"], rows["RadFact"]["n_empty"]) == ("1234", "3")
        assert (rows["RadFact"]["n"], rows["RadFact"]["n_failed"]) == ("95", "4")
    else:
        assert "1,234 (3 failed)" in text
        assert "n=95" in text


def test_rows_of_different_images_in_one_group_are_not_compared_and_a_note_says_so() -> None:
    raw = raw_definition()
    raw["columns"][0]["better"] = "higher"
    row = raw["groups"][0]["rows"][0]
    raw["groups"][0]["rows"] = [
        {**row, "label": label, "population": population, "values": {"k": value}}
        for label, population, value in [("a", "p", "1"), ("b", "p", "2"), ("c", "q", "3")]
    ]
    Path("own.yaml").write_text(yaml.safe_dump(raw))
    table = leaderboards.build("own.yaml")
    assert [row.cells[0].bold for row in table.rows()] == [False, True, False]
    assert "Rows of “g” are of different images and compared only within a set: a, b; c." in table.notes


def test_where_there_are_groups_a_note_says_that_nothing_is_compared_across_them() -> None:
    said = "nothing is compared across groups"
    for name in PRINTED:
        table = leaderboards.build(name)
        told = len(table.groups) > 1 and definition(name).bold
        assert any(said in note.lower() for note in table.notes) == told, name


def test_a_table_without_bold_says_nothing_of_what_is_compared() -> None:
    assert not any("compared" in note for note in leaderboards.build("table4").notes)


def test_scores_without_a_signature_are_not_compared_and_a_note_says_so(tmp_path: Path) -> None:
    for label, value in [("a", 0.1), ("b", 0.2)]:
        write_run(tmp_path / label, {"BL4": score(value, ""), "MTR": score(value)}, label=label)
    assert (best(tmp_path), best(tmp_path, "MTR")) == ([], ["b"])
    said = "Signature of BL4: none is recorded, so that nothing is compared"
    assert said in leaderboards.build("table1", tmp_path).notes


def test_published_and_measured_rows_are_never_one_group(tmp_path: Path) -> None:
    write_run(tmp_path / "a", {"BL4": score(0.9)}, dataset="MIMIC-CXR", n_cases=3403)
    table = leaderboards.build("table1", tmp_path)
    assert cell(table, "CheXagent", "BL4").bold
    assert not cell(table, "mine", "BL4").bold
    assert all(len({row.origin for row in group.rows}) == 1 for group in table.groups)


def test_runs_of_one_label_are_told_apart_by_folder(tmp_path: Path) -> None:
    write_run(tmp_path / "x" / "mine", {"BL4": score(0.1)})
    write_run(tmp_path / "y" / "mine", {"BL4": score(0.2)})
    write_run(tmp_path / "z" / "mine", {"BL4": score(0.2)}, split="test-novel", n_reports_failed=3)
    table = leaderboards.build("table1", tmp_path)
    assert [row.label for row in measured(table)] == ["mine (x/mine)", "mine (y/mine)", "mine"]
    assert "mine: 3 of 100 reports failed, scored as empty." in table.notes


def test_failures_stand_below_the_table(tmp_path: Path) -> None:
    write_run(tmp_path / "a", {"BL4": score(0.1, n_failed=4)}, n_reports_failed=2, n_missing_as_empty=1, n_problems=7)
    notes = leaderboards.build("table1", tmp_path).notes
    assert "BL4 of mine: 4 of 100 cases have no verdict and are left out." in notes
    assert "mine: 2 of 100 reports failed, scored as empty." in notes
    assert "mine: 1 of 100 candidates were missing, scored as empty." in notes
    assert "mine: 7 entries of the data, or parts of the system, were left out or faulty (problems.jsonl)." in notes


def test_intervals_say_how_they_were_made(tmp_path: Path) -> None:
    ways = {"bootstrap": 1000, "confidence": 0.95, "cluster": "group"}
    write_run(tmp_path / "a", {"BL4": score(0.1)}, run=ways)
    notes = leaderboards.build("table1", tmp_path).notes
    assert "Intervals [low, high] are 95% confidence intervals, from 1,000 bootstrap resamples of patients." in notes


def test_variants_are_columns_of_the_full_table_only(tmp_path: Path) -> None:
    extra = score(0.5, heading="Words", scale=1.0, decimals=2, higher_is_better=False)
    write_run(tmp_path / "a", {"Ma-14": score(0.3), "neg/Ma-14": score(0.25), "hf/words": extra}, label="a")
    write_run(tmp_path / "b", {"neg/Ma-14": score(0.35), "hf/words": {**extra, "value": 0.25}}, label="b")
    assert "neg/Ma-14" not in [column.key for column in leaderboards.build("table1", tmp_path).columns]
    table = leaderboards.build("table1", tmp_path, "full")
    assert [column.key for column in table.columns][-2:] == ["hf/words", "neg/Ma-14"]
    assert (cell(table, "a", "neg/Ma-14").text, cell(table, "b", "neg/Ma-14").bold) == ("25.0", True)
    assert (cell(table, "a", "hf/words").text, cell(table, "b", "hf/words").bold) == ("0.50", True)


def test_table_2_takes_radfact_of_sae_rad_runs(tmp_path: Path) -> None:
    radfact = {"RadFact-P": score(0.3595), "RadFact-R": score(0.31954), "RadFact": score(0.33833)}
    write_run(tmp_path / "a", {**radfact, "x/RadFact": score(0.4), "x/BL4": score(0.1)}, label="x64")
    write_run(tmp_path / "b", radfact, label="other", system="chexagent")
    table = leaderboards.build("table2", tmp_path)
    assert [[c.text for c in row.cells] for row in measured(table)] == [["35.95", "31.95", "33.83"]]
    assert "Finished runs with nothing to show here: other." in table.notes
    assert [c.key for c in leaderboards.build("table2", tmp_path, "full").columns][3:] == ["x/RadFact"]


FACTS = {"L0": 13.64, "explained_variance": 0.84329, "sparsity": 0.008, "expansion": 64.0, "steps": 200_000.0}


def test_tables_3_and_5_take_the_facts_of_sae_rad_runs(tmp_path: Path) -> None:
    write_run(tmp_path / "a", {}, label="a", facts=FACTS)
    write_run(tmp_path / "b", {}, label="b", facts={**FACTS, "L0": 15.7, "explained_variance": 0.813})
    third, fifth = leaderboards.build("table3", tmp_path), leaderboards.build("table5", tmp_path)
    assert [c.text for c in measured(third)[0].cells] == ["8e-3", "13.6", "84.3"]
    assert [c.text for c in measured(fifth)[0].cells] == ["64", "8e-3", "13.6", "84.3"]
    assert (best(tmp_path, "L0", "table3"), best(tmp_path, "explained_variance", "table3")) == (["a"], ["a"])
    assert best(tmp_path, "L0", "table5") == []  # the paper bolds nothing there


def test_features_and_dead_ones_are_shown_in_full(tmp_path: Path) -> None:
    write_run(tmp_path / "a", {}, label="a", facts={**FACTS, "features": 49_152.0, "dead_features": 0.0})
    for name in ("table3", "table5"):
        table = leaderboards.build(name, tmp_path, "full")
        assert (cell(table, "a", "features").text, cell(table, "a", "dead_features").text) == ("49,152", "0")


def test_rows_of_a_sweep_stand_in_the_order_of_the_published_ones(tmp_path: Path) -> None:
    for label in ("x32-dense", "x64-inds", "x128", "x100", "x64", "x9", "x32", "X1"):
        write_run(tmp_path / label, {"RadFact": score(0.3)}, label=label, facts=FACTS)
    order = ["x128", "x64", "x32", "x32-dense", "x64-inds", "X1", "x9", "x100"]
    for name in ("table2", "table5"):
        assert [row.label for row in measured(leaderboards.build(name, tmp_path))] == order


CONTROLS = ("no-features", "other-image", "untrained-sae", "neurons", "untrained-encoder")


def test_controls_stand_below_sae_rad_and_nothing_else_does(tmp_path: Path) -> None:
    for name in [*CONTROLS, "", "constant"]:
        system = name if name == "constant" else "-".join(filter(None, ("sae-rad", name)))
        for label in {name, system} - {""}:  # as the sweep labels them, and as bench run --system does
            write_run(tmp_path / label, {"RadFact": score(0.3), "mine": score(0.2)}, label=label, system=system)
    table = leaderboards.build("controls", tmp_path)
    both = [label for name in CONTROLS for label in (name, f"sae-rad-{name}")]
    assert [row.label for row in table.rows()] == ["sae-rad", *both]
    assert [column.key for column in table.columns] == [column.key for column in leaderboards.build("table1").columns]
    assert [row.label for row in measured(leaderboards.build("table2", tmp_path))] == ["sae-rad"]


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_leaderboard_without_any_row_is_rendered(fmt: str, tmp_path: Path) -> None:
    table = leaderboards.build("controls", tmp_path)
    text = leaderboards.render(table, fmt)
    assert "RadFact" in text or fmt == "csv-long"
    assert f"No run below {tmp_path}: there is nothing to show." in table.notes
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(Drawing(table))
    assert "there is nothing to show" in " ".join(console.export_text().split())


def test_facts_of_different_encoders_are_not_compared(tmp_path: Path) -> None:
    for label, encoder, l0 in [("a", "pixels", 1.0), ("b", "rad-dino", 2.0)]:
        config = {"systems": {label: {"use": "sae-rad", "encoder": encoder}}}
        write_run(tmp_path / label, {}, label=label, facts={**FACTS, "L0": l0}, config=config)
    assert best(tmp_path, "L0", "table3") == []
    table = leaderboards.build("table3", tmp_path)
    assert [cell(table, label, "L0").flags for label in "ab"] == ["¹", "²"]
    assert cell(table, "a", "sparsity").flags == ""  # neither is better
    assert "² L0 of b, Explained variance (%) of b: encoder rad-dino" in table.notes


def test_facts_are_compared_whatever_the_metrics_but_not_over_other_training_images(tmp_path: Path) -> None:
    for label, l0, n_train, stand_ins in [
        ("a", 3.0, 800, ["metric radfact (rules)"]),
        ("b", 2.0, 800, []),
        ("c", 1.0, 9, []),
    ]:
        facts = {**FACTS, "L0": l0, "n_train": n_train}
        write_run(tmp_path / label, {}, label=label, facts=facts, stand_ins=stand_ins)
    assert best(tmp_path, "L0", "table3") == ["b"]
    notes = leaderboards.build("table3", tmp_path).notes
    assert any(note.startswith("² L0 of c") and note.endswith("9 training images") for note in notes)


def test_options_fill_in_what_facts_do_not_say(tmp_path: Path) -> None:
    sae = {"expansion": 32, "sparsity": 0.00563, "steps": 3000}
    config = {"dataset": {"unit": "image"}, "systems": {"mine": {"use": "sae-rad", "sae": sae}}}
    write_run(tmp_path / "a", {}, facts={"L0": 31.84, "explained_variance": 0.8471}, config=config)
    table = leaderboards.build("table5", tmp_path)
    assert [c.text for c in measured(table)[0].cells] == ["32", "5.63e-3", "31.8", "84.7"]
    assert not any("unit image" in note for note in table.notes)  # nothing of the table is of cases
    assert "demo test, n=100: unit image." in leaderboards.build("table1", tmp_path).notes


def test_an_option_alone_fills_a_column(tmp_path: Path) -> None:
    column = {"key": "lr", "heading": "Rate", "option": "sae.lr", "style": "power"}
    Path("own.yaml").write_text(yaml.safe_dump({"title": "t", "columns": [column], "runs": {"extra_scores": "all"}}))
    config = {"systems": {label: {"sae": {"lr": 0.001} if label == "a" else {}} for label in "ab"}}
    for label in "ab":
        write_run(tmp_path / label, {}, label=label, config=config)
    table = leaderboards.build("own.yaml", tmp_path)
    assert (cell(table, "a", "lr").text, cell(table, "b", "lr").text) == ("1e-3", "–")
    assert "– Rate of b: the run's options have no sae.lr." in table.notes


def test_table_4_shows_what_facts_have_and_says_what_runs_do_not_measure(tmp_path: Path) -> None:
    write_run(tmp_path / "a", {}, facts={"n_train": 239931.0, "n_parameters": 75_596_544.0})
    write_run(tmp_path / "b", {}, label="nn", facts={"n_train": 800.0})
    table = leaderboards.build("table4", tmp_path)
    assert [[c.text for c in row.cells] for row in measured(table)] == [
        ["239,931", "76M", "–", "–", "–", "–"],
        ["800", "–", "–", "–", "–", "–"],
    ]
    assert "– Active training parameters of nn: the run's facts.json does not have it." in table.notes
    assert "– Training TFLOPs (est.) of all measured rows: the run's facts.json does not have it." in table.notes


# ------------------------------------------------------------------ runs that give no row


def test_an_unfinished_run_is_named(tmp_path: Path) -> None:
    (write_run(tmp_path / "out" / "mine", {"BL4": score(0.1)}) / "done.json").unlink()
    table = leaderboards.build("table1", tmp_path)
    assert measured(table) == []
    assert any(note.startswith("Skipped out/mine: not finished (no done.json)") for note in table.notes)


def test_a_folder_above_runs_is_no_unfinished_run(tmp_path: Path) -> None:
    write_run(tmp_path / "out" / "mine", {"BL4": score(0.1)})
    (tmp_path / "out" / "run.json").write_text("{}")
    assert runs.find(tmp_path)[1] == []


def test_a_run_reached_twice_by_links_counts_once(tmp_path: Path) -> None:
    elsewhere = write_run(tmp_path / "elsewhere" / "mine", {"BL4": score(0.1)})
    root = tmp_path / "runs"
    root.mkdir()
    (root / "a").symlink_to(elsewhere)
    (root / "b").symlink_to(elsewhere)
    (root / "loop").symlink_to(root)
    assert [run.folder for run in runs.find(root)[0]] == ["a"]


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("summary.json", '{"system": ', "not valid JSON"),
        ("summary.json", '{"system": "x"}', "dataset: Field required"),
        ("summary.json", "[]", "a JSON object was expected"),
        ("facts.json", '{"L0": "many"}', "L0: "),
        ("facts.json", '{"L0": NaN}', "L0: Input should be a finite number"),
        ("run.json", "", "not valid JSON"),
        ("summary.json", None, "no such file"),
    ],
)
def test_a_broken_file_is_named_and_the_other_runs_are_shown(
    tmp_path: Path, file: str, content: str | None, why: str
) -> None:
    write_run(tmp_path / "good", {"BL4": score(0.1)}, label="good")
    broken = write_run(tmp_path / "bad", {"BL4": score(0.9)}, label="bad") / file
    broken.unlink() if content is None else broken.write_text(content)
    table = leaderboards.build("table1", tmp_path)
    assert [row.label for row in measured(table)] == ["good"]
    (note,) = (note for note in table.notes if note.startswith("Skipped bad: "))
    assert str(broken) in note
    assert why in note


def test_a_score_that_is_no_number_names_its_key(tmp_path: Path) -> None:
    write_run(tmp_path / "a", {"BL4": {"value": "high"}})
    (skipped,) = runs.find(tmp_path)[1]
    assert "scores.BL4.value: Input should be a valid number" in skipped.why


def test_a_folder_without_runs_is_said_to_be_so(tmp_path: Path) -> None:
    assert f"No run below {tmp_path}: only published rows are shown." in leaderboards.build("table1", tmp_path).notes


# ------------------------------------------------------------------ numbers and definitions


@pytest.mark.parametrize(
    ("style", "value", "text"),
    [
        ("count", 239931.0, "239,931"),
        ("count", 1.5, "1.5"),
        ("compact", 75_596_544.0, "76M"),
        ("compact", 999_999.0, "1M"),
        ("compact", 8e9, "8B"),
        ("compact", 1234.0, "1.2K"),
        ("compact", 999.0, "999"),
        ("power", 0.008, "8e-3"),
        ("power", 0.00375, "3.75e-3"),
        ("power", 0.0, "0"),
        ("number", 0.84329, "0.8"),
    ],
)
def test_numbers_as_shown(style: str, value: float, text: str) -> None:
    column = ColumnSpec.model_validate({"key": "k", "heading": "k", "fact": "k", "style": style, "decimals": 1})
    assert numbers.format_value(column, value) == text


@pytest.mark.parametrize(
    ("text", "parts"), [("5.3e-3", ("5.3", "-3")), ("8e+2", ("8", "2")), ("0.1", None), ("NA", None)]
)
def test_powers_of_ten_are_taken_apart(text: str, parts: tuple[str, str] | None) -> None:
    assert numbers.split_power(text) == parts


def raw_definition() -> dict[str, Any]:
    row = {"label": "a", "source": "s", "population": "p", "values": {"k": "1"}}
    return {
        "name": "t",
        "title": "T",
        "columns": [{"key": "k", "heading": "k"}],
        "groups": [{"heading": "g", "rows": [row]}],
    }


def test_a_value_without_a_column_is_refused() -> None:
    raw = raw_definition()
    raw["groups"][0]["rows"][0]["values"] = {"j": "1"}
    with pytest.raises(ValidationError, match="no column j"):
        Definition.model_validate(raw)


def test_an_empty_value_is_refused() -> None:
    raw = raw_definition()
    raw["groups"][0]["rows"][0]["values"] = {"k": " "}
    with pytest.raises(ValidationError, match="empty: k"):
        Definition.model_validate(raw)


def test_published_numbers_are_text_in_the_data_files() -> None:
    """A YAML number would lose the decimals printed: 30.0 is not 30."""
    folder = Path(str(leaderboards.__file__)).parent / "data"
    for file in sorted(folder.glob("*.yaml")):
        raw = yaml.safe_load(file.read_text())
        values = [v for group in raw.get("groups", ()) for row in group["rows"] for v in row["values"].values()]
        assert bool(values) == (file.stem != "controls")
        assert all(isinstance(value, str) for value in values)
        assert raw["name"] == file.stem


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("xy")), min_size=1, max_size=6), st.booleans())
def test_bold_is_the_extreme_of_each_signature(values: list[tuple[int, str]], higher: bool) -> None:
    column = ColumnSpec(key="k", heading="k", score="k", better="higher" if higher else "lower")
    cells = [Cell(f"{value / 10:.1f}", signature=signature) for value, signature in values]
    rows = tuple(Row(str(i), "measured", str(i), "", "d", "s", 1, (c,)) for i, c in enumerate(cells))
    marked = mark_best(Group("g", rows), [column])
    for row, (value, signature) in zip(marked.rows, values, strict=True):
        rivals = [v for v, s in values if s == signature]
        extreme = max(rivals) if higher else min(rivals)
        assert row.cells[0].bold == (len(rivals) > 1 and value == extreme)


# ------------------------------------------------------------------ formats

NASTY = r"a<b>&_%#$ {x} \ ^~ [1] | *x* `q` -- é 漢 <script>alert('1')</script>"


@pytest.fixture
def nasty(tmp_path: Path) -> Table:
    reason = {"reason": f"why {NASTY}\nline two", "remedy": f"do {NASTY}"}
    write_run(tmp_path / "a", {"BL4": score(0.1, f"sig {NASTY}"), "MTR": score(None, **reason)}, label=NASTY)
    write_run(tmp_path / "b", {"BL4": score(0.2), "MTR": score(0.2)}, label="[b]", split=NASTY, stand_ins=[NASTY])
    return leaderboards.build("table1", tmp_path)


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("name", KNOWN)
def test_the_same_table_is_the_same_text(fmt: str, name: str, tmp_path: Path) -> None:
    write_run(
        tmp_path / "b" / "x", {"BL4": score(0.2), "RadFact": score(0.3)}, label="x", facts={**FACTS, "n_train": 1.0}
    )
    write_run(tmp_path / "a" / "y", {"BL4": score(0.1), "RadFact": score(0.4)}, label="y", facts=FACTS)
    first, again = (leaderboards.render(leaderboards.build(name, tmp_path), fmt) for _ in range(2))
    assert first == again
    assert first.endswith("\n")


def test_an_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(BenchError, match="Did you mean html"):
        leaderboards.render(leaderboards.build("table1"), "htm")


def parsed(table: Table) -> list[dict[str, str]]:
    text = leaderboards.render(table, "csv")
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert all(None not in row and None not in row.values() for row in rows)
    return rows


def test_csv_comes_back_through_the_csv_module(nasty: Table) -> None:
    rows = parsed(nasty)
    assert [row["model"] for row in rows] == [row.label for row in nasty.rows()]
    for read, row in zip(rows, nasty.rows(), strict=True):
        for column, c in zip(nasty.columns, row.cells, strict=True):
            shown = (c.text if c.present else "", c.low, c.high, c.signature, c.mark)
            ends = ("", "_low", "_high", "_signature", "_mark")
            assert tuple(read[column.key + end] for end in ends) == shown


def test_csv_keeps_interval_origin_and_reason_apart(tmp_path: Path) -> None:
    write_run(tmp_path / "a", {"BL4": score(0.1), "MTR": score(None, reason="no luck", remedy="try again")})
    row = parsed(leaderboards.build("table1", tmp_path))[-1]
    assert (row["BL4"], row["BL4_low"], row["BL4_high"]) == ("10.0", "9.0", "12.0")
    assert (row["origin"], row["dataset"], row["split"], row["n"]) == ("measured", "demo", "test", "100")
    assert "MTR: no luck (try again)" in row["remarks"]


def markdown_cells(line: str) -> list[str]:
    """Split a line of a GitHub table at bars that are not escaped."""
    return [part.strip() for part in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_markdown_is_one_aligned_table(nasty: Table) -> None:
    lines = [line for line in leaderboards.render(nasty, "md").splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(nasty.groups) + len(list(nasty.rows()))
    assert {len(markdown_cells(line)) for line in lines} == {len(nasty.columns) + 2}
    aligned = [line for line in lines if not line.startswith("| *")]  # headings of groups widen no column
    assert len({sum(2 if char == "漢" else 1 for char in line) for line in aligned}) == 1
    assert "**3.7**" in leaderboards.render(leaderboards.build("table1"), "md")
    assert any("20.0 [19.0, 22.0]" in line for line in lines)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("sae-rad", "sae-rad"),
        ("a_b", "a_b"),
        ("_a_", r"\_a\_"),
        ("a|b", r"a\|b"),
        ("<b>", r"\<b>"),
        ("1 < 2", "1 < 2"),
        ("&lt;", r"\&lt;"),
        ("AT&T", "AT&T"),
        ("[a](b)", r"[a]\(b)"),
        ("pip install 'x[sae]'", "pip install 'x[sae]'"),
        ("# no heading", r"\# no heading"),
        ("1. no list", r"1\. no list"),
        ("- no list", r"\- no list"),
        ("two\nlines", "two lines"),
        ("a\\|b", r"a\\\|b"),
    ],
)
def test_markdown_shows_texts_as_they_are(text: str, escaped: str) -> None:
    assert markdown.escape_cell(text) == escaped


def rendered(text: str) -> str:
    """Return what a Markdown reader sees of a text: no markup may come of it."""
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    block = reader.parse(text)
    assert [token.type for token in block] == ["paragraph_open", "inline", "paragraph_close"]
    inline = block[1].children or []
    assert {token.type for token in inline} <= {"text", "text_special"}
    return "".join(token.content for token in inline)


@given(st.text(st.sampled_from("ab1 _*`~<>&;#|[]()!\\:-+=.lt/é"), min_size=1).filter(str.strip))
@example(NASTY)
@example("---- ")
def test_a_markdown_reader_sees_the_text_itself(text: str) -> None:
    assert rendered(markdown.escape(text)) == " ".join(text.split())


def test_a_markdown_reader_sees_the_table(nasty: Table) -> None:
    tokens = MarkdownIt("commonmark").enable("table").parse(leaderboards.render(nasty, "md"))
    cells = [t.children or [] for before, t in pairwise(tokens) if before.type in ("th_open", "td_open")]
    texts = ["".join(child.content for child in cell) for cell in cells]
    width = len(nasty.columns) + 2
    assert texts[0::width] == [
        "Model",
        *(text for g in nasty.groups for text in (g.full_heading, *(r.label for r in g.rows))),
    ]
    assert not any(token.type.startswith("html") for token in tokens)


OUTER = {"html", "head", "meta", "title", "style", "body", "main", "h1", "div", "ul", "li"}
ELEMENTS = OUTER | {"table", "thead", "tbody", "tr", "th", "td", "span", "strong", "sup"}


class Page(HTMLParser):
    """Texts by element, and every element and attribute met."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag != "meta":
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.stack[-1], data.strip()))


def read_page(table: Table) -> Page:
    page = Page()
    page.feed(leaderboards.render(table, "html"))
    page.close()
    assert page.stack == []
    return page


def test_html_shows_nasty_texts_as_they_are_and_holds_no_element_of_theirs(nasty: Table) -> None:
    page = read_page(nasty)
    assert ("th", NASTY) in page.texts
    assert any(NASTY in text for tag, text in page.texts if tag == "li")
    assert page.elements <= ELEMENTS


def test_html_needs_nothing_from_elsewhere(nasty: Table) -> None:
    page = read_page(nasty)
    text = leaderboards.render(nasty, "html")
    assert not page.attributes & {"src", "href", "onclick", "onload"}
    assert "url(" not in text
    assert "@import" not in text
    assert "prefers-color-scheme: dark" in text
    assert "overflow-x: auto" in text


def test_html_bolds_and_has_intervals(nasty: Table) -> None:
    page = read_page(nasty)
    assert ("strong", "50.4") in page.texts
    assert ("span", "[19.0, 22.0]") in page.texts
    assert ("sup", "−3") in read_page(leaderboards.build("table3")).texts


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a_b", r"a\_b"),
        ("50 %", r"50 \%"),
        ("R&D #1", r"R\&D \#1"),
        ("$3.25", r"\$3.25"),
        ("{x}", r"\{x\}"),
        ("\\", r"\textbackslash{}"),
        ("×64", r"$\times$64"),
        ("–", "--"),
        ("a--b", "a-{}-b"),
        ("a---b", "a-{}-{}-b"),
        ("[b]", "{[}b{]}"),
        ("*", "{*}"),
        ("é", "é"),
        ("漢", "{[}U+6F22{]}"),
        ("\0", "{[}U+0000{]}"),
        ("a\nb", "a b"),
    ],
)
def test_latex_shows_texts_as_they_are(text: str, escaped: str) -> None:
    assert latex.escape(text) == escaped


def test_latex_rows_have_as_many_cells_as_columns(nasty: Table) -> None:
    text = leaderboards.render(nasty, "tex")
    n = len(nasty.columns) + 2
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert len(rows) == 1 + len(list(nasty.rows())) + 2  # a row of headings, and one of intervals a measured row
    assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {n}
    assert not any(re.match(r"\s*[\[*]", row) for row in rows)  # would be an argument of the \\ before
    for open_, close in [(r"\begin{table}", r"\end{table}"), (r"\begin{tabular}", r"\end{tabular}")]:
        assert text.count(open_) == text.count(close) == 1
    assert r"\multicolumn{3}{c}{NLG Metrics}" in text
    assert r"\cmidrule(lr){3-5}" in text
    assert r"{\scriptsize {[}19.0, 22.0{]}}" in text
    unescaped = re.sub(r"\\[{}]", "", text)
    assert unescaped.count("{") == unescaped.count("}")


def test_latex_writes_powers_of_ten_as_mathematics() -> None:
    assert r"$5.3 \times 10^{-3}$" in leaderboards.render(leaderboards.build("table3"), "tex")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_and_no_table_is_wider_than_the_line(nasty: Table, tmp_path: Path) -> None:
    tables = [*(leaderboards.build(name, columns="full") for name in KNOWN), nasty]
    marked = replace(nasty.groups[-1].rows[0].cells[1], mark="worse", footnote=12)
    row = replace(nasty.groups[-1].rows[0], cells=(marked,) * len(nasty.columns), baseline=True, n_empty=3)
    tables.append(replace(nasty, groups=(Group("marked", (row,)),)))
    packages = r"\usepackage[T1]{fontenc}\usepackage{textcomp}\usepackage{booktabs}\usepackage{graphicx}"
    texts = "\n\\clearpage\n".join(leaderboards.render(table, "tex") for table in tables)
    (tmp_path / "t.tex").write_text(f"\\documentclass{{article}}{packages}\\begin{{document}}{texts}\\end{{document}}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert "Missing character" not in done.stdout


@pytest.mark.parametrize("width", [80, 200])
def test_a_terminal_shows_every_number(nasty: Table, width: int) -> None:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(Drawing(nasty))
    text = console.export_text()
    for row in nasty.rows():
        for c in row.cells:
            assert c.text in text
    assert "Current study (published): MIMIC-CXR test" in " ".join(text.split())
    assert all(row.n_text in text for row in nasty.rows())
    assert max(map(len, text.splitlines())) <= width
    if width == 200:
        assert "[19.0, 22.0]" in text


# ------------------------------------------------------------------ the command


@pytest.fixture
def call(bench: Callable[..., Any]) -> Callable[..., Any]:
    return partial(bench, "leaderboard")


def test_without_a_name_the_known_tables_are_listed(call: Callable[..., Any]) -> None:
    result = call()
    assert result.code == 0
    assert [line.split()[0] for line in result.out.splitlines()] == KNOWN


@pytest.mark.parametrize("name", ["tabel1", "../data/table1", "", "table1.yaml"])
def test_an_unknown_name_is_an_error_that_lists_the_known_ones(name: str, call: Callable[..., Any]) -> None:
    result = call(name)
    assert result.code == 2
    assert ", ".join(KNOWN) in result.err
    assert result.out == ""


def test_a_near_miss_is_named(call: Callable[..., Any]) -> None:
    assert "Did you mean table" in call("tabel1").err


def test_without_runs_the_published_rows_are_shown_and_said_to_be_all(call: Callable[..., Any]) -> None:
    result = call("table1")
    assert result.code == 0
    assert "**50.4**" in result.out
    assert "There is no folder runs here" in result.out


def test_controls_without_runs_say_that_there_is_nothing_to_show(call: Callable[..., Any]) -> None:
    result = call("controls")
    assert result.code == 0
    assert "There is no folder runs here: there is nothing to show." in result.out


def test_runs_of_the_working_folder_are_found(call: Callable[..., Any]) -> None:
    write_run(Path("runs") / "demo-test" / "mine", {"BL4": score(0.1)})
    assert "*Measured: demo test, 100 cases of 64 patients*" in call("table1").out


def test_a_folder_asked_for_must_exist(call: Callable[..., Any]) -> None:
    result = call("table1", "--runs", "nowhere")
    assert result.code == 2
    assert "nowhere: no such folder" in result.err


@pytest.mark.parametrize(
    ("suffix", "start"), [("md", "**Table 1"), ("csv", "group,"), ("tex", "% Needs"), ("html", "<!doc")]
)
def test_out_is_written_in_the_format_of_its_suffix(
    tmp_path: Path, suffix: str, start: str, call: Callable[..., Any]
) -> None:
    file = Path(f"t.{suffix}").absolute()
    result = call("table1", "--out", str(file))
    assert (result.code, result.out) == (0, "")
    assert file.read_text().startswith(start)
    assert list(file.parent.iterdir()) == [file]


def test_the_format_asked_for_wins_over_the_suffix(tmp_path: Path, call: Callable[..., Any]) -> None:
    call("table1", "--out", str(tmp_path / "t.txt"), "--format", "csv")
    assert (tmp_path / "t.txt").read_text().startswith("group,")


@pytest.mark.parametrize(("out", "why"), [("t.docx", "add --format"), ("nowhere/t.md", "there is no folder nowhere")])
def test_out_that_cannot_be_written_is_an_error(out: str, why: str, call: Callable[..., Any]) -> None:
    result = call("table1", "--out", out)
    assert result.code == 2
    assert why in result.err


def test_out_that_is_a_folder_is_an_error(tmp_path: Path, call: Callable[..., Any]) -> None:
    assert call("table1", "--out", str(tmp_path)).code == 2


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[..., Any]
) -> None:
    file = Path("t.md").absolute()
    file.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert call("table1", "--out", str(file)).code == 2
    assert file.read_text() == "old"
    assert list(file.parent.iterdir()) == [file]


def test_csv_on_standard_output_is_csv_alone(tmp_path: Path, call: Callable[..., Any]) -> None:
    (write_run(tmp_path / "mine", {}) / "done.json").unlink()
    result = call("table1", "--format", "csv", "--runs", str(tmp_path))
    assert "Skipped mine" not in result.out
    assert "Skipped mine" in result.err
    assert len(list(csv.reader(io.StringIO(result.out)))) == 6


def test_on_a_terminal_the_table_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = CliRunner()
    with runner.isolation() as (out, _, _):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        leaderboard.main(args=["table3"], standalone_mode=False)
        text = out.getvalue().decode()
    assert "SAE architectures" in text
    assert "|" not in text


def test_the_command_imports_click_and_little_else() -> None:
    code = (
        "import sys, leaderboards.command; "
        "heavy = {'yaml', 'pydantic', 'numpy', 'rich', 'pandas', 'torch', 'leaderboards.tables'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_definitions_are_complete() -> None:
    assert list(leaderboards.names()) == KNOWN
    for name in PAPER:
        assert definition(name).title.startswith(f"Table {name.removeprefix('table')}: ")
        assert replace(leaderboards.build(name), notes=()).notes == ()


# ------------------------------------------------------------------ significance


class ValueOptions(Options):
    recipe: str = "plain"


class Value:
    """Reads its scores from the candidate: "0.5" is Val 0.5 and Cost 5, "fail" no verdict on Cost."""

    Options = ValueOptions
    columns = (Column("Val", "Value"), Column("Cost", "Cost", scale=1.0, higher_is_better=False))

    def __init__(self, options: ValueOptions, context: Any) -> None:
        self.options, self.max_failed = options, 1.0

    def signature(self) -> str:
        return f"value|recipe:{self.options.recipe}"

    def observe(self, pairs: Sequence[Pair]) -> Stats:
        said = [float(pair.candidate.removesuffix(" fail")) for pair in pairs]
        values = np.array([[value, 1, 10 * value, 1] for value in said])
        status = np.full((len(pairs), 2), OK, np.int8)
        failed = [pair.candidate.endswith("fail") for pair in pairs]
        status[failed, 1], values[failed, 2:] = FAILED, 0
        return Stats(values, status)

    def finish(self, totals: np.ndarray) -> np.ndarray:
        return totals[..., 0::2] / totals[..., 1::2]

    def explain(self, pair: Pair) -> list[Any]:
        return []


OWN = """
name: own
title: Own
runs: {extra_scores: none}
columns:
  - {key: Val, heading: Val, score: Val, better: higher}
  - {key: Cost, heading: Cost, score: Cost, better: lower, scale: 1}
"""
BASE = [0.30, 0.32, 0.34, 0.36, 0.38, 0.40, 0.42, 0.44] * 2


@pytest.fixture
def scored(bench: Callable[..., Any]) -> Callable[..., None]:
    """Score values of 16 cases of 8 patients into runs/<label>; beside it, own.yaml defines a table of them."""
    Path("own.yaml").write_text(OWN)

    def call(label: str, values: Sequence[object], *more: str, out: str = "runs", prefix: str = "c") -> None:
        rows = [(f"{prefix}{i}", f"p{i % 8}", value, f"reference {i}") for i, value in enumerate(values)]
        with Path("table.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("id", "group", "candidate", "reference"), *rows])
        metric = f"{Path(__file__)}:Value"
        answer = bench("score", "table.csv", "--metrics", metric, "--out", f"{out}/{label}", "--label", label, *more)
        assert answer.code == 0, answer.err

    return call


def with_marks(baseline: str = "base", trials: int = 2000) -> Table:
    return leaderboards.build("own.yaml", Path("runs"), test=PairedTest(baseline, trials))


def test_marks_are_those_of_the_exact_test_with_holms_correction(scored: Callable[..., None]) -> None:
    """Eight patients: p is the share of all 256 swaps; a gain in each patient has 2/256, one in six of them more."""
    scored("base", BASE)
    scored("up", [value + 0.1 for value in BASE])
    mixed = [value + (0.1 if i % 8 < 6 else -0.1) for i, value in enumerate(BASE)]
    scored("mixed", mixed)
    table = with_marks(trials=20_000)
    gains = [0.2] * 6 + [-0.2] * 2
    every = [abs(sum(g * s for g, s in zip(gains, signs, strict=True))) for signs in product((1, -1), repeat=8)]
    exact = {"up": 2 / 256, "mixed": sum(one >= sum(gains) - 1e-9 for one in every) / 256}
    ordered = [exact["up"], exact["up"], exact["mixed"], exact["mixed"]]  # two columns of each, alike
    holms = {"up": 4 * ordered[0], "mixed": max(4 * ordered[0], 2 * ordered[2])}
    for label, column in product(("up", "mixed"), ("Val", "Cost")):
        shown = cell(table, label, column)
        assert shown.p == pytest.approx(min(1, holms[label]), rel=0.15), (label, column)
        assert shown.mark == ("" if label == "mixed" else {"Val": "better", "Cost": "worse"}[column])
    assert cell(table, "up", "Val").difference == pytest.approx(10)
    assert cell(table, "up", "Cost").difference == pytest.approx(1)
    assert [row.label for row in table.rows() if row.baseline] == ["base"]
    (legend,) = (note for note in table.notes if note.startswith("† significantly worse"))
    for said in ("‡ significantly better than base", "20,000 trials", "p < 0.05", "Holm's", "patient by patient"):
        assert said in legend
    assert "4 comparisons on 16 paired cases of 8 patients" in legend


def test_the_family_is_what_the_table_shows_and_marks_are_the_same_twice(scored: Callable[..., None]) -> None:
    scored("base", BASE)
    scored("up", [value + 0.1 for value in BASE])
    both = cell(with_marks(), "up", "Val")
    assert cell(with_marks(), "up", "Val") == both
    Path("own.yaml").write_text("\n".join(OWN.splitlines()[:-1]))
    alone = cell(with_marks(), "up", "Val")
    assert both.p is not None
    assert alone.p == pytest.approx(both.p / 2)


def test_a_failed_verdict_takes_its_case_out_of_the_pairs(scored: Callable[..., None]) -> None:
    scored("base", BASE)
    scored("up", [f"{BASE[0] + 0.1} fail", *(value + 0.1 for value in BASE[1:])])
    table = with_marks()
    assert any("16 paired cases of 8 patients (Cost 15)" in note for note in table.notes)
    row = next(row for row in table.rows() if row.label == "up")
    assert row.support(row.cells[1]) == "n=15"


def test_runs_that_cannot_be_tested_have_no_mark_and_a_note_says_why(scored: Callable[..., None]) -> None:
    scored("base", BASE)
    scored("up", [value + 0.1 for value in BASE])
    scored("other", [value + 0.2 for value in BASE], "--set", "metrics.Value.recipe=fancy")
    scored("elsewhere", [value + 0.2 for value in BASE], prefix="x")
    table = with_marks()
    assert cell(table, "up", "Val").mark == "better"
    assert (cell(table, "other", "Val").mark, cell(table, "elsewhere", "Val").mark) == ("", "")
    assert "Not tested: Val of other, Cost of other: another recipe than base's." in table.notes
    assert any(note.startswith("No marks in “Measured:") and "no run base on its cases" in note for note in table.notes)


def test_where_no_row_shares_a_recipe_with_the_baseline_a_note_says_so(scored: Callable[..., None]) -> None:
    scored("base", BASE)
    scored("other", [value + 0.2 for value in BASE], "--set", "metrics.Value.recipe=fancy")
    assert any("no other row shares a recipe with it" in note for note in with_marks().notes)


def test_too_few_trials_for_any_mark_are_said_to_be_so(scored: Callable[..., None]) -> None:
    scored("base", BASE)
    scored("up", [value + 0.1 for value in BASE])
    assert any(note.endswith("pass --trials 40 or more.") for note in with_marks(trials=20).notes)
    assert not any("--trials" in note for note in with_marks(trials=40).notes)


def test_too_few_patients_for_any_mark_are_said_to_be_so(scored: Callable[..., None]) -> None:
    """The smallest p of five patients is 2/32; of eight, 2/256, which four comparisons bring to 0.03."""
    for label, gain in (("base", 0), ("up", 0.1), ("down", -0.1)):
        scored(label, [value + gain for value in BASE[:5]])
    assert any("too few for a mark with 5 patients: no p-value can be below 0.062" in n for n in with_marks().notes)
    for label, gain in (("base", 0), ("up", 0.1)):
        scored(label, [value + gain for value in BASE[:1]], out="one")
    alone = leaderboards.build("own.yaml", Path("one"), test=PairedTest("base", 2000))
    assert alone.groups[0].heading.endswith("1 case of 1 patient")
    assert any("too few for a mark with 1 patient: no p-value can be below 1." in note for note in alone.notes)
    for label, gain in (("base", 0), ("up", 0.1), ("down", -0.1)):
        scored(label, [value + gain for value in BASE[:8]], out="more")
    enough = leaderboards.build("own.yaml", Path("more"), test=PairedTest("base", 2000))
    assert not any("too few" in note for note in enough.notes)


def test_a_baseline_alone_and_two_of_one_label(scored: Callable[..., None]) -> None:
    scored("base", BASE)
    assert any("it is the only run on these cases" in note for note in with_marks().notes)
    scored("base", BASE, out="runs/again")
    with pytest.raises(BenchError, match=r"2 runs of .* have this label; name one of them: “base \(again/base\)”"):
        with_marks()
    assert any("significantly" in note for note in with_marks("base (again/base)").notes)


def test_a_baseline_that_cannot_be_one_is_refused(scored: Callable[..., None], call: Callable[..., Any]) -> None:
    scored("base", BASE)
    published = call("table1", "--runs", "runs", "--baseline", "MAIRA-2")
    assert (published.code, published.out) == (2, "")
    assert "a published row" in published.err
    assert "Did you mean base?" in call("own.yaml", "--baseline", "bases").err
    assert "no score of cases" in call("table3", "--baseline", "base").err
    assert "add --baseline" in call("own.yaml", "--trials", "10").err


def test_a_damaged_run_stops_the_test_and_names_the_file(scored: Callable[..., None], call: Callable[..., Any]) -> None:
    scored("base", BASE)
    scored("up", [value + 0.1 for value in BASE])
    (stats,) = Path("runs/up/stats").iterdir()
    stats.write_text("")
    answer = call("own.yaml", "--baseline", "base")
    assert answer.code == 2
    assert str(stats) in answer.err
    assert call("own.yaml").code == 0


def test_a_marked_table_in_long_csv_is_all_a_data_frame_needs(
    scored: Callable[..., None], call: Callable[..., Any]
) -> None:
    scored("base", BASE)
    scored("up", [value + 0.123456 for value in BASE])
    answer = call("own.yaml", "--baseline", "base", "--trials", "2000", "--format", "csv-long")
    rows = {(row["model"], row["column"]): row for row in csv.DictReader(io.StringIO(answer.out))}
    up = rows["up", "Val"]
    assert float(up["value"]) == pytest.approx(100 * (sum(BASE) / 16 + 0.123456))
    assert up["printed"] == f"{float(up['value']):.1f}"
    assert float(up["ci_low"]) < float(up["value"]) < float(up["ci_high"])
    assert (up["mark"], up["baseline"], float(up["difference"])) == ("better", "base", pytest.approx(12.3456))
    assert float(up["p"]) < 0.05
    assert rows["base", "Val"]["mark"] == rows["base", "Val"]["p"] == ""
    assert "† significantly worse" in answer.err


def test_long_csv_has_published_numbers_as_far_as_they_are_numbers() -> None:
    text = leaderboards.render(leaderboards.build("table4"), "csv-long")
    rows = {(row["model"], row["column"]): row for row in csv.DictReader(io.StringIO(text))}
    assert (rows["SAE-Rad", "n_train"]["printed"], rows["SAE-Rad", "n_train"]["value"]) == ("239,931", "239931")
    assert (rows["SAE-Rad", "n_parameters"]["printed"], rows["SAE-Rad", "n_parameters"]["value"]) == ("76M", "")


# ------------------------------------------------------------------ definitions of one's own


def test_a_definition_of_ones_own_extends_a_known_one(call: Callable[..., Any]) -> None:
    row = {"label": "Ours | 1", "source": "our lab", "population": "ten images", "n": 10, "values": {"BL4": "9.9"}}
    own = {
        "title": "Ours",
        "extends": "table1",
        "more_groups": [{"heading": "Us", "rows": [row]}],
        "more_notes": ["N!"],
    }
    Path("mine.yml").write_text(yaml.safe_dump(own))
    table, known = leaderboards.build("mine.yml"), leaderboards.build("table1")
    assert (table.name, table.title, table.columns) == ("mine", "Ours", known.columns)
    assert table.groups[:2] == known.groups
    assert [row.label for row in table.groups[2].rows] == ["Ours | 1"]
    assert {"N!", "Published: Ours | 1: our lab; ten images."} <= set(table.notes)
    assert call("./mine.yml").out.startswith("**Ours**")


def test_the_definitions_that_the_docs_show_work() -> None:
    page = (Path(__file__).parent.parent / "docs" / "leaderboards.md").read_text()
    titles = []
    for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL):
        Path("shown.yaml").write_text(block)
        titles.append(leaderboards.build("shown.yaml").title)
    assert titles == ["Our models beside the paper's", "Word overlap"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "mine.yaml: no such file; known leaderboards: controls, "),
        ("a: [", "mine.yaml: not valid YAML: while parsing a flow node"),
        ("- a", "mine.yaml: a mapping with name, title and columns is required"),
        ("", "mine.yaml: a mapping with"),
        ("title: T", "mine.yaml: columns: is missing"),
        ("{title: T, extends: tabel1}", "mine.yaml: extends: No leaderboard named 'tabel1'. Did you mean table"),
        ("{title: T, extends: ./b.yaml}", "reader-study, table1, table2, table3, table4, table5, today.\n"),
        ("{title: T, columns: [{key: k, heading: h, decimals: 99}]}", "columns.0.decimals: Input should be less than"),
        ("{title: T, extends: 1}", "mine.yaml: extends: the name of a leaderboard is required: controls, "),
        ("{title: T, extends: table1, more_groups: 3}", "mine.yaml: more_groups: a list is required"),
        ("{title: T, extends: table1, more_groups: [{heading: g, rows: [{label: L}]}]}", "groups.2.rows.0 (L).source"),
        ("{title: T, extends: table1, colums: []}", "mine.yaml: colums: no such key"),
        ("{title: T, columns: [{key: k, heading: h}, {key: k, heading: h}]}", "columns: the same key twice: k"),
        ("{title: T, columns: []}", "mine.yaml: columns: one column at least is required"),
    ],
)
def test_a_faulty_definition_is_named_with_its_key(text: str | None, why: str, call: Callable[..., Any]) -> None:
    if text is not None:
        Path("mine.yaml").write_text(text)
    answer = call("mine.yaml")
    assert (answer.code, answer.out) == (2, "")
    assert why in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("raw", [b"\xff\xfe", None])
def test_what_is_no_text_file_is_no_definition(raw: bytes | None, call: Callable[..., Any]) -> None:
    Path("mine.yaml").mkdir() if raw is None else Path("mine.yaml").write_bytes(raw)
    answer = call("mine.yaml")
    assert answer.code == 2
    assert ("is a folder" if raw is None else "not UTF-8 text") in answer.err


def test_a_number_without_quotes_is_refused_since_its_decimals_count(call: Callable[..., Any]) -> None:
    raw = raw_definition()
    raw["groups"][0]["rows"][0]["values"] = {"k": 30.0}
    Path("mine.yaml").write_text(yaml.safe_dump(raw))
    assert "groups.0.rows.0 (a).values.k: text is required; write a number in quotes" in call("mine.yaml").err


# ------------------------------------------------------------------ options of the command


def test_published_rows_and_intervals_can_be_left_out_by_options(tmp_path: Path, call: Callable[..., Any]) -> None:
    write_run(tmp_path / "mine", {"BL4": score(0.1)})
    full = call("table1", "--runs", str(tmp_path)).out
    assert "MAIRA-2" in full
    assert "10.0 [9.0, 12.0]" in full
    bare = call("table1", "--runs", str(tmp_path), "--no-published", "--no-intervals").out
    assert "MAIRA-2" not in bare
    assert "[9.0" not in bare
    assert "Intervals" not in bare
    assert max(len(line) for line in bare.splitlines() if line.startswith("|")) < 130


def test_a_picture_needs_a_file_of_its_suffix(call: Callable[..., Any]) -> None:
    assert "add --out table.png" in call("table1", "--format", "png").err
    answer = call("table1", "--format", "png", "--out", "t.pdf")
    assert answer.code == 2
    assert "ends in its format: t.png" in answer.err


@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_pictures_are_drawn_by_the_figures_module(
    suffix: str, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[str, Path]] = []
    module = ModuleType("leaderboards.figures")
    module.write = lambda table, file: drawn.append((table.name, file))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "leaderboards.figures", module)
    monkeypatch.setattr(leaderboards, "figures", module, raising=False)
    assert call("table1", "--out", f"t.{suffix}").code == 0
    assert drawn == [("table1", Path(f"t.{suffix}"))]


def test_a_table_that_takes_no_runs_says_nothing_of_runs(call: Callable[..., Any]) -> None:
    assert "There is no folder" not in call("reader-study").out
    write_run(Path("runs") / "mine", {"BL4": score(0.1)})
    assert "Finished runs" not in call("reader-study").out
