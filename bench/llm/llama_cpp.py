"""A GGUF file in this process, through the package xllamacpp (llama.cpp and its server's scheduler)."""

from __future__ import annotations

import asyncio
import atexit
import os
import secrets
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field

from bench.contracts import Asset, Context, LocalFile, Question
from bench.errors import BenchError, ServerLost, Unavailable, missing_package
from bench.hub import file_sha256
from bench.llm import http
from bench.llm.backend import Identity, LLMOptions, Rejected, Reply, TooLong
from bench.llm.gate import Place

T = TypeVar("T")
STOP_S = 20.0
"""How long the end of the process waits for answers under way to stop: the library must not be torn from under them."""


class LlamaCppOptions(LLMOptions):
    """Options of `llama.cpp`."""

    concurrency: int = Field(2, ge=1, le=1024)
    """Questions in flight at one time; those beyond `slots` wait."""
    n_ctx: int = Field(4096, ge=256)
    """Context of one slot in tokens, prompt and answer together."""
    slots: int = Field(2, ge=1, le=256)
    """Questions the model works on side by side, each with a context of its own."""
    threads: int | None = Field(None, ge=1)
    """CPU threads; None: one for each core."""
    gpu_layers: int = Field(-1, ge=-1)
    """Layers on the GPU, where the installed xllamacpp is built for one; -1: as many as fit."""


class LlamaCpp:
    """GGUF model in this process: llama.cpp/models/judge.gguf."""

    Options = LlamaCppOptions
    argument = "model"

    def __init__(self, options: LlamaCppOptions, context: Context) -> None:
        self.options = options
        self._context = context
        self._server: Any = None
        self._digest = ""
        self._opening = asyncio.Lock()

    def place(self) -> Place:
        """Return this process."""
        return Place("", model=self.options.model)

    def assets(self) -> Sequence[Asset]:
        """Return the GGUF file."""
        return [LocalFile(Path(self.options.model).expanduser())]

    def remedy(self) -> str:
        """Return where models come from."""
        return "give the path of a GGUF file: llama.cpp/<file.gguf>"

    async def identify(self) -> Identity:
        """Return the file's hash. Raises Unavailable where there is none, ServerLost where another one is loaded."""
        path = self._path()
        digest = await _in_thread(lambda: file_sha256(path, self._context))
        if self._server is not None and digest != self._digest:
            raise ServerLost(
                f"llm 'llama.cpp': {path} has changed since it was loaded. The same command starts over with what it is"
                " now"
            )
        self._digest = digest
        n_ctx = self.options.n_ctx
        return Identity("llama.cpp", path.name, f"sha256:{digest}", context_length=n_ctx, shown=f"n_ctx:{n_ctx}")

    def _path(self) -> Path:
        path = Path(self.options.model).expanduser()
        if not path.is_file():
            raise Unavailable(f"llm 'llama.cpp': there is no file {path}", self.remedy())
        return path

    async def reply(self, question: Question) -> Reply:
        """Return the reply to one question; a cancelled one stops at its next token."""
        async with self._opening:
            if self._server is None:
                self._server = await _in_thread(self._opened, _calls)
        stop = threading.Event()
        try:
            return _reply(await _in_thread(lambda: self._streamed(question, stop), _calls))
        finally:
            stop.set()

    def _streamed(self, question: Question, stop: threading.Event) -> list[Any]:
        """Return the chunks of an answer, as far as they came until `stop` was set."""
        chunks: list[Any] = []

        def take(chunk: Any) -> bool:
            chunks.append(chunk)
            return stop.is_set() or _ending.is_set()

        try:
            answer = self._server.handle_chat_completions(self._request(question), take)
        except (RuntimeError, TypeError, ValueError) as err:
            raise Rejected(BenchError(f"llm 'llama.cpp': {http.said(str(err))}")) from None
        return [*chunks, answer] if isinstance(answer, dict) else chunks

    def _request(self, question: Question) -> dict[str, Any]:
        sampling = question.sampling
        drawn = {"top_p": sampling.top_p, "seed": sampling.seed}
        body: dict[str, Any] = {
            "messages": [{"role": message.role, "content": message.content} for message in question.messages],
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
            **{name: value for name, value in drawn.items() if value is not None},
        }
        if question.schema is not None:
            form = {"name": "answer", "schema": dict(question.schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        return body

    def _opened(self) -> Any:
        try:
            import xllamacpp  # type: ignore[import-untyped]
        except ImportError:
            raise missing_package("llm 'llama.cpp'", "xllamacpp", "llama-cpp") from None
        params = xllamacpp.CommonParams()
        params.model.path = str(self._path())
        params.n_parallel = self.options.slots
        params.n_ctx = self.options.n_ctx * self.options.slots
        params.cpuparams.n_threads = self.options.threads or os.cpu_count() or 1
        params.n_gpu_layers = self.options.gpu_layers
        params.warmup = False
        params.verbosity = -1
        params.endpoint_slots = False  # the library also listens on a loopback port: nobody else's business
        params.api_keys = [secrets.token_hex(16)]
        try:
            return xllamacpp.Server(params)
        except Exception as err:
            why = f"llm 'llama.cpp': {self._path()} cannot be loaded: {http.said(str(err))}"
            raise Unavailable(why, "is it a whole GGUF file, and does it fit the memory (n_ctx, slots)?") from None


# ------------------------------------------------------------------ threads that end before the process does

_ending = threading.Event()
_calls: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


async def _in_thread(work: Callable[[], T], kept: weakref.WeakSet[threading.Thread] | None = None) -> T:
    """Await `work` in a thread of its own, whose end nobody waits for unless `kept` holds it."""
    home = asyncio.get_running_loop()
    waiting: asyncio.Future[T] = home.create_future()

    def settle(result: T | None, err: BaseException | None) -> None:
        if not waiting.done():
            waiting.set_exception(err) if err is not None else waiting.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, fault = None, None
        try:
            result = work()
        except BaseException as err:
            fault = err
        if not _ending.is_set():
            home.call_soon_threadsafe(settle, result, fault)

    thread = threading.Thread(target=run, name="bench-llama-cpp", daemon=True)
    if kept is not None:
        kept.add(thread)
    thread.start()
    return await waiting


def _end() -> None:
    _ending.set()
    for thread in list(_calls):
        thread.join(STOP_S)


atexit.register(_end)


def _reply(chunks: list[Any]) -> Reply:
    """Put a streamed answer together; raises TooLong or Rejected where llama.cpp says what was wrong."""
    text, finish = "", ""
    usage: dict[str, Any] = {}
    for chunk in chunks:
        for part in chunk if isinstance(chunk, list) else [chunk]:
            if error := part.get("error"):
                raise _fault(error)
            usage = part.get("usage") or usage
            for choice in part.get("choices") or []:
                text += (choice.get("delta") or {}).get("content") or ""
                finish = choice.get("finish_reason") or finish
    counts = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
    return Reply(text, *counts, "length" if finish == "length" else "stop")


def _fault(error: Mapping[str, Any]) -> Exception:
    said = http.said(str(error.get("message") or error))
    if error.get("type") == "exceed_context_size_error":
        return TooLong(f"{said} (option n_ctx)")
    return Rejected(BenchError(f"llm 'llama.cpp': {said}"))
