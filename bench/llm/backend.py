"""What a backend of `bench.llms` gives: where its model runs, what it is, and one reply to one question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, runtime_checkable

from pydantic import Field

from bench.contracts import Question
from bench.errors import BenchError, Unavailable
from bench.llm.gate import Place, host_of
from bench.options import Options


class LLMOptions(Options):
    """Options that every backend has."""

    model: str = Field(min_length=1, pattern=r"^\S(.*\S)?$")
    """Model, as the backend names it; filled by the part of the spec after the slash."""
    concurrency: int = Field(8, ge=1, le=1024)
    """Questions in flight at one time."""
    attempts: int = Field(3, ge=1, le=20)
    """Times a question is asked until its answer can be used."""
    price_input: float | None = Field(None, ge=0)
    """USD for a million input tokens; the cost is told where both prices are given."""
    price_output: float | None = Field(None, ge=0)
    """USD for a million output tokens."""


class ServerOptions(LLMOptions):
    """Options of every backend that speaks to a server."""

    retries: int = Field(4, ge=0, le=20)
    """Times a request that failed on the way (no connection, 408, 409, 429, 5xx) is sent again, with back-off."""
    timeout_s: float = Field(600.0, gt=0)
    """Seconds until one request counts as failed."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a backend knows of its model."""

    backend: str
    model: str
    digest: str = ""
    """Of the weights where it is known ("sha256:…"), else of what the server tells of the model ("told:…"), else ""."""
    quantisation: str = ""
    parameters: str = ""
    """Number of parameters, as the backend tells it: "70.6B"."""
    context_length: int | None = None
    """Tokens."""
    settings: str = ""
    """Options of the backend that move answers, where they are not the default."""
    shown: str = ""
    """Options that decide which questions get an answer, and leave the answers as they are: told in signatures only."""
    revision: str = ""
    """What the user calls the weights, where the server tells nothing of them."""
    remote_host: str = ""
    """Where a local server only passes the text on: the URL it tells."""
    reached: bool = True
    """Whether the server was asked, so that it is known to be there."""

    def fingerprint(self, url: str) -> str:
        """Return as one line what decides answers, under which they are kept.

        Where no digest tells the weights, the server's URL and the user's word for them stand for it.
        """
        digest = self.digest[:23] or ("" if self.revision else "digest:untold")
        named = f"revision:{self.revision}" if self.revision else ""
        remote = f"remote:{host_of(self.remote_host)}" if self.remote_host else ""
        where = "" if self.digest.startswith("sha256:") else url
        parts = (self.backend, self.model, digest, named, self.quantisation, self.parameters, self.settings, remote)
        return "|".join(part for part in (*parts, where) if part)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said to one question."""

    text: str
    input_tokens: int = 0
    output_tokens: int = 0
    finish: Literal["stop", "length", "refused"] = "stop"
    calls: int = 1
    """Replies of the model that this one took; the tokens are those of all of them."""
    remote_host: str = ""
    """Where a local server says that it passed the text on."""


class Lost(Exception):
    """The server cannot be reached, or refuses further work for now; all retries are used up."""

    def __init__(self, why: str, *, wait: bool = False) -> None:
        super().__init__(why)
        self.wait = wait
        """Whether the server asks to wait (429): then it is surely not one question's fault."""


class TooLong(Exception):
    """The question does not fit the model's context."""

    def __init__(self, why: str, spent: Reply | None = None) -> None:
        super().__init__(why)
        self.spent = spent
        """What replies that could not be used have taken."""


class Rejected(Exception):
    """The server took no offence at others, maybe, but does not answer this question."""

    def __init__(
        self, error: BenchError, kind: Literal["refused", "failed"] = "failed", *, doubts_key: bool = False
    ) -> None:
        super().__init__(error.reason if isinstance(error, Unavailable) else str(error))
        self.error = error
        """What it means where no question was ever answered."""
        self.kind: Literal["refused", "failed"] = kind
        self.doubts_key = doubts_key
        """Whether it may be the key that is refused (403)."""


class Gone(Exception):
    """A batch that was handed in once, and that the service does not know (any more)."""


Outcome = Reply | Lost | TooLong | Rejected
"""What became of one question of a batch; Lost: the service did not come to it, and it may be asked again."""


@dataclass(frozen=True, slots=True)
class BatchState:
    """How far a batch is."""

    ended: bool
    done: int
    """Questions whose outcome the service tells by now."""


class Batches(Protocol):
    """Questions that are handed in together and answered later, at a lower price: `batches` of a backend.

    Beside the exceptions named below, the coroutines may raise BenchError.
    """

    discount: float
    """Share of the price that a batch takes off, in [0, 1]."""

    def parts(self, questions: Mapping[str, Question]) -> Iterator[dict[str, Question]]:
        """Yield the questions in parts that one batch can hold, in their order."""
        ...

    async def submit(self, questions: Mapping[str, Question]) -> str:
        """Hand in a batch of questions by their ids (32 hexadecimal digits), and return the batch's own id.

        Raises Lost where it was surely not taken, ServerLost where that is not known.
        """
        ...

    async def look(self, batch: str) -> BatchState:
        """Return how far a batch is. Raises Lost; Gone where its results cannot be had (any more)."""
        ...

    async def results(self, batch: str) -> dict[str, Outcome]:
        """Return what became of the questions of a batch that has ended, by their ids. Raises Lost or Gone."""
        ...


@runtime_checkable
class Backend(Protocol):
    """One model of one kind of server.

    Building one is light. The coroutines all run in the one loop of `bench.llm.loop`. Beside the exceptions named
    below they may raise BenchError (Unavailable: no such model, no key). May also have ``prepare(questions)``, called
    before a batch of questions; ``retries: int``, the number of requests sent again so far; and
    ``batches: Batches | None``, by which `Client.ask` asks where it is there.
    """

    Options: ClassVar[type]
    options: LLMOptions

    def place(self) -> Place:
        """Return where the text goes, as far as options and environment tell."""
        ...

    async def identify(self) -> Identity:
        """Return what the model is. Sends no text of a question. Raises Lost. Called again now and then."""
        ...

    async def reply(self, question: Question) -> Reply:
        """Return the model's reply. Raises Lost, TooLong or Rejected."""
        ...

    def remedy(self) -> str:
        """Return what to do where the server cannot be reached."""
        ...


def size(question: Question) -> int:
    """Return the UTF-8 bytes of a question's messages: no fewer than its tokens, the template's own apart."""
    return sum(len(message.content.encode(errors="replace")) for message in question.messages)


def longest(questions: Sequence[Question]) -> Question | None:
    """Return the question that takes most room, prompt and answer together."""
    return max(questions, key=lambda q: size(q) + q.sampling.max_tokens, default=None)
