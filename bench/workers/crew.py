"""Workers that answer many items: one a device, each started again at the first unanswered item when it is lost."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from bench.errors import BenchError
from bench.workers.process import Lost, Message, Process

MOST_DEATHS = 8
"""Losses in a row, without an answer between, after which it is no use to go on: four cases in a row, each twice."""
ENDING_S = 30.0
"""Seconds that the lanes of workers that were ended have to clear away what they made."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Task(Generic[T]):
    """One item to be answered: its id and how it is packed for a worker, and cleared away afterwards."""

    id: str
    item: T


@dataclass(frozen=True, slots=True)
class Packed:
    """Tasks as they go to a worker, and why those that cannot go cannot."""

    items: Sequence[Message]
    failed: Mapping[str, str]


Pack = Callable[[str, Sequence[Task[T]]], AbstractContextManager[Packed]]
"""(lane's name, tasks) → what goes to the worker, there while the tasks are under way."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of one item."""

    id: str
    message: Message
    """Of type "answer": with "error" where there is none."""


def _failed(task_id: str, why: str) -> Answered:
    return Answered(task_id, {"type": "answer", "id": task_id, "error": why})


class Lane(Generic[T]):
    """The worker of one device, whichever process that is at the moment."""

    def __init__(
        self,
        name: str,
        worker: str,
        launch: Callable[[], Process],
        greet: Callable[[Process], dict[str, Any]],
        pack: Pack[T],
    ) -> None:
        """worker: what messages call it; launch and greet start a process, and wait until its model is loaded."""
        self.name, self._worker, self._launch, self._greet, self._pack = name, worker, launch, greet, pack
        self._process: Process | None = None
        self._lock = threading.Lock()
        self.said: dict[str, Any] | None = None
        """What the worker said of itself when it was first ready."""
        self._deaths = 0
        self.stopped = False
        """Whether no process is to be started any more; changed by the thread that also closes."""

    def ready(self) -> Process:
        """Return the process, started where there is none."""
        if (process := self._process) is not None and process.alive:
            return process
        self.close()
        process = self._launch()
        with self._lock:  # whoever closes from another thread finds the process, or has said before that it stops
            if stopped := self.stopped:
                process.close(kill=True)
            self._process = process
        try:
            if stopped:
                raise Lost("was stopped")
            said = self._greet(process)
        except BaseException as err:
            self.close(kill=True)
            if isinstance(err, Lost) and not self.stopped:
                raise BenchError(f"the worker {self._worker} cannot start: it {err}") from None
            raise
        self.said = self.said or said
        return process

    def answers(
        self, tasks: Sequence[Task[T]], batch_size: int, timeout_s: float, note: Callable[[str], None]
    ) -> Iterator[Answered]:
        """Yield an answer a task. A task on which the worker dies twice is answered with an error."""
        waiting = {task.id: task for task in tasks}
        deaths = dict.fromkeys(waiting, 0)
        singly = 0  # after a loss, as many tasks as a batch holds go alone, so that the one to blame is found
        while waiting:
            part = list(waiting.values())[: 1 if singly else None]
            singly = max(0, singly - 1)
            try:
                for answered in self._ask(part, timeout_s, note):
                    del waiting[answered.id]
                    yield answered
            except Lost as lost:
                if self.stopped:
                    return
                singly = batch_size
                blamed = self._count(next(iter(waiting)), deaths, str(lost), alone=len(part) == 1)
                if blamed is not None:
                    del waiting[blamed.id]
                    yield blamed

    def _ask(self, part: Sequence[Task[T]], timeout_s: float, note: Callable[[str], None]) -> Iterator[Answered]:
        with self._pack(self.name, part) as packed:
            yield from (_failed(task_id, why) for task_id, why in packed.failed.items())
            for message in self.ready().ask(packed.items, timeout_s) if packed.items else ():
                if message["type"] == "note":
                    note(str(message.get("text", "")))
                    continue
                self._deaths = 0
                yield Answered(str(message["id"]), message)

    def _count(self, suspect: str, deaths: dict[str, int], why: str, *, alone: bool) -> Answered | None:
        """Count a loss; return the error for the task to blame, where that is sure."""
        self._deaths += 1
        deaths[suspect] += 1
        if self._deaths >= MOST_DEATHS:
            raise BenchError(f"the worker {self._worker} was lost {self._deaths} times without an answer: it {why}")
        if alone and deaths[suspect] > 1:
            return _failed(suspect, f"the worker {self._worker} {why}")
        return None

    def dismiss(self) -> None:
        """Tell the process that there is nothing more to do."""
        if (process := self._process) is not None:
            process.dismiss()

    def close(self, *, kill: bool = False) -> None:
        """End the process."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.close(kill=kill)


class Crew(Generic[T]):
    """The lanes of a worker; what still runs then ends with this process."""

    def __init__(self, lanes: Sequence[Lane[T]]) -> None:
        self.lanes = lanes
        self._finalizer = weakref.finalize(self, _close, lanes)

    def answers(
        self,
        tasks: Sequence[Task[T]],
        batch_size: int,
        timeout_s: float,
        note: Callable[[str], None],
        *,
        keep: bool = False,
    ) -> Iterator[Answered]:
        """Yield an answer a task, as they come; the lanes share the tasks.

        The workers end with the last answer, unless they are kept; with an error, or where the caller leaves, always.
        """
        size = max(4, batch_size)
        chunks: queue.SimpleQueue[Sequence[Task[T]]] = queue.SimpleQueue()
        for start in range(0, len(tasks), size):
            chunks.put(tasks[start : start + size])
        lanes = self.lanes[: max(1, chunks.qsize())]
        out: queue.SimpleQueue[Answered | BaseException | None] = queue.SimpleQueue()

        def work(lane: Lane[T]) -> None:
            try:
                while not lane.stopped:
                    for answered in lane.answers(chunks.get_nowait(), batch_size, timeout_s, note):
                        out.put(answered)
            except queue.Empty:
                out.put(None)
            except BaseException as err:
                out.put(err)

        threads = [threading.Thread(target=work, args=(lane,), daemon=True) for lane in lanes]
        for lane, thread in zip(lanes, threads, strict=True):
            lane.stopped = False
            thread.start()
        whole = False
        try:
            yield from self._collect(out, len(threads))
            whole = True
        finally:
            for lane in lanes:
                lane.stopped = not whole
            if not (keep and whole):
                self.close(kill=not whole)
            for lane, thread in zip(lanes, threads, strict=True):
                thread.join(ENDING_S)
                lane.stopped = thread.is_alive()

    @staticmethod
    def _collect(out: queue.SimpleQueue[Answered | BaseException | None], working: int) -> Iterator[Answered]:
        while working:
            got = out.get()
            if got is None:
                working -= 1
            elif isinstance(got, BaseException):
                raise got
            else:
                yield got

    def close(self, *, kill: bool = False) -> None:
        """End all processes."""
        _close(self.lanes, kill=kill)


def _close(lanes: Sequence[Lane[Any]], *, kill: bool = False) -> None:
    """End all processes: all are told before the first is waited for."""
    for lane in lanes:
        lane.dismiss()
    for lane in lanes:
        lane.close(kill=kill)


def facts_of(lanes: Sequence[Lane[Any]]) -> Mapping[str, Any]:
    """Return what the first lane's worker said of itself; {} where none was started."""
    return next((lane.said for lane in lanes if lane.said is not None), {})
