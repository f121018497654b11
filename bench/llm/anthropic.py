"""Claude, through the package anthropic: Anthropic's own interface, Amazon Bedrock or Google Vertex AI."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field, model_validator

from bench.contracts import Context, Question, Sampling
from bench.errors import BenchError, ServerLost, Unavailable, missing_package
from bench.llm import http
from bench.llm.backend import BatchState, Gone, Identity, Lost, Outcome, Rejected, Reply, ServerOptions, TooLong
from bench.llm.gate import Place, beyond
from bench.llm.openai import in_words

TOOL = "answer"
EARLIER = {"api": "2023-06-01", "bedrock": "bedrock-2023-05-31", "vertex": "vertex-2023-10-16"}
"""Versions of the interface that take sampling parameters."""
BATCH_REQUESTS, BATCH_BYTES = 10_000, 100_000_000
"""Requests, and bytes of JSON, of one batch. The service takes 100,000 and 256 MB; smaller ones are collected sooner,
and take less memory while they are sent."""
NOT_TAKEN = (429, 503, 529)
"""Statuses that say that a batch was surely not taken."""
KEEPS = (
    "message batches are stored for up to 29 days whatever was agreed: zero retention does not cover them. Set batch: "
    "false, or use a local model"
)
STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""What the service's kinds of errors are as statuses of HTTP; any other kind (api_error) is 500."""


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
    batch: bool = False
    """Whether questions go in message batches (client: api): at a lower price, answered within 24 hours, and stored by
    the service for up to 29 days, which no zero retention covers: never for credentialed text."""
    batch_discount: float = Field(0.5, ge=0, le=1)
    """Share of price_input and price_output that batches take off."""

    @model_validator(mode="after")
    def _batches_are_of_the_api(self) -> AnthropicOptions:
        if self.batch and self.client != "api":
            raise ValueError(f"batch: only Anthropic's own interface (client: api) takes batches, not {self.client}")
        return self


class Anthropic:
    """Claude of Anthropic, Bedrock or Vertex AI: anthropic/claude-sonnet-5-5."""

    Options = AnthropicOptions
    argument = "model"

    def __init__(self, options: AnthropicOptions, context: Context) -> None:  # noqa: ARG002 (every plugin is built so)
        self.options = options
        self.retries = 0
        self._opened: Any = None
        self.batches = MessageBatches(self) if options.batch else None

    def place(self) -> Place:
        """Return the service's place. It is never this machine: a local address can only be a gateway to it."""
        return self._place

    @cached_property
    def _place(self) -> Place:
        option, variable, default = self._addresses()
        found = http.server(option, variable, os.environ.get(variable, "").strip(), default, self.options.model)
        found = beyond(found, found.host, found.away or f"{found.host} can only be a gateway to Claude")
        return replace(found, keeps=KEEPS) if self.options.batch else found

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
            raise self._explained(err) from None
        except (ImportError, RuntimeError, ValueError) as err:  # what the clients raise where credentials are missing
            raise Unavailable(f"llm 'anthropic' ({self.options.client}): {err}", self._credentials()) from None
        return _read(http.parsed(raw.http_response.content, "the service"))

    def _explained(self, err: Exception) -> Exception:
        """Return an exception of the SDK in our words."""
        import anthropic

        return http.explained(anthropic, err, self._place, self._credentials())

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


class MessageBatches:
    """Anthropic's message batches: an id a question, results in any order once the whole batch has ended."""

    def __init__(self, backend: Anthropic) -> None:
        self._backend = backend
        self.discount = backend.options.batch_discount

    def place(self) -> Place:
        """Return the service's place."""
        return self._backend.place()

    def remedy(self) -> str:
        """Return what to look at where the service cannot be reached, or has no batches."""
        return f"set batch: false; or {self._backend.remedy()}"

    def parts(self, questions: Mapping[str, Question]) -> Iterator[dict[str, Question]]:
        """Yield the questions in parts of at most `BATCH_REQUESTS` and `BATCH_BYTES`; a larger one goes alone."""
        part: dict[str, Question] = {}
        room = BATCH_BYTES
        for key, question in questions.items():
            size = len(json.dumps(self._entry(key, question)[0]))  # escaped to ASCII: no fewer than the bytes sent
            if part and (len(part) == BATCH_REQUESTS or size > room):
                yield part
                part, room = {}, BATCH_BYTES
            part[key] = question
            room -= size
        if part:
            yield part

    def _entry(self, key: str, question: Question) -> tuple[dict[str, Any], dict[str, str]]:
        """Return a question's entry in a batch, and the headers it asks for."""
        asked = self._backend._request(question)
        body, headers = asked.pop("extra_body", {}), asked.pop("extra_headers", {})
        return {"custom_id": key, "params": {**asked, **body}}, headers

    @http.speaks("Anthropic", whole=True)
    async def submit(self, questions: Mapping[str, Question]) -> str:
        """Hand in a batch. It is sent again only where it was surely not taken: no batch is paid for twice."""
        entries = [self._entry(key, question) for key, question in questions.items()]
        headers = {name: value for _, more in entries for name, value in more.items()}
        requests = [entry for entry, _ in entries]

        def again() -> None:
            self._backend.retries += 1

        return await http.patiently(lambda: self._submit(requests, headers), self._backend.options.retries, again)

    async def _submit(self, requests: list[dict[str, Any]], headers: Mapping[str, str]) -> str:
        client = self._backend._client().with_options(max_retries=0)
        import anthropic

        try:
            raw = await client.messages.batches.with_raw_response.create(requests=requests, extra_headers=headers)
        except anthropic.AnthropicError as err:
            meant = http.whole_server(self._backend._explained(err))
            if isinstance(meant, Lost) and not _surely_not_taken(err):
                raise ServerLost(
                    f"llm 'anthropic': {meant}. Whether a batch of {len(requests)} questions was taken all the same "
                    "is not known: look it up in the service's console, and start the command again, which hands it "
                    "in anew"
                ) from None
            raise meant from None
        return _named(http.parsed(raw.http_response.content, "the service"))

    @http.speaks("Anthropic", whole=True)
    async def look(self, batch: str) -> BatchState:
        """Return how far a batch is: the service counts its questions only once it has ended."""
        raw = await self._get(batch, "")
        told = http.parsed(raw, "the service")
        if told.get("archived_at"):
            raise Gone(f"batch {batch} is kept by the service no longer")
        counts = http.record(told.get("request_counts"))
        ended = told.get("processing_status") == "ended"
        return BatchState(ended, sum(http.number(counts[name]) for name in counts if name != "processing"))

    @http.speaks("Anthropic", whole=True)
    async def results(self, batch: str) -> dict[str, Outcome]:
        """Return what became of a batch's questions; what cannot be read is left out, unless that is all of it."""
        raw = await self._get(batch, "/results")
        found = [_line(line) for line in raw.split(b"\n") if line.strip()]
        outcomes = {str(line["custom_id"]): self._outcome(http.record(line.get("result"))) for line in found if line}
        if not outcomes:
            raise http.Unspoken(f"batch {batch} has no result that can be read")
        return outcomes

    async def _get(self, batch: str, what: str) -> bytes:
        """Return what the service tells of a batch, from the one host that was checked and allowed."""
        client = self._backend._client()
        import anthropic
        import httpx2

        path = f"/v1/messages/batches/{quote(batch, safe='')}{what}"
        try:
            response = await client.get(path, cast_to=httpx2.Response)
        except anthropic.NotFoundError:
            raise Gone(f"the service knows no batch {batch}") from None
        except anthropic.AnthropicError as err:
            raise http.whole_server(self._backend._explained(err)) from None
        return bytes(response.content)

    def _outcome(self, result: Mapping[str, Any]) -> Outcome:
        kind = result.get("type")
        if kind == "succeeded":
            return self._reply(result.get("message"))
        if kind == "errored":
            return self._error(http.record(result.get("error")))
        if kind == "canceled":
            return Rejected(BenchError("the batch of the question was cancelled; the same command hands it in anew"))
        return Lost(f"the service came to no answer in time ({kind})")

    def _reply(self, message: Any) -> Reply | Rejected:
        try:
            return _read(http.record(message))
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as err:
            why = f"{self.place().url} does not speak the Anthropic protocol: {http.said(str(err))}"
            return Rejected(Unavailable(why, self.remedy()))

    def _error(self, error: Mapping[str, Any]) -> Outcome:
        told = http.record(error.get("error")) or error
        status = STATUSES.get(str(told.get("type")), 500)
        place, message = self.place(), str(told.get("message"))
        meant = http.status_error(status, message, place, self._backend._credentials())
        if isinstance(meant, Lost | TooLong | Rejected):
            return meant
        return Rejected(meant if isinstance(meant, BenchError) else BenchError(str(meant)))


def _surely_not_taken(err: Exception) -> bool:
    """Whether a request that failed cannot have had an effect: refused as it came, or never sent."""
    import httpx2

    status = getattr(err, "status_code", None)
    return status in NOT_TAKEN or isinstance(err.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout)


def _named(told: Mapping[str, Any]) -> str:
    batch = told.get("id")
    if not isinstance(batch, str) or not batch:
        raise http.Unspoken(f"the batch has no id: {json.dumps(told)}")
    return batch


def _line(line: bytes) -> dict[str, Any]:
    """Return one line of a batch's results, {} where it is none."""
    try:
        found = http.record(json.loads(line))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found.get("custom_id"), str) else {}


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
