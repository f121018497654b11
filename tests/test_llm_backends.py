"""What each backend puts on the wire, and what it makes of the answer: Ollama, OpenAI-compatible servers, Claude."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llm_servers as servers
import pytest

from bench.context import RunContext
from bench.contracts import Answer, Message, NoAnswer, Question, Sampling
from bench.errors import BenchError, ServerLost, Unavailable

SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string", "minLength": 1}},
    "required": ["answer"],
    "additionalProperties": False,
}
SAMPLING = Sampling(temperature=0.25, max_tokens=99, top_p=0.5, seed=7)


def question(text: str, sampling: Sampling = SAMPLING, turns: int = 0) -> Question:
    earlier = [Message("user" if i % 2 == 0 else "assistant", text) for i in range(turns)]
    return Question((Message("system", "You judge."), *earlier, Message("user", text)), SCHEMA, sampling)


def client(tmp_path: Path, use: str, **options: Any) -> Any:
    parts = {"llms": {"judge": {"use": use, **options}}}
    return RunContext(workdir=tmp_path / "w", cache_root=tmp_path / "cache", parts=parts).llm("judge")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.llm.http.FIRST_WAIT_S", 0.001)
    for name in ("OLLAMA_HOST", "OPENAI_BASE_URL", "OPENAI_API_KEY", "ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)


# ------------------------------------------------------------------ ollama


def ollama(tmp_path: Path, server: Any, **options: Any) -> Any:
    return client(tmp_path, f"ollama/{server.model}", host=server.url, **options)


def test_ollama_is_told_schema_sampling_and_context(tmp_path: Path) -> None:
    with servers.OllamaServer() as server:
        (answer,) = ollama(tmp_path, server, keep_alive="1h", think=False).ask([question("a")])
    assert answer.data == {"answer": "a"}
    (body,) = server.asked
    assert body["format"] == SCHEMA
    assert body["stream"] is body["truncate"] is body["shift"] is body["think"] is False
    assert body["keep_alive"] == "1h"
    assert body["messages"] == [{"role": "system", "content": "You judge."}, {"role": "user", "content": "a"}]
    assert body["options"] == {"num_ctx": 2048, "num_predict": 99, "temperature": 0.25, "top_p": 0.5, "seed": 7}


def test_a_model_without_a_tag_is_the_latest(tmp_path: Path) -> None:
    with servers.OllamaServer(model="judge:latest") as server:
        judge = client(tmp_path, "ollama/judge", host=server.url, think="low", attempts=2, num_ctx=4096)
        assert judge.fingerprint() == f"ollama|judge|sha256:{'5' * 16}|Q4_0|70.6B|think:low|num_ctx:4096|attempts:2"


def test_num_ctx_holds_the_longest_prompt_from_the_start_so_that_the_model_is_loaded_once(tmp_path: Path) -> None:
    with servers.OllamaServer() as server:
        judge = ollama(tmp_path, server, concurrency=1)
        judge.ask([question("a"), question("b" * 9000), question("c")])
        assert server.loads == [6144]  # 9,010 bytes at 2 a token, 3 x 32 for the template, 99 for the answer: 4,700
        judge.ask([question("d")])
        assert server.loads == [6144]


@pytest.mark.parametrize("version", ["0.12.11", "0.30.5"])
@pytest.mark.parametrize("cut", ["half", "full"])
def test_a_prompt_that_was_cut_is_asked_again_with_more_room(tmp_path: Path, version: str, cut: str) -> None:
    """At 1 byte a token, twice as dense as reckoned: 3,000 tokens are taken for 1,500."""
    with servers.OllamaServer(version=version, cut=cut, bytes_per_token=1) as server:
        (answer,) = ollama(tmp_path, server).ask([question("x" * 3000)])
    assert answer.data == {"answer": "x" * 3000}
    assert [body["options"]["num_ctx"] for body in server.asked] == [2048, 4096]


@pytest.mark.parametrize("version", ["0.12.11", "0.30.5"])
@pytest.mark.parametrize("cut", ["half", "full"])
def test_a_prompt_beyond_the_models_context_is_too_long(tmp_path: Path, version: str, cut: str) -> None:
    with servers.OllamaServer(version=version, cut=cut, bytes_per_token=1, context=4096) as server:
        judge = ollama(tmp_path, server)
        (answer,) = judge.ask([question("x" * 5000)])
        assert answer == NoAnswer("too-long", "prompt and answer do not fit the context: 4096 tokens at most")
        assert {body["options"]["num_ctx"] for body in server.asked} <= {4096}
        asked = len(server.asked)
        (answer,) = judge.ask([question("x" * 40000)])
        assert (answer.kind, len(server.asked)) == ("too-long", asked)  # not even asked: hopeless by any reckoning


def test_a_count_as_large_as_num_ctx_is_a_cut_whatever_the_version_promises(tmp_path: Path) -> None:
    with servers.OllamaServer(obeys=False, cut="full", bytes_per_token=1) as server:
        (answer,) = ollama(tmp_path, server).ask([question("x" * 3000)])
        assert answer.data == {"answer": "x" * 3000}
        assert len(server.asked) == 2


def test_turns_dropped_to_just_below_num_ctx_are_not_taken_for_the_whole(tmp_path: Path) -> None:
    """An old server drops whole turns, which leaves a count anywhere below num_ctx: here 4,090 of 4,096."""
    with servers.OllamaServer(version="0.11.0", context=4096) as server:
        server.script = [
            (200, {"message": {"content": '{"answer": "a"}'}, "done": True, "prompt_eval_count": 4090, "eval_count": 5})
        ]
        (answer,) = ollama(tmp_path, server, attempts=1).ask([question("x" * 9000)])
    assert isinstance(answer, NoAnswer)
    assert answer.kind == "too-long"


def test_a_count_without_the_cached_prefix_is_no_cut(tmp_path: Path) -> None:
    """Ollama before 0.3 and early 0.30 count only what their prompt cache lacks."""
    texts = ["x" * 2000, "y" * 5000, "z" * 5000]
    with servers.OllamaServer(version="0.30.0", cache=True) as server:
        answers = ollama(tmp_path, server, concurrency=1).ask([question(text) for text in texts])
        assert [answer.data["answer"] for answer in answers] == texts
        assert len(server.asked) == 3
    with servers.OllamaServer(version="0.2.1", cache=True) as server:
        answers = ollama(tmp_path / "old", server, concurrency=1).ask([question(text) for text in texts])
        assert [answer.data["answer"] for answer in answers] == texts
        assert server.asked[-1]["options"]["num_ctx"] == 6144  # where every byte could be a token, nothing was cut


def test_num_ctx_of_the_user_is_not_exceeded(tmp_path: Path) -> None:
    with servers.OllamaServer() as server:
        judge = ollama(tmp_path, server, num_ctx=1024)
        answers = judge.ask([question("x" * 2000), question("y" * 5000)])
        assert isinstance(answers[0], Answer)
        assert answers[1] == NoAnswer("too-long", "prompt and answer do not fit the context: 1024 tokens at most")
        assert {body["options"]["num_ctx"] for body in server.asked} == {1024}


def test_replies_that_could_not_be_used_are_counted(tmp_path: Path) -> None:
    """At 1 byte a token and an old version, which cuts: read twice, 1,026 of 2,048 tokens the first time."""
    with servers.OllamaServer(version="0.12.11", bytes_per_token=1) as server:
        judge = ollama(tmp_path, server)
        (answer,) = judge.ask([question("x" * 3000)])
        used = judge.usage()
        whole = (10 + 8) + (3000 + 8)
        assert (used["calls"], used["input_tokens"], used["output_tokens"]) == (2, 1026 + whole, 2 + 2)
        assert (answer.input_tokens, answer.output_tokens) == (1026 + whole, 2 + 2)
        server.context = 2048
        small = ollama(tmp_path / "other", server)
        assert small.ask([question("x" * 3000)])[0].kind == "too-long"
        assert (small.usage()["calls"], small.usage()["input_tokens"]) == (1, 1026)


ODD_OLLAMA = [
    ("/api/show", {"details": []}),
    ("/api/show", {"details": "x", "model_info": []}),
    ("/api/show", {"model_info": {"general.architecture": "l", "l.context_length": "8k"}}),
    ("/api/tags", {"models": [1]}),
    ("/api/tags", {"models": {}}),
    ("/api/tags", {"models": [{"name": [1], "model": {}}]}),
    ("/api/version", {"version": None}),
]


@pytest.mark.parametrize(("path", "said"), ODD_OLLAMA)
def test_what_an_ollama_leaves_out_or_tells_oddly_is_done_without(path: str, said: Any, tmp_path: Path) -> None:
    with servers.OllamaServer() as server:
        server.paths[path] = [(200, said)] * 9
        judge = ollama(tmp_path, server)
        assert judge.ask([question("a")])[0].data == {"answer": "a"}
        assert ("digest:untold" in judge.fingerprint()) == (path == "/api/tags")


ODD_BODIES = [b"<html>", "text", [], None, 3, [[]] * 3]


@pytest.mark.parametrize("said", ODD_BODIES)
@pytest.mark.parametrize("path", ["/api/show", "/api/tags", "/api/chat"])
def test_what_is_not_ollamas_protocol_is_told_so(path: str, said: Any, tmp_path: Path) -> None:
    with servers.OllamaServer() as server:
        server.paths[path] = [(200, said)] * 9
        with pytest.raises(Unavailable, match="does not speak the Ollama protocol"):
            ollama(tmp_path, server).ask([question("a")])


@pytest.mark.parametrize("said", [*ODD_BODIES, {"message": "x"}, {"error": "x"}, {"message": {"content": [1]}}])
def test_an_odd_reply_of_an_ollama_costs_its_own_question_only(said: Any, tmp_path: Path) -> None:
    with servers.OllamaServer() as server:
        judge = ollama(tmp_path, server)
        judge.ask([question("a")])
        server.paths["/api/chat"] = [(200, said)]
        (answer,) = judge.ask([question("b")])
        assert (answer.kind, "does not speak the Ollama protocol" in answer.why) == ("failed", True)


def test_something_else_on_ollamas_port(tmp_path: Path) -> None:
    with servers.OpenAIServer() as server, pytest.raises(BenchError, match="has no model"):
        client(tmp_path, "ollama/judge", host=server.url).fingerprint()


# ------------------------------------------------------------------ openai


@pytest.fixture
def server() -> Iterator[Any]:
    with servers.OpenAIServer() as server:
        yield server


def openai(tmp_path: Path, server: Any, **options: Any) -> Any:
    return client(tmp_path, "openai/judge", base_url=f"{server.url}/v1", **options)


def test_openai_is_told_schema_and_sampling(tmp_path: Path, server: Any) -> None:
    judge = openai(tmp_path, server)
    (answer,) = judge.ask([question("a")])
    assert (answer.data, answer.input_tokens, answer.output_tokens) == ({"answer": "a"}, 11, 7)
    (body,) = server.asked
    form = {"name": "answer", "schema": SCHEMA, "strict": True}
    assert body == {
        "model": "judge",
        "messages": [{"role": "system", "content": "You judge."}, {"role": "user", "content": "a"}],
        "max_tokens": 99,
        "temperature": 0.25,
        "top_p": 0.5,
        "seed": 7,
        "response_format": {"type": "json_schema", "json_schema": form},
    }


def test_the_schema_can_go_vllms_way_or_into_the_prompt(tmp_path: Path, server: Any) -> None:
    guided = openai(tmp_path, server, structured="guided_json", omit=["temperature", "seed"])
    assert isinstance(guided.ask([question("a")])[0], Answer)
    body = server.asked[-1]
    assert body["guided_json"] == SCHEMA
    assert "response_format" not in body
    assert {"temperature", "seed"} & set(body) == set()
    server.answer = lambda prompt: '{"answer": "b"}'
    told = openai(tmp_path, server, structured="none")
    assert told.ask([question("a")])[0].data == {"answer": "b"}  # the other way's answer is not taken for this one
    assert json.dumps(SCHEMA) in server.asked[-1]["messages"][-1]["content"]
    assert "response_format" not in server.asked[-1]
    assert "structured:none" in told.fingerprint()
    assert "structured:guided_json,omit:temperature+seed" in guided.fingerprint()


def test_what_the_server_tells_of_the_model_is_its_digest(tmp_path: Path) -> None:
    seen = []
    for entry in ({}, {"created": 2}, {"root": "meta-llama/70B", "max_model_len": 8192}, {"root": "other"}):
        with servers.OpenAIServer(entry=entry) as server:
            seen.append(openai(tmp_path, server).fingerprint().replace(server.url, "URL"))
    assert seen[0] == seen[1] == "openai|judge|digest:untold|URL/v1|attempts:3"
    assert seen[2].startswith("openai|judge|told:")
    assert len(set(seen)) == 3


def test_another_server_s_answers_are_not_taken_for_this_one_s(tmp_path: Path) -> None:
    """Two servers that tell nothing of their weights, of one name: told apart by their addresses."""
    with servers.OpenAIServer() as one, servers.OpenAIServer() as other:
        assert openai(tmp_path, one).ask([question("a")])[0].cached is False
        assert openai(tmp_path, other).ask([question("a")])[0].cached is False
        assert openai(tmp_path, one).ask([question("a")])[0].cached is True
        assert openai(tmp_path, one).fingerprint() != openai(tmp_path, other).fingerprint()


def test_the_user_can_name_the_weights_where_the_server_does_not(tmp_path: Path, server: Any) -> None:
    named = openai(tmp_path, server, revision="2026-11")
    assert named.fingerprint() == f"openai|judge|revision:2026-11|{server.url}/v1|attempts:3"
    assert [openai(tmp_path, server, revision=r).ask([question("a")])[0].cached for r in ("1", "2", "1")] == [0, 0, 1]
    named.ask([question("a")])
    assert named.record()["revision"] == "2026-11"
    with pytest.raises(BenchError, match="revision"):
        openai(tmp_path, server, revision="a|b")


def test_an_ollama_behind_openais_protocol_tells_its_digest(tmp_path: Path, server: Any) -> None:
    server.shown = {"details": {"quantization_level": "Q4_0"}}
    server.tags = {"models": [{"name": "other", "digest": "7" * 64}, {"name": "judge:latest", "digest": "5" * 64}]}
    judge = openai(tmp_path, server)
    assert judge.fingerprint() == f"openai|judge|sha256:{'5' * 16}|Q4_0|attempts:3"
    judge.ask([question("a")])
    server.tags = {"models": [{"name": "judge", "digest": "6" * 64}]}
    assert openai(tmp_path, server).ask([question("a")])[0].cached is False
    for odd in (
        {"models": [1]},
        {"models": [{"name": []}]},
        {"models": None},
        {"models": [{"name": "judge", "digest": ""}]},
    ):
        server.tags = odd
        assert "digest:untold" in openai(tmp_path, server).fingerprint()


def test_a_model_replaced_behind_openais_protocol_leaves_no_answer_behind(tmp_path: Path, server: Any) -> None:
    server.shown, server.tags = {"details": {}}, {"models": [{"name": "judge", "digest": "5" * 64}]}

    def answer(prompt: str) -> str:
        server.tags = {"models": [{"name": "judge", "digest": "6" * 64}]}
        return json.dumps({"answer": prompt})

    server.answer = answer
    with pytest.raises(ServerLost, match="the model changed meanwhile"):
        openai(tmp_path, server).ask([question("a")])
    server.tags = {"models": [{"name": "judge", "digest": "5" * 64}]}
    server.answer = lambda prompt: json.dumps({"answer": "b"})
    assert openai(tmp_path, server).ask([question("a")])[0].data == {"answer": "b"}


@pytest.mark.parametrize("said", [*ODD_BODIES, {"data": None}, {"error": "x"}, {"error": {"message": "x"}}])
def test_a_list_of_models_that_is_none_is_told_so(said: Any, tmp_path: Path, server: Any) -> None:
    server.paths["/v1/models"] = [(200, said)]
    with pytest.raises(Unavailable, match=r"does not speak the OpenAI protocol: /models gave no") as odd:
        openai(tmp_path, server).fingerprint()
    assert "base_url" in odd.value.remedy


@pytest.mark.parametrize("data", [[], [1], [{"id": 3, "aliases": 7}], ["judge"]])
def test_a_list_of_odd_models_lacks_this_one(data: Any, tmp_path: Path, server: Any) -> None:
    server.paths["/v1/models"] = [(200, {"data": data})]
    with pytest.raises(Unavailable, match="serves no model 'judge'"):
        openai(tmp_path, server).fingerprint()


@pytest.mark.parametrize(
    "said",
    [
        *ODD_BODIES,
        {"choices": None},
        {"choices": [1]},
        {"choices": [{"message": "x"}]},
        {"choices": [{"message": {"content": 3}}]},
        {"choices": [{"message": {"content": ["x"]}}]},
        {"error": "x"},
    ],
)
def test_an_odd_reply_costs_its_own_question_only(said: Any, tmp_path: Path, server: Any) -> None:
    server.script = [(200, said)]
    with pytest.raises(Unavailable, match="does not speak the OpenAI protocol"):
        openai(tmp_path, server).ask([question("a")])
    judge = openai(tmp_path, server)
    judge.ask([question("a")])
    server.script = [(200, said)]
    (answer,) = judge.ask([question("b")])
    assert (answer.kind, "does not speak the OpenAI protocol" in answer.why) == ("failed", True)


@pytest.mark.parametrize("count", ["n/a", None, [], -3, True, float("nan"), float("inf"), {}])
def test_text_parts_are_read_and_odd_counts_are_none(count: Any, tmp_path: Path, server: Any) -> None:
    parts = [{"type": "text", "text": '{"answer"'}, {"type": "image"}, {"type": "text", "text": ': "a"}'}]
    said = {"choices": [{"message": {"content": parts}}], "usage": {"prompt_tokens": count, "completion_tokens": 2.0}}
    server.script = [(200, said)]
    (answer,) = openai(tmp_path, server).ask([question("a")])
    assert (answer.data, answer.input_tokens, answer.output_tokens) == ({"answer": "a"}, 0, 2)


@pytest.mark.parametrize("key", ["schlüssel", "abc\ndef", "a b", "\x7f"])
@pytest.mark.parametrize("use", ["openai/judge", "ollama/judge", "anthropic/judge"])
def test_a_key_that_cannot_be_one_is_told_so(
    use: str, key: str, tmp_path: Path, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = {"openai": "MINE", "ollama": "OLLAMA_API_KEY", "anthropic": "MINE"}[use.partition("/")[0]]
    monkeypatch.setenv(variable, key)
    where = {"host": server.url} if use == "ollama/judge" else {"base_url": f"{server.url}/v1", "api_key_env": "MINE"}
    with pytest.raises(Unavailable, match=f"the environment variable {variable} holds no API key"):
        client(tmp_path, use, **where).ask([question("a")])
    assert server.seen == []


def test_a_model_the_server_does_not_list_is_unavailable(tmp_path: Path, server: Any) -> None:
    judge = client(tmp_path, "openai/judgement", base_url=f"{server.url}/v1")
    with pytest.raises(Unavailable, match="serves no model 'judgement'") as missing:
        judge.ask([question("a")])
    assert missing.value.remedy == "it serves: judge"


def test_a_key_is_shown_only_where_the_user_says(tmp_path: Path, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("MINE", "mine")
    openai(tmp_path, server).fingerprint()
    openai(tmp_path, server, api_key_env="MINE").fingerprint()
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
    client(tmp_path, "openai/judge").fingerprint()
    assert all("authorization" in got for got in server.got)
    keys = [got["authorization"] for got in server.got]
    assert list(dict.fromkeys(keys)) == ["Bearer none", "Bearer mine", "Bearer secret"]


def test_without_a_key_openai_itself_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="OPENAI_API_KEY is not set"):
        client(tmp_path, "openai/gpt-5").fingerprint()


@pytest.mark.parametrize("status", [429, 500, 529])
def test_the_sdk_backs_off_and_asks_again(tmp_path: Path, server: Any, status: int) -> None:
    server.script = [(status, {"error": {"message": "slow down"}})] * 2
    judge = openai(tmp_path, server)
    assert judge.ask([question("a")])[0].data == {"answer": "a"}
    assert judge.usage()["retries"] == 2
    server.script = [(status, {"error": {"message": "slow down"}})] * 3
    with pytest.raises(ServerLost, match="slow down"):
        openai(tmp_path, server, retries=2).ask([question("b")])


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"message": "request (9 tokens) exceeds the available context size (8 tokens)"}, "too-long"),
        (400, {"message": "This model's maximum context length is 8192 tokens.", "code": "x"}, "too-long"),
        (400, {"message": "filtered", "code": "content_filter"}, "refused"),
    ],
)
def test_a_question_the_server_cannot_take(
    tmp_path: Path, server: Any, status: int, error: dict[str, str], kind: str
) -> None:
    server.script = [(status, {"error": error})]
    (answer,) = openai(tmp_path, server).ask([question("a")])
    assert answer.kind == kind
    assert openai(tmp_path, server).ask([question("a")])[0].data == {"answer": "a"}


def test_a_question_the_server_does_not_understand_is_an_error(tmp_path: Path, server: Any) -> None:
    server.script = [(400, {"error": {"message": "unknown field seed"}})]
    with pytest.raises(BenchError, match=r"refuses the question \(400\): .*unknown field seed"):
        openai(tmp_path, server).ask([question("a")])
    server.script = [(401, {"error": {"message": "who are you"}})]
    with pytest.raises(Unavailable, match="who are you"):
        openai(tmp_path, server).ask([question("a")])


@pytest.mark.parametrize("how", ["refusal", "content_filter"])
def test_refusals_are_told_and_never_kept(tmp_path: Path, server: Any, how: str) -> None:
    message = {"role": "assistant", "content": None, "refusal": "I will not" if how == "refusal" else None}
    choice = {"index": 0, "message": message, "finish_reason": "stop" if how == "refusal" else "content_filter"}
    server.script = [(200, {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]})]
    judge = openai(tmp_path, server)
    assert judge.ask([question("a")])[0].kind == "refused"
    assert len(server.asked) == 1
    assert judge.ask([question("a")])[0].data == {"answer": "a"}


def test_a_cut_off_answer_is_never_kept(tmp_path: Path, server: Any) -> None:
    server.finish = "length"
    judge = openai(tmp_path, server)
    assert judge.ask([question("a")])[0].kind == "too-long"
    server.finish = "stop"
    assert judge.ask([question("a")])[0].cached is False


def test_a_server_without_a_list_of_models_goes_by_the_name(tmp_path: Path, server: Any) -> None:
    server.route = lambda method, path, body: (404, {}) if path == "/v1/models" else (200, None)
    assert openai(tmp_path, server).fingerprint() == f"openai|judge|digest:untold|{server.url}/v1|attempts:3"


def test_a_server_killed_in_mid_run(tmp_path: Path) -> None:
    questions = [question(str(i)) for i in range(8)]
    with servers.OpenAIServer() as server:
        server.dies_after = 5
        with pytest.raises(ServerLost, match="cannot be reached: 5 of 8 answered and kept"):
            openai(tmp_path, server, concurrency=1, retries=1).ask(questions)
    with servers.OpenAIServer(port=server.port) as back:
        answers = openai(tmp_path, back).ask(questions)
        assert [answer.data["answer"] for answer in answers] == [str(i) for i in range(8)]
        assert len(back.asked) == 3


# ------------------------------------------------------------------ anthropic


@pytest.fixture(params=["api", "bedrock", "vertex"])
def claude(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return (server, maker of clients) for each of the three services."""
    service = request.param
    monkeypatch.setenv("ANTHROPIC_API_KEY", "key")
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "key")

    async def token(_: Any) -> str:
        return "key"

    monkeypatch.setattr("anthropic.AsyncAnthropicVertex._ensure_access_token", token)
    with servers.AnthropicServer() as server:
        base = f"{server.url}/v1" if service == "vertex" else server.url

        def make(**options: Any) -> Any:
            where = {} if service == "api" else {"client": service, "region": "us-east5"}
            return client(tmp_path, "anthropic/claude", base_url=base, project="p", **where, **options)

        yield server, make


def test_claude_is_told_system_schema_and_sampling(claude: Any) -> None:
    server, make = claude
    judge = make()
    (answer,) = judge.ask([question("a")])
    assert (answer.data, answer.input_tokens, answer.output_tokens) == ({"answer": "a"}, 13, 5)
    (body,) = server.asked
    assert body["system"] == "You judge."
    assert body["messages"] == [{"role": "user", "content": "a"}]
    assert body["max_tokens"] == 99
    assert {"temperature", "top_p", "seed"} & set(body) == set()
    form = body["output_config"]["format"]
    assert form["type"] == "json_schema"
    assert form["schema"]["additionalProperties"] is False
    assert "minLength" not in form["schema"]["properties"]["answer"]  # the service knows none; the client checks it
    assert "key" in server.got[-1].get("x-api-key", "") + server.got[-1].get("authorization", "")
    assert "client:" in judge.fingerprint()


def test_claudes_schema_can_go_by_a_forced_tool_or_into_the_prompt(claude: Any) -> None:
    server, make = claude
    (answer,) = make(structured="tool").ask([question("a")])
    assert answer.data == {"answer": "a"}
    body = server.asked[-1]
    assert body["tool_choice"] == {"type": "tool", "name": body["tools"][0]["name"]}
    assert body["tools"][0]["input_schema"] == SCHEMA
    server.answer = lambda prompt: '{"answer": "b"}'
    assert make(structured="none").ask([question("a")])[0].data == {"answer": "b"}
    assert json.dumps(SCHEMA) in server.asked[-1]["messages"][-1]["content"]


def test_claudes_earlier_interface_is_told_the_sampling(claude: Any) -> None:
    server, make = claude
    judge = make(sampling=True)
    judge.ask([question("a")])
    body, headers = server.asked[-1], server.got[-1]
    assert (body["temperature"], body["top_p"]) == (0.25, 0.5)
    version = body.get("anthropic_version", headers.get("anthropic-version"))
    assert version in ("2023-06-01", "bedrock-2023-05-31", "vertex-2023-10-16")
    assert "sampling:sent" in judge.fingerprint()


@pytest.mark.parametrize(("reason", "kind"), [("refusal", "refused"), ("max_tokens", "too-long")])
def test_claude_refuses_or_runs_out_of_room(claude: Any, reason: str, kind: str) -> None:
    server, make = claude
    server.stop_reason = reason
    (answer,) = make().ask([question("a")])
    assert answer.kind == kind
    server.stop_reason = "end_turn"
    assert make().ask([question("a")])[0].cached is False


@pytest.mark.parametrize("status", [429, 529])
def test_claudes_sdk_backs_off(claude: Any, status: int) -> None:
    server, make = claude
    server.script = [(status, {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}})]
    judge = make()
    assert judge.ask([question("a")])[0].data == {"answer": "a"}
    assert judge.usage()["retries"] == 1


def test_claude_that_cannot_be_reached_is_unavailable(claude: Any) -> None:
    server, make = claude
    server.stop()
    with pytest.raises(Unavailable, match="cannot be reached"):
        make(retries=0).ask([question("a")])


@pytest.mark.parametrize("said", [*ODD_BODIES, {"content": None}, {"content": "x"}, {"error": "x"}])
def test_an_odd_reply_of_claude_costs_its_own_question_only(claude: Any, said: Any) -> None:
    server, make = claude
    judge = make()
    judge.ask([question("a")])
    server.script = [(200, said)]
    (answer,) = judge.ask([question("b")])
    assert (answer.kind, "does not speak the Anthropic protocol" in answer.why) == ("failed", True)


def test_odd_blocks_and_counts_of_claude_are_done_without(claude: Any) -> None:
    server, make = claude
    blocks = [1, {"type": "thinking"}, {"type": "text", "text": '{"answer": "a"}'}, {"type": "text", "text": None}]
    server.script = [(200, {"content": blocks, "usage": {"input_tokens": "n/a", "output_tokens": 3}})]
    (answer,) = make().ask([question("a")])
    assert (answer.data, answer.input_tokens, answer.output_tokens) == ({"answer": "a"}, 0, 3)


def test_claude_without_credentials_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Unavailable, match="ANTHROPIC_API_KEY is not set"):
        client(tmp_path, "anthropic/claude").ask([question("a")])
    with pytest.raises(BenchError, match="needs the option region, or AWS_REGION"):
        client(tmp_path, "anthropic/claude", client="bedrock").fingerprint()


@pytest.mark.parametrize("package", ["ollama", "openai", "anthropic"])
def test_a_package_that_is_not_installed_is_named(
    tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(Unavailable, match=f"needs the package {package}") as missing:
        client(tmp_path, f"{package}/judge").ask([question("a")])
    assert missing.value.remedy == "pip install 'cxr-report-bench[llm]'"


# ------------------------------------------------------------------ llama.cpp


def test_a_file_that_changed_since_it_was_loaded_is_not_asked(tmp_path: Path) -> None:
    file = tmp_path / "judge.gguf"
    file.write_bytes(b"one")
    judge = client(tmp_path, f"llama.cpp/{file}")

    class Loaded:
        def handle_chat_completions(self, request: Any, take: Any) -> Any:
            file.write_bytes(b"another")
            return {"choices": [{"delta": {"content": '{"answer": "a"}'}, "finish_reason": "stop"}]}

    assert judge.fingerprint().endswith("|n_ctx:4096|attempts:3")
    judge.backend._server = Loaded()
    with pytest.raises(ServerLost, match="has changed since it was loaded"):
        judge.ask([question("a")])
    file.write_bytes(b"one")
    judge.backend._server.handle_chat_completions = lambda request, take: {
        "choices": [{"delta": {"content": '{"answer": "b"}'}, "finish_reason": "stop"}]
    }
    assert judge.ask([question("a")])[0].data == {"answer": "b"}  # not the answer of unknown weights


def test_what_llama_cpp_cannot_take_costs_its_own_question_only(tmp_path: Path) -> None:
    file = tmp_path / "judge.gguf"
    file.write_bytes(b"one")
    judge = client(tmp_path, f"llama.cpp/{file}")

    class Loaded:
        def handle_chat_completions(self, request: Any, take: Any) -> Any:
            text = request["messages"][-1]["content"]
            if text == "b":
                raise RuntimeError("invalid UTF-8")
            if text == "c":
                return {"error": {"type": "invalid_request_error", "message": "grammar"}}
            return {"choices": [{"delta": {"content": '{"answer": "a"}'}, "finish_reason": "stop"}]}

    judge.fingerprint()
    judge.backend._server = Loaded()
    answers = judge.ask([question(name) for name in "abcd"])
    assert [getattr(answer, "kind", "answered") for answer in answers] == ["answered", "failed", "failed", "answered"]
