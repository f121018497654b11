"""``bench compare``: which cases and columns are compared, what comes out, what is refused."""

from __future__ import annotations

import csv
import itertools
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import compare as comparing
from bench import scoring, store
from bench.compare import Comparison, Settings
from bench.contracts import FAILED, OK, UNDEFINED, Column, Pair, Stats
from bench.errors import BenchError, Unavailable
from bench.options import Options

Bench = Callable[..., Any]
Score = Callable[..., Path]


class ValueOptions(Options):
    recipe: str = "plain"
    max_failed: float = 1.0


class Value:
    """Reads its score from the candidate: "0.5", "0.5?" (no verdict on the second column), "fail", "none".

    A file "no-server", "answered" (failed pairs score 0.9), "no-building", "broken" or "flat" changes what it does.
    """

    Options = ValueOptions
    columns = (Column("Val", "Value"), Column("Cost", "Cost", scale=1.0, decimals=2, higher_is_better=False))

    def __init__(self, options: ValueOptions, context: Any) -> None:
        if Path("no-building").exists():
            raise KeyError("a bug of the metric")
        self.options = options
        self.max_failed = options.max_failed

    def signature(self) -> str:
        if Path("no-server").exists():
            raise Unavailable("no server", "start it")
        return f"value|recipe:{self.options.recipe}|v:1"

    def observe(self, pairs: Sequence[Pair]) -> Stats:
        values, status = np.zeros((len(pairs), 4)), np.full((len(pairs), 2), OK, np.int8)
        for row, pair in enumerate(pairs):
            if pair.candidate == "fail" and Path("answered").exists():
                values[row] = 0.9, 1, 9, 1
                continue
            if pair.candidate in ("fail", "none"):
                status[row] = FAILED if pair.candidate == "fail" else UNDEFINED
                continue
            value = float(pair.candidate.rstrip("?"))
            values[row] = value, 1, 10 * value, 1
            if pair.candidate.endswith("?"):
                status[row, 1], values[row, 2:] = FAILED, 0
        return Stats(values, status)

    def finish(self, totals: np.ndarray) -> np.ndarray:
        if Path("broken").exists():
            raise ZeroDivisionError("a bug of the metric")
        if Path("flat").exists():
            return np.zeros(3)
        total, count = totals[..., 0::2], totals[..., 1::2]
        return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)

    def explain(self, pair: Pair) -> list[Any]:
        return []


VALUE = f"{Path(__file__)}:Value"


@pytest.fixture
def score(bench: Bench) -> Score:
    """Score candidates into a run folder; ids c0, c1 …, a patient for each two of them unless told."""

    def call(
        label: str,
        candidates: Sequence[object],
        groups: Sequence[object] | None = None,
        *more: str,
        ids: Sequence[str] | None = None,
        references: Sequence[str] | None = None,
        metrics: str = VALUE,
        out: str = "runs",
    ) -> Path:
        n = len(candidates)
        names = ids or [f"c{i}" for i in range(n)]
        patients = groups or [f"p{i // 2}" for i in range(n)]
        truths = references or [f"reference {name}" for name in names]
        with Path("table.csv").open("w", newline="") as file:
            rows = zip(names, patients, candidates, truths, strict=True)
            csv.writer(file).writerows([("id", "group", "candidate", "reference"), *rows])
        folder = Path(out) / label
        answer = bench("score", "table.csv", "--metrics", metrics, "--out", folder, "--label", label, *more)
        assert answer.code == 0, answer.err
        return folder

    return call


def compared(*folders: Path, metrics: str | None = None, full: bool = False, **settings: Any) -> comparing.Compared:
    chosen = Settings(**{"draws": 400, "trials": 400, **settings})
    return comparing.compare(comparing.read_runs(folders), chosen, metrics=metrics, full=full)


def only(found: comparing.Compared, column: str = "Val") -> Comparison:
    (comparison,) = [c for c in found.comparisons if c.column == column]
    return comparison


# ------------------------------------------------------------------ the numbers


def test_a_tiny_comparison_by_hand(score: Score) -> None:
    """Four patients; the p-value is the share of all sixteen swaps, worked out here from the raw values."""
    base, run = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.2, 0.2], [0.3, 0.3, 0.3, 0.5, 0.4, 0.6, 0.5, 0.6]
    found = only(compared(score("a", base), score("b", run), trials=20_000))
    gains = [sum(run[i : i + 2]) - sum(base[i : i + 2]) for i in (0, 2, 4, 6)]
    every = [
        abs(sum(g * s for g, s in zip(gains, signs, strict=True))) for signs in itertools.product((1, -1), repeat=4)
    ]
    exact = np.mean([value >= abs(sum(gains)) - 1e-12 for value in every])
    assert (found.baseline_value, found.run_value) == pytest.approx((np.mean(base), np.mean(run)))
    assert found.difference == pytest.approx(np.mean(run) - np.mean(base))
    assert found.p_randomization == pytest.approx(exact, abs=0.015)
    assert exact == 6 / 16  # of gains .3 .1 -.1 .7: with none, the second or the third turned, and the opposites
    assert (found.n, found.n_groups, found.n_left_out) == (8, 4, 0)


def test_every_column_of_real_metrics_at_once(score: Score) -> None:
    words = ["the", "lungs", "are", "clear", "no", "effusion", "or", "pneumothorax", "heart", "size", "is", "normal"]
    rng = np.random.default_rng(0)
    references, far = ([" ".join(rng.choice(words, 9)) for _ in range(20)] for _ in range(2))
    near = [" ".join([*text.split()[:6], "device"]) for text in references]
    folders = [score(k, c, references=references, metrics="bleu-4,rouge-l") for k, c in (("a", far), ("b", near))]
    found = compared(*folders)
    assert [c.column for c in found.comparisons] == ["BL4", "RG-L"]
    for comparison in found.comparisons:
        for folder, value in zip(folders, (comparison.baseline_value, comparison.run_value), strict=True):
            summary = store.read_json(folder / "summary.json")
            assert value == pytest.approx(summary["scores"][comparison.column]["value"], abs=1e-12)
        assert comparison.significant
        assert comparison.p_bootstrap == pytest.approx(1 / 401)
        assert comparison.ci_low is not None
        assert comparison.ci_low > 0


def test_equal_runs_do_not_differ(score: Score) -> None:
    first = score("a", [0.1, 0.7, 0.4, 0.3])
    second = Path(shutil.copytree(first, "runs/b"))
    found = only(compared(first, second))
    assert (found.difference, found.ci_low, found.ci_high) == (0, 0, 0)
    assert (found.p_bootstrap, found.p_randomization, found.significant) == (1, 1, False)


def test_copies_of_a_patients_images_prove_nothing(score: Score) -> None:
    """Ten images a patient, all alike: by patient the interval is as wide as with one image each."""
    rng = np.random.default_rng(0)
    base, run = rng.random(12).round(3), rng.random(12).round(3)
    single = [score(k, list(v), range(12)) for k, v in (("a", base), ("b", run))]
    patients = [p for p in range(12) for _ in range(10)]
    tenfold = [score(k, list(np.repeat(v, 10)), patients, out="ten") for k, v in (("a", base), ("b", run))]

    def width(folders: list[Path], **more: Any) -> float:
        found = only(compared(*folders, draws=3000, **more))
        assert found.ci_low is not None
        assert found.ci_high is not None
        return found.ci_high - found.ci_low

    assert width(tenfold) == pytest.approx(width(single), rel=0.1)
    assert width(tenfold, cluster="case") == pytest.approx(width(single) / np.sqrt(10), rel=0.15)
    assert only(compared(*tenfold, cluster="case")).n_groups == 120


def test_cases_that_are_not_ok_are_left_out_on_both_sides(score: Score) -> None:
    first = score("a", [0.1, "fail", 0.3, 0.4, 0.5, 0.6])
    second = score("b", [0.2, 0.9, "none", "0.4?", 0.6, 0.9])
    found = compared(first, second)
    value, cost = only(found), only(found, "Cost")
    assert value.baseline_value == pytest.approx(np.mean([0.1, 0.4, 0.5, 0.6]))
    assert value.run_value == pytest.approx(np.mean([0.2, 0.4, 0.6, 0.9]))
    assert (value.n, value.n_left_out) == (4, 2)
    assert cost.run_value == pytest.approx(10 * np.mean([0.2, 0.6, 0.9]))
    assert (cost.n, cost.n_left_out) == (3, 3)
    assert "Val: 4 of 6 cases compared; the others are not OK in a (1 failed), b (1 undefined)" in found.notes
    assert (
        "Cost: 3 of 6 cases compared; the others are not OK in a (1 failed), b (1 failed, 1 undefined)" in found.notes
    )


def test_a_third_run_decides_on_the_cases_too(score: Score) -> None:
    folders = [score("a", [0.1, 0.2, 0.3]), score("b", [0.2, 0.3, 0.4]), score("c", [0.2, "fail", 0.4])]
    found = compared(*folders)
    assert [(c.run, c.n) for c in found.comparisons if c.column == "Val"] == [("b", 2), ("c", 2)]


def test_all_pairs_and_holm_over_all_that_is_printed(score: Score) -> None:
    rng = np.random.default_rng(1)
    base = rng.random(40).round(3)
    shifts = {"a": 0, "b": 0.1, "c": 0.4}
    folders = [score(label, list((base + shift * rng.random(40)).round(3))) for label, shift in shifts.items()]
    found = compared(*folders, all_pairs=True)
    assert [(c.baseline, c.run) for c in found.comparisons[::2]] == [("a", "b"), ("a", "c"), ("b", "c")]
    raw = np.array([c.p_randomization for c in found.comparisons], float)
    order = np.argsort(raw, kind="stable")
    stepped = np.maximum.accumulate(raw[order] * np.arange(6, 0, -1)).clip(max=1)
    assert [found.comparisons[i].p_randomization_holm for i in order] == pytest.approx(stepped)
    alone = compared(*folders, metrics="Val")
    assert len(alone.comparisons) == 2
    assert alone.comparisons[1].p_randomization == only_pair(found, "a", "c").p_randomization


def only_pair(found: comparing.Compared, baseline: str, run: str) -> Comparison:
    return next(c for c in found.comparisons if (c.column, c.baseline, c.run) == ("Val", baseline, run))


def test_one_patient_gives_no_interval(score: Score) -> None:
    found = compared(score("a", [0.1, 0.2], ["p", "p"]), score("b", [0.3, 0.2], ["p", "p"]))
    value = only(found)
    assert value.difference == pytest.approx(0.1)
    assert (value.ci_low, value.p_bootstrap, value.p_randomization, value.p_randomization_holm) == (None,) * 4
    assert "Val, b against a: all 2 cases are of one patient: no interval and no p-value can be had" in found.notes


def test_draws_without_a_score_are_left_out_and_told(score: Score) -> None:
    """Two of three patients have no case that is OK: a resample without the third is 0/0."""
    first = score("a", [0.1, "none", "none", 0.4], ["p", "q", "r", "s"])
    found = compared(first, score("b", [0.3, 0.1, 0.1, 0.5], ["p", "q", "r", "s"]), draws=1000)
    value = only(found)
    assert value.draws_undefined == pytest.approx(1000 / 2**4, abs=40)
    assert value.ci_low == pytest.approx(0.1)
    assert any(f"{value.draws_undefined} resamples and 0 swaps are 0/0" in note for note in found.notes)


def test_nothing_in_common_has_no_score(score: Score) -> None:
    found = compared(score("a", [0.1, "fail"]), score("b", ["fail", 0.2]), metrics="Val")
    assert only(found).difference is None
    assert only(found).p_randomization is None
    assert "Val, b against a: no score in one of them on the 0 cases compared" in found.notes


# ------------------------------------------------------------------ which statistics


def test_the_last_line_of_a_pair_counts(score: Score) -> None:
    first, second = score("a", [0.1, 0.2, 0.3, 0.4]), score("b", [0.2, "fail", 0.3, 0.4])
    Path("answered").touch()
    score("b", [0.2, "fail", 0.3, 0.4])
    file = statistics_of(second)
    lines = store.read_lines(file)
    assert [line["id"] for line in lines] == ["c0", "c1", "c2", "c3", "c1"]
    with store.Appender(file) as out:
        out.write({**lines[0], "key": "of another signature", "values": [50.0, 1, 50, 1]})
    found = only(compared(first, second))
    assert found.run_value == pytest.approx(np.mean([0.2, 0.9, 0.3, 0.4]))
    assert found.n == 4


@pytest.mark.parametrize(
    ("place", "change", "said"),
    [
        (1, {"values": [0.8, 1, 8.0, 1]}, "Val: value 0.4666666667 instead of 0.3"),
        (1, {"values": [0.3, 1, 3.0 + 1e-6, 1]}, "Cost: value 3.000000333 instead of 3"),
        (1, {"values": [0.3, 1]}, "damaged"),
        (1, {"values": [0.3, 1, 3.0, "1"]}, "damaged"),
        (1, {"status": [OK, 10**30]}, "damaged"),
        (1, {"status": [OK, UNDEFINED]}, "Cost: n 2 instead of 3, n_undefined 1 instead of 0"),
        (1, {"key": [1]}, "line 2: key: a string is required"),
        (1, {"key": None}, "line 2: key: a string is required"),
        (1, {"key": "another"}, "no statistics of 1 of 3 cases"),
    ],
)
def test_edited_statistics_are_refused(
    bench: Bench, score: Score, place: int, change: dict[str, Any], said: str
) -> None:
    """Also where the case that was edited is not one of those shared."""
    score("a", [0.1, 0.5], ["p0", "p1"], ids=["c0", "c2"])
    file = statistics_of(score("b", [0.2, 0.3, 0.4]))
    edit_line(file, place, change)
    answer = bench("compare", "runs")
    assert answer.code == 2
    assert str(Path("runs/b/stats/Value.jsonl")) in answer.err
    assert said in answer.err
    assert answer.out == ""


def test_statistics_of_other_widths_are_refused(bench: Bench, score: Score) -> None:
    """RG-L is a mean of its first number by its second: one more changes no score, and still is not what a run has."""
    folders = [score(label, ["a b", "c d"], references=["a b", "c e"], metrics="rouge-l") for label in ("a", "b")]
    file = statistics_of(folders[1])
    for place, line in enumerate(store.read_lines(file)):
        edit_line(file, place, {"values": [*line["values"], 7.0]})
    answer = bench("compare", "runs")
    assert answer.code == 2
    assert "rouge-l.jsonl" in answer.err
    assert "3 statistics a pair" in answer.err


def statistics_of(folder: Path) -> Path:
    (file,) = (folder / "stats").iterdir()
    return file


def edit_line(file: Path, place: int, change: dict[str, Any]) -> None:
    lines = store.read_lines(file)
    lines[place].update(change)
    store.write_text(file, "".join(map(store.json_line, lines)))


def test_no_weights_and_no_server_are_needed(score: Score) -> None:
    folders = [score("a", [0.1, 0.2, 0.3]), score("b", [0.2, 0.3, 0.3])]
    Path("no-server").touch()
    assert only(compared(*folders)).difference == pytest.approx(0.2 / 3)


def test_other_signatures_are_not_compared(score: Score) -> None:
    score_with = "metrics.Value.recipe=other"
    folders = [score("a", [0.1, 0.2]), score("b", [0.2, 0.2]), score("c", [0.3, 0.2], None, "--set", score_with)]
    found = compared(*folders)
    assert {c.run for c in found.comparisons} == {"b"}
    assert "Value: c not compared with a, scored otherwise: recipe:other instead of recipe:plain" in found.notes
    fourth = score("d", [0.9, 0.2], None, "--set", score_with)
    every = compared(*folders, fourth, all_pairs=True)
    assert [(c.baseline, c.run) for c in every.comparisons if c.column == "Val"] == [("a", "b"), ("c", "d")]
    assert [(m["runs"], m["signature"].split("|")[1]) for m in every.as_json()["metrics"]] == [
        (["a", "b"], "recipe:plain"),
        (["c", "d"], "recipe:other"),
    ]
    assert every.worst("Val", "c", "d")[0][1] == pytest.approx(0.0)
    with pytest.raises(BenchError, match="no metric that was computed alike"):
        compared(folders[0], folders[2])


def test_changed_texts_are_not_scored_with_old_statistics(score: Score) -> None:
    first, second = score("a", [0.1, 0.2]), score("b", [0.2, 0.2])
    reports = second / "reports.jsonl"
    reports.write_text(reports.read_text().replace('"0.2"', '"0.9"', 1))
    with pytest.raises(BenchError, match="no statistics of 1 of 2 cases"):
        compared(first, second)


def test_a_metric_without_value_in_one_run(score: Score) -> None:
    first = score("a", ["0.5", "0.6"], metrics=f"{VALUE},rouge-l")
    Path("no-server").touch()
    second = score("b", ["0.7", "0.6"], metrics=f"{VALUE},rouge-l")
    found = compared(first, second)
    assert [c.column for c in found.comparisons] == ["RG-L"]
    assert "Value: not compared with b: it has no value there: no server" in found.notes
    with pytest.raises(BenchError, match=r"(?s)No metric or column compared named 'Val'.*no server"):
        compared(first, second, metrics="Val")


INCOMPLETE = "incomplete: 1 of 4 cases have no verdict, more than max_failed = 0.1"


def test_a_column_without_value_in_a_run_is_not_compared_with_it(bench: Bench, score: Score) -> None:
    """Val of b has a value, Cost of b has none; c has both, and is compared on all four cases."""
    strict = ("--set", "metrics.Value.max_failed=0.1")
    first = score("a", [0.1, 0.2, 0.3, 0.4], None, *strict)
    second = score("b", [0.1, "0.2?", 0.3, 0.9], None, *strict)
    third = score("c", [0.2, 0.2, 0.3, 0.5], None, *strict)
    found = compared(first, second, third)
    assert [(c.column, c.run, c.n) for c in found.comparisons] == [("Val", "b", 4), ("Val", "c", 4), ("Cost", "c", 4)]
    assert f"Cost: not compared with b: it has no value there: {INCOMPLETE}" in found.notes
    assert [(m["columns"], m["runs"]) for m in found.as_json()["metrics"]] == [
        (["Val"], ["a", "b", "c"]),
        (["Cost"], ["a", "c"]),
    ]
    assert {case.id for case, _ in found.worst("Cost", "a", "c")} == {"c0", "c1", "c2", "c3"}
    assert compared(first, third).as_json()["comparisons"][1]["difference"] == only(found, "Cost").difference
    with pytest.raises(BenchError, match=r"(?s)named 'Cost'.*incomplete: 1 of 4"):
        compared(first, second, metrics="Cost")
    with pytest.raises(BenchError, match=r"(?s)named 'Cost'.*Cost: not compared with b"):
        compared(second, third, metrics="Cost")
    every = compared(second, third, first, all_pairs=True)
    assert [(c.baseline, c.run) for c in every.comparisons if c.column == "Cost"] == [("c", "a")]


def test_a_metric_whose_finish_failed_in_a_run_is_not_compared_with_it(score: Score) -> None:
    first = score("a", ["0.5", "0.6"], metrics=f"{VALUE},rouge-l")
    Path("broken").touch()
    second = score("b", ["0.7", "0.6"], metrics=f"{VALUE},rouge-l")
    Path("broken").unlink()
    found = compared(first, second)
    assert {c.column for c in found.comparisons} == {"RG-L"}
    assert "Value: not compared with b: it has no value there: ZeroDivisionError: a bug of the metric" in found.notes


def test_a_column_that_a_summary_does_not_hold_is_not_compared(score: Score) -> None:
    folders = [score("a", [0.1, 0.2]), score("b", [0.1, 0.3])]
    summary = store.read_json(folders[1] / "summary.json")
    del summary["scores"]["Cost"]
    store.write_json(folders[1] / "summary.json", summary)
    found = compared(*folders)
    assert [c.column for c in found.comparisons] == ["Val"]
    assert "Cost: not compared with b: its summary.json has no such column" in found.notes


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("broken", "metric Value: finish failed: ZeroDivisionError: a bug of the metric"),
        ("flat", "metric Value: finish must turn totals [4] into [2], not [3]"),
        ("no-building", "Value: not compared with a: it cannot be built: KeyError: 'a bug of the metric'"),
    ],
)
def test_a_bug_of_a_metric_is_one_message(bench: Bench, score: Score, file: str, said: str) -> None:
    score("a", [0.1, 0.2])
    score("b", [0.1, 0.3])
    Path(file).touch()
    answer = bench("compare", "runs")
    assert answer.code == 2
    assert said in answer.err


def test_a_file_plugin_is_looked_for_where_it_is(
    bench: Bench, score: Score, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copy(__file__, "mine.py")
    folders = [score(label, ["0.1", "0.2"], metrics="./mine.py:Value,rouge-l").resolve() for label in ("a", "b")]
    assert len(compared(*folders).comparisons) == 3
    monkeypatch.chdir(tmp_path)
    found = compared(*folders)
    assert [c.column for c in found.comparisons] == ["RG-L"]
    assert (
        "Value: not compared with a: no file mine.py here: run bench compare in the folder that the run was started in"
        in found.notes
    )


def test_a_metric_that_one_run_was_not_scored_by(score: Score) -> None:
    found = compared(score("a", ["0.5", "0.6"], metrics=f"{VALUE},rouge-l,bleu-4"), score("b", ["0.7", "0.6"]))
    assert {c.column for c in found.comparisons} == {"Val", "Cost"}
    assert "b was not scored by bleu-4, rouge-l" in found.notes


# ------------------------------------------------------------------ which cases


def test_cases_that_one_run_lacks_are_left_out(score: Score) -> None:
    first = score("a", [0.1, 0.2, 0.3], ["p", "q", "r"])
    second = score("b", [0.7, 0.8], ["r", "p"], ids=["c2", "c0"])
    found = compared(first, second)
    assert only(found).baseline_value == pytest.approx(0.2)
    assert only(found).run_value == pytest.approx(0.75)
    assert "a: 1 of 3 cases are not in every run, left out" in found.notes
    assert found.ids == ["c0", "c2"]


def test_other_data_are_refused(score: Score) -> None:
    first = score("a", [0.1, 0.2])
    with pytest.raises(BenchError, match=r"different references for 1 of 2 cases, e\.g\. c1"):
        compared(first, score("b", [0.1, 0.2], references=["reference c0", "another"]))
    with pytest.raises(BenchError, match="share no case"):
        compared(first, score("c", [0.1, 0.2], ids=["x", "y"]))
    with pytest.raises(BenchError, match="different patients"):
        compared(first, score("d", [0.1, 0.2], ["p0", "p7"]))


def test_another_dataset_is_refused(score: Score) -> None:
    folders = [score("a", [0.1, 0.2]), score("b", [0.1, 0.2])]
    for folder, seed in zip(folders, (1, 2), strict=True):
        run = store.read_json(folder / "run.json")
        run.update(dataset="demo", split="test", dataset_fingerprint=f"print {seed}")
        run["config"]["dataset"] = {"use": "demo", "seed": seed}
        store.write_json(folder / "run.json", run)
    with pytest.raises(BenchError, match=r"not on the same data: dataset\.seed: 1 -> 2"):
        compared(*folders)


def test_a_run_without_patients_takes_those_of_the_other(score: Score) -> None:
    first = score("a", [0.1, 0.2, 0.3, 0.4])
    second = score("b", [0.2, 0.2, 0.4, 0.4], ["c0", "c1", "c2", "c3"])
    assert only(compared(second, first)).n_groups == 2
    third = score("c", [0.2, 0.2, 0.4, 0.4], ["c0", "c1", "c2", "c3"])
    assert "No run names patients: every case is drawn and swapped alone" in compared(second, third).notes


# ------------------------------------------------------------------ the command


def test_the_table(bench: Bench, score: Score, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    base = rng.random(60).round(3)
    score("a", list(base))
    score("b", list((base + 0.2 * rng.random(60)).round(3)))
    monkeypatch.setenv("COLUMNS", "80")
    answer = bench("compare", "runs")
    assert answer.code == 0, answer.err
    assert max(map(len, answer.out.splitlines())) <= 80
    (row,) = [line for line in answer.out.splitlines() if line.lstrip().startswith("Value")]
    assert [row.split()[k] for k in (1, -2, -1)] == [f"{100 * base.mean():.2f}", "*", "60"]
    assert "b against a" in answer.out
    assert "Cost ↓" in answer.out
    assert "corrected for 2 comparisons (Holm)" in answer.out


def test_the_legend_counts_the_tests_there_are(bench: Bench, score: Score) -> None:
    """No case has both costs: that comparison has no p-value, and the correction does not count it."""
    score("a", ["0.1?", 0.5, "0.3?", 0.9])
    score("b", [0.2, "0.1?", 0.3, "0.8?"])
    assert [c["p_randomization"] is None for c in as_json(bench)["comparisons"]] == [False, True]
    assert "corrected for 1 comparison (Holm)" in bench("compare", "runs").out
    assert "corrected for 1 comparison (Holm)" in bench("compare", "runs", "--trials", 0).out
    nothing = bench("compare", "runs", "--draws", 0, "--trials", 0).out
    assert "no resampling" in nothing
    assert "p-values" not in nothing
    assert "seed" not in nothing
    none = bench("compare", "runs", "--metrics", "Cost").out
    assert "p swap: approximate randomization" in none
    assert "p-values" not in none


@pytest.mark.parametrize(("patients", "warned"), [(3, True), (19, True), (20, False)])
def test_few_patients_are_warned_of(bench: Bench, score: Score, patients: int, warned: bool) -> None:
    groups = [f"p{i}" for i in range(patients)]
    for label, slope in (("a", 0.01), ("b", 0.02)):
        score(label, [slope * i for i in range(patients)], groups)
    out = bench("compare", "runs").out
    assert (f"Only {patients} patients" in out) == warned
    if patients == 3:
        assert "p swap is never below 0.25" in out  # of 2^3 ways to swap, a difference and its negative are two


def as_json(bench: Bench) -> Any:
    return json.loads(bench("compare", "runs", "--json").out)


def test_json_and_files(bench: Bench, score: Score) -> None:
    folders = [score("a", [0.1, 0.5, 0.3]), score("b", [0.2, 0.1, 0.3])]
    answer = bench("compare", *folders, "--json", "--draws", 50, "--worst", "Val", "--top", 1, "-o", "all.csv")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert [run["label"] for run in found["runs"]] == ["a", "b"]
    assert found["comparisons"][0]["difference"] == pytest.approx(-0.1)
    assert found["settings"]["draws"] == 50
    assert [case["id"] for case in found["worst"]] == ["c1"]
    rows = list(csv.DictReader(Path("all.csv").read_text().splitlines()))
    assert float(rows[0]["p_randomization"]) == found["comparisons"][0]["p_randomization"]
    worst = list(csv.DictReader(Path("all-worst.csv").read_text().splitlines()))
    assert [row["id"] for row in worst] == ["c1", "c2", "c0"]
    assert bench("compare", *folders, "--draws", 50, "--worst", "Val", "-o", "all.json").code == 0
    assert len(json.loads(Path("all.json").read_text())["worst"]) == 3


def test_worst_cases_come_first_and_lower_can_be_better(bench: Bench, score: Score) -> None:
    folders = [score("a", [0.1, 0.5, 0.3, "none"]), score("b", [0.2, 0.1, "none", 0.3])]
    answer = bench("compare", *folders, "--draws", 0, "--worst", "Val")
    places = [answer.out.index(f"{n}. {change}") for n, change in ((1, "−40.00 (50.00 → 10.00)  c1"), (2, "+10.00"))]
    assert places == sorted(places)
    assert "reference: reference c1" in answer.out
    assert "3. " not in answer.out
    found = compared(*folders, draws=0)
    assert [case.id for case, _ in found.worst("Cost", "a", "b")] == ["c0", "c1"]


def test_another_baseline(bench: Bench, score: Score) -> None:
    for label, value in (("a", 0.1), ("b", 0.2), ("c", 0.3)):
        score(label, [value, value])
    found = json.loads(bench("compare", "runs", "--baseline", "b", "--metrics", "Value", "--json").out)
    assert [(c["baseline"], c["run"]) for c in found["comparisons"][::2]] == [("b", "a"), ("b", "c")]
    first = json.loads(bench("compare", "runs/c", "runs", "--metrics", "Val", "--json").out)
    assert [(c["baseline"], c["run"]) for c in first["comparisons"]] == [("c", "a"), ("c", "b")]
    refused = bench("compare", "runs", "--baseline", "d")
    assert refused.code == 2
    assert "Known: a, b, c" in refused.err


def test_runs_of_one_label_are_told_apart_by_their_folders(score: Score) -> None:
    folders = [score("a", [0.1, 0.2], out=out) for out in ("one", "two")]
    assert compared(*folders).labels == ["one/a", "two/a"]


def test_the_seed_decides(bench: Bench, score: Score) -> None:
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        score(label, list(rng.random(30).round(3)))
    one, again, other = (bench("compare", "runs", "--json", "--seed", seed).out for seed in (1, 1, 2))
    assert one == again
    assert one != other


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("runs/a",), "two or more runs"),
        (("runs/a", "runs/a"), "two or more runs"),
        (("runs/a", "nowhere"), "no such folder"),
        (("runs", "--metrics", "Valu"), "Did you mean"),
        (("runs", "--worst", "nothing"), "Known: Cost, Val"),
        (("runs", "--out", "x.txt"), "must end in .csv or .json"),
        (("runs", "--confidence", "1"), "confidence"),
    ],
)
def test_bad_requests_end_with_a_message(bench: Bench, score: Score, arguments: tuple[str, ...], word: str) -> None:
    score("a", [0.1, 0.2])
    score("b", [0.1, 0.3])
    answer = bench("compare", *arguments)
    assert answer.code == 2
    assert word in answer.err
    assert answer.out == ""


def test_an_unfinished_run_is_refused(bench: Bench, score: Score) -> None:
    score("a", [0.1, 0.2])
    (score("b", [0.1, 0.3]) / "done.json").unlink()
    answer = bench("compare", "runs")
    assert answer.code == 2
    assert "b: not finished: 2 of 2 reports" in answer.err


def test_damaged_statistics_are_named(bench: Bench, score: Score) -> None:
    score("a", [0.1, 0.2])
    file = next((score("b", [0.1, 0.3]) / "stats").iterdir())
    file.write_text(file.read_text().replace('"values"', '"valeus"', 1))
    answer = bench("compare", "runs")
    assert answer.code == 2
    assert f"{file.name}: damaged" in answer.err


def change_json(file: str, change: Callable[[Any], None]) -> None:
    value = store.read_json(Path(file))
    change(value)
    Path(file).write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("file", "change", "where"),
    [
        ("run.json", lambda run: run.pop("config"), "config: Field required"),
        ("run.json", lambda run: run["config"].update(metrics=[VALUE]), "config.metrics"),
        ("run.json", lambda run: run["config"]["metrics"].update(Value={}), "config.metrics.Value.use"),
        ("run.json", lambda run: run["config"]["metrics"].update(Value="x"), "config.metrics.Value"),
        ("run.json", lambda run: run.update(config=None), "config"),
        ("summary.json", lambda summary: summary.update(scores=[1]), "scores"),
        ("summary.json", lambda summary: summary["scores"].update(Val=3), "scores.Val"),
        ("summary.json", lambda summary: summary["scores"]["Val"].update(value="0.15"), "scores.Val.value"),
        ("summary.json", lambda summary: summary["scores"]["Val"].update(value=float("nan")), "scores.Val.value"),
        ("summary.json", lambda summary: summary["scores"]["Val"].pop("n"), "scores.Val.n"),
        ("summary.json", lambda summary: summary["scores"]["Val"].update(signature=1), "scores.Val.signature"),
        ("summary.json", lambda summary: summary.update(label=None), "label"),
        ("summary.json", lambda summary: summary.update(stand_ins={"a": 1}), "stand_ins"),
        ("summary.json", lambda summary: summary.pop("dataset"), "dataset"),
    ],
)
def test_damaged_files_are_named_with_the_key(
    bench: Bench, score: Score, file: str, change: Callable[[Any], None], where: str
) -> None:
    score("a", [0.1, 0.2])
    score("b", [0.1, 0.3])
    change_json(f"runs/b/{file}", change)
    answer = bench("compare", "runs")
    assert answer.code == 2
    assert f"runs/b/{file}: {where}" in answer.err
    assert answer.out == ""


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("cases.jsonl", {"group": None}, "line 2: group: a string is required (given: None)"),
        ("cases.jsonl", {"id": [1]}, "line 2: id: a string is required"),
        ("cases.jsonl", {"reference": 1}, "line 2: reference: a string is required"),
        ("cases.jsonl", {"id": "c7"}, "no report on case 'c7'"),
        ("reports.jsonl", {"text": None}, "line 2: text: a string is required"),
        ("reports.jsonl", {"id": {}}, "line 2: id: a string is required"),
    ],
)
def test_damaged_lines_are_named(bench: Bench, score: Score, file: str, change: dict[str, Any], said: str) -> None:
    score("a", [0.1, 0.2])
    edit_line(score("b", [0.1, 0.3]) / file, 1, change)
    answer = bench("compare", "runs")
    assert answer.code == 2
    assert "runs/b/" in answer.err
    assert said in answer.err


def test_text_that_is_no_valid_unicode_is_compared_as_it_was_scored(score: Score) -> None:
    folders = [score(label, ["a b", "c d"], references=["a b", "c e"], metrics="rouge-l") for label in ("a", "b")]
    for folder in folders:
        edit_line(folder / "reports.jsonl", 1, {"text": "c \ud800"})
        scored_again(folder, "c1", "c \ud800", "c e")
    assert only(compared(*folders), "RG-L").n == 2


def scored_again(folder: Path, case_id: str, text: str, reference: str) -> None:
    """Give the statistics of a case the key of another text."""
    signature = store.read_json(folder / "summary.json")["scores"]["RG-L"]["signature"]
    key = scoring.key_of(signature, Pair(case_id, "", text, reference))
    edit_line(statistics_of(folder), 1, {"key": key})


def test_reading_a_run_leaves_it_as_it_is(bench: Bench, score: Score) -> None:
    """A run under way has half a line at the end of a file: its writer will write the rest."""
    score("a", [0.1, 0.2])
    running = score("b", [0.1, 0.3])
    (running / "done.json").unlink()
    for file in (running / "reports.jsonl", running / "cases.jsonl", statistics_of(running)):
        with file.open("a") as out:
            out.write('{"id": "c2", "te')
    before = {file: file.read_bytes() for file in Path("runs").rglob("*") if file.is_file()}
    assert "2 of 2 reports" in bench("compare", "runs").err
    assert "2 of 2 reports" in bench("show", "runs").out
    assert bench("show", running, "--case", "c1").code == 0
    (running / "done.json").touch()
    assert bench("compare", "runs").code == 0
    (running / "done.json").unlink()
    assert {file: file.read_bytes() for file in Path("runs").rglob("*") if file.is_file()} == before


def test_who_appends_cuts_the_half_line_off(score: Score) -> None:
    file = statistics_of(score("a", [0.1, "fail"]))
    with file.open("a") as out:
        out.write('{"id": "c2", "te')
    Path("answered").touch()
    score("a", [0.1, "fail"])
    assert [line["id"] for line in store.read_lines(file)] == ["c0", "c1", "c1"]
    assert file.read_bytes().endswith(b"}\n")


def test_scores_of_one_patient_have_no_interval(bench: Bench, score: Score) -> None:
    score("one", [0.1, 0.2], ["p", "p"])
    scores = store.read_json(Path("runs/one/summary.json"))["scores"]
    assert [(s["value"] is not None, s["ci_low"], s["ci_high"]) for s in scores.values()] == [(True, None, None)] * 2
    shown = bench("show", "runs/one").out
    assert "Cost, Val: one patient: no interval" in shown
    assert "Below each score" not in shown
    score("two", [0.1, 0.2], ["p", "q"])
    two = bench("show", "runs/two").out
    assert "no interval" not in two
    assert "Below each score its interval" in two
