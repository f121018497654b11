"""Message batches: handed in, collected by whichever command comes next, asked again, paid for once."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import llm_servers as servers
import pytest

from bench.context import RunContext
from bench.contracts import Answer, Message, Question, Sampling
from bench.errors import BenchError, ServerLost, StorageFault, Unavailable
from bench.kept import Kept

SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}
EXPIRED, CANCELED = {"type": "expired"}, {"type": "canceled"}


def errored(kind: str, message: str = "no") -> dict[str, Any]:
    return {"type": "errored", "error": {"type": "error", "error": {"type": kind, "message": message}}}


def question(text: str, **more: Any) -> Question:
    return Question((Message("system", "You judge."), Message("user", text)), SCHEMA, **more)


def texts(answers: list[Any]) -> list[Any]:
    return [answer.data["answer"] if isinstance(answer, Answer) else answer.kind for answer in answers]


def prompts(requests: list[dict[str, Any]]) -> list[str]:
    return [request["params"]["messages"][0]["content"] for request in requests]


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.llm.http.FIRST_WAIT_S", 0.001)
    monkeypatch.setattr("bench.llm.batches.FIRST_LOOK_S", 0.001)
    monkeypatch.delenv("ANTHROPIC_BASE_URL", raising=False)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "key")


@pytest.fixture
def server() -> Iterator[servers.AnthropicServer]:
    server = servers.AnthropicServer()
    with server:
        yield server


@pytest.fixture
def claude(tmp_path: Path) -> Callable[..., Any]:
    """Return a maker of fresh clients of a server, which share one cache as runs do; batches unless told otherwise."""

    def make(server: Any, **options: Any) -> Any:
        options = {"use": "anthropic/claude", "base_url": server.url, "retries": 0, "batch": True, **options}
        parts = {"llms": {"claude": options}}
        return RunContext(workdir=tmp_path / "w", cache_root=tmp_path / "cache", parts=parts).llm("claude")

    return make


# ------------------------------------------------------------------ what is sent, and what comes back


def test_a_batch_holds_each_question_as_it_would_be_asked_alone(server: Any, claude: Any) -> None:
    asked = [question("b"), question("a", sampling=Sampling(max_tokens=9)), question("b")]
    answers = claude(server).ask(asked)
    assert texts(answers) == ["b", "a", "b"]
    assert (server.asked, len(server.handed)) == ([], 1)
    claude(server, batch=False).ask([question("b", repeat=1), asked[1]])
    (requests,) = server.handed
    (single,) = server.asked  # of the two only the repeat: the other's answer came with the batch
    other = {**single, "max_tokens": 9, "messages": [{"role": "user", "content": "a"}]}
    assert [request["params"] for request in requests] == [single, other]
    assert len({request["custom_id"] for request in requests}) == 2
    assert all(1 <= len(request["custom_id"]) <= 64 and request["custom_id"].isalnum() for request in requests)
    assert "key" in server.got[0].get("x-api-key", "") + server.got[0].get("authorization", "")


def test_batches_and_single_questions_find_each_other_s_answers(server: Any, claude: Any) -> None:
    singly, together = claude(server, batch=False), claude(server)
    assert singly.fingerprint() == together.fingerprint()
    singly.ask([question("a")])
    answers = together.ask([question("a"), question("b")])
    assert [answer.cached for answer in answers] == [True, False]
    assert [prompts(requests) for requests in server.handed] == [["b"]]
    assert [a.cached for a in claude(server, batch=False).ask([question("b"), question("a")])] == [True, True]
    assert len(server.asked) == 1


def test_the_earlier_interface_is_told_the_sampling_in_batches_too(server: Any, claude: Any) -> None:
    claude(server, sampling=True).ask([question("a", sampling=Sampling(temperature=0.5))])
    assert server.handed[0][0]["params"]["temperature"] == 0.5
    assert "extra_body" not in server.handed[0][0]["params"]
    assert server.got[0]["anthropic-version"] == "2023-06-01"


def test_a_forced_tool_and_damaged_text_go_in_batches_too(server: Any, claude: Any) -> None:
    assert texts(claude(server, structured="tool").ask([question("a\ud800b")])) == ["a?b"]


def test_an_awaited_answer_never_goes_in_a_batch(server: Any, claude: Any) -> None:
    assert texts([asyncio.run(claude(server).answer(question("a")))]) == ["a"]
    assert (len(server.asked), server.handed) == (1, [])


@pytest.mark.parametrize(("limit", "sizes"), [("BATCH_REQUESTS", [2, 2, 1]), ("BATCH_BYTES", [2, 2, 1])])
def test_what_one_batch_cannot_hold_goes_in_several(
    limit: str, sizes: list[int], server: Any, claude: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = claude(server)
    one = len(json.dumps(client.backend.batches._entry("0" * 32, question("a"))[0]))
    monkeypatch.setattr(f"bench.llm.anthropic.{limit}", 2 if limit == "BATCH_REQUESTS" else 3 * one - 1)
    assert texts(client.ask([question(name) for name in "abcde"])) == list("abcde")
    assert [len(requests) for requests in server.handed] == sizes
    assert client.usage()["batches"] == 3


def test_a_question_larger_than_a_batch_goes_alone(server: Any, claude: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.llm.anthropic.BATCH_BYTES", 10)
    assert texts(claude(server).ask([question("a"), question("b")])) == ["a", "b"]
    assert [len(requests) for requests in server.handed] == [1, 1]


# ------------------------------------------------------------------ outcomes


def test_an_unusable_answer_is_asked_again_in_a_further_batch(server: Any, claude: Any) -> None:
    server.fates = {"b": ['{"answer": 1}', '{"answer": "wrong"}']}

    def check(asked: Question, answer: Answer) -> str | None:
        assert asked == question("b" if answer.data["answer"] in ("wrong", "b") else answer.data["answer"])
        return "wrong word" if answer.data["answer"] == "wrong" else None

    client = claude(server)
    answers = client.ask([question(name) for name in "abc"], check)
    assert texts(answers) == ["a", "b", "c"]
    assert [prompts(requests) for requests in server.handed] == [["a", "b", "c"], ["b"], ["b"]]
    second, third = (requests[0]["params"]["messages"] for requests in server.handed[1:])
    assert second[1] == {"role": "assistant", "content": '{"answer": 1}'}
    assert "the answer.answer must be of type string" in second[2]["content"]
    assert ("wrong word" in third[2]["content"], len(third)) == (True, 3)
    assert (answers[1].attempts, answers[1].input_tokens, answers[1].output_tokens) == (3, 39, 15)
    assert (client.usage()["asked_again"], client.usage()["calls"]) == (2, 5)


def test_what_stays_unusable_has_no_answer_and_is_asked_anew_by_the_next_command(server: Any, claude: Any) -> None:
    server.fates = {"b": ["1", "no JSON"]}
    client = claude(server, attempts=2)
    assert texts(client.ask([question("a"), question("b")])) == ["a", "malformed"]
    assert client.usage()["unanswered"] == 1
    assert texts(claude(server, attempts=2).ask([question("a"), question("b")])) == ["a", "b"]
    assert [prompts(requests) for requests in server.handed] == [["a", "b"], ["b"], ["b"]]


@pytest.mark.parametrize("outcome", [EXPIRED, errored("overloaded_error"), errored("api_error"), {"type": "newer"}])
def test_what_the_service_did_not_come_to_is_asked_again(outcome: Any, server: Any, claude: Any) -> None:
    server.fates = {"b": [outcome, outcome]}
    client = claude(server)
    answers = client.ask([question("a"), question("b")])
    assert texts(answers) == ["a", "b"]
    assert [prompts(requests) for requests in server.handed] == [["a", "b"], ["b"], ["b"]]
    assert server.handed[1][0]["params"] == server.handed[0][1]["params"]
    assert (answers[1].attempts, client.usage()["calls"], client.usage()["asked_again"]) == (3, 2, 0)
    server.fates = {"c": [outcome, outcome]}
    assert texts(claude(server, attempts=2).ask([question("c")])) == ["failed"]


@pytest.mark.parametrize(
    ("outcome", "kind", "why"),
    [
        (errored("invalid_request_error", "odd text"), "failed", "odd text"),
        (errored("invalid_request_error", "prompt is too long: 9 tokens"), "too-long", "too long"),
        (errored("permission_error"), "refused", "403"),
        (CANCELED, "failed", "was cancelled"),
        ({"type": "succeeded", "message": {"content": None}}, "failed", "does not speak the Anthropic protocol"),
        ({"type": "succeeded", "message": {"content": [], "stop_reason": "refusal"}}, "refused", "refused to answer"),
    ],
)
def test_a_question_that_is_refused_costs_its_own_answer_only(
    outcome: Any, kind: str, why: str, server: Any, claude: Any
) -> None:
    server.fates = {"b": [outcome]}
    answers = claude(server).ask([question(name) for name in "abc"])
    assert texts(answers) == ["a", kind, "c"]
    assert why in answers[1].why
    assert len(server.handed) == 1
    assert texts(claude(server).ask([question(name) for name in "abc"])) == ["a", "b", "c"]
    assert prompts(server.handed[1]) == ["b"]


def test_an_answer_that_is_cut_off_is_asked_again(server: Any, claude: Any) -> None:
    server.stop_reason = "max_tokens"
    assert texts(claude(server, attempts=2).ask([question("a")])) == ["too-long"]
    assert len(server.handed) == 2


@pytest.mark.parametrize("number", [1, 20])
def test_a_model_that_is_retired_is_an_error_and_not_so_many_missing_answers(
    number: int, server: Any, claude: Any
) -> None:
    gone = [errored("not_found_error", "model: claude")]
    server.fates = {str(i): list(gone) for i in range(number)}
    for _ in range(2):  # the second command hands in anew, and does not stumble over the first one's batch
        with pytest.raises(Unavailable, match="knows no 'claude'"):
            claude(server).ask([question(str(i)) for i in range(number)])
        server.fates = {str(i): list(gone) for i in range(number)}
    assert len(server.handed) == 2


@pytest.mark.parametrize(
    "lines", [[], ["<html>"], [json.dumps([1])], [json.dumps({"custom_id": 3})], [json.dumps({"result": EXPIRED}), "x"]]
)
def test_results_that_cannot_be_read_are_not_paid_for_again(lines: list[str], server: Any, claude: Any) -> None:
    server.looks = 1
    client = claude(server)
    client._progress = broken = Bars(
        lambda: server.known["msgbatch_1"].update(kept=server.known["msgbatch_1"]["lines"], lines=lines)
    )
    with pytest.raises(Unavailable, match="no result that can be read"):
        client.ask([question("a")])
    assert broken.notes
    server.known["msgbatch_1"]["lines"] = server.known["msgbatch_1"]["kept"]
    assert texts(claude(server).ask([question("a")])) == ["a"]
    assert len(server.handed) == 1


def test_a_result_that_is_missing_or_odd_is_asked_again_alone(server: Any, claude: Any) -> None:
    server.looks = 1
    client = claude(server)

    def lose() -> None:
        lines = server.known["msgbatch_1"]["lines"]
        lines[0] = lines[0][:20]
        lines.insert(0, "")

    client._progress = Bars(lose)
    assert texts(client.ask([question(name) for name in "abc"])) == ["a", "b", "c"]
    assert [prompts(requests) for requests in server.handed] == [["a", "b", "c"], ["c"]]


# ------------------------------------------------------------------ killed, lost, gone


class Bars:
    """Progress bars that note what they are told; `first` is called with the first note."""

    def __init__(self, first: Callable[[], Any] = lambda: None) -> None:
        self.notes: list[str] = []
        self.opened: list[Any] = []
        self.done = 0
        self._first = first

    def __call__(self, title: str, total: int | None, unit: str = "") -> Bars:
        self.opened.append((title, total, unit))
        return self

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def advance(self, n: int = 1) -> None:
        self.done += n

    def note(self, text: str) -> None:
        if not self.notes:
            self._first()
        self.notes.append(text)


ASK = """
import sys
from pathlib import Path
from bench.context import RunContext
from bench.contracts import Message, Question

parts = {"llms": {"claude": {"use": "anthropic/claude", "base_url": sys.argv[1], "batch": True}}}
context = RunContext(workdir=Path("w"), cache_root=Path(sys.argv[2]), parts=parts)
context.llm("claude").ask([Question((Message("user", name),)) for name in "abc"])
"""


@pytest.mark.slow
def test_a_killed_command_is_collected_by_the_next_one(server: Any, claude: Any, tmp_path: Path) -> None:
    server.answer, server.looks = lambda prompt: f"said {prompt}", 10**6
    command = [sys.executable, "-c", ASK, server.url, str(tmp_path / "cache")]
    child = subprocess.Popen(command, cwd=tmp_path)
    until = time.monotonic() + 60
    while "GET /v1/messages/batches/msgbatch_1" not in server.seen and time.monotonic() < until:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    server.known["msgbatch_1"]["looks"], server.looks = 2, 0
    client = claude(server)
    answers = client.ask([Question((Message("user", name),)) for name in "abcd"])
    assert [answer.text for answer in answers] == ["said a", "said b", "said c", "said d"]
    assert [prompts(requests) for requests in server.handed] == [["a", "b", "c"], ["d"]]
    assert server.seen.count("POST /v1/messages/batches") == 2
    assert (client.usage()["calls"], client.usage()["batches"]) == (4, 1)


def interrupted(server: Any, claude: Any, names: str, **options: Any) -> None:
    """Ask, and stop while the batches are waited for."""

    def stop() -> None:
        raise ZeroDivisionError

    client = claude(server, **options)
    client._progress = Bars(stop)
    with pytest.raises(ZeroDivisionError):
        client.ask([question(name) for name in names])


def test_an_interrupted_command_is_collected_by_the_next_one(server: Any, claude: Any) -> None:
    server.looks = 1
    interrupted(server, claude, "abc")
    assert texts(claude(server).ask([question(name) for name in "bcd"])) == ["b", "c", "d"]
    assert texts(claude(server).ask([question("a")])) == ["a"]
    assert [prompts(requests) for requests in server.handed] == [["a", "b", "c"], ["d"]]


def test_attempts_and_tokens_are_counted_on_over_a_kill(server: Any, claude: Any) -> None:
    server.fates = {"a": ["1", "2", "3", "4"]}
    interrupted(Late(server, 2), claude, "a")  # while the second batch is waited for
    client = claude(server)
    assert texts(client.ask([question("a")])) == ["malformed"]
    assert [len(requests) for requests in server.handed] == [1, 1, 1]
    server.fates = {"b": ["1"]}
    interrupted(Late(server, 5), claude, "b")
    (answer,) = claude(server).ask([question("b")])
    assert (answer.attempts, answer.input_tokens) == (2, 26)
    assert len(server.handed) == 5


class Late:
    """A server whose nth batch takes a while."""

    def __init__(self, server: Any, nth: int) -> None:
        self.url = server.url
        inner = server._hand_in

        def hand_in(requests: Any) -> str:
            name = str(inner(requests))
            if name == f"msgbatch_{nth}":
                server.known[name]["looks"] = 2
            return name

        server._hand_in = hand_in


@pytest.mark.parametrize(
    ("lose", "why"),
    [
        (lambda server: server.known.pop("msgbatch_1"), "the service knows no batch msgbatch_1"),
        (
            lambda server: server.known["msgbatch_1"].update(archived_at="2026-12-24T00:00:00Z"),
            "batch msgbatch_1 is kept by the service no longer",
        ),
    ],
)
def test_a_batch_that_is_gone_is_handed_in_anew(lose: Any, why: str, server: Any, claude: Any) -> None:
    server.looks = 1
    interrupted(server, claude, "abc", attempts=1)
    lose(server)
    client = claude(server, attempts=1)
    client._progress = bars = Bars()
    assert texts(client.ask([question(name) for name in "abc"])) == ["a", "b", "c"]
    assert bars.notes == [f"{why}: handed in anew; 1 batch: 0 of 3 done, waited 0 min"]
    assert [len(requests) for requests in server.handed] == [3, 3]


@pytest.mark.parametrize("path", ["", "/results"])
def test_a_batch_that_goes_while_it_is_waited_for_is_not_paid_for_again_by_itself(
    path: str, server: Any, claude: Any
) -> None:
    lost = (404, {"type": "error", "error": {"type": "not_found_error", "message": "none"}})
    server.paths[f"/v1/messages/batches/msgbatch_1{path}"] = [lost]
    with pytest.raises(Unavailable, match=r"knows no batch msgbatch_1, though .*\n.* hands the questions in anew"):
        claude(server).ask([question("a")])
    assert len(server.handed) == 1
    assert texts(claude(server).ask([question("a")])) == ["a"]
    assert len(server.handed) == 2


def test_batches_of_other_questions_are_left_alone(server: Any, claude: Any) -> None:
    server.looks = 1
    interrupted(server, claude, "a")
    server.seen.clear()
    assert texts(claude(server).ask([question("b")])) == ["b"]
    assert [path for path in server.seen if "msgbatch_1" in path] == []
    assert texts(claude(server).ask([question("a")])) == ["a"]
    assert len(server.handed) == 2


def test_a_connection_that_is_lost_for_a_while_is_waited_out(server: Any, claude: Any) -> None:
    base = "/v1/messages/batches/msgbatch_1"
    server.paths = {base: ["route", None, (503, {})], f"{base}/results": [None, (500, {})]}
    server.looks = 1
    assert texts(claude(server).ask([question("a")])) == ["a"]
    assert len(server.handed) == 1


def test_a_service_that_stays_away_is_lost_and_the_same_command_goes_on(server: Any, claude: Any) -> None:
    server.looks = 10**6
    client = claude(server)
    client._progress = Bars(server.stop)
    with pytest.raises(ServerLost, match="cannot be reached: 0 of 2 answered and kept; start it again"):
        client.ask([question("a"), question("b")])
    with pytest.raises(Unavailable, match="cannot be reached"):
        claude(server).ask([question("a")])
    back = servers.AnthropicServer(port=server.port)
    with back:
        back.known = {name: {**batch, "looks": 1} for name, batch in server.known.items()}
        assert texts(claude(back).ask([question("b"), question("a")])) == ["b", "a"]
        assert back.handed == []


@pytest.mark.parametrize("refusal", [(429, {}), (529, {})])
def test_a_batch_that_was_surely_not_taken_is_sent_again(refusal: Any, server: Any, claude: Any) -> None:
    server.paths["/v1/messages/batches"] = [refusal] * 2
    client = claude(server, retries=2)
    assert texts(client.ask([question("a")])) == ["a"]
    assert (len(server.handed), client.usage()["retries"]) == (1, 2)
    server.paths["/v1/messages/batches"] = [refusal] * 3
    with pytest.raises(ServerLost, match="refuses further work for now"):
        client.ask([question("b")])


@pytest.mark.parametrize("lost", [None, (500, {}), (504, {})])
def test_a_batch_that_may_have_been_taken_is_not_sent_again(lost: Any, server: Any, claude: Any) -> None:
    server.paths["/v1/messages/batches"] = [lost]
    with pytest.raises(ServerLost, match="Whether a batch of 1 questions was taken all the same is not known"):
        claude(server, retries=4).ask([question("a")])
    assert server.seen == ["POST /v1/messages/batches"]


def test_nothing_is_handed_in_that_could_not_be_remembered(
    server: Any, claude: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, room = Kept.put, 0

    def put(self: Kept, namespace: str, values: Mapping[str, Any]) -> None:
        nonlocal room
        if namespace.startswith("batches|"):
            room -= 1
            if room < 0:
                raise StorageFault("the disk is full")
        real(self, namespace, values)

    monkeypatch.setattr(Kept, "put", put)
    with pytest.raises(StorageFault, match=r"^the disk is full"):
        claude(server).ask([question("a")])
    assert server.handed == []
    room = 1
    with pytest.raises(StorageFault, match=r"batch msgbatch_1 was handed in and cannot be remembered.*disk is full"):
        claude(server).ask([question("a")])
    room = 99
    assert texts(claude(server).ask([question("b")])) == ["b"]
    assert [prompts(requests) for requests in server.handed] == [["a"], ["b"]]


def test_batches_that_were_handed_in_before_one_was_refused_are_not_handed_in_again(
    server: Any, claude: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.llm.anthropic.BATCH_REQUESTS", 1)
    server.paths["/v1/messages/batches"] = ["route", (429, {})]
    with pytest.raises(ServerLost, match="0 of 2 answered"):
        claude(server).ask([question("a"), question("b")])
    assert texts(claude(server).ask([question("a"), question("b")])) == ["a", "b"]
    assert [prompts(requests) for requests in server.handed] == [["a"], ["b"]]


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ((400, {"error": {"type": "invalid_request_error", "message": "odd"}}), "refuses the question .*odd"),
        ((400, {"error": {"message": "requests: too long"}}), "too long"),
        ((401, {"error": {"message": "who"}}), "refuses the key"),
        ((403, {"error": {"message": "no"}}), "refuses the key or the question"),
        ((404, {"error": {"message": "no such path"}}), "no such path"),
        ((307, {}), "redirect"),
        ((200, {"type": "message_batch"}), "the batch has no id"),
        ((200, b"<html>"), "gave no JSON"),
        ((200, []), "gave no object"),
    ],
)
def test_a_service_that_takes_no_batches_is_an_error(said: Any, what: str, server: Any, claude: Any) -> None:
    server.paths["/v1/messages/batches"] = [said]
    with pytest.raises(BenchError, match=what):
        claude(server).ask([question("a")])
    assert texts(claude(server).ask([question("a")])) == ["a"]
    assert len(server.handed) == 1


@pytest.mark.parametrize("said", [(200, b"<html>"), (200, []), (401, {}), (403, {}), (400, {}), (307, {})])
@pytest.mark.parametrize("path", ["", "/results"])
def test_an_odd_word_about_a_batch_stops_the_command_and_loses_nothing(
    path: str, said: Any, server: Any, claude: Any
) -> None:
    server.paths[f"/v1/messages/batches/msgbatch_1{path}"] = [said]
    with pytest.raises(BenchError, match=r"protocol|refuses|redirect"):
        claude(server).ask([question("a")])
    assert texts(claude(server).ask([question("a")])) == ["a"]
    assert len(server.handed) == 1


# ------------------------------------------------------------------ the gate


def held(tmp_path: Path, server: Any, attested: tuple[str, ...], **options: Any) -> Any:
    parts = {"llms": {"claude": {"use": "anthropic/claude", "base_url": server.url, **options}}}
    context = RunContext(workdir=tmp_path / "w", cache_root=tmp_path / "cache", parts=parts, attested=attested)
    client = context.llm("claude")
    context.hold("the dataset is credentialed")
    return client


@pytest.mark.parametrize("attested", [(), ("127.0.0.1",)])
def test_credentialed_text_never_goes_in_batches(attested: Any, server: Any, tmp_path: Path) -> None:
    client = held(tmp_path, server, attested, batch=True)
    for call in (
        lambda: client.ask([question("a")]),
        lambda: client.missing([question("a")]),
        lambda: asyncio.run(client.answer(question("a"))),
    ):
        with pytest.raises(BenchError, match=r"stored for up to 29 days whatever was agreed.*batch: false"):
            call()
    assert server.seen == []


def test_the_gate_holds_for_questions_that_are_counted(server: Any, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"attest it: run.attest_zero_retention: \[127.0.0.1\]"):
        held(tmp_path, server, ()).missing([question("a")])
    attested = held(tmp_path, server, ("127.0.0.1",))
    assert attested.missing([question("a")]) == 1
    assert texts(attested.ask([question("a")])) == ["a"]


def test_results_come_from_the_place_that_was_allowed(server: Any, claude: Any) -> None:
    with servers.AnthropicServer() as elsewhere:
        told = server._told
        server._told = lambda name: {**told(name), "results_url": f"{elsewhere.url}/results"}
        assert texts(claude(server).ask([question("a")])) == ["a"]
        assert elsewhere.seen == []


def test_text_is_held_back_from_the_next_batch_too(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.llm.anthropic.BATCH_REQUESTS", 1)
    parts = {"llms": {"claude": {"use": "anthropic/claude", "base_url": server.url, "batch": True}}}
    context = RunContext(workdir=tmp_path / "w", cache_root=tmp_path / "cache", parts=parts)
    hand_in = server._hand_in

    def hold(requests: Any) -> str:
        context.hold("the dataset is credentialed")
        return str(hand_in(requests))

    server._hand_in = hold
    with pytest.raises(BenchError, match="stored for up to 29 days"):
        context.llm("claude").ask([question("a"), question("b")])
    assert [prompts(requests) for requests in server.handed] == [["a"]]


@pytest.mark.parametrize("service", ["bedrock", "vertex"])
def test_only_anthropics_own_interface_takes_batches(service: str, server: Any, claude: Any) -> None:
    with pytest.raises(BenchError, match=f"client: api. takes batches, not {service}"):
        claude(server, client=service, region="us-east5")


# ------------------------------------------------------------------ accounting


def test_cost_is_that_of_batches_and_agrees_with_what_was_foretold(server: Any, claude: Any) -> None:
    prices = {"price_input": 3.0, "price_output": 15.0}
    client = claude(server, **prices)
    client.ask([question("a"), question("b")])
    used = client.usage()
    assert (used["input_tokens"], used["output_tokens"]) == (26, 10)
    assert used["cost_usd"] == pytest.approx((26 * 3 + 10 * 15) / 2 / 1e6)
    assert used["cost_usd"] == pytest.approx(client.cost(26, 10))
    asyncio.run(client.answer(question("c")))  # at the full price
    assert client.usage()["cost_usd"] == pytest.approx((26 * 3 + 10 * 15) / 2 / 1e6 + (13 * 3 + 5 * 15) / 1e6)
    assert claude(server, batch=False, **prices).cost(26, 10) == pytest.approx((26 * 3 + 10 * 15) / 1e6)
    assert claude(server, batch_discount=0, **prices).cost(26, 10) == pytest.approx((26 * 3 + 10 * 15) / 1e6)
    assert claude(server, price_input=3.0).usage()["cost_usd"] is None


def test_progress_tells_answers_batches_and_the_time_waited(
    server: Any, claude: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.llm.anthropic.BATCH_REQUESTS", 2)
    server.looks = 1
    client = claude(server)
    client._progress = bars = Bars()
    client.ask([question(name) for name in "abc"], title="descriptions")
    assert (bars.opened, bars.done) == ([("descriptions", 3, "calls")], 3)
    assert bars.notes[0] == "2 batches: 0 of 3 done, waited 0 min"


@pytest.mark.parametrize("batch", [True, False])
def test_the_missing_questions_are_as_many_as_are_asked(batch: bool, server: Any, claude: Any) -> None:
    asked = [question(name) for name in "abcab"]
    assert claude(server, batch=batch).missing(asked) == 3
    assert server.seen == []
    claude(server, batch=batch).ask(asked[:2])
    client = claude(server, batch=batch)
    assert client.missing(asked) == 1
    client.ask(asked)
    assert client.usage()["calls"] == 1
    assert client.missing(asked) == 0
    assert client.missing(asked, lambda _, answer: "no" if answer.data == {"answer": "a"} else None) == 1
    assert client.missing([]) == 0
