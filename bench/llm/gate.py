"""Keeps credentialed text on this machine: judges where a chat backend sends it, and what the user attested.

A place is this machine only where its host is a loopback address or "localhost" and its model is no cloud model. What
cannot be seen from here is not judged: a tunnel, or a gateway on this machine that passes text on.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from bench.errors import BenchError

CLOUD_HOST = "ollama.com"
"""Where Ollama's cloud models run."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_PLAIN = re.compile(r"[A-Za-z0-9.:/_~%+\-\[\]]+")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the text of a question goes."""

    host: str
    """Lower case; "" for a model inside this process."""
    url: str = ""
    model: str = ""
    away: str = ""
    """Why this is not this machine; "" where it is."""
    hosts: tuple[str, ...] = ()
    """All hosts beyond this machine that see the text, as far as is known."""
    keeps: str = ""
    """Why what is sent there is stored for a while, whatever was agreed with the host; "" where it need not be."""

    @property
    def local(self) -> bool:
        """Whether the text stays on this machine."""
        return not self.away


def place_of(url: str, model: str, option: str) -> Place:
    """Return the place of an HTTP server; `option` names what set the URL, for the error.

    Raises BenchError where the URL is not plainly scheme://host[:port][/path]: no user, query or odd character, on
    which parsers disagree.
    """
    host, port, path, scheme = _parse(url, option)
    if host in ("0.0.0.0", "::"):  # where a server listens; a client reaches it on loopback
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    bracketed = f"[{host}]" if ":" in host else host
    url = f"{scheme}://{bracketed}" + (f":{port}" if port is not None else "") + path.rstrip("/")
    place = Place(host, url, model)
    if not is_this_machine(host):
        place = beyond(place, host, f"{host} is not a loopback address")
    if is_cloud_model(model):
        place = passed_on(place, CLOUD_HOST, f"{model!r} names a cloud model")
    return place


def beyond(place: Place, host: str, why: str) -> Place:
    """Return a place whose text also reaches `host`, which is not this machine."""
    if host in place.hosts:
        return place
    return replace(place, away=f"{place.away}; {why}" if place.away else why, hosts=(*place.hosts, host))


def passed_on(place: Place, remote: str, why: str) -> Place:
    """Return the place of a model that a server only passes text on to; `remote` is a host or URL."""
    host = host_of(remote)
    return beyond(place, host, f"{why}, which runs at {host}")


def host_of(remote: str) -> str:
    """Return the host that a server names, as a URL or by itself; what is neither is returned as it is."""
    try:
        return (urlsplit(remote if "://" in remote else f"//{remote}").hostname or remote).lower()
    except ValueError:
        return remote.lower()


def _parse(url: str, option: str) -> tuple[str, int | None, str, str]:
    if not is_plain(url):
        raise BenchError(f"{option}: {url!r} is not a plain URL: write http://host:port, without user, ? or #")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as err:
        raise BenchError(f"{option}: {url!r} is not a URL: {err}") from None
    if parts.scheme not in ("http", "https") or not (_NAME.fullmatch(host) or _address(host)):
        raise BenchError(f"{option}: {url!r} is not a URL of an http server: write http://host:port")
    return host, port, parts.path, parts.scheme


def is_plain(url: str) -> bool:
    """Whether a URL or host has only characters that all parsers read alike."""
    return bool(_PLAIN.fullmatch(url))


def is_this_machine(host: str) -> bool:
    """Whether a host is a loopback address, or localhost where that resolves to loopback addresses only."""
    if host == "localhost":
        return _resolves_to_loopback(host)
    address = _address(host)
    return address is not None and _is_loopback(address)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host) if "%" not in host else None
    except ValueError:
        return None


def _is_loopback(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _resolves_to_loopback(host: str) -> bool:
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return True  # nothing can be sent to a name that does not resolve
    return all(is_this_machine(address) for address in found if address != host)


def is_cloud_model(model: str) -> bool:
    """Whether Ollama reads a model's name as one of its cloud models (a tag that ends in "cloud")."""
    return model.strip().lower().endswith(("cloud", "cloud:latest"))


@dataclass(slots=True)
class Gate:
    """What one process may send where; shared by all contexts of a run."""

    attested: Sequence[str] = ()
    """Hosts for which the user attests zero retention (`run.attest_zero_retention`)."""
    held: str = ""
    """Why text must stay on this machine ("the dataset is credentialed"); "" where it need not."""

    def attests(self, place: Place) -> bool:
        """Whether the user attested zero retention for every host beyond this machine that sees the text."""
        return bool(place.hosts) and all(host in self.attested for host in place.hosts)

    def check(self, spec: str, place: Place | None) -> None:
        """Raise BenchError where text that is held would go to a place that is not attested, or that stores it."""
        if not self.held or (place is not None and place.local):
            return
        if place is None:
            raise BenchError(
                f"llm {spec!r}: {self.held}, and this plugin does not say where its text goes (it has "
                "no method place()): use a local model"
            )
        if place.keeps:
            raise BenchError(f"llm {spec!r}: {self.held}, and {place.keeps}")
        if self.attests(place):
            return
        raise BenchError(
            f"llm {spec!r}: {self.held}, and its text would leave this machine: {place.away}. "
            "PhysioNet (notice of 2025-09-24) asks for zero retention, no training and no human review wherever such "
            "text is sent. Use a local model; or, where your agreement with that service grants all three, attest it: "
            f"run.attest_zero_retention: [{', '.join(place.hosts)}]"
        )


def place_of_plugin(plugin: Any) -> Place | None:
    """Return where a chat plugin says its text goes, None where it does not say."""
    told = plugin.place() if hasattr(plugin, "place") else None
    return told if isinstance(told, Place) else None
