"""Claude, through the package anthropic: Anthropic's own interface, Amazon Bedrock or Google Vertex AI."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

from bench.contracts import Context, Question, Sampling
from bench.errors import BenchError, Unavailable, missing_package
from bench.llm import http
from bench.llm.backend import Identity, Reply, ServerOptions
from bench.llm.gate import Place, beyond
from bench.llm.openai import in_words

TOOL = "answer"
EARLIER = {"api": "2023-06-01", "bedrock": "bedrock-2023-05-31", "vertex": "vertex-2023-10-16"}
"""Versions of the interface that take sampling parameters."""


class AnthropicOptions(ServerOptions):
    """Options of `anthropic`."""

    client: Literal["api", "bedrock", "vertex"] = "api"
    """Whose service: Anthropic's, Amazon Bedrock, or Google Vertex AI (credentials as each finds them)."""
    base_url: str | None = None
    """Another address of the service; None: the client's environment variable, else the service itself."""
    region: str | None = None
    """Region of Bedrock (None: AWS_REGION) or Vertex AI (None: CLOUD_ML_REGION)."""
    project: str | None = None
    """Project of Vertex AI; None: ANTHROPIC_VERTEX_PROJECT_ID, else that of the credentials."""
    api_key_env: str = "ANTHROPIC_API_KEY"
    """Environment variable that holds the key of Anthropic's own interface."""
    structured: Literal["output_config", "tool", "none"] = "output_config"
    """How the schema of an answer is told: structured output, a forced tool call, or in the prompt only."""
    sampling: bool = False
    """Whether temperature and top_p are sent, by the interface of before 2026-10-21: later ones refuse them, and so do
    all newer models. (There is no seed.)"""


class Anthropic:
    """Claude of Anthropic, Bedrock or Vertex AI: anthropic/claude-sonnet-5-5."""

    Options = AnthropicOptions
    argument = "model"

    def __init__(self, options: AnthropicOptions, context: Context) -> None:  # noqa: ARG002 (every plugin is built so)
        self.options = options
        self.retries = 0
        self._opened: Any = None

    def place(self) -> Place:
        """Return the service's place. It is never this machine: a local address can only be a gateway to it."""
        return self._place

    @cached_property
    def _place(self) -> Place:
        option, variable, default = self._addresses()
        found = http.server(option, variable, os.environ.get(variable, "").strip(), default, self.options.model)
        return beyond(found, found.host, found.away or f"{found.host} can only be a gateway to Claude")

    def _addresses(self) -> tuple[str | None, str, str]:
        """Return the option, the environment variable and the default that name the service's URL."""
        given = self.options.base_url
        if self.options.client == "api":
            return given, "ANTHROPIC_BASE_URL", "https://api.anthropic.com"
        if self.options.client == "bedrock":
            return given, "ANTHROPIC_BEDROCK_BASE_URL", f"https://bedrock-runtime.{self._region()}.amazonaws.com"
        region = self._region()
        host = {"global": "aiplatform.googleapis.com"}.get(region, f"{region}-aiplatform.googleapis.com")
        if region in ("us", "eu"):
            host = f"aiplatform.{region}.rep.googleapis.com"
        return given, "ANTHROPIC_VERTEX_BASE_URL", f"https://{host}/v1"

    def _region(self) -> str:
        names = ("AWS_REGION", "AWS_DEFAULT_REGION") if self.options.client == "bedrock" else ("CLOUD_ML_REGION",)
        found = self.options.region or next((os.environ[name] for name in names if os.environ.get(name)), "")
        if not found:
            raise BenchError(f"llm 'anthropic': client {self.options.client} needs the option region, or {names[0]}")
        return found

    def remedy(self) -> str:
        """Return what to look at where the service cannot be reached."""
        return "check the connection, or use a local model (ollama/…, llama.cpp/…)"

    @http.speaks("Anthropic")
    async def identify(self) -> Identity:
        """Return the model's name and the client: the service tells nothing of its weights."""
        settings = [f"client:{self.options.client}"]
        if self.options.structured != "output_config":
            settings.append(f"structured:{self.options.structured}")
        if self.options.sampling:
            settings.append("sampling:sent")
        return Identity("anthropic", self.options.model, settings=",".join(settings), reached=False)

    @http.speaks("Anthropic")
    async def reply(self, question: Question) -> Reply:
        """Return the reply to one question."""
        client = self._client()
        import anthropic

        try:
            raw = await client.messages.with_raw_response.create(**self._request(question))
        except anthropic.AnthropicError as err:
            raise http.explained(anthropic, err, self._place, self._credentials()) from None
        except (ImportError, RuntimeError, ValueError) as err:  # what the clients raise where credentials are missing
            raise Unavailable(f"llm 'anthropic' ({self.options.client}): {err}", self._credentials()) from None
        return _read(http.parsed(raw.http_response.content, "the service"))

    def _request(self, question: Question) -> dict[str, Any]:
        schema = question.schema
        system = "\n\n".join(message.content for message in question.messages if message.role == "system")
        turns = [{"role": m.role, "content": m.content} for m in question.messages if m.role != "system"]
        if schema is not None and self.options.structured == "none" and turns:
            turns[-1]["content"] += f"\n\n{in_words(schema)}"
        return {
            "model": self.options.model,
            "max_tokens": question.sampling.max_tokens,
            "messages": turns,
            **({"system": system} if system else {}),
            **self._format(schema),
            **(self._drawn(question.sampling) if self.options.sampling else {}),
        }

    def _drawn(self, sampling: Sampling) -> dict[str, Any]:
        """Return the arguments that say how answers are drawn: the SDK's own know nothing of it any more."""
        drawn = {"temperature": sampling.temperature, "top_p": sampling.top_p}
        body: dict[str, Any] = {name: value for name, value in drawn.items() if value is not None}
        version = EARLIER[self.options.client]
        if self.options.client == "api":
            return {"extra_body": body, "extra_headers": {"anthropic-version": version}}
        return {"extra_body": {**body, "anthropic_version": version}}

    def _format(self, schema: Mapping[str, Any] | None) -> dict[str, Any]:
        if schema is None or self.options.structured == "none":
            return {}
        if self.options.structured == "tool":
            tool = {"name": TOOL, "description": "Give the answer.", "input_schema": dict(schema)}
            return {"tools": [tool], "tool_choice": {"type": "tool", "name": TOOL}}
        from anthropic import transform_schema  # leaves out what the service does not know; the client checks the rest

        return {"output_config": {"format": {"type": "json_schema", "schema": transform_schema(dict(schema))}}}

    # -------------------------------------------------------------- the connection

    def _credentials(self) -> str:
        if self.options.client == "bedrock":
            return "set AWS_BEARER_TOKEN_BEDROCK; or configure AWS credentials and pip install 'anthropic[bedrock]'"
        if self.options.client == "vertex":
            return "pip install 'anthropic[vertex]', and run `gcloud auth application-default login`"
        return f"export {self.options.api_key_env}=…"

    def _count_retry(self, request: Any) -> None:
        self.retries += int(request.headers.get("x-stainless-retry-count", "0")) > 0

    def _client(self) -> Any:
        if self._opened is None:
            try:
                import anthropic
                import httpx2
            except ImportError:
                raise missing_package("llm 'anthropic'", "anthropic", "llm") from None
            options = http.connection_options(httpx2, self._place, self.options.timeout_s, self._count_retry)
            common = {
                "base_url": self._place.url,
                "max_retries": self.options.retries,
                "http_client": httpx2.AsyncClient(**options),
                "open_telemetry": False,  # traces could carry text elsewhere
            }
            self._opened = self._built(anthropic, common)
        return self._opened

    def _built(self, sdk: Any, common: Mapping[str, Any]) -> Any:
        if self.options.client == "bedrock":
            http.key_in("AWS_BEARER_TOKEN_BEDROCK", "llm 'anthropic' (bedrock)")
            return sdk.AsyncAnthropicBedrock(aws_region=self._region(), **common)
        if self.options.client == "vertex":
            project = self.options.project or os.environ.get("ANTHROPIC_VERTEX_PROJECT_ID")
            named = {"project_id": project} if project else {}
            return sdk.AsyncAnthropicVertex(region=self._region(), **named, **common)
        key = http.key_in(self.options.api_key_env, "llm 'anthropic'")
        if not key:
            variable = self.options.api_key_env
            raise Unavailable(f"llm 'anthropic': the environment variable {variable} is not set", self._credentials())
        return sdk.AsyncAnthropic(api_key=key, **common)


def _read(said: Mapping[str, Any]) -> Reply:
    usage, stop = http.record(said.get("usage")), said.get("stop_reason")
    read = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    counts = sum(http.number(usage.get(name)) for name in read), http.number(usage.get("output_tokens"))
    if not isinstance(said.get("content"), list):
        raise http.Unspoken(f"the message has no content: {json.dumps(said)}")
    blocks = http.records(said["content"])
    called = [block.get("input") for block in blocks if block.get("type") == "tool_use"]
    texts = (block.get("text") for block in blocks if block.get("type") == "text")
    text = json.dumps(called[0]) if called else "".join(str(text or "") for text in texts)
    if stop == "refusal":
        return Reply(text or "the model refused to answer", *counts, "refused")
    full = stop in ("max_tokens", "model_context_window_exceeded")
    return Reply(text, *counts, "length" if full else "stop")
