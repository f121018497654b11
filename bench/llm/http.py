"""What the backends that speak HTTP share: connections without side doors, and the SDKs' errors in our words.

The SDKs of openai and anthropic have one generator, hence one set of exceptions and options.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.errors import BenchError, Unavailable
from bench.llm.backend import Lost, TooLong
from bench.llm.gate import Place, place_of

CONNECT_S = 10.0
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


def explained(sdk: Any, err: Exception, place: Place, key: str) -> Exception:
    """Return an SDK's exception as Lost, TooLong, Unavailable or BenchError; `key` says how to give an API key."""
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
    if status in (401, 403):
        return Unavailable(f"{place.url} refuses the key ({status}): {message}", key)
    if status == 404:
        return Unavailable(f"{place.url} knows no {place.model!r}: {message}", remedy or "name a model it serves")
    if status in (408, 409, 429) or status >= 500:
        return Lost(f"{place.url} refuses further work for now ({status}): {message}")
    if status in (400, 413) and any(word in message.lower() for word in _CONTEXT):
        return TooLong(f"{place.url}: {message}")
    if 300 <= status < 400:
        return BenchError(f"{place.url} answered with a redirect ({status}), which is not followed: name the server")
    return BenchError(f"{place.url} refuses the question ({status}): {message}")


def said(message: str) -> str:
    """Return a server's words in one short line."""
    line = " ".join(message.split())
    return line if len(line) <= SAID else line[:SAID] + "…"


def server(option: str | None, variable: str, set_in_environment: str | None, default: str, model: str) -> Place:
    """Return the place of the URL that an option, else the environment, else the default names."""
    if option:
        return place_of(option, model, "base_url")
    if set_in_environment:
        return place_of(set_in_environment, model, variable)
    return place_of(default, model, "base_url")
