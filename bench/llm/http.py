"""What the backends that speak HTTP share: connections without side doors, errors in our words, and careful reading.

The SDKs of openai and anthropic have one generator, hence one set of exceptions and options.
"""

from __future__ import annotations

import asyncio
import functools
import json
import math
import os
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from bench.errors import BenchError, Unavailable
from bench.llm.backend import Lost, Rejected, TooLong
from bench.llm.gate import Place, place_of

T = TypeVar("T")
CONNECT_S = 10.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 8.0
SAID = 400
"""Characters of a server's error that are shown."""
_CONTEXT = ("context", "maximum length", "too long", "too many tokens")


def connection_options(library: Any, place: Place, timeout_s: float, sent: Callable[[Any], None] | None = None) -> Any:
    """Return the options of an httpx (or httpx2) client that talks to one place only.

    No redirect is followed and no other host is ever spoken to. Proxies and netrc of the environment are used only
    where the text leaves this machine anyway, encrypted. `sent` is told of every request.
    """
    home = library.URL(place.url)

    async def watch(request: Any) -> None:
        if (request.url.scheme, request.url.host, request.url.port) != (home.scheme, home.host, home.port):
            raise BenchError(f"a request to {request.url.host} was stopped: only {home.host} was checked and allowed")
        if sent is not None:
            sent(request)

    return {
        "follow_redirects": False,
        "trust_env": home.scheme == "https" and not place.local,
        "timeout": library.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s)),
        "limits": library.Limits(max_connections=None, max_keepalive_connections=64),
        "event_hooks": {"request": [watch]},
    }


def server(option: str | None, variable: str, set_in_environment: str | None, default: str, model: str) -> Place:
    """Return the place of the URL that an option, else the environment, else the default names."""
    if option:
        return place_of(option, model, "base_url")
    if set_in_environment:
        return place_of(set_in_environment, model, variable)
    return place_of(default, model, "base_url")


def key_in(variable: str, what: str) -> str:
    """Return the API key that an environment variable holds, "" where it is not set.

    Raises Unavailable where it holds what cannot be sent as a key: white space, control or non-ASCII characters.
    """
    key = os.environ.get(variable, "").strip()
    if not all("!" <= char <= "~" for char in key):
        raise Unavailable(
            f"{what}: the environment variable {variable} holds no API key: keys are of ASCII letters and signs",
            f"export {variable}=…",
        )
    return key


async def patiently(send: Callable[[], Awaitable[T]], retries: int, again: Callable[[], None]) -> T:
    """Return what a request returns, sent again after a while, at most `retries` times, where it was lost.

    `again` is called before each further try.
    """
    for attempt in range(retries):
        try:
            return await send()
        except Lost:
            again()
        await asyncio.sleep(min(FIRST_WAIT_S * 2**attempt, LONGEST_WAIT_S) * random.uniform(0.75, 1))
    return await send()


# ------------------------------------------------------------------ what a server's errors mean


def explained(sdk: Any, err: Exception, place: Place, key: str) -> Exception:
    """Return an SDK's exception as Lost, TooLong, Rejected or BenchError; `key` says how to give an API key."""
    if isinstance(err.__cause__, BenchError):
        return err.__cause__
    if isinstance(err, sdk.APIConnectionError):
        late = isinstance(err, sdk.APITimeoutError)
        return Lost(f"{place.url} {'did not answer in time (timeout_s)' if late else 'cannot be reached'}")
    if isinstance(err, sdk.APIStatusError):
        return status_error(err.status_code, str(err.message), place, key)
    return BenchError(f"{place.url}: {said(str(err))}")


def status_error(status: int, message: str, place: Place, key: str, remedy: str = "") -> Exception:
    """Return what an HTTP status means for a question."""
    message = said(message)
    refused = Unavailable(f"{place.url} refuses the key or the question ({status}): {message}", key)
    if status == 401:
        return Unavailable(f"{place.url} refuses the key ({status}): {message}", key)
    if status == 403:
        return Rejected(refused, "refused", doubts_key=True)
    if status == 404:
        return Rejected(
            Unavailable(f"{place.url} knows no {place.model!r}: {message}", remedy or "name a model it serves")
        )
    if status in (408, 409, 429) or status >= 500:
        return Lost(f"{place.url} refuses further work for now ({status}): {message}", wait=status in (409, 429))
    if status in (400, 413) and any(word in message.lower() for word in _CONTEXT):
        return TooLong(f"{place.url}: {message}")
    if 300 <= status < 400:
        return BenchError(f"{place.url} answered with a redirect ({status}), which is not followed: name the server")
    return Rejected(BenchError(f"{place.url} refuses the question ({status}): {message}"))


def whole_server(err: Exception) -> Exception:
    """Return the error where it is not one question's: for a Rejected, what it means for the server."""
    if isinstance(err, TooLong):
        return BenchError(str(err))
    return err.error if isinstance(err, Rejected) else err


def said(message: str) -> str:
    """Return a server's words in one short line."""
    line = " ".join(message.encode(errors="replace").decode().split())
    return line if len(line) <= SAID else line[:SAID] + "…"


# ------------------------------------------------------------------ what a server says, whatever it is


class Unspoken(ValueError):
    """What a server says is not of the protocol."""


Method = Callable[..., Coroutine[Any, Any, T]]


def speaks(protocol: str, *, whole: bool = False) -> Callable[[Method[T]], Method[T]]:
    """Wrap a backend's `identify` or `reply`: whatever reading an odd answer may raise becomes an error in our words.

    For a question that is Rejected, since the next answer may be of the protocol again. `whole`: the arguments are no
    single question.
    """

    def wrap(method: Method[T]) -> Method[T]:
        @functools.wraps(method)
        async def wrapped(self: Any, *args: Any) -> T:
            try:
                return await method(self, *args)
            except Rejected as err:
                raise (err if args and not whole else err.error) from None
            except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as err:
                why = str(err) if isinstance(err, Unspoken) else f"{type(err).__name__}: {err}"
                why = f"{self.place().url} does not speak the {protocol} protocol: {said(why)}"
                error = Unavailable(why, self.remedy())
                raise (Rejected(error) if args and not whole else error) from None

        return wrapped

    return wrap


def parsed(data: bytes, what: str) -> dict[str, Any]:
    """Return the JSON object that a body holds. Raises Unspoken."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise Unspoken(f"{what} gave no JSON: {_short(data.decode(errors='replace'))}") from None
    if not isinstance(value, dict):
        raise Unspoken(f"{what} gave no object: {_short(json.dumps(value))}")
    return value


def record(value: Any) -> dict[str, Any]:
    """Return an object of JSON, {} for anything else."""
    return value if isinstance(value, dict) else {}


def records(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list of JSON, [] for anything else."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def number(value: Any) -> int:
    """Return a count that a server tells, 0 for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0
    return max(0, int(value))


def text_of(content: Any, what: str) -> str:
    """Return the text of a message: a string, nothing, or the text among a list of parts. Raises Unspoken."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or len(records(content)) < len(content):
        raise Unspoken(f"{what} is neither a text nor a list of parts: {_short(json.dumps(content))}")
    return "".join(str(part.get("text") or "") for part in records(content) if part.get("type") in ("text", None))


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:60] + "…"
