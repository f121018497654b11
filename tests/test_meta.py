"""``bench meta``: layouts of radiologists' counts, agreement against scipy and pandas, what is refused."""

from __future__ import annotations

import csv
import json
import stat
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sacrebleu
from scipy import stats

from bench.case_values import CaseColumn
from bench.contracts import Column
from bench.errors import BenchError
from bench.meta.agreement import Measured, Settings, Target, measure
from bench.meta.radeval_expert import counts_of
from bench.meta.ratings import Ratings, read_ratings
from bench.meta.rexval import CATEGORIES, COUNTS, REPORTS

Bench = Callable[..., Any]
PLUGINS = Path(__file__).with_name("plugins.py")
SENTENCES = (
    "There is a small left pleural effusion.", "No pneumothorax is seen.", "The heart is mildly enlarged today.",
    "Right lower lobe consolidation is new.", "The lungs are otherwise clear.", "A pacemaker is in place.",
)  # fmt: skip
TYPES = ("radgraph", "bertscore", "s_emb", "bleu")


# ------------------------------------------------------------------ files in the layouts


def rexval_rows(n: int = 10, raters: int = 3) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Synthetic texts and counts in ReXVal's two tables; more is wrong where more sentences are swapped."""
    rng = np.random.default_rng(11)
    reports, counts = [], []
    for study in range(n):
        reference = rng.permutation(SENTENCES)[:4]
        row = {"study_id": 50_000_000 + study, "gt_report": " ".join(reference)}
        for kind in TYPES:
            kept = int(rng.integers(0, 5))
            row[kind] = " ".join([*reference[:kept], *rng.permutation(SENTENCES)[: 5 - kept]])
            for rater, category, significant in product(range(raters), range(1, 7), (True, False)):
                errors = rng.poisson((4 - kept) / (2 * category)) if category < 6 else 0
                counts.append(
                    {
                        "study_number": study, "candidate_type": kind, "rater_index": rater,
                        "error_category": category, "clinically_significant": significant, "num_errors": int(errors),
                    }
                )  # fmt: skip
        reports.append(row)
    return reports, counts


def save(file: str | Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as out:
        table = csv.DictWriter(out, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return path


def rexval(folder: str = "rexval", **options: int) -> Path:
    reports, counts = rexval_rows(**options)
    save(f"{folder}/{REPORTS}", reports)
    save(f"{folder}/{COUNTS}", counts)
    return Path(folder)


LINES = (
    "False prediction of finding", "Omission of finding", "Incorrect location/position of finding",
    "Incorrect severity of finding", "Mention of comparison that is not present in the reference",
    "Omission of a change from a previous study", "Inarticulate report (grammar and readability issues)",
)  # fmt: skip


def annotation(significant: Sequence[Any], insignificant: Sequence[Any] = (0,) * 7) -> str:
    blocks = []
    for header, values in (("**Significant:**", significant), ("Insignificant:", insignificant)):
        lines = [f"{n}. {label}: {value}" for n, (label, value) in enumerate(zip(LINES, values, strict=True), 1)]
        blocks.append("\n".join([header, *lines]))
    return "\n\n".join(blocks)


def expert_row(number: int, errors: Sequence[int], **other: str) -> dict[str, str]:
    row = {
        "annotator": "reader A",
        "type": "findings",
        "ground_truth": f"Reference number {number}.",
        "images_path": f"files/p10/p1000{number:04d}/s1/a.jpg",
    }
    for slot, n in enumerate(errors, 1):
        row |= {f"prediction{slot}": f"Candidate {slot}.", f"annotation{slot}": annotation([n, 0, 0, 0, 0, 0, 1])}
    return {**row, **other}


def own(rows: str, header: str = "reference,candidate,errors") -> Path:
    Path("own.csv").write_text(f"{header}\n{rows}\n")
    return Path("own.csv")


# ------------------------------------------------------------------ ReXVal, against pandas, scipy and sacrebleu


@pytest.fixture(scope="module")
def expected() -> dict[str, pd.Series]:
    """Mean counts by pandas, sentence BLEU by sacrebleu, both by study and candidate."""
    reports, counts = (pd.DataFrame(rows) for rows in rexval_rows())
    keys = ["study_number", "candidate_type"]
    scorer = sacrebleu.BLEU(smooth_method="none")
    bleu = {
        (i, kind): scorer.sentence_score(row[kind], [row["gt_report"]]).score
        for i, row in reports.iterrows()
        for kind in TYPES
    }
    significant = counts[counts.clinically_significant]
    found = {"total": counts, "significant": significant, "omission": counts[counts.error_category == 2]}
    means = {
        name: part.groupby([*keys, "rater_index"]).num_errors.sum().groupby(keys).mean() for name, part in found.items()
    }
    raters = counts.groupby([*keys, "rater_index"]).num_errors.sum().unstack()
    return {**means, "raters": raters, "BL4": pd.Series(bleu).reindex(means["total"].index)}


@pytest.mark.parametrize(("errors", "name"), [((), "total"), (("--errors", "significant"), "significant")])
def test_equals_scipy_on_sacrebleus_sentence_bleu(
    bench: Bench, expected: dict[str, pd.Series], errors: Sequence[str], name: str
) -> None:
    rexval()
    answer = bench("meta", "rexval", "-c", "demo", "--metrics", "bleu-4", "--draws", 200, "--json", *errors)
    assert answer.code == 0, answer.err
    assert "40 candidates of 10 references, 3 raters, read as ReXVal" in answer.err
    found = json.loads(answer.out)
    (one,) = found["agreements"]
    assert (one["errors"], one["column"], one["n"], one["n_groups"]) == (name, "BL4", 40, 10)
    bleu, counts = expected["BL4"], expected[name]
    tau = -stats.kendalltau(bleu.round(9), counts).statistic
    assert one["kendall"]["value"] == pytest.approx(tau, abs=1e-9)
    assert tau > 0.3
    assert one["spearman"]["value"] == pytest.approx(-stats.spearmanr(bleu.round(9), counts).statistic, abs=1e-9)
    somers = stats.somersd(-counts, bleu.round(9)).statistic  # of the metric, given the counts
    assert one["accuracy"]["value"] == pytest.approx((1 + somers) / 2, abs=1e-9)
    assert one["kendall"]["ci_low"] < tau < one["kendall"]["ci_high"]


def test_categories_and_raters_equal_scipys(bench: Bench, expected: dict[str, pd.Series]) -> None:
    rexval()
    answer = bench("meta", "rexval", "-c", "demo", "--metrics", "bleu-4", "--by-category", "--draws", 0, "--json")
    found = json.loads(answer.out)
    assert [one["category"] for one in found["agreements"]] == ["", *CATEGORIES.values()]
    omission = next(one for one in found["agreements"] if one["category"] == CATEGORIES["2"])
    tau = -stats.kendalltau(expected["BL4"].round(9), expected["omission"]).statistic
    assert omission["kendall"] == {"value": pytest.approx(tau, abs=1e-9), "ci_low": None, "ci_high": None}
    raters = expected["raters"]
    each = [stats.kendalltau(raters[r], raters.drop(columns=r).mean(axis=1)).statistic for r in raters]
    assert found["raters"][0]["kendall"]["value"] == pytest.approx(np.mean(each), abs=1e-9)
    assert found["raters"][0]["n_raters"] == 3
    last = found["agreements"][-1]
    assert last["kendall"]["value"] is None
    assert f"total errors: {CATEGORIES['6']}: every candidate has 0: there is no order to agree with" in found["notes"]


@pytest.mark.parametrize("form", ["one file", "other names", "numbered", "from 1", "0.0 and 1.0"])
def test_forms_of_rexval_give_the_same(form: str) -> None:
    plain = read_ratings(rexval())
    reports, counts = rexval_rows()
    names = (REPORTS, COUNTS)
    if form == "other names":
        names = ("reports.csv", "errors.csv")
        save("r/unrelated.csv", [{"a": 1}])
    if form == "numbered":
        reports = [{"study_number": i, **row} for i, row in enumerate(reports)][::-1]
    if form == "from 1":
        counts = [{**row, "study_number": row["study_number"] + 1} for row in counts]
    if form == "0.0 and 1.0":
        counts = [{**row, "clinically_significant": float(row["clinically_significant"])} for row in counts]
    files = [save(f"r/{name}", rows) for name, rows in zip(names, (reports, counts), strict=True)]
    read = read_ratings(files[1] if form == "one file" else files[0].parent)
    texts = {(pair.candidate, pair.reference): n for pair, n in zip(plain.pairs, plain.mean("total"), strict=True)}
    again = {(pair.candidate, pair.reference): n for pair, n in zip(read.pairs, read.mean("total"), strict=True)}
    assert texts == again
    assert len(read.pairs) == 40
    assert read.raters == ["rater 0", "rater 1", "rater 2"]


def test_without_rows_of_zero_who_has_no_row_found_nothing() -> None:
    plain = read_ratings(rexval())
    reports, counts = rexval_rows()
    save(f"r/{REPORTS}", reports)
    save(f"r/{COUNTS}", [row for row in counts if row["num_errors"]])
    read = read_ratings(Path("r"))
    for kind, table in plain.counts.items():
        np.testing.assert_array_equal(read.counts.get(kind, np.zeros_like(table)), table)
    assert any("no row of 0 errors" in note for note in read.notes)


def test_with_rows_of_zero_who_has_no_row_did_not_count() -> None:
    reports, counts = rexval_rows()
    gone = [
        row for row in counts
        if not (row["rater_index"] == 1 and row["study_number"] == 0)
        and not (row["study_number"] == 1 and row["candidate_type"] == "bleu")
    ]  # fmt: skip
    save(f"r/{REPORTS}", reports)
    save(f"r/{COUNTS}", gone)
    read = read_ratings(Path("r"))
    assert len(read.pairs) == 39
    assert "1 of 40 candidates have no count and are left out: 1-bleu" in read.notes
    assert any("rater 0 39, rater 1 35, rater 2 39 of 39; 35 were counted by all 3" in note for note in read.notes)
    assert np.isnan(read.counts["total", ""][0]).tolist() == [False, True, False]
    rest = [r["num_errors"] for r in gone if (r["study_number"], r["candidate_type"]) == (0, "radgraph")]
    assert read.mean("total")[0] == sum(rest) / 2


def broken(change: Callable[[list[dict[str, Any]], list[dict[str, Any]]], Any]) -> Path:
    reports, counts = rexval_rows(2)
    change(reports, counts)
    for name, rows in ((REPORTS, reports), (COUNTS, counts)):
        if rows:
            save(f"b/{name}", rows)
    return Path("b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r, c: r.clear(), "no file with the column gt_report"),
        (lambda r, c: c.clear(), "no file with the columns study_number, candidate_type"),
        (lambda r, c: c[3].update(study_number=9), "line 5, column 'study_number': no study '9' in"),
        (lambda r, c: c.append(c[0]), "false prediction of a finding, significant occurs twice, first in line 2"),
        (lambda r, c: c[0].update(candidate_type="s_embb"), "Did you mean s_emb"),
        (lambda r, c: c[0].update(num_errors=-1), "'-1' is no count of errors"),
        (lambda r, c: c[0].update(num_errors="nan"), "'nan' is no count of errors"),
        (lambda r, c: c[0].update(num_errors=""), "line 2, column 'num_errors': no value"),
        (lambda r, c: c[0].update(error_category=7), "'7' is none of ReXVal's six"),
        (lambda r, c: c[0].update(clinically_significant="maybe"), "'maybe' is neither True nor False"),
        (lambda r, c: r[1].update(gt_report=" "), "line 3, column 'gt_report': the reference is blank"),
        (lambda r, c: [row.update(study_number=1) for row in r] or [r[0].update(study_number=1)], "'1' occurs twice"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_rexval_is_said(change: Any, message: str) -> None:
    with pytest.raises(BenchError) as error:
        read_ratings(broken(change))
    assert message in str(error.value)


# ------------------------------------------------------------------ RadEvalExpert


def test_an_annotation_by_hand() -> None:
    counts = counts_of(annotation([1, 2, 0, 0, 0, 0, 3], [0, 1, 0, 0, 4, 0, 0]))
    assert (counts["significant", ""], counts["insignificant", ""], counts["total", ""]) == (6, 5, 11)
    assert counts["total", "omission of a finding"] == 3
    assert counts["insignificant", "mention of a comparison that the reference does not make"] == 4


@pytest.mark.parametrize("value", ["", "one", "-1", "1.5", "1 or 2"])
def test_a_count_that_cannot_be_read_is_no_zero(value: str) -> None:
    counts = counts_of(annotation([0, value, 0, 0, 0, 0, 3]))
    assert counts["significant", "omission of a finding"] is None
    assert (counts["significant", ""], counts["total", ""]) == (None, None)
    assert (counts["insignificant", ""], counts["significant", "inarticulate report"]) == (0, 3)


def test_lines_of_another_kind_do_not_count() -> None:
    assert counts_of("1. Something else: 3")["total", ""] is None
    twice = annotation([0] * 7) + "\n2. Omission of finding: 1"
    assert counts_of(twice)["insignificant", "omission of a finding"] is None
    renamed = annotation([0] * 7).replace("2. Omission of finding", "2. Wrong language")
    assert counts_of(renamed)["significant", "omission of a finding"] is None


def test_radeval_expert_is_read() -> None:
    rows = [expert_row(1, (0, 2, 5)), expert_row(2, (1, 1, 4), annotation2="  "), expert_row(3, (3, 0, 0))]
    rows[2] |= {"images_path": rows[0]["images_path"].replace("s1", "s2"), "annotator": "reader B"}
    rows.append({**rows[2], "annotator": "reader A", "annotation1": annotation([9, "?", 0, 0, 0, 0, 0])})
    read = read_ratings(save("e.csv", rows))
    assert read.layout == "RadEvalExpert"
    assert [pair.id for pair in read.pairs] == ["1-1", "1-2", "1-3", "2-1", "2-3", "3-1", "3-2", "3-3"]
    assert {pair.group for pair in read.pairs} == {"p10000001", "p10000002"}
    assert read.raters == ["reader A", "reader B"]
    assert read.mean("significant").tolist() == [1, 3, 6, 2, 5, 4, 1, 1]
    assert any(
        "1 annotations hold a count that cannot be read, which is no zero: 3-1 (reader A)" in n for n in read.notes
    )
    assert any("1 of 9 candidates have no count and are left out: 2-2" in note for note in read.notes)
    assert any("counted different candidates" in note for note in read.notes)
    with pytest.raises(BenchError, match="no annotation can be read"):
        read_ratings(save("e.csv", [expert_row(1, (0, 1, 2), annotation1="x", annotation2="y", annotation3="z")]))


# ------------------------------------------------------------------ a table of one's own


def test_a_table_of_ones_own_from_every_container() -> None:
    rows = [
        {"id": f"{i}{rater}", "reference": f"ref {i}", "candidate": "c", "errors": i, "significant_errors": 0}
        for i, rater in product(range(3), "ab")
    ]
    save("t.csv", rows)
    Path("t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pd.DataFrame(rows).to_parquet("t.parquet")
    read = [read_ratings(Path(name)) for name in ("t.csv", "t.jsonl", "t.parquet")]
    for one in read:
        assert one.pairs == read[0].pairs
        assert one.mean("total").tolist() == [0, 0, 1, 1, 2, 2]
        assert one.choose(None) == "total"
        assert one.mean(one.choose("significant")).tolist() == [0] * 6


def test_raters_of_a_table_are_averaged_with_and_without_ids() -> None:
    text = "r,x,3,A\nr,x,4,B\nr,y,1,A\nr,y,,B\nr,z,,A"
    read = read_ratings(own(text, "reference,candidate,errors,rater"))
    assert read.mean("total").tolist() == [3.5, 1]
    assert any("1 of 3 candidates have no count" in note for note in read.notes)
    assert any("A 2, B 1 of 2" in note for note in read.notes)
    again = read_ratings(own(text.replace("r,", "i,r,").replace("i,r,y", "j,r,y").replace("i,r,z", "k,r,z"),
                             "id,reference,candidate,errors,rater"))  # fmt: skip
    assert [pair.id for pair in again.pairs] == ["i", "j"]
    assert again.mean("total").tolist() == [3.5, 1]


def test_categories_and_other_columns_of_a_table() -> None:
    text = "r,x,1,2,7\nr,y,0,,8\nr,z,0,1,9"
    header = "reference,candidate,errors/omission,errors/location,harm"
    read = read_ratings(own(text, header))
    assert read.mean("total").tolist()[::2] == [3, 1]
    assert np.isnan(read.mean("total")[1])
    assert read.categories("total") == ["omission", "location"]
    assert read_ratings(own(text, header), "harm").mean("harm").tolist() == [7, 8, 9]


@pytest.mark.parametrize(
    ("rows", "header", "errors", "message"),
    [
        ("r,c,1", "Reference,candidate,errors", None, "no column 'reference' (is 'Reference' meant? rename it)"),
        ("r,c,1", "reference,candidate,Error", None, "no column of counts"),
        ("r,c,1", "reference,candidate,Error", None, "(is 'Error' meant? rename it)"),
        ("r,c,1", "a,b,c", None, "no known layout of radiologists' counts. Columns found: a, b, c."),
        ("r,c,1\nr,d,-1", "reference,candidate,errors", None, "line 3, column 'errors': '-1' is no count"),
        ("r,c,inf", "reference,candidate,errors", None, "'inf' is no count"),
        ("r,c,NaN", "reference,candidate,errors", None, "'NaN' is no count"),
        (" ,c,1", "reference,candidate,errors", None, "line 2, column 'reference': the reference is blank"),
        ("i,r,c,1\ni,r,d,1", "id,reference,candidate,errors", None, "the id 'i' occurs before with another reference"),
        ("i,r,c,1\ni,r,c,1", "id,reference,candidate,errors", None, "a second row on the id 'i'; a column 'rater'"),
        ("A,r,c,1\nA,r,c,1", "rater,reference,candidate,errors", None, "a second row of rater 'A' on the id '1'"),
        ("r,c,1,", "reference,candidate,errors,group", None, "line 2, column 'group': no value"),
        ("r,c,\nr,d,1", "reference,candidate,errors", None, "1 of 2 candidates have counts; two are the least"),
        ("r,c,1\nr,d,1", "reference,candidate,errors", "totl", "Did you mean total?"),
    ],
)
def test_what_is_wrong_in_a_table_is_said(rows: str, header: str, errors: str | None, message: str) -> None:
    with pytest.raises(BenchError) as error:
        read_ratings(own(rows, header), errors)
    assert message in str(error.value)


@pytest.mark.parametrize("cell", ["true", '"two"', "[1]"])
def test_a_count_of_a_json_file_is_a_number(cell: str) -> None:
    lines = [f'{{"reference": "r", "candidate": "c{n}", "errors": {value}}}' for n, value in enumerate((1, cell))]
    Path("t.jsonl").write_text("\n".join(lines))
    with pytest.raises(BenchError, match="is no count of errors"):
        read_ratings(Path("t.jsonl"))


# ------------------------------------------------------------------ agreement


def column(values: Sequence[float], *, higher: bool = True) -> CaseColumn:
    array = np.array(values, dtype=np.float64)
    return CaseColumn(Column("x", "X", higher_is_better=higher), "m", "s", array, np.zeros(len(array), np.int8))


def table(errors: Sequence[float], groups: Sequence[Any] | None = None) -> Ratings:
    groups = groups or list(range(len(errors)))
    rows = "\n".join(f"ref {g},{i},{e},g{g}" for i, (e, g) in enumerate(zip(errors, groups, strict=True)))
    return read_ratings(own(rows, "reference,candidate,errors,group"))


def agree(ratings: Ratings, columns: Mapping[str, CaseColumn], baseline: str | None = None, **options: Any) -> Measured:
    return measure(ratings, columns, [Target("total")], Settings(**{"draws": 300, **options}), baseline)


def test_more_is_agreement_whichever_way_a_metric_points() -> None:
    """Errors 0 1 2 3; a good metric falls with them, a bad one rises, a distance rises and is good."""
    found = agree(
        table([0, 1, 2, 3]),
        {
            "good": column([0.9, 0.8, 0.3, 0.1]),
            "bad": column([0.1, 0.2, 0.3, 0.4]),
            "distance": column([1, 2, 3, 4], higher=False),
            "half": column([2, 1, 2, 1]),
        },
    )
    tau = {one.column: one.kendall.value for one in found.agreements}
    assert tau == {"good": 1, "bad": -1, "distance": 1, "half": pytest.approx(2 / np.sqrt(4 * 6))}
    accuracy = {one.column: one.accuracy.value for one in found.agreements}
    assert accuracy == {"good": 1, "bad": 0, "distance": 1, "half": pytest.approx((3 + 2 * 0.5) / 6)}
    assert [one.tied for one in found.agreements] == [0, 0, 0, pytest.approx(2 / 6)]


def test_rounding_is_no_order() -> None:
    found = agree(table([0, 1, 2]), {"x": column([0.1 + 0.2, 0.3, 0.1])}, draws=0)
    assert found.agreements[0].accuracy.value == pytest.approx((0.5 + 2) / 3)


def test_pairs_of_one_reference_only() -> None:
    """Within each reference the metric is right, between them it is misled."""
    ratings = table([0, 1, 5, 6], groups=["a", "a", "b", "b"])
    columns = {"x": column([0.2, 0.1, 0.9, 0.8])}
    assert agree(ratings, columns, within=True).agreements[0].accuracy.value == 1
    assert agree(ratings, columns).agreements[0].accuracy.value == pytest.approx(2 / 6)


def test_references_of_one_patient_are_drawn_together_and_compared_apart() -> None:
    ratings = read_ratings(
        own("r1,a,0,p\nr1,b,1,p\nr2,c,5,p\nr2,d,6,p\nr3,e,0,q\nr3,f,1,q", "reference,candidate,errors,group")
    )
    found = agree(ratings, {"x": column([0.2, 0.1, 0.9, 0.8, 0.4, 0.3])}, within=True)
    assert (found.n_references, found.n_groups) == (3, 2)
    assert found.agreements[0].accuracy.value == 1


def test_differences_are_paired_and_corrected() -> None:
    rng = np.random.default_rng(0)
    errors = rng.integers(0, 8, 60)
    noise = rng.normal(size=60)
    columns = {
        "base": column(-errors + 4 * noise), "same": column(np.exp(-errors + 4 * noise)),
        "better": column(-errors + noise), "random": column(rng.normal(size=60)),
    }  # fmt: skip
    found = agree(table(errors.tolist(), (np.arange(60) // 3).tolist()), columns, "base", draws=999)
    kendall = {one.column: one for one in found.differences if one.statistic == "kendall"}
    assert list(kendall) == ["same", "better", "random"]
    same, better, random = kendall.values()
    assert (same.difference, same.ci_low, same.ci_high, same.p, same.p_holm) == (0, 0, 0, 1, 1)
    assert better.ci_low is not None
    assert 0 < better.ci_low < better.difference < better.ci_high
    assert better.p is not None
    assert (better.p_holm, random.p_holm) == (
        pytest.approx(3 * better.p),
        pytest.approx(max(3 * better.p, 2 * random.p)),
    )
    value = {one.column: one.kendall.value for one in found.agreements}
    assert better.difference == pytest.approx(value["better"] - value["base"])
    with pytest.raises(BenchError, match="Did you mean base"):
        agree(table([0, 1]), {"base": column([0, 1])}, "bas")


def test_a_difference_is_of_the_candidates_that_both_metrics_have() -> None:
    nan = float("nan")
    errors = [0, 1, 2, 3, 4, 5]
    columns = {"base": column([6, 5, 4, 3, 2, 9]), "x": column([6, 5, 4, 3, 2, nan])}
    found = agree(table(errors), columns, "base")
    one = next(d for d in found.differences if d.statistic == "kendall")
    assert (one.difference, one.n) == (0, 5)
    assert found.agreements[0].kendall.value != 1
    assert "x: 1 candidates without a value or a count left out" in found.notes


def test_what_is_undefined_is_said() -> None:
    found = agree(table([1, 1, 1]), {"x": column([1, 2, 3])})
    assert found.agreements[0].kendall.value is None
    assert any("every candidate has 1: there is no order to agree with" in note for note in found.notes)
    constant = agree(table([1, 2, 3]), {"x": column([4, 4, 4])})
    assert (constant.agreements[0].kendall.value, constant.agreements[0].accuracy.value) == (None, 0.5)
    assert any(note.startswith("x: one and the same value") for note in constant.notes)
    alone = agree(table([1, 2, 3], ["a", "a", "a"]), {"x": column([3, 2, 1])})
    assert (alone.agreements[0].kendall.value, alone.agreements[0].kendall.ci_low) == (1, None)
    assert any("nothing to resample" in note for note in alone.notes)
    assert not alone.ceilings


def test_equal_seeds_give_equal_intervals() -> None:
    rng = np.random.default_rng(2)
    ratings, columns = table(rng.integers(0, 9, 30).tolist()), {"x": column(rng.normal(size=30))}
    first, again, other = (agree(ratings, columns, seed=seed).agreements for seed in (1, 1, 2))
    assert first == again != other


# ------------------------------------------------------------------ the command


def rows(n: int) -> str:
    words = ["clear", "effusion", "opacity", "enlarged", "pacemaker", "normal"]
    lines = [f"{' '.join(words)},{' '.join(words[i % 6 :])},{i % 6},{i // 3}" for i in range(n)]
    return "\n".join(lines)


def meta(bench: Bench, *more: Any) -> Any:
    return bench(
        "meta", own(rows(12), "reference,candidate,errors,group"), "-c", "demo", "--draws", 50,
        "--metrics", f"rouge-l,{PLUGINS}:WordF1", *more,
    )  # fmt: skip


def test_tables_on_the_terminal_and_in_files(bench: Bench) -> None:
    answer = meta(bench, "--baseline", "RG-L", "-o", "t.md", "--values", "v.csv")
    assert answer.code == 0, answer.err
    for out in (answer.out, Path("t.md").read_text()):
        assert "Agreement with fewer total errors: 12 candidates, 4 references, all pairs of candidates" in out
        assert "WordF1" in out
        assert "corrected for 2 comparisons (Holm)" in out
        assert "Only 4 groups of references" in out
    with Path("v.csv").open(newline="") as file:
        values = list(csv.DictReader(file))
    assert list(values[0]) == ["id", "group", "total errors", "RG-L", "WordF1", "Length"]
    assert float(values[0]["WordF1"]) == 1.0
    assert meta(bench, "-o", "t.csv", "--baseline", "RG-L").code == 0
    with Path("t.csv").open(newline="") as file:
        agreements = list(csv.DictReader(file))
    assert [(row["column"], row["n"]) for row in agreements] == [("RG-L", "12"), ("WordF1", "12"), ("Length", "12")]
    with Path("t-differences.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 2 * 4
    assert meta(bench, "-o", "t.json").code == 0
    assert json.loads(Path("t.json").read_text())["agreements"][0]["column"] == "RG-L"


def test_files_show_no_text_and_only_the_owner_reads_them(bench: Bench) -> None:
    Path("own.csv").write_text("reference,candidate,errors\nsecret one,secret two,1\nsecret one,two,2\nother,two,3\n")
    answer = bench("meta", "own.csv", "-c", "demo", "--metrics", "rouge-l", "--values", "v.csv", "-o", "o.json")
    assert answer.code == 0, answer.err
    for name in ("v.csv", "o.json"):
        assert "secret" not in Path(name).read_text()
        assert stat.S_IMODE(Path(name).stat().st_mode) == 0o600
    assert "No column 'group': candidates of the same reference text are one group" in answer.err


def test_the_same_command_observes_nothing_again(bench: Bench) -> None:
    assert meta(bench, "--folder", "f").code == 0
    file = Path("f/stats/rouge-l.jsonl")
    lines = file.read_text().splitlines(keepends=True)
    assert len(lines) == 12
    file.write_text("".join(lines[:5]) + lines[5][:20])  # what a kill leaves
    (Path("f") / "done.json").unlink()
    before = Path("f/stats/WordF1.jsonl").stat().st_mtime_ns
    assert meta(bench, "--folder", "f", "--seed", 3, "--pairs", "reference").code == 0
    assert file.read_text() == "".join(lines)
    assert Path("f/stats/WordF1.jsonl").stat().st_mtime_ns == before


def test_rexval_s_texts_are_kept_from_remote_judges(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://192.0.2.1:9/v1")  # a test address of RFC 5737: nobody answers
    rexval()
    remote = ("--metrics", "radfact", "--set", "metrics.radfact.judge=openai/gpt-5", "--folder", "f")
    answer = bench("meta", "rexval", *remote)
    assert answer.code == 2
    assert "the texts of a file may be credentialed" in answer.err
    assert "would leave this machine" in answer.err
    assert [path.name for path in Path("f").iterdir()] == [".lock"]
    said = bench("meta", "rexval", *remote, "--public")
    assert said.code == 2
    assert "--public: ReXVal's reports are MIMIC-CXR's, which are credentialed" in said.err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("-o", "t.pdf"), "t.pdf: the name must end in .csv or .json or .md"),
        (("--values", "v.json"), "v.json: the name must end in .csv"),
        (("-o", "nowhere/t.csv"), "no folder"),
        (("--errors", "significant"), "No kind of errors or column of counts named 'significant'"),
        (("--by-category",), "not told apart by category in this file"),
        (("--baseline", "RGL"), "Did you mean RG-L?"),
        (("--metrics", "rogue-l"), "Did you mean rouge-l?"),
        (("--set", "metrics.WordF1.missing=true", "--strict"), "--strict: metric 'WordF1' cannot run"),
    ],
)
def test_what_cannot_be_done_is_said(bench: Bench, more: Sequence[str], message: str) -> None:
    answer = meta(bench, *more)
    assert answer.code == 2
    assert message in answer.err
    assert not list(Path().glob("t.*"))


def test_a_metric_without_a_value_is_noted_and_none_at_all_an_error(bench: Bench) -> None:
    answer = meta(bench, "--set", "metrics.WordF1.missing=true")
    assert answer.code == 0
    assert "– WordF1, Length: the dictionary is not installed; install the dictionary." in answer.out
    alone = meta(bench, "--metrics", f"{PLUGINS}:WordF1", "--set", "metrics.WordF1.missing=true")
    assert alone.code == 2
    assert "no metric has a value" in alone.err


def test_folders_and_files_that_are_none(bench: Bench) -> None:
    Path("empty").mkdir()
    assert "No CSV file found" in bench("meta", "empty").err
    assert "no such file" in bench("meta", "missing.csv").err
    Path("text.txt").write_text("a")
    assert "the name must end in" in bench("meta", "text.txt").err
