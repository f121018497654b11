"""A server of this machine that speaks the Hugging Face hub's protocol, for its real client."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

NOWHERE = "http://127.0.0.1:9"
"""The port of "discard", where nothing answers."""


def point_client(
    monkeypatch: pytest.MonkeyPatch, cache: Path, *, endpoint: str = NOWHERE, offline: bool = False
) -> Path:
    """Let the real client of this process use a cache and a server, as HF_HOME and HF_ENDPOINT do at its start."""
    from huggingface_hub import constants

    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    return cache


@dataclass
class Repository:
    """One commit of a model repository."""

    files: Mapping[str, bytes]
    revisions: tuple[str, ...] = ("main",)
    gated: bool = False
    cut: frozenset[str] = frozenset()
    """Names of files whose download breaks off half way."""

    @property
    def commit(self) -> str:
        """The commit's 40 hex digits, of the content."""
        digest = hashlib.sha1()
        for name, content in sorted(self.files.items()):
            digest.update(name.encode() + b"\0" + content + b"\0")
        return digest.hexdigest()


@dataclass
class HubServer:
    """What is served, and what was asked: "GET /api/models/…"."""

    url: str
    repositories: dict[str, Repository]
    asked: list[str] = field(default_factory=list)

    def downloads(self) -> list[str]:
        """Return the names of files that were downloaded, in order."""
        return [path.partition("/resolve/")[2].partition("/")[2] for path in self.asked if path.startswith("GET /")
                and "/resolve/" in path]  # fmt: skip


@contextmanager
def hub_server(**repositories: Repository) -> Iterator[HubServer]:
    """Serve repositories (named "owner__name" as keywords, "owner/name" to clients) while the block runs."""
    served = {name.replace("__", "/"): found for name, found in repositories.items()}
    state = HubServer("", served)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def log_message(self, *_: object) -> None:
            pass

        def answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            state.asked.append(f"{self.command} {path}")
            if path.startswith("/api/models/"):
                return self.api(path.removeprefix("/api/models/"))
            name, _, rest = path.strip("/").partition("/resolve/")
            revision, _, file = rest.partition("/")
            return self.resolve(name, revision, file)

        def api(self, path: str) -> None:
            for mark in ("/revision/", "/tree/"):
                name, found, revision = path.partition(mark)
                if found:
                    break
            repository = self.found(name, revision or "main")
            if repository is None:
                return None
            if mark == "/tree/" and found:
                entries = [
                    {"type": "file", "path": file, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                    for file, content in repository.files.items()
                ]
                return self.send(json.dumps(entries).encode())
            siblings = [{"rfilename": file, "size": len(content)} for file, content in repository.files.items()]
            told = {"id": name, "modelId": name, "sha": repository.commit, "siblings": siblings, "tags": []}
            return self.send(json.dumps(told).encode())

        def resolve(self, name: str, revision: str, file: str) -> None:
            repository = self.found(name, revision)
            if repository is None:
                return None
            if repository.gated:
                return self.refuse(403, "GatedRepo")
            if file not in repository.files:
                return self.refuse(404, "EntryNotFound")
            content = repository.files[file]
            headers = {"X-Repo-Commit": repository.commit, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
            return self.send(content, headers, cut=file in repository.cut)

        def found(self, name: str, revision: str) -> Repository | None:
            repository = state.repositories.get(name)
            if repository is None:
                self.refuse(401, "RepoNotFound")
            elif revision not in (*repository.revisions, repository.commit):
                self.refuse(404, "RevisionNotFound")
            else:
                return repository
            return None

        def refuse(self, code: int, why: str) -> None:
            self.send(b"{}", {"X-Error-Code": why, "X-Error-Message": why}, code=code)

        def send(
            self, content: bytes, headers: Mapping[str, str] | None = None, code: int = 200, cut: bool = False
        ) -> None:
            self.send_response(code)
            for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content[: len(content) // 2] if cut else content)
            if cut:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
