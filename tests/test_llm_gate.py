"""Credentialed text stays on this machine: every disguise of a remote judge, attestation, and the side doors."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import llm_servers as servers
import pytest

from bench import config
from bench.context import RunContext
from bench.contracts import Answer, Message, Question
from bench.errors import BenchError, ServerLost, Unavailable
from bench.llm.gate import is_cloud_model, is_this_machine, place_of

QUESTION = Question((Message("user", "a report"),), {"type": "object"})
NOWHERE = {"OLLAMA_HOST": "", "OPENAI_BASE_URL": "", "ANTHROPIC_BASE_URL": "", "ANTHROPIC_BEDROCK_BASE_URL": ""}

REMOTE: list[tuple[str, dict[str, Any], dict[str, str], str]] = [
    ("ollama/llama3", {"host": "http://192.168.1.20:11434"}, {}, "192.168.1.20"),
    ("ollama/llama3", {"host": "gpu-box"}, {}, "gpu-box"),
    ("ollama/llama3", {"host": "https://ollama.com"}, {}, "ollama.com"),
    ("ollama/llama3", {}, {"OLLAMA_HOST": "gpu-box:11434"}, "gpu-box"),
    ("ollama/llama3", {"host": "127.0.0.1.example.com"}, {}, "127.0.0.1.example.com"),
    ("ollama/llama3", {"host": "localhost.example.com"}, {}, "localhost.example.com"),
    ("ollama/llama3", {"host": "local-host"}, {}, "local-host"),
    ("ollama/llama3", {"host": "http://[::ffff:8.8.8.8]"}, {}, "::ffff:8.8.8.8"),
    ("ollama/llama3", {"host": "http://[2001:db8::1]:11434"}, {}, "2001:db8::1"),
    ("ollama/llama3", {"host": "128.0.0.1"}, {}, "128.0.0.1"),
    ("ollama/llama3", {"host": "http://0x7f.0.0.1"}, {}, "0x7f.0.0.1"),
    ("ollama/llama3", {"host": "http://2130706433"}, {}, "2130706433"),
    ("ollama/gpt-oss:120b-cloud", {}, {}, "ollama.com"),
    ("ollama/gpt-oss:120b-CLOUD", {}, {}, "ollama.com"),
    ("ollama/glm-4.6:cloud", {"host": "localhost"}, {}, "ollama.com"),
    ("openai/gpt-5", {}, {}, "api.openai.com"),
    ("openai/judge", {"base_url": "http://10.0.0.7:8000/v1"}, {}, "10.0.0.7"),
    ("openai/judge", {}, {"OPENAI_BASE_URL": "https://llm.example.org/v1"}, "llm.example.org"),
    ("openai/gpt-oss:120b-cloud", {"base_url": "http://localhost:11434/v1"}, {}, "ollama.com"),
    ("anthropic/claude", {}, {}, "api.anthropic.com"),
    ("anthropic/claude", {"base_url": "http://127.0.0.1:4000"}, {}, "127.0.0.1"),
    ("anthropic/claude", {}, {"ANTHROPIC_BASE_URL": "http://localhost:4000"}, "localhost"),
    ("anthropic/claude", {"client": "bedrock", "region": "us-east-1"}, {}, "bedrock-runtime.us-east-1.amazonaws.com"),
    ("anthropic/claude", {"client": "vertex", "region": "global"}, {}, "aiplatform.googleapis.com"),
    ("anthropic/claude", {"client": "vertex", "region": "eu"}, {}, "aiplatform.eu.rep.googleapis.com"),
]
ODD = [
    "http://localhost@evil.org",
    "http://127.0.0.1:80@evil.org:11434",
    "localhost@evil.org",
    "http://evil.org#@127.0.0.1",
    "http://evil.org?@127.0.0.1",
    "http://127.0.0.1\\@evil.org",
    "http://evil.org\\.127.0.0.1",
    "http://127.0.0.1\n.evil.org",
    "http://127.0.0.1 .evil.org",
    "ftp://127.0.0.1",
    "http://１２７.0.0.1",
    "http://[::1%25eth0]",
    "http://127.0.0.1:99999",
    "http://",
]
LOCAL = ["", "127.0.0.1", "localhost", "LOCALHOST:1234", "http://127.8.9.1", "0.0.0.0", ":4242", "[::1]:11434", "[::]"]
LOCAL += ["http://[::ffff:127.0.0.1]:11434", "http://localhost:11434/"]


def made(tmp_path: Path, use: str, options: dict[str, Any], attested: tuple[str, ...] = ()) -> RunContext:
    parts = {"llms": {"judge": {"use": use, **options}}}
    context = RunContext(workdir=tmp_path / "w", cache_root=tmp_path / "c", parts=parts, attested=attested)
    context.credentialed = True
    return context


@pytest.fixture(autouse=True)
def _no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NOWHERE:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("use", "options", "environment", "host"), REMOTE)
def test_every_disguise_is_refused_until_its_very_host_is_attested(
    use: str,
    options: dict[str, Any],
    environment: dict[str, str],
    host: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BenchError, match="the dataset is credentialed") as refused:
        made(tmp_path, use, options).llm("judge")
    assert f"attest_zero_retention: [{host}]" in str(refused.value)
    with pytest.raises(BenchError, match="the dataset is credentialed"):
        made(tmp_path, use, options, (f"other.{host}", "api.example.com")).for_run(tmp_path).llm("judge")
    context = made(tmp_path, use, options, (host,)).for_run(tmp_path)
    context.llm("judge")
    (record,) = context.llms_used()
    assert (record["local"], record["attested"], record["hosts_beyond"]) == (False, True, [host])


@pytest.mark.parametrize("host", ODD)
def test_an_address_that_parsers_may_read_in_two_ways_is_refused(host: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"host: .* is not a"):
        made(tmp_path, "ollama/llama3", {"host": host}, ("evil.org", "localhost", "127.0.0.1")).llm("judge")
    with pytest.raises(BenchError, match=r"base_url: .* is not a"):
        made(tmp_path, "openai/judge", {"base_url": host}).llm("judge")


@pytest.mark.parametrize("host", LOCAL)
def test_this_machine_needs_no_attestation(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = made(tmp_path, "ollama/llama3", {"host": host} if host else {})
    context.llm("judge")
    assert context.llms_used()[0]["local"] is True
    monkeypatch.setenv("OLLAMA_HOST", host)
    made(tmp_path, "ollama/llama3", {}).llm("ollama/llama3")


def test_a_model_in_this_process_is_local(tmp_path: Path) -> None:
    context = made(tmp_path, "llama.cpp/judge.gguf", {})
    context.llm("judge")
    assert context.llms_used()[0]["local"] is True


def test_a_cloud_model_behind_a_remote_ollama_needs_both_attested(tmp_path: Path) -> None:
    options = {"host": "gpu-box"}
    for attested in (("gpu-box",), ("ollama.com",)):
        with pytest.raises(BenchError, match=r"attest_zero_retention: \[gpu-box, ollama.com\]"):
            made(tmp_path, "ollama/glm:cloud", options, attested).llm("judge")
    made(tmp_path, "ollama/glm:cloud", options, ("gpu-box", "ollama.com")).llm("judge")


def test_nothing_is_asked_of_data_that_is_not_credentialed(tmp_path: Path) -> None:
    context = made(tmp_path, "openai/gpt-5", {})
    context.credentialed = False
    context.llm("judge")


def test_a_client_taken_before_the_dataset_was_opened_is_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.llm.gate.is_this_machine", lambda host: False)
    with servers.OllamaServer() as server:
        context = made(tmp_path, f"ollama/{server.model}", {"host": server.url})
        context.credentialed = False
        judge = context.for_run(tmp_path / "run").llm("judge")
        context.credentialed = True
        for call in (judge.fingerprint, lambda: judge.ask([QUESTION]), lambda: asyncio.run(judge.answer(QUESTION))):
            with pytest.raises(BenchError, match="the dataset is credentialed"):
                call()
        assert server.seen == []


@pytest.mark.parametrize("remote", [{"remote_host": "https://ollama.com:443"}, {"remote_model": "glm-4.6"}])
def test_a_local_ollama_that_turns_out_to_pass_text_on_gets_no_text(tmp_path: Path, remote: dict[str, str]) -> None:
    with servers.OllamaServer(model="mine:latest", remote=remote) as server:
        judge = made(tmp_path, "ollama/mine", {"host": server.url}).llm("judge")
        for _ in range(2):
            with pytest.raises(BenchError, match=r"only passes 'mine' on.*\n*.*attest_zero_retention: \[ollama.com\]"):
                judge.ask([QUESTION])
        assert server.asked == []
        attested = made(tmp_path, "ollama/mine", {"host": server.url}, ("ollama.com",))
        assert isinstance(attested.llm("judge").ask([QUESTION])[0], Answer)
        record = attested.llms_used()[0]
        assert (record["local"], record["attested"], record["hosts_beyond"]) == (False, True, ["ollama.com"])


def test_a_cloud_model_behind_ollamas_openai_interface_gets_no_text(tmp_path: Path) -> None:
    with servers.OpenAIServer() as server:
        server.shown = {"remote_host": "https://ollama.com"}
        judge = made(tmp_path, "openai/judge", {"base_url": f"{server.url}/v1"}).llm("judge")
        with pytest.raises(BenchError, match="the dataset is credentialed"):
            judge.ask([QUESTION])
        assert server.asked == []


BUSY = [(status, {"error": "server busy"}) for status in (408, 409, 429, 500, 502, 503)]
BUSY += [(200, {"error": "busy"}), None]


@pytest.mark.parametrize("said", BUSY)
def test_an_ollama_that_is_busy_is_not_taken_for_another_server(
    said: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.llm.http.FIRST_WAIT_S", 0.001)
    with servers.OpenAIServer() as server:
        server.shown = {"remote_host": "https://ollama.com"}
        server.paths["/api/show"] = [said] * 2
        judge = made(tmp_path, "openai/judge", {"base_url": f"{server.url}/v1", "retries": 1}).llm("judge")
        with pytest.raises(Unavailable):
            judge.ask([QUESTION])
        with pytest.raises(BenchError, match="only passes 'judge' on"):
            judge.ask([QUESTION])
        server.paths["/api/show"] = [said]
        fresh = made(tmp_path, "openai/judge", {"base_url": f"{server.url}/v1", "retries": 1}).llm("judge")
        with pytest.raises(BenchError, match="only passes 'judge' on"):
            fresh.ask([QUESTION])  # it was asked again, and said so
        assert server.asked == []


@pytest.mark.parametrize("status", [400, 401, 403, 302])
def test_what_hides_whether_it_is_an_ollama_gets_no_text(status: int, tmp_path: Path) -> None:
    with servers.OpenAIServer() as server:
        server.paths["/api/show"] = [(status, {"error": "no"})]
        with pytest.raises(BenchError, match=str(status)):
            made(tmp_path, "openai/judge", {"base_url": f"{server.url}/v1"}).llm("judge").ask([QUESTION])
        assert server.asked == []


@pytest.mark.parametrize(
    "said",
    [
        (404, {"error": "not found"}),
        (405, b"no"),
        (501, {}),
        (200, b"<html>a page for every path</html>"),
        (200, "text"),
        (200, {"error": "Unexpected endpoint or method. (POST /api/show). Returning 200 anyway"}),
    ],
)
def test_a_server_that_is_no_ollama_is_asked(said: Any, tmp_path: Path) -> None:
    with servers.OpenAIServer() as server:
        server.paths["/api/show"] = [said] * 9
        judge = made(tmp_path, "openai/judge", {"base_url": f"{server.url}/v1", "retries": 0}).llm("judge")
        assert isinstance(judge.ask([QUESTION])[0], Answer)


def test_an_ollama_below_a_path_is_found(tmp_path: Path) -> None:
    with servers.OpenAIServer() as server:
        server.prefix, server.shown = "/ollama", {"remote_model": "glm"}
        judge = made(tmp_path, "openai/judge", {"base_url": f"{server.url}/ollama/v1"}).llm("judge")
        with pytest.raises(BenchError, match="only passes 'judge' on"):
            judge.ask([QUESTION])
        assert server.asked == []


def others(names: str) -> list[Question]:
    return [Question((Message("user", name),), {"type": "object"}) for name in names]


@pytest.mark.parametrize("tells", [True, False])
def test_a_model_that_becomes_a_cloud_model_in_mid_batch_is_stopped(tells: bool, tmp_path: Path) -> None:
    """At its first reply where that tells, else when the batch ends; what it answered is not kept."""
    with servers.OllamaServer(model="mine:latest") as server:
        server.tells_remote = tells

        def answer(prompt: str) -> str:
            if prompt == "b":
                server.remote = {"remote_host": "https://ollama.com:443", "remote_model": "glm"}
            return json.dumps({"answer": prompt})

        server.answer = answer
        context = made(tmp_path, "ollama/mine", {"host": server.url, "concurrency": 1})
        with pytest.raises(BenchError, match=r"only passes 'mine' on.*\n*.*attest_zero_retention: \[ollama.com\]"):
            context.llm("judge").ask(others("abcd"))
        assert len(server.asked) == (2 if tells else 4)
        with pytest.raises(BenchError, match="only passes 'mine' on"):
            context.llm("judge").ask(others("e"))
        server.remote, server.answer = {}, lambda prompt: "{}"
        again = made(tmp_path, "ollama/mine", {"host": server.url}).llm("judge").ask(others("abcd"))
        assert [answer.cached for answer in again] == [False] * 4


def test_a_model_that_becomes_a_cloud_model_is_another_where_text_is_not_held(tmp_path: Path) -> None:
    with servers.OllamaServer(model="mine:latest") as server:
        context = made(tmp_path, "ollama/mine", {"host": server.url, "concurrency": 1})
        context.credentialed = False
        judge = context.llm("judge")
        judge.ask(others("a"))
        before = judge.fingerprint()
        server.answer = lambda prompt: server.remote.update(remote_host="https://ollama.com") or "{}"
        server.tells_remote = True
        with pytest.raises(ServerLost, match="the model changed meanwhile"):
            judge.ask(others("bc"))
        assert len(server.asked) == 2
        assert judge.fingerprint() != before
        assert [answer.cached for answer in judge.ask(others("bc"))] == [False, False]


def test_a_plugin_that_does_not_say_where_its_text_goes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gossip.py").write_text(
        "from bench.options import Options\n"
        "class Gossip:\n    Options = Options\n    def __init__(self, options, context): pass\n"
    )
    use = f"{tmp_path / 'gossip.py'}:Gossip"
    with pytest.raises(BenchError, match="does not say where its text goes"):
        made(tmp_path, use, {}).llm("judge")
    context = made(tmp_path, use, {})
    context.credentialed = False
    assert type(context.llm("judge")).__name__ == "Gossip"


SYSTEM = """
from bench.contracts import Message, Question, Report
from bench.options import Options

class Asker:
    Options = Options
    def __init__(self, options, context): self.context = context
    def fingerprint(self): return "asker"
    def prepare(self, train): pass
    def facts(self): return {}
    def generate(self, cases):
        for case in cases:
            answer = self.context.llm("openai/judge").ask([Question((Message("user", case.id),))])[0]
            yield Report(case.id, answer.text)
"""


@pytest.mark.parametrize("attested", [False, True])
def test_a_systems_own_call_is_judged_as_any_other_and_attestation_is_on_record(
    bench: Any, attested: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """127.0.0.2 stands for another machine here: only what `is_this_machine` says makes the difference."""
    Path("mine.py").write_text(SYSTEM)
    plugins = Path(__file__).with_name("plugins.py")
    monkeypatch.setattr("bench.llm.gate.is_this_machine", lambda host: host == "127.0.0.1")
    monkeypatch.setattr(servers.Server, "host", "127.0.0.2")
    with servers.OpenAIServer(lambda prompt: "clear lungs") as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        Path("bench.yaml").write_text(
            f"dataset: {{use: '{plugins}:TinyDataset', credentialed: true}}\n"
            "systems: {asker: {use: './mine.py:Asker'}}\nmetrics: {bleu-4: {}}\n"
            f"run: {{bootstrap: 0, attest_zero_retention: [{'127.0.0.2' if attested else ''}]}}\n"
        )
        said = bench("run", "--out", "o")
    if attested:
        assert said.code == 0, said.err
        assert len(server.asked) == 12
        assert json.loads(Path("o/asker/run.json").read_text())["config"]["run"]["attest_zero_retention"] == [
            "127.0.0.2"
        ]
    else:
        assert said.code == 2
        assert "attest it: run.attest_zero_retention: [127.0.0.2]" in said.err + said.out
        assert server.seen == []


@pytest.mark.parametrize("host", ["https://api.anthropic.com", "*", "api.anthropic.com/v1", "API.x.com", ""])
def test_an_attestation_names_a_host_and_nothing_else(host: str, bench: Any) -> None:
    with pytest.raises(BenchError, match=r"run.attest_zero_retention.0"):
        config.load(None, config.Choices(assignments=(f"run.attest_zero_retention=['{host}']",)))


def test_redirects_and_proxies_are_no_side_doors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with servers.OpenAIServer() as elsewhere, servers.OpenAIServer() as server, servers.OllamaServer() as ollama:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, elsewhere.url)
        judge = made(tmp_path, "openai/judge", {"base_url": f"{server.url}/v1", "retries": 0}).llm("judge")
        assert isinstance(judge.ask([QUESTION])[0], Answer)
        local = made(tmp_path, "ollama/llama3:70b-instruct", {"host": ollama.url, "retries": 0}).llm("judge")
        assert isinstance(local.ask([QUESTION])[0], Answer)
        for one, path in ((server, "/v1/chat/completions"), (ollama, "/api/chat")):
            one.headers = {"location": f"{elsewhere.url}{path}"}
            one.script = [(307, {})]
        other = Question((Message("user", "another report"),), {"type": "object"})
        for client in (judge, local):
            with pytest.raises(BenchError, match="redirect"):
                client.ask([other])
        assert elsewhere.seen == []


def test_an_sdk_that_turns_to_another_host_is_stopped(tmp_path: Path) -> None:
    with servers.OpenAIServer() as elsewhere, servers.OpenAIServer() as server:
        judge = made(tmp_path, "openai/judge", {"base_url": f"{server.url}/v1", "retries": 0}).llm("judge")
        judge.fingerprint()
        judge.backend._opened.base_url = f"{elsewhere.url}/v1"
        with pytest.raises(BenchError, match="was stopped"):
            judge.ask([QUESTION])
        assert elsewhere.seen == []


def test_claudes_sdk_traces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans with the text of reports would go wherever the process exports its traces."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY", "true")
    monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE", "content")
    for client, base in (
        ("api", "http://127.0.0.1:1"),
        ("bedrock", "http://127.0.0.1:1"),
        ("vertex", "http://127.0.0.1:1"),
    ):
        options = {"client": client, "base_url": base, "region": "eu", "project": "p"}
        judge = made(tmp_path, "anthropic/claude", options, ("127.0.0.1",)).llm("judge")
        assert judge.backend._client().open_telemetry["traces"]["enabled"] is False


def test_what_counts_as_this_machine() -> None:
    assert [h for h in ("127.0.0.1", "::1", "localhost", "127.255.0.9") if not is_this_machine(h)] == []
    assert [
        h for h in ("0.0.0.1", "10.0.0.1", "::ffff:10.0.0.1", "fe80::1", "localhost.", "host") if is_this_machine(h)
    ] == []
    assert place_of("http://0.0.0.0:80", "m", "host").url == "http://127.0.0.1:80"


def test_a_localhost_that_resolves_elsewhere_is_not_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "socket.getaddrinfo", lambda *_: [(2, 1, 6, "", ("127.0.0.1", 0)), (2, 1, 6, "", ("10.0.0.9", 0))]
    )
    assert not is_this_machine("localhost")


def test_cloud_tags() -> None:
    assert [m for m in ("a:cloud", "a:120b-cloud", "a-cloud", "A:Cloud") if not is_cloud_model(m)] == []
    assert [m for m in ("cloudy:7b", "cloud-judge:7b", "llama3:70b-instruct") if is_cloud_model(m)] == []
