"""Reading predictions: layouts, containers, what is refused, and ``bench score`` as a whole."""

from __future__ import annotations

import builtins
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.contracts import Pair
from bench.errors import BenchError, Unavailable
from bench.predictions import read_pairs

PLUGINS = Path(__file__).with_name("plugins.py")
Bench = Callable[..., Any]

PLAIN = "id,candidate,reference\n"


def save(name: str, content: str | bytes) -> Path:
    file = Path(name)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def parquet(name: str, columns: dict[str, list[Any]]) -> Path:
    import pyarrow as pa
    from pyarrow import parquet as pq

    pq.write_table(pa.table(columns), name)
    return Path(name)


def triples(pairs: Any) -> list[tuple[str, str, str]]:
    return [(pair.id, pair.candidate, pair.reference) for pair in pairs]


# ------------------------------------------------------------------ containers

ROWS = [("007", "p1", "None", "lungs clear"), ("1e5", "NA", "nan", 'he said "no",\nthen\u2028left')]


def as_csv(delimiter: str) -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows([("id", "group", "candidate", "reference"), *ROWS])
    return out.getvalue()


def as_objects() -> list[dict[str, str]]:
    return [dict(zip(("id", "group", "candidate", "reference"), row, strict=True)) for row in ROWS]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.csv", as_csv(",")),
        ("P.CSV", "\ufeff" + as_csv(",")),
        ("p.tsv", as_csv("\t")),
        ("p.json", json.dumps(as_objects())),
        ("p.jsonl", "\n".join(map(json.dumps, as_objects())) + "\n\n"),
        ("q.jsonl", "\r\n".join(json.dumps(o, ensure_ascii=False) for o in as_objects())),
    ],
)
def test_texts_come_as_written_from_every_container(name: str, content: str) -> None:
    table = read_pairs(save(name, content))
    assert table.pairs == [Pair(*row) for row in ROWS]
    assert (table.format, table.notes, table.n_missing) == ("id, candidate, reference", (), 0)


def test_only_line_ends_end_a_line_of_a_csv() -> None:
    file = save("p.csv", PLAIN + "a,one\u2028two\x0cthree\x85,x\r\nb,y,z\r")
    assert triples(read_pairs(file).pairs) == [("a", "one\u2028two\x0cthree\x85", "x"), ("b", "y", "z")]


def test_parquet() -> None:
    columns = {key: [entry[key] for entry in as_objects()] for key in as_objects()[0]}
    assert read_pairs(parquet("p.parquet", {**columns, "extra": [1.5, None]})).pairs == [Pair(*row) for row in ROWS]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.dictionaries(
        st.text(min_size=1).filter(str.strip),
        st.tuples(st.text(), st.text(min_size=1).filter(str.strip)),
        min_size=1,
        max_size=4,
    )
)
@pytest.mark.parametrize("suffix", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_any_text_survives(rows: dict[str, tuple[str, str]], suffix: str) -> None:
    entries = [{"id": i, "candidate": c, "reference": r} for i, (c, r) in rows.items()]
    if suffix == "parquet":
        file = parquet("p.parquet", {key: [entry[key] for entry in entries] for key in entries[0]})
    elif suffix == "json":
        file = save("p.json", json.dumps(entries))
    elif suffix == "jsonl":
        file = save("p.jsonl", "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries))
    else:
        out = io.StringIO(newline="")
        writer = csv.writer(out, delimiter="," if suffix == "csv" else "\t", quoting=csv.QUOTE_ALL)
        writer.writerows([tuple(entries[0]), *(tuple(entry.values()) for entry in entries)])
        file = save(f"p.{suffix}", out.getvalue())
    assert triples(read_pairs(file).pairs) == [tuple(entry.values()) for entry in entries]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=60)
    | st.text('id,candidate"reference\n{}[]:1 \\', max_size=60).map(lambda t: (PLAIN + t).encode())
    | st.recursive(
        st.none() | st.floats() | st.integers() | st.booleans() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["id", "candidate", "reference", "group", "x"]), inner)
        ),
    ).map(lambda value: json.dumps(value).encode()),
    suffix=st.sampled_from(["csv", "tsv", "json", "jsonl", "parquet"]),
)
def test_any_content_is_read_or_refused_in_words(content: bytes, suffix: str) -> None:
    message = ""
    try:
        assert read_pairs(save(f"p.{suffix}", content)).pairs
    except BenchError as err:
        message = str(err)
    assert not message or message.startswith(f"p.{suffix}")
    message.encode()


# ------------------------------------------------------------------ layouts


def rexrank(**studies: dict[str, Any]) -> str:
    base = {"image_path": ["a.png"], "context": "Age:30-40.", "section_impression": float("nan"), "study_id": 3}
    return json.dumps({key: {**base, **study} for key, study in studies.items()})


def test_radfact() -> None:
    table = read_pairs(save("p.csv", ",example_id,prediction,target\n0,a,clear,clear lungs\n1,b,,effusion\n"))
    assert triples(table.pairs) == [("a", "clear", "clear lungs"), ("b", "", "effusion")]
    assert table.format.startswith("RadFact")
    assert [pair.group for pair in table.pairs] == ["a", "b"]
    assert table.n_missing == 0
    assert table.notes[0] == "1 predictions are empty texts and scored as such: 'b'"
    assert "No column 'group'" in table.notes[1]


def test_rexrank_scores_the_findings_and_says_what_it_left_out() -> None:
    studies = {
        "s1": {"model_prediction": "clear", "section_findings": "clear lungs"},
        "s2": {"model_prediction": "effusion", "section_findings": float("nan")},
        "s3": {"model_prediction": "", "section_findings": "None"},
        "s4": {"model_prediction": "opacity", "section_findings": " "},
    }
    table = read_pairs(save("p.json", rexrank(**studies)))
    assert triples(table.pairs) == [("s1", "clear", "clear lungs"), ("s3", "", "None")]
    assert any("section_findings alone" in note for note in table.notes)
    assert "2 of 4 studies have no section_findings and are left out: 's2', 's4'" in table.notes
    assert table.n_missing == 0


def test_rexrank_without_a_prediction() -> None:
    studies = {
        "s1": {"model_prediction": "clear", "section_findings": "clear lungs"},
        "s2": {"model_prediction": float("nan"), "section_findings": "effusion"},
        "s3": {"section_findings": "opacity"},
        "s4": {"section_findings": float("nan")},
    }
    file = save("p.json", rexrank(**studies))
    with pytest.raises(BenchError, match=r"2 of 3 ids have no prediction:\n  's2' \(key 's2', 'model_prediction'"):
        read_pairs(file)
    table = read_pairs(file, missing="empty")
    assert triples(table.pairs) == [("s1", "clear", "clear lungs"), ("s2", "", "effusion"), ("s3", "", "opacity")]
    assert table.n_missing == 2
    assert "2 ids have no prediction and are scored as empty: 's2', 's3'" in table.notes


def test_rexrank_predictions_beside_its_data_file() -> None:
    file = save("p.json", json.dumps({"s1": {"model_prediction": "clear"}, "s2": {"model_prediction": "clear"}}))
    data = save("d.json", rexrank(s2={"section_findings": "clear lungs", "report": "x"}, s1={"section_findings": None}))
    table = read_pairs(file, data)
    assert triples(table.pairs) == [("s2", "clear", "clear lungs")]
    assert any("left out: 's1'" in note for note in table.notes)


def test_cxr_report_metric_follows_the_order_of_the_references() -> None:
    file = save("p.csv", ",study_id,report\n0,02,effusion\n1,1,clear\n")
    true = save("t.csv", "study_id,report\n1,clear lungs\n02,an effusion\n")
    table = read_pairs(file, true)
    assert triples(table.pairs) == [("1", "clear", "clear lungs"), ("02", "effusion", "an effusion")]
    assert table.format == "CXR-Report-Metric's study_id, report with references of t.csv"


def test_a_runs_reports_with_its_cases() -> None:
    reports = [
        {"id": "a", "text": "clear", "evidence": [], "error": None, "seconds": 0.1},
        {"id": "b", "text": "half a", "evidence": [], "error": "no answer came", "seconds": None},
    ]
    cases = [{"id": i, "group": f"p{i}", "images": ["x"], "indication": None, "reference": f"ref {i}"} for i in "abc"]
    file = save("reports.jsonl", "".join(json.dumps(line) + "\n" for line in reports))
    true = save("cases.jsonl", "".join(json.dumps(line) + "\n" for line in cases))
    message = r"2 of 3 ids have no prediction:\n  'b' \(line 2, error: no answer came\)\n  'c' \(no entry in reports"
    with pytest.raises(BenchError, match=message):
        read_pairs(file, true)
    table = read_pairs(file, true, missing="empty")
    assert table.pairs == [
        Pair("a", "pa", "clear", "ref a"),
        Pair("b", "pb", "", "ref b"),
        Pair("c", "pc", "", "ref c"),
    ]
    assert table.n_missing == 2


def test_groups_of_the_predictions_where_the_references_have_none() -> None:
    file = save("p.csv", "id,candidate,group\na,x,p1\nb,y,p1\n")
    table = read_pairs(file, save("t.csv", "id,reference\nb,r\na,s\nc,t\n"), missing="empty")
    assert [(pair.id, pair.group) for pair in table.pairs] == [("b", "p1"), ("a", "p1"), ("c", "c")]
    assert "1 ids have no entry with a 'group' and are groups of their own" in table.notes


def test_whole_numbers_as_ids_are_their_digits() -> None:
    table = read_pairs(parquet("p.parquet", {"id": [7, 50414267], "candidate": ["a", "b"], "reference": ["c", "d"]}))
    assert [pair.id for pair in table.pairs] == ["7", "50414267"]
    file = save("p.json", '[{"id": 7, "candidate": "a"}]')
    assert triples(read_pairs(file, save("t.csv", "id,reference\n7,c\n")).pairs) == [("7", "a", "c")]


def test_null_is_missing_and_empty_text_is_a_report() -> None:
    columns = {"id": ["a", "b"], "candidate": [None, ""], "reference": ["x", "y"]}
    objects = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    for file in (parquet("p.parquet", columns), save("p.json", json.dumps(objects))):
        with pytest.raises(BenchError, match=r"1 of 2 ids have no prediction:\n  'a' \((row|entry) 1, 'candidate'"):
            read_pairs(file)
        table = read_pairs(file, missing="empty")
        assert triples(table.pairs) == [("a", "", "x"), ("b", "", "y")]
        assert table.n_missing == 1
        assert "1 predictions are empty texts and scored as such: 'b'" in table.notes


# ------------------------------------------------------------------ what is refused

REFUSED = [
    # the file
    ("p.xlsx", "x", "p.xlsx: the name must end in .csv, .tsv, .json, .jsonl, .parquet"),
    ("p.csv", "", "p.csv: the file is empty"),
    ("p.csv", "\ufeff \n", "p.csv: the file is empty"),
    ("p.csv", PLAIN, "p.csv: a header but no entry"),
    ("p.json", "[]", "p.json: no entry"),
    ("p.json", "{}", "p.json: no entry"),
    ("p.csv", PLAIN.encode() + b"a,caf\xe9,x\n", "p.csv, line 2: not UTF-8: byte 0xe9 at position 28"),
    ("p.csv", "id".encode("utf-16"), "p.csv, line 1: not UTF-8: byte 0xff at position 0"),
    # CSV
    ("p.csv", PLAIN + "a,x,y\n\nb,x\n", "p.csv, line 4: 2 fields, but the header has 3"),
    ("p.csv", PLAIN + 'a,"x\ny",z\nb,x,y,z\n', "p.csv, line 4: 4 fields, but the header has 3; a text that holds a c"),
    (
        "p.tsv",
        "id\tcandidate\treference\na\tb\n",
        "p.tsv, line 2: 2 fields, but the header has 3; a text that holds a t",
    ),
    ("p.csv", PLAIN + 'a,x,y\nb,"x,y\nc,x,y\n', "p.csv, line 3: a double quote is opened and never closed"),
    ("p.csv", PLAIN + 'a,"' + "x" * 140_000, "p.csv, line 2: a field of over 131,072 characters"),
    ("p.csv", PLAIN + 'a,"x"y,z\n', "p.csv, line 2: ',' expected after"),
    ("p.csv", "id,candidate,reference,candidate\na,b,c,d\n", "the column 'candidate' occurs twice"),
    # JSON
    ("p.json", '[{"id": "a",\n "candidate" "b"}]', "p.json, line 2: not valid JSON: Expecting ':'"),
    ("p.json", '{"id": "a"}\n{"id": "b"}', "the name must end in .jsonl"),
    ("p.jsonl", '{"id": "a"}\n\n{"id": "b"\n', "p.jsonl, line 3: not valid JSON"),
    ("p.jsonl", '{"id": "a", "id": "b"}\n', "p.jsonl, line 1: the key 'id' occurs twice"),
    ("p.json", '{"s1": {"a": 1}, "s1": {"a": 1}}', "p.json: the key 's1' occurs twice"),
    ("p.json", '"text"', "p.json: a list of objects"),
    ("p.json", '[{"id": "a"}, 3]', "p.json, entry 2: a whole number where an object was expected"),
    ("p.json", '{"s1": "text"}', "p.json, key 's1': a text where an object was expected"),
    ("p.json", "[" * 100_000, "p.json: nested too deeply"),
    ("p.json", "[" + "1" * 5000 + "]", "p.json: not usable JSON"),
    ("p.parquet", "PAR1 no", "p.parquet: not a readable Parquet file"),
    # columns
    ("p.csv", "id,candidat,reference\na,b,c\n", "Nearest is id, candidate, reference: no column 'candidate' (is 'cand"),
    ("p.csv", "ID,Candidate, reference\na,b,c\n", "no column 'id' (is 'ID' meant? rename it)"),
    ("p.csv", "example_id,prediction\na,b\n", "predictions without references (example_id, prediction). Name the file"),
    ("p.csv", "example_id,target\na,b\n", "Nearest is example_id, prediction, target: no column 'prediction'."),
    ("p.csv", "foo,bar\na,b\n", "Columns found: 'foo', 'bar'."),
    ("p.csv", "foo,bar\na,b\n", "id, text (with --references FILE)"),
    ("p.csv", "id;candidate;reference\na;b;c\n", "The fields seem to be separated otherwise"),
    ("p.csv", "study_id,report\na,b\n", "predictions without references (study_id, report). Name the file"),
    ("p.json", '{"s1": {"model_prediction": "x"}}', "--references FILE, or add a column 'section_findings'"),
    ("p.json", '{"s1": {"section_findings": "x"}}', "no column 'model_prediction'"),
    (
        "p.csv",
        "id,candidate,reference,example_id,prediction,target\n1,2,3,4,5,6\n",
        "fit more than one layout of predictions with references: id, candidate, reference; example_id, prediction, t",
    ),
    # cells
    ("p.csv", PLAIN + "a,x,y\nb,x,y\na,x,y\n", "p.csv, line 4, column 'id': the id 'a' occurs twice, first in line 2"),
    ("p.csv", PLAIN + "a,x,y\n ,x,y\n", "p.csv, line 3, column 'id': the id is empty"),
    ("p.csv", PLAIN + "a,x, \n", "p.csv, line 2, column 'reference': the reference is blank"),
    ("p.csv", "id,group,candidate,reference\na,,x,y\n", "p.csv, line 2, column 'group': the group is empty"),
    ("p.json", '[{"id": "a", "candidate": "x", "reference": NaN}]', "entry 1, column 'reference': no reference (null)"),
    ("p.json", '[{"id": 1.0, "candidate": "x", "reference": "y"}]', "entry 1, column 'id': the number 1.0"),
    ("p.json", '[{"id": true, "candidate": "x", "reference": "y"}]', "column 'id': true or false where a text"),
    ("p.json", '[{"id": null, "candidate": "x", "reference": "y"}]', "column 'id': the id is empty"),
    ("p.json", '[{"candidate": "x"}, {"id": "a", "reference": "y"}]', "entry 1, column 'id': the id is empty"),
    ("p.json", '[{"id": "a", "candidate": 3, "reference": "y"}]', "column 'candidate': a whole number where a text"),
    ("p.json", '[{"id": "a", "candidate": "x", "reference": ["y"]}]', "column 'reference': a list where a text"),
    ("p.json", '[{"id": "a", "candidate": Infinity, "reference": "y"}]', "'candidate': a decimal number where"),
    ("p.json", '[{"id": "a", "candidate": "\\ud800", "reference": "y"}]', "'candidate': half a surrogate pair"),
    ("p.json", '{"s1": {"model_prediction": "x", "section_findings": 3}}', "key 's1', column 'section_findings': a wh"),
    ("p.json", '{"": {"model_prediction": "x", "section_findings": "y"}}', "p.json, key '': the id is empty"),
    ("p.json", '{"s1": {"model_prediction": "x", "section_findings": NaN}}', "p.json: no entry has a reference"),
]


@pytest.mark.parametrize(("name", "content", "message"), REFUSED, ids=[f"{n}-{m[:50]}" for n, _, m in REFUSED])
def test_refused_in_words(name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(BenchError) as refusal:
        read_pairs(save(name, content))
    assert message in str(refusal.value)
    assert str(refusal.value).startswith(name)


def test_files_that_are_not_there() -> None:
    Path("folder.csv").mkdir()
    with pytest.raises(BenchError, match=r"^folder.csv: a folder"):
        read_pairs(Path("folder.csv"))
    with pytest.raises(BenchError, match=r"^none.csv: no such file"):
        read_pairs(Path("none.csv"))
    with pytest.raises(BenchError, match=r"^none.csv: no such file"):
        read_pairs(save("p.csv", "study_id,report\na,b\n"), Path("none.csv"))
    with pytest.raises(BenchError, match="'error' or 'empty' was expected, not 'drop'"):
        read_pairs(save("p.csv", PLAIN + "a,b,c\n"), missing="drop")


def test_parquet_cells_of_other_types() -> None:
    with pytest.raises(BenchError, match=r"row 1, column 'id': the number 1\.0"):
        read_pairs(parquet("p.parquet", {"id": [1.0, None], "candidate": ["a", "b"], "reference": ["c", "d"]}))
    with pytest.raises(BenchError, match=r"row 2, column 'candidate': a bytes where a text"):
        read_pairs(parquet("p.parquet", {"id": ["1", "2"], "candidate": [None, b"b"], "reference": ["c", "d"]}))
    with pytest.raises(BenchError, match=r"a header but no entry"):
        read_pairs(parquet("p.parquet", {"id": [], "candidate": [], "reference": []}))


def test_parquet_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Unavailable, match=r"cxr-report-bench\[parquet\]"):
        read_pairs(save("p.parquet", "PAR1"))


@pytest.mark.parametrize("missing", ["error", "empty"])
def test_predictions_without_a_reference_are_always_an_error(missing: str) -> None:
    rows = "".join(f"s{i:02d},x\n" for i in range(26))
    file = save("p.csv", "study_id,report\n" + rows)
    with pytest.raises(BenchError) as refusal:
        read_pairs(file, save("t.csv", "study_id,report\ns00,y\n"), missing)
    message = str(refusal.value)
    assert "p.csv: 25 of 26 predictions have no reference in t.csv:\n  's01' (line 3)" in message
    assert "'s20' (line 22)\n  … and 5 more" in message
    assert "'s21'" not in message
    assert "No id is in both files" not in message
    with pytest.raises(BenchError, match=r"No id is in both files; those of the references are written '0' …"):
        read_pairs(file, save("t.csv", "study_id,report\n0,y\n"), missing)


def test_many_missing_ids_are_counted() -> None:
    file = save("p.csv", "id,candidate\na00,x\n")
    true = save("t.csv", "id,reference\n" + "".join(f"a{i:02d},y\n" for i in range(30)))
    with pytest.raises(BenchError, match=r"(?s)29 of 30 ids have no prediction.*'a20'.*and 9 more\n.*--missing empty"):
        read_pairs(file, true)
    table = read_pairs(file, true, "empty")
    assert (len(table.pairs), table.n_missing) == (30, 29)


def test_references_twice_are_refused() -> None:
    with pytest.raises(BenchError, match=r"references of its own \(column 'reference'\) and --references was given"):
        read_pairs(save("p.csv", PLAIN + "a,b,c\n"), save("t.csv", "id,reference\na,c\n"))


# ------------------------------------------------------------------ bench score

TEXTS = [
    ("a", "the lungs are clear and well expanded", "the lungs are clear and well expanded without effusion"),
    ("b", "no pleural effusion or pneumothorax is seen", "no pneumothorax or pleural effusion is present"),
    ("c", "the heart is of normal size", "the heart is enlarged with a small left effusion"),
]


def scores(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(folder) / "summary.json").read_text())["scores"]
    return found


def write_csv(name: str, *rows: tuple[str, ...]) -> Path:
    with Path(name).open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return Path(name)


def test_score_agrees_with_the_libraries(bench: Bench) -> None:
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU

    write_csv("p.csv", ("id", "candidate", "reference"), *TEXTS)
    answer = bench("score", "p.csv", "--metrics", "bleu-4,rouge-l", "--out", "o")
    assert answer.code == 0, answer.err
    assert "p.csv: 3 pairs, read as id, candidate, reference" in answer.err
    assert "No column 'group'" in answer.err
    said, true = [c for _, c, _ in TEXTS], [r for _, _, r in TEXTS]
    bleu = BLEU(smooth_method="none").corpus_score(said, [true]).score / 100
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    rouge = sum(scorer.score(t, s)["rougeL"].fmeasure for s, t in zip(said, true, strict=True)) / 3
    assert bleu > 0.1
    assert scores("o")["BL4"]["value"] == pytest.approx(bleu, abs=1e-12)
    assert scores("o")["RG-L"]["value"] == pytest.approx(rouge, abs=1e-12)


def test_every_layout_gives_the_same_scores(bench: Bench) -> None:
    study = {i: {"model_prediction": c, "section_findings": r, "section_impression": None} for i, c, r in TEXTS}
    save("rexrank.json", json.dumps(study))
    write_csv("radfact.csv", ("example_id", "prediction", "target"), *TEXTS)
    write_csv("said.csv", ("", "study_id", "report"), *((str(n), i, c) for n, (i, c, _) in enumerate(TEXTS)))
    write_csv("true.csv", ("study_id", "report"), *((i, r) for i, _, r in TEXTS))
    calls = [["radfact.csv"], ["rexrank.json"], ["said.csv", "--references", "true.csv"]]
    values = []
    for n, call in enumerate(calls):
        answer = bench("score", *call, "--metrics", "rouge-l", "--out", f"o{n}")
        assert answer.code == 0, answer.err
        values.append(scores(f"o{n}")["RG-L"])
    assert values[0] == values[1] == values[2]
    assert values[0]["n"] == 3


def test_an_error_is_one_message_and_leaves_nothing(bench: Bench) -> None:
    write_csv("p.csv", ("id", "candidate", "reference"), TEXTS[0], TEXTS[0])
    answer = bench("score", "p.csv", "--metrics", "rouge-l", "--out", "o")
    assert answer.code == 2
    assert "p.csv, line 3, column 'id': the id 'a' occurs twice, first in line 2" in answer.err
    assert "Traceback" not in answer.err
    assert not Path("o").exists()


def test_missing_empty_on_the_command_line(bench: Bench) -> None:
    write_csv("said.csv", ("study_id", "report"), *((i, c) for i, c, _ in TEXTS[:2]))
    write_csv("true.csv", ("study_id", "report"), *((i, r) for i, _, r in TEXTS))
    write_csv("p.csv", ("id", "candidate", "reference"), *TEXTS[:2], ("c", "", TEXTS[2][2]))
    call = ["score", "said.csv", "--references", "true.csv", "--metrics", "rouge-l", "--out", "o"]
    answer = bench(*call)
    assert answer.code == 2
    assert "1 of 3 ids have no prediction" in answer.err
    assert "'c' (no entry in said.csv)" in answer.err
    assert not Path("o").exists()
    answer = bench(*call, "--missing", "empty")
    assert answer.code == 0, answer.err
    assert "1 ids have no prediction and are scored as empty: 'c'" in answer.err
    assert json.loads(Path("o/summary.json").read_text())["n_missing_as_empty"] == 1
    bench("score", "p.csv", "--metrics", "rouge-l", "--out", "e")
    assert scores("o") == scores("e")


@pytest.mark.parametrize("failing", [False, True])
def test_a_runs_reports_score_as_the_run_did(bench: Bench, failing: bool) -> None:
    fail = "fail: [test003]" if failing else ""
    Path("bench.yaml").write_text(
        f"dataset: {{use: '{PLUGINS}:TinyDataset', n: 12}}\n"
        f"systems: {{parrot: {{use: '{PLUGINS}:Parrot', {fail}}}}}\n"
        f"metrics: {{words: {{use: '{PLUGINS}:WordF1'}}, rouge-l: {{}}}}\n"
        "run: {bootstrap: 50}\n"
    )
    assert bench("run", "--out", "o", "--allow-failed").code == 0
    parts = ["o/parrot/reports.jsonl", "--references", "o/parrot/cases.jsonl"]
    if failing:
        assert bench("score", *parts, "--out", "s").code == 2
    answer = bench("score", *parts, "--missing", "empty", "--out", "s")
    assert answer.code == 0, answer.err
    assert scores("s") == scores("o/parrot")
    summary = json.loads(Path("s/summary.json").read_text())
    assert (summary["n_groups"], summary["n_missing_as_empty"]) == (4, int(failing))
