"""The client around every backend: cache, checks, second tries, concurrency, lost servers, accounting."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import llm_servers as servers
import pytest

from bench.context import RunContext
from bench.contracts import Answer, Message, NoAnswer, Question, Sampling
from bench.errors import BenchError, ServerLost, Unavailable
from bench.llm import schema
from bench.llm.client import _key

SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}
MODEL = "llama3:70b-instruct"


def question(text: str, **more: Any) -> Question:
    return Question((Message("system", "You judge."), Message("user", text)), SCHEMA, **more)


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.llm.http.FIRST_WAIT_S", 0.001)
    for name in ("OLLAMA_HOST", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[Any]:
    with servers.OllamaServer() as server:
        yield server


@pytest.fixture
def judge(tmp_path: Path) -> Callable[..., Any]:
    """Return a maker of fresh clients of a server, which share one cache as runs do."""

    def make(server: Any, **options: Any) -> Any:
        parts = {"llms": {"judge": {"use": f"ollama/{MODEL}", "host": server.url, **options}}}
        return RunContext(workdir=tmp_path / "w", cache_root=tmp_path / "cache", parts=parts).llm("judge")

    return make


def texts(answers: list[Any]) -> list[Any]:
    return [answer.data["answer"] if isinstance(answer, Answer) else answer.kind for answer in answers]


# ------------------------------------------------------------------ cache


def test_answers_come_in_order_and_equal_questions_are_asked_once(server: Any, judge: Any) -> None:
    client = judge(server)
    answers = client.ask([question("b"), question("a"), question("b")])
    assert texts(answers) == ["b", "a", "b"]
    assert len(server.asked) == 2
    again = judge(server).ask([question("a"), question("c")])
    assert texts(again) == ["a", "c"]
    assert [answer.cached for answer in again] == [True, False]
    assert len(server.asked) == 3
    assert client.ask([]) == []


def test_all_that_moves_an_answer_is_part_of_its_key(server: Any, judge: Any) -> None:
    one = question("a")
    others = [
        question("a", repeat=1),
        question("a", sampling=Sampling(temperature=0.5)),
        question("a", sampling=Sampling(seed=1)),
        Question(one.messages, {**SCHEMA, "title": "x"}),
        Question((Message("user", "You judge."), Message("user", "a")), SCHEMA),
    ]
    judge(server).ask([one, *others])
    assert len(server.asked) == 6
    server.digest = "6" * 64
    assert judge(server).ask([one])[0].cached is False


def test_the_cache_is_private_and_holds_an_answer_before_the_next_is_asked(
    server: Any, judge: Any, tmp_path: Path
) -> None:
    server.dies_after = 2
    client = judge(server, concurrency=1, retries=0)
    with pytest.raises(ServerLost, match="2 of 4 answered and kept; start it again, the same command continues"):
        client.ask([question(name) for name in "abcd"])
    server.stop()
    with servers.OllamaServer(port=server.port) as back:
        assert texts(judge(back).ask([question(name) for name in "abcd"])) == list("abcd")
        assert sorted(servers.last(body["messages"]) for body in back.asked) == ["c", "d"]
    file = tmp_path / "cache/answers/v1/answers.sqlite"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("no JSON", "malformed"),
        ('{"answer": 3}', "malformed"),
        ('{"answer": "x", "more": 1}', "malformed"),
        ('{"answer": NaN}', "malformed"),
        ('["answer"]', "malformed"),
    ],
)
def test_what_cannot_be_used_is_never_kept(said: str, kind: str, server: Any, judge: Any) -> None:
    server.script = [said] * 3
    client = judge(server)
    assert texts(client.ask([question("a")])) == [kind]
    assert len(server.asked) == 3
    assert (client.usage()["asked_again"], client.usage()["unanswered"]) == (2, 1)
    assert texts(judge(server).ask([question("a")])) == ["a"]


def test_a_kept_answer_is_checked_again(server: Any, judge: Any) -> None:
    judge(server).ask([question("a"), question("b")])
    strict = judge(server).ask(
        [question("a"), question("b")], lambda _, answer: None if answer.data == {"answer": "a"} else "no"
    )
    assert texts(strict) == ["a", "malformed"]
    assert len(server.asked) == 2 + 3


def test_kept_answers_can_be_had_without_the_server_but_no_new_ones(server: Any, judge: Any) -> None:
    before = judge(server)
    before.ask([question("a"), question("b")])
    server.stop()
    later = judge(server, retries=0)
    with pytest.raises(Unavailable, match="cannot be reached"):
        later.fingerprint()  # other options: never asked
    later = judge(server)
    assert later.fingerprint() == before.fingerprint()
    assert [answer.cached for answer in later.ask([question("b"), question("a")])] == [True, True]
    assert asyncio.run(later.answer(question("a"))).cached is True
    for call in (lambda: later.ask([question("a"), question("c")]), lambda: asyncio.run(later.answer(question("c")))):
        with pytest.raises(Unavailable, match="cannot be reached"):
            call()
    with servers.OllamaServer(port=server.port) as other:
        other.digest = "6" * 64
        with pytest.raises(ServerLost, match=r"the model changed meanwhile: it was .*5555.* and is .*6666"):
            later.ask([question("a"), question("c")])
        assert other.asked == []
        answers = later.ask([question("a"), question("c")])
        assert [answer.cached for answer in answers] == [False, False]  # another model answers now: nothing is mixed
        assert "6666" in later.fingerprint()


@pytest.mark.parametrize("row", [{"a": 1}, [], "x", {"text": 3}, {"text": "{}", "newer": 1}])
def test_a_kept_row_of_another_form_is_asked_again(row: Any, server: Any, judge: Any) -> None:
    client = judge(server)
    client.ask([question("a")])
    client._kept.put(f"ollama|{MODEL}|sha256:{'5' * 16}|Q4_0|70.6B", {_key(question("a")): row})
    client._kept.put("identities", {client._address(): row})
    assert texts(judge(server).ask([question("a")])) == ["a"]
    assert len(server.asked) == 2


def test_missing_questions_are_counted_with_or_without_the_server(server: Any, judge: Any) -> None:
    asked = [question("a"), question("b"), question("a"), question("c")]
    assert judge(server).missing(asked) == 3
    judge(server).ask([question("a"), question("b")])
    assert judge(server).missing(asked) == 1
    assert judge(server).missing(asked, lambda _, answer: "no" if answer.data == {"answer": "b"} else None) == 2
    assert len(server.asked) == 2
    server.stop()
    assert judge(server).missing(asked) == 1  # by what the server said last
    assert judge(server, retries=0).missing(asked) == 3  # other options: it was never asked with them


def test_a_dry_run_works_before_the_server_is_started_and_leaves_no_trace(
    server: Any, judge: Any, tmp_path: Path
) -> None:
    server.stop()
    client = judge(server, retries=1)
    assert [client.missing([question(name)]) for name in "aab"] == [1, 1, 1]
    assert client.usage()["retries"] == 1, "waited for the server once, not with every count"
    with servers.OllamaServer(port=server.port) as back:
        assert texts(client.ask([question("a")])) == ["a"]
        assert client.missing([question("a"), question("b")]) == 1  # it has been there since
        assert len(back.asked) == 1
    with pytest.raises(BenchError, match="'not' is not supported"):
        client.missing([Question((Message("user", "a"),), {"not": {}})])


def test_another_model_s_answers_do_not_count(server: Any, judge: Any) -> None:
    judge(server).ask([question("a")])
    server.digest = "6" * 64
    client = judge(server)
    assert client.missing([question("a")]) == 1
    assert texts(client.ask([question("a")])) == ["a"]
    assert len(server.asked) == 2


# ------------------------------------------------------------------ damaged texts


def test_a_damaged_text_can_be_asked_and_its_check_sees_the_question_as_it_was_put(server: Any, judge: Any) -> None:
    damaged, seen = question("a\ud800b"), []
    server.script = ["no \ud83d JSON", '{"answer": "\\ud83d"}']
    (answer,) = judge(server).ask([damaged], lambda asked, answer: seen.append((asked, answer.data)))
    assert seen == [(damaged, {"answer": "?"})]
    assert answer.data == {"answer": "?"}
    assert [body["messages"][1]["content"] for body in server.asked] == ["a?b", "a?b"]
    assert server.asked[1]["messages"][2]["content"] == "no ? JSON"
    assert judge(server).ask([damaged])[0].data == {"answer": "?"}


def test_free_text_comes_without_lone_surrogates(server: Any, judge: Any) -> None:
    server.script = ["heart \udc00"]
    assert judge(server).ask([Question((Message("user", "a"),))])[0].text == "heart ?"


def test_nul_bytes_and_very_long_texts_are_sent_as_they_are(server: Any, judge: Any) -> None:
    server.context = 400_000
    server.answer = lambda prompt: json.dumps({"answer": f"{len(prompt)}{prompt[:3]}"})
    answers = judge(server).ask([question("a\0b"), question("x. " * 70_000)])
    assert texts(answers) == ["3a\0b", "210000x. "]


# ------------------------------------------------------------------ another model


def test_a_model_replaced_in_mid_batch_leaves_no_answer_behind(server: Any, judge: Any) -> None:
    def answer(prompt: str) -> str:
        if prompt == "c":
            server.digest = "6" * 64
        return json.dumps({"answer": f"{server.digest[0]}{prompt}"})

    server.answer = answer
    client = judge(server, concurrency=1)
    first = client.fingerprint()
    with pytest.raises(ServerLost, match=r"the model changed meanwhile: it was .*5555.* and is .*6666"):
        client.ask([question(name) for name in "abcd"])
    assert client.fingerprint() != first
    assert texts(client.ask([question(name) for name in "abcd"])) == ["6a", "6b", "6c", "6d"]
    server.digest, server.answer = "5" * 64, lambda prompt: json.dumps({"answer": f"old {prompt}"})
    assert texts(judge(server).ask([question("c"), question("d")])) == ["old c", "old d"]


def test_a_model_replaced_between_batches_is_not_taken_for_the_other(server: Any, judge: Any) -> None:
    client = judge(server)
    client.ask([question("a")])
    server.digest = "6" * 64
    with pytest.raises(ServerLost, match="the model changed meanwhile"):
        client.ask([question("b")])
    assert len(server.asked) == 1
    assert texts(client.ask([question("a"), question("b")])) == ["a", "b"]
    assert len(server.asked) == 3


def test_single_questions_look_at_the_model_once_a_minute(
    server: Any, judge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = judge(server)
    for name in "abc":
        asyncio.run(client.answer(question(name)))
    assert server.seen.count("GET /api/tags") == 1
    server.digest = "6" * 64
    asyncio.run(client.answer(question("d")))  # within the minute: not seen yet
    monkeypatch.setattr("bench.llm.client.LOOK_S", 0.0)
    with pytest.raises(ServerLost, match="the model changed meanwhile"):
        asyncio.run(client.answer(question("e")))
    server.digest, server.answer = "5" * 64, lambda prompt: json.dumps({"answer": "old"})
    assert texts([asyncio.run(judge(server).answer(question("d")))]) == ["old"]  # what came in between is forgotten


def test_a_long_batch_looks_at_the_model_again_in_between(
    server: Any, judge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.llm.client.LOOK_S", 0.0)

    def answer(prompt: str) -> str:
        server.digest = "6" * 64
        return json.dumps({"answer": prompt})

    server.answer = answer
    with pytest.raises(ServerLost, match="the model changed meanwhile"):
        judge(server, concurrency=1).ask([question(name) for name in "abcdefgh"])
    assert len(server.asked) == 1


def test_a_model_is_looked_at_again_after_a_request_had_to_be_sent_again(
    server: Any, judge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.llm.client.LOOK_AGAIN_S", 0.0)
    server.script = [(503, {"error": "busy"})]

    def answer(prompt: str) -> str:
        server.digest = "6" * 64
        return json.dumps({"answer": prompt})

    server.answer = answer
    with pytest.raises(ServerLost, match="the model changed meanwhile"):
        judge(server, concurrency=1).ask([question(name) for name in "abcdefgh"])
    assert len(server.asked) == 2


def test_a_server_that_dies_with_its_last_answer_has_answered_all(server: Any, judge: Any) -> None:
    server.paths["/api/show"] = ["route", "route", None]
    client = judge(server, retries=0)
    client.fingerprint()
    assert texts(client.ask([question("a")])) == ["a"]


# ------------------------------------------------------------------ second tries


def test_a_malformed_answer_is_shown_to_the_model_with_what_was_wrong(server: Any, judge: Any) -> None:
    server.script = ['{"answer": 1}', '```json\n{"answer": "wrong"}\n```']

    def check(asked: Question, answer: Answer) -> str | None:
        assert asked == question("a")
        return "wrong word" if answer.data["answer"] == "wrong" else None

    server.answer = lambda prompt: json.dumps({"answer": "right"})
    (answer,) = judge(server).ask([question("a")], check)
    assert (answer.data, answer.attempts) == ({"answer": "right"}, 3)
    second, third = ([(m["role"], m["content"]) for m in body["messages"]] for body in server.asked[1:])
    assert second[:3] == [("system", "You judge."), ("user", "a"), ("assistant", '{"answer": 1}')]
    assert "the answer.answer must be of type string" in second[3][1]
    assert "wrong word" in third[3][1]
    assert len(third) == 4
    counted = sum(len(m["content"]) // 4 + 9 for body in server.asked for m in body["messages"])
    assert answer.input_tokens == pytest.approx(counted, abs=20)


def test_an_empty_answer_adds_no_empty_turn(server: Any, judge: Any) -> None:
    server.script = [""]
    server.answer = lambda prompt: json.dumps({"answer": prompt[:1]})
    assert texts(judge(server).ask([question("a")])) == ["a"]
    assert [m["role"] for m in server.asked[1]["messages"]] == ["system", "user"]


def test_free_text_needs_no_schema(server: Any, judge: Any) -> None:
    server.answer = lambda prompt: "some words"
    (answer,) = judge(server).ask([Question((Message("user", "a"),))])
    assert (answer.text, answer.data) == ("some words", None)
    assert "format" not in server.asked[0]


def test_an_answer_that_was_cut_off_does_not_count(server: Any, judge: Any) -> None:
    server.answer = lambda prompt: "one two three four"
    (answer,) = judge(server).ask([Question((Message("user", "a"),), sampling=Sampling(max_tokens=3))])
    assert answer == NoAnswer("too-long", "the answer was cut off at 3 tokens: answer in fewer words")
    assert texts(judge(server).ask([Question((Message("user", "a"),), sampling=Sampling(max_tokens=3))])) == [
        "too-long"
    ]


def test_a_schema_that_could_not_be_checked_is_refused(server: Any, judge: Any) -> None:
    with pytest.raises(BenchError, match=r"schema\.properties\.a: the JSON Schema keyword 'not' is not supported"):
        judge(server).ask([Question((Message("user", "a"),), {"properties": {"a": {"not": {}}}})])


# ------------------------------------------------------------------ concurrency, other loops, interruption


def test_as_many_as_allowed_are_in_flight_and_no_more(server: Any, judge: Any) -> None:
    server.together = threading.Barrier(3, timeout=10)  # passes only where three requests are there at one time
    answers = judge(server, concurrency=3, retries=0).ask([question(str(i)) for i in range(9)])
    assert texts(answers) == [str(i) for i in range(9)]
    assert server.peak == 3


def test_it_works_inside_a_running_loop_and_awaited(server: Any, judge: Any) -> None:
    client = judge(server, concurrency=2)

    async def main() -> list[Any]:
        inside = client.ask([question("a")])
        awaited = await asyncio.gather(*(client.answer(question(name)) for name in "abcde"))
        return [*inside, *awaited]

    assert texts(asyncio.run(main())) == ["a", *"abcde"]
    assert texts([asyncio.run(client.answer(question("z")))]) == ["z"]
    assert len(server.asked) == 6


def test_awaited_answers_are_bounded_as_well(server: Any, judge: Any) -> None:
    server.together = threading.Barrier(3, timeout=0.2)  # breaks, and with it the connections, where only two come
    client = judge(server, concurrency=2, retries=0)

    async def main() -> list[Any]:
        return await asyncio.gather(*(client.answer(question(name)) for name in "abc"), return_exceptions=True)

    assert ServerLost in {type(answer) for answer in asyncio.run(main())}
    assert server.peak == 2


def test_a_check_that_fails_is_an_error_of_its_own(server: Any, judge: Any) -> None:
    def check(_: Question, __: Answer) -> str | None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        judge(server).ask([question(name) for name in "abc"], check)


CTRL_C = """
import os, signal, sys, threading
from pathlib import Path
from bench.context import RunContext
from bench.contracts import Message, Question

context = RunContext(workdir=Path("w"), cache_root=Path("cache"), parts={"llms": {"judge": {
    "use": "ollama/llama3:70b-instruct", "host": sys.argv[1], "concurrency": 1}}})
client = context.llm("judge")
print(client.ask([Question((Message("user", "a"),))])[0].text, flush=True)
try:
    client.ask([Question((Message("user", name),)) for name in "abc"])
except KeyboardInterrupt:
    print("stopped", flush=True)
    raise
"""


@pytest.mark.slow
def test_ctrl_c_stops_at_once_and_keeps_what_was_answered(server: Any, judge: Any, tmp_path: Path) -> None:
    server.answer = lambda prompt: f"said {prompt}"
    child = subprocess.Popen(
        [sys.executable, "-c", CTRL_C, server.url],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    entered = threading.Event()
    server.stuck = threading.Event()
    inner = server.answer

    def answer(prompt: str) -> str:
        entered.set()
        return inner(prompt)

    server.answer = answer
    server.stuck.set()
    assert child.stdout.readline() == "said a\n"
    server.stuck.clear()
    while len(server.asked) < 2:
        pass
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=25)  # less than the server would let it wait
    assert out == "stopped\n"
    assert err.strip().endswith("KeyboardInterrupt")
    assert child.returncode in (1, 130, -signal.SIGINT)
    server.stuck.set()
    assert judge(server).ask([Question((Message("user", "a"),))])[0].cached is True


# ------------------------------------------------------------------ servers that are not there


def test_a_server_that_was_never_there_is_unavailable(server: Any, judge: Any) -> None:
    server.stop()
    client = judge(server, retries=1)
    for call in (client.fingerprint, lambda: client.ask([question("a")])):
        with pytest.raises(Unavailable, match="cannot be reached") as missing:
            call()
        assert "ollama serve" in missing.value.remedy


def test_a_model_that_is_not_pulled_is_unavailable(server: Any, tmp_path: Path) -> None:
    parts = {"llms": {"judge": {"use": "ollama/llama4", "host": server.url}}}
    client = RunContext(workdir=tmp_path, cache_root=tmp_path, parts=parts).llm("judge")
    with pytest.raises(Unavailable, match="has no model 'llama4'") as missing:
        client.ask([question("a")])
    assert missing.value.remedy == "pull it: `ollama pull llama4`"


# ------------------------------------------------------------------ one question alone

BUSY = (500, {"error": "grammar sampler failed"})


def poisoned(server: Any, said: Any, *bad: str) -> None:
    """Let a server answer all questions but `bad`."""
    server.answer = lambda prompt: said if prompt in bad else json.dumps({"answer": prompt})


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (BUSY, "failed"),
        ((400, {"error": "cannot tokenise"}), "failed"),
        ((422, {"error": "odd"}), "failed"),
        ((413, {"error": "large"}), "failed"),
        ((404, {"error": "no such"}), "failed"),
        ((403, {"error": "moderation"}), "refused"),
        ((200, {"message": "x"}), "failed"),
    ],
)
def test_a_question_that_always_fails_costs_its_own_answer_only(said: Any, kind: str, server: Any, judge: Any) -> None:
    poisoned(server, said, "b")
    client = judge(server, concurrency=1, retries=1)
    assert texts(client.ask([question(name) for name in "abc"])) == ["a", kind, "c"]
    assert client.usage()["unanswered"] == 1
    asked = len(server.asked)
    assert texts(judge(server, concurrency=1, retries=1).ask([question(name) for name in "abc"])) == ["a", kind, "c"]
    assert len(server.asked) - asked == (2 if said is BUSY else 1), "asked again, it alone"


def test_a_bad_question_that_comes_first_costs_no_more(server: Any, judge: Any) -> None:
    poisoned(server, (400, {"error": "cannot tokenise"}), "a")
    assert texts(judge(server, concurrency=1).ask([question(name) for name in "abc"])) == ["failed", "b", "c"]


def test_a_question_that_takes_too_long(server: Any, judge: Any) -> None:
    def answer(prompt: str) -> str:
        if prompt == "b":
            threading.Event().wait(0.5)
        return json.dumps({"answer": prompt})

    server.answer = answer
    answers = judge(server, timeout_s=0.25, retries=0, concurrency=1).ask([question(name) for name in "abc"])
    assert texts(answers) == ["a", "failed", "c"]
    assert "did not answer in time" in answers[1].why


def test_where_many_in_a_row_are_lost_the_server_is(server: Any, judge: Any) -> None:
    poisoned(server, BUSY, *"bcdefgh")
    with pytest.raises(ServerLost, match=r"grammar sampler failed: 1 of 8 answered and kept"):
        judge(server, concurrency=1, retries=0).ask([question(name) for name in "abcdefgh"])
    assert len(server.asked) == 1 + 5
    poisoned(server, BUSY, *"bcef")
    answers = judge(server, concurrency=1, retries=0).ask([question(name) for name in "abcdefgh"])
    assert texts(answers) == ["a", "failed", "failed", "d", "failed", "failed", "g", "h"]


def test_where_the_server_has_gone_or_asks_to_wait_no_question_is_to_blame(server: Any, judge: Any) -> None:
    client = judge(server, concurrency=1, retries=0)
    client.ask([question("a")])
    poisoned(server, (429, {"error": "slow down"}), "b")
    with pytest.raises(ServerLost, match="slow down"):
        client.ask([question("b")])
    poisoned(server, BUSY, "b")
    server.paths["/api/show"] = ["route", None]  # there when the batch starts, gone when it is asked about
    with pytest.raises(ServerLost, match="grammar sampler failed"):
        client.ask([question("b")])


def test_a_server_that_never_answered_refuses_them_all(server: Any, judge: Any) -> None:
    server.answer = lambda prompt: (400, {"error": "unknown field seed"})
    with pytest.raises(BenchError, match="unknown field seed"):
        judge(server, concurrency=1).ask([question(str(i)) for i in range(20)])
    assert len(server.asked) == 5
    with pytest.raises(BenchError, match="unknown field seed"):
        asyncio.run(judge(server).answer(question("a")))
    server.asked.clear()
    server.answer = lambda prompt: (403, {"error": "no"})
    with pytest.raises(Unavailable, match="refuses the key"):
        judge(server, concurrency=1).ask([question(name) for name in "abc"])
    assert len(server.asked) == 1
    with pytest.raises(Unavailable, match="refuses the key"):
        asyncio.run(judge(server).answer(question("a")))


def test_a_key_refused_later_is_no_question_s_fault(server: Any, judge: Any) -> None:
    poisoned(server, (401, {"error": "expired"}), "b")
    with pytest.raises(Unavailable, match="expired"):
        judge(server, concurrency=1).ask([question(name) for name in "abc"])


def test_a_hiccup_is_waited_out_and_counted(server: Any, judge: Any) -> None:
    server.script = [(503, {"error": "server busy"}), (500, {"error": "runner has stopped"})]
    client = judge(server)
    assert texts(client.ask([question("a")])) == ["a"]
    assert client.usage()["retries"] == 2
    server.script = [(503, {"error": "server busy"})] * 5
    with pytest.raises(ServerLost, match=r"refuses further work for now \(503\): server busy: 0 of 1 answered"):
        judge(server, num_ctx=512).ask([question("b")])


# ------------------------------------------------------------------ accounting


def test_tokens_calls_and_cost_are_counted(server: Any, judge: Any) -> None:
    client = judge(server, price_input=3.0, price_output=15.0)
    client.ask([question("a"), question("b")])
    client.ask([question("a"), question("c")])
    used = client.usage()
    assert {key: used[key] for key in ("calls", "cached", "unanswered", "asked_again", "retries")} == {
        "calls": 3,
        "cached": 1,
        "unanswered": 0,
        "asked_again": 0,
        "retries": 0,
    }
    assert (used["input_tokens"], used["output_tokens"]) == (3 * (3 + 1 + 16), 3 * 2)
    assert used["cost_usd"] == pytest.approx((60 * 3 + 6 * 15) / 1e6)
    assert judge(server).usage()["cost_usd"] is None


def test_a_run_can_record_what_was_used(server: Any, tmp_path: Path) -> None:
    parts = {"llms": {"judge": {"use": f"ollama/{MODEL}", "host": server.url}}}
    context = RunContext(workdir=tmp_path, cache_root=tmp_path, parts=parts)
    client = context.for_run(tmp_path / "run").llm("judge")
    assert client.fingerprint() == f"ollama|{MODEL}|sha256:{'5' * 16}|Q4_0|70.6B|attempts:3"
    client.ask([question("a")])
    (record,) = context.llms_used()
    assert {key: record[key] for key in ("spec", "backend", "host", "model", "digest", "quantisation")} == {
        "spec": "judge",
        "backend": "ollama",
        "host": "127.0.0.1",
        "model": MODEL,
        "digest": "sha256:" + "5" * 64,
        "quantisation": "Q4_0",
    }
    assert record["usage"]["calls"] == 1
    assert json.loads(json.dumps(record)) == record


def test_progress_tells_calls_and_tokens(server: Any, judge: Any) -> None:
    client = judge(server)
    client.ask([question("a")])
    told: list[Any] = []

    class Bar:
        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: Any) -> None:
            pass

        def advance(self, n: int = 1) -> None:
            told.append(n)

        def note(self, text: str) -> None:
            told.append(text)

    def progress(title: str, total: int | None, unit: str = "") -> Any:
        told.append((title, total, unit))
        return Bar()

    client._progress = progress
    client.ask([question("a"), question("b"), question("c")], title="verdicts")
    assert told[0] == ("verdicts", 2, "calls")
    assert told[1:] == ["40 tokens in, 4 out", 1, "60 tokens in, 6 out", 1]


# ------------------------------------------------------------------ the schema's subset


@pytest.mark.parametrize(
    ("value", "rules", "wrong"),
    [
        (1, {"type": "integer"}, None),
        (1.0, {"type": "integer"}, None),
        (1.5, {"type": "integer"}, "must be of type integer"),
        (True, {"type": "integer"}, "must be of type integer"),
        (True, {"enum": [1]}, "must be one of 1"),
        (None, {"type": ["string", "null"]}, None),
        ("abc", {"minLength": 4}, "must be at least 4"),
        ("abc", {"maxLength": 2}, "must be at most 2"),
        ("abc", {"pattern": "^b"}, "must match"),
        (3, {"minimum": 3, "maximum": 3}, None),
        (3, {"exclusiveMinimum": 3}, "must be above 3"),
        (3, {"exclusiveMaximum": 3}, "must be below 3"),
        ([1, 2], {"items": {"type": "string"}}, r"the answer\[0\] must be of type string"),
        ([1], {"minItems": 2}, "must be at least 2"),
        ([1, 1], {"uniqueItems": True}, "names an item twice"),
        ([1, True], {"uniqueItems": True}, None),
        ({"a": 1}, {"required": ["b"]}, "lacks the key 'b'"),
        ({"a": 1}, {"additionalProperties": {"type": "string"}}, "the answer.a must be of type string"),
        ({"a": [1]}, {"$defs": {"s": {"type": "string"}}, "properties": {"a": {"items": {"$ref": "#/$defs/s"}}}},
         r"a\[0\] must be of type string"),
        (1, {"anyOf": [{"type": "string"}, {"type": "null"}]}, "fits none of the forms"),
        (1, {"anyOf": [{"type": "string"}, {"type": "number"}]}, None),
        (1, {"oneOf": [{"type": "integer"}, {"type": "number"}]}, "fits more than one"),
        (1, {"allOf": [{"minimum": 0}, {"minimum": 2}]}, "must be at least 2"),
        ("x", {"const": "y"}, 'must be "y"'),
    ],
)  # fmt: skip
def test_the_schema_checks_what_json_schema_says(value: Any, rules: Mapping[str, Any], wrong: str | None) -> None:
    schema.check(rules)
    found = schema.fault(value, rules)
    if wrong is None:
        assert found is None
    else:
        with pytest.raises(AssertionError, match=wrong):
            raise AssertionError(found)


def test_a_reference_to_nothing_is_an_error() -> None:
    with pytest.raises(BenchError, match="names nothing"):
        schema.fault(1, {"$ref": "#/$defs/none"})


def test_the_loop_of_a_forked_process_is_its_own(server: Any, judge: Any) -> None:
    judge(server).ask([question("a")])
    read, write = os.pipe()
    if not (child := os.fork()):  # pragma: no cover
        try:
            os.write(write, texts(judge(server).ask([question("b")]))[0].encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 9) == b"b"
