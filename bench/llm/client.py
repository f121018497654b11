"""What `Context.llm` returns: a backend behind cache, checks, the gate, bounded concurrency and accounting."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.contracts import Answer, Check, Message, NoAnswer, Question, Ticker
from bench.errors import BenchError, ServerLost, Unavailable
from bench.kept import Kept
from bench.llm import loop, schema
from bench.llm.backend import Backend, Identity, Lost, Reply, TooLong
from bench.llm.gate import Gate, Place, passed_on

Progress = Callable[[str, int | None, str], AbstractContextManager[Ticker]]
QUOTED = 2000
"""Characters of an unusable answer that are shown to the model again."""


@dataclass(slots=True)
class Usage:
    """What a client's questions have taken so far."""

    calls: int = 0
    """Replies of the model."""
    cached: int = 0
    """Answers taken from the cache."""
    unanswered: int = 0
    """Questions that stayed without an answer."""
    asked_again: int = 0
    """Replies that could not be used, after which the model was asked again."""
    input_tokens: int = 0
    output_tokens: int = 0


class Client:
    """A chat model: the implementation of `bench.contracts.LLM` around any backend.

    Answers are kept by (identity of the model, messages, schema, sampling, repeat) as they come; refusals and empty,
    malformed and cut-off answers are not. What is kept is checked again when it is used.
    """

    def __init__(self, spec: str, backend: Backend, gate: Gate, kept: Kept, progress: Progress) -> None:
        self.spec, self.backend = spec, backend
        self.stand_in: str | None = getattr(backend, "stand_in", None)
        self._gate, self._kept, self._progress = gate, kept, progress
        self._usage = Usage()
        self._identity: Identity | None = None
        self._met = self._recalled = False
        self._once = asyncio.Lock()
        self._slots = asyncio.Semaphore(backend.options.concurrency)

    def place(self) -> Place:
        """Return where the text of questions goes, as far as it is known by now."""
        told, remote = self.backend.place(), self._identity.remote_host if self._identity is not None else ""
        return passed_on(told, remote, f"{told.url} only passes {told.model!r} on") if remote else told

    def fingerprint(self) -> str:
        """Return backend, model, digest and quantisation; raises Unavailable where server or model is not there."""
        return self._namespace(loop.run(self._ready()))

    def usage(self) -> dict[str, Any]:
        """Return counts, tokens, requests sent again, and the cost in USD (None without prices)."""
        used = self._usage
        cost = self.cost(used.input_tokens, used.output_tokens)
        return {**asdict(used), "retries": getattr(self.backend, "retries", 0), "cost_usd": cost}

    def cost(self, input_tokens: int, output_tokens: int) -> float | None:
        """Return what so many tokens cost, in USD; None where the prices are not given."""
        options = self.backend.options
        if options.price_input is None or options.price_output is None:
            return None
        return (input_tokens * options.price_input + output_tokens * options.price_output) / 1e6

    def record(self) -> dict[str, Any]:
        """Return what a run keeps of this model: where it ran, what it was, what it took."""
        place, identity = self.place(), self._identity
        return {
            "spec": self.spec,
            "backend": identity.backend if identity else None,
            "host": place.host or None,
            "hosts_beyond": list(place.hosts),
            "model": identity.model if identity else place.model,
            "digest": (identity.digest or None) if identity else None,
            "quantisation": (identity.quantisation or None) if identity else None,
            "local": place.local,
            "attested": self._gate.attests(place),
            "usage": self.usage(),
        }

    # -------------------------------------------------------------- asking

    def ask(
        self, questions: Sequence[Question], check: Check | None = None, title: str = "questions"
    ) -> list[Answer | NoAnswer]:
        """Return one answer a question, in their order; equal questions are asked once.

        Raises ServerLost where the server went away: what was answered until then is kept.
        """
        keys = [_key(question) for question in questions]
        distinct = dict(zip(keys, questions, strict=True))
        for question in distinct.values():
            schema.check(question.schema)
        namespace = self._namespace(loop.run(self._ready()))
        found = self._known(namespace, distinct, check)
        if len(found) < len(distinct) and self._recalled:
            namespace = self._namespace(loop.run(self._ready(sure=True)))
            found = self._known(namespace, distinct, check)
        self._usage.cached += len(found)
        todo = {key: question for key, question in distinct.items() if key not in found}
        if todo:
            with self._progress(title, len(todo), "calls") as bar:
                loop.run(self._ask_all(namespace, todo, check, found, bar))
        return [found[key] for key in keys]

    async def answer(self, question: Question, check: Check | None = None) -> Answer | NoAnswer:
        """Return the answer to one question; may be awaited in any loop."""
        return await loop.within(self._answer(question, check))

    async def _answer(self, question: Question, check: Check | None) -> Answer | NoAnswer:
        schema.check(question.schema)
        key = _key(question)
        known: dict[str, Answer | NoAnswer] = {}
        for sure in (False, True):
            namespace = self._namespace(await self._ready(sure))
            if known := self._known(namespace, {key: question}, check):
                self._usage.cached += 1
                return known[key]
            if not self._recalled:
                break
        try:
            return await self._one(namespace, key, question, check)
        except Lost as err:
            raise self._lost(err, 0, 1) from None

    async def _ready(self, sure: bool = False) -> Identity:
        """Pass the gate, before and after the server has said what its model is.

        Where the server is not there, what it said last is good enough to find kept answers by, unless `sure`: no
        question is ever sent on the strength of it.
        """
        self._gate.check(self.spec, self.place())
        async with self._once:
            if self._identity is None or (sure and self._recalled):
                try:
                    self._identity, self._recalled = await self.backend.identify(), False
                    self._met = self._identity.reached
                    self._kept.put("identities", {self._address(): asdict(self._identity)})
                except Lost as err:
                    self._identity, self._recalled = self._recall(), True
                    if sure or self._identity is None:
                        raise Unavailable(f"llm {self.spec!r}: {err}", self.backend.remedy()) from None
        self._gate.check(self.spec, self.place())
        return self._identity

    def _address(self) -> str:
        """Return what tells this backend with its options from others: the key of what its server said."""
        options = self.backend.options.model_dump_json()
        text = f"{type(self.backend).__qualname__} {self.backend.place().url} {options}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _recall(self) -> Identity | None:
        told = self._kept.get("identities", [self._address()])
        return next((Identity(**identity) for identity in told.values()), None)

    def _namespace(self, identity: Identity) -> str:
        return identity.fingerprint(self.place().host)

    def _known(
        self, namespace: str, questions: Mapping[str, Question], check: Check | None
    ) -> dict[str, Answer | NoAnswer]:
        """Return the kept answers that still pass their check."""
        known: dict[str, Answer | NoAnswer] = {}
        for key, kept in self._kept.get(namespace, list(questions)).items():
            answer = Answer(**kept, cached=True)
            checked = _checked(questions[key], answer, check)
            if isinstance(checked, Answer):
                known[key] = checked
        return known

    async def _ask_all(
        self,
        namespace: str,
        todo: Mapping[str, Question],
        check: Check | None,
        found: dict[str, Answer | NoAnswer],
        bar: Ticker,
    ) -> None:
        """Fill `found` with the answers to `todo`, so many at a time."""
        if prepare := getattr(self.backend, "prepare", None):
            prepare(list(todo.values()))
        waiting = iter(todo.items())
        workers = min(self.backend.options.concurrency, len(todo))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(self._work(namespace, waiting, check, found, bar))
        except BaseExceptionGroup as errors:
            first = _first(errors)
            if isinstance(first, Lost):
                answered = sum(isinstance(one, Answer) for one in found.values())
                raise self._lost(first, answered, len(found.keys() | todo.keys())) from None
            raise first from None

    async def _work(
        self,
        namespace: str,
        waiting: Iterator[tuple[str, Question]],
        check: Check | None,
        found: dict[str, Answer | NoAnswer],
        bar: Ticker,
    ) -> None:
        for key, question in waiting:
            found[key] = await self._one(namespace, key, question, check)
            bar.note(f"{self._usage.input_tokens:,} tokens in, {self._usage.output_tokens:,} out")
            bar.advance()

    async def _one(self, namespace: str, key: str, question: Question, check: Check | None) -> Answer | NoAnswer:
        async with self._slots:
            answer = await self._attempts(question, check)
        if isinstance(answer, NoAnswer):
            self._usage.unanswered += 1
            return answer
        kept = {"text": answer.text, "input_tokens": answer.input_tokens, "output_tokens": answer.output_tokens}
        self._kept.put(namespace, {key: {**kept, "attempts": answer.attempts}})
        return answer

    async def _attempts(self, question: Question, check: Check | None) -> Answer | NoAnswer:
        """Ask until an answer can be used, telling the model what was wrong with its last one."""
        asked = question = _encodable(question)
        failed = NoAnswer("malformed", "")
        tokens_in = tokens_out = 0
        for attempt in range(1, self.backend.options.attempts + 1):
            try:
                reply = await self.backend.reply(asked)
            except TooLong as err:
                return failed if attempt > 1 else NoAnswer("too-long", str(err))
            self._count(reply)
            tokens_in, tokens_out = tokens_in + reply.input_tokens, tokens_out + reply.output_tokens
            answer = _judged(question, reply, check)
            if isinstance(answer, Answer):
                return replace(answer, input_tokens=tokens_in, output_tokens=tokens_out, attempts=attempt)
            if answer.kind == "refused":
                return answer
            failed = answer
            if attempt < self.backend.options.attempts:
                self._usage.asked_again += 1
                asked = _again(question, reply.text, failed.why)
        return failed

    def _count(self, reply: Reply) -> None:
        self._met = True
        self._usage.calls += 1
        self._usage.input_tokens += reply.input_tokens
        self._usage.output_tokens += reply.output_tokens

    def _lost(self, err: Lost, answered: int, total: int) -> BenchError:
        if not self._met and not answered:
            return Unavailable(f"llm {self.spec!r}: {err}", self.backend.remedy())
        return ServerLost(
            f"llm {self.spec!r}: {err}: {answered} of {total} answered and kept; start it again, the same command "
            "continues"
        )


# ------------------------------------------------------------------ answers


def _judged(question: Question, reply: Reply, check: Check | None) -> Answer | NoAnswer:
    if reply.finish == "refused":
        return NoAnswer("refused", reply.text or "the model refused to answer")
    if reply.finish == "length":
        limit = question.sampling.max_tokens
        return NoAnswer("too-long", f"the answer was cut off at {limit} tokens: answer in fewer words")
    if not reply.text.strip():
        return NoAnswer("empty", "the answer was empty")
    return _checked(question, Answer(reply.text), check)


def _checked(question: Question, answer: Answer, check: Check | None) -> Answer | NoAnswer:
    """Return the answer with its parsed data, or what is wrong with it."""
    if question.schema is not None:
        try:
            answer = replace(answer, data=schema.read(answer.text))
        except (ValueError, RecursionError) as err:
            return NoAnswer("malformed", f"the answer is not JSON: {err}")
        if why := schema.fault(answer.data, question.schema):
            return NoAnswer("malformed", why)
    if check is not None and (why := check(question, answer)):
        return NoAnswer("malformed", why)
    return answer


def _encodable(question: Question) -> Question:
    """Return the question without the lone surrogates of a damaged text, which cannot be sent."""
    turns = tuple(Message(m.role, m.content.encode(errors="replace").decode()) for m in question.messages)
    return replace(question, messages=turns)


def _again(question: Question, text: str, why: str) -> Question:
    """Return the question with an unusable answer, and what is wrong with it, as further turns."""
    note = f"This answer cannot be used: {why}. Answer the question again, and keep to the form asked for."
    turns = question.messages
    if text.strip():
        turns += (Message("assistant", text[:QUOTED]), Message("user", note))
    elif turns and turns[-1].role == "user":  # many chat templates refuse two turns of one role, or an empty one
        turns = (*turns[:-1], Message("user", f"{turns[-1].content}\n\n({note})"))
    return replace(question, messages=turns)


def _key(question: Question) -> str:
    asked = {
        "messages": [[message.role, message.content] for message in question.messages],
        "schema": question.schema,
        "sampling": asdict(question.sampling),
        "repeat": question.repeat,
    }
    text = json.dumps(asked, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the most telling error of a group: any other before a lost connection."""
    flat: list[BaseException] = []
    for error in errors.exceptions:
        flat.append(_first(error) if isinstance(error, BaseExceptionGroup) else error)
    return next((error for error in flat if not isinstance(error, Lost)), flat[0])
