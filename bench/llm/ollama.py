"""Models of an Ollama server, through the package ollama.

Ollama reads at most `num_ctx` tokens of a prompt and drops the rest without a word, so every request says a `num_ctx`
that holds prompt and answer, asks newer servers to refuse rather than cut (``truncate: false``), and compares
``prompt_eval_count`` with the prompt.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from bench.contracts import Asset, Context, Question, ServerModel
from bench.errors import Unavailable, missing_package
from bench.llm import http
from bench.llm.backend import Identity, Lost, Rejected, Reply, ServerOptions, TooLong, longest, size
from bench.llm.gate import CLOUD_HOST, Place, is_cloud_model, is_plain, place_of

STEP = 2048
"""num_ctx grows by this many tokens, since the server loads the model again at each change."""
DENSEST = 2
"""Bytes of a token that the first num_ctx reckons with; clinical English has 3 to 5."""
SPARSEST = 8
"""Bytes of a token that a whole prompt hardly ever exceeds."""
OVERHEAD = 32
"""Tokens that a chat template adds, at most, to each turn and to the whole."""
CUT_SLACK = 64
REFUSES_SINCE = (0, 13)
"""Version from which ``truncate: false`` makes /api/chat refuse a prompt that is too long."""


class OllamaOptions(ServerOptions):
    """Options of `ollama`."""

    host: str | None = None
    """Server; None: the environment variable OLLAMA_HOST, else 127.0.0.1:11434."""
    num_ctx: int | None = Field(None, ge=256)
    """Context in tokens; None: as much as the longest prompt needs, up to what the model has."""
    keep_alive: str = "30m"
    """How long the server keeps the model loaded after a request."""
    think: bool | Literal["low", "medium", "high"] | None = None
    """Whether a reasoning model thinks before it answers; None: the model's default."""


class Ollama:
    """Chat model of an Ollama server: ollama/llama3:70b-instruct."""

    Options = OllamaOptions
    argument = "model"

    def __init__(self, options: OllamaOptions, context: Context) -> None:  # noqa: ARG002 (every plugin is built so)
        self.options = options
        self.retries = 0
        self._opened: Any = None
        self._limit = options.num_ctx
        self._num_ctx = options.num_ctx or STEP
        self._refuses = False

    def place(self) -> Place:
        """Return the server's place; a cloud tag counts as away."""
        return self._place

    @cached_property
    def _place(self) -> Place:
        variable = os.environ.get("OLLAMA_HOST", "").strip()
        option = "host" if self.options.host else "OLLAMA_HOST"
        return place_of(_url(self.options.host or variable), self.options.model, option)

    def assets(self) -> Sequence[Asset]:
        """Return the model that the server must hold; a cloud model is nobody's to carry."""
        if is_cloud_model(self.options.model):
            return ()
        server = f"OLLAMA_HOST={self.options.host} " if self.options.host else ""
        return [ServerModel(f"{server}ollama pull {self.options.model}")]

    def remedy(self) -> str:
        """Return how to start the server."""
        return "start it with `ollama serve`, or set the option host (or OLLAMA_HOST) to where it runs"

    @http.speaks("Ollama")
    async def identify(self) -> Identity:
        """Ask the server for the model's digest, quantisation and context; raises Unavailable if it is not pulled."""
        shown = await self._request("POST", "/api/show", {"model": self.options.model})
        tags = await self._request("GET", "/api/tags")
        names = {self.options.model, f"{self.options.model}:latest"}
        listed = http.records(tags.get("models"))
        entry = next((one for one in listed if names & {str(one.get("name")), str(one.get("model"))}), {})
        details = http.record(shown.get("details"))
        context = _context_length(http.record(shown.get("model_info")))
        if context is not None:
            self._limit = min(self.options.num_ctx or context, context)
            self._num_ctx = min(self._num_ctx, self._limit)
        version = await self._request("GET", "/api/version")
        self._refuses = _numbers(str(version.get("version") or "")) >= REFUSES_SINCE
        digest = str(entry.get("digest") or "").removeprefix("sha256:")
        return Identity(
            backend="ollama",
            model=self.options.model,
            digest=f"sha256:{digest}" if digest else "",
            quantisation=str(details.get("quantization_level") or ""),
            parameters=str(details.get("parameter_size") or ""),
            context_length=context,
            settings="" if self.options.think is None else f"think:{self.options.think}".lower(),
            shown="" if self.options.num_ctx is None else f"num_ctx:{self.options.num_ctx}",
            remote_host=_passed_on(shown) or _passed_on(entry),
        )

    def prepare(self, questions: Sequence[Question]) -> None:
        """Choose num_ctx for the longest question, so that the server loads the model once."""
        question = longest(questions)
        if question is not None:
            self._room_for(question)

    @http.speaks("Ollama")
    async def reply(self, question: Question) -> Reply:
        """Return the reply to a prompt that the server read as a whole; raises TooLong where it cannot."""
        self._room_for(question)
        spent: Reply | None = None
        while self._limit is None or size(question) / SPARSEST < self._limit:
            num_ctx = self._num_ctx
            said = await self._chat(question, num_ctx)
            if said is not None:
                spent = _added(spent, _reply(said))
                if spent.remote_host or self._whole(question, said, num_ctx):
                    return spent
            most = self._most(question)
            if num_ctx >= most:
                break
            self._num_ctx = max(self._num_ctx, min(2 * num_ctx, most))
        raise TooLong(f"prompt and answer do not fit the context: {self._limit or self._num_ctx} tokens at most", spent)

    # -------------------------------------------------------------- the context window

    def _room_for(self, question: Question) -> None:
        """Let num_ctx hold a question by a generous estimate, as far as the model's context goes."""
        tokens = _rounded(size(question) // DENSEST + _overhead(question) + question.sampling.max_tokens)
        self._num_ctx = max(self._num_ctx, tokens if self._limit is None else min(tokens, self._limit))

    def _most(self, question: Question) -> int:
        """Return the largest num_ctx worth a try: the model's, or where every byte could be a token."""
        certain = _rounded(size(question) + _overhead(question) + question.sampling.max_tokens)
        return certain if self._limit is None else min(certain, self._limit)

    def _whole(self, question: Question, said: Mapping[str, Any], num_ctx: int) -> bool:
        """Whether the server surely read the whole prompt.

        A prompt longer than num_ctx is cut: by whole turns to something below num_ctx, or to about half of it. A small
        count may also mean that the server left tokens of its prompt cache out (before 0.3, and early 0.30), which
        cannot be told from a cut, unless the server is one that refuses to cut.
        """
        read, written = http.number(said.get("prompt_eval_count")), http.number(said.get("eval_count"))
        if num_ctx >= size(question) + _overhead(question) + written:
            return True  # a token has at least one byte
        if read + max(written, 1) > num_ctx:
            return False
        if self._refuses:
            return True
        half = num_ctx // 2 <= read <= num_ctx // 2 + CUT_SLACK
        return not half and read >= size(question) / SPARSEST and read + question.sampling.max_tokens <= num_ctx

    async def _chat(self, question: Question, num_ctx: int) -> Mapping[str, Any] | None:
        """Return what the server answers, None where it says that the prompt is longer than num_ctx."""
        sampling = question.sampling
        options = {
            "num_ctx": num_ctx,
            "num_predict": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
        }
        body = {
            "model": self.options.model,
            "messages": [{"role": message.role, "content": message.content} for message in question.messages],
            "stream": False,
            "format": question.schema,
            "think": self.options.think,
            "keep_alive": self.options.keep_alive,
            "options": {name: value for name, value in options.items() if value is not None},
            "truncate": False,
            "shift": False,
        }
        try:
            return await self._request(
                "POST", "/api/chat", {name: value for name, value in body.items() if value is not None}
            )
        except TooLong:
            return None

    # -------------------------------------------------------------- the wire

    async def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send a request, again after a while where it failed on the way: the package has no back-off of its own."""
        return await http.patiently(lambda: self._once(method, path, body), self.options.retries, self._sent_again)

    def _sent_again(self) -> None:
        self.retries += 1

    async def _once(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        client, place = self._client(), self.place()
        import httpx
        import ollama

        try:
            # The package's own types leave out remote_host and truncate, which this client needs.
            response = await client._request_raw(method, path, json=body)
        except ollama.ResponseError as err:
            raise self._refused(err.status_code, str(err.error), place) from None
        except httpx.TimeoutException:
            raise Lost(f"{place.url} did not answer in time (timeout_s)") from None
        except (ConnectionError, httpx.HTTPError):
            raise Lost(f"{place.url} cannot be reached") from None
        return http.parsed(response.content, path)

    def _refused(self, status: int, message: str, place: Place) -> Exception:
        if status == 404:
            model = self.options.model
            return Rejected(
                Unavailable(f"Ollama at {place.url} has no model {model!r}", f"pull it: `ollama pull {model}`")
            )
        if status == 500 and any(word in message.lower() for word in ("context length", "too long")):
            return TooLong(http.said(message))
        return http.status_error(status, message, place, "set OLLAMA_API_KEY")

    def _client(self) -> Any:
        if self._opened is None:
            http.key_in("OLLAMA_API_KEY", "llm 'ollama'")  # the package sends it, and reads it when it is imported
            try:
                import httpx
                import ollama
            except ImportError:
                raise missing_package("llm 'ollama'", "ollama", "llm") from None
            place = self.place()
            options = http.connection_options(httpx, place, self.options.timeout_s)
            self._opened = ollama.AsyncClient(host=place.url, **options)
        return self._opened


def _url(host: str) -> str:
    """Return a host as Ollama's tools take it ("", ":1234", "box", "https://box") as a URL with its port."""
    if host and not is_plain(host):
        return host  # refused where it is read
    default = 11434
    if "://" in host:
        default = 443 if host.startswith("https://") else 80
    else:
        host = f"http://{'127.0.0.1' if not host or host.startswith(':') else ''}{host}"
    parts = urlsplit(host)
    try:
        known = parts.port is not None or not parts.hostname
    except ValueError:
        return host
    return host if known else f"{parts.scheme}://{parts.netloc.rstrip(':')}:{default}{parts.path}"


def _context_length(info: Mapping[str, Any]) -> int | None:
    """Return the model's context: the key is named after its architecture ("llama.context_length")."""
    architecture = info.get("general.architecture")
    return http.number(info.get(f"{architecture}.context_length")) or None


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: "0.13.1-rc2" is (0, 13, 1)."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def _overhead(question: Question) -> int:
    return OVERHEAD * (len(question.messages) + 1)


def _rounded(tokens: int) -> int:
    return -(-tokens // STEP) * STEP


def _passed_on(said: Mapping[str, Any]) -> str:
    """Return where the server passes text on to, as it tells of a model or in a reply; "" where it keeps it."""
    return str(said.get("remote_host") or (CLOUD_HOST if said.get("remote_model") else ""))


def _reply(said: Mapping[str, Any]) -> Reply:
    message = said.get("message")
    if not isinstance(message, dict):
        raise http.Unspoken(f"/api/chat gave no message: {json.dumps(said)}")
    text = http.text_of(message.get("content"), "the message of /api/chat")
    finish: Literal["stop", "length"] = "length" if said.get("done_reason") == "length" else "stop"
    counts = http.number(said.get("prompt_eval_count")), http.number(said.get("eval_count"))
    return Reply(text, *counts, finish, remote_host=_passed_on(said))


def _added(spent: Reply | None, reply: Reply) -> Reply:
    """Return a reply with what those before it, which could not be used, have taken."""
    if spent is None:
        return reply
    counts = spent.input_tokens + reply.input_tokens, spent.output_tokens + reply.output_tokens
    return replace(reply, input_tokens=counts[0], output_tokens=counts[1], calls=spent.calls + reply.calls)
