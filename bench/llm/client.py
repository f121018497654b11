"""What `Context.llm` returns: a backend behind cache, checks, the gate, bounded concurrency and accounting."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from bench.contracts import Answer, Check, Message, NoAnswer, Question, Ticker
from bench.errors import BenchError, ServerLost, Unavailable
from bench.kept import Kept
from bench.llm import loop, schema
from bench.llm.backend import Backend, Batches, Identity, Lost, Outcome, Rejected, Reply, TooLong
from bench.llm.batches import Line, Pending, Turn
from bench.llm.gate import Gate, Place, passed_on

Progress = Callable[[str, int | None, str], AbstractContextManager[Ticker]]
QUOTED = 2000
"""Characters of an unusable answer that are shown to the model again."""
LOOK_S = 60.0
"""A question is sent only where the model was identified so many seconds ago at most."""
LOOK_AGAIN_S = 1.0
"""The same after a request had to be sent again: the server may be another since."""
PROBE_S = 60.0
"""How long a server may take to say that it is there, after a question was lost."""
IN_A_ROW = 5
"""So many questions lost one after the other are the server's fault, not theirs."""


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
    batches: int = 0
    """Batches handed in."""
    batch_input_tokens: int = 0
    """Of the input tokens, those at the price of batches."""
    batch_output_tokens: int = 0


class _Moved(Exception):
    """Another model answers than before, or it answers elsewhere; `error` is what the user is told."""

    def __init__(self, error: BenchError) -> None:
        super().__init__(str(error))
        self.error = error


class Client:
    """A chat model: the implementation of `bench.contracts.LLM` around any backend.

    Answers are kept by (identity of the model, messages, schema, sampling, repeat) as they come; refusals and empty,
    malformed and cut-off answers are not. What is kept is checked again when it is used.

    Where the backend has batches, `ask` hands in what is missing as batches and waits for them. Which questions are in
    which batch is remembered, so that a killed command collects what it has paid for when it is started again.

    The model is identified, and its place passes the gate, before a batch of questions, every minute of it, after
    requests that had to be sent again, and after it. Where it turns out to be another, what it answered since it was
    last identified is forgotten, and ServerLost raised.
    """

    def __init__(self, spec: str, backend: Backend, gate: Gate, kept: Kept, progress: Progress) -> None:
        self.spec, self.backend = spec, backend
        self.stand_in: str | None = getattr(backend, "stand_in", None)
        self._gate, self._kept, self._progress = gate, kept, progress
        self._batches: Batches | None = getattr(backend, "batches", None)
        self._usage = Usage()
        self._identity: Identity | None = None
        self._met = self._recalled = False
        self._looked, self._absent, self._retries = -math.inf, -math.inf, 0
        self._told: str | None = None
        self._unsure: dict[str, str] = {}
        self._row = 0
        self._doubt: BenchError | Lost | None = None
        self._once = asyncio.Lock()
        self._slots = asyncio.Semaphore(backend.options.concurrency)

    def place(self) -> Place:
        """Return where the text of questions goes, as far as it is known by now."""
        told, remote = self.backend.place(), self._identity.remote_host if self._identity is not None else ""
        return passed_on(told, remote, f"{told.url} only passes {told.model!r} on") if remote else told

    def fingerprint(self) -> str:
        """Return backend, model, digest, quantisation and options; raises Unavailable where it is not there."""
        identity = loop.run(self._ready())
        self._told = self._namespace(identity)
        parts = (self._told, identity.shown, f"attempts:{self.backend.options.attempts}")
        return "|".join(part for part in parts if part)

    def usage(self) -> dict[str, Any]:
        """Return counts, tokens, requests sent again, and the cost in USD (None without prices)."""
        used = self._usage
        singly = used.input_tokens - used.batch_input_tokens, used.output_tokens - used.batch_output_tokens
        costs = self._price(*singly), self.cost(used.batch_input_tokens, used.batch_output_tokens)
        cost = None if None in costs else sum(part for part in costs if part is not None)
        return {**asdict(used), "retries": getattr(self.backend, "retries", 0), "cost_usd": cost}

    def cost(self, input_tokens: int, output_tokens: int) -> float | None:
        """Return what so many tokens of `ask` cost, in USD; None where the prices are not given."""
        price = self._price(input_tokens, output_tokens)
        return price if price is None or self._batches is None else price * (1 - self._batches.discount)

    def _price(self, input_tokens: int, output_tokens: int) -> float | None:
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
            "revision": (identity.revision or None) if identity else None,
            "quantisation": (identity.quantisation or None) if identity else None,
            "local": place.local,
            "attested": self._gate.attests(place),
            "usage": self.usage(),
        }

    # -------------------------------------------------------------- asking

    def missing(self, questions: Sequence[Question], check: Check | None = None) -> int:
        """Return how many different questions have no kept answer that passes its check; sends none of them.

        Where the server is not there, what it said last tells which answers count; where it never said anything, all
        are missing. Raises BenchError where the gate refuses.
        """
        _, distinct = _distinct(questions)
        self._gate.check(self.spec, self.place())
        if self._identity is None and time.monotonic() - self._absent < LOOK_S:  # waited for it just now
            return len(distinct)
        try:
            namespace = self._namespace(loop.run(self._ready()))
        except Unavailable:
            self._absent = time.monotonic()
            return len(distinct)
        return len(distinct) - len(self._known(namespace, distinct, check))

    def ask(
        self, questions: Sequence[Question], check: Check | None = None, title: str = "questions"
    ) -> list[Answer | NoAnswer]:
        """Return one answer a question, in their order; equal questions are asked once.

        Raises ServerLost where the server went away: what was answered until then is kept. Raises it too where another
        model answers than told so far.
        """
        keys, distinct = _distinct(questions)
        namespace, found = loop.run(self._start(distinct, check, 0.0))
        todo = {key: question for key, question in distinct.items() if key not in found}
        if todo:
            with self._progress(title, len(todo), "calls") as bar:
                loop.run(self._ask_all(namespace, todo, check, found, bar))
        return [found[key] for key in keys]

    async def answer(self, question: Question, check: Check | None = None) -> Answer | NoAnswer:
        """Return the answer to one question, which never goes in a batch; may be awaited in any loop."""
        return await loop.within(self._answer(question, check))

    async def _answer(self, question: Question, check: Check | None) -> Answer | NoAnswer:
        schema.check(question.schema)
        key = _key(question)
        namespace, known = await self._start({key: question}, check, LOOK_S)
        if key in known:
            return known[key]
        try:
            answer = await self._one(namespace, key, question, check)
            self._check_doubt()
        except (Lost, _Moved) as err:
            raise self._explained(err, 0, 1) from None
        return answer

    async def _start(
        self, questions: Mapping[str, Question], check: Check | None, seconds: float
    ) -> tuple[str, dict[str, Answer | NoAnswer]]:
        """Return the model's namespace, and what is kept there; the model is there wherever something is missing."""
        namespace = self._namespace(await self._ready())
        found = self._known(namespace, questions, check)
        if len(found) < len(questions):
            try:
                now = self._namespace(await self._look(seconds))
            except (Lost, _Moved) as err:
                raise self._explained(err, len(found), len(questions)) from None
            if now != namespace:
                namespace, found = now, self._known(now, questions, check)
        if self._told not in (None, namespace):
            raise self._changed(self._told or "", namespace)
        self._told = namespace
        self._usage.cached += len(found)
        return namespace, found

    # -------------------------------------------------------------- which model it is

    async def _ready(self) -> Identity:
        """Return what the model is, after the gate was passed before and after the server said so.

        Where the server is not there, what it said last is good enough to find kept answers by; no question is ever
        sent on the strength of it.
        """
        self._gate.check(self.spec, self.place())
        async with self._once:
            if self._identity is None:
                try:
                    await self._identify()
                except Lost as err:
                    self._identity, self._recalled = self._recall(), True
                    if self._identity is None:
                        raise Unavailable(f"llm {self.spec!r}: {err}", self.backend.remedy()) from None
            found = self._identity
        self._gate.check(self.spec, self.place())
        assert found is not None
        return found

    async def _look(self, seconds: float) -> Identity:
        """Return what the model is, as it said less than so many seconds ago. Raises Lost; _Moved where it must not be
        asked (any more)."""
        async with self._once:
            if self._identity is None or self._recalled or time.monotonic() - self._looked >= seconds:
                await self._identify()
            found = self._identity
        assert found is not None
        self._check_place()
        return found

    async def _identify(self) -> None:
        """Ask the server what its model is. What was answered since it was last asked counts where that is the same."""
        unsure, before = dict(self._unsure), self._namespace(self._identity) if self._identity else None
        identity = await self.backend.identify()
        if identity != self._identity or self._recalled:
            self._kept.put("identities", {self._address(): asdict(identity)})
        self._identity, self._recalled = identity, False
        self._met = self._met or identity.reached
        self._looked, self._retries = time.monotonic(), getattr(self.backend, "retries", 0)
        if self._namespace(identity) != before:
            self._forget()
        for key in unsure:
            self._unsure.pop(key, None)

    def _forget(self) -> None:
        """Drop from the cache what was answered since the model was last identified."""
        for namespace in set(self._unsure.values()):
            self._kept.delete(namespace, [key for key, where in self._unsure.items() if where == namespace])
        self._unsure.clear()

    def _check_place(self) -> None:
        """Raise _Moved where the text may not go where the model, by what it said last, takes it."""
        try:
            self._gate.check(self.spec, self.place())
        except BenchError as err:
            self._forget()
            raise _Moved(err) from None

    async def _still(self, namespace: str, seconds: float) -> None:
        """Raise _Moved where the model is not the one of `namespace`, as it said less than so many seconds ago."""
        try:
            identity = await self._look(seconds)
        except ServerLost as err:
            self._forget()
            raise _Moved(err) from None
        if (now := self._namespace(identity)) != namespace:
            raise _Moved(self._changed(namespace, now))

    def _changed(self, before: str, now: str) -> ServerLost:
        self._told = None
        return ServerLost(
            f"llm {self.spec!r}: the model changed meanwhile: it was {before} and is {now}. The same command starts "
            "over with what it is now"
        )

    def _address(self) -> str:
        """Return what tells this backend with its options from others: the key of what its server said."""
        options = self.backend.options.model_dump_json()
        text = f"{type(self.backend).__qualname__} {self.backend.place().url} {options}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _recall(self) -> Identity | None:
        told = self._kept.get("identities", [self._address()])
        try:
            return next((Identity(**identity) for identity in told.values()), None)
        except TypeError:  # of another version
            return None

    def _namespace(self, identity: Identity) -> str:
        return identity.fingerprint(self.backend.place().url)

    def _known(
        self, namespace: str, questions: Mapping[str, Question], check: Check | None
    ) -> dict[str, Answer | NoAnswer]:
        """Return the kept answers that still pass their check."""
        known: dict[str, Answer | NoAnswer] = {}
        for key, kept in self._kept.get(namespace, list(questions)).items():
            answer = _answer_of(kept)
            checked = None if answer is None else _checked(questions[key], answer, check)
            if isinstance(checked, Answer):
                known[key] = checked
        return known

    # -------------------------------------------------------------- questions under way

    async def _ask_all(
        self,
        namespace: str,
        todo: Mapping[str, Question],
        check: Check | None,
        found: dict[str, Answer | NoAnswer],
        bar: Ticker,
    ) -> None:
        """Fill `found` with the answers to `todo`, so many at a time or in batches."""
        if prepare := getattr(self.backend, "prepare", None):
            prepare(list(todo.values()))
        try:
            if self._batches is None:
                await self._ask_singly(namespace, todo, check, found, bar)
            else:
                line = Line(self._batches, Pending(self._kept, namespace), lambda: self._still(namespace, LOOK_S), bar)
                await self._ask_in_batches(line, namespace, todo, check, found, bar)
            self._check_doubt()
            await self._end(namespace)
        except (BaseExceptionGroup, Lost, _Moved) as errors:
            first = _first(errors) if isinstance(errors, BaseExceptionGroup) else errors
            answered = sum(isinstance(one, Answer) for one in found.values())
            raise self._explained(first, answered, len(found.keys() | todo.keys())) from None

    async def _ask_singly(
        self,
        namespace: str,
        todo: Mapping[str, Question],
        check: Check | None,
        found: dict[str, Answer | NoAnswer],
        bar: Ticker,
    ) -> None:
        waiting = iter(todo.items())
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self.backend.options.concurrency, len(todo))):
                group.create_task(self._work(namespace, waiting, check, found, bar))

    async def _end(self, namespace: str) -> None:
        """See that the model is still the same; one that has gone since its last answer is taken for it."""
        try:
            async with asyncio.timeout(PROBE_S):
                await self._still(namespace, 0.0)
        except (Lost, TimeoutError):
            return

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
            answer = await self._attempts(namespace, question, check)
        if isinstance(answer, NoAnswer):
            self._usage.unanswered += 1
            return answer
        self._keep(namespace, {key: answer})
        return answer

    def _keep(self, namespace: str, answers: Mapping[str, Answer]) -> None:
        """Keep answers, unless the model turned out to be another while they were under way."""
        if self._identity is not None and (now := self._namespace(self._identity)) != namespace:
            raise _Moved(self._changed(namespace, now))
        self._unsure.update(dict.fromkeys(answers, namespace))
        told = ("text", "input_tokens", "output_tokens", "attempts")
        self._kept.put(namespace, {key: {name: getattr(a, name) for name in told} for key, a in answers.items()})

    async def _attempts(self, namespace: str, question: Question, check: Check | None) -> Answer | NoAnswer:
        """Ask until an answer can be used, telling the model what was wrong with its last one."""
        asked = question
        failed = NoAnswer("malformed", "")
        tokens_in = tokens_out = 0
        for attempt in range(1, self.backend.options.attempts + 1):
            try:
                reply = await self._replied(namespace, asked)
            except TooLong as err:
                self._count(err.spent)
                return failed if attempt > 1 else NoAnswer("too-long", str(err))
            except Rejected as err:
                return self._passed_over(err, err.error, err.kind)
            except Lost as err:
                await self._probe(namespace, err)
                return self._passed_over(err, err, "failed")
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

    async def _replied(self, namespace: str, asked: Question) -> Reply:
        """Return the reply of a model that is still the same, and answers where it said."""
        sent_again = getattr(self.backend, "retries", 0) != self._retries
        await self._still(namespace, LOOK_AGAIN_S if sent_again else LOOK_S)
        return self._heard(namespace, await self.backend.reply(_encodable(asked)))

    def _heard(self, namespace: str, reply: Reply) -> Reply:
        """Return a reply with text that can be encoded, unless the server says that another host gave it."""
        if reply.remote_host and self._identity is not None:
            known, self._identity = self.place(), replace(self._identity, remote_host=reply.remote_host)
            if self.place().hosts != known.hosts:
                self._count(reply)
                self._check_place()
                self._forget()
                raise _Moved(self._changed(namespace, self._namespace(self._identity)))
        return replace(reply, text=schema.encodable(reply.text))

    # -------------------------------------------------------------- questions in batches

    async def _ask_in_batches(
        self,
        line: Line,
        namespace: str,
        todo: Mapping[str, Question],
        check: Check | None,
        found: dict[str, Answer | NoAnswer],
        bar: Ticker,
    ) -> None:
        """Hand in what no batch holds yet, and what a batch left without an answer, until all is settled."""
        sendable = {key: _encodable(question) for key, question in todo.items()}
        again = await line.take_up(sendable)
        self._met = self._met or bool(line)
        while again or line:
            for part in line.parts(again):
                await line.submit(part)
                self._usage.batches, self._met = self._usage.batches + 1, True
            outcomes = await line.ended()
            settled = {
                key: self._settled(namespace, todo[key], turn, outcome, check)
                for key, (turn, outcome) in outcomes.items()
            }
            again = {key: turn for key, turn in settled.items() if isinstance(turn, Turn)}
            found.update(self._settle(line.pending, namespace, settled))
            bar.advance(len(settled) - len(again))

    def _settle(
        self, pending: Pending, namespace: str, settled: Mapping[str, Answer | NoAnswer | Rejected | Turn]
    ) -> dict[str, Answer | NoAnswer]:
        """Keep a batch's answers, forget where its settled questions were, and return what became of these."""
        answers = {key: one for key, one in settled.items() if isinstance(one, Answer)}
        self._keep(namespace, answers)
        pending.drop([key for key, one in settled.items() if not isinstance(one, Turn)])
        rejected = {key: one for key, one in settled.items() if isinstance(one, Rejected)}
        without = {key: one for key, one in settled.items() if isinstance(one, NoAnswer)}
        without |= {key: self._passed_over(err, err.error, err.kind) for key, err in rejected.items()}
        self._usage.unanswered += len(without)
        return {**answers, **without}

    def _settled(
        self, namespace: str, question: Question, turn: Turn, outcome: Outcome, check: Check | None
    ) -> Answer | NoAnswer | Rejected | Turn:
        """Return what one outcome of a batch is worth; a Turn where the question is to be asked again."""
        last = turn.attempt >= self.backend.options.attempts
        if isinstance(outcome, TooLong):
            return turn.failed or NoAnswer("too-long", str(outcome))
        if isinstance(outcome, Lost):
            return NoAnswer("failed", str(outcome)) if last else replace(turn, attempt=turn.attempt + 1)
        if isinstance(outcome, Rejected):
            return outcome
        reply = self._heard(namespace, outcome)
        self._count(reply, in_batch=True)
        tokens_in, tokens_out = turn.input_tokens + reply.input_tokens, turn.output_tokens + reply.output_tokens
        answer = _judged(question, reply, check)
        if isinstance(answer, Answer):
            return replace(answer, input_tokens=tokens_in, output_tokens=tokens_out, attempts=turn.attempt)
        if last or answer.kind == "refused":
            return answer
        self._usage.asked_again += 1
        asked = _encodable(_again(question, reply.text, answer.why))
        return Turn(asked, turn.attempt + 1, tokens_in, tokens_out, answer)

    # -------------------------------------------------------------- questions that fail

    async def _probe(self, namespace: str, err: Lost) -> None:
        """Raise Lost where it is not this one question that is to blame: the server asks to wait, or is not there."""
        if err.wait:
            raise err
        try:
            async with asyncio.timeout(PROBE_S):
                await self._still(namespace, 0.0)
        except (Lost, TimeoutError):
            raise err from None

    def _passed_over(
        self, err: Rejected | Lost, meaning: BenchError | Lost, kind: Literal["refused", "failed"]
    ) -> NoAnswer:
        """Return that one question has no answer; raises what it means for all where others have none either."""
        self._row += 1
        worked = self._usage.calls or self._usage.cached
        if not worked and self._doubt is None:
            self._doubt = meaning
        if self._row >= IN_A_ROW and (isinstance(err, Lost) or not self._usage.calls):
            raise meaning
        if isinstance(err, Rejected) and err.doubts_key and not worked:
            raise meaning
        return NoAnswer(kind, str(err))

    def _check_doubt(self) -> None:
        """Raise why the first question failed, where no question ever had an answer."""
        doubt, self._doubt = self._doubt, None
        if doubt is not None and not (self._usage.calls or self._usage.cached):
            raise doubt

    def _count(self, reply: Reply | None, *, in_batch: bool = False) -> None:
        if reply is None:
            return
        self._met, self._row = True, 0
        self._usage.calls += reply.calls
        self._usage.input_tokens += reply.input_tokens
        self._usage.output_tokens += reply.output_tokens
        if in_batch:
            self._usage.batch_input_tokens += reply.input_tokens
            self._usage.batch_output_tokens += reply.output_tokens

    def _explained(self, err: BaseException, answered: int, total: int) -> BaseException:
        """Return the error for the user where the server was lost or its model is another; any other as it is."""
        if isinstance(err, _Moved):
            return err.error
        if not isinstance(err, Lost):
            return err
        if not self._met:
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


def _answer_of(kept: Any) -> Answer | None:
    """Return a kept answer, None where it is of another version's form."""
    if not isinstance(kept, dict) or not isinstance(kept.get("text"), str):
        return None
    try:
        return Answer(**kept, cached=True)
    except TypeError:
        return None


def _distinct(questions: Sequence[Question]) -> tuple[list[str], dict[str, Question]]:
    """Return the key of each question, and the different questions by their keys.

    Raises BenchError where the form of an answer cannot be checked.
    """
    keys = [_key(question) for question in questions]
    distinct = dict(zip(keys, questions, strict=True))
    for question in distinct.values():
        schema.check(question.schema)
    return keys, distinct


def _encodable(question: Question) -> Question:
    """Return the question without the lone surrogates of a damaged text, which cannot be sent."""
    turns = tuple(Message(m.role, schema.encodable(m.content)) for m in question.messages)
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
    """Return the most telling error of a group: a model that moved, then any other, and last a lost connection."""
    flat: list[BaseException] = []
    for error in errors.exceptions:
        flat.append(_first(error) if isinstance(error, BaseExceptionGroup) else error)
    return min(flat, key=lambda error: (not isinstance(error, _Moved), isinstance(error, Lost)))
