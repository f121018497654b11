"""Batches under way: handed in, remembered, waited for. A killed command collects them when it is started again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.contracts import NoAnswer, Question, Ticker
from bench.errors import StorageFault, Unavailable
from bench.kept import Kept
from bench.llm.backend import Batches, Gone, Lost, Outcome

FIRST_LOOK_S, LONGEST_LOOK_S = 5.0, 60.0
"""Seconds between two looks at batches, at first and at last."""
SLOWER = 1.5
_ID = 64
"""Characters that an id of a batch has at most, roughly."""
LOST_LOOKS = 5
"""So many looks in a row may fail while batches are waited for."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One question as it is asked for the nth time."""

    question: Question
    attempt: int = 1
    input_tokens: int = 0
    """Of the replies before, which could not be used."""
    output_tokens: int = 0
    failed: NoAnswer | None = None
    """What was wrong with the last of them, where this process saw it."""


class Pending:
    """Which questions are in which batch: one row a question in `Kept`, beside the namespace of their answers.

    A question that is handed in again takes its old row's place in one step, so that it is never in two batches.
    """

    def __init__(self, kept: Kept, namespace: str) -> None:
        self._kept, self._namespace = kept, f"batches|{namespace}"

    def put(self, batch: str, turns: Mapping[str, Turn]) -> None:
        """Remember that these questions, by their keys, are in a batch."""
        self._kept.put(self._namespace, self._rows(batch, turns))

    def check(self, turns: Mapping[str, Turn]) -> None:
        """Raise StorageFault where a batch of these questions could not be remembered: better before it is paid for."""
        trial = f"{self._namespace}|trial"
        self._kept.put(trial, self._rows("x" * _ID, turns))
        self._kept.delete(trial, list(turns))

    def _rows(self, batch: str, turns: Mapping[str, Turn]) -> dict[str, list[Any]]:
        return {key: [batch, turn.attempt, turn.input_tokens, turn.output_tokens] for key, turn in turns.items()}

    def of(self, questions: Mapping[str, Question]) -> dict[str, dict[str, Turn]]:
        """Return, of each batch that some of these questions are in, the questions as they were asked."""
        found: dict[str, dict[str, Turn]] = {}
        for key, row in self._kept.get(self._namespace, list(questions)).items():
            match row:
                case [str(batch), int(attempt), int(tokens_in), int(tokens_out)]:
                    found.setdefault(batch, {})[key] = Turn(questions[key], attempt, tokens_in, tokens_out)
        return found

    def drop(self, keys: list[str]) -> None:
        """Forget questions whose outcome is settled."""
        self._kept.delete(self._namespace, keys)


class Line:
    """The batches that one call of `ask` waits for.

    `sure` is awaited before anything is handed in or collected: it raises where that must not be.
    """

    def __init__(self, batches: Batches, pending: Pending, sure: Callable[[], Awaitable[None]], bar: Ticker) -> None:
        self._batches, self.pending, self._sure, self._bar = batches, pending, sure, bar
        self._open: dict[str, dict[str, Turn]] = {}
        self._done: dict[str, int] = {}
        self._wait, self._lost, self._began = FIRST_LOOK_S, 0, time.monotonic()
        self._told = ""

    def __bool__(self) -> bool:
        return bool(self._open)

    async def take_up(self, questions: Mapping[str, Question]) -> dict[str, Turn]:
        """Wait again for the batches of an earlier command; return the questions that are in none.

        Raises Lost.
        """
        for batch, turns in self.pending.of(questions).items():
            try:
                self._done[batch] = (await self._batches.look(batch)).done
                self._open[batch] = turns
            except Gone as err:
                self._told = f"{err}: handed in anew; "
        taken = {key for turns in self._open.values() for key in turns}
        return {key: Turn(question) for key, question in questions.items() if key not in taken}

    def parts(self, turns: Mapping[str, Turn]) -> Iterator[dict[str, Turn]]:
        """Yield questions in parts that one batch can hold."""
        for part in self._batches.parts({key: turn.question for key, turn in turns.items()}):
            yield {key: turns[key] for key in part}

    async def submit(self, turns: Mapping[str, Turn]) -> None:
        """Hand in one batch, and remember it at once. Raises Lost."""
        await self._sure()
        self.pending.check(turns)
        batch = await self._batches.submit({key: turn.question for key, turn in turns.items()})
        try:
            self.pending.put(batch, turns)
        except StorageFault as err:
            why = f"batch {batch} was handed in and cannot be remembered, so that it is never collected: {err}"
            raise StorageFault(why) from None
        self._open[batch], self._wait = dict(turns), FIRST_LOOK_S

    async def ended(self) -> dict[str, tuple[Turn, Outcome]]:
        """Wait until one of the batches has ended, and return what became of its questions. Raises Lost."""
        while True:
            for batch in list(self._open):
                outcomes = await self._outcomes(batch)
                if outcomes is not None:
                    turns = self._open.pop(batch)
                    none = Lost(f"batch {batch} has no result of it")
                    return {key: (turn, outcomes.get(key, none)) for key, turn in turns.items()}
            self._show()
            await asyncio.sleep(self._wait)
            self._wait = min(self._wait * SLOWER, LONGEST_LOOK_S)

    async def _outcomes(self, batch: str) -> dict[str, Outcome] | None:
        """Return a batch's outcomes, None where it is under way or the connection is lost for a while."""
        try:
            await self._sure()
            state = await self._batches.look(batch)
            outcomes = await self._batches.results(batch) if state.ended else None
        except Lost:
            self._lost += 1
            if self._lost > LOST_LOOKS:
                raise
            return None
        except Gone as err:
            self.pending.drop(list(self._open[batch]))
            remedy = "start the command again: it hands the questions in anew"
            raise Unavailable(f"{err}, though it was there before", remedy) from None
        self._lost, self._done[batch] = 0, state.done
        return outcomes

    def _show(self) -> None:
        total = sum(len(turns) for turns in self._open.values())
        done = sum(self._done.get(batch, 0) for batch in self._open)
        minutes = (time.monotonic() - self._began) / 60
        batches = f"{len(self._open)} batch{'es' if len(self._open) > 1 else ''}"
        self._bar.note(f"{self._told}{batches}: {done:,} of {total:,} done, waited {minutes:.0f} min")
        self._bar.advance(0)
