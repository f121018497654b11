"""One worker process: started, asked, timed, ended. docs/workers.md tells the messages."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from bench.errors import BenchError, Unavailable
from bench.workers.environment import Command
from bench.workers.helper.bench_worker import PROTOCOL
from bench.workers.words import last_words

LONGEST_LINE = 64_000_000
"""Bytes of one message at most."""
LONGEST_LOG = 16_000_000
"""Bytes of a log that are kept on disk; its end is always kept in memory."""
TAIL = 16_384
PATIENCE_S = 5.0
"""Seconds a worker has to end by itself, once its line is closed, before it is killed."""
TERM_S = 1.0
"""Seconds a worker that is killed has to clear up."""

Message = Mapping[str, Any]


class Lost(Exception):
    """A worker died or went silent: another one may go on. The text continues "the worker …"."""


class Log:
    """What a worker writes to standard error: on disk, the last of it in memory."""

    def __init__(self, path: Path) -> None:
        self.path, self._written, self._tail = path, 0, b""
        path.parent.mkdir(parents=True, exist_ok=True)

    def pump(self, pipe: IO[bytes]) -> None:
        """Copy until the pipe ends."""
        with self.path.open("ab") as file, contextlib.suppress(OSError, ValueError):
            while chunk := os.read(pipe.fileno(), 65_536):
                self._tail = (self._tail + chunk)[-TAIL:]
                self._write(file, chunk)

    def _write(self, file: IO[bytes], chunk: bytes) -> None:
        if self._written >= LONGEST_LOG:
            return
        self._written += len(chunk)
        if self._written >= LONGEST_LOG:
            chunk += b"\n(the log goes on; no more of it is kept)\n"
        with contextlib.suppress(OSError):  # a full disk is told where a report cannot be written
            file.write(chunk)
            file.flush()

    def last_words(self) -> str:
        """Return the last lines, and where the rest is."""
        return f"{last_words(self._tail.decode(errors='replace'))}\n  Its log: {self.path}"


class Process:
    """A worker under way. Every method may raise Lost, or BenchError where the worker breaks the protocol."""

    def __init__(self, name: str, command: Command, folder: Path, log: Log) -> None:
        """folder: the work folder, made by the caller."""
        self.name, self._command, self._log = name, command, log
        try:
            self._process = subprocess.Popen(
                command.argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(command.environment),
                cwd=folder,
                start_new_session=True,
            )
        except OSError as err:
            raise BenchError(f"the worker {name} cannot be started: {command.argv[0]}: {err.strerror}") from None
        self._heard: queue.Queue[bytes | None] = queue.Queue()
        self._to_say: queue.Queue[bytes | None] = queue.Queue()
        assert self._process.stderr is not None
        self._logger = self._thread(log.pump, self._process.stderr)
        self._thread(self._listen)
        self._thread(self._speak)
        self._thread(self._bury)

    @staticmethod
    def _thread(work: Any, *arguments: Any) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        thread.start()
        return thread

    def _listen(self) -> None:
        pipe = self._process.stdout
        assert pipe is not None
        with contextlib.suppress(OSError, ValueError):
            while line := pipe.readline(LONGEST_LINE):
                self._heard.put(line)
                if _message(line) is None:  # no more is taken in of one that speaks another language
                    return
        self._heard.put(None)

    def _speak(self) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        with contextlib.suppress(OSError, ValueError):
            while (line := self._to_say.get()) is not None:
                pipe.write(line)
                pipe.flush()
        with contextlib.suppress(OSError, ValueError):
            pipe.close()

    def _bury(self) -> None:
        """End what a worker started and left behind when it ended: its pipes would stay open."""
        self._process.wait()
        self._signal(signal.SIGKILL)

    # -------------------------------------------------------------- the talk

    def start(self, message: Message, timeout_s: float) -> dict[str, Any]:
        """Greet the worker and wait until its model is loaded; return what it said of itself.

        Raises Unavailable where the worker says why it cannot work here.
        """
        self._say({"type": "start", "protocol": PROTOCOL, **message})
        end = time.monotonic() + timeout_s
        hello = self._expect("hello", end, timeout_s)
        if hello.get("protocol") != PROTOCOL:
            raise self.broken(f"speaks protocol {hello.get('protocol')!r}; this harness speaks {PROTOCOL}")
        ready = self._expect("ready", end, timeout_s)
        said: dict[str, Any] = {"device": ready.get("device"), "settings": {}, "facts": {}, "versions": {}}
        for source, key in ((hello, "versions"), (ready, "settings"), (ready, "facts")):
            if not isinstance(source.get(key, {}), dict):
                raise self.broken(f"{key} of its {source['type']!r} is no mapping")
            said[key] = source.get(key, {})
        said["python"] = hello.get("python")
        return said

    def _expect(self, kind: str, end: float, timeout_s: float) -> Message:
        message = self._hear(end, timeout_s)
        if message["type"] == "unavailable":
            raise Unavailable(f"{self.name}: {message.get('reason')}", str(message.get("remedy", "")))
        if message["type"] != kind:
            raise self.broken(f"said {message['type']!r} where {kind!r} was expected")
        return message

    def ask(self, items: Sequence[Message], timeout_s: float) -> Iterator[Message]:
        """Yield the messages "answer" and "note" that come for the items; between answers `timeout_s` at most."""
        self._say({"type": "items", "items": list(items)})
        waiting = {item["id"] for item in items}
        end = time.monotonic() + timeout_s
        while (message := self._hear(end, timeout_s))["type"] != "done":
            if message["type"] == "answer":
                if message.get("id") not in waiting:
                    raise self.broken(f"answered {message.get('id')!r}, which was not asked, or was answered before")
                waiting.remove(message["id"])
                end = time.monotonic() + timeout_s
            elif message["type"] != "note":
                raise self.broken(f"said {message['type']!r} while answering")
            elif time.monotonic() > end:  # notes alone, however many, are no sign of life
                raise self._silent(timeout_s)
            yield message
        if waiting:
            raise self.broken(f"says it is done, but did not answer {min(waiting)!r}")

    def _say(self, message: Message) -> None:
        self._to_say.put(json.dumps(message).encode() + b"\n")

    def _hear(self, end: float, timeout_s: float) -> Message:
        try:
            line = self._heard.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            raise self._silent(timeout_s) from None
        if line is None:
            ended = self._ended(PATIENCE_S)
            self.close(kill=not ended)
            how = self._end() if ended else "closed its standard output and was stopped"
            raise Lost(f"{how}; last words:\n{self.words()}")
        message = _message(line)
        if message is None:
            shown = line[:200].decode(errors="replace").rstrip("\n")
            raise self.broken(f"wrote what is no message of the protocol to standard output: {shown!r}")
        return message

    def _silent(self, timeout_s: float) -> Lost:
        self.close(kill=True)
        return Lost(f"gave no answer for {timeout_s:g} s and was stopped; last words:\n{self.words()}")

    def broken(self, why: str) -> BenchError:
        """Return the error for a worker that breaks the protocol, which is ended."""
        self.close(kill=True)
        return BenchError(f"the worker {self.name} {why}; its last words:\n{self.words()}")

    def words(self) -> str:
        """Return the last lines of the worker's log."""
        self._logger.join(PATIENCE_S)
        return self._log.last_words()

    # -------------------------------------------------------------- the end

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def _end(self) -> str:
        code = self._process.wait()
        if code >= 0:
            return f"ended with exit code {code}"
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            return f"was killed ({name}{', as where memory runs out' if name == 'SIGKILL' else ''})"
        return f"was killed by signal {-code}"

    def dismiss(self) -> None:
        """Close the line: a worker that has nothing to do ends by itself, and one of bench_worker's at once."""
        self._to_say.put(None)

    def close(self, *, kill: bool = False) -> None:
        """End the process: it is asked to, and killed with all it started where it does not."""
        self.dismiss()
        if not kill and self._ended(PATIENCE_S):
            return
        if self._command.stop:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(self._command.stop, capture_output=True, check=False, timeout=60)
        self._signal(signal.SIGTERM)
        if not self._ended(TERM_S):
            self._signal(signal.SIGKILL)
            self._ended(PATIENCE_S)

    def _signal(self, sign: int) -> None:
        """Send a signal to the process and to all it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, sign)

    def _ended(self, patience_s: float) -> bool:
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            return False
        return True


def _message(line: bytes) -> dict[str, Any] | None:
    """Return a message, or None where the line is none."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if isinstance(message, dict) and isinstance(message.get("type"), str):
        return message
    return None
