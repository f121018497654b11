"""Models of any server with OpenAI's chat completions (OpenAI, vLLM, llama.cpp …), through the package openai."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from bench.contracts import Context, Question
from bench.errors import Unavailable, missing_package
from bench.llm import http
from bench.llm.backend import Identity, Lost, Reply, ServerOptions
from bench.llm.gate import CLOUD_HOST, Place

OFFICIAL = "https://api.openai.com/v1"
_CHANGES = ("created", "permission")
_NO_SUCH_PATH = (404, 405, 501)
_MET_AS = ("unexpected endpoint", "not found")
"""What servers that answer 200 to any path say in their error (LM Studio: "Unexpected endpoint or method")."""


class OpenAIOptions(ServerOptions):
    """Options of `openai`."""

    base_url: str | None = None
    """Server, as http://host:port/v1; None: the environment variable OPENAI_BASE_URL, else OpenAI's own."""
    api_key_env: str | None = None
    """Environment variable that holds the API key; None: OPENAI_API_KEY, unless the server is given by base_url."""
    structured: Literal["json_schema", "guided_json", "none"] = "json_schema"
    """How the server is told the schema of an answer: response_format, vLLM's guided_json, or in the prompt only."""
    omit: tuple[Literal["temperature", "top_p", "seed"], ...] = ()
    """Sampling parameters that the server refuses, left out of requests."""
    revision: str | None = Field(None, pattern=r"^[^\s|]+$")
    """Name of the weights where the server tells none: part of signature and cache key."""


class OpenAI:
    """Chat model of any OpenAI-compatible server: openai/meta-llama/Meta-Llama-3-70B-Instruct."""

    Options = OpenAIOptions
    argument = "model"

    def __init__(self, options: OpenAIOptions, context: Context) -> None:  # noqa: ARG002 (every plugin is built so)
        self.options = options
        self.retries = 0
        self._opened: Any = None

    def place(self) -> Place:
        """Return the server's place."""
        return self._place

    @cached_property
    def _place(self) -> Place:
        variable = os.environ.get("OPENAI_BASE_URL", "").strip()
        return http.server(self.options.base_url, "OPENAI_BASE_URL", variable, OFFICIAL, self.options.model)

    def remedy(self) -> str:
        """Return how to name another server."""
        return "start the server, or set the option base_url (or OPENAI_BASE_URL) to where it runs"

    @http.speaks("OpenAI")
    async def identify(self) -> Identity:
        """Return what the server tells of this model; raises Unavailable where its list of models lacks it."""
        settings = [] if self.options.structured == "json_schema" else [f"structured:{self.options.structured}"]
        if self.options.omit:
            settings.append(f"omit:{'+'.join(self.options.omit)}")
        entry = await self._entry()
        ollama = await self._as_ollama()
        told = {key: value for key, value in entry.items() if key not in _CHANGES}
        tells_weights = bool(set(told) - {"id", "object", "owned_by"})
        text = json.dumps(told, sort_keys=True, ensure_ascii=True, default=str)
        digest = f"told:{hashlib.sha256(text.encode()).hexdigest()}" if tells_weights else ""
        meta = http.record(entry.get("meta"))
        context = entry.get("max_model_len") or meta.get("n_ctx") or meta.get("n_ctx_train")
        return Identity(
            backend="openai",
            model=self.options.model,
            digest=ollama.get("digest") or digest,
            quantisation=ollama.get("quantisation", ""),
            context_length=http.number(context) or None,
            settings=",".join(settings),
            revision=self.options.revision or "",
            remote_host=ollama.get("remote_host", ""),
        )

    async def _entry(self) -> dict[str, Any]:
        """Return the model's entry in /models; {} where the server has no such list."""
        client = self._client()
        import openai

        try:
            raw = await client.models.with_raw_response.list()
        except openai.APIStatusError as err:
            if err.status_code in (403, *_NO_SUCH_PATH):
                return {}
            raise http.whole_server(self._explained(err)) from None
        except openai.OpenAIError as err:
            raise self._explained(err) from None
        said = http.parsed(raw.http_response.content, "/models")
        if not isinstance(said.get("data"), list):
            raise http.Unspoken(f"/models gave no list of models: {json.dumps(said)}")
        entries = http.records(said["data"])
        for entry in entries:
            aliases = entry.get("aliases")
            if self.options.model in (entry.get("id"), *(aliases if isinstance(aliases, list) else ())):
                return entry
        if len(entries) == 1 and entries[0].get("owned_by") == "llamacpp":
            return entries[0]  # it has one model, and answers to any name
        served = ", ".join(sorted(str(entry.get("id")) for entry in entries)[:10]) or "none"
        raise Unavailable(f"{self._place.url} serves no model {self.options.model!r}", f"it serves: {served}")

    # -------------------------------------------------------------- an Ollama behind it

    async def _as_ollama(self) -> dict[str, str]:
        """Return what a server on this machine tells of its model where it is an Ollama, {} where it is none.

        An Ollama may only pass the text on, so a server counts as another only where it says so; one that is busy or
        does not answer is Lost.
        """
        if not self._place.local:
            return {}
        parts = urlsplit(self._place.url)
        root = f"{parts.scheme}://{parts.netloc}"
        for base in dict.fromkeys((self._place.url.removesuffix("/v1"), root)):
            shown = await self._ollamas("POST", f"{base}/api/show", {"model": self.options.model})
            if shown is not None:
                return await self._told_by_ollama(base, shown)
        return {}

    async def _told_by_ollama(self, base: str, shown: Mapping[str, Any]) -> dict[str, str]:
        tags = await self._ollamas("GET", f"{base}/api/tags") or {}
        names = {self.options.model, f"{self.options.model}:latest"}
        listed = http.records(tags.get("models"))
        entry = next((one for one in listed if names & {str(one.get("name")), str(one.get("model"))}), {})
        digest = str(entry.get("digest") or "").removeprefix("sha256:")
        remote = shown.get("remote_host") or entry.get("remote_host") or ""
        if not remote and (shown.get("remote_model") or entry.get("remote_model")):
            remote = CLOUD_HOST
        return {
            "digest": f"sha256:{digest}" if digest else "",
            "quantisation": str(http.record(shown.get("details")).get("quantization_level") or "") if digest else "",
            "remote_host": str(remote),
        }

    async def _ollamas(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        return await http.patiently(lambda: self._probed(method, url, body), self.options.retries, self._sent_again)

    def _sent_again(self) -> None:
        self.retries += 1

    async def _probed(self, method: str, url: str, body: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Return the object that one of Ollama's paths answers with, None where the server is surely no Ollama."""
        import httpx2

        try:
            answer = await self._http.request(method, url, json=body, headers=self._authorization())
        except httpx2.TimeoutException:
            raise Lost(f"{url} did not answer in time (timeout_s)") from None
        except httpx2.HTTPError:
            raise Lost(f"{url} cannot be reached") from None
        if answer.status_code in _NO_SUCH_PATH:
            return None
        if answer.status_code != 200:
            error = http.status_error(answer.status_code, f"{url}: {answer.text}", self._place, self._remedy_key())
            raise http.whole_server(error)
        try:
            said = answer.json()
        except (ValueError, RecursionError):
            if "json" in answer.headers.get("content-type", ""):
                raise http.Unspoken(f"{url} gave broken JSON") from None
            return None  # a page that stands for every path
        if not isinstance(said, dict):
            return None
        fault = str(said.get("error") or "")
        if fault and not any(words in fault.lower() for words in _MET_AS):
            raise Lost(f"{url} answered: {http.said(fault)}")
        return None if fault else said

    def _authorization(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self._key()}"}

    # -------------------------------------------------------------- questions

    @http.speaks("OpenAI")
    async def reply(self, question: Question) -> Reply:
        """Return the reply to one question."""
        client = self._client()
        import openai

        try:
            raw = await client.chat.completions.with_raw_response.create(**self._request(question))
        except openai.OpenAIError as err:
            if getattr(err, "code", None) == "content_filter":
                return Reply(http.said(str(err)), finish="refused")
            raise self._explained(err) from None
        return _reply(http.parsed(raw.http_response.content, "/chat/completions"))

    def _request(self, question: Question) -> dict[str, Any]:
        sampling = question.sampling
        official = self._place.host == "api.openai.com"
        drawn = {"temperature": sampling.temperature, "top_p": sampling.top_p, "seed": sampling.seed}
        return {
            "model": self.options.model,
            "messages": self._messages(question),
            "max_completion_tokens" if official else "max_tokens": sampling.max_tokens,
            **{name: value for name, value in drawn.items() if value is not None and name not in self.options.omit},
            **self._format(question),
        }

    def _messages(self, question: Question) -> list[dict[str, str]]:
        messages = [{"role": message.role, "content": message.content} for message in question.messages]
        if question.schema is not None and self.options.structured == "none":
            messages[-1]["content"] += f"\n\n{in_words(question.schema)}"
        return messages

    def _format(self, question: Question) -> dict[str, Any]:
        if question.schema is None or self.options.structured == "none":
            return {}
        if self.options.structured == "guided_json":
            return {"extra_body": {"guided_json": question.schema}}
        form = {"name": "answer", "schema": question.schema, "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": form}}

    # -------------------------------------------------------------- the connection

    def _explained(self, err: Exception) -> Exception:
        import openai

        return http.explained(openai, err, self._place, self._remedy_key())

    def _remedy_key(self) -> str:
        return f"set {self._key_variable() or 'the option api_key_env'}"

    def _key_variable(self) -> str | None:
        """Return the variable of the key: OpenAI's key is not shown to another server unless the user says so."""
        if self.options.api_key_env is not None:
            return self.options.api_key_env
        return None if self.options.base_url and self._place.host != "api.openai.com" else "OPENAI_API_KEY"

    def _key(self) -> str:
        variable = self._key_variable()
        key = http.key_in(variable, "llm 'openai'") if variable else ""
        if not key and (self.options.api_key_env or self._place.host == "api.openai.com"):
            raise Unavailable(f"llm 'openai': the environment variable {variable} is not set", f"export {variable}=…")
        return key or "none"

    @cached_property
    def _http(self) -> Any:
        import httpx2

        return httpx2.AsyncClient(
            **http.connection_options(httpx2, self._place, self.options.timeout_s, self._count_retry)
        )

    def _count_retry(self, request: Any) -> None:
        self.retries += int(request.headers.get("x-stainless-retry-count", "0")) > 0

    def _client(self) -> Any:
        if self._opened is None:
            try:
                import openai
            except ImportError:
                raise missing_package("llm 'openai'", "openai", "llm") from None
            self._opened = openai.AsyncOpenAI(
                api_key=self._key(), base_url=self._place.url, max_retries=self.options.retries, http_client=self._http
            )
        return self._opened


def in_words(schema: Mapping[str, Any]) -> str:
    """Return the instruction that stands in for a schema a server cannot be told."""
    return f"Answer with JSON alone, of this JSON Schema: {json.dumps(schema)}"


def _reply(said: Mapping[str, Any]) -> Reply:
    choices = http.records(said.get("choices"))
    if not choices:
        raise http.Unspoken(f"/chat/completions gave no choice: {json.dumps(said)}")
    message, usage = choices[0].get("message"), http.record(said.get("usage"))
    if not isinstance(message, dict):
        raise http.Unspoken(f"/chat/completions gave no message: {json.dumps(said)}")
    refusal, finish = message.get("refusal"), choices[0].get("finish_reason")
    counts = http.number(usage.get("prompt_tokens")), http.number(usage.get("completion_tokens"))
    if refusal or finish == "content_filter":
        return Reply(str(refusal or "stopped by the server's content filter"), *counts, "refused")
    text = http.text_of(message.get("content"), "the message of /chat/completions")
    return Reply(text, *counts, "length" if finish == "length" else "stop")
