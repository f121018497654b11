"""Models of any server with OpenAI's chat completions (OpenAI, vLLM, llama.cpp …), through the package openai."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal
from urllib.parse import urlsplit

from bench.contracts import Context, Question
from bench.errors import Unavailable, missing_package
from bench.llm import http
from bench.llm.backend import Identity, Reply, ServerOptions
from bench.llm.gate import Place

OFFICIAL = "https://api.openai.com/v1"
_CHANGES = ("created", "permission")


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

    async def identify(self) -> Identity:
        """Return what the server's list of models tells of this one; raises Unavailable where it is not listed."""
        settings = [] if self.options.structured == "json_schema" else [f"structured:{self.options.structured}"]
        if self.options.omit:
            settings.append(f"omit:{'+'.join(self.options.omit)}")
        entry = await self._entry()
        told = {key: value for key, value in entry.items() if key not in _CHANGES}
        tells_weights = bool(set(told) - {"id", "object", "owned_by"})
        text = json.dumps(told, sort_keys=True, ensure_ascii=True, default=str)
        meta = entry.get("meta") or {}
        return Identity(
            backend="openai",
            model=self.options.model,
            digest=f"told:{hashlib.sha256(text.encode()).hexdigest()}" if tells_weights else "",
            context_length=entry.get("max_model_len") or meta.get("n_ctx") or meta.get("n_ctx_train"),
            settings=",".join(settings),
            remote_host=await self._passed_on(),
        )

    async def _entry(self) -> Mapping[str, Any]:
        """Return the model's entry in /models; {} where the server has no such list."""
        client = self._client()
        import openai

        try:
            page = await client.models.list()
        except openai.APIStatusError as err:
            if err.status_code in (403, 404, 405, 501):
                return {}
            raise self._explained(err) from None
        except openai.OpenAIError as err:
            raise self._explained(err) from None
        entries: list[dict[str, Any]] = [model.to_dict() for model in page.data]
        for entry in entries:
            if self.options.model in (entry.get("id"), *(entry.get("aliases") or ())):
                return entry
        if len(entries) == 1 and entries[0].get("owned_by") == "llamacpp":
            return entries[0]  # it has one model, and answers to any name
        served = ", ".join(sorted(str(entry.get("id")) for entry in entries)[:10]) or "none"
        raise Unavailable(f"{self._place.url} serves no model {self.options.model!r}", f"it serves: {served}")

    async def _passed_on(self) -> str:
        """Return the host that a server on this machine passes the text on to, where it is an Ollama that tells."""
        if not self._place.local:
            return ""
        parts = urlsplit(self._place.url)
        address = f"{parts.scheme}://{parts.netloc}/api/show"
        try:
            answer = await self._http.post(address, json={"model": self.options.model})
            shown = answer.json() if answer.status_code == 200 else {}
        except Exception:  # any other server: nothing to be told
            return ""
        told = shown if isinstance(shown, dict) else {}
        return str(told.get("remote_host") or ("ollama.com" if told.get("remote_model") else ""))

    async def reply(self, question: Question) -> Reply:
        """Return the reply to one question."""
        client = self._client()
        import openai

        try:
            said = await client.chat.completions.create(**self._request(question))
        except openai.OpenAIError as err:
            if getattr(err, "code", None) == "content_filter":
                return Reply(http.said(str(err)), finish="refused")
            raise self._explained(err) from None
        return _reply(said.to_dict())

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

        return http.explained(openai, err, self._place, f"set {self._key_variable() or 'the option api_key_env'}")

    def _key_variable(self) -> str | None:
        """Return the variable of the key: OpenAI's key is not shown to another server unless the user says so."""
        if self.options.api_key_env is not None:
            return self.options.api_key_env
        return None if self.options.base_url and self._place.host != "api.openai.com" else "OPENAI_API_KEY"

    def _key(self) -> str:
        variable = self._key_variable()
        key = os.environ.get(variable, "") if variable else ""
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
    choice = (said.get("choices") or [{}])[0]
    message, usage = choice.get("message") or {}, said.get("usage") or {}
    refusal, finish = message.get("refusal"), choice.get("finish_reason")
    counts = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
    if refusal or finish == "content_filter":
        return Reply(refusal or "stopped by the server's content filter", *counts, "refused")
    return Reply(message.get("content") or "", *counts, "length" if finish == "length" else "stop")
