"""What a run makes of a metric with failures, with tables, with a server that goes away."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.contracts import FAILED, OK, Column, Pair, SmallTable, Stats
from bench.errors import ServerLost, Unavailable
from bench.options import Options

HERE = Path(__file__)
Bench = Callable[..., Any]


class JudgedOptions(Options):
    limit: float = 1.0
    leaves: float = 0.0
    """Statistics of a pair without a verdict, which should be none."""
    unsigned: bool = False


class Judged:
    """Share of pairs that the file "judge" approves: one id and verdict a line; an id without a line has none.

    A line "lost" takes the server away, "swap" changes the judge's weights meanwhile; asked ids are noted in "asked".
    """

    Options = JudgedOptions
    columns = (Column("Judged", "Judged"),)

    def __init__(self, options: JudgedOptions, context: Any) -> None:
        self.options = options
        self.max_failed = options.limit

    def signature(self) -> str:
        if self.options.unsigned:
            raise Unavailable("no judge answers", "start one")
        return f"judged|{Path('weights').read_text() if Path('weights').exists() else 'none'}"

    def observe(self, pairs: Sequence[Pair]) -> Stats:
        lines = Path("judge").read_text().split("\n")
        with Path("asked").open("a") as file:
            file.writelines(f"{pair.id}\n" for pair in pairs)
        if "lost" in lines:
            raise ServerLost("the judge went away; start it again, the same command continues")
        if "swap" in lines:
            Path("weights").write_text("others")
            Path("judge").write_text("\n".join(line for line in lines if line != "swap"))
        verdicts = dict(line.split() for line in lines if line and line != "swap")
        found = [verdicts.get(pair.id) for pair in pairs]
        values = np.array([[float(v or self.options.leaves), float(v is not None)] for v in found])
        return Stats(values, np.array([[FAILED if v is None else OK] for v in found], np.int8))

    def finish(self, totals: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return totals[..., :1] / totals[..., 1:]

    def tables(self, totals: np.ndarray) -> Sequence[SmallTable]:
        return (
            SmallTable("Verdicts", ("what", "n"), (("approved, wholly", f"{totals[0]:.0f}"),)),
            SmallTable("More", ("a",), (("b",),)),
        )

    def explain(self, pair: Pair) -> list[Any]:
        return []


def write(n: int, options: str = "") -> None:
    """Write predictions p0 … and a metric section."""
    rows = [["id", "group", "candidate", "reference"], *([f"p{i}", f"g{i // 2}", "said", "true"] for i in range(n))]
    with Path("p.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    Path("c.yaml").write_text(f"metrics: {{j: {{use: '{HERE}:Judged', {options}}}, bleu-4: {{}}}}\n")


def judge(verdicts: str) -> None:
    Path("judge").write_text("\n".join(f"p{i} {v}" for i, v in enumerate(verdicts) if v != "-"))


def score(bench: Bench, *more: object) -> tuple[Any, dict[str, Any]]:
    answer = bench("score", "p.csv", "-c", "c.yaml", "--out", "o", *more)
    file = Path("o/summary.json")
    return answer, json.loads(file.read_text())["scores"] if file.exists() else {}


def asked() -> list[str]:
    return Path("asked").read_text().split()


def test_failed_pairs_are_counted_left_out_and_asked_again(bench: Bench) -> None:
    write(10)
    judge("11--001110")
    answer, scores = score(bench)
    entry = scores["j/Judged"]
    assert (entry["value"], entry["n"], entry["n_failed"]) == (5 / 8, 8, 2)
    assert "2 of 10 cases without a verdict" in answer.out
    judge("1111001110")
    _, scores = score(bench)
    assert (scores["j/Judged"]["value"], scores["j/Judged"]["n_failed"]) == (0.7, 0)
    assert asked()[10:] == ["p2", "p3"]
    score(bench)
    assert len(asked()) == 12


@pytest.mark.parametrize(("limit", "complete"), [(0.2, True), (0.19, False)])
def test_more_failures_than_max_failed_make_a_score_incomplete(bench: Bench, limit: float, complete: bool) -> None:
    write(10, f"limit: {limit}")
    judge("11--001110")
    answer, scores = score(bench)
    entry = scores["j/Judged"]
    assert (entry["value"] is not None) == complete
    assert (entry["ci_low"] is not None) == complete
    assert entry["n_failed"] == 2
    if not complete:
        assert entry["reason"] == "incomplete: 2 of 10 cases have no verdict, more than max_failed = 0.19"
        assert "incomplete" in answer.out
        assert score(bench, "--strict")[0].code == 2


def test_a_lost_server_stops_the_run_after_the_other_metrics(bench: Bench) -> None:
    write(6)
    Path("judge").write_text("lost")
    answer, scores = score(bench)
    assert answer.code == 2
    assert "the judge went away; start it again, the same command continues" in answer.err
    assert scores == {}
    assert not Path("o/done.json").exists()
    assert len(Path("o/stats/bleu-4.jsonl").read_text().splitlines()) == 6
    judge("101010")
    answer, scores = score(bench)
    assert answer.code == 0
    assert scores["j/Judged"]["value"] == 0.5
    assert scores["j/Judged"]["n_failed"] == 0


def test_tables_of_a_metric_are_files_of_the_run(bench: Bench) -> None:
    write(4)
    judge("1101")
    score(bench)
    with Path("o/tables/j.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["what", "n"], ["approved, wholly", "3"]]
    assert Path("o/tables/j@2.csv").read_text() == "a\nb\n"


def test_a_metric_that_cannot_sign_is_missing_and_the_others_run(bench: Bench) -> None:
    write(4, "unsigned: true")
    answer, scores = score(bench)
    assert answer.code == 0
    assert scores["j/Judged"]["value"] is None
    assert (scores["j/Judged"]["reason"], scores["j/Judged"]["remedy"]) == ("no judge answers", "start one")
    assert scores["BL4"]["value"] is not None


@pytest.mark.parametrize(
    "damage",
    ['"values": [NaN, 1.0]', '"values": [1.0]', '"values": "x"', '"other": 1'],
    ids=["not finite", "too short", "no numbers", "no values"],
)
def test_damaged_statistics_are_named(bench: Bench, damage: str) -> None:
    write(4)
    judge("1101")
    score(bench)
    file = Path("o/stats/j.jsonl")
    file.write_text(file.read_text().replace('"values": [1.0, 1.0]', damage, 1))
    _, scores = score(bench)
    assert scores["j/Judged"]["value"] is None
    assert "o/stats/j.jsonl: damaged" in scores["j/Judged"]["reason"]


def test_scoring_without_a_file_means_the_papers_metrics_not_the_demos_stand_ins(bench: Bench) -> None:
    from bench.config import Choices, load_scoring

    scoring = load_scoring(None, Choices())
    assert scoring.source == "configs/paper.yaml (embedded)"
    assert not any("rules" in str(entry.options) for entry in scoring.metrics)


@pytest.mark.parametrize("judge", ["anthropic/claude-opus-4-5", "openai/gpt-5", "ollama/llama3:70b-cloud"])
def test_texts_of_a_file_are_kept_from_remote_judges_unless_they_are_public(
    bench: Bench, judge: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "a-key")
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")  # nobody listens on the discard port
    monkeypatch.setenv("OPENAI_BASE_URL", "http://192.0.2.1:9/v1")  # a test address of RFC 5737: nobody answers
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://192.0.2.1:9")
    write(2)
    remote = ("--metrics", "radfact,bleu-4", "--set", f"metrics.radfact.judge={judge}")
    answer = bench("score", "p.csv", "--out", "o", *remote)
    assert answer.code == 2
    assert "the texts of a file may be credentialed" in answer.err
    assert "would leave this machine" in answer.err
    assert [path.name for path in Path("o").iterdir()] == [".lock"]


def test_nothing_is_kept_of_a_chunk_in_which_the_recipe_changed(bench: Bench) -> None:
    write(4)
    judge("1101")
    Path("judge").write_text(Path("judge").read_text() + "\nswap")
    answer, _ = score(bench)
    assert answer.code == 2
    assert "it was judged|none and is judged|others" in answer.err
    assert Path("o/stats/j.jsonl").read_text() == ""
    answer, scores = score(bench)
    assert (scores["j/Judged"]["value"], scores["j/Judged"]["signature"]) == (0.75, "judged|others")


def test_an_explanation_by_another_recipe_is_said(bench: Bench) -> None:
    write(4)
    judge("1101")
    score(bench)
    assert "Explained by" not in bench("show", "o", "--case", "p0", "--explain", "j").out
    Path("weights").write_text("others")
    shown = bench("show", "o", "--case", "p0", "--explain", "j")
    assert "Explained by judged|others, but scored by judged|none: these may differ." in shown.out


def test_a_run_that_was_public_once_is_not_public_for_good(bench: Bench) -> None:
    write(2)
    judge("11")
    recorded = lambda: json.loads(Path("o/run.json").read_text())["credentialed"]  # noqa: E731
    score(bench, "--public")
    assert recorded() is False
    score(bench)
    assert recorded() is True
    score(bench, "--public")
    assert recorded() is True


def test_infinite_options_are_refused(bench: Bench) -> None:
    write(2, "limit: .inf")
    answer, _ = score(bench)
    assert answer.code == 2
    assert "metrics.j.limit" in answer.err


def test_a_terminated_command_ends_as_an_interrupted_one(tmp_path: Path) -> None:
    code = (
        "import os, signal\nfrom bench import cli, registry\n"
        "registry.table = lambda kind: os.kill(os.getpid(), signal.SIGTERM)\ncli.main(['list'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 130
    assert "the same command continues" in done.stderr


def test_a_failed_pair_with_statistics_is_refused(bench: Bench) -> None:
    write(3, "leaves: 0.5")
    judge("1-1")
    _, scores = score(bench)
    assert "a pair that is OK for no column has statistics" in scores["j/Judged"]["reason"]


class Twin(Judged):
    """A metric with another's column."""

    columns = (Column("BL4", "BL4"),)


class Broken(Judged):
    """A metric with a bug where it is built."""

    def signature(self) -> str:
        raise KeyError("a bug")


def test_two_metrics_with_one_column_are_refused(bench: Bench) -> None:
    write(2)
    answer = bench("score", "p.csv", "--metrics", f"bleu-4,{HERE}:Twin", "--out", "o")
    assert answer.code == 2
    assert "metrics 'bleu-4' and 'Twin' both report a column 'BL4'" in answer.err


def test_a_metric_that_cannot_be_built_is_named_without_a_traceback(bench: Bench) -> None:
    write(2)
    answer = bench("score", "p.csv", "--metrics", f"{HERE}:Broken", "--out", "o")
    assert answer.code == 2
    assert "metric 'Broken' cannot be built: KeyError: 'a bug'" in answer.err


def test_labels_that_would_share_a_file_are_refused(bench: Bench) -> None:
    write(2)
    Path("c.yaml").write_text("metrics: {a__b: {use: bleu-4}}")
    assert "no two _ in a row" in score(bench)[0].err


@pytest.mark.parametrize(("width", "tables"), [(80, 2), (60, 3), (200, 1)])
def test_a_table_that_is_too_wide_is_cut_between_columns(width: int, tables: int) -> None:
    from rich.console import Console

    from bench import show

    one = {"value": 0.4567, "ci_low": 0.4, "ci_high": 1.0, "heading": "Heading", "scale": 100, "decimals": 1}
    summaries = [{"label": f"a-system-of-name-{n}", "scores": {f"K{i}": one for i in range(12)}} for n in range(2)]
    drawn = show.score_tables(summaries, width=width)
    assert len(drawn) == tables
    console = Console(width=width, record=True, file=open("drawn", "w"))  # noqa: SIM115
    for table in drawn:
        console.print(table)
    text = console.export_text()
    assert text.count("45.7") == text.count("100.0") == 24
    assert text.count("Heading") == 12
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize(("columns", "whole"), [(3, True), (6, False)])
def test_a_long_name_is_folded_only_where_it_has_to_be(columns: int, whole: bool) -> None:
    from rich.console import Console

    from bench import show

    score = {"value": 0.4567, "ci_low": 0.4, "ci_high": 1.0, "heading": "Heading", "scale": 100, "decimals": 1}
    label = "a-system-of-a-rather-long-name"
    [table] = show.score_tables([{"label": label, "scores": {f"K{i}": score for i in range(columns)}}], width=80)
    console = Console(width=80, record=True, file=open("drawn", "w"))  # noqa: SIM115
    console.print(table)
    text = console.export_text()
    assert text.count("Heading") == columns
    assert (label in text) == whole


def test_undefined_and_failed_cases_are_counted_below_the_table(bench: Bench) -> None:
    Path("p.csv").write_text("id,candidate,reference\na,,There is edema.\nb,There is edema.,There is edema.\n")
    answer = bench("score", "p.csv", "-c", "demo", "--metrics", "radfact", "--out", "o", "--columns", "full")
    assert "p: RadFact-P: 1 of 2 cases undefined, left out" in answer.out
